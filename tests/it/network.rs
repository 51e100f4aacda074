//! What becomes of a meeting when the network or the server goes away.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use confkit::id::MemberId;
use confkit::net::client::Event;
use confkit::net::tcp;
use confkit::wire::control::Presence;
use confkit::wire::{Code, Frame};
use confkit::{server, time};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::programs::{Running, Serve, program};
use crate::support::take::{access_units, description, frames};
use crate::support::watcher::Watcher;

/// A server and its network on this side, and a namespace on the other, joined by one cable.
struct Cable {
    far: String,
    near: String,
    address: String,
}

impl Cable {
    /// Nothing where this may not be done.
    fn lay() -> Option<Self> {
        let id = std::process::id();
        let (far, near) = (format!("conf{id}"), format!("cn{id}"));
        let (a, b) = (id / 256 % 256, id % 256);
        let cable = Self { far, near, address: format!("10.{a}.{b}.1") };
        let (far, near) = (&cable.far, &cable.near);
        let made = ip(&format!("netns add {far}"))
            && ip(&format!("link add {near} type veth peer name far netns {far}"))
            && ip(&format!("addr add 10.{a}.{b}.1/24 dev {near}"))
            && ip(&format!("link set {near} up"))
            && ip(&format!("-n {far} addr add 10.{a}.{b}.2/24 dev far"))
            && ip(&format!("-n {far} link set far up"));
        if !made {
            eprintln!("skipped: needs the right to make a network namespace (ip netns, as root)");
        }
        made.then_some(cable)
    }

    /// `command` on the far side.
    fn far(&self, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.args(["netns", "exec", &self.far]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => there.env(name, value),
                None => there.env_remove(name),
            };
        }
        there
    }

    /// Packets vanish without a word: both ends still believe in the link.
    fn swallow(&self, all: bool) {
        // No packet fits into a token bucket of one byte.
        let (verb, bucket) = if all { ("add", " tbf rate 8bit burst 1 latency 1ms") } else { ("del", "") };
        assert!(run("tc", &format!("-n {} qdisc {verb} dev far root{bucket}", self.far)));
        assert!(run("tc", &format!("qdisc {verb} dev {} root{bucket}", self.near)));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.near));
        ip(&format!("netns del {}", self.far));
    }
}

fn ip(arguments: &str) -> bool {
    run("ip", arguments)
}

fn run(program: &str, arguments: &str) -> bool {
    let mut command = Command::new(program);
    command.args(arguments.split(' ')).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Waits until both members are in `state`; nobody may leave, join or end a track meanwhile. The first
/// picture that came before that, if one did.
async fn both(watcher: &mut Watcher, members: &[MemberId], state: Presence) -> Option<Frame> {
    let mut waiting = members.to_vec();
    let mut first = None;
    let seen = |event| match event {
        Event::Media(frame) => {
            first.get_or_insert(frame);
            None
        }
        Event::Member(member) => {
            assert!(members.contains(&member.member), "{member:?} is somebody else");
            if member.state == state {
                waiting.retain(|m| *m != member.member);
            }
            waiting.is_empty().then_some(())
        }
        Event::MemberLeft(_) | Event::TrackGone(_) | Event::Track(_) => panic!("{event:?}"),
        _ => None,
    };
    watcher.find(seen).await;
    first
}

#[tokio::test]
async fn w38_x05_without_a_network_the_others_see_reconnecting_and_then_the_same_members_again() {
    let Some(cable) = Cable::lay() else { return };
    let server = Serve::at(&format!("{}:0", cable.address));
    let mut watcher = Watcher::join(&server.room).await;
    let home = tempfile::tempdir().unwrap();
    let log = |name: &str| home.path().join(name);

    let mut send = program("conf-send", home.path());
    send.args(["--name", "Ann", "--log-file"]).arg(log("ann")).env("CONF_ROOM", &server.room);
    send.env("CONF_IDENTITY_FILE", log("ann.id"));
    let mut send = Running::start({
        let mut there = cable.far(&send);
        there.stdin(Stdio::piped()).stderr(Stdio::null());
        there
    });
    let mut stdin = send.child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        let recording = frames(&access_units(1_500));
        let head = description();
        // Until the program goes; it is as slow as the pictures' own times.
        let parts = std::iter::once(&head[..]).chain(recording.iter().map(|frame| &frame.bytes()[..]));
        parts.map(|part| stdin.write_all(part)).take_while(Result::is_ok).count()
    });
    let mut view = program("conf-view", home.path());
    view.args(["--name", "Bob", "--no-window", "--log-file"]).arg(log("bob")).env("CONF_ROOM", &server.room);
    view.env("CONF_IDENTITY_FILE", log("bob.id"));
    let mut there = cable.far(&view);
    there.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let view = Running::start(there);

    let (mut members, mut pictures) = (Vec::new(), false);
    let arrive = |event| {
        match event {
            Event::Member(member) if member.name != "Watcher" && !members.contains(&member.member) => {
                members.push(member.member);
            }
            Event::Media(_) => pictures = true,
            _ => {}
        }
        (members.len() == 2 && pictures).then_some(())
    };
    watcher.find(arrive).await;

    cable.swallow(true);
    let gone = time::now();
    both(&mut watcher, &members, Presence::Reconnecting).await;
    let noticed =
        |name: &str| std::fs::read_to_string(log(name)).is_ok_and(|log| log.contains("trying again"));
    while !(noticed("ann") && noticed("bob")) {
        assert!(time::now().since(gone) < Duration::from_secs(15), "the programs have not noticed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(time::now().since(gone) < Duration::from_secs(15));
    cable.swallow(false);
    let first = match both(&mut watcher, &members, Presence::Here).await {
        Some(frame) => frame,
        None => watcher.picture().await,
    };
    assert!(first.header.media.unwrap().key, "the pictures begin with a key");
    drop((send, view));
    feeder.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn x12_three_hundred_sessions_come_back_after_a_restart_of_the_server() {
    const SESSIONS: usize = 300;
    let serve = |address: SocketAddr| {
        let stop = CancellationToken::new();
        let listener = tcp::listen(address).unwrap();
        let address = listener.local_addr().unwrap();
        (address, tokio::spawn(server::run(listener, server::Config::default(), stop.clone())), stop)
    };
    let (address, running, stop) = serve("127.0.0.1:0".parse().unwrap());
    let mut sessions: Vec<Watcher> = Vec::new();
    for _ in 0..SESSIONS {
        sessions.push(Watcher::join(&format!("conf://{address}/many")).await);
    }
    stop.cancel();
    running.await.unwrap().unwrap();
    let (_, _running, _stop) = serve(address);
    let back = time::now();
    let mut returns = JoinSet::new();
    for mut session in sessions {
        returns.spawn(async move {
            let up = |event| match event {
                Event::Up { resumed, .. } => Some(resumed),
                Event::Refused(refusal) if refusal.code != Code::ShuttingDown => panic!("{refusal}"),
                Event::Ended(end) => panic!("{end}"),
                _ => None,
            };
            assert!(!session.find(up).await, "the new server knows nobody");
            session
        });
    }
    assert_eq!(returns.join_all().await.len(), SESSIONS);
    assert!(time::now().since(back) < Duration::from_secs(15), "{:?}", time::now().since(back));
}
