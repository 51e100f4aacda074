//! Offers, one after the other, from the room to where they belong.

use std::io::{IsTerminal, Write};
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use super::{Existing, Recv, ask, fresh, told};
use crate::cli::output::{Content, Output};
use crate::cli::progress::{Begin, Direction, Display, Ending};
use crate::cli::send::sums;
use crate::cli::{Exit, Failure, output, signal};
use crate::files::sink::Directory;
use crate::id::OfferId;
use crate::pipeline::download::{self, Error, IfExists, Listed, Note, Outcome, Received, Room, Target};
use crate::pipeline::figures::Figures;
use crate::session::Address;
use crate::transfer::{Kind, Rules};
use crate::{id, limits, text};

/// Receives offers.
pub(super) struct Getter<'a> {
    pub(super) args: &'a Recv,
    pub(super) room: &'a mut Room,
    pub(super) address: &'a Address,
    pub(super) stop: &'a CancellationToken,
    pub(super) memory: Memory,
}

/// What one wants to know of an offer for messages.
struct Named {
    number: String,
    title: String,
    from: String,
    kind: Kind,
}

impl Getter<'_> {
    /// Receives these; the first error ends it.
    pub(super) async fn each(&mut self, chosen: &[OfferId]) -> anyhow::Result<()> {
        for offer in chosen {
            self.get(*offer).await?;
            if self.stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    /// Receives everything that is new, and with `--watch` what comes. What goes wrong with one does not keep the
    /// others; the first such thing is how the program ends.
    pub(super) async fn all(&mut self) -> anyhow::Result<()> {
        let mut first = None;
        let mut tried = std::collections::BTreeSet::new();
        let mut any = false;
        while !self.stop.is_cancelled() {
            let next = fresh(self.room, &self.memory).find(|offer| !tried.contains(offer));
            if let Some(offer) = next {
                any = true;
                tried.insert(offer);
                if let Err(error) = self.get(offer).await {
                    if !matches!(exit(&error), Exit::Refused | Exit::Integrity | Exit::File | Exit::Usage) {
                        return Err(error);
                    }
                    if self.args.watch {
                        tracing::error!("{error:#}");
                    } else {
                        first.get_or_insert(error);
                    }
                }
                continue;
            }
            if !self.args.watch {
                break;
            }
            if !any {
                self.say("waiting for what comes; Ctrl-C ends it\n");
                any = true;
            }
            tokio::select! {
                () = self.stop.cancelled() => {}
                happened = self.room.next() => drop(happened.map_err(|error| told(error, self.address, None))?),
            }
        }
        if !any {
            self.say("there is nothing new\n");
        }
        first.map_or(Ok(()), Err)
    }

    /// Receives one.
    async fn get(&mut self, offer: OfferId) -> anyhow::Result<()> {
        let named = self.named(offer);
        let mut display = Display::new(self.args.progress, Direction::Receive, &self.args.common);
        let got = self.receive(offer, &named, &mut display).await;
        let (failure, interrupted) = match got {
            Ok(()) => (None, false),
            Err(Error::Interrupted) => (None, true),
            Err(Error::Io(error)) if crate::cli::is_reader_gone(&error) => return Err(error.into()),
            Err(error) => (Some(told(error, self.address, Some(&named.number))), false),
        };
        if interrupted {
            display.note(&format!(
                "interrupted; what came is kept, and conf-recv {} goes on from there",
                named.number
            ));
        }
        let code = match (&failure, interrupted) {
            (Some(failure), _) => failure.exit as u8,
            (None, true) => 128 + signal::received().unwrap_or(2),
            (None, false) => 0,
        };
        display
            .end(&Ending { exit: code, message: failure.as_ref().map(|failure| failure.message.as_str()) });
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }

    async fn receive(&mut self, offer: OfferId, named: &Named, display: &mut Display) -> Result<(), Error> {
        let rules = Rules { hidden: self.args.allow_hidden };
        let listed = tokio::select! {
            () = self.stop.cancelled() => return Err(Error::Interrupted),
            listed = download::list(self.room, offer, self.address.room.as_str(), rules) => listed?,
        };
        if let Some(most) = self.args.max_size
            && listed.manifest.total().is_some_and(|total| total > most)
        {
            return Err(Error::Large(most));
        }
        let output = self.args.output.as_deref();
        let one = !self.args.all && !self.args.watch;
        if output == Some(Path::new("-")) || output.is_none() && one && named.kind == Kind::Text {
            self.stream(&listed, named, display).await?;
        } else if !self.fetch(listed, named, display).await? {
            return Ok(());
        }
        self.memory.add(offer, self.address.room.as_str());
        self.room.received(offer).await;
        Ok(())
    }

    /// Into a place on the disk; whether all of it is there.
    async fn fetch(&mut self, listed: Listed, named: &Named, display: &mut Display) -> Result<bool, Error> {
        let manifest = listed.manifest.clone();
        let target = place(self.args, listed)?;
        target.check()?;
        let asking = ask::can_ask(&self.args.common);
        if asking && !self.args.yes && target.before() == 0 {
            display.pause();
            if !ask::accept(self.room, self.stop, &named.from, &named.title, &target).await? {
                return Ok(false);
            }
        }
        let chosen: Option<IfExists> = self.args.if_exists.unwrap_or(Existing::Ask).into();
        let if_exists = match chosen {
            Some(chosen) => chosen,
            None if target.in_the_way().is_empty() => IfExists::Fail,
            None if asking => {
                display.pause();
                match ask::existing(self.room, self.stop, &target).await? {
                    Some(chosen) => chosen,
                    None => return Ok(false),
                }
            }
            None => IfExists::Fail,
        };
        self.begin(display, named, manifest.files().len(), manifest.total(), target.before());
        let mut report = |note: Note<'_>| show(display, &note);
        let most = self.args.max_size;
        let outcome = download::run(self.room, target, if_exists, most, self.stop, &mut report).await?;
        match outcome {
            Outcome::Skipped => {
                display.note(&format!("{}: everything is there already", named.title));
                Ok(false)
            }
            Outcome::Whole { files } => {
                for file in &files {
                    display.file(&file.path, file.size, &id::hex(&file.md5));
                }
                let whole = files.len() == manifest.files().len();
                self.sums(&files)?;
                Ok(whole)
            }
        }
    }

    /// To stdout, as it comes.
    async fn stream(&mut self, listed: &Listed, named: &Named, display: &mut Display) -> Result<(), Error> {
        let text = named.kind == Kind::Text;
        let content = if text { Content::Text } else { Content::Binary { force: self.args.force } };
        let terminal = std::io::stdout().is_terminal();
        let out = Output::open(None, content).map_err(|failure| Error::Io(std::io::Error::other(failure)))?;
        let out: Box<dyn Write + Send> =
            if text && terminal { Box::new(Harmless { out, text: Vec::new() }) } else { Box::new(out) };
        let [_] = listed.manifest.files() else { return Err(Error::Several(listed.manifest.files().len())) };
        self.begin(display, named, 1, listed.manifest.total(), 0);
        let mut report = |note: Note<'_>| show(display, &note);
        let most = self.args.max_size;
        let file = download::stream(self.room, listed, out, most, self.stop, &mut report).await?;
        display.file(&file.path, file.size, &id::hex(&file.md5));
        Ok(())
    }

    fn begin(&self, display: &mut Display, named: &Named, files: usize, size: Option<u64>, before: u64) {
        display.begin(&Begin {
            offer: named.number.parse().ok(),
            title: &named.title,
            files: files as u32,
            size,
            before,
        });
    }

    /// What came, with its MD5, as `md5sum` prints it.
    fn sums(&self, files: &[Received]) -> Result<(), Error> {
        if self.args.common.quiet {
            return Ok(());
        }
        let mut out = output::stdout()?;
        let terminal = std::io::stdout().is_terminal();
        for file in files {
            out.write_all(&sums::line(&file.md5, &file.place, terminal))?;
        }
        Ok(())
    }

    fn named(&self, offer: OfferId) -> Named {
        match self.room.offer(offer) {
            Some(offer) => Named {
                number: offer.state.offer.to_string(),
                title: offer.title().to_owned(),
                from: offer.state.name.clone(),
                kind: offer.about.as_ref().map(|about| about.kind).unwrap_or_default(),
            },
            None => Named {
                number: "OFFER".into(),
                title: "?".into(),
                from: "somebody".into(),
                kind: Kind::default(),
            },
        }
    }

    fn say(&self, text: &str) {
        if !self.args.common.quiet {
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

/// A place for an offer, as the options say.
pub(super) fn place(args: &Recv, listed: Listed) -> Result<Target, Error> {
    let Some(path) = args.output.as_deref() else {
        return Target::look(listed, Directory::open(Path::new("."))?, None);
    };
    let single = matches!(listed.manifest.files(), [file] if file.path.components().len() == 1);
    let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if path.is_dir() || slash || !single || args.all || args.watch || args.offers.len() > 1 {
        return Target::look(listed, Directory::open_or_make(path)?, None);
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "-o names no file"))
    })?;
    Target::look(listed, Directory::open(parent)?, Some(name))
}

fn show(display: &mut Display, note: &Note<'_>) {
    match note {
        Note::Figures(figures) => {
            let figures: &Figures = figures;
            display.show(figures);
        }
        Note::Message(message) => display.note(message),
    }
}

/// The code with which an error ends the program.
fn exit(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failure>().map_or(Exit::Other, |failure| failure.exit)
}

/// A text on its way to a terminal: nothing in it does anything there.
struct Harmless {
    out: Output,
    text: Vec<u8>,
}

impl Write for Harmless {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        // A line that is longer than a message is not waited for.
        let end = match self.text.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => at + 1,
            None if self.text.len() > limits::MESSAGE => self.text.len(),
            None => return Ok(bytes.len()),
        };
        let lines: Vec<u8> = self.text.drain(..end).collect();
        self.out.write_all(text::scrub_lines(&String::from_utf8_lossy(&lines), usize::MAX).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let rest = std::mem::take(&mut self.text);
        if rest.is_empty() {
            return Ok(());
        }
        let rest = text::scrub_lines(&String::from_utf8_lossy(&rest), usize::MAX);
        self.out.write_all(rest.as_bytes())?;
        self.out.write_all(b"\n")
    }
}
