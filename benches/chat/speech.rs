//! How a member of each server talks: its first words, a message, and what it hears.

use std::collections::VecDeque;
use std::str::FromStr;

use anyhow::{Context, bail};
use confkit::id::SourceId;
use confkit::time;
use confkit::wire::control::{Hello, Messages, PROTOCOL};
use confkit::wire::{Control, Frame, Incoming, Letter, Parser};

/// Bytes of what is said.
pub(crate) const TEXT: usize = 100;
/// The time of sending stands between two of these.
const MARK: u8 = b'~';
const DIGITS: usize = 16;
const CHANNEL: &str = "#bench";

/// The language of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speech {
    Conf,
    /// The same for a member who says something and does not want to hear anything.
    Deaf,
    Irc,
    Redis,
}

/// What a member hears.
pub(crate) enum Heard {
    /// Something that was said, with the time of that.
    Said(u64),
    /// Its messages through this number are passed on ...
    Relayed(u64),
    /// ... and on disk.
    Stored(u64),
    /// It is to answer this.
    Answer(Vec<u8>),
    /// It is in the room.
    In,
}

/// One member's side of the conversation.
pub(crate) struct Voice {
    speech: Speech,
    name: String,
    source: SourceId,
    said: u64,
    answered: u64,
}

impl Speech {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Conf => "conf",
            Self::Deaf => "deaf",
            Self::Irc => "irc",
            Self::Redis => "redis",
        }
    }

    /// How many members get a message of one of `count`.
    pub(crate) fn copies(self, count: u64) -> u64 {
        match self {
            // IRC does not send it back to who said it.
            Self::Irc => count - 1,
            Self::Deaf => 0,
            Self::Conf | Self::Redis => count,
        }
    }
}

impl FromStr for Speech {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        [Self::Conf, Self::Deaf, Self::Irc, Self::Redis]
            .into_iter()
            .find(|speech| speech.name() == text)
            .context("no such language")
    }
}

impl Voice {
    pub(crate) fn new(speech: Speech, number: usize) -> anyhow::Result<Self> {
        let mut source = [0; 16];
        getrandom::fill(&mut source).context("no randomness")?;
        // Two groups of members may be in one room.
        let name = format!("m{number}x{}", std::process::id());
        Ok(Self { speech, name, source: SourceId(source), said: 0, answered: 0 })
    }

    /// What it says first.
    pub(crate) fn greeting(&self) -> Vec<u8> {
        match self.speech {
            Speech::Conf | Speech::Deaf => {
                let hello = Hello {
                    protocol: PROTOCOL,
                    room: "bench".into(),
                    name: self.name.clone(),
                    client: "bench".into(),
                    key: None,
                    proof: None,
                    password: None,
                    messages: (self.speech == Speech::Conf).then_some(Messages {
                        log: None,
                        after: None,
                        history: 0,
                    }),
                    offers: false,
                    look: false,
                    resume: None,
                    subscribe: Vec::new(),
                };
                Frame::control(&Control::Hello(hello), time::wall()).bytes().to_vec()
            }
            Speech::Irc => {
                format!("NICK {}\r\nUSER bench 0 * :bench\r\nJOIN {CHANNEL}\r\n", self.name).into_bytes()
            }
            // The third version lets a subscriber publish.
            Speech::Redis => format!("HELLO 3\r\nSUBSCRIBE {CHANNEL}\r\n").into_bytes(),
        }
    }

    /// A message, and its number.
    pub(crate) fn say(&mut self, wall: u64) -> (Vec<u8>, u64) {
        self.said += 1;
        let text = format!("{0}{wall:0DIGITS$}{0}{1:.<2$}", '~', "", TEXT - DIGITS - 2);
        let bytes = match self.speech {
            Speech::Conf | Speech::Deaf => {
                let letter =
                    Letter { source: self.source, n: self.said, to: None, slot: None, receipt: None };
                let payload = format!(r#"{{"kind":"text","text":"{text}"}}"#);
                Frame::message(letter, payload.as_bytes(), wall).bytes().to_vec()
            }
            Speech::Irc => format!("PRIVMSG {CHANNEL} :{text}\r\n").into_bytes(),
            Speech::Redis => format!("PUBLISH {CHANNEL} {text}\r\n").into_bytes(),
        };
        (bytes, self.said)
    }

    /// Takes apart what was read; how many bytes of it are done with.
    pub(crate) fn hear(&mut self, bytes: &[u8], heard: &mut VecDeque<Heard>) -> anyhow::Result<usize> {
        match self.speech {
            Speech::Conf | Speech::Deaf => self.hear_frames(bytes, heard),
            Speech::Irc | Speech::Redis => self.hear_lines(bytes, heard),
        }
    }

    fn hear_frames(&self, bytes: &[u8], heard: &mut VecDeque<Heard>) -> anyhow::Result<usize> {
        let mut done = 0;
        while let Some(whole) = whole(&bytes[done..])? {
            done += whole.all.len();
            if whole.header.starts_with(br#"{"type":"message""#) {
                heard.extend(stamp(whole.payload).map(Heard::Said));
                continue;
            }
            let mut parser = Parser::new();
            parser.push(whole.all);
            let Some(Incoming::Frame(frame)) = parser.poll()? else { bail!("a frame that is none") };
            match frame.operation()? {
                Control::Ack(ack) if ack.source == self.source => {
                    heard.push_back(Heard::Relayed(ack.relayed));
                    heard.push_back(Heard::Stored(ack.stored));
                }
                Control::CaughtUp { .. } => heard.push_back(Heard::In),
                Control::State(state) if self.speech == Speech::Deaf && !state.more => {
                    heard.push_back(Heard::In);
                }
                Control::Error(refusal) => bail!("refused: {refusal}"),
                Control::Goodbye(goodbye) => bail!("sent away: {}", goodbye.message),
                Control::Ping { id } => {
                    let pong = Frame::control(&Control::Pong { id }, time::wall());
                    heard.push_back(Heard::Answer(pong.bytes().to_vec()));
                }
                _ => {}
            }
        }
        Ok(done)
    }

    fn hear_lines(&mut self, bytes: &[u8], heard: &mut VecDeque<Heard>) -> anyhow::Result<usize> {
        let mut done = 0;
        while let Some(length) = bytes[done..].iter().position(|byte| *byte == b'\n') {
            let line = &bytes[done..done + length];
            done += length + 1;
            let word = |word: &str| line.windows(word.len()).any(|window| window == word.as_bytes());
            match (self.speech, line.first()) {
                (Speech::Irc, Some(b'P')) if line.starts_with(b"PING") => {
                    heard.push_back(Heard::Answer([b"PONG", &line[4..], b"\n"].concat()));
                }
                (Speech::Redis, Some(b':')) if self.said > self.answered => {
                    self.answered += 1;
                    heard.push_back(Heard::Relayed(self.answered));
                }
                (_, Some(b'-')) => bail!("refused: {}", String::from_utf8_lossy(line)),
                _ => match stamp(line) {
                    Some(sent) => heard.push_back(Heard::Said(sent)),
                    // The end of the names of the channel; the answer to SUBSCRIBE.
                    None if word(" 366 ") || word("subscribe") => heard.push_back(Heard::In),
                    None if word(" 433 ") || word("ERROR ") => {
                        bail!("refused: {}", String::from_utf8_lossy(line))
                    }
                    None => {}
                },
            }
        }
        Ok(done)
    }
}

/// A frame that is there to its end.
struct Whole<'a> {
    all: &'a [u8],
    header: &'a [u8],
    payload: &'a [u8],
}

/// The first frame of `bytes`, if it is there to its end.
fn whole(bytes: &[u8]) -> anyhow::Result<Option<Whole<'_>>> {
    const SIZE: &[u8] = br#""size":"#;
    let Some(length) = bytes.first_chunk() else { return Ok(None) };
    let head = 4 + u32::from_be_bytes(*length) as usize;
    let Some(header) = bytes.get(4..head) else { return Ok(None) };
    let at = header.windows(SIZE.len()).position(|window| window == SIZE).context("a header has a size")?;
    let digits = header[at + SIZE.len()..].iter().take_while(|byte| byte.is_ascii_digit());
    let size = digits.fold(0, |size, digit| size * 10 + usize::from(digit - b'0'));
    Ok(bytes.get(head..head + size).map(|payload| Whole { all: &bytes[..head + size], header, payload }))
}

/// The time of sending in what was said.
fn stamp(text: &[u8]) -> Option<u64> {
    text.iter().enumerate().filter(|(_, byte)| **byte == MARK).find_map(|(at, _)| {
        let digits = text.get(at + 1..at + 1 + DIGITS)?;
        let number = digits.iter().all(u8::is_ascii_digit) && text.get(at + 1 + DIGITS) == Some(&MARK);
        number.then(|| digits.iter().fold(0, |time, digit| time * 10 + u64::from(digit - b'0')))
    })
}
