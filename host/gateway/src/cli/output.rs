//! Tables for people, JSON for scripts.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Map, Value};

/// Prints a line; a reader that has seen enough is no error.
pub(super) fn line(text: impl std::fmt::Display) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout(), "{text}")?)
}

/// Prints JSON: indented for a terminal, on one line for a program.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let text =
        if io::stdout().is_terminal() { serde_json::to_string_pretty(value)? } else { serde_json::to_string(value)? };
    line(text)
}

/// Prints a table.
pub(super) fn table<const N: usize>(
    header: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> anyhow::Result<()> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.map(|text| Cell::new(text).add_attribute(comfy_table::Attribute::Bold)));
    for row in rows {
        table.add_row(row.map(|text| plain(&text)));
    }
    line(table)
}

/// Text that comes from a device, for a terminal: without what would move its cursor or forge a line.
pub(super) fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if character.is_control() => plain.extend(character.escape_default()),
            // Would turn the direction of the rest of the line.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => plain.extend(character.escape_default()),
            character => plain.push(character),
        }
    }
    plain
}

/// A time for people, in UTC.
pub(super) fn time(millis: i64) -> String {
    let time = u64::try_from(millis).ok().and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)));
    time.map_or_else(|| format!("{millis} ms"), |time| humantime::format_rfc3339_millis(time).to_string())
}

/// An event on one line for people.
pub(super) fn event(event: &Map<String, Value>, colours: bool) -> String {
    let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = text("kind");
    let paint = |code: &str, text: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let colour = match kind {
        "telemetry" | "client-attributes" => "32",
        "dead-letter" | "gap" => "31",
        _ => "36",
    };
    let received = event.get("received").and_then(Value::as_i64).map(time).unwrap_or_default();
    let what = match kind {
        "telemetry" => {
            let samples = event.get("samples").and_then(Value::as_array).into_iter().flatten();
            let sample = |sample: &Value| {
                let own_time = sample.get("time").filter(|time| event.get("received") != Some(*time));
                let at = own_time.and_then(Value::as_i64).map(|at| format!(" @ {}", time(at))).unwrap_or_default();
                format!("{}{at}", members(sample.get("values")))
            };
            samples.map(sample).collect::<Vec<_>>().join(" | ")
        }
        "client-attributes" => members(event.get("attributes")),
        "connected" => format!("from {} as {:?}, MQTT {}", text("peer"), text("client_id"), text("protocol")),
        "disconnected" if text("detail").is_empty() => text("cause").to_owned(),
        "disconnected" => format!("{}: {}", text("cause"), text("detail")),
        "dead-letter" => format!(
            "plugin {} failed ({}) on {} {}",
            text("plugin"),
            text("cause"),
            text("operation"),
            text("payload_hex")
        ),
        "gap" => {
            format!("{} events cannot be had any more: {}", event.get("missing").unwrap_or(&Value::Null), text("why"))
        }
        _ => Value::Object(event.clone()).to_string(),
    };
    let (device, what) = (plain(text("device")), plain(&what));
    format!("{} {} {} {what}", paint("2", &received), paint("1", &device), paint(colour, kind))
}

fn members(object: Option<&Value>) -> String {
    let members = object.and_then(Value::as_object).into_iter().flatten();
    members.map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// Whether the reader of our output went away, as `head` does.
pub(super) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io_error = error.downcast_ref::<io::Error>();
    io_error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(value: Value) -> String {
        let Value::Object(object) = value else { panic!("{value}") };
        event(&object, false)
    }

    #[test]
    fn events_fit_on_a_line() {
        let samples =
            json!([{ "time": 1000, "values": { "a": 1, "b": "x" } }, { "time": 2000, "values": { "c": 0.5 } }]);
        assert_eq!(
            shown(json!({ "kind": "telemetry", "device": "d", "received": 1000, "samples": samples })),
            "1970-01-01T00:00:01.000Z d telemetry a=1 b=\"x\" | c=0.5 @ 1970-01-01T00:00:02.000Z"
        );
        assert_eq!(
            shown(json!({ "kind": "disconnected", "device": "d", "received": 0, "cause": "client", "detail": "" })),
            "1970-01-01T00:00:00.000Z d disconnected client"
        );
    }

    /// Whoever can publish must not be able to write to the operator's terminal.
    #[test]
    fn devices_cannot_write_to_the_terminal() {
        let evil = "\u{1b}[31mred\n1970 forged\u{7f}\u{9b}2J\u{202e}";
        for value in [
            json!({ "kind": "telemetry", "device": evil, "samples": [{ "values": { evil: evil } }] }),
            json!({ "kind": "disconnected", "device": evil, "cause": "client", "detail": evil }),
            json!({ "kind": "connected", "peer": "p", "client_id": evil, "protocol": "5.0" }),
            json!({ "kind": "dead-letter", "plugin": evil, "operation": evil }),
        ] {
            let shown = shown(value);
            assert!(!shown.contains(char::is_control) && !shown.contains('\u{202e}'), "{shown:?}");
        }
    }
}
