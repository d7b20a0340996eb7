//! The process: flags, logs, signals.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use clap::Parser;
use edge_tracer::{Settings, start};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Turns the edge's access log into spans.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// UDP address that the edge logs to.
    #[arg(long, default_value = "127.0.0.1:8145")]
    listen: SocketAddr,
    /// gRPC URL of an OTLP collector; empty or left out: read and count only.
    #[arg(long)]
    otlp_endpoint: Option<String>,
    /// Region named in the spans.
    #[arg(long)]
    region: Option<String>,
    /// What is logged, e.g. `info` or `edge_tracer=debug`.
    #[arg(long, default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = EnvFilter::try_new(&flags.log).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    // One thread is plenty for a log, and small.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(flags)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &*error as &dyn std::error::Error, "edge tracer failed");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<(), Box<dyn std::error::Error>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let Flags { listen, otlp_endpoint, region, log: _ } = flags;
    let running = start(Settings { listen, otlp_endpoint, region }).await?;
    tracing::info!(address = %running.address, "edge tracer ready");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    let counts = std::sync::Arc::clone(&running.counts);
    running.stop().await;
    let (received, exported) = (counts.received.load(Ordering::Relaxed), counts.exported.load(Ordering::Relaxed));
    tracing::info!(received, exported, "edge tracer stopped");
    Ok(())
}
