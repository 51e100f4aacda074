//! The running server as the person who runs it sees it: rooms, status, where things are kept.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use confkit::wire::Code;
use confkit::wire::control::Control;
use rustix::process::Signal;
use serde_json::Value;

use crate::support::peer::{Peer, hello};
use crate::support::programs::{Serve, program, write_secret};

/// A server that keeps its history below `home`.
fn start(home: &Path, arguments: &[&str]) -> Serve {
    let mut command = program("conf-serve", home);
    command.arg("127.0.0.1:0").args(arguments).stdout(Stdio::piped()).stderr(Stdio::null());
    Serve::from_command(command)
}

fn conf_serve(home: &Path, arguments: &[&str]) -> Output {
    program("conf-serve", home).args(arguments).output().unwrap()
}

/// What it says on stdout, having ended well.
fn says(home: &Path, arguments: &[&str]) -> String {
    let output = conf_serve(home, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it says on stderr, having ended with `code`.
fn fails(home: &Path, arguments: &[&str], code: i32) -> String {
    let output = conf_serve(home, arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn rooms_are_made_listed_and_removed_and_outlive_the_server() {
    let home = tempfile::tempdir().unwrap();
    let mut serve = start(home.path(), &[]);
    let password = home.path().join("password");
    write_secret(&password, "correct horse\n");
    let said = says(home.path(), &["room", "create", "standup", "--max-members", "2"]);
    assert!(said.starts_with("made standup; its host is ") && said.ends_with(" (you)\n"), "{said}");
    says(home.path(), &["room", "create", "王", "--password-file", password.to_str().unwrap()]);
    let said = fails(home.path(), &["room", "create", "standup"], 5);
    assert!(said.contains("room remove standup"), "{said}");
    fails(home.path(), &["room", "remove", "nowhere"], 5);

    serve.running.signal(Signal::TERM);
    assert_eq!(serve.running.wait(Duration::from_secs(6)), 0);
    assert!(fails(home.path(), &["room", "list"], 3).contains("start one: conf-serve"));

    let serve = start(home.path(), &[]);
    let rooms: Value = serde_json::from_str(&says(home.path(), &["room", "list", "--json"])).unwrap();
    assert_eq!(rooms, serde_json::from_str::<Value>(&says(home.path(), &["room", "list", "json"])).unwrap());
    let names: Vec<&str> = rooms.as_array().unwrap().iter().map(|r| r["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["standup", "王"]);
    assert_eq!((&rooms[0]["max_members"], &rooms[0]["password"]), (&Value::from(2), &Value::from(false)));
    assert_eq!(rooms[1]["password"], true);
    let table = says(home.path(), &["room", "list"]);
    assert!(table.starts_with("ROOM     MEMBERS") && table.contains("stays, password"), "{table}");

    // Who does not know the password is told so; in the other room two are two too many for a third.
    let join = |room: &str, name: &str| {
        let mut peer = Peer::connect(serve.address);
        peer.say(&Control::Hello(confkit::wire::control::Hello { room: room.into(), ..hello(name) }));
        let code = peer.wait(|op| match op {
            Control::Welcome(_) => Some(None),
            Control::Error(refusal) => Some(Some(refusal.code)),
            _ => None,
        });
        (peer, code)
    };
    assert_eq!(join("王", "Ann").1, Some(Code::Password));
    let address = format!("conf://{}/王", serve.address);
    for (given, code) in [(None, 4), (Some("wrong"), 4), (Some("correct horse"), 0)] {
        let mut chat = program("conf-chat", home.path());
        chat.args(["--who", "--no-input", "-r", &address]);
        if let Some(given) = given {
            let file = home.path().join("given");
            write_secret(&file, given);
            chat.arg("--password-file").arg(file);
        }
        let output = chat.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{given:?}: {said}");
        assert!(code == 0 || said.contains("--password-file"), "{said}");
    }
    let (ann, ben, cem) = (join("standup", "Ann"), join("standup", "Ben"), join("standup", "Cem"));
    assert_eq!((ann.1, ben.1, cem.1), (None, None, Some(Code::Full)));
    assert!(fails(home.path(), &["room", "remove", "standup"], 5).contains("2 people are in standup"));
    says(home.path(), &["room", "remove", "王"]);
}

#[test]
fn the_status_says_who_is_in_which_room() {
    let home = tempfile::tempdir().unwrap();
    let serve = start(home.path(), &["--store", home.path().join("elsewhere").to_str().unwrap()]);
    let (mut ann, _) = Peer::join(serve.address, "Ann");
    ann.publish("camera");
    let (_ben, _) = Peer::join(serve.address, "Ben");
    let status: Value = serde_json::from_str(&says(home.path(), &["--status=json"])).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    let room = &status["rooms"][0];
    assert_eq!((&room["name"], &room["members"]), (&Value::from("test"), &Value::from(2)));
    assert_eq!(
        (&room["tracks"][0]["member"], &room["tracks"][0]["label"]),
        (&"Ann".into(), &"camera".into())
    );
    assert!(
        status["store"]["bytes"].as_u64().unwrap() > 0 && home.path().join("elsewhere/history.db").exists()
    );
    let table = says(home.path(), &["--status"]);
    assert!(table.contains("\ntest  ") && table.contains("camera"), "{table}");
}

#[test]
fn of_several_servers_one_is_chosen_by_its_port() {
    let home = tempfile::tempdir().unwrap();
    let first = start(home.path(), &[]);
    let said = fails(home.path(), &["127.0.0.1:0"], 9);
    assert!(said.contains("--store DIR") && said.contains("--ephemeral"), "{said}");
    let second = start(home.path(), &["--ephemeral"]);
    let said = fails(home.path(), &["--status"], 2);
    assert!(said.contains(&first.address.port().to_string()) && said.contains("--port"), "{said}");
    let port = second.address.port().to_string();
    assert!(says(home.path(), &["--status", "--port", &port]).contains("--ephemeral"));
    assert!(fails(home.path(), &["room", "create", "a", "--port", &port], 5).contains("--ephemeral"));
    assert_eq!(says(home.path(), &["room", "list", "json", "--port", &port]), "[]\n");
    fails(home.path(), &["room", "list", "--port", "1"], 3);
    for socket in std::fs::read_dir(home.path().join("confkit")).unwrap() {
        let mode = socket.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "s27: for its owner only");
    }
}

#[test]
fn x02_a_history_that_cannot_be_used_is_named_with_what_to_do_and_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let store = home.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let file = store.join("history.db");
    let arguments = ["127.0.0.1:0", "--store", store.to_str().unwrap()];
    std::fs::write(&file, "my diary").unwrap();
    assert!(fails(home.path(), &arguments, 9).contains("is not a history"));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "my diary");
    std::fs::write(&file, b"SQLite format 3\0").unwrap();
    assert!(fails(home.path(), &arguments, 6).contains("--ephemeral"));
    assert!(fails(home.path(), &["127.0.0.1:0", "--store", "/proc/nowhere"], 9).contains("--store DIR"));
    fails_usage(home.path(), &["--ephemeral", "--store", "x"]);
    fails_usage(home.path(), &["room", "create", "a/b"]);
    fails_usage(home.path(), &["room", "create", "a", "--host", "xyz"]);
    let empty = home.path().join("empty");
    write_secret(&empty, "");
    fails(home.path(), &["room", "create", "a", "--password-file", empty.to_str().unwrap()], 2);
    fails(home.path(), &["room", "create", "a", "--password-file", "/nowhere"], 9);
    std::fs::set_permissions(&empty, std::fs::Permissions::from_mode(0o644)).unwrap();
    let said = fails(home.path(), &["room", "create", "a", "--password-file", empty.to_str().unwrap()], 9);
    assert!(said.contains(&format!("chmod 600 {}", empty.display())), "a17: {said}");
    fails(home.path(), &["room", "create", "a", "--ask-password", "--no-input"], 2);
}

fn fails_usage(home: &Path, arguments: &[&str]) {
    assert_eq!(conf_serve(home, arguments).status.code(), Some(2), "{arguments:?}");
}

#[test]
fn without_a_home_nothing_is_kept_and_the_log_says_so() {
    let home = tempfile::tempdir().unwrap();
    let log = home.path().join("log");
    let mut command = program("conf-serve", home.path());
    command.env_remove("HOME").env_remove("XDG_RUNTIME_DIR").arg("127.0.0.1:0").arg("--log-file").arg(&log);
    let serve = Serve::from_command({
        command.stdout(Stdio::piped());
        command
    });
    Peer::join(serve.address, "Ann").0.settle();
    assert!(std::fs::read_to_string(&log).unwrap().contains("nothing is kept; --store DIR"));
}
