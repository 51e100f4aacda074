//! An offer from the room, by the rules of conf-recv: nothing outside the directory, nothing in the place of
//! what is there.

use std::io;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::{End, Get, Report, Teller, Whole};
use crate::cli::recv::told;
use crate::cli::{Exit, Failure};
use crate::files::sink::Directory;
use crate::net::client::Config;
use crate::pipeline::download::{self, Error, IfExists, Listed, Note, Outcome, Room, Target};
use crate::transfer::Rules;

/// Fetches it; the session is its own.
pub(super) async fn run(job: Get, config: Config, stop: CancellationToken, tell: Teller) -> End {
    let address = config.address.clone();
    let mut room = Room::join(config);
    let mut whole = true;
    let fetched = fetch(&job, &mut room, address.room.as_str(), &stop, &tell, &mut whole).await;
    if whole && matches!(fetched, Ok(End::Whole(_) | End::Text(_) | End::Skipped)) {
        room.received(job.offer).await;
    }
    room.leave().await;
    match fetched {
        Ok(end) => end,
        Err(Error::Interrupted) => End::Stopped,
        Err(Error::Judged(error)) => End::Failed(Failure::new(
            Exit::Refused,
            format!("not accepted: {error}; conf-recv {} has options for some of this", job.number),
        )),
        Err(error) => End::Failed(told(error, &address, Some(&format!("conf-recv {}", job.number)))),
    }
}

async fn fetch(
    job: &Get,
    room: &mut Room,
    name: &str,
    stop: &CancellationToken,
    tell: &Teller,
    whole: &mut bool,
) -> Result<End, Error> {
    let listing = async {
        room.listed().await?;
        if room.offer(job.offer).is_none() {
            return Err(Error::Missing);
        }
        download::list(room, job.offer, name, Rules { hidden: false }).await
    };
    let listed = tokio::select! {
        () = stop.cancelled() => return Err(Error::Interrupted),
        listed = listing => listed?,
    };
    let mut report = |note: Note<'_>| match note {
        Note::Figures(figures) => tell.tell(Report::Figures(Box::new(figures.clone()))),
        Note::Message(text) => tell.tell(Report::Note(text.to_owned())),
        Note::Part(_) => {}
    };
    let begun = |before| Report::Begun { offer: job.number, title: job.title.clone(), before };
    if job.text && listed.is_short() {
        tell.tell(begun(0));
        return download::read(room, &listed, stop, &mut report).await.map(End::Text);
    }
    *whole = listed.left_out() == 0;
    if !*whole {
        let count = listed.left_out();
        let note = format!(
            "{count} of what is in it is hidden and left out; conf-recv {} --allow-hidden takes it, too",
            job.number
        );
        tell.tell(Report::Note(note));
    }
    let directory = job.directory.clone();
    let target = room.during(tokio::task::spawn_blocking(move || look(listed, directory)));
    let target = target.await.map_err(|error| Error::Io(io::Error::other(error)))??;
    let target = tokio::select! {
        () = stop.cancelled() => return Err(Error::Interrupted),
        target = download::compare(room, target, true) => target?,
    };
    if target.is_there() || target.copy().is_some() {
        return Ok(End::Skipped);
    }
    target.check()?;
    tell.tell(begun(target.before()));
    match download::run(room, target, IfExists::Rename, None, stop, &mut report).await? {
        Outcome::Skipped => Ok(End::Skipped),
        Outcome::Whole { files } => Ok(End::Whole(
            files
                .into_iter()
                .map(|file| Whole { path: file.path, place: file.place, size: file.size, md5: file.md5 })
                .collect(),
        )),
    }
}

fn look(listed: Listed, directory: PathBuf) -> Result<Target, Error> {
    let directory = match directory.as_os_str().is_empty() {
        true => Directory::open(std::path::Path::new("."))?,
        false => Directory::open_or_make(&directory)?,
    };
    Target::look(listed, directory, None)
}
