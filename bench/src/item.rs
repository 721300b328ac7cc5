//! What is measured, by name.

mod edge;
mod flv;
mod ingest;
mod parts;
mod serving;
mod tunnel;

use anyhow::Result;
use clap::ValueEnum;

use crate::plan::Plan;
use crate::rounds::Row;
use crate::servers;
use crate::tunnel::versions;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Item {
    /// Serving 2 MB objects, against nginx with sendfile
    Objects,
    /// Serving small playlists, against nginx with a file
    Playlists,
    /// Last frame of a part published -> part downloaded
    Parts,
    /// HTTP-FLV, against node-media-server
    Flv,
    /// Taking 1, 10, 30 streams, against nginx-rtmp
    Ingest,
    /// The same with a viewer at each stream
    Watched,
    /// Serving a stream that is published elsewhere, against nginx with a cache; needs root
    Edge,
    /// A WireGuard tunnel, against wireguard-go, gotatun and boringtun; needs root
    Tunnel,
    /// The same with both ends on one core
    TunnelCore,
}

impl Item {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Item::Objects => "objects",
            Item::Playlists => "playlists",
            Item::Parts => "parts",
            Item::Flv => "flv",
            Item::Ingest => "ingest",
            Item::Watched => "watched",
            Item::Edge => "edge",
            Item::Tunnel => "tunnel",
            Item::TunnelCore => "tunnel-core",
        }
    }

    pub(crate) fn run(self, plan: &Plan) -> Result<Vec<Row>> {
        match self {
            Item::Objects => serving::objects(plan),
            Item::Playlists => serving::playlists(plan),
            Item::Parts => parts::run(plan),
            Item::Flv => flv::run(plan),
            Item::Ingest => ingest::run(plan),
            Item::Watched => ingest::watched(plan),
            Item::Edge => edge::run(plan),
            Item::Tunnel => tunnel::anywhere(plan),
            Item::TunnelCore => tunnel::one_core(plan),
        }
    }

    /// What its peers call themselves.
    pub(crate) fn peers(self, plan: &Plan) -> Result<String> {
        match self {
            Item::Tunnel | Item::TunnelCore => versions(plan),
            Item::Objects
            | Item::Playlists
            | Item::Parts
            | Item::Flv
            | Item::Ingest
            | Item::Watched
            | Item::Edge => servers::versions(),
        }
    }
}
