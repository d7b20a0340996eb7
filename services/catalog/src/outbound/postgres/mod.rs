//! Stock in PostgreSQL. Each write goes through `messaging`'s one commit, so that the fence, the mark of the message, the rows
//! and the events are one transaction.
//!
//! How two decisions about the same rows are kept apart: a step names the status and version it was decided about and finds
//! no row when another came first; stock rows are locked in the order of SKU and centre, decided about under the lock, and
//! written with a look at the version they were read with.

mod audit;
mod changes;
mod commit;
mod correct;
pub(super) mod events;
mod failure;
mod load;
mod receive;
mod reserve;
mod shelves;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::{OrderId, Sku, UserId};
use futures::future::BoxFuture;
use messaging::{Database, Gathered, Together};

use crate::domain::audit::{Finding, Look, Mark, Most};
use crate::domain::centre::{Centre, Centres};
use crate::domain::correction::Correction;
use crate::domain::inventory::Availability;
use crate::domain::receipt::Receipt;
use crate::domain::reservation::{Decision, Reservation};
use crate::domain::shelves::{Place, availability};
use crate::usecases::ports::stock::{Committed, OpenFindings, Request, Reserved, Rows, StockStore, StoreError, Why};

/// The stock of a region, in its database `inventory`. Cheap to clone.
#[derive(Clone)]
pub struct PgStock {
    database: Database,
    centres: Centres,
    /// Where decisions about known orders meet.
    decisions: Arc<Together<commit::Decided, failure::Refusal>>,
    /// Where questions about reservations meet.
    reservations: Arc<Gathered<OrderId, Reservation, StoreError>>,
}

/// Reservations that are asked for in one question: a few rows each.
const MOST_ASKED: usize = 64;

impl PgStock {
    pub fn new(database: Database, centres: Centres) -> Self {
        let decisions = Arc::new(commit::together(database.clone()));
        let pool = database.pool().clone();
        let ask = move |orders| -> BoxFuture<'static, _> { Box::pin(load::reservations(pool.clone(), orders)) };
        let reservations = Arc::new(Gathered::new(MOST_ASKED, ask));
        Self { database, centres, decisions, reservations }
    }
}

#[async_trait]
impl StockStore for PgStock {
    async fn reservation(&self, order: OrderId) -> Result<Option<Reservation>, StoreError> {
        self.reservations.ask(order).await
    }

    async fn rows(&self, skus: &[Sku]) -> Result<HashMap<Sku, Rows>, StoreError> {
        load::rows(self.database.pool(), skus).await
    }

    async fn reserve(&self, requests: &[Request], now: DateTime<Utc>) -> Vec<Result<Reserved, StoreError>> {
        reserve::reserve(&self.database, &self.centres, requests, now).await
    }

    async fn commit(&self, why: Why, decision: &Decision) -> Result<Committed, StoreError> {
        commit::commit(&self.decisions, self.database.region(), why, decision).await
    }

    async fn receive(&self, receipt: &Receipt, by: UserId, now: DateTime<Utc>) -> Result<Committed, StoreError> {
        receive::receive(&self.database, &self.centres, receipt, by, now).await
    }

    async fn correct(&self, correction: &Correction, by: UserId, now: DateTime<Utc>) -> Result<Committed, StoreError> {
        correct::correct(&self.database, correction, by, now).await
    }

    async fn limit_back_orders(&self, sku: &Sku, limit: u32, by: UserId) -> Result<(), StoreError> {
        receive::limit_back_orders(&self.database, &self.centres, (sku, limit), by).await
    }

    async fn availability(&self, skus: &[Sku]) -> Result<HashMap<Sku, Availability>, StoreError> {
        let rows = self.rows(skus).await?;
        Ok(rows.into_iter().map(|(sku, rows)| (sku, availability(rows.iter(), &self.centres))).collect())
    }

    async fn claim_overdue(
        &self,
        now: DateTime<Utc>,
        asked_before: DateTime<Utc>,
        limit: u16,
    ) -> Result<Vec<OrderId>, StoreError> {
        watch::claim_overdue(&self.database, now, asked_before, limit).await
    }

    async fn sendable(&self, limit: u16) -> Result<Vec<(OrderId, Vec<Centre>)>, StoreError> {
        watch::sendable(self.database.pool(), limit).await
    }

    async fn audit(&self, from: Option<&Mark>, most: Most) -> Result<Look, StoreError> {
        audit::audit(self.database.pool(), from, most).await
    }

    async fn note_findings(
        &self,
        audited: &[Place],
        findings: &[Finding],
        now: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        watch::note_findings(&self.database, audited, findings, now).await
    }

    async fn open_findings(&self, limit: u16) -> Result<Vec<Finding>, StoreError> {
        watch::open_findings(self.database.pool(), limit).await
    }

    async fn findings_by_counter(&self) -> Result<Vec<OpenFindings>, StoreError> {
        watch::findings_by_counter(self.database.pool()).await
    }
}
