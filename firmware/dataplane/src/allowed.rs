//! Which peer an address belongs to: the longest prefix over all peers wins.
//!
//! Prefixes of one family lie sorted in one array, each with the number of the next wider one around it. A lookup is
//! a binary search and a walk outwards; nested prefixes are rare, so the walk is short. It is rebuilt when it
//! changes, never per packet.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The most prefixes that a table takes, over all peers.
pub const PREFIXES_MAX: usize = 8192;

/// An address and the number of its leading bits that count; the other bits are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    address: IpAddr,
    bits: u8,
}

/// Why a text is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    #[error("is no IP address")]
    Address,
    #[error("its length has to be a number from 0 to {0}")]
    Length(u8),
}

/// The table is full, at [`PREFIXES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {PREFIXES_MAX} allowed prefixes")]
pub struct TableFull;

/// Prefixes, and to whom each belongs.
#[derive(Clone, Debug)]
pub struct AllowedIps<T> {
    v4: Family<T>,
    v6: Family<T>,
}

#[derive(Clone, Debug)]
struct Family<T> {
    /// Sorted by first address, wider prefixes first.
    entries: Vec<Entry<T>>,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    first: u128,
    last: u128,
    owner: T,
    /// The narrowest entry that contains this one.
    around: Option<u32>,
}

impl Prefix {
    /// Bits beyond the length are cut off, as every WireGuard tool does.
    pub fn new(address: IpAddr, bits: u8) -> Result<Prefix, PrefixError> {
        let width = width(address);
        if bits > width {
            return Err(PrefixError::Length(width));
        }
        let address = match address {
            IpAddr::V4(address) => IpAddr::V4((u32::from(address) & mask32(bits)).into()),
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) & mask128(bits)).into()),
        };
        Ok(Prefix { address, bits })
    }

    /// The prefix that holds this one address.
    pub fn host(address: IpAddr) -> Prefix {
        Prefix { address, bits: width(address) }
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many leading bits count: 0..=32 or 0..=128.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// Whether an address is one of these.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, last) = self.bounds();
        address.is_ipv4() == self.address.is_ipv4() && (first..=last).contains(&number(address))
    }

    fn bounds(&self) -> (u128, u128) {
        let first = number(self.address);
        let free = width(self.address) - self.bits;
        (first, first | 1_u128.checked_shl(free.into()).map_or(u128::MAX, |size| size - 1))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// `ADDRESS` or `ADDRESS/BITS`.
    fn from_str(text: &str) -> Result<Prefix, PrefixError> {
        let (address, bits) = parse(text)?;
        Prefix::new(address, bits)
    }
}

/// Reads `ADDRESS` or `ADDRESS/BITS` and keeps all bits of the address, as an interface's own address needs them.
pub fn parse(text: &str) -> Result<(IpAddr, u8), PrefixError> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address: IpAddr = address.trim().parse().map_err(|_| PrefixError::Address)?;
    let width = width(address);
    let Some(bits) = bits.map(str::trim) else { return Ok((address, width)) };
    let plain = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
    match bits.parse::<u8>() {
        Ok(bits) if plain && bits <= width => Ok((address, bits)),
        _ => Err(PrefixError::Length(width)),
    }
}

impl<T: Copy + PartialEq> AllowedIps<T> {
    /// Later pairs win over earlier ones with the same prefix.
    ///
    /// # Errors
    /// More than [`PREFIXES_MAX`] pairs.
    pub fn new(pairs: impl IntoIterator<Item = (Prefix, T)>) -> Result<AllowedIps<T>, TableFull> {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (prefix, owner) in pairs {
            let (first, last) = prefix.bounds();
            let family = if prefix.address.is_ipv4() { &mut v4 } else { &mut v6 };
            family.push(Entry { first, last, owner, around: None });
            if v4.len() + v6.len() > PREFIXES_MAX {
                return Err(TableFull);
            }
        }
        Ok(AllowedIps { v4: Family::new(v4), v6: Family::new(v6) })
    }

    /// Whose address it is.
    pub fn owner(&self, address: IpAddr) -> Option<T> {
        let family = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        family.owner(number(address))
    }
}

impl<T> Default for AllowedIps<T> {
    fn default() -> AllowedIps<T> {
        AllowedIps { v4: Family { entries: Vec::new() }, v6: Family { entries: Vec::new() } }
    }
}

impl<T: Copy> Family<T> {
    fn new(mut entries: Vec<Entry<T>>) -> Family<T> {
        // Stable, so that of equal prefixes the one that came last stays last, and is the one kept.
        entries.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
        let mut kept: Vec<Entry<T>> = Vec::with_capacity(entries.len());
        for entry in entries {
            match kept.last_mut() {
                Some(last) if last.first == entry.first && last.last == entry.last => {
                    last.owner = entry.owner;
                }
                _ => kept.push(entry),
            }
        }
        let mut open: Vec<u32> = Vec::new();
        for number in 0..kept.len() {
            let first = kept[number].first;
            while open.last().is_some_and(|&outer| kept[outer as usize].last < first) {
                open.pop();
            }
            kept[number].around = open.last().copied();
            open.push(u32::try_from(number).expect("PREFIXES_MAX fits"));
        }
        Family { entries: kept }
    }

    fn owner(&self, address: u128) -> Option<T> {
        let after = self.entries.partition_point(|entry| entry.first <= address);
        let mut at = after.checked_sub(1);
        while let Some(number) = at {
            let entry = &self.entries[number];
            if address <= entry.last {
                return Some(entry.owner);
            }
            at = entry.around.map(|outer| outer as usize);
        }
        None
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn mask32(bits: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)
}

fn mask128(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn table(pairs: &[(&str, char)]) -> AllowedIps<char> {
        AllowedIps::new(pairs.iter().map(|(text, owner)| (text.parse().expect("a prefix"), *owner)))
            .expect("fits")
    }

    #[test]
    fn longest_prefix_wins() {
        let table = table(&[
            ("10.0.0.0/8", 'a'),
            ("10.1.0.0/16", 'b'),
            ("10.1.2.0/24", 'c'),
            ("10.1.2.3", 'd'),
            ("0.0.0.0/0", 'e'),
            ("fd00::/8", 'f'),
            ("fd00:1::/32", 'g'),
        ]);
        for (address, owner) in [
            ("10.2.0.1", Some('a')),
            ("10.1.9.9", Some('b')),
            ("10.1.2.9", Some('c')),
            ("10.1.2.3", Some('d')),
            ("10.1.2.4", Some('c')),
            ("10.1.3.0", Some('b')),
            ("192.0.2.1", Some('e')),
            ("255.255.255.255", Some('e')),
            ("fd12::1", Some('f')),
            ("fd00:1::9", Some('g')),
            ("fe80::1", None),
        ] {
            assert_eq!(table.owner(address.parse().expect("an address")), owner, "{address}");
        }
    }

    #[test]
    fn equal_prefixes_go_to_the_last() {
        assert_eq!(table(&[("10.0.0.0/8", 'a'), ("10.9.9.9/8", 'b')]).owner([10, 1, 1, 1].into()), Some('b'));
    }

    #[test]
    fn prefixes_print_as_they_are_cut() {
        for (text, printed) in [("10.1.2.3/8", "10.0.0.0/8"), ("::1", "::1/128"), ("1.2.3.4/0", "0.0.0.0/0")]
        {
            assert_eq!(text.parse::<Prefix>().expect("a prefix").to_string(), printed);
        }
        for bad in
            ["", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "10.0.0/8", "a/8", "10.0.0.0/8/8"]
        {
            assert!(bad.parse::<Prefix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_full_table_says_so() {
        let one = Prefix::host([10, 0, 0, 1].into());
        assert!(AllowedIps::new((0..=PREFIXES_MAX).map(|n| (one, n))).is_err());
    }

    fn any_prefix() -> impl Strategy<Value = Prefix> {
        // Few high bits, so that prefixes nest and addresses hit.
        let v4 = (0_u32..64, 0_u8..=32).prop_map(|(n, bits)| (IpAddr::V4(Ipv4Addr::from(n << 26 | n)), bits));
        let v6 =
            (0_u128..64, 0_u8..=128).prop_map(|(n, bits)| (IpAddr::V6(Ipv6Addr::from(n << 122 | n)), bits));
        prop_oneof![v4, v6].prop_map(|(address, bits)| Prefix::new(address, bits).expect("in range"))
    }

    proptest! {
        #[test]
        fn agrees_with_a_search_of_all(
            prefixes in proptest::collection::vec(any_prefix(), 0..40),
            asked in any_prefix(),
        ) {
            let address = asked.address();
            let table = AllowedIps::new(prefixes.iter().copied().enumerate().map(|(n, p)| (p, n))).expect("fits");
            let contains = |prefix: &Prefix| Prefix::new(address, prefix.bits()).is_ok_and(|cut| cut == *prefix);
            let expected = prefixes.iter().enumerate().filter(|(_, p)| contains(p)).max_by_key(|(n, p)| (p.bits(), *n));
            prop_assert_eq!(table.owner(address), expected.map(|(n, _)| n));
        }
    }
}
