//! What a pipe tells of the room: lines for people, objects for programs, or nothing.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::tz::TimeZone;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::sync::Notify;

use super::json::Told;
use super::lines;
use super::log::Log;
use crate::chat::Received;
use crate::cli::output::{self, Output};

/// See the module.
#[derive(Debug)]
pub(super) struct Voice {
    out: Option<Output>,
    json: bool,
    log: Option<Log>,
    zone: TimeZone,
    /// Why nothing is written to stdout any more.
    broken: Option<io::Error>,
}

impl Voice {
    /// `shows`: messages go to stdout.
    pub(super) fn new(json: bool, shows: bool, log: Option<Log>) -> io::Result<Self> {
        let out = if json || shows { Some(output::stdout()?) } else { None };
        Ok(Self { out, json, log, zone: TimeZone::system(), broken: None })
    }

    /// Whether it speaks JSON.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// Why nothing is written to stdout any more: its reader has gone, or there is no space.
    pub(super) fn broken(&self) -> Option<&io::Error> {
        self.broken.as_ref()
    }

    /// Told when the reader of stdout has gone: while nothing is written no write says so.
    pub(super) fn watch(&self) -> io::Result<Arc<Notify>> {
        let gone = Arc::new(Notify::new());
        if let Some(out) = &self.out {
            let out = out.as_file().try_clone()?;
            let told = Arc::clone(&gone);
            // It ends with the process: what it waits for may never happen.
            std::thread::Builder::new().name("stdout".into()).spawn(move || {
                let mut fds = [PollFd::new(&out, PollFlags::empty())];
                loop {
                    match poll(&mut fds, None) {
                        Err(rustix::io::Errno::INTR) => {}
                        Ok(_) if fds[0].revents().intersects(PollFlags::ERR | PollFlags::HUP) => break,
                        // A file that cannot be waited for has no reader.
                        _ => return,
                    }
                }
                told.notify_one();
            })?;
        }
        Ok(gone)
    }

    /// The reader of stdout has gone.
    pub(super) fn handle_gone(&mut self) {
        if self.out.take().is_some() {
            self.broken = Some(output::reader_gone());
        }
    }

    /// The same, for the end of the program.
    pub(super) fn into_broken(self) -> Option<io::Error> {
        self.broken
    }

    /// Tells programs something.
    pub(super) fn tell(&mut self, told: &Told<'_>) {
        if self.json {
            self.write(&told.line());
        }
    }

    /// Tells people what was said. `to`: who it was for; `own`: by this program, which is not shown.
    pub(super) fn message(&mut self, received: &Received, to: Option<&str>) {
        if let Some(log) = &mut self.log {
            log.append(&lines::message(&lines::stamp(received.received, &self.zone), received, to));
        }
        if !self.json && !received.own {
            let line = lines::message(&lines::clock(received.received, &self.zone), received, to);
            self.write(&line);
        }
    }

    /// Something that is missing, in the log.
    pub(super) fn note(&mut self, now: f64, text: &str) {
        if let Some(log) = &mut self.log {
            log.append(&format!("{} -- {text}\n", lines::stamp(now, &self.zone)));
        }
    }

    fn write(&mut self, text: &str) {
        if let Some(out) = &mut self.out
            && let Err(error) = out.write_all(text.as_bytes())
        {
            self.broken = Some(error);
            self.out = None;
        }
    }
}
