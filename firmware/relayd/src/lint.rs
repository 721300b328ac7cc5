//! `relayd lint URL`: follows a live HLS stream and reports each broken rule with its source.
//!
//! It is a witness against our own packaging too, so it shares no code with it: its own playlist reader, mp4-atom for
//! boxes. It repairs nothing and changes nothing on the server.

use std::process::ExitCode;

use clap::Args;

mod bandwidth;
mod blocking;
mod content;
mod delta;
mod fetch;
mod follow;
mod history;
mod m3u8;
mod report;
mod rule;
mod shape;

#[cfg(test)]
mod tests;

pub(crate) use fetch::{Client, resolve};
pub(crate) use m3u8::{MediaPlaylist, Multivariant, Playlist, parse};
use report::Report;
use rule::Severity;

/// Follow a live HLS stream and report each broken rule.
#[derive(Args, Clone, Debug)]
pub(crate) struct LintArgs {
    /// A multivariant or a media playlist, over http or https.
    url: String,
    /// How long to follow it, in seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Which variant of a multivariant playlist to follow, from 0.
    #[arg(long, default_value_t = 0)]
    variant: usize,
    /// Warnings fail, too.
    #[arg(long)]
    strict: bool,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
    /// Check the server's certificate; a box makes its own, so it is not checked by default.
    #[arg(long)]
    verify_certificate: bool,
}

/// Follows the stream and prints the report. It blocks, so it needs a thread of its own where there is a runtime.
/// The exit status is 1 if a rule is broken.
pub(crate) fn run(args: LintArgs) -> anyhow::Result<ExitCode> {
    let report = lint(&args)?;
    let LintArgs { url, strict, json, .. } = args;
    let least = if strict { Severity::Warning } else { Severity::Error };
    if json {
        println!("{}", report.json(&url, least)?);
    } else {
        print!("{report}");
    }
    Ok(if report.passes(least) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn lint(args: &LintArgs) -> anyhow::Result<Report> {
    let client = Client::new(!args.verify_certificate);
    let mut report = Report::default();
    follow::Follower::new(&client, &mut report, args.seconds).run(&args.url, args.variant)?;
    Ok(report)
}
