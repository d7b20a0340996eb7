//! The command line of the demonstration.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use common::Region;
use demo::campaign::CampaignOptions;
use demo::catalog_drill::DrillOptions;
use demo::clicks::ClickOptions;
use demo::clicks::feed::FeedOptions;
use demo::price_truth::TruthOptions;
use demo::rolling::RollingOptions;
use demo::run::RunOptions;
use demo::stack::Stack;
use demo::step::StepOptions;
use demo::{campaign, catalog_drill, clicks, closing_check, import, price_truth, rolling, run, seed, step};

/// Fills the shop, shops in it, and adds everything up.
#[derive(Parser)]
#[command(name = "demo")]
struct CommandLine {
    /// Ports of the stack: the port table moved by this much.
    #[arg(long, global = true, default_value_t = 0)]
    offset: u16,
    /// Region that the stack runs.
    #[arg(long, global = true, default_value = "eu")]
    region: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Writes the demo catalog, its stock and 20 demo users; again and again without changing anything.
    Seed,
    /// Loads a real catalog.
    Import {
        #[arg(value_enum)]
        catalog: Catalog,
        /// Folder with icecat/products.ndjson.gz; without it ../shared/datasets when that is there.
        #[arg(long)]
        datasets: Option<PathBuf>,
    },
    /// Replays real baskets as orders and checks the books afterwards.
    Run(RunArguments),
    /// Very many small orders with every fault of the gateway; `cargo xtask campaign` kills processes meanwhile.
    Campaign(CampaignArguments),
    /// Very many baskets while prices and promotions change: nobody may be charged more than was shown.
    PriceTruth(TruthArguments),
    /// Searches, product pages and changes of products until standard input is closed; `cargo xtask drill` does harm meanwhile.
    Drill(DrillArguments),
    /// Everything shoppers do, each thing asked once, until standard input is closed; `cargo xtask rolling` replaces processes meanwhile.
    Rolling(RollingArguments),
    /// Pages, searches and orders, each asked once, until standard input is closed; `cargo xtask cluster scale` sees replicas follow.
    Step(StepArguments),
    /// Clicks of very many visitors until standard input is closed, then accepted and counted compared; `cargo xtask clicks` kills meanwhile.
    Clicks(ClickArguments),
    /// Very many clicks for the scorer while memory is looked at; the feed of `cargo xtask clicks --memory`.
    ClickFeed(FeedArguments),
    /// Only the closing check, over everything the region has done so far.
    Check,
}

#[derive(Clone, Copy, ValueEnum)]
enum Catalog {
    Icecat,
}

#[derive(Args)]
struct RunArguments {
    #[arg(long, default_value_t = 1_000)]
    orders: usize,
    /// Orders paid with a card that is refused.
    #[arg(long, default_value_t = 5)]
    declined_percent: usize,
    /// Same seed, same baskets and cards.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Orders under way at once.
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// Folder with online_retail/dev.csv.gz; without it ../shared/datasets when that is there.
    #[arg(long)]
    datasets: Option<PathBuf>,
}

#[derive(Args)]
struct CampaignArguments {
    #[arg(long, default_value_t = 2_000)]
    orders: usize,
    /// Same seed, same orders, cards and twists.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Orders under way at once.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// People who order.
    #[arg(long, default_value_t = 40)]
    buyers: usize,
}

#[derive(Args)]
struct TruthArguments {
    #[arg(long, default_value_t = 2_000)]
    carts: usize,
    /// Same seed, same baskets and changes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Baskets under way at once.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// People who order.
    #[arg(long, default_value_t = 40)]
    buyers: usize,
}

#[derive(Args)]
struct DrillArguments {
    /// Same seed, same questions and changes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ends after so many random changes, each repeated until it is answered; 0: when standard input is closed.
    #[arg(long, default_value_t = 0)]
    changes: usize,
    /// Seconds that everything may take afterwards to be found as it was written.
    #[arg(long, default_value_t = 120)]
    found_within: u64,
}

#[derive(Args)]
struct RollingArguments {
    /// Same seed, same questions and orders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct StepArguments {
    /// Same seed, same questions and orders.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args)]
struct ClickArguments {
    /// Same seed, same questions; which requests are sent again.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests with clicks under way at once.
    #[arg(long, default_value_t = 16)]
    connections: usize,
}

#[derive(Args)]
struct FeedArguments {
    /// Same seed, same clicks.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// People who click.
    #[arg(long, default_value_t = 20_000)]
    people: u64,
    /// Events between two looks at memory.
    #[arg(long, default_value_t = 50_000)]
    sample_every: u64,
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    // One TLS provider for the process; a second call would find it there, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("demo: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(carry_out(line)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `false`: it ran to its end and what it found is not good.
async fn carry_out(line: CommandLine) -> anyhow::Result<bool> {
    let region: Region = line.region.parse()?;
    let stack = Stack::at(line.offset, region)?;
    match line.command {
        Command::Seed => seed::seed(&stack).await.map(|()| true),
        Command::Import { catalog: Catalog::Icecat, datasets } => import::icecat(&stack, datasets).await.map(|()| true),
        Command::Run(arguments) => {
            let RunArguments { orders, declined_percent, seed, concurrency, datasets } = arguments;
            run::run(&stack, &RunOptions { orders, declined_percent, seed, concurrency, datasets }).await
        }
        Command::Campaign(CampaignArguments { orders, seed, concurrency, buyers }) => {
            campaign::campaign(&stack, &CampaignOptions { orders, seed, concurrency, buyers }).await
        }
        Command::PriceTruth(TruthArguments { carts, seed, concurrency, buyers }) => {
            price_truth::price_truth(&stack, &TruthOptions { carts, seed, concurrency, buyers }).await
        }
        Command::Drill(DrillArguments { seed, changes, found_within }) => {
            let options = DrillOptions { seed, changes, found_within: Duration::from_secs(found_within) };
            catalog_drill::drill(&stack, &options).await
        }
        Command::Rolling(RollingArguments { seed }) => rolling::rolling(&stack, &RollingOptions { seed }).await,
        Command::Step(StepArguments { seed }) => step::step(&stack, &StepOptions { seed }).await,
        Command::Clicks(ClickArguments { seed, connections }) => {
            clicks::clicks(&stack, &ClickOptions { seed, connections }).await
        }
        Command::ClickFeed(FeedArguments { seed, events, people, sample_every }) => {
            clicks::feed::feed(&stack, &FeedOptions { seed, events, people, sample_every }).await
        }
        Command::Check => closing_check::check_region(&stack).await,
    }
}
