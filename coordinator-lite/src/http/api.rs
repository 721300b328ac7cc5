//! What boxes ask that are not members yet, or no longer known: the time, coming in, and coming back.

use std::sync::PoisonError;
use std::time::Instant;

use axum::extract::State;
use trust::clock::SignedTime;
use trust::{Authority, ChainError, Identity, Membership, Revocations, Signed};
use wire::enrol::EnrolError;
use wire::updates::{RenewRequest, RenewResponse, TimeRequest, TimeResponse};
use wire::{Code, EnrolRequest, EnrolResponse};

use super::attempts::site;
use super::call::{Call, json};
use super::problem::Refusal;
use super::{Answered, App};
use crate::store::{Enrolment, Refused};

pub(super) async fn time(State(app): super::State, call: Call) -> Answered {
    app.count(&call)?;
    let asked: TimeRequest = call.json()?;
    let service = &app.hub.service;
    let time = SignedTime { mesh: service.mesh.id(), nonce: asked.nonce, now: call.now };
    let time = Signed::sign(time, &service.secret).map_err(|error| Refusal::internal(&error))?;
    json(&TimeResponse { certificate: service.mesh.certificate.clone(), time })
}

pub(super) async fn enrol(State(app): super::State, call: Call) -> Answered {
    app.count(&call)?;
    let asked: EnrolRequest = call.json()?;
    let directory = app.hub.directory();
    let identity = identity(&app, &asked, &call, directory.revocations())?;
    app.signed_by(&call, identity.key())?;
    let name = identity.name().clone();
    let enrolment = Enrolment {
        identity,
        wireguard: asked.wireguard,
        version: asked.version.to_string(),
        board: asked.board.to_string(),
        endpoints: asked.endpoints,
        now: call.now,
    };
    let key = *enrolment.identity.key();
    let secret = app.hub.service.secret.clone();
    let membership = app
        .hub
        .store
        .call(move |database| database.enrol(&enrolment, |membership| Signed::sign(membership, &secret)))
        .await
        .inspect_err(|refused: &Refused| tracing::info!(box.id = %name, %refused, "not let in"))?;
    tracing::info!(box.id = %name, "let in");
    app.hub.reload().await?;
    let directory = app.hub.directory();
    let entries = directory.revocations().entries().into_iter().cloned().collect::<Vec<_>>();
    json(&EnrolResponse {
        certificate: app.hub.service.mesh.certificate.clone(),
        membership,
        revocations: entries.try_into().unwrap_or_default(),
        map: app.hub.map_for(&key).map_err(|error| Refusal::internal(&error))?,
        heartbeat_s: app.terms.heartbeat_s,
        stun_ports: app.terms.stun_ports.clone(),
    })
}

/// Who wants to come in. A box that is in already may ask again after its invite expired: an answer may be lost.
fn identity(
    app: &App,
    asked: &EnrolRequest,
    call: &Call,
    revocations: &Revocations,
) -> Result<Identity, Refusal> {
    let root = &app.hub.service.mesh.root;
    match asked.check(root, call.now, revocations) {
        Ok((identity, _)) => Ok(identity),
        Err(EnrolError::Chain(error @ ChainError::InviteExpired { .. })) => {
            let identity = asked.chain.verify(root, revocations).map_err(EnrolError::Chain)?;
            match app.hub.directory().member(identity.key()) {
                Some(known) if known.entry.chain == asked.chain => Ok(identity),
                Some(_) | None => Err(EnrolError::Chain(error).into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn renew(State(app): super::State, call: Call) -> Answered {
    app.count(&call)?;
    let asked: RenewRequest = call.json()?;
    let directory = app.hub.directory();
    let service = &app.hub.service;
    let coordinator = app.hub.coordinator(directory.revocations()).map_err(|error| {
        tracing::error!(error = format!("{error:#}"), "memberships can't be renewed");
        Refusal::new(Code::CoordinatorRefused, error.to_string())
    })?;
    let authority = Authority {
        root: &service.mesh.root,
        coordinator: &coordinator,
        revocations: directory.revocations(),
    };
    let checked = asked.check(&authority, call.now);
    let (identity, before) = checked.map_err(|error| Refusal::because(Code::from(&error), &error))?;
    app.signed_by(&call, identity.key())?;
    if directory.member(identity.key()).is_none() {
        take_back(&app, &asked, &identity, &call).await?;
    }
    // The address is the coordinator's to give, and the one that it gave: it signed it.
    let membership = Membership { issued: call.now.max(before.issued), ..before };
    let membership = Signed::sign(membership, &service.secret).map_err(|error| Refusal::internal(&error))?;
    let kept = membership.clone();
    app.hub.store.call(move |database| database.renew(&kept)).await?;
    app.hub.reload().await?;
    json(&RenewResponse { certificate: service.mesh.certificate.clone(), membership })
}

/// The database is from an older backup: it learns of the box from the box.
async fn take_back(app: &App, asked: &RenewRequest, identity: &Identity, call: &Call) -> Result<(), Refusal> {
    let wireguard = asked.wireguard.last().cloned();
    let wireguard =
        wireguard.ok_or_else(|| Refusal::new(Code::BoxRefused, "the request names no WireGuard key"))?;
    wireguard
        .verify(identity.mesh(), identity.key())
        .map_err(|error| Refusal::because(Code::BoxRefused, &error))?;
    let enrolment = Enrolment {
        identity: identity.clone(),
        wireguard,
        version: String::new(),
        board: String::new(),
        endpoints: trust::List::new(),
        now: call.now,
    };
    tracing::warn!(box.id = %identity.name(), "this database lost a box: taken back by the coordinator's own word");
    let membership = asked.membership.clone();
    app.hub.store.call(move |database| database.readmit(&enrolment, &membership)).await?;
    Ok(())
}

impl App {
    /// Counts a request of somebody who need not be a member.
    fn count(&self, call: &Call) -> Result<(), Refusal> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.counting {
            return Ok(());
        }
        let admitted = attempts.admit(site(call.peer), Instant::now());
        admitted.map_err(|wait| Refusal::too_many("too many attempts from this address", wait))
    }
}
