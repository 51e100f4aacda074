//! What users and peers see, a module per behaviour.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stderr)]

mod protocol;
mod python;
mod server;
mod support;
