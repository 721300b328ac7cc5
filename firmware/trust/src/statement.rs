//! A signed statement: one encoding, one signature, one meaning.
//!
//! ```text
//! kind (1) | version (1) | body (postcard) | signature (64)
//! signed:  "relaybox/" | label | 0 | version | body
//! ```
//! The label keeps a signature for one kind from ever being one for another. Reading is strict: the length is bounded
//! before anything is parsed, nothing may follow the body, and encoding it again must give the same bytes, so that a
//! statement can't be written in two ways. Refuses to hand out content as true before its signature was checked:
//! [`Signed::claims`] says by its name what it is.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::MeshId;
use crate::key::{PublicKey, Role, SecretKey};

const SIGNATURE_BYTES: usize = 64;
const HEAD_BYTES: usize = 2;

/// All kinds of statements; the number is the first byte of the encoding and never used again for another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    CoordinatorCertificate = 1,
    Invite = 2,
    BoxCertificate = 3,
    WireGuardBinding = 4,
    Membership = 5,
    Revocation = 6,
    Map = 7,
    Delta = 8,
    Time = 9,
    /// A request of a box to the coordinator; its content is defined in `wire`.
    Request = 10,
    Viewer = 11,
    StreamCertificate = 12,
    AccessToken = 13,
}

impl Kind {
    /// What separates the signatures of kinds from each other. Never a NUL byte inside.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::CoordinatorCertificate => "coordinator certificate",
            Self::Invite => "invite",
            Self::BoxCertificate => "box certificate",
            Self::WireGuardBinding => "wireguard binding",
            Self::Membership => "membership",
            Self::Revocation => "revocation",
            Self::Map => "map",
            Self::Delta => "delta",
            Self::Time => "time",
            Self::Request => "request",
            Self::Viewer => "viewer",
            Self::StreamCertificate => "stream certificate",
            Self::AccessToken => "access token",
        }
    }
}

/// What can be signed.
pub trait Statement: Serialize + DeserializeOwned {
    /// Who signs it.
    type Signer: Role;
    const KIND: Kind;
    /// Version of the body's encoding: another one is refused, since nobody can know what it means.
    const VERSION: u8 = 1;
    /// Upper bound of the whole encoding, signature included.
    const BYTES_MAX: usize;

    /// The mesh for which it is said.
    fn mesh(&self) -> &MeshId;

    /// Bounds that the types of the fields do not have.
    ///
    /// # Errors
    /// [`DecodeError::OutOfBounds`] with the bound that is broken.
    fn check(&self) -> Result<(), DecodeError> {
        Ok(())
    }
}

/// Bytes are not a statement of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{bytes} bytes, more than {max}")]
    TooLong { bytes: usize, max: usize },
    #[error("it ends too early")]
    TooShort,
    #[error("it is a statement of another kind ({found})")]
    OtherKind { found: u8 },
    #[error("it has version {found}, which this software does not know: update it")]
    OtherVersion { found: u8 },
    #[error("its content can't be read")]
    Malformed,
    #[error("there are bytes behind its content")]
    Trailing,
    #[error("it is not written in the one way that is allowed")]
    NotCanonical,
    #[error("{0}")]
    OutOfBounds(&'static str),
}

/// A statement was read, but is not to be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("it belongs to another mesh ({mesh})")]
    Foreign { mesh: MeshId },
    #[error("its signature is not by the key that has to sign it")]
    Forged,
}

/// A statement with its signature, not yet verified.
#[derive(Clone, PartialEq, Eq)]
pub struct Signed<T> {
    statement: T,
    signature: [u8; SIGNATURE_BYTES],
}

impl<T: Statement> Signed<T> {
    /// # Errors
    /// When the statement breaks a bound of its kind, so that nobody would read it.
    pub fn sign(statement: T, secret: &SecretKey<T::Signer>) -> Result<Self, DecodeError> {
        statement.check()?;
        let body = encode(&statement)?;
        check_length::<T>(HEAD_BYTES + body.len() + SIGNATURE_BYTES)?;
        let signature = secret.sign(&message::<T>(&body));
        Ok(Self { statement, signature })
    }

    /// # Errors
    /// Every [`DecodeError`]: the bytes are strictly one statement of this kind, or nothing.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_length::<T>(bytes.len())?;
        let (&[kind, version], rest) = bytes.split_first_chunk().ok_or(DecodeError::TooShort)?;
        if kind != T::KIND as u8 {
            return Err(DecodeError::OtherKind { found: kind });
        }
        if version != T::VERSION {
            return Err(DecodeError::OtherVersion { found: version });
        }
        let (body, signature) = rest.split_last_chunk().ok_or(DecodeError::TooShort)?;
        let statement = decode::<T>(body)?;
        statement.check()?;
        Ok(Self { statement, signature: *signature })
    }

    /// The one encoding.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let body = encode(&self.statement).unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len() + SIGNATURE_BYTES);
        bytes.extend([T::KIND as u8, T::VERSION]);
        bytes.extend(body);
        bytes.extend(self.signature);
        bytes
    }

    /// What it says, whether or not it is true: for looking up whose key has to verify it, and for messages.
    #[must_use]
    pub const fn claims(&self) -> &T {
        &self.statement
    }

    /// What it says, once it is known who said it.
    ///
    /// # Errors
    /// [`VerifyError::Foreign`] when it was said for another mesh, [`VerifyError::Forged`] when `key` did not sign it.
    pub fn verify(&self, mesh: &MeshId, key: &PublicKey<T::Signer>) -> Result<&T, VerifyError> {
        if self.statement.mesh() != mesh {
            return Err(VerifyError::Foreign { mesh: *self.statement.mesh() });
        }
        let body = encode(&self.statement).map_err(|_| VerifyError::Forged)?;
        key.verify(&message::<T>(&body), &self.signature).map_err(|_| VerifyError::Forged)?;
        Ok(&self.statement)
    }
}

fn check_length<T: Statement>(bytes: usize) -> Result<(), DecodeError> {
    if bytes > T::BYTES_MAX { Err(DecodeError::TooLong { bytes, max: T::BYTES_MAX }) } else { Ok(()) }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, DecodeError> {
    postcard::to_allocvec(value).map_err(|_| DecodeError::Malformed)
}

/// Postcard alone would take a number written with more bytes than it needs, and leave what follows.
pub(crate) fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes::<T>(bytes).map_err(|error| match error {
        postcard::Error::DeserializeUnexpectedEnd => DecodeError::TooShort,
        _ => DecodeError::Malformed,
    })?;
    if !rest.is_empty() {
        return Err(DecodeError::Trailing);
    }
    if encode(&value)? == bytes { Ok(value) } else { Err(DecodeError::NotCanonical) }
}

fn message<T: Statement>(body: &[u8]) -> Vec<u8> {
    let label = T::KIND.label().as_bytes();
    [b"relaybox/", label, &[0, T::VERSION], body].concat()
}

impl<T: fmt::Debug> fmt::Debug for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signed").field(&self.statement).finish()
    }
}

/// A string of bytes inside other statements; base64url text (RFC 4648 section 5) in JSON.
impl<T: Statement> Serialize for Signed<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let bytes = self.to_bytes();
        if to.is_human_readable() {
            to.serialize_str(&BASE64URL_NOPAD.encode(&bytes))
        } else {
            to.serialize_bytes(&bytes)
        }
    }
}

impl<'de, T: Statement> Deserialize<'de> for Signed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            from.deserialize_str(Sealed(core::marker::PhantomData))
        } else {
            from.deserialize_bytes(Sealed(core::marker::PhantomData))
        }
    }
}

struct Sealed<T>(core::marker::PhantomData<fn() -> T>);

impl<T: Statement> Visitor<'_> for Sealed<T> {
    type Value = Signed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a signed {}", T::KIND.label())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Signed<T>, E> {
        let bytes = from_text::<T>(text).map_err(E::custom)?;
        self.visit_bytes(&bytes)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Signed<T>, E> {
        Signed::from_bytes(bytes).map_err(E::custom)
    }
}

fn from_text<T: Statement>(text: &str) -> Result<Vec<u8>, DecodeError> {
    check_length::<T>(text.len() / 4 * 3)?;
    BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| DecodeError::Malformed)
}

/// As base64url text: for a header or a file of one line.
impl<T: Statement> fmt::Display for Signed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.to_bytes()))
    }
}

impl<T: Statement> core::str::FromStr for Signed<T> {
    type Err = DecodeError;
    fn from_str(text: &str) -> Result<Self, DecodeError> {
        Self::from_bytes(&from_text::<T>(text)?)
    }
}

impl<T: Statement> From<Signed<T>> for String {
    fn from(signed: Signed<T>) -> String {
        alloc::string::ToString::to_string(&signed)
    }
}
