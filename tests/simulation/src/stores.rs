//! Our books behind a slow, unreliable connection. The books themselves are the memory stores that pass the same suite as
//! PostgreSQL; added here is what a network adds: time, refusals, and outcomes that nobody knows.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use common::{AttemptId, Currency, OrderId, Region, UserId};
use messaging::{Cause, CommitError as AnyCommitError, Committed, RequestKey, StoredAnswer};
use order_payment::domain::accounts::Account;
use order_payment::domain::ledger_seal::{Leaf, Seal};
use order_payment::domain::settlement::SettlementKind;
use order_payment::domain::{
    Attempt, AttemptKind, AttemptState, CouponCode, CouponCount, LedgerKind, Order, OrderStatus, Orphan, Reason,
    Refund, RefundState, Transaction, Tried, Verdict,
};
use order_payment::outbound::memory::MemoryStore;
use order_payment::usecases::error::{CommitError, Conflict, StoreError};
use order_payment::usecases::ports::{
    Backlog, Comparison, Credit, CreditLook, Finding, Kept, Shipment, Store, Webhook, WebhookEnd,
};
use order_payment::usecases::settle_day::{
    Booked, BookedOrphan, ClosedDay, JudgedRow, Settled, Settlements, Unsettled,
};
use order_payment::usecases::{Change, RefundStep};

use crate::bus::ORDERS;
use crate::checks;
use crate::coverage::Rare;
use crate::faults::{CommitFault, Side};
use crate::gateway;
use crate::world::{Channel, Here, Moment, World, lock};

pub struct Orders {
    pub here: Here,
    pub inner: MemoryStore,
}

/// What a commit changed about attempts, for the counters: state before and after, and why.
fn states(inner: &MemoryStore, change: &Change) -> BTreeMap<AttemptId, AttemptState> {
    let books = inner.books();
    change
        .attempts
        .iter()
        .filter_map(|step| Some((step.attempt.id, books.attempts.get(&step.attempt.id)?.state)))
        .collect()
}

/// One commit to the books of order-payment, by whomever, with everything that follows from it.
async fn commit_orders(
    world: &Arc<World>,
    process: usize,
    inner: &MemoryStore,
    cause: Cause,
    change: Change,
) -> Result<Committed, CommitError> {
    let before = states(inner, &change);
    let text = change.clone();
    let told = cause.to_string();
    let outcome = inner.commit(cause, change).await;
    match &outcome {
        Ok(Committed::Applied) => {
            world.note(process, || format!("commits {}", describe(&text)));
            count_change(world, &before, &text);
            checks::after_orders(world, &text);
            world.mix(
                text.attempts.iter().map(|step| step.attempt.state as u64 + 1).sum::<u64>()
                    + 7 * text.order.as_ref().map_or(0, |step| step.order.status as u64 + 1),
            );
            world.notify(Channel::Outbox(ORDERS));
            world.notify(Channel::Payments);
            world.notify(Channel::Deadlines);
        }
        Ok(Committed::Repeated(answer)) => {
            world.count(if answer.is_some() { Rare::AnswerReplayed } else { Rare::Repeated });
            world.note(process, || format!("finds the effect of {told} there already"));
        }
        Err(error) => refused(world, process, error, &told),
    }
    outcome
}

fn refused(world: &World, process: usize, error: &CommitError, what: &str) {
    world.note(process, || format!("is refused ({error}): {what}"));
    match error {
        AnyCommitError::NotWritable => world.count(Rare::OldReignRefused),
        AnyCommitError::Refused(Conflict::Lost) => {
            world.count(Rare::LostRace);
            if world.was_frozen(process) {
                world.count(Rare::ZombieLost);
            }
        }
        _ => {}
    }
}

fn describe(change: &Change) -> String {
    let mut text = String::new();
    if let Some(step) = &change.order {
        let from = step.from.map_or("NONE", OrderStatus::code);
        text.push_str(&format!("order {} {from} → {} ", &step.order.id.to_string()[..8], step.order.status));
        if let Some(reason) = step.order.reason {
            text.push_str(reason.code());
            text.push(' ');
        }
    }
    for step in &change.attempts {
        let attempt = &step.attempt;
        text.push_str(&format!(
            "order {} attempt {} {:?} v{} {}{}{}{} ",
            &attempt.order.to_string()[..8],
            attempt.number,
            attempt.kind,
            attempt.version,
            attempt.state,
            if attempt.capture_requested { " capture-requested" } else { "" },
            if attempt.giving_up.is_some() { " giving-up" } else { "" },
            if attempt.in_doubt { " in-doubt" } else { "" },
        ));
    }
    for transaction in &change.ledger {
        text.push_str(&format!("ledger {:?} ", transaction.kind));
    }
    if text.is_empty() { "the cause alone".to_owned() } else { text }
}

fn count_change(world: &World, before: &BTreeMap<AttemptId, AttemptState>, change: &Change) {
    if let Some(step) = &change.order {
        match (step.from, step.order.status, step.order.reason) {
            (_, OrderStatus::Completed, _) => {
                world.count(Rare::Completed);
                if !step.order.credit.is_zero() {
                    let whole = step.order.rest().is_zero();
                    world.count(if whole { Rare::CreditWhole } else { Rare::CreditPart });
                }
            }
            (Some(OrderStatus::Created), _, Some(Reason::Expired)) => world.count(Rare::ExpiredWaitingForStock),
            (Some(OrderStatus::PaymentPending), _, Some(Reason::Expired)) => world.count(Rare::ExpiredWhilePaying),
            (_, _, Some(Reason::PaymentDeclined)) => {
                let refused = change.attempts.iter().any(|step| step.attempt.refused_by.is_some());
                world.count(if refused { Rare::CardRefused } else { Rare::Declined });
            }
            _ => {}
        }
    }
    if change.ledger.iter().any(|moved| moved.kind == LedgerKind::CreditRelease) {
        world.count(Rare::CreditFreed);
    }
    count_refunds(world, change);
    for step in &change.attempts {
        let attempt = &step.attempt;
        let was = before.get(&attempt.id).copied();
        let card = crate::setup::Card::of(attempt.token.open().as_str());
        if card == crate::setup::Card::Action && attempt.state == AttemptState::Voided {
            world.count(Rare::ShopperNeverActed);
        }
        match (attempt.kind, was, attempt.state) {
            (AttemptKind::Refund, _, AttemptState::Captured) if !change.refunds.iter().any(is_of_staff) => {
                world.count(Rare::Refunded);
            }
            (AttemptKind::Charge, Some(AttemptState::Voided | AttemptState::Declined), AttemptState::Captured) => {
                world.count(Rare::LateSuccess);
                if lock(&world.checks).reconciling {
                    world.count(Rare::LateSuccessByReconciler);
                }
            }
            (AttemptKind::Charge, Some(AttemptState::Unknown), next) if next != AttemptState::Unknown => {
                let hinted = lock(&world.checks).hinted.remove(&attempt.order);
                world.count(match (next, hinted) {
                    (AttemptState::Voided | AttemptState::Declined, _) => Rare::UnknownByBarrier,
                    (_, true) => Rare::UnknownByWebhook,
                    (_, false) => Rare::UnknownByPoll,
                });
            }
            _ => {}
        }
    }
}

fn is_of_staff(step: &RefundStep) -> bool {
    step.refund.asked_by.is_some()
}

fn count_refunds(world: &World, change: &Change) {
    for step in change.refunds.iter().filter(|step| is_of_staff(step)) {
        if step.refund.state == RefundState::Done {
            world.count(Rare::StaffRefunded);
        }
        let open = |known: &&Refund| known.order == step.refund.order && known.state == RefundState::Open;
        if step.is_new && world.orders.books().refunds.values().filter(open).count() > 1 {
            world.count(Rare::RefundsAtOnce);
        }
    }
    for step in &change.orphans {
        if step.from.is_none() {
            world.count(Rare::OrphanFound);
        }
        if step.orphan.attempt.state == AttemptState::Captured {
            world.count(Rare::OrphanRefunded);
            if step.orphan.attempt.via.name == gateway::SECOND {
                world.count(Rare::OrphanAtSecond);
            }
        }
    }
}

#[async_trait]
impl Store for Orders {
    async fn find_answer(&self, request: &RequestKey) -> Result<Option<StoredAnswer>, CommitError> {
        self.here.moment(Moment::Read).await;
        let found = self.inner.find_answer(request).await;
        if matches!(found, Ok(Some(_))) {
            self.here.world.count(Rare::AnswerReplayed);
        }
        found
    }

    async fn commit(&self, cause: Cause, change: Change) -> Result<Committed, CommitError> {
        let (here, world) = (&self.here, &self.here.world);
        let fault = lock(&world.plan).commit(Side::Orders);
        here.moment(Moment::BeforeCommit).await;
        match fault {
            Some(CommitFault::Refused) => return Err(CommitError::Busy),
            Some(CommitFault::UnknownNever) => {
                world.count(Rare::CommitUnknownNever);
                here.moment(Moment::AfterCommit).await;
                return Err(CommitError::OutcomeUnknown);
            }
            Some(CommitFault::UnknownLater { ms }) => {
                let (inside, inner, process) = (Arc::clone(world), self.inner.clone(), here.process);
                world.later(ms * 1_000, async move {
                    if matches!(commit_orders(&inside, process, &inner, cause, change).await, Ok(Committed::Applied)) {
                        inside.count(Rare::CommitUnknownLater);
                    }
                });
                here.moment(Moment::AfterCommit).await;
                return Err(CommitError::OutcomeUnknown);
            }
            Some(CommitFault::Slow { before_ms, .. }) => world.sleep(before_ms * 1_000).await,
            Some(CommitFault::UnknownApplied) | None => {}
        }
        let outcome = commit_orders(world, here.process, &self.inner, cause, change).await;
        if let Some(CommitFault::Slow { after_ms, .. }) = fault {
            world.sleep(after_ms * 1_000).await;
        }
        here.moment(Moment::AfterCommit).await;
        if fault == Some(CommitFault::UnknownApplied) && outcome.is_ok() {
            world.count(Rare::CommitUnknownApplied);
            return Err(CommitError::OutcomeUnknown);
        }
        outcome
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        self.here.moment(Moment::Read).await;
        Store::order(&self.inner, id).await
    }

    async fn charge_of(&self, order: OrderId) -> Result<Option<Attempt>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.charge_of(order).await
    }

    async fn credit_of(&self, user: UserId, currency: Currency) -> Result<Credit, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.credit_of(user, currency).await
    }

    async fn coupon_count(&self, code: &CouponCode, person: Option<UserId>) -> Result<CouponCount, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.coupon_count(code, person).await
    }

    async fn paid_by_credit(&self, limit: u16) -> Result<Vec<OrderId>, StoreError> {
        self.inner.paid_by_credit(limit).await
    }

    async fn credit_differences(&self, after: Option<UserId>, limit: u16) -> Result<CreditLook, StoreError> {
        self.inner.credit_differences(after, limit).await
    }

    async fn refunds_of(&self, order: OrderId) -> Result<Vec<Refund>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.refunds_of(order).await
    }

    async fn let_go(&self, attempt: &Attempt, due_at: DateTime<Utc>) -> Result<(), CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        let let_go = self.inner.let_go(attempt, due_at).await;
        self.here.world.notify(Channel::Payments);
        let_go
    }

    async fn claim_orphans(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Orphan>, CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        self.inner.claim_orphans(now, until, limit).await
    }

    async fn explained_orphans(&self, intents: &[String]) -> Result<Vec<String>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.explained_orphans(intents).await
    }

    async fn seal(&self, region: Region, now: DateTime<Utc>, limit: u16) -> Result<Option<Seal>, CommitError> {
        self.inner.seal(region, now, limit).await
    }

    async fn seals(&self, after: i64, limit: u16) -> Result<Vec<Seal>, StoreError> {
        self.inner.seals(after, limit).await
    }

    async fn leaves(&self, seal: i64) -> Result<Vec<(Leaf, Option<Transaction>)>, StoreError> {
        self.inner.leaves(seal).await
    }

    async fn kept_from_seals(&self) -> Result<u64, StoreError> {
        self.inner.kept_from_seals().await
    }

    async fn overdue(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<Order>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.overdue(now, limit).await
    }

    async fn tried(
        &self,
        charges: &[AttemptId],
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<AttemptId, Tried>, StoreError> {
        self.here.moment(Moment::Read).await;
        let tried = self.inner.tried(charges, since, now).await?;
        let rule = self.here.world.setup.rules.card_testing;
        for _ in tried.values().filter(|tried| rule.judge(**tried) == Verdict::Wait) {
            self.here.world.count(Rare::CardWaits);
        }
        Ok(tried)
    }

    async fn claim_due(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Attempt>, CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        let claimed = self.inner.claim_due(now, until, limit).await;
        if let Err(error) = &claimed {
            refused(&self.here.world, self.here.process, error, "claim of payments");
        }
        self.here.moment(Moment::AfterCommit).await;
        claimed
    }

    async fn hint(&self, orders: &[OrderId], now: DateTime<Utc>) -> Result<(), CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        self.inner.hint(orders, now).await?;
        lock(&self.here.world.checks).hinted.extend(orders);
        self.here.world.notify(Channel::Payments);
        Ok(())
    }

    async fn keep_webhook(&self, hook: &Webhook) -> Result<Kept, CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        let kept = self.inner.keep_webhook(hook).await;
        self.here.moment(Moment::AfterCommit).await;
        kept
    }

    async fn due_webhooks(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<Webhook>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.due_webhooks(now, limit).await
    }

    async fn finish_webhooks(&self, ended: &[(Webhook, WebhookEnd)], now: DateTime<Utc>) -> Result<(), CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        for _ in ended.iter().filter(|(_, end)| *end == WebhookEnd::Mismatch) {
            self.here.world.count(Rare::WebhookMismatch);
        }
        self.inner.finish_webhooks(ended, now).await
    }

    async fn charge_of_intent(&self, intent: &str) -> Result<Option<Attempt>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.charge_of_intent(intent).await
    }

    async fn charges_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Attempt>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.charges_between(from, to, limit).await
    }

    async fn note_finding(&self, finding: &Finding, now: DateTime<Utc>) -> Result<(), CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        self.inner.note_finding(finding, now).await
    }

    async fn note_comparison(&self, seen: &Comparison, now: DateTime<Utc>) -> Result<(), CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        self.inner.note_comparison(seen, now).await
    }

    async fn placed_per_minute(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<(DateTime<Utc>, u64)>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.placed_per_minute(from, to).await
    }

    async fn accounts_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u32,
    ) -> Result<Option<Vec<Account>>, StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.accounts_between(from, to, limit).await
    }

    async fn record_shipment(&self, cause: Cause, shipment: Shipment) -> Result<Committed, CommitError> {
        self.here.moment(Moment::BeforeCommit).await;
        let order = shipment.order;
        let outcome = self.inner.record_shipment(cause, shipment).await;
        let world = &self.here.world;
        match &outcome {
            Ok(Committed::Applied) => {
                world.note(self.here.process, || format!("records the shipment of {}", &order.to_string()[..8]))
            }
            Ok(Committed::Repeated(_)) => world.count(Rare::Repeated),
            Err(error) => refused(world, self.here.process, error, "shipment"),
        }
        self.here.moment(Moment::AfterCommit).await;
        outcome
    }

    async fn unsent(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<(OrderId, DateTime<Utc>)>, StoreError> {
        self.inner.unsent(after, until, limit).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.inner.backlog().await
    }
}

/// The settlement file closes days; a schedule lasts hours, so this only passes on.
#[async_trait]
impl Settlements for Orders {
    async fn settled_before(&self, gateway: &str, day: NaiveDate) -> Result<Option<Settled>, StoreError> {
        self.inner.settled_before(gateway, day).await
    }

    async fn settled(&self, gateway: &str, day: NaiveDate) -> Result<Option<Settled>, StoreError> {
        self.inner.settled(gateway, day).await
    }

    async fn booked(&self, wanted: &[(OrderId, u32)]) -> Result<Vec<Booked>, StoreError> {
        self.inner.booked(wanted).await
    }

    async fn orphans_booked(&self, gateway: &str, payments: &[String]) -> Result<Vec<BookedOrphan>, StoreError> {
        self.inner.orphans_booked(gateway, payments).await
    }

    async fn matched_first(&self, gateway: &str, attempts: &[AttemptId]) -> Result<Vec<(AttemptId, i64)>, StoreError> {
        self.inner.matched_first(gateway, attempts).await
    }

    async fn orphan_matched_first(
        &self,
        gateway: &str,
        payment: &str,
        kind: SettlementKind,
    ) -> Result<Option<i64>, StoreError> {
        self.inner.orphan_matched_first(gateway, payment, kind).await
    }

    async fn keep_rows(&self, gateway: &str, day: NaiveDate, rows: &[JudgedRow]) -> Result<(), CommitError> {
        self.inner.keep_rows(gateway, day, rows).await
    }

    async fn unsettled(
        &self,
        gateway: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Unsettled>, StoreError> {
        self.inner.unsettled(gateway, from, to, limit).await
    }

    async fn close_day(&self, day: &ClosedDay, findings: &[Finding], now: DateTime<Utc>) -> Result<(), CommitError> {
        self.inner.close_day(day, findings, now).await
    }
}
