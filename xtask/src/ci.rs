//! `cargo xtask ci`: everything a change has to pass, cheapest first, with the minutes each step took.
//!
//! Stops at the first step that fails. The tests' totals are the last word.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::apt::{Consent, Purpose};
use crate::test::{Profile, Totals};
use crate::{apt, command, deny, test, tidy, web};

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only these steps
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Step {
    Format,
    Tidy,
    Packages,
    Web,
    Clippy,
    Deny,
    Test,
    Browser,
    Lab,
    Soak,
    Machines,
    Image,
}

const STEPS: [Step; 12] = [
    Step::Format,
    Step::Tidy,
    Step::Packages,
    Step::Web,
    Step::Clippy,
    Step::Deny,
    Step::Test,
    Step::Browser,
    Step::Lab,
    Step::Soak,
    Step::Machines,
    Step::Image,
];

struct Outcome {
    step: Step,
    took: Duration,
    passed: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut outcomes = Vec::new();
    let mut totals = None;
    let mut failure = None;
    for step in STEPS.into_iter().filter(|step| args.only.is_empty() || args.only.contains(step)) {
        eprintln!("\n==== {} ====", name(step));
        let start = Instant::now();
        let done = perform(step);
        let took = start.elapsed();
        eprintln!("==== {}: {} ====", name(step), minutes(took));
        outcomes.push(Outcome { step, took, passed: done.is_ok() });
        match done {
            Ok(counted) => totals = totals.or(counted),
            Err(error) => {
                failure = Some(error.context(name(step)));
                break;
            }
        }
    }
    print!("{}", table(&outcomes));
    if let Some(totals) = totals {
        println!("{totals}");
        // Cargo's own words close what this says.
        totals.said().iter().for_each(|line| println!("{line}"));
    }
    failure.map_or(Ok(()), Err)
}

fn perform(step: Step) -> Result<Option<Totals>> {
    let given = Consent::Given;
    match step {
        Step::Format => command::run(command::cargo().args(["fmt", "--all", "--check"]))?,
        Step::Tidy => tidy::run()?,
        Step::Packages => {
            let all = [
                Purpose::Build,
                Purpose::Web,
                Purpose::Run,
                Purpose::Publish,
                Purpose::Lab,
                Purpose::Pull,
                Purpose::Browser,
                Purpose::Deb,
                Purpose::Machine,
                Purpose::EmulatePc,
                Purpose::Street,
            ];
            apt::require(&all, given)?;
        }
        // The pages are built into the daemon, so they come before everything that compiles it.
        Step::Web => web::ensure()?,
        Step::Clippy => clippy()?,
        Step::Deny => deny::without_advisories()?,
        Step::Test => return test::suite(given).map(Some),
        Step::Browser => test::run_profile(Profile::Browser, true, 0, given)?,
        Step::Lab => test::run_profile(Profile::Lab, true, 0, given)?,
        Step::Soak => test::run_profile(Profile::Soak, true, 0, given)?,
        Step::Machines => test::run_profile(Profile::Packages, true, 0, given)?,
        Step::Image => test::run_profile(Profile::Image, true, 0, given)?,
    }
    Ok(None)
}

fn clippy() -> Result<()> {
    let mut clippy = command::cargo();
    clippy.args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]);
    command::run(&mut clippy)
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Format => "format",
        Step::Tidy => "tidy",
        Step::Packages => "packages",
        Step::Web => "web",
        Step::Clippy => "clippy",
        Step::Deny => "deny",
        Step::Test => "test",
        Step::Browser => "browser, smoke",
        Step::Lab => "lab, smoke",
        Step::Soak => "soak, smoke",
        Step::Machines => "machines, smoke",
        Step::Image => "image, smoke",
    }
}

fn minutes(took: Duration) -> String {
    format!("{:.1} min", took.as_secs_f64() / 60.0)
}

fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::from("\n");
    let mut row = |name: &str, took: Duration, end: &str| {
        text.push_str(&format!("{name:<16}{:>10}  {end}\n", minutes(took)));
    };
    for Outcome { step, took, passed } in outcomes {
        row(name(*step), *took, if *passed { "ok" } else { "FAILED" });
    }
    row("together", outcomes.iter().map(|outcome| outcome.took).sum(), "");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_where_the_time_went() {
        let outcomes = [
            Outcome { step: Step::Format, took: Duration::from_secs(6), passed: true },
            Outcome { step: Step::Clippy, took: Duration::from_secs(150), passed: false },
        ];
        assert_eq!(
            table(&outcomes),
            "\nformat             0.1 min  ok\nclippy             2.5 min  FAILED\ntogether           2.6 min  \n"
        );
    }
}
