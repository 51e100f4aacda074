//! What waits in memory for one receiving connection.
//!
//! Bounded by [`limits::QUEUE`] bytes, of which at most [`limits::QUEUE_RELIABLE`] may be control frames
//! and messages, and for pictures also by age. The drop rule, by the age of the oldest waiting picture
//! (docs/protocol.md section 7):
//!
//! | age | what happens |
//! |---|---|
//! | 60 ms | pictures of layer 2 are dropped |
//! | 120 ms | pictures of layers 1 and 2 are dropped |
//! | 250 ms, or the byte limit | all waiting pictures are dropped; nothing more until the connection has taken what is left, and then from a keyframe on |
//!
//! A keyframe makes the older waiting pictures of its rendition worthless, so it takes their place.
//!
//! Invariant: no receiver is ever sent a picture whose reference it was not sent. A frame of which a
//! byte has been written is always written to its end. Control frames and messages are never dropped;
//! when they exceed their bound the queue says [`Overflow`] and the connection must be closed.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;
use tinyvec::TinyVec;

use super::Gop;
use crate::id::TrackId;
use crate::limits;
use crate::time::Moment;
use crate::wire::{Media, Rendition};

/// One encoding of one track.
pub type Flow = (TrackId, Rendition);

/// Too much waits that must not be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver does not keep up with control frames")]
pub struct Overflow;

/// Pictures that were not sent, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// Of an upper temporal layer, because older pictures wait too long.
    pub layer: u64,
    /// Of a group of pictures that was given up.
    pub group: u64,
    /// Before the keyframe with which the receiver can begin.
    pub no_key: u64,
}

/// Frames for one connection, in the order in which they will be written.
///
/// What a picture for an idle connection needs comes first, so that it lies together in memory.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Queue {
    /// Pictures were given up and the connection has not taken the rest yet.
    choked: bool,
    /// Of all items, with what has been written of the first.
    bytes: usize,
    /// Bytes that have been written in all.
    sent: u64,
    /// The first has its place here, for where one picture goes to hundreds it is the only one.
    flows: TinyVec<[Gateway; 1]>,
    items: VecDeque<Item>,
    /// Bytes of the first item that have been written.
    written: usize,
    reliable: usize,
    /// Tracks that the receiver wants; frames of others are refused, for a sender may still have an older
    /// list of receivers in its hands.
    tracks: Vec<TrackId>,
    /// When a byte was last written, or the queue last became non-empty.
    progress: Moment,
    drops: Drops,
}

#[derive(Debug)]
struct Item {
    bytes: Bytes,
    /// `None` for what is never dropped.
    media: Option<Media>,
    since: Moment,
}

/// How far a flow has come, and how it goes on; what every picture needs comes first.
#[derive(Debug)]
#[repr(C)]
struct Gateway {
    flow: Flow,
    gate: Gate,
    /// The last picture that was admitted and has not been given up since.
    last: u64,
    /// The keyframe of the group of pictures of which the receiver has all of layer 0 up to `last`.
    group: Option<u64>,
    /// When the group of pictures was last replayed from its keyframe.
    replayed: Option<Moment>,
}

impl Default for Gateway {
    /// What stands in the place of one that is not there.
    fn default() -> Self {
        Self { flow: (TrackId(0), Rendition::High), gate: Gate::Key, last: 0, group: None, replayed: None }
    }
}

impl Gateway {
    /// Whether picture `seq` was admitted, or an earlier one after it. A closed flow begins again with any
    /// keyframe save that of its group: after an interruption its publisher may count anew.
    fn has_taken(&self, seq: u64) -> bool {
        match self.gate {
            Gate::Layers(_) => seq <= self.last,
            Gate::Key => self.group == Some(seq),
        }
    }
}

/// What of a flow may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gate {
    /// Nothing before the next keyframe.
    Key,
    /// Up to this layer, until the next picture of layer 0.
    Layers(u8),
}

const ALL_LAYERS: Gate = Gate::Layers(2);

impl Drops {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.layer + self.group + self.no_key
    }
}

impl Queue {
    /// An empty queue.
    pub fn new(now: Moment) -> Self {
        Self { progress: now, ..Self::default() }
    }

    /// Adds a frame that is never dropped.
    pub fn push_reliable(&mut self, bytes: Bytes, now: Moment) -> Result<(), Overflow> {
        if self.reliable + bytes.len() > limits::QUEUE_RELIABLE {
            return Err(Overflow);
        }
        self.reliable += bytes.len();
        self.push(Item { bytes, media: None, since: now }, now);
        Ok(())
    }

    /// Adds the last frame of the connection, for which there is always room: it says why it ends.
    pub fn push_last(&mut self, bytes: Bytes, now: Moment) {
        self.reliable += bytes.len();
        self.push(Item { bytes, media: None, since: now }, now);
    }

    /// Adds a frame of a type that this version does not know, where little waits; whether it did.
    pub fn push_optional(&mut self, bytes: Bytes, now: Moment) -> bool {
        let room = self.bytes + bytes.len() <= limits::QUEUE_RELIABLE / 4;
        room && self.push_reliable(bytes, now).is_ok()
    }

    /// Adds a media frame, or drops it, or drops others for it. Whether it was added.
    pub fn push_media(&mut self, media: &Media, bytes: &Bytes, now: Moment) -> bool {
        let admitted = self.admit_media(media, bytes.len(), now);
        if admitted {
            self.append_media(media, bytes, 0, now);
        }
        admitted
    }

    /// Decides about a media frame of `size` bytes, and drops others for it. When it says yes, the frame
    /// must be written whole ([`Self::passed`]) or appended ([`Self::append_media`]) before anything
    /// else is asked of the queue.
    pub fn admit_media(&mut self, media: &Media, size: usize, now: Moment) -> bool {
        let flow = (media.track, media.rendition);
        if !self.is_empty() {
            self.relieve(now);
            if media.key && !self.choked && !self.has_taken(flow, media.seq) {
                self.supersede(flow);
            }
            if self.bytes + size > limits::QUEUE && !self.items.is_empty() {
                self.give_up();
            }
        }
        self.admits(flow, media)
    }

    /// Adds a frame that was admitted, of which `written` bytes have been written already (only where
    /// nothing waits before it).
    pub fn append_media(&mut self, media: &Media, bytes: &Bytes, written: usize, now: Moment) {
        debug_assert!(written == 0 || self.items.is_empty(), "bytes leave in order");
        self.push(Item { bytes: bytes.clone(), media: Some(*media), since: now }, now);
        self.wrote(written, now);
    }

    /// A frame of `size` bytes has been written past the empty queue.
    pub fn passed(&mut self, size: usize) {
        self.sent += size as u64;
    }

    /// Bytes that have been written in all.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The bytes to write next, in order, as many slices as `into` has places for. How many were filled.
    pub fn slices<'a>(&'a self, into: &mut [IoSlice<'a>]) -> usize {
        self.slices_of(usize::MAX, into)
    }

    /// The first `most` of them.
    pub fn slices_of<'a>(&'a self, mut most: usize, into: &mut [IoSlice<'a>]) -> usize {
        let mut skip = self.written;
        let mut filled = 0;
        for (place, item) in into.iter_mut().zip(&self.items) {
            let bytes = &item.bytes[skip..];
            let part = bytes.len().min(most);
            *place = IoSlice::new(&bytes[..part]);
            most -= part;
            skip = 0;
            filled += 1;
            if most == 0 {
                break;
            }
        }
        filled
    }

    /// `count` bytes of what [`Self::slices`] gave have been written.
    pub fn wrote(&mut self, mut count: usize, now: Moment) {
        if count > 0 {
            self.progress = now;
            self.sent += count as u64;
        }
        while count > 0 {
            let Some(first) = self.items.front() else { break };
            let left = first.bytes.len() - self.written;
            if count < left {
                self.written += count;
                return;
            }
            count -= left;
            self.forget_first();
        }
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        // No item is empty, and this is nearer than the items are.
        self.bytes == 0
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes - self.written
    }

    /// Age of the oldest waiting picture.
    pub fn age(&self, now: Moment) -> Duration {
        self.items
            .iter()
            .find(|item| item.media.is_some())
            .map_or(Duration::ZERO, |item| now.since(item.since))
    }

    /// When the connection counts as stalled, if nothing is written until then.
    pub fn poll_timeout(&self) -> Option<Moment> {
        (!self.items.is_empty()).then(|| self.progress + limits::WRITE_STALL)
    }

    /// Pictures that were not sent so far.
    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// Whether `flow` waits for a keyframe although the connection could take one.
    pub fn wants_key(&self, flow: Flow) -> bool {
        !self.choked && self.flows.iter().any(|g| g.flow == flow && g.gate == Gate::Key)
    }

    /// Flows for which a keyframe should be asked for, now that the connection has taken what was left.
    pub fn starved(&self) -> impl Iterator<Item = Flow> + '_ {
        let ready = self.items.is_empty();
        self.flows.iter().filter(move |g| ready && g.gate == Gate::Key).map(|g| g.flow)
    }

    /// Whether the receiver wants any media.
    pub fn wants_media(&self) -> bool {
        !self.tracks.is_empty()
    }

    /// The receiver wants `track`, from its next keyframe on.
    pub fn open(&mut self, track: TrackId) {
        if !self.tracks.contains(&track) {
            self.tracks.push(track);
        }
    }

    /// Nothing more of `track` will come; what waits of it goes.
    pub fn forget(&mut self, track: TrackId) {
        self.remove(|media| media.track == track);
        self.tracks.retain(|t| *t != track);
        self.flows.retain(|g| g.flow.0 != track);
    }

    /// The next frames of `flow` are not the continuation of what was sent: a frame of it was lost, or
    /// its publisher came back.
    pub fn interrupt(&mut self, flow: Flow) {
        for g in self.flows.iter_mut().filter(|g| g.flow == flow) {
            g.gate = Gate::Key;
            g.group = None;
        }
    }

    /// Starts the receiver on `flow` with what its group of pictures has so far. Whether it was done.
    ///
    /// A flow that gave up within that very group goes on behind what was sent of it. Otherwise it begins
    /// at the keyframe, unless it did so just now: a receiver that asks again and again would fill its own
    /// line with the same pictures.
    pub fn replay(&mut self, flow: Flow, gop: &Gop, now: Moment) -> bool {
        let Some(place) = self.place_of(flow) else { return false };
        if self.choked {
            return false;
        }
        let g = &mut self.flows[place];
        let within = g.group.is_some() && g.group == gop.key();
        if within && g.gate == Gate::Key {
            // Upper layers may lack what was given up before the next picture of layer 0.
            g.gate = Gate::Layers(0);
        } else if within && g.replayed.is_some_and(|at| now.since(at) < limits::KEYFRAME_INTERVAL) {
            return false;
        } else {
            (g.gate, g.group, g.replayed) = (Gate::Key, None, Some(now));
        }
        for (media, bytes) in gop.replay() {
            self.push_media(media, bytes, now);
        }
        // The upper layers begin behind the next picture of layer 0.
        if !gop.is_short()
            && let Gate::Layers(open) = &mut self.flows[place].gate
        {
            *open = 0;
        }
        true
    }

    fn push(&mut self, item: Item, now: Moment) {
        debug_assert!(!item.bytes.is_empty(), "a frame has a header at least");
        if self.items.is_empty() {
            self.progress = now;
        }
        self.bytes += item.bytes.len();
        self.items.push_back(item);
    }

    /// Drops what has become too old.
    fn relieve(&mut self, now: Moment) {
        let age = self.age(now);
        if age >= limits::QUEUE_AGE_GOP {
            self.give_up();
        } else if age >= limits::QUEUE_AGE_T1 {
            self.drops.layer += self.remove(|media| media.tid >= 1);
            self.lower(0);
        } else if age >= limits::QUEUE_AGE_T2 {
            self.drops.layer += self.remove(|media| media.tid >= 2);
            self.lower(1);
        }
    }

    /// Lets no layer above `layer` through before the next picture of layer 0.
    fn lower(&mut self, layer: u8) {
        for g in &mut self.flows {
            if let Gate::Layers(open) = &mut g.gate {
                *open = (*open).min(layer);
            }
        }
    }

    /// Drops every waiting picture. Flows of which something was dropped begin again at a keyframe.
    fn give_up(&mut self) {
        self.close(|_| true);
        self.drops.group += self.remove(|_| true);
        self.choked = !self.items.is_empty();
    }

    /// Makes room for a keyframe of `flow`.
    fn supersede(&mut self, flow: Flow) {
        let of_flow = |media: &Media| (media.track, media.rendition) == flow;
        self.close(of_flow);
        self.drops.group += self.remove(of_flow);
    }

    /// Closes the flows of the waiting pictures that `which` names, which will not be sent, and takes the
    /// flows back to what came before those.
    fn close(&mut self, which: impl Fn(&Media) -> bool) {
        let begun = usize::from(self.written > 0);
        // From the newest back, so that what stays is the one before the oldest.
        for media in self.items.iter().skip(begun).rev().filter_map(|item| item.media.as_ref()) {
            if which(media)
                && let Some(g) = self.flows.iter_mut().find(|g| g.flow == (media.track, media.rendition))
            {
                g.gate = Gate::Key;
                g.last = media.seq.saturating_sub(1);
                g.group = g.group.filter(|key| *key < media.seq);
            }
        }
    }

    /// Judges a frame against its flow's gate and moves the gate.
    fn admits(&mut self, flow: Flow, media: &Media) -> bool {
        let Some(place) = self.place_of(flow) else { return false };
        let g = &mut self.flows[place];
        if self.choked {
            // Whatever is refused here leaves a hole behind which only a keyframe helps.
            g.gate = Gate::Key;
            self.drops.group += 1;
            return false;
        }
        if g.has_taken(media.seq) {
            return false;
        }
        let admitted = match g.gate {
            _ if media.key => {
                g.gate = ALL_LAYERS;
                g.group = Some(media.seq);
                true
            }
            Gate::Key => {
                self.drops.no_key += 1;
                false
            }
            Gate::Layers(_) if media.tid == 0 => {
                g.gate = ALL_LAYERS;
                true
            }
            Gate::Layers(open) => {
                let fits = media.tid <= open;
                self.drops.layer += u64::from(!fits);
                fits
            }
        };
        if admitted {
            g.last = media.seq;
        }
        admitted
    }

    /// Whether a replay has overtaken the sender of picture `seq`.
    fn has_taken(&self, flow: Flow, seq: u64) -> bool {
        self.flows.iter().any(|g| g.flow == flow && g.has_taken(seq))
    }

    /// Where a flow of a wanted track stands in the list; it begins closed.
    fn place_of(&mut self, flow: Flow) -> Option<usize> {
        if let Some(place) = self.flows.iter().position(|g| g.flow == flow) {
            return Some(place);
        }
        if !self.tracks.contains(&flow.0) {
            return None;
        }
        self.flows.push(Gateway { flow, ..Gateway::default() });
        Some(self.flows.len() - 1)
    }

    /// Takes out the waiting media frames that `which` names, save the one that has been begun. How
    /// many there were.
    fn remove(&mut self, which: impl Fn(&Media) -> bool) -> u64 {
        let mut begun = self.written > 0;
        let (mut count, mut freed) = (0, 0);
        self.items.retain(|item| {
            let keep = std::mem::take(&mut begun) || !item.media.as_ref().is_some_and(&which);
            if !keep {
                count += 1;
                freed += item.bytes.len();
            }
            keep
        });
        self.bytes -= freed;
        count
    }

    fn forget_first(&mut self) {
        if let Some(item) = self.items.pop_front() {
            self.bytes -= item.bytes.len();
            if item.media.is_none() {
                self.reliable -= item.bytes.len();
            }
        }
        self.written = 0;
        self.choked &= !self.items.is_empty();
        if self.items.is_empty() {
            // A burst's worth of slots is not kept for an idle connection.
            self.items.shrink_to(16);
        }
    }
}
