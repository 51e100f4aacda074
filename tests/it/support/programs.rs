//! The real programs, started and ended by the test.
#![allow(clippy::disallowed_methods)] // The end of a process is not an event that can be awaited with a limit.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A program of this package, with directories of its own: no test sees what another one, or the
/// person who runs it, keeps there.
pub fn program(name: &str, home: &Path) -> Command {
    let path = match name {
        "conf-serve" => env!("CARGO_BIN_EXE_conf-serve"),
        other => panic!("{other} is not a program of this package"),
    };
    let mut command = Command::new(path);
    command
        .env("HOME", home)
        .env("XDG_STATE_HOME", home.join("state"))
        .env("XDG_RUNTIME_DIR", home)
        .env_remove("CONF_ROOM")
        .env_remove("CONF_NAME")
        .env_remove("CONF_LOG")
        .stdin(Stdio::null());
    command
}

/// A program that is ended with the test.
pub struct Running(pub Child);

impl Running {
    pub fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for the end, at most `limit`. The exit code; 128 plus the signal that killed it.
    pub fn wait(&mut self, limit: Duration) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let started = confkit::time::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
            }
            assert!(confkit::time::now().since(started) < limit, "still running after {limit:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `conf-serve` on a free port of loopback.
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
    pub fn start(home: &Path) -> Self {
        Self::start_on(home, "127.0.0.1:0")
    }

    pub fn start_on(home: &Path, listen: &str) -> Self {
        let log = home.join("serve.log");
        let mut command = program("conf-serve", home);
        command.arg(listen).arg("--log-file").arg(&log).stdout(Stdio::piped());
        Self::from_command(command, home)
    }

    pub fn from_command(command: Command, home: &Path) -> Self {
        let log = home.join("serve.log");
        let mut running = Running::start(command);
        let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
        let room = loop {
            let mut line = String::new();
            assert!(stdout.read_line(&mut line).unwrap() > 0, "conf-serve ended before it printed a link");
            if let Some(link) = line.trim().strip_prefix("export CONF_ROOM=") {
                break link.to_owned();
            }
        };
        let authority = room.strip_prefix("conf://").unwrap().split('/').next().unwrap();
        Self { running, address: authority.parse().unwrap(), room, log, stdout }
    }
}
