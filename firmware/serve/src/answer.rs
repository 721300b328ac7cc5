//! From a request to its response: checks that hold for all, then the room that knows the answer.

use std::convert::Infallible;
use std::sync::Arc;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_LENGTH, X_CONTENT_TYPE_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use crate::Server;
use crate::api::Call;
use crate::backstage::Wanted;
use crate::body::Body;
use crate::gate::Gate;
use crate::media::Asking;
use crate::metrics::Turned;
use crate::pages;
use crate::policy::{Caller, Host};
use crate::problem::Problem;
use crate::route::{Asked, Route};
use crate::setup::led_home;

/// Our longest URI has a stream's name, an epoch and a few numbers.
const URI_BYTES_MAX: usize = 2048;

/// What a foreign page's player may see besides the body.
const EXPOSED: HeaderValue = HeaderValue::from_static("content-range, date, etag, retry-after");

/// Never fails: what is wrong is a response too.
pub(crate) async fn answer(
    server: Arc<Server>,
    caller: Caller,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let asked = Asked::of(parts.uri.path());
    let (kind, for_pages) = (asked.route.kind(), asked.route.is_for_pages());
    let mut response = match respond(&server, caller, &parts, asked, body).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    server.metrics.request(kind, response.status());
    let misdirected = response.status() == StatusCode::MISDIRECTED_REQUEST;
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if for_pages && !misdirected {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
    if parts.method == Method::HEAD {
        strip(&mut response);
    }
    Ok(response)
}

async fn respond(
    server: &Arc<Server>,
    caller: Caller,
    parts: &Parts,
    Asked { token, route }: Asked<'_>,
    body: Incoming,
) -> Result<Response<Body>, Problem> {
    if parts.uri.path_and_query().is_some_and(|uri| uri.as_str().len() > URI_BYTES_MAX) {
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "nothing here has so long an address"));
    }
    let allow = route.allow();
    if parts.method == Method::OPTIONS {
        return Ok(options(route.is_for_pages(), allow));
    }
    if !allow.split(", ").any(|method| method == parts.method.as_str()) {
        return Err(Problem::not_allowed(allow));
    }
    let headers = &parts.headers;
    let gate = Gate { server, caller, parts };
    if let Some(name) = route.stream().filter(|_| !matches!(route, Route::Player(_))) {
        bring(server, name).await?;
    }
    if route.kind().is_media()
        && let Some(name) = route.stream()
    {
        let pass = gate.admit(name, token)?;
        let asking = Asking { server, caller, query: parts.uri.query().unwrap_or_default(), headers, pass };
        return match route {
            Route::Multivariant(name) => asking.multivariant(&name).await,
            Route::Newest(name) => asking.newest(&name).await,
            Route::Playlist(name, file) => asking.playlist(&name, file).await,
            Route::Object(name, object) => asking.object(&name, object).await,
            Route::Seal(name, object) => asking.seal(&name, object),
            Route::Signer(name) => asking.signer(&name),
            Route::Flv(name) => asking.flv(&name, parts.method == Method::HEAD),
            _ => Err(Problem::not_found("there is nothing under this address")),
        };
    }
    let host = match host(server, parts) {
        Ok(host) => host,
        Err(problem) => return led_home(server.backstage.setup(), &parts.method).ok_or(problem),
    };
    let call = Call { server, caller, host, parts };
    match route {
        Route::Page(path) => pages::page(path, headers),
        Route::Player(_) => pages::page("/player.html", headers),
        Route::Asset(path) => pages::asset(path, headers),
        Route::WatchList => call.watch_list(&gate).await,
        Route::Status(name) => {
            gate.admit(&name, token)?;
            Call::status(server, &name)
        }
        Route::Metrics => call.metrics(),
        Route::Health => Call::health(server),
        Route::Unknown => Err(Problem::not_found("there is nothing under this address")),
        route => Box::pin(call.answer(route, body)).await,
    }
}

/// A stream of another box is fetched when somebody asks for it.
async fn bring(server: &Server, name: &stream::StreamName) -> Result<(), Problem> {
    let Some(wanting) = server.backstage.want(name) else { return Ok(()) };
    match wanting.await {
        Wanted::Here => Ok(()),
        Wanted::Unknown => Err(Problem::not_found("there is no such stream")),
        Wanted::Soon => {
            let detail = "the stream is on its way from another box";
            Err(Problem::retry(StatusCode::SERVICE_UNAVAILABLE, detail, 1))
        }
    }
}

/// The Host, if it is a name of this box. Any other is a foreign site's name that was made to point here (DNS
/// rebinding), and its pages must not read ours.
fn host<'a>(server: &Server, parts: &'a Parts) -> Result<Host<'a>, Problem> {
    let host = Host::of(parts).ok_or_else(|| Problem::bad_request("the request names no host"))?;
    if server.policy.admits(host) {
        return Ok(host);
    }
    server.metrics.turned(Turned::Host);
    Err(Problem::new(
        StatusCode::MISDIRECTED_REQUEST,
        "this box has another name: add the one you used to its allowed hosts",
    ))
}

fn options(for_pages: bool, allow: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(allow));
    if for_pages {
        preflight(headers, allow);
    }
    response
}

fn preflight(headers: &mut HeaderMap, allow: &'static str) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allow));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("range, if-none-match, if-range"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
}

/// Takes the body away for HEAD, and says how long it would have been.
fn strip(response: &mut Response<Body>) {
    if let Some(len) = response.body().size_hint().exact()
        && !matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        response.headers_mut().insert(CONTENT_LENGTH, len.into());
    }
    *response.body_mut() = Body::Empty;
}
