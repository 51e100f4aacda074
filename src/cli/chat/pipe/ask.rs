//! What a program asks for with `--json`.

use serde_json::Value;

use super::{Draft, Pipe, parts};
use crate::chat::Content;
use crate::cli::Exit;
use crate::cli::chat::input::Line;
use crate::cli::chat::json::{self, Asked, Error, Kind, Told};
use crate::id::{MemberId, Nick};
use crate::limits;
use crate::net::client::Handle;
use crate::time::{self, Moment};
use crate::wire::control::{Action, Status};

/// Requests whose answers are awaited; the oldest is forgotten first.
const REQUESTS: usize = 64;

/// A request that is about what is offered, before that is known.
#[derive(Debug)]
pub(super) struct Held {
    asked: Asked,
    id: Option<Value>,
    /// Since when it waits.
    pub(super) since: Moment,
}

/// Why a request is not carried out, and what that means for the end of the program.
pub(super) struct Wrong(Exit, String);

impl Wrong {
    /// It makes no sense, whatever there is.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self(Exit::Usage, message.into())
    }
}

/// What it is about is not there.
impl From<String> for Wrong {
    fn from(message: String) -> Self {
        Self(Exit::Refused, message)
    }
}

impl Pipe {
    /// One line of input. What makes no sense is answered, and the next line is taken.
    pub(super) async fn handle_request(&mut self, line: &Line, room: &Handle) {
        // The parts of a line that is too long are one line.
        let rest = std::mem::replace(&mut self.told_cut, line.goes_on);
        if rest {
            return;
        }
        self.line += 1;
        if line.goes_on {
            let message = format!("the line is longer than {} bytes", json::LONGEST);
            return self.object(Exit::Usage, message, None);
        }
        if line.text.trim().is_empty() {
            return;
        }
        let (id, asked) = json::asked(&line.text);
        match asked {
            Ok(asked) if asked.is_about_offers() && !self.files.is_listed() => {
                self.held = Some(Held { asked, id, since: time::now() });
            }
            Ok(asked) => self.answer(asked, id, room).await,
            Err(why) => self.object(Exit::Usage, why, id.as_ref()),
        }
    }

    async fn answer(&mut self, asked: Asked, id: Option<Value>, room: &Handle) {
        if let Err(Wrong(exit, message)) = self.carry_out(asked, id.clone(), room).await {
            self.object(exit, message, id.as_ref());
        }
    }

    /// Carries out what waited until it was known what is offered, once it is.
    pub(super) async fn take_held(&mut self, room: &Handle) {
        if let Some(held) = self.held.take_if(|_| self.files.is_listed()) {
            self.answer(held.asked, held.id, room).await;
        }
    }

    /// It takes too long.
    pub(super) fn give_up_held(&mut self) {
        if let Some(held) = self.held.take() {
            let message = "what is offered did not become known in time".to_owned();
            self.object(Exit::Incomplete, message, held.id.as_ref());
        }
    }

    async fn carry_out(&mut self, asked: Asked, id: Option<Value>, room: &Handle) -> Result<(), Wrong> {
        let status = |typing, away| Status { typing, away };
        match asked {
            Asked::Message { text, to, kind } => {
                let to = to.or_else(|| self.to.clone());
                let to = to.map(|name| self.find(&name)).transpose()?;
                self.add(kind.content(text), to, id)?;
            }
            Asked::Topic { text } => self.add(Kind::Topic.content(text), None, id)?,
            Asked::Typing { typing } => room.status(status(Some(typing.unwrap_or(true)), None)).await,
            Asked::Away { text } => {
                let reason = text.unwrap_or_default().chars().take(limits::REASON).collect();
                room.status(status(None, Some(Some(reason)))).await;
            }
            Asked::Back {} => room.status(status(None, Some(None))).await,
            Asked::Rename { name } => {
                let name: Nick = name.parse().map_err(|error| Wrong::usage(format!("{error}")))?;
                let request = self.request(id);
                room.rename(request, name).await;
            }
            Asked::Moderate { action, member } => {
                let member = match (action, member) {
                    (Action::Unknown, _) => return Err(Wrong::usage("there is no such action")),
                    (Action::Unkick, Some(name)) => Some(self.find_sent_away(&name)?),
                    (_, member) => member.map(|name| self.find(&name)).transpose()?,
                };
                let request = self.request(id);
                room.moderate(request, action, member).await;
            }
            Asked::Offers {} => self.list_offers(id),
            Asked::Get { offer, directory } => self.get(&offer, directory, id)?,
            Asked::Send { paths, to } => self.send(paths, to, id)?,
            Asked::Cancel { transfer } => self.cancel(transfer)?,
            Asked::Withdraw { offer } => {
                let offer = self.offer_number(&offer)?;
                let request = self.request(id);
                room.withdraw(request, offer).await;
            }
        }
        Ok(())
    }

    fn add(&mut self, content: Content, to: Option<MemberId>, id: Option<Value>) -> Result<(), Wrong> {
        if content.text().is_empty() && !matches!(content, Content::Topic(_)) {
            return Err(Wrong::usage("the text is empty"));
        }
        let mut parts = parts(content);
        match (parts.pop(), parts.is_empty()) {
            (Some(content), true) => self.drafts.push_back(Draft { content, to, id }),
            _ => return Err(Wrong::usage(format!("the text is longer than {} bytes", super::LINE))),
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Result<MemberId, String> {
        let shown = || crate::text::for_log(name.as_bytes(), limits::NAME);
        self.roster
            .by_name(name)
            .map(|m| m.member)
            .ok_or_else(|| format!("nobody here is called {}", shown()))
    }

    fn find_sent_away(&self, name: &str) -> Result<MemberId, String> {
        let away = &self.about.sent_away;
        let wanted = name.to_lowercase();
        // Of several who were called so, whoever went last.
        let exact = away.iter().rev().find(|away| away.name == name);
        let found = exact.or_else(|| away.iter().rev().find(|away| away.name.to_lowercase() == wanted));
        found.map(|away| away.member).ok_or_else(|| {
            let shown = crate::text::for_log(name.as_bytes(), limits::NAME);
            let names: Vec<&str> = away.iter().map(|away| away.name.as_str()).collect();
            match names.is_empty() {
                true => "nobody is sent away".into(),
                false => format!("{shown} is not sent away; these are: {}", names.join(", ")),
            }
        })
    }

    /// A number for a request whose answer will carry `id`.
    fn request(&mut self, id: Option<Value>) -> u64 {
        self.asked += 1;
        if self.requests.len() >= REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back((self.asked, id));
        self.asked
    }

    /// What the answer to a request carries; nothing where there was no such request.
    pub(super) fn answered(&mut self, request: u64) -> Option<Option<Value>> {
        let at = self.requests.iter().position(|(number, _)| *number == request)?;
        self.requests.remove(at).map(|(_, id)| id)
    }

    /// Counts a line that was not carried out, which the end of the program says too.
    pub(super) fn count_wrong(&mut self, exit: Exit) {
        let (count, exit) = self.wrong.unwrap_or((0, exit));
        self.wrong = Some((count + 1, exit));
    }

    /// Says that a line was not carried out.
    fn object(&mut self, exit: Exit, message: String, id: Option<&Value>) {
        self.count_wrong(exit);
        let error = Error { message, line: Some(self.line), id, ..Error::default() };
        self.voice.tell(&Told::Error(error));
    }
}
