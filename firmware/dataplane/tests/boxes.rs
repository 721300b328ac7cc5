//! Boxes of a mesh in one process: whole planes with their agents, over loopback, with sockets in place of devices.
//!
//! Two that reach each other straight; two of different families, for whom a third one or the coordinator's line has to
//! carry.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dataplane::{
    Handle, MeshConfig, MeshPeer, PeerConfig, Plane, PlaneConfig, PlaneError, PrivateKey, Surroundings, Told,
    Tun,
};
use mesh::{Hints, MeshId, MeshPrefix, Path, Ula};
use tokio::sync::watch;

/// Longer than any of this takes.
const SOON: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(100);

struct Member {
    handle: Handle,
    key: PrivateKey,
    address: Ula,
    /// The host's side of what stands for its interface.
    host: UnixDatagram,
    /// The other side of the coordinator's line.
    line: UnixDatagram,
    told: watch::Receiver<Option<Told>>,
    thread: Option<JoinHandle<Result<(), PlaneError>>>,
}

impl Member {
    fn new(number: u8, locals: &[&str]) -> Member {
        let inside = MeshPrefix::of(&"EJ50YAA67EF9BXEH3DB3Y8KS7R".parse::<MeshId>().expect("an id"));
        let (host, device) = UnixDatagram::pair().expect("a pair");
        let (line, tls) = UnixDatagram::pair().expect("a pair");
        for socket in [&host, &line] {
            socket.set_read_timeout(Some(GLANCE)).expect("a time");
        }
        let key = PrivateKey::new([number; 32]);
        let address = inside.nth(number.into());
        let (sender, told) = watch::channel(None);
        let agent = mesh::Config { seed: [number; 32], inside, loopback: true };
        let config = PlaneConfig {
            private_key: key.clone(),
            listen_port: None,
            mtu: 1280,
            peers: Vec::new(),
            mesh: Some(MeshConfig { agent, address, tls, told: sender }),
        };
        let (plane, handle) = Plane::new(config, Tun::of_socket(device).expect("a device")).expect("a plane");
        let locals: Vec<IpAddr> = locals.iter().map(|local| local.parse().expect("an address")).collect();
        let thread = Some(std::thread::spawn(move || plane.run()));
        handle.tell(Surroundings::Locals(locals)).expect("it runs");
        Member { handle, key, address, host, line, told, thread }
    }

    fn knows(&self, other: &Member, calls_first: bool, endpoints: &[SocketAddr]) {
        let hints = Hints { endpoints: endpoints.to_vec(), calls_first };
        let peer = PeerConfig {
            public_key: other.key.public(),
            preshared_key: None,
            allowed_ips: vec![format!("{}/128", other.address).parse().expect("a prefix")],
            endpoint: None,
            keepalive: None,
            mesh: Some(MeshPeer { address: other.address, hints }),
        };
        self.handle.add_peer(peer).expect("a peer");
    }

    fn at(&self, ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), self.handle.port())
    }

    fn path(&self, other: &Member) -> Option<Path> {
        let key = other.key.public();
        let peers = self.handle.look().expect("it runs").peers;
        peers.into_iter().find(|peer| peer.public_key == key)?.mesh?.path
    }

    /// A packet of the host's to another box.
    fn packet(&self, to: &Member, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(8 + payload.len()).expect("small").to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, len[0], len[1], 17, 64];
        packet.extend(Ipv6Addr::from(self.address).octets());
        packet.extend(Ipv6Addr::from(to.address).octets());
        packet.extend([0x23, 0x28, 0x23, 0x28, len[0], len[1], 0, 0]);
        packet.extend(payload);
        packet
    }

    /// Sends until it arrives.
    fn reaches(&self, to: &Member, payload: &[u8]) {
        let packet = self.packet(to, payload);
        let mut got = [0; 2048];
        let end = Instant::now() + SOON;
        loop {
            self.host.send(&packet).expect("the device takes it");
            match to.host.recv(&mut got) {
                Ok(len) if got[..len] == packet => return,
                // An earlier one, that was sent twice.
                Ok(_) | Err(_) => {}
            }
            assert!(
                Instant::now() < end,
                "{} does not reach {}: {:#?} {:#?}",
                self.address,
                to.address,
                self.handle.look(),
                to.handle.look()
            );
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(std::thread::panicking() || ended.is_ok_and(|result| result.is_ok()));
        }
    }
}

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
    a.handle.remove_peer(b.key.public()).expect("a peer");
    assert_eq!(a.path(&b), None);
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
        relay.handle.look().expect("it runs").traffic.packets_in,
        0,
        "none of it was for the relay's host"
    );
    // Without the relay there is no way.
    a.handle.remove_peer(relay.key.public()).expect("a peer");
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
        member.handle.tell(Surroundings::Tls(true)).expect("it runs");
    }
    a.reaches(&b, &[1; 1232]);
    b.reaches(&a, &[2; 1000]);
    assert_eq!((a.path(&b), b.path(&a)), (Some(Path::Tls), Some(Path::Tls)));
    stop.store(true, Ordering::Relaxed);
    for carrier in carriers {
        assert!(carrier.join().expect("the carrier") > 2);
    }
    a.handle.tell(Surroundings::Tls(false)).expect("it runs");
    until("the path is left", || a.path(&b).is_none());
}
