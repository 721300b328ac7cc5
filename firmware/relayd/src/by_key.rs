//! TLS with somebody who is known by a key alone: names, dates and issuers in a certificate say nothing, so a board
//! whose clock is wrong comes through as well. Refuses every other key, and whoever can't sign with it.

use std::fmt::Debug;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Whose key is taken.
pub(crate) trait Known: Debug + Send + Sync {
    /// By the key's SubjectPublicKeyInfo in DER (RFC 5280, 4.1).
    fn knows(&self, key: &[u8]) -> bool;
}

/// Verifies either side.
#[derive(Debug)]
pub(crate) struct ByKey<K> {
    pub(crate) known: K,
    pub(crate) provider: Arc<CryptoProvider>,
}

/// The key in a certificate, as [`Known::knows`] has it.
pub(crate) fn key_of(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, Error> {
    Ok(ParsedCertificate::try_from(certificate)?.subject_public_key_info().to_vec())
}

/// Whether a handshake failed since another key was found.
pub(crate) fn is_mismatch(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)))
}

impl<K: Known> ByKey<K> {
    fn judge(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        if self.known.knows(&key_of(certificate)?) {
            Ok(())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }
}

/// That whoever shows a certificate has its key: the same for both sides.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(
                message,
                certificate,
                signed,
                &self.provider.signature_verification_algorithms,
            )
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(
                message,
                certificate,
                signed,
                &self.provider.signature_verification_algorithms,
            )
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

impl<K: Known> ServerCertVerifier for ByKey<K> {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(certificate).map(|()| ServerCertVerified::assertion())
    }

    signatures!();
}

impl<K: Known> ClientCertVerifier for ByKey<K> {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(certificate).map(|()| ClientCertVerified::assertion())
    }

    signatures!();
}
