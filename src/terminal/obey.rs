//! What commands do.

use super::command::{self, Command};
use super::files::Offer;
use super::line::{Draft, Kind, Line};
use super::members::Person;
use super::screen::{Action, Connection, Now, Screen, Search};
use super::words::{self, Word};
use crate::id::Nick;

/// People whose messages are not shown, at most.
const IGNORED: usize = 100;
/// How a sentence begins that is no longer true when the connection is back.
pub(super) const UNCONNECTED: &str = "not connected: ";

impl Screen {
    /// Carries out a command; the error is a sentence for the person, whose input stays.
    pub(super) fn obey(&mut self, command: Command, rest: &str, now: Now) -> Result<Vec<Action>, String> {
        let notice = |screen: &mut Self, text: String| {
            screen.push(Line::Notice(text), now.wall);
            screen.lines.go_to_bottom();
            Ok(Vec::new())
        };
        match command {
            Command::Help => {
                let list = command::help(self.cells);
                self.show_list(list, now)
            }
            Command::Who => {
                let list = self.who();
                self.show_list(list, now)
            }
            Command::Me if rest.is_empty() => Err("what do you do? /me TEXT".into()),
            Command::Me => Ok(self.post(Draft { kind: Kind::Action, to: None, text: rest.into() })),
            Command::Message => {
                let usage =
                    |why: String| format!("{why} /msg NICK TEXT; Tab completes names, /who lists them");
                let (person, text) = self.addressed(rest).map_err(usage)?;
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
                Ok(name) => {
                    let name = String::from(name);
                    self.wanted = Some(name.clone());
                    if !matches!(self.connection, Connection::Up) {
                        let text =
                            format!("not connected: you are called {name} when the connection is back");
                        notice(self, text)?;
                    }
                    Ok(vec![Action::Rename(name)])
                }
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
            Command::Clear => {
                self.lines.clear();
                Ok(Vec::new())
            }
            Command::Ignore => {
                let text = self.ignore(rest)?;
                notice(self, text)
            }
            Command::Stats => Ok(vec![Action::Statistics]),
            Command::Lock
            | Command::Unlock
            | Command::Kick
            | Command::Unkick
            | Command::Mute
            | Command::Unmute
            | Command::Host
            | Command::Unhost
            | Command::Withdraw
                if !matches!(self.connection, Connection::Up) =>
            {
                Err(format!("{UNCONNECTED}/{} was not done", command.word()))
            }
            Command::Lock | Command::Unlock => Ok(vec![Action::Moderate(command, None)]),
            Command::Kick | Command::Mute | Command::Unmute | Command::Host | Command::Unhost => {
                self.moderate(command, rest)
            }
            Command::Unkick => self.unkick(rest),
            Command::Files => {
                let list = self.files.list(self.cells);
                self.show_list(list, now)
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

    /// Shows a list from its first line on.
    fn show_list(&mut self, list: String, now: Now) -> Result<Vec<Action>, String> {
        self.push(Line::Notice(list), now.wall);
        self.lines.go_to_bottom();
        self.lines.show_last_from_its_top();
        Ok(Vec::new())
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
        if let (Some(word), true) = (&directory, offers.is_empty()) {
            let there = self.files.in_short();
            let there = if there.is_empty() { "nothing is".into() } else { there };
            let typed = shown(&word.text);
            return Err(format!(
                "nothing called {typed} is offered ({there}); a directory stands behind an offer: /get OFFER {typed}"
            ));
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
    pub(super) fn addressed<'a>(&self, rest: &'a str) -> Result<(&Person, &'a str), String> {
        let names: Vec<&str> = self.members.iter().map(|person| person.name.as_str()).collect();
        let (name, text) = command::split_nick(rest, &names);
        if name.is_empty() {
            return Err("whom do you mean?".into());
        }
        let person = self.members.by_name(name);
        person.map(|person| (person, text)).ok_or_else(|| format!("nobody here is called {}.", shown(name)))
    }

    fn look_for(&mut self, rest: &str) -> Result<Vec<Action>, String> {
        if !rest.is_empty() {
            self.search = Some(Search { wanted: rest.to_lowercase(), at: None });
        }
        self.look_further(true).map(|()| Vec::new())
    }

    /// To the next message that contains what is looked for, towards the oldest or the newest.
    pub(super) fn look_further(&mut self, older: bool) -> Result<(), String> {
        let Some(Search { wanted, at }) = &self.search else {
            return Err("what shall be found? /search TEXT".into());
        };
        let shown = crate::text::shorten(wanted, 30);
        let count = self.lines.count(wanted);
        let found = if older { self.lines.find(wanted, *at) } else { self.lines.find_after(wanted, *at) };
        let Some(found) = found else {
            return Err(match (count, older) {
                (0, _) => {
                    self.search = None;
                    format!("\"{shown}\" was not found in what this program remembers")
                }
                (_, true) => {
                    format!("no older message with \"{shown}\"; Ctrl-S goes back, Esc ends the search")
                }
                (_, false) => {
                    format!("no newer message with \"{shown}\"; Ctrl-R goes back, Esc ends the search")
                }
            });
        };
        let place = self.lines.count_after(wanted, found) + 1;
        self.lines.show(found);
        self.hint =
            Some(format!("{place} of {count} with \"{shown}\"; Ctrl-R older, Ctrl-S newer, Esc ends"));
        if let Some(search) = &mut self.search {
            search.at = Some(found);
        }
        Ok(())
    }

    /// Whose messages are not shown; the same again shows them.
    fn ignore(&mut self, rest: &str) -> Result<String, String> {
        let names = |ignored: &[(u64, String)]| {
            ignored.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        if rest.is_empty() {
            return match self.ignored.is_empty() {
                true => Err("whom? /ignore NICK; the same again ends it".into()),
                false => Ok(format!("ignored until this program ends: {}", names(&self.ignored))),
            };
        }
        let name = |text: &str| text.trim_start_matches('@').trim_matches('"').to_lowercase();
        if let Some(at) = self.ignored.iter().position(|(_, ignored)| ignored.to_lowercase() == name(rest)) {
            let (_, name) = self.ignored.remove(at);
            return Ok(format!("what {name} says is shown again"));
        }
        let (person, _) = self.addressed(rest).map_err(|why| format!("{why} /ignore NICK"))?;
        if person.own {
            return Err("that is you".into());
        }
        let (hue, name) = (person.hue, person.name.clone());
        if self.ignored.len() >= IGNORED {
            return Err(format!("{IGNORED} are ignored already: {}", shown(&names(&self.ignored))));
        }
        self.ignored.push((hue, name.clone()));
        Ok(format!("what {name} says from now on is not shown; /ignore {name} again ends that"))
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
            if person.is_doubtful() {
                about.push("letters of several scripts in the name".to_owned());
            }
            let key = person.fingerprint.as_deref().unwrap_or("guest without a key");
            lines.push(format!("{} {} [{key}] {}", person.mark(), person.name, about.join(", ")));
        }
        lines.join("\n")
    }
}

/// What was typed, in a message.
pub(super) fn shown(typed: &str) -> String {
    crate::text::shorten(&crate::text::scrub(typed, 64), 30)
}
