//! A server with a store, and somebody who sends files to its room.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::cable::Cable;
use super::programs::{Running, Serve, program};
use super::talk::Town;

/// See the module.
pub struct Scene {
    pub town: Town,
    pub server: Option<Serve>,
}

impl Scene {
    pub fn new() -> Self {
        let mut town = Town::new();
        let server = Some(town.serve());
        std::fs::create_dir(town.path("files")).unwrap();
        Self { town, server }
    }

    pub fn room(&self) -> String {
        self.server.as_ref().unwrap().room.clone()
    }

    pub fn cable(&self) -> Cable {
        Cable::to(self.server.as_ref().unwrap().address)
    }

    /// One that counts what comes from the server.
    pub fn cable_from(&self) -> Cable {
        Cable::from(self.server.as_ref().unwrap().address)
    }

    /// Where the files are, relative to which they are named.
    pub fn path(&self, name: &str) -> PathBuf {
        self.town.path("files").join(name)
    }

    /// A file of so many bytes, which are different everywhere.
    pub fn file(&self, name: &str, length: usize) -> Vec<u8> {
        let bytes = content(length as u64, length);
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &bytes).unwrap();
        bytes
    }

    /// Ann's conf-send, whose directory stays.
    pub fn command(&self, room: &str, arguments: &[&str]) -> Command {
        let home = self.town.path("ann");
        std::fs::create_dir_all(&home).unwrap();
        let mut command = program("conf-send", &home);
        command.args(arguments).env("CONF_ROOM", room).env("CONF_NAME", "Ann");
        command.current_dir(self.town.path("files"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn start(&self, room: &str, arguments: &[&str]) -> Running {
        Running::start(self.command(room, arguments))
    }

    /// The exit code, stdout and stderr of one that ends by itself.
    pub fn send(&self, arguments: &[&str]) -> (i32, String, String) {
        output(self.command(&self.room(), arguments))
    }

    /// Bob's conf-recv, whose directory stays, and which receives into `into`.
    pub fn receiver(&self, room: &str, into: &str, arguments: &[&str]) -> Command {
        let (home, into) = (self.town.path("bob"), self.town.path(into));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::create_dir_all(&into).unwrap();
        let mut command = program("conf-recv", &home);
        command.args(arguments).env("CONF_ROOM", room).env("CONF_NAME", "Bob");
        command.current_dir(into);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The exit code, stdout and stderr of one that ends by itself.
    pub fn receive(&self, into: &str, arguments: &[&str]) -> (i32, String, String) {
        output(self.receiver(&self.room(), into, arguments))
    }

    /// Uploads that somebody could go on with.
    pub fn unfinished(&self) -> usize {
        let directory = self.town.path("ann").join("state/confkit/uploads");
        let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
        let open = |path| !std::fs::read_to_string(path).unwrap().contains("\"sent\":true");
        entries.filter(|entry| open(entry.as_ref().unwrap().path())).count()
    }
}

pub fn output(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Bytes of which no two chunks are the same.
pub fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}
