//! What commands do.

use super::command::{self, Command};
use super::files::Offer;
use super::line::{Draft, Kind, Line};
use super::members::Person;
use super::screen::{Action, Now, Screen, Search};
use super::words::{self, Word};
use crate::id::Nick;

impl Screen {
    /// Carries out a command; the error is a sentence for the person, whose input stays.
    pub(super) fn obey(&mut self, command: Command, rest: &str, now: Now) -> Result<Vec<Action>, String> {
        let notice = |screen: &mut Self, text: String| {
            screen.push(Line::Notice(text), now.wall);
            screen.lines.go_to_bottom();
            Ok(Vec::new())
        };
        match command {
            Command::Help => notice(self, command::help()),
            Command::Who => {
                let list = self.who();
                notice(self, list)
            }
            Command::Me if rest.is_empty() => Err("what do you do? /me TEXT".into()),
            Command::Me => Ok(self.post(Draft { kind: Kind::Action, to: None, text: rest.into() })),
            Command::Message => {
                let (person, text) = self.addressed(rest)?;
                if text.is_empty() {
                    return Err(format!("what shall {} read? /msg NICK TEXT", person.name));
                }
                let draft = Draft {
                    kind: Kind::Text,
                    to: Some((person.id, person.name.clone())),
                    text: text.to_owned(),
                };
                Ok(self.post(draft))
            }
            Command::Nick => match rest.parse::<Nick>() {
                Ok(name) => Ok(vec![Action::Rename(name.into())]),
                Err(error) => Err(format!("{error}: /nick NAME")),
            },
            Command::Topic if rest.is_empty() && self.topic.is_empty() => {
                notice(self, "there is no topic; set one with /topic TEXT".into())
            }
            Command::Topic if rest.is_empty() => {
                let text = format!("the topic: {}", self.topic);
                notice(self, text)
            }
            Command::Topic => Ok(self.post(Draft { kind: Kind::Topic, to: None, text: rest.into() })),
            Command::Away => Ok(vec![Action::Away(Some(rest.chars().take(128).collect()))]),
            Command::Back => Ok(vec![Action::Away(None)]),
            Command::Search => self.look_for(rest),
            Command::Stats => Ok(vec![Action::Statistics]),
            Command::Lock | Command::Unlock => Ok(vec![Action::Moderate(command, None)]),
            Command::Kick | Command::Mute | Command::Unmute | Command::Host | Command::Unhost => {
                let (person, _) =
                    self.addressed(rest).map_err(|why| format!("{why} /{} NICK", command.word()))?;
                Ok(vec![Action::Moderate(command, Some(person.id))])
            }
            Command::Files => {
                let list = self.files.list(self.cells);
                notice(self, list)
            }
            Command::Get => self.get(rest),
            Command::Send => self.send(rest),
            Command::Cancel => self.cancel(rest),
            Command::Withdraw => {
                let offer = self.offer(rest).map_err(|why| format!("{why}; /withdraw OFFER"))?;
                Ok(vec![Action::Withdraw(offer.number)])
            }
            Command::Quit => Ok(vec![Action::Quit]),
        }
    }

    /// Offers by number or name; the last word may be a directory, which has a slash in it.
    fn get(&mut self, rest: &str) -> Result<Vec<Action>, String> {
        let mut words = words::split(rest, false)?;
        let is_directory =
            |word: &Word| word.home || word.text.contains('/') || matches!(word.text.as_str(), "." | "..");
        let directory = words.pop_if(|word| is_directory(word) && self.files.find(&word.text).is_none());
        let mut offers = Vec::new();
        for word in &words {
            let offer = self.offer(&word.text)?.clone();
            if !offers.contains(&offer) {
                offers.push(offer);
            }
        }
        if offers.is_empty() {
            let only = self.files.only_new().cloned();
            offers.push(only.ok_or("which one? /get OFFER...; /files lists what there is")?);
        }
        Ok(vec![Action::Get { offers, directory }])
    }

    fn send(&mut self, rest: &str) -> Result<Vec<Action>, String> {
        let (to, rest) = match rest.starts_with('@') {
            true => self.addressed(rest).map(|(person, rest)| (Some(person.name.clone()), rest))?,
            false => (None, rest),
        };
        let paths = words::split(rest, false)?;
        if paths.is_empty() {
            return Err("what? /send [@NICK] PATH...; Tab completes paths".into());
        }
        Ok(vec![Action::Send { to, paths }])
    }

    fn cancel(&mut self, rest: &str) -> Result<Vec<Action>, String> {
        if self.files.count() == 0 {
            return Err("nothing is on its way".into());
        }
        let what = words::split(rest, false)?.pop().map_or_else(String::new, |word| word.text);
        match self.files.transfers(&what) {
            transfers if !transfers.is_empty() => Ok(vec![Action::Cancel(transfers)]),
            _ if what.is_empty() => Err("which one? /cancel OFFER".into()),
            _ => Err(format!("{} is not on its way", shown(&what))),
        }
    }

    /// The offer that is meant by a word.
    fn offer(&self, what: &str) -> Result<&Offer, String> {
        if what.is_empty() {
            return Err("which offer do you mean?".into());
        }
        let unknown = || format!("nothing called {} is offered; /files lists what is", shown(what));
        self.files.find(what).ok_or_else(unknown)
    }

    /// The member that is named at the start of `rest`, and what follows.
    fn addressed<'a>(&self, rest: &'a str) -> Result<(&Person, &'a str), String> {
        let names: Vec<&str> = self.members.iter().map(|person| person.name.as_str()).collect();
        let (name, text) = command::split_nick(rest, &names);
        if name.is_empty() {
            return Err("whom do you mean?".into());
        }
        let person = self.members.by_name(name);
        person.map(|person| (person, text)).ok_or_else(|| format!("nobody here is called {}.", shown(name)))
    }

    fn look_for(&mut self, rest: &str) -> Result<Vec<Action>, String> {
        let (wanted, before) = match &self.search {
            _ if !rest.is_empty() => (rest.to_lowercase(), None),
            Some(search) => (search.wanted.clone(), search.at),
            None => return Err("what shall be found? /search TEXT".into()),
        };
        let shown = crate::text::shorten(&wanted, 30);
        let count = self.lines.count(&wanted);
        let Some(at) = self.lines.find(&wanted, before) else {
            return Err(match count {
                0 => format!("\"{shown}\" was not found in what this program remembers"),
                _ => format!("no older message with \"{shown}\"; Esc ends the search"),
            });
        };
        self.lines.show(at);
        self.hint = Some(format!("{count} with \"{shown}\"; /search goes to the one before, Esc ends"));
        self.search = Some(Search { wanted, at: Some(at) });
        Ok(Vec::new())
    }

    /// The list of `/who`.
    fn who(&self) -> String {
        if self.members.is_empty() {
            return "not in the room yet".into();
        }
        let count = self.members.len();
        let mut lines = vec![if count == 1 { "1 member:".into() } else { format!("{count} members:") }];
        for person in self.members.iter() {
            let mut about = Vec::new();
            if person.own {
                about.push("you".to_owned());
            }
            if person.host {
                about.push("host".to_owned());
            }
            if person.since > 0.0 {
                about.push(format!("since {}", self.clock(person.since)));
            }
            about.extend(person.states());
            let key = person.fingerprint.as_deref().unwrap_or("guest without a key");
            lines.push(format!("{} {} [{key}] {}", person.mark(), person.name, about.join(", ")));
        }
        lines.join("\n")
    }
}

/// What was typed, in a message.
fn shown(typed: &str) -> String {
    crate::text::shorten(&crate::text::scrub(typed, 64), 30)
}
