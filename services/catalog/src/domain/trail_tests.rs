//! The trail against the whole history.

use common::Currency;
use proptest::prelude::*;

use super::*;
use crate::domain::assortment::{Assortment, Window};
use crate::domain::price::{Price, PriceList};
use crate::domain::product::{CategoryPath, Family, Variant};

const REGION: Region = Region::Eu;

fn day(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(day * 86_400, 0).unwrap()
}

fn sku(text: &str) -> Sku {
    Sku::parse(text).unwrap()
}

fn euro(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Eur).unwrap()
}

fn usual(minor: i64) -> Price {
    Price::usual(euro(minor))
}

fn timed(minor: i64, from: Option<i64>, until: Option<i64>) -> Price {
    Price { valid: Window::new(from.map(day), until.map(day)).unwrap(), ..usual(minor) }
}

fn product(prices: Vec<Price>) -> Product {
    Product {
        sku: sku("A"),
        family: Family::General,
        schema: 1,
        category: CategoryPath::parse("a").unwrap(),
        brand: "x".to_owned(),
        texts: Vec::new(),
        prices: PriceList::of(prices).unwrap(),
        attributes: Vec::new(),
        options: Vec::new(),
        images: Vec::new(),
        assortment: Assortment::everywhere(),
        variants: Vec::new(),
    }
}

/// A life: each state from its day on.
fn life(states: Vec<(i64, State)>) -> Vec<Revision> {
    let mut revisions: Vec<Revision> = Vec::new();
    for (number, (at, state)) in (1..).zip(states) {
        let next = Revision::after(revisions.last(), number, state, REGION, day(at), None);
        revisions.push(next);
    }
    revisions
}

fn live(prices: Vec<Price>) -> State {
    State::Live(product(prices))
}

fn reduced_from(revisions: &[Revision], at: i64) -> Option<i64> {
    let newest = revisions.iter().rev().find(|revision| revision.changed_at <= day(at)).unwrap();
    newest.offer(&sku("A"), REGION, day(at)).unwrap().reduced_from.map(Money::minor)
}

#[test]
fn a_reduction_is_compared_with_the_lowest_price_of_the_thirty_days_before_it() {
    // Cheap on day 10, dear from day 12 on, a sale from day 30 to 40.
    let sale = || timed(80, Some(30), Some(40));
    let revisions =
        life(vec![(0, live(vec![usual(100)])), (10, live(vec![usual(85)])), (12, live(vec![usual(120), sale()]))]);
    assert_eq!(reduced_from(&revisions, 29), None, "the usual price is no reduction");
    assert_eq!(reduced_from(&revisions, 30), Some(85), "not the 120 of the day before");
    assert_eq!(reduced_from(&revisions, 39), Some(85), "a sale is compared with what was before it, to its end");
    assert_eq!(reduced_from(&revisions, 40), None);
}

#[test]
fn a_price_that_is_not_below_the_lowest_one_is_no_reduction() {
    let revisions = life(vec![
        (0, live(vec![usual(80)])),
        (5, live(vec![usual(120)])),
        (20, live(vec![usual(120), timed(90, None, Some(30)).valid_from(20)])),
    ]);
    assert_eq!(reduced_from(&revisions, 21), None, "90 was undercut 15 days before");
    let late = life(vec![
        (0, live(vec![usual(80)])),
        (5, live(vec![usual(120)])),
        (36, live(vec![usual(120), timed(90, Some(36), Some(40))])),
    ]);
    assert_eq!(reduced_from(&late, 37), Some(120), "80 ended more than thirty days before");
}

#[test]
fn another_text_does_not_begin_the_price_anew() {
    let sale = || vec![usual(100), timed(70, Some(10), Some(90))];
    let mut changed = product(sale());
    changed.brand = "y".to_owned();
    let revisions = life(vec![(0, live(sale())), (60, State::Live(changed))]);
    assert_eq!(reduced_from(&revisions, 61), Some(100), "the sale began on day 10");
}

#[test]
fn what_never_had_another_price_cannot_be_reduced() {
    let revisions = life(vec![(0, live(vec![timed(70, None, Some(90))]))]);
    assert_eq!(reduced_from(&revisions, 1), None);
}

#[test]
fn a_variant_has_its_own_past() {
    let with_variant = |own: Vec<Price>| {
        let mut product = product(vec![usual(100)]);
        let prices = Some(PriceList::of(own).unwrap());
        product.variants = vec![Variant { sku: sku("A-XL"), attributes: Vec::new(), prices, images: Vec::new() }];
        State::Live(product)
    };
    let revisions = life(vec![
        (0, with_variant(vec![usual(130)])),
        (10, with_variant(vec![usual(130), timed(110, Some(10), Some(20))])),
    ]);
    let offer = revisions[1].offer(&sku("A-XL"), REGION, day(11)).unwrap();
    assert_eq!((offer.price.amount.minor(), offer.reduced_from.map(Money::minor)), (110, Some(130)));
    assert_eq!(revisions[1].offer(&sku("A"), REGION, day(11)).unwrap().price.amount.minor(), 100);
}

/// The product at `prices`, with the variant `A-XL` at its `own` prices or at the product's.
fn with_variant(prices: Vec<Price>, own: Option<Vec<Price>>) -> State {
    let mut product = product(prices);
    let prices = own.map(|own| PriceList::of(own).unwrap());
    product.variants = vec![Variant { sku: sku("A-XL"), attributes: Vec::new(), prices, images: Vec::new() }];
    State::Live(product)
}

fn variant_reduced_from(revisions: &[Revision], at: i64) -> Option<i64> {
    let newest = revisions.iter().rev().find(|revision| revision.changed_at <= day(at)).unwrap();
    newest.offer(&sku("A-XL"), REGION, day(at)).unwrap().reduced_from.map(Money::minor)
}

#[test]
fn a_variant_that_loses_its_own_prices_keeps_their_past() {
    let sale = || vec![usual(100), timed(60, Some(12), Some(50))];
    let revisions = life(vec![
        (0, with_variant(vec![usual(100)], Some(vec![usual(70)]))),
        (10, with_variant(sale(), None)),
        // Another change in the middle of the sale forgets nothing that the sale is compared with.
        (39, with_variant(sale(), None)),
        (41, with_variant(sale(), None)),
    ]);
    assert_eq!(reduced_from(&revisions, 13), Some(100), "the product itself never cost less");
    for at in [13, 39, 41, 49] {
        assert_eq!(variant_reduced_from(&revisions, at), Some(70), "on day {at}");
    }
    let steps = price_history(&revisions, &sku("A-XL"), REGION, day(13));
    let told: Vec<_> = steps.iter().map(|(at, price)| (*at, price.map(Money::minor))).collect();
    assert_eq!(told, [(day(0), Some(70)), (day(10), Some(100)), (day(12), Some(60))], "it was for sale all the time");
}

#[test]
fn a_variant_that_gets_prices_of_its_own_takes_the_past_of_its_product_along() {
    let own = || Some(vec![usual(100), timed(90, Some(12), Some(20))]);
    let got = life(vec![(0, with_variant(vec![usual(70)], None)), (10, with_variant(vec![usual(70)], own()))]);
    assert_eq!(variant_reduced_from(&got, 13), None, "it cost 70 until three days ago");
    let came_back = life(vec![
        (0, with_variant(vec![usual(70)], None)),
        (5, live(vec![usual(70)])),
        (10, with_variant(vec![usual(70)], own())),
    ]);
    assert_eq!(variant_reduced_from(&came_back, 13), None, "also when it was away for a while");
    let new = life(vec![(0, live(vec![usual(70)])), (10, with_variant(vec![usual(70)], own()))]);
    assert_eq!(variant_reduced_from(&new, 13), Some(100), "a new one never had another price");
}

#[test]
fn a_variant_whose_past_is_its_products_again_has_no_place_of_its_own() {
    let revisions = life(vec![
        (0, with_variant(vec![usual(100)], Some(vec![usual(70)]))),
        (10, with_variant(vec![usual(100)], None)),
        (60, with_variant(vec![usual(110)], None)),
        (100, with_variant(vec![usual(120)], None)),
    ]);
    let trail = revisions.last().unwrap().trail_until(REGION, day(101));
    assert_eq!(trail.iter().map(|(item, _)| item.as_str()).collect::<Vec<_>>(), ["A"]);
}

#[test]
fn variants_that_are_exchanged_again_and_again_leave_a_bounded_trail() {
    let variants = |round: i64| {
        let mut product = product(vec![usual(100)]);
        let variant = |place: i64| Variant {
            sku: sku(&format!("A-{round}-{place}")),
            attributes: Vec::new(),
            prices: Some(PriceList::of([usual(100 + place)]).unwrap()),
            images: Vec::new(),
        };
        product.variants = (0..100).map(variant).collect();
        State::Live(product)
    };
    let revisions = life((0..6).map(|round| (round, variants(round))).collect());
    let trail = revisions.last().unwrap().trail_until(REGION, day(6));
    assert_eq!(trail.iter().count(), MOST_ITEMS);
    for place in 0..100 {
        let present = trail.of(&sku(&format!("A-5-{place}"))).unwrap();
        assert_eq!(present.now().map(|(_, price)| price.minor()), Some(100 + place), "what is for sale stays");
    }
    assert!(trail.of(&sku("A-0-0")).is_none() && trail.of(&sku("A-4-0")).is_some(), "what went first is forgotten");
    let validator = include_str!("../../../../migrations/catalog/mongo/product_revisions.json");
    let trail = validator.lines().find(|line| line.contains("\"trail\"")).unwrap();
    assert!(trail.contains(&format!("\"maxItems\": {MOST_ITEMS} ")), "{trail}");
}

#[test]
fn a_hectic_price_keeps_a_short_trail_that_never_says_too_much() {
    let hectic: Vec<_> = (0..400).map(|step| (step, 1_000 + step)).collect();
    let mut revisions: Vec<Revision> = Vec::new();
    for (step, minor) in &hectic {
        let at = day(0) + TimeDelta::minutes(*step);
        let next = Revision::after(revisions.last(), step + 1, live(vec![usual(*minor)]), REGION, at, None);
        revisions.push(next);
    }
    let at = day(0) + TimeDelta::minutes(400);
    let trail = revisions.last().unwrap().trail_until(REGION, at);
    let runs = trail.of(&sku("A")).unwrap();
    assert!(runs.past().len() <= MOST_PAST);
    assert_eq!(runs.lowest_before().map(Money::minor), Some(1_000));
}

impl Price {
    fn valid_from(self, from: i64) -> Self {
        Self { valid: Window::new(Some(day(from)), self.valid.until()).unwrap(), ..self }
    }
}

prop_compose! {
    fn a_price()(minor in 50_i64..60, from in prop::option::of(0_i64..150), length in prop::option::of(1_i64..40)) -> Price {
        let until = match (from, length) {
            (Some(from), Some(length)) => Some(from + length),
            (None, Some(length)) => Some(length * 3),
            (_, None) => None,
        };
        timed(minor, from, until)
    }
}

prop_compose! {
    /// The variant is away, at the price of its product, or at its own.
    fn a_state_with_a_variant()(state in a_state(), kind in 0_u8..4, own in 40_i64..60, sale in prop::option::of((0_i64..150, 1_i64..40, 40_i64..60))) -> State {
        match state {
            State::Live(product) if kind > 0 => {
                let mut own = vec![usual(own)];
                own.extend(sale.map(|(from, length, minor)| timed(minor, Some(from), Some(from + length))));
                let prices = (kind > 1).then(|| PriceList::of(own).unwrap());
                let variant = Variant { sku: sku("A-XL"), attributes: Vec::new(), prices, images: Vec::new() };
                State::Live(Product { variants: vec![variant], ..product })
            }
            other => other,
        }
    }
}

prop_compose! {
    fn a_state()(kind in 0_u8..8, prices in prop::collection::vec(a_price(), 1..6), shown in (0_i64..80, 1_i64..90)) -> State {
        if kind == 0 {
            return State::Deleted(sku("A"));
        }
        let mut unambiguous: Vec<Price> = Vec::new();
        for price in prices {
            if unambiguous.iter().all(|known| known.valid.from() != price.valid.from()) {
                unambiguous.push(price);
            }
        }
        let mut product = product(unambiguous);
        if kind == 1 {
            let window = Window::new(Some(day(shown.0)), Some(day(shown.0 + shown.1))).unwrap();
            product.assortment = Assortment::of([(REGION, window)]);
        }
        State::Live(product)
    }
}

proptest! {
    /// What a page shows from its one revision is what all revisions prove.
    #[test]
    fn the_trail_says_what_the_whole_history_says(states in prop::collection::vec((0_i64..12, a_state()), 1..14), later in 0_i64..50) {
        let mut at = 0;
        let timed_states = states.into_iter().map(|(pause, state)| { at += pause; (at, state) }).collect();
        let revisions = life(timed_states);
        let newest = revisions.last().unwrap();
        let now = newest.changed_at + TimeDelta::days(later);
        let steps = price_history(&revisions, &sku("A"), REGION, now);
        let trail = newest.trail_until(REGION, now);
        let runs = trail.of(&sku("A")).cloned().unwrap_or_default();
        let last = steps.last().copied().filter(|(_, price)| price.is_some());
        prop_assert_eq!(runs.now(), last.and_then(|(at, price)| Some((at, price?))));
        if let Some((since, _)) = runs.now() {
            prop_assert_eq!(runs.lowest_before(), lowest_between(&steps, since - SPAN, since));
        }
    }

    /// A variant may come and go, and have prices of its own or not: what is shown is never above what all revisions prove.
    #[test]
    fn a_variants_trail_never_says_more_than_its_history(states in prop::collection::vec((0_i64..12, a_state_with_a_variant()), 1..14), later in 0_i64..50) {
        let mut at = 0;
        let timed_states = states.into_iter().map(|(pause, state)| { at += pause; (at, state) }).collect();
        let revisions = life(timed_states);
        let newest = revisions.last().unwrap();
        let now = newest.changed_at + TimeDelta::days(later);
        let item = sku("A-XL");
        let steps = price_history(&revisions, &item, REGION, now);
        let is_there = newest.live().is_some_and(|product| product.variant(&item).is_some());
        if let Some((since, Some(price))) = steps.last().copied().filter(|_| is_there) {
            let trail = newest.trail_until(REGION, now);
            let runs = trail.judging(&item, &sku("A")).cloned().unwrap_or_default();
            prop_assert_eq!(runs.now().map(|(_, now)| now), Some(price));
            if let Some(proven) = lowest_between(&steps, since - SPAN, since) {
                let shown = runs.lowest_before().map(Money::minor);
                prop_assert!(shown.is_some_and(|shown| shown <= proven.minor()), "{:?} of {:?}", shown, proven);
            }
        }
    }
}
