//! The operator's page and API. Open on the coordinator's own machine, where nobody stands between; everywhere else
//! the operator's token is asked for. Refuses a browser that was led here under another name (DNS rebinding), and
//! callers behind a proxy, who only seem to be on this machine.

mod connections;
mod page;
mod streams;

use std::net::Ipv4Addr;

use axum::extract::State;
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use trust::{BoxKey, MembershipState, Name, Signed, Ula, UnixSeconds};
use wire::Code;
use wire::heartbeat::Heartbeat;

pub(super) use self::connections::{box_page, connections};
use super::call::{Call, json};
use super::problem::Refusal;
use super::{Answered, App};
use crate::hub::Directory;
use crate::relay::Relayed;
use crate::store::{BoxRow, InviteRow, StoreError, Uptime};

const FORWARDED: [&str; 2] = ["forwarded", "x-forwarded-for"];
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
     form-action 'none'; frame-ancestors 'none'",
);

/// All that the operator sees.
#[derive(Debug, Serialize)]
pub(super) struct Overview {
    pub(super) now: UnixSeconds,
    pub(super) mesh: String,
    pub(super) root_fingerprint: String,
    pub(super) certificate_ends: UnixSeconds,
    pub(super) boxes: Vec<BoxView>,
    pub(super) invites: Vec<InviteView>,
    pub(super) viewers: Vec<ViewerView>,
    /// Names of invites that brought in more boxes than they are for.
    pub(super) evidence: Vec<Name>,
}

#[derive(Debug, Serialize)]
pub(super) struct BoxView {
    pub(super) name: Name,
    pub(super) key: BoxKey,
    pub(super) address: Ula,
    pub(super) state: Stand,
    pub(super) connected: bool,
    pub(super) enrolled: UnixSeconds,
    pub(super) membership_ends: UnixSeconds,
    pub(super) seen: Option<UnixSeconds>,
    pub(super) uptime: Uptime,
    pub(super) version: String,
    pub(super) board: String,
    /// The last one, as the box sent it.
    pub(super) heartbeat: Option<Heartbeat>,
    /// Over TLS through this service.
    pub(super) relayed: Relayed,
}

/// How a box stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Stand {
    Member,
    Grace,
    Lapsed,
    Revoked,
}

#[derive(Debug, Serialize)]
pub(super) struct InviteView {
    name: Name,
    boxes: u8,
    uses: u32,
    expires: UnixSeconds,
    used: Option<UnixSeconds>,
    revoked: bool,
}

/// A phone or laptop that watches through a box.
#[derive(Debug, Serialize)]
pub(super) struct ViewerView {
    pub(super) name: Name,
    /// None when the box is not known any more.
    pub(super) gateway: Option<Name>,
    pub(super) address: Ula,
    pub(super) address_v4: Ipv4Addr,
    pub(super) expires: UnixSeconds,
    pub(super) revoked: bool,
}

pub(super) async fn boxes(State(app): super::State, call: Call) -> Answered {
    app.operator(&call)?;
    json(&app.overview(call.now).await?)
}

pub(super) async fn streams(State(app): super::State, call: Call) -> Answered {
    app.operator(&call)?;
    json(&app.live(&app.overview(call.now).await?))
}

pub(super) async fn page(State(app): super::State, call: Call) -> Answered {
    let html = match app.operator(&call) {
        Ok(()) => {
            let overview = app.overview(call.now).await?;
            page::overview(&overview, &app.live(&overview))
        }
        Err(_) => page::locked(),
    };
    Ok(self::html(html))
}

fn html(text: String) -> Response {
    let mut response = typed("text/html; charset=utf-8", text);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(HeaderName::from_static("referrer-policy"), HeaderValue::from_static("no-referrer"));
    response
}

pub(super) async fn style() -> Response {
    typed("text/css; charset=utf-8", include_str!("operator/page.css").to_owned())
}

pub(super) async fn script() -> Response {
    typed("text/javascript; charset=utf-8", include_str!("operator/page.js").to_owned())
}

fn typed(kind: &'static str, text: String) -> Response {
    let mut response = Response::new(axum::body::Body::from(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

impl App {
    fn operator(&self, call: &Call) -> Result<(), Refusal> {
        if let Some(given) = call.headers.get(AUTHORIZATION) {
            let token = given.to_str().ok().and_then(|given| given.strip_prefix("Bearer "));
            if token.is_some_and(|token| same(token.trim(), &self.token)) {
                return Ok(());
            }
            return Err(Refusal::new(Code::Unauthorized, "this is not the operator's token"));
        }
        let forwarded = FORWARDED.iter().any(|name| call.headers.contains_key(*name));
        let host = call.headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        let name = name.map_or(host, |(name, _)| name);
        let here = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        if call.peer.is_loopback() && here && !forwarded {
            Ok(())
        } else {
            Err(Refusal::new(Code::Unauthorized, "this is not the coordinator's own machine"))
        }
    }

    async fn overview(&self, now: UnixSeconds) -> Result<Overview, Refusal> {
        let read = move |database: &mut crate::store::Database| {
            let mut rows = Vec::new();
            for row in database.boxes()? {
                let uptime = database.uptime(row.key(), row.enrolled, now)?;
                rows.push((row, uptime));
            }
            Ok::<_, StoreError>((rows, database.invites()?, database.evidence()?, database.viewers()?))
        };
        let (rows, invites, evidence, viewers) = self.hub.store.call(read).await?;
        let directory = self.hub.directory();
        let revocations = directory.revocations();
        let view = |(row, uptime)| self.view(row, uptime, &directory, now);
        let mut boxes: Vec<_> = rows.into_iter().map(view).collect();
        boxes.sort_by(|a, b| a.name.cmp(&b.name));
        let invites = invites.into_iter().map(|row| invite(&row, revocations)).collect();
        let viewers = viewers.iter().map(Signed::claims).filter(|viewer| now < viewer.expires);
        let viewers = viewers.map(|viewer| ViewerView {
            name: viewer.name.clone(),
            gateway: directory.member(&viewer.gateway).map(|member| member.name().clone()),
            address: viewer.address,
            address_v4: viewer.address_v4,
            expires: viewer.expires,
            revoked: revocations.revokes_invite(&viewer.id()),
        });
        let mesh = &self.hub.service.mesh;
        Ok(Overview {
            viewers: viewers.collect(),
            now,
            mesh: mesh.id().to_string(),
            root_fingerprint: mesh.root.fingerprint().to_string(),
            certificate_ends: mesh.certificate.claims().not_after,
            boxes,
            invites,
            evidence: evidence.into_iter().map(|evidence| evidence.invite.claims().name.clone()).collect(),
        })
    }

    fn view(&self, row: BoxRow, uptime: Uptime, directory: &Directory, now: UnixSeconds) -> BoxView {
        let membership = row.entry.membership.claims();
        let revocations = directory.revocations();
        let revoked =
            revocations.revokes_box(row.key()) || revocations.revokes_invite(&row.entry.chain.invite.id());
        let state = match membership.state(now) {
            _ if revoked => Stand::Revoked,
            MembershipState::Early | MembershipState::Fresh | MembershipState::Renew => Stand::Member,
            MembershipState::Grace => Stand::Grace,
            MembershipState::Lapsed => Stand::Lapsed,
        };
        BoxView {
            name: row.name().clone(),
            key: *row.key(),
            address: membership.address,
            state,
            connected: self.hub.is_connected(row.key()),
            relayed: self.relay.relayed(row.key()),
            enrolled: row.enrolled,
            membership_ends: membership.expires(),
            seen: row.seen,
            uptime,
            version: row.version,
            board: row.board,
            heartbeat: row.heartbeat,
        }
    }
}

fn invite(row: &InviteRow, revocations: &trust::Revocations) -> InviteView {
    let claims = row.invite.claims();
    InviteView {
        name: claims.name.clone(),
        boxes: claims.limits.boxes,
        uses: row.uses,
        expires: claims.expires,
        used: row.used,
        revoked: revocations.revokes_invite(&claims.id()),
    }
}

/// Takes the same time wherever the first difference is.
fn same(given: &str, expected: &str) -> bool {
    let (given, expected) = (given.as_bytes(), expected.as_bytes());
    let differences = given.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
    given.len() == expected.len() && differences == 0
}
