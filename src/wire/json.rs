//! Strict JSON: what the headers of hostile peers are checked with before anything else.
//!
//! `serde_json` alone takes the last of two equal keys and nests 128 deep; two readers that disagree
//! about a header are a hole, so equal keys, deep nesting and too many keys are errors here.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::limits;

/// Accepts any JSON value and keeps nothing of it.
pub(super) struct Checked {
    /// Levels that may still be opened.
    pub(super) depth: usize,
}

impl<'de> DeserializeSeed<'de> for Checked {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| A::Error::custom("nested too deep"))?;
        while items.next_element_seed(Self { depth })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| A::Error::custom("nested too deep"))?;
        let mut keys = Keys::default();
        while let Some(Text(key)) = map.next_key()? {
            keys.add(key)?;
            map.next_value_seed(Self { depth })?;
        }
        Ok(())
    }
}

/// A string that is borrowed from the input where it has no escapes, which is nearly always: the relay
/// reads every header, and five allocations for its keys would be half of the work.
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Borrowing;

        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        from.deserialize_str(Borrowing)
    }
}

/// The keys of one object, to find the second of a kind.
pub(super) struct Keys<'de>(Vec<Cow<'de, str>>);

impl Default for Keys<'_> {
    fn default() -> Self {
        // A media header has ten keys.
        Self(Vec::with_capacity(12))
    }
}

impl<'de> Keys<'de> {
    /// Notes `key`; an error when it was there before or there are too many.
    pub(super) fn add<E: serde::de::Error>(&mut self, key: Cow<'de, str>) -> Result<(), E> {
        if self.0.len() == limits::HEADER_KEYS {
            return Err(E::custom(format_args!("more than {} keys", limits::HEADER_KEYS)));
        }
        if self.0.contains(&key) {
            return Err(E::custom("the same key twice"));
        }
        self.0.push(key);
        Ok(())
    }
}
