//! A publisher on a thread of its own: sends each frame when it is due, with the time of sending in it, and knows how
//! late it was. Just enough of RTMP to publish; it refuses to understand more of the answers than it must.

mod rtmp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use crate::source::{ROUND_MS, Source, Tag};
use crate::stamp;
use rtmp::Session;

/// A round of a measurement in which frames were later than this counts only if there is no better one.
pub(crate) const LATE_MS_MAX: f64 = 50.0;

/// In an AVC video tag: type and codec, packet type, composition time (3 bytes).
const AVC_HEAD: usize = 5;

#[derive(Debug)]
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    latest_us: AtomicU64,
}

impl Publisher {
    /// Is accepted by the server when this returns; the first frame leaves after `delay`.
    pub(crate) fn start(
        server: SocketAddr,
        key: &str,
        source: &Arc<Source>,
        delay: Duration,
    ) -> Result<Publisher> {
        let mut session =
            Session::publish(server, key).with_context(|| format!("could not publish to {server}"))?;
        let shared = Arc::new(Shared::default());
        let (source, for_thread) = (source.clone(), shared.clone());
        let thread = std::thread::spawn(move || {
            std::thread::sleep(delay);
            send(&mut session, &source, &for_thread)
        });
        Ok(Publisher { shared, thread: Some(thread) })
    }

    /// How late the latest frame was since this was asked last.
    pub(crate) fn latest_ms(&self) -> f64 {
        self.shared.latest_us.swap(0, Ordering::Relaxed) as f64 / 1000.0
    }

    /// Ends the publication; an error if it had broken off before.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a publisher ends once")?;
        thread.join().map_err(|_| anyhow!("a publisher panicked"))?
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn send(session: &mut Session, source: &Source, shared: &Shared) -> Result<()> {
    for tag in &source.head {
        session.send(tag.kind, 0, &tag.body)?;
    }
    let begun = Instant::now();
    for lap in 0_u32.. {
        for tag in &source.frames {
            let stamp_ms = lap * ROUND_MS + tag.stamp_ms;
            let due = Duration::from_millis(u64::from(stamp_ms));
            std::thread::sleep(due.saturating_sub(begun.elapsed()));
            if shared.stop.load(Ordering::Relaxed) {
                return session.finish();
            }
            let late = begun.elapsed().saturating_sub(due);
            shared
                .latest_us
                .fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            session.send(tag.kind, stamp_ms, &stamped(tag)).context("the publication broke off")?;
        }
        session.hear()?;
    }
    Ok(())
}

fn stamped(tag: &Tag) -> Vec<u8> {
    let Some((head, units)) = tag.body.split_at_checked(AVC_HEAD).filter(|_| tag.kind == 9) else {
        return tag.body.clone();
    };
    let clock = stamp::nal_unit(stamp::now_ns());
    [head, &clock, units].concat()
}
