//! The household's line: probes how long a round trip takes while the box gives others something, and lets it give less
//! when the line gets slower.
//!
//! The probes are STUN requests to the coordinator, which lies beyond the line (RFC 6817 asks for the delay of the data
//! itself; it goes to many places here). Without a coordinator that answers the rate stays as it was. Refuses to probe
//! while nothing is given.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use stream::Millis;
use swarm::guard::Guard;
use swarm::score::on_the_line;
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};
use wire::stun::{self, Transaction};

use super::Carriers;
use crate::control::keys::random;

/// As the guard wants them: ten each second, which are 8 kbit/s.
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// Between two looks at what went out.
const COUNT_EVERY: Duration = Duration::from_millis(100);
/// At least one in so many of a line's bits may be passed on, whatever children take.
const PASSED_SHARE_MIN: u64 = 20;
/// An answer that is later counts as none.
const LOST_AFTER: Duration = Duration::from_secs(1);
/// After an address that can't be found, or an answer that does not come.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Without a friend's limit: more than any home has.
const LIMIT_BPS: u64 = 100_000_000;
/// Below this rate of giving there is nothing to guard.
const IDLE_BPS: u64 = 50_000;
/// Looks in a row with nothing to guard: then it begins anew.
const IDLE_AFTER: u32 = 20;
/// Answers in a row that may be missing before the coordinator counts as away, and not the line as full.
const AWAY_AFTER: u32 = 10;

/// Never ends.
pub(super) async fn guard(carriers: Arc<Carriers>) {
    // What a friend allows is begun with, and given up only when the line gets slower.
    let mut guard = Guard::new(carriers.wish(LIMIT_BPS), carriers.giving.limit_bps().filter(|bps| *bps > 0));
    loop {
        if let Err(error) = attend(&carriers, &mut guard).await {
            tracing::debug!(error = format!("{error:#}"), "the line is not probed");
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

/// Tells the uplink what really goes out. What this box passes on between others has what its own children leave of the line,
/// and at least a little, so that boxes which begin to talk to each other can; when the friend gives nothing, it has nothing.
/// Never ends.
pub(super) async fn count_sent(carriers: Arc<Carriers>) {
    let mut every = interval(COUNT_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut given_bps) = (Sent::now(&carriers), 0);
    loop {
        every.tick().await;
        let before = std::mem::replace(&mut sent, Sent::now(&carriers));
        carriers.uplink.handle_sent(sent.line_bytes - before.line_bytes);
        given_bps = (given_bps * 3 + before.given_bps(&sent)) / 4;
        carriers.outgoing.allow(carriers.uplink.rate().map(|rate| left(rate, given_bps) / 8));
    }
}

/// Of a line's rate, when so much goes to children.
fn left(rate_bps: u64, given_bps: u64) -> u64 {
    rate_bps.saturating_sub(given_bps).max(rate_bps / PASSED_SHARE_MIN)
}

/// What was given so far, what went out on the line, and when.
struct Sent {
    bytes: u64,
    /// None where the network is somebody else's.
    line_bytes: u64,
    at: Instant,
}

impl Sent {
    fn now(carriers: &Carriers) -> Self {
        let bytes = carriers.tallies().iter().map(|(_, tally, _)| tally.sent()).sum();
        Self { bytes, line_bytes: carriers.outgoing.sent_bytes(), at: Instant::now() }
    }

    /// To children since then, as it is on the line.
    fn given_bps(&self, now: &Self) -> u64 {
        self.bps(now, on_the_line(now.bytes.saturating_sub(self.bytes)))
    }

    /// All since then.
    fn line_bps(&self, now: &Self) -> u64 {
        self.bps(now, now.line_bytes - self.line_bytes).max(self.given_bps(now))
    }

    fn bps(&self, now: &Self, bytes: u64) -> u64 {
        bytes * 8 * 1000 / u64::try_from((now.at - self.at).as_millis()).unwrap_or(0).max(1)
    }
}

async fn attend(carriers: &Carriers, guard: &mut Guard) -> Result<()> {
    let at = server(carriers).await.context("nobody to ask")?;
    let any: SocketAddr = match at {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await.context("a socket")?;
    socket.connect(at).await.context("a route")?;
    let began = Instant::now();
    let mut every = interval(PROBE_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut sent, mut lost, mut idle) = (Sent::now(carriers), 0, 0_u32);
    loop {
        every.tick().await;
        guard.handle_settings(carriers.wish(LIMIT_BPS));
        let before = std::mem::replace(&mut sent, Sent::now(carriers));
        let bps = before.line_bps(&sent);
        if before.given_bps(&sent) < IDLE_BPS {
            idle += 1;
            if idle == IDLE_AFTER {
                guard.handle_idle(carriers.giving.limit_bps().filter(|bps| *bps > 0));
                carriers.allow(guard.allowed_bps());
            }
            continue;
        }
        idle = 0;
        let round_trip = probe(&socket).await?;
        let now = Millis(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        match round_trip {
            Some(took) => {
                lost = 0;
                guard.handle_probe(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), bps, now);
            }
            None => {
                lost += 1;
                anyhow::ensure!(lost < AWAY_AFTER, "the coordinator does not answer");
                guard.handle_lost(bps, now);
            }
        }
        let allowed = guard.allowed_bps();
        if carriers.uplink.rate() != Some(allowed) {
            tracing::trace!(allowed, queue_ms = guard.queue_ms(), "given at most");
        }
        carriers.allow(allowed);
    }
}

async fn probe(socket: &UdpSocket) -> Result<Option<Duration>> {
    let transaction = Transaction(random()?);
    let asked = Instant::now();
    if socket.send(&stun::request(transaction)).await.is_err() {
        return Ok(None);
    }
    let mut answer = [0; stun::DATAGRAM_BYTES_MAX];
    loop {
        match timeout_at(asked + LOST_AFTER, socket.recv(&mut answer)).await {
            Ok(Ok(len)) => {
                let right = stun::read_answer(&answer[..len]).is_some_and(|(its, _)| its == transaction);
                if right {
                    return Ok(Some(asked.elapsed()));
                }
            }
            Ok(Err(_)) | Err(_) => return Ok(None),
        }
    }
}

/// The coordinator's STUN server, by the name in its address.
async fn server(carriers: &Carriers) -> Option<SocketAddr> {
    let port = carriers.heard.borrow().stun_ports.first().copied()?;
    let host = carriers.kept.url.host().to_owned();
    let found = tokio::task::spawn_blocking(move || {
        (host.as_str(), port).to_socket_addrs().ok().and_then(|mut places| places.next())
    });
    found.await.ok().flatten()
}
