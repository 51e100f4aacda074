//! A look at a room: who is there and what is offered, without joining.

use std::path::Path;
use std::process::Stdio;

use confkit::server::depot::{Depot, Keep};
use confkit::server::{self};
use confkit::wire::control::{Control, Goodbye, Hello, Refusal};
use confkit::wire::{Code, Frame, Kind, Part};
use serde_json::{Value, json};

use crate::support::files::{about, offer};
use crate::support::liar::{Liar, Lie};
use crate::support::peer::{Host, Peer, hello};
use crate::support::programs::{PATIENCE, Serve, program};
use crate::support::scene::{Scene, output};
use crate::support::talk::{Lines, Town};

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
