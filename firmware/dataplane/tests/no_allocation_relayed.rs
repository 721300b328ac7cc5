//! Packets through a third box cost no memory either, on none of the three: a counter over all threads of the process.
//!
//! The agents' own messages do cost some, now and then.
#![allow(unsafe_code)]

#[path = "boxes/member.rs"]
#[expect(dead_code, reason = "others need more of it")]
mod member;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use member::{Member, SOON};
use mesh::Path;

struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes on to the system's allocator with the same arguments, so its promises hold here too.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Few enough to stay within the pair's budget.
const PACKETS: usize = 2000;

#[test]
fn two_thousand_relayed_packets_cost_no_memory() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: this host has no IPv6");
        return;
    }
    let (a, b) = (Member::new(1, &["127.0.0.1"]), Member::new(2, &["::1"]));
    let relay = Member::new(3, &["127.0.0.1", "::1"]);
    for (from, ip) in [(&a, "127.0.0.1"), (&b, "::1")] {
        from.knows(&relay, true, &[relay.at(ip)]);
        relay.knows(from, false, &[]);
    }
    a.knows(&b, true, &[]);
    b.knows(&a, false, &[]);
    a.reaches(&b, &[1; 20]);
    assert!(matches!(a.path(&b), Some(Path::Box(_))), "{:?}", a.path(&b));
    let packet = a.packet(&b, &[2; 20]);
    let mut got = [0; 256];
    let end = Instant::now() + SOON;
    let before = COUNT.load(Ordering::Relaxed);
    let mut arrived = 0;
    while arrived < PACKETS {
        a.host.send(&packet).expect("the device takes it");
        // One of the first kind may still be on its way.
        let len = b.host.recv(&mut got).unwrap_or_default();
        arrived += usize::from(got[..len] == packet);
        assert!(Instant::now() < end, "{arrived} arrived");
    }
    let cost = COUNT.load(Ordering::Relaxed) - before;
    assert!(cost < PACKETS / 4, "{cost} allocations for {arrived} packets");
}
