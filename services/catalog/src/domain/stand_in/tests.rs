//! What the stand-in finds, and that it is always what the newest revisions say.

use chrono::{DateTime, TimeDelta, Utc};
use common::{Currency, Money};
use proptest::prelude::*;

use super::*;
use crate::domain::assortment::{Assortment, Window};
use crate::domain::facets::Facet;
use crate::domain::price::{Price, PriceList};
use crate::domain::product::{Attribute, CategoryPath, Family, Product, State, Text};
use crate::domain::search_query::{Reading, SearchQuery};
use crate::domain::trail::Trail;

const ROOM: usize = 1 << 20;

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000 + second, 0).unwrap()
}

fn euro(minor: i64) -> Price {
    Price::usual(Money::from_minor(minor, Currency::Eur).unwrap())
}

fn product(sku: &str, name: &str, brand: &str, category: &str, minor: i64) -> Product {
    let text = |language: &str, name: &str| Text {
        language: language.to_owned(),
        name: name.to_owned(),
        description: String::new(),
    };
    Product {
        sku: Sku::parse(sku).unwrap(),
        family: Family::Gadget,
        schema: 1,
        category: CategoryPath::parse(category).unwrap(),
        brand: brand.to_owned(),
        texts: vec![text("de", name), text("en", "thing")],
        prices: PriceList::of([euro(minor)]).unwrap(),
        attributes: Vec::new(),
        options: Vec::new(),
        images: vec!["/one.png".to_owned(), "/two.png".to_owned()],
        assortment: Assortment::everywhere(),
        variants: Vec::new(),
    }
}

fn revision(number: i64, state: State) -> Revision {
    Revision {
        number,
        state,
        changed_at: at(number),
        traceparent: None,
        author: None,
        trail: Trail::default(),
        moved_from: None,
    }
}

fn live(product: Product) -> Revision {
    revision(1, State::Live(product))
}

fn small_shop() -> StandIn {
    let mut shop = StandIn::new(Region::Eu, ROOM);
    for product in [
        product("K-1", "Rote Kopfhörer", "Acme", "audio/headphones", 1_000),
        product("K-2", "Blaue Kopfhörer", "Emca", "audio/headphones", 3_000),
        product("L-1", "Lautsprecher TN-2110", "Acme", "audio/speakers", 6_000),
        product("M-1", "Wintermantel", "Nord", "fashion/coats", 12_000),
        Product {
            attributes: vec![Attribute { key: "ean".to_owned(), value: "4006381333931".to_owned(), unit: None }],
            ..product("M-2", "Mantel rot", "Nord", "fashion/coats", 8_000)
        },
    ] {
        shop.apply(&live(product));
    }
    shop
}

type Parameters<'a> = &'a [(&'a str, &'a str)];

fn asked(pairs: Parameters<'_>) -> SearchQuery {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    SearchQuery::parse(&pairs, Currency::Eur).unwrap()
}

fn picked(shop: &StandIn, pairs: &[(&str, &str)]) -> Picked {
    shop.search(Ask { query: &asked(pairs), language: "de", at: at(0), from: 0, size: 100 })
}

fn skus(picked: &Picked) -> Vec<&str> {
    picked.kept.iter().map(|kept| kept.product.sku.as_str()).collect()
}

#[test]
fn words_are_found_as_they_are_bent_and_by_their_parts_and_numbers_however_they_are_written() {
    let shop = small_shop();
    for (text, expected) in [
        ("kopfhörer", vec!["K-1", "K-2"]),
        ("KOPFHOERER rote", vec!["K-1"]),
        ("kopf", vec!["K-1", "K-2"]),
        ("acme", vec!["K-1", "L-1"]),
        ("coats", vec!["M-1", "M-2"]),
        ("mantel", vec!["M-1", "M-2"]),
        ("wintermantel", vec!["M-1"]),
        ("winter", vec!["M-1"]),
        ("tn2110", vec!["L-1"]),
        ("tn 2110", vec!["L-1"]),
        ("4006381333931", vec!["M-2"]),
        ("qqqq", vec![]),
        ("!!!", vec!["K-1", "K-2", "L-1", "M-1", "M-2"]),
    ] {
        assert_eq!(skus(&picked(&shop, &[("q", text)])), expected, "{text}");
    }
}

#[test]
fn what_fits_only_some_of_the_words_comes_only_when_nothing_fits_all_and_says_so() {
    let shop = small_shop();
    let strict = picked(&shop, &[("q", "rote kopfhörer")]);
    assert_eq!((skus(&strict), strict.reading), (vec!["K-1"], Reading::AsAsked));
    let loose = picked(&shop, &[("q", "grüne kopfhörer")]);
    assert_eq!((skus(&loose), loose.reading), (vec!["K-1", "K-2"], Reading::Loose));
}

#[test]
fn words_of_the_same_meaning_find_each_other_and_the_word_itself_comes_first() {
    let mut shop = small_shop();
    for (sku, name) in [("N-1", "Notebook 15"), ("N-2", "Laptop 14"), ("N-3", "SSD 256"), ("N-4", "Drive, solid state")]
    {
        shop.apply(&live(product(sku, name, "Nord", "computers", 50_000)));
    }
    assert_eq!(skus(&picked(&shop, &[("q", "laptop")])), ["N-2", "N-1"]);
    assert_eq!(skus(&picked(&shop, &[("q", "notebook")])), ["N-1", "N-2"]);
    let phrase = picked(&shop, &[("q", "solid state drive")]);
    assert_eq!(skus(&phrase), ["N-4", "N-3"], "the words in any order, what they mean only as it is written");
}

#[test]
fn a_word_that_occurs_nowhere_is_corrected_to_the_nearest_that_does() {
    let shop = small_shop();
    let read = |text: &str| {
        let picked = picked(&shop, &[("q", text)]);
        (skus(&picked).join(" "), picked.corrected.unwrap_or_default(), picked.reading)
    };
    assert_eq!(read("kopfhorrer"), ("K-1 K-2".to_owned(), "kopfhorer".to_owned(), Reading::Corrected));
    assert_eq!(read("blaue kopfhörrer"), ("K-2".to_owned(), "blaue kopfhorer".to_owned(), Reading::Corrected));
    assert_eq!(read("kopfhörer"), ("K-1 K-2".to_owned(), String::new(), Reading::AsAsked));
    assert_eq!(read("zzzzzzzz"), (String::new(), String::new(), Reading::Loose));
}

#[test]
fn what_only_a_description_says_is_not_found_and_totals_do_not_deny_it() {
    let mut shop = small_shop();
    assert!(picked(&shop, &[("q", "mantel")]).exact);
    let mut told = product("M-3", "Schirm", "Nord", "fashion", 900);
    told.texts[0].description = "Passt zum Mantel.".to_owned();
    shop.apply(&live(told));
    let words = picked(&shop, &[("q", "mantel")]);
    assert_eq!((words.total, words.exact), (2, false));
    assert!(picked(&shop, &[("brand", "Nord")]).exact, "without words everything is known");
}

fn buckets(facets: &[Facet], key: &str) -> String {
    let facet = facets.iter().find(|facet| facet.key == key);
    let buckets = facet.into_iter().flat_map(|facet| &facet.buckets);
    let bucket = |bucket: &crate::domain::facets::Bucket| {
        format!("{}{} {}", if bucket.selected { "*" } else { "" }, bucket.value, bucket.count)
    };
    buckets.map(bucket).collect::<Vec<_>>().join(", ")
}

#[test]
fn a_facet_counts_what_choosing_another_of_its_values_would_give() {
    let mut shop = StandIn::new(Region::Eu, ROOM);
    let coloured = |sku: &str, brand: &str, colour: &str, minor: i64| Product {
        attributes: vec![Attribute { key: "colour".to_owned(), value: colour.to_owned(), unit: None }],
        ..product(sku, "Tasche", brand, "bags/small", minor)
    };
    for product in [
        coloured("A", "Acme", "red", 1_000),
        coloured("B", "Acme", "blue", 3_000),
        coloured("C", "Nord", "red", 6_000),
        coloured("D", "Nord", "green", 200_000),
    ] {
        shop.apply(&live(product));
    }
    let all = picked(&shop, &[("q", "tasche")]);
    assert_eq!(buckets(&all.facets, "attr.colour"), "red 2, blue 1, green 1");
    assert_eq!(buckets(&all.facets, "price"), "0-25 1, 25-50 1, 50-100 1, 1000- 1");
    assert_eq!(buckets(&all.facets, "category"), "bags 4, bags/small 4");
    let some = picked(&shop, &[("q", "tasche"), ("brand", "Acme"), ("attr.colour", "red")]);
    assert_eq!((skus(&some), some.without_filters), (vec!["A"], 4));
    assert_eq!(buckets(&some.facets, "brand"), "*Acme 1, Nord 1");
    assert_eq!(buckets(&some.facets, "attr.colour"), "blue 1, *red 1");
    assert_eq!(buckets(&some.facets, "price"), "0-25 1");
    let nothing = picked(&shop, &[("brand", "Gone"), ("price_max", "25")]);
    assert_eq!(buckets(&nothing.facets, "brand"), "Acme 1, *Gone 0");
    assert_eq!(buckets(&nothing.facets, "price"), "", "nothing of that brand has any price");
}

#[test]
fn filters_narrow_and_sorting_sorts() {
    let shop = small_shop();
    let table: [(Parameters<'_>, Vec<&str>); 8] = [
        (&[("category", "audio")], vec!["K-1", "K-2", "L-1"]),
        (&[("category", "aud")], vec![]),
        (&[("brand", "Nord"), ("price_max", "80")], vec!["M-2"]),
        (&[("price_min", "30"), ("price_max", "60")], vec!["K-2", "L-1"]),
        (&[("family", "general")], vec![]),
        (&[("sort", "price_desc"), ("category", "audio")], vec!["L-1", "K-2", "K-1"]),
        (&[("sort", "price_asc"), ("brand", "Nord")], vec!["M-2", "M-1"]),
        (&[("q", "kopfhörer"), ("brand", "Emca")], vec!["K-2"]),
    ];
    for (pairs, expected) in table {
        assert_eq!(skus(&picked(&shop, pairs)), expected, "{pairs:?}");
    }
    let none_left = picked(&shop, &[("q", "kopfhörer"), ("brand", "Nord")]);
    assert_eq!((none_left.total, none_left.without_filters), (0, 2));
    assert_eq!(skus(&picked(&shop, &[("attr.ean", "4006381333931")])), ["M-2"]);
    assert_eq!(skus(&picked(&shop, &[("attr.colour", "red")])), [""; 0]);
}

#[test]
fn lists_categories_and_completions_are_of_what_is_for_sale_now() {
    let mut shop = small_shop();
    let begins = Window::new(Some(at(100)), None).unwrap();
    let later = Product {
        assortment: Assortment::of([(Region::Eu, begins)]),
        ..product("A-1", "Kopfkissen", "Acme", "home", 500)
    };
    shop.apply(&live(later));
    let elsewhere = Assortment::of([(Region::Us, Window::ALWAYS)]);
    shop.apply(&live(Product { assortment: elsewhere, ..product("A-2", "Kopfball", "Acme", "home", 500) }));
    let listed = |after: Option<&str>, size: usize, second: i64| {
        let after = after.map(|sku| Sku::parse(sku).unwrap());
        let kept = shop.list(None, after.as_ref(), size, at(second));
        kept.iter().map(|kept| kept.product.sku.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(listed(None, 3, 0), "K-1 K-2 L-1");
    assert_eq!(listed(None, 2, 100), "A-1 K-1");
    assert_eq!(listed(Some("L-1"), 9, 0), "M-1 M-2");
    let counted = |second: i64| {
        let categories = shop.categories(at(second));
        categories.iter().map(|(path, count)| format!("{path} {count}")).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(counted(0), "audio 3, audio/headphones 2, audio/speakers 1, fashion 2, fashion/coats 2");
    assert!(counted(100).ends_with("home 1"));
    let completed = |text: &str| shop.completions(text, "de", at(0));
    assert_eq!(completed("rote k"), (vec![], vec!["Rote Kopfhörer".to_owned()]));
    assert_eq!(
        completed("kopf"),
        (vec![], vec![]),
        "a name begins with its first word, and what is not for sale is not offered"
    );
    assert_eq!(completed("ac").0, ["Acme"]);
    assert_eq!(completed("thi").1, ["thing"], "names are completed in English too");
    assert_eq!(shop.list(None, None, 1, at(0))[0].product.images, ["/one.png"]);
}

#[test]
fn a_price_turns_without_anybody_telling() {
    let mut shop = StandIn::new(Region::Eu, ROOM);
    let sale = Price { valid: Window::new(Some(at(10)), Some(at(20))).unwrap(), ..euro(500) };
    let prices = PriceList::of([euro(1_000), sale]).unwrap();
    shop.apply(&live(Product { prices, ..product("A", "Tisch", "Acme", "home", 1) }));
    let cheap = asked(&[("price_max", "9")]);
    let found =
        |second: i64| shop.search(Ask { query: &cheap, language: "de", at: at(second), from: 0, size: 1 }).total;
    assert_eq!([found(9), found(10), found(19), found(20)], [0, 1, 1, 0]);
}

#[test]
fn pages_follow_each_other_and_a_page_is_only_as_long_as_asked() {
    let mut shop = StandIn::new(Region::Eu, ROOM);
    (0..57).for_each(|number| shop.apply(&live(product(&format!("P-{number:02}"), "Tisch", "Acme", "home", 100))));
    let query = asked(&[("q", "tisch")]);
    let mut seen = Vec::new();
    for from in (0..60).step_by(10) {
        let page = shop.search(Ask { query: &query, language: "de", at: at(0), from, size: 10 });
        assert_eq!((page.total, page.exact), (57, true));
        seen.extend(page.kept.into_iter().map(|kept| kept.product.sku.to_string()));
    }
    assert_eq!(seen, (0..57).map(|number| format!("P-{number:02}")).collect::<Vec<_>>());
}

#[test]
fn what_does_not_fit_is_left_out_and_totals_say_so() {
    let mut shop = StandIn::new(Region::Eu, 5_000);
    (0..50).for_each(|number| shop.apply(&live(product(&format!("P-{number}"), "Tisch", "Acme", "home", 100))));
    assert!(shop.count() > 2 && shop.count() < 15, "{}", shop.count());
    assert_eq!(shop.left_out(), 50 - shop.count() as u64);
    let found = picked(&shop, &[("q", "tisch")]);
    assert!(!found.exact && found.total == shop.count());
}

/// A revision of one of few products: some have the same words, some are gone, some cost nothing here.
fn revisions() -> impl Strategy<Value = Vec<Revision>> {
    let one = (0_u8..6, 1_i64..6, 0_u8..4, prop::sample::select(vec!["rot tisch", "rot", "blau stuhl 12345678"]));
    let made = one.prop_map(|(sku, number, kind, name)| {
        let sku = format!("S-{sku}");
        let product = product(&sku, name, if kind == 1 { "Acme" } else { "Nord" }, "home/wood", 100 + number);
        let state = match kind {
            0 => State::Deleted(product.sku),
            2 => State::Live(Product {
                prices: PriceList::of([Price::usual(Money::from_minor(1, Currency::Usd).unwrap())]).unwrap(),
                ..product
            }),
            _ => State::Live(product),
        };
        revision(number, state)
    });
    prop::collection::vec(made, 0..40).prop_map(|mut all| {
        // A number of a product is one revision.
        let mut known = BTreeSet::new();
        all.retain(|revision| known.insert((revision.sku().clone(), revision.number)));
        all
    })
}

/// Everything that can be seen of it.
type Seen = (Vec<Kept>, Vec<Picked>, Vec<(String, u64)>, usize);

fn seen(shop: &StandIn) -> Seen {
    let questions = ["rot", "tisch", "blau stuhl", "12345678", "s-3", "acme"].map(|text| picked(shop, &[("q", text)]));
    (shop.list(None, None, 100, at(0)), questions.into(), shop.categories(at(0)), shop.count())
}

proptest! {
    #[test]
    fn the_newest_revision_stays_in_whatever_order_they_come(all in revisions(), seed in any::<u64>()) {
        let mut newest: BTreeMap<Sku, Revision> = BTreeMap::new();
        for revision in &all {
            let known = newest.entry(revision.sku().clone()).or_insert_with(|| revision.clone());
            if revision.number > known.number {
                *known = revision.clone();
            }
        }
        let mut only_newest = StandIn::new(Region::Eu, ROOM);
        newest.values().for_each(|revision| only_newest.apply(revision));
        let mut shuffled = all;
        let mut state = seed | 1;
        shuffled.sort_by_cached_key(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state
        });
        let mut all_of_them = StandIn::new(Region::Eu, ROOM);
        shuffled.iter().for_each(|revision| all_of_them.apply(revision));
        prop_assert_eq!(seen(&all_of_them), seen(&only_newest));
        prop_assert_eq!(all_of_them.bytes(), only_newest.bytes(), "nothing of older revisions is left");
    }

    #[test]
    fn no_question_makes_it_fall(text in ".{0,80}", from in 0_usize..1_000, size in 0_usize..200) {
        let shop = small_shop();
        if let Ok(query) = SearchQuery::parse(&[("q".to_owned(), text.clone())], Currency::Eur) {
            let found = shop.search(Ask { query: &query, language: "de", at: at(0), from, size });
            prop_assert!(found.kept.len() <= size && found.kept.iter().all(|kept| kept.relevance > 0.0));
        }
        let (brands, names) = shop.completions(&text, "de", at(0) + TimeDelta::seconds(1));
        prop_assert!(brands.len() <= 3 && names.len() <= 14);
    }
}
