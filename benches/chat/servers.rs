//! The servers, each in a process of its own on a free port of the loopback, with nothing kept but what
//! its row says.

use std::fmt;
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::process::Server;
use crate::speech::Speech;

/// How long a server may take to listen.
const START: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// conf-serve that keeps nothing, as the peers do.
    Ephemeral,
    /// conf-serve as it runs by itself: every message is on disk before it is called stored.
    Stored,
    Ngircd,
    Redis,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Ephemeral, Self::Ngircd, Self::Stored, Self::Redis];

    pub(crate) fn speech(self) -> Speech {
        match self {
            Self::Ephemeral | Self::Stored => Speech::Conf,
            Self::Ngircd => Speech::Irc,
            Self::Redis => Speech::Redis,
        }
    }

    pub(crate) fn is_peer(self) -> bool {
        self.program().is_some()
    }

    pub(crate) fn is_here(self) -> bool {
        self.program().is_none_or(|program| {
            Command::new(program).arg("--version").stdout(Stdio::null()).status().is_ok()
        })
    }

    fn program(self) -> Option<&'static str> {
        match self {
            Self::Ephemeral | Self::Stored => None,
            Self::Ngircd => Some("ngircd"),
            Self::Redis => Some("redis-server"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ephemeral => "conf-serve --ephemeral",
            Self::Stored => "conf-serve",
            Self::Ngircd => "ngircd",
            Self::Redis => "redis-server",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).context("no such server")
    }
}

/// A server that runs until this is dropped.
pub(crate) struct Running {
    kind: Kind,
    process: Process,
    address: String,
    /// Where it keeps things.
    _directory: tempfile::TempDir,
}

enum Process {
    Ours(Server),
    Peer(std::process::Child),
}

impl Running {
    pub(crate) fn start(kind: Kind) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = directory.path();
        let (process, address) = match kind {
            Kind::Ephemeral => ours(Server::start()?),
            Kind::Stored => {
                let data = at.to_str().context("a temporary directory has a plain name")?;
                ours(Server::start_with(&["--store", data])?)
            }
            Kind::Ngircd => {
                let port = free_port()?;
                let file = at.join("ngircd.conf");
                // No limits and no penalties, no look-ups: what it can do, not what it allows.
                std::fs::write(
                    &file,
                    format!(
                        "[Global]\nName = irc.bench.test\nInfo = bench\nListen = 127.0.0.1\nPorts = {port}\n\
                         [Limits]\nMaxConnections = 0\nMaxConnectionsIP = 0\nMaxJoins = 0\nMaxPenaltyTime = 0\n\
                         MaxNickLength = 30\n[Options]\nDNS = no\nIdent = no\nPAM = no\n"
                    ),
                )?;
                let file = file.to_str().context("a temporary directory has a plain name")?;
                peer("ngircd", &["-n", "-f", file], port)?
            }
            Kind::Redis => {
                let port = free_port()?;
                let number = port.to_string();
                let quiet =
                    ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning"];
                peer("redis-server", &[&["--port", &number], &quiet[..]].concat(), port)?
            }
        };
        Ok(Self { kind, process, address, _directory: directory })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn id(&self) -> u32 {
        match &self.process {
            Process::Ours(server) => server.id(),
            Process::Peer(child) => child.id(),
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Process::Peer(child) = &mut self.process {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn ours(server: Server) -> (Process, String) {
    let address = server.address().to_owned();
    (Process::Ours(server), address)
}

fn peer(program: &str, args: &[&str], port: u16) -> anyhow::Result<(Process, String)> {
    let address = format!("127.0.0.1:{port}");
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let process = Process::Peer(child);
    for _ in 0..START {
        if TcpStream::connect(&address).is_ok() {
            return Ok((process, address));
        }
        std::thread::park_timeout(PAUSE);
    }
    if let Process::Peer(mut child) = process {
        child.kill()?;
        child.wait()?;
    }
    bail!("{program} does not listen")
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
