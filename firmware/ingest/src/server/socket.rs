//! A publisher's socket: either the kernel wakes its task for each packet, or the task looks at it at intervals.
//!
//! ```text
//! Woken  (registered with the runtime)  <-- the stride changes -->  Polled (read when the timer says so)
//! ```
//! A socket that is registered wakes its thread for each packet even while nobody reads it; that is why a polled one
//! is not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::gate::Gate;

/// How often a peer that takes no answer is tried again.
const WRITE_AGAIN: Duration = Duration::from_millis(10);

/// What a read has to bring to be followed by another one at once: half of the window a connection begins with.
const BURST_BYTES: usize = 32 << 10;

/// How long reads are put off, in microseconds; zero for not at all. Clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Stride(Arc<AtomicU64>);

impl Stride {
    pub(super) fn set(&self, stride: Option<Duration>) {
        let us = stride.map_or(0, |stride| u64::try_from(stride.as_micros()).unwrap_or(u64::MAX));
        self.0.store(us, Ordering::Relaxed);
    }

    fn get(&self) -> Option<Duration> {
        Some(self.0.load(Ordering::Relaxed)).filter(|us| *us > 0).map(Duration::from_micros)
    }
}

#[derive(Debug)]
pub(super) struct Socket {
    inner: Inner,
    timer: Pin<Box<Sleep>>,
    stride: Stride,
    gate: Arc<Gate>,
}

#[derive(Debug)]
enum Inner {
    Woken(TcpStream),
    Polled(std::net::TcpStream),
    /// Changing from one to the other failed.
    Lost,
}

impl Socket {
    pub(super) fn new(socket: TcpStream, gate: Arc<Gate>, stride: Stride) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        Self { inner: Inner::Woken(socket), timer, stride, gate }
    }

    /// Changes over if the stride has.
    fn settle(&mut self) -> io::Result<()> {
        let stride = self.stride.get();
        self.inner = match (std::mem::replace(&mut self.inner, Inner::Lost), stride) {
            (Inner::Woken(socket), Some(stride)) => {
                self.timer.as_mut().reset(self.gate.next(stride));
                Inner::Polled(socket.into_std()?)
            }
            (Inner::Polled(socket), None) => Inner::Woken(TcpStream::from_std(socket)?),
            (as_it_is, _) => as_it_is,
        };
        Ok(())
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.settle()?;
        loop {
            let socket = match &mut this.inner {
                Inner::Woken(socket) => return Pin::new(socket).poll_read(cx, buf),
                Inner::Polled(socket) => socket,
                Inner::Lost => return Poll::Ready(Err(ErrorKind::NotConnected.into())),
            };
            ready!(this.timer.as_mut().poll(cx));
            let read = socket.read(buf.initialize_unfilled());
            match read {
                Ok(bytes) => {
                    buf.advance(bytes);
                    // Behind much there may be more, and the peer's window may be full: the timer stays due.
                    if bytes < BURST_BYTES.min(bytes + buf.remaining()) {
                        this.timer.as_mut().reset(this.gate.next(this.stride.get().unwrap_or_default()));
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    this.timer.as_mut().reset(this.gate.next(this.stride.get().unwrap_or_default()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let socket = match &mut this.inner {
            Inner::Woken(socket) => return Pin::new(socket).poll_write(cx, bytes),
            Inner::Polled(socket) => socket,
            Inner::Lost => return Poll::Ready(Err(ErrorKind::NotConnected.into())),
        };
        loop {
            match socket.write(bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    this.timer.as_mut().reset(Instant::now() + WRITE_AGAIN);
                    ready!(this.timer.as_mut().poll(cx));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket keeps nothing back.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Woken(socket) => Pin::new(socket).poll_shutdown(cx),
            Inner::Polled(socket) => Poll::Ready(socket.shutdown(Shutdown::Write)),
            Inner::Lost => Poll::Ready(Err(ErrorKind::NotConnected.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;
    use crate::{ConnectRequest, Desk, Limits, Publication, PublishRequest, Refusal};

    const STRIDE: Duration = Duration::from_millis(40);

    struct Closed;

    impl Desk for Closed {
        fn admit(&self, _: ConnectRequest<'_>) -> Result<(), Refusal> {
            Err(Refusal::UnknownApplication)
        }

        fn open(&self, _: PublishRequest<'_>) -> Result<Box<dyn Publication>, Refusal> {
            Err(Refusal::WrongKey)
        }

        fn refused(&self, _: std::net::SocketAddr, _: &Refusal) {}
    }

    async fn pair() -> (TcpStream, Socket, Stride) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (socket, _) = listener.accept().await.unwrap();
        let stride = Stride::default();
        let gate = Arc::new(Gate::new(Arc::new(Closed), Limits::default()));
        (peer, Socket::new(socket, gate, stride.clone()), stride)
    }

    #[tokio::test]
    async fn what_comes_within_a_stride_is_read_at_once() {
        let (mut peer, mut socket, stride) = pair().await;
        let mut buffer = [0; 64];
        peer.write_all(b"one").await.unwrap();
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 3);
        stride.set(Some(STRIDE));
        for _ in 0..10 {
            peer.write_all(b"two").await.unwrap();
        }
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 30);
        stride.set(Some(Duration::from_secs(3600)));
        peer.write_all(b"late").await.unwrap();
        socket.timer.as_mut().reset(socket.gate.next(Duration::from_secs(3600)));
        assert!(timeout(2 * STRIDE, socket.read(&mut buffer)).await.is_err());
        stride.set(None);
        peer.write_all(b"three").await.unwrap();
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 9);
    }

    #[tokio::test]
    async fn a_full_buffer_is_followed_by_the_rest_without_a_pause() {
        let (mut peer, mut socket, stride) = pair().await;
        stride.set(Some(Duration::from_secs(3600)));
        socket.settle().unwrap();
        socket.timer.as_mut().reset(Instant::now());
        peer.write_all(&[7; 10]).await.unwrap();
        let mut buffer = [0; 4];
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 4);
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_polled_socket_answers_and_sees_its_end() {
        let (mut peer, mut socket, stride) = pair().await;
        stride.set(Some(STRIDE));
        socket.settle().unwrap();
        socket.write_all(b"answer").await.unwrap();
        let mut buffer = [0; 6];
        peer.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"answer");
        drop(peer);
        assert_eq!(socket.read(&mut buffer).await.unwrap(), 0);
        socket.shutdown().await.unwrap();
    }
}
