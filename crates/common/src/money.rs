//! Money: an amount that always travels with its currency. Decided here: how many digits an amount may have, and that
//! amounts of two currencies never meet. Nothing here rounds and nothing passes through a float.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

/// A currency we can charge (ISO 4217).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Currency {
    Eur,
    Usd,
    Sgd,
    /// No minor unit.
    Jpy,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("unknown currency")]
    UnknownCurrency,
    #[error("{0} amounts have at most {1} digits after the point")]
    TooPrecise(Currency, u32),
    #[error("an amount must lie between -99999999.99 and 99999999.99")]
    OutOfRange,
    #[error("{0} and {1} cannot be combined")]
    CurrencyMismatch(Currency, Currency),
    #[error("not a decimal number")]
    NotANumber,
}

impl Currency {
    pub const ALL: &'static [Currency] = &[Self::Eur, Self::Usd, Self::Sgd, Self::Jpy];

    /// Three upper-case letters.
    pub fn code(self) -> &'static str {
        match self {
            Self::Eur => "EUR",
            Self::Usd => "USD",
            Self::Sgd => "SGD",
            Self::Jpy => "JPY",
        }
    }

    /// Digits of the minor unit.
    pub fn exponent(self) -> u32 {
        match self {
            Self::Eur | Self::Usd | Self::Sgd => 2,
            Self::Jpy => 0,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.code())
    }
}

impl FromStr for Currency {
    type Err = MoneyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.iter().copied().find(|currency| currency.code() == text).ok_or(MoneyError::UnknownCurrency)
    }
}

/// An exact amount of one currency, within the range of `NUMERIC(10,2)`; may be negative (a refund, a credit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl Money {
    /// Largest absolute amount in units of the currency: what `NUMERIC(10,2)` can hold.
    pub const LIMIT: Decimal = Decimal::from_parts(1_410_065_407, 2, 0, false, 2);

    /// # Errors
    /// [`MoneyError::TooPrecise`] when `amount` has more digits than the currency (1.000 EUR is fine, 1.001 is not),
    /// [`MoneyError::OutOfRange`] beyond [`Money::LIMIT`].
    pub fn new(amount: Decimal, currency: Currency) -> Result<Self, MoneyError> {
        if amount.abs() > Self::LIMIT {
            return Err(MoneyError::OutOfRange);
        }
        let shifted = amount * Decimal::from(10_i64.pow(currency.exponent()));
        if shifted.fract() != Decimal::ZERO {
            return Err(MoneyError::TooPrecise(currency, currency.exponent()));
        }
        let minor = i64::try_from(shifted.trunc()).map_err(|_| MoneyError::OutOfRange)?;
        Ok(Self { minor, currency })
    }

    /// Parses plain decimal notation such as `49.90`; no exponent, no sign but `-`, no spaces.
    ///
    /// # Errors
    /// [`MoneyError::NotANumber`] for another notation, else as [`Money::new`].
    pub fn parse(amount: &str, currency: Currency) -> Result<Self, MoneyError> {
        let digits = amount.strip_prefix('-').unwrap_or(amount);
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
            && digits.bytes().any(|byte| byte.is_ascii_digit());
        if !plain || amount.len() > 32 {
            return Err(MoneyError::NotANumber);
        }
        Self::new(Decimal::from_str_exact(amount).map_err(|_| MoneyError::NotANumber)?, currency)
    }

    /// # Errors
    /// [`MoneyError::OutOfRange`] beyond [`Money::LIMIT`].
    pub fn from_minor(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        let money = Self { minor, currency };
        if money.amount().abs() > Self::LIMIT { Err(MoneyError::OutOfRange) } else { Ok(money) }
    }

    pub fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }

    /// The amount in minor units, for example cents.
    pub fn minor(self) -> i64 {
        self.minor
    }

    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The amount with exactly as many digits as the currency has.
    pub fn amount(self) -> Decimal {
        Decimal::new(self.minor, self.currency.exponent())
    }

    pub fn is_negative(self) -> bool {
        self.minor < 0
    }

    pub fn is_zero(self) -> bool {
        self.minor == 0
    }

    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], or [`MoneyError::OutOfRange`] for the sum.
    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        Self::from_minor(self.minor.checked_add(other.minor).ok_or(MoneyError::OutOfRange)?, self.currency)
    }

    /// # Errors
    /// [`MoneyError::CurrencyMismatch`], or [`MoneyError::OutOfRange`] for the difference.
    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        Self::from_minor(self.minor.checked_sub(other.minor).ok_or(MoneyError::OutOfRange)?, self.currency)
    }

    /// # Errors
    /// [`MoneyError::OutOfRange`] for the product.
    pub fn times(self, quantity: u32) -> Result<Self, MoneyError> {
        Self::from_minor(self.minor.checked_mul(i64::from(quantity)).ok_or(MoneyError::OutOfRange)?, self.currency)
    }

    /// The amount as text with all its digits: `49.90`.
    pub fn amount_string(self) -> String {
        self.amount().to_string()
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch(self.currency, other.currency))
        }
    }
}

impl fmt::Display for Money {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.amount(), self.currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_amount_keeps_to_the_digits_of_its_currency() {
        let table = [
            ("49.90", Currency::Eur, Ok(4990)),
            ("49.9", Currency::Eur, Ok(4990)),
            ("49.900", Currency::Eur, Ok(4990)),
            ("49.901", Currency::Eur, Err(MoneyError::TooPrecise(Currency::Eur, 2))),
            ("100", Currency::Jpy, Ok(100)),
            ("100.5", Currency::Jpy, Err(MoneyError::TooPrecise(Currency::Jpy, 0))),
            ("99999999.99", Currency::Usd, Ok(9_999_999_999)),
            ("100000000.00", Currency::Usd, Err(MoneyError::OutOfRange)),
            ("-99999999.99", Currency::Usd, Ok(-9_999_999_999)),
            ("1e3", Currency::Eur, Err(MoneyError::NotANumber)),
            ("", Currency::Eur, Err(MoneyError::NotANumber)),
            (".", Currency::Eur, Err(MoneyError::NotANumber)),
            ("+1", Currency::Eur, Err(MoneyError::NotANumber)),
            ("NaN", Currency::Eur, Err(MoneyError::NotANumber)),
            ("1 0", Currency::Eur, Err(MoneyError::NotANumber)),
        ];
        for (text, currency, expected) in table {
            assert_eq!(Money::parse(text, currency).map(Money::minor), expected, "{text}");
        }
    }

    #[test]
    fn currencies_do_not_mix() {
        let euro = Money::from_minor(100, Currency::Eur).unwrap();
        let dollar = Money::from_minor(100, Currency::Usd).unwrap();
        assert_eq!(euro.checked_add(dollar), Err(MoneyError::CurrencyMismatch(Currency::Eur, Currency::Usd)));
        assert_eq!("EURO".parse::<Currency>(), Err(MoneyError::UnknownCurrency));
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same_amount(minor in -9_999_999_999_i64..=9_999_999_999) {
            for currency in [Currency::Eur, Currency::Usd, Currency::Sgd] {
                let money = Money::from_minor(minor, currency).unwrap();
                prop_assert_eq!(Money::parse(&money.amount_string(), currency), Ok(money));
            }
        }

        #[test]
        fn what_is_added_can_be_taken_away(a in -4_000_000_000_i64..4_000_000_000, b in -4_000_000_000_i64..4_000_000_000) {
            let (a, b) = (Money::from_minor(a, Currency::Eur).unwrap(), Money::from_minor(b, Currency::Eur).unwrap());
            prop_assert_eq!(a.checked_add(b).unwrap().checked_sub(b), Ok(a));
        }

        #[test]
        fn a_product_never_wraps(minor in 0_i64..=9_999_999_999, quantity in 0_u32..) {
            let product = Money::from_minor(minor, Currency::Eur).unwrap().times(quantity);
            let exact = i128::from(minor) * i128::from(quantity);
            prop_assert_eq!(product.is_ok(), exact <= 9_999_999_999);
        }
    }
}
