//! Which messages are dead-lettered when a guest fails, and which are not.

use std::time::{Duration, Instant};

use model::Decoded;
use tidegate_plugin_host::{CallError, Cause, Limits, Pool};

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
    let payload = bytes::Bytes::from(vec![b'1'; 1000]);
    let mut failures = 0;
    for _ in 0..1000 {
        failures += usize::from(pool.decode(&converter, TENANT, &[telemetry(payload.clone())]).await[0].is_err());
    }
    // Its allocator does not grow the memory, so it fails when two pages are used up: once in about 120 messages, and
    // each time a new instance goes on.
    assert!((1..=10).contains(&failures), "{failures}");
}
