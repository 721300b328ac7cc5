//! `relayd`: the daemon of a box, and the tools that look at streams from outside.
//!
//! This file reads the command line and nothing else; each command is a module.

mod admission;
mod advice;
mod announce;
mod backstage;
mod by_key;
mod card;
mod carry;
mod clock;
mod control;
mod front;
mod giving;
mod health;
#[allow(dead_code, reason = "it is the relay that talks to other boxes")]
mod inside;
mod intake;
mod interface;
mod join;
mod joined;
mod leave;
mod lint;
mod network;
mod notices;
mod owner;
mod pipeline;
mod probe;
mod publish;
mod pull;
mod qr;
mod run;
mod secrets;
mod settings;
mod setup;
mod standing;
mod status;
mod tls;
mod tunnel;
mod watchdog;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "relayd", version, about = "The daemon of a Relaybox")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take streams and serve them.
    Run(Box<run::Args>),
    /// Bring this box into a mesh.
    Join(join::Args),
    /// Forget the mesh that this box is in.
    Leave(leave::Args),
    /// Keep this board's clock right by the coordinator's word, for boards without a clock of their own
    Clock(clock::Args),
    /// Say how this box stands in its mesh.
    Status(standing::Args),
    /// Say what stands between this box and its friends, and what to do about it
    Doctor(standing::Args),
    /// Read a settings file, say what is wrong with it, change nothing.
    CheckConfig { file: PathBuf },
    /// Follow a live playlist and report each broken rule.
    Lint(lint::LintArgs),
    /// Show tracks, groups of pictures, timestamps and skew of a file or a stream.
    Probe(probe::ProbeArgs),
    /// Make the mesh's interface for a daemon that has no right to: for a unit that runs before it.
    #[command(hide = true)]
    Interface(interface::Args),
    /// Take over what a friend wrote on the card of a box from an image: for a unit that runs before the daemon.
    #[command(hide = true)]
    Card(card::Args),
    /// Draw a QR code: for the screen of a box from an image.
    #[command(hide = true)]
    Qr(qr::Args),
    /// Run a WireGuard tunnel from a wg-quick file, without any coordinator.
    Tunnel(tunnel::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("relayd: {error:#}");
            if let Some(error) = error.downcast_ref::<join::JoinError>() {
                eprintln!("{}", error.what_to_do());
            }
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Run(args) => run::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Join(args) => join::run(args).map(|()| ExitCode::SUCCESS),
        Command::Leave(args) => leave::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Clock(args) => clock::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => standing::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => standing::examine(&args).map(|()| ExitCode::SUCCESS),
        Command::CheckConfig { file } => {
            settings::Settings::read(Some(&file), settings::Fragment::default())?;
            println!("{}: good", file.display());
            Ok(ExitCode::SUCCESS)
        }
        Command::Lint(args) => lint::run(args),
        Command::Probe(args) => probe::run(args),
        Command::Interface(args) => interface::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Card(args) => card::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Qr(args) => qr::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Tunnel(args) => tunnel::run(args).map(|()| ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Whoever reads a problem types what it says.
    #[test]
    fn problems_name_commands_that_there_are() {
        let cli = Cli::command();
        let mut named = 0;
        for code in wire::Code::ALL {
            for said in code.what_to_do().split("relayd ").skip(1) {
                let mut words = said.split(' ').map(|word| word.trim_end_matches(['.', ',', ':', ';', ')']));
                let command = words.next().and_then(|word| cli.find_subcommand(word));
                let command = command.unwrap_or_else(|| panic!("{code}: relayd {said}"));
                for word in
                    words.map_while(|word| word.strip_prefix("--").or((word == "INVITE").then_some("")))
                {
                    let known = command.get_arguments().any(|arg| arg.get_long() == Some(word));
                    assert!(word.is_empty() || known, "{code}: relayd {said}");
                }
                named += 1;
            }
        }
        assert!(named >= 5, "{named}");
    }
}
