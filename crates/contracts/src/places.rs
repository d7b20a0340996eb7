//! Where the keys of ratings lie: what is read or written at once lies in one place, and which places there are follows from the kind of
//! server (ADR 0082). The names are those of one server everywhere; on a cluster the place stands before them, in braces, which keep its keys
//! in one slot.
//!
//! Decided here: which places there are, who is where, and what stands before a name. Not decided here: the names (`interest`, and
//! whose keys they are).

/// People are kept in so many parts on a cluster: whoever writes a batch of clicks writes each part at once. Many times as many as a region has
/// masters, so that each has its share, and few enough that a batch of a thousand clicks has more to do in them than to call them (reckoned, not
/// measured: ADR 0082). Another number gives everybody another key.
pub const PARTS: usize = 64;

/// How keys lie in a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Everything in one place, under its plain name.
    OneServer,
    /// The shop in one place, people in [`PARTS`] others.
    Cluster,
}

/// What is read or written at once, and lost at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Shop and people.
    Everything,
    /// All that is known of products: it does not grow with people, and a list and the product that leaves it change at once.
    Shop,
    /// The people of a part, below [`PARTS`].
    Part(usize),
}

impl Layout {
    /// By whether Redis is a cluster.
    pub fn of(is_cluster: bool) -> Self {
        if is_cluster { Self::Cluster } else { Self::OneServer }
    }

    /// Where products are.
    pub fn shop(self) -> Place {
        match self {
            Self::OneServer => Place::Everything,
            Self::Cluster => Place::Shop,
        }
    }

    /// Where a person is, by their pseudonym, and everything about them. Pseudonyms are hashes, so people lie evenly.
    pub fn home(self, pseudonym: &str) -> Place {
        match self {
            Self::OneServer => Place::Everything,
            Self::Cluster => Place::Part(part(pseudonym)),
        }
    }

    /// All places where people are.
    pub fn homes(self) -> Vec<Place> {
        match self {
            Self::OneServer => vec![Place::Everything],
            Self::Cluster => (0..PARTS).map(Place::Part).collect(),
        }
    }
}

impl Place {
    /// The key with this name here.
    pub fn key(self, name: &str) -> String {
        match self {
            Self::Everything => name.to_owned(),
            Self::Shop => format!("{{shop}}:{name}"),
            Self::Part(part) => format!("{{part{part}}}:{name}"),
        }
    }
}

fn part(pseudonym: &str) -> usize {
    let digits = pseudonym.get(..2).unwrap_or_default();
    u8::from_str_radix(digits, 16).map_or(0, |byte| usize::from(byte) % PARTS)
}

#[cfg(test)]
mod tests {
    use ::common::UserId;

    use super::*;
    use crate::interest::{profile_key, pseudonym};

    #[test]
    fn one_server_has_plain_names_and_a_cluster_the_place_before_them() {
        // 0x51 is 81, which is 17 beyond 64.
        let who = "51".repeat(16);
        let name = profile_key(&who);
        for (layout, shop, person) in [
            (Layout::of(false), "feature:C1".to_owned(), format!("interest:{{{who}}}")),
            (Layout::of(true), "{shop}:feature:C1".to_owned(), format!("{{part17}}:interest:{{{who}}}")),
        ] {
            assert_eq!(layout.shop().key("feature:C1"), shop);
            assert_eq!(layout.home(&who).key(&name), person);
            assert!(layout.homes().contains(&layout.home(&who)), "{layout:?}");
        }
        assert_eq!(Layout::OneServer.homes(), [Layout::OneServer.shop()], "people lie where products do");
        assert!(!Layout::Cluster.homes().contains(&Layout::Cluster.shop()));
    }

    #[test]
    fn people_lie_evenly_in_all_parts_of_a_cluster() {
        let mut people = [0_usize; PARTS];
        for number in 0..64_000 {
            people[part(&pseudonym(b"key", UserId::from_uuid(uuid::Uuid::from_u128(number))))] += 1;
        }
        assert!(people.iter().all(|people| (800..1_200).contains(people)), "{people:?}");
        assert_eq!((part("ff"), part(""), part("no digits")), (63, 0, 0));
    }
}
