//! The process: flags, logs, signals.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use payment_simulator::{FaultRates, Settings, StartError, Timings, start};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// A stand-in payment gateway with two wire APIs and books of its own.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// Address to listen on; everything but loopback is for containers.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one and logs it.
    #[arg(long, default_value_t = 8140)]
    port: u16,
    /// The state file; made when missing.
    #[arg(long)]
    state: PathBuf,
    /// Where events are delivered; empty or left out: nowhere.
    #[arg(long, default_value = "")]
    webhook_url: String,
    /// What webhooks are signed with.
    #[arg(long, default_value = "whsec_local")]
    webhook_secret: String,
    /// As `--webhook-url` and `--webhook-secret`, for the second wire.
    #[arg(long, default_value = "")]
    square_webhook_url: String,
    #[arg(long, default_value = "whsec_local")]
    square_webhook_secret: String,
    /// Faults by rate, such as `timeout_charged=0.01,webhook_twice=0.02`; empty: none.
    #[arg(long, default_value_t)]
    fault_rates: FaultRates,
    /// Which orders meet them follows from this number and the order's reference.
    #[arg(long, default_value_t = 0)]
    fault_seed: u64,
    /// Milliseconds that an answer which never comes keeps its connection.
    #[arg(long, default_value_t = 30_000)]
    hold_ms: u64,
    /// Milliseconds that a slow card waits.
    #[arg(long, default_value_t = 5_000)]
    slow_ms: u64,
    /// Milliseconds from `processing` to the money.
    #[arg(long, default_value_t = 2_000)]
    settle_ms: u64,
    /// Milliseconds that a late webhook is late.
    #[arg(long, default_value_t = 180_000)]
    late_ms: u64,
    /// What callers must present.
    #[arg(long, default_value = "sk_test_local")]
    api_key: String,
    /// What is logged, e.g. `info` or `payment_simulator=debug`.
    #[arg(long, default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = EnvFilter::try_new(&flags.log).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    // One thread answers; reads and the writer have a few of their own. Small, because many of us run beside a whole region.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(flags)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error as &dyn std::error::Error, "payment simulator failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let running = start(settings(flags)).await.inspect_err(|error: &StartError| {
        tracing::debug!(?error, "start refused");
    })?;
    tracing::info!(url = running.base_url, "payment simulator ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.stop().await;
    tracing::info!("payment simulator stopped");
    Ok(())
}

fn settings(flags: Flags) -> Settings {
    Settings {
        listen: SocketAddr::new(flags.host, flags.port),
        api_key: flags.api_key,
        webhook_url: Some(flags.webhook_url),
        webhook_secret: flags.webhook_secret,
        square_webhook_url: Some(flags.square_webhook_url),
        square_webhook_secret: flags.square_webhook_secret,
        rates: flags.fault_rates.seeded(flags.fault_seed),
        timings: Timings {
            hold: Duration::from_millis(flags.hold_ms),
            slow: Duration::from_millis(flags.slow_ms),
            settle: Duration::from_millis(flags.settle_ms),
            late: Duration::from_millis(flags.late_ms),
            ..Timings::default()
        },
        ..Settings::new(flags.state)
    }
}
