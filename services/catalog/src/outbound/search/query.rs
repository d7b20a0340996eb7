//! What is asked of the index, as bodies of its search API. Pure: a query in, JSON out. No text of a caller ever becomes
//! syntax; it stands only where values stand.

use common::{Region, Sku};
use serde_json::{Map, Value, json};

use super::nothing;
use super::relevance::{Strictness, Weights, relevance};
use crate::domain::facets::{ATTRIBUTE_PAIRS, BUCKETS, PriceRange, price_ranges};
use crate::domain::inventory::Level;
use crate::domain::product::CategoryPath;
use crate::domain::ranking::Interests;
use crate::domain::search_query::{COUNT_UP_TO, Filters, SearchQuery, Sort};
use crate::domain::standing::{MOST_POPULAR, Standing};
use crate::usecases::ports::products::Page;

/// Categories of a shop that are listed.
const MAX_CATEGORIES: usize = 1000;
/// Strongest interests that candidates are looked for with.
const STRONGEST: usize = 10;

/// The kinds of filter; a facet shows what choosing another of its own kind would give.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind<'a> {
    Category,
    Brand,
    Family,
    Price,
    Attribute(&'a str),
}

/// `text` stands in for that of the query: it may be the corrected one.
pub(super) fn search(
    page: Page<'_>,
    text: Option<&str>,
    strictness: Strictness,
    weights: Weights,
    region: Region,
) -> Value {
    let Page { query, language, from, size } = page;
    let mut body = json!({
        "from": from,
        "size": size,
        "track_total_hits": COUNT_UP_TO,
        "_source": shown_fields(language, region),
        "query": {"bool": {"must": [standing(text, relevance(text, language, strictness, weights))], "filter": for_sale(region)}},
        "sort": sort(query, region),
        "aggs": facets(&query.filters, region),
    });
    let chosen = filters(&query.filters, None, region);
    if !chosen.is_empty() {
        // After the facets have been counted: they must see what the filters would exclude.
        body["post_filter"] = json!({"bool": {"filter": chosen}});
    }
    if let Some(text) = &query.text {
        body["highlight"] = highlight(language);
        body["suggest"] = json!({"spelling": {"text": text, "term": {
            "field": "vocabulary", "suggest_mode": "missing", "size": 1, "min_word_length": 4, "prefix_length": 1, "max_edits": 2
        }}});
    }
    body
}

/// What fits, times how it stands. Without words nothing is scored.
fn standing(text: Option<&str>, relevance: Value) -> Value {
    if text.is_none() {
        return relevance;
    }
    let times = |field: &str, value: Value, standing: Standing| json!({"filter": {"term": {field: value}}, "weight": standing.factor()});
    let out = Standing { level: Some(Level::Out), popularity: 0 };
    let mut functions = vec![times("availability", json!(Level::Out.code()), out)];
    functions.extend(
        (1..=MOST_POPULAR)
            .map(|popularity| times("popularity", json!(popularity), Standing { level: None, popularity })),
    );
    json!({"function_score": {"query": relevance, "functions": functions, "score_mode": "multiply", "boost_mode": "multiply"}})
}

/// Alive, priced here, and within the time it is shown.
fn for_sale(region: Region) -> Vec<Value> {
    let hidden = json!([{"range": {"shown_from": {"gt": "now"}}}, {"range": {"shown_until": {"lte": "now"}}}]);
    vec![
        json!({"term": {"deleted": false}}),
        json!({"exists": {"field": price_field(region)}}),
        json!({"bool": {"must_not": hidden}}),
    ]
}

fn price_field(region: Region) -> String {
    format!("prices.{}", region.currency().code())
}

/// Names in all languages are short and fall back on each other; descriptions are not, so only those that may be shown.
fn shown_fields(language: &str, region: Region) -> Value {
    json!([
        "sku",
        "revision",
        "family",
        "category",
        "brand",
        "name",
        "attributes",
        "images",
        "availability",
        "popularity",
        "timeline",
        "shown_until",
        price_field(region),
        format!("description.{language}"),
        "description.en"
    ])
}

fn sort(query: &SearchQuery, region: Region) -> Value {
    // The SKU last: equal products keep one order on all pages.
    match query.sort {
        Sort::Relevance if query.text.is_some() => {
            json!([{"_score": "desc"}, {"popularity": {"order": "desc", "missing": 0}}, {"sku": "asc"}])
        }
        Sort::Relevance => json!([{"popularity": {"order": "desc", "missing": 0}}, {"sku": "asc"}]),
        Sort::PriceAscending => json!([{price_field(region): "asc"}, {"sku": "asc"}]),
        Sort::PriceDescending => json!([{price_field(region): "desc"}, {"sku": "asc"}]),
        Sort::Newest => json!([{"changed_at": "desc"}, {"sku": "asc"}]),
    }
}

/// The chosen filters, without those of kind `except`.
fn filters(filters: &Filters, except: Option<Kind<'_>>, region: Region) -> Vec<Value> {
    let mut clauses = Vec::new();
    let wanted = |kind: Kind<'_>| except != Some(kind);
    if wanted(Kind::Category) && !filters.categories.is_empty() {
        clauses.push(json!({"terms": {"lineage": filters.categories}}));
    }
    if wanted(Kind::Brand) && !filters.brands.is_empty() {
        clauses.push(json!({"terms": {"brand": filters.brands}}));
    }
    if wanted(Kind::Family) && !filters.families.is_empty() {
        clauses.push(json!({"terms": {"family": filters.families}}));
    }
    for (key, values) in &filters.attributes {
        if wanted(Kind::Attribute(key)) {
            let pairs: Vec<String> = values.iter().map(|value| format!("{key}={value}")).collect();
            clauses.push(json!({"terms": {"attrs": pairs}}));
        }
    }
    if wanted(Kind::Price) && (filters.price_min.is_some() || filters.price_max.is_some()) {
        let mut bounds = Map::new();
        bounds.extend(filters.price_min.map(|minor| ("gte".to_owned(), minor.into())));
        bounds.extend(filters.price_max.map(|minor| ("lte".to_owned(), minor.into())));
        clauses.push(json!({"range": {price_field(region): bounds}}));
    }
    clauses
}

/// One aggregation per facet, each inside the filters of all other kinds.
fn facets(chosen: &Filters, region: Region) -> Value {
    let inside = |except: Option<Kind<'_>>, aggs: Value| json!({"filter": {"bool": {"filter": filters(chosen, except, region)}}, "aggs": aggs});
    let terms = |field: &str, size: usize| json!({"terms": {"field": field, "size": size}});
    // Chosen values are counted by name: they need not be among those with the most products.
    let with_chosen = |field: &str, values: Value, chosen: Vec<String>| {
        if chosen.is_empty() {
            return json!({"values": values});
        }
        let named = json!({"terms": {"field": field, "size": chosen.len(), "include": chosen}});
        json!({"values": values, "chosen": named})
    };
    let mut all = Map::new();
    for (facet, kind, field, chosen) in [
        ("category", Kind::Category, "lineage", &chosen.categories),
        ("brand", Kind::Brand, "brand", &chosen.brands),
        ("family", Kind::Family, "family", &chosen.families),
    ] {
        let counted = with_chosen(field, terms(field, BUCKETS), chosen.iter().cloned().collect());
        all.insert(facet.to_owned(), inside(Some(kind), counted));
    }
    let prices = json!({"range": {"field": price_field(region), "ranges": ranges(region)}});
    all.insert("price".to_owned(), inside(Some(Kind::Price), json!({"values": prices})));
    all.insert("attrs".to_owned(), inside(None, json!({"values": terms("attrs", ATTRIBUTE_PAIRS)})));
    for (key, chosen) in &chosen.attributes {
        // Keys are plain names, so they mean themselves in the pattern.
        let values = json!({"terms": {"field": "attrs", "size": BUCKETS, "include": format!("{key}=.*")}});
        let chosen = chosen.iter().map(|value| format!("{key}={value}")).collect();
        all.insert(format!("attr.{key}"), inside(Some(Kind::Attribute(key)), with_chosen("attrs", values, chosen)));
    }
    // What there is without the filters: tells a text that fits nothing from filters that leave nothing.
    all.insert("fitting".to_owned(), json!({"filter": {"match_all": {}}}));
    Value::Object(all)
}

/// In the region's currency, bounded in minor units. The index takes `to` as the first that is beyond.
fn ranges(region: Region) -> Vec<Value> {
    let body = |PriceRange { name, from, to }: PriceRange| match to {
        Some(to) => json!({"key": name, "from": from, "to": to + 1}),
        None => json!({"key": name, "from": from}),
    };
    price_ranges(region.currency()).into_iter().map(body).collect()
}

/// Encoded by the index: markup in a product's text arrives as text.
fn highlight(language: &str) -> Value {
    let mut fields = Map::new();
    for language in [language, "en"] {
        fields.insert(format!("name.{language}"), json!({"number_of_fragments": 0}));
        fields.insert(format!("description.{language}"), json!({"number_of_fragments": 1, "fragment_size": 120}));
    }
    json!({"encoder": "html", "require_field_match": false, "fields": fields})
}

pub(super) fn list(
    category: Option<&CategoryPath>,
    after: Option<&Sku>,
    size: usize,
    language: &str,
    region: Region,
) -> Value {
    let mut body = json!({
        "size": size,
        "track_total_hits": false,
        "_source": shown_fields(language, region),
        "query": {"bool": {"filter": in_category(category, region)}},
        "sort": [{"sku": "asc"}],
    });
    if let Some(after) = after {
        body["search_after"] = json!([after.as_str()]);
    }
    body
}

fn in_category(category: Option<&CategoryPath>, region: Region) -> Vec<Value> {
    let mut clauses = for_sale(region);
    clauses.extend(category.map(|category| json!({"term": {"lineage": category.as_str()}})));
    clauses
}

pub(super) fn interesting(
    category: Option<&CategoryPath>,
    interests: &Interests,
    size: usize,
    language: &str,
    region: Region,
) -> Value {
    let kinds = [
        ("lineage", &interests.categories, 5.0),
        ("brand", &interests.brands, 3.0),
        ("family", &interests.families, 1.0),
        ("sku", &interests.skus, 1.0),
    ];
    let mut wishes = Vec::new();
    for (field, weights, share) in kinds {
        for (place, key) in (0_u8..).zip(Interests::strongest(weights, STRONGEST)) {
            // Only the coarse order matters: ranking decides among what comes back.
            let boost = share / (1.0 + f64::from(place));
            wishes.push(json!({"constant_score": {"filter": {"term": {field: key}}, "boost": boost}}));
        }
    }
    json!({
        "size": size,
        "track_total_hits": false,
        "_source": shown_fields(language, region),
        "query": {"bool": {"should": wishes, "minimum_should_match": 1, "filter": in_category(category, region)}},
        "sort": [{"_score": "desc"}, {"popularity": {"order": "desc", "missing": 0}}, {"sku": "asc"}],
    })
}

pub(super) fn categories(region: Region) -> Value {
    json!({
        "size": 0,
        "track_total_hits": false,
        "query": {"bool": {"filter": for_sale(region)}},
        "aggs": {"categories": {"terms": {"field": "lineage", "size": MAX_CATEGORIES, "order": {"_key": "asc"}}}},
    })
}

pub(super) fn completions(text: &str, language: &str) -> Value {
    let of = |field: String, size: usize| json!({"prefix": text, "completion": {"field": field, "size": size, "skip_duplicates": true, "fuzzy": {"fuzziness": "AUTO:4,8", "prefix_length": 1}}});
    json!({
        "size": 0,
        "_source": false,
        "suggest": {"brand": of("complete_brand".to_owned(), 3), "product": of(format!("complete.{language}"), 7), "english": of("complete.en".to_owned(), 7)},
        "query": {"match_none": nothing()},
    })
}

#[cfg(test)]
mod tests {
    use common::Currency;

    use super::*;

    fn query(pairs: &[(&str, &str)]) -> SearchQuery {
        let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        SearchQuery::parse(&pairs, Currency::Eur).unwrap()
    }

    fn body(pairs: &[(&str, &str)]) -> Value {
        let query = query(pairs);
        let page = Page { query: &query, language: "de", from: 0, size: 10 };
        search(page, query.text.as_deref(), Strictness::Exact, Weights::default(), Region::Eu)
    }

    #[test]
    fn a_facet_ignores_the_filter_of_its_own_kind_only() {
        let body = body(&[("brand", "Acme"), ("attr.colour", "red"), ("price_max", "10")]);
        let inside = |facet: &str| body["aggs"][facet]["filter"]["bool"]["filter"].as_array().map(Vec::len);
        let found = ["brand", "attr.colour", "price", "category", "attrs"].map(inside);
        assert_eq!(found, [Some(2), Some(2), Some(2), Some(3), Some(3)]);
        assert_eq!(body["post_filter"]["bool"]["filter"].as_array().map(Vec::len), Some(3));
        assert_eq!(body["post_filter"]["bool"]["filter"][2], json!({"range": {"prices.EUR": {"lte": 1000}}}));
    }

    #[test]
    fn how_a_product_stands_multiplies_how_it_fits() {
        let scored = &body(&[("q", "tv")])["query"]["bool"]["must"][0]["function_score"];
        assert_eq!((&scored["score_mode"], &scored["boost_mode"]), (&json!("multiply"), &json!("multiply")));
        let weights: Vec<_> =
            scored["functions"].as_array().into_iter().flatten().map(|one| one["weight"].clone()).collect();
        let grade = |popularity| json!(Standing { level: None, popularity }.factor());
        assert_eq!(weights, [json!(0.7), grade(1), grade(2), grade(3), grade(4)]);
        assert!(scored["query"]["bool"].is_object());
    }

    #[test]
    fn without_words_nothing_is_scored_or_highlighted() {
        let body = body(&[]);
        assert_eq!(body["query"]["bool"]["must"][0], json!({"match_all": {}}));
        assert!(body.get("highlight").is_none() && body.get("suggest").is_none() && body.get("post_filter").is_none());
        assert_eq!(body["sort"][1], json!({"sku": "asc"}));
    }

    #[test]
    fn price_ranges_follow_the_currency() {
        let ranges = ranges(Region::Eu);
        assert_eq!(ranges[0], json!({"key": "0-25", "from": 0, "to": 2501}));
        assert_eq!(ranges[6], json!({"key": "1000-", "from": 100_000}));
    }
}
