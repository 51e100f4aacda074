//! Server and client are killed at random; a checker reads what they had said: everything that was taken is
//! in the history once and in order, above all what was acknowledged as stored.
//!
//! `CONF_SEED` repeats a run, `CONF_SOAK` gives the number of rounds.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::programs::{PATIENCE, Running, Serve};
use crate::support::random::Random;
use crate::support::talk::{Lines, Town};

/// Rounds between two looks of the checker: what they say fits into one export.
const LOOK: u64 = 20;

struct Run {
    town: Town,
    server: Option<Serve>,
    random: Random,
    /// The number in the next text.
    next: u64,
    /// Texts that the client has taken.
    taken: BTreeSet<u64>,
    acknowledged: u64,
    /// How often a program was killed.
    kills: u64,
}

#[test]
fn t25_kill_9_of_server_and_client_loses_nothing_and_doubles_nothing() {
    let variable = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = variable("CONF_SEED").unwrap_or_else(confkit::time::wall);
    let rounds = variable("CONF_SOAK").unwrap_or(LOOK);
    eprintln!("CONF_SEED={seed} repeats this run of {rounds} rounds");
    let mut town = Town::new();
    let server = Some(town.serve());
    let mut run = Run {
        town,
        server,
        random: Random(seed),
        next: 1,
        taken: BTreeSet::new(),
        acknowledged: 0,
        kills: 0,
    };
    for round in 1..=rounds {
        run.round();
        if round % LOOK == 0 || round == rounds {
            run.check();
        }
    }
    let (taken, acknowledged, kills) = (run.taken.len(), run.acknowledged, run.kills);
    eprintln!("{taken} taken, {acknowledged} acknowledged as stored, {kills} kills");
}

impl Run {
    fn client(&self) -> Running {
        let outbox = self.town.path("outbox");
        self.town.talk("Ann", &["--json", "--outbox", outbox.to_str().unwrap()])
    }

    fn round(&mut self) {
        let mut client = self.client();
        let heard = Lines::of(&mut client);
        heard.object("caught_up");
        let count = self.random.between(1, 25);
        let first = self.next;
        self.next += count;
        let text: String = (first..self.next)
            .map(|n| format!("{{\"type\":\"message\",\"text\":\"{n}\",\"id\":{n}}}\n"))
            .collect();
        client.feed(text.as_bytes());
        // The client dies when it has told of so many things, the server some time before.
        let moment = self.random.between(0, count * 2);
        let kind = self.random.between(0, 3);
        self.kills += [1, 1, 2, 0][kind as usize];
        match kind {
            0 => {
                self.listen(&heard, Some(moment));
                drop(client);
                self.listen(&heard, None);
            }
            1 => {
                self.listen(&heard, Some(moment));
                self.server = None;
                self.server = Some(self.town.serve());
                assert_eq!(client.wait(PATIENCE), 0, "{}", client.stderr());
                self.listen(&heard, None);
            }
            2 => {
                self.listen(&heard, Some(moment / 2));
                self.server = None;
                self.listen(&heard, Some(moment / 4));
                drop(client);
                self.server = Some(self.town.serve());
                self.listen(&heard, None);
            }
            _ => {
                assert_eq!(client.wait(PATIENCE), 0, "{}", client.stderr());
                self.listen(&heard, None);
                assert!((first..self.next).all(|n| self.taken.contains(&n)));
            }
        }
    }

    /// Notes what the client tells: so many things, or all until its end.
    fn listen(&mut self, heard: &Lines, most: Option<u64>) {
        let mut left = most.unwrap_or(u64::MAX);
        while left > 0
            && let Some(line) = heard.next()
        {
            // A program that is killed may leave half a line.
            let Ok(told) = serde_json::from_str::<Value>(&line) else { return };
            match told["type"].as_str() {
                Some("posted") => drop(self.taken.insert(told["id"].as_u64().unwrap())),
                Some("ack") => self.acknowledged += 1,
                Some("connection") if most.is_some() => return,
                _ => {}
            }
            left -= 1;
            // Nothing more may come before the next is fed.
            if most.is_some() && self.taken.contains(&(self.next - 1)) {
                return;
            }
        }
    }

    fn check(&mut self) {
        let mut last = self.client();
        assert_eq!(last.wait(PATIENCE), 0, "{}", last.stderr());
        let (code, text, why) = self.town.ask("Cy", &["--export", "json", "--history", "1000"]);
        assert_eq!(code, 0, "{why}");
        let messages: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages = messages.iter().filter(|message| message["type"] == "message");
        let kept: Vec<u64> = messages.map(|m| m["text"].as_str().unwrap().parse().unwrap()).collect();
        assert!(kept.windows(2).all(|pair| pair[0] < pair[1]), "out of order or twice: {kept:?}");
        let oldest = *kept.first().expect("something was said");
        let kept: BTreeSet<u64> = kept.into_iter().collect();
        let lost: Vec<_> = self.taken.range(oldest..).filter(|n| !kept.contains(n)).collect();
        assert!(lost.is_empty(), "lost: {lost:?}");
    }
}
