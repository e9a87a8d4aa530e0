//! Reads the data types of MQTT (MQTT5 §1.5) from the body of one packet.

use super::{DecodeError, PacketType};

/// The rest of a packet's body, and which packet it is, for error messages.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    packet: PacketType,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(packet: PacketType, body: &'a [u8]) -> Self {
        Self { packet, rest: body }
    }

    pub(super) fn bytes(&mut self, count: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.malformed(field, "points past the end of the packet"));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        let Some((&byte, rest)) = self.rest.split_first() else {
            return Err(self.malformed(field, "missing"));
        };
        self.rest = rest;
        Ok(byte)
    }

    pub(super) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(self.malformed(field, "missing or cut short"));
        };
        self.rest = rest;
        Ok(u16::from_be_bytes(*bytes))
    }

    pub(super) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(self.malformed(field, "missing or cut short"));
        };
        self.rest = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    /// A variable byte integer.
    pub(super) fn variable(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        match variable_integer(self.rest) {
            Ok(Some((value, length))) => {
                self.bytes(length, field)?;
                Ok(value)
            }
            Ok(None) => Err(self.malformed(field, "missing or cut short")),
            Err(problem) => Err(self.malformed(field, problem)),
        }
    }

    /// Bytes with a two-byte length in front.
    pub(super) fn binary(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.u16(field)?;
        self.bytes(usize::from(length), field)
    }

    /// UTF-8 with a two-byte length in front, as it stands: [`text`](Self::text) without the check for U+0000.
    pub(super) fn utf8(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let bytes = self.binary(field)?;
        // This also refuses encoded surrogates [MQTT-1.5.4-1].
        std::str::from_utf8(bytes).map_err(|_| self.malformed(field, "not UTF-8"))
    }

    /// A string [MQTT-1.5.4-2].
    pub(super) fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        let text = self.utf8(field)?;
        if text.as_bytes().contains(&0) {
            return Err(self.malformed(field, "contains U+0000"));
        }
        Ok(text)
    }

    /// A packet identifier, which is never 0 [MQTT-2.2.1-3].
    pub(super) fn packet_id(&mut self) -> Result<u16, DecodeError> {
        match self.u16("packet identifier")? {
            0 => Err(self.protocol("packet identifier", "0 is not a packet identifier")),
            id => Ok(id),
        }
    }

    /// Everything up to the end of the packet.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The packet must be over.
    pub(super) fn end(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.malformed("remaining length", "bytes after the last field"))
        }
    }

    pub(super) fn packet(&self) -> PacketType {
        self.packet
    }

    #[cold]
    pub(super) fn malformed(&self, field: &'static str, problem: &'static str) -> DecodeError {
        DecodeError::malformed(self.packet, field, problem)
    }

    #[cold]
    pub(super) fn protocol(&self, field: &'static str, problem: &'static str) -> DecodeError {
        DecodeError::protocol(self.packet, field, problem)
    }
}

/// A variable byte integer at the start of `bytes`: its value and how many bytes it takes, at most four. `None`: more
/// bytes are needed. The shortest form is the only one [MQTT-1.5.5-1].
pub(super) fn variable_integer(bytes: &[u8]) -> Result<Option<(u32, usize)>, &'static str> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().enumerate().take(4) {
        value |= u32::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            if byte == 0 && index > 0 {
                return Err("longer than its value needs");
            }
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err("longer than four bytes") }
}

#[cfg(test)]
mod tests {
    use super::variable_integer;

    /// The borders of MQTT5 §1.5.5 table 1-1.
    #[test]
    fn variable_integers() {
        for (bytes, expected) in [
            (&[0x00][..], Ok(Some((0, 1)))),
            (&[0x7f, 0xff], Ok(Some((127, 1)))),
            (&[0x80, 0x01], Ok(Some((128, 2)))),
            (&[0xff, 0x7f], Ok(Some((16_383, 2)))),
            (&[0x80, 0x80, 0x01], Ok(Some((16_384, 3)))),
            (&[0xff, 0xff, 0x7f], Ok(Some((2_097_151, 3)))),
            (&[0x80, 0x80, 0x80, 0x01], Ok(Some((2_097_152, 4)))),
            (&[0xff, 0xff, 0xff, 0x7f], Ok(Some((268_435_455, 4)))),
            (&[], Ok(None)),
            (&[0x80], Ok(None)),
            (&[0xff, 0xff, 0xff], Ok(None)),
            (&[0x80, 0x00], Err("longer than its value needs")),
            (&[0x81, 0x80, 0x00], Err("longer than its value needs")),
            (&[0xff, 0xff, 0xff, 0xff], Err("longer than four bytes")),
        ] {
            assert_eq!(variable_integer(bytes), expected, "{bytes:02x?}");
        }
    }
}
