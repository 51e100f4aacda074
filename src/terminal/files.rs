//! Files that the room was offered, and those that are on their way, as the screen shows them.

use std::collections::BTreeMap;

use super::draw::fit;
use super::gauge::{gauge, percent};
use super::line::Line;
use super::screen::{Now, Screen};
use crate::id::OfferNumber;
use crate::text;
use crate::transfer::meant;

/// Cells of a title in a sentence.
const TITLE: usize = 60;
/// Narrower lists have two rows for each offer.
const TABLE: usize = 44;
/// Columns between two cells of the table.
const APART: usize = 2;
/// Offers that a sentence names; the others are counted.
const SHORT: usize = 5;
/// Transfers that have a row on the screen; the others are counted.
const ROWS: usize = 4;

/// An offer. Texts are scrubbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its number in the room.
    pub number: OfferNumber,
    /// What it is called.
    pub title: String,
    /// How many files, where that is known.
    pub files: u64,
    /// How large it is, for people.
    pub size: String,
    /// Whose it is.
    pub from: String,
    /// Whether it is of the person at this terminal.
    pub own: bool,
    /// For whom it is, where it is for one member only.
    pub to: Option<String>,
    /// How it stands, in a word or two.
    pub state: String,
    /// Whether all of it is there.
    pub complete: bool,
    /// Whether the person at this terminal has received it.
    pub received: bool,
}

/// What happened to an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfferNews {
    /// It is there now.
    New,
    /// All of it is there.
    Complete,
    /// So many members have all of it.
    Received(u32),
    /// Something about it is different.
    Changed,
}

/// A file on its way. Texts are scrubbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Its number among what this program moves.
    pub id: u32,
    /// The offer, as soon as it has a number.
    pub offer: Option<OfferNumber>,
    /// What it is called.
    pub title: String,
    /// Whether it goes to the room.
    pub sends: bool,
    /// How far it is, for people.
    pub head: String,
    /// Bytes that are safe.
    pub done: u64,
    /// All bytes, where that is known.
    pub total: Option<u64>,
    /// What else there is to say, in the order of what matters.
    pub parts: Vec<String>,
}

/// Offers and transfers. Bounded by what the server keeps and by what the program moves.
#[derive(Debug, Default)]
pub(super) struct Files {
    offers: BTreeMap<OfferNumber, Offer>,
    moving: BTreeMap<u32, Transfer>,
}

impl Files {
    /// All that there is, instead of what was known.
    pub(super) fn replace(&mut self, offers: Vec<Offer>) {
        self.offers = offers.into_iter().map(|offer| (offer.number, offer)).collect();
    }

    /// An offer came or changed.
    pub(super) fn put(&mut self, offer: Offer) {
        self.offers.insert(offer.number, offer);
    }

    /// An offer is there no more.
    pub(super) fn remove(&mut self, number: OfferNumber) {
        self.offers.remove(&number);
    }

    /// How a transfer goes.
    pub(super) fn show(&mut self, transfer: Transfer) {
        self.moving.insert(transfer.id, transfer);
    }

    /// A transfer has ended.
    pub(super) fn end(&mut self, id: u32) {
        self.moving.remove(&id);
    }

    /// All offers, the oldest first.
    pub(super) fn offers(&self) -> impl DoubleEndedIterator<Item = &Offer> {
        self.offers.values()
    }

    /// How much moves.
    pub(super) fn count(&self) -> usize {
        self.moving.len()
    }

    /// What a person means by a number or a name ([`meant`]).
    pub(super) fn find(&self, what: &str) -> Option<&Offer> {
        meant(what, &self.offers, |offer| &offer.title)
    }

    /// The newest offers, in a few words.
    pub(super) fn in_short(&self) -> String {
        let newest = self.offers.values().rev().take(SHORT).map(named);
        let more = self.offers.len().saturating_sub(SHORT);
        let more = (more > 0).then(|| format!("{more} more"));
        newest.chain(more).collect::<Vec<_>>().join(", ")
    }

    /// The only offer of others that was not received.
    pub(super) fn only_new(&self) -> Option<&Offer> {
        let mut new = self.offers.values().filter(|offer| !offer.own && !offer.received);
        new.next().filter(|_| new.next().is_none())
    }

    /// The transfers that a person means by the number or the name of an offer; without any, the only one.
    pub(super) fn transfers(&self, what: &str) -> Vec<u32> {
        let number = number(what);
        let meant = |transfer: &&Transfer| match what {
            "" => self.moving.len() == 1,
            what => number.is_some() && transfer.offer == number || transfer.title == what,
        };
        self.moving.values().filter(meant).map(|transfer| transfer.id).collect()
    }

    /// The list of `/files`, in rows of at most `width` cells.
    pub(super) fn list(&self, width: usize) -> String {
        if self.offers.is_empty() {
            return "nothing is offered in this room; /send PATH offers something".into();
        }
        match width {
            TABLE.. => self.table(width),
            _ => self.offers.values().map(|offer| self.short(offer, width)).collect::<Vec<_>>().join("\n"),
        }
    }

    fn table(&self, width: usize) -> String {
        let mut rows = vec![["#", "WHAT", "SIZE", "FROM", "STATE"].map(String::from)];
        rows.extend(self.offers.values().map(|offer| {
            let [number, size, from] = [offer.number.to_string(), offer.size.clone(), whose(offer)];
            [number, titled(offer), size, from, self.state(offer)]
        }));
        let widest = |at: usize| rows.iter().map(|row| text::width(&row[at])).max().unwrap_or_default();
        let mut widths: [usize; 5] = std::array::from_fn(widest);
        // The longest names give way first, then who it is from, then how it stands.
        for (column, least) in [(1, 12), (3, 6), (4, 8), (1, 4)] {
            let all = widths.iter().sum::<usize>() + 4 * APART;
            let much = all.saturating_sub(width);
            widths[column] = widths[column].saturating_sub(much).max(least.min(widths[column]));
        }
        let line = |row: &[String; 5]| {
            let mut line = String::new();
            for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
                let cell = fit(cell, width);
                let free = " ".repeat(width - text::width(&cell));
                // Numbers end where they should be compared.
                let (before, behind) =
                    if matches!(at, 0 | 2) { (free, String::new()) } else { (String::new(), free) };
                line.extend([before.as_str(), cell.as_str(), behind.as_str(), "  "]);
            }
            line.trim_end().to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// How an offer stands. What moves here is further than the server has told: it says the same as its bar.
    fn state(&self, offer: &Offer) -> String {
        let moving = self.moving.values().find(|moving| moving.offer == Some(offer.number));
        let part = moving.and_then(|moving| Some((moving.sends, percent(moving.done, moving.total?))));
        let mut state = match part {
            Some((true, part)) if !offer.complete => format!("{part} % so far"),
            Some((false, part)) => format!("{}, fetched {part} %", offer.state),
            _ => offer.state.clone(),
        };
        if let Some(to) = &offer.to {
            state.push_str(&format!(", to {to} alone"));
        }
        if offer.received {
            state.push_str(", received");
        }
        state
    }

    fn short(&self, offer: &Offer, width: usize) -> String {
        let first = fit(&format!("#{} {}", offer.number, titled(offer)), width);
        let second = fit(&format!("  {}, {}, {}", offer.size, whose(offer), self.state(offer)), width);
        format!("{first}\n{second}")
    }

    /// The rows of what moves, at most `rows` of `width` cells.
    pub(super) fn rows(&self, rows: usize, width: usize) -> Vec<String> {
        let rows = rows.min(ROWS);
        let all = self.moving.len();
        let shown = if all > rows { rows.saturating_sub(1) } else { all };
        let mut lines: Vec<String> =
            self.moving.values().take(shown).map(|moving| row(moving, width)).collect();
        if all > shown && rows > 0 {
            lines.push(fit(&format!(" and {} more on their way", all - shown), width));
        }
        lines
    }
}

impl Screen {
    /// An offer came or changed.
    pub(super) fn handle_offer(&mut self, offer: Offer, news: OfferNews, now: Now) {
        let number = offer.number;
        match news {
            OfferNews::New => {
                let text = offered(&offer, "/get");
                self.push(Line::Offer { number, text }, now.wall);
            }
            OfferNews::Complete => {
                // What was said last becomes the news.
                let text = offered(&offer, "/get");
                if !self.lines.change_offer(number, text) {
                    self.push(Line::Notice(format!("{} is complete", named_of(&offer))), now.wall);
                }
            }
            OfferNews::Received(count) if offer.own => {
                let who = if count == 1 { "1 member has".into() } else { format!("{count} members have") };
                self.push(Line::Notice(format!("{who} all of {}", named_of(&offer))), now.wall);
            }
            OfferNews::Received(_) | OfferNews::Changed => {}
        }
        self.files.put(offer);
    }
}

/// What is said of an offer that is new; `fetch` is the command that fetches it.
pub fn offered(offer: &Offer, fetch: &str) -> String {
    let what = named(offer);
    let many = if offer.files > 1 { format!(", {} files", offer.files) } else { String::new() };
    let done = if offer.complete { ", complete" } else { "" };
    let size = &offer.size;
    match (&offer.to, offer.own) {
        (None, true) => format!("you offer {what}{many}, {size}{done}"),
        (Some(to), true) => format!("you offer {what}{many}, {size}, to {to} alone{done}"),
        (None, false) => {
            format!("{} offers {what}{many}, {size}{done}; {fetch} {} fetches it", offer.from, offer.number)
        }
        (Some(_), false) => {
            format!(
                "{} offers you alone {what}{many}, {size}{done}; {fetch} {} fetches it",
                offer.from, offer.number
            )
        }
    }
}

/// An offer in a sentence; a name with spaces stands in quotes.
pub fn named(offer: &Offer) -> String {
    let title = text::shorten(&offer.title, TITLE);
    match title.contains(char::is_whitespace) {
        true => format!("#{} \"{title}\"", offer.number),
        false => format!("#{} {title}", offer.number),
    }
}

/// The same with whose it is.
pub(super) fn named_of(offer: &Offer) -> String {
    if offer.own { format!("your {}", named(offer)) } else { format!("{} of {}", named(offer), offer.from) }
}

/// What became of an offer that is there no more; `by` whom, where a host has taken it back.
pub fn gone(offer: &Offer, why: &str, by: Option<&str>) -> String {
    match by {
        Some(by) => format!("{by} took back {}", named_of(offer)),
        None => format!("{} {why}", named_of(offer)),
    }
}

fn number(what: &str) -> Option<OfferNumber> {
    what.strip_prefix('#').unwrap_or(what).parse().ok().map(OfferNumber)
}

fn whose(offer: &Offer) -> String {
    if offer.own { "you".into() } else { offer.from.clone() }
}

fn titled(offer: &Offer) -> String {
    text::shorten(&offer.title, TITLE)
}

fn row(moving: &Transfer, width: usize) -> String {
    let sign = if moving.sends { "↑" } else { "↓" };
    let number = moving.offer.map_or_else(String::new, |offer| format!("#{offer} "));
    let name = format!(" {sign} {number}{}", moving.title);
    let name = fit(&name, (width / 3).max(width.saturating_sub(60)));
    let part = moving.total.map(|total| (moving.done, total));
    fit(&gauge(&format!("{name} {}", moving.head), part, &moving.parts, width), width)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(number: u32, title: &str, from: &str) -> Offer {
        Offer {
            number: OfferNumber(number),
            title: title.into(),
            files: 1,
            size: "2.3 MiB".into(),
            from: from.into(),
            own: false,
            to: None,
            state: "complete".into(),
            complete: true,
            received: false,
        }
    }

    fn some() -> Files {
        let mut files = Files::default();
        files.replace(vec![
            offer(3, "report.pdf", "Bo"),
            Offer {
                state: "42 % so far".into(),
                size: "1.0 GiB".into(),
                ..offer(4, "老照片 2024/", "王小明")
            },
            Offer { own: true, to: Some("Bo".into()), ..offer(12, "notes.txt", "Ann") },
        ]);
        files
    }

    #[test]
    fn the_list_keeps_its_columns() {
        let table = [
            " #  WHAT             SIZE  FROM    STATE",
            " 3  report.pdf    2.3 MiB  Bo      complete",
            " 4  老照片 2024/  1.0 GiB  王小明  42 % so far",
            "12  notes.txt     2.3 MiB  you     complete, to Bo alone",
        ];
        assert_eq!(some().list(70), table.join("\n"));
        let narrow = [
            "#3 report.pdf",
            "  2.3 MiB, Bo, complete",
            "#4 老照片 2024/",
            "  1.0 GiB, 王小明, 42 % so far",
            "#12 notes.txt",
            "  2.3 MiB, you, complete, to …",
        ];
        assert_eq!(some().list(30), narrow.join("\n"));
        assert!(Files::default().list(80).contains("nothing is offered"));
    }

    #[test]
    fn f37_no_row_is_wider_than_it_may_be() {
        let mut files = some();
        files.put(offer(5, &"👩‍👩‍👧汉字 e\u{301} ".repeat(20), &"🏳\u{fe0f}‍🌈王".repeat(10)));
        for id in 0..6 {
            files.show(Transfer {
                id,
                offer: Some(OfferNumber(5)),
                title: "汉字 ".repeat(30),
                sends: id % 2 == 0,
                head: " 42 %".into(),
                done: 42,
                total: Some(100),
                parts: vec!["2.4 MiB/s".into(), "0:21 left".into()],
            });
        }
        for width in 1..200 {
            for row in files.list(width).lines().map(str::to_owned).chain(files.rows(9, width)) {
                assert!(text::width(&row) <= width.max(1), "{width}: {row}");
            }
        }
        assert_eq!(files.rows(3, 80).len(), 3);
        assert_eq!(files.rows(9, 80).last().map(String::as_str), Some(" and 3 more on their way"));
        assert!(files.rows(0, 80).is_empty());
    }

    #[test]
    fn an_offer_is_meant_by_number_and_by_name() {
        let mut files = some();
        files.put(offer(13, "12", "Bo"));
        files.put(offer(14, "report.pdf", "Bo"));
        let number = |what: &str| files.find(what).map(|offer| offer.number.0);
        assert_eq!([number("3"), number("#3"), number("12")], [Some(3), Some(3), Some(12)]);
        assert_eq!([number("report.pdf"), number("老照片 2024/"), number("x")], [Some(14), Some(4), None]);
        assert!(files.only_new().is_none());
        assert_eq!(number("老照片 2024"), Some(4), "as for conf-recv");
    }

    #[test]
    fn the_list_and_the_bar_agree_on_how_far_a_transfer_is() {
        let mut files = some();
        let moving = |id, offer, sends, done| Transfer {
            id,
            offer: Some(OfferNumber(offer)),
            title: "x".into(),
            sends,
            head: format!("{done:3} %"),
            done,
            total: Some(100),
            parts: Vec::new(),
        };
        files.put(Offer { complete: false, state: "42 % so far".into(), ..offer(4, "x", "Ann") });
        files.show(moving(1, 4, true, 57));
        files.show(moving(2, 3, false, 8));
        let (list, rows) = (files.list(90), files.rows(4, 80).join("\n"));
        assert!(list.contains("57 % so far") && rows.contains("57 %"), "{list}\n{rows}");
        assert!(list.contains("complete, fetched 8 %") && rows.contains("8 %"), "{list}\n{rows}");
    }
}
