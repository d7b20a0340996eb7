//! Which products have a word: the words in their order, each with the places of its products. A word of one product, as most
//! numbers in names are, takes no list.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Memory of a word beside its letters: its place in the tree and what the allocator rounds up. Reckoned from the layout, as all
/// figures of this kind here; `bench_catalog stand-in` found a tenth more in the process.
const WORD: usize = 72;
/// Memory of a product at a word: a number in a list that has grown by doubling.
const PLACE: usize = 6;

/// Where a product stands in the stand-in.
pub(super) type Slot = u32;

#[derive(Debug)]
enum Slots {
    One(Slot),
    /// In their order.
    Many(Vec<Slot>),
}

impl Slots {
    fn as_slice(&self) -> &[Slot] {
        match self {
            Self::One(slot) => std::slice::from_ref(slot),
            Self::Many(slots) => slots,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Lexicon {
    words: BTreeMap<Box<str>, Slots>,
    bytes: usize,
}

impl Lexicon {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn add(&mut self, word: &str, slot: Slot) {
        let Some(slots) = self.words.get_mut(word) else {
            self.words.insert(word.into(), Slots::One(slot));
            self.bytes += WORD + word.len();
            return;
        };
        match slots {
            Slots::One(there) if *there == slot => return,
            Slots::One(there) => *slots = Slots::Many(vec![(*there).min(slot), (*there).max(slot)]),
            Slots::Many(list) => match list.binary_search(&slot) {
                Ok(_) => return,
                Err(place) => list.insert(place, slot),
            },
        }
        self.bytes += PLACE;
    }

    pub(super) fn remove(&mut self, word: &str, slot: Slot) {
        let Some(slots) = self.words.get_mut(word) else { return };
        match slots {
            Slots::One(there) if *there == slot => {
                self.words.remove(word);
                self.bytes -= WORD + word.len();
            }
            Slots::One(_) => {}
            Slots::Many(list) => {
                let Ok(place) = list.binary_search(&slot) else { return };
                list.remove(place);
                self.bytes -= PLACE;
                if let [last] = list[..] {
                    *slots = Slots::One(last);
                }
            }
        }
    }

    /// The products that have this very word.
    pub(super) fn exactly(&self, word: &str) -> &[Slot] {
        self.words.get(word).map(Slots::as_slice).unwrap_or_default()
    }

    /// The words that begin so, in their order, and the products that have them.
    pub(super) fn beginning<'a>(&'a self, with: &str) -> impl Iterator<Item = (&'a str, &'a [Slot])> {
        let from: (Bound<&str>, Bound<&str>) = (Bound::Included(with), Bound::Unbounded);
        let words = self.words.range::<str, _>(from).map(|(word, slots)| (&**word, slots.as_slice()));
        words.take_while(move |(word, _)| word.starts_with(with))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_word_is_found_by_itself_and_by_its_beginning() {
        let mut lexicon = Lexicon::default();
        for (word, slot) in [("mantel", 3), ("mantel", 1), ("manteltasche", 2), ("maus", 4), ("mantel", 1)] {
            lexicon.add(word, slot);
        }
        assert_eq!(lexicon.exactly("mantel"), [1, 3]);
        assert_eq!(lexicon.exactly("mant"), [0; 0]);
        let found: Vec<_> = lexicon.beginning("mant").collect();
        assert_eq!(found, [("mantel", &[1, 3][..]), ("manteltasche", &[2][..])]);
    }

    proptest! {
        #[test]
        fn what_is_taken_out_is_as_if_it_had_never_been(
            stays in prop::collection::btree_set((0_u32..20, "[a-c]{1,2}"), 0..40),
            goes in prop::collection::btree_set((0_u32..20, "[a-c]{1,2}"), 0..40),
        ) {
            let mut lexicon = Lexicon::default();
            stays.iter().chain(&goes).for_each(|(slot, word)| lexicon.add(word, *slot));
            goes.difference(&stays).for_each(|(slot, word)| lexicon.remove(word, *slot));
            let mut never = Lexicon::default();
            stays.iter().for_each(|(slot, word)| never.add(word, *slot));
            prop_assert_eq!(lexicon.beginning("").collect::<Vec<_>>(), never.beginning("").collect::<Vec<_>>());
            prop_assert_eq!(lexicon.bytes(), never.bytes());
        }
    }
}
