//! Real conf-chats, and a conf-serve whose directory outlives it.
#![allow(clippy::disallowed_methods)] // What is written to a file cannot be awaited otherwise.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::programs::{PATIENCE, Running, Serve, program};

/// A place for a server's store and for what the people keep.
pub struct Town {
    pub home: TempDir,
    /// The server's, where it is not within that.
    pub store: PathBuf,
    /// Where the server listens, as soon as it is known.
    listen: String,
}

impl Town {
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        Self { store: home.path().join("store"), home, listen: "127.0.0.1:0".into() }
    }

    /// A server that goes on where the last one ended.
    pub fn serve(&mut self) -> Serve {
        let mut command = program("conf-serve", self.home.path());
        command.arg(&self.listen).arg("--store").arg(&self.store);
        command.arg("--log-file").arg(self.path("serve.log")).stdout(Stdio::piped());
        let serve = Serve::from_command(command);
        self.listen = serve.address.to_string();
        serve
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// The conf-chat of a person, whose directory stays.
    pub fn chat(&self, name: &str, arguments: &[&str]) -> Command {
        let home = self.path(name);
        std::fs::create_dir_all(&home).unwrap();
        let mut command = program("conf-chat", &home);
        command.args(arguments).env("CONF_NAME", name);
        command.env("CONF_ROOM", format!("conf://{}/main", self.listen)).env("TZ", "UTC");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same, running, with a pipe on stdin.
    pub fn talk(&self, name: &str, arguments: &[&str]) -> Running {
        let mut command = self.chat(name, arguments);
        command.stdin(Stdio::piped());
        Running::start(command)
    }

    /// The same, which ends by itself: exit code, stdout and stderr.
    pub fn ask(&self, name: &str, arguments: &[&str]) -> (i32, String, String) {
        let output = self.chat(name, arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
    }
}

/// Lines of a program, as they come.
pub struct Lines {
    lines: Receiver<String>,
}

impl Lines {
    pub fn of(running: &mut Running) -> Self {
        Self::from(running.child.stdout.take().unwrap())
    }

    fn from(stdout: ChildStdout) -> Self {
        let (out, lines) = sync_channel(100_000);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                if line.is_err() || out.send(line.unwrap_or_default()).is_err() {
                    return;
                }
            }
        });
        Self { lines }
    }

    /// The next line; nothing at the end.
    pub fn next(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no line came"),
        }
    }

    /// The next object of this type.
    pub fn object(&self, kind: &str) -> Value {
        loop {
            let line = self.next().unwrap_or_else(|| panic!("ended before {kind}"));
            let object: Value = serde_json::from_str(&line).unwrap();
            if object["type"] == kind {
                return object;
            }
        }
    }

    /// What there is until the end.
    pub fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// Waits until a file holds `text`.
pub fn wait_for(path: &Path, text: &str) {
    let started = confkit::time::now();
    while !std::fs::read_to_string(path).is_ok_and(|there| there.contains(text)) {
        assert!(confkit::time::now().since(started) < PATIENCE, "{} lacks {text}", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}
