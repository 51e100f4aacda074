//! What the room has to offer, as a table or as an object.

use serde_json::{Value, json};

use super::memory::Memory;
use crate::cli::units;
use crate::id::MemberId;
use crate::pipeline::offers::{Offer, Offers};
use crate::text;
use crate::transfer::Kind;

/// Cells of a title in the table.
const TITLE: usize = 48;

/// One row for each offer; a sentence where there is none.
pub(super) fn table(offers: &Offers, own: Option<MemberId>, memory: &Memory) -> String {
    let mut rows = vec![["OFFER", "FROM", "WHAT", "FILES", "SIZE", "STATE"].map(String::from)];
    for offer in offers.iter() {
        let files = offer.about.as_ref().map_or(0, |about| about.files);
        let mut state = offer.standing();
        if own.is_some_and(|own| offer.is_of(own)) {
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
            state,
        ]);
    }
    if rows.len() == 1 {
        return "nothing is offered in this room\n".into();
    }
    let widths: Vec<usize> =
        (0..5).map(|at| rows.iter().map(|row| text::width(&row[at])).max().unwrap_or_default()).collect();
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let free = " ".repeat(width - text::width(cell));
            // Numbers end where they should be compared.
            let (before, behind) =
                if matches!(at, 0 | 3 | 4) { (free, String::new()) } else { (String::new(), free) };
            line.extend([before.as_str(), cell.as_str(), behind.as_str(), "  "]);
        }
        line.push_str(&row[5]);
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// The same for a program: one object in one line.
pub(super) fn json(offers: &Offers, own: Option<MemberId>, memory: &Memory) -> String {
    let list: Vec<Value> = {
        let is_own = |offer: &Offer| own.is_some_and(|own| offer.is_of(own));
        offers.iter().map(|offer| one(offer, is_own(offer), memory)).collect()
    };
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
