//! The first frame of a feed: who signs the stream, and why to believe it.

use bytes::Bytes;
use trust::{BoxKey, Chain, Signed, StreamCertificate};
use wire::feed::Hello;

/// By whose words a box judges.
pub trait Judge: Send + Sync + 'static {
    /// The stream's certificate, if the chain leads from the mesh's root to `origin`, nothing of it is revoked, and `origin`
    /// certified the key for this name.
    ///
    /// # Errors
    /// A sentence for the log.
    fn judge(&self, hello: &Hello, origin: &BoxKey, name: &str) -> Result<StreamCertificate, String>;

    /// Milliseconds since the Unix epoch, as far as the box knows.
    fn unix_ms(&self) -> i64;
}

/// The frame's content.
///
/// # Errors
/// When it can't be written down, which bounds make impossible.
pub fn write_hello(chain: Chain, certificate: Signed<StreamCertificate>) -> Result<Bytes, postcard::Error> {
    postcard::to_stdvec(&Hello { chain, certificate }).map(Bytes::from)
}

/// What a box shows for a stream, not yet believed.
///
/// # Errors
/// A sentence for the log.
pub fn read_hello(bytes: &[u8]) -> Result<Hello, String> {
    match postcard::take_from_bytes(bytes) {
        Ok((hello, [])) => Ok(hello),
        Ok(_) => Err("there are bytes behind its greeting".to_owned()),
        Err(_) => Err("its greeting can't be read".to_owned()),
    }
}
