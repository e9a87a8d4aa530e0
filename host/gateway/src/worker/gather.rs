//! All drains that are ready at once, as one batch for each profile (design §1): decoded, committed, settled.
//!
//! Many devices with one message each are the usual load, so a plugin call and a log batch are filled from all
//! connections that had something to read in the same turn of the worker. Nobody waits for more to come.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use model::event::DeadLetter;
use model::{Body, Command, Decoded, Fault, Operation, Reject, TenantId};
use mqtt::outcome::{Outcome, Situation, Then, react};
use platform::log::Refusal;
use plugins::{CallError, Cause, Converter, Failure, Uplink};

use super::drain::{Downlink, Drain, Message, Settled};
use super::{Local, answer};
use crate::profile::Profile;
use crate::route::{self, Route, Slot};

/// Payload bytes after which a batch takes no further drain: decoded, they may take many times as much, and a whole fleet may
/// have something ready in the same turn.
const BATCH_BYTES: usize = 1 << 20;

/// Drains that were submitted since the last turn.
#[derive(Default)]
pub(super) struct Gather {
    waiting: RefCell<Vec<Drain>>,
    waker: RefCell<Option<Waker>>,
}

impl Gather {
    /// Hands over a drain. Bounded by the number of connections: each has at most one on its way.
    pub(super) fn submit(&self, drain: Drain) {
        self.waiting.borrow_mut().push(drain);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    async fn next(&self) -> Vec<Drain> {
        poll_fn(|context| {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.is_empty() {
                *self.waker.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(std::mem::take(&mut *waiting))
        })
        .await
    }
}

/// Takes what is there and sends it on its way, for ever. Runs behind all connections that were ready with the first one,
/// since the first one woke it.
pub(super) async fn run(local: Rc<Local>) {
    loop {
        let mut drains = local.gather.next().await;
        // One batch for each profile: a slow plugin must not hold up devices of other profiles.
        while let Some(first) = drains.first() {
            let profile = first.profile.clone();
            let mut room = BATCH_BYTES;
            let (batch, others) = drains.into_iter().partition(|drain| {
                let fits = room > 0 && Arc::ptr_eq(&drain.profile, &profile);
                if fits {
                    room = room.saturating_sub(drain.messages.iter().map(|message| message.payload.len()).sum());
                }
                fits
            });
            drains = others;
            tokio::task::spawn_local(process(local.clone(), profile, batch));
        }
    }
}

/// Sees a batch of drains through.
async fn process(local: Rc<Local>, profile: Arc<Profile>, drains: Vec<Drain>) {
    metrics::histogram!("tidegate_batch_messages")
        .record(drains.iter().map(|drain| drain.messages.len() as f64).sum::<f64>());
    let mut decoded = decode(&local, &profile, &drains).await;
    let mut answers = answer(&local, &profile, &drains, &mut decoded).await;
    let limit = local.gateway.settings.converter_failures_close;
    let mut batch = local.gateway.log.batch();
    let mut settled: Vec<Vec<Settled>> = Vec::with_capacity(drains.len());
    let mut decoded = decoded.into_iter();
    let mut answers = answers.drain(..);
    for drain in &drains {
        let mut list = Vec::with_capacity(drain.messages.len());
        let mut cut = false;
        let mut failures = drain.failures;
        for message in &drain.messages {
            let (decoded, answer) = (decoded.next().flatten(), answers.next().flatten());
            if cut {
                continue; // discarded without effect, though already decoded
            }
            let mut events = batch.message();
            let mut outcome = outcome(message, &profile, drain, decoded, &mut |body| {
                events.event(&drain.origin, drain.received, Some(&message.topic), body);
            });
            // Known before the commit, because it may close and so cut the drain.
            if let Some(refusal) = events.refusal() {
                outcome = not_stored(refusal);
            }
            let reaction = react(outcome.situation, drain.version, message.ticket.qos(), drain.policy);
            failures = if outcome.situation == Situation::ConverterFailed { failures + 1 } else { 0 };
            cut = matches!(reaction.then, Then::Close(_)) || limit > 0 && failures >= limit;
            let answer = answer.filter(|_| outcome.situation == Situation::Success);
            list.push(Settled { topic: message.topic.clone(), ticket: message.ticket, outcome, answer });
        }
        settled.push(list);
    }
    let batch = batch.finish();
    if batch.records() > 0 {
        match local.gateway.log.append(batch).await {
            Ok(appended) if appended.all_stored() => {}
            Ok(appended) => {
                let refused = appended.refused().iter();
                let mut all: Vec<&mut Settled> = settled.iter_mut().flatten().collect();
                for (index, refusal) in refused {
                    if let Some(settled) = all.get_mut(*index) {
                        settled.outcome = not_stored(refusal);
                        settled.answer = None;
                    }
                }
            }
            Err(error) => {
                tracing::error!("events not stored: {error}");
                for settled in settled.iter_mut().flatten() {
                    settled.outcome = Outcome::new(Situation::ProcessingFailed, "the event log does not take events");
                    settled.answer = None;
                }
            }
        }
    }
    count(&profile, &settled);
    for (drain, settled) in drains.into_iter().zip(settled) {
        // The connection waits for this; it is gone only when its worker is.
        let _ = drain.settled.send(settled);
    }
}

/// What a converter made of a message.
type Meaning = Result<Decoded, CallError>;

/// Messages that one call can take: of one tenant, one plugin and one operation.
struct Run<'a> {
    converter: &'a Converter,
    tenant: TenantId,
    operation: std::mem::Discriminant<Operation>,
    uplinks: Vec<Uplink>,
    /// Where in the batch each of them stands.
    places: Vec<usize>,
}

/// What each message of the batch says, counted through all drains; `None` where the topic has no meaning.
async fn decode(local: &Local, profile: &Profile, drains: &[Drain]) -> Vec<Option<Meaning>> {
    let messages = || drains.iter().flat_map(|drain| drain.messages.iter().map(move |message| (drain, message)));
    let mut runs: Vec<Run<'_>> = Vec::new();
    let mut count = 0;
    for (place, (drain, message)) in messages().enumerate() {
        count = place + 1;
        let Route::Convert { slot, operation, .. } = message.route else { continue };
        let converter = converter(profile, slot, operation);
        let uplink = Uplink {
            operation,
            topic: route::matched_topic(&profile.topics, operation, slot, &message.topic),
            payload: message.payload.clone(),
            received: drain.received,
        };
        let key = (drain.origin.tenant, std::mem::discriminant(&operation));
        let same = |run: &&mut Run<'_>| std::ptr::eq(run.converter, converter) && (run.tenant, run.operation) == key;
        let run = match runs.iter_mut().find(same) {
            Some(run) => run,
            None => {
                let (tenant, operation) = key;
                runs.push(Run { converter, tenant, operation, uplinks: Vec::new(), places: Vec::new() });
                match runs.last_mut() {
                    Some(run) => run,
                    None => continue,
                }
            }
        };
        run.uplinks.push(uplink);
        run.places.push(place);
    }
    let mut decoded: Vec<Option<Meaning>> = Vec::new();
    decoded.resize_with(count, || None);
    for run in runs {
        let results = local.pool.decode(run.converter, run.tenant, &run.uplinks).await;
        for (place, result) in run.places.into_iter().zip(results) {
            decoded[place] = Some(result);
        }
    }
    decoded
}

/// The converter of a slot; what it does not implement goes to the shipped JSON converter (spec 16).
fn converter(profile: &Profile, slot: Slot, operation: Operation) -> &Converter {
    match slot {
        Slot::Profile if profile.converter.implements(operation) => &profile.converter,
        Slot::Profile | Slot::Json => &profile.json,
    }
}

/// Answers that one call can encode.
struct Answers<'a> {
    converter: &'a Converter,
    tenant: TenantId,
    commands: Vec<Command>,
    /// Where in the batch the request of each of them stands, and where its answer goes.
    places: Vec<(usize, String)>,
}

/// Encodes what the host answers by itself, and takes those requests out of `decoded`. Where a plugin fails on the answer,
/// it has failed on the message.
async fn answer(
    local: &Local,
    profile: &Profile,
    drains: &[Drain],
    decoded: &mut [Option<Meaning>],
) -> Vec<Option<Downlink>> {
    let mut answers = Vec::new();
    answers.resize_with(decoded.len(), || None);
    let mut runs: Vec<Answers<'_>> = Vec::new();
    let messages = drains.iter().flat_map(|drain| drain.messages.iter().map(move |message| (drain, message)));
    for (place, (drain, message)) in messages.enumerate() {
        let Route::Convert { slot, operation, answer: Some(family) } = message.route else { continue };
        let Some(Ok(Decoded { events, .. })) = &mut decoded[place] else { continue };
        let Some(at) = events.iter().position(|event| matches!(event, Body::RpcRequest(_))) else { continue };
        let Body::RpcRequest(request) = events.remove(at) else { continue };
        let topic = family.rpc_topic(request.id);
        let command = answer::to_rpc(request, &local.gateway.settings, drain.is_gateway);
        let (converter, tenant) = (converter(profile, slot, operation), drain.origin.tenant);
        match runs.iter_mut().find(|run| std::ptr::eq(run.converter, converter) && run.tenant == tenant) {
            Some(run) => {
                run.commands.push(command);
                run.places.push((place, topic));
            }
            None => {
                let (commands, places) = (vec![command], vec![(place, topic)]);
                runs.push(Answers { converter, tenant, commands, places });
            }
        }
    }
    for run in runs {
        let encoded = local.pool.encode(run.converter, run.tenant, &run.commands).await;
        for ((place, topic), encoded) in run.places.into_iter().zip(encoded) {
            match encoded {
                Ok(Ok(payload)) => answers[place] = Some(Downlink { topic, payload }),
                Ok(Err(Reject { reason, .. })) => {
                    let detail = format!("refused to encode the answer: {reason}");
                    decoded[place] = Some(Err(CallError::Failed(Failure { cause: Cause::Contract, detail })));
                }
                Err(error) => decoded[place] = Some(Err(error)),
            }
        }
    }
    answers
}

/// What becomes of a message, before the commit; its events go to `store`.
fn outcome(
    message: &Message,
    profile: &Profile,
    drain: &Drain,
    decoded: Option<Meaning>,
    store: &mut dyn FnMut(Body),
) -> Outcome {
    if let Route::Refuse(outcome) = &message.route {
        return outcome.clone();
    }
    match decoded {
        Some(Ok(Decoded { events, rejects })) => {
            if let Some(reject) = rejects.into_iter().next() {
                return rejected(reject);
            }
            events.into_iter().for_each(store);
            Outcome::SUCCESS
        }
        Some(Err(CallError::Failed(failure))) => {
            let converter = match message.route {
                Route::Convert { slot, operation, .. } => converter(profile, slot, operation),
                Route::Refuse(_) => &profile.converter,
            };
            tracing::warn!(
                device = drain.origin.name,
                plugin = converter.plugin().name(),
                version = converter.plugin().version(),
                cause = failure.cause.as_str(),
                "plugin failed on a message, which is dead-lettered: {}",
                failure.detail.lines().next().unwrap_or_default(),
            );
            store(Body::DeadLetter(Box::new(DeadLetter {
                plugin: converter.plugin().name().to_owned(),
                version: converter.plugin().version().to_owned(),
                cause: failure.cause.as_str().to_owned(),
                detail: failure.detail,
                operation: operation_name(message),
                payload: message.payload.to_vec(),
            })));
            let reason =
                format!("the converter failed ({}); the message is kept as a dead letter", failure.cause.as_str());
            Outcome::new(Situation::ConverterFailed, reason)
        }
        Some(Err(CallError::Unavailable(error))) => {
            tracing::error!(device = drain.origin.name, profile = profile.name, "converter cannot be started: {error}");
            Outcome::new(Situation::ProcessingFailed, "the converter cannot be started")
        }
        None => Outcome::new(Situation::ProcessingFailed, "the message was not processed"),
    }
}

fn operation_name(message: &Message) -> String {
    match message.route {
        Route::Convert { operation, .. } => operation.to_string(),
        Route::Refuse(_) => String::new(),
    }
}

/// A converter's refusal in terms of spec 4.3.
fn rejected(reject: Reject) -> Outcome {
    let situation = match reject.fault {
        Fault::Malformed | Fault::Unsupported => Situation::InvalidPayload,
        Fault::Denied => Situation::NotAGateway,
    };
    Outcome::new(situation, reject.reason)
}

fn not_stored(refusal: &Refusal) -> Outcome {
    let situation = match refusal {
        Refusal::TooLarge { .. } => Situation::InvalidPayload,
        _ => Situation::ProcessingFailed,
    };
    Outcome::new(situation, refusal.to_string())
}

/// Metrics of a batch: nothing here is done per message but counting.
fn count(profile: &Profile, settled: &[Vec<Settled>]) {
    let mut counts = [0_u64; Situation::ALL.len()];
    for settled in settled.iter().flatten() {
        counts[settled.outcome.situation as usize] += 1;
    }
    for (situation, count) in Situation::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0) {
        metrics::counter!("tidegate_messages_total", "profile" => profile.name.clone(), "outcome" => situation.as_str())
            .increment(count);
    }
}
