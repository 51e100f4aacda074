//! What users and peers see, a module per behaviour.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stderr)]

mod programs;
mod protocol;
<<<<<<< HEAD
mod python;
=======
mod send;
>>>>>>> 3c8c7c8 (feat(conf-send): frames, H.264 and Y4M from a pipe into a room)
mod server;
mod support;
