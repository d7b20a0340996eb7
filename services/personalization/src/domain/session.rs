//! When a list that was shown is still the list to show: until the person does something, or their session is over. Decided here: what
//! of a person counts as doing something, and how long a session outlasts it. Where lists are kept is the use case's business.

use super::batch::Person;
use super::interest::Rating;
use super::recent::{Recent, VISIT_MS};

/// Somebody who asks again after this long is in another session: the pause that ends a visit.
pub const SESSION_MS: i64 = VISIT_MS;

/// A number that is another one after each click of this person that means something, and after hardly anything else: not when somebody else
/// clicks, nor when time passes or the person is only shown something, both of which age all ratings alike and leave their order as it
/// is, but for a rating that fades away. A removal means something where it changes the order of their interests. `None` of whom nothing is known: a stranger, and who agreed to nothing.
pub fn mark(person: &Person) -> Option<u64> {
    let profile = person.profile.as_ref()?;
    let mut mark = Mark::default();
    for Recent { sku, at_ms, bought } in &person.recent {
        mark.take(sku.as_str());
        mark.bytes(at_ms.to_le_bytes());
        mark.bytes([u8::from(*bought)]);
    }
    for list in [&profile.categories, &profile.brands, &profile.families, &profile.skus, &profile.attributes] {
        for Rating { key, .. } in list {
            mark.take(key);
        }
        mark.take("");
    }
    Some(mark.0)
}

/// FNV-1a over what is taken.
struct Mark(u64);

impl Default for Mark {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Mark {
    fn bytes(&mut self, bytes: impl IntoIterator<Item = u8>) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// A text with an end that no text has.
    fn take(&mut self, text: &str) {
        self.bytes(text.bytes());
        self.bytes([0xff]);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use common::Sku;

    use super::super::batch::{Batch, PersonChange, Stored};
    use super::super::click::{Click, ClickKind, Feature, Position, Pseudonym, Report};
    use super::*;

    const NOW: i64 = 1_790_000_000_000;

    fn sku(name: &str) -> Sku {
        Sku::parse(name).expect("a SKU")
    }

    fn stored() -> Stored {
        let feature = |category: &str| Feature { category: category.to_owned(), ..Feature::default() };
        let features = [("A", "coats"), ("B", "coats"), ("C", "drones")].map(|(name, of)| (sku(name), feature(of)));
        Stored { features: HashMap::from(features), ..Stored::default() }
    }

    /// The same person some time later, when this was clicked or nothing.
    fn after(before: &Person, offset: i64, clicks: &[(ClickKind, &str)]) -> Person {
        let who = Pseudonym::parse(&"a".repeat(32)).expect("a pseudonym");
        let at_ms = NOW + offset * 60_000;
        let click = |(kind, name): &(ClickKind, &str)| Click { kind: *kind, sku: Some(sku(name)), at_ms, mark: None };
        let report = Report {
            pseudonym: who.clone(),
            consent: true,
            position: Position { partition: 0, offset, received_at_ms: at_ms },
            traceparent: None,
            clicks: clicks.iter().map(click).collect(),
        };
        let stored = Stored { people: HashMap::from([(who, before.clone())]), ..stored() };
        let outcome = Batch::gather([report]).decide(&stored);
        let [(_, PersonChange::Remembered { profile, recent, seen })] = &outcome.people[..] else {
            panic!("{outcome:?}")
        };
        Person { profile: Some((**profile).clone()), recent: recent.clone(), seen: seen.clone() }
    }

    #[test]
    fn each_click_that_means_something_gives_another_mark_and_being_shown_something_does_not() {
        use ClickKind::{Add, Buy, Custom, Impression, Remove, View};
        assert_eq!(mark(&Person::default()), None, "a stranger");
        let first = after(&Person::default(), 1, &[(View, "A"), (View, "C")]);
        let known = mark(&first);
        assert!(known.is_some());
        for offset in 2..200 {
            let shown = after(&first, offset, &[(Impression, "B"), (Custom, "C")]);
            assert_eq!(mark(&shown), known, "{offset} minutes later");
        }
        for clicked in [View, Add, Buy] {
            assert_ne!(mark(&after(&first, 2, &[(clicked, "A")])), known, "{clicked:?} again");
        }
        let added = after(&first, 2, &[(Add, "C")]);
        assert_ne!(mark(&after(&added, 3, &[(Remove, "C")])), mark(&added), "what is taken out again");
    }
}
