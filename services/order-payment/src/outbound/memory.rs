//! Our books in memory, for tests of use cases and for the simulation. The same suite holds it and PostgreSQL to the same
//! behaviour: one winner, causes once, balanced books, events exactly with their change, nothing written under an old reign.
//! Everything is kept in an order of its own, so that two runs over the same history read the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{AttemptId, Currency, MessageId, Money, OrderId, Region, UserId};
use messaging::{Action, Cause, Committed, Epoch, Outgoing, RequestKey, StoredAnswer, crash};
use uuid::Uuid;

use super::memory_coupons::CouponBooks;
use super::memory_settlements::SettledDays;
use super::{memory_accounts, memory_claims, memory_webhooks};
use crate::domain::accounts::Account as OrderAccount;
use crate::domain::ledger_seal::{self, Leaf, Seal};
use crate::domain::{
    Account, Attempt, AttemptKind, AttemptState, CouponCode, CouponCount, LedgerKind, Order, OrderEvent, OrderStatus,
    Orphan, Refund, RefundState, RefundTarget, Transaction, Tried,
};
use crate::outbound::events;
use crate::usecases::error::{CommitError, Conflict, StoreError};
use crate::usecases::ports::{
    Backlog, Comparison, Credit, CreditLook, DaySums, Finding, FindingKind, Kept, Shipment, Store, Webhook, WebhookEnd,
};
use crate::usecases::views::StatusChange;
use crate::usecases::{Change, RefundStep};

/// A webhook, what came of it, and when to look at it again.
pub type KeptWebhook = (Webhook, Option<WebhookEnd>, DateTime<Utc>);

type RequestScope = (Uuid, &'static str, &'static str, String);

/// Everything that is in the books. Public to tests that look.
#[derive(Clone, Debug, Default)]
pub struct Books {
    pub orders: BTreeMap<OrderId, Order>,
    pub history: BTreeMap<OrderId, Vec<StatusChange>>,
    pub attempts: BTreeMap<AttemptId, Attempt>,
    /// Hints since an attempt was last taken by a worker.
    pub(super) hints: BTreeMap<AttemptId, DateTime<Utc>>,
    pub ledger: Vec<Transaction>,
    pub events: Vec<(OrderId, i64, OrderEvent)>,
    pub people: BTreeSet<UserId>,
    pub findings: BTreeMap<(FindingKind, String), (Finding, bool)>,
    pub webhooks: BTreeMap<(String, String), KeptWebhook>,
    pub shipments: BTreeMap<OrderId, Shipment>,
    pub settled: SettledDays,
    pub refunds: BTreeMap<(OrderId, u32), Refund>,
    pub coupons: CouponBooks,
    /// Refunds that others were told of, and whether nothing was left.
    pub refunds_told: Vec<(OrderId, u32, bool)>,
    /// By intent.
    pub orphans: BTreeMap<String, Orphan>,
    /// Seals with their leaves.
    pub seals: Vec<(Seal, Vec<Leaf>)>,
    /// So many changes from now on find no connection.
    pub unreachable: u32,
    /// Sums of the last look.
    pub days: Vec<DaySums>,
    /// What operators did.
    pub actions: Vec<Action>,
    /// What is told to others, in the order of its commits; the relay's marks are not kept here.
    pub outbox: Vec<Outgoing>,
    /// The reign under which writes are accepted.
    reign: i64,
    requests: BTreeMap<RequestScope, ([u8; 32], StoredAnswer)>,
    inbox: BTreeSet<(&'static str, MessageId)>,
}

/// One process's way to the books: what it writes, it writes under its own reign.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    books: Arc<Mutex<Books>>,
    epoch: Epoch,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self { books: Arc::default(), epoch: Epoch::new(0) }
    }
}

impl MemoryStore {
    /// The books, for as long as the guard lives.
    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same books as a process of the reign `epoch` writes them.
    pub fn under(&self, epoch: Epoch) -> Self {
        Self { books: Arc::clone(&self.books), epoch }
    }

    /// From now on only processes of the reign `epoch` may write.
    pub fn begin_reign(&self, epoch: i64) {
        self.books().reign = epoch;
    }

    /// The books to write in, if the fence lets this process.
    fn writable(&self) -> Result<MutexGuard<'_, Books>, CommitError> {
        let books = self.books();
        if books.reign == self.epoch.get() { Ok(books) } else { Err(CommitError::NotWritable) }
    }
}

impl Books {
    /// `false`: the cause had its effect before.
    fn admit(&mut self, cause: &Cause, answer: Option<&StoredAnswer>) -> Result<bool, CommitError> {
        match cause {
            Cause::Duty(_) => Ok(true),
            Cause::Message { consumer, id } => Ok(self.inbox.insert((consumer, *id))),
            Cause::Request(request) => {
                if self.answer(request)?.is_some() {
                    return Ok(false);
                }
                let answer = answer.cloned().unwrap_or(StoredAnswer { status: 200, body: Vec::new() });
                self.requests.insert(scope(request), (request.fingerprint, answer));
                Ok(true)
            }
        }
    }

    fn answer(&self, request: &RequestKey) -> Result<Option<StoredAnswer>, CommitError> {
        match self.requests.get(&scope(request)) {
            None => Ok(None),
            Some((fingerprint, _)) if *fingerprint != request.fingerprint => Err(CommitError::KeyReused),
            Some((_, answer)) => Ok(Some(answer.clone())),
        }
    }

    fn apply(&mut self, change: Change) -> Result<(), CommitError> {
        let lost = || CommitError::Refused(Conflict::Lost);
        self.people.extend(change.person.map(|(user, _)| user));
        self.actions.extend(change.action);
        if let Some(step) = change.order {
            let order = step.order;
            match (step.from, self.orders.get(&order.id)) {
                (None, Some(_)) => return Err(CommitError::Refused(Conflict::OrderExists)),
                (None, None) if !self.people.contains(&order.user) => return Err(lost()),
                (None, None) => {}
                (Some(from), Some(known)) if known.status == from && known.version + 1 == order.version => {}
                (Some(_), _) => return Err(lost()),
            }
            if order.status == OrderStatus::Compensated {
                self.coupons.give_back(order.id);
            }
            if let (None, Some(coupon)) = (step.from, &change.coupon)
                && !self.coupons.take(coupon, order.id, order.user)
            {
                return Err(CommitError::Refused(Conflict::CouponUsed));
            }
            let change =
                StatusChange { version: order.version, status: order.status, reason: order.reason, at: step.at };
            self.history.entry(order.id).or_default().push(change);
            self.events.push((order.id, order.version, step.event));
            self.orders.insert(order.id, order);
        }
        for step in change.attempts {
            let known = self.attempts.get(&step.attempt.id);
            match (step.from, known) {
                (None, None) if !self.has_open(&step.attempt) => {}
                (Some(version), Some(known)) if known.version == version => {
                    let legal = known.state == step.attempt.state || known.state.may_become(step.attempt.state);
                    assert!(legal, "{} cannot become {}", known.state, step.attempt.state);
                }
                _ => return Err(lost()),
            }
            let attempt = memory_claims::given_back(self, step.attempt);
            self.attempts.insert(attempt.id, attempt);
        }
        for transaction in change.ledger {
            assert!(transaction.is_balanced(), "the ledger does not balance");
            if self.ledger.iter().any(|known| known.id == transaction.id) {
                return Err(lost());
            }
            if transaction.user.is_some_and(|user| !self.people.contains(&user)) {
                return Err(CommitError::Refused(Conflict::UnknownPerson));
            }
            let moved = transaction.user.map(|user| (user, transaction.currency));
            self.ledger.push(transaction);
            if moved.is_some_and(|(user, currency)| self.credit(user, currency).0 < 0) {
                return Err(CommitError::Refused(Conflict::CreditShort));
            }
        }
        for step in change.refunds {
            self.refund(step)?;
        }
        for step in change.orphans {
            match (step.from, self.orphans.get(&step.orphan.intent)) {
                (None, None) => {}
                (Some(version), Some(known)) if known.attempt.version == version => {}
                _ => return Err(lost()),
            }
            self.orphans.insert(step.orphan.intent.clone(), step.orphan);
        }
        for (finding, _) in change.findings {
            self.findings.insert((finding.kind, finding.reference.clone()), (finding, true));
        }
        for order in self.orders.values().filter(|order| order.status == OrderStatus::Completed) {
            let paid = -self.moved(order.id, Account::Sales, &[LedgerKind::Capture, LedgerKind::CreditSpend]);
            assert_eq!(paid, order.total.minor(), "completed without a payment");
        }
        for order in self.orders.values().filter(|order| !order.credit.is_zero()) {
            let kinds = [LedgerKind::CreditHold, LedgerKind::CreditSpend, LedgerKind::CreditRelease];
            let held = -self.moved(order.id, Account::StoreCreditHeld, &kinds);
            let expected = if order.status.is_final() { 0 } else { order.credit.minor() };
            assert_eq!(held, expected, "store credit is set aside for an order in {}", order.status);
        }
        Ok(())
    }

    /// What a person may spend, and what is set aside.
    fn credit(&self, user: UserId, currency: Currency) -> (i64, i64) {
        let theirs = || self.ledger.iter().filter(|moved| moved.user == Some(user) && moved.currency == currency);
        let sum = |account| -theirs().map(|moved| moved.moved(account)).sum::<i64>();
        (sum(Account::StoreCredit), sum(Account::StoreCreditHeld))
    }

    /// What the order's transactions of these kinds moved on an account.
    fn moved(&self, order: OrderId, account: Account, kinds: &[LedgerKind]) -> i64 {
        let of_order = |moved: &&Transaction| moved.order == Some(order) && kinds.contains(&moved.kind);
        self.ledger.iter().filter(of_order).map(|moved| moved.moved(account)).sum()
    }

    fn refund(&mut self, step: RefundStep) -> Result<(), CommitError> {
        let (order, number) = (step.refund.order, step.refund.number);
        match (step.is_new, self.refunds.get(&(order, number)).map(|known| known.state)) {
            (true, None) | (false, Some(RefundState::Open)) => {}
            _ => return Err(CommitError::Refused(Conflict::Lost)),
        }
        if let Some(told) = step.told {
            let others = self
                .refunds
                .values()
                .filter(|refund| refund.order == order && refund.number != number && refund.state == RefundState::Done);
            if others.map(|refund| refund.amount.minor()).sum::<i64>() != told.before_minor {
                return Err(CommitError::Refused(Conflict::Lost));
            }
            self.refunds_told.push((order, number, told.whole));
        }
        self.refunds.insert((order, number), step.refund);
        let taken = -self.moved(order, Account::Sales, &[LedgerKind::Capture]);
        let spent = -self.moved(order, Account::Sales, &[LedgerKind::CreditSpend]);
        let standing = |target: Option<RefundTarget>| -> i64 {
            let counts = |refund: &&Refund| {
                refund.order == order
                    && refund.state != RefundState::Refused
                    && target.is_none_or(|target| refund.target == target)
            };
            self.refunds.values().filter(counts).map(|refund| refund.amount.minor()).sum()
        };
        let bought = self.orders.get(&order).map(|order| order.lines.clone()).unwrap_or_default();
        let given = |sku: &common::Sku| -> u32 {
            let lines =
                self.refunds.values().filter(|refund| refund.order == order && refund.state != RefundState::Refused);
            lines.flat_map(|refund| &refund.lines).filter(|line| line.sku == *sku).map(|line| line.quantity).sum()
        };
        let fits = bought.iter().all(|line| given(&line.sku) <= line.quantity)
            && standing(Some(RefundTarget::Card)) <= taken
            && standing(None) <= taken + spent;
        if fits { Ok(()) } else { Err(CommitError::Refused(Conflict::RefundExceeds)) }
    }

    fn has_open(&self, new: &Attempt) -> bool {
        self.attempts.values().any(|known| {
            known.order == new.order
                && known.kind == AttemptKind::Charge
                && new.kind == AttemptKind::Charge
                && !matches!(known.state, AttemptState::Declined | AttemptState::Voided)
        })
    }

    pub(super) fn charge(&self, found: impl Fn(&Attempt) -> bool) -> Option<Attempt> {
        self.attempts
            .values()
            .filter(|attempt| attempt.kind == AttemptKind::Charge && found(attempt))
            .max_by_key(|attempt| attempt.number)
            .cloned()
    }
}

fn scope(request: &RequestKey) -> RequestScope {
    (request.subject, request.method, request.route, request.key.clone())
}

#[async_trait]
impl Store for MemoryStore {
    async fn find_answer(&self, request: &RequestKey) -> Result<Option<StoredAnswer>, CommitError> {
        self.books().answer(request)
    }

    async fn commit(&self, cause: Cause, change: Change) -> Result<Committed, CommitError> {
        crash::point("commit.before_begin")?;
        {
            let mut books = self.writable()?;
            if books.unreachable > 0 {
                books.unreachable -= 1;
                return Err(CommitError::Unavailable(sqlx::Error::PoolTimedOut));
            }
            let mut after = books.clone();
            if !after.admit(&cause, change.answer.as_ref())? {
                let answer = if let Cause::Request(request) = &cause { books.answer(request)? } else { None };
                return Ok(Committed::Repeated(answer));
            }
            let (told, coupon) = (events::of(&change), change.coupon.clone());
            if let Err(refused) = after.apply(change) {
                // Nothing of it stays but the word about the limits that it did not fit in.
                if let (CommitError::Refused(Conflict::CouponUsed), Some(coupon)) = (&refused, coupon) {
                    books.coupons.hear(&coupon);
                }
                return Err(refused);
            }
            after.outbox.extend(told);
            *books = after;
        }
        crash::point("commit.after_commit")?;
        Ok(Committed::Applied)
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        Ok(self.books().orders.get(&id).cloned())
    }

    async fn charge_of(&self, order: OrderId) -> Result<Option<Attempt>, StoreError> {
        Ok(self.books().charge(|attempt| attempt.order == order))
    }

    async fn credit_of(&self, user: UserId, currency: Currency) -> Result<Credit, StoreError> {
        let (free, held) = self.books().credit(user, currency);
        let money = |minor| Money::from_minor(minor, currency).unwrap_or(Money::zero(currency));
        Ok(Credit { free: money(free), held: money(held) })
    }

    async fn coupon_count(&self, code: &CouponCode, person: Option<UserId>) -> Result<CouponCount, StoreError> {
        Ok(self.books().coupons.count(code, person))
    }

    async fn paid_by_credit(&self, limit: u16) -> Result<Vec<OrderId>, StoreError> {
        let books = self.books();
        let waiting =
            books.orders.values().filter(|order| order.status == OrderStatus::PaymentPending && order.rest().is_zero());
        Ok(waiting.take(limit.into()).map(|order| order.id).collect())
    }

    async fn credit_differences(&self, after: Option<UserId>, limit: u16) -> Result<CreditLook, StoreError> {
        Ok(memory_accounts::credit_look(&self.books(), after, limit))
    }

    async fn refunds_of(&self, order: OrderId) -> Result<Vec<Refund>, StoreError> {
        Ok(self.books().refunds.range((order, 0)..=(order, u32::MAX)).map(|(_, refund)| refund.clone()).collect())
    }

    async fn let_go(&self, attempt: &Attempt, due_at: DateTime<Utc>) -> Result<(), CommitError> {
        memory_claims::let_go(&mut *self.writable()?, attempt, due_at);
        Ok(())
    }

    async fn seal(&self, region: Region, now: DateTime<Utc>, limit: u16) -> Result<Option<Seal>, CommitError> {
        crash::point("commit.before_begin")?;
        let mut books = self.writable()?;
        let sealed: BTreeSet<_> =
            books.seals.iter().flat_map(|(_, leaves)| leaves).map(|leaf| leaf.transaction).collect();
        let waiting: Vec<Transaction> =
            books.ledger.iter().filter(|moved| !sealed.contains(&moved.id)).cloned().collect();
        let mut waiting: Vec<_> = waiting.into_iter().take(limit.into()).collect();
        waiting.sort_by_key(|moved| (moved.at, moved.id));
        let hashes: Vec<_> = waiting.iter().map(ledger_seal::leaf).collect();
        let before = books.seals.last().map(|(seal, _)| seal.clone());
        let Some(seal) = Seal::over(region, before.as_ref(), &hashes, now) else { return Ok(None) };
        let leaf = |((moved, hash), position): ((&Transaction, &ledger_seal::Hash), i64)| Leaf {
            position,
            transaction: moved.id,
            hash: *hash,
        };
        let leaves = waiting.iter().zip(&hashes).zip(seal.first..).map(leaf).collect();
        books.seals.push((seal.clone(), leaves));
        drop(books);
        crash::point("commit.after_commit")?;
        Ok(Some(seal))
    }

    async fn seals(&self, after: i64, limit: u16) -> Result<Vec<Seal>, StoreError> {
        let books = self.books();
        let later = books.seals.iter().map(|(seal, _)| seal).filter(|seal| seal.number > after);
        Ok(later.take(limit.into()).cloned().collect())
    }

    async fn leaves(&self, seal: i64) -> Result<Vec<(Leaf, Option<Transaction>)>, StoreError> {
        let books = self.books();
        let leaves = books.seals.iter().filter(|(known, _)| known.number == seal).flat_map(|(_, leaves)| leaves);
        let with =
            |leaf: &Leaf| (leaf.clone(), books.ledger.iter().find(|moved| moved.id == leaf.transaction).cloned());
        Ok(leaves.map(with).collect())
    }

    async fn kept_from_seals(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn overdue(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<Order>, StoreError> {
        let books = self.books();
        let given_up = |order: &Order| {
            books.attempts.values().any(|attempt| attempt.order == order.id && attempt.giving_up.is_some())
        };
        let mut overdue: Vec<_> = books
            .orders
            .values()
            .filter(|order| !order.status.is_final() && order.deadline_at <= now && !given_up(order))
            .cloned()
            .collect();
        overdue.sort_by_key(|order| order.deadline_at);
        overdue.truncate(limit.into());
        Ok(overdue)
    }

    async fn claim_due(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Attempt>, CommitError> {
        Ok(memory_claims::claim(&mut *self.writable()?, (now, until), limit.into()))
    }

    async fn tried(
        &self,
        charges: &[AttemptId],
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<BTreeMap<AttemptId, Tried>, StoreError> {
        Ok(memory_claims::tried(&self.books(), charges, since, now))
    }

    async fn hint(&self, orders: &[OrderId], now: DateTime<Utc>) -> Result<(), CommitError> {
        let mut books = self.writable()?;
        orders.iter().for_each(|order| memory_claims::hint(&mut books, *order, now));
        Ok(())
    }

    async fn keep_webhook(&self, hook: &Webhook) -> Result<Kept, CommitError> {
        Ok(memory_webhooks::keep(&mut *self.writable()?, hook))
    }

    async fn due_webhooks(&self, now: DateTime<Utc>, limit: u16) -> Result<Vec<Webhook>, StoreError> {
        Ok(memory_webhooks::due(&self.books(), now, limit.into()))
    }

    async fn finish_webhooks(&self, ended: &[(Webhook, WebhookEnd)], now: DateTime<Utc>) -> Result<(), CommitError> {
        memory_webhooks::finish(&mut *self.writable()?, ended, now);
        Ok(())
    }

    async fn charge_of_intent(&self, intent: &str) -> Result<Option<Attempt>, StoreError> {
        Ok(self.books().charge(|attempt| attempt.intent.as_deref() == Some(intent)))
    }

    async fn charges_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Attempt>, StoreError> {
        let books = self.books();
        let mut charges: Vec<_> = books
            .attempts
            .values()
            .filter(|attempt| {
                attempt.kind == AttemptKind::Charge
                    && attempt.intent.is_some()
                    && (from..=to).contains(&attempt.created_at)
            })
            .cloned()
            .collect();
        charges.sort_by_key(|attempt| (attempt.created_at, attempt.id));
        charges.truncate(limit.into());
        Ok(charges)
    }

    async fn claim_orphans(
        &self,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<Orphan>, CommitError> {
        let mut books = self.writable()?;
        let free = |orphan: &&mut Orphan| memory_claims::is_free(&orphan.attempt, now);
        let due = books.orphans.values_mut().filter(free).take(limit.into());
        let claim = |orphan: &mut Orphan| {
            orphan.attempt.leased_until = Some(until);
            orphan.clone()
        };
        Ok(due.map(claim).collect())
    }

    async fn explained_orphans(&self, intents: &[String]) -> Result<Vec<String>, StoreError> {
        let books = self.books();
        let explained = |intent: &&String| books.orphans.get(*intent).is_some_and(Orphan::is_explained);
        Ok(intents.iter().filter(explained).cloned().collect())
    }

    async fn note_finding(&self, finding: &Finding, _now: DateTime<Utc>) -> Result<(), CommitError> {
        self.writable()?.findings.insert((finding.kind, finding.reference.clone()), (finding.clone(), true));
        Ok(())
    }

    async fn note_comparison(&self, seen: &Comparison, _now: DateTime<Utc>) -> Result<(), CommitError> {
        let mut books = self.writable()?;
        for ((kind, _), (finding, open)) in &mut books.findings {
            let looked_at = finding.happened_at.is_none_or(|at| at >= seen.since);
            *open = *open && !(kind.is_seen_by_looking() && looked_at);
        }
        for finding in &seen.findings {
            books.findings.insert((finding.kind, finding.reference.clone()), (finding.clone(), true));
        }
        books.days = seen.days.clone();
        Ok(())
    }

    async fn placed_per_minute(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Result<Vec<(DateTime<Utc>, u64)>, StoreError> {
        Ok(memory_accounts::per_minute(&self.books(), (from, to)))
    }

    async fn accounts_between(
        &self,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: u32,
    ) -> Result<Option<Vec<OrderAccount>>, StoreError> {
        Ok(memory_accounts::between(&self.books(), (from, to), limit))
    }

    async fn record_shipment(&self, cause: Cause, shipment: Shipment) -> Result<Committed, CommitError> {
        let mut books = self.writable()?;
        if books.orders.get(&shipment.order).is_none_or(|order| order.status != OrderStatus::Completed) {
            return Err(CommitError::Refused(Conflict::Lost));
        }
        if !books.admit(&cause, None)? {
            return Ok(Committed::Repeated(None));
        }
        books.shipments.entry(shipment.order).or_insert(shipment);
        Ok(Committed::Applied)
    }

    async fn unsent(
        &self,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<(OrderId, DateTime<Utc>)>, StoreError> {
        Ok(memory_accounts::unsent(&self.books(), (after, until), limit.into()))
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        Ok(Backlog { open: memory_accounts::open_orders(&self.books()) })
    }
}
