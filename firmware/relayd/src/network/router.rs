//! Asks the box's router to map its UDP port: PCP (RFC 6887), NAT-PMP (RFC 6886) where that is all there is, and UPnP
//! where there is neither. Refuses nothing else about routers: most have it turned off, and boxes find each other
//! without it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{
    InternetProtocol, MappingFailure, PortMapping, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp,
};
use tokio::sync::watch;

use super::upnp::{self, UpnpError};

/// Asked for; renewed at half of what is given (RFC 6887, 11.2.1).
const LIFETIME_S: u32 = 3600;
/// A router that refused may be set otherwise later.
const AGAIN_AFTER: Duration = Duration::from_secs(600);
const RENEW_MIN: Duration = Duration::from_secs(60);
/// How long a router may take: it is in the same house.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 3,
    max_retry_timeout: Some(Duration::from_secs(1)),
};

/// Keeps the port mapped for as long as it runs, and says where it is reached from outside.
pub(crate) async fn keep(port: u16, mapped: watch::Sender<Option<SocketAddr>>) {
    let Some(port) = NonZeroU16::new(port) else { return };
    loop {
        let wait = match map(port).await {
            Ok(Some((outside, lifetime))) => {
                if *mapped.borrow() != Some(outside) {
                    tracing::info!("the router maps the box's UDP port");
                }
                let _ = mapped.send(Some(outside));
                (lifetime / 2).max(RENEW_MIN)
            }
            Ok(None) => AGAIN_AFTER,
            Err(error) => {
                let error = format!("{:#}", anyhow::Error::from(error));
                tracing::debug!(error, "the router maps no port");
                let _ = mapped.send(None);
                AGAIN_AFTER
            }
        };
        tokio::time::sleep(wait).await;
    }
}

/// Why no way of asking led to a mapping.
#[derive(Debug, thiserror::Error)]
#[error("by PCP and NAT-PMP: {asked}; by UPnP")]
struct Unmapped {
    asked: MappingFailure,
    #[source]
    upnp: UpnpError,
}

/// Where the port is reached from outside, and for how long; none without an IPv4 router.
async fn map(port: NonZeroU16) -> Result<Option<(SocketAddr, Duration)>, Unmapped> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let Some(gateway) = gateway(&routes) else { return Ok(None) };
    let Some(own) = towards(gateway) else { return Ok(None) };
    match ask(gateway, own, port).await {
        Ok(mapped) => Ok(Some(mapped)),
        Err(asked) => {
            let mapped = upnp::map(gateway, own, port.get(), LIFETIME_S).await;
            mapped.map(Some).map_err(|upnp| Unmapped { asked, upnp })
        }
    }
}

/// By PCP or NAT-PMP.
async fn ask(
    gateway: Ipv4Addr,
    own: Ipv4Addr,
    port: NonZeroU16,
) -> Result<(SocketAddr, Duration), MappingFailure> {
    let options = PortMappingOptions {
        external_port: Some(port),
        lifetime_seconds: Some(LIFETIME_S),
        timeout_config: Some(PATIENCE),
    };
    let mapping = PortMapping::new(gateway.into(), own.into(), InternetProtocol::Udp, port, options).await?;
    let outside = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip,
        PortMappingType::NatPmp => natpmp::external_address(gateway.into(), Some(PATIENCE)).await?.into(),
    };
    let lifetime = Duration::from_secs(u64::from(mapping.lifetime()));
    Ok((SocketAddr::new(outside, mapping.external_port().get()), lifetime))
}

/// This host's address as the router sees it.
fn towards(gateway: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((gateway, crab_nat::GATEWAY_PORT)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(own) => Some(own),
        IpAddr::V6(_) => None,
    }
}

/// The gateway of the default route with the lowest metric, from the kernel's table (proc(5)): addresses are numbers in
/// the host's order of bytes, in hexadecimal.
fn gateway(routes: &str) -> Option<Ipv4Addr> {
    let route = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [_, destination, gateway, _, _, _, metric, mask, ..] = fields[..] else { return None };
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        let is_default = destination == "00000000" && mask == "00000000" && gateway != 0;
        is_default.then_some((metric.parse::<u32>().ok()?, Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    routes.lines().filter_map(route).min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_is_found() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t200\t00000000\t0\t0\t0\n\
            wlan0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n\
            eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        if cfg!(target_endian = "little") {
            assert_eq!(gateway(table), Some(Ipv4Addr::new(192, 168, 2, 1)));
        }
        assert_eq!(gateway("Iface\n"), None);
    }
}
