//! OrderStateService: answers the catalog about orders it holds stock for. Translates; the use case answers.

use std::sync::Arc;

use common::{ErrorKind, Explain, OrderId};
use contracts::order::v1::order_state_service_server::{OrderStateService, OrderStateServiceServer};
use contracts::order::v1::{GetOrderStatesRequest, GetOrderStatesResponse, OrderStanding, OrderState};
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::usecases::order_states::{MOST_ORDERS, Standing, order_states};
use crate::usecases::{App, Failure};

pub fn routes(app: Arc<App>) -> Routes {
    Routes::new(OrderStateServiceServer::new(States { app }).max_decoding_message_size(chassis::grpc::MAX_MESSAGE))
}

struct States {
    app: Arc<App>,
}

#[derive(Debug, thiserror::Error)]
enum Crooked {
    #[error("at most {MOST_ORDERS} orders in one question")]
    TooMany,
    #[error("order_ids[{index}] is not an order id")]
    NotAnId { index: usize },
}

impl Explain for Crooked {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Unprocessable
    }

    fn code(&self) -> &'static str {
        match self {
            Self::TooMany => "limit-exceeded",
            Self::NotAnId { .. } => "invalid-field",
        }
    }
}

#[tonic::async_trait]
impl OrderStateService for States {
    async fn get_order_states(
        &self,
        request: Request<GetOrderStatesRequest>,
    ) -> Result<Response<GetOrderStatesResponse>, Status> {
        let orders = orders(&request.into_inner()).map_err(|error| chassis::grpc::status(&error))?;
        let standings =
            order_states(&self.app, &orders).await.map_err(|error| chassis::grpc::status(&Failure::from(error)))?;
        let states = orders.iter().zip(standings).map(|(order, standing)| to_wire(*order, standing)).collect();
        Ok(Response::new(GetOrderStatesResponse { states }))
    }
}

fn orders(request: &GetOrderStatesRequest) -> Result<Vec<OrderId>, Crooked> {
    if request.order_ids.len() > MOST_ORDERS {
        return Err(Crooked::TooMany);
    }
    let id = |(index, text): (usize, &String)| text.parse().map_err(|_| Crooked::NotAnId { index });
    request.order_ids.iter().enumerate().map(id).collect()
}

fn to_wire(order: OrderId, standing: Standing) -> OrderState {
    let (standing, deadline_at_ms) = match standing {
        Standing::Unknown => (OrderStanding::Unknown, 0),
        Standing::Open(deadline) => (OrderStanding::Open, deadline.timestamp_millis()),
        Standing::Over => (OrderStanding::Over, 0),
    };
    OrderState { order_id: order.to_string(), standing: standing as i32, deadline_at_ms }
}
