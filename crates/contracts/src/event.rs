//! All events, one enum: which topic carries each, what its key is, how it becomes bytes and back.

use prost::Message as _;

use crate::topics::{self, Topic};
use crate::{catalog, order, user};

#[derive(Debug, thiserror::Error)]
pub enum UndecodableEvent {
    #[error("no event travels on topic {0}")]
    UnknownTopic(String),
    #[error("the payload is not a {0} message")]
    Malformed(&'static str, #[source] prost::DecodeError),
}

macro_rules! events {
    ($($variant:ident($message:ty) on $topic:ident by $key:ident),+ $(,)?) => {
        /// Something that happened, as told to other services.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Event {
            $($variant($message)),+
        }

        impl Event {
            pub fn topic(&self) -> &'static Topic {
                match self {
                    $(Self::$variant(_) => &topics::$topic),+
                }
            }

            /// Record key; also the aggregate whose versions order these events.
            pub fn key(&self) -> &str {
                match self {
                    $(Self::$variant(message) => &message.$key),+
                }
            }

            /// Protobuf bytes.
            pub fn encode(&self) -> Vec<u8> {
                match self {
                    $(Self::$variant(message) => message.encode_to_vec()),+
                }
            }

            /// # Errors
            /// [`UndecodableEvent`] when `topic` carries no events of this enum or `payload` is not one.
            pub fn decode(topic: &Topic, payload: &[u8]) -> Result<Self, UndecodableEvent> {
                $(if topic.kind == topics::$topic.kind {
                    return <$message>::decode(payload).map(Self::$variant).map_err(|source| UndecodableEvent::Malformed(topic.kind, source));
                })+
                Err(UndecodableEvent::UnknownTopic(topic.kind.to_owned()))
            }
        }

        $(impl From<$message> for Event {
            fn from(message: $message) -> Self {
                Self::$variant(message)
            }
        })+
    };
}

events! {
    UserRegistered(user::v1::UserRegistered) on USER_REGISTERED by user_id,
    OrderCreated(order::v1::OrderCreated) on ORDER_CREATED by order_id,
    OrderPaymentPending(order::v1::OrderPaymentPending) on ORDER_PAYMENT_PENDING by order_id,
    OrderCompleted(order::v1::OrderCompleted) on ORDER_COMPLETED by order_id,
    OrderCompensated(order::v1::OrderCompensated) on ORDER_COMPENSATED by order_id,
    OrderRefunded(order::v1::OrderRefunded) on ORDER_REFUNDED by order_id,
    StockReserved(catalog::v1::StockReserved) on STOCK_RESERVED by order_id,
    StockRejected(catalog::v1::StockRejected) on STOCK_REJECTED by order_id,
    StockReleased(catalog::v1::StockReleased) on STOCK_RELEASED by order_id,
    StockFinalised(catalog::v1::StockFinalised) on STOCK_FINALISED by order_id,
    ShipmentCreated(catalog::v1::ShipmentCreated) on SHIPMENT_CREATED by order_id,
    ProductChanged(catalog::v1::ProductChanged) on PRODUCT_CHANGED by sku,
}

impl Event {
    /// `<domain>.<event>`, the name of this event in ids, logs and metrics.
    pub fn kind(&self) -> &'static str {
        self.topic().kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded bytes of version 1: a change that can no longer read them breaks every consumer that lags behind.
    #[test]
    fn recorded_bytes_of_an_order_still_read_the_same() {
        let event = Event::from(order::v1::OrderCompensated {
            order_id: "o1".to_owned(),
            reason: order::v1::CompensationReason::PaymentDeclined as i32,
            compensated_at_ms: 7,
        });
        assert_eq!(hex::encode(event.encode()), "0a026f3110021807");
        assert_eq!(Event::decode(&topics::ORDER_COMPENSATED, &event.encode()).ok(), Some(event));
    }

    #[test]
    fn recorded_bytes_of_a_refund_still_read_the_same() {
        let event = Event::from(order::v1::OrderRefunded {
            order_id: "o1".to_owned(),
            refund_id: "r1".to_owned(),
            amount: Some(crate::common::v1::Money { currency: "EUR".to_owned(), units: 1, nanos: 0 }),
            whole: true,
            lines: vec![order::v1::OrderLine { sku: "A".to_owned(), quantity: 2, options: Vec::new() }],
            refunded_at_ms: 7,
        });
        assert_eq!(
            hex::encode(event.encode()),
            "0a026f31120272311a070a0345555210012001 2a050a014110023007".replace(' ', "")
        );
        assert_eq!(Event::decode(&topics::ORDER_REFUNDED, &event.encode()).ok(), Some(event));
    }

    #[test]
    fn bytes_that_are_no_message_are_refused() {
        assert!(Event::decode(&topics::STOCK_RESERVED, &[0xff, 0xff, 0xff]).is_err());
        assert!(Event::decode(&topics::CLICKSTREAM_RAW, &[]).is_err());
    }
}
