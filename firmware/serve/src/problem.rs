//! What a request that can't be met gets: RFC 9457 problem details, in words for a person.
//!
//! The text never repeats what was sent, and never says more than the asker may know.

use std::borrow::Cow;
use std::error::Error;
use std::io;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::body::Body;

#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    detail: Cow<'static, str>,
    header: Option<(HeaderName, HeaderValue)>,
}

#[derive(Serialize)]
struct Details<'a> {
    r#type: &'static str,
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: detail.into(), header: None }
    }

    pub(crate) fn not_found(detail: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn bad_request(detail: &'static str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn internal(detail: &'static str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    /// Of a change that was to be kept and is not. What is said of a full disk says it in the words of whoever can mend it.
    pub(crate) fn unkept(cause: &(dyn Error + Send + Sync + 'static)) -> Self {
        if is_full(cause) {
            return Self::new(
                StatusCode::INSUFFICIENT_STORAGE,
                "the box's card is full: the change could not be kept, and all is as it was",
            );
        }
        Self::internal("the change could not be kept")
    }

    pub(crate) fn not_allowed(allow: &'static str) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "this method has no meaning here");
        Self { header: Some((ALLOW, HeaderValue::from_static(allow))), ..problem }
    }

    pub(crate) fn range(len: u64) -> Self {
        let problem = Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "the object ends before this range");
        let value = HeaderValue::try_from(format!("bytes */{len}")).ok();
        Self { header: value.map(|value| (CONTENT_RANGE, value)), ..problem }
    }

    pub(crate) fn retry(status: StatusCode, detail: impl Into<Cow<'static, str>>, after_s: u64) -> Self {
        Self { header: Some((RETRY_AFTER, after_s.into())), ..Self::new(status, detail) }
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let details = Details {
            r#type: "about:blank",
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        // Strings and a number always have a JSON form.
        let text = serde_json::to_vec(&details).unwrap_or_default();
        let mut response = Response::new(Body::from_bytes(text.into()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        response
    }
}

/// Whether the disk has no room left, or none for this user, however deep in the error that stands.
fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        at = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("writing a file")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_full_disk_is_told_from_another_fault() {
        let of = |kind: io::ErrorKind| Problem::unkept(&Outer(kind.into())).status.as_u16();
        assert_eq!(of(io::ErrorKind::StorageFull), 507);
        assert_eq!(of(io::ErrorKind::QuotaExceeded), 507);
        assert_eq!(of(io::ErrorKind::PermissionDenied), 500);
        // ENOSPC, as Linux says it.
        assert_eq!(Problem::unkept(&io::Error::from_raw_os_error(28)).status.as_u16(), 507);
    }
}
