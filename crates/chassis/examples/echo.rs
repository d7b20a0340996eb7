//! The smallest service: what a `main.rs`, a configuration and a router look like. The tests of chassis run it as a process.

use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use chassis::config::{Common, ConfigError, Http, Secret};
use chassis::{Process, Role, Service};
use serde::Deserialize;

fn main() -> ExitCode {
    chassis::main::<Echo>()
}

struct Echo;

#[derive(Deserialize)]
struct Config {
    #[serde(flatten)]
    common: Common,
    http: Http,
    echo: Settings,
}

#[derive(Clone, Deserialize)]
struct Settings {
    greeting: String,
    slow_ms: u64,
    token: Secret,
}

impl AsRef<Common> for Config {
    fn as_ref(&self) -> &Common {
        &self.common
    }
}

impl Service for Echo {
    const NAME: &'static str = "echo";
    const DEFAULTS: &'static str = include_str!("echo.config.toml");
    type Config = Config;

    fn check(config: &Config) -> Result<(), ConfigError> {
        if config.echo.greeting.is_empty() && config.echo.token.is_empty() {
            return Err(ConfigError::invalid("echo.greeting", "must not be empty without echo.token"));
        }
        Ok(())
    }

    async fn start(role: Role, config: Config, process: &Process) -> anyhow::Result<()> {
        match role {
            Role::Serve => {
                chassis::http::serve(process, &config.http, router(config.echo), None).await?;
                Ok(())
            }
            // A task that the process cannot live without, and that dies.
            Role::Work => {
                process.spawn("relay", async { anyhow::bail!("the broker said no") });
                Ok(())
            }
            Role::Migrate | Role::Settle => Ok(()),
            Role::Check => anyhow::bail!("the database does not answer"),
            Role::Redrive => anyhow::bail!("unknown message ids: {:?}", process.arguments()),
        }
    }
}

fn router(settings: Settings) -> Router {
    Router::new().route("/v1/greeting", get(greeting)).route("/v1/slow", get(slow)).with_state(settings)
}

async fn greeting(State(settings): State<Settings>) -> String {
    settings.greeting
}

async fn slow(State(settings): State<Settings>) -> String {
    tokio::time::sleep(Duration::from_millis(settings.slow_ms)).await;
    settings.greeting
}
