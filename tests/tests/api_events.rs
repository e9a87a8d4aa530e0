//! Reading events over HTTP (design §6): cursors, waiting, what is gone, and readers that are registered.
#![allow(clippy::unwrap_used, reason = "in a test, whatever goes wrong is to be seen at once")]

use serde_json::{Value, json};
use tidegate_tests::wait::{pause, until_true};
use tidegate_tests::{Client, Gateway, Options, Version};

fn page(gateway: &Gateway, query: &str) -> (Vec<Value>, String) {
    let page = gateway.api().get(&format!("/api/v1/events?{query}")).ok();
    (page["events"].as_array().unwrap().clone(), page["next"].as_str().unwrap().to_owned())
}

fn number(event: &Value) -> u64 {
    event["samples"][0]["values"]["n"].as_u64().unwrap_or_else(|| panic!("{event}"))
}

/// Each event's `cursor`, and `next`, point behind what was read, with a filter too.
#[test]
fn cursors_go_on_behind_what_was_read() {
    let gateway = Gateway::start(Options::new());
    let mut one = Client::connect(&gateway, Version::V5, &gateway.device("one"));
    let mut two = Client::connect(&gateway, Version::V5, &gateway.device("two"));
    for n in 0..10 {
        let client = if n % 2 == 0 { &mut one } else { &mut two };
        client.telemetry(n + 1, format!("{{\"n\":{n}}}"));
    }
    let filter = "device=two&kind=telemetry";
    for limit in 1..=6 {
        let (mut found, mut place) = (Vec::new(), "from=oldest".to_owned());
        loop {
            let (events, next) = page(&gateway, &format!("{place}&{filter}&limit={limit}"));
            if events.is_empty() {
                break;
            }
            assert!(events.len() <= limit);
            assert_eq!(events.last().unwrap()["cursor"], next.as_str());
            found.extend(events.iter().map(number));
            place = format!("cursor={next}");
        }
        assert_eq!(found, [1, 3, 5, 7, 9], "limit {limit}");
    }
    let (all, end) = page(&gateway, filter);
    let (rest, _) = page(&gateway, &format!("{filter}&cursor={}", all[1]["cursor"].as_str().unwrap()));
    assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), [5, 7, 9]);
    assert_eq!(page(&gateway, &format!("cursor={end}&{filter}")).0, [] as [Value; 0]);
    assert_eq!(page(&gateway, "from=end").0, [] as [Value; 0]);
    // An event has the same id and the same place however it is reached.
    let (again, _) = page(&gateway, filter);
    assert_eq!(all, again);
}

/// `wait=`: what there is comes at once; else the next event, when it comes; else nothing, when the time is over.
#[test]
fn waiting_for_events() {
    let gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device("d1"));
    // Nobody publishes meanwhile: if this were waited for, it would be for the whole minute.
    let (events, next) = page(&gateway, "wait=60&limit=1000");
    assert_eq!(events.len(), 1);
    assert_eq!(page(&gateway, &format!("cursor={next}&wait=1")).0, [] as [Value; 0]);
    let waiting = std::thread::spawn({
        let api = gateway.api().clone();
        move || api.get(&format!("/api/v1/events?cursor={next}&wait=60&device=d1&kind=telemetry")).ok()
    });
    let mut other = Client::connect(&gateway, Version::V5, &gateway.device("other"));
    let mut id = 0;
    until_true("the answer", || {
        // What the filter leaves out is waited through.
        id += 1;
        other.telemetry(id, "{\"n\":7}");
        if id == 5 {
            client.telemetry(1, "{\"n\":1}");
        }
        pause(std::time::Duration::from_millis(20));
        waiting.is_finished()
    });
    let answer = waiting.join().unwrap();
    assert_eq!(answer["events"].as_array().unwrap().iter().map(number).collect::<Vec<_>>(), [1]);
}

/// Requests that wait do not hold up the end of the gateway.
#[test]
fn a_waiting_request_ends_with_the_gateway() {
    let mut gateway = Gateway::start(Options::new());
    let waiting = std::thread::spawn({
        let api = gateway.api().clone();
        move || api.get("/api/v1/events?from=end&wait=60").ok()
    });
    // Whether the request has arrived cannot be seen from here; if it has not, it is refused, which is an end too.
    pause(std::time::Duration::from_millis(300));
    gateway.stop();
    if let Ok(page) = waiting.join() {
        assert_eq!(page["events"], json!([]));
    }
}

/// A device that publishes numbers with much around them, so that segments fill.
struct Large {
    client: Client,
    next: u16,
}

impl Large {
    fn new(gateway: &Gateway) -> Self {
        Self { client: Client::connect(gateway, Version::V5, &gateway.device("d1")), next: 0 }
    }

    fn publish(&mut self) {
        self.client.telemetry(self.next + 1, format!("{{\"n\":{},\"large\":\"{}\"}}", self.next, "x".repeat(60_000)));
        self.next += 1;
    }

    /// Until this cursor points at what was removed: the projection has to have passed it, too.
    fn publish_until_gone(&mut self, gateway: &Gateway, cursor: &str) {
        until_true("retention", || {
            self.publish();
            pause(std::time::Duration::from_millis(100));
            gateway.api().get(&format!("/api/v1/events?cursor={cursor}&limit=1")).status == 410
        });
    }
}

fn small_log() -> Options {
    Options::new().set("event_log.segment_size=256 KiB").set("event_log.retention_size=1 MiB")
}

/// Design §6: retention takes the oldest events. Who reads there gets 410 with the oldest cursor, a registered reader of
/// policy `gap` an event that says so.
#[test]
fn what_is_gone() {
    let gateway = Gateway::start(small_log());
    let mut large = Large::new(&gateway);
    let first = page(&gateway, "").0[0]["cursor"].as_str().unwrap().to_owned();
    gateway.api().put("/api/v1/cursors/r", json!({ "policy": "gap", "cursor": first })).ok();
    large.publish_until_gone(&gateway, &first);
    let gone = gateway.api().get(&format!("/api/v1/events?cursor={first}"));
    assert!(gone.problem(410).contains("go on from `oldest`"));
    let oldest = gone.json()["oldest"].as_str().unwrap().to_owned();
    let (events, _) = page(&gateway, &format!("cursor={oldest}&limit=1"));
    assert!(number(&events[0]) > 0);
    assert_eq!(page(&gateway, "from=oldest&limit=1").0, events);

    let (with_gap, next) = page(&gateway, "reader=r&limit=2");
    assert_eq!((&with_gap[0]["kind"], &with_gap[0]["why"]), (&json!("gap"), &json!("expired")));
    // The numbers begin behind `first`, and none is missing or told twice at the end of the gap.
    assert_eq!(with_gap[0]["missing"], number(&with_gap[1]), "{}", with_gap[0]);
    gateway.api().post("/api/v1/cursors/r", json!({ "cursor": next })).ok();
    assert_eq!(number(&page(&gateway, "reader=r&limit=1").0[0]), number(&with_gap[1]) + 1);
}

/// Design §6: one of policy `hold` loses nothing; when it has gone on, retention does.
#[test]
fn what_is_held() {
    let gateway = Gateway::start(small_log());
    let mut large = Large::new(&gateway);
    gateway.api().put("/api/v1/cursors/r", json!({ "policy": "hold" })).ok();
    (0..60).for_each(|_| large.publish());
    let (events, next) = page(&gateway, "reader=r&kind=telemetry&limit=1000");
    assert_eq!(events.iter().map(number).collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
    gateway.api().post("/api/v1/cursors/r", json!({ "cursor": next })).ok();
    large.publish_until_gone(&gateway, events[0]["cursor"].as_str().unwrap());
}

/// Registered cursors are kept over a restart; registering again changes the policy and not the place.
#[test]
fn registered_cursors_are_durable() {
    let mut gateway = Gateway::start(Options::new());
    let mut client = Client::connect(&gateway, Version::V5, &gateway.device("d1"));
    for n in 0..3 {
        client.telemetry(n + 1, format!("{{\"n\":{n}}}"));
    }
    let (events, _) = page(&gateway, "kind=telemetry");
    let at = events[0]["cursor"].clone();
    gateway.api().put("/api/v1/cursors/r", json!({})).ok();
    gateway.api().post("/api/v1/cursors/r", json!({ "cursor": at })).ok();
    let expected = |policy: &str| json!([{ "name": "r", "policy": policy, "cursor": at, "skipped": 0 }]);
    assert_eq!(cursors(&gateway), expected("gap"));
    let again = gateway.api().put("/api/v1/cursors/r", json!({ "policy": "hold", "cursor": events[1]["cursor"] })).ok();
    assert_eq!(again, json!({ "cursor": at }));
    gateway.kill();
    gateway.run();
    assert_eq!(cursors(&gateway), expected("hold"));
    assert_eq!(number(&page(&gateway, "reader=r&kind=telemetry&limit=1").0[0]), 1);
    gateway.api().delete("/api/v1/cursors/r").ok();
    assert_eq!(cursors(&gateway), json!([]));
}

/// All registered cursors, without how far behind they are.
fn cursors(gateway: &Gateway) -> Value {
    let mut cursors = gateway.api().get("/api/v1/cursors").ok();
    for cursor in cursors.as_array_mut().unwrap() {
        assert!(cursor.as_object_mut().unwrap().remove("behind").unwrap().is_u64(), "{cursor}");
    }
    cursors
}
