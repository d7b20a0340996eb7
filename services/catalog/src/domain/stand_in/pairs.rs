//! What products have in common with many others, as `key=value`, each kept once and named by a number, so that counting them is
//! counting in a list.

use std::collections::HashMap;
use std::sync::Arc;

/// Memory of a pair beside its letters: its place in the list, the way from its text to it, and what the allocator rounds up.
const PAIR: usize = 112;

pub(super) type PairId = u32;

#[derive(Debug, Default)]
pub(super) struct Pairs {
    known: HashMap<Arc<str>, PairId>,
    /// Text and how many products have it.
    pairs: Vec<Option<(Arc<str>, u32)>>,
    free: Vec<PairId>,
    bytes: usize,
}

impl Pairs {
    /// The number of `pair`, which one product more has from now on. `None`: there are more than can be numbered.
    pub(super) fn take(&mut self, pair: &str) -> Option<PairId> {
        if let Some(id) = self.known.get(pair).copied() {
            if let Some(Some((_, products))) = self.pairs.get_mut(id as usize) {
                *products += 1;
            }
            return Some(id);
        }
        let text: Arc<str> = pair.into();
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                let id = PairId::try_from(self.pairs.len()).ok()?;
                self.pairs.push(None);
                id
            }
        };
        self.pairs[id as usize] = Some((text.clone(), 1));
        self.bytes += PAIR + text.len();
        self.known.insert(text, id);
        Some(id)
    }

    /// One product less has it; who was the last takes it away.
    pub(super) fn give_back(&mut self, id: PairId) {
        let Some(place) = self.pairs.get_mut(id as usize) else { return };
        match place {
            Some((_, products)) if *products > 1 => *products -= 1,
            Some((text, _)) => {
                self.bytes -= PAIR + text.len();
                self.known.remove(text);
                *place = None;
                self.free.push(id);
            }
            None => {}
        }
    }

    pub(super) fn id(&self, pair: &str) -> Option<PairId> {
        self.known.get(pair).copied()
    }

    pub(super) fn text(&self, id: PairId) -> &str {
        self.pairs.get(id as usize).and_then(Option::as_ref).map_or("", |(text, _)| text)
    }

    /// Numbers are below this.
    pub(super) fn end(&self) -> usize {
        self.pairs.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_lives_as_long_as_somebody_has_it() {
        let mut pairs = Pairs::default();
        let (red, blue) = (pairs.take("colour=red").unwrap(), pairs.take("colour=blue").unwrap());
        assert_eq!(pairs.take("colour=red"), Some(red));
        let bytes = pairs.bytes();
        pairs.give_back(red);
        assert_eq!((pairs.text(red), pairs.bytes()), ("colour=red", bytes));
        pairs.give_back(red);
        assert_eq!((pairs.id("colour=red"), pairs.text(red)), (None, ""));
        assert!(pairs.bytes() < bytes);
        assert_eq!(pairs.take("size=M"), Some(red), "its number is used again");
        assert_eq!((pairs.id("colour=blue"), pairs.end()), (Some(blue), 2));
    }
}
