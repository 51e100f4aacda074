//! What bytes from a terminal mean: keys, pasted text, the wheel, the focus.
//!
//! Bytes go in with the time, [`Pressed`] comes out. What is incomplete waits for its rest, and not for long:
//! an escape character alone is the Esc key, a sequence that does not go on is dropped, a paste whose end
//! does not come ends by itself. So no byte can make later keys disappear.
//!
//! Bounds: [`limits`](super::input::BYTES) of a paste are kept, what is more is counted; a sequence has at
//! most [`SEQUENCE`] bytes.

use std::collections::VecDeque;
use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::input;
use crate::time::Moment;

/// The rest of a sequence comes this soon, also over a slow line; a person who presses Esc waits so long.
const REST: Duration = Duration::from_millis(50);
/// A paste that has been silent for so long has lost its end.
const SILENCE: Duration = Duration::from_secs(2);
/// Bytes of a paste that are kept: more than fits into a message in any case.
const PASTE: usize = 4 * input::BYTES + 1;
/// Bytes of the longest sequence that means something.
const SEQUENCE: usize = 64;
/// What stands before and behind pasted text.
const BEGIN: &[u8] = b"\x1b[200~";
const END: &[u8] = b"\x1b[201~";

/// What a person did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pressed {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// More was pasted than is kept: so many bytes.
    TooMuch(usize),
    /// The wheel: whether it went up.
    Wheel(bool),
    /// The terminal is looked at, or not any more.
    Focus(bool),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Keyboard {
    bytes: VecDeque<u8>,
    /// Pasted text without its end, and how long it is.
    paste: Option<(Vec<u8>, usize)>,
    /// A paste lost its end: what comes in one piece may still belong to it.
    unclosed: bool,
    /// The paste that goes on was begun by such a piece.
    assumed: bool,
    /// When the last byte came.
    came: Moment,
    found: VecDeque<Pressed>,
}

/// What stands at the front.
enum Front {
    /// It is not complete.
    Incomplete,
    /// So many bytes mean this, or nothing.
    Whole(usize, Option<Pressed>),
    /// A paste begins behind so many bytes.
    Paste(usize),
}

impl Keyboard {
    /// Bytes have come from the terminal, together.
    pub(super) fn push(&mut self, bytes: &[u8], now: Moment) {
        self.handle_time(now);
        self.came = now;
        if self.unclosed && self.paste.is_none() && is_text(bytes) {
            // Nobody types so fast. It must not send what was pasted.
            (self.paste, self.assumed) = (Some((Vec::new(), 0)), true);
        }
        self.bytes.extend(bytes);
        self.parse(false);
    }

    /// What happened, in order.
    pub(super) fn poll(&mut self) -> Option<Pressed> {
        self.found.pop_front()
    }

    /// When [`Self::handle_time`] has something to do, if nothing comes.
    pub(super) fn poll_timeout(&self) -> Option<Moment> {
        match (&self.paste, self.bytes.is_empty()) {
            (Some(_), _) => Some(self.came + SILENCE),
            (None, false) => Some(self.came + REST),
            (None, true) => None,
        }
    }

    /// Time has passed.
    pub(super) fn handle_time(&mut self, now: Moment) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        if let Some((mut text, length)) = self.paste.take() {
            // A part of the end mark was no such part.
            text.extend(&self.bytes);
            let length = length + self.bytes.len();
            self.bytes.clear();
            self.give(text, length);
            // Once: else fast typing would be taken for more of it for ever.
            self.unclosed = !std::mem::take(&mut self.assumed);
        }
        self.parse(true);
    }

    fn parse(&mut self, late: bool) {
        while self.paste.is_some() && self.go_on_pasting() || self.paste.is_none() && !self.bytes.is_empty() {
            let bytes = self.bytes.make_contiguous();
            if bytes.is_empty() {
                return;
            }
            match front(bytes, late) {
                Front::Incomplete => return,
                Front::Whole(length, pressed) => {
                    if bytes.starts_with(END) {
                        self.unclosed = false;
                    }
                    self.bytes.drain(..length);
                    self.found.extend(pressed);
                }
                Front::Paste(length) => {
                    self.bytes.drain(..length);
                    (self.unclosed, self.assumed) = (false, false);
                    self.paste = Some((Vec::new(), 0));
                }
            }
        }
    }

    /// Takes pasted text up to its end; whether that has come.
    fn go_on_pasting(&mut self) -> bool {
        let Some((mut text, mut length)) = self.paste.take() else { return true };
        let bytes = self.bytes.make_contiguous();
        let end = bytes.windows(END.len()).position(|part| part == END);
        // The end mark may have come in part.
        let begun = || (1..END.len()).rev().find(|count| bytes.ends_with(&END[..*count])).unwrap_or(0);
        let taken = end.unwrap_or_else(|| bytes.len() - begun());
        text.extend(&bytes[..taken.min(PASTE - text.len())]);
        length += taken;
        self.bytes.drain(..taken);
        match end {
            Some(_) => {
                self.bytes.drain(..END.len());
                self.unclosed = false;
                self.give(text, length);
                true
            }
            None => {
                self.paste = Some((text, length));
                false
            }
        }
    }

    fn give(&mut self, text: Vec<u8>, length: usize) {
        self.found.push_back(match length {
            0 => return,
            PASTE.. => Pressed::TooMuch(length),
            _ => Pressed::Paste(String::from_utf8_lossy(&text).into_owned()),
        });
    }
}

/// Whether bytes that came together are text of more than one key.
fn is_text(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    !bytes.starts_with(b"\x1b") && text.chars().count() > 1
}

fn key(code: KeyCode, modifiers: KeyModifiers) -> Option<Pressed> {
    Some(Pressed::Key(KeyEvent::new(code, modifiers)))
}

/// `late`: what is incomplete does not go on any more.
fn front(bytes: &[u8], late: bool) -> Front {
    match bytes {
        [0x1b] if late => Front::Whole(1, key(KeyCode::Esc, KeyModifiers::NONE)),
        [0x1b] => Front::Incomplete,
        [0x1b, b'[', ..] => control_sequence(bytes, late),
        [0x1b, b'O', ..] => match bytes.get(2) {
            Some(letter) => Front::Whole(3, letter_key(*letter, KeyModifiers::NONE)),
            None if late => Front::Whole(2, key(KeyCode::Char('O'), KeyModifiers::ALT)),
            None => Front::Incomplete,
        },
        [0x1b, 0x1b, ..] => Front::Whole(1, key(KeyCode::Esc, KeyModifiers::NONE)),
        [0x1b, rest @ ..] => match character(rest, late) {
            Front::Whole(length, Some(Pressed::Key(mut pressed))) => {
                pressed.modifiers |= KeyModifiers::ALT;
                Front::Whole(length + 1, Some(Pressed::Key(pressed)))
            }
            Front::Whole(length, other) => Front::Whole(length + 1, other),
            other => other,
        },
        _ => character(bytes, late),
    }
}

fn character(bytes: &[u8], late: bool) -> Front {
    let control = |c: u8| key(KeyCode::Char(c.into()), KeyModifiers::CONTROL);
    let plain = |code| key(code, KeyModifiers::NONE);
    let pressed = match bytes[0] {
        b'\r' => plain(KeyCode::Enter),
        b'\t' => plain(KeyCode::Tab),
        0x7f => plain(KeyCode::Backspace),
        0 => control(b' '),
        byte @ 0x01..=0x1a => control(byte - 1 + b'a'),
        byte @ 0x1b..=0x1f => control(byte - 0x1c + b'4'),
        byte @ b' '..=b'~' => letter(byte.into()),
        byte => {
            let length = match byte {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                0xf0..=0xf4 => 4,
                _ => return Front::Whole(1, None),
            };
            return match bytes.get(..length) {
                Some(whole) => match std::str::from_utf8(whole) {
                    Ok(text) => Front::Whole(length, text.chars().next().and_then(letter)),
                    Err(_) => Front::Whole(1, None),
                },
                None if late => Front::Whole(1, None),
                None => Front::Incomplete,
            };
        }
    };
    Front::Whole(1, pressed)
}

fn letter(c: char) -> Option<Pressed> {
    key(KeyCode::Char(c), if c.is_uppercase() { KeyModifiers::SHIFT } else { KeyModifiers::NONE })
}

/// `CSI`, numbers, a letter (ECMA-48 5.4).
fn control_sequence(bytes: &[u8], late: bool) -> Front {
    // The Linux console's function keys have another bracket, which is no end.
    let from = if bytes.get(2) == Some(&b'[') { 3 } else { 2 };
    let rest = bytes.get(from..).unwrap_or_default();
    let end = rest.iter().position(|byte| !(0x20..=0x3f).contains(byte));
    let Some(end) = end.map(|end| end + from) else {
        return match late || bytes.len() > SEQUENCE {
            true => Front::Whole(bytes.len(), None),
            false => Front::Incomplete,
        };
    };
    let (parameters, last) = (&bytes[2..end], bytes[end]);
    if !(0x40..=0x7e).contains(&last) {
        // It was broken off: what comes now is something else.
        return Front::Whole(end, None);
    }
    let length = end + 1;
    if bytes.starts_with(BEGIN) {
        return Front::Paste(length);
    }
    if last == b'M' && parameters.is_empty() {
        // The old encoding of the mouse, which was not asked for: three bytes follow.
        return if bytes.len() >= 6 || late {
            Front::Whole(bytes.len().min(6), None)
        } else {
            Front::Incomplete
        };
    }
    Front::Whole(length, meaning(parameters, last))
}

fn meaning(parameters: &[u8], last: u8) -> Option<Pressed> {
    let text = std::str::from_utf8(parameters).ok().filter(|text| !text.starts_with('['))?;
    if let Some(mouse) = text.strip_prefix('<') {
        let button: u16 = mouse.split(';').next()?.parse().ok()?;
        // Shift, Alt and Ctrl are bits of it.
        return match (button & !0x1c, last) {
            (64, b'M') => Some(Pressed::Wheel(true)),
            (65, b'M') => Some(Pressed::Wheel(false)),
            _ => None,
        };
    }
    let number = |at: usize| {
        let part = text.split(';').nth(at)?;
        part.split(':').next()?.parse::<u32>().ok()
    };
    let held = modifiers(number(1));
    match last {
        b'I' if text.is_empty() => Some(Pressed::Focus(true)),
        b'O' if text.is_empty() => Some(Pressed::Focus(false)),
        b'~' => match number(0)? {
            1 | 7 => key(KeyCode::Home, held),
            2 => key(KeyCode::Insert, held),
            3 => key(KeyCode::Delete, held),
            4 | 8 => key(KeyCode::End, held),
            5 => key(KeyCode::PageUp, held),
            6 => key(KeyCode::PageDown, held),
            27 => coded(number(2)?, held),
            _ => None,
        },
        b'u' => coded(number(0)?, held),
        b'Z' => key(KeyCode::BackTab, held | KeyModifiers::SHIFT),
        letter => letter_key(letter, held),
    }
}

/// A key by its letter in a sequence.
fn letter_key(letter: u8, held: KeyModifiers) -> Option<Pressed> {
    let code = match letter {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'F' => KeyCode::End,
        b'H' => KeyCode::Home,
        b'M' => KeyCode::Enter,
        _ => return None,
    };
    key(code, held)
}

/// A key by its character's number, as some terminals tell keys with modifiers.
fn coded(number: u32, held: KeyModifiers) -> Option<Pressed> {
    let code = match number {
        13 => KeyCode::Enter,
        9 => KeyCode::Tab,
        27 => KeyCode::Esc,
        8 | 127 => KeyCode::Backspace,
        number => KeyCode::Char(char::from_u32(number).filter(|c| !c.is_control())?),
    };
    key(code, held)
}

/// xterm's number for what is held: 1 and bits.
fn modifiers(number: Option<u32>) -> KeyModifiers {
    let bits = number.unwrap_or(1).saturating_sub(1);
    let mut held = KeyModifiers::NONE;
    held.set(KeyModifiers::SHIFT, bits & 1 != 0);
    held.set(KeyModifiers::ALT, bits & 2 != 0);
    held.set(KeyModifiers::CONTROL, bits & 4 != 0);
    held
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Moment {
        Moment::from_micros(1_000_000 + millis * 1_000)
    }

    fn all(keyboard: &mut Keyboard) -> Vec<Pressed> {
        std::iter::from_fn(|| keyboard.poll()).collect()
    }

    fn pressed(bytes: &[u8]) -> Vec<Pressed> {
        let mut keyboard = Keyboard::default();
        keyboard.push(bytes, at(0));
        all(&mut keyboard)
    }

    fn one(code: KeyCode, modifiers: KeyModifiers) -> Vec<Pressed> {
        vec![Pressed::Key(KeyEvent::new(code, modifiers))]
    }

    #[test]
    fn keys_are_what_terminals_send_for_them() {
        let (none, control, alt, shift) =
            (KeyModifiers::NONE, KeyModifiers::CONTROL, KeyModifiers::ALT, KeyModifiers::SHIFT);
        for (bytes, code, modifiers) in [
            (&b"a"[..], KeyCode::Char('a'), none),
            (b"A", KeyCode::Char('A'), shift),
            ("汉".as_bytes(), KeyCode::Char('汉'), none),
            (b"\r", KeyCode::Enter, none),
            (b"\n", KeyCode::Char('j'), control),
            (b"\x7f", KeyCode::Backspace, none),
            (b"\x03", KeyCode::Char('c'), control),
            (b"\x1b\r", KeyCode::Enter, alt),
            (b"\x1bb", KeyCode::Char('b'), alt),
            ("\x1bä".as_bytes(), KeyCode::Char('ä'), alt),
            (b"\x1b\x7f", KeyCode::Backspace, alt),
            (b"\x1b[A", KeyCode::Up, none),
            (b"\x1bOA", KeyCode::Up, none),
            (b"\x1b[1;5C", KeyCode::Right, control),
            (b"\x1b[1;3D", KeyCode::Left, alt),
            (b"\x1b[5~", KeyCode::PageUp, none),
            (b"\x1b[3;5~", KeyCode::Delete, control),
            (b"\x1b[Z", KeyCode::BackTab, shift),
            (b"\x1b[13;2u", KeyCode::Enter, shift),
            (b"\x1b[27;5;99~", KeyCode::Char('c'), control),
        ] {
            assert_eq!(pressed(bytes), one(code, modifiers), "{}", bytes.escape_ascii());
        }
        assert_eq!(pressed(b"\x1b[<64;3;4M\x1b[<65;3;4M"), [Pressed::Wheel(true), Pressed::Wheel(false)]);
        assert_eq!(pressed(b"\x1b[<0;3;4M\x1b[<0;3;4m\x1b[[A\x1b[M !!"), []);
        assert_eq!(pressed(b"\x1b[O\x1b[I"), [Pressed::Focus(false), Pressed::Focus(true)]);
    }

    #[test]
    fn what_comes_in_pieces_is_one_key() {
        for bytes in [&b"\x1b[1;5C"[..], "汉".as_bytes(), b"\x1b[200~x\x1b[201~", b"\x1bOA"] {
            let mut keyboard = Keyboard::default();
            for byte in bytes {
                assert_eq!(keyboard.poll(), None);
                keyboard.push(&[*byte], at(0));
            }
            assert_eq!(all(&mut keyboard), pressed(bytes));
            assert_eq!(keyboard.poll_timeout(), None);
        }
    }

    #[test]
    fn escape_alone_is_a_key_and_what_does_not_go_on_is_none() {
        let mut keyboard = Keyboard::default();
        keyboard.push(b"\x1b", at(0));
        keyboard.handle_time(at(49));
        assert_eq!(keyboard.poll(), None);
        keyboard.handle_time(keyboard.poll_timeout().unwrap());
        assert_eq!(all(&mut keyboard), one(KeyCode::Esc, KeyModifiers::NONE));
        for broken in [&b"\x1b["[..], b"\x1b[1;", b"\xe6\xb1", b"\x1b[\xff"] {
            keyboard.push(broken, at(0));
            keyboard.push(b"x", at(100));
            assert_eq!(all(&mut keyboard), one(KeyCode::Char('x'), KeyModifiers::NONE));
        }
    }

    #[test]
    fn t07_a_paste_without_an_end_ends_by_itself_and_takes_no_keys_with_it() {
        let mut keyboard = Keyboard::default();
        keyboard.push(b"\x1b[200~evil\r\x1b[20", at(0));
        assert_eq!(keyboard.poll(), None);
        keyboard.push(b"\x03", at(2_500));
        let control_c = Pressed::Key(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert_eq!(all(&mut keyboard), [Pressed::Paste("evil\r\u{1b}[20".into()), control_c]);
        // The rest of it that comes late is still no typing.
        keyboard.push(b"more\r/quit\r", at(3_000));
        keyboard.push(b"\x1b[201~", at(3_010));
        assert_eq!(all(&mut keyboard), [Pressed::Paste("more\r/quit\r".into())]);
        keyboard.push(b"ok", at(3_020));
        assert_eq!(all(&mut keyboard).len(), 2);
    }

    #[test]
    fn t07_a_paste_takes_bounded_memory() {
        let mut keyboard = Keyboard::default();
        keyboard.push(b"\x1b[200~", at(0));
        (0..1_000).for_each(|_| keyboard.push(&[b'x'; 4096], at(0)));
        assert!(keyboard.paste.as_ref().unwrap().0.len() <= PASTE && keyboard.bytes.len() < 8);
        keyboard.push(END, at(0));
        assert_eq!(all(&mut keyboard), [Pressed::TooMuch(4_096_000)]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_later_key_disappear(pieces in prop::collection::vec("[\x1b\\[O200~1;<Mmu\r\u{e9}汉]{0,12}", 0..12)) {
            let mut keyboard = Keyboard::default();
            pieces.iter().for_each(|piece| keyboard.push(piece.as_bytes(), at(0)));
            keyboard.handle_time(at(5_000));
            all(&mut keyboard);
            keyboard.push(b"\x03", at(5_001));
            prop_assert_eq!(all(&mut keyboard), one(KeyCode::Char('c'), KeyModifiers::CONTROL));
        }
    }
}
