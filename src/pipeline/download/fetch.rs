//! Pieces of an offer that come all or not at all: its manifest and its sums.

use std::time::Duration;

use bytes::Bytes;

use super::patience::{Patience, Side};
use super::{Error, Happened, Room};
use crate::id::OfferId;
use crate::pipeline::offers::Change;
use crate::transfer::is_last;
use crate::wire::{Code, Part};
use crate::{limits, time, transfer};

/// How long an offer may be missing after the server came back: as long as its sender needs to come back, too.
pub(super) const MISSING: Duration = limits::ROOM_GRACE;

/// Fetches a list. The sums are there when the offer is complete; until then this waits.
pub async fn fetch_list(room: &mut Room, id: OfferId, part: Part) -> Result<Vec<Bytes>, Error> {
    loop {
        present(room, id).await?;
        match attempt(room, id, part).await {
            Ok(Some(pieces)) => return Ok(pieces),
            Ok(None) => {}
            Err(error) => return Err(reason(room, id, error).await),
        }
    }
}

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// How long the reason may come behind the answer that an offer is gone.
const REASON: Duration = Duration::from_secs(2);

/// An error, or why the offer is gone that the server does not know any more: what was asked for is answered first.
pub(super) async fn reason(room: &mut Room, id: OfferId, error: Error) -> Error {
    if !matches!(&error, Error::Refused(refusal) if refusal.code == Code::Offer) {
        return error;
    }
    if let Some(gone) = room.gone(id) {
        return gone;
    }
    let search = async {
        loop {
            match room.next().await {
                Ok(Happened::Offers(Change::Gone { offer, number, reason })) if offer == id => {
                    return Some(Error::Gone { number, reason });
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    };
    tokio::time::timeout(REASON, search).await.ok().flatten().unwrap_or(error)
}

/// Waits until the offer is there: on a connection, and told.
pub(super) async fn present(room: &mut Room, id: OfferId) -> Result<(), Error> {
    let search = async {
        loop {
            room.listed().await?;
            if room.offer(id).is_some() {
                return Ok(());
            }
            if let Some(gone) = room.gone(id) {
                return Err(gone);
            }
            room.next().await?;
        }
    };
    match tokio::time::timeout(MISSING, search).await {
        Ok(found) => found,
        Err(_) if room.is_up() => Err(Error::Missing),
        // Without a connection the session decides when to give up.
        Err(_) => Box::pin(present(room, id)).await,
    }
}

/// Nothing where the connection broke meanwhile.
async fn attempt(room: &mut Room, id: OfferId, part: Part) -> Result<Option<Vec<Bytes>>, Error> {
    let Some(number) = room.offer(id).map(|offer| offer.state.offer) else { return Ok(None) };
    let request = room.fetch(number, part, vec![(0, None)]).await;
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut patience = Patience::new(time::now());
    let mut clock = tokio::time::interval(TICK);
    loop {
        let happened = tokio::select! {
            biased;
            happened = room.next() => happened?,
            _ = clock.tick() => {
                // Until the offer is complete, it comes when its sender has sent it.
                let sealed = room.offer(id).is_some_and(|offer| offer.state.sealed);
                patience.look(if sealed { Side::Server } else { Side::Nobody }, time::now())?;
                continue;
            }
        };
        match happened {
            Happened::Up | Happened::Down(_) => return Ok(None),
            Happened::Piece(frame) => {
                let Some(piece) =
                    frame.header.piece.filter(|piece| (piece.offer, piece.part) == (number, part))
                else {
                    continue;
                };
                if piece.index as usize != pieces.len() || pieces.len() == limits::PIECES as usize {
                    return Err(transfer::Error::Torn.into());
                }
                pieces.push(frame.payload_bytes());
                patience.handle_progress(time::now());
            }
            Happened::Done(done) if done == request => {
                return match pieces.last().map(|piece| is_last(piece)) {
                    Some(Ok(true)) => Ok(Some(pieces)),
                    Some(Err(error)) => Err(error.into()),
                    _ => Err(transfer::Error::Torn.into()),
                };
            }
            Happened::Refused(refusal) if refusal.id == Some(request) => return Err(Error::Refused(refusal)),
            Happened::Offers(Change::Gone { offer, number, reason }) if offer == id => {
                return Err(Error::Gone { number, reason });
            }
            _ => {}
        }
    }
}
