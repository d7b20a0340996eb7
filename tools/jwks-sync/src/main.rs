//! The process: flags, logs, exit code. One run and an end; what starts it again is a CronJob, or a person.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use chassis::auth::Algorithm;
use clap::{Parser, Subcommand};
use common::{Clock, SystemClock};
use jwks_sync::{Target, cluster, declarative, folder, issuer};
use tracing_subscriber::EnvFilter;

/// Puts the issuer's public keys where a gateway looks for them.
#[derive(Parser)]
#[command(version)]
struct Flags {
    /// The issuer's key set.
    #[arg(long)]
    keys: String,
    /// The one algorithm that tokens are signed with: ES256, EdDSA or PS256.
    #[arg(long, default_value = "ES256")]
    algorithm: Algorithm,
    /// Seconds that a key stays after the issuer stopped publishing it: as long as a token may live, and a minute for clocks. With 0 a
    /// key that was withdrawn because it is known to others goes at once.
    #[arg(long, default_value_t = 660)]
    overlap_s: u32,
    /// What is logged, e.g. `info` or `jwks_sync=debug`.
    #[arg(long, default_value = "info")]
    log: String,
    #[command(subcommand)]
    target: Place,
}

#[derive(Subcommand)]
enum Place {
    /// Kong's declarative file
    File {
        /// The file without keys.
        #[arg(long)]
        base: PathBuf,
        /// The file that Kong reads.
        #[arg(long)]
        output: PathBuf,
    },
    /// A folder with a PEM file per key, for HAProxy
    Folder {
        #[arg(long)]
        output: PathBuf,
    },
    /// Secrets and the KongConsumer of this cluster
    Cluster {
        #[arg(long)]
        namespace: String,
        #[arg(long, default_value = "issuer")]
        consumer: String,
        #[arg(long, default_value = "https://kubernetes.default.svc")]
        api: String,
        #[arg(long, default_value = "/var/run/secrets/jwks-sync/ca.crt")]
        ca_file: PathBuf,
        #[arg(long, default_value = "/var/run/secrets/jwks-sync/token")]
        token_file: PathBuf,
    },
}

/// One run takes a second. The CronJob that starts one each minute must not find the one before.
const LIMIT: Duration = Duration::from_secs(45);

fn main() -> ExitCode {
    let flags = Flags::parse();
    let filter = EnvFilter::try_new(&flags.log).unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(flags)),
        Err(error) => Err(error.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(reason = format!("{error:#}"), "keys were not synced; the gateway keeps those it has");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: Flags) -> Result<()> {
    let target = match flags.target {
        Place::File { base, output } => Target::File(declarative::Files { base, output }),
        Place::Folder { output } => Target::Folder(folder::Folder(output)),
        Place::Cluster { namespace, consumer, api, ca_file, token_file } => {
            Target::Cluster(Box::new(cluster::Cluster::new(&api, Some(&ca_file), &token_file, &namespace, &consumer)?))
        }
    };
    let issuer = issuer::Issuer::new(&flags.keys, flags.algorithm)?;
    let overlap = chrono::Duration::seconds(i64::from(flags.overlap_s));
    let done = tokio::time::timeout(LIMIT, jwks_sync::sync(&issuer, &target, overlap, SystemClock.now()));
    let done = done.await.context("it took too long")??;
    tracing::info!(published = done.published, leaving = done.leaving, changed = done.changed, "keys synced");
    Ok(())
}
