//! Ten thousand boxes on one stream, by a seed: `cargo run -p sim --release --bin scale -- boxes=10000 seed=1`.
//!
//! Each word is NAME=NUMBER; what is not said is as in [`sim::crowd::Plan`]. Prints what docs/scale.md is made of.

use std::process::ExitCode;

use sim::crowd::{Crowd, Plan};

fn main() -> ExitCode {
    let seed = std::env::var("RELAYBOX_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut plan = Plan { seed, boxes: 10_000, blocks: 4, settle_s: 60, ..Plan::default() };
    for word in std::env::args().skip(1) {
        if let Err(said) = set(&mut plan, &word) {
            eprintln!("scale: {said}");
            return ExitCode::FAILURE;
        }
    }
    println!("{plan:?}");
    println!("{}", Crowd::new(plan).run());
    ExitCode::SUCCESS
}

fn set(plan: &mut Plan, word: &str) -> Result<(), String> {
    let (name, number) = word.split_once('=').ok_or_else(|| format!("{word}: not NAME=NUMBER"))?;
    let number: u64 = number.parse().map_err(|_| format!("{word}: not a number"))?;
    let small = || u32::try_from(number).map_err(|_| format!("{word}: too large"));
    match name {
        "seed" => plan.seed = number,
        "boxes" => plan.boxes = small()?,
        "origin_bps" => plan.origin_bps = number,
        "bitrate_bps" => plan.bitrate_bps = number,
        "blocks" => plan.blocks = u16::try_from(number.clamp(1, 32)).unwrap_or(1),
        "uplink_bps" => plan.uplink_bps = number,
        "allowed_per_mille" => plan.allowed_per_mille = number,
        "churn_per_mille" => plan.churn_per_mille = number,
        "polite_per_mille" => plan.polite_per_mille = small()?,
        "settle_s" => plan.settle_s = number,
        "seconds" => plan.seconds = number,
        _ => return Err(format!("{name} is nothing that can be set")),
    }
    Ok(())
}
