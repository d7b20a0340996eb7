//! For whom an answer is. Decided here: who counts as somebody with interests. A person is known by a token, a browser by
//! the id it was given; a person who did not consent is nobody here, whatever a profile may hold.

use common::{UserId, VisitorId};
use contracts::interest::Subject;

use super::App;
use crate::domain::ranking::Interests;

/// The one who asks, as far as ranking is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shopper(Option<Subject>);

impl Shopper {
    pub const NOBODY: Self = Self(None);

    /// With a token only the person of that token counts, so that nobody looks through another's eyes. A browser's id
    /// counts without one; its profile exists only when its clicks came with consent.
    pub fn of(person: Option<(UserId, Consent)>, visitor: Option<VisitorId>) -> Self {
        match person {
            Some((user, Consent::Given)) => Self(Some(Subject::Person(user))),
            Some((_, Consent::Withheld)) => Self::NOBODY,
            None => Self(visitor.map(Subject::Visitor)),
        }
    }

    /// Whose interests count; `None` for nobody.
    pub fn subject(self) -> Option<Subject> {
        self.0
    }

    pub fn is_somebody(self) -> bool {
        self.0.is_some()
    }
}

/// Whether a person agreed to personalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    Given,
    Withheld,
}

/// What the shopper cares about; `None` without a profile, or when it could not be read in time.
pub async fn interests_of(app: &App, shopper: Shopper) -> Option<Interests> {
    let interests = app.products.ratings.interests(shopper.0?).await?;
    Some(interests).filter(|interests| !interests.is_empty())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_token_decides_over_a_visitor_id_and_consent_over_both() {
        let (user, visitor) = (UserId::from_uuid(Uuid::from_u128(1)), VisitorId::from_uuid(Uuid::from_u128(2)));
        let table = [
            (None, None, Shopper::NOBODY),
            (None, Some(visitor), Shopper(Some(Subject::Visitor(visitor)))),
            (Some((user, Consent::Given)), Some(visitor), Shopper(Some(Subject::Person(user)))),
            (Some((user, Consent::Withheld)), Some(visitor), Shopper::NOBODY),
        ];
        for (person, visitor, expected) in table {
            assert_eq!(Shopper::of(person, visitor), expected);
        }
    }
}
