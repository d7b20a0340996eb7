//! What the index answered, in words of the domain. Pure. Anything that does not look as expected is an error text for the
//! log, never a panic.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::Value;

use super::document::ProductDocument;
use super::standings::in_document;
use crate::domain::facets::{Counted, PriceRange, facets};
use crate::domain::search_query::{Filters, SearchQuery};
use crate::usecases::ports::products::{Applied, Completion, Found, Hit, Reading, Total};

/// Completions of one answer.
const MAX_COMPLETIONS: usize = 10;

/// What happened to each line of a bulk request.
pub(super) fn applied(answer: &Value) -> Result<Applied, String> {
    let mut sum = Applied::default();
    for item in answer["items"].as_array().ok_or("a bulk answer without items")? {
        let outcome = &item["index"];
        match outcome["status"].as_u64() {
            Some(200 | 201) => sum.written += 1,
            Some(409) => sum.stale += 1,
            Some(400) => {
                sum.refused += 1;
                tracing::error!(
                    product.sku = outcome["_id"].as_str(),
                    reason = outcome["error"]["reason"].as_str(),
                    "the index refused a product"
                );
            }
            status => return Err(format!("a bulk item with status {status:?}: {}", outcome["error"]["type"])),
        }
    }
    Ok(sum)
}

pub(super) fn found(answer: &Value, query: &SearchQuery, reading: Reading) -> Result<Found, String> {
    let total = &answer["hits"]["total"];
    Ok(Found {
        hits: hits(answer)?,
        facets: facets(counted(&answer["aggregations"], &query.filters), &query.filters),
        total: Total { value: total["value"].as_u64().unwrap_or(0), exact: total["relation"].as_str() == Some("eq") },
        corrected: corrected(&answer["suggest"]["spelling"]),
        reading,
        without_filters: answer["aggregations"]["fitting"]["doc_count"].as_u64().unwrap_or(0),
    })
}

pub(super) fn hits(answer: &Value) -> Result<Vec<Hit>, String> {
    let list = answer["hits"]["hits"].as_array().ok_or("an answer without hits")?;
    Ok(list.iter().filter_map(hit).collect())
}

/// A document that is none of ours is left out rather than failing the page.
fn hit(value: &Value) -> Option<Hit> {
    let standing = in_document(&value["_source"]);
    let document = ProductDocument::deserialize(&value["_source"]).ok()?;
    let revision = document.revision;
    let highlights = value["highlight"].as_object().into_iter().flatten();
    let highlights = highlights.filter_map(|(field, passages)| Some((field.clone(), passages[0].as_str()?.to_owned())));
    Some(Hit {
        revision,
        relevance: value["_score"].as_f64().unwrap_or(1.0),
        highlights: highlights.collect(),
        standing,
        product: document.into_product()?,
    })
}

/// What the aggregations of `query::facets` counted.
fn counted(aggregations: &Value, chosen: &Filters) -> Counted {
    // Chosen values are counted by name as well, and most of them are among those with the most products.
    let values = |key: &str| {
        let mut values: Vec<_> = pairs(&aggregations[key]["values"]).collect();
        let chosen = pairs(&aggregations[key]["chosen"]);
        let fewer: Vec<_> = chosen.filter(|(value, _)| !values.iter().any(|(known, _)| known == value)).collect();
        values.extend(fewer);
        values
    };
    let own = |key: &String| {
        let values = values(&format!("attr.{key}")).into_iter();
        (key.clone(), values.filter_map(|(pair, count)| Some((pair.split_once('=')?.1.to_owned(), count))).collect())
    };
    Counted {
        categories: values("category"),
        brands: values("brand"),
        families: values("family"),
        prices: prices(&aggregations["price"]["values"]),
        pairs: values("attrs"),
        own: chosen.attributes.keys().map(own).collect(),
    }
}

fn prices(ranges: &Value) -> Vec<(PriceRange, u64)> {
    // Amounts are far below the numbers that a double cannot tell apart. The index takes `to` as the first that is beyond.
    let minor = |bound: &Value| bound.as_f64().map(|minor| minor.round() as i64);
    let ranges = ranges["buckets"].as_array().into_iter().flatten();
    let range = |range: &Value| {
        let name = range["key"].as_str()?.to_owned();
        let bounds = PriceRange {
            name,
            from: minor(&range["from"]).unwrap_or(0),
            to: minor(&range["to"]).map(|beyond| beyond - 1),
        };
        Some((bounds, range["doc_count"].as_u64()?))
    };
    ranges.filter_map(range).collect()
}

fn pairs(terms: &Value) -> impl Iterator<Item = (String, u64)> + '_ {
    let buckets = terms["buckets"].as_array().into_iter().flatten();
    buckets.filter_map(|bucket| Some((bucket["key"].as_str()?.to_owned(), bucket["doc_count"].as_u64()?)))
}

/// The words, with those that occur nowhere replaced by the nearest that do; `None` when nothing had to be.
fn corrected(spelling: &Value) -> Option<String> {
    let words = spelling.as_array()?;
    let mut changed = false;
    let corrected: Vec<&str> = words
        .iter()
        .filter_map(|word| match word["options"][0]["text"].as_str() {
            Some(better) => {
                changed = true;
                Some(better)
            }
            None => word["text"].as_str(),
        })
        .collect();
    changed.then(|| corrected.join(" "))
}

pub(super) fn categories(answer: &Value) -> Vec<(String, u64)> {
    pairs(&answer["aggregations"]["categories"]).collect()
}

pub(super) fn completions(answer: &Value) -> Vec<Completion> {
    let mut known = HashSet::new();
    let mut list = Vec::new();
    for (suggester, kind) in [("brand", "brand"), ("product", "product"), ("english", "product")] {
        for option in answer["suggest"][suggester][0]["options"].as_array().into_iter().flatten() {
            if let Some(text) = option["text"].as_str().filter(|text| known.insert(text.to_lowercase())) {
                list.push(Completion { text: text.to_owned(), kind });
            }
        }
    }
    list.truncate(MAX_COMPLETIONS);
    list
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bulk_answer_tells_written_stale_and_refused_apart() {
        let item =
            |status: u64| json!({"index": {"_id": "A", "status": status, "error": {"type": "x", "reason": "y"}}});
        let answer = |list: &[u64]| json!({"items": list.iter().map(|status| item(*status)).collect::<Vec<_>>()});
        assert_eq!(applied(&answer(&[201, 200, 409, 400])), Ok(Applied { written: 2, stale: 1, refused: 1 }));
        assert!(applied(&answer(&[201, 429])).is_err());
        assert!(applied(&json!({"error": "no"})).is_err());
    }

    #[test]
    fn spelling_is_corrected_only_where_a_word_is_unknown() {
        let word = |text: &str, options: Value| json!({"text": text, "options": options});
        let answer = json!([word("red", json!([])), word("headphnes", json!([{"text": "headphones"}]))]);
        assert_eq!(corrected(&answer).as_deref(), Some("red headphones"));
        assert_eq!(corrected(&json!([word("red", json!([]))])), None);
        assert_eq!(corrected(&Value::Null), None);
    }

    #[test]
    fn what_was_counted_is_read_with_the_attributes_that_are_filtered_by() {
        let chosen =
            Filters { attributes: [("colour".to_owned(), ["red".to_owned()].into())].into(), ..Filters::default() };
        let aggregations = json!({
            "brand": {
                "values": {"buckets": [{"key": "Acme", "doc_count": 3}]},
                "chosen": {"buckets": [{"key": "Acme", "doc_count": 3}, {"key": "Nord", "doc_count": 1}]},
            },
            "price": {"values": {"buckets": [
                {"key": "0-25", "from": 0.0, "to": 2501.0, "doc_count": 2}, {"key": "1000-", "from": 100_000.0, "doc_count": 0}
            ]}},
            "attrs": {"values": {"buckets": [{"key": "size=M", "doc_count": 9}]}},
            "attr.colour": {"values": {"buckets": [{"key": "colour=blue", "doc_count": 4}]}},
        });
        let counted = counted(&aggregations, &chosen);
        let value = |name: &str, count: u64| (name.to_owned(), count);
        let brands = vec![value("Acme", 3), value("Nord", 1)];
        assert_eq!((counted.brands, counted.pairs), (brands, vec![value("size=M", 9)]));
        assert_eq!(counted.own["colour"], [value("blue", 4)]);
        let ranges: Vec<_> = counted.prices.iter().map(|(range, count)| (range.from, range.to, *count)).collect();
        assert_eq!(ranges, [(0, Some(2_500), 2), (100_000, None, 0)]);
        assert!(counted.categories.is_empty());
    }

    #[test]
    fn odd_documents_are_left_out() {
        let answer = json!({"hits": {"hits": [{"_source": {"sku": "A", "revision": 1}}, {"_source": "nonsense"}, {}]}});
        assert_eq!(hits(&answer).map(|hits| hits.len()), Ok(0));
        assert!(hits(&json!({})).is_err());
    }
}
