//! `relaybox-media`: the packaging child. Reads commands on standard input, writes parts on standard output.
//!
//! It refuses the network to itself before the first byte of media is parsed, and ends when its parent's pipe
//! closes. Everything it knows is in memory: killing it at any moment costs the open epochs, nothing else.

mod child {
    pub(crate) mod confine;
    pub(crate) mod gate;
    pub(crate) mod job;
    pub(crate) mod outlet;
    pub(crate) mod timing;
}

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use child::job::Job;
use child::outlet::Outlet;
use media::message::{Command, JobId, Output, read_frame};

/// Jobs open at once: streams of a box plus those that are being replaced.
const JOBS_MAX: usize = 256;

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("--version") {
        println!("relaybox-media {}", env!("CARGO_PKG_VERSION"));
        return Ok(());
    }
    let confined = child::confine::refuse_network();
    gst::init().context("GStreamer does not start")?;
    gstfmp4::plugin_register_static().context("the fMP4 muxer does not register")?;
    if let Err(error) = confined {
        eprintln!("relaybox-media: not confined: {error:#}");
    }
    serve(&Outlet::stdout()?)
}

fn serve(outlet: &Outlet) -> Result<()> {
    let mut jobs: BTreeMap<JobId, Job> = BTreeMap::new();
    let mut input = std::io::stdin().lock();
    while let Some((command, payload)) = read_frame::<Command>(&mut input).context("reading commands")? {
        obey(command, payload, &mut jobs, outlet)?;
    }
    Ok(())
}

/// A job that fails is reported and dropped; only a parent that breaks the protocol ends the child.
fn obey(command: Command, payload: Bytes, jobs: &mut BTreeMap<JobId, Job>, outlet: &Outlet) -> Result<()> {
    let (job, result) = match command {
        Command::Ping { nonce } => return outlet.send(&Output::Pong { nonce }, &[]),
        Command::Drop { job } => {
            jobs.remove(&job);
            return Ok(());
        }
        Command::Begin { job, video, audio } => {
            if jobs.len() >= JOBS_MAX || jobs.contains_key(&job) {
                bail!("job {job} is open already, or there are too many");
            }
            let opened = Job::open(job, video, audio, payload, outlet.clone());
            (job, opened.map(|opened| drop(jobs.insert(job, opened))))
        }
        Command::Batch { job, items } => {
            (job, jobs.get_mut(&job).map_or(Ok(()), |open| open.batch(&items, payload)))
        }
        Command::Finish { job } => (job, jobs.get_mut(&job).map_or(Ok(()), Job::finish)),
    };
    if let Err(error) = result {
        jobs.remove(&job);
        outlet.send(&Output::Failed { job, reason: format!("{error:#}") }, &[])?;
    }
    Ok(())
}
