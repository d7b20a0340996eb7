//! The settings of this service. What each key means stands in `config.default.toml`.

use std::time::Duration;

use chassis::config::{Auth, Common, ConfigError, Http, Redis, Secret};
use messaging::{DatabaseSettings, KafkaSettings};
use serde::Deserialize;

use crate::usecases::Rules;

#[derive(Debug, Deserialize)]
pub struct Config {
    #[serde(flatten)]
    pub common: Common,
    pub http: Http,
    pub auth: Auth,
    pub redis: Redis,
    pub database: DatabaseSettings,
    pub kafka: KafkaSettings,
    pub catalog: Catalog,
    pub gateway: Gateway,
    pub gate: Gate,
    pub orders: Orders,
    pub reconcile: Reconcile,
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Catalog {
    pub grpc_url: String,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Gateway {
    pub name: String,
    pub base_url: String,
    pub api_key: Secret,
    pub webhook_secret: Secret,
    pub previous_webhook_secret: Secret,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Gate {
    pub standby: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Orders {
    pub stock_deadline_s: u32,
    pub payment_deadline_s: u32,
    pub owner_refund_window_s: u32,
    pub max_streams: usize,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Reconcile {
    pub every_s: u32,
    pub window_s: u32,
    pub grace_s: u32,
    pub orphan_deadline_s: u32,
}

impl Config {
    /// # Errors
    /// The first value, or pair of values, that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("orders.stock_deadline_s", self.orders.stock_deadline_s),
            ("orders.payment_deadline_s", self.orders.payment_deadline_s),
            ("reconcile.every_s", self.reconcile.every_s),
        ];
        if let Some((key, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::invalid(key, "must be at least 1"));
        }
        if self.reconcile.window_s <= self.reconcile.grace_s {
            return Err(ConfigError::invalid(
                "reconcile.window_s",
                "is not longer than reconcile.grace_s: nothing would be compared",
            ));
        }
        if self.gateway.api_key.is_empty() {
            return Err(ConfigError::invalid("gateway.api_key", "is empty: no payment could be made"));
        }
        if self.gateway.webhook_secret.is_empty() {
            return Err(ConfigError::invalid("gateway.webhook_secret", "is empty: every webhook would be refused"));
        }
        Ok(())
    }

    pub fn rules(&self) -> Rules {
        let seconds = |seconds: u32| chrono::Duration::seconds(i64::from(seconds));
        Rules {
            stock_deadline: seconds(self.orders.stock_deadline_s),
            payment_deadline: seconds(self.orders.payment_deadline_s),
            reconcile_window: seconds(self.reconcile.window_s),
            reconcile_grace: seconds(self.reconcile.grace_s),
            orphan_deadline: seconds(self.reconcile.orphan_deadline_s),
            owner_refund_window: seconds(self.orders.owner_refund_window_s),
            ..Rules::default()
        }
    }

    pub fn reconcile_every(&self) -> Duration {
        Duration::from_secs(self.reconcile.every_s.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: &str = include_str!("../config.default.toml");

    fn with(variables: &[(&str, &str)]) -> Config {
        let owned: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        chassis::config::load::<Config>(DEFAULTS, None, &owned).unwrap().config
    }

    #[test]
    fn the_defaults_need_only_the_secrets() {
        assert!(with(&[]).check().is_err());
        let secrets = [("SHOPSPHERE__GATEWAY__API_KEY", "sk"), ("SHOPSPHERE__GATEWAY__WEBHOOK_SECRET", "whsec")];
        assert!(with(&secrets).check().is_ok());
        let mut odd = secrets.to_vec();
        odd.push(("SHOPSPHERE__RECONCILE__WINDOW_S", "60"));
        assert!(with(&odd).check().unwrap_err().to_string().contains("reconcile.window_s"));
    }
}
