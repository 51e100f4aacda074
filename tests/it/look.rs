//! A look at a room: who is there and what is offered, without joining.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use confkit::id::{RoomName, Secret};
use confkit::server::depot::{Depot, Keep};
use confkit::server::store::{self, Founding, Store};
use confkit::server::{self};
use confkit::session::password;
use confkit::time;
use confkit::wire::control::{Control, Goodbye, Hello, Refusal};
use confkit::wire::{Code, Frame, Kind, Part};
use serde_json::{Value, json};

use crate::support::files::{about, offer, piece, wants_offers};
use crate::support::liar::{Liar, Lie};
use crate::support::peer::{Host, Peer, hello};
use crate::support::programs::{PATIENCE, Serve, program};
use crate::support::scene::{Scene, output};
use crate::support::talk::{Lines, Town, wait_for};

/// What a program of the person at `home` does in `room`: exit code, stdout and stderr.
fn run(name: &str, home: &Path, room: &str, arguments: &[&str]) -> (i32, String, String) {
    std::fs::create_dir_all(home).unwrap();
    let mut command = program(name, home);
    command.args(arguments).arg("--no-input").env("CONF_ROOM", room).env("CONF_NAME", "Looker");
    command.current_dir(home);
    output(command)
}

/// The rooms that the running server has.
fn rooms(town: &Town, serve: &Serve) -> Value {
    let port = serve.address.port().to_string();
    let mut command = program("conf-serve", town.home.path());
    command.args(["room", "list", "--json", "--port", &port]);
    let (code, list, why) = output(command);
    assert_eq!(code, 0, "{why}");
    serde_json::from_str(&list).unwrap()
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

#[test]
fn nobody_in_the_room_sees_who_looks_at_it() {
    let mut town = Town::new();
    let serve = town.serve();
    let mut bo = town.talk("Bo", &["--json"]);
    let heard = Lines::of(&mut bo);
    heard.object("caught_up");
    let (code, table, why) = town.ask("Ann", &["--who"]);
    assert_eq!((code, table.lines().count()), (0, 2), "{table}{why}");
    assert!(table.contains("\nBo ") && !table.contains("Ann"), "{table}");
    let (code, object, _) = town.ask("Ann", &["--who=json"]);
    let object = parse(&object);
    assert_eq!((code, &object["members"][0]["name"], &object["locked"]), (0, &"Bo".into(), &false.into()));
    assert_eq!(
        (object["members"].as_array().unwrap().len(), &object["members"][0]["own"]),
        (1, &false.into())
    );
    let (code, list, why) = run("conf-recv", &town.path("Cy"), &serve.room, &["--list"]);
    assert_eq!((code, list.as_str()), (0, "nothing is offered in this room\n"), "{why}");

    assert_eq!(town.ask("Di", &["-m", "marker"]).0, 0);
    let mut seen = Vec::new();
    loop {
        let line = parse(&heard.next().unwrap());
        if line["type"] == "presence" {
            seen.push(line["member"]["name"].clone());
        } else if line["type"] == "message" {
            assert_eq!(line["text"], "marker");
            break;
        }
    }
    assert!(!seen.is_empty() && seen.iter().all(|name| name == "Di"), "{seen:?}");
    // Whose program is there is told that that is oneself, though it is another program that asks.
    let (_, table, _) = town.ask("Bo", &["--who"]);
    assert!(table.lines().any(|row| row.starts_with("Bo ") && row.contains("you")), "{table}");
    assert_eq!(parse(&town.ask("Bo", &["--who=json"]).1)["members"][0]["own"], true);
}

#[test]
fn a_room_that_is_not_there_is_not_made_by_looking() {
    let mut town = Town::new();
    let serve = town.serve();
    let nowhere = format!("conf://{}/nowhere", serve.address);
    let home = town.path("Ann");
    for (name, arguments) in [
        ("conf-chat", &["--who"][..]),
        ("conf-chat", &["--who=json"]),
        ("conf-recv", &["--list"]),
        ("conf-recv", &["--list=json"]),
    ] {
        let (code, out, said) = run(name, &home, &nowhere, arguments);
        assert_eq!((code, out.as_str()), (5, ""), "{name} {arguments:?}: {said}");
        let sentence = format!(
            "{name}: there is no room nowhere at 127.0.0.1 port {}; whoever joins it first makes it\n",
            serve.address.port()
        );
        assert_eq!(said, sentence);
    }
    assert_eq!(rooms(&town, &serve), json!([]));
    // The first who joins is its host, not who looked.
    assert_eq!(run("conf-chat", &town.path("Bo"), &nowhere, &["-m", "first"]).0, 0);
    let rooms = rooms(&town, &serve);
    let bo = program_key(&town, "Bo", &serve);
    assert_eq!((&rooms[0]["name"], &rooms[0]["owner"]), (&"nowhere".into(), &bo));
}

/// The first digits of somebody's key, as `conf-chat --who` shows it.
fn program_key(town: &Town, name: &str, serve: &Serve) -> Value {
    let room = format!("conf://{}/keys", serve.address);
    let home = town.path(name);
    let mut command = program("conf-chat", &home);
    command.args(["--json", "-r", &room]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut running = crate::support::programs::Running::start(command);
    let key = Lines::of(&mut running).object("state")["members"][0]["fingerprint"].clone();
    assert_eq!(running.wait(PATIENCE), 0);
    key
}

#[test]
fn a_room_that_is_kept_is_there_though_nobody_is_in_it() {
    let mut scene = Scene::new();
    scene.file("plan", 100);
    assert_eq!(scene.send(&["plan"]).0, 0);
    let made = |scene: &Scene| {
        let mut command = program("conf-serve", scene.town.home.path());
        let port = scene.server.as_ref().unwrap().address.port().to_string();
        command.args(["room", "create", "board", "--port", &port]);
        output(command)
    };
    assert_eq!(made(&scene).0, 0);
    let before = rooms(&scene.town, scene.server.as_ref().unwrap());
    // Another life of the server, in which nobody has come yet.
    scene.server = None;
    scene.server = Some(scene.town.serve());
    let (address, room) = (scene.server.as_ref().unwrap().address, scene.room());
    let (bob, ann) = (scene.town.path("bob"), scene.town.path("ann"));
    for room in [&room, &format!("conf://{address}/board")] {
        let (code, table, why) = run("conf-chat", &bob, room, &["--who"]);
        assert_eq!((code, table.as_str()), (0, "nobody is in this room\n"), "{why}");
        let (code, object, _) = run("conf-chat", &bob, room, &["--who=json"]);
        assert_eq!((code, parse(&object)), (0, json!({ "members": [], "locked": false })));
    }
    let (code, list, why) = run("conf-recv", &bob, &room, &["--list=json"]);
    let list = parse(&list);
    assert_eq!((code, &list["offers"][0]["title"]), (0, &"plan".into()), "{why}");
    assert_eq!(list["offers"][0]["own"], false);
    // Whose it is is known by the key, for its sender is no member now.
    let (code, list, why) = run("conf-recv", &ann, &room, &["--list"]);
    assert!(code == 0 && list.contains("complete, yours"), "{list}{why}");
    assert_eq!(rooms(&scene.town, scene.server.as_ref().unwrap()), before, "whose they are, and all else");
}

#[test]
fn a_locked_room_lets_its_members_look_and_no_strangers() {
    let mut town = Town::new();
    let serve = town.serve();
    let mut ann = town.talk("Ann", &["--json"]);
    let heard = Lines::of(&mut ann);
    heard.object("caught_up");
    ann.feed(b"{\"type\":\"moderate\",\"action\":\"lock\"}\n");
    assert_eq!(heard.object("room")["locked"], true);
    for (name, arguments) in [("conf-chat", ["--who"]), ("conf-recv", ["--list"])] {
        let (code, out, said) = run(name, &town.path("Di"), &serve.room, &arguments);
        assert_eq!((code, out.as_str()), (5, ""));
        assert_eq!(
            said,
            format!("{name}: the server refused: the room is locked: it takes nobody new now\n")
        );
    }
    let (code, object, why) = town.ask("Ann", &["--who=json"]);
    assert_eq!((code, &parse(&object)["locked"]), (0, &true.into()), "{why}");
}

#[test]
fn a_full_room_can_be_looked_at() {
    let home = tempfile::tempdir().unwrap();
    let mut command = program("conf-serve", home.path());
    command.args(["127.0.0.1:0", "--ephemeral", "--max-members", "1"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let serve = Serve::from_command(command);
    let mut ann = Peer::connect(serve.address);
    ann.hello(Hello { room: "main".into(), ..hello("Ann") });
    let looker = home.path().join("looker");
    let (code, _, said) = run("conf-chat", &looker, &serve.room, &["-m", "x"]);
    assert!(code == 5 && said.contains("the room is full"), "{said}");
    let (code, table, why) = run("conf-chat", &looker, &serve.room, &["--who"]);
    assert!(code == 0 && table.contains("\nAnn "), "{table}{why}");
    let (code, list, why) = run("conf-recv", &looker, &serve.room, &["--list"]);
    assert_eq!((code, list.as_str()), (0, "nothing is offered in this room\n"), "{why}");
}

#[test]
fn w39_an_older_server_takes_the_program_in_and_it_answers_all_the_same() {
    let liar = Liar::start(vec![Lie::new(4, Some(5), |_| Vec::new())]);
    let home = tempfile::tempdir().unwrap();
    let (code, table, why) = run("conf-chat", home.path(), &liar.room(), &["--who"]);
    assert_eq!((code, table.as_str()), (0, "nobody is in this room\n"), "{why}");
    let (code, list, why) = run("conf-recv", home.path(), &liar.room(), &["--list"]);
    assert!(code == 0 && list.contains("\n    4  Mallory"), "{list}{why}");
}

/// Everything that comes until the end of the connection.
fn all(peer: &mut Peer) -> Vec<Frame> {
    std::iter::from_fn(|| peer.next()).collect()
}

fn operations(frames: &[Frame]) -> Vec<Control> {
    let control = frames.iter().filter(|frame| frame.header.kind == Kind::Control);
    control.map(|frame| frame.operation().unwrap()).collect()
}

#[test]
fn a_look_on_the_wire_is_state_offers_and_goodbye() {
    let depot = Depot::open(None, Keep::default()).unwrap();
    let host = Host::with(server::Config { depot: Some(depot), ..server::Config::default() });
    let look = || Hello { look: true, offers: true, ..hello("Eve") };
    // Where nobody has been there is no room.
    let mut eve = Peer::connect(host.address);
    eve.say(&Control::Hello(look()));
    let (refusal, over) = eve.refused();
    assert_eq!((refusal, over), (Refusal::new(Code::Room, "there is no such room"), true));

    let (mut ann, welcome) = Peer::join(host.address, "Ann");
    let number = ann.offer(&offer(1, None)).offer;
    ann.send(about(number).bytes());
    let mut bob = Peer::connect(host.address);
    let bobs = bob.hello(Hello { offers: true, ..hello("Bob") });
    // One that is for Bob alone.
    let private = ann.offer(&confkit::wire::offer::Offer { to: Some(bobs.member), ..offer(2, None) }).offer;
    ann.send(about(private).bytes());
    for expected in [number, private] {
        bob.wait(|op| matches!(op, Control::OfferState(state) if state.offer == expected).then_some(()));
    }
    bob.settle();
    ann.settle();

    let mut eve = Peer::connect(host.address);
    eve.challenge();
    // What is said behind the hello means nothing: a second one does not let her in.
    let both = [Control::Hello(look()), Control::Hello(hello("Eve"))];
    eve.send(&both.map(|operation| Frame::control(&operation, 0).bytes().to_vec()).concat());
    let frames = all(&mut eve);
    let [
        Control::State(state),
        Control::OfferState(offered),
        Control::Offers { count: 1 },
        Control::Goodbye(goodbye),
    ] = &operations(&frames)[..]
    else {
        panic!("{:?}", operations(&frames))
    };
    let names: Vec<_> = state.members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!((names, state.members[0].member), (vec!["Ann", "Bob"], welcome.member));
    assert_eq!((offered.offer, goodbye), (number, &Goodbye::default()));
    let pieces: Vec<_> = frames.iter().filter_map(|frame| frame.header.piece).collect();
    assert!(
        matches!(&pieces[..], [piece] if piece.part == Part::About && piece.offer == number),
        "{pieces:?}"
    );

    // Without `offers` there is nothing of them; and neither of the two was told anything.
    let mut eve = Peer::connect(host.address);
    eve.say(&Control::Hello(Hello { look: true, ..hello("Eve") }));
    let told = operations(&all(&mut eve));
    assert!(matches!(&told[1..], [Control::State(_), Control::Goodbye(_)]), "{told:?}");
    for peer in [&mut ann, &mut bob] {
        let told = operations(&peer.settle());
        let presence = |op: &&Control| matches!(op, Control::Member(_) | Control::MemberLeft { .. });
        assert_eq!(told.iter().find(presence), None);
    }
}

/// Some who have offered so much that what a look tells of it does not fit into the kernel's buffers.
fn crowd(host: &Host) -> Vec<Peer> {
    let mut watcher = Peer::connect(host.address);
    watcher.hello(wants_offers("Watcher"));
    let about = format!("{{\"title\":\"{}\"}}", "x".repeat(4_000));
    let mut crowd = Vec::new();
    for n in 0..4 {
        let (mut peer, _) = Peer::join(host.address, &format!("Ann {n}"));
        for k in 1..=16 {
            let number = peer.offer(&offer(n * 16 + k, None)).offer;
            peer.send(piece(number, Part::About, 0, about.as_bytes()).bytes());
            watcher
                .wait(|op| matches!(op, Control::OfferState(state) if state.offer == number).then_some(()));
        }
        crowd.push(peer);
    }
    crowd
}

/// A connection that takes little at once.
fn narrow(address: SocketAddr) -> Peer {
    use rustix::net::{AddressFamily, SocketType, connect, socket, sockopt};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 4_096).unwrap();
    connect(&socket, &address).unwrap();
    Peer::over(TcpStream::from(socket))
}

/// One that has asked to look, and reads no more than the beginning of the answer.
fn stuck(host: &Host) -> Peer {
    let mut looker = narrow(host.address);
    looker.look(wants_offers("Eve")).unwrap();
    looker
}

#[test]
fn s01_lookers_that_read_nothing_are_let_go_and_do_not_hold_up_a_stop() {
    let depot = Depot::open(None, Keep::default()).unwrap();
    let host = Host::with(server::Config { depot: Some(depot), ..server::Config::default() });
    let crowd = crowd(&host);
    let begun = time::now();
    let held: Vec<Peer> = (0..32).map(|_| stuck(&host)).collect();
    let refusal = Peer::connect(host.address).look(hello("Eve")).unwrap_err();
    assert_eq!((refusal.code, refusal.retry_after_ms), (Code::RateLimited, Some(1_000)));
    // Who comes in does not need the place of one that looks.
    Peer::join(host.address, "Bob");
    assert!(Peer::look_patiently(host.address, |_| hello("Eve")) > 0);
    let waited = time::now().since(begun);
    // Before the kernel gives it up, too.
    assert!(waited < Duration::from_secs(14), "{waited:?}");
    drop(held);
    let again = stuck(&host);
    let stopping = time::now();
    drop(host);
    let took = time::now().since(stopping);
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop((again, crowd));
}

/// A server that keeps these rooms, with this password.
fn keeping(directory: &Path, rooms: &[RoomName], password: Option<[u8; 32]>) -> Host {
    let (store, commits) = Store::open(directory, store::Keep::default(), 0).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for room in rooms {
        let founding = Founding { password, permanent: true, ..Founding::default() };
        let _: store::Archive = runtime.block_on(store.found(room, founding)).unwrap();
    }
    Host::with(server::Config { store: Some((store, commits)), ..server::Config::default() })
}

#[test]
fn nobody_guesses_a_password_by_looking_or_joining_and_a_right_one_costs_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let room: RoomName = "test".parse().unwrap();
    let right = password::key("correct horse", &room);
    let wrong = password::key("wrong", &room);
    let host = keeping(directory.path(), &[room], Some(right.0));
    let hello_with = |key: &Secret<32>, nonce: &Secret<32>| {
        let password = Some(password::proof(key, nonce));
        Hello { password, ..hello("Eve") }
    };
    let look = |key: &Secret<32>| {
        let mut peer = Peer::connect(host.address);
        let nonce = peer.challenge();
        peer.look(hello_with(key, &nonce))
    };
    let join = |key: &Secret<32>| {
        let mut peer = Peer::connect(host.address);
        let nonce = peer.challenge();
        peer.say(&Control::Hello(hello_with(key, &nonce)));
        peer.refused().0
    };
    for _ in 0..40 {
        look(&right).unwrap();
    }
    let first = time::now();
    let mut guesses = 0;
    loop {
        let refusal = match guesses % 2 {
            0 => look(&wrong).unwrap_err(),
            _ => join(&wrong),
        };
        if refusal.code == Code::RateLimited {
            break;
        }
        assert_eq!(refusal.code, Code::Password);
        guesses += 1;
    }
    let limited = time::now();
    let most = 21 + 2 * limited.since(first).as_secs() as usize + 1;
    assert!((15..=most).contains(&guesses), "{guesses} of {most}");
    // Not even the right one is told from a wrong one now.
    let answer = look(&right);
    let late = time::now().since(limited) > Duration::from_millis(300);
    assert!(late || answer.is_err_and(|refusal| refusal.code == Code::RateLimited));
    Peer::look_patiently(host.address, |nonce| hello_with(&right, nonce));
}

#[test]
fn s06_rooms_that_are_looked_at_do_not_count_for_who_looks() {
    let directory = tempfile::tempdir().unwrap();
    let rooms: Vec<RoomName> = (0..33).map(|n| format!("kept-{n}").parse().unwrap()).collect();
    let host = keeping(directory.path(), &rooms, None);
    let refused: usize = rooms
        .iter()
        .map(|room| Peer::look_patiently(host.address, |_| Hello { room: room.to_string(), ..hello("Eve") }))
        .sum();
    assert!(refused > 0, "20 at once are enough");
    let enter = |room: &str| {
        let mut peer = Peer::connect(host.address);
        peer.hello(Hello { room: room.into(), ..hello("Eve") });
        peer
    };
    let _new = enter("fresh");
    // Whoever is the first to come in makes it.
    let _inside: Vec<Peer> = rooms[..31].iter().map(|room| enter(room.as_str())).collect();
    let mut one_more = Peer::connect(host.address);
    one_more.say(&Control::Hello(Hello { room: rooms[31].to_string(), ..hello("Eve") }));
    assert_eq!(one_more.refused().0.code, Code::Full);
}

#[test]
fn a_room_that_was_looked_at_closes_again_and_stays_kept() {
    for kept in ["--store", "--ephemeral"] {
        let mut scene = Scene::new();
        let log = scene.town.path("log");
        scene.server = None;
        let mut command = program("conf-serve", scene.town.home.path());
        command.args(["127.0.0.1:0", "--room-grace", "1s", kept]);
        if kept == "--store" {
            command.arg(&scene.town.store);
        }
        command.arg("--log-file").arg(&log).stdout(Stdio::piped());
        scene.server = Some(Serve::from_command(command));
        scene.file("plan", 100);
        assert_eq!(scene.send(&["plan"]).0, 0);
        wait_for(&log, "room closed");
        for _ in 0..2 {
            std::fs::write(&log, "").unwrap();
            let (code, list, why) = run("conf-recv", &scene.town.path("bob"), &scene.room(), &["--list"]);
            assert!(code == 0 && list.contains("plan"), "{kept}: {list}{why}");
            wait_for(&log, "looked");
            wait_for(&log, "room closed");
        }
    }
}
