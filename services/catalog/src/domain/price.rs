//! What a product costs: one exact amount per currency. Decided here: that a price is above zero and that no currency has
//! two of them. Not decided here: which currency a shopper sees, since the region fixes it.

use common::{Currency, Money, MoneyError};

/// List prices of one product, one per currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceList(Vec<Money>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    #[error(transparent)]
    Amount(#[from] MoneyError),
    #[error("a price is greater than zero")]
    NotPositive,
    #[error("a currency has one price")]
    Twice(Currency),
}

impl PriceList {
    /// Prices in the order of their currency code, so that equal lists compare equal.
    ///
    /// # Errors
    /// [`PriceError::NotPositive`] for zero and below, [`PriceError::Twice`] for a currency named again.
    pub fn new(prices: impl IntoIterator<Item = Money>) -> Result<Self, PriceError> {
        let mut list: Vec<Money> = Vec::new();
        for price in prices {
            if price.is_zero() || price.is_negative() {
                return Err(PriceError::NotPositive);
            }
            if list.iter().any(|known| known.currency() == price.currency()) {
                return Err(PriceError::Twice(price.currency()));
            }
            list.push(price);
        }
        list.sort_by_key(|price| price.currency().code());
        Ok(Self(list))
    }

    /// One price from text, for example `("EUR", "49.90")`.
    ///
    /// # Errors
    /// As [`PriceList::new`], and for an unknown currency or an amount it cannot hold.
    pub fn parse_one(currency: &str, amount: &str) -> Result<Money, PriceError> {
        let price = Money::parse(amount, currency.parse()?)?;
        if price.is_zero() || price.is_negative() { Err(PriceError::NotPositive) } else { Ok(price) }
    }

    pub fn in_currency(&self, currency: Currency) -> Option<Money> {
        self.0.iter().copied().find(|price| price.currency() == currency)
    }

    pub fn iter(&self) -> impl Iterator<Item = Money> + '_ {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_currency_has_one_price() {
        let euro = Money::from_minor(1, Currency::Eur).unwrap();
        let dollar = Money::from_minor(2, Currency::Usd).unwrap();
        assert_eq!(PriceList::new([euro, dollar, euro]), Err(PriceError::Twice(Currency::Eur)));
        assert_eq!(PriceList::new([dollar, euro]), PriceList::new([euro, dollar]));
        assert_eq!(PriceList::new([euro, dollar]).unwrap().in_currency(Currency::Usd), Some(dollar));
        assert_eq!(PriceList::new([euro]).unwrap().in_currency(Currency::Usd), None);
    }
}
