//! The tools that people would use instead: each moves the same file from one directory of the disk into
//! another over the loopback, with a server of its own where it needs one.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use confkit::time;

use crate::place::Place;
use crate::programs::{Running, timed};

/// How long a server may take to listen.
const LISTENS: Duration = Duration::from_secs(20);

/// One of them.
pub(crate) struct Peer {
    pub(crate) name: &'static str,
    /// What it needs, and where that is to be had.
    needs: &'static [&'static str],
    pub(crate) hint: &'static str,
    start: fn(&Path) -> anyhow::Result<Serving>,
    carry: fn(&Serving, &Path, &Path) -> anyhow::Result<Duration>,
}

pub(crate) const PEERS: [Peer; 4] = [
    Peer {
        name: "rsync daemon",
        needs: &["rsync"],
        hint: "apt install rsync",
        start: rsync,
        carry: rsync_carries,
    },
    Peer {
        name: "scp",
        needs: &["scp", "sshd", "ssh-keygen"],
        hint: "apt install openssh-client openssh-server",
        start: sshd,
        carry: scp_carries,
    },
    Peer {
        name: "magic-wormhole",
        needs: &["wormhole", "twist"],
        hint: "in a venv on the PATH: pip install magic-wormhole magic-wormhole-mailbox-server magic-wormhole-transit-relay",
        start: wormhole,
        carry: wormhole_carries,
    },
    Peer {
        name: "croc",
        needs: &["croc"],
        hint: "https://github.com/schollz/croc",
        start: croc,
        carry: croc_carries,
    },
];

/// The servers of a peer, and where they are.
pub(crate) struct Serving {
    servers: Vec<Running>,
    ports: Vec<u16>,
    home: PathBuf,
}

impl Peer {
    /// Starts what it needs; none where something is not installed.
    pub(crate) fn start(&self, place: &Place) -> anyhow::Result<Option<Serving>> {
        if self.needs.iter().any(|program| find(program).is_none()) {
            return Ok(None);
        }
        let serving = (self.start)(&place.fresh(&self.name.replace(' ', "-"))?)?;
        for port in &serving.ports {
            let begun = time::now();
            while TcpStream::connect(("127.0.0.1", *port)).is_err() {
                if time::now().since(begun) > LISTENS {
                    bail!("its server does not listen");
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        Ok(Some(serving))
    }

    /// How long it takes for `file` to be in the directory `into`.
    pub(crate) fn carry(&self, serving: &Serving, file: &Path, into: &Path) -> anyhow::Result<Duration> {
        let took = (self.carry)(serving, file, into)?;
        let name = file.file_name().context("a file has a name")?;
        if into.join(name).metadata().map_or(0, |about| about.len()) != file.metadata()?.len()
            && !file.is_dir()
        {
            bail!("the file did not arrive");
        }
        Ok(took)
    }
}

/// Where a program is.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|at| at.join(program)).find(|at| at.is_file())
}

fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| program.into()));
    command.env("HOME", home).current_dir(home).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A port that nobody has at the moment.
fn port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn rsync(home: &Path) -> anyhow::Result<Serving> {
    let port = port()?;
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let above = home.parent().context("it is below the place")?;
    let text = format!(
        "use chroot = no\nuid = {uid}\ngid = {gid}\n[files]\npath = {}\nread only = no\n",
        above.display()
    );
    std::fs::write(home.join("conf"), text)?;
    let mut server = command("rsync", home);
    server.args([
        "--daemon",
        "--no-detach",
        "--config=conf",
        "--address=127.0.0.1",
        &format!("--port={port}"),
    ]);
    Ok(Serving { servers: vec![Running::start(&mut server)?], ports: vec![port], home: home.into() })
}

fn rsync_carries(serving: &Serving, file: &Path, into: &Path) -> anyhow::Result<Duration> {
    let into = into.file_name().context("a directory has a name")?.display();
    let to = format!("rsync://127.0.0.1:{}/files/{into}/", serving.ports[0]);
    timed(command("rsync", &serving.home).arg("-r").arg("--whole-file").arg(file).arg(to))
}

fn sshd(home: &Path) -> anyhow::Result<Serving> {
    let port = port()?;
    for key in ["host", "user"] {
        timed(command("ssh-keygen", home).args(["-q", "-t", "ed25519", "-N", "", "-f", key]))?;
    }
    let at = home.display();
    let text = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nPidFile none\n\
         StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
         Subsystem sftp internal-sftp\n"
    );
    std::fs::write(home.join("conf"), text)?;
    let mut server = command("sshd", home);
    server.args(["-D", "-e", "-f", &format!("{at}/conf")]);
    Ok(Serving { servers: vec![Running::start(&mut server)?], ports: vec![port], home: home.into() })
}

fn scp_carries(serving: &Serving, file: &Path, into: &Path) -> anyhow::Result<Duration> {
    let mut scp = command("scp", &serving.home);
    scp.args(["-q", "-F", "none", "-i", "user", "-P", &serving.ports[0].to_string()]);
    scp.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]);
    timed(scp.arg(file).arg(format!("127.0.0.1:{}/", into.display())))
}

fn wormhole(home: &Path) -> anyhow::Result<Serving> {
    let ports = vec![port()?, port()?];
    let listen = |port: u16| format!("tcp:{port}:interface=127.0.0.1");
    let mailbox =
        Running::start(command("twist", home).args(["wormhole-mailbox", "--port", &listen(ports[0])]))?;
    let relay = Running::start(command("twist", home).args(["transitrelay", "--port", &listen(ports[1])]))?;
    Ok(Serving { servers: vec![mailbox, relay], ports, home: home.into() })
}

fn wormhole_carries(serving: &Serving, file: &Path, into: &Path) -> anyhow::Result<Duration> {
    const CODE: &str = "7-bench-files";
    let start = || {
        let mut command = command("wormhole", &serving.home);
        command.args(["--relay-url", &format!("ws://127.0.0.1:{}/v1", serving.ports[0])]);
        command.args(["--transit-helper", &format!("tcp:127.0.0.1:{}", serving.ports[1])]);
        command
    };
    let begun = time::now();
    let mut sender = Running::start(start().args(["send", "--hide-progress", "--code", CODE]).arg(file))?;
    let name = file.file_name().context("a file has a name")?;
    let receive = ["receive", "--hide-progress", "--accept-file", "-o"];
    timed(start().args(receive).arg(into.join(name)).arg(CODE))?;
    sender.wait()?;
    Ok(time::now().since(begun))
}

fn croc(home: &Path) -> anyhow::Result<Serving> {
    let ports = (0..3).map(|_| port()).collect::<anyhow::Result<Vec<u16>>>()?;
    let list = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
    let relay = Running::start(command("croc", home).args(["relay", "--ports", &list]))?;
    Ok(Serving { servers: vec![relay], ports, home: home.into() })
}

fn croc_carries(serving: &Serving, file: &Path, into: &Path) -> anyhow::Result<Duration> {
    let relay = format!("127.0.0.1:{}", serving.ports[0]);
    let start = || {
        let mut command = command("croc", &serving.home);
        command.args(["--yes", "--relay", &relay]).env("CROC_SECRET", "1234-bench-files");
        command
    };
    let begun = time::now();
    let mut sender = Running::start(start().args(["send", "--no-local"]).arg(file))?;
    timed(start().current_dir(into))?;
    sender.wait()?;
    Ok(time::now().since(begun))
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.servers.clear();
    }
}
