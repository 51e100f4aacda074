//! Messages from before those that the room told at first: asked for when somebody scrolls up to the oldest.

use jiff::civil::Date;

use super::line::{Kind, Line, Message};
use super::screen::{self, Action, Connection, Screen};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The oldest message that is known; topics are told without their time and do not count.
    oldest: Option<u64>,
    /// Older ones are on their way.
    asked: bool,
    /// There are none.
    over: bool,
}

impl Past {
    /// A message has come.
    pub(super) fn note(&mut self, seq: u64) {
        self.oldest = Some(self.oldest.map_or(seq, |oldest| oldest.min(seq)));
    }

    /// What was asked for does not come.
    pub(super) fn handle_failed(&mut self) {
        self.asked = false;
    }
}

impl Screen {
    /// Who has scrolled up to the first line wants more.
    pub(super) fn ask_for_older(&mut self) -> Vec<Action> {
        let may = self.caught_up && matches!(self.connection, Connection::Up) && !self.past.asked;
        let Some(oldest) = self.past.oldest.filter(|_| may && self.lines.is_at_top()) else {
            return Vec::new();
        };
        if self.lines.is_full() {
            self.hint = Some("this is all that this program holds; conf-chat --export writes all".into());
            return Vec::new();
        }
        if self.past.over {
            self.hint = Some("these are the oldest messages that the server keeps".into());
            return Vec::new();
        }
        self.past.asked = true;
        vec![Action::Older(oldest)]
    }

    /// Puts older messages above the others.
    pub(super) fn handle_older(&mut self, messages: Vec<Message>) {
        if !std::mem::take(&mut self.past.asked) {
            return;
        }
        if messages.is_empty() {
            self.past.over = true;
            self.hint = Some("these are the oldest messages that the server keeps".into());
            return;
        }
        let mut lines = Vec::new();
        let mut day: Option<Date> = None;
        for mut message in messages {
            self.past.note(message.seq);
            let ignored = !message.mine && self.ignored.iter().any(|(hue, _)| *hue == message.from.hue);
            if ignored || message.kind == Kind::Topic && self.lines.has(message.seq) {
                continue;
            }
            message.text = screen::shown(message.text);
            let mention =
                !message.mine && (message.to.is_some() || screen::names(&message.text, &self.settings.name));
            self.tell_when(&mut message);
            let time = message.received;
            let zoned = screen::timestamp(time).to_zoned(self.settings.zone.clone());
            if day.replace(zoned.date()) != Some(zoned.date()) {
                lines.push((Line::Day(zoned.strftime("%A, %-d %B %Y").to_string()), time));
            }
            lines.push((Line::Said { message, mention }, time));
        }
        let last = lines.last().map_or(0.0, |(_, time)| *time);
        let last = screen::timestamp(last).to_zoned(self.settings.zone.clone());
        // The day that stands there already goes on.
        self.lines.prepend(lines, &last.strftime("%A, %-d %B %Y").to_string());
        self.lines.scroll(-(self.page.saturating_sub(1) as isize));
    }
}
