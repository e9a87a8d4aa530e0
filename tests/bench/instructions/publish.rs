//! Bytes to a PUBLISH packet.

use std::hint::black_box;

use anyhow::ensure;
use mqtt::Version;
use mqtt::codec::{Packet, Stage, decode};

use crate::case::{Case, Clock};
use crate::json::SMALL;

pub(crate) const NAMES: [&str; 2] = ["publish-3.1.1", "publish-5.0"];

/// Messages in the buffer: what a read of a busy connection brings.
const MESSAGES: u16 = 16;
/// The largest packet, in bytes.
const LIMIT: u32 = 65_536;

/// The case of that name, if it is one of these.
pub(crate) fn case(name: &str) -> Option<Case> {
    let version = match name {
        "publish-3.1.1" => Version::V311,
        "publish-5.0" => Version::V5,
        _ => return None,
    };
    let buffer: Vec<u8> = (1..=MESSAGES).flat_map(|id| publish(version, id)).collect();
    let run = move |iterations| {
        for _ in 0..iterations {
            let mut rest = black_box(&buffer[..]);
            let mut payloads = 0;
            while let Some((packet, taken)) = decode(rest, Stage::Established(version), LIMIT)? {
                if let Packet::Publish(publish) = black_box(packet) {
                    payloads += publish.payload.len();
                }
                rest = &rest[taken..];
            }
            ensure!(payloads == usize::from(MESSAGES) * SMALL.len(), "not what was put in");
        }
        Ok(())
    };
    let name = NAMES.into_iter().find(|known| *known == name)?;
    Some(Case { name, messages: MESSAGES.into(), clock: Clock::Thread, run: Box::new(run) })
}

/// QoS 1 on the usual topic.
fn publish(version: Version, id: u16) -> Vec<u8> {
    let topic = "v1/devices/me/telemetry";
    let mut body = vec![0, topic.len() as u8];
    body.extend_from_slice(topic.as_bytes());
    body.extend_from_slice(&id.to_be_bytes());
    if version == Version::V5 {
        body.push(0); // no properties
    }
    body.extend_from_slice(SMALL.as_bytes());
    let mut packet = vec![0x32, body.len() as u8];
    packet.append(&mut body);
    packet
}
