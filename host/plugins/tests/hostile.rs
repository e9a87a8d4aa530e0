//! Guests that misbehave, each in its own way: the host says what was wrong, and everybody else goes on.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{TENANT, engine, hostile, limits, telemetry, wat};
use model::Decoded;
use tidegate_plugin_host::{CallError, Cause, ConfigureError, Converter, Limits, LoadError, Plugin, Pool};

async fn cause_of_death(name: &str) -> (Cause, String) {
    let converter = hostile(&engine(), name, limits()).await;
    let pool = Pool::new();
    let mut results = pool.decode(&converter, TENANT, &[telemetry("1")]).await;
    assert_eq!(results.len(), 1);
    assert_eq!(pool.idle(), 0, "an instance that failed is thrown away");
    match results.remove(0) {
        Err(CallError::Failed(failure)) => (failure.cause, failure.detail),
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn an_endless_loop_ends_at_its_time_limit() {
    assert_eq!(cause_of_death("loop").await.0, Cause::Timeout);
}

#[tokio::test]
async fn memory_ends_at_its_limit() {
    assert_eq!(cause_of_death("grow").await.0, Cause::Memory);
}

#[tokio::test]
async fn recursion_ends_with_the_stack_and_tells_where() {
    let (cause, detail) = cause_of_death("recursion").await;
    assert_eq!(cause, Cause::Trap);
    assert!(detail.contains("stack exhausted") && detail.contains("wasm backtrace"), "{detail}");
}

#[tokio::test]
async fn results_must_be_as_many_as_messages() {
    let (cause, detail) = cause_of_death("short-list").await;
    assert_eq!((cause, detail.as_str()), (Cause::Contract, "decode returned 0 results for 1 messages"));
}

#[tokio::test]
async fn results_must_lie_in_the_guests_memory() {
    assert_eq!(cause_of_death("out-of-bounds").await.0, Cause::Contract);
}

#[tokio::test]
async fn results_are_bounded_however_small_the_memory_behind_them() {
    let (cause, detail) = cause_of_death("huge-result").await;
    assert_eq!(cause, Cause::Contract);
    assert!(detail.contains("fuel"), "{detail}");
}

#[tokio::test]
async fn text_must_be_utf8() {
    let (cause, detail) = cause_of_death("not-utf8").await;
    assert_eq!(cause, Cause::Contract);
    assert!(detail.contains("utf-8"), "{detail}");
}

#[tokio::test]
async fn a_child_may_only_be_named_by_a_gateway() {
    let (cause, detail) = cause_of_death("child").await;
    assert_eq!((cause, detail.as_str()), (Cause::Contract, "named the child \"c\" in a session that is no gateway"));
}

/// Design §5: the batch is run again in halves until the guilty message stands alone; the rest goes on, in order.
#[tokio::test]
async fn one_guilty_message_does_not_spoil_the_others() {
    let converter = hostile(&engine(), "trap-on-x", limits()).await;
    let pool = Pool::new();
    for (count, guilty) in [(100, vec![0]), (100, vec![99]), (100, vec![3, 64]), (8, (0..8).collect())] {
        let messages: Vec<_> = (0..count).map(|at| telemetry(if guilty.contains(&at) { "x" } else { "ok" })).collect();
        let results = pool.decode(&converter, TENANT, &messages).await;
        assert_eq!(results.len(), count);
        for (at, result) in results.into_iter().enumerate() {
            match result {
                Ok(decoded) => assert!(!guilty.contains(&at) && decoded == Decoded::default(), "{at}"),
                Err(CallError::Failed(failure)) => {
                    assert!(guilty.contains(&at) && failure.cause == Cause::Trap, "{at}");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// Design §5: calls run on the worker's own thread and yield at every tick, so others are served in between.
#[tokio::test]
async fn a_slow_guest_lets_others_on_its_thread_go_on() {
    let engine = engine();
    let slow = hostile(&engine, "loop", Limits { call_time: Duration::from_millis(200), ..limits() }).await;
    let quick = hostile(&engine, "quiet", limits()).await;
    let pool = Pool::new();
    let rounds = std::cell::Cell::new(0);
    let served_meanwhile = async {
        loop {
            assert!(pool.decode(&quick, TENANT, &[telemetry("1")]).await[0].is_ok());
            rounds.set(rounds.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    let message = [telemetry("1")];
    tokio::select! {
        results = pool.decode(&slow, TENANT, &message) => assert!(matches!(&results[0], Err(CallError::Failed(failure)) if failure.cause == Cause::Timeout)),
        () = served_meanwhile => unreachable!(),
    }
    assert!(rounds.get() >= 20, "only {} calls while the other computed for 200 ms", rounds.get());
}

/// The budget is the guest's own CPU time: what others use while it waits for its turn is not counted.
#[tokio::test]
async fn waiting_does_not_use_up_the_budget() {
    let engine = engine();
    let converter = hostile(&engine, "loop", Limits { call_time: Duration::from_millis(50), ..limits() }).await;
    let pool = Pool::new();
    let turns = std::cell::Cell::new(0);
    let busy = async {
        loop {
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_millis(5) {
                std::hint::spin_loop();
            }
            turns.set(turns.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    let message = [telemetry("1")];
    tokio::select! {
        _ = pool.decode(&converter, TENANT, &message) => {}
        () = busy => unreachable!(),
    }
    // About 50 slices of 1 ms; if the 5 ms of the other were counted, it would be over after 9.
    assert!(turns.get() >= 20, "stopped after {} turns", turns.get());
}

#[tokio::test]
async fn instances_are_reused_and_swept_and_not_shared_between_tenants() {
    let converter = hostile(&engine(), "quiet", limits()).await;
    let pool = Pool::new();
    for _ in 0..3 {
        pool.decode(&converter, TENANT, &[telemetry("1")]).await;
    }
    assert_eq!(pool.idle(), 1);
    pool.decode(&converter, model::TenantId(7), &[telemetry("1")]).await;
    assert_eq!(pool.idle(), 2);
    pool.sweep(Instant::now(), Duration::from_secs(60));
    assert_eq!(pool.idle(), 2);
    pool.sweep(Instant::now() + Duration::from_secs(61), Duration::from_secs(60));
    assert_eq!(pool.idle(), 0);
}

#[tokio::test]
async fn fresh_instances_are_used_once() {
    let converter = hostile(&engine(), "quiet", Limits { fresh_instances: true, ..limits() }).await;
    let pool = Pool::new();
    assert_eq!(pool.decode(&converter, TENANT, &vec![telemetry("1"); 5]).await.len(), 5);
    assert_eq!(pool.idle(), 0);
}

/// `quiet` never frees, so its memory fills up; before it is full, a new instance takes over.
#[tokio::test]
async fn an_instance_that_nears_its_memory_limit_is_replaced() {
    let engine = engine();
    let converter = hostile(&engine, "quiet", Limits { memory: 4 << 16, ..limits() }).await;
    let pool = Pool::new();
    let payload = Bytes::from(vec![b'1'; 1000]);
    let mut failures = 0;
    for _ in 0..1000 {
        failures += usize::from(pool.decode(&converter, TENANT, &[telemetry(payload.clone())]).await[0].is_err());
    }
    // Its allocator does not grow the memory, so it fails when two pages are used up: once in about 120 messages, and
    // each time a new instance goes on.
    assert!((1..=10).contains(&failures), "{failures}");
}

#[tokio::test]
async fn configure_may_trap_or_refuse() {
    let engine = engine();
    let plugin = Plugin::load(&engine, "p", &wat("trap-in-configure")).unwrap();
    let error = Converter::new(&engine, &plugin, "{}".to_owned(), limits()).await.unwrap_err();
    assert!(matches!(&error, ConfigureError::Failed(failure) if failure.cause == Cause::Trap), "{error}");

    let plugin = Plugin::load(&engine, "p", &wat("refuse")).unwrap();
    let error = Converter::new(&engine, &plugin, "{}".to_owned(), limits()).await.unwrap_err();
    assert_eq!(error.to_string(), "refused its configuration: schema: text expected; rate: number expected");
}

fn load_error(bytes: &[u8]) -> LoadError {
    Plugin::load(&engine(), "p", bytes).unwrap_err()
}

#[test]
fn files_that_are_no_plugins_are_refused_with_the_reason() {
    assert!(matches!(load_error(b""), LoadError::NotWasm));
    assert!(matches!(load_error(b"hello"), LoadError::NotWasm));
    // Half of a file, as a copying tool leaves it for a moment.
    let whole = wat("quiet");
    assert!(matches!(load_error(&whole[..whole.len() / 2]), LoadError::Wrap(_)));
    assert!(matches!(load_error(&wat::parse_str("(module)").unwrap()), LoadError::Wrap(_) | LoadError::NotAPlugin));
    assert!(matches!(load_error(&wat::parse_str("(component)").unwrap()), LoadError::NotAPlugin));
}

/// A file that is being written ends anywhere.
#[test]
fn files_cut_anywhere_are_refused() {
    let engine = engine();
    let whole = wat("quiet");
    for length in 0..whole.len() {
        assert!(Plugin::load(&engine, "p", &whole[..length]).is_err(), "{length} of {} bytes", whole.len());
    }
}

/// Whatever stands in the bindings of a module, it is refused or loaded.
#[test]
fn files_with_a_wrong_byte_are_refused_or_loaded() {
    let engine = engine();
    let whole = wat("quiet");
    for place in (8..whole.len()).step_by(2) {
        let mut changed = whole.clone();
        changed[place] ^= 0x41;
        drop(Plugin::load(&engine, "p", &changed));
    }
}

#[test]
fn another_contract_version_is_named() {
    let component =
        wat::parse_str(r#"(component (instance $i) (export "tidegate:plugin/conversion@9.1.0" (instance $i)))"#)
            .unwrap();
    let error = load_error(&component).to_string();
    assert_eq!(error, "speaks contract 9.1.0, this gateway speaks 0.1.0-draft: rebuild it with the matching SDK");
}

#[test]
fn imports_beyond_the_contract_are_listed() {
    let component = wat::parse_str(
        r#"(component
            (import "wasi:sockets/tcp@0.2.0" (instance))
            (import "wasi:clocks/wall-clock@0.2.0" (instance))
            (instance $i) (export "tidegate:plugin/conversion@0.1.0-draft" (instance $i)))"#,
    )
    .unwrap();
    let error = load_error(&component).to_string();
    assert!(
        error.starts_with("imports wasi:sockets/tcp@0.2.0, wasi:clocks/wall-clock@0.2.0: plugins get only"),
        "{error}"
    );
}

#[test]
fn async_functions_are_refused_when_loading() {
    let component = wat::parse_str(
        r#"(component
            (core module $m (func (export "f") (result i32) (i32.const 0)) (func (export "cb") (param i32 i32 i32) (result i32) (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $f async (canon lift (core func $i "f") async (callback (core func $i "cb"))))
            (instance $e (export "decode" (func $f)))
            (export "tidegate:plugin/conversion@0.1.0-draft" (instance $e)))"#,
    )
    .unwrap();
    assert!(matches!(load_error(&component), LoadError::Compile(_)));
}

/// The functions are there but have other types.
#[tokio::test]
async fn functions_of_other_types_are_refused() {
    let component = wat::parse_str(
        r#"(component
            (core module $m (func (export "f")))
            (core instance $i (instantiate $m))
            (func $f (canon lift (core func $i "f")))
            (instance $e (export "configure" (func $f)) (export "decode" (func $f)) (export "encode" (func $f)))
            (export "tidegate:plugin/conversion@0.1.0-draft" (instance $e)))"#,
    )
    .unwrap();
    let engine = engine();
    let plugin = Plugin::load(&engine, "p", &component).unwrap();
    let error = Converter::new(&engine, &plugin, "{}".to_owned(), limits()).await.unwrap_err();
    assert!(matches!(error, ConfigureError::Broken(_)), "{error}");
}
