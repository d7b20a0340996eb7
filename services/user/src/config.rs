//! The settings of this service. What each key means stands in `config.default.toml`.

use chassis::config::{Auth, Common, ConfigError, Http, Redis, Secret};
use messaging::{DatabaseSettings, KafkaSettings};
use serde::Deserialize;

use crate::outbound::clicks::Records;

#[derive(Debug, Deserialize)]
pub struct Config {
    #[serde(flatten)]
    pub common: Common,
    pub http: Http,
    pub auth: Auth,
    pub redis: Redis,
    pub database: DatabaseSettings,
    pub kafka: KafkaSettings,
    pub pseudonym: Pseudonym,
    pub clicks: Clicks,
    pub keycloak: Keycloak,
    pub sign_up: SignUp,
    pub limits: Limits,
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

#[derive(Debug, Deserialize)]
pub struct Pseudonym {
    pub key: Secret,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Clicks {
    pub records: Records,
    pub spill_folder: String,
    pub spill_max_mb: u64,
    /// 0: as many as processors.
    pub runtimes: usize,
}

/// More processors than this no pod of ours has; a number beyond it is a mistake.
const MOST_RUNTIMES: usize = 64;

#[derive(Clone, Debug, Deserialize)]
pub struct Keycloak {
    pub base_url: String,
    pub realm: String,
    pub client_id: String,
    pub client_secret: Secret,
    pub admin_client_id: String,
    pub admin_client_secret: Secret,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct SignUp {
    pub neutral_answers: bool,
    pub min_answer_ms: u64,
    pub reconcile_every_ms: u64,
    pub reconcile_at_once: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Limits {
    pub sign_up_per_source: Rate,
    pub log_in_per_source: Rate,
    pub log_in_per_email: Rate,
    pub refresh_per_source: Rate,
    pub clicks_per_source: Rate,
    pub clicks_per_person: Rate,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Rate {
    pub per_minute: u32,
    pub burst: u32,
}

impl Config {
    /// # Errors
    /// The first pair of values that do not fit together.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.pseudonym.key.open().len() < 16 {
            return Err(ConfigError::invalid(
                "pseudonym.key",
                "needs at least 16 characters, the same for user, catalog and personalization",
            ));
        }
        let realm_end = format!("/realms/{}", self.keycloak.realm);
        if !self.auth.issuer.ends_with(&realm_end) {
            return Err(ConfigError::invalid("keycloak.realm", "is not the realm of auth.issuer"));
        }
        if self.clicks.spill_max_mb == 0 {
            return Err(ConfigError::invalid(
                "clicks.spill_max_mb",
                "must be at least 1; without a folder nothing is spilled",
            ));
        }
        if self.clicks.runtimes > MOST_RUNTIMES {
            return Err(ConfigError::invalid("clicks.runtimes", "must be at most 64; 0 is one for each processor"));
        }
        if self.sign_up.reconcile_every_ms == 0 || self.sign_up.reconcile_at_once == 0 {
            return Err(ConfigError::invalid("sign_up", "reconcile_every_ms and reconcile_at_once must be at least 1"));
        }
        if self.sign_up.min_answer_ms >= self.http.request_timeout_ms {
            return Err(ConfigError::invalid("sign_up.min_answer_ms", "is not shorter than http.request_timeout_ms"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_runtimes_than_any_machine_has_are_a_mistake() {
        let config = |runtimes: &str| {
            let variables = [
                ("SHOPSPHERE__PSEUDONYM__KEY", "sixteen characters or more"),
                ("SHOPSPHERE__CLICKS__RUNTIMES", runtimes),
            ];
            let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
            chassis::config::load::<Config>(<crate::Service as chassis::Service>::DEFAULTS, None, &variables)
                .expect("settings that are understood")
                .config
        };
        assert!(config("0").check().is_ok() && config("64").check().is_ok());
        assert!(config("65").check().is_err_and(|error| error.to_string().contains("clicks.runtimes")));
    }
}
