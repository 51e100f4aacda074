//! What the room tells, for the pipe.

use std::io::{self, Write};

use super::Pipe;
use crate::chat::Received;
use crate::cli::Exit;
use crate::cli::chat::hosts;
use crate::cli::chat::json::{Connection, Error, Message, News, Someone, Told};
use crate::id::MemberId;
use crate::net::client::Event;
use crate::time;
use crate::wire::Code;
use crate::wire::control::{Gap, Refusal, State};

impl Pipe {
    pub(super) fn handle_event(&mut self, event: Event) {
        self.handle_offers(&event);
        match event {
            Event::Up { welcome, resumed } => {
                self.roster.handle_up(&welcome);
                let stored = welcome.log.is_some_and(|log| log.stored);
                self.handle_storing(stored);
                self.voice.tell(&Told::Connection(Connection::Up {
                    room: &welcome.room,
                    member: welcome.member,
                    name: &welcome.name,
                    resumed,
                    log: welcome.log.map(|log| log.id),
                    stored,
                }));
            }
            Event::State(state) => self.handle_state(state),
            Event::Member(member) => {
                let id = member.member;
                let known = self.roster.member(id);
                let change = if known.is_some() { News::Change } else { News::Join };
                if known != Some(&member) {
                    self.roster.handle_member(member);
                    self.tell_of(id, change);
                }
            }
            Event::MemberLeft(id) => {
                self.tell_of(id, News::Leave);
                self.roster.handle_left(id);
            }
            Event::Track(track) => {
                let id = self.roster.handle_track(track);
                self.tell_of(id, News::Change);
            }
            Event::TrackGone(track) => {
                if let Some(id) = self.roster.handle_track_gone(track) {
                    self.tell_of(id, News::Change);
                }
            }
            Event::Room(room) => {
                self.voice.tell(&Told::Room { locked: room.locked, sent_away: &room.sent_away });
                self.about = room;
            }
            Event::Moderated(moderated) => {
                self.voice.tell(&(&moderated).into());
                if let Some(deed) = hosts::deed(moderated) {
                    self.voice.note(time::wall() as f64 / 1e6, &deed.sentence(None));
                    self.say_to_person(&deed.sentence(self.roster.own()));
                }
            }
            Event::Message(received) => self.handle_message(&received),
            Event::Gap(gap) => self.handle_gap(gap),
            Event::CaughtUp => {
                self.caught_up = true;
                self.voice.tell(&Told::CaughtUp);
            }
            Event::Acknowledged(progress) => {
                let done = self.waiting.handle_progress(progress, time::now());
                self.handle_done(done);
                self.voice.tell(&progress.into());
            }
            Event::Unsent { n, refusal } => self.handle_unsent(n, &refusal),
            Event::Conflict => {
                let why = "it had taken something else under the same number before";
                self.handle_unsent(0, &Refusal::new(Code::Protocol, why));
                self.unsent.0 += 1;
            }
            Event::Storage { stored, message } => {
                self.handle_storing(stored);
                self.voice.tell(&Told::Storage { stored, message: &message });
                match stored {
                    true => tracing::warn!("the server keeps messages on its disk again"),
                    false => tracing::warn!("the server does not keep messages on its disk: {message}"),
                }
            }
            Event::Done { id } => {
                if let Some(id) = self.answered(id) {
                    self.voice.tell(&Told::Done { id: &id });
                }
            }
            Event::Refused(refusal) => {
                let answered = refusal.id.and_then(|id| self.answered(id));
                if answered.is_some() {
                    self.count_wrong(Exit::Refused);
                }
                let id = answered.flatten();
                self.voice.tell(&Told::Error(Error { id: id.as_ref(), ..Error::refusal(&refusal, None) }));
            }
            Event::Down { reason, retry_in, attempt } => {
                let (reason, retry_in) = (reason.to_string(), retry_in.as_secs_f64());
                self.say_to_person(&format!("not connected, next try in {:.0} s: {reason}", retry_in.ceil()));
                self.voice.tell(&Told::Connection(Connection::Down { reason, retry_in, attempt }));
            }
            _ => {}
        }
    }

    fn handle_state(&mut self, state: State) {
        self.about = state.room.clone().unwrap_or_default();
        self.roster.handle_state(state);
        self.voice.tell(&Told::State {
            members: Someone::all(&self.roster),
            locked: self.about.locked,
            sent_away: &self.about.sent_away,
        });
        if let Some(text) = self.named.take().and_then(|chosen| self.roster.other_name(&chosen)) {
            tracing::warn!("{text}");
        }
        if self.typist && !self.ready {
            self.welcome();
        }
        if !std::mem::replace(&mut self.ready, true) {
            self.waiting.begin(time::now());
            for content in std::mem::take(&mut self.given) {
                self.say(content, None);
            }
        }
    }

    /// What a person at a terminal without panes has to know.
    fn welcome(&mut self) {
        let room = &self.address.room;
        let name = |id: MemberId| self.roster.name(id).unwrap_or_default().to_owned();
        let (own, others): (Vec<_>, Vec<_>) = self.roster.people().into_iter().partition(|person| person.own);
        let own = own.first().map_or_else(String::new, |person| name(person.id));
        let others: Vec<String> = others.iter().take(20).map(|person| name(person.id)).collect();
        let with = if others.is_empty() {
            "nobody else is here".into()
        } else {
            format!("here: {}", others.join(", "))
        };
        self.say_to_person(&format!(
            "this terminal shows no panes (TERM), so this is line by line. You are {own} in {room}, {with}. \
             What you type is said at Enter; /me TEXT, /quit or Ctrl-D leaves"
        ));
    }

    /// A notice for a person at a terminal without panes.
    pub(super) fn say_to_person(&self, text: &str) {
        if self.typist {
            let _ = writeln!(io::stderr(), "-- {text}");
        }
    }

    /// A command that was typed at a terminal without panes.
    pub(super) fn obey(&mut self, line: &str) {
        match crate::terminal::command(line) {
            Some(crate::terminal::Command::Quit) => self.quits = true,
            _ => self.say_to_person(
                "not sent: only /me and /quit are known here; // says a text that begins with /",
            ),
        }
    }

    fn handle_storing(&mut self, stored: bool) {
        let done = self.waiting.handle_storing(stored);
        self.handle_done(done);
        if self.waiting.is_less_than_asked() && !self.told_less {
            self.told_less = true;
            tracing::warn!("this server keeps no messages on a disk: acknowledged means passed on");
        }
    }

    fn handle_message(&mut self, received: &Received) {
        self.voice.tell(&Told::Message(Message::new(received, &self.roster)));
        // What the room is about is told to everybody who joins; it was not said now.
        if !self.caught_up && received.slot.is_some() {
            return;
        }
        let to = received.to.map(|to| self.roster.name(to).unwrap_or("somebody").to_owned());
        self.voice.message(received, to.as_deref());
    }

    fn handle_gap(&mut self, gap: Gap) {
        self.voice.tell(&gap.into());
        let text = gap.to_string();
        tracing::warn!("{text}");
        self.voice.note(time::wall() as f64 / 1e6, &text);
    }

    fn handle_unsent(&mut self, n: u64, refusal: &Refusal) {
        self.voice.tell(&Told::Error(Error::refusal(refusal, Some(n).filter(|n| *n > 0))));
        if self.waiting.forget(n) {
            self.unsent.0 += 1;
            if let Some(Err(failure)) = self.journal.as_mut().map(|journal| journal.handle_gone(n)) {
                self.failed.get_or_insert(failure);
            }
        }
        self.unsent.1 = refusal.to_string();
        tracing::warn!("the server did not take a message: {refusal}");
    }

    fn tell_of(&mut self, id: MemberId, event: News) {
        if let (Some(member), Some(person)) = (self.roster.member(id), self.roster.person(id)) {
            self.voice.tell(&Told::Presence { event, member: Someone::new(member, &person) });
        }
    }
}
