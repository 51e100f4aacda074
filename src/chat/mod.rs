//! Messages: that none is lost, none comes twice, and all see them in one order.
//!
//! ```text
//! Outbox (a sender's) -> wire -> Log (the room's, at the server) -> wire -> Inbox (a receiver's)
//! ```
//!
//! A sender numbers its messages and keeps each in its [`Outbox`] until the server has acknowledged it; what
//! it sends again is known by its number and relayed once. The server's [`Log`] gives every message a number
//! of the room. A receiver's [`Inbox`] knows the last it has, asks for what follows after a broken connection,
//! and notices what is missing. The contract is docs/protocol.md section 12.
//!
//! Pure: no socket, file or clock. What a message says is its [`Content`], which the server never reads.

mod content;
mod entry;
mod inbox;
mod log;
mod numbers;
mod outbox;
mod states;
#[cfg(test)]
mod tests;

pub use content::Content;
pub use entry::{Addressee, Author, Entry, Origin, Reader};
pub use inbox::{Inbox, Received, Verdict};
pub use log::{Accepted, Found, Item, Log, Missing, Page, Past, Standing, Start};
pub use outbox::{Full, NOBODY, Outbox, Pending, Progress};
pub use states::States;
