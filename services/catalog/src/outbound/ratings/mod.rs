//! Interests from Redis, as personalization writes them, with a few milliseconds' patience: a page without them is a good
//! page, a late page is not. The person appears as a pseudonym only.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chassis::redis_client::RedisClient;
use chassis::resilience::{CallError, Guard, GuardSettings};
use contracts::interest::{self, Subject};
use contracts::personalization::v1::{InterestProfile, Rating};
use redis::AsyncCommands as _;
use tracing::Span;

use crate::domain::ranking::Interests;
use crate::metrics::INTEREST_READS;
use crate::usecases::ports::products::Ratings;

pub struct RedisRatings {
    redis: RedisClient,
    guard: Guard,
    pseudonym_key: Vec<u8>,
}

impl RedisRatings {
    /// `pseudonym_key` is the region's; `patience` bounds each look-up.
    pub fn new(redis: RedisClient, pseudonym_key: &[u8], patience: Duration) -> Self {
        // With so little patience single delays are no reason to stop asking; ten in a row are.
        let settings = GuardSettings {
            deadline: patience,
            failure_threshold: 10,
            cooldown: Duration::from_secs(1),
            max_tries: 1,
            ..GuardSettings::default()
        };
        Self { redis, guard: Guard::new("redis-ratings", settings), pseudonym_key: pseudonym_key.to_vec() }
    }

    /// # Errors
    /// Redis does not answer.
    pub async fn ping(&self) -> Result<(), redis::RedisError> {
        redis::cmd("PING").query_async::<()>(&mut self.redis.clone()).await
    }
}

#[async_trait]
impl Ratings for RedisRatings {
    #[tracing::instrument(name = "interest.read", skip_all, fields(otel.kind = "client", db.system.name = "redis", interest.outcome = tracing::field::Empty))]
    async fn interests(&self, subject: Subject) -> Option<Interests> {
        let key = interest::profile_key(&interest::pseudonym(&self.pseudonym_key, subject));
        let read = self.guard.call(|| async { self.redis.clone().get::<_, Option<Vec<u8>>>(&key).await }).await;
        let (outcome, interests) = match read {
            Ok(Some(bytes)) => match interest::decode_profile(&bytes) {
                Some(profile) => ("found", Some(interests(profile))),
                None => ("unreadable", None),
            },
            Ok(None) => ("none", None),
            Err(CallError::Deadline { .. }) => ("late", None),
            Err(CallError::Open { .. } | CallError::Failed(_)) => ("failed", None),
        };
        let span = Span::current();
        span.record("interest.outcome", outcome);
        INTEREST_READS.with_label_values(&[outcome]).inc();
        if let Some(traceparent) = interests.as_ref().and_then(|interests| interests.traceparent.as_deref()) {
            // So that one trace shows the click and the page that it changed.
            contracts::trace::add_link(&span, traceparent);
        }
        interests
    }
}

fn interests(profile: InterestProfile) -> Interests {
    let weights = |ratings: Vec<Rating>| -> HashMap<String, f64> {
        ratings.into_iter().map(|rating| (rating.key, f64::from(rating.weight))).collect()
    };
    Interests {
        categories: weights(profile.categories),
        brands: weights(profile.brands),
        families: weights(profile.families),
        skus: weights(profile.skus),
        traceparent: Some(profile.traceparent).filter(|traceparent| !traceparent.is_empty()),
    }
}
