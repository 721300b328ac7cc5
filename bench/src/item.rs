//! What is measured, by name.

mod flv;
mod ingest;
mod parts;
mod serving;

use anyhow::Result;
use clap::ValueEnum;

use crate::plan::Plan;
use crate::rounds::Row;

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
}

impl Item {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Item::Objects => "objects",
            Item::Playlists => "playlists",
            Item::Parts => "parts",
            Item::Flv => "flv",
            Item::Ingest => "ingest",
        }
    }

    pub(crate) fn run(self, plan: &Plan) -> Result<Vec<Row>> {
        match self {
            Item::Objects => serving::objects(plan),
            Item::Playlists => serving::playlists(plan),
            Item::Parts => parts::run(plan),
            Item::Flv => flv::run(plan),
            Item::Ingest => ingest::run(plan),
        }
    }
}
