//! Files that never become a plugin.

use tidegate_plugin_host::{ConfigureError, Converter, LoadError, Plugin};

use super::common::{engine, limits, wat};

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
