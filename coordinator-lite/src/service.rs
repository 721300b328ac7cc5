//! What the service is: its files in the data directory. The root's secret is not among them, and nothing here could
//! make one.
//!
//! | file | what is in it | who reads it |
//! |---|---|---|
//! | `mesh.json` | the root's public key, the coordinator's certificate | all |
//! | `coordinator.key` | the seed of the coordinator's key | owner |
//! | `tls.key`, `tls.crt` | the TLS key that invites pin, its self-signed certificate | owner; all |
//! | `url` | where boxes reach the service | all |
//! | `port` | the TCP port that `setup` was told, if another than 8443 | all |
//! | `stun` | the UDP ports on which it answers STUN, since its last start | all |
//! | `operator-token` | what the operator shows from another machine | owner |

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::BASE64URL_NOPAD;
use rcgen::PublicKeyData as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use trust::ticket::{CoordinatorUrl, TlsPin};
use trust::{
    Coordinator, CoordinatorCertificate, CoordinatorSecret, MeshId, Revocations, RootKey, RootSecret, Signed,
    UnixSeconds,
};

use crate::{clock, file};

const MESH: &str = "mesh.json";
const KEY: &str = "coordinator.key";
const TLS_KEY: &str = "tls.key";
const TLS_CERTIFICATE: &str = "tls.crt";
const URL: &str = "url";
const PORT: &str = "port";
const STUN: &str = "stun";
const TOKEN: &str = "operator-token";
/// The service's TCP port when nobody says another.
pub(crate) const PORT_USUAL: u16 = 8443;
/// The root certifies the coordinator for two years; `doctor` says when they end.
const CERTIFIED: Duration = Duration::from_secs(730 * 86_400);
/// Clocks of boxes may be behind.
const CERTIFIED_BEFORE: Duration = Duration::from_secs(86_400);

/// What everybody may know.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mesh {
    pub(crate) root: RootKey,
    pub(crate) certificate: Signed<CoordinatorCertificate>,
}

/// The service with its secrets.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) dir: PathBuf,
    pub(crate) mesh: Mesh,
    pub(crate) secret: CoordinatorSecret,
}

impl Mesh {
    pub(crate) fn id(&self) -> MeshId {
        MeshId::of(&self.root)
    }

    /// None when the directory holds no mesh.
    pub(crate) fn read(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(MESH);
        let Some(text) = file::read(&path)? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).with_context(|| format!("in {}", path.display()))
    }

    /// The mesh, or what to do to have one.
    pub(crate) fn expect(dir: &Path) -> Result<Self> {
        match Self::read(dir)? {
            Some(mesh) => Ok(mesh),
            None => bail!(
                "there is no mesh in {}: make one with `coordinator-lite init --data-dir {}`",
                dir.display(),
                dir.display()
            ),
        }
    }

    pub(crate) fn coordinator(&self, now: UnixSeconds, revocations: &Revocations) -> Result<Coordinator> {
        Coordinator::verify(&self.certificate, &self.root, now, revocations)
            .context("the root does not vouch for this coordinator: `coordinator-lite certify` renews it")
    }
}

impl Service {
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let mesh = Mesh::expect(dir)?;
        let path = dir.join(KEY);
        let secret = secret(&path)?.with_context(|| format!("{} is missing", path.display()))?;
        ensure!(
            mesh.certificate.claims().key == secret.public(),
            "{} is not the key that {} certifies: restore both from one backup",
            path.display(),
            dir.join(MESH).display()
        );
        Ok(Self { dir: dir.to_owned(), mesh, secret })
    }

    /// Makes what is missing; true if anything was.
    pub(crate) fn make(dir: &Path, root: &RootSecret, now: UnixSeconds) -> Result<bool> {
        file::private_dir(dir)?;
        let mut made = make_tls(dir)?;
        let key = dir.join(KEY);
        let secret = match secret(&key)? {
            Some(secret) => secret,
            None => make_secret(&key)?,
        };
        match Mesh::read(dir)? {
            Some(mesh) => ensure!(
                mesh.root == root.public(),
                "{} belongs to another root ({}): nothing was changed",
                dir.display(),
                mesh.root.fingerprint()
            ),
            None => {
                certify(dir, root, &secret, 1, now)?;
                made = true;
            }
        }
        if file::read(&dir.join(TOKEN))?.is_none() {
            let token = BASE64URL_NOPAD.encode(&clock::random::<24>()?);
            file::replace(&dir.join(TOKEN), format!("{token}\n").as_bytes(), file::OWNER)?;
            made = true;
        }
        Ok(made)
    }

    /// Another certificate in place of the one that ends, for the same key or a new one.
    pub(crate) fn certify_again(
        dir: &Path,
        root: &RootSecret,
        new_key: bool,
        now: UnixSeconds,
    ) -> Result<u32> {
        let before = Self::open(dir)?;
        ensure!(before.mesh.root == root.public(), "the root's key is another mesh's");
        let serial = before.mesh.certificate.claims().serial.saturating_add(1);
        let secret = if new_key { make_secret(&dir.join(KEY))? } else { before.secret };
        certify(dir, root, &secret, serial, now)?;
        Ok(serial)
    }

    pub(crate) fn token(&self) -> Result<String> {
        let path = self.dir.join(TOKEN);
        file::read(&path)?.with_context(|| format!("{} is missing", path.display()))
    }

    /// Certificate and private key, for the listener.
    pub(crate) fn tls_files(&self) -> (PathBuf, PathBuf) {
        (self.dir.join(TLS_CERTIFICATE), self.dir.join(TLS_KEY))
    }
}

/// Which TLS key boxes have to find.
pub(crate) fn pin(dir: &Path) -> Result<TlsPin> {
    let path = dir.join(TLS_KEY);
    let text = file::read(&path)?.with_context(|| format!("{} is missing", path.display()))?;
    let key = rcgen::KeyPair::from_pem(&text).with_context(|| format!("in {}", path.display()))?;
    Ok(TlsPin(Sha256::digest(key.subject_public_key_info()).into()))
}

/// Where boxes reach the service, once it was said or the service has run.
pub(crate) fn url(dir: &Path) -> Result<Option<CoordinatorUrl>> {
    let path = dir.join(URL);
    let Some(text) = file::read(&path)? else { return Ok(None) };
    text.parse().map(Some).with_context(|| format!("in {}", path.display()))
}

pub(crate) fn set_url(dir: &Path, url: &CoordinatorUrl) -> Result<()> {
    if self::url(dir).ok().flatten().as_ref() == Some(url) {
        return Ok(());
    }
    file::replace(&dir.join(URL), format!("{url}\n").as_bytes(), file::ALL)
}

/// On which TCP port the service listens when its command line does not say.
pub(crate) fn port(dir: &Path) -> Result<u16> {
    let path = dir.join(PORT);
    let Some(text) = file::read(&path)? else { return Ok(PORT_USUAL) };
    text.parse().with_context(|| format!("in {}", path.display()))
}

pub(crate) fn set_port(dir: &Path, port: u16) -> Result<()> {
    if self::port(dir).is_ok_and(|before| before == port) {
        return Ok(());
    }
    file::replace(&dir.join(PORT), format!("{port}\n").as_bytes(), file::ALL)
}

/// The UDP ports that the service opened when it started last; none before its first start.
pub(crate) fn stun_ports(dir: &Path) -> Result<Option<Vec<u16>>> {
    let path = dir.join(STUN);
    let Some(text) = file::read(&path)? else { return Ok(None) };
    let ports: Result<Vec<u16>, _> = text.split_whitespace().map(str::parse).collect();
    ports.map(Some).with_context(|| format!("in {}", path.display()))
}

pub(crate) fn set_stun_ports(dir: &Path, ports: &[u16]) -> Result<()> {
    let text: String = ports.iter().map(|port| format!("{port}\n")).collect();
    file::replace(&dir.join(STUN), text.as_bytes(), file::ALL)
}

fn certify(
    dir: &Path,
    root: &RootSecret,
    secret: &CoordinatorSecret,
    serial: u32,
    now: UnixSeconds,
) -> Result<()> {
    let certificate = CoordinatorCertificate {
        mesh: MeshId::of(&root.public()),
        key: secret.public(),
        serial,
        not_before: now.minus(CERTIFIED_BEFORE),
        not_after: now.plus(CERTIFIED),
    };
    let certificate = Signed::sign(certificate, root).context("certifying the coordinator")?;
    let mesh = Mesh { root: root.public(), certificate };
    let text = serde_json::to_string_pretty(&mesh).context("writing down the mesh")?;
    file::replace(&dir.join(MESH), format!("{text}\n").as_bytes(), file::ALL)
}

fn secret(path: &Path) -> Result<Option<CoordinatorSecret>> {
    let Some(text) = file::read(path)? else { return Ok(None) };
    let seed = BASE64URL_NOPAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
    let seed = seed.with_context(|| format!("{} holds no key: restore it from a backup", path.display()))?;
    Ok(Some(CoordinatorSecret::from_seed(&seed)))
}

fn make_secret(path: &Path) -> Result<CoordinatorSecret> {
    let secret = CoordinatorSecret::from_seed(&clock::random()?);
    let text = format!("{}\n", BASE64URL_NOPAD.encode(secret.seed()));
    file::replace(path, text.as_bytes(), file::OWNER)?;
    Ok(secret)
}

/// The name in the certificate says nothing: boxes know the key.
fn make_tls(dir: &Path) -> Result<bool> {
    let (certificate, key) = (dir.join(TLS_CERTIFICATE), dir.join(TLS_KEY));
    if certificate.is_file() && key.is_file() {
        return Ok(false);
    }
    ensure!(!key.is_file(), "{} is there without {}", key.display(), certificate.display());
    let names = vec!["coordinator-lite".to_owned(), "localhost".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("making a TLS certificate")?;
    file::replace(&certificate, made.cert.pem().as_bytes(), file::ALL)?;
    file::replace(&key, made.signing_key.serialize_pem().as_bytes(), file::OWNER)?;
    Ok(true)
}
