//! Viewers: a few that ask again and again, a crowd that only takes, and one that looks at the clock in each frame.
//! All are bounded in number and time.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::http::{Answer, Connection};
use crate::m3u8;
use crate::stamp::{self, Finder};

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Taken {
    pub(crate) requests: u64,
    pub(crate) bytes: u64,
}

/// So many kept connections ask for the same again as soon as they have it, for that long.
pub(crate) fn closed_loop(
    server: SocketAddr,
    path: &str,
    connections: usize,
    time: Duration,
) -> Result<Taken> {
    let end = Instant::now() + time;
    let asking = |()| -> Result<Taken> {
        let mut connection = Connection::open(server)?;
        let mut taken = Taken::default();
        while Instant::now() < end {
            let Answer { status, body_bytes } = connection.get(path, |_| ControlFlow::Continue(()))?;
            ensure!(status == 200, "GET {path}: {status}");
            taken.requests += 1;
            taken.bytes += body_bytes;
        }
        Ok(taken)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..connections).map(|_| scope.spawn(|| asking(()))).collect();
        let mut all = Taken::default();
        for thread in threads {
            let taken = thread.join().map_err(|_| anyhow!("a viewer panicked"))??;
            all.requests += taken.requests;
            all.bytes += taken.bytes;
        }
        Ok(all)
    })
}

/// Viewers of one endless answer, on one thread.
#[derive(Debug)]
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    bytes: AtomicU64,
}

const CROWD_READ_BYTES: usize = 128 << 10;
const CROWD_GLANCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

impl Crowd {
    pub(crate) fn join(server: SocketAddr, path: &str, viewers: usize) -> Result<Crowd> {
        let mut sockets = Vec::with_capacity(viewers);
        for _ in 0..viewers {
            let mut connection = Connection::open(server)?;
            connection.ask(path)?;
            let socket = connection.into_socket();
            socket.set_nonblocking(true).context("a socket that must wait")?;
            sockets.push(socket);
        }
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        let thread = std::thread::spawn(move || take_all(&sockets, &for_thread));
        Ok(Crowd { shared, thread: Some(thread) })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// An error if the server had dropped one of them.
    pub(crate) fn leave(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a crowd leaves once")?;
        thread.join().map_err(|_| anyhow!("the crowd panicked"))?
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn take_all(sockets: &[TcpStream], shared: &Shared) -> Result<()> {
    let mut buffer = vec![0; CROWD_READ_BYTES];
    let mut waiting: Vec<PollFd<'_>> =
        sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
    while !shared.stop.load(Ordering::Relaxed) {
        poll(&mut waiting, Some(&CROWD_GLANCE)).context("could not wait for the server")?;
        for (index, waiter) in waiting.iter().enumerate() {
            if waiter.revents().is_empty() {
                continue;
            }
            let mut socket = &sockets[index];
            match socket.read(&mut buffer) {
                Ok(0) => return Err(anyhow!("the server dropped viewer {index}")),
                Ok(bytes) => {
                    shared.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).with_context(|| format!("viewer {index}")),
            }
        }
    }
    Ok(())
}

/// One viewer of each stream who plays ordinary HLS: the playlist once a second, and each new segment. All of them are
/// on one thread and one kept connection.
#[derive(Debug)]
pub(crate) struct Audience {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

const RELOAD: Duration = Duration::from_secs(1);

impl Audience {
    pub(crate) fn join(server: SocketAddr, indexes: Vec<String>) -> Audience {
        let shared = Arc::new(Shared::default());
        let for_thread = shared.clone();
        let thread = std::thread::spawn(move || play_all(server, indexes, &for_thread));
        Audience { shared, thread: Some(thread) }
    }

    /// Bytes of segments so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.shared.bytes.load(Ordering::Relaxed)
    }

    /// An error if a playlist or a segment could not be had.
    pub(crate) fn leave(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("an audience leaves once")?;
        thread.join().map_err(|_| anyhow!("the audience panicked"))?
    }
}

impl Drop for Audience {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn play_all(server: SocketAddr, indexes: Vec<String>, shared: &Shared) -> Result<()> {
    let mut connection = Connection::open(server)?;
    // The media playlist, once it is known, and the newest segment that was read.
    let mut viewers: Vec<(String, Option<String>)> = indexes.into_iter().map(|index| (index, None)).collect();
    // They are strangers to each other: their requests are spread over the second.
    let between = RELOAD / u32::try_from(viewers.len().max(1)).context("few viewers")?;
    while !shared.stop.load(Ordering::Relaxed) {
        for (playlist, newest) in &mut viewers {
            let asked = Instant::now();
            let bytes = play(&mut connection, playlist, newest)?;
            shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            std::thread::sleep(between.saturating_sub(asked.elapsed()));
        }
    }
    Ok(())
}

/// Reads one playlist and the segments in it that are new; a first sight of it brings the newest alone.
fn play(connection: &mut Connection, playlist: &mut String, newest: &mut Option<String>) -> Result<u64> {
    let mut text = connection.fetch_text(playlist)?;
    if let Some(variant) = m3u8::variant(&text) {
        *playlist = m3u8::resolve(playlist, variant);
        text = connection.fetch_text(playlist)?;
    }
    let segments = m3u8::media(&text).segments;
    let known = newest.as_ref().and_then(|newest| segments.iter().position(|segment| segment == newest));
    let new = segments.get(known.map_or(segments.len().saturating_sub(1), |known| known + 1)..);
    let mut bytes = 0;
    for segment in new.unwrap_or_default() {
        bytes += connection.fetch(&m3u8::resolve(playlist, segment))?.len() as u64;
        *newest = Some(segment.clone());
    }
    Ok(bytes)
}

/// Watches an endless answer for that long; returns how old each frame was when it came, in milliseconds, sorted.
/// Frames that were sent before it asked are the start from a keyframe, and count nothing.
pub(crate) fn watch(server: SocketAddr, path: &str, time: Duration) -> Result<Vec<f64>> {
    let (begun, begun_ns) = (Instant::now(), stamp::now_ns());
    let mut ages_ms = Vec::new();
    let mut finder = Finder::default();
    let mut connection = Connection::open(server)?;
    connection.get(path, |bytes| {
        let now_ns = stamp::now_ns();
        finder.feed(bytes, |sent_ns| {
            if sent_ns > begun_ns {
                ages_ms.push(now_ns.saturating_sub(sent_ns) as f64 / 1e6);
            }
        });
        if begun.elapsed() < time { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    ensure!(!ages_ms.is_empty(), "GET {path}: no frame came");
    ages_ms.sort_by(f64::total_cmp);
    Ok(ages_ms)
}
