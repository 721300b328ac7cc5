//! What the service manager hears (sd_notify(3)): that the doors are open, that the box ends, and, where it asks for
//! that, that media still gets through.
//!
//! ```text
//! intake's thread runs a task ─┐
//! the pages answer over TCP  ──┼─ all three, in time ─> WATCHDOG=1
//! the packets' thread answered ┘ (where there is one)
//! ```
//! Refuses to ping on its own account: a daemon whose timers run while a thread of the data path hangs is to be started
//! again. Without a service manager all of it does nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use sd_notify::NotifyState;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Pings in the time that the service manager gives: one may be late, and one lost.
const PINGS: u32 = 4;
/// The network looks every two seconds; an answer may take five.
const PULSE_AGE_MAX: Duration = Duration::from_secs(10);

/// When the packets' thread answered last; nothing while there is none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    pub(crate) fn beat(&self) {
        self.set(Some(Instant::now()));
    }

    /// There is no network any more, and that is as it should be.
    pub(crate) fn rest(&self) {
        self.set(None);
    }

    fn set(&self, at: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    fn age(&self) -> Option<Duration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).map(|at| at.elapsed())
    }
}

/// The doors are open.
pub(crate) fn ready() {
    say(NotifyState::Ready);
}

pub(crate) fn ending() {
    say(NotifyState::Stopping);
}

fn say(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager does not hear this box");
    }
}

/// Looks at the data path, and tells the service manager of it.
pub(crate) struct Watchdog {
    pub(crate) http: SocketAddr,
    pub(crate) intake: Handle,
    pub(crate) pulse: Pulse,
}

impl Watchdog {
    /// Ends at once where nobody wants to know.
    pub(crate) async fn run(self) {
        let Some(limit) = sd_notify::watchdog_enabled() else { return };
        let every = limit / PINGS;
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            match timeout(every, self.examine()).await.unwrap_or_else(|_| Err(anyhow::anyhow!("no answer"))) {
                Ok(()) => say(NotifyState::Watchdog),
                Err(error) => tracing::error!(error = format!("{error:#}"), "the data path stands still"),
            }
        }
    }

    async fn examine(&self) -> Result<()> {
        self.intake.spawn(async {}).await.context("the thread that takes streams")?;
        answers(self.http).await.context("the pages")?;
        let age = self.pulse.age();
        ensure!(age.is_none_or(|age| age <= PULSE_AGE_MAX), "the thread of the mesh's packets: {age:?} ago");
        Ok(())
    }
}

/// The same door from this machine.
fn near(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    }
}

/// Whether a viewer on this machine would get an answer, whatever it says: a full box is alive.
async fn answers(at: SocketAddr) -> Result<()> {
    const BEGIN: &[u8] = b"HTTP/1.1 ";
    let at = SocketAddr::new(near(at.ip()), at.port());
    let mut stream = TcpStream::connect(at).await.context("connecting")?;
    let question = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).await.context("asking")?;
    let mut begin = [0; BEGIN.len()];
    stream.read_exact(&mut begin).await.context("reading the answer")?;
    ensure!(begin == BEGIN, "what answers is no HTTP");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::net::TcpListener;

    use super::*;
    use crate::intake::Intake;

    async fn door(answer: Option<&'static [u8]>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(answer) = answer else { return pending().await };
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            stream.write_all(answer).await.unwrap();
        });
        at
    }

    async fn verdict(http: SocketAddr, intake: Handle, pulse: Pulse) -> Option<String> {
        let watchdog = Watchdog { http, intake, pulse };
        let examined = timeout(Duration::from_millis(500), watchdog.examine()).await;
        examined.map_or(Some("late".to_owned()), |done| done.err().map(|error| format!("{error:#}")))
    }

    #[tokio::test]
    async fn each_part_of_the_data_path_can_withhold_the_ping() {
        let intake = Intake::start().unwrap();
        let (good, busy) = (b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 503 Service Unavailable\r\n\r\n");
        let well = |at| verdict(at, intake.handle().clone(), Pulse::default());
        assert_eq!(well(door(Some(good)).await).await, None);
        assert_eq!(well(door(Some(busy)).await).await, None, "a full box is alive");
        assert_eq!(well(door(None).await).await.as_deref(), Some("late"));
        assert!(well(door(Some(b"SSH-2.0-x\r\n")).await).await.unwrap().contains("no HTTP"));

        let pulse = Pulse::default();
        pulse.beat();
        assert_eq!(verdict(door(Some(good)).await, intake.handle().clone(), pulse.clone()).await, None);
        pulse.set(Instant::now().checked_sub(Duration::from_secs(11)));
        let stale = verdict(door(Some(good)).await, intake.handle().clone(), pulse.clone()).await;
        assert!(stale.unwrap().contains("the mesh's packets"));
        pulse.rest();
        assert_eq!(verdict(door(Some(good)).await, intake.handle().clone(), pulse).await, None);

        let (held, hold) = std::sync::mpsc::channel::<()>();
        intake.handle().spawn(async move {
            let _ = hold.recv();
        });
        assert_eq!(well(door(Some(good)).await).await.as_deref(), Some("late"), "a thread that hangs");
        drop(held);
    }
}
