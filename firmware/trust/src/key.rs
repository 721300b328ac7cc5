//! Keys, one type per role, so that no key can stand where another belongs.
//!
//! Signatures are Ed25519 (RFC 8032), verified strictly: keys of small order and signatures with a second spelling are
//! refused. WireGuard keys are X25519 (RFC 7748) and only carried here, never used.

mod fingerprint;
pub mod role;

use core::cmp::Ordering;
use core::fmt;
use core::marker::PhantomData;

use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fixed;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use role::Role;

/// The mesh's root: certifies coordinators, signs invites and revocations. Its secret is never on a server.
pub type RootKey = PublicKey<role::Root>;
/// The coordinator service's key.
pub type CoordinatorKey = PublicKey<role::Coordinator>;
/// The key of one invite.
pub type InviteKey = PublicKey<role::Invite>;
/// A box's identity.
pub type BoxKey = PublicKey<role::Box>;
/// The key of one stream.
pub type StreamKey = PublicKey<role::Stream>;

pub type RootSecret = SecretKey<role::Root>;
pub type CoordinatorSecret = SecretKey<role::Coordinator>;
pub type InviteSecret = SecretKey<role::Invite>;
pub type BoxSecret = SecretKey<role::Box>;
pub type StreamSecret = SecretKey<role::Stream>;

/// The bytes are not a public key: not a point of the curve, or one of small order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are not a usable public key")]
pub struct BadKey;

/// A signature does not belong to this key and these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadSignature;

/// An Ed25519 public key of one role: 32 bytes that are a point of the curve, not of small order.
pub struct PublicKey<R> {
    bytes: [u8; 32],
    role: PhantomData<fn() -> R>,
}

impl<R: Role> PublicKey<R> {
    /// # Errors
    /// [`BadKey`] when the bytes are no point, or one that would accept forged signatures.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, BadKey> {
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| BadKey)?;
        if key.is_weak() { Err(BadKey) } else { Ok(Self { bytes, role: PhantomData }) }
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// What people compare and type in place of the key.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(R::NAME, &self.bytes)
    }

    /// RFC 8032 5.1.7, and stricter: one signature has one spelling.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        let key = VerifyingKey::from_bytes(&self.bytes).map_err(|_| BadSignature)?;
        key.verify_strict(message, &Signature::from_bytes(signature)).map_err(|_| BadSignature)
    }
}

// By hand, since derives would ask the role for the same traits.
impl<R> Clone for PublicKey<R> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<R> Copy for PublicKey<R> {}
impl<R> PartialEq for PublicKey<R> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}
impl<R> Eq for PublicKey<R> {}
impl<R> PartialOrd for PublicKey<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<R> Ord for PublicKey<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bytes.cmp(&other.bytes)
    }
}
impl<R: Role> fmt::Debug for PublicKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", R::NAME, self.fingerprint())
    }
}
impl<R> Serialize for PublicKey<R> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        fixed::serialize(&self.bytes, to)
    }
}
impl<'de, R: Role> Deserialize<'de> for PublicKey<R> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::from_bytes(fixed::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// The secret half. Its memory is cleared on drop, and `Debug` shows the public half only.
#[derive(Clone)]
pub struct SecretKey<R> {
    key: SigningKey,
    role: PhantomData<fn() -> R>,
}

impl<R: Role> SecretKey<R> {
    /// From 32 bytes of the shell's randomness (RFC 8032 5.1.5).
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self { key: SigningKey::from_bytes(seed), role: PhantomData }
    }

    /// The seed, for the file that keeps it.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    #[must_use]
    pub fn public(&self) -> PublicKey<R> {
        PublicKey { bytes: self.key.verifying_key().to_bytes(), role: PhantomData }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl<R: Role> fmt::Debug for SecretKey<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({:?})", self.public())
    }
}

/// A box's X25519 key for WireGuard: 32 bytes, not all zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WireGuardKey([u8; 32]);

impl WireGuardKey {
    /// # Errors
    /// [`BadKey`] for the all-zero key, which gives every pair the same shared secret (RFC 7748 6.1).
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, BadKey> {
        if bytes == [0; 32] { Err(BadKey) } else { Ok(Self(bytes)) }
    }

    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// In base64, as all WireGuard tools write keys.
impl fmt::Display for WireGuardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::BASE64.encode(&self.0))
    }
}
impl fmt::Debug for WireGuardKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireGuardKey({self})")
    }
}
impl Serialize for WireGuardKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        fixed::serialize(&self.0, to)
    }
}
impl<'de> Deserialize<'de> for WireGuardKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::from_bytes(fixed::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
