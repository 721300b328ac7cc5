//! Response bodies: bytes that are shared with the store and go out by `writev`, never copied on the way.
//!
//! One [`Chunk`] may be many `Bytes`: the parts of a segment, or all FLV tags that came since the last wake-up.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::body::{Frame, SizeHint};
use store::{FlvError, FlvReader, ObjectReader, Served};
use tokio::time::Sleep;

use crate::Server;

/// One frame of a body.
#[derive(Debug)]
pub(crate) enum Chunk {
    One(Bytes),
    Many(Batch),
}

/// Bytes in a row, without any empty one.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pieces: VecDeque<Bytes>,
    left: usize,
}

impl FromIterator<Bytes> for Batch {
    fn from_iter<I: IntoIterator<Item = Bytes>>(pieces: I) -> Self {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        let left = pieces.iter().map(Bytes::len).sum();
        Self { pieces, left }
    }
}

impl Buf for Batch {
    fn remaining(&self) -> usize {
        self.left
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            filled += 1;
        }
        filled
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.left, "advance past the end of a batch");
        self.left -= count;
        while let Some(piece) = self.pieces.front_mut() {
            if count < piece.len() {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }
}

impl Buf for Chunk {
    fn remaining(&self) -> usize {
        match self {
            Self::One(bytes) => bytes.len(),
            Self::Many(batch) => batch.remaining(),
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::One(bytes) => bytes,
            Self::Many(batch) => batch.chunk(),
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        match self {
            Self::One(bytes) => bytes.chunks_vectored(slices),
            Self::Many(batch) => batch.chunks_vectored(slices),
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::One(bytes) => bytes.advance(count),
            Self::Many(batch) => batch.advance(count),
        }
    }
}

/// Why a body breaks off: the connection is closed, so that nobody takes the rest for the end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the viewer is too slow for the stream")]
    Lagged,
    #[error("reading a stored part failed")]
    Read(#[source] io::Error),
}

pub(crate) enum Body {
    Empty,
    /// All there, length known.
    Whole(Option<Chunk>),
    /// Comes in pieces: from files, or as the parts of an open segment are made.
    Pulled(Pulled),
    Flv(FlvBody),
    /// What of another one goes out is counted.
    Counted(Box<Body>, Served),
}

impl Body {
    pub(crate) fn from_bytes(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Whole(Some(Chunk::One(bytes))) }
    }

    pub(crate) fn from_pieces(mut pieces: Vec<Bytes>) -> Self {
        if pieces.len() == 1
            && let Some(one) = pieces.pop()
        {
            return Self::from_bytes(one);
        }
        let batch: Batch = pieces.into_iter().collect();
        if batch.left == 0 { Self::Empty } else { Self::Whole(Some(Chunk::Many(batch))) }
    }

    pub(crate) fn pulled(reader: ObjectReader) -> Self {
        Self::Pulled(Pulled { left: reader.left(), turn: Turn::Idle(reader) })
    }

    pub(crate) fn counted(self, served: &Served) -> Self {
        Self::Counted(Box::new(self), served.clone())
    }

    /// `left`: the body ends after so long, none for never.
    pub(crate) fn flv(reader: FlvReader, server: Arc<Server>, left: Option<Duration>) -> Self {
        let end = left.map(|left| Box::pin(tokio::time::sleep(left)));
        Self::Flv(FlvBody { reader, server, end })
    }
}

pub(crate) struct Pulled {
    turn: Turn,
    /// Bytes that are still to come, if that is known from the start.
    left: Option<u64>,
}

type Taken = (ObjectReader, io::Result<Option<Bytes>>);

enum Turn {
    Idle(ObjectReader),
    Reading(Pin<Box<dyn Future<Output = Taken> + Send>>),
    Done,
}

impl Pulled {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut reading = match std::mem::replace(&mut self.turn, Turn::Done) {
            Turn::Idle(mut reader) => Box::pin(async move {
                let taken = reader.next().await;
                (reader, taken)
            }),
            Turn::Reading(reading) => reading,
            Turn::Done => return Poll::Ready(None),
        };
        match reading.as_mut().poll(cx) {
            Poll::Pending => {
                self.turn = Turn::Reading(reading);
                Poll::Pending
            }
            Poll::Ready((reader, Ok(Some(bytes)))) => {
                self.turn = Turn::Idle(reader);
                self.left = self.left.map(|left| left.saturating_sub(bytes.len() as u64));
                Poll::Ready(Some(Ok(bytes)))
            }
            Poll::Ready((_, Ok(None))) => Poll::Ready(None),
            Poll::Ready((_, Err(error))) => Poll::Ready(Some(Err(BodyError::Read(error)))),
        }
    }
}

pub(crate) struct FlvBody {
    reader: FlvReader,
    server: Arc<Server>,
    /// When the link that opened it is over.
    end: Option<Pin<Box<Sleep>>>,
}

impl FlvBody {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Chunk, BodyError>>> {
        if self.end.as_mut().is_some_and(|end| end.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(None);
        }
        match std::task::ready!(self.reader.poll_next(cx)) {
            Ok(tags) => Poll::Ready(Some(Ok(Chunk::Many(tags.into_iter().collect())))),
            Err(FlvError::Ended) => Poll::Ready(None),
            Err(FlvError::Lagged) => Poll::Ready(Some(Err(BodyError::Lagged))),
        }
    }
}

impl Drop for FlvBody {
    /// Also reached when the socket took nothing for too long: then nobody asks for the next tags any more.
    fn drop(&mut self) {
        if self.reader.has_lagged() {
            self.server.metrics.flv_dropped();
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Chunk;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Chunk>, BodyError>>> {
        let next = match self.get_mut() {
            Self::Empty => None,
            Self::Whole(chunk) => chunk.take().map(Ok),
            Self::Pulled(pulled) => {
                std::task::ready!(pulled.poll_next(cx)).map(|bytes| bytes.map(Chunk::One))
            }
            Self::Flv(flv) => std::task::ready!(flv.poll_next(cx)),
            Self::Counted(body, served) => {
                let next = std::task::ready!(Pin::new(&mut **body).poll_frame(cx));
                if let Some(chunk) = next.as_ref().and_then(|next| next.as_ref().ok()?.data_ref()) {
                    served.add(chunk.remaining() as u64);
                }
                return Poll::Ready(next);
            }
        };
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty | Self::Whole(None) => true,
            Self::Pulled(pulled) => pulled.left == Some(0),
            Self::Whole(Some(_)) | Self::Flv(_) => false,
            Self::Counted(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty | Self::Whole(None) => SizeHint::with_exact(0),
            Self::Whole(Some(chunk)) => SizeHint::with_exact(chunk.remaining() as u64),
            Self::Pulled(Pulled { left: Some(left), .. }) => SizeHint::with_exact(*left),
            Self::Pulled(_) | Self::Flv(_) => SizeHint::default(),
            Self::Counted(body, _) => body.size_hint(),
        }
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Whole(_) => "Whole",
            Self::Pulled(_) => "Pulled",
            Self::Flv(_) => "Flv",
            Self::Counted(..) => "Counted",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_read_across_its_pieces() {
        let pieces = ["ab", "", "cde", "f"].map(|s| Bytes::from_static(s.as_bytes()));
        let mut batch: Batch = pieces.into_iter().collect();
        assert_eq!((batch.remaining(), batch.chunk()), (6, b"ab".as_slice()));
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(batch.chunks_vectored(&mut slices), 2);
        assert_eq!(&*slices[1], b"cde");
        batch.advance(3);
        assert_eq!((batch.remaining(), batch.chunk()), (3, b"de".as_slice()));
        batch.advance(2);
        assert_eq!((batch.remaining(), batch.chunk()), (1, b"f".as_slice()));
        batch.advance(1);
        assert_eq!((batch.remaining(), batch.chunk()), (0, b"".as_slice()));
    }
}
