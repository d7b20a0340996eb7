//! From the catalog's prices to the total of an order: list price, less reductions, with its tax. Exact arithmetic in minor units; what
//! does not fit is refused, never wrapped. The total is the sum of the lines, always.

use common::{Currency, Money, Region, Sku, TaxClass, TaxPlace, TaxRate};

use super::coupon::{Reduction, reduced_by};
use super::tax::{LineTax, OrderTax, Parts, TaxRules, assess};

/// One line with its price, frozen in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricedLine {
    pub sku: Sku,
    pub name: String,
    pub quantity: u32,
    pub unit_price: Money,
    /// What the shopper chose for a made-to-order product, by key.
    pub options: Vec<(String, String)>,
    /// The catalog's revision that the price comes from; the product page shows the same number.
    pub revision: Option<i64>,
    /// What promotions took off the whole line; its tax is that of what is left.
    pub reductions: Vec<Reduction>,
    /// `None` for orders from before tax was reckoned.
    pub tax: Option<LineTax>,
}

impl PricedLine {
    /// Goes into a parcel. What is taxed as digital is downloaded or used, and is all that is; without a tax nothing says so.
    pub fn is_goods(&self) -> bool {
        self.tax.is_none_or(|tax| tax.class != TaxClass::Digital)
    }
}

/// A line at its list price, before tax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedLine {
    pub sku: Sku,
    pub name: String,
    pub quantity: u32,
    pub unit_price: Money,
    pub options: Vec<(String, String)>,
    pub revision: i64,
    pub class: TaxClass,
    pub rate: TaxRate,
    pub reductions: Vec<Reduction>,
}

/// What an order costs, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Priced {
    pub lines: Vec<PricedLine>,
    pub tax: OrderTax,
}

impl Priced {
    /// What is charged.
    pub fn total(&self) -> Money {
        self.tax.parts.gross
    }
}

/// The largest charge card gateways take: eight digits of minor units. It lies below what an order can hold.
pub const LARGEST_CHARGE_MINOR: i64 = 99_999_999;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuoteProblem {
    #[error("the total is higher than one payment can be")]
    TooMuch,
    #[error("a price is not a positive amount of {0}")]
    CrookedPrice(Currency),
    #[error("a reduction is not a positive amount of {0}, or leaves nothing to pay")]
    CrookedReduction(Currency),
}

/// The lines with their tax at `place`, and the sum over all of them.
///
/// # Errors
/// [`QuoteProblem`]; a price of another currency or of zero is a fault of the catalog, not of the shopper.
pub fn price(lines: Vec<ListedLine>, place: TaxPlace, region: Region) -> Result<Priced, QuoteProblem> {
    let rules = TaxRules::of(region);
    let mut listed = Vec::with_capacity(lines.len());
    for line in &lines {
        let amount = list_amount(line.unit_price, line.quantity, region.currency())?;
        listed.push((reduced(amount, &line.reductions)?, line.rate));
    }
    let assessed = assess(&listed, rules).map_err(|_| QuoteProblem::TooMuch)?;
    let zero = Money::zero(region.currency());
    let mut whole = Parts { net: zero, tax: zero, gross: zero };
    for parts in &assessed {
        whole = whole.plus(*parts).map_err(|_| QuoteProblem::TooMuch)?;
    }
    if whole.gross.minor() > LARGEST_CHARGE_MINOR {
        return Err(QuoteProblem::TooMuch);
    }
    let lines = lines.into_iter().zip(assessed).map(|(line, parts)| taxed(line, parts)).collect();
    Ok(Priced { lines, tax: OrderTax { place, prices: rules.prices, parts: whole } })
}

/// The list price of all units of a line.
///
/// # Errors
/// As [`price`].
pub fn list_amount(unit_price: Money, quantity: u32, currency: Currency) -> Result<Money, QuoteProblem> {
    if unit_price.currency() != currency || unit_price.minor() < 1 {
        return Err(QuoteProblem::CrookedPrice(currency));
    }
    unit_price.times(quantity).map_err(|_| QuoteProblem::TooMuch)
}

/// What is left of the list price of a line; the smallest unit at least.
///
/// # Errors
/// [`QuoteProblem::CrookedReduction`]: a fault of the catalog, not of the shopper.
pub fn reduced(listed: Money, reductions: &[Reduction]) -> Result<Money, QuoteProblem> {
    let currency = listed.currency();
    let left = reduced_by(reductions, currency).and_then(|off| listed.checked_sub(off).ok());
    left.filter(|left| left.minor() > 0).ok_or(QuoteProblem::CrookedReduction(currency))
}

fn taxed(line: ListedLine, parts: Parts) -> PricedLine {
    let ListedLine { sku, name, quantity, unit_price, options, revision, class, rate, reductions } = line;
    PricedLine {
        sku,
        name,
        quantity,
        unit_price,
        options,
        revision: Some(revision),
        reductions,
        tax: Some(LineTax { class, rate, parts }),
    }
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line of a gadget for a German address.
    pub fn listed(sku: &str, minor: i64, quantity: u32) -> ListedLine {
        let class = TaxClass::Standard;
        ListedLine {
            sku: Sku::parse(sku).unwrap(),
            name: String::new(),
            quantity,
            unit_price: Money::from_minor(minor, Currency::Eur).unwrap(),
            options: Vec::new(),
            revision: 1,
            class,
            rate: frankfurt().rate(class),
            reductions: Vec::new(),
        }
    }

    pub fn off(minor: i64, currency: Currency) -> Reduction {
        Reduction { promotion: "autumn".to_owned(), revision: 3, amount: Money::from_minor(minor, currency).unwrap() }
    }

    pub fn frankfurt() -> TaxPlace {
        Region::Eu.tax_place_named("DE").unwrap()
    }

    fn total(lines: Vec<ListedLine>) -> Result<i64, QuoteProblem> {
        price(lines, frankfurt(), Region::Eu).map(|priced| priced.total().minor())
    }

    #[test]
    fn totals_that_do_not_fit_are_refused() {
        let table = [
            (vec![listed("A-1", 4990, 2), listed("B-1", 1, 1)], Ok(9981)),
            (vec![listed("A-1", 99_999_999, 1)], Ok(99_999_999)),
            (vec![listed("A-1", 99_999_999, 1), listed("B-1", 1, 1)], Err(QuoteProblem::TooMuch)),
            (vec![listed("A-1", 9_999_999_999, 99)], Err(QuoteProblem::TooMuch)),
            (vec![listed("A-1", 0, 1)], Err(QuoteProblem::CrookedPrice(Currency::Eur))),
            (vec![listed("A-1", -5, 1)], Err(QuoteProblem::CrookedPrice(Currency::Eur))),
        ];
        for (lines, expected) in table {
            assert_eq!(total(lines), expected);
        }
        let virginia = Region::Us.tax_place_named("US-VA").unwrap();
        let euro = price(vec![listed("A-1", 5, 1)], virginia, Region::Us);
        assert_eq!(euro, Err(QuoteProblem::CrookedPrice(Currency::Usd)));
    }

    #[test]
    fn tax_is_that_of_what_is_left_and_nothing_is_given_away() {
        let line = |off: Vec<Reduction>| ListedLine { reductions: off, ..listed("A-1", 11_900, 2) };
        let euro = |minor| off(minor, Currency::Eur);
        let parts = price(vec![line(vec![euro(10_000), euro(1_900)])], frankfurt(), Region::Eu).unwrap().tax.parts;
        assert_eq!((parts.net.minor(), parts.tax.minor(), parts.gross.minor()), (10_000, 1_900, 11_900));
        let crooked = Err(QuoteProblem::CrookedReduction(Currency::Eur));
        assert_eq!(total(vec![line(vec![euro(23_799)])]), Ok(1));
        for reductions in [
            vec![euro(23_800)],
            vec![euro(23_000), euro(801)],
            vec![euro(0)],
            vec![euro(-1)],
            vec![off(1, Currency::Usd)],
        ] {
            assert_eq!(total(vec![line(reductions)]), crooked);
        }
    }

    #[test]
    fn tax_is_in_the_price_or_comes_on_top_as_the_region_has_it() {
        let inclusive = price(vec![listed("A-1", 11_900, 1)], frankfurt(), Region::Eu).unwrap().tax.parts;
        assert_eq!((inclusive.net.minor(), inclusive.tax.minor(), inclusive.gross.minor()), (10_000, 1_900, 11_900));
        let virginia = Region::Us.tax_place_named("US-VA").unwrap();
        let dollars = Money::from_minor(9_999, Currency::Usd).unwrap();
        let line = ListedLine { unit_price: dollars, rate: virginia.rate(TaxClass::Standard), ..listed("A-1", 1, 1) };
        let exclusive = price(vec![line], virginia, Region::Us).unwrap().tax.parts;
        assert_eq!((exclusive.net.minor(), exclusive.tax.minor(), exclusive.gross.minor()), (9_999, 530, 10_529));
    }

    proptest! {
        #[test]
        fn the_sum_of_the_lines_is_the_total_or_a_refusal(
            lines in prop::collection::vec((1_i64..9_999_999_999, 1_u32..=99, 0_u32..=1_000_000, 0_i64..=1_000), 1..50),
            region in prop::sample::select(Region::ALL),
            small: bool,
        ) {
            let place = region.tax_places().next().unwrap();
            let line = |(minor, quantity, rate, share): (i64, u32, u32, i64)| {
                // Half of the baskets fit into one payment.
                let minor = if small { minor % 10_000 + 1 } else { minor };
                // Up to all but the last unit, in one or two reductions.
                let most = (minor * i64::from(quantity) - 1).min(9_000_000_000) * share / 1_000;
                let reductions = [most / 3, most - most / 3].into_iter().filter(|minor| *minor > 0);
                ListedLine {
                    unit_price: Money::from_minor(minor, region.currency()).unwrap(),
                    rate: TaxRate::new(rate).unwrap(),
                    reductions: reductions.map(|minor| off(minor, region.currency())).collect(),
                    ..listed("A-1", 1, quantity)
                }
            };
            let lines: Vec<_> = lines.into_iter().map(line).collect();
            let off = |line: &ListedLine| line.reductions.iter().map(|off| i128::from(off.amount.minor())).sum::<i128>();
            let exact: i128 = lines
                .iter()
                .map(|line| i128::from(line.unit_price.minor()) * i128::from(line.quantity) - off(line))
                .sum();
            match price(lines.clone(), place, region) {
                Ok(priced) => {
                    let parts: Vec<Parts> = priced.lines.iter().map(|line| line.tax.unwrap().parts).collect();
                    let sum = |part: fn(&Parts) -> Money| parts.iter().map(|parts| i128::from(part(parts).minor())).sum::<i128>();
                    let whole = priced.tax.parts;
                    prop_assert_eq!(sum(|parts| parts.net), i128::from(whole.net.minor()));
                    prop_assert_eq!(sum(|parts| parts.tax), i128::from(whole.tax.minor()));
                    prop_assert_eq!(sum(|parts| parts.gross), i128::from(priced.total().minor()));
                    prop_assert_eq!(whole.net.checked_add(whole.tax), Ok(whole.gross));
                    let shown = if priced.tax.prices == common::Prices::Inclusive { whole.gross } else { whole.net };
                    prop_assert_eq!(i128::from(shown.minor()), exact);
                }
                Err(problem) => {
                    prop_assert_eq!(problem, QuoteProblem::TooMuch);
                    // The sum is too large for a payment, or a list price for an order.
                    let listed = |line: &ListedLine| line.unit_price.minor() * i64::from(line.quantity);
                    let largest = lines.iter().map(listed).max().unwrap_or(0);
                    prop_assert!(exact * 2 > i128::from(LARGEST_CHARGE_MINOR) || largest > 9_999_999_999);
                }
            }
        }
    }
}
