//! A payload through the JSON plugin in its sandbox, as a worker calls it.

use std::hint::black_box;

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use model::{Body, Operation, TenantId, Timestamp};
use plugins::{Converter, Engine, EngineSettings, Limits, Plugin, Pool, Uplink};

use crate::Places;
use crate::case::{Case, Clock};

pub(crate) const NAMES: [&str; 8] = [
    "json-1",
    "json-16",
    "json-64",
    "json-array-16",
    "json-12-keys-16",
    "json-attributes-16",
    "json-mixed-16",
    "json-fresh",
];

/// 52 bytes, three keys, three kinds of value.
pub(crate) const SMALL: &str = r#"{"temperature":25.5,"humidity":60,"status":"active"}"#;
/// Two samples with their own times.
const ARRAY: &str = r#"[{"ts":1700000000000,"values":{"temperature":25.5,"humidity":60}},{"ts":1700000001000,"values":{"temperature":25.6,"humidity":61}}]"#;
/// What a larger device sends.
const TWELVE_KEYS: &str = r#"{"voltage_l1":230.1,"voltage_l2":229.8,"voltage_l3":231.4,"current_l1":4.21,"current_l2":3.97,"current_l3":5.02,"power":3021,"energy":182734.55,"frequency":49.98,"relay":true,"mode":"auto","firmware":"2.4.1"}"#;
/// What a device says about itself.
const ATTRIBUTES: &str =
    r#"{"serial":"A-10022","firmware":"2.4.1","interval":60,"location":{"lat":52.52,"lon":13.405}}"#;

/// The case of that name, if it is one of these.
pub(crate) fn case(name: &str, places: &Places) -> anyhow::Result<Option<Case>> {
    const TELEMETRY: Operation = Operation::Telemetry;
    let (payloads, batch): (&[(Operation, &str)], usize) = match name {
        "json-1" | "json-fresh" => (&[(TELEMETRY, SMALL)], 1),
        "json-16" => (&[(TELEMETRY, SMALL)], 16),
        "json-64" => (&[(TELEMETRY, SMALL)], 64),
        "json-array-16" => (&[(TELEMETRY, ARRAY)], 16),
        "json-12-keys-16" => (&[(TELEMETRY, TWELVE_KEYS)], 16),
        "json-attributes-16" => (&[(Operation::Attributes, ATTRIBUTES)], 16),
        "json-mixed-16" => (
            &[(TELEMETRY, SMALL), (TELEMETRY, ARRAY), (TELEMETRY, TWELVE_KEYS), (Operation::Attributes, ATTRIBUTES)],
            16,
        ),
        _ => return Ok(None),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limits = Limits { fresh_instances: name == "json-fresh", ..Limits::default() };
    let converter = runtime.block_on(converter(places, limits))?;
    let pool = Pool::new();
    let uplinks: Vec<Uplink> = payloads
        .iter()
        .cycle()
        .take(batch)
        .map(|(operation, payload)| Uplink {
            operation: *operation,
            topic: None,
            payload: Bytes::from_static(payload.as_bytes()),
            received: Timestamp(1_700_000_000_000),
        })
        .collect();
    runtime.block_on(check(&pool, &converter, &uplinks))?;
    let run = move |iterations| {
        runtime.block_on(async {
            for _ in 0..iterations {
                black_box(pool.decode(&converter, TenantId::DEFAULT, black_box(&uplinks)).await);
            }
            Ok(())
        })
    };
    let name = NAMES.into_iter().find(|known| *known == name).context("a name of this table")?;
    Ok(Some(Case { name, messages: batch as u64, clock: Clock::Thread, run: Box::new(run) }))
}

/// The shipped plugin with the settings that a gateway has by default.
async fn converter(places: &Places, limits: Limits) -> anyhow::Result<std::sync::Arc<Converter>> {
    let file = places.plugins.join("json.wasm");
    let wasm = std::fs::read(&file).with_context(|| format!("{}: run `make plugins` first", file.display()))?;
    let engine = Engine::new(&EngineSettings { workers: 1, cache: Some(places.work.join("compiled-plugins")) })?;
    let plugin = Plugin::load(&engine, "json", &wasm)?;
    let config = serde_json::json!({
        "type_cast_enabled": true,
        "json_lenient": true,
        "max_string_value_length": 0,
        "max_key_length": 255,
        "config": {},
    });
    Ok(Converter::new(&engine, &plugin, config.to_string(), limits).await?)
}

/// Refusals would be measured just as well.
async fn check(pool: &Pool, converter: &Converter, uplinks: &[Uplink]) -> anyhow::Result<()> {
    for (decoded, uplink) in pool.decode(converter, TenantId::DEFAULT, uplinks).await.into_iter().zip(uplinks) {
        let decoded = decoded.map_err(|error| anyhow!("{error}"))?;
        let values: usize = decoded.events.iter().map(values).sum();
        ensure!(values >= 3 && decoded.rejects.is_empty(), "{}: {decoded:?}", String::from_utf8_lossy(&uplink.payload));
    }
    Ok(())
}

fn values(event: &Body) -> usize {
    match event {
        Body::Telemetry(samples) => samples.iter().map(|sample| sample.entries.len()).sum(),
        Body::ClientAttributes(entries) => entries.len(),
        _ => 0,
    }
}
