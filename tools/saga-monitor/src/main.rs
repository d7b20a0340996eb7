//! `saga-monitor watch` holds a region's saga topics against the model; `saga-monitor page` writes the page in the docs.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use common::Region;
use saga::monitor::Monitor;

#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Reads the topics of a region and reports orders outside the model.
    Watch {
        /// `host:port`, comma-separated.
        #[arg(long, default_value = "127.0.0.1:9092")]
        brokers: String,
        #[arg(long)]
        region: Region,
        /// Put before every topic name; empty but in tests.
        #[arg(long, default_value = "")]
        prefix: String,
        /// The fleet is quiet and the topics are whole: an effect without its cause is outside too.
        #[arg(long)]
        settled: bool,
    },
    /// Prints `docs/saga.md`.
    Page,
}

fn main() -> anyhow::Result<ExitCode> {
    match Options::parse().what {
        What::Page => {
            print!("{}", saga::page::page());
            Ok(ExitCode::SUCCESS)
        }
        What::Watch { brokers, region, prefix, settled } => {
            let monitor = Monitor::new().context("the model itself is broken")?;
            let findings = monitor.look(&saga_monitor::read(&brokers, &prefix, region)?, settled);
            println!("{findings}");
            Ok(if findings.outside.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}
