//! What a person may use because of an order: a subscription or a download. Decided here: from when until when. It begins with
//! the sale, in the same commit, and a refund ends it.

use chrono::{DateTime, Days, Months, Utc};
use common::{OrderId, Sku, UserId};

/// How long a subscription runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    Days(u32),
    Months(u32),
    /// A download is for good.
    Endless,
}

impl Term {
    /// Longer ones are taken for mistakes of whoever wrote the product, and for endless: nobody loses what was paid for.
    const MAX_MONTHS: u32 = 1200;

    /// Of a product's attribute `term`: a number and its unit. Anything that is not understood is endless, because after the
    /// money nothing may fail for a reason of business.
    pub fn parse(value: &str, unit: Option<&str>) -> Self {
        match (value.parse::<u32>(), unit) {
            (Ok(days @ 1..), Some("days")) if days <= Self::MAX_MONTHS * 31 => Self::Days(days),
            (Ok(months @ 1..=Self::MAX_MONTHS), Some("months")) => Self::Months(months),
            (Ok(years @ 1..=100), Some("years")) => Self::Months(years * 12),
            _ => Self::Endless,
        }
    }

    /// The end of a term that begins at `from`: on the same day of the month, or its last day.
    pub fn end(self, from: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            Self::Days(days) => from.checked_add_days(Days::new(days.into())),
            Self::Months(months) => from.checked_add_months(Months::new(months)),
            Self::Endless => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entitlement {
    pub user: UserId,
    pub order: OrderId,
    pub sku: Sku,
    /// Seats, licences.
    pub quantity: u32,
    pub valid_from: DateTime<Utc>,
    /// Not valid from here on; `None` for good.
    pub valid_until: Option<DateTime<Utc>>,
}

impl Entitlement {
    pub fn granted(user: UserId, order: OrderId, sku: Sku, quantity: u32, term: Term, now: DateTime<Utc>) -> Self {
        Self { user, order, sku, quantity, valid_from: now, valid_until: term.end(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_ends_on_the_same_day_or_the_last_one_of_its_month() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let table = [
            ("1", Some("months"), Some("2026-02-28T08:00:00Z")),
            ("12", Some("months"), Some("2027-01-31T08:00:00Z")),
            ("1", Some("years"), Some("2027-01-31T08:00:00Z")),
            ("14", Some("days"), Some("2026-02-14T08:00:00Z")),
            ("0", Some("months"), None),
            ("1201", Some("months"), None),
            ("x", Some("months"), None),
            ("3", None, None),
        ];
        for (value, unit, expected) in table {
            assert_eq!(Term::parse(value, unit).end(at("2026-01-31T08:00:00Z")), expected.map(at), "{value} {unit:?}");
        }
    }
}
