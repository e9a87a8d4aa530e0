//! Topic names and topic filters (MQTT5 §4.7).
//!
//! Text only: which topics exist and what they mean is not known here.

use std::fmt;

/// What stands in the way of a text being a topic name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scan {
    Clean,
    Wildcard,
    Nul,
}

/// Looks at all bytes of a topic name. Does not look at its length.
#[inline]
pub(crate) fn scan_name(text: &str) -> Scan {
    // One pass without a branch per byte; it is part of every PUBLISH.
    let (nul, wildcard) = text
        .bytes()
        .fold((false, false), |(nul, wildcard), byte| (nul | (byte == 0), wildcard | (byte == b'+') | (byte == b'#')));
    match (nul, wildcard) {
        (true, _) => Scan::Nul,
        (false, true) => Scan::Wildcard,
        (false, false) => Scan::Clean,
    }
}

/// Whether the text can be the topic name of a message: not empty, no wildcard, no U+0000 [MQTT-4.7.1-1], [MQTT-4.7.3-1],
/// [MQTT-4.7.3-2], at most 65,535 bytes.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= usize::from(u16::MAX) && scan_name(text) == Scan::Clean
}

/// A valid topic filter.
///
/// A level is what stands between two `/`. `+` stands for one level, `#` as the last level for all levels from there on,
/// including none. Neither stands for a first level that begins with `$` [MQTT-4.7.2-1].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    text: Box<str>,
    dialect: Dialect,
    has_wildcard: bool,
}

/// What the two kinds of filter disagree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Dialect {
    /// MQTT5 §4.7: `+` stands for any level.
    Mqtt,
    /// Spec 4.1: `+` stands for any level that is not empty.
    Profile,
}

/// A text that is no topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("topic filter {filter:?}: {problem}")]
pub struct FilterError {
    filter: Box<str>,
    problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    Empty,
    TooLong,
    Nul,
    /// `+` or `#` with something beside it, in the level with this number, counted from 1.
    NotAlone(char, usize),
    /// `#` in this level, which is not the last.
    NotLast(usize),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("at least one character is expected"),
            Self::TooLong => f.write_str("at most 65,535 bytes are expected"),
            Self::Nul => f.write_str("U+0000 is not allowed"),
            Self::NotAlone(wildcard, level) => write!(f, "\"{wildcard}\" must be the whole level, see level {level}"),
            Self::NotLast(level) => write!(f, "\"#\" must be the last level, it is level {level}"),
        }
    }
}

impl Filter {
    /// A filter as MQTT defines it.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        Self::new(text, Dialect::Mqtt)
    }

    /// A filter of a device profile (spec 4.1), where `+` is one level that is not empty.
    pub fn parse_profile(text: &str) -> Result<Self, FilterError> {
        Self::new(text, Dialect::Profile)
    }

    fn new(text: &str, dialect: Dialect) -> Result<Self, FilterError> {
        match validate(text) {
            Ok(()) => Ok(Self { text: text.into(), dialect, has_wildcard: scan_name(text) == Scan::Wildcard }),
            Err(problem) => Err(FilterError { filter: text.into(), problem }),
        }
    }

    /// The text it was made of.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the filter contains `+` or `#`. One without matches exactly the topic of the same text.
    pub fn has_wildcard(&self) -> bool {
        self.has_wildcard
    }

    /// Whether a message with this topic name matches. Topics are case-sensitive.
    pub fn matches(&self, topic: &str) -> bool {
        if self.has_wildcard { self.matches_levels(topic) } else { *self.text == *topic }
    }

    /// Matches a topic name and returns what the wildcards stand for, from left to right: for `+` its level, for `#` the
    /// rest of the topic, which is empty when `#` stands for no level.
    pub fn captures<'f, 't>(&'f self, topic: &'t str) -> Option<impl Iterator<Item = &'t str> + use<'f, 't>> {
        if !self.matches(topic) {
            return None;
        }
        let mut rest = Some(topic);
        let captured = self.text.split('/').filter_map(move |level| {
            if level == "#" {
                return Some(rest.unwrap_or_default());
            }
            let (first, behind) = split_level(rest.unwrap_or_default());
            rest = behind;
            (level == "+").then_some(first)
        });
        Some(captured)
    }

    fn matches_levels(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.text.starts_with(['+', '#']) {
            return false;
        }
        let mut rest = Some(topic);
        for level in self.text.split('/') {
            if level == "#" {
                return true;
            }
            let Some(here) = rest else { return false };
            let (first, behind) = split_level(here);
            let matches = match (level, self.dialect) {
                ("+", Dialect::Mqtt) => true,
                ("+", Dialect::Profile) => !first.is_empty(),
                (level, _) => level == first,
            };
            if !matches {
                return false;
            }
            rest = behind;
        }
        rest.is_none()
    }
}

/// The first level, and the others if there are any.
fn split_level(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((first, rest)) => (first, Some(rest)),
        None => (topic, None),
    }
}

fn validate(text: &str) -> Result<(), Problem> {
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    if text.len() > usize::from(u16::MAX) {
        return Err(Problem::TooLong);
    }
    if text.contains('\0') {
        return Err(Problem::Nul);
    }
    let mut levels = text.split('/').enumerate().peekable();
    while let Some((index, level)) = levels.next() {
        let wildcard = level.chars().find(|c| matches!(c, '+' | '#'));
        match wildcard {
            Some(wildcard) if level.len() > 1 => return Err(Problem::NotAlone(wildcard, index + 1)),
            Some('#') if levels.peek().is_some() => return Err(Problem::NotLast(index + 1)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names() {
        for (text, valid) in [
            ("a", true),
            ("/", true),
            ("v1/devices/me/telemetry", true),
            ("$SYS/x", true),
            ("Ünïcode/温度", true),
            ("", false),
            ("a/+", false),
            ("a/#", false),
            ("a+b", false),
            ("a\0b", false),
        ] {
            assert_eq!(is_name(text), valid, "{text:?}");
        }
        assert!(is_name(&"x".repeat(65_535)));
        assert!(!is_name(&"x".repeat(65_536)));
    }

    /// MQTT5 §4.7.1, with its own examples.
    #[test]
    fn filter_syntax() {
        for valid in
            ["#", "+", "/", "a", "a/", "/a", "a//b", "+/+", "a/+/b", "a/#", "+/tennis/#", "$SYS/#", "$share/g/a"]
        {
            assert!(Filter::parse(valid).is_ok(), "{valid}");
        }
        for (invalid, message) in [
            ("", "topic filter \"\": at least one character is expected"),
            ("a+", "topic filter \"a+\": \"+\" must be the whole level, see level 1"),
            ("a/b+/c", "topic filter \"a/b+/c\": \"+\" must be the whole level, see level 2"),
            ("++", "topic filter \"++\": \"+\" must be the whole level, see level 1"),
            ("Sensor/Temperature#", "topic filter \"Sensor/Temperature#\": \"#\" must be the whole level, see level 2"),
            ("a/#/b", "topic filter \"a/#/b\": \"#\" must be the last level, it is level 2"),
            ("#/", "topic filter \"#/\": \"#\" must be the last level, it is level 1"),
            ("a\0", "topic filter \"a\\0\": U+0000 is not allowed"),
        ] {
            assert_eq!(Filter::parse(invalid).expect_err(invalid).to_string(), message);
        }
        assert!(Filter::parse(&"x".repeat(65_536)).is_err());
    }

    /// MQTT5 §4.7.1 and §4.7.2, with their own examples.
    #[test]
    fn mqtt_matching() {
        for (filter, topic, matches) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/tennis/player1/#", "sport/tennis/player10", false),
            ("sport/#", "sport", true),
            ("#", "anything/at/all", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/monitor/Clients", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("ACCOUNTS", "Accounts", false),
            ("a/b", "a/b/", false),
            ("+", "ä", true),
        ] {
            assert_eq!(Filter::parse(filter).unwrap().matches(topic), matches, "{filter} on {topic}");
        }
    }

    /// The table of spec 4.1, row by row.
    #[test]
    fn spec_4_1_profile_filters() {
        for (filter, matching, others) in [
            ("plain/text", &["plain/text"][..], &["plain", "plain/text/", "Plain/text"][..]),
            (
                "Sensor/Temperature/House/+",
                &["Sensor/Temperature/House/48"],
                &[
                    "Sensor/Temperature",
                    "Sensor/Temperature/House",
                    "Sensor/Temperature/House/48/x",
                    "Sensor/Temperature/House/",
                ],
            ),
            (
                "Sensor/+/House/#",
                &["Sensor/Temperature/House", "Sensor/Temperature/House/48/x"],
                &["Sensor/House/48", "Sensor//House"],
            ),
            ("Sensor/#", &["Sensor", "Sensor/Temperature", "Sensor/Temperature/x/y"], &["Sensor2/x"]),
            ("Sensor/Temperature/#", &["Sensor/Temperature", "Sensor/Temperature/x"], &["Sensor/Temperature2"]),
            ("#", &["everything", "every/thing"], &["$SYS/x", "$other/x"]),
        ] {
            let filter = Filter::parse_profile(filter).unwrap();
            for topic in matching {
                assert!(filter.matches(topic), "{filter:?} must match {topic}");
            }
            for topic in others {
                assert!(!filter.matches(topic), "{filter:?} must not match {topic}");
            }
        }
        assert!(Filter::parse_profile("Sensor/Temperature#").is_err());
    }

    #[test]
    fn captures_are_what_the_wildcards_stand_for() {
        for (filter, topic, expected) in [
            ("v1/devices/me/rpc/request/+", "v1/devices/me/rpc/request/17", Some(&["17"][..])),
            ("v2/fw/request/+/chunk/+", "v2/fw/request/abc/chunk/0", Some(&["abc", "0"])),
            ("Sensor/+/House/#", "Sensor/Temperature/House/48/x", Some(&["Temperature", "48/x"])),
            ("Sensor/+/House/#", "Sensor/Temperature/House", Some(&["Temperature", ""])),
            ("#", "a/b", Some(&["a/b"])),
            ("+/+", "/a", Some(&["", "a"])),
            ("plain", "plain", Some(&[])),
            ("plain", "other", None),
        ] {
            let filter = Filter::parse(filter).unwrap();
            let captures = filter.captures(topic).map(Iterator::collect::<Vec<_>>);
            assert_eq!(captures.as_deref(), expected, "{filter:?} on {topic}");
        }
    }
}
