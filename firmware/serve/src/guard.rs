//! A socket that gives up on a peer which takes nothing, and counts what went through it.
//!
//! The bound: once a write had to wait, the peer must take [`PROGRESS_BYTES`] within [`STALL_MAX`]. It refuses to
//! judge an idle connection: that is the HTTP server's own timeout.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::Server;

pub(crate) const STALL_MAX: Duration = Duration::from_secs(15);
const PROGRESS_BYTES: u64 = 32 << 10;

pub(crate) struct Guard {
    stream: TcpStream,
    server: Arc<Server>,
    flow: Flow,
}

enum Flow {
    Free,
    /// A write had to wait: `taken` counts since then.
    Slow {
        deadline: Pin<Box<Sleep>>,
        taken: u64,
    },
}

impl Guard {
    pub(crate) fn new(stream: TcpStream, server: Arc<Server>) -> Self {
        Self { stream, server, flow: Flow::Free }
    }

    fn wrote(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Ok(bytes)) => {
                self.server.metrics.sent(bytes as u64);
                if let Flow::Slow { taken, .. } = &mut self.flow {
                    *taken += bytes as u64;
                    if *taken >= PROGRESS_BYTES {
                        self.flow = Flow::Free;
                    }
                }
                Poll::Ready(Ok(bytes))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_stall(cx),
        }
    }

    fn poll_stall(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Flow::Free = self.flow {
            self.flow = Flow::Slow { deadline: Box::pin(tokio::time::sleep(STALL_MAX)), taken: 0 };
        }
        let Flow::Slow { deadline, .. } = &mut self.flow else { return Poll::Pending };
        std::task::ready!(deadline.as_mut().poll(cx));
        self.server.metrics.stalled();
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        // A peer that asks again has taken the answer before.
        if buf.filled().len() > before {
            self.flow = Flow::Free;
        }
        result
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
