//! The ways to fail, and what the operator reads of them.

use tidegate_plugin_host::{CallError, Cause, ConfigureError, Converter, Failure, Limits, Plugin, Pool};

use super::common::{TENANT, engine, hostile, limits, telemetry, wat, wat_with};

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

/// Its name is the guest's own text, and what is said of it goes into the event log.
#[tokio::test]
async fn what_is_said_of_a_failure_is_short() {
    let (_, detail) = cause_of_death("long-child").await;
    assert!(detail.starts_with("named the child") && detail.len() < 1000, "{} bytes", detail.len());

    let engine = engine();
    let name = "ä".repeat(5000);
    let plugin = wat_with("recursion", "$deeper", &format!("$\"{name}\""));
    let plugin = Plugin::load(&engine, "p", &plugin).unwrap();
    let converter = Converter::new(&engine, &plugin, "{}".to_owned(), limits()).await.unwrap();
    match Pool::new().decode(&converter, TENANT, &[telemetry("1")]).await.remove(0) {
        Err(CallError::Failed(Failure { cause: Cause::Trap, detail })) => {
            assert!(detail.contains("ää"), "the name is part of the backtrace: {detail}");
            assert!(detail.len() <= Failure::MAX_DETAIL, "{} bytes", detail.len());
        }
        other => panic!("{other:?}"),
    }
}

async fn with_tables(tables: &str, limits: Limits) -> Result<(), ConfigureError> {
    let engine = engine();
    let plugin = Plugin::load(&engine, "p", &wat_with("tables", ";; TABLES", tables)).unwrap();
    Converter::new(&engine, &plugin, "{}".to_owned(), limits).await.map(|_| ())
}

/// Tables are memory of the host, so they count as such, all of them together.
#[tokio::test]
async fn tables_end_at_the_memory_limit() {
    let tables = "(table 50000 funcref)\n".repeat(40);
    let error = with_tables(&tables, Limits { memory: 4 << 20, ..limits() }).await.unwrap_err();
    assert!(matches!(&error, ConfigureError::Failed(failure) if failure.cause == Cause::Memory), "{error}");
    assert!(with_tables(&tables, limits()).await.is_ok());
}

#[tokio::test]
async fn there_are_only_so_many_tables() {
    assert!(with_tables(&"(table 1 funcref)\n".repeat(50), limits()).await.is_ok());
    let error = with_tables(&"(table 1 funcref)\n".repeat(70), limits()).await.unwrap_err().to_string();
    assert!(error.contains("table count too high"), "{error}");
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
