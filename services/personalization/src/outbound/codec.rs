//! How what we remember becomes bytes. The profile's layout is shared with catalog and lives in `contracts`; the rest is ours.

use common::Sku;
use contracts::personalization::v1 as wire;

use crate::domain::seen::Counted;
use crate::domain::{Position, Profile, Rating, Recent, Seen, Window};

pub fn encode_profile(profile: &Profile) -> Vec<u8> {
    contracts::interest::encode_profile(&wire::InterestProfile {
        categories: ratings(&profile.categories),
        brands: ratings(&profile.brands),
        families: ratings(&profile.families),
        skus: ratings(&profile.skus),
        attributes: ratings(&profile.attributes),
        as_of_ms: profile.as_of_ms(),
        partition: profile.position.partition,
        offset: profile.position.offset,
        traceparent: profile.traceparent.clone().unwrap_or_default(),
    })
}

/// `None` for bytes that are no profile: the person starts anew.
pub fn decode_profile(bytes: &[u8]) -> Option<Profile> {
    let wire = contracts::interest::decode_profile(bytes)?;
    Some(Profile {
        categories: domain_ratings(wire.categories),
        brands: domain_ratings(wire.brands),
        families: domain_ratings(wire.families),
        skus: domain_ratings(wire.skus),
        attributes: domain_ratings(wire.attributes),
        position: Position { partition: wire.partition, offset: wire.offset, received_at_ms: wire.as_of_ms },
        traceparent: Some(wire.traceparent).filter(|text| !text.is_empty()),
    })
}

fn ratings(list: &[Rating]) -> Vec<wire::Rating> {
    // Seven digits are plenty for an order of preference, and half the bytes.
    list.iter().map(|rating| wire::Rating { key: rating.key.clone(), weight: rating.weight as f32 }).collect()
}

fn domain_ratings(list: Vec<wire::Rating>) -> Vec<Rating> {
    let usable = list.into_iter().filter(|rating| rating.weight.is_finite());
    usable.map(|rating| Rating { key: rating.key, weight: f64::from(rating.weight) }).collect()
}

/// `1` and then one `sku;time;bought` per line; the first line is the layout's version.
pub fn encode_recent(list: &[Recent]) -> String {
    let lines = list.iter().map(|recent| format!("\n{};{};{}", recent.sku, recent.at_ms, u8::from(recent.bought)));
    std::iter::once("1".to_owned()).chain(lines).collect()
}

/// Lines that do not read are left out; an unknown layout is empty.
pub fn decode_recent(bytes: &[u8]) -> Vec<Recent> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Vec::new() };
    let mut lines = text.lines();
    if lines.next() != Some("1") {
        return Vec::new();
    }
    lines.filter_map(decode_recent_line).collect()
}

fn decode_recent_line(line: &str) -> Option<Recent> {
    let mut parts = line.split(';');
    let (sku, at_ms, bought) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Recent { sku: Sku::parse(sku).ok()?, at_ms: at_ms.parse().ok()?, bought: bought == "1" })
}

/// A byte for the layout's version, the second until which marks were given up, then mark and second of each event, four bytes each.
pub fn encode_seen(seen: &Seen) -> Vec<u8> {
    let events = seen.events.iter().flat_map(|event| [event.mark, event.at_s]);
    let numbers = std::iter::once(seen.forgotten_s).chain(events);
    std::iter::once(2).chain(numbers.flat_map(u32::to_le_bytes)).collect()
}

/// An unknown layout is empty. The one before this had marks alone, the newest last: they count as of long ago, are given up first, and
/// put nothing in doubt.
pub fn decode_seen(bytes: &[u8]) -> Seen {
    let Some((layout, rest)) = bytes.split_first() else { return Seen::default() };
    let mut numbers = rest.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number));
    match layout {
        1 => Seen { events: numbers.map(|mark| Counted { mark, at_s: 0 }).collect(), forgotten_s: 0 },
        2 => {
            let forgotten_s = numbers.next().unwrap_or_default();
            let numbers: Vec<u32> = numbers.collect();
            let event = |pair: &[u32; 2]| Counted { mark: pair[0], at_s: pair[1] };
            Seen { events: numbers.as_chunks::<2>().0.iter().map(event).collect(), forgotten_s }
        }
        _ => Seen::default(),
    }
}

/// `from;until`.
pub fn encode_window(window: Window) -> String {
    format!("{};{}", window.from_ms, window.until_ms)
}

/// What does not read, and what was written before there were windows, is open on both sides.
pub fn decode_window(text: &str) -> Window {
    let read = || {
        let (from, until) = text.split_once(';')?;
        Some(Window { from_ms: from.parse().ok()?, until_ms: until.parse().ok()? })
    };
    read().unwrap_or_default()
}

/// `offset;received`.
pub fn encode_counted(position: Position) -> String {
    format!("{};{}", position.offset, position.received_at_ms)
}

/// `None` for what [`encode_counted`] would not have written: a write compares the text.
pub fn decode_counted(partition: i32, bytes: &[u8]) -> Option<Position> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (offset, received) = text.split_once(';')?;
    let position = Position { partition, offset: offset.parse().ok()?, received_at_ms: received.parse().ok()? };
    Some(position).filter(|position| encode_counted(*position) == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Feature;
    use crate::domain::interest::{MAX_ATTRIBUTES, MAX_BRANDS, MAX_CATEGORIES, MAX_FAMILIES, MAX_SKUS};
    use crate::domain::recent::MAX_RECENT;
    use crate::domain::seen::MOST_SEEN;
    use crate::usecases::ports::MOST_LIST_BYTES;

    fn profile(skus: usize) -> Profile {
        let rating = |number: usize| Rating { key: format!("FA-{number:05}"), weight: 1.5 };
        Profile {
            categories: vec![Rating { key: "fashion/coats".to_owned(), weight: 8.25 }],
            brands: vec![],
            families: vec![],
            attributes: vec![Rating { key: "colour=black".to_owned(), weight: 0.5 }],
            skus: (0..skus).map(rating).collect(),
            position: Position { partition: 3, offset: 77, received_at_ms: 1_790_000_000_000 },
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
        }
    }

    #[test]
    fn a_profile_and_the_rest_survive_their_bytes() {
        assert_eq!(decode_profile(&encode_profile(&profile(32))), Some(profile(32)));
        let recent = vec![Recent { sku: Sku::parse("A.b_c-1").expect("a SKU"), at_ms: 5, bought: true }];
        assert_eq!(decode_recent(encode_recent(&recent).as_bytes()), recent);
        let events = vec![Counted { mark: 7, at_s: 8 }, Counted { mark: u32::MAX, at_s: u32::MAX }];
        let seen = Seen { events, forgotten_s: 6 };
        assert_eq!(decode_seen(&encode_seen(&seen)), seen);
        let old = decode_seen(&[1, 7, 0, 0, 0, 9, 0, 0, 0]);
        assert_eq!(old, Seen { events: [7, 9].map(|mark| Counted { mark, at_s: 0 }).to_vec(), forgotten_s: 0 });
        let window = Window { from_ms: 7, until_ms: i64::MAX };
        assert_eq!((decode_window(&encode_window(window)), decode_window("")), (window, Window::default()));
        let position = profile(0).position;
        assert_eq!(decode_counted(3, encode_counted(position).as_bytes()), Some(position));
    }

    #[test]
    fn a_full_profile_stays_small() {
        assert!(encode_profile(&profile(32)).len() < 1024);
    }

    /// What they clicked is as long as the domain lets it be; both stores hold what they were shown to its bound.
    #[test]
    fn whatever_somebody_clicks_and_asks_no_more_than_48_kib_are_kept_of_them() {
        let ratings = |number: usize, length: usize| {
            (0..number).map(|place| Rating { key: format!("{place:0length$}"), weight: 1.0 / 3.0 }).collect()
        };
        let longest = Profile {
            categories: ratings(MAX_CATEGORIES, Feature::LONGEST),
            brands: ratings(MAX_BRANDS, Feature::LONGEST),
            families: ratings(MAX_FAMILIES, Feature::LONGEST),
            skus: ratings(MAX_SKUS, Sku::MAX_LENGTH),
            attributes: ratings(MAX_ATTRIBUTES, Feature::LONGEST_ATTRIBUTE),
            position: Position { partition: i32::MAX, offset: i64::MAX, received_at_ms: i64::MAX },
            ..profile(0)
        };
        let sku = |place: usize| Sku::parse(&format!("{place:0length$}", length = Sku::MAX_LENGTH)).expect("a SKU");
        let recent: Vec<Recent> =
            (0..MAX_RECENT).map(|place| Recent { sku: sku(place), at_ms: i64::MAX, bought: true }).collect();
        let seen = Seen { events: vec![Counted { mark: 7, at_s: 7 }; MOST_SEEN], forgotten_s: 7 };
        let bytes = encode_profile(&longest).len() + encode_recent(&recent).len() + encode_seen(&seen).len();
        assert!((20 * 1024..32 * 1024).contains(&bytes), "{bytes}");
        assert!(bytes + MOST_LIST_BYTES < 48 * 1024, "{bytes}");
    }

    #[test]
    fn foreign_bytes_are_nothing() {
        for bytes in [&b"\xff\xff"[..], b"", b"2\nA;1;0", b"1\n;;\nx"] {
            assert!(decode_recent(bytes).is_empty() && decode_counted(0, bytes).is_none());
            assert_eq!(decode_seen(bytes), Seen::default());
        }
        assert_eq!(decode_profile(b"\xff\xff\xff"), None);
        for other in ["07;5", "+7;5", "7;5;", "7; 5", "99999999999999999999;5"] {
            assert_eq!(decode_counted(0, other.as_bytes()), None, "{other}");
        }
    }
}
