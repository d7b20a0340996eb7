//! Refund arithmetic: as tables and as properties.

use common::{Currency, TaxClass};
use proptest::prelude::*;

use super::*;
use crate::domain::order::tests::an_order;
use crate::domain::tax::{LineTax, Parts};

fn an_order_of(lines: &[(i64, u32)]) -> Order {
    let line = |(index, (minor, quantity)): (usize, &(i64, u32))| PricedLine {
        reductions: Vec::new(),
        sku: Sku::parse(&format!("SKU-{index}")).unwrap(),
        unit_price: eur(*minor),
        quantity: *quantity,
        tax: None,
        ..an_order().lines[0].clone()
    };
    let lines: Vec<_> = lines.iter().enumerate().map(line).collect();
    let total = lines.iter().map(|line| line.unit_price.minor() * i64::from(line.quantity)).sum();
    Order { lines, total: eur(total), status: OrderStatus::Completed, ..an_order() }
}

fn eur(minor: i64) -> Money {
    Money::from_minor(minor, Currency::Eur).unwrap()
}

fn a_refund(order: &Order, number: u32, amount: Money, target: RefundTarget, lines: Vec<RefundLine>) -> Refund {
    Refund {
        id: RefundId::derive(order.id, &number.to_string()),
        order: order.id,
        number,
        attempt: (target == RefundTarget::Card).then_some(number + 1),
        amount,
        target,
        reason: "test".to_owned(),
        asked_by: None,
        state: RefundState::Open,
        lines,
        asked_at: DateTime::UNIX_EPOCH,
        ended_at: None,
    }
}

fn line(index: usize, quantity: u32) -> RefundLine {
    RefundLine { sku: Sku::parse(&format!("SKU-{index}")).unwrap(), quantity }
}

#[test]
fn what_may_go_back_follows_from_what_was_paid_and_what_went_before() {
    use RefundTarget::{Card, StoreCredit};
    /// What went before, what is wished and where to; what goes back.
    type Case<'a> = (&'a [Refund], Wish, Option<RefundTarget>, Result<i64, RefundProblem>);
    let order = an_order_of(&[(1000, 3), (499, 1)]);
    let half = a_refund(&order, 1, eur(2000), Card, vec![line(0, 2)]);
    let refused = Refund { state: RefundState::Refused, ..half.clone() };
    let table: [Case<'_>; 13] = [
        (&[], Wish::Rest, None, Ok(3499)),
        (&[], Wish::Amount(eur(3499)), None, Ok(3499)),
        (&[], Wish::Amount(eur(3500)), None, Err(RefundProblem::Exceeds)),
        (&[], Wish::Amount(eur(0)), None, Err(RefundProblem::Exceeds)),
        (&[], Wish::Lines(vec![line(0, 3), line(1, 1)]), None, Ok(3499)),
        (&[], Wish::Lines(vec![line(0, 4)]), None, Err(RefundProblem::LineExceeds(0))),
        (&[], Wish::Lines(vec![line(0, 1), line(7, 1)]), None, Err(RefundProblem::LineExceeds(1))),
        (std::slice::from_ref(&half), Wish::Rest, Some(StoreCredit), Ok(1499)),
        (std::slice::from_ref(&half), Wish::Amount(eur(1500)), Some(Card), Err(RefundProblem::Exceeds)),
        (std::slice::from_ref(&half), Wish::Lines(vec![line(0, 2)]), None, Err(RefundProblem::LineExceeds(0))),
        (std::slice::from_ref(&half), Wish::Lines(vec![line(0, 1)]), None, Ok(1000)),
        (std::slice::from_ref(&refused), Wish::Rest, None, Ok(3499)),
        (&[], Wish::Amount(Money::from_minor(1, Currency::Usd).unwrap()), None, Err(RefundProblem::OtherCurrency)),
    ];
    for (before, wish, target, expected) in table {
        let decided = decide(&order, before, &wish, target).map(|(amount, _)| amount.minor());
        assert_eq!(decided, expected, "{wish:?} after {before:?}");
    }
}

#[test]
fn a_line_gives_back_its_tax_too() {
    let mut order = an_order_of(&[(1000, 3)]);
    let tax = an_order().lines[0].tax.expect("orders are taxed");
    // 10 % on top, and a rounding that does not divide by three.
    let parts = Parts { net: eur(3000), tax: eur(301), gross: eur(3301) };
    order.lines[0].tax = Some(LineTax { parts, ..tax });
    order.total = eur(3301);
    let mut refunds: Vec<Refund> = Vec::new();
    for (number, expected) in [(1, 1100), (2, 1101), (3, 1100)] {
        let wish = Wish::Lines(vec![line(0, 1)]);
        let (amount, target) = decide(&order, &refunds, &wish, None).unwrap();
        assert_eq!(amount.minor(), expected);
        refunds.push(a_refund(&order, number, amount, target, vec![line(0, 1)]));
    }
}

#[test]
fn goods_are_owed_until_they_or_all_the_money_go_back() {
    let mut order = an_order_of(&[(1000, 2), (499, 1)]);
    let tax = an_order().lines[0].tax.expect("orders are taxed");
    order.lines[1].tax = Some(LineTax { class: TaxClass::Digital, ..tax });
    let back = |minor, lines| a_refund(&order, 1, eur(minor), RefundTarget::Card, lines);
    let refused = Refund { state: RefundState::Refused, ..back(2499, vec![]) };
    let table = [
        (vec![], true),
        (vec![back(2498, vec![])], true),
        (vec![back(2499, vec![])], false),
        (vec![back(1000, vec![line(0, 1)])], true),
        (vec![back(2000, vec![line(0, 2)])], false),
        (vec![back(1000, vec![line(0, 1)]), back(1000, vec![line(0, 1)])], false),
        (vec![back(499, vec![line(1, 1)])], true),
        (vec![refused], true),
    ];
    for (refunds, owed) in table {
        assert_eq!(owes_goods(&order, &refunds), owed, "{refunds:?}");
    }
    order.lines.remove(0);
    assert!(!owes_goods(&order, &[]), "a download has no parcel");
}

#[test]
fn only_a_completed_order_has_something_to_give_back() {
    for status in [OrderStatus::Created, OrderStatus::PaymentPending, OrderStatus::Compensated] {
        let order = Order { status, ..an_order_of(&[(1000, 1)]) };
        assert_eq!(decide(&order, &[], &Wish::Rest, None), Err(RefundProblem::NotPaid));
    }
}

#[test]
fn an_order_has_no_more_refunds_than_the_gateway_lists() {
    let order = an_order_of(&[(1000, 3)]);
    let many: Vec<_> = (1..=100).map(|number| a_refund(&order, number, eur(1), RefundTarget::Card, vec![])).collect();
    assert_eq!(decide(&order, &many, &Wish::Amount(eur(1)), None), Err(RefundProblem::TooMany));
}

#[test]
fn names_are_read_back() {
    for state in RefundState::ALL {
        assert_eq!(state.code().parse(), Ok(state));
    }
    for target in RefundTarget::ALL {
        assert_eq!(target.code().parse(), Ok(target));
    }
}

proptest! {
    /// Whatever is asked for in whatever order, refunds never exceed what was paid, and the rest can always go back.
    #[test]
    fn refunds_never_exceed_what_was_paid(
        lines in prop::collection::vec((1_i64..5_000, 1_u32..6), 1..4),
        wishes in prop::collection::vec((0_u8..3, 0_usize..4, 1_u32..4, 1_i64..9_000, any::<bool>(), any::<bool>()), 0..20),
    ) {
        let order = an_order_of(&lines);
        let mut refunds: Vec<Refund> = Vec::new();
        for (kind, index, quantity, minor, to_credit, refuse) in wishes {
            let wish = match kind {
                0 => Wish::Amount(eur(minor)),
                1 => Wish::Lines(vec![line(index, quantity)]),
                _ => Wish::Amount(eur(minor / 7 + 1)),
            };
            let target = to_credit.then_some(RefundTarget::StoreCredit);
            if let Ok((amount, target)) = decide(&order, &refunds, &wish, target) {
                let lines = if let Wish::Lines(lines) = &wish { lines.clone() } else { vec![] };
                let number = u32::try_from(refunds.len()).unwrap() + 1;
                let state = if refuse { RefundState::Refused } else { RefundState::Done };
                refunds.push(a_refund(&order, number, amount, target, lines).ended(state, DateTime::UNIX_EPOCH));
            }
            let standing: i64 = refunds.iter().filter(|refund| refund.state != RefundState::Refused).map(|refund| refund.amount.minor()).sum();
            prop_assert!(standing <= order.total.minor());
            prop_assert_eq!(is_whole(&order, &refunds), standing == order.total.minor());
            let rest = decide(&order, &refunds, &Wish::Rest, None);
            prop_assert_eq!(rest.map(|(amount, _)| amount.minor()).unwrap_or(0), order.total.minor() - standing);
        }
    }

    /// A line given back unit by unit gives back what it cost, whatever the price of a unit is.
    #[test]
    fn the_parts_of_a_line_add_up_to_the_line(minor in 1_i64..100_000, quantity in 1_u32..99, cuts in prop::collection::vec(1_u32..99, 1..9)) {
        let order = an_order_of(&[(minor, quantity)]);
        let (mut refunds, mut left) = (Vec::new(), quantity);
        for cut in cuts.into_iter().chain([99]) {
            let units = cut.min(left);
            if units == 0 {
                break;
            }
            let lines = vec![line(0, units)];
            let (amount, target) = decide(&order, &refunds, &Wish::Lines(lines.clone()), None).unwrap();
            let number = u32::try_from(refunds.len()).unwrap() + 1;
            refunds.push(a_refund(&order, number, amount, target, lines));
            left -= units;
        }
        let back: i64 = refunds.iter().map(|refund| refund.amount.minor()).sum();
        prop_assert_eq!((left, back), (0, order.total.minor()));
    }
}
