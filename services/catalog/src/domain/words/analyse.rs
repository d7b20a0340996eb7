//! From a text to what is compared. Decided here: the steps, which are those of the analysers that the index's description names
//! `words_<language>` (what a product is found by), `query_<language>` (what is asked), `meaning_<language>` (what else may be meant)
//! and `words_plain` (how words are spelt).

use std::collections::HashMap;
use std::sync::LazyLock;

use super::lists::{Compounds, lists};
use super::{Tongue, stem_de, stem_en, stem_fr, tokens};

/// What stands for one word of a question, or for several that mean something together: each alternative is words that stand together.
pub type Meaning = Vec<Vec<String>>;

/// Phrases and everything of the same meaning, themselves first.
#[derive(Debug, Default)]
struct Same {
    groups: HashMap<Vec<String>, Meaning>,
    /// Words of the longest phrase.
    longest: usize,
}

static SAME: LazyLock<[Same; 3]> = LazyLock::new(|| [Same::of(Tongue::De), Same::of(Tongue::Fr), Same::of(Tongue::En)]);

/// What a product is found by, place by place of its text: a word and what it is made of; nothing where a small word stands.
pub fn places(tongue: Tongue, text: &str) -> Vec<Vec<String>> {
    let place = |word: Option<String>| {
        let Some(word) = word else { return Vec::new() };
        let mut terms = vec![stem(tongue, &word)];
        terms.extend(parts(tongue, &word).iter().map(|part| stem(tongue, part)));
        terms
    };
    words(tongue, text).into_iter().map(place).collect()
}

/// What is looked for, word by word.
pub fn asked(tongue: Tongue, text: &str) -> Vec<String> {
    words(tongue, text).into_iter().flatten().map(|word| stem(tongue, &word)).collect()
}

/// What is looked for with words of the same meaning.
pub fn meant(tongue: Tongue, text: &str) -> Vec<Meaning> {
    let words: Vec<String> = words(tongue, text).into_iter().flatten().collect();
    let same = same(tongue);
    let mut meant: Vec<Meaning> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let longest = same.longest.min(words.len() - at);
        let known = (1..=longest).rev().find_map(|length| Some((length, same.groups.get(&words[at..at + length])?)));
        let (length, alternatives) =
            known.map_or_else(|| (1, vec![vec![words[at].clone()]]), |(length, all)| (length, all.clone()));
        let bent = |phrase: Vec<String>| -> Vec<String> { phrase.iter().map(|word| stem(tongue, word)).collect() };
        meant.push(alternatives.into_iter().map(bent).collect());
        at += length;
    }
    meant
}

/// Words as they are spelt.
pub fn plain(text: &str) -> Vec<String> {
    tokens::tokens(text).iter().map(|word| tokens::fold(word)).collect()
}

/// Words of a text before they are bent; `None` where a small word stood.
fn words(tongue: Tongue, text: &str) -> Vec<Option<String>> {
    let lists = lists(tongue);
    let word = |token: String| {
        let token = match tongue {
            Tongue::Fr => own_part(&token, &lists.elided),
            Tongue::En => token.strip_suffix("'s").or_else(|| token.strip_suffix("\u{2019}s")).unwrap_or(&token),
            Tongue::De => &token,
        };
        if lists.small.contains(token) {
            return None;
        }
        Some(match tongue {
            Tongue::De => tokens::fold(&tokens::without_umlauts(token)),
            Tongue::Fr | Tongue::En => tokens::fold(token),
        })
    };
    tokens::tokens(text).into_iter().map(word).collect()
}

/// `écran` of `l'écran`.
fn own_part<'a>(token: &'a str, elided: &[&str]) -> &'a str {
    let cut = token.split_once(['\'', '\u{2019}']).filter(|(article, _)| elided.contains(article));
    cut.map_or(token, |(_, own)| own)
}

fn stem(tongue: Tongue, word: &str) -> String {
    match tongue {
        Tongue::De => stem_de::stem(word),
        Tongue::Fr => stem_fr::stem(word),
        Tongue::En => stem_en::stem(word),
    }
}

/// What a compound is made of: from each letter on, the longest word that is known.
fn parts(tongue: Tongue, word: &str) -> Vec<String> {
    let known = &lists(tongue).parts;
    let letters: Vec<char> = word.chars().collect();
    if known.is_empty() || letters.len() < Compounds::SHORTEST_WORD {
        return Vec::new();
    }
    let longest_from = |from: usize| {
        let most = Compounds::LONGEST_PART.min(letters.len() - from);
        let lengths = (Compounds::SHORTEST_PART..=most).rev();
        lengths
            .map(|length| letters[from..from + length].iter().collect::<String>())
            .find(|part| known.contains(part.as_str()))
    };
    (0..letters.len()).filter_map(longest_from).collect()
}

fn same(tongue: Tongue) -> &'static Same {
    let [de, fr, en] = &*SAME;
    match tongue {
        Tongue::De => de,
        Tongue::Fr => fr,
        Tongue::En => en,
    }
}

impl Same {
    fn of(tongue: Tongue) -> Self {
        let mut same = Self::default();
        for group in &lists(tongue).same {
            // A phrase with a small word inside has a hole, and is nothing that could stand in a question.
            let phrase = |member: &str| words(tongue, member).into_iter().collect::<Option<Vec<String>>>();
            let phrases: Vec<Vec<String>> =
                group.split(',').filter_map(phrase).filter(|words| !words.is_empty()).collect();
            for one in &phrases {
                same.longest = same.longest.max(one.len());
                let alternatives = same.groups.entry(one.clone()).or_insert_with(|| vec![one.clone()]);
                for other in &phrases {
                    if !alternatives.contains(other) {
                        alternatives.push(other.clone());
                    }
                }
            }
        }
        same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compound_is_found_by_its_parts_and_a_part_does_not_ask_for_the_compound() {
        assert_eq!(places(Tongue::De, "Wintermäntel"), [["wintermantel", "wint", "mantel"]]);
        assert_eq!(
            places(Tongue::De, "der Kopfhörer"),
            [vec![], vec!["kopfhor".to_owned(), "kopf".into(), "hor".into()]]
        );
        assert_eq!(asked(Tongue::De, "die Wintermäntel"), ["wintermantel"]);
        assert_eq!(places(Tongue::En, "headphones"), [["headphon"]]);
    }

    #[test]
    fn words_of_the_same_meaning_stand_for_each_other() {
        let meant = |tongue, text| -> Vec<String> {
            let one = |meaning: Meaning| meaning.iter().map(|phrase| phrase.join(" ")).collect::<Vec<_>>().join("|");
            meant(tongue, text).into_iter().map(one).collect()
        };
        assert_eq!(meant(Tongue::En, "black laptop"), ["black", "laptop|notebook"]);
        assert_eq!(
            meant(Tongue::En, "solid state drives"),
            ["solid", "state", "drive"],
            "a phrase is known as it is written"
        );
        assert_eq!(meant(Tongue::En, "solid state drive 256"), ["solid state drive|ssd", "256"]);
        assert_eq!(meant(Tongue::De, "Handy"), ["handy|smartphon|mobiltelefon"]);
        assert_eq!(meant(Tongue::Fr, "l'écran"), ["ecran|monit"]);
        assert_eq!(meant(Tongue::En, "the"), [""; 0]);
        assert_eq!(meant(Tongue::En, "headset"), ["headset"], "a phrase with a small word inside means nothing else");
    }

    #[test]
    fn spellings_of_one_word_are_one() {
        for text in ["Kopfhörer", "KOPFHOERER", "kopfho\u{308}rer", "Kopfhorer"] {
            assert_eq!(asked(Tongue::De, text), ["kopfhor"], "{text}");
        }
        assert_eq!(asked(Tongue::En, "the men's trainers"), ["men", "trainer"]);
        assert_eq!(plain("Straße, l'Été"), ["strasse", "l'ete"]);
    }
}
