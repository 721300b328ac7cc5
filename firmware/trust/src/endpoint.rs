//! Where a box may be reached: a hint from the coordinator, never an identity. Refuses addresses that would make a
//! probe reach many at once, or nobody.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use alloc::string::String;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A UDP address with a port other than 0; never multicast, broadcast or unspecified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint(SocketAddr);

/// Nobody, or more than one, could be reached there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the UDP address of one host: ADDRESS:PORT")]
pub struct BadEndpoint;

impl Endpoint {
    /// # Errors
    /// [`BadEndpoint`] for port 0 and for multicast, broadcast and unspecified addresses. An IPv4 address written
    /// as IPv6 (RFC 4291 2.5.5.2) becomes IPv4, and scope ids are dropped: they mean nothing to another host.
    pub fn new(address: SocketAddr) -> Result<Self, BadEndpoint> {
        let ip = address.ip().to_canonical();
        let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
        if address.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast {
            return Err(BadEndpoint);
        }
        Ok(Self(SocketAddr::new(ip, address.port())))
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.0
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Sixteen bytes of address, IPv4 as IPv4-mapped, and the port.
type Plain = ([u8; 16], u16);

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return to.collect_str(self);
        }
        let ip = match self.0.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let plain: Plain = (ip.octets(), self.0.port());
        plain.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let address = if from.is_human_readable() {
            String::deserialize(from)?.parse().map_err(serde::de::Error::custom)?
        } else {
            let (ip, port) = Plain::deserialize(from)?;
            SocketAddr::new(Ipv6Addr::from(ip).to_canonical(), port)
        };
        Self::new(address).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_host_is_refused() {
        for bad in [
            "1.2.3.4:0",
            "0.0.0.0:1",
            "255.255.255.255:1",
            "224.0.0.1:1",
            "[ff02::1]:1",
            "[::]:1",
            "[::ffff:224.0.0.1]:1",
        ] {
            assert_eq!(Endpoint::new(bad.parse().unwrap()), Err(BadEndpoint), "{bad}");
        }
    }

    #[test]
    fn an_endpoint_has_one_spelling() {
        let check = |typed: &str, expected: &str| {
            let endpoint = Endpoint::new(typed.parse().unwrap()).unwrap();
            assert_eq!(std::string::ToString::to_string(&endpoint), expected);
            let bytes = postcard::to_allocvec(&endpoint).unwrap();
            assert_eq!(postcard::from_bytes::<Endpoint>(&bytes), Ok(endpoint));
            let json = serde_json::to_string(&endpoint).unwrap();
            assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint);
        };
        check("192.0.2.1:51820", "192.0.2.1:51820");
        check("[::ffff:192.0.2.1]:51820", "192.0.2.1:51820");
        check("[2001:db8::1]:9", "[2001:db8::1]:9");
        check("[fe80::1%3]:9", "[fe80::1]:9");
    }
}
