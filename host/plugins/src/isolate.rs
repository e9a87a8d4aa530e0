//! Who is to blame when a guest fails on a batch.

use std::ops::Range;

use crate::pool::CallError;

/// Finds the guilty messages of a batch of `count` on which a guest failed: one result per message, in order.
///
/// `rerun` calls the guest again, on an instance made afresh, with a part of the batch. The part that fails is halved
/// until the guilty message stands alone. Where both halves fail there is more than one of them, and halving would take
/// nearly twice as many calls as there are messages: then each message is called by itself. So there are never more calls
/// than `count` and its binary logarithm.
pub(crate) async fn isolate<Out>(
    count: usize,
    rerun: impl AsyncFn(Range<usize>) -> Result<Vec<Out>, CallError>,
) -> Vec<Result<Out, CallError>> {
    let mut verdicts = Verdicts((0..count).map(|_| None).collect());
    let mut suspects = 0..count;
    loop {
        let middle = suspects.start + suspects.len().div_ceil(2);
        let mut failed = Vec::with_capacity(2);
        for half in [suspects.start..middle, middle..suspects.end] {
            if half.is_empty() {
                continue;
            }
            let result = rerun(half.clone()).await;
            if !verdicts.settle(half.clone(), result) {
                failed.push(half);
            }
        }
        suspects = match failed.as_slice() {
            [] => break,
            [half] => half.clone(),
            [first, .., last] => {
                for message in first.start..last.end {
                    let result = rerun(message..message + 1).await;
                    verdicts.settle(message..message + 1, result);
                }
                break;
            }
        };
    }
    verdicts.into_list()
}

/// What is known of each message so far.
struct Verdicts<Out>(Vec<Option<Result<Out, CallError>>>);

impl<Out> Verdicts<Out> {
    /// Takes the result of a call; false when it does not say which of several messages is guilty.
    fn settle(&mut self, range: Range<usize>, result: Result<Vec<Out>, CallError>) -> bool {
        let Some(places) = self.0.get_mut(range) else { return true };
        match (result, places) {
            (Ok(list), places) => {
                for (place, out) in places.iter_mut().zip(list) {
                    *place = Some(Ok(out));
                }
            }
            (Err(CallError::Unavailable(reason)), places) => {
                places.fill_with(|| Some(Err(CallError::Unavailable(reason.clone()))));
            }
            (Err(failed), [place]) => *place = Some(Err(failed)),
            (Err(_), _) => return false,
        }
        true
    }

    /// No place is left open: a part is split until it is settled, and a call returns as many results as it was given.
    fn into_list(self) -> Vec<Result<Out, CallError>> {
        let open = || Err(CallError::Unavailable("no result".to_owned()));
        self.0.into_iter().map(|verdict| verdict.unwrap_or_else(open)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::{Cause, Failure};
    use std::cell::Cell;

    /// Every set of guilty messages in batches of up to 8, and some in large ones.
    #[tokio::test]
    async fn the_guilty_are_found_and_nobody_else_in_few_calls() {
        let every_small = (1..=8_usize).flat_map(|count| (0..1_u64 << count).map(move |guilty| (count, guilty)));
        let large = [0, 1, 1 << 63, 1 | 1 << 63, 0b11 << 31, u64::MAX, 0x5555_5555_5555_5555];
        for (count, guilty) in every_small.chain(large.map(|guilty| (64, guilty))) {
            let is_guilty = |message: usize| guilty >> message & 1 == 1;
            let calls = Cell::new(0);
            let results = isolate(count, async |range: Range<usize>| {
                calls.set(calls.get() + 1);
                if range.clone().any(is_guilty) {
                    Err(CallError::Failed(Failure::new(Cause::Trap, "x")))
                } else {
                    Ok(range.collect())
                }
            })
            .await;
            assert_eq!(results.len(), count);
            for (message, result) in results.into_iter().enumerate() {
                match result {
                    Ok(out) => assert!(!is_guilty(message) && out == message, "{count} {guilty:b} {message}"),
                    Err(CallError::Failed(_)) => assert!(is_guilty(message), "{count} {guilty:b} {message}"),
                    Err(other) => panic!("{other}"),
                }
            }
            let bound = count + count.next_power_of_two().trailing_zeros().max(1) as usize;
            assert!(calls.get() <= bound, "{count} {guilty:b}: {} calls", calls.get());
        }
    }

    #[tokio::test]
    async fn without_an_instance_nobody_is_guilty() {
        let calls = Cell::new(0);
        let results = isolate(10, async |_| {
            calls.set(calls.get() + 1);
            Err::<Vec<()>, _>(CallError::Unavailable("gone".to_owned()))
        })
        .await;
        assert!(results.len() == 10 && results.iter().all(|result| matches!(result, Err(CallError::Unavailable(_)))));
        assert_eq!(calls.get(), 2);
    }
}
