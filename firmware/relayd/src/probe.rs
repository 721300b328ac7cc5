//! `relayd probe FILE|URL`: what is in a piece of media, as its stamps say: tracks, groups of pictures, skew.
//!
//! It reads fragmented MP4, FLV and MPEG-TS from a file, and HLS and FLV over HTTP. It judges nothing: that is `lint`.

use std::process::ExitCode;

use clap::Args;

pub(crate) mod flv;
pub(crate) mod fmp4;
pub(crate) mod media;
pub(crate) mod nal;
mod source;
mod summary;
pub(crate) mod ts;

#[cfg(test)]
pub(crate) mod tests;

use summary::Summary;

/// Show tracks, groups of pictures, timestamps and skew.
#[derive(Args, Clone, Debug)]
pub(crate) struct ProbeArgs {
    /// A file (fragmented MP4, FLV, MPEG-TS), or an http or https URL (HLS, FLV).
    input: String,
    /// How much of a live stream to look at, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Prints what was found. It blocks, so it needs a thread of its own where there is a runtime.
pub(crate) fn run(args: ProbeArgs) -> anyhow::Result<ExitCode> {
    let ProbeArgs { input, seconds, json } = args;
    let source = source::open(&input, seconds)?;
    let summary = Summary::of(&source);
    if json {
        println!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        print!("{summary}");
    }
    Ok(ExitCode::SUCCESS)
}
