//! What lies about where `conf-recv` writes: parts of which nothing is known, and what is hidden.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::hands::Taking;
use crate::support::scene::Scene;
use crate::support::terminal::Terminal;

#[test]
fn f04_f19_what_is_in_the_way_of_a_part_is_told_and_goes_with_discard() {
    let scene = Scene::new();
    let whole = scene.file("a", 1_000);
    assert_eq!(scene.sent(&["a"]).code, 0);
    let outside = scene.town.path("outside");
    fs::write(&outside, "mine").unwrap();
    fs::create_dir(scene.bobs("")).unwrap();
    fs::create_dir(scene.bobs("in")).unwrap();
    let part = scene.bobs("in/a.part");
    for (link, told) in [
        (false, "a.part is there without a journal, so nothing is known of it: it is left alone"),
        (true, "a.part is a symbolic link: it is left alone"),
    ] {
        match link {
            true => symlink(&outside, &part).unwrap(),
            false => fs::write(&part, "of somebody").unwrap(),
        }
        let ended = scene.recv(&["a", "-o", "in"]);
        assert_eq!(ended.code, 0, "{}", ended.said);
        assert!(ended.said.contains(told), "{}", ended.said);
        assert!(ended.said.contains("conf-recv --discard a -o in removes it"), "{}", ended.said);
        assert!(fs::read(scene.bobs("in/a")).unwrap() == whole, "it has its name all the same");
        // Nobody can be asked here.
        let ended = scene.recv(&["--discard", "a", "-o", "in"]);
        assert_eq!(ended.code, 2, "{}", ended.said);
        assert!(ended.said.contains("--yes removes it all the same"), "{}", ended.said);
        assert!(part.symlink_metadata().is_ok());
        let ended = scene.recv(&["--discard", "a", "-o", "in", "--yes"]);
        assert_eq!((ended.code, ended.said.as_str()), (0, "removed a.part\n"));
        assert!(part.symlink_metadata().is_err());
        fs::remove_file(scene.bobs("in/a")).unwrap();
    }
    assert_eq!(fs::read_to_string(&outside).unwrap(), "mine");
}

#[test]
fn f19_at_a_terminal_one_is_asked_before_a_part_without_a_journal_goes() {
    let scene = Scene::new();
    let line = format!("printf x > a.part; exec {} --discard a", env!("CARGO_BIN_EXE_conf-recv"));
    let ask = || {
        let bob = Terminal::run(&scene.room(), "Bob", &["sh", "-c", &line]);
        bob.wait_for("a.part has no journal");
        bob.wait_for("Remove it? [y/N]");
        bob
    };
    let mut bob = ask();
    bob.enter("n");
    assert_eq!(bob.end(), 5);
    assert!(bob.path("a.part").exists());
    let mut bob = ask();
    bob.enter("y");
    assert_eq!(bob.end(), 0);
    assert!(!bob.path("a.part").exists());
}

#[test]
fn f07_of_a_directory_with_hidden_files_the_rest_is_received() {
    let scene = Scene::new();
    let whole = scene.file("src/main.rs", 700_000);
    for hidden in ["src/.env", "src/.git/config", "src/sub/.DS_Store"] {
        scene.file(hidden, 400_000);
    }
    fs::create_dir(scene.path("src/.cache")).unwrap();
    let sent = scene.sent(&["src"]);
    assert_eq!(sent.code, 0);
    assert!(
        sent.said.contains("4 of what is sent is hidden, such as src/.")
            && sent.said.contains("conf-recv leaves it out unless --allow-hidden is given"),
        "{}",
        sent.said
    );
    // One that is there is no matter.
    fs::create_dir_all(scene.bobs("src")).unwrap();
    fs::write(scene.bobs("src/.env"), "mine").unwrap();
    let ended = scene.recv(&["src"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(
        ended.said.contains("4 hidden entries are left out; conf-recv 1 --allow-hidden takes them, too"),
        "{}",
        ended.said
    );
    let names = |path: &str| {
        let mut names: Vec<String> = fs::read_dir(scene.bobs(path))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    // How much that was is about what was received.
    assert!(ended.said.contains("fetched src/: 684 KiB in "), "{}", ended.said);
    assert_eq!(names("src"), [".env", "main.rs"]);
    assert!(fs::read(scene.bobs("src/main.rs")).unwrap() == whole);
    assert_eq!(fs::read_to_string(scene.bobs("src/.env")).unwrap(), "mine");
    fs::remove_file(scene.bobs("src/.env")).unwrap();
    let ended = scene.recv(&["1", "--allow-hidden"]);
    assert_eq!(ended.code, 0, "{}", ended.said);
    assert!(ended.said.contains("1 file is there already, and the same"), "{}", ended.said);
    assert_eq!(names("src"), [".cache", ".env", ".git", "main.rs", "sub"]);
    assert_eq!(names("src/.git"), ["config"]);
    assert_eq!(names("src/sub"), [".DS_Store"]);
}

#[test]
fn f07_where_all_is_hidden_it_is_refused_with_the_option_that_takes_it() {
    let scene = Scene::new();
    scene.file(".env", 10);
    scene.file(".git/config", 10);
    assert_eq!(scene.sent(&[".env"]).code, 0);
    assert_eq!(scene.sent(&[".git"]).code, 0);
    for number in ["1", "2"] {
        let ended = scene.recv(&[number]);
        assert_eq!(ended.code, 5, "{}", ended.said);
        let hint = format!("conf-recv {number} --allow-hidden receives it all the same");
        assert!(ended.said.contains(&hint), "{}", ended.said);
        assert_eq!(ended.said.matches("offer").count(), 1, "{}", ended.said);
        assert_eq!(scene.recv(&[number, "--allow-hidden"]).code, 0);
    }
    assert!(scene.bobs(".env").exists() && scene.bobs(".git/config").exists());
    let ended = scene.recv(&["1", "-o", "-"]);
    assert_eq!(ended.code, 5, "{}", ended.said);
}

#[test]
fn a_directory_that_is_missing_is_named_and_no_other() {
    let scene = Scene::new();
    scene.file("a", 10);
    assert_eq!(scene.sent(&["a"]).code, 0);
    for (place, missing) in [("x/y/", "x"), ("x/y/z/", "x"), ("/nosuch/y/", "/nosuch")] {
        let ended = Taking::start(scene.recv_command(&["a", "-o", place])).end();
        assert_eq!(ended.code, 9, "{}", ended.said);
        let told = format!("there is no directory {missing}\n");
        assert!(ended.said.contains(&told), "{}", ended.said);
    }
}
