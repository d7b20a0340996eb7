//! Interests from Redis, as personalization writes them, with a few milliseconds' patience: a page without them is a good
//! page, a late page is not. The person appears as a pseudonym only.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chassis::redis_client::RedisClient;
use chassis::resilience::{CallError, Guard, GuardSettings};
use contracts::interest::{self, Subject};
use contracts::personalization::v1::{InterestProfile, Rating};
use contracts::places::Layout;
use redis::AsyncCommands as _;
use tracing::Span;

use crate::domain::ranking::Interests;
use crate::metrics::INTEREST_READS;
use crate::usecases::ports::products::Ratings;

pub struct RedisRatings {
    redis: RedisClient,
    layout: Layout,
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
        Self {
            layout: Layout::of(redis.is_cluster()),
            redis,
            guard: Guard::new("redis-ratings", settings),
            pseudonym_key: pseudonym_key.to_vec(),
        }
    }

    fn key(&self, subject: Subject) -> String {
        let who = interest::pseudonym(&self.pseudonym_key, subject);
        self.layout.home(&who).key(&interest::profile_key(&who))
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
        let key = self.key(subject);
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

#[cfg(test)]
mod tests {
    use chassis::redis_client::Limits;
    use common::UserId;

    use super::*;

    #[tokio::test]
    async fn a_profile_is_asked_for_under_its_plain_name_and_on_a_cluster_in_its_part() {
        let second = Duration::from_secs(1);
        let limits = Limits { connect: second, answer: second, tries: 1, pause: second };
        let who = Subject::Person(UserId::from_uuid(uuid::Uuid::from_u128(7)));
        let name = interest::pseudonym(b"key", who);
        let part = u8::from_str_radix(&name[..2], 16).expect("digits") % 64;
        for (url, key) in [
            ("redis://127.0.0.1:9", format!("interest:{{{name}}}")),
            ("redis+cluster://127.0.0.1:9", format!("{{part{part}}}:interest:{{{name}}}")),
        ] {
            let redis = RedisClient::open(url, limits).expect("a well-formed URL");
            assert_eq!(RedisRatings::new(redis, b"key", second).key(who), key, "{url}");
        }
    }
}
