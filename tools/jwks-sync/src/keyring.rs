//! Which keys a gateway holds. Decided here: what the issuer publishes is held; a key that it does not publish any more stays for the
//! overlap, as long as a token signed with it may live, and then goes. So during a rotation both keys are good, whichever order the
//! issuer takes. Pure.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Duration, Utc};

/// An issuer has a key, the one before, and perhaps the next; a cluster has a place for each of these.
pub const MAX_KEYS: usize = 8;

/// A key that the gateway has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// `-----BEGIN PUBLIC KEY-----`
    pub pem: String,
    /// Since when the issuer does not publish it; `None` while it does.
    pub left: Option<DateTime<Utc>>,
}

/// Keys by their id.
pub type Keyring = BTreeMap<String, Held>;

/// What shall be held from now on. An id that comes with another key means the other key.
pub fn renewed(held: &Keyring, published: &BTreeMap<String, String>, now: DateTime<Utc>, overlap: Duration) -> Keyring {
    let current = published.iter().map(|(id, pem)| (id.clone(), Held { pem: pem.clone(), left: None }));
    let mut next: Keyring = current.collect();
    let gone = held.iter().filter(|(id, _)| !published.contains_key(*id));
    let mut leaving: Vec<_> = gone
        .map(|(id, key)| (id, Held { left: key.left.or(Some(now)), ..key.clone() }))
        .filter(|(_, key)| key.left.is_some_and(|left| now - left < overlap))
        .collect();
    // the youngest first: should there be too many, tokens of the oldest are the fewest
    leaving.sort_by_key(|(id, key)| (Reverse(key.left), *id));
    let room = MAX_KEYS.saturating_sub(next.len());
    next.extend(leaving.into_iter().take(room).map(|(id, key)| (id.clone(), key)));
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + second, 0).unwrap()
    }

    fn publish(ids: &[&str]) -> BTreeMap<String, String> {
        ids.iter().map(|id| ((*id).to_owned(), format!("pem of {id}"))).collect()
    }

    fn ids(ring: &Keyring) -> Vec<&str> {
        ring.keys().map(String::as_str).collect()
    }

    #[test]
    fn old_and_new_key_are_both_held_during_the_overlap_and_the_old_one_goes_after_it() {
        let overlap = Duration::seconds(600);
        // second, what the issuer publishes, what is held afterwards
        let story: [(i64, &[&str], &[&str]); 8] = [
            (0, &["a"], &["a"]),
            (60, &["a", "b"], &["a", "b"]),
            (120, &["b"], &["a", "b"]),
            (719, &["b"], &["a", "b"]),
            (720, &["b"], &["b"]),
            // two rotations within one overlap
            (780, &["c"], &["b", "c"]),
            (840, &["d"], &["b", "c", "d"]),
            (1500, &["d"], &["d"]),
        ];
        let mut ring = Keyring::new();
        for (second, published, expected) in story {
            ring = renewed(&ring, &publish(published), at(second), overlap);
            assert_eq!(ids(&ring), expected, "second {second}");
            assert!(published.iter().all(|id| ring[*id].left.is_none()), "second {second}: {ring:?}");
        }
    }

    #[test]
    fn a_key_that_comes_back_is_as_if_it_had_not_left() {
        let overlap = Duration::seconds(600);
        let ring = renewed(&Keyring::new(), &publish(&["a", "b"]), at(0), overlap);
        let ring = renewed(&ring, &publish(&["b"]), at(10), overlap);
        assert_eq!(ring["a"].left, Some(at(10)));
        let ring = renewed(&ring, &publish(&["a", "b"]), at(500), overlap);
        assert_eq!(ring["a"].left, None);
        // and has the whole overlap when it leaves again
        let ring = renewed(&ring, &publish(&["b"]), at(700), overlap);
        assert_eq!(ids(&renewed(&ring, &publish(&["b"]), at(1299), overlap)), ["a", "b"]);
    }

    #[test]
    fn without_an_overlap_a_withdrawn_key_goes_at_once() {
        let ring = renewed(&Keyring::new(), &publish(&["stolen", "b"]), at(0), Duration::seconds(600));
        assert_eq!(ids(&renewed(&ring, &publish(&["b"]), at(1), Duration::zero())), ["b"]);
    }

    #[test]
    fn there_are_never_more_keys_than_places_and_the_published_ones_come_first() {
        let overlap = Duration::seconds(600);
        let mut ring = Keyring::new();
        for round in 0..20 {
            let (one, other) = (format!("k{round:02}"), format!("n{round:02}"));
            ring = renewed(&ring, &publish(&[&one, &other]), at(round), overlap);
            assert!(
                ring.len() <= MAX_KEYS && ring.contains_key(&one) && ring.contains_key(&other),
                "{round}: {ring:?}"
            );
        }
        assert_eq!(ids(&ring), ["k16", "k17", "k18", "k19", "n16", "n17", "n18", "n19"]);
    }

    #[test]
    fn an_id_with_another_key_means_the_other_key() {
        let ring = renewed(&Keyring::new(), &publish(&["a"]), at(0), Duration::seconds(600));
        let other = BTreeMap::from([("a".to_owned(), "another".to_owned())]);
        assert_eq!(renewed(&ring, &other, at(1), Duration::seconds(600))["a"].pem, "another");
    }
}
