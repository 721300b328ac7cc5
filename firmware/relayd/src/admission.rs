//! Who may watch which stream of this box: what the settings say, what the studio set, and the links to it.
//!
//! | file in the data directory | what is in it |
//! |---|---|
//! | `access.toml` | what the studio set, by stream |
//! | `signing.toml` | the key of each stream, which signs its links; for the box's user alone |
//!
//! Links are kept nowhere: their signature is their record. Refuses to change what the settings file says.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use serve::{BackstageError, LinkView, LinkWish};
use stream::StreamName;
use trust::access::Lock;
use trust::{
    Access, AccessError, AccessToken, LinkId, MeshId, MeshPrefix, Signed, StreamKey, StreamSecret,
    UnixSeconds,
};
use wire::WatchUrl;
use zeroize::Zeroizing;

use crate::control::keys::random;
use crate::secrets::replace;
use crate::settings::Settings;

mod home;

use home::Home;

/// Links whose signature was checked and need not be again: viewers ask several times a second.
const OPENED_MAX: usize = 1024;
const LINK_TIME_MIN: Duration = Duration::from_secs(60);

type Now = Box<dyn Fn() -> UnixSeconds + Send + Sync>;
type Page = Box<dyn Fn() -> Option<WatchUrl> + Send + Sync>;

pub(crate) struct Admission {
    dir: PathBuf,
    default: Access,
    fixed: BTreeMap<StreamName, Access>,
    /// None at a box by itself.
    mesh: Option<MeshId>,
    now: Now,
    /// The coordinator's watch page, as far as it has told.
    page: Page,
    home: Home,
    set: Mutex<BTreeMap<StreamName, Access>>,
    secrets: Mutex<BTreeMap<StreamName, StreamSecret>>,
    opened: Mutex<BTreeMap<Box<str>, AccessToken>>,
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission").field("default", &self.default).finish_non_exhaustive()
    }
}

impl Admission {
    pub(crate) fn open(settings: &Settings, mesh: Option<MeshId>, now: Now) -> Result<Self> {
        let dir = settings.data_dir.clone();
        let set = read::<BTreeMap<StreamName, Access>>(&dir.join("access.toml"))?;
        let seeds = read::<BTreeMap<StreamName, String>>(&dir.join("signing.toml"))?;
        let secrets = seeds.iter().map(|(name, seed)| Ok((name.clone(), secret(seed)?)));
        let secrets = secrets.collect::<Result<_>>().context("in signing.toml")?;
        Ok(Self {
            dir,
            default: settings.access,
            fixed: settings.access_fixed.clone(),
            mesh,
            now,
            page: Box::new(|| None),
            home: Home::new(mesh.as_ref().map(MeshPrefix::of), settings.household),
            set: Mutex::new(set),
            secrets: Mutex::new(secrets),
            opened: Mutex::default(),
        })
    }

    pub(crate) fn with_watch_page(self, page: impl Fn() -> Option<WatchUrl> + Send + Sync + 'static) -> Self {
        Self { page: Box::new(page), ..self }
    }

    pub(crate) fn watch_page(&self) -> Option<WatchUrl> {
        (self.page)()
    }

    pub(crate) fn access(&self, name: &StreamName) -> Access {
        let set = || lock(&self.set).get(name).copied();
        self.fixed.get(name).copied().or_else(set).unwrap_or(self.default)
    }

    pub(crate) fn is_fixed(&self, name: &StreamName) -> bool {
        self.fixed.contains_key(name)
    }

    pub(crate) fn is_near(&self, peer: IpAddr) -> bool {
        self.home.holds(peer)
    }

    pub(crate) fn set_access(&self, name: &StreamName, access: Access) -> Result<(), BackstageError> {
        if self.is_fixed(name) {
            return Err(BackstageError::Fixed);
        }
        let mut set = lock(&self.set);
        let mut next = set.clone();
        next.insert(name.clone(), access);
        self.write_set(&next).map_err(failed)?;
        *set = next;
        Ok(())
    }

    /// For how long a link still opens a stream.
    pub(crate) fn open_link(&self, name: &StreamName, text: &str) -> Result<Duration, AccessError> {
        let key = lock(&self.secrets).get(name).map(StreamSecret::public);
        self.open_link_with(name, text, key.ok_or(AccessError::Foreign)?)
    }

    /// The same, for a stream whose key is known from its certificate.
    pub(crate) fn open_link_with(
        &self,
        name: &StreamName,
        text: &str,
        key: StreamKey,
    ) -> Result<Duration, AccessError> {
        let now = (self.now)();
        let known = lock(&self.opened).get(text).cloned();
        let token = match known {
            Some(token) if *token.stream == *name.as_str() => token.holds(now).map(|()| token)?,
            Some(_) => return Err(AccessError::Foreign),
            None => {
                let mesh = self.mesh.unwrap_or_else(|| MeshId::alone(&key));
                let token =
                    AccessToken::open(text, &Lock { mesh: &mesh, stream: name.as_str(), key: &key, now })?;
                self.remember(text, &token, now);
                token
            }
        };
        Ok(token.expires.since(now))
    }

    fn remember(&self, text: &str, token: &AccessToken, now: UnixSeconds) {
        let mut opened = lock(&self.opened);
        if opened.len() >= OPENED_MAX {
            opened.retain(|_, token| token.holds(now).is_ok());
        }
        if opened.len() >= OPENED_MAX {
            opened.clear();
        }
        opened.insert(text.into(), token.clone());
    }

    pub(crate) fn make_link(&self, name: &StreamName, wish: &LinkWish) -> Result<LinkView, BackstageError> {
        let valid = Duration::from_secs(wish.valid_s);
        if !(LINK_TIME_MIN..=AccessToken::VALID_MAX).contains(&valid) {
            return Err(BackstageError::LinkTime);
        }
        let token = self.sign(name, wish, valid).map_err(failed)?;
        Ok(LinkView {
            path: format!("/t/{token}/live/{name}"),
            watch_url: self.watch_page().map(|page| format!("{page}/t/{token}/watch/{name}")),
            id: token.claims().id.to_string(),
            label: token.claims().label.clone(),
            expires_unix_s: token.claims().expires.get(),
        })
    }

    fn sign(&self, name: &StreamName, wish: &LinkWish, valid: Duration) -> Result<Signed<AccessToken>> {
        let secret = self.secret(name)?;
        let token = AccessToken {
            mesh: self.mesh.unwrap_or_else(|| MeshId::alone(&secret.public())),
            stream: name.as_str().into(),
            id: LinkId(random()?),
            label: wish.label.clone(),
            not_before: None,
            expires: (self.now)().plus(valid),
        };
        Signed::sign(token, &secret).context("signing a link")
    }

    /// The stream's key; made, and kept before anybody hears of it, where there is none.
    pub(crate) fn secret(&self, name: &StreamName) -> Result<StreamSecret> {
        let mut secrets = lock(&self.secrets);
        if let Some(secret) = secrets.get(name) {
            return Ok(secret.clone());
        }
        let secret = StreamSecret::from_seed(&Zeroizing::new(random::<32>()?));
        let mut next = secrets.clone();
        next.insert(name.clone(), secret.clone());
        self.write_secrets(&next)?;
        *secrets = next;
        Ok(secret)
    }

    /// A stream that was removed: one of the same name later has another key, and its old links open nothing.
    pub(crate) fn forget(&self, name: &StreamName) -> Result<()> {
        let mut secrets = lock(&self.secrets);
        let mut next = secrets.clone();
        if next.remove(name).is_some() {
            self.write_secrets(&next)?;
            *secrets = next;
        }
        lock(&self.opened).retain(|_, token| *token.stream != *name.as_str());
        let mut set = lock(&self.set);
        let mut next = set.clone();
        if next.remove(name).is_some() {
            self.write_set(&next)?;
            *set = next;
        }
        Ok(())
    }

    fn write_set(&self, set: &BTreeMap<StreamName, Access>) -> Result<()> {
        let text = toml::to_string(set).context("writing down who may watch")?;
        replace(&self.dir.join("access.toml"), text.as_bytes(), 0o644)
    }

    fn write_secrets(&self, secrets: &BTreeMap<StreamName, StreamSecret>) -> Result<()> {
        let seeds: BTreeMap<_, _> =
            secrets.iter().map(|(name, secret)| (name, BASE64URL_NOPAD.encode(secret.seed()))).collect();
        let text = Zeroizing::new(toml::to_string(&seeds).context("writing down the streams' keys")?);
        replace(&self.dir.join("signing.toml"), text.as_bytes(), 0o600)
    }
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("in {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

fn secret(seed: &str) -> Result<StreamSecret> {
    let bytes = Zeroizing::new(BASE64URL_NOPAD.decode(seed.as_bytes()).context("a key is base64url text")?);
    ensure!(bytes.len() == 32, "a key has 32 bytes");
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&bytes);
    Ok(StreamSecret::from_seed(&seed))
}

fn failed(error: anyhow::Error) -> BackstageError {
    BackstageError::Failed(Box::from(error))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
