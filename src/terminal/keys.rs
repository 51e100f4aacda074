//! What keys and pasted text do.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::command::{self, Typed};
use super::complete::{self, Completion};
use super::input::{self, Motion};
use super::line::{Draft, Kind};
use super::screen::{Action, Now, Screen};
use crate::text;

/// Lines that are pasted without a question.
const PASTE: usize = 5;
/// Keys that come this soon after pasted text came with it: a person is slower. A paste that contains
/// its own end mark would type, and send, otherwise.
const BURST: Duration = Duration::from_millis(50);
/// "Typing" is told this often: it holds for a while only.
const AGAIN: Duration = Duration::from_secs(3);

impl Screen {
    /// A key was pressed.
    pub fn handle_key(&mut self, key: KeyEvent, now: Now) -> Vec<Action> {
        if key.kind == KeyEventKind::Release {
            return Vec::new();
        }
        self.note_key(now);
        if self.burst.is_some_and(|until| now.moment < until) {
            return self.handle_burst(key, now);
        }
        self.burst = None;
        if self.paste.is_some() {
            return self.answer_paste(key, now);
        }
        self.hint = None;
        if !matches!(key.code, KeyCode::Tab | KeyCode::BackTab) {
            self.completion = None;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        let alt = key.modifiers.contains(KeyModifiers::ALT);
        match key.code {
            KeyCode::Enter if alt || key.modifiers.contains(KeyModifiers::SHIFT) => self.type_text("\n"),
            KeyCode::Enter => return self.submit(now),
            KeyCode::Tab => return self.complete(false),
            KeyCode::BackTab => return self.complete(true),
            KeyCode::Char(c) if control => return self.control(c.to_ascii_lowercase(), now),
            KeyCode::Char('<' | 'v' | 'V') if alt => {
                self.alt(if key.code == KeyCode::Char('<') { '<' } else { 'v' });
                return self.ask_for_older();
            }
            KeyCode::PageUp => {
                self.scroll_page(-1);
                return self.ask_for_older();
            }
            KeyCode::Home if control => {
                self.lines.go_to_top();
                return self.ask_for_older();
            }
            KeyCode::Char(c) if alt => self.alt(c),
            // A control character of another encoding is no text.
            KeyCode::Char(c) if !c.is_control() => self.type_text(c.encode_utf8(&mut [0; 4])),
            _ => self.move_around(key.code, control, alt, key.modifiers.contains(KeyModifiers::SHIFT)),
        }
        self.tell_typing(now)
    }

    /// Text was pasted. It stands in the input; nothing is sent by it.
    pub fn handle_paste(&mut self, pasted: &str, now: Now) -> Vec<Action> {
        self.burst = Some(now.moment + BURST);
        self.completion = None;
        if pasted.len() > 4 * input::BYTES {
            self.refuse_paste(pasted.len());
            return Vec::new();
        }
        // Terminals send CR for the end of a line.
        let pasted = pasted
            .replace("\x1b[200~", "")
            .replace("\x1b[201~", "")
            .replace("\r\n", "\n")
            .replace('\r', "\n");
        let clean = text::scrub_lines(pasted.strip_suffix('\n').unwrap_or(&pasted), usize::MAX);
        if let Some(waiting) = &mut self.paste {
            waiting.push_str(&clean);
        } else if clean.len() + self.input.text().len() > input::BYTES {
            self.hint = Some(too_much(clean.len()));
        } else if clean.matches('\n').count() >= PASTE {
            self.paste = Some(clean);
        } else {
            self.type_text(&clean);
        }
        self.tell_typing(now)
    }

    /// So many bytes were pasted that they were not even kept.
    pub fn refuse_paste(&mut self, bytes: usize) {
        self.hint = Some(too_much(bytes));
    }

    /// What came with pasted text belongs to it.
    fn handle_burst(&mut self, key: KeyEvent, now: Now) -> Vec<Action> {
        self.burst = Some(now.moment + BURST);
        let mut typed = [0; 4];
        let typed: &str = match key.code {
            KeyCode::Enter => "\n",
            KeyCode::Tab => " ",
            KeyCode::Char('j' | 'm') if key.modifiers.contains(KeyModifiers::CONTROL) => "\n",
            KeyCode::Char(c) if !c.is_control() && !key.modifiers.contains(KeyModifiers::CONTROL) => {
                c.encode_utf8(&mut typed)
            }
            _ => return Vec::new(),
        };
        match &mut self.paste {
            Some(waiting) if waiting.len() < 4 * input::BYTES => waiting.push_str(typed),
            Some(_) => {}
            None => self.type_text(typed),
        }
        Vec::new()
    }

    fn answer_paste(&mut self, key: KeyEvent, now: Now) -> Vec<Action> {
        let no = matches!(key.code, KeyCode::Esc | KeyCode::Char('n' | 'N'))
            || key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
        let yes = matches!(key.code, KeyCode::Enter | KeyCode::Char('y' | 'Y'));
        if (no || yes)
            && let Some(paste) = self.paste.take()
            && yes
        {
            self.type_text(&paste);
        }
        self.tell_typing(now)
    }

    fn type_text(&mut self, text: &str) {
        if !self.input.insert(text) {
            self.hint = Some(too_much(self.input.text().len() + text.len()));
        }
    }

    fn control(&mut self, key: char, now: Now) -> Vec<Action> {
        match key {
            'a' => self.input.go(Motion::LineStart),
            'b' => self.input.go(Motion::Left),
            'c' if self.input.text().is_empty() => return vec![Action::Interrupt],
            'c' => {
                self.input.take();
                self.hint = Some("Ctrl-C again leaves; Up brings back what was typed".into());
            }
            'd' if self.input.text().is_empty() => return vec![Action::Quit],
            'd' => self.input.delete(Motion::Right, false),
            'e' => self.input.go(Motion::LineEnd),
            'f' => self.input.go(Motion::Right),
            'h' => self.input.delete(Motion::Left, false),
            'j' => self.type_text("\n"),
            'k' => self.input.delete(Motion::LineEnd, true),
            'l' => return vec![Action::Redraw],
            'n' => drop(self.input.newer()),
            'p' => drop(self.input.older()),
            'r' if self.search.is_some() => return self.search_on(true),
            'r' if !self.input.older_like() => {
                self.hint = Some("nothing like that was typed before".into());
            }
            's' if self.search.is_some() => return self.search_on(false),
            't' => self.input.transpose(),
            'u' => self.input.delete(Motion::LineStart, true),
            'w' => self.input.delete(Motion::BlankLeft, true),
            'y' if !self.input.paste_cut() => self.hint = Some(too_much(input::BYTES)),
            'z' => return vec![Action::Suspend],
            _ => {}
        }
        self.tell_typing(now)
    }

    fn alt(&mut self, key: char) {
        match key.to_ascii_lowercase() {
            'b' => self.input.go(Motion::WordLeft),
            'f' => self.input.go(Motion::WordRight),
            'd' => self.input.delete(Motion::WordRight, true),
            '<' => self.lines.go_to_top(),
            '>' => self.lines.go_to_bottom(),
            'v' => self.scroll_page(-1),
            'l' => self.bare = !self.bare,
            'm' => self.without_members = !self.without_members,
            _ => {}
        }
    }

    fn move_around(&mut self, key: KeyCode, control: bool, alt: bool, shift: bool) {
        match key {
            KeyCode::Backspace if alt || control => self.input.delete(Motion::WordLeft, true),
            KeyCode::Backspace => self.input.delete(Motion::Left, false),
            KeyCode::Delete if control => self.input.delete(Motion::WordRight, true),
            KeyCode::Delete => self.input.delete(Motion::Right, false),
            KeyCode::Left if control || alt => self.input.go(Motion::WordLeft),
            KeyCode::Right if control || alt => self.input.go(Motion::WordRight),
            KeyCode::Left => self.input.go(Motion::Left),
            KeyCode::Right => self.input.go(Motion::Right),
            KeyCode::Up if shift || control => self.lines.scroll(-1),
            KeyCode::Down if shift || control => self.lines.scroll(1),
            KeyCode::Up if self.input.go_vertically(false, self.input_width) || self.input.older() => {}
            KeyCode::Up => self.input.go(Motion::Start),
            KeyCode::Down if self.input.go_vertically(true, self.input_width) || self.input.newer() => {}
            KeyCode::Down => self.input.go(Motion::End),
            KeyCode::PageDown => self.scroll_page(1),
            KeyCode::End if control => self.lines.go_to_bottom(),
            KeyCode::Home => self.input.go(Motion::LineStart),
            KeyCode::End => {
                // First the end of the line, then that of the messages.
                let before = self.input.cursor();
                self.input.go(Motion::LineEnd);
                if self.input.cursor() == before {
                    self.lines.go_to_bottom();
                }
            }
            KeyCode::Esc => {
                self.search = None;
                self.lines.go_to_bottom();
            }
            _ => {}
        }
    }

    /// To the message before or behind the one that was found.
    fn search_on(&mut self, older: bool) -> Vec<Action> {
        if let Err(why) = self.look_further(older) {
            self.hint = Some(why);
        }
        Vec::new()
    }

    fn scroll_page(&mut self, pages: isize) {
        // A row of the page before stays, for reading on.
        self.lines.scroll(pages * self.page.saturating_sub(1).max(1) as isize);
    }

    fn complete(&mut self, back: bool) -> Vec<Action> {
        if self.completion.is_none() {
            let before = &self.input.text()[..self.input.cursor()];
            if let Some(typed) = complete::path(before) {
                return vec![Action::Paths(typed)];
            }
            let others = self.members.iter().filter(|person| !person.own);
            let names: Vec<&str> = match complete::is_of_sent_away(before) {
                true => self.names_sent_away().collect(),
                false => others.map(|person| person.name.as_str()).collect(),
            };
            self.completion = Completion::new(before, &names, &self.files);
        }
        self.go_on_completing(back);
        Vec::new()
    }

    /// What was looked for has been found; what was typed since counts.
    pub(super) fn handle_paths(&mut self, typed: &str, found: Vec<String>) {
        let before = &self.input.text()[..self.input.cursor()];
        if complete::path(before).as_deref() != Some(typed) {
            return;
        }
        if found.is_empty() {
            self.hint = Some("no file or directory begins so".into());
            return;
        }
        self.completion = Completion::of_paths(before, found);
        self.go_on_completing(false);
        // Tab goes on below a directory that is the only one.
        self.completion = self.completion.take().filter(|completion| completion.found().len() > 1);
    }

    fn go_on_completing(&mut self, back: bool) {
        let Some(completion) = &mut self.completion else { return };
        let start = completion.start;
        let word = completion.next(back).to_owned();
        if completion.found().len() > 1 {
            let shown: Vec<&str> = completion.found().iter().take(8).map(|word| word.trim_end()).collect();
            self.hint = Some(shown.join("  "));
        }
        self.input.replace(start, &word);
    }

    fn submit(&mut self, now: Now) -> Vec<Action> {
        let mut actions = match command::parse(self.input.text()) {
            Typed::Nothing => return Vec::new(),
            Typed::Unknown(why) => {
                self.hint = Some(why);
                return Vec::new();
            }
            Typed::Say(said) => {
                let typed = self.input.take();
                let mut actions = self.post(Draft { kind: Kind::Text, to: None, text: said });
                actions.push(Action::Remember(typed));
                actions
            }
            Typed::Command(command, rest) => match self.obey(command, &rest, now) {
                Ok(mut actions) => {
                    let typed = self.input.take();
                    if command.is_kept() {
                        actions.push(Action::Remember(typed));
                    }
                    actions
                }
                Err(why) => {
                    self.hint = Some(why);
                    return Vec::new();
                }
            },
        };
        if self.typing.take().is_some() {
            actions.push(Action::Typing(false));
        }
        actions
    }

    /// Whoever says something has read what stands there.
    pub(super) fn post(&mut self, mut draft: Draft) -> Vec<Action> {
        draft.text = text::scrub_lines(draft.text.trim_end(), usize::MAX);
        self.lines.mark_read();
        self.lines.go_to_bottom();
        vec![Action::Post(draft)]
    }

    /// The others learn when something is being typed, again while that goes on, and when it ends.
    fn tell_typing(&mut self, now: Now) -> Vec<Action> {
        let text = self.input.text();
        let said = !text.trim().is_empty() && (!text.starts_with('/') || text.starts_with("//"));
        match (said, self.typing) {
            (true, Some((_, told))) if now.moment.since(told) < AGAIN => {
                self.typing = Some((now.moment, told));
                Vec::new()
            }
            (true, _) => {
                self.typing = Some((now.moment, now.moment));
                vec![Action::Typing(true)]
            }
            (false, Some(_)) => {
                self.typing = None;
                vec![Action::Typing(false)]
            }
            (false, None) => Vec::new(),
        }
    }
}

fn too_much(bytes: usize) -> String {
    format!(
        "{} KiB are more than fits into a message ({} KiB): as a file it fits, /send PATH or conf-send --text",
        bytes.div_ceil(1024),
        input::BYTES / 1024
    )
}
