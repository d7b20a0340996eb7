//! The stock behind a slow, unreliable connection, as `stores` is for the books of order-payment.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use catalog::domain::audit::{Finding, Look, Mark, Most};
use catalog::domain::centre::Centre;
use catalog::domain::correction::Correction;
use catalog::domain::inventory::Availability;
use catalog::domain::receipt::Receipt;
use catalog::domain::reservation::{Decision, Fact, Reservation, Status};
use catalog::domain::shelves::Place;
use catalog::outbound::memory_stock::MemoryStock;
use catalog::usecases::ports::stock as stock_port;
use catalog::usecases::ports::stock::{Request, Reserved, Rows, StockStore, Why};
use chrono::{DateTime, Utc};
use common::{ErrorKind, OrderId, Sku, UserId};

use crate::bus::STOCK;
use crate::checks;
use crate::coverage::Rare;
use crate::faults::{CommitFault, Side};
use crate::world::{Channel, Here, Moment, World, lock};

pub struct Stock {
    pub here: Here,
    pub inner: MemoryStock,
}

fn failed(message: &'static str, code: &'static str) -> stock_port::StoreError {
    stock_port::StoreError::Failed(stock_port::Failure {
        message,
        kind: ErrorKind::Unavailable,
        code,
        retry_after: None,
        source: None,
    })
}

/// What follows from a commit to the stock, whoever made it.
fn committed_stock(
    world: &Arc<World>,
    process: usize,
    order: Option<OrderId>,
    outcome: Result<stock_port::Committed, &stock_port::StoreError>,
) {
    match outcome {
        Ok(stock_port::Committed::Applied) => {
            if let Some(order) = order {
                let now = world.stock.reservations().into_iter().find(|known| known.order == order);
                let (status, version) = now.map_or(("NONE", 0), |known| (known.status.code(), known.version));
                world.note(process, || format!("commits reservation {} {status} v{version}", &order.to_string()[..8]));
                world.mix(version.cast_unsigned() * 8 + status.len() as u64);
            }
            world.notify(Channel::Outbox(STOCK));
        }
        Ok(stock_port::Committed::Repeated) => {
            world.count(Rare::Repeated);
            world.note(process, || "finds the effect of a message there already".to_owned());
        }
        Err(error) => {
            world.note(process, || format!("is refused by the stock: {error}"));
            match error {
                stock_port::StoreError::Overtaken => {
                    world.count(Rare::LostRace);
                    if world.was_frozen(process) {
                        world.count(Rare::ZombieLost);
                    }
                }
                stock_port::StoreError::Failed(failure) if failure.code == "not-writable" => {
                    world.count(Rare::OldReignRefused);
                }
                _ => {}
            }
        }
    }
    checks::after_stock(world);
}

async fn commit_stock(
    world: &Arc<World>,
    process: usize,
    inner: &MemoryStock,
    why: Why,
    decision: &Decision,
) -> Result<stock_port::Committed, stock_port::StoreError> {
    let outcome = inner.commit(why, decision).await;
    let order = match decision {
        Decision::Step(step) => Some(step.after.order),
        Decision::Nothing => None,
    };
    if let (Ok(stock_port::Committed::Applied), Decision::Step(step)) = (&outcome, decision) {
        if step.before.is_none() && step.after.status == Status::Released {
            world.count(Rare::Tombstone);
        }
        if step.facts.iter().any(|fact| matches!(fact, Fact::Shipped(_))) {
            checks::after_shipment(world, step.after.order);
        }
    }
    committed_stock(world, process, order, outcome.as_ref().copied());
    outcome
}

async fn reserve_stock(
    world: &Arc<World>,
    process: usize,
    inner: &MemoryStock,
    requests: &[Request],
    now: DateTime<Utc>,
) -> Vec<Result<Reserved, stock_port::StoreError>> {
    let outcomes = inner.reserve(requests, now).await;
    for (request, outcome) in requests.iter().zip(&outcomes) {
        if matches!(outcome, Ok(Reserved { status: Some(Status::Rejected), .. })) {
            world.count(Rare::OutOfStock);
        }
        let committed = outcome.as_ref().map(|reserved| reserved.committed);
        committed_stock(world, process, Some(request.asked.order), committed);
    }
    outcomes
}

#[async_trait]
impl StockStore for Stock {
    async fn reservation(&self, order: OrderId) -> Result<Option<Reservation>, stock_port::StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.reservation(order).await
    }

    async fn rows(&self, skus: &[Sku]) -> Result<HashMap<Sku, Rows>, stock_port::StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.rows(skus).await
    }

    async fn reserve(&self, requests: &[Request], now: DateTime<Utc>) -> Vec<Result<Reserved, stock_port::StoreError>> {
        let (here, world) = (&self.here, &self.here.world);
        let fault = lock(&world.plan).commit(Side::Stock);
        let all = |code: &'static str| requests.iter().map(|_| Err(failed("nobody knows", code))).collect();
        here.moment(Moment::BeforeCommit).await;
        match fault {
            Some(CommitFault::Refused) => return all("overloaded"),
            Some(CommitFault::UnknownNever) => {
                world.count(Rare::CommitUnknownNever);
                here.moment(Moment::AfterCommit).await;
                return all("outcome-unknown");
            }
            Some(CommitFault::UnknownLater { ms }) => {
                let (inside, inner, process, requests) =
                    (Arc::clone(world), self.inner.clone(), here.process, requests.to_vec());
                world.later(ms * 1_000, async move {
                    let outcomes = reserve_stock(&inside, process, &inner, &requests, now).await;
                    if outcomes.iter().any(|outcome| {
                        outcome.as_ref().is_ok_and(|reserved| reserved.committed == stock_port::Committed::Applied)
                    }) {
                        inside.count(Rare::CommitUnknownLater);
                    }
                });
                here.moment(Moment::AfterCommit).await;
                return all("outcome-unknown");
            }
            Some(CommitFault::Slow { before_ms, .. }) => world.sleep(before_ms * 1_000).await,
            Some(CommitFault::UnknownApplied) | None => {}
        }
        let outcomes = reserve_stock(world, here.process, &self.inner, requests, now).await;
        if let Some(CommitFault::Slow { after_ms, .. }) = fault {
            world.sleep(after_ms * 1_000).await;
        }
        here.moment(Moment::AfterCommit).await;
        if fault == Some(CommitFault::UnknownApplied) {
            world.count(Rare::CommitUnknownApplied);
            return all("outcome-unknown");
        }
        outcomes
    }

    async fn commit(&self, why: Why, decision: &Decision) -> Result<stock_port::Committed, stock_port::StoreError> {
        let (here, world) = (&self.here, &self.here.world);
        let fault = lock(&world.plan).commit(Side::Stock);
        here.moment(Moment::BeforeCommit).await;
        match fault {
            Some(CommitFault::Refused) => return Err(failed("busy", "overloaded")),
            Some(CommitFault::UnknownNever) => {
                world.count(Rare::CommitUnknownNever);
                here.moment(Moment::AfterCommit).await;
                return Err(failed("nobody knows", "outcome-unknown"));
            }
            Some(CommitFault::UnknownLater { ms }) => {
                let (inside, inner, process, decision) =
                    (Arc::clone(world), self.inner.clone(), here.process, decision.clone());
                world.later(ms * 1_000, async move {
                    let outcome = commit_stock(&inside, process, &inner, why, &decision).await;
                    if matches!(outcome, Ok(stock_port::Committed::Applied)) {
                        inside.count(Rare::CommitUnknownLater);
                    }
                });
                here.moment(Moment::AfterCommit).await;
                return Err(failed("nobody knows", "outcome-unknown"));
            }
            Some(CommitFault::Slow { before_ms, .. }) => world.sleep(before_ms * 1_000).await,
            Some(CommitFault::UnknownApplied) | None => {}
        }
        let outcome = commit_stock(world, here.process, &self.inner, why, decision).await;
        if let Some(CommitFault::Slow { after_ms, .. }) = fault {
            world.sleep(after_ms * 1_000).await;
        }
        here.moment(Moment::AfterCommit).await;
        if fault == Some(CommitFault::UnknownApplied) && outcome.is_ok() {
            world.count(Rare::CommitUnknownApplied);
            return Err(failed("nobody knows", "outcome-unknown"));
        }
        outcome
    }

    async fn receive(
        &self,
        receipt: &Receipt,
        by: UserId,
        now: DateTime<Utc>,
    ) -> Result<stock_port::Committed, stock_port::StoreError> {
        self.inner.receive(receipt, by, now).await
    }

    async fn correct(
        &self,
        correction: &Correction,
        by: UserId,
        now: DateTime<Utc>,
    ) -> Result<stock_port::Committed, stock_port::StoreError> {
        self.inner.correct(correction, by, now).await
    }

    async fn limit_back_orders(&self, sku: &Sku, limit: u32, by: UserId) -> Result<(), stock_port::StoreError> {
        self.inner.limit_back_orders(sku, limit, by).await
    }

    async fn availability(&self, skus: &[Sku]) -> Result<HashMap<Sku, Availability>, stock_port::StoreError> {
        self.here.moment(Moment::Read).await;
        self.inner.availability(skus).await
    }

    async fn claim_overdue(
        &self,
        now: DateTime<Utc>,
        asked_before: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<OrderId>, stock_port::StoreError> {
        self.here.moment(Moment::BeforeCommit).await;
        self.inner.claim_overdue(now, asked_before, limit).await
    }

    async fn sendable(&self, limit: u16) -> Result<Vec<(OrderId, Vec<Centre>)>, stock_port::StoreError> {
        self.inner.sendable(limit).await
    }

    async fn audit(&self, from: Option<&Mark>, most: Most) -> Result<Look, stock_port::StoreError> {
        self.inner.audit(from, most).await
    }

    async fn note_findings(
        &self,
        audited: &[Place],
        findings: &[Finding],
        now: DateTime<Utc>,
    ) -> Result<u64, stock_port::StoreError> {
        self.inner.note_findings(audited, findings, now).await
    }

    async fn open_findings(&self, limit: u16) -> Result<Vec<Finding>, stock_port::StoreError> {
        self.inner.open_findings(limit).await
    }

    async fn findings_by_counter(&self) -> Result<Vec<stock_port::OpenFindings>, stock_port::StoreError> {
        self.inner.findings_by_counter().await
    }
}
