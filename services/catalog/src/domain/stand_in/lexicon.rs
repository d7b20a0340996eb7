//! Which products have a word, and in which languages: the words in their order, each with the places of its products. A word of one
//! product, as most numbers in names are, takes no list.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::domain::words::{Tongue, edits};

/// Memory of a word beside its letters: its place in the tree and what the allocator rounds up. Reckoned from the layout, as all
/// figures of this kind here.
const WORD: usize = 72;
/// Memory of a product at a word: a number in a list that has grown by doubling.
const PLACE: usize = 6;

/// Where a product stands in the stand-in.
pub(super) type Slot = u32;

/// Languages in which a product has a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tongues(u32);

impl Tongues {
    /// In whichever.
    pub(super) const ANY: Self = Self(0b111);

    pub(super) fn and(self, tongue: Tongue) -> Self {
        Self(self.0 | Self::of(tongue).0)
    }

    pub(super) fn of(tongue: Tongue) -> Self {
        Self(1 << tongue as u32)
    }
}

/// A product that has a word: its slot, and the languages in the three lowest bits. A stand-in is out of memory long before it is
/// out of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Posting(u32);

impl Posting {
    /// The first slot that cannot be written down.
    pub(super) const END: usize = 1 << 29;

    fn new(slot: Slot, tongues: Tongues) -> Self {
        Self(slot << 3 | tongues.0)
    }

    pub(super) fn slot(self) -> Slot {
        self.0 >> 3
    }

    pub(super) fn is_in(self, tongues: Tongues) -> bool {
        self.0 & tongues.0 != 0
    }
}

#[derive(Debug)]
enum Postings {
    One(Posting),
    /// In the order of their slots.
    Many(Vec<Posting>),
}

impl Postings {
    fn as_slice(&self) -> &[Posting] {
        match self {
            Self::One(posting) => std::slice::from_ref(posting),
            Self::Many(postings) => postings,
        }
    }
}

/// A word that is spelt nearly like another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Near<'a> {
    pub word: &'a str,
    pub edits: usize,
    pub postings: &'a [Posting],
}

#[derive(Debug, Default)]
pub(super) struct Lexicon {
    words: BTreeMap<Box<str>, Postings>,
    bytes: usize,
}

impl Lexicon {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// From now on the product has the word. It had not before.
    pub(super) fn add(&mut self, word: &str, slot: Slot, tongues: Tongues) {
        let posting = Posting::new(slot, tongues);
        let Some(postings) = self.words.get_mut(word) else {
            self.words.insert(word.into(), Postings::One(posting));
            self.bytes += WORD + word.len();
            return;
        };
        match postings {
            Postings::One(there) if there.slot() == slot => return,
            Postings::One(there) => *postings = Postings::Many(vec![(*there).min(posting), (*there).max(posting)]),
            Postings::Many(list) => match list.binary_search_by_key(&slot, |there| there.slot()) {
                Ok(_) => return,
                Err(place) => list.insert(place, posting),
            },
        }
        self.bytes += PLACE;
    }

    pub(super) fn remove(&mut self, word: &str, slot: Slot) {
        let Some(postings) = self.words.get_mut(word) else { return };
        match postings {
            Postings::One(there) if there.slot() == slot => {
                self.words.remove(word);
                self.bytes -= WORD + word.len();
            }
            Postings::One(_) => {}
            Postings::Many(list) => {
                let Ok(place) = list.binary_search_by_key(&slot, |there| there.slot()) else { return };
                list.remove(place);
                self.bytes -= PLACE;
                if let [last] = list[..] {
                    *postings = Postings::One(last);
                }
            }
        }
    }

    /// The products that have this very word.
    pub(super) fn exactly(&self, word: &str) -> &[Posting] {
        self.words.get(word).map(Postings::as_slice).unwrap_or_default()
    }

    /// The words that begin so, in their order, and the products that have them.
    pub(super) fn beginning<'a>(&'a self, with: &str) -> impl Iterator<Item = (&'a str, &'a [Posting])> {
        let from: (Bound<&str>, Bound<&str>) = (Bound::Included(with), Bound::Unbounded);
        let words = self.words.range::<str, _>(from).map(|(word, postings)| (&**word, postings.as_slice()));
        words.take_while(move |(word, _)| word.starts_with(with))
    }

    /// Words with the same first letter that are at most `most` changes away. Each word that is looked at costs one of `left`.
    pub(super) fn near<'a>(&'a self, word: &str, most: usize, left: &mut usize) -> Vec<Near<'a>> {
        let Some(first) = word.chars().next().map(|first| first.to_string()) else { return Vec::new() };
        let mut near = Vec::new();
        for (other, postings) in self.beginning(&first) {
            if *left == 0 {
                break;
            }
            *left -= 1;
            // More bytes than changes could make: most words are sent away by this.
            if other.len().abs_diff(word.len()) > most * 4 {
                continue;
            }
            if let Some(edits) = edits(word, other, most) {
                near.push(Near { word: other, edits, postings });
            }
        }
        near
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slots(postings: &[Posting]) -> Vec<Slot> {
        postings.iter().map(|posting| posting.slot()).collect()
    }

    #[test]
    fn a_word_is_found_by_itself_by_its_beginning_and_nearly() {
        let mut lexicon = Lexicon::default();
        for (word, slot) in [("mantel", 3), ("mantel", 1), ("manteltasche", 2), ("maus", 4), ("mantel", 1)] {
            lexicon.add(word, slot, Tongues::ANY);
        }
        assert_eq!(slots(lexicon.exactly("mantel")), [1, 3]);
        assert_eq!(slots(lexicon.exactly("mant")), [0; 0]);
        let found: Vec<_> = lexicon.beginning("mant").map(|(word, postings)| (word, slots(postings))).collect();
        assert_eq!(found, [("mantel", vec![1, 3]), ("manteltasche", vec![2])]);
        let near = |word: &str, mut left: usize| {
            let near = lexicon.near(word, 2, &mut left);
            near.iter().map(|near| (near.word, near.edits)).collect::<Vec<_>>()
        };
        assert_eq!(near("matnel", 100), [("mantel", 1)]);
        assert!(near("antel", 100).is_empty(), "the first letter is right");
        assert!(near("matnel", 0).is_empty(), "nobody looks for ever");
    }

    #[test]
    fn a_word_is_of_the_languages_it_came_in() {
        let mut lexicon = Lexicon::default();
        lexicon.add("rot", 7, Tongues::of(Tongue::De).and(Tongue::En));
        let posting = lexicon.exactly("rot")[0];
        let found = Tongue::ALL.map(|tongue| posting.is_in(Tongues::of(tongue)));
        assert_eq!((posting.slot(), found), (7, [true, false, true]));
    }

    proptest! {
        #[test]
        fn what_is_taken_out_is_as_if_it_had_never_been(
            stays in prop::collection::btree_set((0_u32..20, "[a-c]{1,2}"), 0..40),
            goes in prop::collection::btree_set((0_u32..20, "[a-c]{1,2}"), 0..40),
        ) {
            let mut lexicon = Lexicon::default();
            stays.iter().chain(&goes).for_each(|(slot, word)| lexicon.add(word, *slot, Tongues::ANY));
            goes.difference(&stays).for_each(|(slot, word)| lexicon.remove(word, *slot));
            let mut never = Lexicon::default();
            stays.iter().for_each(|(slot, word)| never.add(word, *slot, Tongues::ANY));
            prop_assert_eq!(lexicon.beginning("").collect::<Vec<_>>(), never.beginning("").collect::<Vec<_>>());
            prop_assert_eq!(lexicon.bytes(), never.bytes());
        }
    }
}
