//! The currencies this gateway takes. An amount here is always a whole number of the currency's minor unit, as on the wire.

/// An ISO 4217 code in lower case, one of [`Currency::KNOWN`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Currency(&'static str);

impl Currency {
    /// Wider than the shop's own list, so that an order in a wrong currency is found by reconciliation and not by luck.
    pub const KNOWN: [&'static str; 18] = [
        "aud", "bhd", "brl", "cad", "chf", "cny", "dkk", "eur", "gbp", "hkd", "inr", "jpy", "kwd", "nok", "nzd", "sek",
        "sgd", "usd",
    ];

    /// Reads a code in either case; `None` for a currency this gateway does not take.
    pub fn parse(text: &str) -> Option<Self> {
        Self::KNOWN.into_iter().find(|code| code.eq_ignore_ascii_case(text)).map(Self)
    }

    pub fn code(self) -> &'static str {
        self.0
    }
}
