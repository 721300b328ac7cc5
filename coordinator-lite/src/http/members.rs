//! What members ask. Each request is signed by the box, and a box changes nothing but what is its own.

use std::convert::Infallible;
use std::sync::PoisonError;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use trust::roster::DoubleUse;
use trust::{BoxKey, List, Name, Ula};
use wire::updates::{BindingUpdate, LookupResponse, RevocationSet};
use wire::{Code, Heartbeat, HeartbeatResponse};

use super::call::{Call, json, no_content};
use super::problem::Refusal;
use super::{Answered, App};
use crate::hub::{Beat, Member, PinRefused};
use crate::store::BindingRefused;

pub(super) async fn heartbeat(State(app): super::State, call: Call) -> Answered {
    let member = app.member(&call)?;
    app.count_heartbeat(&member)?;
    let heartbeat: Heartbeat = call.json()?;
    let (key, streams, now) = (*member.key(), member.limits().streams, call.now);
    let beat = Beat::new(&key, &heartbeat, now);
    app.guide.lock().unwrap_or_else(PoisonError::into_inner).heard(
        key,
        member.name(),
        call.peer,
        &heartbeat,
        Instant::now(),
    );
    let job = move |database: &mut crate::store::Database| database.heartbeat(&key, &heartbeat, streams, now);
    let seen = app.hub.store.call(job).await?;
    app.hub.beats().note(&key, beat);
    if seen.endpoints_changed {
        app.hub.reload_soon();
    }
    json(&HeartbeatResponse {
        now: call.now,
        map_epoch: app.hub.told(&key),
        revocations: app.hub.directory().revocations().digest(),
        next_s: app.terms.heartbeat_s,
        notices: List::try_from(seen.notices).unwrap_or_default(),
        stun_ports: app.terms.stun_ports.clone(),
        watch: app.terms.watch.clone(),
    })
}

pub(super) async fn wireguard(State(app): super::State, call: Call) -> Answered {
    let member = app.member(&call)?;
    let update: BindingUpdate = call.json()?;
    let key = *member.key();
    let verified = update.wireguard.verify(&app.hub.service.mesh.id(), &key);
    verified.map_err(|error| Refusal::because(Code::BoxRefused, &error))?;
    let bound = app.hub.store.call(move |database| database.bind(&key, &update.wireguard)).await;
    bound.map_err(|refused| match refused {
        BindingRefused::Store(error) => error.into(),
        BindingRefused::Taken => Refusal::because(Code::KeyTaken, &refused),
        BindingRefused::Rotation(_) | BindingRefused::Unknown => Refusal::because(Code::BoxRefused, &refused),
    })?;
    app.hub.reload().await?;
    Ok(no_content())
}

impl App {
    /// Each heartbeat is written down, and may have to be told to everybody.
    fn count_heartbeat(&self, member: &Member) -> Result<(), Refusal> {
        let mut heartbeats = self.heartbeats.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = heartbeats.admit(*member.key(), Instant::now());
        admitted.map_err(|wait| Refusal::too_many("too many heartbeats of this box", wait))
    }

    /// Each may change the maps of two boxes.
    fn count_lookup(&self, member: &Member) -> Result<(), Refusal> {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = lookups.admit(*member.key(), Instant::now());
        admitted.map_err(|wait| Refusal::too_many("too many look-ups of this box", wait))
    }
}

/// Lines for as long as the connection lasts.
pub(super) async fn push(State(app): super::State, call: Call) -> Answered {
    let member = app.member(&call)?;
    let frames = app
        .hub
        .push(*member.key())
        .ok_or_else(|| Refusal::new(Code::TryAgain, "too many boxes are connected"))?;
    let lines = stream::unfold(frames, |mut frames| async {
        let line = frames.recv().await?;
        Some((Ok::<_, Infallible>(line), frames))
    });
    let mut response = Response::new(Body::from_stream(lines));
    let kind = HeaderValue::from_static("application/x-ndjson");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    name: Option<Name>,
    key: Option<BoxKey>,
    address: Option<Ula>,
}

/// Besides answering, it puts both boxes into each other's maps: whoever asks wants to reach it.
pub(super) async fn lookup(State(app): super::State, call: Call) -> Answered {
    let member = app.member(&call)?;
    app.count_lookup(&member)?;
    let which: Which = call.question()?;
    let directory = app.hub.directory();
    let found = match (&which.name, &which.key, &which.address) {
        (Some(name), None, None) => directory.by_name(name),
        (None, Some(key), None) => directory.member(key),
        (None, None, Some(address)) => directory.by_address(address),
        _ => return Err(Refusal::new(Code::Malformed, "ask for a name, for a key or for an address")),
    };
    let found = found.filter(|found| directory.is_peer(found.key(), call.now));
    let found = found.ok_or_else(|| Refusal::new(Code::BoxUnknown, "no such box is a member"))?;
    let held = app.hub.introduce(member.key(), found.key()).map_err(|refused| match refused {
        PinRefused::AsksTooMany { wait } => {
            Refusal::too_many("this box has asked for as many others as its map has room for", wait)
        }
        PinRefused::AskedByTooMany | PinRefused::Full => Refusal::because(Code::TryAgain, &refused),
    })?;
    let lasts_s = u32::try_from(held.as_secs()).unwrap_or(u32::MAX);
    json(&LookupResponse { entry: found.entry.clone(), lasts_s })
}

pub(super) async fn revocations(State(app): super::State, call: Call) -> Answered {
    app.member(&call)?;
    let directory = app.hub.directory();
    let entries = directory.revocations().entries().into_iter().cloned().collect::<Vec<_>>();
    json(&RevocationSet { entries: entries.try_into().unwrap_or_default() })
}

/// Members carry revocations too: a coordinator that came back from a backup learns them from any box.
pub(super) async fn merge_revocations(State(app): super::State, call: Call) -> Answered {
    let member = app.member(&call)?;
    let offered: RevocationSet = call.json()?;
    let root = app.hub.service.mesh.root;
    let merge = move |database: &mut crate::store::Database| {
        let mut known = database.revocations(&root)?;
        let merged = known.merge(&root, offered.entries.iter());
        if merged.new > 0 {
            database.keep_revocations(&known)?;
        }
        Ok::<_, crate::store::StoreError>(merged)
    };
    let merged = app.hub.store.call(merge).await?;
    if merged.refused > 0 {
        tracing::warn!(box.id = %member.name(), refused = merged.refused, "revocations that the root did not sign");
        return Err(Refusal::new(Code::Forbidden, "the root did not sign all of these"));
    }
    if merged.new > 0 {
        app.hub.reload().await?;
    }
    Ok(no_content())
}

pub(super) async fn evidence(State(app): super::State, call: Call) -> Answered {
    let member = app.member(&call)?;
    let evidence: DoubleUse = call.json()?;
    let verified = evidence.verify(&app.hub.service.mesh.root);
    verified.map_err(|error| Refusal::because(Code::Malformed, &error))?;
    let (invite, now) = (evidence.invite.id(), call.now);
    tracing::error!(
        box.id = %member.name(),
        invite.name = %evidence.invite.claims().name,
        "an invite brought in more boxes than it is for: revoke it with coordinator-lite box revoke"
    );
    app.hub.store.call(move |database| database.keep_evidence(&invite, &evidence, now)).await?;
    Ok(no_content())
}
