//! Redis as the store of interests, features and popularity. Everything in it can be lost: profiles grow again from clicks,
//! features from the topic of products, which is read through again, and until then the shop answers without them.
//!
//! Decided here: the connection. How keys lie follows from the server that the URL names ([`contracts::places`], ADR 0082).

mod consents;
mod features;
mod guarded;
mod interests;
mod keys;
mod lists;
mod scripts;
mod shelves;
mod tallies;
mod visits;

use std::time::Duration;

use anyhow::anyhow;
use chassis::redis_client::{Limits, RedisClient};
use chassis::resilience::{CallError, Guard, GuardSettings};
use common::Sku;
use contracts::places::Layout;
use redis::{FromRedisValue, Pipeline, RedisError, RedisResult, Value, from_redis_value};

use self::keys::Keys;
use crate::domain::Feature;
use crate::usecases::StoreUnavailable;

/// Products whose features the process keeps: a third of a large catalog, the third that is clicked; about 4 MiB.
const CACHED_FEATURES: u64 = 10_000;

/// A product that changes its category is noticed after this long by processes that did not learn it themselves.
const FEATURE_LIFETIME: Duration = Duration::from_secs(60);

/// The guard decides how long a call may take; this only bounds what it abandoned.
const LIMITS: Limits =
    Limits { connect: Duration::from_secs(1), answer: Duration::from_secs(5), tries: 6, pause: Duration::from_secs(1) };

/// What Redis says of a key of another type.
const WRONG_TYPE: &str = "WRONGTYPE";

/// How long a call may take.
#[derive(Clone, Copy, Debug)]
pub enum Patience {
    /// A page waits: a little less than the use case allows, so that a slow store counts as a fault and the breaker learns of it.
    Page,
    /// A batch or a refresh waits; nobody looks on.
    Background,
}

/// A handle on the store. Clones share connection and cache.
#[derive(Clone)]
pub struct RedisStore {
    connection: RedisClient,
    guard: Guard,
    keys: Keys,
    features: moka::future::Cache<Sku, Feature>,
}

impl RedisStore {
    /// Connects when first used, so a process starts while Redis is away. `prefix` goes before every key: empty except in tests
    /// that share a server.
    ///
    /// # Errors
    /// A malformed URL.
    pub fn connect(url: &str, prefix: &str) -> anyhow::Result<Self> {
        let connection = RedisClient::open(url, LIMITS)?;
        let keys = Keys { prefix: prefix.to_owned(), layout: Layout::of(connection.is_cluster()) };
        Ok(Self { connection, guard: guard(Patience::Background), keys, features: features() })
    }

    /// Another store on the same connection, with this before every key: for tests that share a server.
    #[must_use]
    pub fn beside(&self, prefix: &str) -> Self {
        let keys = Keys { prefix: prefix.to_owned(), ..self.keys.clone() };
        Self { keys, features: features(), ..self.clone() }
    }

    /// The same store for callers with other patience; it has a breaker of its own.
    pub fn with_patience(&self, patience: Patience) -> Self {
        Self { guard: guard(patience), ..self.clone() }
    }

    /// # Errors
    /// Redis does not answer.
    pub async fn ping(&self) -> Result<(), StoreUnavailable> {
        self.run(redis::pipe().cmd("PING")).await.map(|_| ())
    }

    /// Sends the commands in one round trip. An answer per command: a command that Redis refuses (a key of another type) is an
    /// error of its own and not a fault of the store.
    async fn run(&self, pipe: &Pipeline) -> Result<Vec<RedisResult<Value>>, StoreUnavailable> {
        // The client takes it for an error to be asked nothing.
        if pipe.cmd_iter().next().is_none() {
            return Ok(Vec::new());
        }
        let send = || {
            let (mut connection, mut pipe) = (self.connection.clone(), pipe.clone());
            pipe.ignore_errors();
            async move { pipe.query_async::<Vec<RedisResult<Value>>>(&mut connection).await }
        };
        let answers: Result<_, CallError<RedisError>> = self.guard.call(send).await;
        answers.map_err(|error| StoreUnavailable(anyhow!(error)))
    }
}

fn features() -> moka::future::Cache<Sku, Feature> {
    moka::future::Cache::builder().max_capacity(CACHED_FEATURES).time_to_live(FEATURE_LIFETIME).build()
}

/// An answer without which nothing may be decided.
fn readable<T: FromRedisValue>(answer: RedisResult<Value>) -> Result<T, StoreUnavailable> {
    answer
        .and_then(|value| from_redis_value(value).map_err(RedisError::from))
        .map_err(|error| StoreUnavailable(error.into()))
}

fn guard(patience: Patience) -> Guard {
    let (target, deadline) = match patience {
        Patience::Page => ("redis-page", Duration::from_millis(20)),
        Patience::Background => ("redis-background", Duration::from_secs(2)),
    };
    // One try: a page has no time for a second, and a batch is repeated by its consumer, with pauses.
    Guard::new(
        target,
        GuardSettings {
            deadline,
            failure_threshold: 10,
            cooldown: Duration::from_secs(1),
            max_tries: 1,
            ..GuardSettings::default()
        },
    )
}
