//! Finds the running server and asks it.

use std::io;
use std::path::PathBuf;

use super::{Exit, Failure, history};
use crate::server::local::{self, Answer, Question};

/// Asks the server at `port`, or the only one that is running.
pub(super) fn ask(port: Option<u16>, question: &Question) -> Result<Answer, Failure> {
    let directories = history::socket_directories();
    let sockets: Vec<(u16, PathBuf)> = match port {
        Some(port) => directories.iter().map(|d| (port, local::path(d, port))).collect(),
        None => {
            let of =
                |d: &PathBuf| local::ports(d).into_iter().map(|port| (port, local::path(d, port))).collect();
            directories.iter().flat_map(|d| -> Vec<_> { of(d) }).collect()
        }
    };
    let running: Vec<&(u16, PathBuf)> = sockets.iter().filter(|(_, socket)| local::answers(socket)).collect();
    match running[..] {
        [] => Err(Failure::new(
            Exit::Connect,
            match port {
                Some(port) => {
                    format!("no conf-serve of yours is running at port {port}; start one: conf-serve {port}")
                }
                None => "no conf-serve of yours is running on this machine; start one: conf-serve".into(),
            },
        )),
        [(_, socket)] => local::ask(socket, question).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::InvalidData => "is it of another version?",
                _ => "try again",
            };
            Failure::new(Exit::Connect, format!("the running conf-serve did not answer: {error}; {hint}"))
        }),
        [..] => {
            let ports: Vec<String> = running.iter().map(|(port, _)| port.to_string()).collect();
            let (all, first) = (ports.join(", "), &ports[0]);
            let say = format!("several servers are running, at ports {all}; say which, as in --port {first}");
            Err(Failure::usage(say))
        }
    }
}
