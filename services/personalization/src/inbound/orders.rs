//! The stream of paid orders: whoever was shown something of an experiment before has bought. Of an order its person, total and time are
//! read; the person is a pseudonym from here on, and of the order a mark remains.

use std::sync::Arc;

use async_trait::async_trait;
use chassis::config::Secret;
use common::{Money, OrderId, UserId};
use contracts::interest;
use contracts::order::v1::OrderCompleted;
use messaging::{BatchHandler, Record};
use prost::Message as _;

use crate::domain::Pseudonym;
use crate::domain::experiment::enrolment::Purchase;
use crate::domain::seen;
use crate::metrics;
use crate::usecases::{Learner, PaidOrder, count_orders};

pub struct OrderConsumer {
    pub learner: Learner,
    /// Turns a person into the name under which they take part.
    pub pseudonym_key: Arc<Secret>,
}

#[async_trait]
impl BatchHandler for OrderConsumer {
    async fn handle(&self, partition: i32, records: &[Record]) -> anyhow::Result<()> {
        let orders: Vec<PaidOrder> = records.iter().filter_map(|record| self.read(record)).collect();
        let counted = count_orders(&self.learner, &orders).await?;
        let refused = records.len() - orders.len();
        for (outcome, count) in [("counted", counted.counted), ("other", counted.others), ("refused", refused)] {
            metrics::EXPERIMENT_ORDERS.with_label_values(&[outcome]).inc_by(count as u64);
        }
        tracing::debug!(
            partition,
            counted = counted.counted,
            other = counted.others,
            withdrew = counted.withdrew,
            refused,
            "orders counted"
        );
        Ok(())
    }
}

impl OrderConsumer {
    /// A record that is no order of this region can never become one: it is counted and passed over. The catalog reads the
    /// same records and parks what cannot be read, so nobody has to find it here.
    fn read(&self, record: &Record) -> Option<PaidOrder> {
        let order = self.parse(record);
        if order.is_none() {
            tracing::warn!(partition = record.partition, offset = record.offset, "order record refused");
        }
        order
    }

    fn parse(&self, record: &Record) -> Option<PaidOrder> {
        let order = OrderCompleted::decode(record.payload.clone()).ok()?;
        let id: OrderId = order.order_id.parse().ok()?;
        let user: UserId = order.user_id.parse().ok()?;
        let total = Money::try_from(order.total?).ok()?;
        let ours = total.currency() == self.learner.trials.running.currency() && !total.is_negative();
        let who = Pseudonym::parse(&interest::pseudonym(self.pseudonym_key.open().as_bytes(), user)).ok()?;
        let purchase = Purchase {
            mark: seen::mark(&id.to_string())?,
            minor: total.minor(),
            at_ms: Some(order.completed_at_ms).filter(|at_ms| *at_ms > 0)?,
        };
        ours.then_some(PaidOrder { user, who, purchase })
    }
}
