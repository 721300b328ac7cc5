//! The child's end of a connection: one request, and the frames of its answer.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trust::BoxKey;
use wire::feed::{Decoder, Frame, SILENCE_MAX_MS};

use crate::Ways;

/// Until the answer's head is here.
const ANSWER_MAX: Duration = Duration::from_secs(6);

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Whole.
    Closed,
    /// 404.
    NotThere,
    /// 503.
    NoRoom,
    /// Neither of these.
    Failed,
}

/// What comes of a request.
#[derive(Debug)]
pub(crate) enum Came {
    /// 200.
    Opened,
    Frame(Frame),
}

/// Asks, and hands on what comes until it ends. `tell` gives false when nobody listens any more.
pub(crate) async fn ask<W: Ways, T: Send + 'static>(
    ways: &W,
    key: &BoxKey,
    path: String,
    sender: &mpsc::Sender<T>,
    wrap: impl Fn(Came) -> T + Send,
) -> End {
    match talk(ways, key, path, sender, wrap).await {
        Ok(end) => end,
        Err(error) => {
            tracing::debug!(%error, "a parent");
            End::Failed
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum DialError {
    #[error("it can't be reached")]
    Connect(#[from] std::io::Error),
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    #[error("it does not answer")]
    Silent,
    #[error("the request can't be written")]
    Request(#[from] http::Error),
    #[error("its answer can't be read")]
    Frame(#[from] wire::feed::FrameError),
}

async fn talk<W: Ways, T: Send + 'static>(
    ways: &W,
    key: &BoxKey,
    path: String,
    sender: &mpsc::Sender<T>,
    wrap: impl Fn(Came) -> T + Send,
) -> Result<End, DialError> {
    let stream = ways.connect(key).await?;
    let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(path).header(header::HOST, "relaybox").body(Empty::<Bytes>::new())?;
    let answer = timeout(ANSWER_MAX, requests.send_request(request));
    let mut response = answer.await.map_err(|_| DialError::Silent)??;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(End::NotThere),
        StatusCode::SERVICE_UNAVAILABLE => return Ok(End::NoRoom),
        _ => return Ok(End::Failed),
    }
    if sender.send(wrap(Came::Opened)).await.is_err() {
        return Ok(End::Closed);
    }
    let mut decoder = Decoder::default();
    loop {
        let next = timeout(Duration::from_millis(SILENCE_MAX_MS), response.frame());
        let Some(piece) = next.await.map_err(|_| DialError::Silent)? else { return Ok(End::Closed) };
        let Ok(bytes) = piece?.into_data() else { continue };
        decoder.handle_bytes(&bytes);
        while let Some(frame) = decoder.poll_frame()? {
            if sender.send(wrap(Came::Frame(frame))).await.is_err() {
                return Ok(End::Closed);
            }
        }
    }
}
