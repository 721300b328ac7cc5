//! Payloads that know their number, and a count of those that somebody still holds.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;

pub const NUMBERS: usize = 60_000;
const BYTES_MAX: usize = 1 << 20;

/// Twice what the cutter means to keep: for an epoch that begins anew, and for a track that waits for the other one.
const ALIVE_BYTES_MAX: usize = 2 * (16 << 20) + BYTES_MAX;
const ALIVE_UNITS_MAX: usize = 2 * 8192 + 1;

/// A payload's number is where it begins in here.
static MEDIA: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; NUMBERS + BYTES_MAX]);

#[derive(Default)]
pub struct Alive {
    units: AtomicUsize,
    bytes: AtomicUsize,
}

struct Owner {
    number: usize,
    bytes: usize,
    alive: Arc<Alive>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &MEDIA[self.number..self.number + self.bytes]
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.alive.units.fetch_sub(1, Ordering::Relaxed);
        self.alive.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Alive {
    pub fn check(&self) {
        let (units, bytes) = (self.units.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        assert!(
            units <= ALIVE_UNITS_MAX && bytes <= ALIVE_BYTES_MAX,
            "{units} units, {bytes} bytes are held"
        );
    }
}

pub fn payload(number: usize, bytes: usize, alive: &Arc<Alive>) -> Bytes {
    alive.units.fetch_add(1, Ordering::Relaxed);
    alive.bytes.fetch_add(bytes, Ordering::Relaxed);
    Bytes::from_owner(Owner { number, bytes, alive: Arc::clone(alive) })
}

pub fn number(data: &Bytes) -> usize {
    data.as_ptr().addr() - MEDIA.as_ptr().addr()
}
