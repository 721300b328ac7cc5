//! Playlists, objects and FLV: what players fetch, from any page. Whoever asks has passed the gate.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, LOCATION, RANGE, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use store::{Live, Object, ObjectError, PlaylistError, Rendered};
use stream::playlist::{PlaylistName, Reload};
use stream::{ObjectName, StreamName};
use tokio::time::Instant;

use crate::Server;
use crate::body::Body;
use crate::conditional::not_modified;
use crate::gate::Pass;
use crate::policy::Caller;
use crate::problem::Problem;
use crate::range::Asked;

/// The longest that a request is held.
const HOLD_MAX: Duration = Duration::from_secs(10);
const RETRY_S: u64 = 2;
const PLAYLIST_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
/// An answer to a blocking request stays right for whoever asks the same (RFC 8216bis B.1 allows six target
/// durations); a short time is enough for a crowd that asks at once.
const BLOCKING_CACHE: HeaderValue = HeaderValue::from_static("public, max-age=4");

/// For what not everybody may have: a shared cache would go on giving it out when the link is over.
const PRIVATE_IMMUTABLE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");
const PRIVATE_BLOCKING: HeaderValue = HeaderValue::from_static("private, max-age=4");

#[derive(serde::Serialize)]
struct Signer {
    /// Ed25519, in base64url.
    key: trust::StreamKey,
}

/// What a request for media carries.
pub(crate) struct Asking<'a> {
    pub(crate) pass: Pass,
    pub(crate) server: &'a Arc<Server>,
    pub(crate) caller: Caller,
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
}

impl Asking<'_> {
    fn live(&self, name: &StreamName) -> Result<Arc<Live>, Problem> {
        self.server.store.get(name).ok_or_else(|| Problem::not_found("there is no such stream"))
    }

    fn count(&self, live: &Live) {
        let agent = self.headers.get(USER_AGENT).map(HeaderValue::as_bytes);
        live.seen(self.server.client_hash.hash_one((self.caller.peer, agent)));
    }

    pub(crate) async fn multivariant(&self, name: &StreamName) -> Result<Response<Body>, Problem> {
        let live = self.live(name)?;
        let deadline = Instant::now() + HOLD_MAX;
        let rendered = live.multivariant(deadline).await.map_err(|error| playlist_problem(&error))?;
        Ok(self.playlist_response(rendered, NO_CACHE))
    }

    /// Leads to the media playlist of the moment: playlists made elsewhere, which don't know its name, name this.
    pub(crate) async fn newest(&self, name: &StreamName) -> Result<Response<Body>, Problem> {
        let live = self.live(name)?;
        let rendered = live.multivariant(Instant::now() + HOLD_MAX).await;
        let rendered = rendered.map_err(|error| playlist_problem(&error))?;
        let text = std::str::from_utf8(&rendered.text).unwrap_or_default();
        let file = text.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        let file = file.ok_or_else(|| Problem::not_found("there is no such playlist"))?;
        let mut location = file.to_owned();
        if !self.query.is_empty() {
            location = format!("{file}?{}", self.query);
        }
        let mut response = Response::new(Body::Empty);
        *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
        let headers = response.headers_mut();
        headers.insert(LOCATION, ascii(location));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    pub(crate) async fn playlist(&self, name: &StreamName, file: &str) -> Result<Response<Body>, Problem> {
        let live = self.live(name)?;
        let playlist: PlaylistName =
            file.parse().map_err(|_| Problem::not_found("there is no such playlist"))?;
        let reload = Reload::parse(self.query).map_err(|bad| Problem::bad_request(bad.0))?;
        self.count(&live);
        let deadline = Instant::now() + HOLD_MAX;
        let blocking = reload.msn.is_some();
        if blocking {
            live.seen_near();
        }
        let _waiting = blocking.then(|| self.server.metrics.wait());
        let rendered = live.media_playlist(playlist, &reload, deadline).await;
        let rendered = rendered.map_err(|error| playlist_problem(&error))?;
        let cache = match (blocking, self.pass.is_for_all()) {
            (false, _) => NO_CACHE,
            (true, true) => BLOCKING_CACHE,
            (true, false) => PRIVATE_BLOCKING,
        };
        Ok(self.playlist_response(rendered, cache))
    }

    fn playlist_response(&self, rendered: Rendered, cache: HeaderValue) -> Response<Body> {
        let etag = quoted(format_args!("{:016x}", rendered.tag));
        let mut response = match not_modified(self.headers, &etag) {
            Some(response) => response,
            None => {
                let mut response = Response::new(Body::from_bytes(rendered.text));
                response.headers_mut().insert(CONTENT_TYPE, PLAYLIST_TYPE);
                response
            }
        };
        response.headers_mut().insert(ETAG, etag);
        response.headers_mut().insert(CACHE_CONTROL, cache);
        response
    }

    pub(crate) async fn object(
        &self,
        name: &StreamName,
        object: ObjectName,
    ) -> Result<Response<Body>, Problem> {
        let live = self.live(name)?;
        if matches!(object, ObjectName::Part(..)) {
            live.seen_near();
        }
        let found = live.object(object, Instant::now() + HOLD_MAX).await.map_err(|error| match error {
            ObjectError::NotFound => Problem::not_found("there is no such object"),
            ObjectError::Stalled => unavailable("the publisher has stalled"),
        })?;
        // A name never means two things, so that it is its own tag.
        let etag = quoted(format_args!("{object}"));
        let mut response = match not_modified(self.headers, &etag) {
            Some(response) => response,
            None => self.object_response(found, &etag)?.map(|body| body.counted(live.served())),
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, etag);
        headers.insert(CACHE_CONTROL, if self.pass.is_for_all() { IMMUTABLE } else { PRIVATE_IMMUTABLE });
        Ok(response)
    }

    /// What the origin signed, for players that check it: an item of docs/relay-protocol.md with its signature.
    pub(crate) fn seal(&self, name: &StreamName, object: ObjectName) -> Result<Response<Body>, Problem> {
        let live = self.live(name)?;
        let item =
            live.sealed(object).ok_or_else(|| Problem::not_found("nothing of that name is signed here"))?;
        let mut response = Response::new(Body::from_bytes(item.sealed.clone()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CACHE_CONTROL, if self.pass.is_for_all() { IMMUTABLE } else { PRIVATE_IMMUTABLE });
        Ok(response)
    }

    /// The key that signs the stream: for a page of this box, which trusts it anyway.
    pub(crate) fn signer(&self, name: &StreamName) -> Result<Response<Body>, Problem> {
        let key = self.server.backstage.signer(name);
        let key = key.ok_or_else(|| Problem::not_found("this stream is not signed"))?;
        let text = serde_json::to_vec(&Signer { key }).map_err(|_| Problem::not_found("no key"))?;
        let mut response = Response::new(Body::from_bytes(text.into()));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, NO_CACHE);
        Ok(response)
    }

    fn object_response(&self, found: Object, etag: &HeaderValue) -> Result<Response<Body>, Problem> {
        let (len, mut reader) = match found {
            Object::Whole { bytes, reader } => (bytes, reader),
            Object::Growing(reader) => {
                let mut response = Response::new(Body::pulled(reader));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
                return Ok(response);
            }
        };
        let asked = self.range(len, etag);
        let mut response = Response::new(Body::Empty);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("video/mp4"));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        match asked {
            Asked::Whole => {}
            Asked::Unsatisfiable => return Err(Problem::range(len)),
            Asked::Part(range) => {
                let content_range = format!("bytes {}-{}/{len}", range.start, range.end - 1);
                headers.insert(CONTENT_RANGE, ascii(content_range));
                reader = reader.slice(range);
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            }
        }
        *response.body_mut() = match reader.in_ram() {
            Some(pieces) => Body::from_pieces(pieces),
            None => Body::pulled(reader),
        };
        Ok(response)
    }

    /// RFC 9110 13.1.5: a range of another version is the whole of this one.
    fn range(&self, len: u64, etag: &HeaderValue) -> Asked {
        let same = self.headers.get(IF_RANGE).is_none_or(|tag| tag == etag);
        match self.headers.get(RANGE).and_then(|range| range.to_str().ok()) {
            Some(range) if same => Asked::of(range, len),
            Some(_) | None => Asked::Whole,
        }
    }

    pub(crate) fn flv(&self, name: &StreamName, head_only: bool) -> Result<Response<Body>, Problem> {
        let live = self.live(name)?;
        let reader = live.flv_reader().ok_or_else(|| unavailable("nobody publishes this stream"))?;
        let body = if head_only {
            Body::Empty
        } else {
            Body::flv(reader, Arc::clone(self.server), self.pass.left()).counted(live.served())
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("video/x-flv"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }
}

fn playlist_problem(error: &PlaylistError) -> Problem {
    match error {
        PlaylistError::BadRequest(why) => Problem::bad_request(why),
        PlaylistError::NotFound => Problem::not_found("there is no such playlist"),
        PlaylistError::Offline | PlaylistError::Held | PlaylistError::Stalled => {
            unavailable(error.to_string())
        }
    }
}

fn unavailable(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::retry(StatusCode::SERVICE_UNAVAILABLE, detail, RETRY_S)
}

fn quoted(tag: std::fmt::Arguments<'_>) -> HeaderValue {
    ascii(format!("\"{tag}\""))
}

fn ascii(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("names and numbers are visible ASCII")
}
