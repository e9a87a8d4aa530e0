//! Hostile clients, found by libFuzzer. In `host/mqtt`, with cargo-fuzz installed and a nightly compiler, or
//! `RUSTC_BOOTSTRAP=1` and a stable one:
//!
//! ```text
//! cargo fuzz run decode -- -max_total_time=600 -max_len=4096
//! ```
//!
//! The corpus is checked in and the ordinary tests run over it, so keep of what is found only what is worth that.
#![no_main]

#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::run(input));
