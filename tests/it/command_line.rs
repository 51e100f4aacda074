//! What all programs have in common on the command line: help, colours, and where output cannot go.

use std::fs::OpenOptions;
use std::process::{Command, Output, Stdio};

const PROGRAMS: [&str; 6] = [
    env!("CARGO_BIN_EXE_conf-cam"),
    env!("CARGO_BIN_EXE_conf-chat"),
    env!("CARGO_BIN_EXE_conf-recv"),
    env!("CARGO_BIN_EXE_conf-send"),
    env!("CARGO_BIN_EXE_conf-serve"),
    env!("CARGO_BIN_EXE_conf-view"),
];

fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    // A terminal of the usual width, and nobody's wishes about colours.
    command.args(arguments).env("COLUMNS", "100").env_remove("NO_COLOR").env_remove("FORCE_COLOR");
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn the_long_help_begins_with_examples_and_the_short_one_is_shorter_and_leads_there() {
    for program in PROGRAMS {
        let long = String::from_utf8(run(program, &["--help"]).stdout).unwrap();
        assert!(long.starts_with("Examples:"), "{program}: {long}");
        let short = String::from_utf8(run(program, &["-h"]).stdout).unwrap();
        assert!(short.contains("--help has examples"), "{program}: {short}");
        assert!(short.lines().count() <= 45, "{program}: {} lines", short.lines().count());
        let sentence = short.lines().next().unwrap();
        assert!(!sentence.contains("Video meetings as Unix commands"), "{program} has a sentence of its own");
    }
}

#[test]
fn a_wrong_option_is_told_in_colours_where_they_are_wanted() {
    for program in PROGRAMS {
        for (arguments, coloured) in [
            (&["--color", "always", "--bogus"] as &[&str], true),
            (&["--bogus", "--color=always"], true),
            (&["--color", "never", "--bogus"], false),
            (&["--bogus"], false),
        ] {
            let output = run(program, arguments);
            assert_eq!(output.status.code(), Some(2));
            assert_eq!(output.stderr.contains(&0x1b), coloured, "{program} {arguments:?}");
        }
    }
}

#[test]
fn what_cannot_be_written_ends_with_9_and_says_what() {
    for (program, arguments) in [
        (PROGRAMS[0], &["--help"] as &[&str]),
        (PROGRAMS[0], &["--version"]),
        (PROGRAMS[0], &["--list=json"]),
        (PROGRAMS[0], &["--video", "test:bars", "--frames", "2"]),
        (PROGRAMS[4], &["127.0.0.1:0", "--ephemeral"]),
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(full)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(9), "{program} {arguments:?}: {said}");
        assert!(said.contains("cannot write to stdout: No space left"), "{program} {arguments:?}: {said}");
    }
}
