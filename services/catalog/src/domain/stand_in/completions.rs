//! How what has been typed may go on: brands, and names in the reader's language and in English, that begin so. As in the index, the
//! beginning is that of the whole name; a slip of the finger is forgiven there only.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use super::StandIn;
use super::lexicon::Posting;
use crate::domain::words::plain;

/// Brands, and names of each language.
const MOST_BRANDS: usize = 3;
const MOST_NAMES: usize = 7;
/// Products whose names are read for one question: some milliseconds.
const READ: usize = 2_000;

impl StandIn {
    /// Brands, then names of products.
    pub fn completions(&self, text: &str, language: &str, at: DateTime<Utc>) -> (Vec<String>, Vec<String>) {
        let typed = plain(text);
        let Some(first) = typed.first() else { return (Vec::new(), Vec::new()) };
        let begun = typed.join(" ");
        let lists: Vec<&[Posting]> = if typed.len() == 1 {
            self.spelt.beginning(first).map(|(_, postings)| postings).take(READ).collect()
        } else {
            vec![self.spelt.exactly(first)]
        };
        let slots = lists.into_iter().flatten().map(|posting| posting.slot()).take(READ);
        let goes_on = |name: &&str| plain(name).join(" ").starts_with(&begun);
        let (mut brands, mut own, mut english) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for entry in slots.filter_map(|slot| self.entry(slot)).filter(|entry| entry.minor_at(at).is_some()) {
            brands.extend([&*entry.brand].into_iter().filter(goes_on));
            own.extend(entry.name_in(language).filter(goes_on));
            english.extend(entry.name_in("en").filter(goes_on));
        }
        let mut names: Vec<String> = Vec::new();
        for name in own.into_iter().take(MOST_NAMES).chain(english.into_iter().take(MOST_NAMES)) {
            if !names.iter().any(|known| known.to_lowercase() == name.to_lowercase()) {
                names.push(name.to_owned());
            }
        }
        (brands.into_iter().take(MOST_BRANDS).map(str::to_owned).collect(), names)
    }
}
