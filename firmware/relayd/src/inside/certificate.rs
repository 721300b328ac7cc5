//! Mutual TLS between boxes, for networks in which an address proves nothing: each shows a certificate of its own over
//! its identity key, and is known by that key alone.
//!
//! Names, dates and issuers in a certificate say nothing; whose box the key is, the map says. TLS 1.3 alone (RFC 8446),
//! and no session is ever resumed: that would skip the very proof that it is for.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{CertificateParams, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, Error, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use trust::{BoxKey, BoxSecret};

use crate::by_key::{self, ByKey, Known};

/// What is spoken inside is not TLS's to know, but nobody else's protocol is to be taken for it (RFC 7301).
const PROTOCOL: &[u8] = b"relaybox-inside";
/// Before the 32 bytes of an Ed25519 secret key: PKCS #8, version 1 (RFC 8410, 7 and 10.3).
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Before the 32 bytes of an Ed25519 public key: SubjectPublicKeyInfo (RFC 8410, 4 and 10.1).
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A box's certificate and key.
#[derive(Debug)]
pub(crate) struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Certificate {
    pub(crate) fn of(identity: &BoxSecret) -> Result<Self> {
        let pkcs8 = PrivatePkcs8KeyDer::from([&PKCS8_HEAD[..], identity.seed()].concat());
        let pair = KeyPair::try_from(&pkcs8).context("the identity key does not sign")?;
        let leaf = CertificateParams::new(Vec::new()).and_then(|params| params.self_signed(&pair));
        let leaf = leaf.context("making the box's certificate")?;
        Ok(Self {
            chain: vec![leaf.der().clone()],
            key: PrivateKeyDer::Pkcs8(pkcs8),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
        })
    }

    fn takes(&self, boxes: BTreeSet<BoxKey>) -> Arc<ByKey<Accepted>> {
        Arc::new(ByKey { known: Accepted(boxes), provider: Arc::clone(&self.provider) })
    }

    /// Shows this box's certificate, and goes on only with the box that has this key.
    ///
    /// A server that refuses this box says so only later, on the first read (RFC 8446, 4.4.2.4 and E.1.2).
    pub(super) async fn connect(&self, tcp: TcpStream, expected: BoxKey) -> io::Result<TlsStream<TcpStream>> {
        let verifier = self.takes(BTreeSet::from([expected]));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.enable_sni = false;
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from("box.invalid").map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.map(TlsStream::from)
    }

    /// Goes on only with one of these boxes, and says with which.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
        accepted: BTreeSet<BoxKey>,
    ) -> io::Result<(BoxKey, TlsStream<TcpStream>)> {
        let verifier = self.takes(accepted);
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(io::Error::other)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain.clone(), self.key.clone_key())
            .map_err(io::Error::other)?;
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let stream = TlsAcceptor::from(Arc::new(config)).accept(tcp).await?;
        let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let key = shown.map(whose).transpose().map_err(io::Error::other)?;
        let key = key.ok_or_else(|| io::Error::other("no certificate was shown"))?;
        Ok((key, TlsStream::from(stream)))
    }
}

/// Whose certificate it is.
fn whose(certificate: &CertificateDer<'_>) -> Result<BoxKey, Error> {
    box_key(&by_key::key_of(certificate)?).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn box_key(key: &[u8]) -> Option<BoxKey> {
    let bytes = key.strip_prefix(&SPKI_HEAD[..])?;
    BoxKey::from_bytes(bytes.try_into().ok()?).ok()
}

/// The boxes that are taken.
#[derive(Debug)]
struct Accepted(BTreeSet<BoxKey>);

impl Known for Accepted {
    fn knows(&self, key: &[u8]) -> bool {
        box_key(key).is_some_and(|key| self.0.contains(&key))
    }
}
