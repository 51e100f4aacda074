//! Passwords: from a file, from the environment's file, or asked for; never from the argument list,
//! which everybody on the machine can read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr};

use super::{Common, Exit, Failure, logging, signal};
use crate::id::Secret;
use crate::net::client::Ask;
use crate::session::password;
use crate::terminal::device;

/// Bytes of a password.
const LONGEST: u64 = 1024;
/// Answers that may be wrong before it is given up.
const TRIES: u32 = 3;
/// How often a question looks whether its answer is still wanted.
const GLANCE: Duration = Duration::from_millis(50);
/// For questions whose answer is always wanted.
static WANTED: AtomicBool = AtomicBool::new(false);

/// The password in the first line of a file that only its owner can read; `-` is stdin.
pub fn from_file(file: &Path) -> Result<String, Failure> {
    let shown = file.display();
    let cannot = |error| Failure::new(Exit::File, format!("cannot read the password in {shown}: {error}"));
    let line = match file == Path::new("-") {
        true => first_line(io::stdin()),
        false => private(file).and_then(first_line),
    };
    let password = line.map_err(cannot)?;
    match password.is_empty() {
        true => {
            Err(Failure::usage(format!("the first line of {shown}, which should be the password, is empty")))
        }
        false => Ok(password),
    }
}

/// A file that only its owner can read, or a pipe that came with a descriptor, as the shell makes it of `<(...)`;
/// nothing else keeps a secret.
fn private(path: &Path) -> io::Result<File> {
    let inherited = ["/dev/fd", "/proc/self/fd"].iter().any(|at| path.starts_with(at));
    // A FIFO without a writer must not keep us waiting.
    let no_link = if inherited { OFlags::empty() } else { OFlags::NOFOLLOW | OFlags::NONBLOCK };
    let file = match OpenOptions::new().read(true).custom_flags(no_link.bits() as i32).open(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Err(io::Error::other("it is a symbolic link; name the file itself"));
        }
        other => other?,
    };
    let about = file.metadata()?;
    let mode = about.mode() & 0o777;
    let pipe = inherited && about.file_type().is_fifo();
    if !about.is_file() && !pipe {
        return Err(io::Error::other("it is not a file"));
    }
    if mode & 0o077 != 0 {
        let shown = path.display();
        let why = format!("others can read or change it (mode {mode:04o}): chmod 600 {shown}");
        return Err(io::Error::other(why));
    }
    Ok(file)
}

/// The password that is typed at the terminal, unseen; twice the same where it is a new one.
pub fn ask(question: &str, new: bool) -> Result<String, Failure> {
    let none = |error| {
        Failure::usage(format!(
            "cannot ask for the password: {error}; --password-file FILE reads it from a file"
        ))
    };
    let terminal = terminal().map_err(none)?;
    let first = unseen(&terminal, &format!("{question}: "), &WANTED).map_err(none)?;
    if first.is_empty() {
        return Err(Failure::usage("no password was given"));
    }
    if new && unseen(&terminal, "The same again: ", &WANTED).map_err(none)? != first {
        return Err(Failure::usage("the two passwords differ"));
    }
    Ok(first)
}

/// Who is asked for the password of a room that wants one, where a person is at hand; what was answered once
/// also serves the other sessions of the program.
pub fn asker(common: &Common) -> Option<Ask> {
    if common.no_input {
        return None;
    }
    let known: Mutex<Option<Secret<32>>> = Mutex::new(None);
    Some(Ask(Arc::new(move |room, wrong, enough| {
        // One question at a time.
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(answer), 0) = (*known, wrong) {
            return Some(answer);
        }
        *known = None;
        // Where the terminal shows something else there is no place for a question.
        let terminal = terminal().ok().filter(|_| wrong < TRIES && !device::is_taken())?;
        // A program in the background would be stopped by the question.
        if tcgetpgrp(&terminal).ok()? != rustix::process::getpgrp() {
            return None;
        }
        let again = if wrong > 0 { "That is not it. " } else { "" };
        let question = format!("{again}Password of the room {room}: ");
        let typed = logging::without_bars(|| unseen(&terminal, &question, enough)).ok()?;
        *known = Some(password::key(&typed, room)).filter(|_| !typed.is_empty());
        *known
    })))
}

fn terminal() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

/// Neither Ctrl-C nor a signal ends the program before the terminal has its echo again.
fn unseen(terminal: &File, question: &str, enough: &AtomicBool) -> io::Result<String> {
    let held = signal::hold()?;
    let typed = read(terminal, question, &|| enough.load(Ordering::Relaxed) || held.came().is_some());
    held.release();
    typed
}

/// Reads key by key, until `enough`.
fn read(mut terminal: &File, question: &str, enough: &dyn Fn() -> bool) -> io::Result<String> {
    let before = tcgetattr(terminal)?;
    let mut hidden = before.clone();
    hidden.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    let _restore = Restore(terminal, before);
    tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
    terminal.write_all(question.as_bytes())?;
    let mut typed = Vec::new();
    loop {
        let mut key = [0];
        let glance = Timespec::try_from(GLANCE).map_err(io::Error::other)?;
        while rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(&terminal, PollFlags::IN)], Some(&glance)))?
            == 0
        {
            if enough() {
                terminal.write_all(b"\n")?;
                return Err(io::Error::other("not wanted any more"));
            }
        }
        terminal.read_exact(&mut key)?;
        match key[0] {
            b'\r' | b'\n' => break,
            0x03 | 0x04 => {
                terminal.write_all(b"\n")?;
                return Err(io::Error::other("given up"));
            }
            // A whole character, however many bytes it has.
            0x08 | 0x7f => while typed.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {},
            0x15 => typed.clear(),
            byte if typed.len() < LONGEST as usize => typed.push(byte),
            _ => {}
        }
    }
    terminal.write_all(b"\n")?;
    String::from_utf8(typed).map_err(|_| io::Error::other("it is not UTF-8"))
}

/// Gives the terminal its echo back, also where reading failed.
struct Restore<'a>(&'a File, Termios);

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        let _ = tcsetattr(self.0, OptionalActions::Now, &self.1);
    }
}

fn first_line(source: impl Read) -> io::Result<String> {
    let mut line = Vec::new();
    BufReader::new(source.take(LONGEST + 1)).read_until(b'\n', &mut line)?;
    if line.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("it is longer than {LONGEST} bytes")));
    }
    let text = String::from_utf8(line).map_err(|_| io::Error::other("it is not UTF-8"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_the_password() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("password");
        for (content, expected) in [("secret\n", "secret"), ("two words\r\nmore", "two words"), ("王", "王")]
        {
            write(&file, content.as_bytes());
            assert_eq!(from_file(&file).unwrap(), expected);
        }
        for bad in ["", "\n", &"x".repeat(2_000)] {
            write(&file, bad.as_bytes());
            assert!(from_file(&file).is_err());
        }
        write(&file, &[0xff, b'\n']);
        assert_eq!(from_file(&file).unwrap_err().exit, Exit::File);
        assert_eq!(from_file(Path::new("/nowhere")).unwrap_err().exit, Exit::File);
    }

    fn write(file: &Path, content: &[u8]) {
        std::fs::write(file, content).unwrap();
        set_mode(file, 0o600);
    }

    fn set_mode(file: &Path, mode: u32) {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a17_a_password_that_others_can_read_is_refused_and_so_is_what_is_no_file() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("password");
        write(&file, b"secret\n");
        for mode in [0o644, 0o640, 0o604, 0o620, 0o660] {
            set_mode(&file, mode);
            let failure = from_file(&file).unwrap_err();
            assert_eq!(failure.exit, Exit::File);
            let hint = format!("(mode {mode:04o}): chmod 600 {}", file.display());
            assert!(failure.message.ends_with(&hint), "{}", failure.message);
        }
        set_mode(&file, 0o400);
        assert_eq!(from_file(&file).unwrap(), "secret");
        let (link, fifo) = (home.path().join("link"), home.path().join("fifo"));
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(from_file(&link).unwrap_err().message.contains("symbolic link"));
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert!(from_file(&fifo).unwrap_err().message.contains("it is not a file"));
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"piped\nmore").unwrap();
        let descriptor = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&reader));
        assert_eq!(from_file(Path::new(&descriptor)).unwrap(), "piped");
        assert!(from_file(home.path()).unwrap_err().message.contains("it is not a file"));
    }
}
