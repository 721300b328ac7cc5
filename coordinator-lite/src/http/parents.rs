//! A member's question from whom to take a stream. Refuses to name anybody for a stream that no box of the mesh
//! publishes, and to name a box that is out.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use axum::extract::State;
use stream::StreamName;
use trust::{BoxKey, List};
use wire::{Code, ParentsRequest, ParentsResponse};

use super::call::{Call, json};
use super::problem::Refusal;
use super::{Answered, App};
use crate::carriers::{Answer, Asking};
use crate::hub::Member;

/// A box that missed as many heartbeats publishes nothing any more.
const BEATS_MISSED: u64 = 3;

pub(super) async fn parents(State(app): super::State, call: Call) -> Answered {
    let member = app.member(&call)?;
    let asked: ParentsRequest = call.json()?;
    // That a box leaves is heard however much it said before.
    if !asked.leaving {
        app.count_ask(&member, &asked.stream)?;
    }
    let (stream, now) = (asked.stream.clone(), call.now);
    let owner = app.hub.store.call(move |database| database.owner(&stream, now)).await?;
    let directory = app.hub.directory();
    let owner = owner.filter(|owner| directory.is_peer(owner, now));
    let owner =
        owner.ok_or_else(|| Refusal::new(Code::StreamUnknown, "no box publishes a stream of this name"))?;
    json(&app.answer(&member, &owner, asked, &call)?)
}

impl App {
    fn count_ask(&self, member: &Member, stream: &StreamName) -> Result<(), Refusal> {
        let mut asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = asks.admit((*member.key(), stream.clone()), Instant::now());
        admitted.map_err(|wait| Refusal::too_many("too many requests of this box about this stream", wait))
    }

    fn answer(
        &self,
        member: &Member,
        owner: &BoxKey,
        asked: ParentsRequest,
        call: &Call,
    ) -> Result<ParentsResponse, Refusal> {
        let (stream, leaving, now) = (asked.stream.clone(), asked.leaving, Instant::now());
        let within = Duration::from_secs(BEATS_MISSED * u64::from(self.terms.heartbeat_s));
        let directory = self.hub.directory();
        let beats = self.hub.beats();
        let mut carriers = self.carriers.lock().unwrap_or_else(PoisonError::into_inner);
        let bitrate_bps = beats.bitrate_bps(owner, &stream, call.now, within);
        // Many ask for what is not there, and carry nothing.
        if bitrate_bps.is_some() || leaving || !asked.takes.is_empty() {
            let kept = carriers.handle_request(member.key(), asked, now);
            kept.map_err(|full| Refusal::because(Code::TryAgain, &full))?;
        }
        let asking = Asking {
            key: member.key(),
            owner,
            bitrate_bps,
            is_peer: &|key| directory.is_peer(key, call.now),
            round_trip_ms: &|one, other| beats.round_trip_ms(one, other),
        };
        let Answer { stripes, parents, next_s } = carriers.parents(&stream, &asking, now);
        let parents = if leaving { List::new() } else { parents };
        let watched_bytes = carriers.watched_bytes(&stream);
        Ok(ParentsResponse {
            owner: *owner,
            live: bitrate_bps.is_some(),
            stripes,
            parents,
            next_s,
            watched_bytes,
        })
    }
}
