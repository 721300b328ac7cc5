//! Who may watch a stream: everybody, who comes from near, or who has a link that holds.
//!
//! | the stream's access | without a link |
//! |---|---|
//! | open | everybody |
//! | mesh | who comes from the mesh or the home network, not through a proxy, and with no foreign page's hand |
//! | link | who has a PIN session of this box: its own pages |
//!
//! A path with a token is judged by its token alone, so that one link means one thing wherever it is followed from.
//! Refuses to take an address for a person: being near opens what the streamer left open to the house, and nothing
//! else. All refusals are 403 with a constant sentence.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::header::ORIGIN;
use http::request::Parts;
use stream::StreamName;
use trust::Access;

use crate::Server;
use crate::metrics::Turned;
use crate::policy::{Caller, Host, is_same_site};
use crate::problem::Problem;

/// One request at the gate.
pub(crate) struct Gate<'a> {
    pub(crate) server: &'a Arc<Server>,
    pub(crate) caller: Caller,
    pub(crate) parts: &'a Parts,
}

/// By what somebody passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Everybody may have it.
    Open,
    /// Who asked may have it.
    Near,
    /// For so long.
    Link(Duration),
}

impl Pass {
    /// Whether a shared cache may keep what is answered.
    pub(crate) const fn is_for_all(self) -> bool {
        matches!(self, Self::Open)
    }

    pub(crate) const fn left(self) -> Option<Duration> {
        match self {
            Self::Open | Self::Near => None,
            Self::Link(left) => Some(left),
        }
    }
}

impl Gate<'_> {
    pub(crate) fn admit(&self, name: &StreamName, token: Option<&str>) -> Result<Pass, Problem> {
        let Self { server, .. } = *self;
        if let Some(token) = token {
            return server.backstage.open_link(name, token).map(Pass::Link).map_err(|error| {
                server.metrics.turned(Turned::Link);
                Problem::new(StatusCode::FORBIDDEN, error.to_string())
            });
        }
        let refusal = match server.backstage.access(name) {
            Access::Open => return Ok(Pass::Open),
            _ if server.sessions.is_open(&self.parts.headers) => return Ok(Pass::Near),
            Access::Mesh if self.is_near() => return Ok(Pass::Near),
            Access::Mesh => "this stream is for the mesh and for the box's home network: ask for a link",
            Access::Link => "this stream is watched by link: ask the streamer for one",
        };
        server.metrics.turned(Turned::Access);
        Err(Problem::new(StatusCode::FORBIDDEN, refusal))
    }

    /// Without a word in the metrics: nobody asked for this stream.
    pub(crate) fn is_open(&self, name: &StreamName) -> bool {
        match self.server.backstage.access(name) {
            Access::Open => true,
            _ if self.server.sessions.is_open(&self.parts.headers) => true,
            Access::Mesh => self.is_near(),
            Access::Link => false,
        }
    }

    /// A browser near the box does what foreign pages tell it: they are kept out by what the browser says of them, and
    /// by the name under which they had to ask.
    pub(crate) fn is_near(&self) -> bool {
        let headers = &self.parts.headers;
        let Some(host) = Host::of(self.parts) else { return false };
        self.server.backstage.is_near(self.caller.peer)
            && !Caller::is_forwarded(headers)
            && self.server.policy.admits(host)
            && (is_same_site(host, headers) || self.is_watch_page())
    }

    /// A page of the coordinator's, by the Origin that only the browser writes.
    fn is_watch_page(&self) -> bool {
        let page = self.server.backstage.watch_page();
        let origin = self.parts.headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        page.is_some_and(|page| origin == Some(page.as_str()))
    }
}
