//! `tidegate events …`

use std::io::{self, IsTerminal};

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};
use ureq::http::{Method, StatusCode};

use super::client::{Client, Refused, escape};
use super::output::{event, json, line, plain, table};
use super::{Common, Remote};
use crate::admin::cursors::{CursorAdvance, CursorPolicy, CursorToRegister, NamedCursor};
use crate::admin::events::EventPage;

#[derive(Debug, Subcommand)]
pub(super) enum Events {
    /// Follow events as they come
    Tail(Tail),
    /// Print events that are stored
    Read(Read),
    /// List the readers that are registered, and how far they have come
    Readers,
    /// Forget a reader; what was kept for it may go
    Forget {
        /// Name of the reader
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct Tail {
    #[command(flatten)]
    filter: Filter,
    /// Begin with the oldest stored event instead of the next one
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(super) struct Read {
    #[command(flatten)]
    filter: Filter,
    /// Go on behind this event; cursors are printed by --json
    #[arg(long, conflicts_with = "reader")]
    cursor: Option<String>,
    /// Go on where the reader of this name stopped, and remember where this one stops
    #[arg(long, value_name = "NAME", value_parser = NonEmptyStringValueParser::new())]
    reader: Option<String>,
    /// Keep events until this reader has read them, even if the gateway has to stop taking in new ones
    #[arg(long, requires = "reader")]
    hold: bool,
    /// Let events go that this reader has not read; what a new reader gets without --hold
    #[arg(long, requires = "reader", conflicts_with = "hold")]
    gap: bool,
    /// At most so many events
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Args)]
struct Filter {
    /// Only events of this device
    #[arg(long)]
    device: Option<String>,
    /// Only events of devices with this profile
    #[arg(long)]
    profile: Option<String>,
    /// Only events of this kind, such as telemetry
    #[arg(long)]
    kind: Option<String>,
}

impl Filter {
    fn query(&self) -> String {
        let given = [("device", &self.device), ("profile", &self.profile), ("kind", &self.kind)];
        let given = given.into_iter().filter_map(|(key, value)| Some(format!("&{key}={}", escape(value.as_deref()?))));
        given.collect()
    }
}

pub(super) fn run(common: &Common, remote: &Remote, command: &Events) -> anyhow::Result<()> {
    let client = common.client(remote)?;
    match command {
        Events::Tail(Tail { filter, all }) => {
            let start = if *all { "from=oldest" } else { "from=end" };
            follow(&client, start, &filter.query(), |events| print(common, events))
        }
        Events::Read(read) => self::read(common, &client, read),
        Events::Readers => readers(common, &client),
        Events::Forget { name } => client.delete(&format!("/api/v1/cursors/{}", escape(name))),
    }
}

fn readers(common: &Common, client: &Client) -> anyhow::Result<()> {
    let readers: Vec<NamedCursor> = client.get("/api/v1/cursors")?;
    if common.json {
        return json(&readers);
    }
    let row = |NamedCursor { name, policy, skipped, behind, .. }| {
        let policy = match policy {
            CursorPolicy::Hold => "hold",
            CursorPolicy::Gap => "gap",
        };
        [plain(&name), policy.to_owned(), behind.to_string(), skipped.to_string()]
    };
    table(["reader", "policy", "behind", "missed"], readers.into_iter().map(row))
}

/// Gives pages of events to `show` for ever, or until it fails.
pub(super) fn follow(
    client: &Client,
    start: &str,
    filter: &str,
    mut show: impl FnMut(&[Map<String, Value>]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut place = start.to_owned();
    loop {
        let page: EventPage = match client.get(&format!("/api/v1/events?{place}&wait=30&limit=1000{filter}")) {
            Ok(page) => page,
            Err(error) => match error.downcast_ref::<Refused>() {
                // Slower than retention: go on with what there is.
                Some(Refused { status: StatusCode::GONE, oldest: Some(oldest), .. }) => {
                    eprintln!("tidegate: events were removed before they were read");
                    EventPage { events: Vec::new(), next: oldest.clone(), more: true }
                }
                _ => return Err(error),
            },
        };
        show(&page.events)?;
        place = format!("cursor={}", page.next);
    }
}

fn read(common: &Common, client: &Client, read: &Read) -> anyhow::Result<()> {
    let mut place = "from=oldest".to_owned();
    let mut reader = String::new();
    if let Some(cursor) = &read.cursor {
        place = format!("cursor={}", escape(cursor));
    }
    if let Some(name) = &read.reader {
        let policy = match (read.hold, read.gap) {
            (true, _) => Some(CursorPolicy::Hold),
            (_, true) => Some(CursorPolicy::Gap),
            (false, false) => None,
        };
        let wanted = CursorToRegister { policy, cursor: None };
        let CursorAdvance { cursor } =
            client.send(Method::PUT, &format!("/api/v1/cursors/{}", escape(name)), &wanted)?;
        place = format!("cursor={cursor}");
        reader = format!("&reader={}", escape(name));
    }
    let filter = read.filter.query();
    let mut left = read.limit.unwrap_or(usize::MAX);
    while left > 0 {
        let limit = left.min(1000);
        let page: EventPage = client.get(&format!("/api/v1/events?{place}&limit={limit}{filter}{reader}"))?;
        print(common, &page.events)?;
        if let Some(name) = &read.reader {
            let advance = CursorAdvance { cursor: page.next.clone() };
            let _: Value = client.send(Method::POST, &format!("/api/v1/cursors/{}", escape(name)), &advance)?;
        }
        if !page.more {
            break;
        }
        left -= page.events.len();
        place = format!("cursor={}", page.next);
    }
    Ok(())
}

fn print(common: &Common, events: &[Map<String, Value>]) -> anyhow::Result<()> {
    let colours = io::stdout().is_terminal();
    for object in events {
        if common.json {
            line(serde_json::to_string(object)?)?;
        } else {
            line(event(object, colours))?;
        }
    }
    Ok(())
}
