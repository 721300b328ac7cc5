//! Announces the box on the home network by mDNS (RFC 6762) and DNS-SD (RFC 6763): `NAME.local`, the RTMP door for
//! encoders, the pages for browsers.
//!
//! A network without multicast is no reason not to run: what fails here is said once and left.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use mdns_sd::{ServiceDaemon, ServiceInfo};

/// Ends the announcement when dropped.
pub(crate) struct Announcement(ServiceDaemon);

/// A door and the service type it is found under.
pub(crate) struct Service {
    pub(crate) kind: &'static str,
    pub(crate) at: SocketAddr,
    pub(crate) path: &'static str,
}

/// Announces what can be reached from outside this machine; none if nothing can.
pub(crate) fn announce(name: &str, services: &[Service]) -> Result<Option<Announcement>> {
    let reachable: Vec<&Service> = services.iter().filter(|service| !service.at.ip().is_loopback()).collect();
    if reachable.is_empty() {
        return Ok(None);
    }
    let daemon = ServiceDaemon::new().context("opening the mDNS socket")?;
    for service in reachable {
        let properties = HashMap::from([("path".to_owned(), service.path.to_owned())]);
        let host = format!("{}.local.", name.to_ascii_lowercase());
        // Addresses of all interfaces, as they come and go.
        let info = ServiceInfo::new(service.kind, name, &host, "", service.at.port(), properties)
            .with_context(|| format!("describing {}", service.kind))?
            .enable_addr_auto();
        daemon.register(info).with_context(|| format!("announcing {}", service.kind))?;
    }
    tracing::info!(name = format!("{}.local", name.to_ascii_lowercase()), "announced on the home network");
    Ok(Some(Announcement(daemon)))
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Good-bye packets go out in the background; a box that is unplugged sends none either.
        let _ = self.0.shutdown();
    }
}
