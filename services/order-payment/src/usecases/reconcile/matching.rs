//! The gateway's charges against ours, in both directions. What belongs together may come in different slices: our row is
//! there before its charge, and the clocks differ. Pure, so that a table test can show each kind of difference.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use common::OrderId;

use super::Window;
use crate::domain::{Attempt, AttemptState, Intent, IntentStatus, Via};
use crate::usecases::Failure;
use crate::usecases::ports::{Finding, FindingKind};

/// Charges of either side that wait for the other one. More that do not fit together is no list of differences any more.
const MOST_WAITING: usize = 200_000;

/// A difference, with what it is about.
pub(super) struct Odd {
    pub finding: Finding,
    pub about: Matter,
}

pub(super) enum Matter {
    /// A charge of this gateway that no attempt of ours made.
    Stray(Via, Intent),
    Attempt(Box<Attempt>),
}

pub(super) struct Matching {
    window: Window,
    theirs: BTreeMap<String, (Via, Intent)>,
    ours: BTreeMap<String, Attempt>,
    odd: Vec<Odd>,
    /// What of charges that both have went back at the gateway, since it was last asked for.
    went_back: Vec<(OrderId, i64)>,
}

impl Matching {
    pub fn new(window: Window) -> Self {
        Self { window, theirs: BTreeMap::new(), ours: BTreeMap::new(), odd: Vec::new(), went_back: Vec::new() }
    }

    /// Takes the next slice, which begins at `from`: everything that the gateway and we made in it.
    ///
    /// # Errors
    /// [`Failure`] when too much waits for its other half.
    pub fn add(
        &mut self,
        from: DateTime<Utc>,
        intents: Vec<(Via, Intent)>,
        charges: Vec<Attempt>,
    ) -> Result<(), Failure> {
        // A charge that we gave up is of interest only together with what the gateway holds, which comes soon or never.
        self.ours.retain(|_, attempt| {
            attempt.state == AttemptState::Captured || attempt.created_at >= from - super::PAID_WITHIN
        });
        for (via, intent) in intents {
            match self.ours.remove(&intent.id) {
                Some(attempt) => self.pair(&intent, attempt),
                None if may_hold(&intent) => drop(self.theirs.insert(intent.id.clone(), (via, intent))),
                None => {}
            }
        }
        for attempt in charges {
            let Some(id) = attempt.intent.clone() else { continue };
            match self.theirs.remove(&id) {
                Some((_, intent)) => self.pair(&intent, attempt),
                None => drop(self.ours.insert(id, attempt)),
            }
        }
        if self.theirs.len().max(self.ours.len()) > MOST_WAITING {
            return Err(Failure::broken("more charges without their other half than one look can hold"));
        }
        Ok(())
    }

    /// What of each charge that found its other half went back at the gateway, nothing as nothing; those of which its list does not
    /// say it are left out. Each is told once.
    pub fn take_went_back(&mut self) -> Vec<(OrderId, i64)> {
        std::mem::take(&mut self.went_back)
    }

    /// All differences of the window.
    pub fn end(mut self) -> Vec<Odd> {
        let Window { since, settled_before } = self.window;
        for (via, intent) in std::mem::take(&mut self.theirs).into_values() {
            let made_at = made_at(&intent, settled_before);
            // Near the edge of the window our row may be older than it; those were compared before.
            if intent.status == IntentStatus::Succeeded && made_at >= since && made_at < settled_before {
                let finding = Finding {
                    kind: FindingKind::ChargeWithoutOrder,
                    reference: intent.id.clone(),
                    order: intent.order.as_deref().and_then(|order| order.parse().ok()),
                    detail: "charged without an attempt of ours".to_owned(),
                    happened_at: Some(made_at),
                };
                self.odd.push(Odd { finding, about: Matter::Stray(via, intent) });
            }
        }
        for attempt in std::mem::take(&mut self.ours).into_values() {
            if attempt.created_at >= since {
                self.not_charged(attempt);
            }
        }
        self.odd
    }

    fn pair(&mut self, intent: &Intent, attempt: Attempt) {
        // One that was cancelled, or taken in part, also shows what was never taken as given back.
        let same = attempt.state == AttemptState::Captured
            && intent.status == IntentStatus::Succeeded
            && attempt.amount.minor() == intent.amount_minor;
        self.went_back.extend(intent.refunded_minor.filter(|_| same).map(|minor| (attempt.order, minor)));
        self.odd.extend(judge(self.window, Some(intent), attempt));
    }

    fn not_charged(&mut self, attempt: Attempt) {
        self.odd.extend(judge(self.window, None, attempt));
    }
}

/// What differs between our charge and theirs, if anything does. `None`: they have none.
pub(super) fn judge(window: Window, intent: Option<&Intent>, attempt: Attempt) -> Option<Odd> {
    let (kind, detail, at) = match intent.and_then(|intent| of_two(window, intent, &attempt)) {
        Some(difference) => difference,
        None if intent.is_none_or(|intent| intent.status != IntentStatus::Succeeded)
            && attempt.state == AttemptState::Captured
            && attempt.created_at < window.settled_before =>
        {
            let detail = "captured here, not charged there".to_owned();
            (FindingKind::OrderWithoutCharge, detail, attempt.created_at)
        }
        None => return None,
    };
    let known = intent.map(|intent| intent.id.clone()).or_else(|| attempt.intent.clone());
    let finding = Finding {
        kind,
        reference: known.unwrap_or_else(|| attempt.id.to_string()),
        order: Some(attempt.order),
        detail,
        happened_at: Some(at),
    };
    Some(Odd { finding, about: Matter::Attempt(Box::new(attempt)) })
}

/// What both sides have, and have differently.
fn of_two(window: Window, intent: &Intent, attempt: &Attempt) -> Option<(FindingKind, String, DateTime<Utc>)> {
    let made_at = made_at(intent, window.settled_before);
    let charged = intent.status == IntentStatus::Succeeded;
    let held = intent.status == IntentStatus::RequiresCapture && !intent.declined;
    let given_up = matches!(attempt.state, AttemptState::Declined | AttemptState::Voided);
    let same = attempt.amount.minor() == intent.amount_minor && attempt.amount.currency().code() == intent.currency;
    if charged && !same {
        let detail = format!("{} {} there, {} here", intent.amount_minor, intent.currency, attempt.amount);
        Some((FindingKind::AmountDiffers, detail, made_at))
    } else if charged && attempt.state != AttemptState::Captured && made_at < window.settled_before {
        Some((FindingKind::StateDiffers, format!("charged there, {} here", attempt.state), made_at))
    } else if held && given_up && attempt.created_at < window.settled_before {
        // The shopper cannot spend what the gateway still holds on their card.
        Some((FindingKind::HeldAfterEnd, format!("held there, {} here", attempt.state), attempt.created_at))
    } else {
        None
    }
}

/// Is money taken, or held?
fn may_hold(intent: &Intent) -> bool {
    matches!(intent.status, IntentStatus::Succeeded | IntentStatus::RequiresCapture)
}

fn made_at(intent: &Intent, unknown: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(intent.created_unix, 0).unwrap_or(unknown)
}

#[cfg(test)]
pub(super) mod tests {
    use chrono::Duration;
    use common::{Currency, Money, Private, Region};

    use super::*;
    use crate::domain::{AttemptKind, PaymentToken};

    pub(in super::super) fn charge(number: u128, state: AttemptState) -> Attempt {
        let order = OrderId::from_uuid(uuid::Uuid::from_u128(number));
        Attempt {
            id: common::AttemptId::derive(order, 1),
            order,
            number: 1,
            kind: AttemptKind::Charge,
            via: crate::domain::Via::default(),
            amount: Money::from_minor(4990, Region::Eu.currency()).unwrap(),
            token: Private::new(PaymentToken::parse("tok_ok").unwrap()),
            state,
            intent: Some(format!("pi_{number}")),
            capture_requested: true,
            giving_up: None,
            refused_by: None,
            in_doubt: false,
            tries: 0,
            due_at: DateTime::UNIX_EPOCH,
            leased_until: None,
            version: 1,
            traceparent: None,
            created_at: DateTime::UNIX_EPOCH,
        }
    }

    pub(in super::super) fn intent(number: u128, status: IntentStatus) -> Intent {
        Intent {
            id: format!("pi_{number}"),
            status,
            declined: false,
            amount_minor: 4990,
            currency: Currency::Eur.code().to_owned(),
            order: Some(uuid::Uuid::from_u128(number).to_string()),
            attempt: Some(1),
            created_unix: 0,
            refunded_minor: None,
        }
    }

    fn an_hour() -> Window {
        Window { since: DateTime::UNIX_EPOCH, settled_before: DateTime::UNIX_EPOCH + Duration::hours(1) }
    }

    fn kinds_in(window: Window, slices: Vec<(Vec<Intent>, Vec<Attempt>)>) -> Vec<FindingKind> {
        let mut matching = Matching::new(window);
        for (at, (intents, charges)) in (0..).zip(slices) {
            let intents = intents.into_iter().map(|intent| (Via::default(), intent)).collect();
            matching.add(window.since + Duration::minutes(at), intents, charges).unwrap();
        }
        matching.end().into_iter().map(|odd| odd.finding.kind).collect()
    }

    fn kinds(intents: Vec<Intent>, charges: &[Attempt]) -> Vec<FindingKind> {
        let together = kinds_in(an_hour(), vec![(intents.clone(), charges.to_vec())]);
        let apart = [(vec![], charges.to_vec()), (intents.clone(), vec![])];
        assert_eq!(kinds_in(an_hour(), apart.to_vec()), together, "in two slices: {intents:?}");
        let theirs_first = [(intents.clone(), vec![]), (vec![], charges.to_vec())];
        assert_eq!(kinds_in(an_hour(), theirs_first.to_vec()), together, "theirs in an earlier slice: {intents:?}");
        together
    }

    #[test]
    fn each_difference_is_found_in_its_direction() {
        use IntentStatus::{Canceled, RequiresCapture, Succeeded};
        let table = [
            (vec![intent(1, Succeeded)], vec![charge(1, AttemptState::Captured)], vec![]),
            (vec![intent(1, Canceled)], vec![charge(1, AttemptState::Declined)], vec![]),
            (vec![intent(1, RequiresCapture)], vec![charge(1, AttemptState::Authorised)], vec![]),
            (vec![intent(1, RequiresCapture)], vec![charge(1, AttemptState::Voided)], vec![FindingKind::HeldAfterEnd]),
            (vec![intent(1, Succeeded)], vec![], vec![FindingKind::ChargeWithoutOrder]),
            (vec![intent(1, Succeeded)], vec![charge(1, AttemptState::Voided)], vec![FindingKind::StateDiffers]),
            (vec![intent(1, Succeeded)], vec![charge(1, AttemptState::Unknown)], vec![FindingKind::StateDiffers]),
            (vec![], vec![charge(1, AttemptState::Captured)], vec![FindingKind::OrderWithoutCharge]),
            (vec![intent(1, Canceled)], vec![charge(1, AttemptState::Captured)], vec![FindingKind::OrderWithoutCharge]),
            (
                vec![Intent { amount_minor: 1, ..intent(1, Succeeded) }],
                vec![charge(1, AttemptState::Captured)],
                vec![FindingKind::AmountDiffers],
            ),
            (
                vec![Intent { currency: "USD".to_owned(), ..intent(1, Succeeded) }],
                vec![charge(1, AttemptState::Captured)],
                vec![FindingKind::AmountDiffers],
            ),
        ];
        for (intents, charges, expected) in table {
            assert_eq!(kinds(intents.clone(), &charges), expected, "{intents:?}");
        }
    }

    #[test]
    fn a_charge_that_comes_after_its_payment_was_given_up_finds_it_for_as_long_as_a_payment_may_take() {
        let mut matching = Matching::new(an_hour());
        matching.add(DateTime::UNIX_EPOCH, vec![], vec![charge(1, AttemptState::Voided)]).unwrap();
        let late = Intent { created_unix: 20 * 60, ..intent(1, IntentStatus::Succeeded) };
        let slice = DateTime::UNIX_EPOCH + Duration::minutes(19);
        matching.add(slice, vec![(Via::default(), late)], vec![]).unwrap();
        let kinds: Vec<_> = matching.end().into_iter().map(|odd| odd.finding.kind).collect();
        assert_eq!(kinds, [FindingKind::StateDiffers]);
    }

    #[test]
    fn what_went_back_is_told_of_charges_that_both_have_whole_and_once() {
        use IntentStatus::{Canceled, Succeeded};
        let told = |status, refunded_minor| Intent { refunded_minor, ..intent(1, status) };
        let part = Intent { amount_minor: 2000, ..told(Succeeded, Some(2990)) };
        let captured = AttemptState::Captured;
        let table = [
            (told(Succeeded, Some(990)), captured, Some(990)),
            (told(Succeeded, Some(0)), captured, Some(0)),
            (told(Succeeded, None), captured, None),
            // What was never taken: let go, or not ours.
            (told(Canceled, Some(4990)), captured, None),
            (part, captured, None),
            (told(Succeeded, Some(990)), AttemptState::Voided, None),
        ];
        for (intent, state, expected) in table {
            let mut matching = Matching::new(an_hour());
            let (attempt, shown) = (charge(1, state), format!("{intent:?}"));
            matching.add(DateTime::UNIX_EPOCH, vec![(Via::default(), intent)], vec![attempt.clone()]).unwrap();
            let expected: Vec<_> = expected.map(|minor| (attempt.order, minor)).into_iter().collect();
            assert_eq!(matching.take_went_back(), expected, "{shown}");
            assert_eq!(matching.take_went_back(), [], "{shown}");
        }
    }

    #[test]
    fn what_is_still_under_way_is_no_difference() {
        let nothing_yet = Window { since: DateTime::UNIX_EPOCH, settled_before: DateTime::UNIX_EPOCH };
        assert!(kinds_in(nothing_yet, vec![(vec![intent(1, IntentStatus::Succeeded)], vec![])]).is_empty());
    }

    #[test]
    fn a_stray_charge_keeps_the_gateway_that_made_it() {
        let other = Via { name: "square".to_owned(), ..Via::default() };
        let mut matching = Matching::new(an_hour());
        matching.add(DateTime::UNIX_EPOCH, vec![(other.clone(), intent(1, IntentStatus::Succeeded))], vec![]).unwrap();
        assert!(matches!(&matching.end()[0].about, Matter::Stray(via, _) if *via == other));
    }
}
