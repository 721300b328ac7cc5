//! TLS to the coordinator, which is known by the key that the invite names.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rustls::ClientConfig;
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsConnector;
use trust::ticket::TlsPin;

use crate::by_key::{ByKey, Known};

pub(super) fn connector(pin: TlsPin) -> Result<TlsConnector> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = ByKey { known: Pinned(pin), provider: Arc::clone(&provider) };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

#[derive(Debug)]
struct Pinned(TlsPin);

impl Known for Pinned {
    fn knows(&self, key: &[u8]) -> bool {
        let found: [u8; 32] = Sha256::digest(key).into();
        found == self.0.0
    }
}
