//! `conf-serve`: its options and what it prints.

mod ask;
mod history;
mod room;
mod settings;
mod status;
mod table;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use signal_hook::consts::SIGTERM;
use tokio::sync::mpsc;
use tracing::Level;

use super::{Common, Exit, Failure, Program, output, signal};
use crate::id::RoomName;
use crate::server::Settings;
use crate::server::store::Keep;
use crate::session::Address;
use crate::session::address::PORT;
use crate::{limits, net, server};

/// Host meetings on this machine: one TCP port, no accounts, nothing to configure.
#[derive(Debug, Clone, Parser)]
#[command(name = "conf-serve", version, before_long_help = EXAMPLES)]
// Else --port would stand beside ADDR:PORT as if both were the same.
#[command(
    override_usage = "conf-serve [OPTIONS] [ADDR:PORT]\n       conf-serve --status [--port PORT]\n       conf-serve <COMMAND>"
)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Serve {
    /// Where to listen: an address, a port, or both; port 0 takes a free one.
    #[arg(value_name = "ADDR:PORT", default_value = "[::]:2663", value_parser = listen_address)]
    pub listen: SocketAddr,

    /// The room in the join link; others come into being when somebody joins them.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub room: RoomName,

    /// Show the join link as a QR code too.
    #[arg(long)]
    pub qr: bool,

    /// Members that a room takes.
    #[arg(long, value_name = "N", default_value_t = limits::MEMBERS, value_parser = members)]
    pub max_members: usize,

    /// How long a member whose network broke is waited for.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub grace: Duration,

    /// How long an empty room is kept.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub room_grace: Duration,

    /// Where messages, rooms and files are kept [default: $XDG_DATA_HOME/confkit, else ~/.local/share/confkit]
    #[arg(long, value_name = "DIR", conflicts_with = "ephemeral")]
    pub store: Option<PathBuf>,

    /// Keep nothing: messages live as long as their room, files as long as the server.
    #[arg(long)]
    pub ephemeral: bool,

    /// Messages that are kept of each room.
    #[arg(long, value_name = "N", default_value_t = Keep::default().messages)]
    pub history: u64,

    /// How long messages are kept.
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = humantime::parse_duration)]
    pub history_age: Duration,

    /// Bytes of files that are kept, of all rooms: 500M, 20G.
    #[arg(long, value_name = "SIZE", default_value = "10G", value_parser = size)]
    pub store_quota: u64,

    /// Days that a file is kept after the last of it came.
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub store_days: u32,

    /// Settings in a file, each as NAME = VALUE, which take the place of the options --max-members, --grace,
    /// --room-grace, --history and --history-age; read again at SIGHUP.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Show how the running server is, instead of starting one.
    #[arg(long, value_name = "FORMAT", value_enum, num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "table")]
    pub status: Option<Format>,

    /// The port of the server that --status asks, where several are running.
    #[arg(long, value_name = "PORT", requires = "status")]
    pub port: Option<u16>,

    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    common: Common,
}

/// What to do instead of serving.
#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Make, list and remove rooms of the running server
    #[command(subcommand)]
    Room(room::Room),
}

/// How something is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

const EXAMPLES: &str = "\
Examples:
  conf-serve                        serve on port 2663 of every address
  conf-serve 192.168.1.5:9000       only there
  conf-serve --room standup --qr    print a link to this room, as a QR code too
  conf-serve --ephemeral            keep nothing when it ends
  conf-serve --store-quota 50G      keep more files
  conf-serve --config serve.conf    settings that can change while it runs
  conf-serve --status               how the running server is
  conf-serve room create standup    make a room in it (see conf-serve room create --help)
";

impl Program for Serve {
    const LOG: Level = Level::INFO;

    fn common(&self) -> &Common {
        &self.common
    }
}

/// Does what the command line says: serves until a signal comes, or asks the server that does.
pub fn serve(args: &Serve) -> anyhow::Result<()> {
    let shown = match (&args.command, args.status) {
        (Some(Command::Room(room)), _) => room::run(room)?,
        (None, Some(format)) => status::run(args.port, format)?,
        (None, None) => return host(args),
    };
    Ok(output::stdout()?.write_all(shown.as_bytes())?)
}

fn host(args: &Serve) -> anyhow::Result<()> {
    let stop = signal::install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("serve").build()?;
    runtime.block_on(async {
        let listener = net::tcp::listen(args.listen).map_err(|error| cannot_listen(args.listen, &error))?;
        let bound = listener.local_addr()?;
        let settings = settings::read(args)?;
        let (store, depot) = history::open(args, settings.keep)?;
        // There before anybody is told that the server is.
        let local = local_socket(bound.port());
        let text = invitation(bound, &server::reachable(), &args.room, args.qr);
        output::stdout()?.write_all(text.as_bytes())?;
        let changes = args.config.is_some().then(|| changes(args.clone())).transpose()?;
        let config = server::Config {
            terms: settings.terms,
            store,
            depot,
            local,
            changes,
            ..server::Config::default()
        };
        server::run(listener, config, stop).await?;
        anyhow::Ok(())
    })?;
    // Everybody was told and everything written: a server that is told to stop and stops has done well.
    if signal::received() == Some(SIGTERM as u8) {
        signal::acknowledge();
    }
    Ok(())
}

/// The settings as the file has them at each SIGHUP, where it has no mistake.
fn changes(args: Serve) -> std::io::Result<mpsc::Receiver<Settings>> {
    let (tell, changes) = mpsc::channel(1);
    signal::on_hangup(move || match settings::read(&args) {
        // One that waits there was read just now.
        Ok(settings) => drop(tell.try_send(settings)),
        Err(failure) => tracing::error!("the settings stay as they are: {failure}"),
    })?;
    Ok(changes)
}

/// The socket for `--status` and `room`. Meetings go on without it.
fn local_socket(port: u16) -> Option<(PathBuf, UnixListener)> {
    let socket = server::local::path(history::socket_directories().first()?, port);
    match server::local::bind(&socket) {
        Ok(listener) => Some((socket, listener)),
        Err(error) => {
            let socket = socket.display();
            tracing::warn!("conf-serve --status and room will not work: cannot use {socket}: {error}");
            None
        }
    }
}

/// What others have to type, for every address under which they reach this machine.
fn invitation(bound: SocketAddr, reachable: &[IpAddr], room: &RoomName, qr: bool) -> String {
    let everywhere = bound.ip().is_unspecified();
    let fits = |ip: &&IpAddr| bound.is_ipv6() || ip.is_ipv4();
    let mut hosts: Vec<IpAddr> = match everywhere {
        true => reachable.iter().filter(fits).copied().collect(),
        false => vec![bound.ip()],
    };
    let alone = hosts.is_empty();
    if alone {
        hosts.push(Ipv4Addr::LOCALHOST.into());
    }
    let link = |ip: &IpAddr| {
        Address { host: ip.to_canonical().to_string(), port: bound.port(), room: room.clone() }.to_string()
    };
    let mut text = format!("conf-serve {} is listening. To join, type\n\n", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(text, "    export CONF_ROOM={}\n", link(&hosts[0]));
    text.push_str("and then, in the same terminal,\n\n    conf-view                # see everybody\n    conf-cam | conf-send     # be seen\n    conf-chat                # write\n    conf-send FILE           # a file for everybody, who type: conf-recv\n");
    if let [_, others @ ..] = &hosts[..]
        && !others.is_empty()
    {
        text.push_str("\nThis machine is also reached as\n\n");
        for other in others {
            let _ = writeln!(text, "    {}", link(other));
        }
    }
    if alone || hosts[0].is_loopback() {
        text.push_str("\nThis address works on this machine only.\n");
    }
    if qr && let Ok(code) = QrCode::new(link(&hosts[0])) {
        let _ = write!(text, "\n{}\n", code.render::<Dense1x2>().build());
    }
    text.push('\n');
    text
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    let hint = match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            "another program has this port, perhaps a conf-serve that is already running; \
             choose another one, as in: conf-serve [::]:2664"
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        std::io::ErrorKind::PermissionDenied => "ports below 1024 need more rights; choose a higher one",
        _ => "choose another address, as in: conf-serve 127.0.0.1:2663",
    };
    Failure::new(Exit::Connect, format!("cannot listen on {address}: {error}; {hint}"))
}

/// `ADDR:PORT`, `ADDR`, `PORT` or `:PORT`.
fn listen_address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Ok(SocketAddr::from((ip, PORT)));
    }
    if let Some((host, port)) =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty() && !host.contains(':'))
    {
        let port = port.parse().map_err(|_| format!("{port} is no port"))?;
        let mut found = (host, port).to_socket_addrs().map_err(|error| format!("{host}: {error}"))?;
        return found.next().ok_or_else(|| format!("{host} has no address"));
    }
    let port = text.strip_prefix(':').unwrap_or(text).parse::<u16>();
    port.map(|port| SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .map_err(|_| "expected ADDR:PORT, as in 192.168.1.5:2663 or [::]:2663".into())
}

/// Bytes: `1000`, `500K`, `500M`, `10G`, `2T`, in powers of 1024.
fn size(text: &str) -> Result<u64, String> {
    let wrong = || "expected bytes, as in 500M or 20G".to_owned();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit.to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes <= limits::INTEGER).ok_or_else(wrong)
}

fn members(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n) if (1..=limits::MEMBERS).contains(&n) => Ok(n),
        _ => Err(format!("expected a number from 1 to {}", limits::MEMBERS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room() -> RoomName {
        "main".parse().unwrap()
    }

    #[test]
    fn every_reachable_address_is_printed_with_the_port_where_it_is_not_the_usual_one() {
        let reachable = ["192.168.1.5".parse().unwrap(), "2001:db8::5".parse().unwrap()];
        let text = invitation("[::]:2663".parse().unwrap(), &reachable, &room(), false);
        assert!(text.contains("export CONF_ROOM=conf://192.168.1.5/main\n"), "{text}");
        assert!(text.contains("    conf://[2001:db8::5]/main\n"), "{text}");
        let text = invitation("0.0.0.0:9000".parse().unwrap(), &reachable, &room(), false);
        assert!(text.contains("conf://192.168.1.5:9000/main") && !text.contains("db8"), "{text}");
    }

    #[test]
    fn a_machine_without_a_network_prints_loopback_and_says_so() {
        let text = invitation("[::]:2663".parse().unwrap(), &[], &room(), true);
        assert!(text.contains("conf://127.0.0.1/main") && text.contains("this machine only"), "{text}");
        assert!(text.contains('█'), "the QR code");
    }

    #[test]
    fn sizes_are_written_as_people_write_them() {
        for (text, expected) in
            [("1000", 1000), ("500K", 500 << 10), ("10G", 10 << 30), ("2TiB", 2 << 40), ("1mb", 1 << 20)]
        {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "10X", "99999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_a_port_or_both() {
        for (text, expected) in [
            ("9000", "[::]:9000"),
            (":9000", "[::]:9000"),
            ("127.0.0.1", "127.0.0.1:2663"),
            ("[::1]", "[::1]:2663"),
            ("::1", "[::1]:2663"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(listen_address(text), Ok(expected.parse().unwrap()));
        }
        // Whichever of its addresses the system names first.
        assert!(listen_address("localhost:9000").is_ok_and(|a| a.ip().is_loopback() && a.port() == 9000));
        for text in ["nowhere", "::1:x", "99999", "", "localhost:x", ":x"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }
}
