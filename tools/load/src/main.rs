//! The command line. Decided here: words and flags.

mod clicks;
mod connection;
mod consume;
mod floor;
mod hello;
mod orders;
mod pages;
mod post;
mod stand_ins;
mod times;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Load for benchmarks.
#[derive(Parser)]
#[command(version)]
struct Flags {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Answer what an order-payment process alone asks, until killed
    StandIns {
        /// Where the issuer's key set is served
        #[arg(long)]
        issuer_address: SocketAddr,
        /// The issuer, as tokens name it; the path of its key set follows from it
        #[arg(long)]
        issuer: String,
        /// Where prices are quoted
        #[arg(long)]
        quote_address: SocketAddr,
        #[arg(long)]
        redis: String,
        #[arg(long, default_value_t = 256)]
        people: usize,
        /// Tokens are written here, one a line, when everything answers
        #[arg(long)]
        tokens: PathBuf,
    },
    /// Place orders of three lines each and say how it went
    Orders(orders::Load),
    /// Ask for pages and say how it went, or whether two servers say the same
    Pages(pages::Load),
    /// Do nothing but what a saga cannot do without: commits and round trips through Kafka, in open loop
    Floor(floor::Floor),
    /// Ask somebody else for the same number of things
    Post(post::Post),
    /// Read a topic and drop what was read
    Consume(consume::Consume),
    /// Answer what one look into Redis can answer, until killed
    Hello(hello::Hello),
    /// Click and ask until the answer knows of it
    Clicks(clicks::Clicks),
}

fn main() -> ExitCode {
    let outcome = match Flags::parse().task {
        Task::StandIns { issuer_address, issuer, quote_address, redis, people, tokens } => {
            stand_ins::run(&stand_ins::StandIns { issuer_address, issuer, quote_address, redis, people, tokens })
        }
        Task::Orders(load) => orders::run(&load),
        Task::Pages(load) => pages::run(&load),
        Task::Floor(floor) => floor::run(&floor),
        Task::Post(post) => post::run(&post),
        Task::Consume(consume) => consume::run(&consume),
        Task::Hello(hello) => hello::run(&hello),
        Task::Clicks(clicks) => clicks::run(&clicks),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
