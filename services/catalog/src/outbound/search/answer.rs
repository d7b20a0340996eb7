//! What the index answered, in words of the domain. Pure. Anything that does not look as expected is an error text for the
//! log, never a panic.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::Deserialize;
use serde_json::Value;

use super::document::ProductDocument;
use super::standings::in_document;
use crate::domain::search_query::{Filters, SearchQuery};
use crate::usecases::ports::products::{Applied, Bucket, Completion, Facet, Found, Hit, Reading, Total};

/// Attribute facets of one answer, those with the most products first, and their values.
const ATTRIBUTE_FACETS: usize = 12;
const ATTRIBUTE_VALUES: usize = 20;
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
        facets: facets(&answer["aggregations"], &query.filters),
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

fn facets(aggregations: &Value, chosen: &Filters) -> Vec<Facet> {
    let mut facets = vec![
        facet(aggregations, "category", &chosen.categories),
        facet(aggregations, "brand", &chosen.brands),
        facet(aggregations, "family", &chosen.families),
        price_facet(aggregations, chosen),
    ];
    facets.extend(attribute_facets(aggregations, chosen));
    facets.retain(|facet| !facet.buckets.is_empty());
    facets
}

fn facet(aggregations: &Value, key: &str, chosen: &BTreeSet<String>) -> Facet {
    let buckets = pairs(&aggregations[key]["values"]).map(|(value, count)| bucket(value, count, chosen)).collect();
    Facet { key: key.to_owned(), buckets: with_chosen(buckets, chosen) }
}

/// A range is selected when the bounds of the query are its bounds.
fn price_facet(aggregations: &Value, chosen: &Filters) -> Facet {
    let ranges = aggregations["price"]["values"]["buckets"].as_array().into_iter().flatten();
    let minor = |bound: &Value| bound.as_f64().map(|minor| minor.round());
    let same = |bound: Option<f64>, chosen: Option<i64>| match (bound, chosen) {
        // Amounts are far below the numbers that a double cannot tell apart.
        (Some(bound), Some(chosen)) => (bound - chosen as f64).abs() < 0.5,
        (None, None) => true,
        (Some(bound), None) => bound.abs() < 0.5,
        (None, Some(_)) => false,
    };
    // A range ends before its `to`, one minor unit behind what the filter allows.
    let last = |range: &Value| minor(&range["to"]).map(|beyond| beyond - 1.0);
    let is_chosen = |range: &Value| {
        let asked = chosen.price_min.is_some() || chosen.price_max.is_some();
        asked && same(minor(&range["from"]), chosen.price_min) && same(last(range), chosen.price_max)
    };
    let buckets = ranges.filter_map(|range| {
        let (value, count) = (range["key"].as_str()?.to_owned(), range["doc_count"].as_u64()?);
        (count > 0).then(|| Bucket { value, count, selected: is_chosen(range) })
    });
    Facet { key: "price".to_owned(), buckets: buckets.collect() }
}

/// Groups `key=value` pairs by key. A key with a chosen value was counted by itself, without its own filter.
fn attribute_facets(aggregations: &Value, chosen: &Filters) -> Vec<Facet> {
    let mut by_key: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    for (pair, count) in pairs(&aggregations["attrs"]["values"]) {
        if let Some((key, value)) = pair.split_once('=') {
            by_key.entry(key.to_owned()).or_default().push((value.to_owned(), count));
        }
    }
    for key in chosen.attributes.keys() {
        let own = pairs(&aggregations[format!("attr.{key}")]["values"]);
        by_key.insert(
            key.clone(),
            own.filter_map(|(pair, count)| Some((pair.split_once('=')?.1.to_owned(), count))).collect(),
        );
    }
    let nothing = BTreeSet::new();
    let mut ordered: Vec<_> = by_key.into_iter().collect();
    let weight = |(key, values): &(String, Vec<(String, u64)>)| {
        (chosen.attributes.contains_key(key), values.iter().map(|(_, count)| count).sum::<u64>())
    };
    ordered.sort_by(|one, other| weight(other).cmp(&weight(one)).then_with(|| one.0.cmp(&other.0)));
    ordered.truncate(ATTRIBUTE_FACETS);
    let facet = |(key, mut values): (String, Vec<(String, u64)>)| {
        values.truncate(ATTRIBUTE_VALUES);
        let chosen = chosen.attributes.get(&key).unwrap_or(&nothing);
        let buckets = values.into_iter().map(|(value, count)| bucket(value, count, chosen)).collect();
        Facet { key: format!("attr.{key}"), buckets: with_chosen(buckets, chosen) }
    };
    ordered.into_iter().map(facet).collect()
}

fn bucket(value: String, count: u64, chosen: &BTreeSet<String>) -> Bucket {
    Bucket { selected: chosen.contains(&value), value, count }
}

/// A chosen value stays visible even when nothing has it, so that it can be unchosen.
fn with_chosen(mut buckets: Vec<Bucket>, chosen: &BTreeSet<String>) -> Vec<Bucket> {
    for value in chosen {
        if !buckets.iter().any(|bucket| bucket.value == *value) {
            buckets.push(Bucket { value: value.clone(), count: 0, selected: true });
        }
    }
    buckets
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
    fn a_chosen_value_is_shown_even_without_products() {
        let chosen = Filters {
            brands: ["Gone".to_owned()].into(),
            attributes: [("colour".to_owned(), ["red".to_owned()].into())].into(),
            ..Filters::default()
        };
        let aggregations = json!({
            "brand": {"values": {"buckets": [{"key": "Acme", "doc_count": 3}]}},
            "attrs": {"values": {"buckets": [{"key": "size=M", "doc_count": 9}, {"key": "colour=red", "doc_count": 1}]}},
            "attr.colour": {"values": {"buckets": [{"key": "colour=blue", "doc_count": 4}, {"key": "colour=red", "doc_count": 1}]}},
        });
        let facets = facets(&aggregations, &chosen);
        let keys: Vec<_> = facets.iter().map(|facet| facet.key.as_str()).collect();
        assert_eq!(keys, ["brand", "attr.colour", "attr.size"]);
        assert_eq!(facets[0].buckets[1], Bucket { value: "Gone".to_owned(), count: 0, selected: true });
        assert_eq!(
            facets[1].buckets.iter().map(|bucket| (bucket.count, bucket.selected)).collect::<Vec<_>>(),
            [(4, false), (1, true)]
        );
    }

    #[test]
    fn odd_documents_are_left_out() {
        let answer = json!({"hits": {"hits": [{"_source": {"sku": "A", "revision": 1}}, {"_source": "nonsense"}, {}]}});
        assert_eq!(hits(&answer).map(|hits| hits.len()), Ok(0));
        assert!(hits(&json!({})).is_err());
    }
}
