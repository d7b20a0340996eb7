//! What makes a product fit some words, as one query of the index. Decided here: how much each sign is worth. Pure.
//!
//! The backbone is plain BM25 over all text of a product as one field: it beat every weighting of fields that was tried. Four
//! signs are laid over it. Words that mean the same count, but less than the words themselves. A word that tells *what the
//! product is* counts more than one that tells what it is for. Words that stand together count more. And a product's own number
//! is more certain than any words. The weights hold for all queries, never for one of them
//! (`docs/adr/0034-what-relevance-is-made-of.md`); `cargo xtask bench quality-search` measures exactly this code.

use serde_json::{Value, json};

use crate::domain::product_words::{code, number};
pub(super) use crate::domain::search_query::Strictness;

/// How much the signs are worth beside the score of the words themselves, which is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// A word of the same meaning.
    pub synonym: f64,
    /// The words tell what the product is.
    pub kind: f64,
    /// The words stand together in the name.
    pub together: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { synonym: 0.6, kind: 0.2, together: 0.2 }
    }
}

/// The whole text is a number of the product: nothing made of words scores as much.
const IS_ITS_NUMBER: f64 = 1000.0;
/// One word of the text is.
const HAS_ITS_NUMBER: f64 = 20.0;
/// English beside the region's own language: many names exist in English alone.
const OTHER_LANGUAGE: f64 = 0.7;
/// A word that is spelled nearly like one of the product's, asked for only when nothing else was found.
const NEARLY: f64 = 0.8;
/// Of more than two words, a quarter may be missing.
const MOST_WORDS: &str = "2<75%";
/// Words between those that stand together.
const GAP: u8 = 2;

/// The scoring query for `text`, or for no text.
pub(super) fn relevance(text: Option<&str>, language: &str, strictness: Strictness, weights: Weights) -> Value {
    let Some(text) = text else { return json!({"match_all": {}}) };
    let mut ways = in_language(text, language, 1.0, strictness, weights);
    let mut signs = signs(text, language, 1.0, weights);
    if language != "en" {
        ways.extend(in_language(text, "en", OTHER_LANGUAGE, strictness, weights));
        signs.extend(self::signs(text, "en", OTHER_LANGUAGE, weights));
    }
    ways.extend(by_number(text));
    json!({"bool": {"must": [{"dis_max": {"queries": ways}}], "should": signs}})
}

fn in_language(text: &str, language: &str, share: f64, strictness: Strictness, weights: Weights) -> Vec<Value> {
    let field = format!("all.{language}");
    let least = match strictness {
        Strictness::Exact => MOST_WORDS,
        Strictness::Loose => "1",
    };
    let way = |analyzer: String, boost: f64| {
        json!({"match": {&field: {
            "query": text, "analyzer": analyzer, "boost": boost * share,
            "minimum_should_match": least, "zero_terms_query": "all"
        }}})
    };
    let mut ways = vec![way(format!("query_{language}"), 1.0), way(format!("meaning_{language}"), weights.synonym)];
    if strictness == Strictness::Loose {
        ways.push(json!({"match": {&field: {
            "query": text, "analyzer": format!("query_{language}"), "boost": NEARLY * share,
            "fuzziness": "AUTO:4,8", "prefix_length": 1, "max_expansions": 20
        }}}));
    }
    ways
}

fn signs(text: &str, language: &str, share: f64, weights: Weights) -> Vec<Value> {
    let kind = |analyzer: &str, boost: f64| {
        json!({"match": {format!("kinds.{language}"): {
            "query": text, "analyzer": format!("{analyzer}_{language}"), "boost": boost * share
        }}})
    };
    vec![
        json!({"dis_max": {"queries": [kind("query", weights.kind), kind("meaning", weights.kind * weights.synonym)]}}),
        json!({"match_phrase": {format!("name.{language}"): {"query": text, "slop": GAP, "boost": weights.together * share}}}),
    ]
}

/// A product found by its number is found whatever else the text says.
fn by_number(text: &str) -> Vec<Value> {
    let fits = |numbers: Vec<String>, boost: f64| json!({"constant_score": {"filter": {"terms": {"numbers": numbers}}, "boost": boost}});
    let mut ways: Vec<Value> = number(text).map(|number| fits(vec![number], IS_ITS_NUMBER)).into_iter().collect();
    let words: Vec<String> = text.split_whitespace().filter_map(code).collect();
    if !words.is_empty() {
        ways.push(fits(words, HAS_ITS_NUMBER));
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(text: &str, language: &str, strictness: Strictness) -> Vec<Value> {
        let query = relevance(Some(text), language, strictness, Weights::default());
        query["bool"]["must"][0]["dis_max"]["queries"].as_array().cloned().unwrap_or_default()
    }

    #[test]
    fn near_spellings_are_asked_for_only_when_nothing_else_was_found() {
        let fuzzy = |ways: Vec<Value>| ways.iter().filter(|way| way.to_string().contains("fuzziness")).count();
        assert_eq!(fuzzy(ways("headphones", "de", Strictness::Exact)), 0);
        assert_eq!(fuzzy(ways("headphones", "de", Strictness::Loose)), 2);
    }

    #[test]
    fn a_number_counts_more_than_words_and_a_measure_is_no_number() {
        let numbers = |text: &str| -> Vec<f64> {
            let ways = ways(text, "en", Strictness::Exact);
            ways.iter().filter_map(|way| way["constant_score"]["boost"].as_f64()).collect()
        };
        assert_eq!(numbers("TN-2110"), [IS_ITS_NUMBER, HAS_ITS_NUMBER]);
        assert_eq!(numbers("acme tn-2110 toner"), [IS_ITS_NUMBER, HAS_ITS_NUMBER]);
        assert_eq!(numbers("toner"), [0.0; 0]);
        assert_eq!(numbers("512GB").len(), 1, "only a product with exactly this number");
    }

    #[test]
    fn a_text_of_any_content_stays_a_value() {
        let hostile = r#"{"match_all":{}} OR _exists_:secret"#;
        assert_eq!(ways(hostile, "de", Strictness::Exact)[0]["match"]["all.de"]["query"], json!(hostile));
    }
}
