//! Setting a box up from its page: the invite, the house's Wi-Fi; and making it as it was when it was new.
//!
//! All of it takes a PIN session, but for a box that nobody has set up: there whoever is at home may bring the invite and
//! choose the PIN. A reset takes the session and the box's name, always. It judges who asks; what is asked is judged by the
//! daemon.

use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use crate::api::{Answer, Call, done, json};
use crate::body::Body;
use crate::gate::Gate;
use crate::problem::Problem;

/// Implemented by the daemon. Everything but [`Setup::portal`] may block.
pub trait Setup: Send + Sync {
    fn view(&self) -> SetupView;
    /// Nobody has set this box up, and nobody was told its PIN.
    fn is_first(&self) -> bool;
    /// Brings the box into a mesh; gives the name that it has there.
    fn join(&self, wish: &InviteWish) -> Result<String, SetupError>;
    /// Takes the wish; whether it leads to a network shows later.
    fn set_wifi(&self, wish: &WifiWish) -> Result<(), SetupError>;
    /// Forgets everything, and starts the machine again.
    fn reset(&self, name: &str) -> Result<(), SetupError>;
    /// Where somebody in the box's own Wi-Fi is sent, whatever they look for. Never blocks for long.
    fn portal(&self) -> Option<String>;
}

/// How far a box is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SetupView {
    pub name: String,
    /// Nobody has set it up: no PIN is asked for.
    pub first: bool,
    /// It is in a mesh, or can't be in one: no invite is asked for.
    pub joined: bool,
    /// None where there is no Wi-Fi, or it is not the box's business.
    pub wifi: Option<WifiView>,
    /// It can be made new from its page.
    pub resettable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WifiState {
    /// Not needed: there is a cable.
    Idle,
    /// On its way into the house's network.
    Trying,
    /// In it.
    Connected,
    /// The box makes a network of its own, in which it is asked for the house's.
    Hotspot,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WifiView {
    pub state: WifiState,
    /// Of the network in question.
    #[serde(default)]
    pub name: Option<String>,
    /// The box's own, in its own network.
    #[serde(default, skip_serializing)]
    pub address: Option<std::net::Ipv4Addr>,
    /// What was heard around, for a list to choose from.
    #[serde(default)]
    pub around: Vec<String>,
}

/// The invite as it was pasted, and on a new box the PIN that it shall have.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InviteWish {
    pub invite: String,
    #[serde(default)]
    pub pin: Option<String>,
}

impl std::fmt::Debug for InviteWish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InviteWish")
    }
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WifiWish {
    /// Two letters (ISO 3166-1).
    pub country: String,
    pub ssid: String,
    /// None for an open network.
    #[serde(default)]
    pub password: Option<String>,
}

impl std::fmt::Debug for WifiWish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WifiWish").field("country", &self.country).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// What is wrong and what helps, in plain words.
    #[error("{0}")]
    Refused(String),
    #[error("this box can't do that: it was not written from an image")]
    Elsewhere,
    /// The box keeps nothing at all for now, in the words of why.
    #[error("{0}")]
    Forgetful(String),
    #[error("the change could not be kept")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

#[derive(Serialize)]
struct Joined {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResetBody {
    name: String,
}

/// What of it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    View,
    Invite,
    Wifi,
    Reset,
}

impl Step {
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            "setup" => Some(Self::View),
            "setup/invite" => Some(Self::Invite),
            "setup/wifi" => Some(Self::Wifi),
            "setup/reset" => Some(Self::Reset),
            _ => None,
        }
    }

    pub(crate) const fn allow(self) -> &'static str {
        match self {
            Self::View => "GET, HEAD, OPTIONS",
            Self::Invite | Self::Reset => "POST, OPTIONS",
            Self::Wifi => "PUT, OPTIONS",
        }
    }
}

impl Call<'_> {
    pub(crate) async fn setup(&self, step: Step, body: Incoming) -> Answer {
        match step {
            Step::View => {
                self.may_set_up().await?;
                json(&self.at_setup(|setup| Ok(setup.view())).await?)
            }
            Step::Invite => {
                self.is_same_site()?;
                self.may_set_up().await?;
                let wish: InviteWish = self.read(body).await?;
                json(&Joined { name: self.at_setup(move |setup| setup.join(&wish)).await? })
            }
            Step::Wifi => {
                self.is_same_site()?;
                self.may_set_up().await?;
                let wish: WifiWish = self.read(body).await?;
                self.at_setup(move |setup| setup.set_wifi(&wish)).await?;
                Ok(accepted())
            }
            Step::Reset => {
                self.may_change()?;
                let ResetBody { name } = self.read(body).await?;
                self.at_setup(move |setup| setup.reset(&name)).await?;
                Ok(accepted())
            }
        }
    }

    /// With a session; without one at a new box, from near, where being near is being at the box.
    async fn may_set_up(&self) -> Result<(), Problem> {
        let Err(needs_pin) = self.has_session() else { return Ok(()) };
        let gate = Gate { server: self.server, caller: self.caller, parts: self.parts };
        if gate.is_near() && self.at_setup(|setup| Ok(setup.is_first())).await.unwrap_or(false) {
            return Ok(());
        }
        Err(needs_pin)
    }

    async fn at_setup<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Setup) -> Result<T, SetupError> + Send + 'static,
    ) -> Result<T, Problem> {
        let said = self.backstage(move |backstage| backstage.setup().map(call)).await?;
        let said = said.ok_or_else(|| Problem::not_found("this box is set up by its settings file alone"))?;
        said.map_err(|error| {
            let status = match &error {
                SetupError::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
                SetupError::Elsewhere => StatusCode::NOT_FOUND,
                SetupError::Forgetful(_) => StatusCode::INSUFFICIENT_STORAGE,
                SetupError::Failed(cause) => {
                    tracing::error!(%cause, "a step of the set-up could not be kept");
                    return Problem::unkept(&**cause);
                }
            };
            Problem::new(status, error.to_string())
        })
    }
}

/// Taken, and not yet done.
fn accepted() -> Response<Body> {
    let mut response = done();
    *response.status_mut() = StatusCode::ACCEPTED;
    response
}

/// Whoever is in the box's own Wi-Fi and looks for another site is sent to the page that asks for the house's Wi-Fi: that
/// is how a phone finds out that there is such a page.
pub(crate) fn led_home(setup: Option<&dyn Setup>, method: &Method) -> Option<Response<Body>> {
    if method != Method::GET {
        return None;
    }
    let page = http::HeaderValue::try_from(setup?.portal()?).ok()?;
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(http::header::LOCATION, page);
    response.headers_mut().insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    Some(response)
}
