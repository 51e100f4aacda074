//! `conf-recv` as somebody types it, with a limit to how long that may take.

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use super::programs::{PATIENCE, Running, program};
use super::scene::Scene;

/// What a program has left when it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: Vec<u8>,
    pub said: String,
}

/// A program whose output is taken as it comes.
pub struct Taking {
    pub running: Running,
    out: JoinHandle<Vec<u8>>,
    said: JoinHandle<Vec<u8>>,
}

impl Taking {
    pub fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running::start(command);
        let out = all(running.child.stdout.take().unwrap());
        let said = all(running.child.stderr.take().unwrap());
        Self { running, out, said }
    }

    /// Its end, which has to come by itself.
    pub fn end(mut self) -> Ended {
        let code = self.running.wait(PATIENCE);
        let said = String::from_utf8_lossy(&self.said.join().unwrap()).into_owned();
        Ended { code, out: self.out.join().unwrap(), said }
    }
}

impl Scene {
    /// A place in Bob's directory.
    pub fn bobs(&self, name: &str) -> std::path::PathBuf {
        self.town.path("bob").join(name)
    }

    /// Bob's conf-recv, which runs in his directory.
    pub fn recv_command(&self, arguments: &[&str]) -> Command {
        let home = self.town.path("bob");
        std::fs::create_dir_all(&home).unwrap();
        let mut command = program("conf-recv", &home);
        command.args(arguments).env("CONF_ROOM", self.room()).env("CONF_NAME", "Bob").current_dir(&home);
        command
    }

    pub fn recv(&self, arguments: &[&str]) -> Ended {
        Taking::start(self.recv_command(arguments)).end()
    }

    /// Ann's conf-send, until its end.
    pub fn sent(&self, arguments: &[&str]) -> Ended {
        Taking::start(self.command(&self.room(), arguments)).end()
    }
}

fn all(mut pipe: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}
