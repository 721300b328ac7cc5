//! Hashes with a purpose: BLAKE3 in its key-derivation mode, so that a hash for one use is never one for another.
//! Ids are derived from the keys they name; nobody can choose one, and none has to be kept in step.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::key::{InviteKey, RootKey, StreamKey, WireGuardKey};
use crate::{crockford, fixed};

/// BLAKE3 of pieces, each with its length before it, under a context string.
pub(crate) fn derive(context: &'static str, pieces: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for piece in pieces {
        hasher.update(&u64::try_from(piece.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(piece);
    }
    *hasher.finalize().as_bytes()
}

/// A plain BLAKE3 hash of bytes, 32 bytes: of a request's body, of a map's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", crockford::text(&crockford::values(&self.0[..10])))
    }
}
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        fixed::serialize(&self.0, to)
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        fixed::deserialize(from).map(Self)
    }
}

/// The text is not an id: 26 letters and digits of Crockford's base 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: 26 letters and digits")]
pub struct BadId;

fn id_of(context: &'static str, key: &[u8; 32]) -> [u8; 16] {
    let hash = derive(context, &[key]);
    let mut id = [0; 16];
    id.copy_from_slice(&hash[..16]);
    id
}

fn parse_id(text: &str) -> Result<[u8; 16], BadId> {
    if text.len() != 26 {
        return Err(BadId);
    }
    let values: Option<alloc::vec::Vec<u8>> = text.chars().map(crockford::value).collect();
    values.and_then(|values| crockford::bytes(&values)?.try_into().ok()).ok_or(BadId)
}

impl InviteId {
    /// A viewer has no invite's key: it is told by its WireGuard key, so that revocations can name it.
    #[must_use]
    pub fn of_viewer(key: &WireGuardKey) -> Self {
        Self(id_of("relaybox 2026 viewer id v1", key.as_bytes()))
    }
}

impl MeshId {
    /// What stands in the place of a mesh at a box that belongs to none: nobody but this stream's key is in it.
    #[must_use]
    pub fn alone(key: &StreamKey) -> Self {
        Self(id_of("relaybox 2026 stream without a mesh v1", key.as_bytes()))
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $id:ident, $key:ident, $context:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $id([u8; 16]);

        impl $id {
            #[must_use]
            pub fn of(key: &$key) -> Self {
                Self(id_of($context, key.as_bytes()))
            }
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }
        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&crockford::text(&crockford::values(&self.0)))
            }
        }
        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($id))
            }
        }
        impl FromStr for $id {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_id(text).map(Self)
            }
        }
        impl Serialize for $id {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if to.is_human_readable() { to.collect_str(self) } else { fixed::serialize(&self.0, to) }
            }
        }
        impl<'de> Deserialize<'de> for $id {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                if from.is_human_readable() {
                    let text = String::deserialize(from)?;
                    return text.parse().map_err(serde::de::Error::custom);
                }
                fixed::deserialize(from).map(Self)
            }
        }
    )*};
}

ids! {
    /// Which mesh: 128 bits of a hash of its root key. In text 26 characters of Crockford's base 32.
    MeshId, RootKey, "relaybox 2026 mesh id v1";
    /// Which invite: 128 bits of a hash of its key. In text 26 characters of Crockford's base 32.
    InviteId, InviteKey, "relaybox 2026 invite id v1";
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;
    use crate::key::{InviteSecret, RootSecret};

    #[test]
    fn ids_read_back_and_differ_by_purpose() {
        let mesh = MeshId::of(&RootSecret::from_seed(&[3; 32]).public());
        let invite = InviteId::of(&InviteSecret::from_seed(&[3; 32]).public());
        assert_ne!(mesh.as_bytes(), invite.as_bytes());
        assert_eq!(mesh.to_string().to_lowercase().parse(), Ok(mesh));
        for bad in ["", "0", "ZZZZZZZZZZZZZZZZZZZZZZZZZZ", "éééééééééééée"] {
            assert_eq!(bad.parse::<MeshId>(), Err(BadId), "{bad}");
        }
    }

    #[test]
    fn pieces_do_not_run_together() {
        assert_ne!(derive("test", &[b"ab", b"c"]), derive("test", &[b"a", b"bc"]));
    }
}
