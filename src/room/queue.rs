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

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Duration;

use bytes::Bytes;

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
#[derive(Debug, Default)]
pub struct Queue {
    items: VecDeque<Item>,
    /// Bytes of the first item that have been written.
    written: usize,
    bytes: usize,
    reliable: usize,
    /// Tracks that the receiver wants; frames of others are refused, for a sender may still have an older
    /// list of receivers in its hands.
    tracks: Vec<TrackId>,
    flows: Vec<Gateway>,
    /// Pictures were given up and the connection has not taken the rest yet.
    choked: bool,
    /// When a byte was last written, or the queue last became non-empty.
    progress: Moment,
    /// Bytes that have been written in all.
    sent: u64,
    drops: Drops,
}

#[derive(Debug)]
struct Item {
    bytes: Bytes,
    /// `None` for what is never dropped.
    media: Option<Media>,
    since: Moment,
}

/// How far a flow has come, and how it goes on.
#[derive(Debug)]
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
        if !self.items.is_empty() {
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
        let mut skip = self.written;
        let mut filled = 0;
        for (place, item) in into.iter_mut().zip(&self.items) {
            *place = IoSlice::new(&item.bytes[skip..]);
            skip = 0;
            filled += 1;
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
        self.items.is_empty()
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
        self.flows.push(Gateway { flow, gate: Gate::Key, last: 0, group: None, replayed: None });
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FLOW: Flow = (TrackId(1), Rendition::High);

    fn at(ms: u64) -> Moment {
        Moment::from_micros(ms * 1_000)
    }

    fn picture(seq: u64, key: bool, tid: u8) -> Media {
        Media { track: FLOW.0, seq, pts: seq * 33_333, key, rendition: FLOW.1, tid }
    }

    /// Writes everything and gives the number of bytes.
    fn drain(queue: &mut Queue, now: Moment) -> usize {
        let mut total = 0;
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 4];
            let filled = queue.slices(&mut slices);
            let count = slices[..filled].iter().map(|s| s.len()).sum();
            queue.wrote(count, now);
            total += count;
        }
        total
    }

    fn queue() -> Queue {
        let mut queue = Queue::new(at(0));
        (0..3).for_each(|track| queue.open(TrackId(track)));
        queue
    }

    #[test]
    fn what_a_replay_has_brought_is_not_sent_again() {
        let mut queue = queue();
        for seq in 5..8 {
            assert!(queue.push_media(&picture(seq, seq == 5, 0), &Bytes::from_static(b"x"), at(0)));
        }
        drain(&mut queue, at(1));
        let mut gop = Gop::default();
        (5..9).for_each(|seq| gop.push(&picture(seq, seq == 5, 0), &Bytes::from_static(b"x"), at(1)));
        assert!(queue.replay(FLOW, &gop, at(1)));
        assert_eq!(drain(&mut queue, at(1)), 4);
        assert!(
            !queue.push_media(&picture(8, false, 0), &Bytes::from_static(b"x"), at(1)),
            "its sender was slower"
        );
        assert!(!queue.replay(FLOW, &gop, at(100)), "not again so soon");
        assert!(queue.push_media(&picture(9, false, 0), &Bytes::from_static(b"x"), at(100)));
    }

    /// A cache with these pictures; each is one byte that is its number.
    fn group(track: u32, pictures: &[(u64, bool, u8)]) -> Gop {
        let mut gop = Gop::default();
        for &(seq, key, tid) in pictures {
            let media = Media { track: TrackId(track), ..picture(seq, key, tid) };
            gop.push(&media, &vec![seq as u8].into(), at(0));
        }
        gop
    }

    /// Writes everything and gives the bytes.
    fn written(queue: &mut Queue, now: Moment) -> Vec<u8> {
        let mut out = Vec::new();
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[])];
            queue.slices(&mut slices);
            out.extend_from_slice(&slices[0]);
            let count = slices[0].len();
            queue.wrote(count, now);
        }
        out
    }

    /// The simulation found it, seed 3668: a keyframe had been begun when all that waited was given up, so
    /// it was sent whole; the cache still had its group when the connection had taken it, and sent it again.
    #[test]
    fn a_flow_that_gave_up_behind_its_keyframe_goes_on_behind_it() {
        let mut queue = queue();
        let other = Media { track: TrackId(2), ..picture(7, true, 0) };
        queue.push_media(&picture(122, true, 0), &vec![122; 2].into(), at(0));
        queue.push_media(&other, &vec![7].into(), at(0));
        queue.wrote(1, at(1));
        assert!(!queue.push_media(&picture(123, false, 2), &vec![123].into(), at(300)), "the line is stuck");
        assert_eq!(written(&mut queue, at(301)), [122]);
        assert_eq!(queue.starved().count(), 2);
        let gop = group(1, &[(122, true, 0), (123, false, 2), (124, false, 0), (125, false, 2)]);
        assert!(queue.replay(FLOW, &gop, at(302)));
        assert_eq!(written(&mut queue, at(303)), [124, 125], "123 may refer to what was given up");
        assert!(queue.push_media(&picture(126, false, 1), &vec![126].into(), at(304)));
        let gop = group(2, &[(7, true, 0), (8, false, 0)]);
        assert!(queue.replay((TrackId(2), FLOW.1), &gop, at(305)));
        assert_eq!(written(&mut queue, at(306)), [126, 7, 8], "of the other nothing had been sent");
    }

    #[test]
    fn a_keyframe_that_a_replay_has_overtaken_neither_comes_twice_nor_removes_what_waits() {
        let mut queue = queue();
        queue.push_reliable(vec![0; 2].into(), at(0)).unwrap();
        queue.wrote(1, at(0));
        assert!(queue.replay(FLOW, &group(1, &[(5, true, 0), (6, false, 0)]), at(0)));
        assert!(!queue.push_media(&picture(5, true, 0), &vec![5].into(), at(0)), "its sender was slower");
        assert_eq!(written(&mut queue, at(1)), [0, 5, 6]);
    }

    #[test]
    fn who_asks_although_nothing_was_given_up_gets_the_whole_group_again_but_not_at_once() {
        let mut queue = queue();
        let gop = group(1, &[(5, true, 0), (6, false, 0)]);
        assert!(queue.replay(FLOW, &gop, at(0)));
        assert_eq!(written(&mut queue, at(1)), [5, 6]);
        assert!(!queue.replay(FLOW, &gop, at(100)));
        assert!(queue.replay(FLOW, &gop, at(500)));
        assert_eq!(written(&mut queue, at(501)), [5, 6]);
    }

    #[test]
    fn a_track_that_is_not_wanted_any_more_does_not_come_back() {
        let mut queue = queue();
        queue.forget(FLOW.0);
        assert!(!queue.push_media(&picture(0, true, 0), &Bytes::from_static(b"x"), at(0)));
        assert_eq!(queue.starved().count(), 0);
    }

    #[test]
    fn frames_leave_in_order_across_partial_writes() {
        let mut queue = queue();
        queue.push_reliable(Bytes::from_static(b"control"), at(0)).unwrap();
        assert!(queue.push_media(&picture(0, true, 0), &Bytes::from_static(b"key"), at(0)));
        let mut out = Vec::new();
        while !queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 2];
            queue.slices(&mut slices);
            out.push(slices[0][0]);
            queue.wrote(1, at(0));
        }
        assert_eq!(out, b"controlkey");
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn v01_nothing_before_the_first_keyframe() {
        let mut queue = queue();
        assert!(!queue.push_media(&picture(0, false, 0), &Bytes::from_static(b"x"), at(0)));
        assert!(queue.wants_key(FLOW));
        assert!(queue.push_media(&picture(1, true, 0), &Bytes::from_static(b"x"), at(0)));
        assert!(!queue.wants_key(FLOW));
    }

    #[test]
    fn upper_layers_go_first_and_come_back_at_the_next_base_picture() {
        let mut queue = queue();
        queue.push_media(&picture(0, true, 0), &Bytes::from_static(b"k"), at(0));
        assert!(queue.push_media(&picture(1, false, 2), &Bytes::from_static(b"2"), at(33)));
        assert!(!queue.push_media(&picture(2, false, 2), &Bytes::from_static(b"2"), at(70)));
        assert!(!queue.push_media(&picture(3, false, 1), &Bytes::from_static(b"1"), at(130)));
        drain(&mut queue, at(131));
        assert!(
            !queue.push_media(&picture(4, false, 2), &Bytes::from_static(b"2"), at(132)),
            "its reference is missing"
        );
        assert!(queue.push_media(&picture(5, false, 0), &Bytes::from_static(b"0"), at(133)));
        assert!(queue.push_media(&picture(6, false, 2), &Bytes::from_static(b"2"), at(134)));
    }

    #[test]
    fn a_stalled_receiver_keeps_little_and_starts_again_at_a_keyframe() {
        let mut queue = queue();
        queue.push_media(&picture(0, true, 0), &vec![0; 1000].into(), at(0));
        queue.wrote(1, at(1));
        for n in 1..1000 {
            queue.push_media(&picture(n, n % 60 == 0, 0), &vec![0; 1000].into(), at(n * 33));
        }
        assert!(queue.bytes() < 1000, "only the frame that was begun");
        assert_eq!(queue.starved().count(), 0, "no keyframe is asked for while nothing is taken");
        assert_eq!(drain(&mut queue, at(40_000)), 999);
        assert_eq!(queue.starved().collect::<Vec<_>>(), [FLOW]);
        assert!(!queue.push_media(&picture(1000, false, 0), &vec![0; 10].into(), at(40_001)));
        assert!(queue.push_media(&picture(1001, true, 0), &vec![0; 10].into(), at(40_002)));
    }

    #[test]
    fn s04_waiting_bytes_stay_within_the_limit() {
        let mut queue = queue();
        queue.push_reliable(vec![0; 10].into(), at(0)).unwrap();
        queue.wrote(1, at(0));
        for n in 0..50 {
            queue.push_media(&picture(n, n % 5 == 0, 0), &vec![0; limits::VIDEO / 2].into(), at(n));
            assert!(queue.bytes() <= limits::QUEUE);
        }
    }

    #[test]
    fn s05_control_frames_are_never_dropped_but_bounded() {
        let mut queue = queue();
        let mut taken = 0;
        while queue.push_reliable(vec![0; 1000].into(), at(0)).is_ok() {
            taken += 1000;
        }
        assert!(taken <= limits::QUEUE_RELIABLE);
        assert_eq!(drain(&mut queue, at(60_000)), taken);
    }

    #[test]
    fn w37_a_connection_that_takes_nothing_is_stalled_after_10_s() {
        let mut queue = queue();
        assert_eq!(queue.poll_timeout(), None);
        queue.push_reliable(vec![0; 10].into(), at(5_000)).unwrap();
        assert_eq!(queue.poll_timeout(), Some(at(15_000)));
        queue.wrote(1, at(9_000));
        assert_eq!(queue.poll_timeout(), Some(at(19_000)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push { flow: u8, key: bool, size: usize },
        Write(usize),
        Wait(u64),
        Control,
        Interrupt(u8),
        Starved,
        Ask(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..3_u8, prop::bool::weighted(0.05), 10..60_000_usize).prop_map(|(flow, key, size)| Step::Push { flow, key, size }),
            4 => (0..80_000_usize).prop_map(Step::Write),
            3 => (0..90_u64).prop_map(Step::Wait),
            1 => Just(Step::Control),
            1 => (0..3_u8).prop_map(Step::Interrupt),
            3 => Just(Step::Starved),
            1 => (0..3_u8).prop_map(Step::Ask),
        ]
    }

    /// Layers as the encoder gives them: 0 2 1 2.
    const LAYERS: [u8; 4] = [0, 2, 1, 2];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn no_picture_is_sent_without_its_reference(steps in prop::collection::vec(step(), 1..400)) {
            let mut queue = queue();
            let mut now = 0;
            // Per flow: pictures made, as (key, tid, needs); and those that were written whole.
            let mut made: [Vec<(bool, u8)>; 3] = Default::default();
            let mut phase = [0_usize; 3];
            let mut sent: [Vec<u64>; 3] = Default::default();
            let mut wire: VecDeque<(usize, Option<(u8, u64)>)> = VecDeque::new();
            let mut gops: [Gop; 3] = Default::default();
            // What was sent before a receiver asked for the same pictures again.
            let mut earlier: Vec<(usize, Vec<u64>)> = Vec::new();
            for step in steps {
                match step {
                    Step::Push { flow, key, size } => {
                        let f = flow as usize;
                        if key { phase[f] = 0; }
                        let tid = LAYERS[phase[f] % 4];
                        phase[f] += 1;
                        let seq = made[f].len() as u64;
                        made[f].push((key, tid));
                        let media = Media { track: TrackId(flow.into()), seq, pts: 0, key, rendition: Rendition::High, tid };
                        let mut bytes = vec![0; size];
                        bytes[0] = flow;
                        bytes[1..9].copy_from_slice(&seq.to_be_bytes());
                        let bytes = Bytes::from(bytes);
                        gops[f].push(&media, &bytes, at(now));
                        queue.push_media(&media, &bytes, at(now));
                    }
                    Step::Starved => {
                        for (track, rendition) in queue.starved().collect::<Vec<_>>() {
                            queue.replay((track, rendition), &gops[track.0 as usize], at(now));
                        }
                    }
                    Step::Ask(flow) if queue.is_empty() => {
                        let f = flow as usize;
                        let name = (TrackId(flow.into()), Rendition::High);
                        if !queue.wants_key(name) && queue.replay(name, &gops[f], at(now)) {
                            earlier.push((f, std::mem::take(&mut sent[f])));
                        }
                    }
                    Step::Ask(_) => {}
                    Step::Control => { let _ = queue.push_reliable(vec![9; 20].into(), at(now)); }
                    Step::Wait(ms) => now += ms,
                    Step::Interrupt(flow) => {
                        gops[flow as usize].clear();
                        queue.interrupt((TrackId(flow.into()), Rendition::High));
                    }
                    Step::Write(mut budget) => {
                        while budget > 0 && !queue.is_empty() {
                            let mut slices = [IoSlice::new(&[]); 1];
                            queue.slices(&mut slices);
                            if wire.is_empty() {
                                let first = &slices[0];
                                let name = (first[0] != 9).then(|| (first[0], u64::from_be_bytes(first[1..9].try_into().unwrap())));
                                wire.push_back((first.len(), name));
                            }
                            let count = slices[0].len().min(budget);
                            budget -= count;
                            queue.wrote(count, at(now));
                            let begun = wire.front_mut().unwrap();
                            begun.0 -= count;
                            if begun.0 == 0 {
                                if let Some((flow, seq)) = begun.1 { sent[flow as usize].push(seq); }
                                wire.clear();
                            }
                        }
                    }
                }
                prop_assert!(queue.bytes() <= limits::QUEUE + limits::QUEUE_RELIABLE);
            }
            earlier.extend(sent.into_iter().enumerate());
            for (flow, sent) in &earlier {
                let made = &made[*flow];
                let has = |seq: usize| sent.binary_search(&(seq as u64)).is_ok();
                prop_assert!(sent.is_sorted_by(|a, b| a < b), "none comes twice: {sent:?}");
                for &seq in sent {
                    let (key, tid) = made[seq as usize];
                    if key { continue; }
                    // Every earlier picture of a lower layer back to the last of layer 0, and for layer 0 that one.
                    for back in (0..seq as usize).rev() {
                        let (_, lower) = made[back];
                        if lower < tid || lower == 0 {
                            prop_assert!(has(back), "{seq} was sent without {back}");
                        }
                        if lower == 0 { break; }
                    }
                }
            }
        }
    }
}
