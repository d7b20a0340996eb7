//! A change of a promotion as a document. Money and percentages are text, since neither a double nor a decimal of the wire is the
//! same everywhere; what is read goes through the same checks as what staff sends.
//!
//! `_id` is `{log, number}`: the unique key of the collection is what decides who wrote a number first. `place` is the number as
//! text, which a stand-in of MongoDB can look up by an index.

use chrono::DateTime;
use common::Region;
use serde::{Deserialize, Serialize};

use crate::domain::promotion::{Off, Promotion, PromotionId, PromotionRevision, PromotionState, Target};
use crate::domain::promotion_draft::{CouponDraft, PromotionDraft, TargetDraft, percent_text};

const LOG: &str = "promotions";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromotionDocument {
    #[serde(rename = "_id")]
    id: Id,
    place: String,
    promotion: String,
    /// The end of a promotion has no `body`.
    ended: bool,
    changed_at_ms: i64,
    changed_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Body>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Id {
    log: String,
    number: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Body {
    title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    percent: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    amounts: Vec<AmountBody>,
    basket: bool,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    skus: Vec<String>,
    #[serde(default)]
    regions: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    priority: i32,
    stacks: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    coupon: Option<CouponBody>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct AmountBody {
    currency: String,
    amount: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct CouponBody {
    code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    most_uses: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    most_per_person: Option<i64>,
}

/// A stored document that is no change of a promotion: somebody wrote past this service.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("promotion change {number} is inconsistent in {field}")]
pub struct Inconsistent {
    number: i64,
    field: String,
}

/// The number as it is looked up.
pub fn place(number: i64) -> String {
    number.to_string()
}

impl From<&PromotionRevision> for PromotionDocument {
    fn from(revision: &PromotionRevision) -> Self {
        let body = match &revision.state {
            PromotionState::Live(promotion) => Some(body(promotion)),
            PromotionState::Ended(_) => None,
        };
        Self {
            id: Id { log: LOG.to_owned(), number: revision.number },
            place: place(revision.number),
            promotion: revision.state.id().to_string(),
            ended: body.is_none(),
            changed_at_ms: revision.changed_at.timestamp_millis(),
            changed_by: revision.changed_by.to_string(),
            body,
        }
    }
}

impl TryFrom<PromotionDocument> for PromotionRevision {
    type Error = Inconsistent;

    fn try_from(document: PromotionDocument) -> Result<Self, Inconsistent> {
        let number = document.id.number;
        let wrong = |field: &str| Inconsistent { number, field: field.to_owned() };
        let state = match (document.ended, document.body) {
            (true, None) => {
                PromotionState::Ended(PromotionId::parse(&document.promotion).map_err(|_| wrong("promotion"))?)
            }
            (false, Some(body)) => {
                let checked = draft(document.promotion, body).check();
                let first = |faults: Vec<common::FieldProblem>| {
                    wrong(faults.first().map_or("body", |fault| fault.pointer.as_str()))
                };
                PromotionState::Live(checked.map_err(first)?)
            }
            _ => return Err(wrong("ended")),
        };
        Ok(Self {
            number,
            state,
            changed_at: DateTime::from_timestamp_millis(document.changed_at_ms)
                .ok_or_else(|| wrong("changed_at_ms"))?,
            changed_by: document.changed_by.parse().map_err(|_| wrong("changed_by"))?,
        })
    }
}

fn body(promotion: &Promotion) -> Body {
    let (percent, amounts) = match &promotion.off {
        Off::Percent(hundredths) => (Some(percent_text(*hundredths)), Vec::new()),
        Off::Amount(amounts) => {
            let amount = |money: common::Money| AmountBody {
                currency: money.currency().code().to_owned(),
                amount: money.amount_string(),
            };
            (None, amounts.usual().map(amount).collect())
        }
    };
    let (basket, categories, skus) = match &promotion.target {
        Target::Basket => (true, Vec::new(), Vec::new()),
        Target::Categories(paths) => (false, paths.iter().map(ToString::to_string).collect(), Vec::new()),
        Target::Products(skus) => (false, Vec::new(), skus.iter().map(ToString::to_string).collect()),
    };
    Body {
        title: promotion.title.clone(),
        percent,
        amounts,
        basket,
        categories,
        skus,
        regions: promotion.regions.iter().copied().map(Region::code).map(str::to_owned).collect(),
        from: promotion.from.map(|at| at.to_rfc3339()),
        until: promotion.until.map(|at| at.to_rfc3339()),
        priority: promotion.priority,
        stacks: promotion.stacks,
        coupon: promotion.coupon.as_ref().map(|coupon| CouponBody {
            code: coupon.code.to_string(),
            most_uses: coupon.most_uses.map(i64::from),
            most_per_person: coupon.most_per_person.map(i64::from),
        }),
    }
}

fn draft(id: String, body: Body) -> PromotionDraft {
    // Zero is no limit that anybody may set, so what does not fit is found by the same check.
    let most = |most: i64| u32::try_from(most).unwrap_or(0);
    PromotionDraft {
        id,
        title: body.title,
        percent: body.percent,
        amount: (!body.amounts.is_empty())
            .then(|| body.amounts.into_iter().map(|amount| (amount.currency, amount.amount)).collect()),
        target: TargetDraft { basket: body.basket, categories: body.categories, skus: body.skus },
        regions: body.regions,
        from: body.from,
        until: body.until,
        priority: body.priority,
        stacks: body.stacks,
        coupon: body.coupon.map(|coupon| CouponDraft {
            code: coupon.code,
            most_uses: coupon.most_uses.map(most),
            most_per_person: coupon.most_per_person.map(most),
        }),
    }
}
