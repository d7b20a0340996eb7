//! What a product costs: exact amounts, each for all regions of its currency or for one, always or for a time. Decided here:
//! that a price is above zero, and which one is in force. Not decided here: which currency a shopper sees, since the region
//! fixes it, and what a price was before (`trail`).
//!
//! In force is, of the prices that are valid at that moment: one for this region before one for all, then the one that began
//! last. So a sale is written on top of the usual price and gives way to it by itself when it ends.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use common::{Currency, Money, MoneyError, Region};

use super::assortment::Window;

/// One price with where and when it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// `None`: in every region of the currency.
    pub region: Option<Region>,
    pub amount: Money,
    pub valid: Window,
}

impl Price {
    /// Everywhere and always: the usual price.
    pub fn usual(amount: Money) -> Self {
        Self { region: None, amount, valid: Window::ALWAYS }
    }

    /// For a time only: what a shop announces as a reduction.
    pub fn is_temporary(&self) -> bool {
        self.valid.until().is_some()
    }

    fn is_usual(&self) -> bool {
        self.region.is_none() && self.valid == Window::ALWAYS
    }

    fn concerns(&self, region: Region) -> bool {
        self.amount.currency() == region.currency() && self.region.is_none_or(|own| own == region)
    }
}

/// The prices of one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList(Vec<Price>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error(transparent)]
    Amount(#[from] MoneyError),
    #[error("a price is greater than zero")]
    NotPositive,
    #[error("a currency has one usual price")]
    Twice(Currency),
    #[error("two prices of one currency and region begin at the same moment")]
    SameMoment(Currency),
    #[error("a region has prices in its own currency")]
    OtherCurrency(Currency),
    #[error("a product has at most 60 prices")]
    TooMany,
}

impl PriceList {
    /// Prices of one product: a year of weekly sales fits, and so each look at the list is short.
    pub const MOST: usize = 60;

    /// Usual prices, one for each currency.
    ///
    /// # Errors
    /// [`PriceError::NotPositive`] for zero and below, [`PriceError::Twice`] for a currency named again.
    pub fn new(prices: impl IntoIterator<Item = Money>) -> Result<Self, PriceError> {
        Self::of(prices.into_iter().map(Price::usual))
    }

    /// Prices in an order that depends on nothing but themselves, so that equal lists compare equal.
    ///
    /// # Errors
    /// As [`PriceList::new`], and when it cannot be said which of two prices is in force.
    pub fn of(prices: impl IntoIterator<Item = Price>) -> Result<Self, PriceError> {
        let mut list: Vec<Price> = Vec::new();
        let mut begun = HashSet::new();
        for price in prices {
            let currency = price.amount.currency();
            if list.len() == Self::MOST {
                return Err(PriceError::TooMany);
            }
            if price.amount.is_zero() || price.amount.is_negative() {
                return Err(PriceError::NotPositive);
            }
            if price.region.is_some_and(|region| region.currency() != currency) {
                return Err(PriceError::OtherCurrency(currency));
            }
            if !begun.insert((currency.code(), price.region, price.valid.from())) {
                let usual = price.is_usual();
                return Err(if usual { PriceError::Twice(currency) } else { PriceError::SameMoment(currency) });
            }
            list.push(price);
        }
        list.sort_by_key(|price| (price.amount.currency().code(), price.region, price.valid));
        Ok(Self(list))
    }

    /// One amount from text, for example `("EUR", "49.90")`.
    ///
    /// # Errors
    /// As [`PriceList::new`], and for an unknown currency or an amount it cannot hold.
    pub fn parse_one(currency: &str, amount: &str) -> Result<Money, PriceError> {
        let price = Money::parse(amount, currency.parse()?)?;
        if price.is_zero() || price.is_negative() { Err(PriceError::NotPositive) } else { Ok(price) }
    }

    /// The price that is in force in `region` at that moment; `None`: there is none.
    pub fn at(&self, region: Region, at: DateTime<Utc>) -> Option<Price> {
        let valid = self.0.iter().filter(|price| price.concerns(region) && price.valid.contains(at));
        valid.max_by_key(|price| (price.region.is_some(), price.valid.from())).copied()
    }

    /// The moments at which another price may come into force in `region`.
    pub fn turns(&self, region: Region) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        self.0.iter().filter(move |price| price.concerns(region)).flat_map(|price| price.valid.turns())
    }

    /// What is in force in `region` and when, one after the other and never two at once.
    pub fn timeline(&self, region: Region) -> Vec<Price> {
        let mut turns: Vec<_> = self.turns(region).collect();
        turns.sort_unstable();
        turns.dedup();
        // Before the first turn holds what holds a moment before it; without turns any moment will do.
        let begin = turns.first().map_or(DateTime::<Utc>::UNIX_EPOCH, |first| *first - TimeDelta::milliseconds(1));
        let moments = std::iter::once((None, begin)).chain(turns.iter().map(|turn| (Some(*turn), *turn)));
        let ends = turns.iter().copied().map(Some).chain([None]);
        let mut timeline: Vec<Price> = Vec::new();
        for ((from, at), until) in moments.zip(ends) {
            let Some(amount) = self.at(region, at).map(|price| price.amount) else { continue };
            let from = match timeline.pop_if(|last| last.amount == amount && last.valid.until() == from) {
                Some(last) => last.valid.from(),
                None => from,
            };
            if let Ok(valid) = Window::new(from, until) {
                timeline.push(Price { region: None, amount, valid });
            }
        }
        timeline
    }

    /// The usual prices, by currency.
    pub fn usual(&self) -> impl Iterator<Item = Money> + '_ {
        self.0.iter().filter(|price| price.is_usual()).map(|price| price.amount)
    }

    /// The usual price in one currency.
    pub fn usual_in(&self, currency: Currency) -> Option<Money> {
        self.usual().find(|price| price.currency() == currency)
    }

    /// All others: those for one region or for a time.
    pub fn special(&self) -> impl Iterator<Item = Price> + '_ {
        self.0.iter().filter(|price| !price.is_usual()).copied()
    }

    pub fn iter(&self) -> impl Iterator<Item = Price> + '_ {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    fn euro(minor: i64) -> Money {
        Money::from_minor(minor, Currency::Eur).unwrap()
    }

    fn price(region: Option<Region>, minor: i64, from: Option<i64>, until: Option<i64>) -> Price {
        Price { region, amount: euro(minor), valid: Window::new(from.map(at), until.map(at)).unwrap() }
    }

    #[test]
    fn a_price_is_exact_positive_and_of_a_known_currency() {
        let table = [
            ("EUR", "49.90", Ok(4990)),
            ("JPY", "100", Ok(100)),
            ("EUR", "0", Err(PriceError::NotPositive)),
            ("EUR", "0.00", Err(PriceError::NotPositive)),
            ("EUR", "-1", Err(PriceError::NotPositive)),
            ("EUR", "1e-9", Err(PriceError::Amount(MoneyError::NotANumber))),
            ("EUR", "0.000000001", Err(PriceError::Amount(MoneyError::TooPrecise(Currency::Eur, 2)))),
            ("EUR", "99999999.995", Err(PriceError::Amount(MoneyError::OutOfRange))),
            ("EURO", "1", Err(PriceError::Amount(MoneyError::UnknownCurrency))),
            ("JPY", "1.5", Err(PriceError::Amount(MoneyError::TooPrecise(Currency::Jpy, 0)))),
        ];
        for (currency, amount, expected) in table {
            assert_eq!(PriceList::parse_one(currency, amount).map(Money::minor), expected, "{amount} {currency}");
        }
    }

    #[test]
    fn a_currency_has_one_usual_price() {
        let dollar = Money::from_minor(2, Currency::Usd).unwrap();
        assert_eq!(PriceList::new([euro(1), dollar, euro(1)]), Err(PriceError::Twice(Currency::Eur)));
        assert_eq!(PriceList::new([dollar, euro(1)]), PriceList::new([euro(1), dollar]));
        let list = PriceList::new([euro(1), dollar]).unwrap();
        assert_eq!(list.at(Region::Us, at(0)).map(|price| price.amount), Some(dollar));
        assert_eq!((list.usual_in(Currency::Usd), list.usual_in(Currency::Jpy)), (Some(dollar), None));
        assert_eq!(PriceList::new([euro(1)]).unwrap().at(Region::Us, at(0)), None);
    }

    #[test]
    fn the_price_that_began_last_is_in_force_and_one_for_the_region_comes_first() {
        let list = PriceList::of([
            price(None, 100, None, None),
            price(None, 80, Some(10), Some(20)),
            price(None, 70, Some(15), Some(18)),
            price(Some(Region::Eu), 90, Some(30), Some(40)),
            price(None, 60, Some(35), None),
        ])
        .unwrap();
        for (second, minor) in [(0, 100), (10, 80), (15, 70), (18, 80), (20, 100), (30, 90), (36, 90), (40, 60)] {
            assert_eq!(list.at(Region::Eu, at(second)).map(|price| price.amount.minor()), Some(minor), "at {second}");
        }
        let timeline = PriceList::of(list.timeline(Region::Eu)).unwrap();
        for second in 0..50 {
            let amount = |list: &PriceList| list.at(Region::Eu, at(second)).map(|price| price.amount);
            assert_eq!(amount(&timeline), amount(&list), "at {second}");
        }
        assert_eq!(
            timeline.iter().map(|price| price.amount.minor()).collect::<Vec<_>>(),
            [100, 80, 70, 80, 100, 90, 60]
        );
        assert_eq!(list.usual().count(), 1);
        assert_eq!(list.special().count(), 4);
        assert_eq!(list.turns(Region::Eu).count(), 7);
    }

    #[test]
    fn prices_that_leave_open_which_is_in_force_are_refused() {
        let same = [price(None, 80, Some(10), Some(20)), price(None, 70, Some(10), Some(30))];
        assert_eq!(PriceList::of(same), Err(PriceError::SameMoment(Currency::Eur)));
        let elsewhere = Price { region: Some(Region::Us), ..price(None, 80, None, None) };
        assert_eq!(PriceList::of([elsewhere]), Err(PriceError::OtherCurrency(Currency::Eur)));
        let many = (0..61).map(|second| price(None, 80, Some(second), None));
        assert_eq!(PriceList::of(many), Err(PriceError::TooMany));
    }
}
