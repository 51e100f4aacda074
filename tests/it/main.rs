//! What users and peers see, a module per behaviour.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod protocol;
