//! A member's request for a line of the relay: HTTP until the answer, frames from then on.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use wire::Code;
use wire::relay::PROTOCOL;

use super::Answered;
use super::call::Call;
use super::problem::Refusal;
use crate::relay::{Line, Pace};

/// Between the answer and the first frame nothing has to happen but the answer's way out.
const BEGIN_MAX: Duration = Duration::from_secs(10);

pub(super) async fn relay(State(app): super::State, mut call: Call) -> Answered {
    let member = app.member(&call)?;
    let refusal =
        || Refusal::new(Code::Malformed, format!("say Connection: Upgrade and Upgrade: {PROTOCOL}"));
    let asked = asks(&call.headers).then(|| call.upgrade.take()).flatten().ok_or_else(refusal)?;
    let connected = app.relay.connect(&member);
    let (line, replaced) =
        connected.ok_or_else(|| Refusal::new(Code::TryAgain, "too many boxes are connected"))?;
    let (app, name, key) = (Arc::clone(&app), member.name().clone(), *member.key());
    tokio::spawn(async move {
        tracing::info!(box.id = %name, "a box is relayed");
        tokio::select! {
            () = carry(&line, asked) => {}
            _ = replaced => {}
            () = app.hub.until_out(&key) => tracing::info!(box.id = %name, "a box that is out is cut"),
        }
        drop(line);
        tracing::info!(box.id = %name, "a box is no longer relayed");
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    Ok(response)
}

async fn carry(line: &Line, asked: OnUpgrade) {
    let stream = match timeout(BEGIN_MAX, asked).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a line did not begin"),
        Err(_) => return tracing::debug!("a line did not begin in time"),
    };
    let end = line.carry(TokioIo::new(stream), Pace::USUAL).await;
    tracing::debug!(end = %anyhow::Error::from(end), "a line ended");
}

/// Field values are lists of names without case (RFC 9110 sections 7.6.1 and 7.8).
fn asks(headers: &HeaderMap) -> bool {
    let names = |field, name: &str| {
        let values = headers.get_all(field).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(name))
    };
    names(CONNECTION, "upgrade") && names(UPGRADE, PROTOCOL)
}
