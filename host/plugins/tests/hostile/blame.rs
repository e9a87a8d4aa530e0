//! Which messages are dead-lettered when a guest fails, and which are not.

use std::time::{Duration, Instant};

use bytes::Bytes;
use model::Decoded;
use tidegate_plugin_host::{CallError, Cause, Engine, EngineSettings, Limits, Pool, Uplink};

use super::common::{TENANT, engine, hostile, limits, telemetry};

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

/// An instance that is used up is the guest's fault and not the message's, alone or in a batch: only one made afresh proves
/// a message guilty.
#[tokio::test]
async fn messages_do_not_pay_for_the_instance_they_come_to() {
    let converter = hostile(&engine(), "once", limits()).await;
    let pool = Pool::new();
    for count in [1, 1, 2, 64, 1, 5] {
        let results = pool.decode(&converter, TENANT, &vec![telemetry("1"); count]).await;
        assert_eq!(results.iter().filter(|result| result.is_err()).count(), 0, "of {count}");
        assert_eq!((results.len(), pool.idle()), (count, 1));
    }
}

/// `quiet` never frees and its allocator does not grow the memory, so it fails when two pages are used up: once in about
/// 120 messages, and each time a new instance goes on with the same message.
#[tokio::test]
async fn an_instance_that_fails_of_its_age_is_replaced() {
    let converter = hostile(&engine(), "quiet", limits()).await;
    let pool = Pool::new();
    let payload = Bytes::from(vec![b'1'; 1000]);
    for at in 0..1000 {
        let results = pool.decode(&converter, TENANT, &[telemetry(payload.clone())]).await;
        assert!(results[0].is_ok(), "{at}: {:?}", results[0]);
    }
}

/// From 2 pages of 16, one more with each call, an instance is near its limit after ten or eleven.
#[tokio::test]
async fn an_instance_that_nears_its_memory_limit_is_replaced() {
    let converter = hostile(&engine(), "grow-slowly", Limits { memory: 16 << 16, ..limits() }).await;
    let pool = Pool::new();
    let mut replaced = 0;
    for at in 0..100 {
        let results = pool.decode(&converter, TENANT, &[telemetry("1")]).await;
        assert!(results[0].is_ok(), "{at}: {:?}", results[0]);
        replaced += usize::from(pool.idle() == 0);
    }
    assert!((9..=10).contains(&replaced), "{replaced}");
}

/// Isolating the guilty is not what makes a plugin wait: in this runtime, waiting panics.
#[test]
fn a_batch_full_of_guilty_messages_slows_nobody_down() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let engine = engine();
        let pool = Pool::new();
        for limits in [limits(), Limits { fresh_instances: true, ..limits() }] {
            let converter = hostile(&engine, "trap-on-x", limits).await;
            for _ in 0..8 {
                let results = pool.decode(&converter, TENANT, &vec![telemetry("x"); 64]).await;
                assert!(results.iter().all(|result| matches!(result, Err(CallError::Failed(_)))));
                assert_eq!(results.len(), 64);
            }
        }
    });
}

/// A plugin that only fails is started ever more slowly; whoever waits for that has no place among those who call.
#[tokio::test]
async fn waiting_for_an_instance_keeps_nobody_from_calling() {
    let engine = Engine::new(&EngineSettings { workers: 1, cache: None }).unwrap();
    let converter = hostile(&engine, "trap-on-x", limits()).await;
    let (unlucky, lucky) = (Pool::new(), Pool::new());
    assert!(lucky.decode(&converter, TENANT, &[telemetry("ok")]).await[0].is_ok());
    for _ in 0..22 {
        assert!(unlucky.decode(&converter, TENANT, &[telemetry("x")]).await[0].is_err());
    }
    let (guilty, innocent): ([Uplink; 1], [Uplink; 1]) = ([telemetry("x")], [telemetry("ok")]);
    tokio::select! {
        biased;
        _ = unlucky.decode(&converter, TENANT, &guilty) => panic!("has not waited, or kept the other waiting"),
        results = lucky.decode(&converter, TENANT, &innocent) => assert!(results[0].is_ok()),
    }
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
