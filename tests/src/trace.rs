//! Proof from the system calls of a gateway: no PUBACK leaves before the commit that holds its message has returned.
//!
//! The order of the lines is the order in which the tracer stopped the threads. A call that begins is stopped before it
//! has any effect and one that returns after it has had all of it, so a PUBACK whose `sendto` begins on a line below the
//! return of the commit left after it.

use std::collections::{HashMap, HashSet};

/// How a gateway is started so that [`check`] can read what it did; `output` is where the trace goes.
pub fn tracer(output: &str) -> Vec<&str> {
    const CALLS: &str =
        "trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,pwritev2,fdatasync,fsync";
    // `-D`: the gateway is the child of the test, and ends as it likes. `-xx`: bytes are bytes, whatever they are.
    vec!["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-yy", "-xx", "-s", "65536", "-o", output, "-e", CALLS]
}

/// A payload that [`check`] knows again, in packets and in segments.
pub fn marked(device: &str, number: usize) -> String {
    format!("{{\"m\":\"<mark {device} {number}>\"}}")
}

/// What was seen in a trace in which nothing was wrong.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Proof {
    /// Messages that were read from devices.
    pub received: usize,
    /// PUBACKs that left, each behind the commit of its message.
    pub acknowledged: usize,
    /// Writes that were durable when they returned, of segments with marked messages.
    pub synchronous_writes: usize,
    /// Syncs that made marked messages durable which had been written before.
    pub syncs: usize,
}

/// Looks at every call in the order of the trace; `port` is where devices connect.
///
/// # Errors
/// The first PUBACK that left too early, or a line that cannot be read.
pub fn check(trace: &str, port: u16) -> Result<Proof, String> {
    let mut checker = Checker { port, ..Checker::default() };
    for (index, line) in trace.lines().enumerate() {
        checker.line(line).map_err(|problem| format!("line {}: {problem}", index + 1))?;
    }
    Ok(checker.proof)
}

#[derive(Default)]
struct Checker {
    port: u16,
    /// Calls that have begun and not returned, by thread.
    begun: HashMap<String, Begun>,
    /// Bytes from a device that are not a whole packet yet, by socket.
    incoming: HashMap<String, Vec<u8>>,
    /// Which message a packet identifier stands for, by socket.
    unacknowledged: HashMap<(String, u16), String>,
    /// Messages that were written to a segment, which is not synchronised yet, by segment.
    written: HashMap<String, Vec<String>>,
    durable: HashSet<String>,
    proof: Proof,
}

struct Begun {
    text: String,
    /// What had been written to the segment when this sync of it began.
    covers: Vec<String>,
}

impl Checker {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (thread, rest) = line.split_once(char::is_whitespace).ok_or("no thread")?;
        let rest = rest.trim_start();
        if rest.starts_with("---") || rest.starts_with("+++") {
            return Ok(());
        }
        if let Some(resumed) = rest.strip_prefix("<... ") {
            let Some(Begun { text, covers }) = self.begun.remove(thread) else { return Ok(()) };
            let (_, resumed) = resumed.split_once(" resumed>").ok_or("\" resumed>\" expected")?;
            return self.returns(&Call::parse(&format!("{text}{resumed}"))?, covers);
        }
        if let Some(text) = rest.strip_suffix(" <unfinished ...>") {
            let covers = self.begins(&Call::parse(text)?)?;
            self.begun.insert(thread.to_owned(), Begun { text: text.to_owned(), covers });
            return Ok(());
        }
        let call = Call::parse(rest)?;
        let covers = self.begins(&call)?;
        self.returns(&call, covers)
    }

    /// Returns what the call will have made durable once it has returned, if it is a sync.
    fn begins(&self, call: &Call<'_>) -> Result<Vec<String>, String> {
        if call.is_sync() && call.is_segment() {
            return Ok(self.written.get(&call.file).cloned().unwrap_or_default());
        }
        if call.sends() && call.is_device(self.port) {
            for (first, body) in packets(&mut call.data()?) {
                let [high, low, ..] = *body else { continue };
                if first >> 4 != 4 {
                    continue;
                }
                let id = u16::from_be_bytes([high, low]);
                let message = self.unacknowledged.get(&(call.file.clone(), id));
                let message = message.ok_or_else(|| format!("PUBACK {id} to {} for no message", call.file))?;
                if !self.durable.contains(message) {
                    return Err(format!("PUBACK of {message} begins to leave, and its commit has not returned"));
                }
            }
        }
        Ok(Vec::new())
    }

    fn returns(&mut self, call: &Call<'_>, covers: Vec<String>) -> Result<(), String> {
        let Some(done) = call.returned else { return Ok(()) };
        if call.is_segment() && call.is_sync() {
            self.proof.syncs += usize::from(!covers.is_empty());
            self.durable.extend(covers);
        } else if call.is_segment() && call.sends() {
            let mut data = call.data()?;
            data.truncate(done);
            let messages = marks(&data);
            if call.text.contains("RWF_DSYNC") {
                self.proof.synchronous_writes += usize::from(!messages.is_empty());
                self.durable.extend(messages);
            } else {
                self.written.entry(call.file.clone()).or_default().extend(messages);
            }
        } else if call.is_device(self.port) && call.receives() {
            let incoming = self.incoming.entry(call.file.clone()).or_default();
            incoming.extend(call.data()?);
            for (first, body) in packets(incoming) {
                if first >> 4 == 3
                    && let [message] = marks(&body).as_slice()
                {
                    let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                    let id = u16::from_be_bytes([body[2 + topic], body[3 + topic]]);
                    self.proof.received += 1;
                    self.unacknowledged.insert((call.file.clone(), id), message.clone());
                }
            }
        } else if call.is_device(self.port) && call.sends() {
            let mut data = call.data()?;
            if done != data.len() {
                return Err(format!("{done} of {} bytes were sent, which this checker cannot follow", data.len()));
            }
            self.proof.acknowledged += packets(&mut data).iter().filter(|(first, _)| first >> 4 == 4).count();
        }
        Ok(())
    }
}

/// A line about a call, whole or up to where it was interrupted.
struct Call<'a> {
    name: &'a str,
    /// Path of the file, or the two ends of the connection.
    file: String,
    text: &'a str,
    /// What it returned, unless that was an error, or is on another line.
    returned: Option<usize>,
}

impl<'a> Call<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        let (name, arguments) = text.split_once('(').ok_or("a call expected")?;
        let described = arguments.split_once('<').filter(|(fd, _)| fd.bytes().all(|byte| byte.is_ascii_digit()));
        let file = described.map_or(String::new(), |(_, described)| {
            // `->` stands between the ends of a connection.
            let end = [">,", ">)", "> "].iter().filter_map(|end| described.find(end)).min();
            let described = &described[..end.unwrap_or_else(|| described.len() - 1)];
            String::from_utf8_lossy(&unescape(described)).into_owned()
        });
        // In a column, so there may be more than one space before the `=`.
        let result = text.rsplit_once(" = ").filter(|(arguments, _)| arguments.trim_end().ends_with(')'));
        let returned = result.and_then(|(_, result)| result.split(' ').next()?.parse().ok()); // not -1
        Ok(Self { name, file, text, returned })
    }

    fn is_sync(&self) -> bool {
        matches!(self.name, "fdatasync" | "fsync")
    }

    fn sends(&self) -> bool {
        self.name.contains("write") || self.name.starts_with("send")
    }

    fn receives(&self) -> bool {
        self.name.starts_with("read") || self.name.starts_with("recv")
    }

    fn is_segment(&self) -> bool {
        self.file.ends_with(".seg")
    }

    fn is_device(&self, port: u16) -> bool {
        self.file.starts_with("TCP:") && self.file.contains(&format!(":{port}->"))
    }

    /// All bytes of all buffers.
    fn data(&self) -> Result<Vec<u8>, String> {
        if self.text.contains("\"...") {
            return Err(format!("{} shows only a part of its bytes", self.name));
        }
        Ok(self.text.split('"').skip(1).step_by(2).flat_map(unescape).collect())
    }
}

/// `\x61b` is `ab`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = rest.strip_prefix("\\x").and_then(|rest| u8::from_str_radix(rest.get(..2)?, 16).ok());
        let (byte, length) = hex.map_or((u8::try_from(first).unwrap_or(b'?'), first.len_utf8()), |byte| (byte, 4));
        bytes.push(byte);
        rest = &rest[length..];
    }
    bytes
}

/// Takes whole MQTT packets: the first byte, and what stands behind the length.
fn packets(bytes: &mut Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    loop {
        let mut length = 0;
        let digits = bytes.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0).map_or(5, |last| last + 1);
        for (place, byte) in bytes.iter().skip(1).take(digits).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * place);
        }
        if bytes.len() < 1 + digits + length {
            return packets;
        }
        let body = bytes[1 + digits..1 + digits + length].to_vec();
        packets.push((bytes[0], body));
        bytes.drain(..1 + digits + length);
    }
}

/// The marked messages in there.
fn marks(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let marks = text.split("<mark ").skip(1).filter_map(|rest| rest.split_once('>'));
    marks.map(|(mark, _)| mark.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::write::puback;
    use crate::raw::{Publish, Version};

    const SOCKET: &str = "9<TCP:[127.0.0.1:1883->127.0.0.1:5555]>";
    const RECEIVE: &str = "1 recvfrom(SOCKET, \"PUBLISH\", 8192, 0, NULL, NULL) = 99";
    const SEND: &str = "1 sendto(SOCKET, \"PUBACK\", 4, MSG_NOSIGNAL, NULL, 0) = 4";

    fn hex(bytes: impl AsRef<[u8]>) -> String {
        bytes.as_ref().iter().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    fn checked(lines: &[&str]) -> Result<Proof, String> {
        let segment = |name: &str| format!("7<{}>", hex(format!("/d/events/{name}.seg")));
        let publish = Publish::new("v1/devices/me/telemetry", marked("d1", 1)).id(3).bytes(Version::V311);
        let trace = lines.join("\n");
        let trace = trace.replace("SOCKET", SOCKET).replace("SEGMENT", &segment("1")).replace("OTHER", &segment("2"));
        let trace = trace.replace("PUBLISH", &hex(publish)).replace("PUBACK", &hex(puback(3)));
        check(&trace.replace("EVENT", &hex("..\u{1}<mark d1 1>\0\0")), 1883)
    }

    const SYNCHRONOUS: &str = "2 pwritev2(SEGMENT, [{iov_base=\"EVENT\", iov_len=15}], 1, 0, RWF_DSYNC) = 15";
    const WRITE: &str = "2 pwrite64(SEGMENT, \"EVENT\", 15, 0) = 15";
    const SYNC: &str = "2 fdatasync(SEGMENT) = 0";

    #[test]
    fn right_orders_pass() {
        let synchronous = Proof { received: 1, acknowledged: 1, synchronous_writes: 1, syncs: 0 };
        assert_eq!(checked(&[RECEIVE, SYNCHRONOUS, SEND]), Ok(synchronous));
        let interrupted = [
            "1 recvfrom(SOCKET,  <unfinished ...>",
            "3 write(1<pipe:[5]>, \"PUBACK\", 4) = 4",
            "1 <... recvfrom resumed>\"PUBLISH\", 8192, 0, NULL, NULL) = 99",
            "2 pwritev2(SEGMENT, [{iov_base=\"EVENT\", iov_len=15}], 1, 0, RWF_DSYNC <unfinished ...>",
            "3 recvfrom(SOCKET, 0x7f, 8192, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)",
            "2 <... pwritev2 resumed>)          = 15",
            SEND,
        ];
        assert_eq!(checked(&interrupted), Ok(synchronous));
        let buffered = Proof { received: 1, acknowledged: 1, synchronous_writes: 0, syncs: 1 };
        assert_eq!(checked(&[RECEIVE, WRITE, SYNC, SEND]), Ok(buffered));
    }

    /// A checker that finds nothing wrong with any of these would prove nothing.
    #[test]
    fn wrong_orders_are_found() {
        let begun = "2 pwritev2(SEGMENT, [{iov_base=\"EVENT\", iov_len=15}], 1, 0, RWF_DSYNC <unfinished ...>";
        let returned = "2 <... pwritev2 resumed>) = 15";
        let failed = "2 pwritev2(SEGMENT, [{iov_base=\"EVENT\", iov_len=15}], 1, 0, RWF_DSYNC) = -1 EIO (…)";
        let partial = "2 pwritev2(SEGMENT, [{iov_base=\"EVENT\", iov_len=15}], 1, 0, RWF_DSYNC) = 5";
        let send_begun = "1 sendto(SOCKET, \"PUBACK\", 4, MSG_NOSIGNAL, NULL, 0 <unfinished ...>";
        let (sync_begun, sync_returned) = ("2 fdatasync(SEGMENT <unfinished ...>", "2 <... fdatasync resumed>) = 0");
        let late_write = "3 pwrite64(SEGMENT, \"EVENT\", 15, 0) = 15";
        let rows: [(&str, &[&str]); 10] = [
            ("no commit at all", &[RECEIVE, SEND]),
            ("sent before the commit", &[RECEIVE, SEND, SYNCHRONOUS]),
            ("sent while it runs", &[RECEIVE, begun, SEND, returned]),
            ("begins to be sent while it runs", &[RECEIVE, begun, send_begun, returned]),
            ("it failed", &[RECEIVE, failed, SEND]),
            ("it was not whole", &[RECEIVE, partial, SEND]),
            ("written only", &[RECEIVE, WRITE, SEND]),
            ("the sync runs", &[RECEIVE, WRITE, sync_begun, SEND, sync_returned]),
            ("another file was synchronised", &[RECEIVE, WRITE, "2 fdatasync(OTHER) = 0", SEND]),
            ("written after the sync began", &[RECEIVE, sync_begun, late_write, sync_returned, SEND]),
        ];
        for (what, lines) in rows {
            let problem = checked(lines).expect_err(what);
            assert!(problem.contains("PUBACK of d1 1 begins to leave"), "{what}: {problem}");
        }
    }
}
