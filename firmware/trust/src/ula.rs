//! Addresses inside of a mesh: unique local IPv6 addresses (RFC 4193) whose 40 bits of global id come from the mesh's
//! id, so that every box computes the same prefix and nobody has to be asked for one.
//!
//! Plain functions. Refuses to know which addresses are taken: on a collision the caller's allocator tries the next.

use core::fmt;
use core::net::Ipv6Addr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::{self, MeshId};
use crate::fixed;
use crate::key::BoxKey;

/// The /48 of a mesh: `fd`, then 40 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeshPrefix([u8; 6]);

/// An address of `fd00::/8`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ula([u8; 16]);

/// The address is not a unique local one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address of fd00::/8")]
pub struct NotLocal;

/// In which of the /64 of the mesh an address lies. Others are left for later uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Subnet {
    /// By box key.
    Keyed = 0,
    /// By number.
    Numbered = 1,
}

impl MeshPrefix {
    pub const BITS: u8 = 48;
    /// How many numbers [`Self::nth`] tells apart: 2^56, far from the reserved anycast identifiers (RFC 2526).
    pub const NUMBERS: u64 = 1 << 56;

    #[must_use]
    pub fn of(mesh: &MeshId) -> Self {
        let hash = digest::derive("relaybox 2026 mesh prefix v1", &[mesh.as_bytes()]);
        Self([0xfd, hash[0], hash[1], hash[2], hash[3], hash[4]])
    }

    /// The address of a box by its key. `attempt` counts from 0; a box keeps the one for which it was the first.
    ///
    /// 63 bits of hash: two of 10,000 boxes meet with a chance of about 10^-11.
    #[must_use]
    pub fn of_box(&self, key: &BoxKey, attempt: u32) -> Ula {
        let context = "relaybox 2026 box address v1";
        let hash = digest::derive(context, &[&self.0, key.as_bytes(), &attempt.to_le_bytes()]);
        let mut interface = [0; 8];
        interface.copy_from_slice(&hash[..8]);
        // With this bit clear it is none of the reserved anycast identifiers (RFC 2526), and with that one set it is
        // never 0, the routers' anycast address (RFC 4291 2.6.1).
        interface[0] &= 0x7f;
        interface[7] |= 1;
        self.address(Subnet::Keyed, interface)
    }

    /// The address with that number, in a subnet of its own; numbers are taken modulo [`Self::NUMBERS`].
    #[must_use]
    pub fn nth(&self, n: u64) -> Ula {
        self.address(Subnet::Numbered, (n % Self::NUMBERS + 1).to_be_bytes())
    }

    #[must_use]
    pub fn contains(&self, address: &Ula) -> bool {
        address.0.starts_with(&self.0)
    }

    /// Whether it is one of [`Self::nth`].
    #[must_use]
    pub fn is_numbered(&self, address: &Ula) -> bool {
        let subnet = address.0[6..8] == (Subnet::Numbered as u16).to_be_bytes();
        let number = address.0[8..].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        self.contains(address) && subnet && (1..=Self::NUMBERS).contains(&number)
    }

    /// The prefix's first address: for a route.
    #[must_use]
    pub fn network(&self) -> Ipv6Addr {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.0);
        bytes.into()
    }

    fn address(&self, subnet: Subnet, interface: [u8; 8]) -> Ula {
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&self.0);
        bytes[6..8].copy_from_slice(&(subnet as u16).to_be_bytes());
        bytes[8..].copy_from_slice(&interface);
        Ula(bytes)
    }
}

impl fmt::Display for MeshPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), Self::BITS)
    }
}

impl TryFrom<Ipv6Addr> for Ula {
    type Error = NotLocal;
    fn try_from(address: Ipv6Addr) -> Result<Self, NotLocal> {
        let bytes = address.octets();
        if bytes[0] == 0xfd { Ok(Self(bytes)) } else { Err(NotLocal) }
    }
}
impl From<Ula> for Ipv6Addr {
    fn from(address: Ula) -> Ipv6Addr {
        address.0.into()
    }
}
impl fmt::Display for Ula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Ipv6Addr::from(self.0))
    }
}
impl fmt::Debug for Ula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl Serialize for Ula {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { fixed::serialize(&self.0, to) }
    }
}
impl<'de> Deserialize<'de> for Ula {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let address = if from.is_human_readable() {
            let text = alloc::string::String::deserialize(from)?;
            text.parse().map_err(serde::de::Error::custom)?
        } else {
            Ipv6Addr::from(fixed::deserialize::<_, 16>(from)?)
        };
        Self::try_from(address).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::key::{BoxSecret, RootSecret};

    fn prefix(seed: u8) -> MeshPrefix {
        MeshPrefix::of(&MeshId::of(&RootSecret::from_seed(&[seed; 32]).public()))
    }

    #[test]
    fn only_unique_local_addresses_are_taken() {
        for bad in ["fc00::1", "fe80::1", "::1", "2001:db8::1"] {
            assert_eq!(Ula::try_from(bad.parse::<Ipv6Addr>().unwrap()), Err(NotLocal), "{bad}");
        }
        let json = serde_json::to_string(&prefix(1).nth(0)).unwrap();
        assert_eq!(serde_json::from_str::<Ula>(&json).unwrap(), prefix(1).nth(0));
    }

    #[test]
    fn ten_thousand_boxes_have_ten_thousand_addresses() {
        let prefix = prefix(1);
        let key = BoxSecret::from_seed(&[9; 32]).public();
        let addresses: BTreeSet<Ula> = (0..10_000).map(|attempt| prefix.of_box(&key, attempt)).collect();
        assert_eq!(addresses.len(), 10_000);
    }

    proptest! {
        #[test]
        fn addresses_lie_inside_and_are_never_anycast(seed: [u8; 32], attempt: u32, n: u64) {
            let (here, there) = (prefix(1), prefix(2));
            let key = BoxSecret::from_seed(&seed).public();
            for address in [here.of_box(&key, attempt), here.nth(n)] {
                prop_assert!(here.contains(&address) && !there.contains(&address));
                let ip = Ipv6Addr::from(address);
                prop_assert_eq!(ip.octets()[0], 0xfd);
                prop_assert_ne!(&ip.octets()[8..], &[0; 8][..]);
                prop_assert_ne!(&ip.octets()[8..15], &[0xff; 7][..]);
            }
            prop_assert_ne!(here.of_box(&key, attempt), here.nth(n));
            prop_assert!(here.is_numbered(&here.nth(n)) && !there.is_numbered(&here.nth(n)));
            prop_assert!(!here.is_numbered(&here.of_box(&key, attempt)));
            // Neither 0 nor above fdff:ffff:ffff:ff7f, whatever the hash is.
            let octets = Ipv6Addr::from(here.of_box(&key, attempt)).octets();
            prop_assert!(octets[15] & 1 == 1 && octets[8] & 0x80 == 0);
        }

        #[test]
        fn numbers_have_addresses_of_their_own(a in 0..MeshPrefix::NUMBERS, b in 0..MeshPrefix::NUMBERS) {
            prop_assert_eq!(prefix(1).nth(a) == prefix(1).nth(b), a == b);
        }

        #[test]
        fn another_attempt_gives_another_address(seed: [u8; 32], a: u32, b: u32) {
            let key = BoxSecret::from_seed(&seed).public();
            prop_assert_eq!(prefix(1).of_box(&key, a) == prefix(1).of_box(&key, b), a == b);
        }
    }
}
