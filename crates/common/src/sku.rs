//! The key of a product. Decided here: which texts are SKUs, so that none can reach a database, a cache key or a URL unescaped.

use std::fmt;
use std::str::FromStr;

/// 1 to 64 characters of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sku(String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a SKU has 1 to 64 letters, digits, dots, underscores or hyphens and begins with a letter or digit")]
pub struct InvalidSku;

impl Sku {
    pub const MAX_LENGTH: usize = 64;

    /// # Errors
    /// [`InvalidSku`] when `text` has another shape.
    pub fn parse(text: &str) -> Result<Self, InvalidSku> {
        if Self::fits(text) { Ok(Self(text.to_owned())) } else { Err(InvalidSku) }
    }

    /// Whether [`Self::parse`] takes `text`, for those who pass a million of them on and keep none.
    pub fn fits(text: &str) -> bool {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        begins_well && text.len() <= Self::MAX_LENGTH && text.bytes().all(known)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for Sku {
    type Err = InvalidSku;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_texts_are_not_skus() {
        for text in ["", "../etc", "%2e%2e", "a b", "$where", "{\"$gt\":\"\"}", "ä", "a\0", "-a", &"x".repeat(65)] {
            assert_eq!(Sku::parse(text), Err(InvalidSku), "{text:?}");
        }
        for text in ["A", "FA-001.x_y", &"x".repeat(64)] {
            assert_eq!(Sku::parse(text).map(|sku| sku.to_string()), Ok(text.to_owned()));
        }
    }
}
