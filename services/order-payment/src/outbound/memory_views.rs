//! What people read, from the books in memory; held to the same behaviour as PostgreSQL by the same suite.

use async_trait::async_trait;
use common::{OrderId, UserId};

use super::memory::MemoryStore;
use crate::domain::{AttemptKind, Order};
use crate::usecases::error::StoreError;
use crate::usecases::ports::Views;
use crate::usecases::views::{OrderCard, OrderView, Page, Position, StatusChange};

#[async_trait]
impl Views for MemoryStore {
    async fn order(&self, owner: UserId, id: OrderId) -> Result<Option<OrderView>, StoreError> {
        let books = self.books();
        let Some(order) = books.orders.get(&id).filter(|order| order.user == owner) else { return Ok(None) };
        let charges =
            books.attempts.values().filter(|attempt| attempt.order == id && attempt.kind == AttemptKind::Charge);
        Ok(Some(OrderView {
            id,
            status: order.status,
            total: order.total,
            tax: order.tax,
            lines: order.lines.clone(),
            address: order.address.clone(),
            created_at: order.created_at,
            payment: books.charge(|attempt| attempt.order == id).map(|attempt| attempt.state),
            attempts: u32::try_from(charges.count()).unwrap_or(u32::MAX),
            credit: order.credit,
            refunds: books.refunds.range((id, 0)..=(id, u32::MAX)).map(|(_, refund)| refund.clone()).collect(),
            shipment: books.shipments.get(&id).cloned(),
            history: books.history.get(&id).cloned().unwrap_or_default(),
        }))
    }

    async fn orders(&self, owner: UserId, before: Option<Position>, limit: u16) -> Result<Page<OrderCard>, StoreError> {
        let books = self.books();
        let mut mine: Vec<_> = books
            .orders
            .values()
            .filter(|order| order.user == owner)
            .filter(|order| {
                before.is_none_or(|position| (order.created_at, order.id) < (position.created_at, position.id))
            })
            .collect();
        mine.sort_by_key(|order| std::cmp::Reverse((order.created_at, order.id)));
        let more = mine.len() > usize::from(limit);
        let card = |order: &&Order| OrderCard {
            id: order.id,
            status: order.status,
            total: order.total,
            line_count: u32::try_from(order.lines.len()).unwrap_or(u32::MAX),
            created_at: order.created_at,
        };
        let items: Vec<_> = mine.iter().take(limit.into()).map(card).collect();
        let next = items.last().filter(|_| more).map(|last| Position { created_at: last.created_at, id: last.id });
        Ok(Page { items, next })
    }

    async fn changes_after(
        &self,
        owner: UserId,
        id: OrderId,
        version: i64,
    ) -> Result<Option<Vec<StatusChange>>, StoreError> {
        let books = self.books();
        if books.orders.get(&id).is_none_or(|order| order.user != owner) {
            return Ok(None);
        }
        let history = books.history.get(&id).into_iter().flatten();
        Ok(Some(history.filter(|change| change.version > version).cloned().collect()))
    }
}
