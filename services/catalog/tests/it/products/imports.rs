//! Files of products: looked through to the end before anything is written, told of line by line, and written whole or not.

use std::fmt::Write as _;

use axum::body::Body;
use catalog::domain::patch::Patch;
use catalog::usecases::import_products::{Hope, Inspection, Line, Wanted, write};
use catalog::usecases::ports::products::ProductStore as _;
use catalog::usecases::put_product::By;
use common::{Sku, UserId, ids};
use futures::StreamExt as _;
use http::{Method, Request};
use serde_json::{Value, json};

use super::world::{Shop, authorised, caller, gone, staff};

const PATH: &str = "/v1/admin/products/imports";
const JSON_LINES: &str = "application/x-ndjson";

fn line(shop: &Shop, name: &str) -> Value {
    json!({
        "sku": shop.sku(name), "family": "general", "category": "a/b", "brand": "x",
        "texts": {"en": {"name": format!("Product {name}"), "description": "plain"}}, "prices": {"EUR": "1.50"},
        "attributes": [{"key": "width", "value": "5", "unit": "mm"}]
    })
}

fn file(lines: &[Value]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    })
}

fn last(told: &[Value]) -> &Value {
    told.last().expect("an import always ends with a word")
}

fn faults(told: &[Value]) -> Vec<(u64, String)> {
    let faults = told.iter().filter(|told| told["kind"] == "fault");
    faults
        .map(|told| (told["line"].as_u64().unwrap(), told["errors"][0]["pointer"].as_str().unwrap().to_owned()))
        .collect()
}

async fn stored(shop: &Shop) -> usize {
    shop.store.unpublished(10_000).await.unwrap().len()
}

async fn import(shop: &Shop, query: &str, content: impl Into<Body>) -> Vec<Value> {
    shop.upload(&staff(), &format!("{PATH}?{query}"), JSON_LINES, content.into()).await
}

#[tokio::test]
async fn a_file_is_imported_with_progress_and_again_it_changes_nothing() {
    let shop = Shop::open().await;
    let lines: Vec<Value> = (0..1_200).map(|number| line(&shop, &format!("P{number:04}"))).collect();
    let told = import(&shop, "reason=new%20range", file(&lines)).await;
    assert_eq!(told[0]["kind"], "received");
    assert!(told.iter().filter(|told| told["kind"] == "progress").count() >= 5, "it tells how far it is: {told:?}");
    let done = json!({"kind": "done", "dry_run": false, "lines": 1200, "created": 1200, "changed": 0, "unchanged": 0, "faulty": 0});
    assert_eq!(last(&told), &done);
    assert_eq!(stored(&shop).await, 1_200);
    let first = shop.store.newest(&Sku::parse(&shop.sku("P0000")).unwrap()).await.unwrap().unwrap();
    assert_eq!(first.author.and_then(|author| author.reason).as_deref(), Some("new range"));
    let mut again = lines;
    again[7]["brand"] = json!("y");
    let told = import(&shop, "", file(&again)).await;
    assert_eq!((&last(&told)["changed"], &last(&told)["unchanged"]), (&json!(1), &json!(1199)));
    shop.close().await;
}

#[tokio::test]
async fn a_dry_run_says_what_would_become_of_each_line_and_stores_nothing() {
    let shop = Shop::open().await;
    import(&shop, "", file(&[line(&shop, "A"), line(&shop, "B")])).await;
    let mut changed = line(&shop, "B");
    changed["brand"] = json!("y");
    let mut broken = line(&shop, "D");
    broken["prices"] = json!({"EUR": "-1"});
    let told = import(&shop, "dry_run=true", file(&[line(&shop, "A"), changed, line(&shop, "C"), broken])).await;
    let done =
        json!({"kind": "done", "dry_run": true, "lines": 4, "created": 1, "changed": 1, "unchanged": 1, "faulty": 1});
    assert_eq!(last(&told), &done);
    assert_eq!(faults(&told), [(4, "/prices/EUR".to_owned())]);
    assert_eq!(stored(&shop).await, 2);
    shop.close().await;
}

#[tokio::test]
async fn a_dry_run_says_of_variants_what_the_real_run_does() {
    let shop = Shop::open().await;
    let with = |name: &str, variants: &[&str]| {
        let variant = |own: &&str| json!({"sku": shop.sku(own), "attributes": [{"key": "size", "value": own}]});
        let mut line = line(&shop, name);
        line["variants"] = variants.iter().map(variant).collect();
        line
    };
    import(&shop, "", file(&[with("A", &["V1", "V2"]), with("A2", &["W"])])).await;
    // Whoever gives a variant up leaves it to others.
    import(&shop, "", file(&[with("A2", &[])])).await;
    let lines = file(&[with("B", &["V1"]), line(&shop, "V2"), with("C", &["W"])]);
    for query in ["dry_run=true", ""] {
        let told = import(&shop, query, lines.clone()).await;
        assert_eq!(faults(&told), [(1, "/sku".to_owned()), (2, "/sku".to_owned())], "{query}: {told:?}");
        let sums = ["created", "changed", "unchanged", "faulty"].map(|sum| last(&told)[sum].clone());
        assert_eq!(sums, [json!(1), json!(0), json!(0), json!(2)], "{query}: {told:?}");
    }
    shop.close().await;
}

#[tokio::test]
async fn with_one_bad_line_nothing_is_stored_unless_the_good_ones_are_wanted() {
    let shop = Shop::open().await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut line = line(&shop, "X");
        change(&mut line);
        line.to_string()
    };
    let fields: serde_json::Map<String, Value> = (0..1_000).map(|number| (format!("f{number}"), json!(1))).collect();
    let attributes: Vec<Value> = (0..1_000).map(|number| json!({"key": format!("k{number}"), "value": "x"})).collect();
    let table = [
        ("{\"sku\": \"half".to_owned(), ""),
        ("no json".to_owned(), ""),
        ("[]".to_owned(), ""),
        ("\u{1}".to_owned(), ""),
        (Value::Object(fields).to_string(), ""),
        (with(&|line| line["unheard_of"] = json!(1)), ""),
        (with(&|line| line["attributes"] = json!(attributes)), "/attributes"),
        (with(&|line| line["texts"]["en"]["description"] = json!("x".repeat(2 * 1024 * 1024))), ""),
        (with(&|line| line["texts"]["en"]["description"] = json!("x".repeat(500_000))), "/texts/en/description"),
        (
            with(&|line| line["texts"]["en"]["description"] = json!("<script>alert(1)</script>")),
            "/texts/en/description",
        ),
        (with(&|line| line["texts"]["en"]["name"] = json!("gnp.\u{202e}exe")), "/texts/en/name"),
        (with(&|line| line["sku"] = json!(shop.sku("GOOD"))), "/sku"),
        (with(&|line| line["images"] = json!(["/v1/products/pictures/../../etc"])), "/images/0"),
        (with(&|_| ()).replace("\"EUR\":\"1.50\"", "\"EUR\":\"1.50\",\"EUR\":\"9.99\""), ""),
        (with(&|_| ()).replace("\"brand\":\"x\"", "\"brand\":\"x\",\"brand\":\"y\""), ""),
    ];
    for (bad, pointer) in &table {
        let told = import(&shop, "", format!("{}{bad}\n", file(&[line(&shop, "GOOD")]))).await;
        assert_eq!(faults(&told), [(2, (*pointer).to_owned())], "{bad:.100}");
        assert_eq!(
            (&last(&told)["kind"], &last(&told)["code"]),
            (&json!("refused"), &json!("invalid-field")),
            "{bad:.100}"
        );
    }
    assert_eq!(stored(&shop).await, 0, "nothing of any of them");
    let told = import(&shop, "skip_faulty=true", format!("{}{}\n", file(&[line(&shop, "GOOD")]), table[0].0)).await;
    assert_eq!((&last(&told)["created"], &last(&told)["faulty"]), (&json!(1), &json!(1)));
    assert_eq!(stored(&shop).await, 1);
    shop.close().await;
}

#[tokio::test]
async fn half_a_file_is_not_stored() {
    let shop = Shop::open().await;
    let whole = file(&(0..50).map(|number| line(&shop, &format!("P{number}"))).collect::<Vec<_>>());
    let half = whole[..whole.len() / 2].to_owned();
    let dead = [Ok(half.clone()), Err(std::io::Error::other("the line went dead"))];
    let told = import(&shop, "", Body::from_stream(futures::stream::iter(dead))).await;
    assert_eq!(
        (&last(&told)["kind"], &last(&told)["code"]),
        (&json!("refused"), &json!("malformed-request")),
        "{told:?}"
    );
    let told = import(&shop, "", half).await;
    assert_eq!(last(&told)["kind"], "refused", "its last line is no product: {told:?}");
    let at_a_line_end: String = whole.lines().take(25).fold(String::new(), |text, line| text + line + "\n");
    let told = import(&shop, "lines=50", at_a_line_end).await;
    assert_eq!(last(&told)["code"], "malformed-request", "the sender said how many there are: {told:?}");
    let table = format!("sku,price.EUR\r\n{},1.5", shop.sku("P0"));
    let told = shop.upload(&staff(), PATH, "text/csv", table.into()).await;
    assert_eq!(faults(&told), [(2, String::new())], "half an amount is an amount too: {told:?}");
    assert_eq!(stored(&shop).await, 0);
    assert!(std::fs::read_dir(shop.pictures.join("incoming")).unwrap().next().is_none(), "no file is left behind");
    shop.close().await;
}

#[tokio::test]
async fn a_table_changes_what_it_has_columns_for() {
    let shop = Shop::open().await;
    let mut first = line(&shop, "A");
    first["variants"] = json!([{"sku": shop.sku("A-S"), "attributes": [{"key": "size", "value": "S"}]}]);
    import(&shop, "", file(&[first, line(&shop, "B")])).await;
    let table = format!(
        "sku,price.EUR,name.de\r\n{},2.00,\"Ein \"\"A\"\",\nzweizeilig\"\r\n{},,\r\n",
        shop.sku("A"),
        shop.sku("B")
    );
    let told = shop.upload(&staff(), PATH, "text/csv; charset=utf-8", table.into()).await;
    assert_eq!((&last(&told)["changed"], &last(&told)["unchanged"]), (&json!(1), &json!(1)), "{told:?}");
    let newest = shop.store.newest(&Sku::parse(&shop.sku("A")).unwrap()).await.unwrap().unwrap();
    let product = newest.live().unwrap();
    assert_eq!(product.text(&["de"]).unwrap().name, "Ein \"A\",\nzweizeilig");
    assert_eq!((product.variants.len(), product.prices.usual().next().unwrap().minor()), (1, 200), "the variant stays");
    let bad = format!("sku,price.EUR\r\n{},2.00,x\r\n{},0\r\nNEW,1\r\n", shop.sku("A"), shop.sku("B"));
    let told = shop.upload(&staff(), PATH, "text/csv", bad.into()).await;
    assert_eq!(faults(&told).iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3, 4], "{told:?}");
    shop.close().await;
}

fn patch(sku: String, name: &str) -> Patch {
    Patch { sku, names: vec![("en".to_owned(), name.to_owned())], ..Patch::default() }
}

#[tokio::test]
async fn a_table_does_not_undo_what_somebody_else_wrote_while_it_was_read() {
    let shop = Shop::open().await;
    import(&shop, "", file(&[line(&shop, "A"), line(&shop, "B")])).await;
    let new = Patch {
        family: Some("general".to_owned()),
        category: Some("a/b".to_owned()),
        brand: Some("y".to_owned()),
        prices: vec![("EUR".to_owned(), "9.00".to_owned())],
        ..patch(shop.sku("NEW"), "Renamed")
    };
    let wanted = [patch(shop.sku("A"), "Renamed"), patch(shop.sku("B"), "Renamed"), new];
    let lines = wanted.into_iter().zip(2..).map(|(patch, number)| Line { number, wanted: Wanted::Some(patch) });
    let (good, faulty) = Inspection::default().look_at(&shop.app, lines.collect()).await.unwrap();
    assert_eq!(faulty, []);
    let mut dearer = line(&shop, "A");
    dearer["prices"] = json!({"EUR": "2.50"});
    import(&shop, "", file(&[dearer, line(&shop, "NEW")])).await;

    let outcome = write(&shop.app, good, &By::default(), &Hope::default()).await.unwrap();
    let sku = |name: &str| Sku::parse(&shop.sku(name)).unwrap();
    assert_eq!(outcome.overtaken, [(0, sku("A")), (2, sku("NEW"))]);
    assert_eq!((outcome.created, outcome.changed), (0, 1), "nobody else wrote the third");
    for (name, minor, title) in [("A", 250, "Product A"), ("B", 150, "Renamed"), ("NEW", 150, "Product NEW")] {
        let newest = shop.store.newest(&sku(name)).await.unwrap().unwrap();
        let product = newest.live().unwrap();
        assert_eq!(product.prices.usual().next().unwrap().minor(), minor, "{name}");
        assert_eq!(product.text(&["en"]).unwrap().name, title, "{name}");
    }
    shop.close().await;
}

#[tokio::test]
async fn a_line_that_has_a_fault_only_when_it_is_written_is_told_too() {
    let shop = Shop::open().await;
    import(&shop, "", file(&[line(&shop, "LAST")])).await;
    let mut table = "sku,family,category,brand,name.en,price.EUR\r\n".to_owned();
    for number in 0..2_000 {
        write!(table, "{},general,a/b,x,Product,1.50\r\n", shop.sku(&format!("P{number:04}"))).unwrap();
    }
    write!(table, "{},,,,,2.00\r\n", shop.sku("LAST")).unwrap();
    let request = authorised(&staff(), Request::post(PATH)).header("content-type", "text/csv");
    let mut pieces = shop.begin(request.body(Body::from(table)).unwrap()).await.into_data_stream();
    let mut told: Vec<Value> = Vec::new();
    while let Some(piece) = pieces.next().await {
        let event: Value = serde_json::from_slice(&piece.unwrap()).unwrap();
        // The work goes on only while somebody reads, so the last portion is not looked at for the second time yet.
        if event["written"].as_u64().is_some_and(|written| written > 0) && event["kind"] == "progress" {
            shop.store.insert(&[gone(&shop.sku("LAST"), 2)]).await.unwrap();
        }
        told.push(event);
    }
    let lines: Vec<u64> = faults(&told).into_iter().map(|(line, _)| line).collect();
    assert!(!lines.is_empty() && lines.iter().all(|line| *line == 2_002), "{:?}", last(&told));
    let done = json!({"kind": "done", "dry_run": false, "lines": 2001, "created": 2000, "changed": 0, "unchanged": 0, "faulty": 1});
    assert_eq!(last(&told), &done);
    shop.close().await;
}

#[tokio::test]
async fn what_is_exported_can_be_imported_and_changes_nothing() {
    let shop = Shop::open().await;
    let mut lines: Vec<Value> = (0..30).map(|number| line(&shop, &format!("P{number:02}"))).collect();
    lines[3]["special_prices"] = json!([{"currency": "EUR", "amount": "0.99", "from": "2031-01-01T00:00:00Z"}]);
    lines[4]["variants"] = json!([{"sku": shop.sku("V"), "attributes": [{"key": "size", "value": "S"}]}]);
    lines[5]["offered"] = json!([{"region": "eu", "until": "2031-01-01T00:00:00Z"}]);
    lines[6]["brand"] = json!("=HYPERLINK(\"x\")");
    import(&shop, "", file(&lines)).await;
    for (format, media) in [("ndjson", JSON_LINES), ("csv", "text/csv")] {
        let path = format!("/v1/admin/products/exports?format={format}");
        let request = authorised(&staff(), Request::get(&path)).body(Body::empty()).unwrap();
        let exported = shop.raw(request).await;
        let noted = shop.notes.acts().pop().unwrap();
        assert_eq!((noted.name, noted.reason.as_str()), ("product.export", "none given"));
        assert_eq!(noted.outcome, format!("all of them as {format}"));
        let told = shop.upload(&staff(), PATH, media, exported.into()).await;
        let done = json!({"kind": "done", "dry_run": false, "lines": 30, "created": 0, "changed": 0, "unchanged": 30, "faulty": 0});
        assert_eq!(last(&told), &done, "{format}: {told:?}");
    }
    shop.close().await;
}

#[tokio::test]
async fn imports_and_exports_are_for_those_who_keep_the_products() {
    let shop = Shop::open().await;
    for roles in [&["shopper"][..], &["pricing"], &["warehouse"], &[]] {
        let nobody = caller(UserId::from_uuid(ids::random()), roles);
        let request = authorised(&nobody, Request::post(PATH)).header("content-type", JSON_LINES);
        shop.send(request.body(Body::from(file(&[line(&shop, "A")]))).unwrap()).await.is_problem(403, "forbidden");
        shop.get_as(&nobody, "/v1/admin/products/exports").await.is_problem(403, "forbidden");
        assert_eq!(shop.notes.acts(), [], "nothing was taken");
    }
    let keeper = caller(UserId::from_uuid(ids::random()), &["merchandiser"]);
    let told = shop.upload(&keeper, PATH, JSON_LINES, file(&[line(&shop, "A")]).into()).await;
    assert_eq!(last(&told)["created"], 1);
    let answer = shop.send_json(&keeper, Method::POST, PATH, None, &json!({})).await;
    answer.is_problem(415, "unsupported-media-type");
    shop.close().await;
}

/// A product of the dataset as a line of a file; its numbers and texts become attributes.
fn of_dataset(shop: &Shop, row: &Value) -> Value {
    let plain =
        |text: &Value| text.as_str().unwrap_or_default().replace('<', "(").chars().take(200).collect::<String>();
    let attributes = row["attributes"].as_object().into_iter().flatten().take(100);
    let attribute = |(key, value): (&String, &Value)| {
        let key: String = key.chars().filter(|letter| letter.is_ascii_alphanumeric()).take(60).collect();
        json!({"key": key.to_lowercase(), "value": format!("{:.200}", value.to_string().replace('<', "("))})
    };
    let distinct: std::collections::BTreeMap<String, Value> =
        attributes.map(attribute).map(|own| (own["key"].as_str().unwrap_or_default().to_owned(), own)).collect();
    json!({
        "sku": shop.sku(row["id"].as_str().unwrap()), "family": "general", "category": "all", "brand": "x",
        "texts": {"en": {"name": plain(&row["title"]), "description": plain(&row["short_description"])}},
        "prices": {"EUR": "1.50"}, "attributes": distinct.into_values().collect::<Vec<_>>()
    })
}

/// For people: how fast a real catalog comes in. `cargo test -p catalog --test it the_whole_dataset -- --ignored --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute, and needs the dataset beside the checkout"]
async fn the_whole_dataset_comes_in() {
    let dataset = "../../../shared/datasets/icecat/products.ndjson.gz";
    let unpacked = std::process::Command::new("gzip").args(["-dc", dataset]).output().expect("gzip");
    assert!(unpacked.status.success(), "there is no {dataset}");
    let shop = Shop::open().await;
    let rows = unpacked.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let lines: Vec<Value> = rows.map(|row| of_dataset(&shop, &serde_json::from_slice(row).expect("JSON"))).collect();
    let content = file(&lines);
    for round in ["new", "again"] {
        let (bytes, begun) = (content.len(), std::time::Instant::now());
        let told = import(&shop, &format!("lines={}", lines.len()), content.clone()).await;
        let seconds = begun.elapsed().as_secs_f64();
        let rate = lines.len() as f64 / seconds;
        println!("{round}: {} products, {bytes} bytes, {seconds:.1} s, {rate:.0} per s: {}", lines.len(), last(&told));
        assert_eq!(last(&told)["kind"], "done", "{:?}", &told[..told.len().min(5)]);
    }
    shop.close().await;
}
