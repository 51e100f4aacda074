//! Files, a text, or a pipe as a file: an offer to the room.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use globset::GlobSet;
use md5::{Digest, Md5};

use super::{FileOptions, Send, sums};
use crate::cli::progress::{self, Begin, Direction, Display, Ending, Style};
use crate::cli::{Exit, Failure, ended, output, signal, state, units};
use crate::files::ledger::{self, Ledger};
use crate::files::source::{self, Found};
use crate::id::{self, OfferNumber};
use crate::net::client::Config;
use crate::pipeline::upload::{self, Done, Error, News, Options, What};
use crate::session::Address;
use crate::wire::Code;

/// Things that are not sent and are told one by one; more are counted.
const TOLD: usize = 5;

/// Bytes of a text at the most.
const TEXT: u64 = 1024 * 1024;

/// Sends what the arguments name.
pub(super) fn send(args: &Send) -> anyhow::Result<()> {
    let mut ended = false;
    let sent = send_all(args, &mut ended);
    if let (Err(error), false, Style::Json) = (&sent, ended, args.files.progress) {
        progress::end_before_it_began(Direction::Send, &args.common, error);
    }
    sent
}

fn send_all(args: &Send, told: &mut bool) -> anyhow::Result<()> {
    let what = what(args)?;
    if args.files.dry_run {
        return dry_run(&what);
    }
    let mut config = args.meeting.config(&args.common, "conf-send", Vec::new())?;
    config.offers = args.files.wait || args.files.restart;
    let ledger = match &what {
        What::Files(found) => {
            let FileOptions { to, exclude, .. } = &args.files;
            remembered(found, &args.paths, to.as_deref(), exclude, &config.address)?
        }
        What::Text(_) | What::Pipe { .. } => None,
    };
    let mut display = Display::new(args.files.progress, Direction::Send, &args.common);
    tell_left_out(&what, &mut display);
    let paths = match &what {
        What::Files(found) => found.files.iter().map(|file| file.from.clone()).collect(),
        What::Pipe { name, .. } => vec![PathBuf::from(name)],
        What::Text(_) => Vec::new(),
    };
    let options = Options {
        what,
        to: args.files.to.clone(),
        wait: args.files.wait,
        limit: args.files.limit_rate,
        restart: args.files.restart,
        resume: args.files.resume,
        ledger,
        named: args.meeting.name.as_ref().is_some_and(|name| !name.is_empty()),
    };
    let sent = run(options, config.clone(), &mut display);
    let result = conclude(sent, &config.address);
    let code = match &result {
        Ok(_) => signal::received().map_or(0, |signal| 128 + signal),
        Err(failure) => failure.exit as u8,
    };
    let message = result.as_ref().err().map(|failure| failure.message.as_str());
    let idle = display.moved() == 0;
    display.end(&Ending { exit: code, message, idle });
    *told = true;
    if let Some(done) = result?
        && !args.common.quiet
    {
        print(&done, &paths)?;
        if matches!(args.files.progress, Style::Auto | Style::Bar | Style::Plain) {
            let who =
                args.files.to.as_deref().map_or_else(|| "the others type".into(), |to| format!("{to} types"));
            let _ = writeln!(io::stderr(), "offer {number}; {who}: conf-recv {number}", number = done.offer);
        }
    }
    Ok(())
}

/// Takes an offer back.
pub(super) fn withdraw(args: &Send, offer: u32) -> anyhow::Result<()> {
    let config = args.meeting.config(&args.common, "conf-send", Vec::new())?;
    let address = config.address.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    conclude(runtime.block_on(upload::withdraw(OfferNumber(offer), config)).map(|()| None), &address)?;
    if !args.common.quiet {
        let _ = writeln!(io::stderr(), "offer {offer} is taken back");
    }
    Ok(())
}

fn what(args: &Send) -> Result<What, Failure> {
    if let Some(text) = &args.files.text {
        return Ok(What::Text(said(text)?));
    }
    if let Some(name) = &args.files.stdin_name {
        upload::pipe(name).map_err(|error| Failure::usage(format!("--stdin-name: {error}")))?;
        let stdin = rustix::io::dup(io::stdin())
            .map_err(|error| Failure::new(Exit::File, format!("no stdin: {error}")))?;
        return Ok(What::Pipe { name: name.clone(), file: File::from(stdin) });
    }
    let exclude = source::excluded(&args.files.exclude)
        .map_err(|error| Failure::usage(format!("--exclude: {error}")))?;
    found(&args.paths, &exclude).map(What::Files)
}

/// The text that is meant: `-` is what comes in through stdin.
fn said(text: &str) -> Result<String, Failure> {
    let mut said = text.to_owned();
    if text == "-" {
        said.clear();
        let mut stdin = io::stdin().lock().take(TEXT + 1);
        stdin
            .read_to_string(&mut said)
            .map_err(|error| Failure::new(Exit::File, format!("stdin: {error}")))?;
    }
    match said.len() as u64 {
        0 => Err(Failure::usage("there is no text to send")),
        1..=TEXT => Ok(said),
        _ => Err(Failure::usage("a text has at most 1 MiB; type: conf-send --stdin-name NAME")),
    }
}

/// What is at `paths`.
pub(in crate::cli) fn found(paths: &[PathBuf], exclude: &GlobSet) -> Result<Found, Failure> {
    source::find(paths, exclude).map_err(|error| {
        let exit = match error {
            source::Error::Same(..)
            | source::Error::Nameless(_)
            | source::Error::Nothing
            | source::Error::TooMany => Exit::Usage,
            _ => Exit::File,
        };
        Failure::new(exit, error.to_string())
    })
}

fn run(options: Options, config: Config, display: &mut Display) -> Result<Option<Done>, Error> {
    let stop = signal::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let report = |news: News<'_>| match news {
        News::Begin { offer, title, files, size, before } => {
            display.begin(&Begin { offer: Some(offer.0.into()), title, files, size, before });
        }
        News::Figures(figures) => display.show(figures),
        News::Note(note) => display.note(note),
        News::File { path, sum } => display.file(path, sum.size, &id::hex(&sum.md5)),
    };
    let sent = runtime.block_on(upload::run(options, config, stop, report));
    // The thread that reads stdin may be waiting there for ever.
    runtime.shutdown_background();
    sent
}

/// The file in which an upload of `found` to this room is remembered; none where nothing can be.
pub(in crate::cli) fn remembered(
    found: &Found,
    paths: &[PathBuf],
    to: Option<&str>,
    exclude: &[String],
    address: &Address,
) -> Result<Option<Ledger>, Failure> {
    let Some(directory) = state::directory().map(|state| state.join("uploads")) else {
        tracing::warn!("no HOME and no XDG_STATE_HOME: this upload cannot be resumed");
        return Ok(None);
    };
    ledger::forget_old(&directory);
    let mut sum = Md5::new();
    let mut add = |text: &[u8]| {
        sum.update((text.len() as u64).to_be_bytes());
        sum.update(text);
    };
    add(address.to_string().as_bytes());
    for path in paths {
        let whole = path.canonicalize().unwrap_or_else(|_| path.clone());
        add(std::os::unix::ffi::OsStrExt::as_bytes(whole.as_os_str()));
    }
    add(to.unwrap_or_default().as_bytes());
    exclude.iter().for_each(|pattern| add(pattern.as_bytes()));
    let path = directory.join(format!("{}.journal", id::hex(&sum.finalize())));
    match Ledger::open(&path) {
        Ok(ledger) => Ok(Some(ledger)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Failure::new(
            Exit::File,
            format!(
                "another program is sending {} to this room",
                source::shown(
                    &found
                        .files
                        .first()
                        .or(found.directories.first())
                        .map_or_else(PathBuf::new, |first| first.from.clone())
                )
            ),
        )),
        Err(error) => {
            let path = source::shown(&path);
            tracing::warn!(
                "cannot remember how far this upload comes in {path} ({error}): it cannot be resumed"
            );
            Ok(None)
        }
    }
}

/// The end of an upload as the end of the program.
pub(in crate::cli) fn conclude(
    sent: Result<Option<Done>, Error>,
    address: &Address,
) -> Result<Option<Done>, Failure> {
    let error = match sent {
        Ok(done) => return Ok(done),
        Err(error) => error,
    };
    let exit = match &error {
        Error::Ended(end) => {
            ended(end, address)?;
            return Ok(None);
        }
        // The same command would go on with the middle of a pipe.
        Error::Changed { .. } | Error::Lost => Exit::Integrity,
        Error::List(_) => Exit::Usage,
        Error::Read(..) | Error::Io(_) => Exit::File,
        Error::BrokenOff(_) | Error::Silent => Exit::Incomplete,
        Error::Unknowing => Exit::Protocol,
        Error::Nobody { .. } | Error::Gone(_) => Exit::Refused,
        Error::Full(_) => Exit::Refused,
        Error::Refused(refusal) => match refusal.code {
            Code::Protocol | Code::BadHeader | Code::Version | Code::Unknown => Exit::Protocol,
            _ => Exit::Refused,
        },
    };
    Err(Failure::new(exit, error.to_string()))
}

fn print(done: &Done, paths: &[PathBuf]) -> io::Result<()> {
    let terminal = io::stdout().is_terminal();
    let mut text = Vec::new();
    for (sum, path) in done.sums.files().iter().zip(paths) {
        text.extend(sums::line(&sum.md5, path, terminal));
    }
    output::stdout()?.write_all(&text)
}

fn tell_left_out(what: &What, display: &mut Display) {
    let What::Files(found) = what else { return };
    let told: Vec<_> = found.left_out.iter().filter(|(_, why)| *why != source::EXCLUDED).collect();
    for (path, why) in told.iter().take(TOLD) {
        display.note(&format!("not sent: {} ({why})", source::shown(path)));
    }
    let more = told.len().saturating_sub(TOLD) + found.left_out_more;
    if more > 0 {
        display.note(&format!("not sent: {more} more; --dry-run lists them"));
    }
    if let Some(hidden) = found.hidden() {
        display.note(&hidden);
    }
}

/// What would be sent, on stdout.
fn dry_run(what: &What) -> anyhow::Result<()> {
    if let What::Text(text) = what {
        let size = units::size(text.len() as u64);
        output::stdout()?.write_all(format!("{size:>10}  in a text\n").as_bytes())?;
    }
    let What::Files(found) = what else { return Ok(()) };
    let manifest = upload::manifest(what).map_err(|error| Failure::usage(error.to_string()))?;
    let terminal = io::stdout().is_terminal();
    // One line for each, as in the sums.
    let shown = |path: &Path| String::from_utf8_lossy(&sums::name(path, terminal).0).into_owned();
    let mut text = String::new();
    for file in &found.files {
        let path: PathBuf = file.path.iter().collect();
        text += &format!("{:>10}  {}\n", units::size(file.identity.size), shown(&path));
    }
    for directory in &found.directories {
        let path: PathBuf = directory.path.iter().collect();
        text += &format!("{:>10}  {}/\n", "-", shown(&path));
    }
    for (path, why) in &found.left_out {
        text += &format!("{:>10}  {} ({why})\n", "not sent", shown(path));
    }
    if found.left_out_more > 0 {
        text += &format!("{:>10}  {} more\n", "not sent", found.left_out_more);
    }
    let files = found.files.len();
    let plural = if files == 1 { "" } else { "s" };
    text += &format!("{:>10}  in {files} file{plural}\n", units::size(manifest.total().unwrap_or(0)));
    output::stdout()?.write_all(text.as_bytes())?;
    Ok(())
}
