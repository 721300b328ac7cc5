//! A connection that another box opened: its requests, one after the other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Response, StatusCode, header};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use trust::BoxKey;
use wire::feed::{MEDIA_TYPE, Request};

use crate::feed::{Outlet, give_blocks, give_feed};
use crate::{House, Refused, Share, Tally, Uplink};

/// A request's head has to be here within this.
const HEAD_MAX: Duration = Duration::from_secs(10);
/// Pieces that wait for the connection.
const WAITING_MAX: usize = 8;

/// Answers until the other box closes the connection. `tally` gives the count of a stream.
pub async fn greet<S, H>(
    stream: S,
    child: BoxKey,
    house: Arc<H>,
    uplink: Uplink,
    tally: impl Fn(&stream::StreamName) -> Arc<Tally> + Clone + Send + Sync + 'static,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: House,
{
    let service = service_fn(move |request: http::Request<Incoming>| {
        let answer = answer(&request, child, house.as_ref(), &uplink, &tally);
        std::future::ready(Ok::<_, Infallible>(answer))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "a child's connection ended");
    }
}

fn answer<H: House>(
    request: &http::Request<Incoming>,
    child: BoxKey,
    house: &H,
    uplink: &Uplink,
    tally: &impl Fn(&stream::StreamName) -> Arc<Tally>,
) -> Response<Frames> {
    if request.method() != Method::GET {
        return refuse(StatusCode::METHOD_NOT_ALLOWED);
    }
    let asked = match Request::parse(request.uri().path(), request.uri().query()) {
        Ok(asked) => asked,
        Err(wire::feed::BadRequest::Path) => return refuse(StatusCode::NOT_FOUND),
        Err(wire::feed::BadRequest::Query(_)) => return refuse(StatusCode::BAD_REQUEST),
    };
    let given = match house.give(asked.name(), &child, share(&asked)) {
        Ok(given) => given,
        Err(Refused::NotHere) => return refuse(StatusCode::NOT_FOUND),
        Err(Refused::NoRoom) => return refuse(StatusCode::SERVICE_UNAVAILABLE),
    };
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let outlet = Outlet { sender, child, uplink: uplink.clone(), tally: tally(asked.name()) };
    match asked {
        Request::Feed(asked) => {
            drop(tokio::spawn(give_feed(given, asked, outlet, house.leaving())));
        }
        Request::Blocks(asked) => {
            let Some(item) = given.live.sealed(stream::ObjectName::Part(
                asked.part.epoch,
                asked.part.msn,
                asked.part.part,
            )) else {
                return refuse(StatusCode::NOT_FOUND);
            };
            drop(tokio::spawn(give_blocks(given, item, asked, outlet)));
        }
    }
    let mut response = Response::new(Frames(Some(receiver)));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(MEDIA_TYPE));
    response
}

fn share(asked: &Request) -> Share {
    match asked {
        Request::Feed(feed) => Share { stripes: feed.stripes.count_ones(), of: u32::from(feed.of) },
        Request::Blocks(_) => Share { stripes: 0, of: 1 },
    }
}

fn refuse(status: StatusCode) -> Response<Frames> {
    let mut response = Response::new(Frames(None));
    *response.status_mut() = status;
    response
}

/// A body that grows as its task writes it.
struct Frames(Option<mpsc::Receiver<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Some(receiver) => receiver.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}
