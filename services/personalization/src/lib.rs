//! Interest ratings and recommendations: clicks come in by the batch, profiles go to Redis, lists of products go out.
//!
//! Role `work` learns, role `serve` answers; they share nothing but Redis. There is no database: what is lost grows again.

pub mod config;
pub mod domain;
pub mod inbound;
pub mod metrics;
pub mod outbound;
pub mod usecases;
pub mod wiring;

use chassis::config::ConfigError;
use chassis::{Process, Role};

/// The service as chassis runs it.
pub struct Service;

impl chassis::Service for Service {
    const NAME: &'static str = "personalization";
    const DEFAULTS: &'static str = config::DEFAULTS;
    type Config = config::Config;

    fn check(config: &Self::Config) -> Result<(), ConfigError> {
        config.check()
    }

    async fn start(role: Role, config: Self::Config, process: &Process) -> anyhow::Result<()> {
        match role {
            Role::Serve => wiring::serve(&config, process).await,
            Role::Work => wiring::work(&config, process),
            Role::Check => wiring::check(&config).await,
            // No database, and the topics belong to those who write them.
            Role::Migrate => Ok(()),
            Role::Redrive => anyhow::bail!("clicks are never parked, so there is nothing to put back"),
            Role::Settle => anyhow::bail!("this service moves no money, so it has no day to settle"),
        }
    }
}
