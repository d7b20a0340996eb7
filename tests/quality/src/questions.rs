//! Which questions are put, and which class each belongs to. Decided here, by rules that look at the query and the products and
//! never at what any search answers. Pure.
//!
//! A query is of the first class that fits: an *identifier* has a word of letters and digits that is five characters or longer;
//! *brand* names a supplier; *attribute* has a word before its last that stands in the attribute values of enough products; all
//! others are free *words*. The collection has few identifiers, one brand and no misspellings, so these are made from its queries.

use std::collections::{BTreeMap, BTreeSet};

use catalog::domain::product_words::{code, number};
use xtask::bench::quality::measures::{Ratings, is_answerable};

use crate::data::{Collection, Row};

/// A word that so many products have among their attributes is one.
const ENOUGH_PRODUCTS: usize = 20;
/// Shorter words are not misspelt without becoming another word.
const SHORTEST_MISSPELT: usize = 5;
const EXACTLY: u8 = 3;
/// Most that a product of another supplier is worth where one was named.
const OF_ANOTHER: u8 = 1;

#[derive(Clone, Debug)]
pub struct Question {
    pub id: String,
    pub text: String,
    pub class: &'static str,
    /// Made from a query of the collection.
    pub made: bool,
    pub ratings: Ratings,
}

pub fn questions(collection: &Collection) -> Vec<Question> {
    let suppliers: BTreeSet<String> = collection.rows.iter().map(|row| row.supplier.to_lowercase()).collect();
    let attributes = attribute_words(&collection.rows);
    let rows: BTreeMap<&str, &Row> = collection.rows.iter().map(|row| (row.id.as_str(), row)).collect();
    let mut questions = Vec::new();
    for (id, text) in &collection.queries {
        let ratings = collection.ratings.get(id).cloned().unwrap_or_default();
        let class = class(text, &suppliers, &attributes);
        questions.push(Question { id: id.clone(), text: text.clone(), class, made: false, ratings: ratings.clone() });
        if !is_answerable(&ratings) {
            continue;
        }
        questions.extend(of_a_brand(id, text, class, &ratings, &rows));
        for (mark, text) in misspelt(text) {
            let ratings = ratings.clone();
            questions.push(Question { id: format!("{id}~{mark}"), text, class: "misspelt", made: true, ratings });
        }
    }
    questions.extend(identifiers(collection, &rows));
    questions
}

fn class(text: &str, suppliers: &BTreeSet<String>, attributes: &BTreeSet<String>) -> &'static str {
    let words: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    let before_last = &words[..words.len().saturating_sub(1)];
    if words.iter().any(|word| code(word).is_some()) {
        "identifier"
    } else if words.iter().any(|word| suppliers.contains(word)) {
        "brand"
    } else if before_last.iter().any(|word| attributes.contains(word)) {
        "attribute"
    } else {
        "words"
    }
}

/// Words of attribute values that enough products have.
fn attribute_words(rows: &[Row]) -> BTreeSet<String> {
    let mut products: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows {
        let words: BTreeSet<String> = row
            .values
            .iter()
            .flat_map(|value| value.split(|letter: char| !letter.is_alphanumeric()))
            .filter(|word| word.chars().any(char::is_alphabetic))
            .map(str::to_lowercase)
            .collect();
        for word in words {
            *products.entry(word).or_default() += 1;
        }
    }
    products.into_iter().filter(|(_, count)| *count >= ENOUGH_PRODUCTS).map(|(word, _)| word).collect()
}

/// The longest word, the first of equals, without its middle letter, and with the letter before the middle behind it.
fn misspelt(text: &str) -> Vec<(&'static str, String)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let length = |word: &str| word.chars().count();
    let Some(longest) =
        words.iter().copied().reduce(|one, other| if length(other) > length(one) { other } else { one })
    else {
        return Vec::new();
    };
    if length(longest) < SHORTEST_MISSPELT {
        return Vec::new();
    }
    let letters: Vec<char> = longest.chars().collect();
    let middle = letters.len() / 2;
    let (mut dropped, mut swapped) = (letters.clone(), letters.clone());
    dropped.remove(middle);
    swapped.swap(middle - 1, middle);
    let with = |letters: Vec<char>| {
        let word: String = letters.into_iter().collect();
        words.iter().map(|other| if *other == longest { word.as_str() } else { other }).collect::<Vec<_>>().join(" ")
    };
    let mut made = vec![("dropped", with(dropped))];
    if letters[middle - 1] != letters[middle] {
        made.push(("swapped", with(swapped)));
    }
    made
}

/// The query with the supplier of its first exact product before it. The right thing of another supplier is worth what the wrong
/// thing is.
fn of_a_brand(id: &str, text: &str, class: &str, ratings: &Ratings, rows: &BTreeMap<&str, &Row>) -> Option<Question> {
    if class == "brand" || class == "identifier" {
        return None;
    }
    let supplier_of = |product: &str| rows.get(product).map(|row| row.supplier.as_str());
    let supplier =
        ratings.iter().filter(|(_, rating)| **rating == EXACTLY).find_map(|(product, _)| supplier_of(product))?;
    let rating = |(product, rating): (&String, &u8)| {
        let other = supplier_of(product) != Some(supplier);
        (product.clone(), if other { (*rating).min(OF_ANOTHER) } else { *rating })
    };
    let ratings = ratings.iter().map(rating).collect();
    Some(Question {
        id: format!("{id}~brand"),
        text: format!("{supplier} {text}"),
        class: "brand",
        made: true,
        ratings,
    })
}

/// The EAN and the part number of the first product of each query that is exactly what was asked for; every product with that
/// number is right.
fn identifiers(collection: &Collection, rows: &BTreeMap<&str, &Row>) -> Vec<Question> {
    let mut questions: BTreeMap<String, Question> = BTreeMap::new();
    for (id, ratings) in &collection.ratings {
        let first = ratings
            .iter()
            .filter(|(_, rating)| **rating == EXACTLY)
            .find_map(|(product, _)| rows.get(product.as_str()));
        let Some(row) = first else { continue };
        let part = Some(&row.name).filter(|name| code(name).is_some());
        for (mark, text) in row.eans.first().map(|ean| ("ean", ean)).into_iter().chain(part.map(|part| ("part", part)))
        {
            let has = |other: &&Row| {
                let numbers = other.eans.iter().chain([&other.name]);
                numbers.into_iter().any(|own| number(own) == number(text))
            };
            let ratings: Ratings = collection.rows.iter().filter(has).map(|row| (row.id.clone(), EXACTLY)).collect();
            // Two queries may have the same first product.
            let id = format!("{id}~{mark}");
            questions.entry(text.clone()).or_insert(Question {
                id,
                text: text.clone(),
                class: "identifier",
                made: true,
                ratings,
            });
        }
    }
    questions.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_of_the_first_class_that_fits() {
        let set = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<BTreeSet<_>>();
        let (suppliers, attributes) = (set(&["acme"]), set(&["wireless", "mouse"]));
        for (text, expected) in [
            ("acme tn-2110 toner", "identifier"),
            ("acme toner", "brand"),
            ("wireless mouse", "attribute"),
            ("mouse", "words"),
            ("red thing", "words"),
        ] {
            assert_eq!(class(text, &suppliers, &attributes), expected, "{text}");
        }
    }

    #[test]
    fn the_longest_word_is_misspelt_in_two_ways() {
        let made = |text: &str| misspelt(text).into_iter().map(|(_, text)| text).collect::<Vec<_>>();
        assert_eq!(made("red speaker"), ["red speker", "red spaeker"]);
        assert_eq!(made("toffee"), ["tofee"], "two equal letters cannot change places");
        assert!(made("ssd").is_empty() && made("").is_empty());
    }
}
