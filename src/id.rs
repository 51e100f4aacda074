//! Names and numbers by which things are known, each validated once, where it comes in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use unicode_normalization::UnicodeNormalization;

use crate::{limits, text};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A person in a room; given by the server, counted from 1 in each room.
    MemberId(u32)
}
number! {
    /// One program's membership of a room; given by the server, counted from 1 in each room.
    SessionId(u32)
}
number! {
    /// One published source; given by the server, counted from 1 in each room, never used again.
    TrackId(u32)
}
number! {
    /// Something that a member has put before the room; given by the server, counted from 1 in each room,
    /// never used again.
    OfferNumber(u32)
}
number! {
    /// One TCP connection, counted from 1 since the server started.
    ConnectionId(u64)
}

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left of it.
    #[error("the {0} is empty")]
    Empty(&'static str),
    /// More characters than allowed.
    #[error("the {0} has more than {1} characters")]
    Long(&'static str, usize),
    /// A character that could fool a reader or a terminal.
    #[error("the {0} contains U+{1:04X}, which names cannot contain")]
    Character(&'static str, u32),
    /// A name that means a place in a file system.
    #[error("the room cannot be called '.' or '..'")]
    Dots,
}

/// A room's name: 1 to 64 characters in NFC, no control or direction-changing characters, no `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(String);

impl RoomName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RoomName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = checked(text, "room name", limits::ROOM)?;
        if name == "." || name == ".." {
            return Err(NameError::Dots);
        }
        match name.find('/') {
            Some(_) => Err(NameError::Character("room name", '/' as u32)),
            None => Ok(Self(name)),
        }
    }
}

/// A person's name as shown to the others: 1 to 64 characters in NFC, no control or
/// direction-changing characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Nick(String);

impl Nick {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same name with `#n` behind it, shortened where it would become too long.
    pub fn numbered(&self, n: usize) -> Self {
        let suffix = format!("#{n}");
        let keep = limits::NAME - suffix.len();
        Self(self.0.chars().take(keep).collect::<String>() + &suffix)
    }
}

impl FromStr for Nick {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked(text, "name", limits::NAME).map(Self)
    }
}

/// Trimmed, in NFC, judged against `limit` characters and the characters that names cannot contain.
fn checked(text: &str, what: &'static str, limit: usize) -> Result<String, NameError> {
    // Normalising first would let a megabyte of combining marks through the normaliser.
    if text.chars().take(limit * 4 + 1).count() > limit * 4 {
        return Err(NameError::Long(what, limit));
    }
    let name: String = text.trim().nfc().collect();
    if name.is_empty() {
        return Err(NameError::Empty(what));
    }
    if name.chars().count() > limit {
        return Err(NameError::Long(what, limit));
    }
    let clean = text::scrub(&name, limit);
    match name.chars().zip(clean.chars().chain(std::iter::repeat('\0'))).find(|(a, b)| a != b) {
        Some((bad, _)) => Err(NameError::Character(what, bad as u32)),
        None => Ok(name),
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

text_conversions!(RoomName, Nick);

/// 16 or 32 random bytes that prove something by being known; shown as hex on the wire, never in a
/// log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Secret<const N: usize>(pub [u8; N]);

/// What a client shows to take up its session again.
pub type ResumeToken = Secret<16>;

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<const N: usize> Secret<N> {
    /// As hex digits.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }
}

impl<const N: usize> FromStr for Secret<N> {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        unhex(text.as_bytes()).map(Self).ok_or(())
    }
}

impl<const N: usize> Serialize for Secret<N> {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(&self.hex())
    }
}

impl<'de, const N: usize> Deserialize<'de> for Secret<N> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|()| serde::de::Error::custom(format!("expected {} hex digits", N * 2)))
    }
}

macro_rules! digits {
    ($(#[$doc:meta])* $name:ident($len:literal)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = DigitsError;

            fn from_str(text: &str) -> Result<Self, DigitsError> {
                unhex(text.as_bytes()).map(Self).ok_or(DigitsError(2 * $len))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digits! {
    /// An Ed25519 public key, by which a person is known; hex on the wire.
    PublicKey(32)
}
digits! {
    /// One room's log of messages; made at random with the room, so that a log that begins anew is
    /// not taken for the old one.
    LogId(8)
}
digits! {
    /// The outbox that a message comes from; chosen at random by its sender.
    SourceId(16)
}

digits! {
    /// What a member has put before the room, as its sender calls it; chosen at random.
    OfferId(16)
}

/// A text that is not exactly the expected number of hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {0} hex digits")]
pub struct DigitsError(pub usize);

impl PublicKey {
    /// What people compare: the first 16 hex digits in groups of four.
    pub fn fingerprint(&self) -> String {
        let groups: Vec<String> = self.0[..8].chunks(2).map(hex).collect();
        groups.join("-")
    }
}

/// Lower-case hex digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

/// The bytes that exactly `2 * N` hex digits of either case stand for.
pub fn unhex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high * 16 + low) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s07_names_that_could_fool_a_reader_are_refused() {
        for bad in ["", "  ", "a\u{202e}b", "a\u{7}", "\u{9b}31m", "a\nb", "zero\u{200b}width"] {
            assert!(bad.parse::<Nick>().is_err(), "{bad:?}");
            assert!(bad.parse::<RoomName>().is_err(), "{bad:?}");
        }
        assert!(format!("e{}", "\u{301}".repeat(10_000)).parse::<Nick>().is_err());
        assert!("../etc".parse::<RoomName>().is_err());
        assert!("..".parse::<RoomName>().is_err());
    }

    #[test]
    fn s07_names_in_any_script_are_accepted_in_nfc() {
        for good in ["王小明", "Zoë", "аdmin", "👩‍👩‍👧", "مريم", "a b"] {
            assert_eq!(good.parse::<Nick>().unwrap().as_str(), good);
        }
        assert_eq!("Zoe\u{308}".parse::<Nick>().unwrap().as_str(), "Zoë");
    }

    #[test]
    fn a_numbered_name_stays_within_the_limit() {
        let long: Nick = "x".repeat(limits::NAME).parse().unwrap();
        assert_eq!(long.numbered(12).as_str().len(), limits::NAME);
        assert!(long.numbered(12).as_str().ends_with("#12"));
    }

    #[test]
    fn a_key_is_hex_on_the_wire_and_a_fingerprint_for_people() {
        let text = format!("3f2a99c107be44d0{}", "0".repeat(48));
        let key: PublicKey = text.parse().unwrap();
        assert_eq!(key.fingerprint(), "3f2a-99c1-07be-44d0");
        assert_eq!(serde_json::to_string(&key).unwrap(), format!("\"{text}\""));
        assert_eq!(serde_json::from_str::<PublicKey>(&format!("\"{text}\"")).unwrap(), key);
        assert_eq!("abc".parse::<LogId>(), Err(DigitsError(16)));
        assert_eq!(format!("{:?}", SourceId([7; 16])), format!("SourceId({})", "07".repeat(16)));
    }

    #[test]
    fn hex_reads_what_it_writes_in_either_case() {
        assert_eq!(unhex::<3>(b"00fFa9"), Some([0, 255, 0xa9]));
        assert_eq!(hex(&[0, 255, 0xa9]), "00ffa9");
        assert_eq!(unhex::<3>(b"00ff"), None);
        assert_eq!(unhex::<1>(b"+1"), None);
    }
}
