//! What the stock asks of order-payment, which owns the deadline of every order.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use common::OrderId;

/// How an order stands with its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderState {
    /// It goes on; its deadline, which the owner may still move.
    Open { deadline: DateTime<Utc> },
    /// It has ended; the event that says how is on its way.
    Over,
    /// The owner never heard of it.
    Unknown,
}

#[derive(Debug, thiserror::Error)]
#[error("orders cannot be asked about: {0}")]
pub struct OrdersDown(pub String);

#[async_trait]
pub trait Orders: Send + Sync {
    /// The states of `orders`, at most [`MAX_ORDERS`], in their order.
    async fn states(&self, orders: &[OrderId]) -> Result<Vec<OrderState>, OrdersDown>;
}

/// Orders of one question: what the sweeper takes at a time.
pub const MAX_ORDERS: usize = 100;
