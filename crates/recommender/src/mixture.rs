//! How much each way of guessing is believed. The weights are the shares with which the four ways explain held-out clicks
//! (expectation-maximisation over the last days of the training data, `tools/quality-recs`), rounded to hundredths; there is
//! nothing else to tune.

use crate::index::Index;
use crate::names::Id;
use crate::parts::{self, Asked};
use crate::sums::Sums;

/// A way of guessing; also why an item is suggested.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Visits like this one.
    Neighbours,
    /// Directly before or after the item at hand.
    Beside,
    /// What goes together with what is suggested.
    Further,
    /// Seen in this visit.
    Again,
}

impl Part {
    pub const ALL: [Self; 4] = [Self::Neighbours, Self::Beside, Self::Further, Self::Again];
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture {
    /// In the order of [`Part::ALL`].
    pub weights: [f32; 4],
}

impl Default for Mixture {
    fn default() -> Self {
        Self { weights: [0.21, 0.13, 0.32, 0.34] }
    }
}

/// What an answer is made from: events up to now, and nothing that comes after.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The visit so far, the newest item first, each once.
    pub visit: &'a [&'a str],
    /// The key under which this visit may be in the index already.
    pub own: Option<u64>,
    /// Whether items of the visit may be suggested again; the newest never is.
    pub seen_too: bool,
}

impl<'a> Question<'a> {
    /// As the shop asks for a page: what was looked at is not suggested again, because there is a list of it ("continue"). Decided here
    /// and nowhere else, so that what the quality lab calls "as it ships" is what ships.
    pub fn of_a_page(visit: &'a [&'a str], own: Option<u64>) -> Self {
        Self { visit, own, seen_too: false }
    }

    /// As the published methods are compared: a third of all clicks goes back to what was looked at, and may be foretold.
    pub fn of_a_comparison(visit: &'a [&'a str]) -> Self {
        Self { visit, own: None, seen_too: true }
    }

    /// The visit in numbers. What the index does not know gets numbers behind those of the index: nothing is known to go with it,
    /// but one may come back to it.
    fn numbers(&self, index: &Index) -> Vec<Id> {
        let unknown = |place: usize| (index.names.places() + place) as Id;
        self.visit.iter().enumerate().map(|(place, name)| index.names.find(name).unwrap_or(unknown(place))).collect()
    }

    fn name(&self, index: &'a Index, id: Id) -> &'a str {
        match (id as usize).checked_sub(index.names.places()) {
            Some(place) => self.visit[place],
            None => index.names.name(id),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Suggestion<'a> {
    pub item: &'a str,
    /// How likely it comes next, as far as the mixture knows.
    pub share: f32,
    /// What each part gives to it, in the order of [`Part::ALL`].
    pub parts: [f32; 4],
}

impl Suggestion<'_> {
    /// The part that suggests it most.
    pub fn because(&self) -> Part {
        let strongest = (0..Part::ALL.len()).max_by(|one, two| self.parts[*one].total_cmp(&self.parts[*two]));
        Part::ALL[strongest.unwrap_or_default()]
    }
}

impl Mixture {
    /// The `count` likeliest items, likeliest first. Empty when nothing is known to go with the visit.
    pub fn suggest<'a>(&self, index: &'a Index, question: &Question<'a>, count: usize) -> Vec<Suggestion<'a>> {
        let seen = question.numbers(index);
        let asked = Asked { index, seen: &seen, last: seen.first().copied(), own: question.own };
        let parts = asked_parts(&asked);
        let mut sums = Sums::default();
        for (part, weight) in parts.iter().zip(self.weights) {
            part.0.iter().for_each(|(item, share)| sums.add(*item, weight * share));
        }
        sums.0.retain(|item, _| question.seen_too || !seen.contains(item));
        let suggestion = |(item, share): (Id, f32)| {
            let part = |place: usize| self.weights[place] * parts[place].0.get(&item).copied().unwrap_or_default();
            Suggestion { item: question.name(index, item), share, parts: [part(0), part(1), part(2), part(3)] }
        };
        sums.heaviest(count).into_iter().map(suggestion).collect()
    }

    /// The share that each part alone gives to `item`: what the weights are learned from.
    pub fn shares_of(index: &Index, question: &Question<'_>, item: &str) -> [f32; 4] {
        let seen = question.numbers(index);
        let unknown = question.visit.iter().position(|name| *name == item).map(|place| seen[place]);
        let Some(item) = index.names.find(item).or(unknown) else { return [0.0; 4] };
        let parts = asked_parts(&Asked { index, seen: &seen, last: seen.first().copied(), own: question.own });
        parts.map(|part| part.0.get(&item).copied().unwrap_or_default())
    }
}

fn asked_parts(asked: &Asked<'_>) -> [Sums; 4] {
    let neighbours = parts::neighbours(asked);
    let further = parts::further(asked, &neighbours);
    [neighbours, parts::beside(asked), further, parts::again(asked)]
}

impl Index {
    /// What was bought in visits in which `item` came up, most often first, with its share of such purchases.
    pub fn bought_with(&self, item: &str, count: usize) -> Vec<(&str, f32)> {
        let Some(id) = self.names.find(item) else { return Vec::new() };
        let asked = Asked { index: self, seen: &[id], last: Some(id), own: None };
        let heaviest = parts::bought_with(&asked, id).heaviest(count);
        heaviest.into_iter().map(|(item, share)| (self.names.name(item), share)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Limits;

    fn index(visits: &[&[&str]]) -> Index {
        let mut index = Index::new(Limits::default());
        for (key, visit) in visits.iter().enumerate() {
            visit.iter().enumerate().for_each(|(at, item)| index.learn(key as u64, at as i64, item, false));
        }
        index
    }

    fn names(index: &Index, visit: &[&str], seen_too: bool) -> Vec<String> {
        let question = Question { visit, own: None, seen_too };
        let suggestions = Mixture::default().suggest(index, &question, 10);
        suggestions.iter().map(|suggestion| suggestion.item.to_owned()).collect()
    }

    #[test]
    fn what_followed_comes_before_what_went_before() {
        let index = index(&[&["A", "B", "C"], &["A", "B", "C"]]);
        let question = Question { visit: &["B"], own: None, seen_too: true };
        let alike = Mixture { weights: [1.0, 0.0, 0.0, 0.0] }.suggest(&index, &question, 10);
        assert_eq!(alike.iter().map(|suggestion| suggestion.item).collect::<Vec<_>>(), ["C", "A"]);
    }

    #[test]
    fn the_item_at_hand_is_never_suggested_and_the_seen_only_when_wanted() {
        let index = index(&[&["A", "B", "A", "C"], &["B", "A"]]);
        assert_eq!(names(&index, &["A", "B"], false), ["C"]);
        let with = names(&index, &["A", "B"], true);
        assert!(with.contains(&"B".to_owned()) && !with.contains(&"A".to_owned()), "{with:?}");
    }

    #[test]
    fn a_page_is_suggested_nothing_that_was_looked_at_and_a_comparison_is() {
        let index = index(&[&["A", "B", "A", "C"], &["B", "A"]]);
        let visit: &[&str] = &["A", "B"];
        let suggested = |question: &Question<'_>| {
            let suggestions = Mixture::default().suggest(&index, question, 10);
            suggestions.iter().map(|suggestion| suggestion.item.to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(suggested(&Question::of_a_page(visit, None)), ["C"]);
        assert!(suggested(&Question::of_a_comparison(visit)).contains(&"B".to_owned()));
    }

    #[test]
    fn two_steps_reach_what_was_never_seen_together() {
        let index = index(&[&["A", "B"], &["B", "C"], &["X", "Y"]]);
        assert_eq!(names(&index, &["A"], true), ["B", "C"]);
        let question = Question { visit: &["A"], own: None, seen_too: true };
        let suggestions = Mixture::default().suggest(&index, &question, 10);
        assert_eq!(suggestions.iter().map(Suggestion::because).collect::<Vec<_>>(), [Part::Neighbours, Part::Further]);
        assert!(suggestions.iter().map(|suggestion| suggestion.share).sum::<f32>() <= 1.0);
    }

    #[test]
    fn a_visit_is_not_its_own_neighbour() {
        let mut index = index(&[&["A", "B"]]);
        index.learn(77, 0, "A", false);
        index.learn(77, 1, "Z", false);
        let ask = |own| {
            let question = Question { visit: &["A"], own, seen_too: true };
            let suggestions = Mixture::default().suggest(&index, &question, 10);
            suggestions.iter().map(|suggestion| suggestion.item).collect::<Vec<_>>()
        };
        assert_eq!(ask(Some(77)), ["B"]);
        assert!(ask(None).contains(&"Z"));
    }

    #[test]
    fn strangers_and_unknown_items_get_no_suggestions() {
        let index = index(&[&["A", "B"]]);
        assert!(names(&index, &[], true).is_empty() && names(&index, &["Q"], true).is_empty());
        // An unknown item looked at last does not hide what is known of the visit.
        assert_eq!(names(&index, &["Q", "A"], false), ["B"]);
        assert_eq!(names(&index, &["A", "Q"], true), ["Q", "B"], "one may come back to what nobody else has seen");
    }

    #[test]
    fn only_purchases_count_as_bought_together() {
        let mut index = Index::new(Limits::default());
        for key in 0..3 {
            index.learn(key, 0, "A", false);
            index.learn(key, 1, "B", key > 0);
            index.learn(key, 2, "C", key == 2);
        }
        let bought: Vec<&str> = index.bought_with("A", 5).into_iter().map(|(item, _)| item).collect();
        assert_eq!(bought, ["B", "C"]);
        assert!(index.bought_with("Q", 5).is_empty());
    }
}
