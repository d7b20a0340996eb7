//! Baskets in memory, for tests. The same suite holds them and PostgreSQL's to the same behaviour.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use messaging::crash;

use crate::domain::cart::{Cart, CartOwner};
use crate::usecases::error::{CommitError, Conflict, StoreError};
use crate::usecases::ports::Carts;

#[derive(Debug, Default)]
pub struct MemoryCarts(Mutex<BTreeMap<CartOwner, Cart>>);

impl MemoryCarts {
    fn carts(&self) -> MutexGuard<'_, BTreeMap<CartOwner, Cart>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_over(cart: &Cart, now: DateTime<Utc>) -> bool {
    cart.expires_at.is_some_and(|end| end <= now)
}

fn put(carts: &mut BTreeMap<CartOwner, Cart>, from: i64, cart: &Cart, now: DateTime<Utc>) -> Result<(), CommitError> {
    let known = carts.get(&cart.owner).filter(|known| from != Cart::UNWRITTEN || !is_over(known, now));
    if known.map_or(Cart::UNWRITTEN, |known| known.version) != from {
        return Err(CommitError::Refused(Conflict::Lost));
    }
    carts.insert(cart.owner, cart.clone());
    Ok(())
}

#[async_trait]
impl Carts for MemoryCarts {
    async fn find(&self, owner: CartOwner, now: DateTime<Utc>) -> Result<Option<Cart>, StoreError> {
        Ok(self.carts().get(&owner).filter(|cart| !is_over(cart, now)).cloned())
    }

    async fn write(&self, from: i64, cart: &Cart, now: DateTime<Utc>) -> Result<(), CommitError> {
        crash::point("commit.before_begin")?;
        put(&mut self.carts(), from, cart, now)?;
        crash::point("commit.after_commit")?;
        Ok(())
    }

    async fn merge(&self, from: i64, cart: &Cart, taken: &Cart, now: DateTime<Utc>) -> Result<(), CommitError> {
        crash::point("commit.before_begin")?;
        {
            let mut carts = self.carts();
            if carts.get(&taken.owner).is_none_or(|known| known.version != taken.version) {
                return Err(CommitError::Refused(Conflict::Lost));
            }
            put(&mut carts, from, cart, now)?;
            carts.remove(&taken.owner);
        }
        crash::point("commit.after_commit")?;
        Ok(())
    }

    async fn sweep(&self, now: DateTime<Utc>, limit: u16) -> Result<u64, CommitError> {
        let mut carts = self.carts();
        let over: Vec<_> = carts.values().filter(|cart| is_over(cart, now)).map(|cart| cart.owner).collect();
        let swept = over.into_iter().take(limit.into()).filter(|owner| carts.remove(owner).is_some()).count();
        Ok(swept as u64)
    }
}
