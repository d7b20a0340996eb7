//! The words of this service: what a click is, whose it is, and where in the stream it stands.
//!
//! Not decided here: what a click is worth (`interest`), and how it travels (`inbound::events`).

use std::fmt;

use common::Sku;

/// A person or browser, by the keyed hash under which the intake reports it: 32 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a pseudonym has 32 lower-case hexadecimal digits")]
pub struct InvalidPseudonym;

impl Pseudonym {
    /// # Errors
    /// [`InvalidPseudonym`] for anything that could not have come from the intake; it must not reach a Redis key.
    pub fn parse(text: &str) -> Result<Self, InvalidPseudonym> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 32 && digits { Ok(Self(text.to_owned())) } else { Err(InvalidPseudonym) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ClickKind {
    View,
    Search,
    Add,
    Remove,
    Buy,
    Impression,
    Custom,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Click {
    pub kind: ClickKind,
    /// Absent for clicks that concern no product, such as a search without a chosen result.
    pub sku: Option<Sku>,
    /// Milliseconds since 1970-01-01 UTC.
    pub at_ms: i64,
    /// By which a repetition is known; see `seen`.
    pub mark: Option<u32>,
}

/// A place in the stream of clicks, with the time at which the intake received what stands there.
///
/// The time is what makes a position comparable after the topic was made anew and its offsets began at zero again: see
/// [`Position::includes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
    /// Latest receipt of everything counted up to here, in milliseconds since 1970-01-01 UTC.
    pub received_at_ms: i64,
}

impl Position {
    /// Whether a report at `other` has already been counted by somebody who stands here.
    ///
    /// A counted report has an offset at or below ours and was received no later than the latest receipt we counted. A report
    /// that was received later cannot be among them, so it is new even when its offset is low: the topic began again.
    pub fn includes(self, other: Position) -> bool {
        self.partition == other.partition && other.offset <= self.offset && other.received_at_ms <= self.received_at_ms
    }
}

/// What one intake request reported about one person: one record of the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub pseudonym: Pseudonym,
    /// Agreed to personalisation. Without it the clicks count for popularity only.
    pub consent: bool,
    pub position: Position,
    pub traceparent: Option<String>,
    pub clicks: Vec<Click>,
}

/// From a moment on, until a moment, in milliseconds since 1970-01-01 UTC; 0 is open on that side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    pub from_ms: i64,
    pub until_ms: i64,
}

impl Window {
    pub fn contains(self, at_ms: i64) -> bool {
        at_ms >= self.from_ms && (self.until_ms == 0 || at_ms < self.until_ms)
    }
}

/// What we must know about a product to learn from a click on it, and to show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feature {
    pub category: String,
    pub brand: String,
    pub family: String,
    /// What it is like: `colour=black`. Bounded in number and length by [`Feature::attribute`] and [`Feature::MOST_ATTRIBUTES`].
    pub attributes: Vec<String>,
    /// When it is offered in this region. A product that is never offered here has no feature.
    pub offered: Window,
}

impl Feature {
    /// Bytes of the longest text of a feature: a brand of a hundred characters, whatever they are, and more than any path of a
    /// category. Each of them may stand in every profile, so this is part of what bounds a profile.
    pub const LONGEST: usize = 512;

    /// Attributes of a product that are learned from: its first ones, which its family lists first.
    pub const MOST_ATTRIBUTES: usize = 12;

    /// Bytes of the longest attribute that is a taste. What is longer describes.
    pub const LONGEST_ATTRIBUTE: usize = 96;

    /// Whether it may be learned.
    pub fn fits(&self) -> bool {
        [&self.category, &self.brand, &self.family].into_iter().all(|text| text.len() <= Self::LONGEST)
            && self.attributes.len() <= Self::MOST_ATTRIBUTES
            && self.attributes.iter().all(|attribute| attribute.len() <= Self::LONGEST_ATTRIBUTE)
    }

    /// An attribute as one text; `None` for one that is nobody's taste: a measure, a description, nothing.
    pub fn attribute(key: &str, value: &str, unit: &str) -> Option<String> {
        let says_something = !key.is_empty() && !value.is_empty() && unit.is_empty();
        let fits = key.len() + 1 + value.len() <= Self::LONGEST_ATTRIBUTE;
        let reads = !key.contains('=') && !key.chars().chain(value.chars()).any(char::is_control);
        (says_something && fits && reads).then(|| format!("{key}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32, offset: i64, received_at_ms: i64) -> Position {
        Position { partition, offset, received_at_ms }
    }

    #[test]
    fn a_position_includes_what_was_counted_and_nothing_else() {
        let here = at(3, 100, 5_000);
        for (other, included, why) in [
            (at(3, 100, 5_000), true, "the newest record itself"),
            (at(3, 7, 1_000), true, "an older record"),
            (at(3, 101, 4_000), false, "a later offset, though a slower clock received it"),
            (at(4, 7, 1_000), false, "another partition: the number of partitions changed"),
            (at(3, 0, 6_000), false, "a low offset received later: the topic began again"),
        ] {
            assert_eq!(here.includes(other), included, "{why}");
        }
    }

    #[test]
    fn a_measure_or_a_description_is_nobodys_taste() {
        assert_eq!(Feature::attribute("colour", "black", "").as_deref(), Some("colour=black"));
        let long = "x".repeat(Feature::LONGEST_ATTRIBUTE);
        for (key, value, unit) in [
            ("weight", "250", "g"),
            ("colour", "", ""),
            ("", "black", ""),
            ("a=b", "c", ""),
            ("k", "a\nb", ""),
            ("k", &long, ""),
        ] {
            assert_eq!(Feature::attribute(key, value, unit), None, "{key} {value} {unit}");
        }
    }

    #[test]
    fn a_window_is_open_where_nothing_is_said_and_its_end_is_outside() {
        let window = |from_ms, until_ms| Window { from_ms, until_ms };
        for (window, at_ms, inside) in [
            (Window::default(), 5, true),
            (window(5, 0), 5, true),
            (window(6, 0), 5, false),
            (window(0, 5), 5, false),
            (window(0, 6), 5, true),
        ] {
            assert_eq!(window.contains(at_ms), inside, "{window:?}");
        }
    }

    #[test]
    fn only_a_keyed_hash_is_a_pseudonym() {
        assert!(Pseudonym::parse("0123456789abcdef0123456789abcdef").is_ok());
        for text in ["", "0123", "0123456789ABCDEF0123456789ABCDEF", "0123456789abcdef0123456789abcde}", "{}"] {
            assert_eq!(Pseudonym::parse(text), Err(InvalidPseudonym), "{text:?}");
        }
    }
}
