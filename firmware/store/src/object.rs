//! A media object as a viewer takes it: whole and of known length, or growing as its parts are made.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::disk::StoredFile;
use crate::live::Growing;

/// Bytes of one part or initialization section.
#[derive(Clone, Debug)]
pub(crate) enum Blob {
    Ram(Bytes),
    /// On disk or on its way there, and perhaps still in RAM.
    Disk(Arc<StoredFile>, Option<Bytes>),
}

impl Blob {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Ram(bytes) => bytes.len() as u64,
            Self::Disk(file, _) => file.len(),
        }
    }

    pub(crate) fn ram_bytes(&self) -> u64 {
        match self {
            Self::Ram(bytes) | Self::Disk(_, Some(bytes)) => bytes.len() as u64,
            Self::Disk(_, None) => 0,
        }
    }
}

/// What a name stands for.
#[derive(Debug)]
pub enum Object {
    /// Complete: `bytes` long.
    Whole { bytes: u64, reader: ObjectReader },
    /// The open segment: its parts follow as they are made, and it ends when the segment closes.
    Growing(ObjectReader),
}

impl Object {
    pub(crate) fn whole(blobs: impl IntoIterator<Item = Blob>) -> Self {
        let pieces: Vec<_> = blobs.into_iter().map(Piece::whole).collect();
        let bytes = pieces.iter().map(Piece::len).sum();
        Self::Whole { bytes, reader: ObjectReader { source: Source::Pieces(pieces.into_iter()) } }
    }

    pub(crate) fn growing(growing: Growing) -> Self {
        Self::Growing(ObjectReader { source: Source::Growing(Box::new(growing)) })
    }
}

/// The bytes of an object, in order.
#[derive(Debug)]
pub struct ObjectReader {
    source: Source,
}

#[derive(Debug)]
enum Source {
    Pieces(std::vec::IntoIter<Piece>),
    Growing(Box<Growing>),
}

/// A range of a blob.
#[derive(Debug)]
struct Piece {
    blob: Blob,
    range: Range<u64>,
}

impl Piece {
    fn whole(blob: Blob) -> Self {
        let range = 0..blob.len();
        Self { blob, range }
    }

    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Its bytes without waiting, if they are in RAM.
    fn in_ram(&self) -> Option<Bytes> {
        let range = usize::try_from(self.range.start).ok()?..usize::try_from(self.range.end).ok()?;
        match &self.blob {
            Blob::Ram(bytes) | Blob::Disk(_, Some(bytes)) => Some(bytes.slice(range)),
            Blob::Disk(_, None) => None,
        }
    }

    async fn read(self) -> io::Result<Bytes> {
        if let Some(bytes) = self.in_ram() {
            return Ok(bytes);
        }
        let Blob::Disk(file, _) = self.blob else { return Ok(Bytes::new()) };
        let range = self.range;
        tokio::task::spawn_blocking(move || file.read(range)).await?
    }
}

impl ObjectReader {
    /// Bytes that are still to come; none if it grows.
    #[must_use]
    pub fn left(&self) -> Option<u64> {
        match &self.source {
            Source::Pieces(pieces) => Some(pieces.as_slice().iter().map(Piece::len).sum()),
            Source::Growing(_) => None,
        }
    }

    /// All that is to come, shared and not copied, if it is whole and in RAM.
    #[must_use]
    pub fn in_ram(&self) -> Option<Vec<Bytes>> {
        match &self.source {
            Source::Pieces(pieces) => pieces.as_slice().iter().map(Piece::in_ram).collect(),
            Source::Growing(_) => None,
        }
    }

    /// Only these bytes of a whole object; a growing one stays as it is.
    #[must_use]
    pub fn slice(self, range: Range<u64>) -> Self {
        let Source::Pieces(pieces) = self.source else { return self };
        let mut at = 0;
        let mut kept = Vec::with_capacity(pieces.len());
        for mut piece in pieces {
            let len = piece.len();
            let (from, to) = (range.start.clamp(at, at + len) - at, range.end.clamp(at, at + len) - at);
            at += len;
            if from < to {
                piece.range = piece.range.start + from..piece.range.start + to;
                kept.push(piece);
            }
        }
        Self { source: Source::Pieces(kept.into_iter()) }
    }

    /// The next bytes; none at the end. An error means that the rest will not come.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let piece = match &mut self.source {
            Source::Pieces(pieces) => match pieces.next() {
                Some(piece) => piece,
                None => return Ok(None),
            },
            Source::Growing(growing) => match growing.next().await? {
                Some(blob) => Piece::whole(blob),
                None => return Ok(None),
            },
        };
        piece.read().await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> ObjectReader {
        let blobs = ["abc", "de", "fghi"].map(|text| Blob::Ram(Bytes::from_static(text.as_bytes())));
        match Object::whole(blobs) {
            Object::Whole { bytes: 9, reader } => reader,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_slice_crosses_pieces() {
        for (range, expected) in [
            (0..9, "abc|de|fghi"),
            (0..3, "abc"),
            (2..4, "c|d"),
            (4..9, "e|fghi"),
            (8..9, "i"),
            (3..5, "de"),
            (4..4, ""),
        ] {
            let slice = object().slice(range.clone());
            assert_eq!(slice.left(), Some(range.end - range.start));
            let text: Vec<_> =
                slice.in_ram().unwrap().iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect();
            assert_eq!(text.join("|"), expected);
        }
        assert_eq!(object().slice(1..8).slice(1..5).in_ram().unwrap().concat(), b"cdef");
    }
}
