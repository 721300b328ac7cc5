//! Every developer command of Relaybox: `cargo xtask demo`, `cargo xtask test`, `cargo xtask ci` and the rest.
//!
//! One module per command; the other modules are what commands share. This crate links nothing in C and imports no
//! crate of ours, so that it builds on a machine which has a compiler and nothing else yet.

mod apt;
mod bench;
mod build;
mod child;
mod ci;
mod command;
mod cross;
mod deb;
mod demo;
mod deny;
mod image;
mod image_test;
mod keys;
mod lab;
mod memory;
mod origin;
mod packages;
mod publish;
mod soak;
mod source;
mod stop;
mod test;
mod tidy;
mod viewer;
mod web;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser, Debug)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Developer commands of Relaybox", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// One box with a test picture: installs, builds, publishes, serves and reads back
    Demo(demo::Args),
    /// The tests: what fits 30 minutes on 2 cores, or one profile by name
    Test(test::Args),
    /// Format, clippy, tidy, deny, test and a smoke of each profile, as CI runs them
    Ci(ci::Args),
    /// Hold the source tree against its own rules
    Tidy,
    /// Licenses, bans and sources of dependencies
    Deny(deny::Args),
    /// Build the pages
    Web(web::Args),
    /// Build the daemon for aarch64 in a Debian trixie chroot and start it under emulation
    Cross(cross::Args),
    /// Debian packages of the daemon and the coordinator
    Deb(deb::Args),
    /// The image that is written to a box's card
    Image(image::Args),
    /// Boot the image in QEMU, in a network that leads nowhere
    ImageTest(image_test::Args),
    /// The keys that updates of images are signed with
    Keys(keys::Args),
    /// Publish the test picture to an RTMP address
    Publish(publish::Args),
    /// Relaybox beside its peers, measured
    Bench(bench::Args),
    /// Boxes behind every pair of routers, in network namespaces
    Lab(lab::Args),
    /// Which Debian packages a purpose needs, and installing them
    Apt(apt::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Ci(args) => ci::run(&args),
        Command::Tidy => tidy::run(),
        Command::Deny(args) => deny::run(&args),
        Command::Web(args) => web::run(&args),
        Command::Cross(args) => cross::run(&args),
        Command::Deb(args) => deb::run(&args),
        Command::Image(args) => image::run(&args),
        Command::ImageTest(args) => image_test::run(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Lab(args) => lab::run(&args),
        Command::Apt(args) => apt::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
