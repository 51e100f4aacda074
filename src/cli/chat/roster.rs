//! Who is in the room and what they share: members and their tracks put together.

use std::collections::BTreeMap;

use crate::id::{MemberId, PublicKey, TrackId};
use crate::terminal::{Person, hue};
use crate::text::Look;
use crate::wire::control::{Action, Member, Moderated, Presence, Quality, State, Track, TrackKind, Welcome};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Roster {
    own: Option<MemberId>,
    key: Option<PublicKey>,
    members: BTreeMap<MemberId, Member>,
    tracks: BTreeMap<TrackId, Track>,
}

impl Roster {
    /// For a program that proves `key`.
    pub(super) fn new(key: Option<PublicKey>) -> Self {
        Self { key, ..Self::default() }
    }

    /// Which member the program is.
    pub(super) fn handle_up(&mut self, welcome: &Welcome) {
        self.own = Some(welcome.member);
    }

    /// All that there is, instead of what was known.
    pub(super) fn handle_state(&mut self, state: State) {
        self.members = state.members.into_iter().map(|member| (member.member, member)).collect();
        self.tracks = state.tracks.into_iter().map(|track| (track.track, track)).collect();
    }

    /// A member came or changed.
    pub(super) fn handle_member(&mut self, member: Member) {
        self.members.insert(member.member, member);
    }

    /// A member left.
    pub(super) fn handle_left(&mut self, id: MemberId) {
        self.members.remove(&id);
    }

    /// A host has done something. What comes of it is told afterwards; until then a member that is told again
    /// must not be as it was.
    pub(super) fn handle_moderated(&mut self, moderated: &Moderated) {
        let Some(member) = moderated.member.and_then(|id| self.members.get_mut(&id)) else { return };
        match moderated.action {
            Action::Mute | Action::Unmute => member.muted = moderated.action == Action::Mute,
            Action::Host | Action::Unhost => member.host = moderated.action == Action::Host,
            _ => {}
        }
    }

    /// A track came or changed; whose it is.
    pub(super) fn handle_track(&mut self, track: Track) -> MemberId {
        let member = track.member;
        self.tracks.insert(track.track, track);
        member
    }

    /// A track ended; whose it was.
    pub(super) fn handle_track_gone(&mut self, id: TrackId) -> Option<MemberId> {
        self.tracks.remove(&id).map(|track| track.member)
    }

    /// What is said where the server gave another name than the one that was `chosen`, and why.
    pub(super) fn other_name(&self, chosen: &str) -> Option<String> {
        let given = self.name(self.own?)?;
        if given == chosen {
            return None;
        }
        let shown = |name: &str| crate::text::for_log(name.as_bytes(), crate::limits::LABEL);
        let lower = chosen.to_lowercase();
        let taken =
            self.members.values().any(|m| Some(m.member) != self.own && m.name.to_lowercase() == lower);
        let look = Look::of(chosen);
        let is_like = |m: &&Member| Some(m.member) != self.own && Look::of(&m.name).is_like(&look);
        let alike = self.members.values().find(is_like).map(|m| shown(&m.name));
        let (given, chosen) = (shown(given), shown(chosen));
        Some(match (taken, alike) {
            (true, _) => format!("you are {given} here: somebody else is called {chosen}"),
            (false, Some(alike)) => {
                format!("you are {given} here: somebody else is called {alike}, which looks like {chosen}")
            }
            (false, None) => format!(
                "you are {given} here, not {chosen}: another program of yours came first under that name, and \
                 all of yours are one member; /nick or CONF_IDENTITY_FILE=FILE changes that"
            ),
        })
    }

    /// Whether this is the person who runs the program.
    pub(super) fn is_own(&self, id: MemberId, key: Option<PublicKey>) -> bool {
        // Numbers are given anew when the server has forgotten the room, keys are not.
        match (key, self.key) {
            (Some(key), Some(own)) => key == own,
            (None, None) => self.own == Some(id),
            _ => false,
        }
    }

    /// The member that the program is.
    pub(super) fn own(&self) -> Option<MemberId> {
        self.own
    }

    /// The name of a member who is here.
    pub(super) fn name(&self, id: MemberId) -> Option<&str> {
        self.members.get(&id).map(|member| member.name.as_str())
    }

    /// A member who is here.
    pub(super) fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// Everybody who is here, in the order in which they came.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// A member by its name: as it is written, else whatever its letters' case.
    pub(super) fn by_name(&self, name: &str) -> Option<&Member> {
        let exact = self.members.values().find(|member| member.name == name);
        let wanted = name.to_lowercase();
        exact.or_else(|| self.members.values().find(|member| member.name.to_lowercase() == wanted))
    }

    /// A member as the screen shows it.
    pub(super) fn person(&self, id: MemberId) -> Option<Person> {
        let member = self.members.get(&id)?;
        let tracks = || self.tracks.values().filter(|track| track.member == id);
        let video = |screen: bool| {
            tracks().any(|t| t.source.kind == TrackKind::Video && (t.source.label == "screen") == screen)
        };
        let mut microphones = tracks().filter(|track| track.source.kind == TrackKind::Audio).peekable();
        let sound = microphones.peek().is_some();
        let silent = microphones.all(|track| track.source.muted);
        Some(Person {
            fingerprint: member.key.as_ref().map(PublicKey::fingerprint),
            since: member.since,
            own: self.is_own(id, member.key),
            reconnecting: member.state == Presence::Reconnecting,
            host: member.host,
            muted: member.muted,
            away: member.away.clone(),
            typing: member.typing,
            watching: member.watching,
            poor: member.connection == Quality::Poor,
            camera: video(false),
            screen: video(true),
            microphone: sound.then_some(silent),
            ..Person::new(id, &member.name, hue_of(member.key.as_ref(), &member.name))
        })
    }

    /// All members as the screen shows them.
    pub(super) fn people(&self) -> Vec<Person> {
        self.members.keys().filter_map(|id| self.person(*id)).collect()
    }
}

/// What the colour of a person is made of: the key, which stays, else the name.
pub(super) fn hue_of(key: Option<&PublicKey>, name: &str) -> u64 {
    key.map_or_else(|| hue(name.as_bytes()), |key| hue(&key.0))
}
