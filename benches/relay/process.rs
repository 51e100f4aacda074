//! Processes that the benchmark starts, and what the kernel says about them.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};

/// A child that talks in lines; it ends when this is dropped.
pub(crate) struct Child {
    child: std::process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// This program with other arguments.
    pub(crate) fn start_self(args: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args);
        Self::start(command)
    }

    fn start(mut command: Command) -> anyhow::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("stdin is piped")?;
        let stdout = BufReader::new(child.stdout.take().context("stdout is piped")?);
        Ok(Self { child, stdin, stdout })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("a child process ended early");
        }
        Ok(line.trim().to_owned())
    }

    pub(crate) fn expect(&mut self, word: &str) -> anyhow::Result<()> {
        let line = self.line()?;
        if line != word {
            bail!("expected \"{word}\" from a child process, not \"{line}\"");
        }
        Ok(())
    }

    pub(crate) fn say(&mut self, word: &str) -> anyhow::Result<()> {
        Ok(writeln!(self.stdin, "{word}")?)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `conf-serve` on a free port of the loopback.
pub(crate) struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// One that keeps nothing.
    pub(crate) fn start() -> anyhow::Result<Self> {
        Self::start_with(&["--ephemeral"])
    }

    pub(crate) fn start_with(args: &[&str]) -> anyhow::Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conf-serve"));
        command.args(["--quiet", "127.0.0.1:0"]).args(args);
        let mut child = Child::start(command)?;
        for _ in 0..50 {
            let line = child.line()?;
            if let Some((_, rest)) = line.split_once("conf://127.0.0.1:") {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                return Ok(Self { child, address: format!("127.0.0.1:{port}") });
            }
        }
        bail!("conf-serve did not print its address")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

/// As many descriptors as this process may have.
pub(crate) fn raise_descriptors() -> anyhow::Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// CPU time of a process so far, in microseconds: all its threads, user and kernel.
pub(crate) fn cpu_us(pid: u32) -> anyhow::Result<f64> {
    // The scheduler's own account is exact to the nanosecond; stat counts in ticks of 10 ms.
    let mut total = 0.0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) else { return ticks(pid) };
        let ns: f64 = text.split(' ').next().unwrap_or_default().parse()?;
        total += ns / 1e3;
    }
    if total == 0.0 { ticks(pid) } else { Ok(total) }
}

fn ticks(pid: u32) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = text.rsplit_once(") ").context("stat has a name in brackets")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    // USER_HZ is 100 on every Linux.
    Ok(ticks * 10_000.0)
}

/// Resident memory of a process in bytes.
pub(crate) fn resident(pid: u32) -> anyhow::Result<i64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: i64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}
