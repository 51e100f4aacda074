//! `conf-recv`: its options, which offers are meant, and how it ends.

mod all;
mod ask;
mod get;
mod list;
mod memory;
mod said;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use self::get::{Errand, Getter, Named};
pub(super) use self::list::one;
pub(super) use self::memory::Memory;
use super::progress::{self, Direction, Style};
use super::{Common, Exit, Failure, Meeting, Program, ended, is_reader_gone, output, signal, units};
use crate::id::OfferId;
use crate::limits;
use crate::net::client::Config;
use crate::pipeline::download::{self, Error, IfExists, Leftover, Room};
use crate::pipeline::offers::Offer;
use crate::session::Address;
use crate::time;
use crate::wire::offer::Going;

const EXAMPLES: &str = "\
Examples:
  export CONF_ROOM=conf://192.168.1.5/standup
  conf-recv                       the one new thing that the room was sent, or a list
  conf-recv 3                     offer number 3; again: goes on where it broke off
  conf-recv --list                what there is
  conf-recv --all -o Downloads/   everything that is new
  conf-recv --watch --yes         ... and everything that will come
  conf-recv db.sql -o - | psql    as it comes
";

/// A server that is there tells of all offers in this time, also where there are many and the way is slow.
const LISTED: Duration = limits::ANSWER.saturating_mul(2);

/// Receive files that the room was sent.
#[derive(Debug, Parser)]
#[command(name = "conf-recv", version, before_long_help = EXAMPLES)]
// Else a room in the environment would stand there as if it had to be typed.
#[command(override_usage = "conf-recv [OPTIONS] [OFFER]...")]
pub struct Recv {
    /// What to receive, by number or name [default: the only new one]
    #[arg(value_name = "OFFER")]
    pub offers: Vec<String>,

    /// Everything that is new
    #[arg(short, long, conflicts_with = "offers")]
    pub all: bool,

    /// Everything that is new, and what is still to come, until Ctrl-C
    #[arg(short, long, conflicts_with = "offers")]
    pub watch: bool,

    /// Show what there is and end, without joining the room
    #[arg(short, long, value_name = "FORM", value_enum, num_args = 0..=1, require_equals = true,
          default_missing_value = "text", conflicts_with_all = ["offers", "all", "watch", "discard"])]
    pub list: Option<Form>,

    /// With --list: only what was not received yet
    #[arg(long, requires = "list")]
    pub new: bool,

    /// Where to: a directory, another name for a single file, or - for stdout [default: this directory]
    #[arg(short, long, value_name = "DIR|FILE|-")]
    pub output: Option<PathBuf>,

    /// What happens to files that exist already [default: ask on a terminal, else fail]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub if_exists: Option<Existing>,

    /// Receive without asking
    #[arg(short, long)]
    pub yes: bool,

    /// Nothing larger than this, such as 500M
    #[arg(long, value_name = "SIZE", value_parser = units::parse)]
    pub max_size: Option<u64>,

    /// Take names that begin with a dot, too
    #[arg(long)]
    pub allow_hidden: bool,

    /// With -o -: write to a terminal, too
    #[arg(long)]
    pub force: bool,

    /// Remove what was received so far of an offer, by number or by the name of its file, and end
    #[arg(long, value_name = "OFFER", conflicts_with_all = ["offers", "all", "watch"])]
    pub discard: Option<String>,

    /// How progress is shown
    #[arg(long, value_name = "STYLE", value_enum, default_value_t = Style::Auto)]
    pub progress: Style,

    #[command(flatten)]
    meeting: Meeting,

    #[command(flatten)]
    common: Common,
}

/// In which form offers are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    Text,
    /// One JSON object
    Json,
}

/// What happens to files that exist already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Existing {
    /// Ask on the terminal
    Ask,
    /// What comes gets another name: NAME (1)
    Rename,
    /// What is there stays, and is not received
    Skip,
    /// What comes takes its place
    Overwrite,
    /// Nothing is received
    Fail,
}

impl Program for Recv {
    fn common(&self) -> &Common {
        &self.common
    }
}

/// Receives what was asked for, or until a signal comes.
pub fn recv(args: Recv) -> anyhow::Result<()> {
    let stdout = args.output.as_deref() == Some(Path::new("-"));
    if stdout && (args.all || args.watch || args.offers.len() > 1) {
        return Err(Failure::usage("only one offer can go to stdout: name it").into());
    }
    if args.if_exists == Some(Existing::Ask) && !ask::can_ask(&args.common) {
        return Err(Failure::usage(
            "nobody can be asked here; choose --if-exists rename, skip, overwrite or fail",
        )
        .into());
    }
    if let Some(name) = args.discard.as_deref()
        && discard_here(&args, name)?
    {
        return Ok(());
    }
    // Who only wants to see the list need not be seen by the others.
    let look = args.list.is_some();
    let config = Config { look, ..args.meeting.config(&args.common, "conf-recv", Vec::new())? };
    let stop = signal::install()?;
    // Beyond `ulimit -f` a write fails instead of ending the program without a word.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, std::sync::Arc::default())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let errand = Arc::new(Errand::new(args, config.address.clone(), stop));
    let done = runtime.block_on(async {
        let mut room = Room::join(config.clone());
        let done = serve(&errand, &mut room, config).await;
        room.leave().await;
        done
    });
    if let (Err(error), false, Style::Json) = (&done, errand.has_ended(), errand.args.progress) {
        progress::end_before_it_began(Direction::Receive, &errand.args.common, error);
    }
    // A thread may be waiting for an answer of somebody who has gone.
    runtime.shutdown_background();
    done
}

async fn serve(errand: &Arc<Errand>, room: &mut Room, config: Config) -> anyhow::Result<()> {
    let Errand { args, address, stop, .. } = &**errand;
    loop {
        let listed = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            listed = tokio::time::timeout(LISTED, room.listed()) => listed,
        };
        match listed {
            Ok(listed) => break listed.map_err(|error| told(error, address, None))?,
            Err(_) if room.is_up() => {
                let message = "this server says nothing of files; is it an older conf-serve?";
                return Err(Failure::new(Exit::Protocol, message).into());
            }
            // The session decides how long it tries to connect.
            Err(_) => {}
        }
    }
    if let Some(form) = args.list {
        let memory = errand.memory();
        let only: Option<Vec<OfferId>> = args.new.then(|| fresh(room, &memory).collect());
        let shown = |offer: &&Offer| only.as_ref().is_none_or(|only| only.contains(&offer.state.offer_id));
        let offers = room.offers().iter().filter(shown);
        let text = match form {
            Form::Text if only.as_ref().is_some_and(Vec::is_empty) => "there is nothing new\n".into(),
            Form::Text => list::table(offers, |offer| room.is_own(offer), &memory, time::wall()),
            Form::Json => list::json(offers, |offer| room.is_own(offer), &memory),
        };
        return Ok(output::stdout()?.write_all(text.as_bytes())?);
    }
    if let Some(what) = &args.discard {
        let offer = named(room, what)?.state.offer_id;
        return Ok(discard(args, room, address, offer, what).await?);
    }
    if args.watch {
        return all::Watch::new(errand, room, config).run().await;
    }
    if args.all {
        return all::all(Getter { errand, room }).await;
    }
    let chosen = chosen(args, room, &errand.memory())?;
    all::each(Getter { errand, room }, &chosen).await
}

/// The offers that are meant.
fn chosen(args: &Recv, room: &Room, memory: &Memory) -> Result<Vec<OfferId>, Failure> {
    if !args.offers.is_empty() {
        return args.offers.iter().map(|what| named(room, what).map(|offer| offer.state.offer_id)).collect();
    }
    let fresh: Vec<OfferId> = fresh(room, memory).collect();
    match (fresh.as_slice(), room.offers().iter().next()) {
        ([one], _) => Ok(vec![*one]),
        ([], None) => Err(Failure::new(
            Exit::Other,
            "nothing is offered in this room; conf-recv --watch waits for what comes",
        )),
        ([], Some(_)) => Err(Failure::new(
            Exit::Other,
            format!(
                "there is nothing new; a number or name receives it all the same:\n{}",
                list::table(room.offers().iter(), |offer| room.is_own(offer), memory, time::wall())
                    .trim_end()
            ),
        )),
        _ => Err(Failure::usage(format!(
            "there are several; say which (conf-recv NUMBER), or conf-recv --all:\n{}",
            list::table(room.offers().iter(), |offer| room.is_own(offer), memory, time::wall()).trim_end()
        ))),
    }
}

/// Offers of others that were not received yet.
fn fresh(room: &Room, memory: &Memory) -> impl Iterator<Item = OfferId> {
    let fresh = room.offers().iter().filter(|offer| !room.is_own(offer) && !memory.has(offer.state.offer_id));
    fresh.map(|offer| offer.state.offer_id)
}

fn named<'a>(room: &'a Room, what: &str) -> Result<&'a Offer, Failure> {
    room.offers().find(what).ok_or_else(|| {
        let shown = crate::text::scrub(what, 100);
        let message = match room.offers().holding(what) {
            Some(offer) => format!(
                "{shown} is in offer {number}, {title}, which is received as a whole: conf-recv {number}",
                number = offer.state.offer,
                title = offer.title()
            ),
            None => format!("nothing called {shown} is offered; conf-recv --list shows what is"),
        };
        Failure::new(Exit::Other, message)
    })
}

/// Removes a part by the name of its file; whether there was one. What is not certainly a part is asked about.
fn discard_here(args: &Recv, name: &str) -> Result<bool, Failure> {
    let name = name.strip_suffix(".part").unwrap_or(name);
    let directory = args.output.as_deref().unwrap_or(Path::new("."));
    let failed = |error: Error| Failure::new(exit_of(&error), error.to_string());
    let Some(left) = Leftover::find(directory, name).map_err(failed)? else { return Ok(false) };
    let shown = crate::text::scrub(name, 255);
    let doubt = left.doubt().filter(|_| !args.yes).map(|doubt| crate::text::scrub(&doubt, 1024));
    if let Some(doubt) = doubt {
        if !ask::can_ask(&args.common) {
            return Err(Failure::usage(format!("{doubt}; --yes removes it all the same")));
        }
        if !ask::confirm(&format!("{doubt}. Remove it?"))
            .map_err(|error| Failure::new(Exit::Other, error.to_string()))?
        {
            return Err(Failure::new(Exit::Refused, format!("{shown}{} stays", crate::files::sink::PART)));
        }
    }
    let received = left.is_received();
    left.remove().map_err(failed)?;
    let _ = match received {
        true => writeln!(std::io::stderr(), "removed what was received of {shown}"),
        false => writeln!(std::io::stderr(), "removed {shown}{}", crate::files::sink::PART),
    };
    Ok(true)
}

/// The same by its number or name in the room.
async fn discard(
    args: &Recv,
    room: &mut Room,
    address: &Address,
    offer: OfferId,
    what: &str,
) -> Result<(), Failure> {
    let rules = crate::transfer::Rules { hidden: true };
    let named = Named::of(room, offer);
    let gone = match download::list(room, offer, address.room.as_str(), rules).await {
        Ok(listed) => get::place(args, listed, &named).and_then(download::Target::discard),
        Err(error) => Err(error),
    };
    match gone.map_err(|error| told(error, address, None))? {
        Some(bytes) => {
            let _ = writeln!(std::io::stderr(), "removed {} that were received", units::size(bytes));
            Ok(())
        }
        None => {
            let shown = crate::text::scrub(what, 100);
            let message = format!(
                "there is nothing received of {shown} here; a NAME.part that is in the way goes with --discard NAME"
            );
            Err(Failure::new(Exit::File, message))
        }
    }
}

/// An error as the end of the program; `part` is what can be gone on with.
pub(super) fn told(error: Error, address: &Address, part: Option<&str>) -> Failure {
    let again = |message: String| match part {
        Some(what) => format!("{message}; what came is kept, and {what} goes on from there"),
        None => message,
    };
    match &error {
        Error::Ended(end) => match ended(end, address) {
            Ok(()) => Failure::new(Exit::Other, "the session is over"),
            Err(failure) if part.is_some() && failure.exit == Exit::Connect => {
                Failure::new(Exit::Incomplete, again(failure.message))
            }
            Err(failure) => failure,
        },
        // A stdout that is not written to.
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<Failure>()) => error
            .get_ref()
            .and_then(|inner| inner.downcast_ref())
            .cloned()
            .unwrap_or_else(|| Failure::new(Exit::Other, error.to_string())),
        Error::Missing | Error::Silent => Failure::new(Exit::Incomplete, again(error.to_string())),
        Error::Stuck => Failure::new(Exit::File, again(error.to_string())),
        Error::Sink(full) if full.is_full() => {
            Failure::new(Exit::File, again(format!("{error}; make room, then receive it again")))
        }
        _ => Failure::new(exit_of(&error), error.to_string()),
    }
}

fn exit_of(error: &Error) -> Exit {
    match error {
        Error::Ended(_) | Error::Over => Exit::Connect,
        // It will never be complete.
        Error::Gone { reason: Going::Changed | Going::Broken, .. } => Exit::Integrity,
        Error::Gone { .. } | Error::Refused(_) | Error::Judged(_) | Error::Large { .. } => Exit::Refused,
        Error::Missing | Error::Silent | Error::Interrupted => Exit::Incomplete,
        Error::Stuck | Error::Sink(_) | Error::Exists(..) | Error::Space { .. } => Exit::File,
        Error::Io(error) if is_reader_gone(error) => Exit::Done,
        Error::Io(error) if output::is_lost(error) => Exit::File,
        Error::Io(_) => Exit::Other,
        Error::Several(_) => Exit::Usage,
        Error::Damaged { .. } => Exit::Integrity,
    }
}

impl From<Existing> for Option<IfExists> {
    fn from(existing: Existing) -> Self {
        Some(match existing {
            Existing::Ask => return None,
            Existing::Rename => IfExists::Rename,
            Existing::Skip => IfExists::Skip,
            Existing::Overwrite => IfExists::Overwrite,
            Existing::Fail => IfExists::Fail,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_options_make_sense() {
        Recv::command().debug_assert();
    }
}
