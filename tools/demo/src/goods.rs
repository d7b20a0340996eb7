//! What became of the goods of a run's orders: no parcel without a completed order, none before it was completed, none forgotten; and how
//! long the stock of an order that was given up stayed held after that.
//!
//! The times are told and judged by nobody here: they are those of a machine on which processes are killed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use uuid::Uuid;

/// How an order ended, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    pub completed: bool,
    pub at: DateTime<Utc>,
}

/// What the stock knows of an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// When its stock was given back.
    pub released_at: Option<DateTime<Utc>>,
    pub first_parcel_at: Option<DateTime<Utc>>,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goods {
    pub completed: usize,
    /// Of those, with a parcel.
    pub sent: usize,
    /// Orders with a parcel that were not completed, or not yet.
    pub early: Vec<Uuid>,
    /// Milliseconds from the end of an order without a sale to its stock being free again, the shortest first.
    pub release_ms: Vec<i64>,
}

impl Goods {
    pub fn judge(ended: &BTreeMap<Uuid, Ended>, served: &BTreeMap<Uuid, Served>) -> Self {
        let mut goods = Self { completed: ended.values().filter(|end| end.completed).count(), ..Self::default() };
        for (order, served) in served {
            let end = ended.get(order);
            if let Some(sent) = served.first_parcel_at {
                let paid = end.is_some_and(|end| end.completed && end.at <= sent);
                if paid { goods.sent += 1 } else { goods.early.push(*order) }
            }
            // One whose stock was held after it had ended was released at once: that took no time.
            if let (Some(end), Some(released)) = (end.filter(|end| !end.completed), served.released_at) {
                goods.release_ms.push((released - end.at).num_milliseconds().max(0));
            }
        }
        goods.release_ms.sort_unstable();
        goods
    }

    pub fn is_good(&self) -> bool {
        self.early.is_empty() && self.sent == self.completed
    }

    pub fn print(&self) {
        let verdict =
            if self.is_good() { "no order without its parcel, no parcel without its order" } else { "NOT SO" };
        println!(
            "parcels    {} orders completed, {} have parcels, {} early: {verdict}",
            self.completed,
            self.sent,
            self.early.len()
        );
        for order in self.early.iter().take(5) {
            println!("PROBLEM    order {order} has a parcel before it is completed");
        }
        if let Some(longest) = self.release_ms.last() {
            let at = |hundredth: usize| {
                self.release_ms[(self.release_ms.len() * hundredth / 100).min(self.release_ms.len() - 1)]
            };
            println!(
                "released   {} orders without a sale, stock free again after p50 {} ms, p99 {} ms, longest {longest} ms",
                self.release_ms.len(),
                at(50),
                at(99)
            );
        }
    }
}

/// How each of these orders ended.
///
/// # Errors
/// The database does not answer.
pub async fn ended(orders: &PgPool, ids: &[Uuid]) -> anyhow::Result<BTreeMap<Uuid, Ended>> {
    let rows: Vec<(Uuid, bool, DateTime<Utc>)> = sqlx::query_as(
        "SELECT order_id, status = 'COMPLETED', at FROM order_history
         WHERE order_id = ANY ($1) AND status IN ('COMPLETED', 'COMPENSATED')",
    )
    .bind(ids)
    .fetch_all(orders)
    .await?;
    Ok(rows.into_iter().map(|(order, completed, at)| (order, Ended { completed, at })).collect())
}

/// What the stock knows of these orders.
///
/// # Errors
/// The database does not answer.
pub async fn served(inventory: &PgPool, ids: &[Uuid]) -> anyhow::Result<BTreeMap<Uuid, Served>> {
    type Row = (Uuid, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT order_id, CASE WHEN status = 'RELEASED' AND version > 1 THEN settled_at END,
                (SELECT min(created_at) FROM shipments WHERE shipments.order_id = reservations.order_id)
         FROM reservations WHERE order_id = ANY ($1)",
    )
    .bind(ids)
    .fetch_all(inventory)
    .await?;
    let of = |(order, released_at, first_parcel_at)| (order, Served { released_at, first_parcel_at });
    Ok(rows.into_iter().map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap()
    }

    fn goods(completed: bool, ended_at: i64, released_at: Option<i64>, sent_at: Option<i64>) -> Goods {
        let order = Uuid::from_u128(1);
        let ended = BTreeMap::from([(order, Ended { completed, at: at(ended_at) })]);
        let served = Served { released_at: released_at.map(at), first_parcel_at: sent_at.map(at) };
        Goods::judge(&ended, &BTreeMap::from([(order, served)]))
    }

    #[test]
    fn a_parcel_too_early_too_many_or_missing_is_seen() {
        assert!(goods(true, 5, None, Some(6)).is_good());
        assert!(goods(true, 5, None, Some(5)).is_good());
        assert!(goods(false, 5, Some(6), None).is_good());
        assert!(!goods(true, 5, None, Some(4)).is_good(), "before the money");
        assert!(!goods(true, 5, None, None).is_good(), "paid and never sent");
        assert!(!goods(false, 5, Some(6), Some(7)).is_good(), "without a sale");
        let nobodys =
            BTreeMap::from([(Uuid::from_u128(2), Served { first_parcel_at: Some(at(1)), ..Served::default() })]);
        assert!(!Goods::judge(&BTreeMap::new(), &nobodys).is_good(), "of an order that has not ended");
    }

    #[test]
    fn the_time_until_stock_is_free_again_is_counted_from_the_end_of_its_order() {
        assert_eq!(goods(false, 5, Some(8), None).release_ms, [3_000]);
        assert_eq!(goods(false, 5, Some(4), None).release_ms, [0]);
        assert!(goods(true, 5, None, Some(6)).release_ms.is_empty());
    }
}
