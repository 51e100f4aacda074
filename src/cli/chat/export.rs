//! `--export`: what was said, written to stdout in one of several forms.

use std::collections::VecDeque;
use std::io::{self, Write};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::json::{Message, Told};
use super::roster::Roster;
use super::{Chat, Export, lines, pipe};
use crate::chat::{Content, Inbox, Outbox, Received};
use crate::cli::{Exit, Failure, ended, output};
use crate::id::LogId;
use crate::limits;
use crate::net::client::{self, Config, Correspondence, End, Event};
use crate::wire::control::Gap;

/// Messages that are written where it is not said how many.
const HISTORY: u32 = 200;

/// Joins, writes what was said before and leaves.
///
/// A server gives a newcomer [`limits::HISTORY`] messages and not more. Who wants more comes back as somebody
/// who has missed everything; then the last of that are written, as many as are wanted.
pub(super) fn run(args: &Chat, form: Export) -> anyhow::Result<()> {
    let history = args.history.unwrap_or(HISTORY);
    let mut config = args.meeting.config(&args.common, "conf-chat", Vec::new())?;
    let address = config.address.clone();
    let runtime = pipe::runtime()?;
    let inbox = match history {
        0..=limits::HISTORY => Inbox::default(),
        _ => match runtime.block_on(log(&mut config))? {
            Ok(log) => Inbox::after(log, 0),
            Err(end) => return Ok(ended(&end, &address)?),
        },
    };
    let whole = history > limits::HISTORY;
    let outbox = Outbox::new(pipe::source()?);
    config.messages = Some(Correspondence { history: history.min(limits::HISTORY), inbox, outbox });
    let mut newest = Newest::new(history as usize);
    let mut roster = Roster::new(config.key.as_ref().map(crate::session::Key::public));
    let mut writer = Writer { form, zone: TimeZone::system(), day: None };
    let mut out = output::stdout()?;
    let written: anyhow::Result<()> = runtime.block_on(async {
        let (room, mut events) = client::connect(config);
        out.write_all(writer.head(&address.to_string()).as_bytes())?;
        let mut begun = false;
        loop {
            let text = match events.next().await {
                Some(Event::Up { welcome, .. }) => {
                    roster.handle_up(&welcome);
                    continue;
                }
                Some(Event::State(state)) => {
                    roster.handle_state(state);
                    continue;
                }
                // What the room is about is told to everybody who joins, before what was said.
                Some(Event::Message(received)) if !begun && !whole && received.slot.is_some() => {
                    writer.topic(&received)
                }
                Some(Event::Message(received)) => {
                    begun = true;
                    writer.message(&received, &roster)
                }
                Some(Event::Gap(gap)) => writer.gap(gap),
                Some(Event::CaughtUp) => {
                    newest.write(&mut out)?;
                    break;
                }
                // What would follow may not be what came before.
                Some(Event::Down { reason, .. }) => {
                    let message = format!("not everything was written: {reason}; try again");
                    return Err(Failure::new(Exit::Incomplete, message).into());
                }
                Some(Event::Ended(end)) => return Ok(ended(&end, &address)?),
                Some(_) => continue,
                None => return Ok(()),
            };
            if whole && history < u32::MAX {
                newest.push(text);
            } else {
                out.write_all(text.as_bytes())?;
            }
        }
        pipe::leave(&room, &mut events).await;
        Ok(())
    });
    runtime.shutdown_background();
    written
}

/// Which log the room has; or how the session ended.
async fn log(config: &mut Config) -> anyhow::Result<Result<LogId, End>> {
    let outbox = Outbox::new(pipe::source()?);
    config.messages = Some(Correspondence { history: 0, inbox: Inbox::default(), outbox });
    let (room, mut events) = client::connect(config.clone());
    let found = loop {
        match events.next().await {
            Some(Event::Up { welcome, .. }) => break welcome.log,
            Some(Event::Ended(end)) => return Ok(Err(end)),
            Some(_) => {}
            None => break None,
        }
    };
    pipe::leave(&room, &mut events).await;
    let nothing = || Failure::new(Exit::Protocol, "this server keeps no messages");
    Ok(Ok(found.map(|log| log.id).ok_or_else(nothing)?))
}

/// The newest of what came, as text. Holds as many as are wanted.
struct Newest {
    most: usize,
    texts: VecDeque<String>,
}

impl Newest {
    fn new(most: usize) -> Self {
        Self { most, texts: VecDeque::new() }
    }

    fn push(&mut self, text: String) {
        self.texts.push_back(text);
        if self.texts.len() > self.most {
            self.texts.pop_front();
        }
    }

    fn write(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.texts.drain(..).try_for_each(|text| out.write_all(text.as_bytes()))
    }
}

/// Forms what is written.
struct Writer {
    form: Export,
    zone: TimeZone,
    /// Of the last message.
    day: Option<Date>,
}

impl Writer {
    fn head(&self, room: &str) -> String {
        match self.form {
            Export::Md => format!("# {}\n", escaped(room)),
            Export::Txt | Export::Json => String::new(),
        }
    }

    fn message(&mut self, received: &Received, roster: &Roster) -> String {
        let to = received.to.map(|to| roster.name(to).unwrap_or("somebody"));
        match self.form {
            Export::Json => Told::Message(Message::new(received, roster)).line(),
            Export::Txt => lines::message(&lines::stamp(received.received, &self.zone), received, to),
            Export::Md => self.day(received.received) + &self.markdown(received, to),
        }
    }

    /// What the room is about, above what was said.
    fn topic(&self, received: &Received) -> String {
        let text = received.content.text();
        match self.form {
            _ if text.is_empty() => String::new(),
            Export::Json => Told::Topic { text }.line(),
            Export::Txt => format!("-- topic: {text}\n"),
            Export::Md => format!("\nTopic: {}\n", escaped(text)),
        }
    }

    fn gap(&self, gap: Gap) -> String {
        let text = gap.to_string();
        match self.form {
            Export::Json => Told::from(gap).line(),
            Export::Txt => format!("-- {text}\n"),
            Export::Md => format!("\n*{text}*\n\n"),
        }
    }

    /// A heading where another day begins.
    fn day(&mut self, seconds: f64) -> String {
        let day = lines::zoned(seconds, &self.zone).date();
        match self.day.replace(day) {
            Some(before) if before == day => String::new(),
            _ => format!("\n## {}\n\n", day.strftime("%A, %-d %B %Y")),
        }
    }

    fn markdown(&self, received: &Received, to: Option<&str>) -> String {
        let name = escaped(&received.name);
        let name = to.map_or_else(|| name.clone(), |to| format!("{name}→{}", escaped(to)));
        let text = match &received.content {
            Content::Other => "(something that this version cannot show)".into(),
            content => content.text().split('\n').map(escaped).collect::<Vec<_>>().join("  \n  "),
        };
        let clock = lines::clock(received.received, &self.zone);
        match received.content {
            Content::Action(_) => format!("- {clock} *{name} {text}*\n"),
            Content::Topic(_) => format!("- {clock} **{name}** set the topic: {text}\n"),
            Content::Text(_) | Content::Other => format!("- {clock} **{name}**: {text}\n"),
        }
    }
}

/// What means something in Markdown or HTML, shown as it is.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.trim_start().chars() {
        if c.is_ascii_punctuation()
            && !matches!(c, '.' | ',' | ':' | '/' | '?' | '%' | '=' | ';' | '"' | '\'')
        {
            safe.push('\\');
        }
        safe.push(c);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_what_is_exported_is_text_in_every_form() {
        assert_eq!(escaped("<b>*x*</b> [a](b) `c`"), "\\<b\\>\\*x\\*\\</b\\> \\[a\\]\\(b\\) \\`c\\`");
        let mut writer = Writer { form: Export::Md, zone: TimeZone::UTC, day: None };
        let received = lines::tests::received("*A*", Content::Text("# one\n- two".into()));
        let text = writer.message(&received, &Roster::default());
        let (day, line) = text.split_once("\n\n").unwrap();
        assert_eq!(day, "\n## Thursday, 1 January 1970");
        assert_eq!(line, "- 00:00 **\\*A\\***: \\# one  \n  \\- two\n");
        assert!(writer.message(&received, &Roster::default()).starts_with("- 00:00"));
        writer.form = Export::Txt;
        let text = writer.message(&received, &Roster::default());
        assert_eq!(text, "1970-01-01 00:00:00+00:00 *A*: # one\n                          │ - two\n");
    }
}
