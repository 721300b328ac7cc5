//! The child's end of a connection: one request, and the frames of its answer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use swarm::part::Stripes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use trust::BoxKey;
use wire::feed::{Decoder, Frame, SILENCE_MAX_MS, STRIPES_HEADER};

use crate::Ways;

/// Until the answer's head is here.
const ANSWER_MAX: Duration = Duration::from_secs(6);
/// Connections to one box that wait for another request.
const IDLE_MAX: usize = 4;

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
    /// 200, with these stripes.
    Opened(Stripes),
    Frame(Frame),
}

/// A connection to a parent, for one request after the other; closed when it is dropped.
struct Line {
    requests: SendRequest<Empty<Bytes>>,
    _driver: JoinSet<hyper::Result<()>>,
}

impl Line {
    async fn open<W: Ways>(ways: &W, key: &BoxKey) -> Result<Self, DialError> {
        let stream = ways.connect(key).await?;
        let (requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self { requests, _driver: driver })
    }
}

/// Connections that were used, to be used again: to open one takes as much of a small line as many requests.
#[derive(Clone, Default)]
pub(crate) struct Idle(Arc<Mutex<BTreeMap<BoxKey, Vec<Line>>>>);

impl Idle {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<BoxKey, Vec<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that is still open.
    fn take(&self, key: &BoxKey) -> Option<Line> {
        let mut idle = self.lock();
        let lines = idle.get_mut(key)?;
        lines.retain(|line| !line.requests.is_closed());
        let ready = lines.iter().position(|line| line.requests.is_ready())?;
        Some(lines.swap_remove(ready))
    }

    fn keep(&self, key: &BoxKey, line: Line) {
        let mut idle = self.lock();
        idle.retain(|_, lines| {
            lines.retain(|line| !line.requests.is_closed());
            !lines.is_empty()
        });
        let lines = idle.entry(*key).or_default();
        if lines.len() < IDLE_MAX {
            lines.push(line);
        }
    }
}

/// Asks, and hands on what comes until it ends.
pub(crate) async fn ask<W: Ways, T: Send + 'static>(
    ways: &W,
    key: &BoxKey,
    path: String,
    sender: &mpsc::Sender<T>,
    wrap: impl Fn(Came) -> T + Send,
) -> End {
    let asked = async {
        let mut line = Line::open(ways, key).await?;
        talk(&mut line, path, sender, wrap).await
    };
    told(asked.await)
}

/// The same over a connection that is idle, if there is one.
pub(crate) async fn ask_again<W: Ways, T: Send + 'static>(
    (ways, idle): (&W, &Idle),
    key: &BoxKey,
    path: String,
    sender: &mpsc::Sender<T>,
    wrap: impl Fn(Came) -> T + Send,
) -> End {
    let asked = async {
        let mut line = match idle.take(key) {
            Some(line) => line,
            None => Line::open(ways, key).await?,
        };
        let end = talk(&mut line, path, sender, wrap).await?;
        idle.keep(key, line);
        Ok(end)
    };
    told(asked.await)
}

fn told(end: Result<End, DialError>) -> End {
    end.unwrap_or_else(|error| {
        tracing::debug!(%error, "a parent");
        End::Failed
    })
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

async fn talk<T: Send + 'static>(
    line: &mut Line,
    path: String,
    sender: &mpsc::Sender<T>,
    wrap: impl Fn(Came) -> T + Send,
) -> Result<End, DialError> {
    let request = Request::get(path).header(header::HOST, "relaybox").body(Empty::<Bytes>::new())?;
    let answer = timeout(ANSWER_MAX, line.requests.send_request(request));
    let mut response = answer.await.map_err(|_| DialError::Silent)??;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(End::NotThere),
        StatusCode::SERVICE_UNAVAILABLE => return Ok(End::NoRoom),
        _ => return Ok(End::Failed),
    }
    let given = response.headers().get(STRIPES_HEADER).and_then(|given| given.to_str().ok()?.parse().ok());
    if sender.send(wrap(Came::Opened(Stripes(given.unwrap_or(0))))).await.is_err() {
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
