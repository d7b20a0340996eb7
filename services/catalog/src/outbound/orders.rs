//! The states of orders, asked of their owner over gRPC.

use std::time::Duration;

use async_trait::async_trait;
use chassis::resilience::{CallError, Guard, GuardSettings};
use chrono::DateTime;
use common::OrderId;
use contracts::order::v1::order_state_service_client::OrderStateServiceClient;
use contracts::order::v1::{self, GetOrderStatesRequest, OrderStanding};
use tonic::Status;

use crate::usecases::ports::orders::{OrderState, Orders, OrdersDown};

/// A hundred orders are read in tens of milliseconds; nobody waits for the sweeper, so it can be patient with a busy owner.
const DEADLINE: Duration = Duration::from_secs(5);

pub struct OrderStates {
    client: OrderStateServiceClient<chassis::grpc::Channel>,
    guard: Guard,
}

impl OrderStates {
    /// # Errors
    /// A malformed address. Nothing is connected yet.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        let client = OrderStateServiceClient::new(chassis::grpc::channel(url)?)
            .max_decoding_message_size(chassis::grpc::MAX_MESSAGE);
        let guard = Guard::new("order-states", GuardSettings { deadline: DEADLINE, ..GuardSettings::default() });
        Ok(Self { client, guard })
    }
}

#[async_trait]
impl Orders for OrderStates {
    async fn states(&self, orders: &[OrderId]) -> Result<Vec<OrderState>, OrdersDown> {
        let request = GetOrderStatesRequest { order_ids: orders.iter().map(OrderId::to_string).collect() };
        let asked =
            || async { self.client.clone().get_order_states(request.clone()).await.map(tonic::Response::into_inner) };
        let answer = self.guard.call_if(asked, chassis::grpc::is_fault).await.map_err(|error| describe(&error))?;
        if answer.states.len() != orders.len() {
            return Err(OrdersDown("the answer is about other orders".to_owned()));
        }
        orders.iter().zip(&answer.states).map(|(order, state)| read(*order, state)).collect()
    }
}

/// An answer that is not understood is no answer: nothing may follow from it.
fn read(order: OrderId, state: &v1::OrderState) -> Result<OrderState, OrdersDown> {
    let crooked = || OrdersDown("the answer cannot be read".to_owned());
    if state.order_id != order.to_string() {
        return Err(crooked());
    }
    match OrderStanding::try_from(state.standing) {
        Ok(OrderStanding::Open) => {
            let deadline = DateTime::from_timestamp_millis(state.deadline_at_ms).ok_or_else(crooked)?;
            Ok(OrderState::Open { deadline })
        }
        Ok(OrderStanding::Over) => Ok(OrderState::Over),
        Ok(OrderStanding::Unknown) => Ok(OrderState::Unknown),
        Ok(OrderStanding::Unspecified) | Err(_) => Err(crooked()),
    }
}

fn describe(error: &CallError<Status>) -> OrdersDown {
    OrdersDown(match error {
        CallError::Open { .. } => "the circuit is open".to_owned(),
        CallError::Deadline { .. } => "no answer in time".to_owned(),
        CallError::Failed(status) => format!("{:?}: {}", status.code(), status.message()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_not_understood_says_nothing() {
        let order = OrderId::from_uuid(common::ids::random());
        let state = |standing: i32| v1::OrderState { order_id: order.to_string(), standing, deadline_at_ms: 7 };
        assert!(
            matches!(read(order, &state(OrderStanding::Open as i32)), Ok(OrderState::Open { deadline }) if deadline.timestamp_millis() == 7)
        );
        assert!(matches!(read(order, &state(OrderStanding::Over as i32)), Ok(OrderState::Over)));
        assert!(matches!(read(order, &state(OrderStanding::Unknown as i32)), Ok(OrderState::Unknown)));
        for standing in [0, 9, -1] {
            assert!(read(order, &state(standing)).is_err(), "{standing}");
        }
        let other = OrderId::from_uuid(common::ids::random());
        assert!(read(other, &state(OrderStanding::Over as i32)).is_err(), "it is about another order");
    }
}
