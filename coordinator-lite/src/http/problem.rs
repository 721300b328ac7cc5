//! What a request that can't be met gets: the problem of `wire`, with its status. A failure of our own is logged here,
//! once, and its detail stays in the log.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use wire::enrol::EnrolError;
use wire::{Code, Problem, RequestError};

use crate::store::{Refused, StoreError};

#[derive(Debug)]
pub(crate) struct Refusal {
    pub(super) code: Code,
    detail: String,
    /// Said where trying again helps (RFC 9110 section 10.2.3).
    retry_after_s: u64,
}

const RETRY_AFTER_S: u64 = 10;

impl Refusal {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), retry_after_s: RETRY_AFTER_S }
    }

    /// With the whole chain of causes in one line.
    pub(super) fn because<E: std::error::Error>(code: Code, error: &E) -> Self {
        let mut detail = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            detail.push_str(": ");
            detail.push_str(&error.to_string());
            cause = error.source();
        }
        Self::new(code, detail)
    }

    /// Too many requests, and when another one is taken: whole seconds, rounded up.
    pub(super) fn too_many(detail: &'static str, wait: Duration) -> Self {
        let retry_after_s = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(RETRY_AFTER_S);
        Self { retry_after_s, ..Self::new(Code::TooManyRequests, detail) }
    }

    pub(super) fn internal<E: std::error::Error>(error: &E) -> Self {
        let Self { detail, .. } = Self::because(Code::Internal, error);
        tracing::error!(error = detail, "a request failed");
        Self::new(Code::Internal, "its log says more")
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let code = error.code();
        let Self { detail, .. } = Self::because(code, &error);
        tracing::error!(error = detail, "{}", code.what_to_do());
        Self::new(code, error.to_string())
    }
}

impl From<EnrolError> for Refusal {
    fn from(error: EnrolError) -> Self {
        Self::because(Code::from(&error), &error)
    }
}

impl From<RequestError> for Refusal {
    fn from(error: RequestError) -> Self {
        Self::because(Code::from(&error), &error)
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::InviteUsed { .. } => Code::InviteUsed,
            Refused::NameTaken { .. } => Code::NameTaken,
            Refused::OtherInvite => Code::BoxRefused,
            Refused::KeyTaken => Code::KeyTaken,
            Refused::NoAddress => Code::AddressSpaceFull,
            Refused::Sign(error) => return Self::internal(error),
            Refused::Store(_) => {
                let Refused::Store(error) = refused else { return Self::internal(&refused) };
                return error.into();
            }
        };
        Self::because(code, &refused)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let problem = Problem::new(self.code, &self.detail);
        // Strings and a number always have a JSON form.
        let text = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() =
            StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(wire::problem::MEDIA_TYPE));
        if matches!(self.code.status(), 429 | 503) {
            headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after_s));
        }
        if self.code == Code::Unauthorized {
            let scheme = HeaderValue::from_static("Bearer realm=\"operator\"");
            headers.insert(http::header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// The page to which a problem's type leads.
pub(super) async fn page(Path(name): Path<String>) -> super::Answered {
    let code: Code =
        name.parse().map_err(|_| Refusal::new(Code::NotFound, "there is no problem of this name"))?;
    let (title, what_to_do, status) = (code.title(), code.what_to_do(), code.status());
    let html = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><h1>{title}</h1><p>{what_to_do}</p>\
         <p><code>{code}</code>, status {status}</p></html>\n"
    );
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'"));
    Ok(response)
}
