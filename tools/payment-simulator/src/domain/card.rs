//! Card tokens and why a bank says no. A token is a reference; this gateway never sees a card number.

/// A payment method token that has the shape of one: `pm_` or `tok_` and 2 to 64 letters, digits or underscores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card(String);

impl Card {
    /// `None` for a text that is no token; a card number never is one.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("tok_").or_else(|| text.strip_prefix("pm_"))?;
        let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        ((2..=64).contains(&rest.len()) && rest.bytes().all(known)).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why the bank refused. The intent stays open: another card may be tried, or the intent cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decline {
    Generic,
    InsufficientFunds,
}

impl Decline {
    pub const ALL: [Self; 2] = [Self::Generic, Self::InsufficientFunds];

    pub fn code(self) -> &'static str {
        match self {
            Self::Generic => "generic_decline",
            Self::InsufficientFunds => "insufficient_funds",
        }
    }

    pub fn message(self) -> &'static str {
        match self {
            Self::Generic => "Your card was declined.",
            Self::InsufficientFunds => "Your card has insufficient funds.",
        }
    }
}
