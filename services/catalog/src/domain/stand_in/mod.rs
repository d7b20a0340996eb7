//! The region's assortment in the memory of one process: what answers a search while the index is away.
//!
//! Decided here: what is kept of a product, in how much memory, and that the newest revision wins in whatever order they come. What
//! is found, and that a question costs a bounded amount of work, is decided in `find`; which spellings are one word in `words`. Not
//! decided here: when it is asked and where revisions come from (`usecases/stand_in`).
//!
//! It answers as the index does: the same words find the same products (`domain/words`), facets count the same, spelling is corrected
//! to the same words. It is smaller, and says so: descriptions are neither searched nor shown, nothing is highlighted, and the order
//! knows neither how long a text is nor whether a product is sold out or popular.

mod completions;
mod count;
mod entry;
mod find;
mod lexicon;
mod meant;
mod pairs;

use std::collections::{BTreeMap, BTreeSet};

use common::{Region, Sku};

use super::product::Revision;
use entry::{Entry, Shared};
pub use find::{Ask, Kept, Picked};
use lexicon::{Lexicon, Posting, Slot, Tongues};
use pairs::Pairs;

/// Memory of a SKU that is remembered as gone.
const GONE: usize = 90;

/// What is known of a SKU.
#[derive(Clone, Copy, Debug)]
struct Known {
    revision: i64,
    /// `None`: it is gone, or not for this region.
    slot: Option<Slot>,
}

#[derive(Debug)]
pub struct StandIn {
    region: Region,
    max_bytes: usize,
    entries: Vec<Option<Entry>>,
    free: Vec<Slot>,
    /// In the order of lists.
    known: BTreeMap<Sku, Known>,
    /// What is looked for in.
    terms: Lexicon,
    /// Words of names and brands as they are spelt: what a spelling is corrected to, and what typing is completed with.
    spelt: Lexicon,
    /// Fingerprints of numbers with the products that have them.
    numbers: BTreeSet<(u64, Slot)>,
    shared: Shared,
    pairs: Pairs,
    /// Products that are found by some of their words only.
    read_in_part: usize,
    /// Of entries and of those that are gone.
    bytes: usize,
    left_out: u64,
}

impl StandIn {
    pub fn new(region: Region, max_bytes: usize) -> Self {
        Self {
            region,
            max_bytes,
            entries: Vec::new(),
            free: Vec::new(),
            known: BTreeMap::new(),
            terms: Lexicon::default(),
            spelt: Lexicon::default(),
            numbers: BTreeSet::new(),
            shared: Shared::default(),
            pairs: Pairs::default(),
            read_in_part: 0,
            bytes: 0,
            left_out: 0,
        }
    }

    /// Brings the product to this revision, unless a newer one is known. What does not fit into the memory is left out.
    pub fn apply(&mut self, revision: &Revision) {
        let sku = revision.sku();
        let known = self.known.get(sku).copied();
        if known.is_some_and(|known| known.revision >= revision.number) {
            return;
        }
        if let Some(entry) = known.and_then(|known| known.slot).and_then(|slot| self.take(slot)) {
            entry.leave(&mut self.shared, &mut self.pairs);
        }
        let entry = Entry::of(revision, self.region, &mut self.shared, &mut self.pairs);
        let slot = entry.and_then(|entry| self.put(entry));
        if known.is_none_or(|known| known.slot.is_some()) && slot.is_none() {
            self.bytes += GONE;
        } else if known.is_some_and(|known| known.slot.is_none()) && slot.is_some() {
            self.bytes -= GONE;
        }
        // Who is gone stays known: older news must not bring it back.
        self.known.insert(sku.clone(), Known { revision: revision.number, slot });
    }

    fn put(&mut self, mut entry: Entry) -> Option<Slot> {
        let bytes = entry.bytes();
        if self.bytes() + bytes > self.max_bytes || self.entries.len() == Posting::END {
            self.left_out += 1;
            entry.leave(&mut self.shared, &mut self.pairs);
            return None;
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.entries.push(None);
                Slot::try_from(self.entries.len() - 1).ok()?
            }
        };
        let found_by = entry.terms(&self.pairs);
        found_by.terms.iter().for_each(|(term, tongues)| self.terms.add(term, slot, *tongues));
        found_by.spelt.iter().for_each(|word| self.spelt.add(word, slot, Tongues::ANY));
        entry.is_read_in_part |= found_by.is_cut;
        self.read_in_part += usize::from(entry.is_read_in_part);
        self.numbers.extend(entry.numbers.iter().map(|number| (*number, slot)));
        self.bytes += bytes;
        self.entries[slot as usize] = Some(entry);
        Some(slot)
    }

    fn take(&mut self, slot: Slot) -> Option<Entry> {
        let entry = self.entries.get_mut(slot as usize)?.take()?;
        let found_by = entry.terms(&self.pairs);
        found_by.terms.keys().for_each(|term| self.terms.remove(term, slot));
        found_by.spelt.iter().for_each(|word| self.spelt.remove(word, slot));
        self.read_in_part -= usize::from(entry.is_read_in_part);
        for number in &entry.numbers {
            self.numbers.remove(&(*number, slot));
        }
        self.bytes -= entry.bytes();
        self.free.push(slot);
        Some(entry)
    }

    fn entry(&self, slot: Slot) -> Option<&Entry> {
        self.entries.get(slot as usize)?.as_ref()
    }

    /// Products that can be found.
    pub fn count(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// The memory it takes, as reckoned.
    pub fn bytes(&self) -> usize {
        self.bytes + self.terms.bytes() + self.spelt.bytes() + self.shared.bytes() + self.pairs.bytes()
    }

    /// How often a revision found no room.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests;
