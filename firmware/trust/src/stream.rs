//! A stream's own key: certified by the box at which it is published, and what that key signs of the media.
//!
//! ```text
//! root ──> invite ──> box ──> stream key ──> item | signature (64)
//!                                   signed: "relaybox/media" | 0 | item
//! ```
//! Items are many and large, and their content is none of this crate's affair: they are bytes here. Refuses to hand them
//! out before their signature was checked.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::access::Access;
use crate::digest::MeshId;
use crate::key::{StreamKey, StreamSecret, role};
use crate::statement::{DecodeError, Kind, Statement};
use crate::time::UnixSeconds;

const LABEL: &[u8] = b"relaybox/media\0";
const SIGNATURE_BYTES: usize = 64;

/// The origin's word that this key signs the stream of this name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamCertificate {
    pub mesh: MeshId,
    /// The stream's name, as in its addresses: 1 to 64 of `a-z A-Z 0-9 _ -`, the first not a dash.
    pub stream: Box<str>,
    pub key: StreamKey,
    /// Who may watch it without a link, at every box.
    pub access: Access,
    /// Of two certificates of one box for one stream the later one counts.
    pub issued: UnixSeconds,
}

impl Statement for StreamCertificate {
    type Signer = role::Box;
    const KIND: Kind = Kind::StreamCertificate;
    const BYTES_MAX: usize = 224;

    fn mesh(&self) -> &MeshId {
        &self.mesh
    }

    fn check(&self) -> Result<(), DecodeError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        let named = (1..=64).contains(&self.stream.len()) && self.stream.bytes().all(plain);
        if named && !self.stream.starts_with('-') {
            Ok(())
        } else {
            Err(DecodeError::OutOfBounds("a stream's name is 1 to 64 letters, digits, `_` or `-`"))
        }
    }
}

/// The stream's key did not sign these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not signed by the stream's key")]
pub struct Forged;

/// The item with its signature behind it.
#[must_use]
pub fn seal(item: &[u8], secret: &StreamSecret) -> Vec<u8> {
    let signature = secret.sign(&[LABEL, item].concat());
    [item, &signature].concat()
}

/// The item, once it is known that the stream's key signed it.
///
/// # Errors
/// [`Forged`], also when the bytes are too few to be anything.
pub fn unseal<'a>(sealed: &'a [u8], key: &StreamKey) -> Result<&'a [u8], Forged> {
    let (item, signature) = sealed.split_last_chunk::<SIGNATURE_BYTES>().ok_or(Forged)?;
    key.verify(&[LABEL, item].concat(), signature).map_err(|_| Forged)?;
    Ok(item)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{BoxSecret, RootSecret};
    use crate::statement::Signed;

    #[test]
    fn an_item_is_believed_from_its_own_key_alone() {
        let (ours, other) = (StreamSecret::from_seed(&[1; 32]), StreamSecret::from_seed(&[2; 32]));
        let sealed = seal(b"a part", &ours);
        assert_eq!(unseal(&sealed, &ours.public()), Ok(b"a part".as_slice()));
        assert_eq!(unseal(&sealed, &other.public()), Err(Forged));
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert_eq!(unseal(&bent, &ours.public()), Err(Forged), "at {at}");
            assert_eq!(unseal(&sealed[..at], &ours.public()), Err(Forged), "cut at {at}");
        }
    }

    #[test]
    fn a_certificate_is_of_its_box() {
        let mesh = MeshId::of(&RootSecret::from_seed(&[1; 32]).public());
        let (ours, other) = (BoxSecret::from_seed(&[3; 32]), BoxSecret::from_seed(&[4; 32]));
        let key = StreamSecret::from_seed(&[5; 32]).public();
        let certificate = StreamCertificate {
            mesh,
            stream: "a".repeat(64).into(),
            key,
            access: Access::Link,
            issued: UnixSeconds::new(u64::MAX),
        };
        let signed = Signed::sign(certificate.clone(), &ours).unwrap();
        let bytes = signed.to_bytes();
        assert!(bytes.len() <= StreamCertificate::BYTES_MAX);
        let read = Signed::<StreamCertificate>::from_bytes(&bytes).unwrap();
        assert_eq!(read.verify(&mesh, &ours.public()), Ok(&certificate));
        assert!(read.verify(&mesh, &other.public()).is_err());
        for bad in ["", "-a", "a/b", &"a".repeat(65)] {
            let certificate = StreamCertificate { stream: bad.into(), ..certificate.clone() };
            assert!(Signed::sign(certificate, &ours).is_err(), "{bad}");
        }
    }
}
