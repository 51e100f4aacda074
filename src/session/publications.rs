//! What a program publishes, across connections.
//!
//! A publication keeps, for the program, the track number that it got first. When the server has lost
//! the session (it was restarted) the track gets another number on the wire, and headers are rewritten
//! on their way out. After every interruption nothing of a rendition goes out until a keyframe, since
//! what it refers to may not have arrived.

use std::collections::BTreeMap;

use crate::id::TrackId;
use crate::wire::control::{Publish, Source};
use crate::wire::{Frame, Kind, Rendition};

/// Numbers that the program sees where the server's number is taken already; the server counts from 1.
const OWN_NUMBERS: u32 = 0x8000_0000;

#[derive(Debug)]
struct Publication {
    source: Source,
    /// The number that the program uses.
    outer: Option<TrackId>,
    /// The number on the wire, while the server knows the track.
    wire: Option<TrackId>,
    /// The server has not yet answered to `source`.
    open: bool,
    /// Renditions that were sent, and whether each waits for a keyframe.
    renditions: BTreeMap<Rendition, bool>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Publications {
    all: BTreeMap<u64, Publication>,
}

impl Publications {
    /// A publication is wanted, or one that is there has changed: that keeps its track, and what is sent goes on.
    pub(super) fn add(&mut self, publish: Publish) {
        let Publish { id, source } = publish;
        let publication = self.all.entry(id).or_insert_with(|| Publication {
            source: source.clone(),
            outer: None,
            wire: None,
            open: true,
            renditions: BTreeMap::new(),
        });
        publication.source = source;
        publication.open = true;
    }

    /// A publication ends: the number of its track on the wire, where it has one.
    pub(super) fn remove(&mut self, track: TrackId) -> Option<TrackId> {
        let (&id, _) = self.all.iter().find(|(_, p)| p.outer == Some(track))?;
        self.all.remove(&id)?.wire
    }

    /// A request to publish was refused.
    pub(super) fn refuse(&mut self, id: u64) {
        self.all.remove(&id);
    }

    /// The server answered request `id` with `track`: the number for the program, if it has none yet.
    pub(super) fn accept(&mut self, id: u64, track: TrackId) -> Option<TrackId> {
        let taken = |number| self.all.values().any(|p| p.outer == Some(number));
        let outer = match taken(track) {
            false => track,
            true => TrackId((OWN_NUMBERS..).find(|&n| !taken(TrackId(n)))?),
        };
        let publication = self.all.get_mut(&id)?;
        publication.wire = Some(track);
        publication.open = false;
        match publication.outer {
            Some(_) => None,
            None => {
                publication.outer = Some(outer);
                Some(outer)
            }
        }
    }

    /// The connection broke, or the server asks for a fresh start.
    pub(super) fn interrupt(&mut self) {
        for rendition in self.all.values_mut().flat_map(|p| p.renditions.values_mut()) {
            *rendition = true;
        }
    }

    /// The server knows nothing of the session any more.
    pub(super) fn forget(&mut self) {
        for publication in self.all.values_mut() {
            publication.wire = None;
            publication.open = true;
        }
    }

    /// What has to be asked for, again or for the first time.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Publish> + '_ {
        let open = self.all.iter().filter(|(_, p)| p.open);
        open.map(|(&id, p)| Publish { id, source: p.source.clone() })
    }

    /// Every rendition of a track that the server knows which waits for a keyframe, by the program's
    /// numbers; of one request or of all.
    pub(super) fn waiting(&self, id: Option<u64>) -> Vec<(TrackId, Rendition)> {
        self.all
            .iter()
            .filter(|(own, p)| id.is_none_or(|id| **own == id) && p.wire.is_some())
            .filter_map(|(_, p)| p.outer.map(|outer| (outer, p)))
            .flat_map(|(outer, p)| p.renditions.iter().filter(|(_, w)| **w).map(move |(r, _)| (outer, *r)))
            .collect()
    }

    /// The program's number of a track on the wire.
    pub(super) fn outer(&self, wire: TrackId) -> Option<TrackId> {
        self.all.values().find(|p| p.wire == Some(wire))?.outer
    }

    /// A media frame as it goes out, or nothing where it must not.
    pub(super) fn prepare(&mut self, frame: Frame) -> Option<Frame> {
        let media = frame.header.media?;
        let publication = self.all.values_mut().find(|p| p.outer == Some(media.track))?;
        let wire = publication.wire?;
        // Sound can be joined anywhere.
        let waits = publication.renditions.entry(media.rendition).or_insert(frame.header.kind == Kind::Video);
        if *waits && !media.key {
            return None;
        }
        *waits = false;
        match wire == media.track {
            true => Some(frame),
            false => Some(frame.with_media(crate::wire::Media { track: wire, ..media })),
        }
    }

    /// A media frame that [`Self::prepare`] had let through did not go out: the pictures after it must
    /// wait for a keyframe.
    pub(super) fn lost(&mut self, frame: &Frame) {
        let Some(media) = frame.header.media else { return };
        let publication = self.all.values_mut().find(|p| p.outer == Some(media.track));
        if let Some(waits) = publication.and_then(|p| p.renditions.get_mut(&media.rendition)) {
            *waits |= frame.header.kind == Kind::Video;
        }
    }
}
