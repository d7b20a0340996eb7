//! Settings. What each key means stands in `config.default.toml`.

use chassis::config::{Auth, Common, ConfigError, Grpc, Http, Redis, Secret};
use messaging::KafkaSettings;
use serde::Deserialize;

use crate::domain::experiment::plan::Plans;

pub const DEFAULTS: &str = include_str!("../config.default.toml");

/// A shorter key could be found by trying: 16 characters of even a plain alphabet are more than 80 bits.
const MIN_KEY_LENGTH: usize = 16;

#[derive(Debug, Deserialize)]
pub struct Config {
    #[serde(flatten)]
    pub common: Common,
    pub http: Http,
    pub grpc: Grpc,
    pub auth: Auth,
    pub redis: Redis,
    pub kafka: KafkaSettings,
    pub pseudonym: PseudonymKey,
    pub visits: Visits,
    pub experiments: Experiments,
}

#[derive(Debug, Deserialize)]
pub struct Experiments {
    pub running: String,
}

#[derive(Debug, Deserialize)]
pub struct Visits {
    pub folder: String,
}

#[derive(Debug, Deserialize)]
pub struct PseudonymKey {
    pub key: Secret,
}

impl Config {
    /// # Errors
    /// A key that gives no protection.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.pseudonym.key.open().len() < MIN_KEY_LENGTH {
            return Err(ConfigError::invalid("pseudonym.key", "must have at least 16 characters"));
        }
        self.plans().map(|_| ())
    }

    /// The experiments that run.
    ///
    /// # Errors
    /// What cannot be read, or cannot run.
    pub fn plans(&self) -> Result<Plans, ConfigError> {
        Plans::parse(&self.experiments.running).map_err(|reason| ConfigError::invalid("experiments.running", reason))
    }
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}
