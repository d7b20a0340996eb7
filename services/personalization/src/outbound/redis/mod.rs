//! Redis as the store of interests, features and popularity. Everything in it can be lost: profiles grow again from clicks,
//! features from the topic of products, which is read through again, and until then the shop answers without them.
//!
//! Decided here: the connection, the names of keys, and which of them lie in one slot of a cluster and so can be read and written at once:
//! everything about a person lies in their part ([`contracts::interest::part`]), everything about products in the shop's place (ADR 0082).

mod consents;
mod features;
mod guarded;
mod interests;
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
use contracts::interest;
use redis::{FromRedisValue, Pipeline, RedisError, RedisResult, Value, from_redis_value};

use crate::domain::{Feature, PairKind, Pseudonym, popularity};
use crate::usecases::StoreUnavailable;
use crate::usecases::ports::{Shelf, WriteDown};

/// Products whose features the process keeps: a third of a large catalog, the third that is clicked; about 4 MiB.
const CACHED_FEATURES: u64 = 10_000;

/// A product that changes its category is noticed after this long by processes that did not learn it themselves.
const FEATURE_LIFETIME: Duration = Duration::from_secs(60);

/// The guard decides how long a call may take; this only bounds what it abandoned.
const LIMITS: Limits =
    Limits { connect: Duration::from_secs(1), answer: Duration::from_secs(5), tries: 6, pause: Duration::from_secs(1) };

/// What stands in every key of the shop's place. The braces keep them in one slot. All that is known of products lies there: it does not grow
/// with people, and a list and the product that leaves it change at once.
const SHOP: &str = "{shop}";

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
        Ok(Self {
            connection,
            guard: guard(Patience::Background),
            keys: Keys { prefix: prefix.to_owned() },
            features: features(),
        })
    }

    /// Another store on the same connection, with this before every key: for tests that share a server.
    #[must_use]
    pub fn beside(&self, prefix: &str) -> Self {
        Self { keys: Keys { prefix: prefix.to_owned() }, features: features(), ..self.clone() }
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

/// Names of keys. Shared layouts come from `contracts`.
#[derive(Clone, Debug)]
struct Keys {
    prefix: String,
}

impl Keys {
    fn profile(&self, person: &Pseudonym) -> String {
        self.of("interest", person)
    }

    fn recent(&self, person: &Pseudonym) -> String {
        self.of("recent", person)
    }

    fn seen(&self, person: &Pseudonym) -> String {
        self.of("seen", person)
    }

    /// When a person last said no.
    fn refused(&self, person: &Pseudonym) -> String {
        self.of("refused", person)
    }

    /// What a person was shown since they clicked last.
    fn lists(&self, person: &Pseudonym) -> String {
        self.of("lists", person)
    }

    /// In which experiments a person is.
    fn enrolments(&self, person: &Pseudonym) -> String {
        self.of("experiments", person)
    }

    /// In the slot of everything about the people of a part.
    fn of(&self, what: &str, person: &Pseudonym) -> String {
        format!("{}{}", self.prefix, interest::key(what, person.as_str()))
    }

    /// What the release before ADR 0082 kept of a person. To go when the last of it has run out, 90 days after that release.
    fn former(&self, person: &Pseudonym) -> [String; 5] {
        ["interest", "recent", "seen", "lists", "experiments"].map(|what| format!("{}{what}:{{{person}}}", self.prefix))
    }

    /// Sums of an experiment over the people of a part, beside them.
    fn sums(&self, part: usize, series: &str) -> String {
        format!("{}experiment:{}:{series}", self.prefix, interest::tag(part))
    }

    /// Up to where a partition is counted in a place: in the slot of what it guards.
    fn counted(&self, place: &str, partition: i32) -> String {
        format!("{}clicks-counted:{place}:{partition}", self.prefix)
    }

    /// From when on we know who has said no, of the people of a partition. In the shop's place: a server that loses it loses the mark of
    /// that place with it, and then it is told anew.
    fn refusals_since(&self, partition: i32) -> String {
        format!("{}refusals-since:{SHOP}:{partition}", self.prefix)
    }

    /// There while all products are.
    fn features_learned(&self) -> String {
        format!("{}features-learned:{SHOP}", self.prefix)
    }

    fn feature(&self, sku: &Sku) -> String {
        format!("{}feature:{SHOP}:{sku}", self.prefix)
    }

    /// The stream of visits, the index that was written down, and who may write it down.
    fn visits(&self) -> String {
        format!("{}visits:{SHOP}:steps", self.prefix)
    }

    fn visit_snapshot(&self) -> String {
        format!("{}visits:snapshot", self.prefix)
    }

    fn visit_writer(&self, why: WriteDown) -> String {
        match why {
            WriteDown::Time => format!("{}visits:writer", self.prefix),
            WriteDown::Traffic => format!("{}visits:writer:traffic", self.prefix),
        }
    }

    /// Categories by activity.
    fn categories(&self, now_ms: i64) -> String {
        let (era, _) = popularity::era_and_weight(now_ms, popularity::TRENDING_HALF_LIFE_MS);
        format!("{}popular:{SHOP}:{era}:categories", self.prefix)
    }

    fn shelf(&self, shelf: &Shelf, now_ms: i64) -> String {
        let (era, _) = popularity::era_and_weight(now_ms, popularity::TRENDING_HALF_LIFE_MS);
        let prefix = &self.prefix;
        match shelf {
            Shelf::Everything => format!("{prefix}popular:{SHOP}:{era}:all"),
            Shelf::Category(category) => format!("{prefix}popular:{SHOP}:{era}:category:{category}"),
            Shelf::Newest => format!("{prefix}newest:{SHOP}:all"),
            Shelf::NewestOf(category) => format!("{prefix}newest:{SHOP}:category:{category}"),
            Shelf::Together(PairKind::Viewed, sku) => format!("{prefix}together:{SHOP}:{era}:viewed:{sku}"),
            Shelf::Together(PairKind::Bought, sku) => format!("{prefix}together:{SHOP}:{era}:bought:{sku}"),
        }
    }
}
