//! A request as handlers see it: bounded, read whole, with who is connected and what a box signed about it.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{FromRequest, Query, Request};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use serde::Serialize;
use serde::de::DeserializeOwned;
use trust::{BoxKey, Signed, UnixSeconds};
use wire::request::{HEADER, HEADER_BYTES_MAX, Incoming};
use wire::{BODY_BYTES_MAX, BoxRequest, Code, Method};

use super::problem::Refusal;
use super::{App, Peer};
use crate::clock;
use crate::hub::{Member, Standing};

/// For the whole body to come in.
const BODY_TIME_MAX: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub(super) struct Call {
    pub(super) peer: IpAddr,
    pub(super) now: UnixSeconds,
    pub(super) headers: HeaderMap,
    query: Option<String>,
    /// There when the request asks for another protocol.
    pub(super) upgrade: Option<OnUpgrade>,
    method: Method,
    target: String,
    body: Bytes,
}

impl FromRequest<Arc<App>> for Call {
    type Rejection = Response;

    async fn from_request(request: Request, _: &Arc<App>) -> Result<Self, Response> {
        read(request).await.map_err(Refusal::into_response)
    }
}

async fn read(request: Request) -> Result<Call, Refusal> {
    let (mut parts, body) = request.into_parts();
    let method = match parts.method {
        http::Method::GET | http::Method::HEAD => Method::Get,
        http::Method::POST => Method::Post,
        http::Method::DELETE => Method::Delete,
        _ => return Err(Refusal::new(Code::MethodNotAllowed, "another method has one here")),
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    // A body that is too large and one that breaks off end alike.
    let too_large = |_| Refusal::new(Code::TooLarge, format!("at most {BODY_BYTES_MAX} bytes are read"));
    let body = match tokio::time::timeout(BODY_TIME_MAX, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(body) => body.map_err(too_large)?,
        Err(_) => return Err(Refusal::new(Code::TryAgain, "the request came in too slowly")),
    };
    let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0; 16]), |peer| peer.0);
    let query = parts.uri.query().map(str::to_owned);
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    Ok(Call { peer, now: clock::now(), headers: parts.headers, query, upgrade, method, target, body })
}

impl Call {
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.body).map_err(|error| Refusal::new(Code::Malformed, error.to_string()))
    }

    /// What the address asks for, behind its question mark.
    pub(super) fn question<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        let uri = format!("/?{}", self.query.as_deref().unwrap_or_default());
        let uri: http::Uri =
            uri.parse().map_err(|_| Refusal::new(Code::Malformed, "the question can't be read"))?;
        let question = Query::try_from_uri(&uri);
        question.map(|question| question.0).map_err(|error| Refusal::new(Code::Malformed, error.to_string()))
    }

    fn statement(&self) -> Result<Signed<BoxRequest>, Refusal> {
        let missing = || Refusal::new(Code::RequestForged, "the request carries no signature");
        let header = self.headers.get(HEADER).ok_or_else(missing)?;
        let text = header.to_str().ok().filter(|text| text.len() <= HEADER_BYTES_MAX).ok_or_else(missing)?;
        text.parse().map_err(|error| Refusal::because(Code::RequestForged, &error))
    }
}

impl App {
    /// Whether the box of this key made the request, and for the first time.
    pub(super) fn signed_by(&self, call: &Call, key: &BoxKey) -> Result<(), Refusal> {
        self.admit(call, &call.statement()?, key)
    }

    fn admit(&self, call: &Call, statement: &Signed<BoxRequest>, key: &BoxKey) -> Result<(), Refusal> {
        let incoming = Incoming { method: call.method, target: &call.target, body: &call.body };
        let mut guard = self.guard.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(guard.admit(statement, &incoming, key, call.now)?)
    }

    /// The member that made the request.
    pub(super) fn member(&self, call: &Call) -> Result<Member, Refusal> {
        let statement = call.statement()?;
        let key = statement.claims().key;
        let directory = self.hub.directory();
        let Some(known) = directory.member(&key) else {
            return Err(Refusal::new(Code::BoxUnknown, "this box did not come in here"));
        };
        self.admit(call, &statement, &key)?;
        if !matches!(directory.standing(&key), Standing::Member) {
            return Err(Refusal::new(Code::BoxRevoked, "the mesh's root took this box out"));
        }
        let membership = known.entry.membership.claims();
        if call.now >= membership.lapses() {
            let detail = format!("the membership ended at {}", membership.lapses());
            return Err(Refusal::new(Code::MembershipLapsed, detail));
        }
        Ok(known.clone())
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> super::Answered {
    let text = serde_json::to_vec(value).map_err(|error| Refusal::internal(&error))?;
    let mut response = Response::new(axum::body::Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

pub(super) fn no_content() -> Response {
    http::StatusCode::NO_CONTENT.into_response()
}
