//! What hosts have done, in the conversation, and who is sent away.

use super::command::{self, Command};
use super::line::Line;
use super::screen::{Action, Now, Screen};
use super::told::{Told, marked};
use crate::id::MemberId;
use crate::{limits, text};

/// What a host has done. Names are scrubbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// What.
    pub what: Command,
    /// To whom, where it concerns a member.
    pub whom: Option<(MemberId, String)>,
    /// The host.
    pub by: (MemberId, String),
}

/// Somebody whom a host has sent away, and who may not come back yet. The name is scrubbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentAway {
    /// The number that it had in the room.
    pub member: MemberId,
    /// The name.
    pub name: String,
}

impl Deed {
    /// In a sentence for whom it may concern; `own` is who reads it, where that is a member.
    pub fn sentence(&self, own: Option<MemberId>) -> String {
        Told::new(&self.marked(own)).text
    }

    /// The same with its names marked.
    fn marked(&self, own: Option<MemberId>) -> String {
        let is_own = |id: MemberId| own == Some(id);
        let by = if is_own(self.by.0) { "you".into() } else { marked(&self.by.1) };
        let (whom, mine) = match &self.whom {
            Some((id, _)) if is_own(*id) => ("you".into(), true),
            Some((_, name)) => (marked(name), false),
            None => (String::new(), false),
        };
        let oneself = self.whom.as_ref().is_some_and(|(id, _)| *id == self.by.0);
        match self.what {
            Command::Lock => format!("{by} locked the room: nobody else can join"),
            Command::Unlock => format!("{by} opened the room again"),
            Command::Kick => format!("{by} sent {whom} away"),
            Command::Unkick => format!("{by} let {whom} come back"),
            Command::Mute if mine => format!("{by} muted you: what you say is refused"),
            Command::Mute => format!("{by} muted {whom}"),
            Command::Unmute if oneself && mine => "you may speak again".into(),
            Command::Unmute if oneself => format!("{by} may speak again"),
            Command::Unmute => format!("{by} let {whom} speak again"),
            Command::Host => format!("{by} made {whom} a host"),
            Command::Unhost if oneself && mine => "you are no host any more".into(),
            Command::Unhost if oneself => format!("{by} is no host any more"),
            Command::Unhost => format!("{by} made {whom} a member again: no host any more"),
            _ => String::new(),
        }
    }
}

impl Screen {
    /// A host has done something. What changes by that is told afterwards, and then it is known already.
    pub(super) fn handle_deed(&mut self, deed: &Deed, now: Now) {
        let own = self.members.iter().find(|person| person.own).map(|person| person.id);
        let whom = deed.whom.as_ref().map(|(id, _)| *id);
        let mut text = deed.marked(own);
        if deed.what == Command::Kick && own == Some(deed.by.0) {
            // Who has no key cannot be known again.
            let known = self.members.iter().any(|p| Some(p.id) == whom && p.fingerprint.is_some());
            let name = deed.whom.as_ref().map_or_else(String::new, |(_, name)| marked(name));
            text.push_str(&match known {
                true => format!("; /unkick {name} takes it back"),
                false => "; a guest can come in again, unless you /lock the room".into(),
            });
        }
        self.push(Line::Told(Told::new(&text)), now.wall);
        match (deed.what, whom) {
            (Command::Lock | Command::Unlock, _) => self.locked = deed.what == Command::Lock,
            (Command::Kick, Some(id)) => {
                self.members.remove(id);
                // Their tracks and programs end one after the other, and each is news of somebody who is gone.
                self.leaving.insert(id);
                if self.leaving.len() > limits::MEMBERS {
                    self.leaving.pop_first();
                }
            }
            (Command::Unkick, Some(id)) => drop(self.leaving.remove(&id)),
            (Command::Mute | Command::Unmute, Some(id)) => {
                self.members.change(id, |person| person.muted = deed.what == Command::Mute);
            }
            (Command::Host | Command::Unhost, Some(id)) => {
                self.members.change(id, |person| person.host = deed.what == Command::Host);
            }
            _ => {}
        }
    }

    /// How the room itself is.
    pub(super) fn handle_about(&mut self, locked: bool, sent_away: Vec<SentAway>, now: Now) {
        if self.known && locked != self.locked {
            let what =
                if locked { "the room is locked: nobody else can join" } else { "the room is open again" };
            self.push(Line::Notice(what.into()), now.wall);
        }
        self.locked = locked;
        self.sent_away = sent_away;
    }

    /// `/kick` and the like: what a host asks for of a member who is here.
    pub(super) fn moderate(&self, command: Command, rest: &str) -> Result<Vec<Action>, String> {
        let (person, _) = self.addressed(rest).map_err(|why| format!("{why} /{} NICK", command.word()))?;
        match command {
            Command::Kick if person.own => Err("that is you: /quit leaves".into()),
            Command::Mute if person.own => Err("that is you: whoever says nothing is not heard".into()),
            _ => Ok(vec![Action::Moderate(command, Some(person.id))]),
        }
    }

    /// `/unkick`: of one who is not here any more.
    pub(super) fn unkick(&self, rest: &str) -> Result<Vec<Action>, String> {
        let names: Vec<&str> = self.names_sent_away().collect();
        let (name, _) = command::split_nick(rest, &names);
        if names.is_empty() {
            return Err("nobody is sent away".into());
        }
        let listed = || text::shorten(&names.join(", "), 200);
        if name.is_empty() {
            return Err(format!("who may come back? /unkick NICK; sent away: {}", listed()));
        }
        let wanted = name.to_lowercase();
        // Of several who were called so, whoever went last.
        let newest = |fits: &dyn Fn(&str) -> bool| self.sent_away.iter().rev().find(|away| fits(&away.name));
        let exact =
            newest(&|known| known == name).or_else(|| newest(&|known| known.to_lowercase() == wanted));
        let begins = || {
            let mut fit = self.sent_away.iter().filter(|away| away.name.to_lowercase().starts_with(&wanted));
            fit.next().filter(|_| fit.next().is_none())
        };
        match exact.or_else(begins) {
            Some(away) => Ok(vec![Action::Moderate(Command::Unkick, Some(away.member))]),
            None => Err(format!("{} is not sent away; these are: {}", super::obey::shown(name), listed())),
        }
    }

    /// The names of those who may not come back yet, whoever went last at the end.
    pub(super) fn names_sent_away(&self) -> impl Iterator<Item = &str> {
        self.sent_away.iter().map(|away| away.name.as_str())
    }
}
