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

/// How the service is called in the table of topics.
const NAME: &str = "personalization";

/// The service as chassis runs it.
pub struct Service;

impl chassis::Service for Service {
    const NAME: &'static str = NAME;
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
            Role::Migrate => wiring::migrate(&config, process).await,
            Role::Redrive => {
                anyhow::bail!("a parked click is no click, and never becomes one: see docs/runbooks/parked-clicks.md")
            }
            Role::Settle => anyhow::bail!("this service moves no money, so it has no day to settle"),
        }
    }
}
