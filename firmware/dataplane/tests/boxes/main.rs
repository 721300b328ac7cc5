//! Boxes of a mesh in one process: whole planes with their agents, over loopback, with sockets in place of devices.
//!
//! Two that reach each other straight; two of different families, for whom a third one or the coordinator's line has to
//! carry.

mod member;

use std::net::{Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dataplane::Surroundings;
use mesh::Path;

use member::{Member, SOON, wait};

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_reach_each_other_straight() {
    let (a, b) = (Member::new(1, &["127.0.0.1"]), Member::new(2, &["127.0.0.1"]));
    a.knows(&b, true, &[b.at("127.0.0.1")]);
    b.knows(&a, false, &[]);
    a.reaches(&b, &[1; 1232]);
    b.reaches(&a, &[2; 20]);
    assert_eq!(a.path(&b), Some(Path::direct(b.at("127.0.0.1"))));
    assert_eq!(b.path(&a), Some(Path::direct(a.at("127.0.0.1"))));
    let told = a.told.borrow().clone().expect("it was told");
    let endpoints: Vec<_> = told.endpoints.iter().map(mesh::Endpoint::address).collect();
    assert_eq!(endpoints, [a.at("127.0.0.1")]);
    wait(a.handle.remove_peer(b.key.public())).expect("a peer");
    assert_eq!(a.path(&b), None);
}

/// A packet of the longest length, there and back with shorter ones, since only what flows is measured.
#[test]
fn long_packets_pass_once_the_path_is_known_to_carry_them() {
    let (a, b) = (Member::new(21, &["127.0.0.1"]), Member::new(22, &["127.0.0.1"]));
    a.knows(&b, true, &[b.at("127.0.0.1")]);
    b.knows(&a, false, &[]);
    a.reaches(&b, &[1; 20]);
    // IPv6 and ICMPv6 take 48 bytes.
    let long = a.packet(&b, &[3; 1372]);
    a.host.send(&long).expect("the device takes it");
    let mut got = [0; 2048];
    let len = a.host.recv(&mut got).expect("a word to the sender");
    assert_eq!((len, got[6], got[40], &got[44..48]), (1280, 58, 2, &[0, 0, 5, 0][..]), "too big: 1280");
    until("a long packet arrives", || {
        b.reaches(&a, &[2; 20]);
        a.host.send(&long).expect("the device takes it");
        b.host.recv(&mut got).is_ok_and(|len| got[..len] == long)
    });
    assert_eq!(a.mtu(&b), Some(1420));
    let traffic = wait(a.handle.look()).expect("it runs").traffic;
    assert!(traffic.too_long > 0 && traffic.unroutable == 0, "{traffic:?}");
}

/// Two that no direct path joins: one has only IPv4, the other one only IPv6.
fn apart() -> Option<(Member, Member)> {
    if UdpSocket::bind("[::1]:0").is_err() {
        println!("skipped: this host has no IPv6");
        return None;
    }
    Some((Member::new(1, &["127.0.0.1"]), Member::new(2, &["::1"])))
}

#[test]
fn a_third_one_carries() {
    let Some((a, b)) = apart() else { return };
    let relay = Member::new(3, &["127.0.0.1", "::1"]);
    for (from, ip) in [(&a, "127.0.0.1"), (&b, "::1")] {
        from.knows(&relay, true, &[relay.at(ip)]);
        relay.knows(from, false, &[]);
    }
    a.knows(&b, true, &[]);
    b.knows(&a, false, &[]);
    a.reaches(&b, &[1; 1232]);
    b.reaches(&a, &[2; 1000]);
    assert!(matches!(a.path(&b), Some(Path::Box(_))), "{:?}", a.path(&b));
    assert!(matches!(b.path(&a), Some(Path::Box(_))), "{:?}", b.path(&a));
    assert_eq!(
        wait(relay.handle.look()).expect("it runs").traffic.packets_in,
        0,
        "none of it was for the relay's host"
    );
    // Without the relay there is no way.
    wait(a.handle.remove_peer(relay.key.public())).expect("a peer");
    until("the path is left", || a.path(&b).is_none());
}

#[test]
fn the_coordinators_line_carries() {
    let Some((a, b)) = apart() else { return };
    a.knows(&b, true, &[]);
    b.knows(&a, false, &[]);
    let stop = Arc::new(AtomicBool::new(false));
    let carry = |from: &Member, to: &Member| {
        let (line, to_line) =
            (from.line.try_clone().expect("a socket"), to.line.try_clone().expect("a socket"));
        let (from, to, stop) = (Ipv6Addr::from(from.address), Ipv6Addr::from(to.address), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut parcel = vec![0; 65_536];
            let mut carried = 0;
            while !stop.load(Ordering::Relaxed) {
                let Ok(len) = line.recv(&mut parcel) else { continue };
                assert_eq!(parcel[..16], to.octets(), "for whom it is");
                parcel[..16].copy_from_slice(&from.octets());
                carried += usize::from(to_line.send(&parcel[..len]).is_ok());
            }
            carried
        })
    };
    let carriers = [carry(&a, &b), carry(&b, &a)];
    for member in [&a, &b] {
        wait(member.handle.tell(Surroundings::Tls(true))).expect("it runs");
    }
    a.reaches(&b, &[1; 1232]);
    b.reaches(&a, &[2; 1000]);
    assert_eq!((a.path(&b), b.path(&a)), (Some(Path::Tls), Some(Path::Tls)));
    stop.store(true, Ordering::Relaxed);
    for carrier in carriers {
        assert!(carrier.join().expect("the carrier") > 2);
    }
    wait(a.handle.tell(Surroundings::Tls(false))).expect("it runs");
    until("the path is left", || a.path(&b).is_none());
}

#[test]
fn what_the_filter_does_not_name_is_dropped_at_the_receiver() {
    let (a, b) = (Member::new(11, &["127.0.0.1"]), Member::new(12, &["127.0.0.1"]));
    a.knows(&b, true, &[b.at("127.0.0.1")]);
    b.knows(&a, false, &[]);
    a.reaches(&b, b"an echo request");
    let mut datagram = a.packet(&b, b"UDP");
    datagram[6] = 17;
    a.host.send(&datagram).expect("the device takes it");
    a.reaches(&b, b"what was sent later");
    assert_eq!(wait(b.handle.look()).expect("it runs").traffic.filtered, 1);
}

/// A box that is no peer yet: its address is told once, whatever is sent to it, and packets flow when it is one.
#[test]
fn whom_nobody_knows_is_sought_once() {
    let (mut a, b) = (Member::new(31, &["127.0.0.1"]), Member::new(32, &["127.0.0.1"]));
    let began = Instant::now();
    let packet = a.packet(&b, b"an echo request");
    for _ in 0..20 {
        a.host.send(&packet).expect("the device takes it");
    }
    until("all are looked at", || wait(a.handle.look()).expect("it runs").traffic.unroutable == 20);
    assert_eq!(a.sought.try_recv(), Ok(b.address));
    a.knows(&b, true, &[b.at("127.0.0.1")]);
    b.knows(&a, false, &[]);
    a.reaches(&b, b"an echo request");
    // The same again after five seconds only.
    let again = std::iter::from_fn(|| a.sought.try_recv().ok()).count();
    assert!(again as u64 <= began.elapsed().as_secs() / 5, "{again} times more in {:?}", began.elapsed());
}

/// A box that does not know this one answers nothing: its address is told as well, since somebody may introduce the two.
#[test]
fn who_does_not_know_this_one_is_sought() {
    let (mut a, b) = (Member::new(41, &["127.0.0.1"]), Member::new(42, &["127.0.0.1"]));
    a.knows(&b, true, &[b.at("127.0.0.1")]);
    let packet = a.packet(&b, b"an echo request");
    a.host.send(&packet).expect("the device takes it");
    until("it is sought", || a.sought.try_recv() == Ok(b.address));
    b.knows(&a, false, &[]);
    a.reaches(&b, b"an echo request");
}
