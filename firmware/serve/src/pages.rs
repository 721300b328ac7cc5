//! Pages and their scripts, built into the binary by build.rs.
//!
//! Pages are static and load nothing from elsewhere; their policy says so to the browser.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, REFERRER_POLICY};
use http::{HeaderMap, HeaderValue, Response};

use crate::body::Body;
use crate::conditional::not_modified;
use crate::problem::Problem;

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

const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Scripts, styles and data come from this box only. Players make blob: URLs for media and for workers.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
     connect-src 'self'; media-src 'self' blob:; worker-src 'self' blob:; manifest-src 'self'; \
     base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// A page by the path of its file.
pub(crate) fn page(path: &str, asked: &HeaderMap) -> Result<Response<Body>, Problem> {
    let file = find(path).ok_or_else(|| Problem::not_found("there is no such page"))?;
    let mut response = answer(file, asked, HeaderValue::from_static("no-cache"));
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    Ok(response)
}

/// Anything else that is built in. Names under `/assets/` carry a hash of their content.
pub(crate) fn asset(path: &str, asked: &HeaderMap) -> Result<Response<Body>, Problem> {
    let file = find(path)
        .filter(|file| !file.path.ends_with(".html"))
        .ok_or_else(|| Problem::not_found("there is nothing under this address"))?;
    let hashed = file.path.starts_with("/assets/");
    Ok(answer(file, asked, if hashed { IMMUTABLE } else { HeaderValue::from_static("no-cache") }))
}

fn find(path: &str) -> Option<&'static File> {
    FILES.binary_search_by_key(&path, |file| file.path).ok().map(|at| &FILES[at])
}

fn answer(file: &'static File, asked: &HeaderMap, cache: HeaderValue) -> Response<Body> {
    let etag = HeaderValue::from_static(file.etag);
    let mut response = match not_modified(asked, &etag) {
        Some(response) => response,
        None => {
            let mut response = Response::new(Body::from_bytes(Bytes::from_static(file.content)));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(file.content_type));
            response
        }
    };
    response.headers_mut().insert(ETAG, etag);
    response.headers_mut().insert(CACHE_CONTROL, cache);
    response
}

/// The path of some hashed asset: tests don't know their names.
#[cfg(test)]
pub(crate) fn any_asset() -> &'static str {
    FILES.iter().find(|file| file.path.starts_with("/assets/")).map_or("/assets/none", |file| file.path)
}
