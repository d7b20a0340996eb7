//! Goods on their way. Decided here: which orders need a shipment. It exists only because an order was completed: the store
//! ties it to the message that said so.

use chrono::{DateTime, Utc};
use common::{OrderId, ShipmentId};

use super::inventory::SupplyKind;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shipment {
    pub id: ShipmentId,
    pub order: OrderId,
    /// Site whose fulfilment centre sends the goods.
    pub fulfilment_centre: String,
    pub created_at: DateTime<Utc>,
}

impl Shipment {
    /// The one shipment of `order`, or `None` when nothing on it has to be sent.
    pub fn of(order: OrderId, kinds: &[SupplyKind], fulfilment_centre: &str, now: DateTime<Utc>) -> Option<Self> {
        kinds.iter().any(|kind| kind.is_physical()).then(|| Self {
            id: ShipmentId::derive(order),
            order,
            fulfilment_centre: fulfilment_centre.to_owned(),
            created_at: now,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_carried_is_sent() {
        use SupplyKind::{Counted, MadeToOrder, Serialised, Unlimited};
        let order = OrderId::from_uuid(common::ids::random());
        let table: [(&[SupplyKind], bool); 5] = [
            (&[Unlimited], false),
            (&[Unlimited, Counted], true),
            (&[MadeToOrder], true),
            (&[Serialised], true),
            (&[], false),
        ];
        for (kinds, sent) in table {
            let shipment = Shipment::of(order, kinds, "rdc-a", DateTime::UNIX_EPOCH);
            assert_eq!(shipment.is_some(), sent, "{kinds:?}");
            assert!(shipment.is_none_or(|shipment| shipment.id == ShipmentId::derive(order)));
        }
    }
}
