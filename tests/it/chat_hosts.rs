//! What hosts do, with real programs at both ends.

use crate::support::peer::Host;
use crate::support::terminal::Terminal;

/// The whole screen in one line, so that it does not matter where it is wrapped.
fn wait_for_words(terminal: &Terminal, text: &str) {
    terminal.wait(text, |screen| {
        let contents = screen.contents();
        let pane = |row: &str| row.rsplit_once('│').map_or(row, |(pane, _)| pane).trim().to_owned();
        contents.lines().map(pane).collect::<Vec<_>>().join(" ").contains(text)
    });
}

#[test]
fn a_host_mutes_locks_names_another_host_and_sends_away() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    let mut bo = Terminal::chat(&host, "Bo");
    bo.wait_for("2 here");
    let cy = Terminal::chat(&host, "Cy");
    cy.wait_for("3 here");
    bo.enter("/mute Ann");
    wait_for_words(&bo, "only hosts of the room can do that");

    // Who is muted is told, everybody sees it, and what the muted says does not reach anybody.
    ann.enter("/mute bo");
    wait_for_words(&bo, "you were muted by a host");
    for other in [&ann, &cy] {
        wait_for_words(other, "Bo was muted by a host");
        other.wait("muted, beside the name", |screen| {
            screen
                .contents()
                .lines()
                .any(|row| row.rsplit_once('│').is_some_and(|(_, side)| side.contains("muted")))
        });
    }
    bo.enter("can you hear me");
    wait_for_words(&bo, "(not sent: a host has muted you");
    ann.enter("/unmute Bo");
    wait_for_words(&bo, "you may speak again");
    bo.enter("here again");
    wait_for_words(&ann, "Bo │ here again");
    assert!(!ann.shown().contains("can you hear me"));

    // A locked room takes nobody new.
    ann.enter("/lock");
    for other in [&ann, &bo, &cy] {
        wait_for_words(other, "the room is locked: nobody else can join");
        other.wait_for("test (locked)");
    }
    let mut di = Terminal::chat(&host, "Di");
    assert_eq!(di.end(), 5);
    wait_for_words(&di, "the room is locked");
    ann.enter("/unlock");
    wait_for_words(&bo, "the room is open again");

    // Another host may do the same, until that is taken back.
    ann.enter("/host Bo");
    wait_for_words(&cy, "Bo is a host now");
    bo.enter("/lock");
    cy.wait_for("test (locked)");
    bo.enter("/unlock");
    ann.enter("/unhost Bo");
    wait_for_words(&bo, "you are no host any more");

    ann.enter("/kick Cy");
    let mut cy = cy;
    assert_eq!(cy.end(), 5);
    wait_for_words(&cy, "a host has");
    assert!(cy.is_as_before());
    wait_for_words(&ann, "Cy left");
}
