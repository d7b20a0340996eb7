//! The command line behind `./dev`. Decided here: words and flags. The work is done by the library.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use xtask::layout::{self, Layout};
use xtask::os;
use xtask::ports::Ports;
use xtask::progress::Progress;
use xtask::stack::up::{Wanted, up};
use xtask::stack::{self, Purpose, Stack};

#[derive(Parser)]
#[command(name = "dev", about = "A whole region of ShopSphere on this machine.", version)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

/// Which stack is meant.
#[derive(Args, Clone)]
struct Which {
    /// Move all ports by N; such a stack has a state folder of its own
    #[arg(long, default_value_t = 0, value_name = "N")]
    offset: u16,
    /// State folder instead of .dev (or .dev/offset-N)
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Task {
    /// Servers only: what the tests of a single crate need
    Servers {
        #[command(subcommand)]
        action: Servers,
    },
    /// Check the rules of the architecture
    Tidy,
}

#[derive(Subcommand)]
enum Servers {
    /// Start them and wait until they are ready
    Up(Which),
    /// Stop them (and everything else of that stack)
    Down(Which),
}

impl Which {
    fn open(&self) -> Result<Stack> {
        let state = self.state.clone().unwrap_or_else(|| match self.offset {
            0 => PathBuf::from(".dev"),
            offset => PathBuf::from(format!(".dev/offset-{offset}")),
        });
        let purpose = if state.ends_with("test") { Purpose::Test } else { Purpose::Development };
        Stack::open(Layout::open(&layout::checkout(), &state)?, Ports::at(self.offset)?, purpose, false)
    }
}

fn main() -> ExitCode {
    os::watch_signals();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Tidy => {
            let violations = xtask::tidy::check(&layout::checkout())?;
            violations.iter().for_each(|violation| println!("{violation}"));
            if !violations.is_empty() {
                anyhow::bail!("{} broken rules", violations.len());
            }
        }
        Task::Servers { action: Servers::Up(which) } => {
            up(&which.open()?, &Progress::new(), Wanted { build: false, services: false })?
        }
        Task::Servers { action: Servers::Down(which) } => {
            for name in stack::down(&which.open()?.layout) {
                println!("stopped {name}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
