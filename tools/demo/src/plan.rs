//! What the run will do, decided before anything is done: which products stand for which stock codes, who orders what, and which
//! card each order is paid with. The same seed gives the same plan.

use crate::baskets::{Basket, MAX_UNITS};
use crate::generate::spread;

/// An order that will be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedOrder {
    pub number: usize,
    /// Which of the shoppers places it.
    pub shopper: usize,
    /// SKU and units, each SKU once.
    pub lines: Vec<(String, u32)>,
    pub card: &'static str,
}

/// Cards that go wrong in ways money must survive.
pub const TROUBLE: [&str; 5] =
    ["tok_timeout_charged", "tok_error500_charged", "tok_webhook_twice", "tok_slow", "tok_reset"];

/// Of a thousand orders, this many are paid with each of [`TROUBLE`]; of any smaller number in proportion, but at least one from
/// twenty orders on.
pub const TROUBLE_PER_THOUSAND: usize = 3;

const GOOD: &str = "tok_ok";
const DECLINED: [&str; 2] = ["tok_declined", "tok_insufficient"];

/// Plans `baskets` over `shoppers` people. `products` are the SKUs that can be bought, in a fixed order.
pub fn plan(
    baskets: &[Basket],
    products: &[String],
    shoppers: usize,
    declined_percent: usize,
    seed: u64,
) -> Vec<PlannedOrder> {
    let cards = cards(baskets.len(), declined_percent, seed);
    let order = |(number, basket): (usize, &Basket)| PlannedOrder {
        number,
        shopper: spread(&format!("{seed}-shopper-{}", basket.name)) % shoppers.max(1),
        lines: matched(basket, products),
        card: cards.get(number).copied().unwrap_or(GOOD),
    };
    baskets.iter().enumerate().map(order).collect()
}

/// A stock code always stands for the same product; two codes may stand for one, and are one line then.
fn matched(basket: &Basket, products: &[String]) -> Vec<(String, u32)> {
    let mut lines: Vec<(String, u32)> = Vec::new();
    for (code, units) in &basket.lines {
        let Some(sku) = products.get(spread(code) % products.len().max(1)) else { continue };
        match lines.iter_mut().find(|(known, _)| known == sku) {
            Some((_, known)) => *known = (*known + units).min(MAX_UNITS),
            None => lines.push((sku.clone(), *units)),
        }
    }
    lines
}

/// How many orders are paid with each troublesome card.
pub fn trouble_each(orders: usize) -> usize {
    let share = orders * TROUBLE_PER_THOUSAND / 1_000;
    if orders >= 20 { share.max(1) } else { 0 }
}

/// Exact numbers of each card, in an order that only the seed decides.
fn cards(orders: usize, declined_percent: usize, seed: u64) -> Vec<&'static str> {
    let declined = orders * declined_percent.min(100) / 100;
    let mut cards: Vec<&'static str> = (0..declined).map(|number| DECLINED[number % DECLINED.len()]).collect();
    for card in TROUBLE {
        cards.extend(std::iter::repeat_n(card, trouble_each(orders)));
    }
    cards.resize(orders, GOOD);
    let mut dealt: Vec<(usize, &'static str)> =
        cards.into_iter().enumerate().map(|(number, card)| (spread(&format!("{seed}-card-{number}")), card)).collect();
    dealt.sort_unstable();
    dealt.into_iter().map(|(_, card)| card).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::baskets::invented;

    #[test]
    fn the_same_seed_gives_the_same_plan_with_exact_numbers_of_cards() {
        let products: Vec<String> = (0..300).map(|number| format!("P{number}")).collect();
        let orders = plan(&invented(1_000, 1), &products, 12, 5, 1);
        assert_eq!(orders, plan(&invented(1_000, 1), &products, 12, 5, 1));
        let with = |card: &str| orders.iter().filter(|order| order.card == card).count();
        assert_eq!(
            (with("tok_declined"), with("tok_insufficient"), with("tok_reset"), with("tok_ok")),
            (25, 25, 3, 935)
        );
        assert!(orders.iter().all(|order| order.shopper < 12 && !order.lines.is_empty() && order.lines.len() <= 50));
        assert!((0..12).all(|shopper| orders.iter().any(|order| order.shopper == shopper)));
    }

    #[test]
    fn few_orders_have_few_troubles_and_all_percent_are_possible() {
        assert_eq!((trouble_each(10), trouble_each(50), trouble_each(2_000)), (0, 1, 6));
        assert!(cards(10, 100, 1).iter().all(|card| DECLINED.contains(card)));
        assert_eq!(cards(0, 5, 1).len(), 0);
    }

    #[test]
    fn codes_that_stand_for_one_product_are_one_line() {
        let basket = Basket { name: "b".to_owned(), lines: vec![("A".to_owned(), 9), ("B".to_owned(), 9)] };
        assert_eq!(matched(&basket, &["P".to_owned()]), [("P".to_owned(), MAX_UNITS)]);
        assert!(matched(&basket, &[]).is_empty());
    }
}
