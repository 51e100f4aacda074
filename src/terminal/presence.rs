//! Members who come, go and change, in the conversation.

use std::time::Duration;

use super::line::{Line, Traffic};
use super::members::Person;
use super::screen::{Now, Screen};
use super::told::{Told, marked};

/// Who was here before the server forgot the room is waited for this long before it is said to have left.
const RETURN: Duration = Duration::from_secs(15);

impl Screen {
    pub(super) fn handle_people(&mut self, people: Vec<Person>, now: Now) {
        let before = self.members.replace(people.clone());
        self.leaving.clear();
        if !std::mem::replace(&mut self.known, true) {
            return;
        }
        let absent = std::mem::take(&mut self.absent);
        let was_here = |person: &Person| {
            before.iter().chain(absent.iter().map(|(absent, _)| absent)).find(|other| other.is_same(person))
        };
        for person in &people {
            match was_here(person) {
                Some(before) => self.tell_changes(before, person, now),
                None if person.own => {}
                None => self.traffic(now, |traffic| traffic.join(person.id, &person.told())),
            }
        }
        let is_here = |person: &Person| people.iter().any(|other| other.is_same(person));
        let until = now.moment + RETURN;
        let gone: Vec<_> = before
            .iter()
            .filter(|person| !person.own && !is_here(person))
            .cloned()
            .map(|p| (p, until))
            .collect();
        self.absent = absent.into_iter().filter(|(person, _)| !is_here(person)).chain(gone).collect();
    }

    pub(super) fn handle_person(&mut self, person: Person, now: Now) {
        if self.leaving.contains(&person.id) {
            return;
        }
        let before = self.members.put(person.clone()).or_else(|| {
            let absent = self.absent.iter().position(|(absent, _)| absent.is_same(&person));
            absent.map(|at| self.absent.remove(at).0)
        });
        match before {
            Some(before) => self.tell_changes(&before, &person, now),
            None if person.own => {}
            None => self.traffic(now, |traffic| traffic.join(person.id, &person.told())),
        }
    }

    fn tell_changes(&mut self, before: &Person, person: &Person, now: Now) {
        let (name, own) = (person.name.clone(), person.own);
        let (host, muted) = (person.host, person.muted);
        let who = |verb: &str, verb_of_you: &str| match own {
            true => format!("you {verb_of_you}"),
            false => format!("{} {verb}", marked(&name)),
        };
        let mut said = Vec::new();
        if before.name != name {
            said.push(match own {
                true => self.renamed(&name),
                false => format!("{} is now called {}", marked(&before.name), marked(&person.told())),
            });
            if own {
                self.settings.name = name.clone();
            }
        }
        if own && before.away != person.away {
            said.push(match &person.away {
                Some(why) if why.is_empty() => "you are away; /back ends it".into(),
                Some(why) => format!("you are away: {why}; /back ends it"),
                None => "you are back".into(),
            });
        }
        if before.host != host {
            said.push(if host {
                who("is a host now", "are a host now")
            } else {
                who("is no host any more", "are no host any more")
            });
        }
        if before.muted != muted {
            said.push(match muted {
                true => who("was muted by a host", "were muted by a host: what you say is refused"),
                false => who("may speak again", "may speak again"),
            });
        }
        said.into_iter().for_each(|text| self.push(Line::Told(Told::new(&text)), now.wall));
    }

    /// Which name one has got, and why it is not the one that was asked for.
    fn renamed(&mut self, name: &str) -> String {
        match self.wanted.take().filter(|wanted| wanted != name) {
            Some(wanted) => format!("you are now called {name}: {}", taken(&wanted)),
            None => format!("you are now called {name}"),
        }
    }

    /// Another name was asked for and answered: nothing has changed where that was not told.
    pub(super) fn handle_renamed(&mut self, now: Now) {
        if let Some(wanted) = self.wanted.take() {
            let name = &self.settings.name;
            let text = match *name == wanted {
                true => format!("you are called {name} already"),
                false => format!("you are still called {name}: {}", taken(&wanted)),
            };
            self.push(Line::Notice(text), now.wall);
        }
    }

    /// Members come and go in one line, until something else is said.
    pub(super) fn traffic(&mut self, now: Now, change: impl FnOnce(&mut Traffic)) {
        let mut change = Some(change);
        if self.lines.change_traffic(|traffic| {
            if let Some(change) = change.take() {
                change(traffic);
            }
        }) {
            return;
        }
        if let Some(change) = change {
            let mut traffic = Traffic::default();
            change(&mut traffic);
            self.push(Line::Traffic(traffic), now.wall);
        }
    }
}

/// Why somebody is not called what was asked for.
fn taken(wanted: &str) -> String {
    format!("somebody else here is called {wanted}, or something that looks like it")
}
