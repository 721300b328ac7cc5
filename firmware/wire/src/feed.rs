//! What boxes say to each other about a stream, inside of the mesh: HTTP/1.1 on [`PORT`], long answers made of frames.
//!
//! ```text
//! GET /relay/1/NAME/feed?of=4&stripes=5&from=EPOCH.MSN.PART   -> frames, until either side ends it
//! GET /relay/1/NAME/blocks?part=EPOCH.MSN.PART&i=1,5          -> frames, those blocks that are there
//!
//! frame:  kind (1) | length (4, big-endian) | content
//! ```
//! The answer to the first names in [`STRIPES_HEADER`] which of the stripes it brings: for the others there is no room.
//! A child changes its stripes by another feed; the old one is closed. docs/relay-protocol.md tells the rest. This
//! module is pure: it refuses to judge, and to hold more than one frame.

mod frame;
mod request;

pub use frame::{BlockFrame, Decoder, FRAME_BYTES_MAX, Frame, FrameError, Hello, PartName};
pub use request::{BadRequest, BlocksRequest, FeedRequest, Request};

/// TCP, on the box's own address in the mesh.
pub const PORT: u16 = 7468;
/// Of answers made of frames.
pub const MEDIA_TYPE: &str = "application/vnd.relaybox.feed";
/// Which stripes a feed brings, as `stripes=` of its request says it. 503 only where there is room for none of them.
pub const STRIPES_HEADER: &str = "relaybox-stripes";
/// A parent says something at least every second.
pub const ALIVE_EVERY_MS: u64 = 1000;
/// Whoever hears nothing on a feed for so long gives it up.
pub const SILENCE_MAX_MS: u64 = 5000;
