//! The settings of this service. Decided here: which sections exist and that their values fit together. What each key means
//! stands in `config.default.toml`.

use chassis::config::{Auth, Common, ConfigError, Grpc, Http, Redis, Secret};
use messaging::{DatabaseSettings, KafkaSettings};
use serde::Deserialize;

use crate::outbound::mongo::MANY_READS_DEADLINE;

#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    #[serde(flatten)]
    pub common: Common,
    pub http: Http,
    pub grpc: Grpc,
    pub auth: Auth,
    pub redis: Redis,
    /// PostgreSQL `inventory`.
    pub database: DatabaseSettings,
    pub kafka: KafkaSettings,
    pub mongo: Mongo,
    pub elasticsearch: Elasticsearch,
    pub ratings: Ratings,
    pub pictures: Pictures,
    pub cache: Cache,
    pub pages: Pages,
    pub stand_in: StandIn,
    pub personalization: Personalization,
    pub cdn: Cdn,
    pub order_payment: OrderPayment,
    pub pseudonym: Pseudonym,
}

/// The write store of products.
#[derive(Clone, Debug, Deserialize)]
pub struct Mongo {
    /// May carry a password.
    pub url: Secret,
    pub database: String,
    /// Longest a page waits for its product.
    pub read_deadline_ms: u64,
    /// The PostgreSQL database behind FerretDB; empty where the server is MongoDB. Used by the role migrate only.
    pub ferretdb_postgres_url: Secret,
}

/// The search read model.
#[derive(Clone, Debug, Deserialize)]
pub struct Elasticsearch {
    pub url: String,
    /// Begins the names of indexes and aliases; may be empty.
    pub index_prefix: String,
    /// Longest a search may take.
    pub search_deadline_ms: u64,
    /// How long an answer that is not empty is given again to the same question.
    pub remembered_ms: u64,
    /// Several searches in one request, while the index is busy.
    pub grouped: bool,
}

/// Pictures of products.
#[derive(Clone, Debug, Deserialize)]
pub struct Pictures {
    /// A folder that all processes of the region share.
    pub folder: String,
}

/// The interests of people.
#[derive(Clone, Debug, Deserialize)]
pub struct Ratings {
    /// How long a page waits for them.
    pub patience_ms: u64,
}

/// Finished product pages of this process.
#[derive(Clone, Debug, Deserialize)]
pub struct Pages {
    pub max_bytes: u64,
    pub fresh_ms: u64,
    pub stale_ms: u64,
}

/// What answers while the search index is away.
#[derive(Clone, Debug, Deserialize)]
pub struct StandIn {
    /// 0: nothing does.
    pub max_bytes: usize,
}

/// Newest revisions.
#[derive(Clone, Debug, Deserialize)]
pub struct Cache {
    pub shared_ttl_s: u64,
    pub local_ttl_ms: u64,
    pub local_entries: u64,
}

/// Where recommendations come from.
#[derive(Clone, Debug, Deserialize)]
pub struct Personalization {
    pub grpc_url: String,
    /// How long a strip waits for them.
    pub patience_ms: u64,
}

/// Who keeps copies of our answers outside.
#[derive(Clone, Debug, Deserialize)]
pub struct Cdn {
    /// Told what changed; empty: nobody is.
    pub purge_url: String,
    pub purge_token: Secret,
}

/// Who owns the deadlines of orders.
#[derive(Clone, Debug, Deserialize)]
pub struct OrderPayment {
    pub grpc_url: String,
}

/// The region's key that turns a person into a pseudonym.
#[derive(Clone, Debug, Deserialize)]
pub struct Pseudonym {
    pub key: Secret,
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

/// A shorter key could be guessed by trying.
const PSEUDONYM_KEY_MIN_LENGTH: usize = 16;

/// Less than this and a page may not find room in its part of the memory.
const LEAST_PAGES: u64 = 1 << 20;

/// Looks for values that do not fit together, before anything is opened.
pub fn check(config: &Config) -> Result<(), ConfigError> {
    if config.pseudonym.key.open().len() < PSEUDONYM_KEY_MIN_LENGTH {
        return Err(ConfigError::invalid("pseudonym.key", "must have at least 16 characters"));
    }
    if config.pages.max_bytes < LEAST_PAGES {
        return Err(ConfigError::invalid("pages.max_bytes", "must be at least 1048576: a few hundred pages"));
    }
    if !(1..=MANY_READS_DEADLINE.as_millis()).contains(&config.mongo.read_deadline_ms.into()) {
        return Err(ConfigError::invalid(
            "mongo.read_deadline_ms",
            format!("must be from 1 to {}: a page waits no longer than a quote", MANY_READS_DEADLINE.as_millis()),
        ));
    }
    if config.ratings.patience_ms >= config.elasticsearch.search_deadline_ms {
        return Err(ConfigError::invalid(
            "ratings.patience_ms",
            "must be below elasticsearch.search_deadline_ms: interests never delay a search",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chassis::Service as _;

    use super::*;

    #[test]
    fn a_page_waits_for_its_product_but_no_longer_than_a_quote_does() {
        let with = |read_deadline_ms: u64| {
            let mut config =
                chassis::config::load::<Config>(crate::Service::DEFAULTS, None, &[]).expect("defaults").config;
            config.mongo.read_deadline_ms = read_deadline_ms;
            check(&config).map_err(|error| error.to_string())
        };
        for good in [1, 800, 3_000] {
            assert_eq!(with(good), Ok(()));
        }
        for bad in [0, 3_001, u64::MAX] {
            let refused = with(bad).expect_err("too short or too long");
            assert!(refused.contains("mongo.read_deadline_ms"), "{refused}");
        }
    }
}
