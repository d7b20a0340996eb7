//! What shoppers of a drill ask for: pages of the shop's own products, words out of their names, and the numbers of products that nobody
//! changes. A question that the shop does not answer well before the load is not asked under it.

use std::collections::BTreeSet;

use anyhow::bail;
use futures::StreamExt as _;
use serde_json::Value;

use super::judge::{Question, Verdict, judge};
use super::staff::OURS;
use crate::api::{Api, Call};
use crate::generate::spread;

/// Questions that are tried at once before the load.
const TRIED_AT_ONCE: usize = 8;
/// Fewer questions would be answered from what was answered a moment ago.
const FEWEST: usize = 10;
/// Words of fewer letters are articles and colours.
const SHORTEST: usize = 5;
/// Words that are tried.
const MOST: usize = 40;
/// Sizes of a page of results: with each the same words are another question, so that the index has to answer.
const SIZES: usize = 40;

/// A search with results.
#[derive(Debug)]
pub struct Search {
    pub words: String,
    /// The words are this product's number.
    pub first: Option<String>,
}

impl Search {
    /// `dice` chooses the size of the page.
    pub fn path(&self, dice: usize) -> String {
        format!("/v1/search?q={}&limit={}", self.words, 1 + dice % SIZES)
    }
}

pub struct Assortment {
    pub searches: Vec<Search>,
    pub skus: Vec<String>,
}

impl Assortment {
    /// What the shop has, and `numbers` of products.
    ///
    /// # Errors
    /// The shop does not answer, or has too little to ask for.
    pub async fn read(api: &Api, numbers: Vec<String>) -> anyhow::Result<Self> {
        let list = api.call(&Call { path: "/v1/products?limit=100", ..Call::default() }).await?.success("products")?;
        let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
        let skus: Vec<String> = items.iter().filter_map(sku).filter(|sku| !sku.starts_with(OURS)).collect();
        let tried = candidates(items, numbers).into_iter().map(|search| async move {
            let path = search.path(SIZES - 1);
            let reply = api.call(&Call { path: &path, ..Call::default() }).await;
            (judge(Question::SearchOfAnyRelease(search.first.as_deref()), reply) == Verdict::Good).then_some(search)
        });
        let tried: Vec<Option<Search>> = futures::stream::iter(tried).buffered(TRIED_AT_ONCE).collect().await;
        let searches: Vec<Search> = tried.into_iter().flatten().collect();
        if searches.len() < FEWEST || skus.len() < FEWEST {
            bail!("{} searches and {} pages are too few; run `./dev seed` first", searches.len(), skus.len());
        }
        Ok(Self { searches, skus })
    }

    /// The search that `dice` chooses.
    pub fn search(&self, dice: &str) -> &Search {
        &self.searches[spread(dice) % self.searches.len()]
    }

    /// The product that `dice` chooses.
    pub fn sku(&self, dice: &str) -> &str {
        &self.skus[spread(dice) % self.skus.len()]
    }
}

fn sku(item: &Value) -> Option<String> {
    item["sku"].as_str().map(str::to_owned)
}

/// The longest word of each name, of those that need no encoding in a query, and the numbers.
fn candidates(items: &[Value], numbers: Vec<String>) -> Vec<Search> {
    let word = |item: &Value| {
        let words = item["name"].as_str()?.split_whitespace();
        let plain = words.filter(|word| word.len() >= SHORTEST && word.bytes().all(|byte| byte.is_ascii_alphabetic()));
        plain.max_by_key(|word| word.len()).map(str::to_lowercase)
    };
    let theirs = items.iter().filter(|item| sku(item).is_some_and(|sku| !sku.starts_with(OURS)));
    let words: BTreeSet<String> = theirs.filter_map(word).collect();
    let words = words.into_iter().take(MOST).map(|words| Search { words, first: None });
    words.chain(numbers.into_iter().map(|sku| Search { words: sku.clone(), first: Some(sku) })).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_longest_words_of_names_and_the_numbers_are_asked_for() {
        let items = [
            json!({"sku": "GA-PHONES", "name": "Aria Kopfhörer Premium"}),
            json!({"sku": "GA-LAMP", "name": "Premium Lampe"}),
            json!({"sku": format!("{OURS}01"), "name": "Changing Something"}),
        ];
        let found = candidates(&items, vec!["ZD-7".to_owned()]);
        let said: Vec<(&str, Option<&str>)> =
            found.iter().map(|search| (search.words.as_str(), search.first.as_deref())).collect();
        assert_eq!(said, [("premium", None), ("ZD-7", Some("ZD-7"))]);
    }
}
