//! What every event log promises, as **tests** that any implementation can be put through: [`verify`].
//!
//! Lives in the library because implementations in other crates, and the tests of what uses a log, need the same
//! suite. Everything here panics when a promise is broken.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use model::event::Disconnected;
use model::{Body, DeviceId, Entry, EventId, Origin, Sample, TenantId, Timestamp, Value};

use super::{
    AppendError, Batch, CursorError, EventLog, Gap, Item, Limits, Policy, Position, ReadError, Refusal, Start, State,
    Why,
};

/// Ends a property that hangs. Far more than any needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// What kind of log a property needs. All of them are new and empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// One that keeps what a test can write.
    Everything,
    /// One that keeps between ten and a few hundred small appends, and takes a few more while they are held.
    Little,
}

/// Puts an implementation through the whole suite; `open` makes a log for each property.
pub async fn verify<L: EventLog>(open: impl AsyncFn(Keep) -> L) {
    macro_rules! properties {
        ($($keep:ident: $($property:ident),+;)+) => {$($({
            let log: Arc<dyn EventLog> = Arc::new(open(Keep::$keep).await);
            let outcome = tokio::time::timeout(PATIENCE, $property(Arc::clone(&log))).await;
            assert!(outcome.is_ok(), "{} hangs, the log is {:?}", stringify!($property), *log.state().borrow());
            log.close().await;
        })+)+};
    }
    properties! {
        Everything: what_was_appended_is_read_in_order, nothing_to_store_is_stored_at_once,
            each_message_has_its_own_result, a_repeated_batch_keeps_its_ids, a_dropped_append_is_written,
            appenders_keep_their_order, followers_see_everything_once, pages_keep_their_limits_and_resume,
            the_end_is_not_an_error_and_beyond_it_is, cursors_name_their_log, durable_cursors_are_remembered,
            a_closed_log_takes_nothing;
        Little: unregistered_readers_are_told_where_to_go_on, gap_readers_are_told_what_they_missed,
            a_holding_cursor_stops_intake, the_floor_is_never_passed;
    }
}

async fn what_was_appended_is_read_in_order(log: Arc<dyn EventLog>) {
    let mut batch = log.batch();
    let mut ids = Vec::new();
    let topic = Arc::from("v1/devices/me/telemetry");
    for message in 0..3 {
        let mut events = batch.message();
        for event in 0..message {
            ids.push(events.event(&origin(7), Timestamp(-1), Some(&topic), telemetry(message * 10 + event)));
        }
    }
    let appended = log.append(batch.finish()).await.expect("an append to a new log");
    assert_eq!(appended.positions(), Position(0)..Position(3));
    assert!(appended.all_stored());
    assert_eq!(log.append(numbers(&*log, 30..32)).await.expect("an append").positions(), Position(3)..Position(5));
    assert_eq!((log.oldest(), log.end()), (Position(0), Position(5)));

    let page = log.read(Position(0), Limits::default()).await.expect("a read");
    assert_eq!(page.next(), Position(5));
    let items: Vec<_> = page.items().collect();
    let Some(Item::Event { position: Position(2), event }) = items.get(2) else { panic!("{items:?}") };
    assert_eq!((event.id, &*event.origin, event.received), (ids[2], &*origin(7), Timestamp(-1)));
    assert_eq!((event.topic.as_deref(), &event.body), (Some("v1/devices/me/telemetry"), &telemetry(21)));
    let stored = everything(&*log, Position(0)).await;
    assert_eq!(stored.iter().map(|event| event.1).collect::<Vec<_>>(), [10, 20, 21, 30, 31]);
    assert_eq!(stored.iter().map(|event| event.0).collect::<BTreeSet<_>>().len(), 5, "ids are unique");
}

async fn nothing_to_store_is_stored_at_once(log: Arc<dyn EventLog>) {
    let appended = log.append(log.batch().finish()).await.expect("an empty batch");
    assert_eq!(appended.positions(), Position(0)..Position(0));
    let mut batch = log.batch();
    drop(batch.message());
    drop(batch.message());
    assert_eq!(batch.messages(), 2);
    let appended = log.append(batch.finish()).await.expect("messages without events");
    assert_eq!((appended.result(0), appended.result(1), log.end()), (Ok(()), Ok(()), Position(0)));
}

async fn each_message_has_its_own_result(log: Arc<dyn EventLog>) {
    let huge = || Body::Disconnected(Disconnected { cause: "x".repeat(8 * 1024 * 1024), detail: String::new() });
    let mut batch = log.batch();
    batch.message().event(&origin(1), Timestamp(0), None, telemetry(1));
    {
        let mut message = batch.message();
        message.event(&origin(1), Timestamp(0), None, telemetry(2));
        message.event(&origin(1), Timestamp(0), None, huge());
    }
    batch.message().event(&origin(1), Timestamp(0), None, telemetry(3));
    let appended = log.append(batch.finish()).await.expect("an append");
    assert_eq!((appended.result(0), appended.result(2)), (Ok(()), Ok(())));
    assert!(matches!(appended.result(1), Err(Refusal::TooLarge { .. })), "{appended:?}");
    assert!(matches!(appended.refused(), [(1, _)]) && !appended.all_stored());
    assert_eq!(values(&*log, Position(0)).await, [1, 3], "nothing of the refused message is stored");

    let mut batch = log.batch();
    batch.message().event(&origin(1), Timestamp(0), None, huge());
    let appended = log.append(batch.finish()).await.expect("a batch of which nothing is stored");
    assert!(appended.result(0).is_err());
}

async fn a_repeated_batch_keeps_its_ids(log: Arc<dyn EventLog>) {
    let batch = numbers(&*log, 0..3);
    log.append(batch.clone()).await.expect("an append");
    log.append(batch).await.expect("the same again");
    let stored = everything(&*log, Position(0)).await;
    assert_eq!(stored.len(), 6);
    assert_eq!(stored[..3], stored[3..]);
}

async fn a_dropped_append_is_written(log: Arc<dyn EventLog>) {
    let mut append = log.append(numbers(&*log, 0..1));
    let _ = poll_once(&mut append).await;
    drop(append);
    log.append(numbers(&*log, 1..2)).await.expect("an append");
    assert_eq!(values(&*log, Position(0)).await, [0, 1]);
}

async fn appenders_keep_their_order(log: Arc<dyn EventLog>) {
    let append = |appender: i64| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            for round in 0..50 {
                let first = appender * 1000 + round * 3;
                let appended = log.append(numbers(&*log, first..first + 3)).await.expect("an append");
                assert_eq!(appended.positions().end.0 - appended.positions().start.0, 3);
            }
        })
    };
    let appenders: Vec<_> = (0..8).map(append).collect();
    for appender in appenders {
        appender.await.expect("an appender");
    }
    let stored = values(&*log, Position(0)).await;
    assert_eq!(stored.len(), 8 * 150);
    for appender in 0..8 {
        let own: Vec<_> = stored.iter().filter(|value| **value / 1000 == appender).map(|value| value % 1000).collect();
        assert_eq!(own, (0..150).collect::<Vec<_>>(), "appender {appender}");
    }
}

async fn followers_see_everything_once(log: Arc<dyn EventLog>) {
    let follow = {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let (mut committed, mut next, mut seen) = (log.committed(), Position(0), Vec::new());
            while seen.len() < 500 {
                committed.wait_for(|end| *end > next).await.expect("an open log");
                let page = log.read(next, Limits { records: 7, ..Limits::default() }).await.expect("a read");
                assert!(!page.is_empty() && page.next() <= log.end());
                seen.extend(page.items().map(value));
                next = page.next();
            }
            seen
        })
    };
    for round in 0..100 {
        log.append(numbers(&*log, round * 5..round * 5 + 5)).await.expect("an append");
    }
    assert_eq!(follow.await.expect("the follower"), (0..500).collect::<Vec<_>>());
}

async fn pages_keep_their_limits_and_resume(log: Arc<dyn EventLog>) {
    for round in 0..5 {
        log.append(numbers(&*log, round * 20..round * 20 + 20)).await.expect("an append");
    }
    for limits in [
        Limits { records: 7, bytes: usize::MAX },
        Limits { records: usize::MAX, bytes: 300 },
        Limits { records: 0, bytes: usize::MAX },
        Limits { records: 5, bytes: 1 },
    ] {
        let (mut next, mut seen) = (Position(0), Vec::new());
        while next < log.end() {
            let page = log.read(next, limits).await.expect("a read");
            let values: Vec<_> = page.items().map(value).collect();
            assert!((1..=limits.records.max(1)).contains(&values.len()), "{limits:?}: {values:?}");
            assert!(limits.bytes > 1 || values.len() == 1, "{limits:?}: {values:?}");
            assert_eq!(page.next().0, next.0 + values.len() as u64);
            seen.extend(values);
            next = page.next();
        }
        assert_eq!(seen, (0..100).collect::<Vec<_>>(), "{limits:?}");
    }
}

async fn the_end_is_not_an_error_and_beyond_it_is(log: Arc<dyn EventLog>) {
    assert_eq!((log.oldest(), log.end()), (Position(0), Position(0)));
    assert!(log.read(Position(0), Limits::default()).await.expect("a read of an empty log").is_empty());
    log.append(numbers(&*log, 0..4)).await.expect("an append");
    let page = log.read(Position(4), Limits::default()).await.expect("a read at the end");
    assert!(page.is_empty() && page.next() == Position(4));
    let beyond = log.read(Position(5), Limits::default()).await;
    assert!(matches!(beyond, Err(ReadError::Ahead { from: Position(5), end: Position(4) })), "{beyond:?}");
}

async fn cursors_name_their_log(log: Arc<dyn EventLog>) {
    let text = log.cursor(Position(9)).to_string();
    let cursor = text.parse().expect("the text of a cursor");
    assert_eq!(log.position(&cursor), Ok(Position(9)));
    let other = super::MemoryLog::new();
    assert!(other.position(&cursor).is_err() && log.position(&other.cursor(Position(9))).is_err());
}

async fn durable_cursors_are_remembered(log: Arc<dyn EventLog>) {
    log.append(numbers(&*log, 0..10)).await.expect("an append");
    let register = async |name: &str, policy, start| log.register(name, policy, start).await;
    assert_eq!(register("a", Policy::Gap, Start::Oldest).await, Ok(Position(0)));
    assert_eq!(register("b", Policy::Hold, Start::End).await, Ok(Position(10)));
    assert_eq!(register("c", Policy::Gap, Start::At(Position(4))).await, Ok(Position(4)));
    log.advance("a", Position(6)).await.expect("an advance");
    log.advance("a", Position(3)).await.expect("an advance to where the cursor has been");
    assert_eq!(register("a", Policy::Hold, Start::End).await, Ok(Position(6)), "its reader continues");
    log.unregister("c").await.expect("a registered cursor");
    let listed: Vec<_> = log.cursors().await.into_iter().map(|it| (it.name, it.policy, it.position.0)).collect();
    assert_eq!(listed, [("a".to_owned(), Policy::Hold, 6), ("b".to_owned(), Policy::Hold, 10)]);
    let page = log.read_as("a", Position(6), Limits::default()).await.expect("a read");
    assert_eq!(page.items().map(value).collect::<Vec<_>>(), [6, 7, 8, 9]);

    let unknown = CursorError::Unknown("c".to_owned());
    assert_eq!(log.advance("c", Position(1)).await, Err(unknown.clone()));
    assert_eq!(log.unregister("c").await, Err(unknown));
    assert!(matches!(log.read_as("c", Position(0), Limits::default()).await, Err(ReadError::Unknown(_))));
    let ahead = CursorError::Ahead { position: Position(11), end: Position(10) };
    assert_eq!(log.advance("a", Position(11)).await, Err(ahead.clone()));
    assert_eq!(register("d", Policy::Gap, Start::At(Position(11))).await, Err(ahead));
    assert!(matches!(register("no spaces", Policy::Gap, Start::End).await, Err(CursorError::Name(_))));
}

async fn a_closed_log_takes_nothing(log: Arc<dyn EventLog>) {
    let (mut first, mut second) = (log.append(numbers(&*log, 0..1)), log.append(numbers(&*log, 1..2)));
    let begun = [poll_once(&mut first).await, poll_once(&mut second).await];
    log.close().await;
    for (begun, append) in begun.into_iter().zip([first, second]) {
        let outcome = match begun {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => append.await,
        };
        assert!(outcome.is_ok(), "what was queued is written: {outcome:?}");
    }
    assert_eq!(log.append(numbers(&*log, 2..3)).await, Err(AppendError::Closed));
    assert_eq!(*log.state().borrow(), State::Closed);
}

async fn unregistered_readers_are_told_where_to_go_on(log: Arc<dyn EventLog>) {
    append_until_some_is_gone(&*log).await;
    let mut from = Position(0);
    let page = loop {
        // More may go while this looks.
        match log.read(from, Limits::default()).await {
            Ok(page) => break page,
            Err(ReadError::Expired { from: asked, oldest }) if asked == from && oldest > from => from = oldest,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(from > Position(0));
    assert_eq!(page.items().map(value).next(), i64::try_from(from.0).ok());
}

async fn gap_readers_are_told_what_they_missed(log: Arc<dyn EventLog>) {
    log.register("sink", Policy::Gap, Start::Oldest).await.expect("a registration");
    append_until_some_is_gone(&*log).await;
    let page = log.read_as("sink", Position(0), Limits::default()).await.expect("a read");
    let mut items = page.items();
    let Some(Item::Gap(Gap { from: Position(0), to, why: Why::Expired })) = items.next() else { panic!("{page:?}") };
    assert!(to > Position(0) && to <= log.oldest());
    assert_eq!(items.next().map(value), i64::try_from(to.0).ok(), "the record behind the gap");
    assert_eq!(log.cursors().await[0].skipped, to.0);
}

/// Appends until it is aborted: every append succeeds sooner or later.
fn append_without_end(log: &Arc<dyn EventLog>) -> tokio::task::JoinHandle<()> {
    let log = Arc::clone(log);
    tokio::spawn(async move {
        for number in 0.. {
            log.append(numbers(&*log, number..number + 1)).await.expect("an append that may wait");
        }
    })
}

async fn a_holding_cursor_stops_intake(log: Arc<dyn EventLog>) {
    log.register("sink", Policy::Hold, Start::Oldest).await.expect("a registration");
    let appending = append_without_end(&log);
    let mut state = log.state();
    for _ in 0..3 {
        let waiting = state.wait_for(|state| *state != State::Running).await.expect("an open log").clone();
        let State::Waiting(reason) = waiting else { panic!("{waiting:?}") };
        assert!(reason.contains("sink"), "{reason}");
        let position = log.cursors().await[0].position;
        assert!(log.oldest() <= position, "what is held is kept");
        let page = log.read_as("sink", position, Limits::default()).await.expect("a read");
        assert_eq!(page.items().map(value).next(), i64::try_from(position.0).ok());
        log.advance("sink", log.end()).await.expect("an advance");
        state.wait_for(|state| *state == State::Running).await.expect("an open log");
    }
    assert!(log.oldest() > Position(0));
    appending.abort();
}

async fn the_floor_is_never_passed(log: Arc<dyn EventLog>) {
    log.set_floor(Position(0)).await;
    let appending = append_without_end(&log);
    let mut state = log.state();
    state.wait_for(|state| matches!(state, State::Waiting(_))).await.expect("an open log");
    assert_eq!(log.oldest(), Position(0));
    log.set_floor(Position(log.end().0 / 2)).await;
    state.wait_for(|state| *state == State::Running).await.expect("an open log");
    assert!(log.oldest() > Position(0));
    appending.abort();
}

async fn append_until_some_is_gone(log: &dyn EventLog) {
    for number in 0..10_000 {
        log.append(numbers(log, number..number + 1)).await.expect("an append");
        if log.oldest() > Position(0) {
            return;
        }
        // Retention has a thread of its own.
        tokio::task::yield_now().await;
    }
    panic!("nothing is ever removed");
}

/// An event's owner.
fn origin(device: u64) -> Arc<Origin> {
    Arc::new(Origin {
        tenant: TenantId::DEFAULT,
        device: DeviceId(device),
        name: format!("device {device}"),
        profile: "default".to_owned(),
    })
}

fn telemetry(value: i64) -> Body {
    let entries = vec![Entry { key: "n".to_owned(), value: Value::Long(value) }];
    Body::Telemetry(vec![Sample { time: Timestamp(0), entries }])
}

/// One message for each number, with one event each.
fn numbers(log: &dyn EventLog, numbers: std::ops::Range<i64>) -> Batch {
    let mut batch = log.batch();
    for number in numbers {
        batch.message().event(&origin(1), Timestamp(0), None, telemetry(number));
    }
    batch.finish()
}

fn value(item: Item) -> i64 {
    match item {
        Item::Event { event, .. } => event_value(&event.body),
        Item::Gap(gap) => panic!("{gap:?}"),
    }
}

fn event_value(body: &Body) -> i64 {
    match body {
        Body::Telemetry(samples) => match samples[0].entries[0].value {
            Value::Long(value) => value,
            _ => panic!("{samples:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Ids and values of everything from a position on.
async fn everything(log: &dyn EventLog, from: Position) -> Vec<(EventId, i64)> {
    let (mut next, mut found) = (from, Vec::new());
    while next < log.end() {
        let page = log.read(next, Limits::default()).await.expect("a read");
        found.extend(page.items().map(|item| match item {
            Item::Event { event, .. } => (event.id, event_value(&event.body)),
            Item::Gap(gap) => panic!("{gap:?}"),
        }));
        next = page.next();
    }
    found
}

async fn values(log: &dyn EventLog, from: Position) -> Vec<i64> {
    everything(log, from).await.into_iter().map(|(_, value)| value).collect()
}

/// Lets a future begin.
async fn poll_once<T>(future: &mut Pin<Box<dyn Future<Output = T> + Send + '_>>) -> Poll<T> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}
