//! How a stream begins: empty, or with what its directory still holds.

use stream::ObjectName;
use stream::window::{ObjectState, Window};

use super::memory::Memory;
use crate::disk::scan::{Found, scan};
use crate::disk::{Disk, StoredFile};
use crate::object::Blob;
use crate::{Keep, StoreConfig};

pub(super) struct Restored {
    pub(super) window: Window,
    pub(super) memory: Memory,
}

/// `next_msn` is the first number that is free for certain.
pub(super) fn restore(config: &StoreConfig, next_msn: u64, disk: Option<&Disk>) -> Restored {
    let ram_bytes_max = match &config.keep {
        Keep::Ram => u64::MAX,
        Keep::Disk { ram_bytes_max_per_stream, .. } => *ram_bytes_max_per_stream,
    };
    let memory = Memory::new(&config.limits, disk.cloned(), ram_bytes_max);
    let empty = Restored { window: Window::new(config.limits, next_msn), memory };
    let Some(disk) = disk else { return empty };
    match scan(disk.directory(), disk.boot()) {
        Ok(Some(found)) => adopt(config, next_msn, disk, found, empty),
        Ok(None) => empty,
        Err(error) => {
            tracing::warn!(directory = %disk.directory().display(), %error, "what is on disk can't be read");
            empty
        }
    }
}

fn adopt(config: &StoreConfig, next_msn: u64, disk: &Disk, found: Found, empty: Restored) -> Restored {
    let memo = found.memo;
    let whole = found.trusted && found.last_msn().is_some_and(|last| last + 1 == memo.next_msn);
    let next_msn = if whole { memo.next_msn } else { next_msn };
    let kept = found.epochs.iter().map(|epoch| {
        (epoch.record.clone(), epoch.parts.iter().map(|(header, _)| header.clone()).collect::<Vec<_>>())
    });
    let mut restored = empty;
    match Window::restore(config.limits, &memo, next_msn, kept) {
        Ok(window) => restored.window = window,
        Err(error) => tracing::warn!(%error, "what is on disk is no window any more"),
    }
    let Restored { window, memory } = &mut restored;
    let ready = |name| window.object(name) == ObjectState::Ready;
    let (mut parts, mut dropped) = (0, 0);
    for epoch in found.epochs {
        if ready(ObjectName::Init(epoch.record.id)) {
            memory.keep_init(epoch.record.id, Blob::Disk(epoch.init, None));
        } else {
            disk.discard(&epoch.init);
        }
        for (header, file) in epoch.parts {
            if ready(ObjectName::Part(header.epoch, header.msn, header.part)) {
                memory.keep_part(&header, Blob::Disk(file, None));
                parts += 1;
            } else {
                discard(disk, &file, &mut dropped);
            }
        }
    }
    while window.poll_evicted().is_some() {}
    tracing::info!(parts, dropped, goes_on = whole && !memo.ended, "media found on disk");
    restored
}

fn discard(disk: &Disk, file: &StoredFile, dropped: &mut u32) {
    disk.discard(file);
    *dropped += 1;
}
