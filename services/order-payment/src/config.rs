//! The settings of this service. What each key means stands in `config.default.toml`.

use std::time::Duration;

use chassis::config::{Auth, Common, ConfigError, Grpc, Http, Redis, Secret};
use common::Region;
use messaging::{DatabaseSettings, KafkaSettings};
use serde::Deserialize;

use crate::domain::CardTesting;
use crate::domain::price_lock::LockKeys;
use crate::usecases::Rules;

#[derive(Debug, Deserialize)]
pub struct Config {
    #[serde(flatten)]
    pub common: Common,
    pub http: Http,
    pub grpc: Grpc,
    pub auth: Auth,
    pub redis: Redis,
    pub database: DatabaseSettings,
    pub kafka: KafkaSettings,
    pub catalog: Catalog,
    pub gateway: Gateway,
    pub second_gateway: SecondGateway,
    pub card_testing: CardTestingSettings,
    pub fraud_check: FraudCheck,
    pub gate: Gate,
    pub orders: Orders,
    pub prices: Prices,
    pub reconcile: Reconcile,
    pub settlement: Settlement,
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
    pub settlement_url: String,
    pub timeout_s: u32,
    pub new_attempts: String,
}

/// Speaks the Square wire; not there when it has no name.
#[derive(Clone, Debug, Deserialize)]
pub struct SecondGateway {
    pub name: String,
    pub base_url: String,
    pub api_key: Secret,
    pub notification_url: String,
    pub webhook_secret: Secret,
    pub previous_webhook_secret: Secret,
    pub settlement_url: String,
}

impl SecondGateway {
    pub fn is_there(&self) -> bool {
        !self.name.is_empty()
    }

    fn check(&self) -> Result<(), ConfigError> {
        let empty = [
            ("second_gateway.base_url", self.base_url.is_empty()),
            ("second_gateway.api_key", self.api_key.is_empty()),
            ("second_gateway.notification_url", self.notification_url.is_empty()),
            ("second_gateway.webhook_secret", self.webhook_secret.is_empty()),
        ];
        match empty.into_iter().find(|(_, empty)| self.is_there() && *empty) {
            Some((key, _)) => Err(ConfigError::invalid(key, "is empty although the second gateway has a name")),
            None => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct CardTestingSettings {
    pub most_declined: u32,
    pub within_s: u32,
}

/// Not there when it has no address.
#[derive(Clone, Debug, Deserialize)]
pub struct FraudCheck {
    pub url: String,
    pub api_key: Secret,
    pub timeout_ms: u32,
    pub when_silent: WhenSilent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenSilent {
    Pass,
    Wait,
}

impl FraudCheck {
    fn check(&self) -> Result<(), ConfigError> {
        if self.url.is_empty() {
            return Ok(());
        }
        let url = reqwest::Url::parse(&self.url);
        let secret = |url: reqwest::Url| url.scheme() == "https" || url.host_str() == Some("127.0.0.1");
        if !url.is_ok_and(secret) {
            return Err(ConfigError::invalid("fraud_check.url", "is no https:// address"));
        }
        if self.api_key.is_empty() {
            return Err(ConfigError::invalid("fraud_check.api_key", "is empty although there is a fraud check"));
        }
        if !(1..=LONGEST_FRAUD_CHECK_MS).contains(&self.timeout_ms) {
            let most = format!("must be between 1 and {LONGEST_FRAUD_CHECK_MS}: a worker has the payment meanwhile");
            return Err(ConfigError::invalid("fraud_check.timeout_ms", most));
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Settlement {
    pub hour_utc: u8,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Gate {
    pub slot: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Orders {
    pub stock_deadline_s: u32,
    pub payment_deadline_s: u32,
    pub owner_refund_window_s: u32,
    pub max_streams: usize,
    pub max_together: usize,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Prices {
    pub lock_key: Secret,
    pub previous_lock_key: Secret,
    pub lock_s: u32,
}

impl Prices {
    /// `None` when no key can be made of the secrets.
    pub fn keys(&self, region: Region) -> Option<LockKeys> {
        let previous = (!self.previous_lock_key.is_empty()).then(|| self.previous_lock_key.open());
        LockKeys::new(region, self.lock_key.open(), previous)
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Reconcile {
    pub every_s: u32,
    pub window_s: u32,
    pub grace_s: u32,
    pub orphan_deadline_s: u32,
}

/// A worker has 64 payments at a time, refunds among them, and none of them goes on while it waits.
const LONGEST_FRAUD_CHECK_MS: u32 = 1_000;
/// In bytes. What is shorter can be tried out by whoever has one lock.
const SHORTEST_LOCK_KEY: usize = 16;

impl Config {
    /// # Errors
    /// The first value, or pair of values, that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("orders.stock_deadline_s", self.orders.stock_deadline_s),
            ("orders.payment_deadline_s", self.orders.payment_deadline_s),
            ("reconcile.every_s", self.reconcile.every_s),
            ("prices.lock_s", self.prices.lock_s),
        ];
        if let Some((key, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::invalid(key, "must be at least 1"));
        }
        if !(1..=500).contains(&self.orders.max_together) {
            return Err(ConfigError::invalid("orders.max_together", "must be between 1 and 500"));
        }
        if self.reconcile.window_s <= self.reconcile.grace_s {
            return Err(ConfigError::invalid(
                "reconcile.window_s",
                "is not longer than reconcile.grace_s: nothing would be compared",
            ));
        }
        if self.prices.lock_key.open().len() < SHORTEST_LOCK_KEY {
            return Err(ConfigError::invalid("prices.lock_key", "is too short: anybody could promise prices"));
        }
        if self.gateway.api_key.is_empty() {
            return Err(ConfigError::invalid("gateway.api_key", "is empty: no payment could be made"));
        }
        if self.gateway.webhook_secret.is_empty() {
            return Err(ConfigError::invalid("gateway.webhook_secret", "is empty: every webhook would be refused"));
        }
        self.second_gateway.check()?;
        self.fraud_check.check()?;
        if self.card_testing.most_declined > 0 && self.card_testing.within_s == 0 {
            return Err(ConfigError::invalid("card_testing.within_s", "is 0: no declined card would count"));
        }
        if self.second_gateway.name == self.gateway.name {
            return Err(ConfigError::invalid("second_gateway.name", "is the name of the first gateway"));
        }
        let chosen = &self.gateway.new_attempts;
        if !chosen.is_empty() && *chosen != self.gateway.name && *chosen != self.second_gateway.name {
            return Err(ConfigError::invalid("gateway.new_attempts", "names no gateway that is configured"));
        }
        let rules = self.rules();
        if self.gateway.timeout_s == 0 || rules.payment_lease <= rules.gateway_timeout {
            let lease = rules.payment_lease.num_seconds();
            return Err(ConfigError::invalid(
                "gateway.timeout_s",
                format!("must be at least 1 and less than {lease}, for which a worker has an attempt to itself"),
            ));
        }
        if self.settlement.hour_utc > 23 {
            return Err(ConfigError::invalid("settlement.hour_utc", "is not an hour from 0 to 23"));
        }
        Ok(())
    }

    pub fn rules(&self) -> Rules {
        let seconds = |seconds: u32| chrono::Duration::seconds(i64::from(seconds));
        Rules {
            stock_deadline: seconds(self.orders.stock_deadline_s),
            payment_deadline: seconds(self.orders.payment_deadline_s),
            gateway_timeout: seconds(self.gateway.timeout_s),
            price_lock: seconds(self.prices.lock_s),
            reconcile_window: seconds(self.reconcile.window_s),
            reconcile_grace: seconds(self.reconcile.grace_s),
            orphan_deadline: seconds(self.reconcile.orphan_deadline_s),
            owner_refund_window: seconds(self.orders.owner_refund_window_s),
            card_testing: CardTesting {
                most_declined: self.card_testing.most_declined,
                within: seconds(self.card_testing.within_s),
            },
            unassessed_pass: self.fraud_check.when_silent == WhenSilent::Pass,
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
        let secrets = [
            ("SHOPSPHERE__GATEWAY__API_KEY", "sk"),
            ("SHOPSPHERE__GATEWAY__WEBHOOK_SECRET", "whsec"),
            ("SHOPSPHERE__PRICES__LOCK_KEY", "sixteen-bytes-of"),
        ];
        assert!(with(&secrets).check().is_ok());
        for (variable, value, complaint) in [
            ("SHOPSPHERE__RECONCILE__WINDOW_S", "60", "reconcile.window_s"),
            // A call could outlive the worker's time with the attempt.
            ("SHOPSPHERE__GATEWAY__TIMEOUT_S", "20", "gateway.timeout_s"),
            ("SHOPSPHERE__GATEWAY__NEW_ATTEMPTS", "elsewhere", "gateway.new_attempts"),
            ("SHOPSPHERE__SECOND_GATEWAY__NAME", "simulator", "second_gateway.base_url"),
            ("SHOPSPHERE__SETTLEMENT__HOUR_UTC", "24", "settlement.hour_utc"),
            ("SHOPSPHERE__CARD_TESTING__WITHIN_S", "0", "card_testing.within_s"),
            ("SHOPSPHERE__FRAUD_CHECK__URL", "somewhere", "fraud_check.url"),
            ("SHOPSPHERE__FRAUD_CHECK__URL", "http://fraud.internal/assessments", "fraud_check.url"),
            ("SHOPSPHERE__FRAUD_CHECK__URL", "https://fraud.internal/assessments", "fraud_check.api_key"),
        ] {
            let mut odd = secrets.to_vec();
            odd.push((variable, value));
            let refused = with(&odd).check().unwrap_err().to_string();
            assert!(refused.contains(complaint), "{variable}: {refused}");
        }
    }

    #[test]
    fn a_fraud_check_holds_no_payment_up_for_long() {
        let check = |timeout: &str, silent: &str| {
            let variables = [
                ("SHOPSPHERE__PRICES__LOCK_KEY", "a key for price locks"),
                ("SHOPSPHERE__GATEWAY__API_KEY", "sk"),
                ("SHOPSPHERE__GATEWAY__WEBHOOK_SECRET", "whsec"),
                ("SHOPSPHERE__FRAUD_CHECK__URL", "https://fraud.internal/assessments"),
                ("SHOPSPHERE__FRAUD_CHECK__API_KEY", "key"),
                ("SHOPSPHERE__FRAUD_CHECK__TIMEOUT_MS", timeout),
                ("SHOPSPHERE__FRAUD_CHECK__WHEN_SILENT", silent),
            ];
            let config = with(&variables);
            config.check().map(|()| config.rules().unassessed_pass).map_err(|error| error.to_string())
        };
        assert_eq!((check("500", "pass"), check("1000", "wait")), (Ok(true), Ok(false)));
        for timeout in ["0", "1001"] {
            assert!(check(timeout, "pass").unwrap_err().contains("fraud_check.timeout_ms"));
        }
    }

    #[test]
    fn a_second_gateway_is_whole_or_not_there() {
        let mut second = vec![
            ("SHOPSPHERE__PRICES__LOCK_KEY", "a key for price locks"),
            ("SHOPSPHERE__GATEWAY__API_KEY", "sk"),
            ("SHOPSPHERE__GATEWAY__WEBHOOK_SECRET", "whsec"),
            ("SHOPSPHERE__SECOND_GATEWAY__NAME", "square"),
            ("SHOPSPHERE__SECOND_GATEWAY__BASE_URL", "http://127.0.0.1:8140"),
            ("SHOPSPHERE__SECOND_GATEWAY__API_KEY", "sk"),
            ("SHOPSPHERE__SECOND_GATEWAY__NOTIFICATION_URL", "http://127.0.0.1:8121/v1/payments/webhooks/square"),
            ("SHOPSPHERE__GATEWAY__NEW_ATTEMPTS", "square"),
        ];
        assert!(with(&second).check().unwrap_err().to_string().contains("second_gateway.webhook_secret"));
        second.push(("SHOPSPHERE__SECOND_GATEWAY__WEBHOOK_SECRET", "whsec"));
        assert!(with(&second).check().is_ok());
    }
}
