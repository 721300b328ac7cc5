//! `cargo xtask publish`: the test picture to any RTMP address, until Ctrl-C.

use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result};

use crate::source::Source;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// rtmp://ADDRESS/live/KEY
    url: String,
    #[arg(long, default_value_t = 1280)]
    width: u32,
    #[arg(long, default_value_t = 720)]
    height: u32,
    #[arg(long, default_value_t = 30)]
    frame_rate: u32,
    /// End by itself after this many seconds
    #[arg(long)]
    seconds: Option<u32>,
    /// Print ffmpeg's arguments as a JSON list and end
    #[arg(long)]
    print: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let Args { width, height, frame_rate, seconds, .. } = *args;
    let source = Source { width, height, frame_rate, seconds, ..Source::default() };
    if args.print {
        println!("{}", serde_json::to_string(&source.arguments(&args.url)).context("could not print")?);
        return Ok(());
    }
    // ffmpeg takes our place, so whoever started us can end it by our id.
    Err(source.publisher(&args.url).exec()).context("could not start ffmpeg")
}
