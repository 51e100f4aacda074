//! Passwords: from a file, from the environment's file, or asked for; never from the argument list,
//! which everybody on the machine can read.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{Exit, Failure};

/// Bytes of a password.
const LONGEST: u64 = 1024;

/// The password in the first line of a file; `-` is stdin.
pub fn from_file(file: &Path) -> Result<String, Failure> {
    let shown = file.display();
    let cannot = |error| Failure::new(Exit::File, format!("cannot read the password in {shown}: {error}"));
    let line = match file == Path::new("-") {
        true => first_line(io::stdin()),
        false => File::open(file).and_then(first_line),
    };
    let password = line.map_err(cannot)?;
    match password.is_empty() {
        true => {
            Err(Failure::usage(format!("the first line of {shown}, which should be the password, is empty")))
        }
        false => Ok(password),
    }
}

/// The password that is typed at the terminal, unseen; twice the same where it is a new one.
pub fn ask(question: &str, new: bool) -> Result<String, Failure> {
    let none = |error| {
        Failure::usage(format!(
            "cannot ask for the password: {error}; --password-file FILE reads it from a file"
        ))
    };
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(none)?;
    let first = unseen(&terminal, &format!("{question}: ")).map_err(none)?;
    if first.is_empty() {
        return Err(Failure::usage("no password was given"));
    }
    if new && unseen(&terminal, "The same again: ").map_err(none)? != first {
        return Err(Failure::usage("the two passwords differ"));
    }
    Ok(first)
}

/// Reads key by key: Ctrl-C must not end the program before the terminal has its echo again.
fn unseen(mut terminal: &File, question: &str) -> io::Result<String> {
    let before = tcgetattr(terminal)?;
    let mut hidden = before.clone();
    hidden.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
    let _restore = Restore(terminal, before);
    tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
    terminal.write_all(question.as_bytes())?;
    let mut typed = Vec::new();
    loop {
        let mut key = [0];
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
    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_the_password() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("password");
        for (content, expected) in [("secret\n", "secret"), ("two words\r\nmore", "two words"), ("王", "王")]
        {
            std::fs::write(&file, content).unwrap();
            assert_eq!(from_file(&file).unwrap(), expected);
        }
        for bad in ["", "\n", &"x".repeat(2_000)] {
            std::fs::write(&file, bad).unwrap();
            assert!(from_file(&file).is_err());
        }
        std::fs::write(&file, [0xff, b'\n']).unwrap();
        assert_eq!(from_file(&file).unwrap_err().exit, Exit::File);
        assert_eq!(from_file(Path::new("/nowhere")).unwrap_err().exit, Exit::File);
    }
}
