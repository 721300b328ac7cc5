//! A box's WireGuard keys: signed by its identity, counted by generation, changed with overlap.
//!
//! ```text
//! generation 1 ─────────────────────────────┐ valid_from of 2 + 24 h
//!                 generation 2  ·····├──────┴───────────────
//!                 signed, known    valid_from
//! ```
//! Between being known and `valid_from` peers still call with the old key; for 24 h more they take it, so that who
//! missed the news can come and hear it. Within a generation the boot counter rises with each start of the box: a
//! peer that sees it rise drops its session, so a board without a clock is never locked out by old time stamps.
//! Refuses to go back in either, and two keys under one generation.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::MeshId;
use crate::key::{WireGuardKey, role};
use crate::statement::{DecodeError, Kind, Statement};
use crate::time::UnixSeconds;

/// A box's word about its own X25519 key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireGuardBinding {
    pub mesh: MeshId,
    pub key: WireGuardKey,
    /// From 1 on, rises with each new key.
    pub generation: u32,
    /// How often the box has started, as it knows.
    pub boot: u32,
    /// Peers call with this key from this second on.
    pub valid_from: UnixSeconds,
}

impl Statement for WireGuardBinding {
    type Signer = role::Box;
    const KIND: Kind = Kind::WireGuardBinding;
    const BYTES_MAX: usize = 144;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        if self.generation == 0 { Err(DecodeError::OutOfBounds("generations begin at 1")) } else { Ok(()) }
    }
}

/// A new binding can't follow the ones that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotationError {
    #[error("WireGuard key generation {offered} is offered, and {have} is known")]
    Back { have: u32, offered: u32 },
    #[error("boot {offered} is offered, and {have} is known")]
    BootBack { have: u32, offered: u32 },
    #[error("WireGuard key generation {generation} has two keys")]
    Twice { generation: u32 },
    #[error("a new generation needs a new key")]
    SameKey,
    #[error("a WireGuard key can't become valid before the one that it follows")]
    ValidBefore,
}

/// What a peer has to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// It was known.
    Known,
    /// The same key in a box that started again: its session is dropped.
    Rebooted,
    /// A new key beside the old one.
    NewKey,
}

/// The keys of one box that count: the newest, and the one before it. At most two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WireGuardKeys {
    newest: WireGuardBinding,
    before: Option<WireGuardBinding>,
}

impl WireGuardKeys {
    /// For 24 h after a key became valid the one before it is taken as well.
    pub const OVERLAP: Duration = Duration::from_secs(86_400);
    /// Bindings that a peer needs to know the keys of a box.
    pub const MAX: usize = 2;

    /// From a binding that was verified with the box's identity key.
    #[must_use]
    pub const fn new(first: WireGuardBinding) -> Self {
        Self { newest: first, before: None }
    }

    /// Takes in another binding that was verified with the box's identity key. Without an error nothing is lost.
    ///
    /// # Errors
    /// [`RotationError`]; the keys stay as they are.
    pub fn handle_binding(&mut self, offered: WireGuardBinding) -> Result<Rotation, RotationError> {
        let have = &self.newest;
        if offered == *have {
            return Ok(Rotation::Known);
        }
        if offered.generation < have.generation {
            return Err(RotationError::Back { have: have.generation, offered: offered.generation });
        }
        if offered.boot < have.boot {
            return Err(RotationError::BootBack { have: have.boot, offered: offered.boot });
        }
        if offered.generation > have.generation {
            return self.follow(offered);
        }
        if offered.key != have.key || offered.boot == have.boot || offered.valid_from != have.valid_from {
            return Err(RotationError::Twice { generation: have.generation });
        }
        self.newest = offered;
        Ok(Rotation::Rebooted)
    }

    fn follow(&mut self, offered: WireGuardBinding) -> Result<Rotation, RotationError> {
        if offered.key == self.newest.key {
            return Err(RotationError::SameKey);
        }
        if offered.valid_from < self.newest.valid_from {
            return Err(RotationError::ValidBefore);
        }
        self.before = Some(core::mem::replace(&mut self.newest, offered));
        Ok(Rotation::NewKey)
    }

    /// With which key to call the box at `now`.
    #[must_use]
    pub fn to_call(&self, now: UnixSeconds) -> &WireGuardKey {
        match &self.before {
            Some(before) if now < self.newest.valid_from => &before.key,
            Some(_) | None => &self.newest.key,
        }
    }

    /// From which keys packets of the box are taken at `now`, the newest first. The newest counts before it is valid,
    /// since the box's clock may be ahead.
    pub fn taken(&self, now: UnixSeconds) -> impl Iterator<Item = &WireGuardKey> {
        let before = self.before.as_ref().filter(|_| now < self.newest.valid_from.plus(Self::OVERLAP));
        core::iter::once(&self.newest.key).chain(before.map(|before| &before.key))
    }

    #[must_use]
    pub const fn newest(&self) -> &WireGuardBinding {
        &self.newest
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;
    use crate::key::RootSecret;

    fn binding(generation: u32, boot: u32, key: u8, valid_from: u64) -> WireGuardBinding {
        WireGuardBinding {
            mesh: MeshId::of(&RootSecret::from_seed(&[1; 32]).public()),
            key: WireGuardKey::from_bytes([key; 32]).unwrap(),
            generation,
            boot,
            valid_from: UnixSeconds::new(valid_from),
        }
    }

    #[test]
    fn a_key_is_followed_with_overlap() {
        let mut keys = WireGuardKeys::new(binding(1, 1, 1, 100));
        assert_eq!(keys.handle_binding(binding(2, 1, 2, 1000)), Ok(Rotation::NewKey));
        let check = |now: u64, to_call: u8, taken: &[u8]| {
            let now = UnixSeconds::new(now);
            assert_eq!(keys.to_call(now).as_bytes()[0], to_call);
            assert_eq!(keys.taken(now).map(|key| key.as_bytes()[0]).collect::<Vec<_>>(), taken);
        };
        check(999, 1, &[2, 1]);
        check(1000, 2, &[2, 1]);
        check(87_399, 2, &[2, 1]);
        check(87_400, 2, &[2]);
    }

    #[test]
    fn a_reboot_is_seen_and_nothing_goes_back() {
        let mut keys = WireGuardKeys::new(binding(2, 5, 2, 100));
        let mut check = |offered, expected| assert_eq!(keys.handle_binding(offered), expected);
        check(binding(2, 5, 2, 100), Ok(Rotation::Known));
        check(binding(2, 6, 2, 100), Ok(Rotation::Rebooted));
        check(binding(2, 5, 2, 100), Err(RotationError::BootBack { have: 6, offered: 5 }));
        check(binding(1, 9, 1, 100), Err(RotationError::Back { have: 2, offered: 1 }));
        check(binding(2, 7, 3, 100), Err(RotationError::Twice { generation: 2 }));
        check(binding(2, 7, 2, 101), Err(RotationError::Twice { generation: 2 }));
        check(binding(3, 6, 2, 200), Err(RotationError::SameKey));
        check(binding(3, 6, 3, 99), Err(RotationError::ValidBefore));
        check(binding(3, 5, 3, 200), Err(RotationError::BootBack { have: 6, offered: 5 }));
        check(binding(3, 6, 3, 200), Ok(Rotation::NewKey));
    }
}
