//! Uses of coupons in memory, for tests and for the simulation. The same suite holds them and PostgreSQL's to the same limits.

use std::collections::BTreeMap;

use common::{OrderId, UserId};

use crate::domain::coupon::{CouponCode, CouponCount, CouponUse};

#[derive(Clone, Debug, Default)]
pub struct CouponBooks(BTreeMap<CouponCode, Uses>);

#[derive(Clone, Debug)]
struct Uses {
    /// With the newest word about its limits.
    coupon: CouponUse,
    /// By orders that have not ended without a sale.
    orders: BTreeMap<OrderId, UserId>,
}

impl CouponBooks {
    /// Takes a use, if one is left. `false`: none is, and nothing has changed.
    pub fn take(&mut self, coupon: &CouponUse, order: OrderId, person: UserId) -> bool {
        let count = self.count(&coupon.code, Some(person));
        let known = self.0.get(&coupon.code).map(|uses| &uses.coupon);
        let newest = known.filter(|known| known.revision >= coupon.revision).unwrap_or(coupon).clone();
        if newest.is_used_up(count) {
            return false;
        }
        let uses = self
            .0
            .entry(coupon.code.clone())
            .or_insert_with(|| Uses { coupon: newest.clone(), orders: BTreeMap::new() });
        uses.coupon = newest;
        uses.orders.insert(order, person);
        true
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
