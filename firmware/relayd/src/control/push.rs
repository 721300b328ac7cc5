//! Listens to what the coordinator pushes, for as long as anybody wants to hear it, and comes back when the line is
//! silent. Refuses lines that are too long.

use std::time::Duration;

use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use wire::{Frame, path};

use super::ask::Desk;
use super::channel::Opened;
use super::keys::random;
use super::plan::Backoff;

const SILENCE_MAX: Duration = Duration::from_secs(Frame::SILENCE_MAX_S as u64);

/// Begins after `pause`, and ends when nobody listens any more.
pub(super) async fn listen(mut desk: Desk, heard: mpsc::Sender<Frame>, pause: Duration) {
    tokio::time::sleep(pause).await;
    let mut backoff = Backoff::default();
    while !heard.is_closed() {
        match desk.open(path::PUSH).await {
            Ok(opened) => {
                if read(opened, &heard).await {
                    backoff.handle_success();
                }
            }
            Err(error) => tracing::debug!(%error, code = %error.code(), "the coordinator does not push"),
        }
        let luck = random().map_or(500, u32::from_le_bytes);
        tokio::time::sleep(backoff.handle_failure(luck)).await;
    }
}

/// Hands on frames until the line ends. True if there was any.
async fn read(opened: Opened, heard: &mpsc::Sender<Frame>) -> bool {
    let mut body = opened.into_body();
    let mut line = Vec::new();
    let mut any = false;
    loop {
        let Ok(Some(Ok(frame))) = timeout(SILENCE_MAX, body.frame()).await else { return any };
        let Ok(data) = frame.into_data() else { continue };
        for piece in data.split_inclusive(|byte| *byte == b'\n') {
            if line.len() + piece.len() > Frame::LINE_BYTES_MAX {
                tracing::warn!("the coordinator pushed a line that is too long");
                return any;
            }
            line.extend_from_slice(piece);
            if !line.ends_with(b"\n") {
                continue;
            }
            match serde_json::from_slice::<Frame>(&line) {
                Ok(frame) => any |= heard.send(frame).await.is_ok(),
                Err(error) => tracing::warn!(%error, "the coordinator pushed a line that can't be read"),
            }
            line.clear();
            if heard.is_closed() {
                return any;
            }
        }
    }
}
