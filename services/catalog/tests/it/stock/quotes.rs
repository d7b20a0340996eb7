//! What an order is told about its lines before it is taken.

use std::sync::Arc;

use catalog::domain::assortment::Assortment;
use catalog::domain::inventory::SupplyKind;
use catalog::domain::lines::{InvalidLines, Line, Lines};
use catalog::domain::price::PriceList;
use catalog::domain::product::{CategoryPath, Family, Product, Revision, State, Text};
use catalog::domain::trail::Trail;
use catalog::outbound::memory_products::MemoryProducts;
use catalog::usecases::App;
use catalog::usecases::ports::products::ProductStore as _;
use catalog::usecases::quote::{QuoteError, quote};
use chrono::DateTime;
use common::{Currency, Money, Sku};

use super::world::{app_with, memory_stock, receive, sku};

fn product(text: &str, prices: &[(i64, Currency)]) -> Product {
    let prices = prices.iter().map(|(minor, currency)| Money::from_minor(*minor, *currency).unwrap());
    Product {
        sku: sku(text),
        family: Family::Gadget,
        schema: 1,
        category: CategoryPath::parse("gadgets").unwrap(),
        brand: "Lumen".to_owned(),
        texts: ["en", "de"]
            .map(|language| Text {
                language: language.to_owned(),
                name: format!("{text} {language}"),
                description: String::new(),
            })
            .to_vec(),
        prices: PriceList::new(prices).unwrap(),
        attributes: Vec::new(),
        options: Vec::new(),
        images: Vec::new(),
        assortment: Assortment::everywhere(),
        variants: Vec::new(),
    }
}

fn revision(number: i64, state: State) -> Revision {
    Revision {
        number,
        state,
        changed_at: DateTime::UNIX_EPOCH,
        traceparent: None,
        author: None,
        trail: Trail::default(),
        moved_from: None,
    }
}

/// A and D are sold here, U only elsewhere, G no longer.
async fn shop() -> Arc<App> {
    let (products, stock) = (Arc::new(MemoryProducts::default()), Arc::new(memory_stock()));
    let here = [(4990, Currency::Eur), (5490, Currency::Usd)];
    let revisions = [
        revision(1, State::Live(product("A", &[(5990, Currency::Eur)]))),
        revision(2, State::Live(product("A", &here))),
        revision(1, State::Live(product("D", &here))),
        revision(1, State::Live(product("U", &[(5490, Currency::Usd)]))),
        revision(1, State::Live(product("G", &here))),
        revision(2, State::Deleted(sku("G"))),
    ];
    products.insert(&revisions).await.unwrap();
    receive(
        &*stock,
        "r1",
        &[("A", SupplyKind::Counted, 3), ("D", SupplyKind::Unlimited, 0), ("G", SupplyKind::Counted, 9)],
    )
    .await
    .unwrap();
    app_with(stock, products)
}

fn wanted(list: &[(&str, u32)]) -> Vec<Line> {
    list.iter().map(|(text, quantity)| Line { sku: sku(text), quantity: *quantity }).collect()
}

#[tokio::test]
async fn a_quote_names_price_and_stock_in_the_order_of_the_request() {
    let app = shop().await;
    let quote = quote(&app, wanted(&[("D", 1), ("A", 4)]), None).await.unwrap();
    let lines: Vec<_> = quote
        .lines
        .iter()
        .map(|line| {
            (line.line.sku.as_str(), line.line.quantity, line.unit_price.to_string(), line.available, line.revision)
        })
        .collect();
    // Too few are left: the quote says so and does not decide.
    assert_eq!(lines, [("D", 1, "49.90 EUR".to_owned(), u32::MAX, 1), ("A", 4, "49.90 EUR".to_owned(), 3, 2)]);
    assert_eq!((quote.lines[0].name.as_str(), quote.lines[0].family), ("D de", Family::Gadget.code()));
    assert!(quote.unknown.is_empty());
}

#[tokio::test]
async fn what_is_not_sold_here_is_named_and_not_priced() {
    let app = shop().await;
    let quote = quote(&app, wanted(&[("X", 1), ("A", 1), ("U", 1), ("G", 1)]), None).await.unwrap();
    assert_eq!(quote.unknown.iter().map(Sku::as_str).collect::<Vec<_>>(), ["X", "U", "G"]);
    assert_eq!(quote.lines.len(), 1);
}

#[tokio::test]
async fn lines_that_no_order_may_have_are_refused() {
    let app = shop().await;
    let many: Vec<Line> = (0..101).map(|n| Line { sku: sku(&format!("S{n}")), quantity: 1 }).collect();
    for (lines, expected) in [
        (Vec::new(), InvalidLines::Count),
        (many, InvalidLines::Count),
        (wanted(&[("A", 1), ("A", 1)]), InvalidLines::Duplicate { index: 1 }),
        (wanted(&[("A", 0)]), InvalidLines::Quantity { index: 0 }),
        (wanted(&[("A", Lines::MAX_QUANTITY + 1)]), InvalidLines::Quantity { index: 0 }),
    ] {
        let outcome = quote(&app, lines, None).await;
        assert!(matches!(&outcome, Err(QuoteError::Invalid(found)) if *found == expected), "{outcome:?}");
    }
}
