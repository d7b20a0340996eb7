//! How a process begins and ends: command line, configuration, runtime, telemetry, role, exit code.
//!
//! Exit codes: 0 stopped as asked or work done, 1 failure, 2 configuration or command line refused before any port opened.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, ValueEnum};
use common::SystemClock;
use serde::de::DeserializeOwned;

use crate::config::{self, Common, ConfigError};
use crate::lifecycle::{Ending, Process};
use crate::{admin, telemetry};

/// What a process does. One image plays all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Answers HTTP and gRPC.
    Serve,
    /// Consumers, relay, reconcilers.
    Work,
    /// Brings the schema up to date, then ends.
    Migrate,
    /// Tries all connections and says what it found, then ends.
    Check,
    /// Puts parked messages back, then ends.
    Redrive,
    /// Settles a day with the payment gateways, then ends.
    Settle,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Work => "work",
            Self::Migrate => "migrate",
            Self::Check => "check",
            Self::Redrive => "redrive",
            Self::Settle => "settle",
        }
    }

    /// Runs until it is told to stop; the others end by themselves.
    pub fn is_long_running(self) -> bool {
        matches!(self, Self::Serve | Self::Work)
    }
}

/// A service: what chassis needs to know to run it.
pub trait Service: 'static {
    /// Name of the binary, of `service.name` in telemetry, and in log lines.
    const NAME: &'static str;

    /// The service's commented `config.default.toml`, by `include_str!`.
    const DEFAULTS: &'static str;

    type Config: DeserializeOwned + AsRef<Common> + Send;

    /// Looks for values that do not fit together. Nothing is open yet.
    ///
    /// # Errors
    /// One line, through [`ConfigError::invalid`].
    fn check(_config: &Self::Config) -> Result<(), ConfigError> {
        Ok(())
    }

    /// Wires the role up. For `serve` and `work` it returns when everything is spawned on `process`; for the other roles it does
    /// the work and returns, and the process ends.
    ///
    /// # Errors
    /// The process logs the chain and ends with exit code 1.
    fn start(role: Role, config: Self::Config, process: &Process) -> impl Future<Output = anyhow::Result<()>> + Send;
}

#[derive(Parser)]
struct CommandLine {
    #[arg(value_enum)]
    role: Role,
    /// TOML file laid over the compiled-in defaults.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Prints the effective configuration with its secrets covered, and ends.
    #[arg(long)]
    print_config: bool,
    /// The day that `settle` is about.
    #[arg(long, value_name = "YYYY-MM-DD")]
    date: Option<String>,
    /// What the role works on, for example message ids for redrive.
    arguments: Vec<String>,
}

const CONFIGURATION_REFUSED: u8 = 2;

/// The whole `main` of a service.
pub fn main<S: Service>() -> ExitCode {
    let command = CommandLine::command().name(S::NAME).about(format!("{} of ShopSphere", S::NAME));
    let line = CommandLine::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit());
    let loaded = config::load::<S::Config>(S::DEFAULTS, line.config.as_deref(), &config::environment())
        .and_then(|loaded| S::check(&loaded.config).map(|()| loaded));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            say(&format!("{}: configuration: {error}", S::NAME));
            return ExitCode::from(CONFIGURATION_REFUSED);
        }
    };
    if line.print_config {
        print(&loaded.printable);
        return ExitCode::SUCCESS;
    }
    install_tls_provider();
    let common = loaded.config.as_ref().clone();
    // A few blocking threads suffice: file reads and name resolution. Each idle one would cost memory.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(common.process.worker_threads)
        .max_blocking_threads(8)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("{}: cannot start the runtime: {error}", S::NAME));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run::<S>(
        line.role,
        line.date.into_iter().chain(line.arguments).collect(),
        loaded.config,
        &common,
    ));
    // Whatever still runs was given its time in `run`.
    runtime.shutdown_timeout(Duration::from_millis(500));
    code
}

async fn run<S: Service>(role: Role, arguments: Vec<String>, config: S::Config, common: &Common) -> ExitCode {
    let telemetry = match telemetry::install(S::NAME, role, common) {
        Ok(telemetry) => telemetry,
        Err(error) => {
            say(&format!("{}: configuration: {error}", S::NAME));
            return ExitCode::from(CONFIGURATION_REFUSED);
        }
    };
    telemetry::log_panics();
    let process = Process::new(S::NAME, role, common, Arc::new(SystemClock), arguments);
    let ending = process.run(live::<S>(role, config, &process)).await;
    match &ending {
        Ending::Done => tracing::info!("process ended"),
        Ending::Failed(reason) => tracing::error!(reason, "process failed"),
    }
    telemetry.flush().await;
    match ending {
        Ending::Done => ExitCode::SUCCESS,
        Ending::Failed(_) => ExitCode::FAILURE,
    }
}

async fn live<S: Service>(role: Role, config: S::Config, process: &Process) -> anyhow::Result<()> {
    if role.is_long_running() {
        admin::serve(process).await?;
    }
    S::start(role, config, process).await
}

/// One TLS provider for all clients of the process; the second caller finds it installed, which is fine.
pub(crate) fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Before telemetry exists there is only the standard error stream.
fn say(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn print(text: &str) {
    use std::io::Write;
    let _ = write!(std::io::stdout(), "{text}");
}
