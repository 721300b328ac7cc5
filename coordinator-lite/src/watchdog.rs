//! What the service manager hears (sd_notify(3)): that the service is there, that it ends, and, where it asks for that,
//! that boxes are answered: a request over TLS as a box would make it, and one to the database's thread.
//!
//! Refuses to ping on its own account. Without a service manager all of it does nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval, timeout};
use trust::ticket::TlsPin;

use crate::doctor;
use crate::hub::Hub;

/// Pings in the time that the service manager gives: one may be late, and one lost.
const PINGS: u32 = 4;

pub(crate) fn ready() {
    say(NotifyState::Ready);
}

pub(crate) fn ending() {
    say(NotifyState::Stopping);
}

fn say(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager does not hear this service");
    }
}

/// Looks at the service, and tells the service manager of it. Never ends.
pub(crate) async fn watch(hub: &Hub, at: SocketAddr, pin: TlsPin) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let every = limit / PINGS;
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        match examine(hub, near(at), pin, every).await {
            Ok(()) => say(NotifyState::Watchdog),
            Err(error) => tracing::error!(error = format!("{error:#}"), "boxes are not answered"),
        }
    }
}

async fn examine(hub: &Hub, at: SocketAddr, pin: TlsPin, patience: Duration) -> Result<()> {
    let asked = tokio::task::spawn_blocking(move || doctor::answers(at, &pin));
    timeout(patience, asked).await.context("no answer")?.context("asking")??;
    // That it answers is enough: what is wrong with its disk a restart does not mend.
    let looked = hub.store.call(|database| database.version());
    timeout(patience, looked).await.context("the database's thread does not answer")?.ok();
    Ok(())
}

/// The same door from this machine.
fn near(at: SocketAddr) -> SocketAddr {
    let ip = match at.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, at.port())
}
