//! Lists that travel in pieces, as JSON: that of the files, and that of their sums.
//!
//! A list is read with bounds: what does not fit is counted as too much and not kept, however it is nested.

use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::Error;
use crate::limits;

/// What is around a piece, so that the rest of it fits: `{"files":[` and `],"more":true}`.
const FRAME: usize = 32;

/// At most `N` items of a JSON array.
#[derive(Debug, Clone)]
pub(super) struct Few<T, const N: usize> {
    pub(super) items: Vec<T>,
    /// There were more.
    pub(super) more: bool,
}

impl<T, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Self { items: Vec::new(), more: false }
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for Few<T, N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Items<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Items<T, N> {
            type Value = Few<T, N>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Few<T, N>, A::Error> {
                let mut few = Few::default();
                while few.items.len() < N {
                    let Some(item) = from.next_element()? else { return Ok(few) };
                    few.items.push(item);
                }
                while from.next_element::<IgnoredAny>()?.is_some() {
                    few.more = true;
                }
                Ok(few)
            }
        }

        from.deserialize_seq(Items(PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct Piece<T> {
    files: Few<T, { limits::ENTRIES }>,
    #[serde(default)]
    more: bool,
}

/// The items of a whole list, at most [`limits::ENTRIES`].
pub(super) fn read<T>(pieces: &[impl AsRef<[u8]>]) -> Result<Vec<T>, Error>
where
    T: for<'de> Deserialize<'de>,
{
    if pieces.len() > limits::PIECES as usize
        || pieces.iter().any(|piece| piece.as_ref().len() > limits::PIECE)
    {
        return Err(Error::Long);
    }
    let mut items = Vec::new();
    for (place, piece) in pieces.iter().enumerate() {
        let piece: Piece<T> =
            serde_json::from_slice(piece.as_ref()).map_err(|error| Error::Garbled(error.to_string()))?;
        if piece.more != (place + 1 < pieces.len()) {
            return Err(Error::Torn);
        }
        if piece.files.more || items.len() + piece.files.items.len() > limits::ENTRIES {
            return Err(Error::Entries);
        }
        items.extend(piece.files.items);
    }
    if pieces.is_empty() { Err(Error::Torn) } else { Ok(items) }
}

/// Whether `piece` is the last of its list; an error where it is no piece of a list.
pub fn is_last(piece: &[u8]) -> Result<bool, Error> {
    #[derive(Deserialize)]
    struct More {
        #[serde(default)]
        more: bool,
    }
    if piece.len() > limits::PIECE {
        return Err(Error::Long);
    }
    let more: More = serde_json::from_slice(piece).map_err(|error| Error::Garbled(error.to_string()))?;
    Ok(!more.more)
}

/// The pieces in which `items` travel: at least one.
pub(super) fn write<T: Serialize>(items: impl IntoIterator<Item = T>) -> Result<Vec<Bytes>, Error> {
    let mut pieces = Vec::new();
    let mut piece = begun();
    for item in items {
        let item = serde_json::to_vec(&item).expect("strings and numbers are always JSON");
        let first = piece.len() == begun().len();
        if !first && piece.len() + item.len() + FRAME > limits::PIECE {
            piece.extend_from_slice(b"],\"more\":true}");
            pieces.push(Bytes::from(std::mem::replace(&mut piece, begun())));
        } else if !first {
            piece.push(b',');
        }
        piece.extend_from_slice(&item);
    }
    piece.extend_from_slice(b"]}");
    pieces.push(Bytes::from(piece));
    let fits =
        pieces.len() <= limits::PIECES as usize && pieces.iter().all(|piece| piece.len() <= limits::PIECE);
    if fits { Ok(pieces) } else { Err(Error::Long) }
}

fn begun() -> Vec<u8> {
    b"{\"files\":[".to_vec()
}
