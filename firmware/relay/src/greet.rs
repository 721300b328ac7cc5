//! A connection that another box opened: its requests, one after the other.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use swarm::part::{StripeCount, Stripes};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use trust::BoxKey;
use wire::feed::{MEDIA_TYPE, Request, STRIPES_HEADER};

use crate::feed::{Outlet, WAITING_MAX, give_blocks, give_feed};
use crate::tally::Giving;
use crate::{House, Refused, Share, Tally, Uplink};

/// A request's head has to be here within this.
const HEAD_MAX: Duration = Duration::from_secs(10);

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
    let Some(share) = share(&asked) else { return refuse(StatusCode::BAD_REQUEST) };
    let given = match house.give(asked.name(), &child, share) {
        Ok(given) => given,
        Err(Refused::NotHere) => return refuse(StatusCode::NOT_FOUND),
        Err(Refused::NoRoom) => return refuse(StatusCode::SERVICE_UNAVAILABLE),
    };
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    let outlet = Outlet { sender, child, uplink: uplink.clone(), tally: tally(asked.name()) };
    let stripes = given.stripes;
    match asked {
        Request::Feed(mut asked) => {
            asked.stripes = stripes.0;
            // Counted before the next request is looked at.
            outlet.tally.evict(given.evicts);
            let instead = asked.instead.and_then(|instead| outlet.tally.child(&instead));
            let giving = Giving::new(Arc::clone(&outlet.tally), child, stripes, asked.planned, instead);
            let leaving = house.leaving();
            drop(tokio::spawn(async move {
                tokio::select! {
                    () = give_feed(given, asked, outlet, leaving) => {}
                    () = giving.evicted() => tracing::debug!(child = %child.fingerprint(), "makes room"),
                }
            }));
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
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(HeaderName::from_static(STRIPES_HEADER), HeaderValue::from(stripes.0));
    response
}

fn share(asked: &Request) -> Option<Share> {
    Some(match asked {
        Request::Feed(feed) => {
            let (stripes, of) = (Stripes(feed.stripes), StripeCount::new(feed.of)?);
            Share::Feed { stripes, of, planned: feed.planned, instead: feed.instead }
        }
        Request::Blocks(_) => Share::Blocks,
    })
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
