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
    wait_for_words(&bo, "Ann muted you: what you say is refused");
    wait_for_words(&ann, "you muted Bo");
    wait_for_words(&cy, "Ann muted Bo");
    for other in [&ann, &cy] {
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
    wait_for_words(&bo, "Ann let you speak again");
    bo.enter("here again");
    wait_for_words(&ann, "Bo │ here again");
    assert!(!ann.shown().contains("can you hear me"));

    // A locked room takes nobody new.
    ann.enter("/lock");
    for (other, by) in [(&ann, "you"), (&bo, "Ann"), (&cy, "Ann")] {
        wait_for_words(other, &format!("{by} locked the room: nobody else can join"));
        other.wait_for("test (locked)");
    }
    let mut di = Terminal::chat(&host, "Di");
    assert_eq!(di.end(), 5);
    wait_for_words(&di, "the room is locked");
    ann.enter("/unlock");
    wait_for_words(&bo, "Ann opened the room again");

    // Another host may do the same, until that is taken back.
    ann.enter("/host Bo");
    wait_for_words(&cy, "Ann made Bo a host");
    bo.enter("/lock");
    cy.wait_for("test (locked)");
    bo.enter("/unlock");
    ann.enter("/unhost Bo");
    wait_for_words(&bo, "Ann made you a member again: no host any more");
}

#[test]
fn who_is_sent_away_learns_by_whom_and_is_let_in_again() {
    let host = Host::start();
    let mut ann = Terminal::chat(&host, "Ann");
    ann.wait_for("1 here");
    let bo = Terminal::chat(&host, "Bo");
    let mut cy = Terminal::chat(&host, "Cy");
    ann.wait_for("3 here");
    ann.enter("/kick ann");
    wait_for_words(&ann, "that is you: /quit leaves");
    ann.press("\x15");
    ann.enter("/kick Cy");
    assert_eq!(cy.end(), 5);
    wait_for_words(&cy, "Ann has sent you away; come back in 10 min");
    assert!(cy.is_as_before());
    wait_for_words(&ann, "you sent Cy away; /unkick Cy takes it back");
    wait_for_words(&bo, "Ann sent Cy away");
    bo.wait_for("2 here");
    assert!(!bo.shown().contains("Cy left"), "{}", bo.shown());
    let mut again = cy.again(&host);
    assert_eq!(again.end(), 5);
    wait_for_words(&again, "Ann has sent you away; come back in 10 min");

    // Another host can take it back too.
    ann.enter("/host Bo");
    let mut bo = bo;
    wait_for_words(&bo, "Ann made you a host");
    bo.enter("/unkick Di");
    wait_for_words(&bo, "Di is not sent away; these are: Cy");
    bo.press("\x15");
    bo.press("/unkick c");
    bo.press("\t");
    bo.wait_for("› /unkick Cy");
    bo.press("\r");
    wait_for_words(&ann, "Bo let Cy come back");
    let again = cy.again(&host);
    again.wait_for("3 here");
}
