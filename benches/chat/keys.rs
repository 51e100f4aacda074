//! A key in the real conf-chat, under a pseudo-terminal, while the room talks: from the key until the
//! terminal is sent what it makes.

use std::io::{Read, Write};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail};
use confkit::time::{self, Moment};
use portable_pty::{CommandBuilder, PtySize};

use crate::members::{self, Delays};
use crate::process::Child;
use crate::servers::{Kind, Running};

/// Members who talk and do not listen: each may say fifty things a second.
const TALKERS: &str = "210";
const KEYS: usize = 300;
/// Between two keys, which is as fast as people type.
const PAUSE: Duration = Duration::from_millis(30);
/// So long that its scrollback is full.
const BEFORE: Duration = Duration::from_secs(2);
/// A letter that nobody else says.
const LETTER: &str = "§";
/// Asks the terminal for a screen of its own (xterm control sequences, mode 1049).
const SCREEN: &[u8] = b"\x1b[?1049h";
const PATIENCE: Duration = Duration::from_secs(10);

/// Delays of keys while so many messages come every second.
pub(crate) fn measure(rate: u64) -> anyhow::Result<Delays> {
    let server = Running::start(Kind::Ephemeral)?;
    let home = tempfile::tempdir()?;
    let size = PtySize { rows: 40, cols: 120, ..PtySize::default() };
    let pair = portable_pty::native_pty_system().openpty(size)?;
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_conf-chat"));
    command.env("HOME", home.path());
    command.env("XDG_STATE_HOME", home.path());
    command.env("TERM", "xterm-256color");
    command.env("CONF_ROOM", format!("conf://{}/bench", server.address()));
    let mut chat = pair.slave.spawn_command(command)?;
    let mut keyboard = pair.master.take_writer()?;
    let screen = watch(pair.master.try_clone_reader()?);
    // Before, the terminal itself would show the keys.
    await_text(&screen, SCREEN)?;
    press(&mut *keyboard, &screen)?;
    let _talkers = if rate > 0 {
        let mut talkers = Child::start_self(&["members", "deaf", server.address(), TALKERS])?;
        talkers.expect("ready")?;
        talkers.say(&format!("go {rate}"))?;
        std::thread::park_timeout(BEFORE);
        Some(talkers)
    } else {
        None
    };
    let mut delays = Vec::with_capacity(KEYS);
    for _ in 0..KEYS {
        std::thread::park_timeout(PAUSE);
        delays.push(press(&mut *keyboard, &screen)?.as_micros() as u32);
    }
    chat.kill()?;
    chat.wait()?;
    members::delays(&mut delays).context("no key was seen")
}

/// What is sent to the terminal, with the time of each part. The thread ends with the terminal.
fn watch(mut screen: Box<dyn Read + Send>) -> Receiver<(Moment, Vec<u8>)> {
    let (to, parts) = sync_channel(65_536);
    std::thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            if to.send((time::now(), bytes[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    parts
}

/// Presses a key and takes it back; how long it took to be seen.
fn press(keyboard: &mut dyn Write, screen: &Receiver<(Moment, Vec<u8>)>) -> anyhow::Result<Duration> {
    while screen.try_recv().is_ok() {}
    let pressed = time::now();
    keyboard.write_all(LETTER.as_bytes())?;
    let seen = await_text(screen, LETTER.as_bytes())?;
    keyboard.write_all(b"\x7f")?;
    Ok(seen.since(pressed))
}

/// When this was sent to the terminal.
fn await_text(screen: &Receiver<(Moment, Vec<u8>)>, text: &[u8]) -> anyhow::Result<Moment> {
    let mut last = Vec::new();
    loop {
        let Ok((at, part)) = screen.recv_timeout(PATIENCE) else { bail!("conf-chat shows nothing") };
        last.extend_from_slice(&part);
        if last.windows(text.len()).any(|window| window == text) {
            return Ok(at);
        }
        // It may come in two parts.
        last.drain(..last.len().saturating_sub(text.len()));
    }
}
