//! What the event log of a gateway holds.

use serde_json::Value;

use crate::gateway::Gateway;
use crate::wait::until;

impl Gateway {
    /// All events, from the oldest to the newest, that pass this filter of the API, such as `device=d1&kind=telemetry`.
    #[track_caller]
    pub fn events(&self, filter: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut place = "from=oldest".to_owned();
        loop {
            let page = self.api().get(&format!("/api/v1/events?{place}&limit=1000&{filter}")).ok();
            let events = page["events"].as_array().unwrap();
            if events.is_empty() {
                return all;
            }
            all.extend(events.iter().cloned());
            place = format!("cursor={}", page["next"].as_str().unwrap());
        }
    }

    /// The values of every sample that this device sent, in the order of the log.
    #[track_caller]
    pub fn telemetry(&self, device: &str) -> Vec<Value> {
        let events = self.events(&format!("device={device}&kind=telemetry"));
        let samples = events.iter().flat_map(|event| event["samples"].as_array().unwrap());
        samples.map(|sample| sample["values"].clone()).collect()
    }

    /// The numbers under the key `n` that this device sent, in the order of the log.
    #[track_caller]
    pub fn numbers(&self, device: &str) -> Vec<u64> {
        self.telemetry(device).iter().map(|values| values["n"].as_u64().unwrap()).collect()
    }

    /// The kinds of all events of this device with their causes, such as `["connected", "disconnected client"]`.
    #[track_caller]
    pub fn story(&self, device: &str) -> Vec<String> {
        let tell = |event: &Value| {
            let kind = event["kind"].as_str().unwrap();
            event["cause"].as_str().map_or_else(|| kind.to_owned(), |cause| format!("{kind} {cause}"))
        };
        self.events(&format!("device={device}")).iter().map(tell).collect()
    }

    /// Waits until the story of a device ends so, and returns it. For what is not acknowledged.
    #[track_caller]
    pub fn story_until(&self, device: &str, last: &str) -> Vec<String> {
        until(&format!("{device}: {last}"), || {
            let story = self.story(device);
            (story.last().is_some_and(|event| event == last)).then_some(story)
        })
    }
}
