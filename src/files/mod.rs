//! Files at the edge: what is read for sending, and where what is received is written.

pub mod journal;
pub mod ledger;
pub mod sink;
pub mod source;
