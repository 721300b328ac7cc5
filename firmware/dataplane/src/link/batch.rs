//! Datagrams on their way out, gathered per destination so that one call sends many.
//!
//! A datagram is written straight into its place. The kernel cuts a buffer into equal pieces, so a batch ends with
//! the first datagram that is shorter, and another one begins with one that is longer.

use std::net::SocketAddr;

use super::{Hop, Link};
use crate::SPARE_BYTES;

/// Destinations gathered for at once. When another comes, the oldest batch is sent.
const BATCHES: usize = 4;

/// The most that one call may send, bytes: what fits one datagram of either family.
const BATCH_BYTES_MAX: usize = 65_000;

/// The most datagrams in one call (`UDP_MAX_SEGMENTS` of older kernels).
const SEGMENTS_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Batches {
    /// The oldest first; those in use are the first `used`.
    batches: Box<[Batch]>,
    used: usize,
}

#[derive(Debug)]
struct Batch {
    hop: Hop,
    bytes: Box<[u8]>,
    len: usize,
    stride: usize,
    segments: usize,
    open: bool,
}

impl Default for Batches {
    fn default() -> Batches {
        let batch = |_| Batch {
            hop: SocketAddr::from(([0, 0, 0, 0], 0)).into(),
            bytes: vec![0; BATCH_BYTES_MAX + SPARE_BYTES].into(),
            len: 0,
            stride: 0,
            segments: 0,
            open: false,
        };
        Batches { batches: (0..BATCHES).map(batch).collect(), used: 0 }
    }
}

impl Batches {
    /// Lets `write` put a datagram of `len` bytes into its place; it says whether it did. The place is larger than
    /// the datagram, as engines want it.
    pub(crate) fn write(
        &mut self,
        link: &Link,
        hop: impl Into<Hop>,
        len: usize,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) {
        let number = self.place(link, hop.into(), len);
        let batch = &mut self.batches[number];
        if let Some(written) = write(&mut batch.bytes[batch.len..]) {
            debug_assert_eq!(written, len, "as long as it was said to be");
            batch.len += written;
            batch.segments += 1;
            batch.open = written == batch.stride;
        }
        if self.batches[number].segments == 0 {
            self.used -= 1;
        }
    }

    /// Sends what is gathered.
    pub(crate) fn flush(&mut self, link: &Link) {
        for batch in &mut self.batches[..self.used] {
            batch.send(link);
        }
        self.used = 0;
    }

    /// The number of a batch that takes a datagram of that length; it may be empty, then it is the newest.
    fn place(&mut self, link: &Link, hop: Hop, len: usize) -> usize {
        let found = self.batches[..self.used].iter().position(|batch| batch.hop == hop);
        if let Some(number) = found {
            let batch = &self.batches[number];
            let fits = batch.open
                && len <= batch.stride
                && batch.len + len <= BATCH_BYTES_MAX
                && batch.segments < SEGMENTS_MAX.min(link.segments_max(hop));
            if fits {
                return number;
            }
            self.send(link, number);
        } else if self.used == BATCHES {
            self.send(link, 0);
        }
        let number = self.used;
        self.used += 1;
        let batch = &mut self.batches[number];
        (batch.hop, batch.len, batch.stride, batch.segments, batch.open) = (hop, 0, len, 0, true);
        number
    }

    fn send(&mut self, link: &Link, number: usize) {
        self.batches[number].send(link);
        self.batches[number..self.used].rotate_left(1);
        self.used -= 1;
    }
}

impl Batch {
    fn send(&self, link: &Link) {
        link.send(self.hop, &self.bytes[..self.len], self.stride);
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    fn receiver() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        let address = socket.local_addr().expect("an address");
        (socket, address)
    }

    fn put(batches: &mut Batches, link: &Link, to: SocketAddr, bytes: &[u8]) {
        batches.write(link, to, bytes.len(), |room| {
            assert!(room.len() >= bytes.len() + SPARE_BYTES - bytes.len().min(SPARE_BYTES));
            room[..bytes.len()].copy_from_slice(bytes);
            Some(bytes.len())
        });
    }

    #[test]
    fn datagrams_arrive_apart_and_in_order() {
        let link = Link::open(0).expect("sockets");
        let mut batches = Batches::default();
        let receivers: Vec<_> = (0..6).map(|_| receiver()).collect();
        let lens = [100, 100, 40, 100, 300, 300, 1, 1, 1400];
        for (n, len) in lens.iter().enumerate() {
            for (_, to) in &receivers {
                put(&mut batches, &link, *to, &vec![u8::try_from(n).expect("small"); *len]);
            }
        }
        batches.flush(&link);
        let mut bytes = [0; 2000];
        for (socket, _) in &receivers {
            for (n, len) in lens.iter().enumerate() {
                let got = socket.recv(&mut bytes).expect("a datagram");
                assert_eq!((got, usize::from(bytes[0])), (*len, n));
            }
        }
        // 28 bytes of headers around each, however many went in one call.
        let all: u64 = lens.iter().map(|len| *len as u64 + 28).sum();
        assert_eq!((link.take_sent(), link.take_sent()), (6 * all, 0));
    }

    #[test]
    fn what_was_not_written_is_not_sent() {
        let link = Link::open(0).expect("sockets");
        let mut batches = Batches::default();
        let (socket, to) = receiver();
        batches.write(&link, to, 50, |_| None);
        put(&mut batches, &link, to, &[7; 20]);
        batches.write(&link, to, 10, |_| None);
        batches.flush(&link);
        assert_eq!(socket.recv(&mut [0; 100]).expect("a datagram"), 20);
    }
}
