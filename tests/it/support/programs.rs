//! The real programs, started and ended by the test.
#![allow(clippy::disallowed_methods)] // The end of a process is not an event that can be awaited with a limit.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// Longer than anything that is waited for in a test that succeeds.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A program of this package, with directories of its own: no test sees what another one, or the
/// person who runs it, keeps there.
pub fn program(name: &str, home: &Path) -> Command {
    let path = match name {
        "conf-serve" => env!("CARGO_BIN_EXE_conf-serve"),
        "conf-send" => env!("CARGO_BIN_EXE_conf-send"),
        "conf-recv" => env!("CARGO_BIN_EXE_conf-recv"),
        "conf-chat" => env!("CARGO_BIN_EXE_conf-chat"),
        "conf-view" => env!("CARGO_BIN_EXE_conf-view"),
        other => panic!("{other} is not a program of this package"),
    };
    let mut command = Command::new(path);
    for unset in [
        "CONF_ROOM",
        "CONF_NAME",
        "CONF_IDENTITY_FILE",
        "CONF_LOG",
        "CONF_PASSWORD_FILE",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
    ] {
        command.env_remove(unset);
    }
    command
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_RUNTIME_DIR", home)
        .stdin(Stdio::null());
    command
}

/// Writes what only its owner may read, as programs want it of a password.
pub fn write_secret(file: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(file, text).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A program that is ended, by its own id, when the test forgets it.
pub struct Running {
    pub child: Child,
    /// Goes with it, where it is its own.
    _home: Option<TempDir>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self { child: command.spawn().unwrap(), _home: None }
    }

    /// The directory goes with the program.
    pub fn start_at(mut command: Command, home: TempDir) -> Self {
        Self { child: command.spawn().unwrap(), _home: Some(home) }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Writes to its stdin, which it may already have closed.
    pub fn feed(&mut self, bytes: &[u8]) {
        let stdin = self.child.stdin.as_mut().unwrap();
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    /// All that it says on stderr until it ends.
    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Closes its stdin and waits for the end, at most `limit`. The exit code; 128 plus the signal that
    /// killed it.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        drop(self.child.stdin.take());
        let started = confkit::time::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
            }
            assert!(confkit::time::now().since(started) < limit, "still running after {limit:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `conf-send` to `room`, with a pipe on stdin.
pub fn conf_send(room: &str, arguments: &[&str]) -> Running {
    let home = tempfile::tempdir().unwrap();
    let mut command = program("conf-send", home.path());
    command.args(arguments).env("CONF_ROOM", room).env("CONF_NAME", "Ann");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start_at(command, home)
}

/// A running `conf-serve`.
pub struct Serve {
    pub running: Running,
    pub address: SocketAddr,
    /// The join link that it printed.
    pub room: String,
    pub log: PathBuf,
    /// Kept open: a server whose stdout goes away must not care, but a test of that closes it itself.
    pub stdout: BufReader<ChildStdout>,
}

impl Serve {
    /// On a free port of loopback.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0")
    }

    pub fn at(listen: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let log = home.path().join("serve.log");
        let mut command = program("conf-serve", home.path());
        command.args([listen, "--ephemeral", "--log-file"]).arg(&log).stdout(Stdio::piped());
        let mut serve = Self::from_command(command);
        serve.log = log;
        serve.running._home = Some(home);
        serve
    }

    /// By a command of the test's own, whose stdout is a pipe.
    pub fn from_command(command: Command) -> Self {
        let mut running = Running::start(command);
        let mut stdout = BufReader::new(running.child.stdout.take().unwrap());
        let room = loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "conf-serve ended before it printed a link");
            if let Some(link) = line.trim().strip_prefix("export CONF_ROOM=") {
                break link.to_owned();
            }
        };
        let authority = room.strip_prefix("conf://").unwrap().split('/').next().unwrap();
        Self { running, address: authority.parse().unwrap(), room, log: PathBuf::new(), stdout }
    }
}
