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
use crate::wire::control::{Action, Status};

/// Requests whose answers are awaited; the oldest is forgotten first.
const REQUESTS: usize = 64;

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
            return self.object(Some(Exit::Usage), message, None);
        }
        if line.text.trim().is_empty() {
            return;
        }
        let (id, asked) = json::asked(&line.text);
        // What is to be said must arrive for the program to end well; everything else has its answer.
        let counts = matches!(asked, Err(_) | Ok(Asked::Message { .. } | Asked::Topic { .. }));
        let result = match asked {
            Ok(asked) => self.carry_out(asked, id.clone(), room).await.map_err(|why| (Exit::Refused, why)),
            Err(why) => Err((Exit::Usage, why)),
        };
        if let Err((exit, message)) = result {
            self.object(counts.then_some(exit), message, id.as_ref());
        }
    }

    async fn carry_out(&mut self, asked: Asked, id: Option<Value>, room: &Handle) -> Result<(), String> {
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
                let name: Nick = name.parse().map_err(|error| format!("{error}"))?;
                let request = self.request(id);
                room.rename(request, name).await;
            }
            Asked::Moderate { action, member } => {
                let member = match (action, member) {
                    (Action::Unknown, _) => return Err("there is no such action".into()),
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

    fn add(&mut self, content: Content, to: Option<MemberId>, id: Option<Value>) -> Result<(), String> {
        if content.text().is_empty() && !matches!(content, Content::Topic(_)) {
            return Err("the text is empty".into());
        }
        let mut parts = parts(content);
        match (parts.pop(), parts.is_empty()) {
            (Some(content), true) => self.drafts.push_back(Draft { content, to, id }),
            _ => return Err(format!("the text is longer than {} bytes", super::LINE)),
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

    /// Says that a line was not carried out, which the end of the program says too where it `counts`.
    fn object(&mut self, counts: Option<Exit>, message: String, id: Option<&Value>) {
        if let Some(exit) = counts {
            let (count, exit) = self.wrong.unwrap_or((0, exit));
            self.wrong = Some((count + 1, exit));
        }
        let error = Error { message, line: Some(self.line), id, ..Error::default() };
        self.voice.tell(&Told::Error(error));
    }
}
