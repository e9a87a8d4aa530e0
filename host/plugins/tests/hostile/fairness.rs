//! Who computes when.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tidegate_plugin_host::{CallError, Cause, Converter, Limits, Plugin, Pool};

use super::common::{TENANT, engine, hostile, limits, telemetry, wat};

/// Design §5: calls run on the worker's own thread and yield at every tick, so others are served in between.
#[tokio::test]
async fn a_slow_guest_lets_others_on_its_thread_go_on() {
    let engine = engine();
    let slow = hostile(&engine, "loop", Limits { call_time: Duration::from_millis(200), ..limits() }).await;
    let quick = hostile(&engine, "quiet", limits()).await;
    let pool = Pool::new();
    let rounds = Cell::new(0);
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
    let turns = Cell::new(0);
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

/// With two workers there is one place for slow calls. A call that is quick but meets a tick of the clock needs none.
#[tokio::test]
async fn a_quick_call_that_meets_a_tick_does_not_queue_behind_a_slow_one() {
    let engine = engine();
    let slow = hostile(&engine, "loop", Limits { call_time: Duration::from_millis(200), ..limits() }).await;
    let quick = hostile(&engine, "spin", limits()).await;
    let pool = Pool::new();
    let rounds = Cell::new(0_u32);
    let served_meanwhile = async {
        loop {
            // The slow one makes room at a tick, after which there is none for a while: so begin somewhere in between.
            let begin = Instant::now();
            while begin.elapsed() < Duration::from_micros(100) * (rounds.get() % 20) {
                std::hint::spin_loop();
            }
            assert!(pool.decode(&quick, TENANT, &[telemetry("1")]).await[0].is_ok());
            rounds.set(rounds.get() + 1);
            tokio::task::yield_now().await;
        }
    };
    let message = [telemetry("1")];
    tokio::select! {
        biased;
        _ = pool.decode(&slow, TENANT, &message) => {}
        () = served_meanwhile => unreachable!(),
    }
    // One for each slice of at most 1 ms; of twenty of them, some meet a tick.
    assert!(rounds.get() >= 40, "only {} calls while the other computed for 200 ms", rounds.get());
}

/// A profile is loaded on a thread of low priority, which would keep the place for long; and nobody's messages wait for it.
#[tokio::test]
async fn configuring_takes_no_place_among_slow_calls() {
    let engine = engine();
    let slow = hostile(&engine, "loop", Limits { call_time: Duration::from_secs(2), ..limits() }).await;
    let plugin = Plugin::load(&engine, "p", &wat("slow-configure")).unwrap();
    let pool = Pool::new();
    let message = [telemetry("1")];
    tokio::select! {
        biased;
        _ = pool.decode(&slow, TENANT, &message) => panic!("the slow call went first"),
        converter = Converter::new(&engine, &plugin, "{}".to_owned(), limits()) => assert!(converter.is_ok()),
    }
}
