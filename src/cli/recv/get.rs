//! An offer, from the room to where it belongs.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use super::said::{self, Harmless};
use super::{Existing, Recv, ask, told};
use crate::cli::output::{Content, Output};
use crate::cli::progress::{Begin, Direction, Display, Ending};
use crate::cli::send::sums;
use crate::cli::{Exit, Failure, logging, output, signal};
use crate::files::sink::Directory;
use crate::id::OfferId;
use crate::pipeline::download::{self, Error, IfExists, Listed, Note, Outcome, Received, Room, Target};
use crate::pipeline::figures::Figures;
use crate::session::Address;
use crate::transfer::{Kind, Rules};
use crate::{id, text};

/// How long one waits for the description of an offer that is there.
const DESCRIBED: Duration = Duration::from_secs(5);

/// What all that is received in one run has in common.
pub(super) struct Errand {
    pub(super) args: Recv,
    pub(super) address: Address,
    pub(super) stop: CancellationToken,
    memory: Mutex<Memory>,
    /// One question at a time.
    asking: tokio::sync::Mutex<()>,
    /// The end of an offer has been told.
    ended: AtomicBool,
}

impl Errand {
    pub(super) fn new(args: Recv, address: Address, stop: CancellationToken) -> Self {
        let asking = tokio::sync::Mutex::new(());
        let memory = Mutex::new(Memory::load());
        Self { args, address, stop, memory, asking, ended: AtomicBool::new(false) }
    }

    /// What was received before.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the end of an offer has been told.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    pub(super) fn say(&self, text: &str) {
        if !self.args.common.quiet {
            let _ = std::io::stderr().write_all(text.as_bytes());
        }
    }
}

/// Receives offers.
pub(super) struct Getter<'a> {
    pub(super) errand: &'a Errand,
    pub(super) room: &'a mut Room,
}

/// What one wants to know of an offer for messages.
pub(super) struct Named {
    number: String,
    title: String,
    from: String,
    kind: Kind,
}

impl Named {
    pub(super) fn of(room: &Room, offer: OfferId) -> Self {
        match room.offer(offer) {
            Some(offer) => Self {
                number: offer.state.offer.to_string(),
                title: offer.title().to_owned(),
                from: offer.state.name.clone(),
                kind: offer.about.as_ref().map(|about| about.kind).unwrap_or_default(),
            },
            None => Self {
                number: "OFFER".into(),
                title: "?".into(),
                from: "somebody".into(),
                kind: Kind::default(),
            },
        }
    }
}

/// What came of an offer.
enum Got {
    /// All of it is here, in these files.
    Whole(Vec<Received>),
    /// These files; others stayed as they were.
    Partly(Vec<Received>),
    /// It went to stdout.
    Streamed,
}

/// Why an offer was not received.
enum Not {
    /// The user does not want it.
    Declined,
    Failed(Error),
}

impl From<Error> for Not {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How far it came, for the message about what to do next.
#[derive(Default)]
struct Came {
    /// Bytes that are on the disk.
    bytes: u64,
    /// The name beside which what came is in a part.
    part: Option<PathBuf>,
}

impl Getter<'_> {
    /// Receives one.
    pub(super) async fn get(&mut self, offer: OfferId) -> anyhow::Result<()> {
        self.wait_for_description(offer).await;
        let named = Named::of(self.room, offer);
        let args = &self.errand.args;
        let mut display = Display::new(args.progress, Direction::Receive, &args.common)
            .about(named.number.parse().ok(), args.watch);
        let mut came = Came::default();
        let got = self.receive(offer, &named, &mut display, &mut came).await;
        let interrupted = matches!(got, Err(Not::Failed(Error::Interrupted)));
        if interrupted {
            display.note(&self.interrupted(&named, &came));
        }
        let (files, failure) = match got {
            Ok(Got::Whole(files) | Got::Partly(files)) => (files, None),
            Ok(Got::Streamed) => (Vec::new(), None),
            Err(Not::Failed(Error::Interrupted)) => (Vec::new(), None),
            Err(Not::Failed(Error::Io(error))) if crate::cli::is_reader_gone(&error) => {
                return Err(error.into());
            }
            Err(Not::Declined) => {
                let message = format!("nothing was received of offer {}, {}", named.number, named.title);
                (Vec::new(), Some(Failure::new(Exit::Refused, message)))
            }
            Err(Not::Failed(error)) => (Vec::new(), Some(self.failure(error, &named, &came))),
        };
        let code = match (&failure, interrupted) {
            (Some(failure), _) => failure.exit as u8,
            (None, true) => 128 + signal::received().unwrap_or(2),
            (None, false) => 0,
        };
        // Text on a terminal is all that one wants to see there.
        let text = named.kind == Kind::Text && self.errand.args.output.is_none();
        let idle = came.bytes == 0 && display.moved() == 0 || text;
        let message = failure.as_ref().map(|failure| failure.message.as_str());
        display.end(&Ending { exit: code, message, idle });
        self.errand.ended.store(true, Ordering::Relaxed);
        self.sums(&files)?;
        failure.map_or(Ok(()), |failure| Err(failure.into()))
    }

    /// What the user has broken off, and how it goes on.
    fn interrupted(&self, named: &Named, came: &Came) -> String {
        match (came.bytes, self.is_streaming(named)) {
            (0, _) => "interrupted; nothing was received".into(),
            (_, true) => "interrupted; what is written is not all of it".into(),
            (_, false) => {
                format!("interrupted; what came is kept, and {} goes on from there", self.again(named))
            }
        }
    }

    /// An error, with which offer it is about and what to type next.
    fn failure(&self, error: Error, named: &Named, came: &Came) -> Failure {
        let about = matches!(
            error,
            Error::Judged(_)
                | Error::Large { .. }
                | Error::Space { .. }
                | Error::Several(_)
                | Error::Exists(..)
                | Error::Sink(_)
                | Error::Damaged { .. }
        );
        let gone = matches!(error, Error::Gone { .. });
        let exists = matches!(error, Error::Exists(..));
        let hidden = matches!(error, Error::Judged(crate::transfer::Error::Hidden(_)));
        let again = self.again(named);
        let kept = came.bytes > 0 && !self.is_streaming(named);
        let mut failure = told(error, &self.errand.address, kept.then_some(again.as_str()));
        if about {
            failure.message = format!("offer {}, {}: {}", named.number, named.title, failure.message);
        }
        if exists && (self.errand.args.all || self.errand.args.watch) {
            failure.message += &format!("; {again} --if-exists rename receives it beside that");
        }
        if hidden {
            failure.message += &format!("; {again} --allow-hidden receives it all the same");
        }
        if let (true, Some(part)) = (gone && kept, &came.part) {
            let shown = text::scrub(&part.display().to_string(), 4096);
            let name = text::quoted(&part.file_name().unwrap_or_default().to_string_lossy());
            let at = part.parent().filter(|parent| !parent.as_os_str().is_empty());
            let at = at.map_or_else(String::new, |parent| {
                format!(" -o {}", text::quoted(&parent.display().to_string()))
            });
            failure.message += &format!(
                "; what came of it is in {shown}.part, and conf-recv --discard {name}{at} removes it"
            );
        }
        failure
    }

    /// The command that receives the rest of an offer.
    fn again(&self, named: &Named) -> String {
        let mut command = format!("conf-recv {}", named.number);
        if let Some(output) = &self.errand.args.output {
            command += &format!(" -o {}", text::quoted(&text::scrub(&output.display().to_string(), 4096)));
        }
        if self.errand.args.allow_hidden {
            command += " --allow-hidden";
        }
        command
    }

    /// Whether it goes to stdout.
    fn is_streaming(&self, named: &Named) -> bool {
        let output = self.errand.args.output.as_deref();
        let one = !self.errand.args.all && !self.errand.args.watch;
        output == Some(Path::new("-")) || output.is_none() && one && named.kind == Kind::Text
    }

    async fn receive(
        &mut self,
        offer: OfferId,
        named: &Named,
        display: &mut Display,
        came: &mut Came,
    ) -> Result<Got, Not> {
        let rules = Rules { hidden: self.errand.args.allow_hidden };
        let listed = tokio::select! {
            () = self.errand.stop.cancelled() => return Err(Error::Interrupted.into()),
            listed = download::list(self.room, offer, self.errand.address.room.as_str(), rules) => listed?,
        };
        if let Some(most) = self.errand.args.max_size
            && listed.bytes().is_some_and(|size| size > most)
        {
            return Err(Error::Large { most, size: listed.bytes() }.into());
        }
        let said = self.errand.args.watch && self.errand.args.output.is_none() && named.kind == Kind::Text;
        let got = if said && listed.is_short() {
            self.say_text(&listed, named, display, came).await?;
            Got::Streamed
        } else if self.is_streaming(named) {
            self.stream(&listed, named, display, came).await?;
            Got::Streamed
        } else {
            self.fetch(listed, named, display, came).await?
        };
        self.errand.memory().add(offer, self.errand.address.room.as_str());
        if !matches!(got, Got::Partly(_)) {
            self.room.received(offer).await;
        }
        Ok(got)
    }

    /// Into a place on the disk.
    async fn fetch(
        &mut self,
        listed: Listed,
        named: &Named,
        display: &mut Display,
        came: &mut Came,
    ) -> Result<Got, Not> {
        let (size, files) = (listed.bytes(), listed.files());
        let left_out = listed.left_out();
        if left_out > 0 {
            let again = self.again(named);
            let (count, them) = if left_out == 1 {
                ("1 hidden entry is".into(), "it")
            } else {
                (format!("{left_out} hidden entries are"), "them")
            };
            display.note(&format!(
                "{}: {count} left out; {again} --allow-hidden takes {them}, too",
                named.title
            ));
        }
        let target = place(&self.errand.args, listed, named)?;
        let copies = self.unasked() == Some(IfExists::Rename);
        let mut target = tokio::select! {
            () = self.errand.stop.cancelled() => return Err(Error::Interrupted.into()),
            target = download::compare(self.room, target, copies) => target?,
        };
        if target.is_there() || target.copy().is_some() {
            let place = target.copy().filter(|_| !target.is_there());
            let place = place.map(|place| format!(" as {}", text::scrub(&place.display().to_string(), 4096)));
            let place = place.unwrap_or_default();
            display.note(&format!("{}: all of it is there already{place}, and is the same", named.title));
            return Ok(if left_out > 0 { Got::Partly(Vec::new()) } else { Got::Whole(Vec::new()) });
        }
        target.check()?;
        let if_exists = self.ask(named, &target).await?;
        target.choose(if_exists);
        let same = target.same();
        if !same.is_empty() {
            let plural = if same.len() == 1 { "file is" } else { "files are" };
            display.note(&format!("{} {plural} there already, and the same", same.len()));
        }
        self.begin(display, named, files, size, target.before());
        came.bytes = target.before();
        let mut report = |note: Note<'_>| show(display, &note, came);
        let most = self.errand.args.max_size;
        let outcome =
            download::run(self.room, target, if_exists, most, &self.errand.stop, &mut report).await?;
        let received = match outcome {
            Outcome::Skipped => {
                display
                    .note(&format!("{}: what is there of this name stays, and is another file", named.title));
                return Ok(Got::Partly(Vec::new()));
            }
            Outcome::Whole { files } => files,
        };
        for file in &received {
            display.file(&file.path, file.size, &id::hex(&file.md5));
        }
        let left = files.saturating_sub(received.len() + same.len());
        if left > 0 {
            display.note(&format!("{left} of {files} files stay as they were"));
        }
        Ok(if left + left_out > 0 { Got::Partly(received) } else { Got::Whole(received) })
    }

    /// Whether the user wants it, and what is to happen to files in the way.
    async fn ask(&mut self, named: &Named, target: &Target) -> Result<IfExists, Not> {
        let asking = ask::can_ask(&self.errand.args.common);
        let accepting = asking && !self.errand.args.yes && target.before() == 0;
        let choosing = self.unasked().is_none() && !target.in_the_way().is_empty();
        if !accepting && !choosing {
            return Ok(self.unasked().unwrap_or(IfExists::Fail));
        }
        let _turn = tokio::select! {
            () = self.errand.stop.cancelled() => return Err(Error::Interrupted.into()),
            turn = self.room.during(self.errand.asking.lock()) => turn,
        };
        let _away = logging::bars_away();
        if accepting && !ask::accept(self.room, &self.errand.stop, &named.from, &named.title, target).await? {
            return Err(Not::Declined);
        }
        match self.unasked() {
            Some(chosen) => Ok(chosen),
            None if target.in_the_way().is_empty() => Ok(IfExists::Fail),
            None => {
                let chosen = ask::existing(self.room, &self.errand.stop, target).await?;
                chosen.ok_or(Not::Declined)
            }
        }
    }

    /// What happens to files in the way, where nobody is asked about it.
    fn unasked(&self) -> Option<IfExists> {
        let chosen: Option<IfExists> = self.errand.args.if_exists.unwrap_or(Existing::Ask).into();
        chosen.or_else(|| match ask::can_ask(&self.errand.args.common) {
            true => None,
            // Nobody comes to type it again.
            false if self.errand.args.watch => Some(IfExists::Rename),
            false => Some(IfExists::Fail),
        })
    }

    /// To stdout, as it comes.
    async fn stream(
        &mut self,
        listed: &Listed,
        named: &Named,
        display: &mut Display,
        came: &mut Came,
    ) -> Result<(), Error> {
        let text = named.kind == Kind::Text;
        let content = if text { Content::Text } else { Content::Binary { force: self.errand.args.force } };
        let terminal = std::io::stdout().is_terminal();
        let out = Output::open(None, content).map_err(|failure| Error::Io(std::io::Error::other(failure)))?;
        let out: Box<dyn Write + Send> =
            if text && terminal { Box::new(Harmless::new(out)) } else { Box::new(out) };
        let [_] = listed.manifest.files() else { return Err(Error::Several(listed.manifest.files().len())) };
        self.begin(display, named, 1, listed.size, 0);
        let mut report = |note: Note<'_>| show(display, &note, came);
        let most = self.errand.args.max_size;
        let file = download::stream(self.room, listed, out, most, &self.errand.stop, &mut report).await?;
        display.file(&file.path, file.size, &id::hex(&file.md5));
        Ok(())
    }

    /// A text that comes while nobody asks for it: on stdout, with who says it, all of it or nothing.
    async fn say_text(
        &mut self,
        listed: &Listed,
        named: &Named,
        display: &mut Display,
        came: &mut Came,
    ) -> Result<(), Error> {
        self.begin(display, named, 1, listed.size, 0);
        let mut report = |note: Note<'_>| show(display, &note, came);
        let read = download::read(self.room, listed, &self.errand.stop, &mut report).await?;
        let mut out = output::stdout()?;
        let said = said::by(&named.from, &named.number, &read);
        Ok(logging::above_bars(|| out.write_all(said.as_bytes()))?)
    }

    /// What an offer is called comes right behind the news of it.
    pub(super) async fn wait_for_description(&mut self, offer: OfferId) {
        let described = async {
            while self.room.offer(offer).is_some_and(|offer| !offer.described) {
                if self.room.next().await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            () = self.errand.stop.cancelled() => {}
            // A server that keeps it to itself is told of by what follows.
            _ = tokio::time::timeout(DESCRIBED, described) => {}
        }
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
    fn sums(&self, files: &[Received]) -> std::io::Result<()> {
        if self.errand.args.common.quiet || files.is_empty() {
            return Ok(());
        }
        let mut out = output::stdout()?;
        let terminal = std::io::stdout().is_terminal();
        let lines: Vec<u8> =
            files.iter().flat_map(|file| sums::line(&file.md5, &file.place, terminal)).collect();
        logging::above_bars(|| out.write_all(&lines))
    }
}

/// A place for an offer, as the options say. Texts all have the same name, so in a directory they are numbered.
pub(super) fn place(args: &Recv, listed: Listed, named: &Named) -> Result<Target, Error> {
    let single = matches!(listed.manifest.files(), [file] if file.path.components().len() == 1);
    let name = (named.kind == Kind::Text && single).then(|| format!("text-{}.txt", named.number));
    let Some(path) = args.output.as_deref() else {
        return Target::look(listed, Directory::open(Path::new("."))?, name.as_deref());
    };
    let slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if path.is_dir() || slash || !single || args.all || args.watch || args.offers.len() > 1 {
        return Target::look(listed, Directory::open_or_make(path)?, name.as_deref());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidInput, "-o names no file"))
    })?;
    Target::look(listed, Directory::open(parent)?, Some(name))
}

fn show(display: &mut Display, note: &Note<'_>, came: &mut Came) {
    match note {
        Note::Figures(figures) => {
            let figures: &Figures = figures;
            came.bytes = figures.done;
            display.show(figures);
        }
        Note::Message(message) => display.note(message),
        Note::Part(path) => came.part = Some(path.to_path_buf()),
    }
}
