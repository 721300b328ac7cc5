//! The box's own keys: its identity (Ed25519) and the one of WireGuard (X25519), each in a file that only the box's
//! user can read. They are made once, before anybody hears of them, so that a try that broke off can be repeated.

use std::path::Path;

use anyhow::{Context as _, Result};
use data_encoding::BASE64URL_NOPAD;
use dataplane::PrivateKey;
use trust::{BoxSecret, WireGuardKey};
use zeroize::Zeroizing;

use crate::secrets::replace;

const IDENTITY: &str = "identity.key";
const WIREGUARD: &str = "wireguard.key";

#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) identity: BoxSecret,
    pub(crate) wireguard: WireGuardKey,
    pub(crate) secret: PrivateKey,
}

impl Keys {
    /// Reads them, or makes those that are not there.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let identity = BoxSecret::from_seed(&*seed(&dir.join(IDENTITY))?);
        let secret = seed(&dir.join(WIREGUARD))?;
        let public = x25519_dalek::x25519(*secret, x25519_dalek::X25519_BASEPOINT_BYTES);
        let wireguard = WireGuardKey::from_bytes(public).context("the WireGuard key can't be used")?;
        Ok(Self { identity, wireguard, secret: PrivateKey::new(*secret) })
    }
}

fn seed(path: &Path) -> Result<Zeroizing<[u8; 32]>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let text = Zeroizing::new(text);
            let bytes = BASE64URL_NOPAD.decode(text.trim().as_bytes()).ok().map(Zeroizing::new);
            let seed = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
            seed.map(Zeroizing::new).with_context(|| {
                format!(
                    "{} holds no key: restore it, or remove it and join with another invite",
                    path.display()
                )
            })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let seed = Zeroizing::new(random::<32>()?);
            let text = Zeroizing::new(format!("{}\n", BASE64URL_NOPAD.encode(&*seed)));
            replace(path, text.as_bytes(), 0o600)?;
            Ok(seed)
        }
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("the system has no randomness")?;
    Ok(bytes)
}
