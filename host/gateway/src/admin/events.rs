//! Reading the event log: pages by cursor, with waiting for what comes next.
#![allow(unused_qualifications)] // in what utoipa makes of the query types

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use model::Event;
use platform::log::{self, Cursor, EventLog, Item, Limits, Position, ReadError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use super::{Api, Params};
use crate::json;

/// The longest that a request waits for events.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// How much is looked through at once when a filter leaves little of it.
const PAGE: Limits = Limits { records: 1000, bytes: 1024 * 1024 };
/// So many pages, of those that had something that was asked for, go into one answer.
const USED_PAGES: usize = 8;
/// So many pages are looked through for one answer, so that a rare kind of event makes no request endless.
const PAGES: usize = 100;

/// What to read.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventQuery {
    /// Where to go on: `next` of the answer before.
    cursor: Option<String>,
    /// Where to begin without a cursor: `oldest`, which is what is assumed, or `end`.
    #[param(inline)]
    from: Option<Start>,
    /// The name of a registered cursor: its reader sees as a gap what was removed before it came.
    reader: Option<String>,
    /// At most so many events, 1 to 1000; 100 if absent.
    limit: Option<usize>,
    /// Wait for events at most so many seconds, up to 60, if there are none.
    wait: Option<u64>,
    /// Only events of the device with this name.
    device: Option<String>,
    /// Only events of devices with this profile.
    profile: Option<String>,
    /// Only events of this kind, such as `telemetry`.
    kind: Option<String>,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the oldest event that is kept.
    Oldest,
    /// Behind the newest event.
    End,
}

/// Events, and where to go on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// In the order of the log. Each has `cursor`, which points behind it, and `kind`; a kind `gap` stands where events
    /// cannot be had any more.
    #[schema(value_type = Vec<Object>)]
    pub events: Vec<Map<String, Value>>,
    /// What to give as `cursor` the next time.
    pub next: String,
    /// Whether there is more to look through right now. A filter may leave a page empty in front of more.
    pub more: bool,
}

/// Reads events
///
/// Order is kept for each device. An event may come twice after a crash of the gateway; its `id` is then the same.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "read_events", tag = "events", params(EventQuery),
    responses((status = 200, body = EventPage), (status = 400, body = Problem), (status = 404, body = Problem), (status = 410, body = Problem)))]
pub async fn read(State(api): State<Api>, Params(query): Params<EventQuery>) -> Result<Json<EventPage>, Problem> {
    let log = &*api.gateway.log;
    let limit = query.limit.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::invalid(format!("limit: 1 to 1000 expected, got {limit}")));
    }
    if let Some(kind) = query.kind.as_ref().filter(|kind| !json::KINDS.contains(&kind.as_str())) {
        return Err(Problem::invalid(format!("kind: one of {} expected, got {kind:?}", json::KINDS.join(", "))));
    }
    let mut position = start(log, &query).await?;
    let wait = Duration::from_secs(query.wait.unwrap_or(0)).min(LONGEST_WAIT);
    let deadline = tokio::time::Instant::now() + wait;
    let mut committed = log.committed();
    let mut events = Vec::new();
    let (mut pages, mut used) = (0, 0);
    loop {
        let found = events.len();
        committed.borrow_and_update();
        let limits = Limits { records: if query.is_filtered() { PAGE.records } else { limit }, ..PAGE };
        let page = match &query.reader {
            Some(reader) => log.read_as(reader, position, limits).await,
            None => log.read(position, limits).await,
        }
        .map_err(|error| problem(log, error))?;
        for item in page.items() {
            let object = match item {
                Item::Event { position: at, event } => {
                    position = Position(at.0 + 1);
                    if !query.wants(&event) {
                        continue;
                    }
                    json::event(&event)
                }
                Item::Gap(gap) => {
                    position = gap.to;
                    gap_object(log, &gap)
                }
            };
            events.push(with_cursor(object, log.cursor(position)));
            if events.len() == limit {
                return Ok(page_of(log, events, position));
            }
        }
        position = page.next();
        pages += 1;
        // What devices send must not decide how large an answer gets.
        used += usize::from(events.len() > found);
        if !page.is_empty() && pages < PAGES && used < USED_PAGES {
            continue;
        }
        if !events.is_empty() || pages == PAGES {
            return Ok(page_of(log, events, position));
        }
        let stop = api.gateway.stop.cancelled();
        let waited = tokio::select! { // every branch only waits
            changed = committed.changed() => changed.is_ok(),
            () = tokio::time::sleep_until(deadline) => false,
            () = stop => false,
        };
        if !waited {
            return Ok(page_of(log, events, position));
        }
    }
}

impl EventQuery {
    fn is_filtered(&self) -> bool {
        self.device.is_some() || self.profile.is_some() || self.kind.is_some()
    }

    fn wants(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        is(&self.device, &event.origin.name)
            && is(&self.profile, &event.origin.profile)
            && is(&self.kind, json::kind(&event.body))
    }
}

async fn start(log: &dyn EventLog, query: &EventQuery) -> Result<Position, Problem> {
    if let Some(cursor) = &query.cursor {
        return position(log, cursor);
    }
    if let Some(reader) = &query.reader {
        let registered = log.cursors().await.into_iter().find(|cursor| cursor.name == *reader);
        return registered
            .map(|cursor| cursor.position)
            .ok_or_else(|| Problem::not_found(format!("reader: no cursor named {reader:?} is registered")));
    }
    Ok(match query.from {
        Some(Start::End) => log.end(),
        Some(Start::Oldest) | None => log.oldest(),
    })
}

/// What a cursor means, if it is one of this log.
pub(super) fn position(log: &dyn EventLog, cursor: &str) -> Result<Position, Problem> {
    let cursor: Cursor = cursor.parse().map_err(|error| Problem::invalid(format!("{error}")))?;
    log.position(&cursor).map_err(|error| Problem::invalid(error.to_string()))
}

fn with_cursor(mut object: Map<String, Value>, cursor: Cursor) -> Map<String, Value> {
    object.insert("cursor".to_owned(), cursor.to_string().into());
    object
}

fn page_of(log: &dyn EventLog, events: Vec<Map<String, Value>>, next: Position) -> Json<EventPage> {
    Json(EventPage { events, next: log.cursor(next).to_string(), more: next < log.end() })
}

fn gap_object(log: &dyn EventLog, gap: &log::Gap) -> Map<String, Value> {
    let why = match &gap.why {
        log::Why::Damaged => "damaged".to_owned(),
        log::Why::Expired => "expired".to_owned(),
        log::Why::Unreadable(error) => format!("unreadable: {error}"),
        other => format!("{other:?}"),
    };
    let (from, to) = (log.cursor(gap.from).to_string(), log.cursor(gap.to).to_string());
    let missing = gap.to.0.saturating_sub(gap.from.0);
    match json!({ "kind": "gap", "from": from, "to": to, "missing": missing, "why": why }) {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

fn problem(log: &dyn EventLog, error: ReadError) -> Problem {
    match error {
        ReadError::Expired { oldest, .. } => {
            Problem::gone("cursor: the events there were removed; go on from `oldest`", log.cursor(oldest).to_string())
        }
        ReadError::Ahead { .. } => Problem::invalid("cursor: ahead of the log"),
        ReadError::Unknown(name) => Problem::not_found(format!("reader: no cursor named {name:?} is registered")),
        error => Problem::unavailable(error.to_string()),
    }
}
