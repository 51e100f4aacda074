//! `--who`: who is in the room, as a table or as an object.

use std::io::Write;

use jiff::tz::TimeZone;

use super::json::Someone;
use super::roster::Roster;
use super::{Chat, Form, lines, pipe};
use crate::cli::{ended, output};
use crate::net::client::{self, Config, Event};
use crate::terminal::Person;
use crate::text;
use crate::wire::control::Room;

/// Looks who is there, without being seen by them, and tells it.
pub(super) fn run(args: &Chat, form: Form) -> anyhow::Result<()> {
    let config = Config { look: true, ..args.meeting.config(&args.common, "conf-chat", Vec::new())? };
    let address = config.address.clone();
    let mut roster = Roster::new(config.key.as_ref().map(crate::session::Key::public));
    let runtime = pipe::runtime()?;
    let told = runtime.block_on(async {
        let (room, mut events) = client::connect(config);
        let mut about = Room::default();
        while let Some(event) = events.next().await {
            match event {
                Event::Up { welcome, .. } => roster.handle_up(&welcome),
                Event::Ended(end) => return Err(ended(&end, &address).err()),
                Event::State(state) => {
                    about = state.room.clone().unwrap_or_default();
                    roster.handle_state(state);
                    break;
                }
                _ => {}
            }
        }
        pipe::leave(&room, &mut events).await;
        Ok(about)
    });
    runtime.shutdown_background();
    let room = match told {
        Ok(room) => room,
        Err(failure) => return failure.map_or(Ok(()), |failure| Err(failure.into())),
    };
    let text = match form {
        Form::Text => table(&roster.people(), &TimeZone::system()),
        Form::Json => {
            let all = serde_json::json!({ "members": Someone::all(&roster), "locked": room.locked });
            format!("{all}\n")
        }
    };
    output::stdout()?.write_all(text.as_bytes())?;
    Ok(())
}

/// One row for each member, in columns of cells.
fn table(people: &[Person], zone: &TimeZone) -> String {
    if people.is_empty() {
        return "nobody is in this room\n".into();
    }
    let mut rows = vec![["NAME", "SINCE", "KEY", "STATE"].map(String::from)];
    for person in people {
        let mut about = Vec::new();
        if person.own {
            about.push("you".to_owned());
        }
        if person.host {
            about.push("host".to_owned());
        }
        if person.typing {
            about.push("typing".to_owned());
        }
        about.extend(person.states());
        let key = person.fingerprint.clone().unwrap_or_else(|| "guest".into());
        let since = if person.since > 0.0 { lines::clock(person.since, zone) } else { "-".into() };
        rows.push([person.name.clone(), since, key, about.join(", ")]);
    }
    let widths: Vec<usize> =
        (0..3).map(|at| rows.iter().map(|row| text::width(&row[at])).max().unwrap_or_default()).collect();
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width - text::width(cell) + 2));
        }
        line.push_str(&row[3]);
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MemberId;

    #[test]
    fn the_table_keeps_its_columns_whatever_the_names() {
        let ann = Person { own: true, host: true, camera: true, ..Person::new(MemberId(1), "Ann", 0) };
        let wang = Person {
            fingerprint: Some("3f2a-99c1-07be-44d0".into()),
            since: 1_763_798_400.0,
            away: Some("tea".into()),
            ..Person::new(MemberId(2), "王小明", 0)
        };
        assert_eq!(table(&[], &TimeZone::UTC), "nobody is in this room\n");
        assert_eq!(
            table(&[ann, wang], &TimeZone::UTC),
            "\
NAME    SINCE  KEY                  STATE
Ann     -      guest                you, host, camera
王小明  08:00  3f2a-99c1-07be-44d0  away: tea
"
        );
    }
}
