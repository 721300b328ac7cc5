//! The watch page: one address for a stream, wherever it is carried. The page and its scripts, which boxes to ask, and for
//! other players a multivariant playlist with content steering (RFC 8216bis section 7).
//!
//! ```text
//! /watch/NAME                 the page
//! /watch/NAME/boxes.json      what its player asks: boxes, best first for this viewer
//! /watch/NAME/index.m3u8      one variant per box, each a pathway
//! /watch/NAME/steering.json   the order of the pathways
//! /t/TOKEN/watch/NAME...      the same for who has a link
//! ```
//! Refuses to carry media, and to judge a link: it is handed on to the boxes, and each of them judges it. Not part of the
//! API that `openapi.json` describes.

use std::fmt::Write as _;
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::routing::get;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use stream::StreamName;
use trust::{Access, AccessToken, MeshPrefix, Name, StreamKey};
use wire::{Code, WatchUrl};

use super::call::{Call, json};
use super::problem::Refusal;
use super::{Answered, App};
use crate::guide::{Asker, Choice};
use crate::hub::Standing;

/// One file of web/dist.
struct File {
    /// With a leading slash.
    path: &'static str,
    content_type: &'static str,
    /// A quoted hash of the content.
    etag: &'static str,
    content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Scripts and styles come from here only; the stream comes from boxes, whose addresses nobody knows beforehand.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
     connect-src 'self' http: https:; media-src 'self' blob: http: https:; worker-src 'self' blob:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Seconds until players ask again.
const TTL_S: u32 = 10;
/// The highest of a variant's bitrates over what its box measured, in tenths.
const PEAK_TENTHS: u64 = 15;
const FORWARDED: [&str; 2] = ["forwarded", "x-forwarded-for"];

#[derive(Debug, Deserialize)]
struct Asked {
    token: Option<String>,
    name: String,
}

/// What the page's player asks for.
#[derive(Debug, Serialize)]
struct Steering {
    name: StreamName,
    ttl_s: u32,
    /// With which the stream is signed: the player checks what boxes give it. Absent where nobody signs.
    key: Option<StreamKey>,
    boxes: Vec<BoxView>,
}

#[derive(Debug, Serialize)]
struct BoxView {
    id: Name,
    name: Name,
    near: bool,
    urls: Vec<WatchUrl>,
}

/// RFC 8216bis 7.2.
#[derive(Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
struct SteeringManifest {
    version: u32,
    ttl: u32,
    #[serde(rename = "RELOAD-URI")]
    reload_uri: &'static str,
    #[serde(rename = "PATHWAY-PRIORITY")]
    pathway_priority: Vec<Name>,
}

pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new().route("/assets/{file}", get(asset));
    for prefix in ["", "/t/{token}"] {
        router = router
            .route(&format!("{prefix}/watch/{{name}}"), get(page))
            .route(&format!("{prefix}/watch/{{name}}/boxes.json"), get(boxes))
            .route(&format!("{prefix}/watch/{{name}}/steering.json"), get(steering))
            .route(&format!("{prefix}/watch/{{name}}/index.m3u8"), get(multivariant));
    }
    router
}

async fn page(headers: HeaderMap) -> Response {
    let mut response = file("/watch.html", &headers, HeaderValue::from_static("no-cache"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// Names under `/assets/` carry a hash of their content.
async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&format!("/assets/{name}"), &headers, IMMUTABLE)
}

fn file(path: &str, asked: &HeaderMap, cache: HeaderValue) -> Response {
    let Ok(at) = FILES.binary_search_by_key(&path, |file| file.path) else {
        let mut response = Response::new(Body::from("there is nothing under this address\n"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        return response;
    };
    let File { content_type, etag, content, .. } = &FILES[at];
    let same = asked.get(IF_NONE_MATCH).is_some_and(|known| known == etag);
    let mut response = Response::new(if same { Body::empty() } else { Body::from(*content) });
    if same {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(ETAG, HeaderValue::from_static(etag));
    headers.insert(CACHE_CONTROL, cache);
    response
}

async fn boxes(State(app): super::State, Path(asked): Path<Asked>, call: Call) -> Answered {
    let Led { name, key, choices, .. } = app.choose(&asked, &call).await?;
    let view = |choice: Choice| BoxView {
        id: choice.name.clone(),
        name: choice.name,
        near: choice.near,
        urls: choice.urls,
    };
    json(&Steering { name, ttl_s: TTL_S, key, boxes: choices.into_iter().map(view).collect() })
}

async fn steering(State(app): super::State, Path(asked): Path<Asked>, call: Call) -> Answered {
    let Led { choices, .. } = app.choose(&asked, &call).await?;
    let pathway_priority = choices.into_iter().map(|choice| choice.name).collect();
    let manifest = SteeringManifest { version: 1, ttl: TTL_S, reload_uri: "steering.json", pathway_priority };
    Ok(for_pages(json(&manifest)?))
}

async fn multivariant(State(app): super::State, Path(asked): Path<Asked>, call: Call) -> Answered {
    let Led { name, bitrate_bps, choices, .. } = app.choose(&asked, &call).await?;
    let Some(first) = choices.first() else {
        return Err(Refusal::new(Code::NotFound, "no box that you reach carries this stream"));
    };
    let link = asked.token.map(|token| format!("/t/{token}")).unwrap_or_default();
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-CONTENT-STEERING:SERVER-URI=\"steering.json\",PATHWAY-ID=\"{}\"\n",
        first.name
    );
    for choice in &choices {
        let Some(url) = choice.urls.first() else { continue };
        let (average, peak) = (bitrate_bps, bitrate_bps.saturating_mul(PEAK_TENTHS) / 10);
        // Writing into a string never fails.
        let _ = write!(
            text,
            "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},PATHWAY-ID=\"{}\"\n\
             {url}{link}/live/{name}/media.m3u8\n",
            peak.max(1),
            average.max(1),
            choice.name
        );
    }
    let mut response = Response::new(Body::from(text));
    let kind = HeaderValue::from_static("application/vnd.apple.mpegurl");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(for_pages(response))
}

/// Players stand on pages of other origins.
fn for_pages(mut response: Response) -> Response {
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

impl App {
    /// The boxes for this viewer; none of them while the stream is not live.
    async fn choose(&self, asked: &Asked, call: &Call) -> Result<Led, Refusal> {
        let not_found = || Refusal::new(Code::NotFound, "there is no such stream");
        let name: StreamName = asked.name.parse().map_err(|_| not_found())?;
        if asked.token.as_ref().is_some_and(|token| !is_token(token)) {
            return Err(Refusal::new(Code::NotFound, "this link is not whole: copy it again"));
        }
        let wanted = name.clone();
        let owner = self.hub.store.call(move |database| database.owner_of(&wanted)).await?;
        let owner = owner.ok_or_else(not_found)?;
        let directory = self.hub.directory();
        let is_member = |key: &_| matches!(directory.standing(key), Standing::Member);
        let proxied = FORWARDED.iter().any(|field| call.headers.contains_key(*field));
        let ask = Asker {
            from: (!proxied).then_some(call.peer),
            now: Instant::now(),
            heartbeat_s: self.terms.heartbeat_s,
            mesh: MeshPrefix::of(&self.hub.service.mesh.id()),
            is_member: &is_member,
        };
        let guide = self.guide.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(live) = guide.live(&name, &owner, &ask) else { return Ok(Led::nowhere(name)) };
        let (access, key, bitrate_bps) = (live.access, live.key, live.bitrate_bps);
        let mut choices = guide.choose(&name, &owner, &ask);
        drop(guide);
        match access {
            _ if asked.token.is_some() => {}
            Access::Open => {}
            Access::Mesh => choices.retain(|choice| choice.near),
            Access::Link => {
                let why = "this stream is watched by link: ask the streamer for one";
                return Err(Refusal::new(Code::Forbidden, why));
            }
        }
        Ok(Led { name, key, bitrate_bps, choices })
    }
}

/// Where a viewer is led.
struct Led {
    name: StreamName,
    key: Option<StreamKey>,
    bitrate_bps: u64,
    choices: Vec<Choice>,
}

impl Led {
    const fn nowhere(name: StreamName) -> Self {
        Self { name, key: None, bitrate_bps: 0, choices: Vec::new() }
    }
}

/// What has the form of one.
fn is_token(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=AccessToken::TEXT_MAX).contains(&text.len()) && text.bytes().all(plain)
}
