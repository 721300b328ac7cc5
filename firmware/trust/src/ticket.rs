//! The text of an invite: one line to paste, or a QR code in alphanumeric mode.
//!
//! ```text
//! RELAYBOX 1 LL PAYLOAD.. CCCCCCCC
//!          │ │     │         └ 40 bits of BLAKE3 over all before it
//!          │ │     └ postcard in Crockford's base 32
//!          │ └ characters of the payload, two digits in base 32
//!          └ version of the payload
//! ```
//! The frame is the same for all versions, so that a slip is told apart from a text of another version. Spaces, line
//! breaks and dashes are passed over, either case will do. A text with one slip says where it is. Refuses to mend it:
//! what is executed is what was typed.

mod frame;
mod url;

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use crate::chain::{BoxCertificate, Chain};
use crate::digest::{self, MeshId};
use crate::fixed;
use crate::invite::Invite;
use crate::key::{BoxKey, Fingerprint, InviteSecret, RootKey};
use crate::name::Name;
use crate::statement::{DecodeError, Signed, VerifyError, decode, encode};
use crate::time::UnixSeconds;
pub use frame::Slip;
pub use url::{BadUrl, CoordinatorUrl};

/// What a friend is handed: where to go, whom to believe there, and the right to join.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    pub url: CoordinatorUrl,
    pub pin: TlsPin,
    pub root: RootKey,
    pub invite: Signed<Invite>,
    pub seed: InviteSeed,
}

/// SHA-256 of the `SubjectPublicKeyInfo` of the coordinator's TLS key (as in RFC 7469 section 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlsPin(pub [u8; 32]);

impl Serialize for TlsPin {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        fixed::serialize(&self.0, to)
    }
}
impl<'de> Deserialize<'de> for TlsPin {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        fixed::deserialize(from).map(Self)
    }
}

/// 128 secret bits from the shell's randomness, from which the invite's key is made. Their memory is cleared on drop, and
/// `Debug` never shows them.
#[derive(Clone, PartialEq, Eq)]
pub struct InviteSeed(pub [u8; 16]);

/// A text is not an invite that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error("this is not an invite: one begins with RELAYBOX")]
    NotAnInvite,
    #[error("the invite's text ends too early: {missing} characters are missing")]
    Truncated { missing: usize },
    #[error("the invite is mistyped{}", Place(.0))]
    Mistyped(Option<Slip>),
    #[error("the text is longer than any invite")]
    TooLong,
    #[error("the invite has version {found:?}, which this software does not know: update it")]
    OtherVersion { found: char },
    #[error("the invite was not made properly: ask for another one")]
    Content(#[source] DecodeError),
    #[error("the invite was not made by the mesh that it names: ask for another one")]
    Forged(#[source] VerifyError),
    #[error("the invite's secret is not its own: ask for another one")]
    OtherSecret,
    #[error("the invite expired at {since}: ask for another one")]
    Expired { since: UnixSeconds },
    #[error("the invite is for another mesh, with root {theirs}")]
    Foreign { theirs: Fingerprint },
}

struct Place<'a>(&'a Option<Slip>);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(slip) => write!(f, ": {slip}"),
            None => f.write_str(" in more than one place: copy it again"),
        }
    }
}

/// The payload. Fields follow each other without names, so a change of any is another version.
#[derive(Serialize, Deserialize)]
struct Payload {
    url: CoordinatorUrl,
    #[serde(with = "fixed")]
    pin: [u8; 32],
    root: RootKey,
    invite: Signed<Invite>,
    #[serde(with = "fixed")]
    seed: [u8; 16],
}

const VERSION: char = '1';

impl InviteSeed {
    /// The key that signs the box.
    #[must_use]
    pub fn secret(&self) -> InviteSecret {
        let seed = Zeroizing::new(digest::derive("relaybox 2026 invite seed v1", &[&self.0]));
        InviteSecret::from_seed(&seed)
    }
}

impl Drop for InviteSeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for InviteSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteSeed(..)")
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Ticket");
        shown.field("url", &self.url).field("root", &self.root).field("invite", &self.invite);
        shown.finish_non_exhaustive()
    }
}

impl Ticket {
    /// Reads what was typed. It is then whole and consistent; whether it may still be used, [`Self::check`] says.
    ///
    /// # Errors
    /// [`TicketError`], but neither [`TicketError::Expired`] nor [`TicketError::Foreign`].
    pub fn parse(typed: &str) -> Result<Self, TicketError> {
        let (version, payload) = frame::read(typed)?;
        if version != VERSION {
            return Err(TicketError::OtherVersion { found: version });
        }
        let payload: Payload = decode(&payload).map_err(TicketError::Content)?;
        let Payload { url, pin, root, invite, seed } = payload;
        let ticket = Self { url, pin: TlsPin(pin), root, invite, seed: InviteSeed(seed) };
        ticket.invite.verify(&MeshId::of(&root), &root).map_err(TicketError::Forged)?;
        if ticket.seed.secret().public() == ticket.invite.claims().key {
            Ok(ticket)
        } else {
            Err(TicketError::OtherSecret)
        }
    }

    /// The text: upper case, digits, at most 800 characters, no spaces.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { url, pin, root, invite, seed } = self;
        let payload =
            Payload { url: url.clone(), pin: pin.0, root: *root, invite: invite.clone(), seed: seed.0 };
        frame::write(VERSION, &encode(&payload).unwrap_or_default())
    }

    /// Whether it may be used at `now`, by a box that belongs to `ours` or to no mesh yet.
    ///
    /// # Errors
    /// [`TicketError::Foreign`] and [`TicketError::Expired`].
    pub fn check(&self, ours: Option<&RootKey>, now: UnixSeconds) -> Result<(), TicketError> {
        if ours.is_some_and(|ours| *ours != self.root) {
            return Err(TicketError::Foreign { theirs: self.root.fingerprint() });
        }
        let invite = self.invite.claims();
        if invite.enrols_at(now) { Ok(()) } else { Err(TicketError::Expired { since: invite.expires }) }
    }

    /// Signs a box. After it came in, the seed is of no more use to it and is thrown away.
    ///
    /// # Errors
    /// None that this ticket can cause; [`DecodeError`] is [`Signed::sign`]'s.
    pub fn sign_box(&self, key: BoxKey, name: Name) -> Result<Chain, DecodeError> {
        let certificate = BoxCertificate { mesh: MeshId::of(&self.root), key, name };
        let certificate = Signed::sign(certificate, &self.seed.secret())?;
        Ok(Chain { invite: self.invite.clone(), certificate })
    }
}

/// Bytes of the payload for a URL of the longest kind, and some room.
const PAYLOAD_BYTES_MAX: usize = 480;

fn bytes_of(values: &[u8]) -> Result<Vec<u8>, TicketError> {
    let bytes = crate::crockford::bytes(values).ok_or(TicketError::Content(DecodeError::NotCanonical))?;
    if bytes.len() > PAYLOAD_BYTES_MAX { Err(TicketError::TooLong) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;
