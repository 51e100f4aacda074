//! The programs that take part, each in a process of its own.

use std::io::{BufRead, BufReader, Lines, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use confkit::time;

/// Nothing that is measured takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks whether a process has ended: what a measured time may be too long by.
const LOOK: Duration = Duration::from_millis(1);

/// A process; killed when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let started = command.stdin(Stdio::null()).spawn();
        Ok(Self(started.with_context(|| format!("cannot start {}", command.get_program().display()))?))
    }

    /// Waits for its end, which must be a good one.
    pub(crate) fn wait(&mut self) -> anyhow::Result<()> {
        let started = time::now();
        loop {
            if let Some(status) = self.0.try_wait()? {
                if status.success() {
                    return Ok(());
                }
                let mut said = String::new();
                if let Some(stderr) = &mut self.0.stderr {
                    stderr.read_to_string(&mut said)?;
                }
                bail!("{status}: {}", said.trim().lines().last().unwrap_or_default());
            }
            if time::now().since(started) > PATIENCE {
                bail!("not done after {PATIENCE:?}");
            }
            std::thread::park_timeout(LOOK);
        }
    }

    pub(crate) fn kill(mut self) -> anyhow::Result<()> {
        self.0.kill()?;
        self.0.wait()?;
        Ok(())
    }

    pub(crate) fn stdout(&mut self) -> anyhow::Result<Lines<BufReader<ChildStdout>>> {
        Ok(BufReader::new(self.0.stdout.take().context("stdout is piped")?).lines())
    }

    pub(crate) fn stderr(&mut self) -> anyhow::Result<Lines<BufReader<ChildStderr>>> {
        Ok(BufReader::new(self.0.stderr.take().context("stderr is piped")?).lines())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a command takes that must end well.
pub(crate) fn timed(command: &mut Command) -> anyhow::Result<Duration> {
    let begun = time::now();
    Running::start(command.stdout(Stdio::null()).stderr(Stdio::piped()))?.wait()?;
    Ok(time::now().since(begun))
}

/// One of this package's programs, with directories of its own below `home`.
pub(crate) fn program(name: &str, home: &Path, room: &str) -> Command {
    let path = match name {
        "conf-serve" => env!("CARGO_BIN_EXE_conf-serve"),
        "conf-send" => env!("CARGO_BIN_EXE_conf-send"),
        _ => env!("CARGO_BIN_EXE_conf-recv"),
    };
    let mut command = Command::new(path);
    for unset in ["CONF_IDENTITY_FILE", "CONF_LOG", "CONF_PASSWORD_FILE", "XDG_CONFIG_HOME", "XDG_DATA_HOME"]
    {
        command.env_remove(unset);
    }
    command.env("HOME", home).env("XDG_STATE_HOME", home.join("state")).env("XDG_RUNTIME_DIR", home);
    command.env("CONF_ROOM", room).env("CONF_NAME", name);
    command
}

/// `conf-serve` that keeps files on the disk.
pub(crate) struct Server {
    running: Running,
    pub(crate) address: String,
}

impl Server {
    /// At `address`, a free port where that ends with `:0`, with its store in `home`.
    pub(crate) fn start(home: &Path, address: &str) -> anyhow::Result<Self> {
        let mut command = program("conf-serve", home, "");
        command.args(["--quiet", "--store-quota", "100G", "--store"]).arg(home.join("store")).arg(address);
        let mut running = Running::start(command.env_remove("CONF_ROOM").stdout(Stdio::piped()))?;
        for line in running.stdout()? {
            if let Some((_, rest)) = line?.split_once("conf://127.0.0.1:") {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                return Ok(Self { running, address: format!("127.0.0.1:{port}") });
            }
        }
        bail!("conf-serve did not print its address")
    }

    pub(crate) fn room(&self) -> String {
        room(&self.address)
    }

    pub(crate) fn kill(self) -> anyhow::Result<()> {
        self.running.kill()
    }
}

/// The room in which everything happens.
pub(crate) fn room(address: &str) -> String {
    format!("conf://{address}/bench")
}

/// `conf-send` of a file or directory.
pub(crate) fn send(home: &Path, room: &str, what: &Path) -> Command {
    let mut command = program("conf-send", home, room);
    command.args(["--progress", "none"]).arg(what);
    command
}

/// `conf-recv` into a directory.
pub(crate) fn recv(home: &Path, room: &str, which: &[&str], into: &Path) -> Command {
    let mut command = program("conf-recv", home, room);
    command.args(["--progress", "none", "-o"]).arg(into).args(which);
    command
}

/// `conf-recv --watch`, when it waits.
pub(crate) fn watch(home: &Path, room: &str, into: &Path) -> anyhow::Result<Running> {
    let mut command = recv(home, room, &["--watch"], into);
    let mut running = Running::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))?;
    for line in running.stderr()? {
        if line?.starts_with("waiting") {
            return Ok(running);
        }
    }
    bail!("conf-recv ended before it waited")
}
