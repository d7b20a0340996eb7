//! What both promise who answer searches: the index, and the stand-in of a process while the index is away. The same questions go to
//! both over HTTP, and the products found, the facets with their counts, the totals, the corrections and how words were read are equal.
//!
//! Not promised, and so not compared: the order by relevance (the stand-in knows neither how often a word stands in a text nor how long
//! the text is, and no standings), scores, passages, and what only a description says. A chosen order is compared, and so is that of
//! everything without words.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use catalog::domain::draft::{ProductDraft, TextDraft};
use catalog::usecases::stand_in::fill;
use http::Request;
use serde_json::{Value, json};

use super::stand_in::shop_behind_a_gate;
use super::world::{Answer, Shop, attribute};

/// Name in German, English and French, brand, category, colour, price in euros.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, &'static str, &'static str);

const ASSORTMENT: [Row; 20] = [
    ("Rote Kopfhörer", "Red headphones", "Casque rouge", "Acme", "audio/headphones", "red", "19.90"),
    ("Blaue Kopfhörer", "Blue headphones", "Casque bleu", "Emca", "audio/headphones", "blue", "49.00"),
    ("Ohrhörer schwarz", "Black earbuds", "Écouteurs noirs", "Acme", "audio/headphones", "black", "25.00"),
    ("Lautsprecher <b>laut</b>", "Loudspeaker", "Enceinte", "Acme", "audio/speakers", "black", "60.00"),
    ("Wintermäntel", "Winter coats", "Manteaux d'hiver", "Nord", "fashion/coats", "red", "120.00"),
    ("Regenmantel", "Rain coat", "Manteau de pluie", "Nord", "fashion/coats", "green", "80.00"),
    ("Regenschirm", "Umbrella", "Parapluie", "Nord", "fashion/extras", "green", "15.00"),
    ("Lederhandschuhe", "Leather gloves", "Gants en cuir", "Nord", "fashion/extras", "black", "45.00"),
    (
        "Laptop 14 Zoll",
        "Laptop 14 inch",
        "Ordinateur portable 14 pouces",
        "Volt",
        "computers/laptops",
        "grey",
        "899.00",
    ),
    (
        "Notebook 15,6 Zoll",
        "Notebook 15.6 inch",
        "Notebook 15,6 pouces",
        "Volt",
        "computers/laptops",
        "black",
        "1249.00",
    ),
    ("Laptoptasche", "Laptop bag", "Sacoche pour ordinateur", "Acme", "computers/extras", "black", "30.00"),
    ("SSD 256GB", "SSD 256GB", "Disque SSD 256GB", "Volt", "computers/storage", "", "70.00"),
    ("Solid State Drive 512GB", "Solid state drive 512GB", "SSD 512GB", "Emca", "computers/storage", "", "110.00"),
    ("Festplatte 2TB", "Hard drive 2TB", "Disque dur 2TB", "Emca", "computers/storage", "", "95.00"),
    ("USB-Stick 64GB", "USB stick 64GB", "Clé USB 64GB", "Emca", "computers/storage", "blue", "9.50"),
    ("Schreibtischlampe", "Desk lamp", "Lampe de bureau", "Hell", "home/lamps", "grey", "35.00"),
    ("Taschenlampe", "Flashlight", "Lampe torche", "Hell", "home/lamps", "black", "12.00"),
    ("Toner TN-2110", "Toner cartridge TN-2110", "Cartouche TN-2110", "Volt", "computers/extras", "black", "55.00"),
    ("Fahrradhelm", "Bicycle helmet", "Casque de vélo", "Nord", "sport/cycling", "red", "50.00"),
    ("Kaffeemaschine", "Coffee machine", "Machine à café", "Hell", "home/kitchen", "grey", "100.00"),
];

/// Questions whose order is the affair of each.
const WORDS: [(&str, &str); 43] = [
    // As they are bent, whatever the spelling.
    ("de", "q=kopfh%C3%B6rer"),
    ("de", "q=KOPFHOERER"),
    ("de", "q=Kopfhorern"),
    ("de", "q=rote+kopfh%C3%B6rer"),
    ("de", "q=rot"),
    ("en", "q=headphone"),
    ("en", "q=glove"),
    ("fr", "q=casques"),
    ("fr", "q=l%27enceinte"),
    ("fr", "q=manteaux"),
    // Compounds, from their parts and not the other way round.
    ("de", "q=mantel"),
    ("de", "q=wintermantel"),
    ("de", "q=schirm"),
    ("de", "q=lampe"),
    ("de", "q=tasche"),
    ("de", "q=leder"),
    ("de", "q=maschine"),
    ("de", "q=h%C3%B6rer"),
    // The same meaning.
    ("de", "q=laptop"),
    ("de", "q=notebook"),
    ("en", "q=laptop+bag"),
    ("en", "q=ssd"),
    ("en", "q=solid+state+drive"),
    ("en", "q=torch"),
    ("en", "q=earphones"),
    ("fr", "q=ordinateur+portable"),
    // Of many words a quarter may be missing.
    ("en", "q=black+leather+gloves+cheap"),
    ("en", "q=black+leather+cheap+nice"),
    // Brands, categories, values, numbers.
    ("de", "q=acme"),
    ("de", "q=acme+schwarz"),
    ("de", "q=computers"),
    ("de", "q=TN-2110"),
    ("de", "q=tn2110"),
    ("de", "q=256GB"),
    ("en", "q=15.6"),
    // Small words alone ask for nothing.
    ("de", "q=der+die+das"),
    ("de", "q=%21%21%21"),
    // Read again: corrected, then loosely, then nothing.
    ("de", "q=kopfh%C3%B6rrer"),
    ("en", "q=blue+headphnes"),
    ("en", "q=umbrela"),
    ("en", "q=umbrella+qqqqqqqq"),
    ("en", "q=zzzzzzzz"),
    ("fr", "q=parapluies"),
];

/// Questions whose order is promised: no words, or a chosen order.
const ORDERED: [(&str, &str); 16] = [
    ("de", ""),
    ("de", "category=computers"),
    ("de", "category=computers%2Fstorage&category=home"),
    ("de", "brand=Acme&brand=Volt"),
    ("de", "attr.colour=black"),
    ("de", "attr.colour=black&brand=Acme"),
    ("de", "attr.colour=black&attr.colour=red&price_max=50"),
    ("de", "price_min=25&price_max=50"),
    ("de", "price_min=1000"),
    ("de", "price_max=0.50"),
    ("de", "brand=Nobody"),
    ("de", "attr.nothing=x"),
    ("de", "q=mantel&brand=Acme"),
    ("en", "q=black&sort=price_asc"),
    ("en", "q=black&sort=price_desc&category=computers"),
    ("fr", "q=casque&sort=newest&attr.colour=red"),
];

fn draft(shop: &Shop, number: usize, row: Row) -> ProductDraft {
    let (de, en, fr, brand, category, colour, price) = row;
    let text = |language: &str, name: &str| TextDraft {
        language: language.to_owned(),
        name: name.to_owned(),
        description: String::new(),
    };
    ProductDraft {
        texts: vec![text("de", de), text("en", en), text("fr", fr)],
        brand: brand.to_owned(),
        category: category.to_owned(),
        attributes: [colour]
            .into_iter()
            .filter(|colour| !colour.is_empty())
            .map(|it| attribute("colour", it))
            .collect(),
        prices: vec![("EUR".to_owned(), price.to_owned())],
        ..shop.draft(&format!("A{number:02}"))
    }
}

async fn ask(shop: &Shop, language: &str, question: &str) -> Answer {
    let path = format!("/v1/search?limit=100&{question}");
    let request = Request::get(path).header("accept-language", language).body(Body::empty()).unwrap();
    let answer = shop.send(request).await;
    assert_eq!(answer.status, 200, "{language} {question}: {}", answer.body);
    answer
}

/// What the stand-in broke of its promise, in words.
fn broken(real: &Value, stand_in: &Value, is_ordered: bool) -> Vec<String> {
    let skus = |answer: &Value| -> Vec<String> {
        let items = answer["items"].as_array().into_iter().flatten();
        items.map(|item| item["sku"].as_str().unwrap_or_default().to_owned()).collect()
    };
    let (found, instead) = (skus(real), skus(stand_in));
    let mut broken = Vec::new();
    let same = if is_ordered {
        found == instead
    } else {
        found.iter().collect::<BTreeSet<_>>() == instead.iter().collect::<BTreeSet<_>>() && found.len() == instead.len()
    };
    if !same {
        broken.push(format!("found {found:?}, the stand-in {instead:?}"));
    }
    for field in ["facets", "total", "corrected_query", "reading", "without_filters"] {
        if real.get(field) != stand_in.get(field) {
            broken.push(format!("{field} {:?}, the stand-in {:?}", real.get(field), stand_in.get(field)));
        }
    }
    broken
}

#[tokio::test]
async fn the_same_questions_find_and_count_the_same_in_the_index_and_in_the_stand_in() {
    let (shop, gate) = shop_behind_a_gate().await;
    shop.stock_up(ASSORTMENT.into_iter().enumerate().map(|(number, row)| draft(&shop, number, row)).collect()).await;
    fill(&*shop.app.products.store, &shop.app.products.stand_in, Duration::ZERO).await;
    let questions = || {
        let words = WORDS.into_iter().map(|(language, question)| (language, question, false));
        words.chain(ORDERED.into_iter().map(|(language, question)| (language, question, true)))
    };
    let mut real = Vec::new();
    for (language, question, _) in questions() {
        let answer = ask(&shop, language, question).await;
        assert_eq!(answer.body["degraded"], false, "{question}");
        assert!(answer.body.get("without").is_none(), "{question}");
        real.push(answer.body);
    }
    gate.close();
    let mut faults = Vec::new();
    for ((language, question, is_ordered), real) in questions().zip(&real) {
        let instead = ask(&shop, language, question).await.body;
        assert_eq!(instead["degraded"], true, "{question}");
        assert_eq!(
            instead["without"],
            json!(["descriptions", "attribute_lists", "highlights", "standing"]),
            "{question}"
        );
        faults.extend(
            broken(real, &instead, is_ordered).into_iter().map(|fault| format!("{language} {question}: {fault}")),
        );
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    gate.open();
    shop.close().await;
}

#[tokio::test]
async fn pages_of_the_stand_in_show_what_one_large_page_shows() {
    let (shop, gate) = shop_behind_a_gate().await;
    shop.stock_up(ASSORTMENT.into_iter().enumerate().map(|(number, row)| draft(&shop, number, row)).collect()).await;
    fill(&*shop.app.products.store, &shop.app.products.stand_in, Duration::ZERO).await;
    gate.close();
    for question in ["q=volt", "attr.colour=black", "sort=price_desc", "q=umbrella+black+zzzzzzzz"] {
        let whole = ask(&shop, "en", question).await;
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        for _ in 0..20 {
            let request =
                Request::get(format!("/v1/search?limit=3&{question}{cursor}")).header("accept-language", "en");
            let page = shop.send(request.body(Body::empty()).unwrap()).await;
            assert_eq!(page.body["facets"], whole.body["facets"], "{question}: facets are of the whole list");
            seen.extend(page.skus(&shop));
            let Some(next) = page.body["page"]["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(seen, whole.skus(&shop), "{question}");
        assert!(seen.len() > 3, "{question} has more than one page");
    }
    gate.open();
    shop.close().await;
}

#[test]
fn the_comparison_sees_a_wrong_count_a_missing_product_another_order_and_a_lost_correction() {
    let item = |sku: &str| json!({"sku": sku, "score": 1.0});
    let bucket =
        |count: u64| json!([{"key": "brand", "buckets": [{"value": "Acme", "count": count, "selected": false}]}]);
    let good = json!({
        "items": [item("A"), item("B")], "facets": bucket(2), "total": {"value": 2, "relation": "eq"},
        "corrected_query": "x", "reading": "corrected"
    });
    assert_eq!(broken(&good, &good, true), [""; 0]);
    let with = |field: &str, value: Value| {
        let mut answer = good.clone();
        answer[field] = value;
        answer
    };
    let reversed = with("items", json!([item("B"), item("A")]));
    assert_eq!(broken(&good, &reversed, false), [""; 0], "the order by relevance is nobody's promise");
    let mut lost = good.clone();
    lost.as_object_mut().unwrap().remove("corrected_query");
    for bad in [
        reversed,
        with("items", json!([item("A")])),
        with("items", json!([item("A"), item("A")])),
        with("facets", bucket(3)),
        with("total", json!({"value": 2, "relation": "gte"})),
        with("reading", json!("loose")),
        with("without_filters", json!(0)),
        lost,
    ] {
        assert_eq!(broken(&good, &bad, true).len(), 1, "{bad}");
    }
}
