//! What operators type. It talks to the public and admin REST API only, so it can do what the API allows and nothing more.
//!
//! Decided here: commands, what is printed, exit codes. Not decided here: who may do what, what a retry or a redrive means.

mod api;
mod command;
mod dlq;
mod experiment;
mod failure;
mod output;
mod reconcile;
mod saga;
mod session;

use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use api::Api;
use command::{Command, CommandLine};
pub use failure::Failure;
use output::Output;

/// The whole program.
pub async fn run() -> ExitCode {
    let name = called_as(std::env::args().next().as_deref());
    let matches = CommandLine::command().name(name).bin_name(name).get_matches();
    let line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let output = Output { json: line.wants_json() };
    match carry_out(line, name, output).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(name, output.json);
            ExitCode::from(failure.exit_code())
        }
    }
}

/// `kubectl` finds its plugins by the name of their file.
fn called_as(program: Option<&str>) -> &'static str {
    let file = program.and_then(|program| Path::new(program).file_name()).and_then(|file| file.to_str());
    if file.is_some_and(|file| file.starts_with("kubectl-shopsphere")) { "kubectl shopsphere" } else { "shopspherectl" }
}

async fn carry_out(line: CommandLine, name: &'static str, output: Output) -> Result<(), Failure> {
    if let Command::Completions { shell } = line.command {
        let mut command = CommandLine::command();
        clap_complete::generate(shell, &mut command, name.replace(' ', "-"), &mut std::io::stdout());
        return Ok(());
    }
    let url = line.url.or_else(|| std::env::var("SHOPSPHERE_URL").ok());
    let api = Api::new(url.as_deref().unwrap_or(command::LOCAL_URL), line.token_file)?;
    match line.command {
        Command::Login(login) => session::log_in(&api, login).await,
        Command::Saga { command } => saga::carry_out(&api, command, output).await,
        Command::Dlq { command } => dlq::carry_out(&api, command, output).await,
        Command::Reconcile { command } => reconcile::carry_out(&api, command, output).await,
        Command::Experiment { command } => experiment::carry_out(&api, command, output).await,
        Command::Completions { .. } => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_makes_it_a_plugin() {
        assert_eq!(called_as(Some("/usr/bin/kubectl-shopsphere")), "kubectl shopsphere");
        assert_eq!(called_as(Some("target/debug/shopspherectl")), "shopspherectl");
        assert_eq!(called_as(None), "shopspherectl");
    }
}
