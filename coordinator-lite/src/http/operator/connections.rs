//! One box with its connections: what it told last about its paths, and how long it reached whom.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use trust::{BoxKey, Name};
use wire::Code;
use wire::heartbeat::PeerPath;

use super::{App, BoxView, html, page};
use crate::http::Answered;
use crate::http::call::{Call, json};
use crate::http::problem::Refusal;
use crate::store::{StoreError, Uptime};

/// One box, and whom it reaches.
#[derive(Debug, Serialize)]
pub(super) struct Connections {
    #[serde(rename = "box")]
    pub(super) view: BoxView,
    /// By name.
    pub(super) connections: Vec<Connection>,
}

/// Of a box to one peer.
#[derive(Debug, Serialize)]
pub(super) struct Connection {
    pub(super) peer: BoxKey,
    /// None when no box of this key came in.
    pub(super) name: Option<Name>,
    /// As the box told it last; none for a peer that it tells nothing of any more.
    pub(super) path: Option<PeerPath>,
    /// By the word of either of the two.
    pub(super) uptime: Uptime,
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    name: Name,
}

pub(in crate::http) async fn connections(State(app): crate::http::State, call: Call) -> Answered {
    app.operator(&call)?;
    let which: Which = call.question()?;
    json(&app.connections(&call, &which.name).await?)
}

pub(in crate::http) async fn box_page(
    State(app): crate::http::State,
    call: Call,
) -> Result<Response, Refusal> {
    if app.operator(&call).is_err() {
        return Ok(html(page::locked()));
    }
    let which: Which = call.question()?;
    let connections = app.connections(&call, &which.name).await?;
    Ok(html(page::connections::whole(&connections, call.now)))
}

impl App {
    async fn connections(&self, call: &Call, name: &Name) -> Result<Connections, Refusal> {
        let now = call.now;
        let unknown = || Refusal::new(Code::BoxUnknown, "no box of this name came in");
        let key = *self.hub.directory().by_name(name).ok_or_else(unknown)?.key();
        let read = move |database: &mut crate::store::Database| {
            let rows = database.boxes()?;
            let names: BTreeMap<BoxKey, Name> =
                rows.iter().map(|row| (*row.key(), row.name().clone())).collect();
            let Some(row) = rows.into_iter().find(|row| *row.key() == key) else { return Ok(None) };
            let uptime = database.uptime(&key, row.enrolled, now)?;
            Ok::<_, StoreError>(Some((row, uptime, names, database.connections(&key, now)?)))
        };
        let read = self.hub.store.call(read).await?;
        let (row, uptime, names, uptimes) = read.ok_or_else(unknown)?;
        let view = self.view(row, uptime, &self.hub.directory(), now);
        let uptimes: BTreeMap<BoxKey, Uptime> = uptimes.into_iter().collect();
        let paths = view.heartbeat.iter().flat_map(|heartbeat| heartbeat.paths.iter());
        let paths: BTreeMap<BoxKey, PeerPath> = paths.map(|path| (path.peer, path.clone())).collect();
        let mut peers: Vec<_> = paths.keys().chain(uptimes.keys()).copied().collect();
        peers.sort_unstable();
        peers.dedup();
        let connection = |peer: BoxKey| Connection {
            peer,
            name: names.get(&peer).cloned(),
            path: paths.get(&peer).cloned(),
            uptime: uptimes.get(&peer).copied().unwrap_or_default(),
        };
        let mut connections: Vec<_> = peers.into_iter().map(connection).collect();
        connections.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Connections { view, connections })
    }
}
