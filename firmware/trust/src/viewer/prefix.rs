//! IPv4 addresses for viewers, since apps and players exist that know no others. Refuses prefixes that are not private.

use core::fmt;
use core::net::Ipv4Addr;
use core::str::FromStr;

use crate::digest::{MeshId, derive};

/// A private IPv4 network: its first address is the gateway's, whichever box that is, and viewers have the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ViewerPrefix {
    network: u32,
    bits: u8,
}

/// The text is not such a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a private IPv4 network with room for viewers: 10.200.0.0/22, /8 to /29, its host bits zero")]
pub struct BadPrefix;

impl ViewerPrefix {
    const BITS_MIN: u8 = 8;
    const BITS_MAX: u8 = 29;

    /// The one of a mesh when nobody chose another: a /22 of the upper half of 10.0.0.0/8, by the mesh's id. A home's
    /// network lies in it with a chance of 1 in 8192, and so does another mesh's.
    #[must_use]
    pub fn of(mesh: &MeshId) -> Self {
        let hash = derive("relaybox 2026 viewer prefix v1", &[mesh.as_bytes()]);
        Self { network: u32::from_be_bytes([10, 0x80 | hash[0], hash[1] & 0xfc, 0]), bits: 22 }
    }

    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        (self.network + 1).into()
    }

    /// The address of the viewer with that number; none when the network has no more.
    #[must_use]
    pub fn nth(&self, n: u32) -> Option<Ipv4Addr> {
        (n < self.capacity()).then(|| (self.network + 2 + n).into())
    }

    /// How many viewers have an address: all but the network's, the gateway's and the broadcast address.
    #[must_use]
    pub const fn capacity(&self) -> u32 {
        (1 << (32 - self.bits)) - 3
    }
}

impl FromStr for ViewerPrefix {
    type Err = BadPrefix;
    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let (network, bits) = text.split_once('/').ok_or(BadPrefix)?;
        let network = u32::from(network.parse::<Ipv4Addr>().map_err(|_| BadPrefix)?);
        let bits: u8 = bits.parse().map_err(|_| BadPrefix)?;
        if !(Self::BITS_MIN..=Self::BITS_MAX).contains(&bits) {
            return Err(BadPrefix);
        }
        let last = network | (u32::MAX >> bits);
        let private = is_private(&network.into()) && is_private(&last.into());
        if private && network.trailing_zeros() >= u32::from(32 - bits) {
            Ok(Self { network, bits })
        } else {
            Err(BadPrefix)
        }
    }
}

impl fmt::Display for ViewerPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.bits)
    }
}

/// Private (RFC 1918), or shared by carriers (RFC 6598).
pub(super) fn is_private(address: &Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    address.is_private() || (a == 100 && b & 0xc0 == 64)
}

#[cfg(test)]
mod tests {
    use std::string::ToString as _;

    use proptest::prelude::*;

    use super::*;
    use crate::key::RootSecret;

    #[test]
    fn only_private_networks_with_room_are_taken() {
        for good in ["10.0.0.0/8", "10.86.0.0/16", "172.16.0.0/12", "192.168.7.0/29", "100.64.0.0/10"] {
            assert_eq!(good.parse::<ViewerPrefix>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/7",
            "10.0.0.0/30",
            "10.0.0.1/24",
            "8.8.8.0/24",
            "172.16.0.0/11",
            "192.168.0.0/15",
            "100.64.0.0/9",
            "fd00::/8",
            "0.0.0.0/8",
            "127.0.0.0/8",
        ] {
            assert_eq!(bad.parse::<ViewerPrefix>(), Err(BadPrefix), "{bad}");
        }
    }

    #[test]
    fn addresses_follow_the_gateway_and_end_before_the_broadcast_address() {
        let prefix: ViewerPrefix = "192.168.7.8/29".parse().unwrap();
        assert_eq!(prefix.gateway().to_string(), "192.168.7.9");
        let all: std::vec::Vec<_> = (0..9).map_while(|n| prefix.nth(n)).map(|ip| ip.octets()[3]).collect();
        assert_eq!(all, [10, 11, 12, 13, 14]);
        assert_eq!(prefix.nth(u32::MAX), None);
        let largest: ViewerPrefix = "10.0.0.0/8".parse().unwrap();
        assert_eq!(largest.nth(largest.capacity() - 1).unwrap().to_string(), "10.255.255.254");
    }

    proptest! {
        #[test]
        fn a_meshs_own_prefix_is_a_good_one(seed: [u8; 32]) {
            let prefix = ViewerPrefix::of(&MeshId::of(&RootSecret::from_seed(&seed).public()));
            prop_assert_eq!(prefix.to_string().parse::<ViewerPrefix>(), Ok(prefix));
            prop_assert!(prefix.gateway().octets()[0] == 10 && prefix.gateway().octets()[1] >= 128);
            prop_assert_eq!(prefix.capacity(), 1021);
        }
    }
}
