//! Who may watch a stream, and links that open one for a while.
//!
//! A link is a word of the stream's own key, and so every box that can check the stream's media can check its links,
//! without asking anybody. Refuses links for longer than [`AccessToken::VALID_MAX`], and to tell who holds one: a link
//! opens for whoever has it.

use alloc::boxed::Box;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::digest::MeshId;
use crate::key::{StreamKey, role};
use crate::name::Name;
use crate::statement::{DecodeError, Kind, Signed, Statement};
use crate::time::UnixSeconds;
use crate::{crockford, fixed};

/// Who may watch a stream without a link. With a link that holds, everybody may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// Whoever reaches a box that carries it.
    #[default]
    Open,
    /// Who comes from the mesh, or from the home network of the box.
    Mesh,
    /// Nobody.
    Link,
}

impl Access {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Mesh => "mesh",
            Self::Link => "link",
        }
    }
}

/// Tells one link from another: 64 bits of the shell's randomness. In text 13 characters of Crockford's base 32.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub [u8; 8]);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crockford::text(&crockford::values(&self.0)))
    }
}
impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkId({self})")
    }
}
impl Serialize for LinkId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        fixed::serialize(&self.0, to)
    }
}
impl<'de> Deserialize<'de> for LinkId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        fixed::deserialize(from).map(Self)
    }
}

/// What a link says: this stream, until then. Its text is [`Signed`]'s, base64url, one segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// Where the stream belongs to no mesh, [`MeshId::alone`].
    pub mesh: MeshId,
    /// The stream's name, as in its addresses: 1 to 64 of `a-z A-Z 0-9 _ -`, the first not a dash.
    pub stream: Box<str>,
    pub id: LinkId,
    /// For whom it was made, for people; it binds nobody.
    pub label: Option<Name>,
    /// Opens from this second on; none: from the start.
    pub not_before: Option<UnixSeconds>,
    /// Opens before this second.
    pub expires: UnixSeconds,
}

/// By what a box judges a link.
#[derive(Clone, Copy, Debug)]
pub struct Lock<'a> {
    pub mesh: &'a MeshId,
    pub stream: &'a str,
    /// Certified by the stream's origin.
    pub key: &'a StreamKey,
    pub now: UnixSeconds,
}

/// Why a link opens nothing. The words are for who followed it, and say nothing that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("this link is not whole: copy it again, or ask for it once more")]
    Mistyped(#[source] DecodeError),
    #[error("this link is for another stream, or the stream has a new key: ask for another link")]
    Foreign,
    #[error("this link is good later: try again when the stream begins")]
    Early,
    #[error("this link is no longer good: ask for another one")]
    Expired,
}

impl AccessToken {
    /// 366 days from `not_before`, and from the time at which it is made.
    pub const VALID_MAX: Duration = Duration::from_secs(366 * 86_400);
    /// Characters of its text, at most.
    pub const TEXT_MAX: usize = Self::BYTES_MAX.div_ceil(3) * 4;

    /// Reads a link and judges it: the stream first, so that nobody learns of another one's times.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn open(text: &str, lock: &Lock<'_>) -> Result<Self, AccessError> {
        let signed: Signed<Self> = text.parse().map_err(AccessError::Mistyped)?;
        let token = signed.verify(lock.mesh, lock.key).map_err(|_| AccessError::Foreign)?;
        if *token.stream != *lock.stream {
            return Err(AccessError::Foreign);
        }
        token.holds(lock.now).map(|()| token.clone())
    }

    /// # Errors
    /// [`AccessError::Early`] and [`AccessError::Expired`].
    pub fn holds(&self, now: UnixSeconds) -> Result<(), AccessError> {
        if now >= self.expires {
            Err(AccessError::Expired)
        } else if self.not_before.is_some_and(|from| now < from) {
            Err(AccessError::Early)
        } else {
            Ok(())
        }
    }
}

impl Statement for AccessToken {
    type Signer = role::Stream;
    const KIND: Kind = Kind::AccessToken;
    const BYTES_MAX: usize = 210;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let named = (1..=64).contains(&self.stream.len()) && self.stream.bytes().all(plain);
        if !named || self.stream.starts_with('-') {
            return Err(DecodeError::OutOfBounds("a stream's name is 1 to 64 letters, digits, `_` or `-`"));
        }
        let valid = self
            .not_before
            .is_none_or(|from| from < self.expires && self.expires <= from.plus(Self::VALID_MAX));
        if valid { Ok(()) } else { Err(DecodeError::OutOfBounds("a link is good for at most 366 days")) }
    }
}
