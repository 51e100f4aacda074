//! What users and peers see, a module per behaviour.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::print_stderr)]

mod admin;
mod cam;
mod chat;
mod chat_farewell;
mod chat_files;
mod chat_hosts;
mod chat_kill;
mod command_line;
mod crowd;
mod decode;
mod depot;
mod download;
mod fetch_kill;
mod lies;
mod look;
mod messages;
mod network;
mod parts;
mod password;
mod protocol;
mod python;
mod recv;
mod send;
mod serve;
mod server;
mod sink;
mod store;
mod support;
mod terminal;
mod upload;
mod upload_kill;
mod view;
mod view_room;
mod watch;
mod yielding;
