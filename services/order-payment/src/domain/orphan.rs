//! Money that the gateway took and that belongs to no order of ours. It is in the books from the moment it is found; when
//! nobody knows it by its deadline it goes back, by a refund that takes the same steps as any other (`settle`).

use chrono::{DateTime, Duration, Utc};
use common::{AttemptId, Currency, Money, OrderId, Private, TransactionId};

use super::{Attempt, AttemptKind, AttemptState, Intent, IntentStatus, PaymentToken, Via};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The refund on its way. It has an order's id of its own, derived from the intent, so that its key at the gateway is the
    /// same for whoever sends it. `CAPTURED`: the money is back; `VOIDED`: an order turned up for it.
    pub attempt: Attempt,
    pub intent: String,
    /// The order it names, whatever that is.
    pub claimed_order: Option<String>,
    pub found_at: DateTime<Utc>,
}

impl Orphan {
    /// `None`: no money that could be given back, or in a currency we do not know. A person has to look.
    pub fn found(intent: &Intent, via: Via, deadline: Duration, now: DateTime<Utc>) -> Option<Self> {
        let currency: Currency = intent.currency.parse().ok()?;
        let amount = Money::from_minor(intent.amount_minor, currency).ok()?;
        if intent.status != IntentStatus::Succeeded || amount.minor() < 1 {
            return None;
        }
        let attempt = Attempt { due_at: now + deadline, ..Self::refund(&intent.id, via, amount, now)? };
        Some(Self { attempt, intent: intent.id.clone(), claimed_order: intent.order.clone(), found_at: now })
    }

    /// The refund of an orphan in its first state.
    pub fn refund(intent: &str, via: Via, amount: Money, now: DateTime<Utc>) -> Option<Attempt> {
        let order = OrderId::from_uuid(TransactionId::derive("orphan", intent).uuid());
        Some(Attempt {
            id: AttemptId::derive(order, 1),
            order,
            number: 1,
            kind: AttemptKind::Refund,
            via,
            amount,
            // A refund is made from its intent; the card behind it is not ours to know.
            token: Private::new(PaymentToken::parse("tok_of_an_orphan")?),
            state: AttemptState::Prepared,
            intent: Some(intent.to_owned()),
            capture_requested: false,
            giving_up: None,
            refused_by: None,
            in_doubt: false,
            tries: 0,
            due_at: now,
            leased_until: None,
            version: 1,
            traceparent: None,
            created_at: now,
        })
    }

    /// Is nothing more to be done for it?
    pub fn is_explained(&self) -> bool {
        matches!(self.attempt.state, AttemptState::Captured | AttemptState::Voided)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intent(status: IntentStatus, amount_minor: i64, currency: &str) -> Intent {
        Intent {
            id: "pi_1".to_owned(),
            status,
            declined: false,
            amount_minor,
            currency: currency.to_owned(),
            order: Some("nobody's".to_owned()),
            attempt: None,
            created_unix: 0,
            refunded_minor: None,
        }
    }

    #[test]
    fn only_money_that_was_taken_is_an_orphan_and_it_waits_for_its_deadline() {
        let found = |intent: &Intent| Orphan::found(intent, Via::default(), Duration::hours(24), DateTime::UNIX_EPOCH);
        let orphan = found(&intent(IntentStatus::Succeeded, 4990, "EUR")).unwrap();
        assert_eq!(orphan.attempt.due_at, DateTime::UNIX_EPOCH + Duration::hours(24));
        assert_eq!((orphan.attempt.amount.minor(), orphan.attempt.intent.as_deref()), (4990, Some("pi_1")));
        for other in [
            intent(IntentStatus::RequiresCapture, 4990, "EUR"),
            intent(IntentStatus::Canceled, 4990, "EUR"),
            intent(IntentStatus::Succeeded, 0, "EUR"),
            intent(IntentStatus::Succeeded, 4990, "XXX"),
        ] {
            assert_eq!(found(&other), None, "{other:?}");
        }
    }
}
