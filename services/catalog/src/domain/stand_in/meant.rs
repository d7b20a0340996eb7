//! Which products fit some words, as the index has them fit: most of the words as they are or in words of the same meaning, in the
//! reader's language or in English, or a number of the product. Decided here too: how much work a question may be, and what words that
//! occur nowhere are corrected to.

use super::StandIn;
use super::entry::fingerprint;
use super::find::Fit;
use super::lexicon::{Near, Posting, Slot, Tongues};
use crate::domain::product_words::{code, number};
use crate::domain::search_query::Strictness;
use crate::domain::words::{Meaning, Tongue, asked, meant, plain};

/// Products looked at for the words of one question, over all words and ways to read them: some ten milliseconds. Words that too many
/// products have are left out first, since they tell least.
const STEPS: usize = 1_000_000;
/// Words compared with those of one question letter by letter: about as long.
const COMPARED: usize = 100_000;
/// Products whose texts are read for words that must stand together; a product takes some microseconds.
const READ: usize = 1_000;
/// Words that one misspelt word may stand for.
const NEAREST: usize = 20;
/// A shorter word is not corrected: too many others are near it.
const SHORTEST_CORRECTED: usize = 4;
/// Changes to a word that is corrected.
const MOST_EDITS: usize = 2;
/// What a word of the same meaning counts, one in English, and one that is spelt nearly so.
const SAME: f64 = 0.6;
const OTHER_LANGUAGE: f64 = 0.7;
const NEARLY: f64 = 0.8;
/// The text, or a word of it, is a number of the product: as in the index, more than any words, and more than one word.
const IS_ITS_NUMBER: f64 = 1000.0;
const HAS_ITS_NUMBER: f64 = 20.0;

/// What the words of a text come to.
pub(super) struct Fits {
    pub found: Vec<Fit>,
    /// Everything that may fit was looked at.
    pub exact: bool,
}

/// One way to read a text.
struct Way {
    tongue: Tongue,
    share: f64,
    words: Vec<Meaning>,
}

/// A question on its way through the lists.
struct Walk {
    /// What each product has come to, over the ways before.
    best: Vec<f64>,
    /// Of the present way: how many words it has, what they are worth, and the last word that was counted.
    has: Vec<u32>,
    worth: Vec<f64>,
    counted: Vec<u32>,
    words: u32,
    touched: Vec<Slot>,
    steps_left: usize,
    read_left: usize,
    exact: bool,
}

impl StandIn {
    /// The products that fit `text`.
    pub(super) fn fitting(&self, text: &str, language: &str, strictness: Strictness) -> Fits {
        let mut walk = Walk::over(self.entries.len());
        for way in self.ways(text, language, strictness) {
            self.follow(&way, strictness, &mut walk);
        }
        let whole = number(text).map(|number| (number, IS_ITS_NUMBER));
        let parts = text.split_whitespace().filter_map(code).map(|number| (number, HAS_ITS_NUMBER));
        for (number, worth) in parts.chain(whole) {
            let number = fingerprint(&number);
            for (_, slot) in self.numbers.range((number, Slot::MIN)..=(number, Slot::MAX)) {
                walk.reach(*slot, worth);
            }
        }
        let fits = (0..).zip(walk.best).filter(|(_, relevance)| *relevance > 0.0);
        Fits { found: fits.map(|(slot, relevance)| Fit { slot, relevance }).collect(), exact: walk.exact }
    }

    fn ways(&self, text: &str, language: &str, strictness: Strictness) -> Vec<Way> {
        let mut ways = Vec::new();
        let mut left = COMPARED;
        let own = Tongue::of(language).filter(|own| *own != Tongue::En);
        let tongues = own.map(|own| (own, 1.0)).into_iter();
        let english = if language == Tongue::En.code() { 1.0 } else { OTHER_LANGUAGE };
        for (tongue, share) in tongues.chain([(Tongue::En, english)]) {
            let words = asked(tongue, text);
            if strictness == Strictness::Loose {
                let near = words.iter().map(|word| self.nearly(word, tongue, &mut left)).collect();
                ways.push(Way { tongue, share: share * NEARLY, words: near });
            }
            let as_it_is = words.into_iter().map(|word| vec![vec![word]]).collect();
            ways.push(Way { tongue, share, words: as_it_is });
            ways.push(Way { tongue, share: share * SAME, words: meant(tongue, text) });
        }
        ways
    }

    /// Words of products that `word` may be: the longer it is, the more letters may be wrong, but never the first.
    fn nearly(&self, word: &str, tongue: Tongue, left: &mut usize) -> Meaning {
        let most = match word.chars().count() {
            0..4 => 0,
            4..8 => 1,
            _ => MOST_EDITS,
        };
        let mut near = if most == 0 { Vec::new() } else { self.terms.near(word, most, left) };
        near.retain(|near| near.postings.iter().any(|posting| posting.is_in(Tongues::of(tongue))));
        near.sort_by_key(|near| near.edits);
        near.truncate(NEAREST);
        let words = near.iter().map(|near| near.word).filter(|near| *near != word);
        [word].into_iter().chain(words).map(|word| vec![word.to_owned()]).collect()
    }

    fn follow(&self, way: &Way, strictness: Strictness, walk: &mut Walk) {
        if way.words.is_empty() {
            // Small words alone ask for nothing, and so everything fits.
            for (slot, _) in (0..).zip(&self.entries).filter(|(_, entry)| entry.is_some()) {
                walk.reach(slot, way.share);
            }
            return;
        }
        let steps = |meaning: &Meaning| -> usize { meaning.iter().map(|phrase| self.shortest(phrase).len()).sum() };
        let mut words: Vec<(usize, &Meaning)> = way.words.iter().map(|meaning| (steps(meaning), meaning)).collect();
        // The rare words first: they tell most and cost least.
        words.sort_by_key(|(steps, _)| *steps);
        let mut followed = 0;
        for (steps, meaning) in words {
            if steps > walk.steps_left && followed > 0 {
                walk.exact = false;
                break;
            }
            followed += 1;
            walk.next_word();
            for phrase in meaning {
                let slots = self.having(phrase, way.tongue, walk);
                let worth = self.rarity(slots.len()) * way.share;
                slots.into_iter().for_each(|slot| walk.count(slot, worth));
            }
        }
        walk.end(enough(way.words.len(), strictness).min(followed));
    }

    /// The products that have the words of `phrase`, together where there are several.
    fn having(&self, phrase: &[String], tongue: Tongue, walk: &mut Walk) -> Vec<Slot> {
        let list = self.shortest(phrase);
        walk.exact &= list.len() <= walk.steps_left;
        let allowed = list.len().min(walk.steps_left);
        walk.steps_left -= allowed;
        let in_tongue = list[..allowed].iter().filter(|posting| posting.is_in(Tongues::of(tongue)));
        let slots = in_tongue.map(|posting| posting.slot());
        if phrase.len() < 2 {
            return slots.collect();
        }
        let others: Vec<&[Posting]> = phrase.iter().map(|word| self.terms.exactly(word)).collect();
        let has_all =
            |slot: &Slot| others.iter().all(|list| list.binary_search_by_key(slot, |posting| posting.slot()).is_ok());
        let mut found = Vec::new();
        for slot in slots.filter(has_all) {
            if walk.read_left == 0 {
                walk.exact = false;
                break;
            }
            walk.read_left -= 1;
            if self.entry(slot).is_some_and(|entry| entry.says(tongue, phrase, &self.pairs)) {
                found.push(slot);
            }
        }
        found
    }

    /// The list of the word that the fewest products have.
    fn shortest(&self, phrase: &[String]) -> &[Posting] {
        phrase.iter().map(|word| self.terms.exactly(word)).min_by_key(|list| list.len()).unwrap_or_default()
    }

    /// How much a word tells that so many products have.
    fn rarity(&self, having: usize) -> f64 {
        (1.0 + self.count() as f64 / (1.0 + having as f64)).ln()
    }

    /// The words, with those that occur in no name and no brand replaced by the nearest that do; `None` when nothing had to be.
    pub(super) fn corrected(&self, text: &str) -> Option<String> {
        let mut left = COMPARED;
        let mut is_changed = false;
        let mut better = |word: String| {
            let is_known = !self.spelt.exactly(&word).is_empty();
            if is_known || word.chars().count() < SHORTEST_CORRECTED {
                return word;
            }
            let near = self.spelt.near(&word, MOST_EDITS, &mut left);
            let Some(nearest) = nearest(&word, &near) else { return word };
            is_changed = true;
            nearest.to_owned()
        };
        let words: Vec<String> = plain(text).into_iter().map(&mut better).collect();
        is_changed.then(|| words.join(" "))
    }
}

/// Fewest changes for the length, then most products, then by name.
fn nearest<'a>(word: &str, near: &[Near<'a>]) -> Option<&'a str> {
    let letters = word.chars().count();
    // Half of a word is another word.
    let near = near.iter().filter(|near| distance(letters, near) <= 0.5);
    let order = |one: &&Near<'a>, other: &&Near<'a>| {
        let by_distance = distance(letters, one).total_cmp(&distance(letters, other));
        by_distance.then(other.postings.len().cmp(&one.postings.len())).then(one.word.cmp(other.word))
    };
    near.min_by(order).map(|near| near.word)
}

fn distance(letters: usize, near: &Near<'_>) -> f64 {
    near.edits as f64 / letters.min(near.word.chars().count()).max(1) as f64
}

/// Of that many words so many must fit: of more than two a quarter may be missing, as in the index.
fn enough(words: usize, strictness: Strictness) -> usize {
    match strictness {
        Strictness::Loose => 1,
        Strictness::Exact if words <= 2 => words,
        Strictness::Exact => words * 3 / 4,
    }
}

impl Walk {
    fn over(products: usize) -> Self {
        Self {
            best: vec![0.0; products],
            has: vec![0; products],
            worth: vec![0.0; products],
            counted: vec![0; products],
            words: 0,
            touched: Vec::new(),
            steps_left: STEPS,
            read_left: READ,
            exact: true,
        }
    }

    fn reach(&mut self, slot: Slot, worth: f64) {
        if let Some(best) = self.best.get_mut(slot as usize) {
            *best = best.max(worth);
        }
    }

    fn next_word(&mut self) {
        self.words += 1;
    }

    /// The product has the present word, which counts once however many of its meanings the product has.
    fn count(&mut self, slot: Slot, worth: f64) {
        let at = slot as usize;
        if at >= self.counted.len() || self.counted[at] == self.words {
            return;
        }
        if self.has[at] == 0 {
            self.touched.push(slot);
        }
        self.counted[at] = self.words;
        self.has[at] += 1;
        self.worth[at] += worth;
    }

    /// The present way ends: what has enough of its words fits.
    fn end(&mut self, enough: usize) {
        for slot in std::mem::take(&mut self.touched) {
            let at = slot as usize;
            let (has, worth) = (std::mem::take(&mut self.has[at]), std::mem::take(&mut self.worth[at]));
            if has as usize >= enough.max(1) {
                self.reach(slot, worth);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_words_a_quarter_may_be_missing() {
        let needed = [1, 2, 3, 4, 5, 8].map(|words| enough(words, Strictness::Exact));
        assert_eq!(needed, [1, 2, 2, 3, 3, 6]);
        assert_eq!(enough(8, Strictness::Loose), 1);
    }

    #[test]
    fn the_nearest_word_is_the_one_with_the_fewest_changes_then_the_most_products() {
        let mut spelt = super::super::Lexicon::default();
        for (word, slot) in [("projector", 1), ("projection", 1), ("projektion", 1), ("projection", 2)] {
            spelt.add(word, slot, Tongues::ANY);
        }
        let near = |word: &str| spelt.near(word, MOST_EDITS, &mut 100);
        assert_eq!(nearest("projektor", &near("projektor")), Some("projector"));
        assert_eq!(nearest("projeption", &near("projeption")), Some("projection"), "two products have it");
        assert_eq!(nearest("panel", &near("panel")), None);
    }
}
