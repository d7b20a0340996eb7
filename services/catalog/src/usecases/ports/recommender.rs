//! What the strip of recommendations asks of the world.

use async_trait::async_trait;
use common::Sku;

use crate::usecases::personalise::Shopper;

/// How products of a strip are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StripKind {
    Similar,
    AlsoViewed,
    AlsoBought,
}

impl StripKind {
    pub const ALL: [Self; 3] = [Self::Similar, Self::AlsoViewed, Self::AlsoBought];

    pub fn code(self) -> &'static str {
        match self {
            Self::Similar => "similar",
            Self::AlsoViewed => "also_viewed",
            Self::AlsoBought => "also_bought",
        }
    }
}

/// Something recommended, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub sku: Sku,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// The best first.
    pub items: Vec<Candidate>,
    pub model: String,
    /// They are what everybody likes, because the person's profile could not be read.
    pub degraded: bool,
}

/// Whoever knows what goes with what.
#[async_trait]
pub trait Recommender: Send + Sync {
    /// Up to `limit` products that go with `sku`, within a few milliseconds or not at all.
    async fn recommend(&self, kind: StripKind, sku: &Sku, shopper: Shopper, limit: usize) -> Option<Candidates>;
}
