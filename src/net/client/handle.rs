//! What a program may ask of a session.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot};

#[expect(unused_imports, reason = "for the documentation")]
use super::Event;
use super::Stats;
use crate::chat::{Content, Full};
use crate::id::{MemberId, Nick, OfferNumber, TrackId};
use crate::wire::control::{Action, Publish, Status};
use crate::wire::offer::{Fetch, Going, Offer, Seal};
use crate::wire::{Control, Frame, Rendition, Slot};

/// Gives orders to a session. Dropping the last one leaves the room.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) orders: mpsc::Sender<Order>,
    pub(super) words: mpsc::Sender<Order>,
    pub(super) hurry: Arc<Notify>,
    pub(super) stats: Arc<Mutex<Stats>>,
}

/// What the session's task is to do.
#[derive(Debug)]
pub(super) enum Order {
    Send(Frame),
    File(Frame, oneshot::Sender<bool>),
    Ask(Box<Control>),
    Publish(Publish),
    Unpublish(TrackId),
    Subscribe(Vec<TrackId>),
    Unsubscribe(Vec<TrackId>),
    Keyframe(TrackId, Rendition),
    Post(Post),
    Status(Status),
    Rename(u64, Nick),
    Older(u64, u64, u32),
    Moderate(u64, Action, Option<MemberId>),
    Leave,
}

/// Something to say.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) payload: Bytes,
    pub(super) to: Option<MemberId>,
    pub(super) slot: Option<Slot>,
    pub(super) answer: oneshot::Sender<Result<u64, Full>>,
}

impl Handle {
    /// Sends a media frame of a track that is published; returns when there is room for the next.
    pub async fn send(&self, frame: Frame) {
        self.order(Order::Send(frame)).await;
    }

    /// Offers something, or goes on with it; [`Event::Offered`] or [`Event::Refused`] is the answer. Like all
    /// requests about offers it goes nowhere without a connection, and is made again after every
    /// [`Event::Up`] as far as it is still wanted.
    pub async fn offer(&self, offer: Offer) {
        self.words(Order::Ask(Box::new(Control::Offer(offer)))).await;
    }

    /// Sends a piece of an offer; returns when there is room for the next. False where it did not go out,
    /// because there is no connection on which the offer was answered.
    pub async fn send_file(&self, frame: Frame) -> bool {
        let (answer, result) = oneshot::channel();
        self.order(Order::File(frame, answer)).await;
        result.await.unwrap_or(false)
    }

    /// Says that an offer is complete, behind all that was sent of it; [`Event::Done`] or [`Event::Refused`]
    /// is the answer, when all of it is on the server's disk.
    pub async fn seal(&self, seal: Seal) {
        self.order(Order::Ask(Box::new(Control::Seal(seal)))).await;
    }

    /// Takes an offer back; [`Event::Done`] or [`Event::Refused`] brings `id` back.
    pub async fn withdraw(&self, id: u64, offer: OfferNumber) {
        self.give_up(id, offer, Going::Withdrawn).await;
    }

    /// The same, of an offer that can never be completed: why is told to those who fetch it.
    pub async fn give_up(&self, id: u64, offer: OfferNumber, reason: Going) {
        self.words(Order::Ask(Box::new(Control::Withdraw { id, offer, reason }))).await;
    }

    /// Asks for pieces of an offer: they come as [`Event::File`] in order, those that are not there yet when
    /// they are, then [`Event::Done`]. Several requests are served one after the other.
    pub async fn fetch(&self, fetch: Fetch) {
        self.words(Order::Ask(Box::new(Control::Fetch(fetch)))).await;
    }

    /// Ends a request for pieces; those that are on their way still come.
    pub async fn unfetch(&self, id: u64) {
        self.words(Order::Ask(Box::new(Control::Unfetch { id }))).await;
    }

    /// Says that this member has all of an offer, checked and safely stored.
    pub async fn received(&self, offer: OfferNumber) {
        self.words(Order::Ask(Box::new(Control::Received { offer }))).await;
    }

    /// Publishes a track; [`Event::Published`] brings its number.
    pub async fn publish(&self, publish: Publish) {
        self.order(Order::Publish(publish)).await;
    }

    /// Ends a published track.
    pub async fn unpublish(&self, track: TrackId) {
        self.order(Order::Unpublish(track)).await;
    }

    /// Asks for tracks.
    pub async fn subscribe(&self, tracks: Vec<TrackId>) {
        self.order(Order::Subscribe(tracks)).await;
    }

    /// Asks for tracks no more.
    pub async fn unsubscribe(&self, tracks: Vec<TrackId>) {
        self.order(Order::Unsubscribe(tracks)).await;
    }

    /// Asks for a picture at which decoding can begin.
    pub async fn keyframe(&self, track: TrackId, rendition: Rendition) {
        self.order(Order::Keyframe(track, rendition)).await;
    }

    /// Says something; its number. It is sent when that is possible, and again until it has arrived;
    /// [`Event::Acknowledged`] tells. Does not wait for the network.
    pub async fn post(&self, content: &Content, to: Option<MemberId>) -> Result<u64, Full> {
        let (answer, result) = oneshot::channel();
        let slot = matches!(content, Content::Topic(_)).then(Slot::topic);
        let post = Post { payload: content.to_payload().into(), to, slot, answer };
        self.words(Order::Post(post)).await;
        result.await.unwrap_or(Err(Full))
    }

    /// Says something about this program's user.
    pub async fn status(&self, status: Status) {
        self.words(Order::Status(status)).await;
    }

    /// Asks for another name; [`Event::Done`] or [`Event::Refused`] brings `id` back.
    pub async fn rename(&self, id: u64, name: Nick) {
        self.words(Order::Rename(id, name)).await;
    }

    /// Asks for messages before number `before`, at most `count`: they come as [`Event::Older`], then
    /// [`Event::Done`] with `id`; goes nowhere without a connection, and one at a time.
    pub async fn older(&self, id: u64, before: u64, count: u32) {
        self.words(Order::Older(id, before, count)).await;
    }

    /// As a host: changes something about the room or a member; [`Event::Done`] or [`Event::Refused`] brings
    /// `id` back.
    pub async fn moderate(&self, id: u64, action: Action, member: Option<MemberId>) {
        self.words(Order::Moderate(id, action, member)).await;
    }

    /// Leaves the room when everything that was sent before is written, and waits until the server has
    /// closed the connection (or has had its time to), so that nothing of it is lost. The events still
    /// have to be taken in the meantime.
    pub async fn close(&self) {
        self.order(Order::Leave).await;
        self.orders.closed().await;
    }

    /// Leaves the room now: media that is not on its way yet is dropped, and what waits for the network
    /// does not keep the goodbye back.
    pub async fn close_now(&self) {
        self.hurry.notify_one();
        self.orders.closed().await;
    }

    /// What has been done so far.
    pub fn stats(&self) -> Stats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What takes no room on the way out need not wait for it.
    async fn words(&self, order: Order) {
        let _ = self.words.send(order).await;
    }

    /// An order to a session that is over has nobody to carry it out, and its end has been told.
    async fn order(&self, order: Order) {
        let _ = self.orders.send(order).await;
    }
}
