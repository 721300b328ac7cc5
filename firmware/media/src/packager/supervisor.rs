//! The task that owns the child process.

use std::io;
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command as Process};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::{JobEvent, PackagerConfig, Request, Shared};
use crate::message::{Command, Output, put_header, take_frame};

/// A child that has been silent for so long after it was sent something is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_millis(250);
/// When two children in a row die sooner than this after their start, the next one waits for a pause.
const STABLE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(500);
const READ_BYTES: usize = 256 << 10;
/// What an unprivileged process may ask for by default: pipe(7), `pipe-max-size`.
const PIPE_BYTES: usize = 1 << 20;

/// Why a child is no longer there.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("no job was left")]
    Idle,
    #[error("nobody is left who could ask")]
    Unused,
    #[error("the packager does not start")]
    Start(#[source] io::Error),
    #[error("the packager ended: {0}")]
    Exit(String),
    #[error("the packager did not answer for {0} ms")]
    Hung(u128),
}

pub(super) async fn run(config: PackagerConfig, mut inbox: mpsc::Receiver<Request>, shared: Arc<Shared>) {
    let mut earliest = Instant::now();
    let mut was_brief = false;
    while let Some(request) = inbox.recv().await {
        let Request::Open { frame } = request else { continue };
        sleep_until(earliest).await;
        let started = Instant::now();
        let ended = watch(&config, &mut inbox, &shared, &frame).await;
        shared.child.store(0, Ordering::Relaxed);
        match &ended {
            Ended::Idle => tracing::info!("the packager rests"),
            Ended::Unused => return,
            Ended::Start(_) | Ended::Exit(_) | Ended::Hung(_) => {
                let error: &dyn std::error::Error = &ended;
                tracing::warn!(error, "lost the packager; open streams begin a new epoch");
                shared.lose_all(&ended.to_string());
            }
        }
        // Frames of lost jobs are of no use to the next child; new jobs are asked for again by their streams.
        let brief = started.elapsed() < STABLE && !matches!(ended, Ended::Idle);
        earliest = Instant::now() + if brief && was_brief { PAUSE } else { Duration::ZERO };
        was_brief = brief;
    }
}

/// Starts a child and serves it until it is gone.
async fn watch(
    config: &PackagerConfig,
    inbox: &mut mpsc::Receiver<Request>,
    shared: &Arc<Shared>,
    first: &[u8],
) -> Ended {
    let (mut child, mut stdin, stdout) = match start(config) {
        Ok(parts) => parts,
        Err(error) => return Ended::Start(error),
    };
    shared.starts.fetch_add(1, Ordering::Relaxed);
    shared.child.store(child.id().unwrap_or(0), Ordering::Relaxed);
    tracing::info!(pid = child.id(), "started the packager");
    let epoch = Instant::now();
    let heard = Arc::new(AtomicU64::new(0));
    let reader = tokio::spawn(read(stdout, Arc::clone(shared), Arc::clone(&heard), epoch));
    let ended = tokio::select! {
        ended = feed(config, &mut stdin, inbox, shared, &heard, epoch, first) => ended,
        status = child.wait() => Ended::Exit(status.map_or_else(|error| error.to_string(), |status| status.to_string())),
    };
    drop(stdin);
    // Idle children end by themselves when their input closes; the others are past asking.
    if !matches!(ended, Ended::Idle) || timeout(config.hang, child.wait()).await.is_err() {
        let _ = child.start_kill();
        let _ = child.wait().await;
    }
    reader.abort();
    ended
}

fn start(config: &PackagerConfig) -> io::Result<(Child, ChildStdin, ChildStdout)> {
    let mut command = Process::new(&config.program);
    if let Some(registry) = &config.registry {
        command.env("GST_REGISTRY", registry);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    let closed = || io::Error::other("the child has no pipes");
    let stdin = child.stdin.take().ok_or_else(closed)?;
    let stdout = child.stdout.take().ok_or_else(closed)?;
    // A part of usual size fits as a whole, which saves wake-ups on both sides. If not: smaller pipes do too.
    for pipe in [stdin.as_fd(), stdout.as_fd()] {
        let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_BYTES);
    }
    Ok((child, stdin, stdout))
}

/// Hands requests to the child, asks it for signs of life, and returns when it hangs or has nothing to do.
async fn feed(
    config: &PackagerConfig,
    stdin: &mut ChildStdin,
    inbox: &mut mpsc::Receiver<Request>,
    shared: &Shared,
    heard: &AtomicU64,
    epoch: Instant,
    first: &[u8],
) -> Ended {
    let limit = || if heard.load(Ordering::Relaxed) == 0 { config.start } else { config.hang };
    if let Err(ended) = write(limit(), stdin, first).await {
        return ended;
    }
    let heard_at = || epoch + Duration::from_millis(heard.load(Ordering::Relaxed));
    let mut busy = Instant::now();
    // What the child was sent since it last said anything, and when it was last asked for a sign of life.
    let mut asked = Some(busy);
    let mut pinged = busy;
    loop {
        asked = asked.filter(|at| heard_at() <= *at);
        let due = match asked {
            Some(at) => at.max(pinged) + PING_EVERY,
            None => busy + config.idle,
        };
        let frame = tokio::select! {
            request = inbox.recv() => match request {
                None => return Ended::Unused,
                Some(Request::Open { frame } | Request::Frame(frame)) => frame,
                Some(Request::Close(job)) => match encode(&Command::Drop { job }) {
                    Some(frame) => frame,
                    None => continue,
                },
            },
            () = sleep_until(due) => {
                let now = Instant::now();
                match asked {
                    Some(at) if heard_at() > at => continue,
                    Some(at) if now - at > limit() => return Ended::Hung((now - at).as_millis()),
                    Some(_) => pinged = now,
                    None if shared.jobs().is_empty() => return Ended::Idle,
                    None => {
                        busy = now;
                        continue;
                    }
                }
                match encode(&Command::Ping { nonce: 0 }) {
                    Some(frame) => frame,
                    None => continue,
                }
            }
        };
        busy = Instant::now();
        asked = asked.or(Some(busy));
        if let Err(ended) = write(limit(), stdin, &frame).await {
            return ended;
        }
    }
}

async fn write(limit: Duration, stdin: &mut ChildStdin, frame: &[u8]) -> Result<(), Ended> {
    match timeout(limit, stdin.write_all(frame)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Ended::Exit(error.to_string())),
        Err(_) => Err(Ended::Hung(limit.as_millis())),
    }
}

fn encode(command: &Command) -> Option<Bytes> {
    let mut frame = BytesMut::new();
    put_header(&mut frame, command, 0).ok()?;
    Some(frame.freeze())
}

/// Delivers what the child says until its output ends or makes no sense; the supervisor then sees it silent.
async fn read(mut stdout: ChildStdout, shared: Arc<Shared>, heard: Arc<AtomicU64>, epoch: Instant) {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    loop {
        match stdout.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        heard.store(u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        loop {
            match take_frame(&mut buffer) {
                Ok(None) => break,
                Ok(Some((output, payload))) => deliver(&shared, output, &payload),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the packager talks nonsense");
                    return;
                }
            }
        }
        buffer.reserve(READ_BYTES);
    }
}

/// Media that is kept gets memory of its own: as a slice of the read buffer it would hold all of that.
fn deliver(shared: &Shared, output: Output, payload: &[u8]) {
    let bytes = Bytes::copy_from_slice(payload);
    match output {
        Output::Init { job, width, height } => shared.tell(job, JobEvent::Init { bytes, width, height }),
        Output::Fragment { job } => shared.tell(job, JobEvent::Fragment(bytes)),
        Output::Finished { job } => shared.tell(job, JobEvent::Finished),
        Output::Failed { job, reason } => shared.tell(job, JobEvent::Lost(reason)),
        Output::Pong { .. } => {}
    }
}
