//! The box's account: how many bytes all streams hold together, and who gives some back when it is too much.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::StoreError;
use crate::live::Live;
use stream::StreamName;

/// Segments dropped at most for one part that came: a part is far smaller than that many segments.
const SHED_MAX: usize = 4096;

#[derive(Debug)]
pub(crate) struct Books {
    bytes: AtomicU64,
    bytes_max: u64,
    lives: Mutex<BTreeMap<StreamName, Arc<Live>>>,
    /// Held while a stream is made, which takes the disk's time, so that none is made twice.
    making: Mutex<()>,
}

impl Books {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes: AtomicU64::new(0), bytes_max, lives: Mutex::default(), making: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamName, Arc<Live>>> {
        self.lives.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn find(&self, name: &StreamName) -> Option<Arc<Live>> {
        self.lock().get(name).cloned()
    }

    pub(crate) fn find_or_make(
        &self,
        name: &StreamName,
        streams_max: usize,
        make: impl FnOnce() -> Result<Live, StoreError>,
    ) -> Result<Arc<Live>, StoreError> {
        if let Some(live) = self.find(name) {
            return Ok(live);
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = self.find(name) {
            return Ok(live);
        }
        if self.lock().len() >= streams_max {
            return Err(StoreError::TooManyStreams);
        }
        let live = Arc::new(make()?);
        self.lock().insert(name.clone(), Arc::clone(&live));
        Ok(live)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Live>> {
        self.lock().values().cloned().collect()
    }

    pub(crate) fn remove(&self, name: &StreamName) -> Option<Arc<Live>> {
        self.lock().remove(name)
    }

    pub(crate) fn forget_all(&self) {
        let lives = std::mem::take(&mut *self.lock());
        drop(lives);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Brings the box back under its budget. Never called with a stream's lock held.
    pub(crate) fn settle(&self) {
        if self.bytes() <= self.bytes_max {
            return;
        }
        let lives = self.all();
        for _ in 0..SHED_MAX {
            if self.bytes() <= self.bytes_max {
                return;
            }
            let largest = lives.iter().max_by_key(|live| live.bytes());
            if !largest.is_some_and(|live| live.shed()) {
                return;
            }
        }
    }
}
