//! The terminal itself: its modes, its size, its keys, its signals.
//!
//! However the program ends, the terminal is as it was: [`Device`] puts it back when it is dropped, a
//! panic and a second signal do it as well. While the program is stopped (Ctrl-Z) the shell has it.

use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crossterm::event::KeyEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::iterator::Signals;
use tokio::sync::mpsc;

use super::keyboard::{Keyboard, Pressed};
use super::paint;
use crate::time::{self, Moment};

/// Keys that may wait: what a paste without brackets is; then the terminal itself waits.
const WAITING: usize = 256;
/// How often the thread that reads keys looks whether the terminal is in our hands again.
const GIVEN_BACK: std::time::Duration = std::time::Duration::from_millis(20);
/// Bytes that are read together.
const READ: usize = 4096;
/// Rows that a notch of the wheel is.
const WHEEL: isize = 3;

/// Another screen, no wrapping at its edge, pasted text between brackets, and word of the focus.
const ENTER: &[u8] = b"\x1b[?1049h\x1b[?7l\x1b[?2004h\x1b[?1004h";
/// The buttons of the mouse, where wheels are, without its motion.
const MOUSE: &[u8] = b"\x1b[?1000h\x1b[?1006h";
/// Everything of these off again, attributes as well; the cursor on.
const LEAVE: &[u8] =
    b"\x1b[?2026l\x1b[?1006l\x1b[?1000l\x1b[?1004l\x1b[?2004l\x1b[0m\x1b[?25h\x1b[?7h\x1b[?1049l";

/// Whether the terminal is in our hands.
static ACTIVE: AtomicBool = AtomicBool::new(false);
/// Whether there was a panic: nothing is drawn any more.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// What comes from the terminal.
#[derive(Debug)]
pub enum Input {
    /// A key, and when.
    Key(KeyEvent, Moment),
    /// Pasted text, and when.
    Paste(String, Moment),
    /// More was pasted than is kept: so many bytes.
    TooMuch(usize),
    /// The wheel of the mouse: rows, negative is up.
    Wheel(isize),
    /// The terminal is looked at, or not any more.
    Focus(bool),
    /// It has another size.
    Resized,
    /// The program goes on after it was stopped: the terminal has to be taken again.
    Resumed,
    /// A signal asks the program to end.
    Signal(i32),
    /// The terminal has gone.
    Gone,
}

/// Whether the terminal is in the hands of a [`Device`].
pub fn is_taken() -> bool {
    ACTIVE.load(Ordering::SeqCst)
}

/// The terminal, in raw mode and on its other screen.
#[derive(Debug)]
pub struct Device {
    out: File,
    mouse: bool,
    /// What it shows.
    shown: Option<Buffer>,
    next: Buffer,
}

impl Device {
    /// Takes the terminal on stdin and stdout; what comes from it. Once in a process.
    pub fn open(mouse: bool) -> io::Result<(Self, mpsc::Receiver<Input>)> {
        let out = File::from(rustix::io::dup(io::stdout())?);
        let (tell, told) = mpsc::channel(WAITING);
        let signals = Signals::new([SIGTERM, SIGHUP, SIGINT, SIGTSTP, SIGCONT, SIGWINCH])?;
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |about| {
            PANICKED.store(true, Ordering::SeqCst);
            restore();
            before(about);
        }));
        let mut device = Self { out, mouse, shown: None, next: Buffer::empty(size()) };
        device.enter()?;
        let heard = tell.clone();
        std::thread::Builder::new().name("signals".into()).spawn(move || listen(signals, &heard))?;
        std::thread::Builder::new().name("keys".into()).spawn(move || read(&tell))?;
        Ok((device, told))
    }

    /// Takes the terminal, at first and after the program was stopped.
    pub fn enter(&mut self) -> io::Result<()> {
        if ACTIVE.swap(true, Ordering::SeqCst) {
            // Whoever stopped the program may have changed the modes.
            crossterm::terminal::disable_raw_mode()?;
        }
        crossterm::terminal::enable_raw_mode()?;
        self.out.write_all(ENTER)?;
        if self.mouse {
            self.out.write_all(MOUSE)?;
        }
        self.shown = None;
        Ok(())
    }

    /// Shows what `draw` puts into the cells, with the cursor where it says. Nothing while the program is
    /// about to be stopped.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Buffer) -> Option<(u16, u16)>) -> io::Result<()> {
        if PANICKED.load(Ordering::SeqCst) {
            return Err(io::Error::other("an internal error ended the program"));
        }
        self.next.resize(size());
        let cursor = draw(&mut self.next);
        let mut bytes = Vec::with_capacity(4096);
        paint(self.shown.as_ref(), &self.next, cursor, &mut bytes);
        if ACTIVE.load(Ordering::SeqCst) {
            self.out.write_all(&bytes)?;
            let next = self.shown.take().unwrap_or_else(|| Buffer::empty(self.next.area));
            self.shown = Some(std::mem::replace(&mut self.next, next));
        }
        Ok(())
    }

    /// What the terminal shows is not known any more: all of it is drawn next time.
    pub fn forget(&mut self) {
        self.shown = None;
    }

    /// Writes what moves no cursor, such as BEL.
    pub fn ring(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)
    }

    /// Stops the program, as Ctrl-Z does; [`Input::Resumed`] comes when it goes on. Nothing happens
    /// where no shell could make it go on.
    pub fn suspend(&self) -> io::Result<()> {
        signal_hook::low_level::raise(SIGTSTP)
    }
}

impl Device {
    /// Gives the terminal back; nothing is drawn any more.
    pub fn close(&mut self) {
        restore();
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was, if it is in our hands.
fn restore() {
    if ACTIVE.swap(false, Ordering::SeqCst) {
        // A terminal that has gone needs nothing.
        let _ = rustix::io::write(io::stdout(), LEAVE);
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// The size of the terminal; one that does not know it has 80 columns and 24 rows.
fn size() -> Rect {
    // Larger ones are some error, and would take memory for nothing.
    const LARGEST: u16 = 1_000;
    let told = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let (columns, rows) = told.map_or((0, 0), |size| (size.ws_col, size.ws_row));
    let known = |value: u16, otherwise| if value == 0 { otherwise } else { value.min(LARGEST) };
    Rect::new(0, 0, known(columns, 80), known(rows, 24))
}

/// Whether there is a shell that makes the program go on when it was stopped: a parent in the same
/// session and another process group. The kernel ignores SIGTSTP otherwise, but not once it is handled.
fn can_go_on() -> bool {
    /// Parent, process group and session.
    fn about(process: &str) -> Option<[String; 3]> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // Behind the name, which may hold anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(1).map(str::to_owned);
        Some([fields.next()?, fields.next()?, fields.next()?])
    }
    let Some([mut parent, group, session]) = about("self") else { return true };
    // The programs of one job may have started each other.
    for _ in 0..16 {
        match about(&parent) {
            Some([_, _, its]) if its != session => return false,
            Some([_, its, _]) if its != group => return true,
            Some([next, ..]) => parent = next,
            None => return false,
        }
    }
    false
}

fn listen(mut signals: Signals, tell: &mpsc::Sender<Input>) {
    let mut asked = false;
    for signal in signals.forever() {
        let input = match signal {
            SIGWINCH => Input::Resized,
            SIGCONT => Input::Resumed,
            SIGTSTP if !can_go_on() => continue,
            SIGTSTP => {
                restore();
                // What cannot be stopped goes on.
                let _ = signal_hook::low_level::emulate_default_handler(SIGTSTP);
                Input::Resumed
            }
            _ if asked => {
                restore();
                std::process::exit(128 + signal);
            }
            _ => {
                asked = true;
                Input::Signal(signal)
            }
        };
        let ends = matches!(input, Input::Signal(_));
        if tell.blocking_send(input).is_err() && ends {
            // The program is leaving already: this is the second time.
            std::process::exit(128 + signal);
        }
    }
}

/// Reads keys until the terminal goes or nobody wants them. The thread ends with the process: a read
/// cannot be broken off.
fn read(tell: &mpsc::Sender<Input>) {
    let stdin = io::stdin();
    let mut keyboard = Keyboard::default();
    let mut buffer = [0; READ];
    loop {
        let pause = keyboard.poll_timeout().map(|due| due.since(time::now()));
        let pause = pause.and_then(|pause| Timespec::try_from(pause).ok());
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match rustix::event::poll(&mut fds, pause.as_ref()) {
            Ok(_) if fds[0].revents().intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) => {
                let _ = tell.blocking_send(Input::Gone);
                return;
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => return,
        }
        if !ACTIVE.load(Ordering::SeqCst) {
            // What is typed now is for the shell.
            std::thread::park_timeout(GIVEN_BACK);
            continue;
        }
        if fds[0].revents().contains(PollFlags::IN) {
            match rustix::io::read(&stdin, &mut buffer) {
                Ok(0) => {
                    let _ = tell.blocking_send(Input::Gone);
                    return;
                }
                Ok(count) => keyboard.push(&buffer[..count], time::now()),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(_) => {
                    let _ = tell.blocking_send(Input::Gone);
                    return;
                }
            }
        }
        keyboard.handle_time(time::now());
        while let Some(pressed) = keyboard.poll() {
            let input = match pressed {
                Pressed::Key(key) => Input::Key(key, time::now()),
                Pressed::Paste(text) => Input::Paste(text, time::now()),
                Pressed::TooMuch(bytes) => Input::TooMuch(bytes),
                Pressed::Wheel(up) => Input::Wheel(if up { -WHEEL } else { WHEEL }),
                Pressed::Focus(focused) => Input::Focus(focused),
            };
            if tell.blocking_send(input).is_err() {
                return;
            }
        }
    }
}
