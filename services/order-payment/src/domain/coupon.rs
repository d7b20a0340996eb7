//! Reductions as an order keeps them, and the use of a coupon. Decided here: the shape of a code, that a line is never reduced to
//! nothing, and when a coupon has no uses left. What is reduced by how much is the catalog's to say; that no limit is passed
//! when many order at once is the books', in the commit of the order.

use std::fmt;

use common::{Currency, Money};

/// A code as people type it: letters, digits and hyphens, kept in capitals.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CouponCode(String);

impl CouponCode {
    /// Blanks around it and small letters are forgiven; `None` for 2 or 33 letters, or any other letter.
    pub fn parse(text: &str) -> Option<Self> {
        let code = text.trim().to_ascii_uppercase();
        let known = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-';
        ((3..=32).contains(&code.len()) && code.bytes().all(known)).then_some(Self(code))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CouponCode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A coupon as an order wants to use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CouponUse {
    pub code: CouponCode,
    /// The promotion's revision that the limits come from.
    pub revision: i64,
    /// Orders that may use it, and orders of one person. `None`: as many as like.
    pub most_uses: Option<u32>,
    pub most_per_person: Option<u32>,
}

/// How often a coupon was used by orders that have not ended without a sale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CouponCount {
    pub used: u64,
    /// Of these, by the one who asks.
    pub by_person: u64,
}

impl CouponUse {
    pub fn is_used_up(&self, count: CouponCount) -> bool {
        self.most_uses.is_some_and(|most| count.used >= most.into())
            || self.most_per_person.is_some_and(|most| count.by_person >= most.into())
    }
}

/// What one promotion took off a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reduction {
    pub promotion: String,
    /// A revision never changes.
    pub revision: i64,
    pub amount: Money,
}

/// What all of them take off together.
///
/// # Errors
/// `None` when one is not a positive amount of `currency`, or the sum does not fit.
pub fn reduced_by(reductions: &[Reduction], currency: Currency) -> Option<Money> {
    reductions.iter().try_fold(Money::zero(currency), |sum, reduction| {
        let fits = reduction.amount.currency() == currency && reduction.amount.minor() > 0;
        if fits { sum.checked_add(reduction.amount).ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_read_as_people_write_it() {
        let code = |text: &str| CouponCode::parse(text).map(|code| code.to_string());
        assert_eq!(code(" autumn-10 ").as_deref(), Some("AUTUMN-10"));
        for wrong in ["", "ab", "a b c", "ä10", "x_y", &"A".repeat(33)] {
            assert_eq!(code(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_coupon_is_used_up_by_all_or_by_one() {
        let coupon = |most_uses, most_per_person| CouponUse {
            code: CouponCode::parse("ABC").unwrap(),
            revision: 1,
            most_uses,
            most_per_person,
        };
        let table = [
            (coupon(None, None), 1_000, 1_000, false),
            (coupon(Some(3), None), 2, 2, false),
            (coupon(Some(3), None), 3, 0, true),
            (coupon(None, Some(1)), 9, 0, false),
            (coupon(None, Some(1)), 9, 1, true),
            (coupon(Some(3), Some(1)), 4, 0, true),
        ];
        for (coupon, used, by_person, expected) in table {
            assert_eq!(coupon.is_used_up(CouponCount { used, by_person }), expected, "{coupon:?}");
        }
    }
}
