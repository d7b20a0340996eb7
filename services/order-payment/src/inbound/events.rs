//! A table: which event leads to which use case.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::DateTime;
use common::{OrderId, Region, UserId};
use contracts::topics;
use contracts::{Event, Topic};
use messaging::{Cause, Delivery, Handler, Verdict};

use crate::usecases::begin_payment::begin_payment;
use crate::usecases::compensate_order::stock_was_rejected;
use crate::usecases::ports::Shipment;
use crate::usecases::record_shipment::record_shipment;
use crate::usecases::register_user::register_user;
use crate::usecases::{App, CONSUMER, Failure};

/// What this service listens to.
pub const TOPICS: [&Topic; 4] =
    [&topics::USER_REGISTERED, &topics::STOCK_RESERVED, &topics::STOCK_REJECTED, &topics::SHIPMENT_CREATED];

pub struct Events(pub Arc<App>);

#[async_trait]
impl Handler for Events {
    async fn handle(&self, delivery: &Delivery) -> Verdict {
        let app = &self.0;
        let cause = Cause::Message { consumer: CONSUMER, id: delivery.envelope.id };
        match &delivery.event {
            Event::UserRegistered(event) => {
                match (event.user_id.parse::<UserId>(), event.residency_region.parse::<Region>()) {
                    (Ok(user), Ok(region)) => verdict(register_user(app, cause, user, region).await),
                    _ => malformed(),
                }
            }
            Event::StockReserved(event) => match event.order_id.parse::<OrderId>() {
                Ok(order) => verdict(begin_payment(app, cause, order).await),
                Err(_) => malformed(),
            },
            Event::StockRejected(event) => match event.order_id.parse::<OrderId>() {
                Ok(order) => verdict(stock_was_rejected(app, cause, order).await),
                Err(_) => malformed(),
            },
            Event::ShipmentCreated(event) => {
                let created_at = DateTime::from_timestamp_millis(event.created_at_ms);
                match (event.order_id.parse(), event.shipment_id.parse(), created_at) {
                    (Ok(order), Ok(id), Some(created_at)) => {
                        let shipment =
                            Shipment { order, id, fulfilment_centre: event.fulfilment_centre.clone(), created_at };
                        verdict(record_shipment(app, cause, shipment).await)
                    }
                    _ => malformed(),
                }
            }
            other => Verdict::Park(format!("{} is not for this service", other.kind())),
        }
    }
}

fn verdict(outcome: Result<(), Failure>) -> Verdict {
    Verdict::of(outcome)
}

fn malformed() -> Verdict {
    Verdict::Park("an identifier or time in it cannot be read".to_owned())
}
