//! The promotions that there are, as the numbered changes have made them. Decided here: which are offered to a basket, in
//! which order, and what a coupon is good for.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::Region;

use super::promotion::{CouponCode, Promotion, PromotionId, PromotionRevision, PromotionState};

/// Promotions that are live at a time, coupons among them: each basket looks at all of them.
pub const MOST_LIVE: usize = 1_000;

/// A promotion with the revision that made it what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub revision: i64,
    pub promotion: Promotion,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromotionBook {
    number: i64,
    live: BTreeMap<PromotionId, Standing>,
    /// By the code of its coupon.
    codes: BTreeMap<CouponCode, PromotionId>,
}

/// A change that does not follow the ones that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("promotion change {found} does not follow {known}")]
pub struct Gap {
    known: i64,
    found: i64,
}

/// What becomes of a wanted state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Unchanged { revision: i64 },
    Next { number: i64, created: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepProblem {
    #[error("there is no such promotion")]
    NotThere,
    #[error("another promotion has this code")]
    CodeTaken,
    #[error("at most {MOST_LIVE} promotions at a time")]
    TooMany,
}

/// What a coupon is good for at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CouponStanding<'a> {
    Good(&'a Standing),
    /// Nobody has given out such a code here.
    Unknown,
    /// Not yet, or not any more.
    NotNow,
}

impl PromotionBook {
    /// The number of the last change that is in it.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Takes the next change in.
    ///
    /// # Errors
    /// [`Gap`] for any other; nothing has changed.
    pub fn follow(&mut self, revision: PromotionRevision) -> Result<(), Gap> {
        if revision.number != self.number + 1 {
            return Err(Gap { known: self.number, found: revision.number });
        }
        self.number = revision.number;
        let id = revision.state.id().clone();
        let former = self.live.remove(&id);
        if let Some(coupon) = former.and_then(|former| former.promotion.coupon) {
            self.codes.remove(&coupon.code);
        }
        if let PromotionState::Live(promotion) = revision.state {
            if let Some(coupon) = &promotion.coupon {
                self.codes.insert(coupon.code.clone(), id.clone());
            }
            self.live.insert(id, Standing { revision: self.number, promotion });
        }
        Ok(())
    }

    pub fn find(&self, id: &PromotionId) -> Option<&Standing> {
        self.live.get(id)
    }

    /// All that are live, by their ids.
    pub fn all(&self) -> impl Iterator<Item = &Standing> {
        self.live.values()
    }

    /// The step to `wanted`. A code belongs to one live promotion.
    ///
    /// # Errors
    /// [`StepProblem`].
    pub fn step_to(&self, wanted: &PromotionState) -> Result<Step, StepProblem> {
        let known = self.live.get(wanted.id());
        let next = Step::Next { number: self.number + 1, created: known.is_none() };
        match (wanted, known) {
            (PromotionState::Ended(_), None) => Err(StepProblem::NotThere),
            (PromotionState::Ended(_), Some(_)) => Ok(next),
            (PromotionState::Live(promotion), Some(known)) if known.promotion == *promotion => {
                Ok(Step::Unchanged { revision: known.revision })
            }
            (PromotionState::Live(promotion), _) => {
                let owner = promotion.coupon.as_ref().and_then(|coupon| self.codes.get(&coupon.code));
                if owner.is_some_and(|owner| *owner != promotion.id) {
                    return Err(StepProblem::CodeTaken);
                }
                if known.is_none() && self.live.len() >= MOST_LIVE {
                    return Err(StepProblem::TooMany);
                }
                Ok(next)
            }
        }
    }

    pub fn coupon(&self, code: &CouponCode, region: Region, now: DateTime<Utc>) -> CouponStanding<'_> {
        let standing = self.codes.get(code).and_then(|id| self.live.get(id));
        match standing.filter(|standing| standing.promotion.is_for(region)) {
            None => CouponStanding::Unknown,
            Some(standing) if standing.promotion.is_in_force(now) => CouponStanding::Good(standing),
            Some(_) => CouponStanding::NotNow,
        }
    }

    /// What a basket is offered, the first first: everything in force that needs no coupon, and what `code` is good for.
    pub fn offers(&self, region: Region, now: DateTime<Utc>, code: Option<&CouponCode>) -> Vec<&Standing> {
        let asked = |promotion: &Promotion| match (&promotion.coupon, code) {
            (None, _) => true,
            (Some(coupon), Some(code)) => coupon.code == *code,
            (Some(_), None) => false,
        };
        let offered = |standing: &&Standing| {
            let promotion = &standing.promotion;
            promotion.is_for(region) && promotion.is_in_force(now) && asked(promotion)
        };
        let mut offers: Vec<_> = self.live.values().filter(offered).collect();
        // Stable: of one priority the ids are in order already.
        offers.sort_by_key(|standing| std::cmp::Reverse(standing.promotion.priority));
        offers
    }
}

#[cfg(test)]
#[path = "promotion_book_tests.rs"]
mod tests;
