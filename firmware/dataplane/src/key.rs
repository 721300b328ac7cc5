//! WireGuard's keys: 32 bytes, written in base64. The secret ones show themselves to nobody.

use std::fmt;
use std::str::FromStr;

use boringtun::x25519;
use data_encoding::BASE64;

/// A text is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no key: 44 letters of base64 are one")]
pub struct BadKey;

/// A peer's name, and what its handshakes are checked with.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

/// One's own X25519 key. It is wiped when it is dropped.
#[derive(Clone)]
pub struct PrivateKey(x25519::StaticSecret);

/// A secret that both ends have beside their keys.
#[derive(Clone, PartialEq, Eq)]
pub struct PresharedKey(pub [u8; 32]);

impl PrivateKey {
    pub fn new(bytes: [u8; 32]) -> PrivateKey {
        PrivateKey(x25519::StaticSecret::from(bytes))
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(x25519::PublicKey::from(&self.0).to_bytes())
    }

    pub(crate) fn secret(&self) -> &x25519::StaticSecret {
        &self.0
    }
}

fn decode(text: &str) -> Result<[u8; 32], BadKey> {
    let mut bytes = [0; 33];
    if text.len() != 44 {
        return Err(BadKey);
    }
    let len = BASE64.decode_mut(text.as_bytes(), &mut bytes).map_err(|_| BadKey)?;
    bytes[..len].try_into().map_err(|_| BadKey)
}

impl FromStr for PublicKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<PublicKey, BadKey> {
        decode(text).map(PublicKey)
    }
}

impl FromStr for PrivateKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<PrivateKey, BadKey> {
        decode(text).map(PrivateKey::new)
    }
}

impl FromStr for PresharedKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<PresharedKey, BadKey> {
        decode(text).map(PresharedKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_print_and_hide() {
        // Alice's pair of RFC 7748, 6.1.
        let private: PrivateKey = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo=".parse().expect("a key");
        assert_eq!(private.public().to_string(), "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
        assert_eq!(format!("{private:?} {:?}", PresharedKey([7; 32])), "PrivateKey(..) PresharedKey(..)");
        for bad in [
            "",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo",
            "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo!",
        ] {
            assert_eq!(bad.parse::<PublicKey>(), Err(BadKey), "{bad}");
        }
        assert_eq!("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==".parse::<PublicKey>(), Err(BadKey));
    }
}
