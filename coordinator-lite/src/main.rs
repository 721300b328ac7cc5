//! `coordinator-lite`: lets boxes in, tells them whom to ask, and shows the operator how they are.
//!
//! This file reads the command line and nothing else; each command is a module. `serve` is the service; all others
//! are the operator's, and only those below `operator` touch the root's key.

mod backup;
mod carriers;
mod clock;
mod doctor;
mod file;
mod guide;
mod http;
mod hub;
mod operator;
mod relay;
#[cfg(test)]
mod scratch;
mod serve;
mod service;
mod span;
mod store;
mod stun;
mod watchdog;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "coordinator-lite", version, about = "Lets the boxes of friends into a mesh")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Where the service keeps what it has.
#[derive(Clone, Debug, clap::Args)]
struct DataDir {
    /// The service's directory.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/relaybox-coordinator")]
    data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a mesh: the root's key for you, everything else for the service.
    Init(operator::init::Args),
    /// From nothing to a running service: asks three questions.
    Setup(operator::setup::Args),
    /// Run the service.
    Serve(serve::Args),
    /// Make an invite: one line of text and a QR code.
    Invite(operator::invite::Args),
    /// Show boxes, or take one out.
    #[command(subcommand)]
    Box(operator::boxes::Command),
    /// Vouch for the service for two years more.
    Certify(operator::certify::Args),
    /// Copy the service's database into a file, also while it runs.
    Backup(backup::Backup),
    /// Put a copy back in place of the database; the service has to be stopped.
    Restore(backup::Restore),
    /// Look for what is wrong, and say what to do.
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("coordinator-lite: {error:#}");
            if let Some(store) = error.downcast_ref::<store::StoreError>() {
                eprintln!("{}", store.code().what_to_do());
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Init(args) => operator::init::run(args)?,
        Command::Setup(args) => return operator::setup::run(args),
        Command::Serve(args) => serve::run(args)?,
        Command::Invite(args) => operator::invite::run(args)?,
        Command::Box(command) => operator::boxes::run(command)?,
        Command::Certify(args) => operator::certify::run(args)?,
        Command::Backup(args) => backup::backup(args)?,
        Command::Restore(args) => backup::restore(args)?,
        Command::Doctor(args) => return doctor::run(args),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn problems_name_commands_that_there_are() {
        let cli = Cli::command();
        let mut named = 0;
        for code in wire::Code::ALL {
            for said in code.what_to_do().split("coordinator-lite ").skip(1) {
                let mut words = said.split(' ').map(|word| word.trim_matches(['.', ',', ':', ';', ')']));
                let command = words.next().and_then(|word| cli.find_subcommand(word));
                let command = command.unwrap_or_else(|| panic!("{code}: coordinator-lite {said}"));
                let known = words.next().is_none_or(|word| command.find_subcommand(word).is_some());
                assert!(known || !command.has_subcommands(), "{code}: coordinator-lite {said}");
                named += 1;
            }
        }
        assert!(named >= 4, "{named}");
    }
}
