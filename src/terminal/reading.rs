//! What the person has read, and where the mark above the unread lines stands.
//!
//! Terminals that tell of their focus say when nobody looks. Many do not (tmux, unless it is told to): there
//! the person is away when no key was pressed for [`AWAY`], and has seen nothing that came since the last one.

use std::time::Duration;

use super::screen::{Now, Screen};
use crate::time::Moment;

/// Without a key for so long, and without word of the focus, nobody looks.
const AWAY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Reading {
    focused: bool,
    /// The terminal tells of its focus.
    tells: bool,
    key: Moment,
    /// The line of the first message that came since the last key.
    since_key: Option<u64>,
    /// A key was pressed since the mark was set.
    returned: bool,
    /// The newest message.
    newest: u64,
    /// The newest message that was read.
    read: u64,
    /// What an earlier program has seen read.
    before: Option<u64>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            focused: true,
            tells: false,
            key: Moment::default(),
            since_key: None,
            returned: false,
            newest: 0,
            read: 0,
            before: None,
        }
    }
}

impl Reading {
    /// The room is there; what was read in it before is known.
    pub(super) fn handle_up(&mut self, read: Option<u64>, now: Now) {
        // Whoever has just started the program looks at it.
        if self.key == Moment::default() {
            self.key = now.moment;
        }
        self.before = self.before.or(read);
        self.read = self.read.max(read.unwrap_or(0));
    }

    /// What was said before has been told. Who is here for the first time has missed nothing.
    pub(super) fn handle_caught_up(&mut self) {
        if self.before.is_none() {
            self.read = self.read.max(self.newest);
        }
    }
}

impl Screen {
    /// The terminal is looked at, or not any more.
    pub fn handle_focus(&mut self, focused: bool) {
        self.reading.tells = true;
        self.reading.since_key = None;
        if !focused && self.reading.focused && self.lines.follows() {
            self.lines.mark_read();
        }
        self.reading.focused = focused;
    }

    /// The number of the newest message that the person has read.
    pub fn read(&self) -> u64 {
        self.reading.read
    }

    /// A key was pressed: who sees the newest lines has read them.
    pub(super) fn note_key(&mut self, now: Now) {
        let reading = &mut self.reading;
        (reading.key, reading.since_key, reading.returned) = (now.moment, None, true);
        if self.lines.follows() {
            reading.read = reading.newest;
        }
    }

    /// A message is about to be shown.
    pub(super) fn note_unread(&mut self, seq: u64, mine: bool, now: Now) {
        let next = self.lines.next();
        let reading = &mut self.reading;
        reading.newest = reading.newest.max(seq);
        if !self.caught_up {
            if !mine && reading.before.is_some_and(|before| seq > before) {
                self.lines.mark_unread(next);
            }
            return;
        }
        let looks = self.lines.follows() && reading.focused;
        if !mine && !looks {
            self.lines.mark_unread(next);
        } else if !mine && !reading.tells {
            reading.since_key.get_or_insert(next);
        }
        if looks && (reading.tells || mine || reading.since_key.is_none()) {
            reading.read = reading.newest;
        }
        self.mark_in_time(now);
    }

    /// Marks what came since the last key when that was long ago.
    pub(super) fn mark_in_time(&mut self, now: Now) {
        let reading = &mut self.reading;
        if now.moment.since(reading.key) < AWAY {
            return;
        }
        if let Some(line) = reading.since_key.take() {
            // A mark that was seen gives way to the next.
            if std::mem::take(&mut reading.returned) {
                self.lines.mark_read();
            }
            self.lines.mark_unread(line);
        }
    }
}
