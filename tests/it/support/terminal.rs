//! A pseudo-terminal with a program in it, and a terminal emulator as judge of what a person would see.
#![allow(clippy::disallowed_methods)] // The state of a process is not an event that can be awaited.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::Pid;
use tempfile::TempDir;

use super::peer::Host;
use super::programs::PATIENCE;

pub const ENTER: &str = "\r";

/// What the emulator was told beside text.
#[derive(Default)]
pub struct Told {
    pub bells: usize,
    /// Titles, clipboards, unknown sequences: things that a message must not do.
    pub strange: Vec<String>,
}

impl vt100::Callbacks for Told {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.bells += 1;
    }
    fn set_window_icon_name(&mut self, _: &mut vt100::Screen, name: &[u8]) {
        self.strange.push(format!("icon {}", name.escape_ascii()));
    }
    fn set_window_title(&mut self, _: &mut vt100::Screen, title: &[u8]) {
        self.strange.push(format!("title {}", title.escape_ascii()));
    }
    fn copy_to_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8], data: &[u8]) {
        self.strange.push(format!("clipboard {}", data.escape_ascii()));
    }
    fn paste_from_clipboard(&mut self, _: &mut vt100::Screen, _: &[u8]) {
        self.strange.push("clipboard read".into());
    }
    fn unhandled_osc(&mut self, _: &mut vt100::Screen, params: &[&[u8]]) {
        self.strange.push(format!("OSC {params:?}"));
    }
}

/// What is shown.
pub struct Glass {
    pub parser: vt100::Parser<Told>,
    pub raw: Vec<u8>,
}

/// A terminal with a program in it.
pub struct Terminal {
    pub child: Box<dyn Child + Send + Sync>,
    master: Box<dyn MasterPty + Send>,
    keys: Box<dyn Write + Send>,
    pub glass: Arc<(Mutex<Glass>, Condvar)>,
    home: Arc<TempDir>,
    name: String,
}

impl Terminal {
    /// `conf-chat` in a room of `host`.
    pub fn chat(host: &Host, name: &str) -> Self {
        Self::start(host, name, &[env!("CARGO_BIN_EXE_conf-chat")])
    }

    pub fn start(host: &Host, name: &str, command: &[&str]) -> Self {
        Self::run(&format!("conf://{}/test", host.address), name, command)
    }

    /// A program with this room in its environment, in a directory of its own.
    pub fn run(room: &str, name: &str, command: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("work")).unwrap();
        Self::run_at(Arc::new(home), room, name, command)
    }

    /// `conf-chat` of the same person once more, in a terminal of its own.
    pub fn again(&self, host: &Host) -> Self {
        let room = format!("conf://{}/test", host.address);
        Self::run_at(Arc::clone(&self.home), &room, &self.name, &[env!("CARGO_BIN_EXE_conf-chat")])
    }

    fn run_at(home: Arc<TempDir>, room: &str, name: &str, command: &[&str]) -> Self {
        let size = PtySize { rows: 24, cols: 90, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut builder = CommandBuilder::new(command[0]);
        builder.args(&command[1..]);
        builder.env_clear();
        let path = std::env::var("PATH").unwrap_or_default();
        let at = |directory: &str| home.path().join(directory).display().to_string();
        for (variable, value) in [
            ("PATH", path),
            ("HOME", at("")),
            ("XDG_STATE_HOME", at("state")),
            ("TERM", "xterm-256color".into()),
            ("TZ", "UTC".into()),
            ("CONF_ROOM", room.into()),
            ("CONF_NAME", name.into()),
            ("PS1", "shell> ".into()),
        ] {
            builder.env(variable, value);
        }
        builder.cwd(home.path().join("work"));
        let child = pair.slave.spawn_command(builder).unwrap();
        drop(pair.slave);
        let size = |n: u16| n.try_into().unwrap();
        let parser = vt100::Parser::new_with_callbacks(size(24), size(90), 0, Told::default());
        let glass = Arc::new((Mutex::new(Glass { parser, raw: Vec::new() }), Condvar::new()));
        let mut output = pair.master.try_clone_reader().unwrap();
        let shown = Arc::clone(&glass);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The end of a terminal is an error on Linux.
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                let mut glass = shown.0.lock().unwrap();
                glass.parser.process(&bytes[..count]);
                glass.raw.extend_from_slice(&bytes[..count]);
                shown.1.notify_all();
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self { child, master: pair.master, keys, glass, home, name: name.into() }
    }

    /// A place in the directory where the program runs.
    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join("work").join(name)
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) {
        self.press(line);
        self.press(ENTER);
    }

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// Waits until what is shown is as `wanted`.
    pub fn wait(&self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        let glass = self.glass.0.lock().unwrap();
        let (glass, waited) =
            self.glass.1.wait_timeout_while(glass, PATIENCE, |glass| !wanted(glass.parser.screen())).unwrap();
        assert!(!waited.timed_out(), "never shown: {what}\n{}", glass.parser.screen().contents());
    }

    pub fn wait_for(&self, text: &str) {
        self.wait(text, |screen| screen.contents().contains(text));
    }

    pub fn resize(&self, columns: u16, rows: u16) {
        let size = |n: u16| n.try_into().unwrap();
        self.glass.0.lock().unwrap().parser.set_size(size(rows), size(columns));
        self.master.resize(PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    pub fn shown(&self) -> String {
        self.glass.0.lock().unwrap().parser.screen().contents()
    }

    /// Whether the modes of the terminal are those of a shell, once all that the program wrote is shown.
    pub fn is_as_before(&self) -> bool {
        self.wait("the first screen", |screen| !screen.alternate_screen());
        let termios = self.master.get_termios().unwrap();
        let local = termios.local_flags;
        let flags = nix_flags();
        let glass = self.glass.0.lock().unwrap();
        let screen = glass.parser.screen();
        local.bits() & flags == flags
            && !screen.alternate_screen()
            && !screen.bracketed_paste()
            && !screen.hide_cursor()
            && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.process_id().unwrap() as i32).unwrap()
    }

    /// The exit code, once the program has ended.
    pub fn end(&mut self) -> u32 {
        let began = confkit::time::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(confkit::time::now().since(began) < PATIENCE, "still running\n{}", self.shown());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Echo and lines: what raw mode takes away.
fn nix_flags() -> u32 {
    (rustix::termios::LocalModes::ICANON | rustix::termios::LocalModes::ECHO).bits()
}
