//! The command line, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Where a local region's edge is.
pub const LOCAL_URL: &str = "http://127.0.0.1:8080";

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  something went wrong here or there
  2  the command line was refused
  3  not logged in, not allowed, or of another region
  4  there is no such thing
  5  refused: not possible in the present state, or a value is not acceptable
  6  cannot be reached or too busy; the same command may work later
  7  looked, and found what should not be: open findings (--check), messages that still wait

Environment: SHOPSPHERE_URL, SHOPSPHERE_TOKEN, SHOPSPHERE_PASSWORD (login), SHOPSPHERECTL_HOME.";

/// Looks after sagas, parked messages, the books and the experiments of one region.
#[derive(Parser)]
#[command(name = "shopspherectl", version, after_help = EXIT_CODES)]
pub struct CommandLine {
    /// Base URL of the region; else SHOPSPHERE_URL, else the local one.
    #[arg(long, global = true)]
    pub url: Option<String>,
    /// File with an access token, instead of SHOPSPHERE_TOKEN or a login.
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// How answers are printed.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    #[command(subcommand)]
    pub command: Command,
}

impl CommandLine {
    pub fn wants_json(&self) -> bool {
        let report =
            matches!(&self.command, Command::Reconcile { command: ReconcileCommand::Report { json: true, .. } });
        report || self.output == Format::Json
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

#[derive(Subcommand)]
pub enum Command {
    /// Logs in and keeps the session in a file that only you can read.
    Login(Login),
    /// Orders on their way.
    Saga {
        #[command(subcommand)]
        command: SagaCommand,
    },
    /// Messages that could not be applied and wait.
    Dlq {
        #[command(subcommand)]
        command: DlqCommand,
    },
    /// Orders, ledger and gateway compared.
    Reconcile {
        #[command(subcommand)]
        command: ReconcileCommand,
    },
    /// Experiments on what shoppers are shown.
    Experiment {
        #[command(subcommand)]
        command: ExperimentCommand,
    },
    /// Prints completions for a shell.
    Completions {
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Args)]
pub struct Login {
    #[arg(long)]
    pub email: String,
    /// File with the password, `-` for standard input; else SHOPSPHERE_PASSWORD. Never an argument: others can see those.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum SagaCommand {
    /// Lists sagas: those placed lately, or with --stuck those that do not move.
    List(SagaList),
    /// Everything that is known of one.
    Show { order: String },
    /// Makes its open attempt due now, or tells its last event again, or says that there is nothing to do.
    Retry {
        order: String,
        /// Written down with your name.
        #[arg(long, default_value = "retried from the command line")]
        reason: String,
    },
    /// Ends an order without a sale, never past the gateway: what may have been charged ends with the gateway's word only.
    Compensate {
        order: String,
        /// Written down with your name.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Args)]
pub struct SagaList {
    /// Only those that are not at their end and have not moved for a minute.
    #[arg(long)]
    pub stuck: bool,
    /// As --stuck, with another age: 90s, 5m, 2h, 1d.
    #[arg(long, value_parser = seconds)]
    pub older: Option<u32>,
    /// How far back a list goes that is not of stuck ones (usually two days).
    #[arg(long, value_parser = seconds, conflicts_with_all = ["stuck", "older"])]
    pub since: Option<u32>,
    #[arg(long)]
    pub status: Option<String>,
    /// Why they ended: OUT_OF_STOCK, PAYMENT_DECLINED, EXPIRED, CANCELLED.
    #[arg(long)]
    pub reason: Option<String>,
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

#[derive(Subcommand)]
pub enum DlqCommand {
    /// Lists parked messages of one service or of all.
    List {
        #[arg(long, value_enum)]
        service: Option<Service>,
        #[arg(long)]
        topic: Option<String>,
        #[arg(long)]
        key: Option<String>,
        /// Also those that were redriven.
        #[arg(long)]
        all: bool,
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// One message, decoded when it can be.
    Show {
        #[arg(value_enum)]
        service: Service,
        id: i64,
    },
    /// Hands messages to their service again, in the order of each key. Safe to repeat.
    Redrive(Redrive),
}

#[derive(Args)]
pub struct Redrive {
    #[arg(value_enum)]
    pub service: Service,
    /// One message; it must be the first of its topic and key.
    #[arg(group = "which", required_unless_present_any = ["key", "topic", "all"])]
    pub id: Option<i64>,
    #[arg(long, group = "which")]
    pub key: Option<String>,
    #[arg(long, group = "which")]
    pub topic: Option<String>,
    #[arg(long, group = "which")]
    pub all: bool,
    /// Written down with your name.
    #[arg(long)]
    pub reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    User,
    Catalog,
    OrderPayment,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::User, Self::Catalog, Self::OrderPayment];

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Catalog => "catalog",
            Self::OrderPayment => "order-payment",
        }
    }
}

#[derive(Subcommand)]
pub enum ReconcileCommand {
    /// What differs, since when, who has it; and the sums of the latest days.
    Report {
        /// As `-o json`.
        #[arg(long)]
        json: bool,
        /// Ends with 7 when anything is not resolved.
        #[arg(long)]
        check: bool,
    },
    /// Says that you have a finding.
    Ack {
        kind: String,
        reference: String,
        #[arg(long)]
        reason: String,
    },
    /// Says how a finding ended. If it is still there, the next look opens it again.
    Resolve {
        kind: String,
        reference: String,
        #[arg(long)]
        reason: String,
    },
}

#[derive(Subcommand)]
pub enum ExperimentCommand {
    /// What a running experiment shows; it may be asked at any time.
    Show { name: String },
}

/// `90s`, `5m`, `2h`, `1d`; a bare number is seconds.
fn seconds(text: &str) -> Result<u32, String> {
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let number: u32 = digits.parse().map_err(|_| "a number with s, m, h or d behind it".to_owned())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(|| "from 1s, and not for ever".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn ages_are_read_with_their_unit() {
        for (text, expected) in [("90s", 90), ("5m", 300), ("2h", 7_200), ("1d", 86_400), ("7", 7)] {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "0s", "-5m", "5w", "99999999d", "5 m", "ü"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
