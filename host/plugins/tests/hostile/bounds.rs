//! How much a message may become (design §3), and what of it the contract allows.

use model::{Command, Decoded, Fault, Operation, Reject};
use tidegate_plugin_host::{CallError, Cause, Limits, Pool, Uplink};

use super::common::{TENANT, engine, hostile, limits, telemetry};

fn malformed(reason: &str) -> Decoded {
    let reject =
        Reject { fault: Fault::Malformed, reason: format!("telemetry: the payload becomes more than {reason}") };
    Decoded { events: Vec::new(), rejects: vec![reject] }
}

/// The device that sends such a message is told so; the messages that share the call with it know nothing of it, and it
/// does not matter how many others do the same.
#[tokio::test]
async fn a_message_over_a_bound_is_refused_alone_whatever_is_around_it() {
    let converter = hostile(&engine(), "bulky", Limits::default()).await;
    let pool = Pool::new();
    let expected = |kind: &str| match kind {
        "b" => malformed("2097152 bytes of text"),
        "r" => malformed("10000 events"),
        "v" => malformed("50000 values"),
        _ => Decoded::default(),
    };
    let everything = ["b", "r", "v", "-"].repeat(16);
    let batches =
        [vec!["b"], vec!["r"], vec!["v"], vec!["-"], vec!["-", "b", "-", "v", "r"], vec!["b"; 64], everything];
    for batch in batches {
        let messages: Vec<Uplink> = batch.iter().map(|kind| telemetry(kind.to_string())).collect();
        let results = pool.decode(&converter, TENANT, &messages).await;
        assert_eq!(results.len(), batch.len());
        for (kind, result) in batch.iter().zip(results) {
            assert_eq!(result.unwrap(), expected(kind), "{kind} in {batch:?}");
        }
    }
}

#[tokio::test]
async fn a_payload_to_the_device_is_bounded() {
    let converter = hostile(&engine(), "bulky", Limits::default()).await;
    let command = Command::RpcResponse { id: 1, body: Ok("null".to_owned()), context: Vec::new() };
    let reject = Pool::new().encode(&converter, TENANT, &[command]).await.remove(0).unwrap().unwrap_err();
    assert_eq!(reject.reason, "a payload of at most 2097152 bytes expected, the plugin made 3145728");
}

/// What a guest returns goes into the event log as it is.
#[tokio::test]
async fn what_breaks_the_contract_is_the_plugins_fault() {
    let converter = hostile(&engine(), "violate", Limits { fresh_instances: true, ..limits() }).await;
    let pool = Pool::new();
    let rpc = Operation::RpcRequest(7);
    for (operation, payload, expected) in [
        (Operation::Telemetry, "-", None),
        (Operation::Telemetry, "g", None),
        (rpc, "q", None),
        (Operation::Telemetry, "n", Some("returned the double NaN: a finite number expected")),
        (Operation::Telemetry, "i", Some("returned the double -inf: a finite number expected")),
        (Operation::Telemetry, "t", Some("returned a value, not JSON text: key must be a string")),
        (Operation::Telemetry, "5", Some("returned a value that is neither an object nor an array")),
        (Operation::Telemetry, "l", Some("returned a value with control characters: compact JSON text expected")),
        (Operation::Telemetry, "e", Some("returned an empty key")),
        (Operation::Telemetry, "k", Some("returned a key of 70000 bytes: at most 65535 expected")),
        (Operation::Telemetry, "c", Some("named the child \"k\" in a session that is no gateway")),
        (Operation::Telemetry, "q", Some("returned an event that telemetry cannot mean")),
        (rpc, "p", Some("returned params, not JSON text: key must be a string")),
        (rpc, "g", Some("returned an event that rpc-request cannot mean")),
    ] {
        let message = Uplink { operation, ..telemetry(payload) };
        match (pool.decode(&converter, TENANT, &[message]).await.remove(0), expected) {
            (Ok(decoded), None) => assert_eq!((decoded.events.len(), decoded.rejects.len()), (1, 0), "{payload}"),
            (Err(CallError::Failed(failure)), Some(expected)) => {
                assert_eq!(failure.cause, Cause::Contract, "{payload}");
                assert!(failure.detail.starts_with(expected), "{payload}: {}", failure.detail);
            }
            (result, expected) => panic!("{payload}: {result:?} instead of {expected:?}"),
        }
    }
}
