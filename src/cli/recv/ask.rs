//! Questions to a person at a terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use tokio_util::sync::CancellationToken;

use crate::cli::{Common, units};
use crate::pipeline::download::{Error, IfExists, Room, Target};
use crate::text;

/// Files that are shown before all of them are asked for.
const SHOWN: usize = 20;
/// Cells of a path.
const PATH: usize = 120;

/// Whether somebody can be asked.
pub(super) fn can_ask(common: &Common) -> bool {
    !common.no_input && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether an offer is to be received, after all that is in it was shown.
pub(super) async fn accept(
    room: &mut Room,
    stop: &CancellationToken,
    from: &str,
    title: &str,
    target: &Target,
) -> Result<bool, Error> {
    let listed = target.listed();
    let count = listed.files();
    let size = listed.bytes().map_or_else(|| "of unknown size".into(), units::size);
    let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    say(&format!("{from} offers {title}: {files}, {size}\n"));
    let mut lines = listed.lines();
    show(lines.by_ref().take(SHOWN));
    let left = listed.manifest.files().len() + listed.manifest.directories().len() - listed.left_out();
    let left = left.saturating_sub(SHOWN);
    let into = text::scrub(&target.path().display().to_string(), 4096);
    let all = if left > 0 { format!(" and {left} more; l lists them") } else { String::new() };
    if left > 0 {
        say(&format!("  ...{all}\n"));
    }
    loop {
        let choices = if left > 0 { "y/N/l" } else { "y/N" };
        match answer(room, stop, &format!("Receive into {into}? [{choices}] ")).await?.as_str() {
            "y" | "yes" => return Ok(true),
            "l" if left > 0 => show(listed.lines()),
            "" | "n" | "no" => return Ok(false),
            _ => {}
        }
    }
}

/// What is to happen to files that are there; nothing where none is to be received.
pub(super) async fn existing(
    room: &mut Room,
    stop: &CancellationToken,
    target: &Target,
) -> Result<Option<IfExists>, Error> {
    let there = target.in_the_way();
    match there {
        [one] => say(&format!("{} exists already.\n", cut(one))),
        several => {
            say(&format!("{} files exist already:\n", several.len()));
            several.iter().take(SHOWN).for_each(|path| say(&format!("  {}\n", cut(path))));
            if several.len() > SHOWN {
                say(&format!("  ... and {} more\n", several.len() - SHOWN));
            }
        }
    }
    loop {
        let question = "[r]ename what comes, [s]kip what is there, [o]verwrite, or [q]uit? ";
        return Ok(match answer(room, stop, question).await?.as_str() {
            "r" | "rename" => Some(IfExists::Rename),
            "s" | "skip" => Some(IfExists::Skip),
            "o" | "overwrite" => Some(IfExists::Overwrite),
            "q" | "quit" | "" => None,
            _ => continue,
        });
    }
}

/// A question that is answered by yes or no, where no room is.
pub(super) fn confirm(question: &str) -> io::Result<bool> {
    say(&format!("{question} [y/N] "));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn show(lines: impl Iterator<Item = (Option<u64>, String)>) {
    for (size, path) in lines {
        let size = size.map_or_else(|| "-".into(), units::size);
        say(&format!("  {size:>10}  {}\n", cut(&path)));
    }
}

/// A path of the offer, which was made harmless where it was judged, in one line.
fn cut(path: &str) -> String {
    text::shorten(path, PATH)
}

fn say(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}

/// A line from the terminal, in lower case; the end of input is an empty one.
async fn answer(room: &mut Room, stop: &CancellationToken, question: &str) -> Result<String, Error> {
    say(question);
    let reading = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line.trim().to_lowercase())
    });
    tokio::select! {
        () = stop.cancelled() => {
            say("\n");
            Err(Error::Interrupted)
        }
        read = room.during(reading) => {
            read.map_err(io::Error::other).and_then(|line| line).map_err(Error::Io)
        }
    }
}
