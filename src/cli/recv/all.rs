//! Several offers: those that were named, everything that is new, and with `--watch` what comes.
//!
//! With `--watch` at most [`limits::TRANSFERS`] run side by side, each over a session of its own, so that one whose
//! sender is slow or has gone holds up no other. Short texts come through the session that hears of them as soon as all
//! of one is there, which takes no time; what finds no session of its own comes through that as well.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::get::{Errand, Getter};
use super::{LISTED, fresh, told};
use crate::cli::{Exit, Failure, logging};
use crate::id::OfferId;
use crate::limits;
use crate::net::client::Config;
use crate::pipeline::download::Room;
use crate::transfer::Kind;

/// Receives these; the first error ends it.
pub(super) async fn each(mut getter: Getter<'_>, chosen: &[OfferId]) -> anyhow::Result<()> {
    for offer in chosen {
        getter.get(*offer).await?;
        if getter.errand.stop.is_cancelled() {
            break;
        }
    }
    Ok(())
}

/// Receives everything that is new. What goes wrong with one does not keep the others; the first such thing is how the
/// program ends.
pub(super) async fn all(mut getter: Getter<'_>) -> anyhow::Result<()> {
    let mut failed: Vec<anyhow::Error> = Vec::new();
    let mut tried = BTreeSet::new();
    while !getter.errand.stop.is_cancelled() {
        let left = untried(&getter, &tried);
        let Some(&offer) = left.first() else { break };
        tried.insert(offer);
        if let Err(error) = getter.get(offer).await {
            if !is_of_one(&error) {
                return Err(error);
            }
            // The only one is the message with which the program ends.
            if tried.len() > 1 || !untried(&getter, &tried).is_empty() {
                complain(&error);
            }
            failed.push(error);
        }
    }
    if tried.is_empty() {
        getter.errand.say("there is nothing new\n");
    }
    let count = failed.len();
    match failed.into_iter().next() {
        None => Ok(()),
        Some(only) if tried.len() == 1 => Err(only),
        Some(first) => {
            let message = format!("{count} of {} offers were not received", tried.len());
            Err(Failure::new(exit(&first), message).into())
        }
    }
}

/// When something is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// At once, over the session that has heard of it.
    Now,
    /// When there is a lane for it.
    Lane,
    /// Not before all of it is there.
    Later,
}

/// What came of an offer that was to have a session of its own; nothing where there was none for it.
type Ended = (OfferId, Option<anyhow::Result<()>>);

/// Everything that is new, and what comes.
pub(super) struct Watch<'a> {
    getter: Getter<'a>,
    errand: &'a Arc<Errand>,
    config: Config,
    /// What was begun, whatever came of it.
    tried: BTreeSet<OfferId>,
    /// What has been waited for to be described.
    described: BTreeSet<OfferId>,
    lanes: JoinSet<Ended>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(errand: &'a Arc<Errand>, room: &'a mut Room, config: Config) -> Self {
        let (tried, described) = (BTreeSet::new(), BTreeSet::new());
        Self { getter: Getter { errand, room }, errand, config, tried, described, lanes: JoinSet::new() }
    }

    /// Until a signal comes. It has been told of what went wrong, and what comes next is how it goes on.
    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        let watched = self.watch().await;
        match watched {
            // Each says how it goes on.
            Ok(()) => while self.lanes.join_next().await.is_some() {},
            Err(_) => self.lanes.shutdown().await,
        }
        watched
    }

    async fn watch(&mut self) -> anyhow::Result<()> {
        let mut told_to_wait = false;
        while !self.errand.stop.is_cancelled() {
            if self.begin_next().await? {
                continue;
            }
            if self.tried.is_empty() && !std::mem::replace(&mut told_to_wait, true) {
                self.errand.say("waiting for what comes; Ctrl-C ends it\n");
            }
            tokio::select! {
                () = self.errand.stop.cancelled() => {}
                Some(ended) = self.lanes.join_next() => self.handle_end(ended).await?,
                happened = self.getter.room.next() => {
                    drop(happened.map_err(|error| told(error, &self.errand.address, None))?);
                }
            }
        }
        Ok(())
    }

    /// Begins the oldest that has its turn; whether there was one.
    async fn begin_next(&mut self) -> anyhow::Result<bool> {
        for offer in untried(&self.getter, &self.tried) {
            if self.described.insert(offer) {
                self.getter.wait_for_description(offer).await;
            }
            match self.turn(offer) {
                Turn::Now => {
                    self.tried.insert(offer);
                    let got = self.getter.get(offer).await;
                    handle(got, is_of_one)?;
                    return Ok(true);
                }
                Turn::Lane if self.lanes.len() < limits::TRANSFERS => {
                    self.tried.insert(offer);
                    self.lanes.spawn(alone(Arc::clone(self.errand), self.config.clone(), offer));
                    return Ok(true);
                }
                Turn::Lane | Turn::Later => {}
            }
        }
        Ok(false)
    }

    fn turn(&self, offer: OfferId) -> Turn {
        let Some(offer) = self.getter.room.offer(offer) else { return Turn::Later };
        let text = offer.about.as_ref().is_some_and(|about| about.kind == Kind::Text);
        let short = offer.size().is_some_and(|size| size <= limits::MESSAGE as u64);
        match (text && short, offer.state.sealed) {
            (true, true) => Turn::Now,
            (true, false) => Turn::Later,
            (false, _) => Turn::Lane,
        }
    }

    async fn handle_end(&mut self, ended: Result<Ended, JoinError>) -> anyhow::Result<()> {
        let (offer, got) = ended?;
        match got {
            // A session that has ended by itself is no reason to end this one.
            Some(got) => handle(got, |error| is_of_one(error) || exit(error) == Exit::Connect),
            // The room lets no more in, or it is for the very member that this session is.
            None if self.getter.room.offer(offer).is_some() && !self.errand.stop.is_cancelled() => {
                handle(self.getter.get(offer).await, is_of_one)
            }
            None => Ok(()),
        }
    }
}

/// Receives an offer over a session of its own.
async fn alone(errand: Arc<Errand>, config: Config, offer: OfferId) -> Ended {
    let mut room = Room::join(config);
    let listed = tokio::select! {
        () = errand.stop.cancelled() => false,
        listed = tokio::time::timeout(LISTED, room.listed()) => matches!(listed, Ok(Ok(()))),
    };
    let got = match listed && room.offer(offer).is_some() {
        true => Some(Getter { errand: &errand, room: &mut room }.get(offer).await),
        false => None,
    };
    room.leave().await;
    (offer, got)
}

/// What is new and was not tried.
fn untried(getter: &Getter<'_>, tried: &BTreeSet<OfferId>) -> Vec<OfferId> {
    fresh(getter.room, &getter.errand.memory()).filter(|offer| !tried.contains(offer)).collect()
}

/// Tells of what went wrong, unless it is more than that with one offer.
fn handle(got: anyhow::Result<()>, bearable: impl Fn(&anyhow::Error) -> bool) -> anyhow::Result<()> {
    match got {
        Err(error) if bearable(&error) => complain(&error),
        other => return other,
    }
    Ok(())
}

fn complain(error: &anyhow::Error) {
    logging::above_bars(|| drop(writeln!(std::io::stderr(), "conf-recv: {error:#}")));
}

/// Whether an error is about one offer only.
fn is_of_one(error: &anyhow::Error) -> bool {
    matches!(exit(error), Exit::Refused | Exit::Integrity | Exit::Incomplete | Exit::File | Exit::Usage)
}

/// The code with which an error ends the program.
fn exit(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failure>().map_or(Exit::Other, |failure| failure.exit)
}
