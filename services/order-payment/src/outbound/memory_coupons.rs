//! Uses of coupons in memory, for tests and for the simulation. The same suite holds them and PostgreSQL's to the same limits.

use std::collections::BTreeMap;

use common::{OrderId, UserId};

use crate::domain::coupon::{CouponCode, CouponCount, CouponUse};

#[derive(Clone, Debug, Default)]
pub struct CouponBooks(BTreeMap<CouponCode, Uses>);

#[derive(Clone, Debug)]
pub struct Uses {
    /// With the newest word about its limits.
    coupon: CouponUse,
    /// By orders that have not ended without a sale.
    orders: BTreeMap<OrderId, UserId>,
}

impl CouponBooks {
    /// Takes a use, if one is left. `false`: none is, and nothing but the word about the limits was heard.
    pub fn take(&mut self, coupon: &CouponUse, order: OrderId, person: UserId) -> bool {
        let count = self.count(&coupon.code, Some(person));
        let uses = self.hear(coupon);
        let is_left = !uses.coupon.is_used_up(count);
        if is_left {
            uses.orders.insert(order, person);
        }
        is_left
    }

    /// Keeps the newest word about the limits, whatever became of the order that brought it.
    pub fn hear(&mut self, coupon: &CouponUse) -> &mut Uses {
        let uses = self
            .0
            .entry(coupon.code.clone())
            .or_insert_with(|| Uses { coupon: coupon.clone(), orders: BTreeMap::new() });
        if uses.coupon.revision < coupon.revision {
            uses.coupon = coupon.clone();
        }
        uses
    }

    pub fn give_back(&mut self, order: OrderId) {
        for uses in self.0.values_mut() {
            uses.orders.remove(&order);
        }
    }

    pub fn count(&self, code: &CouponCode, person: Option<UserId>) -> CouponCount {
        let Some(uses) = self.0.get(code) else { return CouponCount::default() };
        let mine = uses.orders.values().filter(|user| Some(**user) == person).count();
        CouponCount { used: uses.orders.len() as u64, by_person: mine as u64 }
    }
}
