//! Waiting for another process. Nothing here measures: the deadlines are what a hopelessly loaded machine may need.

use std::time::{Duration, Instant};

/// After so long, what has not happened will not happen.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Asks again and again until there is an answer.
///
/// # Panics
/// There is none within [`DEADLINE`].
#[track_caller]
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        pause(Duration::from_millis(10));
    }
}

/// Asks again and again until it is so.
///
/// # Panics
/// It is not within [`DEADLINE`].
#[track_caller]
pub fn until_true(what: &str, mut ask: impl FnMut() -> bool) {
    until(what, || ask().then_some(()));
}

/// Lets time pass, for tests of what must not happen meanwhile.
#[allow(clippy::disallowed_methods, reason = "a test has nobody else on its thread")]
pub fn pause(time: Duration) {
    std::thread::sleep(time);
}
