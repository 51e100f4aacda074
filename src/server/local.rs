//! How the programs of the person who runs a server talk to it: a Unix socket that only this person
//! can open, one JSON object per line, one question per connection.
//!
//! Limits: [`AT_ONCE`] connections, [`LINE`] bytes a line, [`PATIENCE`] for a question to come and an
//! answer to be taken.

mod answers;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream as Blocking;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::status::Status;
use crate::id::{PublicKey, RoomName, Secret};

/// Connections that are answered at once; further ones wait.
const AT_ONCE: usize = 16;
/// Bytes of a question.
const LINE: usize = 64 * 1024;
/// Bytes of an answer: 10,000 rooms with all that is said of them.
const ANSWER: u64 = 64 * 1024 * 1024;
/// Longest time for one step of a conversation.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for an answer: one that measures takes a second, a long history some to remove.
const ANSWERED: Duration = Duration::from_secs(30);

/// What the server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Question {
    /// How it is.
    Status,
    /// Which rooms there are.
    Rooms,
    /// To make a room.
    Create(Create),
    /// To remove one.
    Remove {
        /// Which.
        name: RoomName,
    },
}

/// A room to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Its name.
    pub name: RoomName,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<PublicKey>,
    /// Who are hosts besides the owner.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<PublicKey>,
    /// The key derived from its password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret<32>>,
    /// Members that it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_members: Option<usize>,
    /// Messages that it keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<u64>,
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Answer {
    /// How it is.
    Status(Box<Status>),
    /// The rooms, by name.
    Rooms {
        /// Those that are open or kept.
        rooms: Vec<RoomLine>,
    },
    /// It is done.
    Done,
    /// It is not, and why.
    Refused {
        /// A sentence.
        message: String,
    },
}

/// A room of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomLine {
    /// Its name.
    pub name: RoomName,
    /// Who is in it now.
    pub members: usize,
    /// Members that it takes.
    pub max_members: usize,
    /// Whether it has a password.
    pub password: bool,
    /// Whether newcomers are refused.
    pub locked: bool,
    /// Made with `room create`: stays when it is empty.
    pub permanent: bool,
    /// Messages kept on disk.
    pub messages: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Messages that it keeps at the most.
    pub history: Option<u64>,
    /// When the last one came, in seconds since 1970.
    pub last_message: Option<u64>,
    /// The fingerprint of whose it is.
    pub owner: Option<String>,
}

/// Where the socket of the server at `port` stands in a directory.
pub fn path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!("serve-{port}.sock"))
}

/// The ports of the servers that have, or had, a socket in a directory.
pub fn ports(directory: &Path) -> Vec<u16> {
    let Ok(files) = directory.read_dir() else { return Vec::new() };
    let port = |name: &str| name.strip_prefix("serve-")?.strip_suffix(".sock")?.parse().ok();
    let mut ports: Vec<u16> = files.flatten().filter_map(|file| port(file.file_name().to_str()?)).collect();
    ports.sort_unstable();
    ports
}

/// Whether a server is behind a socket.
pub fn answers(socket: &Path) -> bool {
    Blocking::connect(socket).is_ok()
}

/// Asks the server behind a socket. For programs without a runtime.
pub fn ask(socket: &Path, question: &Question) -> io::Result<Answer> {
    let mut stream = Blocking::connect(socket)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(ANSWERED))?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER)).read_line(&mut answer)?;
    match answer.ends_with('\n') {
        true => Ok(serde_json::from_str(&answer)?),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Makes the socket, in place of one that a dead server left.
pub fn bind(socket: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    use std::os::unix::net::UnixListener;
    if let Some(directory) = socket.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let listener = match UnixListener::bind(socket) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if answers(socket) {
                return Err(io::Error::new(error.kind(), "another conf-serve of this port answers there"));
            }
            std::fs::remove_file(socket)?;
            UnixListener::bind(socket)?
        }
        other => other?,
    };
    // Until then nobody else gets in either: who asks is checked too.
    std::fs::set_permissions(socket, PermissionsExt::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers until `stop`, then removes the socket.
pub(super) async fn serve<F>(
    socket: PathBuf,
    listener: std::os::unix::net::UnixListener,
    stop: CancellationToken,
    answer: impl Fn(Question) -> F + Send + Sync + 'static,
) where
    F: Future<Output = Answer> + Send,
{
    let listener = match UnixListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return warn!(%error, "local socket"),
    };
    let answer = Arc::new(answer);
    let mut talks = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = talks.join_next() => {}
            accepted = listener.accept(), if talks.len() < AT_ONCE => match accepted {
                Ok((stream, _)) => {
                    let answer = Arc::clone(&answer);
                    talks.spawn(async move {
                        if let Err(error) = converse(stream, &*answer).await {
                            debug!(%error, "local socket");
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "local socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
    let _ = std::fs::remove_file(&socket);
}

async fn converse<F>(stream: UnixStream, answer: &impl Fn(Question) -> F) -> io::Result<()>
where
    F: Future<Output = Answer>,
{
    let user = stream.peer_cred()?.uid();
    if user != rustix::process::geteuid().as_raw() && user != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let question = tokio::time::timeout(PATIENCE, read_line(&stream)).await??;
    let answer = match serde_json::from_str(&question) {
        Ok(question) => answer(question).await,
        Err(error) => Answer::Refused { message: format!("this server does not understand that: {error}") },
    };
    let mut line = serde_json::to_string(&answer)?;
    line.push('\n');
    tokio::time::timeout(PATIENCE, write_all(&stream, line.as_bytes())).await?
}

async fn read_line(stream: &UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        stream.readable().await?;
        let mut piece = [0; 1024];
        match stream.try_read(&mut piece) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) if line.len() + count > LINE => return Err(io::ErrorKind::InvalidData.into()),
            Ok(count) => line.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(line).map_err(io::Error::other)
}

async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says which rooms were asked to be removed.
    fn start(socket: &Path, stop: &CancellationToken) -> std::thread::JoinHandle<()> {
        let (socket, stop) = (socket.to_owned(), stop.clone());
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let serving =
                    serve(socket.clone(), bind(&socket).unwrap(), stop, async |question| match question {
                        Question::Remove { name } => Answer::Refused { message: name.to_string() },
                        _ => Answer::Done,
                    });
                let ready = async {
                    while !socket.exists() {
                        tokio::task::yield_now().await;
                    }
                    ready.send(()).unwrap();
                };
                tokio::join!(serving, ready);
            });
        });
        started.recv().unwrap();
        thread
    }

    #[test]
    fn s27_the_socket_is_for_its_owner_and_a_dead_servers_is_replaced() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("confkit");
        let socket = path(&directory, 2663);
        std::fs::create_dir(&directory).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(ask(&socket, &Question::Status).is_err(), "nobody is there");
        std::fs::remove_file(&socket).unwrap();
        let stop = CancellationToken::new();
        let thread = start(&socket, &stop);
        assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(ports(&directory), [2663]);
        let name: RoomName = "a b".parse().unwrap();
        let answer = ask(&socket, &Question::Remove { name }).unwrap();
        assert_eq!(answer, Answer::Refused { message: "a b".into() });
        assert_eq!(bind(&socket).unwrap_err().kind(), io::ErrorKind::AddrInUse, "it is not taken away");
        stop.cancel();
        thread.join().unwrap();
        assert_eq!(ports(&directory), [0; 0]);

        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        bind(&socket).unwrap();
    }

    #[test]
    fn nonsense_is_answered_with_a_sentence_and_too_much_of_it_with_the_end() {
        let home = tempfile::tempdir().unwrap();
        let socket = path(home.path(), 1);
        let stop = CancellationToken::new();
        let thread = start(&socket, &stop);
        let talk = |text: &[u8]| {
            let mut stream = Blocking::connect(&socket).unwrap();
            // The server may stop reading before it is all written.
            let _ = stream.write_all(text);
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        assert!(talk(b"{\"op\":\"reboot\"}\n").contains("does not understand"));
        assert!(talk(b"\xff\n").is_empty());
        assert!(talk(&[b'x'; LINE + 1]).is_empty());
        assert_eq!(talk(b"{\"op\":\"rooms\"}\n"), "{\"answer\":\"done\"}\n");
        stop.cancel();
        thread.join().unwrap();
    }
}
