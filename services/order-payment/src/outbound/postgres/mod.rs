//! Our books in PostgreSQL. Writes go through `messaging`'s commit, reads take the pool.
//!
//! One statement per function; a row struct stays in its file; a row that does not convert is an inconsistency naming table,
//! column and row. A violated constraint that two honest callers can bring about is mapped by its name.

mod accounts;
mod attempts;
mod carts;
mod commit;
mod coupons;
mod credits;
mod desk;
mod desk_rows;
mod findings;
pub mod intake;
mod orders;
mod orphans;
mod placements;
mod refunds;
mod seals;
mod settlements;
mod shipments;
mod tax;
mod together;
mod views;
mod webhooks;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{AttemptId, Currency, OrderId, Region, UserId};
use messaging::{Cause, Committed, Database, Gathered, Member, RequestKey, StoredAnswer, Together, WriteError};
use sqlx::PgPool;

use crate::domain::accounts::Account;
use crate::domain::ledger_seal::{Leaf, Seal};
use crate::domain::{Attempt, CouponCode, CouponCount, Order, Orphan, Refund, Transaction, Tried};
use crate::outbound::events;
use crate::usecases::Change;
use crate::usecases::error::{CommitError, Conflict, StoreError};
use crate::usecases::ports::{
    Backlog, Comparison, Credit, CreditLook, Finding, Kept, Shipment, Store, Webhook, WebhookEnd,
};

pub use carts::PostgresCarts;
pub use desk::PostgresDesk;
pub use intake::Intake;
pub use views::PostgresViews;

type Written = Result<(), WriteError<Conflict>>;

#[derive(Clone, Debug)]
pub struct PostgresStore {
    database: Database,
    /// Where new orders go; without one, each is committed by itself.
    intake: Option<Intake>,
    /// Where steps of payments meet, webhooks, and shipments.
    steps: Arc<Together<Change, Conflict>>,
    webhooks: Arc<Together<webhooks::Keeping, Conflict>>,
    shipments: Arc<Together<Shipment, Conflict>>,
    /// Where questions meet that every saga asks.
    orders: Arc<Gathered<OrderId, Order, StoreError>>,
    charges: Arc<Gathered<String, Attempt, StoreError>>,
}

/// Orders or charges that are asked for in one question: a few rows each.
const MOST_ASKED: usize = 64;

type Answers<K, V> = futures::future::BoxFuture<'static, Result<HashMap<K, V>, StoreError>>;

fn gathered<K, V>(database: &Database, ask: fn(PgPool, Vec<K>) -> Answers<K, V>) -> Arc<Gathered<K, V, StoreError>>
where
    K: Clone + Eq + Hash + Send + 'static,
    V: Clone + Send + 'static,
{
    let pool = database.pool().clone();
    Arc::new(Gathered::new(MOST_ASKED, move |keys| ask(pool.clone(), keys)))
}

impl PostgresStore {
    pub fn new(database: Database) -> Self {
        Self {
            steps: Arc::new(together::together(database.clone())),
            webhooks: Arc::new(webhooks::together(database.clone())),
            shipments: Arc::new(shipments::together(database.clone())),
            orders: gathered(&database, |pool, ids| Box::pin(orders::by_ids(pool, ids))),
            charges: gathered(&database, |pool, intents| Box::pin(attempts::charges_of_intents(pool, intents))),
            intake: None,
            database,
        }
    }

    /// New orders share commits. Somebody has to run the intake's lanes.
    pub fn with_intake(database: Database, intake: Intake) -> Self {
        Self { intake: Some(intake), ..Self::new(database) }
    }

    /// A change by one of our own duties, whose state `write` writes.
    async fn duty<F>(&self, name: &'static str, write: F) -> Result<(), CommitError>
    where
        F: for<'t> Fn(&'t mut sqlx::PgConnection) -> futures::future::BoxFuture<'t, Written> + Send + Sync + 'static,
    {
        let change = messaging::Change { cause: Cause::Duty(name), events: Vec::new(), answer: None };
        self.database.commit(change, write).await.map(drop)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn find_answer(&self, request: &RequestKey) -> Result<Option<StoredAnswer>, CommitError> {
        self.database.find_answer(request).await
    }

    async fn commit(&self, cause: Cause, change: Change) -> Result<Committed, CommitError> {
        if let Some(intake) = self.intake.as_ref().filter(|_| placements::placement(&change).is_some()) {
            return intake.commit(cause, change).await;
        }
        if together::is_payment_step(&cause, &change) {
            let head = messaging::Change { cause, events: events::of(&change), answer: None };
            let place = change.attempts.first().map(|step| step.attempt.order.uuid()).unwrap_or_default();
            return self.steps.commit(Member::new(head), place, change).await;
        }
        let head = messaging::Change { cause, events: events::of(&change), answer: change.answer.clone() };
        let change = Arc::new(change);
        let region = self.database.region();
        if change.coupon.is_some() {
            let outcomes = self
                .database
                .commit_many(vec![Member::new(head)], move |tx, _| {
                    let change = Arc::clone(&change);
                    Box::pin(async move { commit::with_coupon(tx, region, &change).await })
                })
                .await;
            return outcomes.into_iter().next().unwrap_or(Err(CommitError::OutcomeUnknown));
        }
        self.database
            .commit(head, move |tx| {
                let change = Arc::clone(&change);
                Box::pin(async move { commit::write(tx, region, &change).await })
            })
            .await
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        self.orders.ask(id).await
    }

    async fn charge_of(&self, order: OrderId) -> Result<Option<Attempt>, StoreError> {
        attempts::charge_of_order(self.database.pool(), order).await
    }

    async fn credit_of(&self, user: UserId, currency: Currency) -> Result<Credit, StoreError> {
        credits::of_person(self.database.pool(), user, currency).await
    }

    async fn coupon_count(&self, code: &CouponCode, person: Option<UserId>) -> Result<CouponCount, StoreError> {
        coupons::count(self.database.pool(), code, person).await
    }

    async fn paid_by_credit(&self, limit: u16) -> Result<Vec<OrderId>, StoreError> {
        credits::orders_to_complete(self.database.pool(), limit).await
    }

    async fn credit_differences(&self, after: Option<UserId>, limit: u16) -> Result<CreditLook, StoreError> {
        credits::differences(self.database.pool(), after, limit).await
    }

    async fn refunds_of(&self, order: OrderId) -> Result<Vec<Refund>, StoreError> {
        refunds::of_order(self.database.pool(), order).await
    }

    async fn let_go(&self, attempt: &Attempt, due_at: DateTime<Utc>) -> Result<(), CommitError> {
        let attempt = Arc::new(attempt.clone());
        self.duty("let-go-payment", move |tx| {
            let attempt = Arc::clone(&attempt);
            Box::pin(async move { attempts::let_go(tx, &attempt, due_at).await })
        })
        .await
    }

    async fn seal(&self, region: Region, now: DateTime<Utc>, limit: u16) -> Result<Option<Seal>, CommitError> {
        let made = Shared::default();
        let result = made.clone();
        self.duty("seal-ledger", move |tx| {
            let made = made.clone();
            Box::pin(async move {
                made.set(seals::make(tx, region, now, limit).await?);
                Ok(())
            })
        })
        .await?;
        Ok(result.take())
    }

    async fn seals(&self, after: i64, limit: u16) -> Result<Vec<Seal>, StoreError> {
        seals::after(self.database.pool(), after, limit).await
    }

    async fn leaves(&self, seal: i64) -> Result<Vec<(Leaf, Option<Transaction>)>, StoreError> {
        seals::leaves(self.database.pool(), seal).await
    }

    async fn kept_from_seals(&self) -> Result<u64, StoreError> {
        seals::kept_out(self.database.pool()).await
    }

    async fn overdue(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<Order>, StoreError> {
        let ids = orders::overdue(self.database.pool(), now, limit).await?;
        let mut overdue = Vec::with_capacity(ids.len());
        for id in ids {
            overdue.extend(self.order(id).await?);
        }
        Ok(overdue)
    }

    async fn claim_due(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Attempt>, CommitError> {
        // Asking first keeps an idle worker from writing four times a second.
        if !attempts::any_due(self.database.pool(), now).await.map_err(messaging::CommitError::Unavailable)? {
            return Ok(Vec::new());
        }
        let claimed = Shared::default();
        let result = claimed.clone();
        self.duty("claim-payments", move |tx| {
            let claimed = claimed.clone();
            Box::pin(async move {
                claimed.set(attempts::claim(tx, now, until, limit).await?);
                Ok(())
            })
        })
        .await?;
        Ok(result.take())
    }

    async fn tried(
        &self,
        charges: &[AttemptId],
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<AttemptId, Tried>, StoreError> {
        attempts::tried(self.database.pool(), charges, since, now).await
    }

    async fn hint(&self, orders: &[OrderId], now: DateTime<Utc>) -> Result<(), CommitError> {
        let orders: Arc<[OrderId]> = orders.into();
        self.duty("hint-payment", move |tx| {
            let orders = Arc::clone(&orders);
            Box::pin(async move { attempts::hint(tx, &orders, now).await })
        })
        .await
    }

    async fn keep_webhook(&self, hook: &Webhook) -> Result<Kept, CommitError> {
        let kept = Shared::default();
        let head = messaging::Change { cause: Cause::Duty("keep-webhook"), events: Vec::new(), answer: None };
        let place = uuid::Uuid::new_v5(&uuid::Uuid::NAMESPACE_OID, hook.event_id.as_bytes());
        let keeping = webhooks::Keeping { hook: hook.clone(), region: self.database.region(), kept: kept.clone() };
        self.webhooks.commit(Member::new(head), place, keeping).await?;
        // The closure ran, or the commit would not have succeeded.
        Ok(kept.take().unwrap_or(Kept::Again))
    }

    async fn due_webhooks(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<Webhook>, StoreError> {
        webhooks::due(self.database.pool(), now, limit).await
    }

    async fn finish_webhooks(&self, ended: &[(Webhook, WebhookEnd)], now: DateTime<Utc>) -> Result<(), CommitError> {
        let ended: Arc<[(Webhook, WebhookEnd)]> = ended.into();
        self.duty("finish-webhook", move |tx| {
            let ended = Arc::clone(&ended);
            Box::pin(async move { webhooks::finish(tx, &ended, now).await })
        })
        .await?;
        // In a commit of its own: what was finished stays finished when what is old cannot go.
        match self.duty("finish-webhook", |tx| Box::pin(webhooks::forget(tx))).await {
            Err(error) if !matches!(error, messaging::CommitError::Crashed(_)) => {
                tracing::warn!(error = %error, "old webhooks could not be forgotten; the next round tries again");
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn charge_of_intent(&self, intent: &str) -> Result<Option<Attempt>, StoreError> {
        self.charges.ask(intent.to_owned()).await
    }

    async fn charges_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Attempt>, StoreError> {
        attempts::charges_between(self.database.pool(), from, to, limit).await
    }

    async fn claim_orphans(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Orphan>, CommitError> {
        if !orphans::any_due(self.database.pool(), now).await.map_err(messaging::CommitError::Unavailable)? {
            return Ok(Vec::new());
        }
        let claimed = Shared::default();
        let result = claimed.clone();
        self.duty("claim-orphans", move |tx| {
            let claimed = claimed.clone();
            Box::pin(async move {
                claimed.set(orphans::claim(tx, now, until, limit).await?);
                Ok(())
            })
        })
        .await?;
        Ok(result.take())
    }

    async fn explained_orphans(&self, intents: &[String]) -> Result<Vec<String>, StoreError> {
        orphans::explained(self.database.pool(), intents).await
    }

    async fn note_finding(&self, finding: &Finding, now: DateTime<Utc>) -> Result<(), CommitError> {
        let finding = Arc::new(finding.clone());
        self.duty("note-finding", move |tx| {
            let finding = Arc::clone(&finding);
            Box::pin(async move { findings::note(tx, &finding, now).await })
        })
        .await
    }

    async fn note_comparison(&self, seen: &Comparison, now: DateTime<Utc>) -> Result<(), CommitError> {
        let seen = Arc::new(seen.clone());
        self.duty("note-comparison", move |tx| {
            let seen = Arc::clone(&seen);
            Box::pin(async move {
                for finding in &seen.findings {
                    findings::note(tx, finding, now).await?;
                }
                for day in &seen.days {
                    findings::keep_day(tx, day, now).await?;
                }
                findings::resolve_older(tx, seen.since, now).await
            })
        })
        .await
    }

    async fn placed_per_minute(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<(DateTime<Utc>, u64)>, StoreError> {
        accounts::per_minute(self.database.pool(), from, to).await
    }

    async fn accounts_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u32,
    ) -> Result<Option<Vec<Account>>, StoreError> {
        accounts::between(self.database.pool(), from, to, limit).await
    }

    async fn record_shipment(&self, cause: Cause, shipment: Shipment) -> Result<Committed, CommitError> {
        let head = messaging::Change { cause, events: Vec::new(), answer: None };
        let place = shipment.order.uuid();
        self.shipments.commit(Member::new(head), place, shipment).await
    }

    async fn unsent(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<(OrderId, DateTime<Utc>)>, StoreError> {
        shipments::unsent(self.database.pool(), (after, until), limit).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        findings::backlog(self.database.pool()).await
    }
}

/// What a closure that may run twice hands out: the last run counts.
#[derive(Clone, Debug, Default)]
struct Shared<T>(Arc<Mutex<T>>);

impl<T: Default> Shared<T> {
    fn set(&self, value: T) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = value;
    }

    fn take(&self) -> T {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A read that failed: did the database not answer, or did it not like the question?
fn unread(error: sqlx::Error) -> StoreError {
    let class =
        error.as_database_error().and_then(|error| error.code()).map(|code| code.chars().take(2).collect::<String>());
    match class.as_deref() {
        // 08 connection, 53 resources, 57 operator intervention
        None | Some("08" | "53" | "57") => StoreError::Unavailable(Box::new(error)),
        Some(_) => StoreError::Refused(Box::new(error)),
    }
}

/// Names of constraints that two honest callers can meet at.
fn named(error: sqlx::Error, conflicts: &[(&str, Conflict)]) -> WriteError<Conflict> {
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    match conflicts.iter().find(|(name, _)| Some(*name) == constraint) {
        Some((_, conflict)) => WriteError::Refused(*conflict),
        None => WriteError::Database(error),
    }
}
