//! HTTP: the API of boxes, the operator's page and API, and every problem in words.
//!
//! ```text
//! listener (bounds, TLS) ─> router ─> api        signed by a box, or open: time and enrolment
//!                                  ─> operator   this machine, or the operator's token
//!                                  ─> pages      problems, the API's description
//!                                  ─> watch      the watch page and what its player asks; on a door of its own too
//! ```
//! Refuses to hand anything to a handler that was not bounded first.

mod api;
mod attempts;
mod call;
mod listener;
mod members;
mod openapi;
mod operator;
mod parents;
mod problem;
mod relay;
mod watch;

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::handler::Handler;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use stream::StreamName;
use trust::BoxKey;
use wire::{Code, ReplayGuard, path};

pub(crate) use listener::{acceptor, acceptor_of, serve};

use self::attempts::{Attempts, Rate};
use self::problem::Refusal;
use crate::carriers::Carriers;
use crate::clock;
use crate::guide::Guide;
use crate::hub::Hub;
use crate::relay::Relay;

/// Who is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What every box is told.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// Between heartbeats.
    pub(crate) heartbeat_s: u32,
    pub(crate) stun_ports: wire::stun::Ports,
    /// Where viewers find the watch page.
    pub(crate) watch: Option<wire::WatchUrl>,
}

/// What all handlers share.
pub(crate) struct App {
    hub: Arc<Hub>,
    guard: Mutex<ReplayGuard>,
    attempts: Mutex<Attempts<IpAddr>>,
    heartbeats: Mutex<Attempts<BoxKey>>,
    lookups: Mutex<Attempts<BoxKey>>,
    asks: Mutex<Attempts<(BoxKey, StreamName)>>,
    carriers: Mutex<Carriers>,
    guide: Mutex<Guide>,
    relay: Arc<Relay>,
    token: String,
    terms: Terms,
    /// Whether attempts of strangers are counted.
    counting: bool,
}

type State = axum::extract::State<Arc<App>>;
type Answered = Result<Response, Refusal>;

impl App {
    pub(crate) fn new(hub: Arc<Hub>, relay: Arc<Relay>, token: String, terms: Terms, counting: bool) -> Self {
        let guard = Mutex::new(ReplayGuard::new(hub.service.mesh.id(), clock::now()));
        let attempts = Mutex::new(Attempts::new(Rate::STRANGERS));
        let heartbeats = Mutex::new(Attempts::new(Rate::HEARTBEATS));
        let lookups = Mutex::new(Attempts::new(Rate::LOOKUPS));
        let asks = Mutex::new(Attempts::new(Rate::PARENTS));
        let (carriers, guide) = (Mutex::default(), Mutex::default());
        Self {
            hub,
            guard,
            attempts,
            heartbeats,
            lookups,
            asks,
            carriers,
            guide,
            relay,
            token,
            terms,
            counting,
        }
    }
}

/// A router that knows what it was given.
#[derive(Default)]
struct Routes {
    router: Router<Arc<App>>,
    listed: Vec<(&'static str, &'static str)>,
}

impl Routes {
    fn get<T: 'static>(mut self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.router = self.router.route(path, get(handler));
        self.listed.push(("get", path));
        self
    }

    fn post<T: 'static>(mut self, path: &'static str, handler: impl Handler<T, Arc<App>>) -> Self {
        self.router = self.router.route(path, post(handler));
        self.listed.push(("post", path));
        self
    }
}

fn routes() -> Routes {
    Routes::default()
        .post(path::TIME, api::time)
        .post(path::ENROL, api::enrol)
        .post(path::HEARTBEAT, members::heartbeat)
        .post(path::RENEW, api::renew)
        .post(path::WIREGUARD, members::wireguard)
        .get(path::PUSH, members::push)
        .get(path::RELAY, relay::relay)
        .get(path::LOOKUP, members::lookup)
        .get(path::REVOCATIONS, members::revocations)
        .post(path::REVOCATIONS, members::merge_revocations)
        .post(path::EVIDENCE, members::evidence)
        .post(path::PARENTS, parents::parents)
        .get("/api/v1/openapi.json", openapi::document)
        .get("/api/v1/operator/boxes", operator::boxes)
        .get("/api/v1/operator/streams", operator::streams)
        .get("/api/v1/operator/box", operator::connections)
        .get("/operator", operator::page)
        .get("/operator/box", operator::box_page)
        .get("/operator/page.css", operator::style)
        .get("/operator/page.js", operator::script)
        .get("/problems/{code}", problem::page)
}

pub(crate) fn router(app: Arc<App>) -> Router {
    finished(routes().router.merge(watch::routes()), app)
}

/// For viewers: the watch page, and nothing that a box or the operator asks for.
pub(crate) fn watch_router(app: Arc<App>) -> Router {
    finished(watch::routes(), app)
}

fn finished(router: Router<Arc<App>>, app: Arc<App>) -> Router {
    router
        .fallback(|| refused(Code::NotFound, "there is nothing under this address"))
        .method_not_allowed_fallback(|| refused(Code::MethodNotAllowed, "another method has one here"))
        .layer(axum::middleware::map_response(finish))
        .with_state(app)
}

fn refused(code: Code, detail: &'static str) -> impl Future<Output = Response> {
    std::future::ready(Refusal::new(code, detail).into_response())
}

/// What every answer carries.
async fn finish(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
