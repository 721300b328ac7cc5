//! Setting the box up from its page: an invite is used here, by the daemon itself; what takes root (the house's Wi-Fi, a
//! reset) is ordered by a file that the image's own units take.
//!
//! A box is new while it has the PIN that it made itself and nobody has used: then whoever is at home may set it up. It
//! decides nothing about who asks: that is `serve`'s.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serve::{InviteWish, SetupError, SetupView, WifiState, WifiView, WifiWish};

use crate::card::{self, orders};
use crate::control::kept::{self, Kept};
use crate::join::{self, JoinError};
use crate::secrets::{self, Secret};
use crate::settings::{Settings, Standalone};

/// In the data directory, while nobody has set the box up.
const NEW: &str = "new";
/// What is read of the Wi-Fi's state.
const WIFI_BYTES_MAX: usize = 16 << 10;

/// Where the parts of an image talk with each other.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Image {
    /// A folder for what the page wants of root.
    pub(crate) orders: PathBuf,
    /// How it stands with the Wi-Fi, where there is one.
    pub(crate) wifi: PathBuf,
    /// Why the box keeps nothing until it starts again, and what helps, in plain words.
    #[serde(default)]
    pub(crate) lost: Option<String>,
}

/// The PIN, which the first set-up chooses.
#[derive(Debug)]
pub(crate) struct Pin(Mutex<Secret>);

impl Pin {
    pub(crate) fn new(pin: Secret) -> Pin {
        Pin(Mutex::new(pin))
    }

    pub(crate) fn matches(&self, given: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).matches(given)
    }

    fn choose(&self, pin: &str, data_dir: &Path) -> Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        secrets::replace(&data_dir.join("pin"), format!("{pin}\n").as_bytes(), 0o600)?;
        *held = Secret::new(pin);
        Ok(())
    }
}

/// Written when the box made its PIN: nobody was told.
pub(crate) fn begin(data_dir: &Path) -> Result<()> {
    secrets::replace(&data_dir.join(NEW), b"", 0o600)
}

pub(crate) struct Desk {
    name: String,
    data_dir: PathBuf,
    standalone: Standalone,
    image: Option<Image>,
    pin: Arc<Pin>,
    /// One invite at a time.
    joining: Mutex<()>,
}

impl Desk {
    pub(crate) fn new(settings: &Settings, pin: Arc<Pin>) -> Desk {
        Desk {
            name: settings.name.clone(),
            data_dir: settings.data_dir.clone(),
            standalone: settings.standalone,
            image: settings.image.clone(),
            pin,
            joining: Mutex::new(()),
        }
    }

    /// Somebody knows the PIN.
    pub(crate) fn is_known(&self) {
        if let Err(error) = fs::remove_file(self.data_dir.join(NEW))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!(%error, "the box still takes itself for a new one");
        }
    }

    /// Why nothing can be kept.
    pub(crate) fn lost(&self) -> Option<&str> {
        self.image.as_ref()?.lost.as_deref()
    }

    fn keeps(&self) -> Result<(), SetupError> {
        self.lost().map_or(Ok(()), |why| Err(SetupError::Forgetful(why.to_owned())))
    }

    fn is_member(&self) -> bool {
        // One that can't be read is none that could be replaced from here.
        Kept::read(&kept::directory(&self.data_dir)).map_or(true, |kept| kept.is_some())
    }

    fn radio(&self) -> Option<WifiView> {
        let text = fs::read_to_string(&self.image.as_ref()?.wifi).ok()?;
        if text.len() > WIFI_BYTES_MAX {
            return None;
        }
        toml::from_str(&text).ok()
    }

    fn order(&self, name: &str, text: &str) -> Result<(), SetupError> {
        let image = self.image.as_ref().ok_or(SetupError::Elsewhere)?;
        secrets::replace(&image.orders.join(name), text.as_bytes(), 0o600).map_err(failed)
    }
}

fn failed(error: anyhow::Error) -> SetupError {
    SetupError::Failed(Box::<dyn std::error::Error + Send + Sync>::from(error))
}

impl serve::Setup for Desk {
    fn view(&self) -> SetupView {
        SetupView {
            name: self.name.clone(),
            first: self.is_first(),
            joined: self.standalone == Standalone::Yes || self.is_member(),
            wifi: self.radio(),
            resettable: self.image.is_some(),
        }
    }

    fn is_first(&self) -> bool {
        let is_new = || self.data_dir.join(NEW).exists() && !self.is_member();
        self.image.is_some() && self.lost().is_none() && is_new()
    }

    fn join(&self, wish: &InviteWish) -> Result<String, SetupError> {
        // An invite would be used up, and what it brought forgotten.
        self.keeps()?;
        if self.standalone == Standalone::Yes {
            return Err(SetupError::Refused("this box is by itself, as its settings file says".to_owned()));
        }
        let Ok(_one) = self.joining.try_lock() else {
            return Err(SetupError::Refused("an invite is being used just now: wait a little".to_owned()));
        };
        let pin = match (self.is_first(), wish.pin.as_deref().map(str::trim)) {
            (true, Some(pin)) => Some(card::good_pin(pin).map_err(SetupError::Refused)?),
            (true, None) => {
                let sentence = "choose a PIN of 4 to 12 digits: with it you change on this page what others at home may not";
                return Err(SetupError::Refused(sentence.to_owned()));
            }
            (false, Some(_)) => {
                return Err(SetupError::Refused("the box has its PIN already: leave it out".to_owned()));
            }
            (false, None) => None,
        };
        let runtime = tokio::runtime::Handle::current();
        let entered = runtime.block_on(join::enter(&wish.invite, None, &self.data_dir, 0));
        let name = match entered {
            Ok(entered) => entered.name,
            Err(error) => {
                return Err(match error.downcast_ref::<JoinError>() {
                    Some(refusal) => SetupError::Refused(format!("{refusal}. {}", refusal.what_to_do())),
                    None => failed(error),
                });
            }
        };
        if let Some(pin) = pin {
            self.pin.choose(&pin, &self.data_dir).map_err(failed)?;
        }
        self.is_known();
        tracing::info!(name, "came into a mesh by an invite from the page");
        Ok(name)
    }

    fn set_wifi(&self, wish: &WifiWish) -> Result<(), SetupError> {
        self.keeps()?;
        if self.radio().is_none() {
            return Err(SetupError::Elsewhere);
        }
        let password = wish.password.as_deref().filter(|password| !password.is_empty());
        let order = card::wifi_order(&wish.country, &wish.ssid, password).map_err(SetupError::Refused)?;
        self.order(orders::WIFI, &order)
    }

    fn reset(&self, name: &str) -> Result<(), SetupError> {
        // Nobody was told the PIN of this start, and a reset has to make the partition: it takes a file on the card.
        self.keeps()?;
        if !name.trim().eq_ignore_ascii_case(&self.name) {
            return Err(SetupError::Refused(format!(
                "this is not the box's name: type {} to have it forget everything",
                self.name
            )));
        }
        self.order(orders::RESET, &format!("{}\n", self.name))?;
        tracing::warn!("the box was told to forget everything");
        Ok(())
    }

    fn portal(&self) -> Option<String> {
        let radio = self.radio().filter(|radio| radio.state == WifiState::Hotspot)?;
        let page = if self.is_first() || self.lost().is_some() { "" } else { "studio" };
        Some(format!("http://{}/{page}", radio.address?))
    }
}

/// What the PIN file says, and whether nobody was told of it.
pub(crate) fn pin(settings: &Settings) -> Result<(Secret, bool)> {
    let (pin, is_new) = secrets::pin(&settings.data_dir)?;
    if is_new && settings.image.is_some() {
        begin(&settings.data_dir).context("writing down that the box is new")?;
    }
    Ok((pin, is_new))
}

#[cfg(test)]
mod tests {
    use serve::Setup as _;

    use super::*;
    use crate::settings::Fragment;

    struct Bench {
        dir: PathBuf,
        desk: Desk,
        pin: Arc<Pin>,
    }

    impl Bench {
        fn new(name: &str) -> Bench {
            let dir = std::env::temp_dir().join(format!("relayd-setup-{name}-{}", std::process::id()));
            fs::create_dir_all(dir.join("orders")).unwrap();
            let text = format!(
                "name = 'attic'\nstandalone = 'until-joined'\ndata_dir = '{0}'\n[image]\norders = '{0}/orders'\nwifi = '{0}/wifi'\n",
                dir.display()
            );
            fs::write(dir.join("relayd.toml"), text).unwrap();
            let settings = Settings::read(Some(&dir.join("relayd.toml")), Fragment::default()).unwrap();
            let held = Arc::new(Pin::new(pin(&settings).unwrap().0));
            Bench { desk: Desk::new(&settings, Arc::clone(&held)), pin: held, dir }
        }

        fn said<T: std::fmt::Debug>(&self, result: Result<T, SetupError>) -> String {
            result.unwrap_err().to_string()
        }
    }

    impl Drop for Bench {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }

    fn invite(text: &str, pin: Option<&str>) -> InviteWish {
        InviteWish { invite: text.into(), pin: pin.map(str::to_owned) }
    }

    #[tokio::test]
    async fn a_bad_invite_changes_nothing() {
        let bench = Bench::new("invite");
        assert!(bench.desk.is_first());
        let before = fs::read_to_string(bench.dir.join("pin")).unwrap();
        let bench = tokio::task::spawn_blocking(move || {
            assert!(bench.said(bench.desk.join(&invite("hello", None))).contains("choose a PIN"));
            assert!(bench.said(bench.desk.join(&invite("hello", Some("12")))).contains("the PIN is none"));
            let said = bench.said(bench.desk.join(&invite("hello", Some("4711"))));
            assert!(said.contains("this is not an invite: one begins with RELAYBOX"), "{said}");
            bench
        })
        .await
        .unwrap();
        assert_eq!(fs::read_to_string(bench.dir.join("pin")).unwrap(), before);
        assert!(bench.desk.is_first() && bench.pin.matches(before.trim()));
        bench.desk.is_known();
        assert!(!bench.desk.is_first());
    }

    #[tokio::test]
    async fn a_box_that_keeps_nothing_takes_nothing() {
        let bench = Bench::new("lost");
        let image =
            bench.desk.image.clone().map(|image| Image { lost: Some("it is broken".into()), ..image });
        let mut settings = Settings::read(Some(&bench.dir.join("relayd.toml")), Fragment::default()).unwrap();
        settings.image = image;
        let desk = Desk::new(&settings, Arc::clone(&bench.pin));
        assert!(!desk.is_first(), "nobody is asked for an invite");
        fs::write(bench.dir.join("wifi"), "state = 'hotspot'\naddress = '10.42.0.1'\n").unwrap();
        let wifi = WifiWish { country: "DE".into(), ssid: "home".into(), password: None };
        let refused = [
            desk.join(&invite("RELAYBOX1", Some("4711"))).map(drop),
            desk.set_wifi(&wifi),
            desk.reset("attic"),
        ];
        for refusal in refused {
            assert!(
                matches!(&refusal, Err(SetupError::Forgetful(why)) if why == "it is broken"),
                "{refusal:?}"
            );
        }
        assert_eq!(fs::read_dir(bench.dir.join("orders")).unwrap().count(), 0, "nothing is ordered");
        assert_eq!(desk.portal().as_deref(), Some("http://10.42.0.1/"), "where it says what is wrong");
    }

    #[test]
    fn orders_are_left_for_root() {
        let bench = Bench::new("orders");
        let wish =
            |ssid: &str| WifiWish { country: "DE".into(), ssid: ssid.into(), password: Some(String::new()) };
        assert!(
            matches!(bench.desk.set_wifi(&wish("home")), Err(SetupError::Elsewhere)),
            "there is no Wi-Fi"
        );
        fs::write(bench.dir.join("wifi"), "state = 'hotspot'\naddress = '10.42.0.1'\n").unwrap();
        assert_eq!(bench.desk.portal().as_deref(), Some("http://10.42.0.1/"));
        bench.desk.set_wifi(&wish("home")).unwrap();
        let order = fs::read_to_string(bench.dir.join("orders/wifi.toml")).unwrap();
        assert!(order.contains("ssid = \"home\"") && !order.contains("password"), "{order}");
        assert!(bench.said(bench.desk.set_wifi(&wish(""))).contains("the Wi-Fi network's name can't be"));
        assert!(bench.said(bench.desk.reset("cellar")).contains("type attic"));
        assert!(!bench.dir.join("orders/reset").exists());
        bench.desk.reset(" Attic ").unwrap();
        assert_eq!(fs::read_to_string(bench.dir.join("orders/reset")).unwrap(), "attic\n");
        bench.desk.is_known();
        assert_eq!(bench.desk.portal().as_deref(), Some("http://10.42.0.1/studio"));
        fs::write(bench.dir.join("wifi"), "state = 'connected'\nname = 'home'\naround = ['home']\n").unwrap();
        assert_eq!(bench.desk.portal(), None);
        assert_eq!(bench.desk.view().wifi.unwrap().around, ["home"]);
    }
}
