//! The user service: who people are, their sessions and consents, and the intake of what their browsers report.
//!
//! Decided here: nothing; see `domain` for the rules, `usecases` for the verbs, `wiring` for what each role is made of.

pub mod config;
#[cfg(test)]
mod cost;
pub mod domain;
pub mod inbound;
pub mod metrics;
pub mod outbound;
pub mod usecases;
pub mod wiring;

use chassis::config::ConfigError;
use chassis::{Process, Role};
use sqlx::migrate::Migrator;

use config::Config;

const NAME: &str = "user";

/// Migrations of the database `user_profile`.
pub static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/user_profile");

pub struct Service;

impl chassis::Service for Service {
    const NAME: &'static str = NAME;
    const DEFAULTS: &'static str = include_str!("../config.default.toml");
    type Config = Config;

    fn check(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    async fn start(role: Role, config: Config, process: &Process) -> anyhow::Result<()> {
        match role {
            Role::Serve => wiring::serve(config, process).await.map(drop),
            Role::Work => wiring::work(config, process).await,
            Role::Migrate => wiring::migrate(config, process).await,
            Role::Check => wiring::check(config, process).await,
            Role::Redrive => anyhow::bail!("this service consumes no events, so it has none to redrive"),
            Role::Settle => anyhow::bail!("this service moves no money, so it has no day to settle"),
        }
    }
}
