//! What hosts do: commands of the terminal, actions on the wire.

use crate::terminal::{Command, Deed, SentAway};
use crate::wire::control::{self, Action, Moderated};

/// Each command and the action that it asks for.
const BOTH: [(Command, Action); 8] = [
    (Command::Lock, Action::Lock),
    (Command::Unlock, Action::Unlock),
    (Command::Kick, Action::Kick),
    (Command::Unkick, Action::Unkick),
    (Command::Mute, Action::Mute),
    (Command::Unmute, Action::Unmute),
    (Command::Host, Action::Host),
    (Command::Unhost, Action::Unhost),
];

/// What a command asks for, where it is one of hosts.
pub(super) fn action(command: Command) -> Option<Action> {
    BOTH.iter().find(|(known, _)| *known == command).map(|(_, action)| *action)
}

/// What a host has done, for people; nothing where this version has no words for it.
pub(super) fn deed(moderated: Moderated) -> Option<Deed> {
    let (what, _) = BOTH.iter().find(|(_, action)| *action == moderated.action)?;
    let whom = moderated.member.map(|id| (id, moderated.name));
    Some(Deed { what: *what, whom, by: (moderated.by, moderated.by_name) })
}

/// Who may not come back yet, as the screen knows them.
pub(super) fn sent_away(room: control::Room) -> Vec<SentAway> {
    room.sent_away.into_iter().map(|away| SentAway { member: away.member, name: away.name }).collect()
}
