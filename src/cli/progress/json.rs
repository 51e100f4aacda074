//! `--progress json`: one object a line (docs/files-json.md).
//!
//! All keys are always there, with `null` for what is not known.

use serde::Serialize;

use super::Direction;
use crate::pipeline::figures::{Bound, Doing};

/// What is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Told<'a> {
    Begin {
        direction: &'static str,
        offer: Option<u64>,
        title: &'a str,
        files: u32,
        size: Option<u64>,
        before: u64,
    },
    Progress {
        offer: Option<u64>,
        state: &'static str,
        bytes: u64,
        size: Option<u64>,
        files_done: u32,
        files: u32,
        file: Option<&'a str>,
        rate: Option<u64>,
        left_s: Option<u64>,
        limit: Option<&'static str>,
    },
    File {
        offer: Option<u64>,
        path: &'a str,
        size: u64,
        md5: &'a str,
    },
    Note {
        offer: Option<u64>,
        message: &'a str,
    },
    End {
        offer: Option<u64>,
        result: &'static str,
        exit: u8,
        bytes: u64,
        moved: u64,
        again: u64,
        seconds: f64,
        message: Option<&'a str>,
    },
}

impl Told<'_> {
    pub(super) fn line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("strings and numbers are always JSON");
        line.push('\n');
        line
    }
}

pub(super) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Send => "send",
        Direction::Receive => "receive",
    }
}

pub(in crate::cli) fn state(doing: Doing) -> &'static str {
    match doing {
        Doing::Connecting => "connecting",
        Doing::Moving => "moving",
        Doing::Waiting => "waiting",
        Doing::Checking => "checking",
        Doing::Reconnecting => "reconnecting",
        Doing::Offering => "offering",
    }
}

pub(in crate::cli) fn limit(bound: Bound) -> &'static str {
    match bound {
        Bound::Disk => "disk",
        Bound::Network => "network",
        Bound::Peer => "peer",
        Bound::Limit => "limit",
    }
}
