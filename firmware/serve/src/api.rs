//! The JSON API and its sessions. Reading without a PIN needs this machine or an open policy; changing needs a PIN
//! session, always, and a request from no other site.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};
use stream::StreamName;
use trust::Access;

use crate::Server;
use crate::backstage::{Backstage, BackstageError, GivingWish, LinkWish, StreamStatus};
use crate::body::Body;
use crate::gate::Gate;
use crate::metrics::Turned;
use crate::policy::{Caller, Host, is_json, is_same_site};
use crate::problem::Problem;
use crate::route::Route;

const BODY_BYTES_MAX: usize = 4 << 10;
const BODY_TIME_MAX: Duration = Duration::from_secs(5);

pub(crate) type Answer = Result<Response<Body>, Problem>;

/// A request for the API, its Host checked already.
pub(crate) struct Call<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) caller: Caller,
    pub(crate) host: Host<'a>,
    pub(crate) parts: &'a Parts,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PinBody {
    pin: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NameBody {
    name: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccessBody {
    access: Access,
}

#[derive(Serialize)]
struct KeyView<'a> {
    name: &'a str,
    key: &'a str,
}

#[derive(Serialize)]
struct WatchList {
    r#box: String,
    /// For who is near the box; others can mend nothing there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<String>,
    streams: Vec<Watchable>,
}

/// What the list of streams says about one: less than its status.
#[derive(Serialize)]
struct Watchable {
    name: String,
    state: crate::backstage::StreamState,
    since_unix_ms: Option<i64>,
    video: Option<crate::backstage::VideoStatus>,
    audio: Option<crate::backstage::AudioStatus>,
    viewers: u64,
}

impl Call<'_> {
    pub(crate) async fn answer(&self, route: Route<'_>, body: Incoming) -> Answer {
        let server = self.server;
        let delete = self.parts.method == Method::DELETE;
        let put = self.parts.method == Method::PUT;
        match route {
            Route::ApiStreams => {
                self.may_read()?;
                json(&server.backstage.streams())
            }
            Route::ApiBox => {
                self.may_read()?;
                json(&server.backstage.box_view())
            }
            Route::ApiSession if delete => self.close_session(),
            Route::ApiSession => self.open_session(body).await,
            Route::ApiStudio => {
                self.has_session()?;
                let view = self.backstage(<dyn Backstage>::studio).await?;
                json(&view)
            }
            Route::ApiGiving if put => self.set_giving(body).await,
            Route::ApiGiving => {
                self.may_read()?;
                let view = self.backstage(<dyn Backstage>::giving).await?;
                json(&view)
            }
            Route::ApiSetup(step) => self.setup(step, body).await,
            Route::ApiStudioStreams => self.create(body).await,
            Route::ApiStudioStream(name) => self.remove(name).await,
            Route::ApiStudioKey(name) => self.rotate(name).await,
            Route::ApiStudioAccess(name) => self.set_access(name, body).await,
            Route::ApiStudioLinks(name) => self.make_link(name, body).await,
            _ => Err(Problem::not_found("there is nothing under this address")),
        }
    }

    /// `/live/index.json`: those that the asker may watch.
    pub(crate) async fn watch_list(&self, gate: &Gate<'_>) -> Answer {
        let server = self.server;
        let watchable = |status: StreamStatus| Watchable {
            name: status.name,
            state: status.state,
            since_unix_ms: status.since_unix_ms,
            video: status.video,
            audio: status.audio,
            viewers: status.viewers,
        };
        let mut streams = server.backstage.streams();
        streams.retain(|status| status.name.parse().is_ok_and(|name| gate.is_open(&name)));
        let streams = streams.into_iter().map(watchable).collect();
        let near = gate.is_near() || server.sessions.is_open(&self.parts.headers);
        let notices = if near { self.backstage(<dyn Backstage>::notices).await? } else { Vec::new() };
        json(&WatchList { r#box: server.backstage.box_view().name, notices, streams })
    }

    /// `/live/NAME/status.json`.
    pub(crate) fn status(server: &Server, name: &StreamName) -> Answer {
        let streams = server.backstage.streams();
        let status = streams.into_iter().find(|status| status.name == name.as_str());
        let status = status.ok_or_else(|| Problem::not_found("there is no such stream"))?;
        json(&StreamStatus { source: None, ..status })
    }

    pub(crate) fn health(server: &Server) -> Answer {
        let health = server.backstage.health();
        let mut response = json(&health)?;
        if !health.ok {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(response)
    }

    pub(crate) fn metrics(&self) -> Answer {
        let open = self.server.policy.metrics_open;
        if !open && !self.caller.is_this_machine(self.host, &self.parts.headers) {
            self.server.metrics.turned(Turned::Peer);
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "metrics are for this machine, unless they are opened",
            ));
        }
        let text = self.server.metrics.render(&self.server.store) + &self.server.backstage.metrics();
        let mut response = Response::new(Body::from_bytes(text.into()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn may_read(&self) -> Result<(), Problem> {
        let open = self.server.policy.api_open
            || self.caller.is_this_machine(self.host, &self.parts.headers)
            || self.server.sessions.is_open(&self.parts.headers);
        if open { Ok(()) } else { Err(self.needs_pin()) }
    }

    pub(crate) fn has_session(&self) -> Result<(), Problem> {
        if self.server.sessions.is_open(&self.parts.headers) { Ok(()) } else { Err(self.needs_pin()) }
    }

    fn needs_pin(&self) -> Problem {
        self.server.metrics.turned(Turned::Session);
        Problem::new(StatusCode::UNAUTHORIZED, "this needs the box's PIN")
    }

    pub(crate) fn is_same_site(&self) -> Result<(), Problem> {
        if is_same_site(self.host, &self.parts.headers) {
            return Ok(());
        }
        self.server.metrics.turned(Turned::Origin);
        Err(Problem::new(StatusCode::FORBIDDEN, "this request comes from another site"))
    }

    pub(crate) fn may_change(&self) -> Result<(), Problem> {
        self.is_same_site()?;
        self.has_session()
    }

    async fn open_session(&self, body: Incoming) -> Answer {
        self.is_same_site()?;
        let PinBody { pin } = self.read(body).await?;
        let (server, peer) = (self.server, self.caller.peer);
        server.guesses.take(peer).map_err(|wait| {
            server.metrics.turned(Turned::PinRate);
            let wait_s = wait.as_secs().max(1);
            Problem::retry(StatusCode::TOO_MANY_REQUESTS, "too many PINs were tried: wait a little", wait_s)
        })?;
        if !self.backstage(move |backstage| backstage.check_pin(&pin)).await? {
            server.metrics.turned(Turned::WrongPin);
            tracing::info!("a wrong PIN was tried");
            return Err(Problem::new(StatusCode::UNAUTHORIZED, "this is not the box's PIN"));
        }
        server.guesses.was_right(peer);
        let cookie = server.sessions.open(self.caller.tls);
        no_content(cookie.map_err(|_| Problem::internal("no random numbers"))?)
    }

    fn close_session(&self) -> Answer {
        self.is_same_site()?;
        no_content(self.server.sessions.close(&self.parts.headers))
    }

    async fn create(&self, body: Incoming) -> Answer {
        self.may_change()?;
        let NameBody { name } = self.read(body).await?;
        let name: StreamName = name.parse().map_err(|bad: stream::BadStreamName| {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, bad.to_string())
        })?;
        let asked = name.clone();
        let key = self.backstage(move |backstage| backstage.create_stream(&asked)).await?;
        let key = key.map_err(|error| problem_of(&error))?;
        let mut response = json(&KeyView { name: name.as_str(), key: &key })?;
        *response.status_mut() = StatusCode::CREATED;
        if let Ok(location) = HeaderValue::try_from(format!("/api/v1/studio/streams/{name}")) {
            response.headers_mut().insert(LOCATION, location);
        }
        Ok(response)
    }

    async fn rotate(&self, name: StreamName) -> Answer {
        self.may_change()?;
        let asked = name.clone();
        let key = self.backstage(move |backstage| backstage.rotate_key(&asked)).await?;
        let key = key.map_err(|error| problem_of(&error))?;
        json(&KeyView { name: name.as_str(), key: &key })
    }

    async fn remove(&self, name: StreamName) -> Answer {
        self.may_change()?;
        let removed = self.backstage(move |backstage| backstage.remove_stream(&name)).await?;
        removed.map_err(|error| problem_of(&error))?;
        Ok(done())
    }

    async fn set_access(&self, name: StreamName, body: Incoming) -> Answer {
        self.may_change()?;
        let AccessBody { access } = self.read(body).await?;
        let set = self.backstage(move |backstage| backstage.set_access(&name, access)).await?;
        set.map_err(|error| problem_of(&error))?;
        Ok(done())
    }

    async fn set_giving(&self, body: Incoming) -> Answer {
        self.may_change()?;
        let wish: GivingWish = self.read(body).await?;
        let set = self.backstage(move |backstage| backstage.set_giving(wish)).await?;
        set.map_err(|error| problem_of(&error))?;
        Ok(done())
    }

    async fn make_link(&self, name: StreamName, body: Incoming) -> Answer {
        self.may_change()?;
        let wish: LinkWish = self.read(body).await?;
        let link = self.backstage(move |backstage| backstage.make_link(&name, &wish)).await?;
        let mut response = json(&link.map_err(|error| problem_of(&error))?)?;
        *response.status_mut() = StatusCode::CREATED;
        Ok(response)
    }

    /// Calls the daemon beside the I/O threads.
    pub(crate) async fn backstage<T: Send + 'static>(
        &self,
        call: impl FnOnce(&dyn Backstage) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let backstage = Arc::clone(&self.server.backstage);
        tokio::task::spawn_blocking(move || call(&*backstage))
            .await
            .map_err(|_| Problem::internal("the box failed to answer"))
    }

    pub(crate) async fn read<T: serde::de::DeserializeOwned>(&self, body: Incoming) -> Result<T, Problem> {
        if !is_json(&self.parts.headers) {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be application/json",
            ));
        }
        let collected =
            tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await;
        let bytes: Bytes = match collected {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long"));
            }
            Ok(Err(_)) => return Err(Problem::bad_request("the body broke off")),
            Err(_) => return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come")),
        };
        serde_json::from_slice(&bytes)
            .map_err(|_| Problem::bad_request("the body is not what this address takes"))
    }
}

fn problem_of(error: &BackstageError) -> Problem {
    let status = match error {
        BackstageError::NotFound | BackstageError::NoFriends => StatusCode::NOT_FOUND,
        BackstageError::Exists | BackstageError::TooMany | BackstageError::Fixed => StatusCode::CONFLICT,
        BackstageError::LinkTime | BackstageError::Giving(_) => StatusCode::UNPROCESSABLE_ENTITY,
        BackstageError::Forgetful(_) => StatusCode::INSUFFICIENT_STORAGE,
        BackstageError::Failed(cause) => {
            tracing::error!(%cause, "a change of the streams could not be kept");
            return Problem::unkept(&**cause);
        }
    };
    Problem::new(status, error.to_string())
}

pub(crate) fn json(value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).map_err(|_| Problem::internal("the answer has no JSON form"))?;
    let mut response = Response::new(Body::from_bytes(text.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

pub(crate) fn done() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn no_content(cookie: String) -> Answer {
    let mut response = done();
    let cookie = HeaderValue::try_from(cookie).map_err(|_| Problem::internal("the cookie is malformed"))?;
    response.headers_mut().insert(SET_COOKIE, cookie);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
