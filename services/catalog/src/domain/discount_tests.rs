//! What promotions take off: as tables and as properties.

use common::{Currency, Region};
use proptest::prelude::*;

use super::super::price::PriceList;
use super::*;

fn euro(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Eur).unwrap()
}

fn promotion(id: &str, off: Off, target: Target, stacks: bool) -> Standing {
    let promotion = Promotion {
        id: PromotionId::parse(id).unwrap(),
        title: id.to_owned(),
        off,
        target,
        regions: vec![Region::Eu],
        from: None,
        until: None,
        priority: 0,
        stacks,
        coupon: None,
    };
    Standing { revision: 7, promotion }
}

fn amount(minor: i64) -> Off {
    Off::Amount(PriceList::new([euro(minor)]).unwrap())
}

fn below(path: &str) -> Target {
    Target::Categories(vec![CategoryPath::parse(path).unwrap()])
}

/// SKU, category, unit price, quantity.
type Row<'a> = (&'a str, &'a str, i64, u32);

fn cut(rows: &[Row<'_>], offers: &[Standing]) -> Vec<Vec<(String, i64)>> {
    let owned: Vec<_> = rows
        .iter()
        .map(|(sku, category, ..)| (Sku::parse(sku).unwrap(), CategoryPath::parse(category).unwrap()))
        .collect();
    let listed: Vec<_> = owned
        .iter()
        .zip(rows)
        .map(|((sku, category), row)| Listed { sku, category, unit_price: euro(row.2), quantity: row.3 })
        .collect();
    let cuts = reduce(&listed, &offers.iter().collect::<Vec<_>>()).unwrap();
    let told = |cut: Cut| (cut.promotion.to_string(), cut.amount.minor());
    cuts.into_iter().map(|cuts| cuts.into_iter().map(told).collect()).collect()
}

fn minors(rows: &[Row<'_>], offers: &[Standing]) -> Vec<Vec<i64>> {
    cut(rows, offers).into_iter().map(|cuts| cuts.into_iter().map(|(_, minor)| minor).collect()).collect()
}

const LAMP: Row<'_> = ("LAMP", "gadgets/lamps", 4_990, 2);
const COAT: Row<'_> = ("COAT", "fashion/coats", 12_900, 1);

#[test]
fn a_promotion_reduces_what_it_is_about_and_nothing_else() {
    let lamps = Target::Products(vec![Sku::parse("LAMP").unwrap()]);
    for (offer, expected) in [
        (promotion("a", Off::Percent(1_000), lamps.clone(), true), vec![vec![998], vec![]]),
        // Off each unit.
        (promotion("a", amount(500), lamps, true), vec![vec![1_000], vec![]]),
        (promotion("a", Off::Percent(5_000), below("fashion"), true), vec![vec![], vec![6_450]]),
        (promotion("a", Off::Percent(5_000), below("fash"), true), vec![vec![], vec![]]),
        (promotion("a", Off::Percent(1_000), Target::Basket, true), vec![vec![998], vec![1_290]]),
        // Once off the basket: 43.6 and 56.4 of a hundred.
        (promotion("a", amount(100), Target::Basket, true), vec![vec![44], vec![56]]),
    ] {
        assert_eq!(minors(&[LAMP, COAT], std::slice::from_ref(&offer)), expected, "{offer:?}");
    }
}

#[test]
fn one_that_stands_alone_is_followed_by_none_and_follows_none() {
    let gadgets = promotion("alone", Off::Percent(1_000), below("gadgets"), false);
    let basket = promotion("basket", amount(1_000), Target::Basket, true);
    let told = |cuts: Vec<Vec<(String, i64)>>| -> Vec<Vec<String>> {
        cuts.into_iter().map(|cuts| cuts.into_iter().map(|(id, _)| id).collect()).collect()
    };
    let first = cut(&[LAMP, COAT], &[gadgets.clone(), basket.clone()]);
    assert_eq!(told(first.clone()), [vec!["alone"], vec!["basket"]]);
    assert_eq!(first[1][0].1, 1_000, "the line that is left bears the whole amount");
    assert_eq!(told(cut(&[LAMP, COAT], &[basket, gadgets])), [vec!["basket"], vec!["basket"]]);
}

#[test]
fn one_after_the_other_reckons_on_what_is_left() {
    let half = || Off::Percent(5_000);
    let offers: Vec<_> = ["a", "b", "c", "d"].map(|id| promotion(id, half(), Target::Basket, true)).to_vec();
    assert_eq!(minors(&[("A", "a", 800, 1)], &offers), [[400, 200, 100]], "at most {MOST_ON_A_LINE} on a line");
    let many: Vec<_> = (0..12)
        .map(|n| {
            let only = Target::Products(vec![Sku::parse(&format!("S{n}")).unwrap()]);
            promotion(&format!("p{n}"), half(), only, true)
        })
        .collect();
    let skus: Vec<String> = (0..12).map(|n| format!("S{n}")).collect();
    let rows: Vec<Row<'_>> = skus.iter().map(|sku| (sku.as_str(), "a", 100, 1)).collect();
    let reduced = minors(&rows, &many).iter().filter(|cuts| !cuts.is_empty()).count();
    assert_eq!(reduced, MOST_IN_A_BASKET);
}

#[test]
fn nothing_is_given_away() {
    let rows = [("A", "a", 1, 1), ("B", "a", 2, 3), ("C", "a", 100, 1)];
    let everything = promotion("a", amount(99_999), Target::Basket, true);
    assert_eq!(minors(&rows, &[everything]), [vec![], vec![5], vec![99]]);
    let per_unit = promotion("a", amount(99_999), below("a"), true);
    assert_eq!(minors(&rows, &[per_unit]), [vec![], vec![5], vec![99]]);
    let dollars = Off::Amount(PriceList::new([Money::from_minor(100, Currency::Usd).unwrap()]).unwrap());
    assert_eq!(minors(&rows, &[promotion("a", dollars, Target::Basket, true)]), [[0; 0], [], []]);
}

proptest! {
    #[test]
    fn what_comes_off_is_what_was_meant_and_every_line_keeps_a_price(
        prices in prop::collection::vec((1_i64..2_000_000, 1_u32..=99), 1..50),
        hundredths in 1_u32..=9_999,
        minor in 1_i64..100_000_000,
        by_amount: bool,
        more in 0_usize..4,
    ) {
        let rows: Vec<Row<'_>> = prices.iter().map(|(minor, quantity)| ("A", "a", *minor, *quantity)).collect();
        let off = if by_amount { amount(minor) } else { Off::Percent(hundredths) };
        let first = minors(&rows, &[promotion("a", off.clone(), Target::Basket, true)]);
        let listed: Vec<i64> = prices.iter().map(|(minor, quantity)| minor * i64::from(*quantity)).collect();
        let sum: i64 = listed.iter().sum();
        let can_lose: i64 = listed.iter().map(|listed| listed - 1).sum();
        let wanted = if by_amount { minor } else { share_of(sum, hundredths) };
        prop_assert_eq!(first.iter().flatten().sum::<i64>(), wanted.min(can_lose));
        // Two lines that can lose the same lose the same, but for the last unit.
        for (one, other) in listed.iter().zip(&first).zip(listed.iter().zip(&first).skip(1)) {
            if one.0 == other.0 {
                let of = |cuts: &[i64]| cuts.first().copied().unwrap_or(0);
                prop_assert!((of(one.1) - of(other.1)).abs() <= 1);
            }
        }
        let offers: Vec<_> = (0..=more).map(|n| promotion(&format!("p{n}"), off.clone(), Target::Basket, true)).collect();
        for (listed, cuts) in listed.iter().zip(minors(&rows, &offers)) {
            prop_assert!(cuts.iter().all(|cut| *cut > 0));
            prop_assert!(cuts.iter().sum::<i64>() < *listed);
        }
    }
}
