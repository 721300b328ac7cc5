//! The box's certificate: from given files, from what the service manager hands over, or its own, made once and kept.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::secrets::replace;
use crate::settings::Settings;

/// An acceptor for each use: RTMPS speaks no ALPN.
pub(crate) struct Acceptors {
    pub(crate) http: TlsAcceptor,
    pub(crate) rtmp: TlsAcceptor,
}

pub(crate) fn acceptors(settings: &Settings) -> Result<Acceptors> {
    let (certificate, key) = match &settings.certificate {
        Some(files) => files.clone(),
        None => match handed_over() {
            Some(files) => files,
            None => own(settings)?,
        },
    };
    let chain = CertificateDer::pem_file_iter(&certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("reading the certificate {}", certificate.display()))?;
    let key =
        PrivateKeyDer::from_pem_file(&key).with_context(|| format!("reading the key {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let rtmp = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("TLS versions")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and the key do not go together")?;
    let mut http = rtmp.clone();
    http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Acceptors { http: TlsAcceptor::from(Arc::new(http)), rtmp: TlsAcceptor::from(Arc::new(rtmp)) })
}

/// What root keeps for the daemon in /etc/credstore, and the daemon's user may not read there (LoadCredential in
/// systemd.exec(5)).
fn handed_over() -> Option<(PathBuf, PathBuf)> {
    let directory = PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?);
    let files = (directory.join("relaybox.crt"), directory.join("relaybox.key"));
    (exists(&files.0) && exists(&files.1)).then_some(files)
}

/// A self-signed certificate for the box's names: browsers warn once, and say who it is.
fn own(settings: &Settings) -> Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (settings.data_dir.join("box.crt"), settings.data_dir.join("box.key"));
    if exists(&certificate) && exists(&key) {
        return Ok((certificate, key));
    }
    let names: Vec<String> = settings.hosts.iter().cloned().chain(["localhost".to_owned()]).collect();
    let made = rcgen::generate_simple_self_signed(names).context("making a certificate")?;
    replace(&key, made.signing_key.serialize_pem().as_bytes(), 0o600)?;
    replace(&certificate, made.cert.pem().as_bytes(), 0o644)?;
    Ok((certificate, key))
}

fn exists(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}
