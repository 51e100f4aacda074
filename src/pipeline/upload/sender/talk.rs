//! What the server says, and what is asked of it.

use super::super::{Error, News};
use super::{Sender, Stage};
use crate::id::OfferNumber;
use crate::limits;
use crate::net::client::{self, End, Event};
use crate::time;
use crate::transfer::Ranges;
use crate::wire::control::Refusal;
use crate::wire::offer::{Going, Offer, OfferState, Offered};
use crate::wire::{Code, Frame, Part, Piece};

/// Numbers of requests: one of each kind is under way at a time.
const OFFER: u64 = 1;
pub(super) const SEAL: u64 = 2;
pub(super) const WITHDRAW: u64 = 3;
/// Something arrived damaged so often: repeating does not cure it.
const DAMAGED: u32 = 5;
/// The server has said so often that something is missing.
const INCOMPLETE: u32 = 3;

impl Sender {
    pub(super) async fn handle_event(
        &mut self,
        event: Event,
        report: &mut impl FnMut(News<'_>),
    ) -> Result<(), Error> {
        match event {
            Event::Up { welcome, .. } => {
                client::tell_other_name(self.wishes.name.take().as_deref(), &welcome.name);
                self.members.clear();
                (self.listed, self.told) = (false, false);
                if self.wishes.to.is_none() {
                    self.ask().await;
                }
            }
            // What it replaces has made room.
            Event::Done { id: WITHDRAW } if self.wishes.former.is_some() => self.begin().await?,
            Event::Refused(refusal) if refusal.id == Some(WITHDRAW) => self.begin().await?,
            Event::OffersListed if self.wishes.former.is_some() && !self.replacing => {
                self.told = true;
                self.begin().await?;
            }
            Event::Down { .. } => self.handle_down(),
            Event::State(state) => {
                self.members = state.members.into_iter().map(|m| (m.member, m.name)).collect();
                self.look_for_receiver().await?;
            }
            Event::Member(member) => {
                self.members.insert(member.member, member.name);
                if self.stage == Stage::Alone {
                    self.look_for_receiver().await?;
                }
            }
            Event::MemberLeft(member) => drop(self.members.remove(&member)),
            Event::Offered(offered) if self.stage == Stage::Asked => self.handle_offered(offered, report)?,
            Event::Kept { offer, chunks } if Some(offer) == self.number => {
                self.answered = time::now();
                self.flow.handle_kept(&chunks);
            }
            Event::OfferState(state) => self.handle_offer_state(&state).await,
            // A new life of the server may know nothing of it.
            Event::OffersListed if self.stage == Stage::Sealed && !self.listed => {
                return Err(Error::Gone(Going::Removed));
            }
            Event::OffersListed => self.told = true,
            Event::OfferGone { offer, reason, .. } if Some(offer) == self.number => {
                self.memory.forget();
                return Err(Error::Gone(reason));
            }
            Event::Done { id: SEAL } if self.stage == Stage::Sealing => self.handle_sealed(),
            Event::Refused(refusal) => return self.handle_refused(refusal).await,
            Event::Ended(end) => return Err(self.ended(end)),
            _ => {}
        }
        Ok(())
    }

    /// Nothing has to be taken back before this is offered, any more.
    async fn begin(&mut self) -> Result<(), Error> {
        self.wishes.former = None;
        match self.wishes.to {
            None => self.ask().await,
            Some(_) => self.look_for_receiver().await?,
        }
        Ok(())
    }

    fn handle_down(&mut self) {
        self.replacing = false;
        if self.stage != Stage::Sealed {
            self.stage = Stage::Away;
        }
        self.sending = None;
        self.pieces.clear();
        self.flow.handle_down();
    }

    /// Finds whom it is for. At the beginning that member has to be there; later it may come back.
    async fn look_for_receiver(&mut self) -> Result<(), Error> {
        if self.wishes.to.is_none() || !matches!(self.stage, Stage::Away | Stage::Alone) {
            return Ok(());
        }
        match self.receiver() {
            Some(_) => self.ask().await,
            None if self.met && self.number.is_some() => self.stage = Stage::Alone,
            None => {
                let nick = self.wishes.to.clone().unwrap_or_default();
                return Err(Error::Nobody { nick, present: self.members.values().cloned().collect() });
            }
        }
        Ok(())
    }

    /// The member of that name, whatever its letters' case where that is enough to tell.
    fn receiver(&self) -> Option<crate::id::MemberId> {
        let nick = self.wishes.to.as_deref()?;
        let mut exact = self.members.iter().filter(|(_, name)| *name == nick);
        if let Some((member, _)) = exact.next() {
            return Some(*member);
        }
        let lower = nick.to_lowercase();
        let mut alike = self.members.iter().filter(|(_, name)| name.to_lowercase() == lower);
        alike.next().filter(|_| alike.next().is_none()).map(|(member, _)| *member)
    }

    async fn ask(&mut self) {
        if self.stage == Stage::Sealed || self.wishes.former.is_some() {
            return;
        }
        self.stage = Stage::Asked;
        self.answered = time::now();
        let offer = Offer {
            id: OFFER,
            offer: self.memory.offer(),
            chunk_size: self.job.chunk_size,
            size: self.job.manifest.total(),
            to: self.receiver(),
        };
        self.handle.offer(offer).await;
    }

    /// The server says what it has; the rest follows.
    fn handle_offered(&mut self, offered: Offered, report: &mut impl FnMut(News<'_>)) -> Result<(), Error> {
        self.met = true;
        self.number = Some(offered.offer);
        let stored = Ranges::from_pairs(offered.stored);
        let compare = match self.before {
            None => self.to_compare(&stored),
            Some(_) => Ranges::new(),
        };
        self.flow.handle_stored(stored, compare);
        if self.job.is_pipe() && self.flow.has_lost() {
            return Err(Error::Lost);
        }
        if self.before.is_none() {
            let before = self.flow.kept().iter().map(|range| self.job.layout.bytes(range)).sum();
            self.before = Some(before);
            report(News::Begin {
                offer: offered.offer,
                title: &self.job.title,
                files: self.job.manifest.files().len() as u32,
                size: self.job.manifest.total(),
                before,
            });
            if offered.sealed && self.memory.is_sent() {
                let number = offered.offer;
                let note = format!("all of it was sent before, as offer {number}; --restart sends it anew");
                report(News::Note(&note));
            } else if self.wishes.resume && !self.memory.is_resumed() {
                report(News::Note("nothing is remembered of an earlier run: this begins at the beginning"));
            } else if let Some(percent) = self.percent().filter(|at| self.memory.is_resumed() && *at > 0) {
                report(News::Note(&format!("going on from where it broke off, at {percent} %")));
            }
        }
        if offered.sealed {
            // An earlier run was not told any more. What is left are the sums.
            self.stage = Stage::Sealing;
            self.handle_sealed();
            return Ok(());
        }
        self.stage = Stage::Sending;
        self.queue_pieces(offered.offer, offered.about, offered.manifest as usize);
        self.sum_pieces_sent = offered.sums as usize;
        Ok(())
    }

    /// What goes before chunks, as far as it is not there.
    fn queue_pieces(&mut self, offer: OfferNumber, about: bool, manifest: usize) {
        self.pieces.clear();
        let wall = time::wall();
        if !about {
            let piece = Piece { offer, part: Part::About, index: 0 };
            self.pieces.push_back(Frame::file(piece, &self.job.about.to_payload(), wall));
        }
        for (index, payload) in self.job.pieces.iter().enumerate().skip(manifest) {
            let piece = Piece { offer, part: Part::Manifest, index: index as u32 };
            self.pieces.push_back(Frame::file(piece, payload, wall));
        }
    }

    /// The chunks that were on their way at the break, where it is known what they were: they are read again
    /// and must be the same.
    fn to_compare(&self, stored: &Ranges) -> Ranges {
        let window = limits::UPLOAD_WINDOW as u32 / self.job.chunk_size;
        let end = stored.gap(0);
        let last = (end.saturating_sub(window)..end).filter(|chunk| self.memory.known(*chunk).is_some());
        last.map(|chunk| chunk..chunk + 1).collect()
    }

    fn handle_sealed(&mut self) {
        self.stage = Stage::Sealed;
        self.memory.sent();
    }

    async fn handle_offer_state(&mut self, state: &OfferState) {
        if !self.told {
            // It is still telling.
            self.answered = time::now();
        }
        if Some(state.offer_id) == self.wishes.former {
            self.replacing = true;
            self.handle.withdraw(WITHDRAW, state.offer).await;
        }
        // What was sent by an earlier run is told before its number is answered, and never again.
        if state.offer_id == self.memory.offer() {
            self.received = state.received;
            self.listed = true;
        }
    }

    async fn handle_refused(&mut self, refusal: Refusal) -> Result<(), Error> {
        let Some(piece) = refusal.piece.as_deref().copied() else {
            match refusal.id {
                // Something of it got lost on the way; the server says what it has.
                Some(SEAL) if refusal.code == Code::Incomplete && self.incomplete < INCOMPLETE => {
                    self.incomplete += 1;
                    self.ask().await;
                }
                // It was sent as somebody else, or to somebody else.
                Some(OFFER)
                    if matches!(refusal.code, Code::Denied | Code::Conflict) && self.memory.is_sent() =>
                {
                    self.memory.begin_anew()?;
                    self.received = 0;
                    self.ask().await;
                }
                // It was given up while there was no connection.
                Some(OFFER) if refusal.code == Code::Offer && self.number.is_some() && self.job.is_pipe() => {
                    return Err(Error::Lost);
                }
                Some(OFFER | SEAL) => return Err(Error::Refused(refusal)),
                _ => {}
            }
            return Ok(());
        };
        if Some(piece.offer) != self.number {
            return Ok(());
        }
        match (refusal.code, piece.part) {
            // Damaged on the way, or lost by the server's disk.
            (Code::Checksum | Code::Internal, Part::Chunk)
                if self.flow.handle_damaged(piece.index) < DAMAGED =>
            {
                Ok(())
            }
            (Code::Checksum, _) if self.incomplete < INCOMPLETE => {
                self.incomplete += 1;
                self.ask().await;
                Ok(())
            }
            _ => Err(Error::Refused(refusal)),
        }
    }

    /// The end of the session as the end of the upload.
    fn ended(&self, end: End) -> Error {
        let lost = match &end {
            End::GaveUp { .. } | End::Unreachable(_) => true,
            // The server stops for good; what it has is on its disk.
            End::Refused(refusal) => refusal.code == Code::ShuttingDown,
            _ => false,
        };
        match lost && self.number.is_some() && self.stage != Stage::Sealed && self.memory.is_kept() {
            true => Error::BrokenOff(end),
            false => Error::Ended(end),
        }
    }
}
