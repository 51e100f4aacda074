//! What the room has to offer, as a table or as an object.

use serde_json::{Value, json};

use super::memory::Memory;
use crate::cli::units;
use crate::pipeline::offers::Offer;
use crate::text;
use crate::transfer::Kind;

/// Cells of a title in the table.
const TITLE: usize = 48;

/// One row for each offer; a sentence where there is none.
/// `wall` is the time, in microseconds since 1970.
pub(super) fn table<'a>(
    offers: impl Iterator<Item = &'a Offer>,
    own: impl Fn(&Offer) -> bool,
    memory: &Memory,
    wall: u64,
) -> String {
    let mut rows = vec![["OFFER", "FROM", "WHAT", "FILES", "SIZE", "AGE", "STATE"].map(String::from)];
    for offer in offers {
        let files = offer.about.as_ref().map_or(0, |about| about.files);
        let mut state = offer.standing();
        if own(offer) {
            state.push_str(", yours");
        }
        if memory.has(offer.state.offer_id) {
            state.push_str(", received");
        }
        rows.push([
            offer.state.offer.to_string(),
            offer.state.name.clone(),
            text::shorten(offer.title(), TITLE),
            files.to_string(),
            offer.size().map_or_else(|| "?".into(), units::size),
            age(wall, offer.state.since),
            state,
        ]);
    }
    if rows.len() == 1 {
        return "nothing is offered in this room\n".into();
    }
    let widths: Vec<usize> =
        (0..6).map(|at| rows.iter().map(|row| text::width(&row[at])).max().unwrap_or_default()).collect();
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let free = " ".repeat(width - text::width(cell));
            // Numbers end where they should be compared.
            let (before, behind) =
                if matches!(at, 0 | 3..=5) { (free, String::new()) } else { (String::new(), free) };
            line.extend([before.as_str(), cell.as_str(), behind.as_str(), "  "]);
        }
        line.push_str(&row[6]);
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// How long ago something was: `12 s`, `5 min`, `3 h`, `2 d`. The two clocks may differ a little.
fn age(wall: u64, since: f64) -> String {
    let seconds = (wall as f64 / 1e6 - since).max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// The same for a program: one object in one line.
pub(super) fn json<'a>(
    offers: impl Iterator<Item = &'a Offer>,
    own: impl Fn(&Offer) -> bool,
    memory: &Memory,
) -> String {
    let list: Vec<Value> = offers.map(|offer| one(offer, own(offer), memory)).collect();
    format!("{}\n", json!({ "offers": list }))
}

/// An offer as an object.
pub(in crate::cli) fn one(offer: &Offer, own: bool, memory: &Memory) -> Value {
    let state = &offer.state;
    let about = offer.about.as_ref();
    json!({
        "offer": state.offer,
        "id": state.offer_id,
        "from": state.name,
        "identity": state.key,
        "title": offer.title(),
        "kind": about.map(|about| match about.kind {
            Kind::Files => "files",
            Kind::Text => "text",
            Kind::Pipe => "pipe",
        }),
        "files": about.map(|about| about.files),
        "first": about.map(|about| &about.first),
        "size": state.size,
        "complete": state.sealed,
        "uploading": state.uploading,
        "private": state.direct,
        "own": own,
        "received": memory.has(state.offer_id),
        "received_by": state.received,
        "since": state.since,
        "expires": state.expires,
    })
}
