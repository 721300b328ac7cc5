//! A whole plane with its agent on a thread of its own, with a pair of sockets in place of its device.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dataplane::{
    Filter, Handle, MeshConfig, MeshPeer, Outgoing, PeerConfig, Plane, PlaneConfig, PlaneError, PrivateKey,
    Surroundings, Told, Tun,
};
use mesh::{Hints, MeshId, MeshPrefix, Path, Ula};
use tokio::sync::{mpsc, watch};

/// Longer than any of this takes.
pub(crate) const SOON: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(100);

/// Waits for an answer of the thread.
pub(crate) fn wait<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(answer)
}

pub(crate) struct Member {
    pub(crate) handle: Handle,
    pub(crate) key: PrivateKey,
    pub(crate) address: Ula,
    /// The host's side of what stands for its interface.
    pub(crate) host: UnixDatagram,
    /// The other side of the coordinator's line.
    pub(crate) line: UnixDatagram,
    pub(crate) told: watch::Receiver<Option<Told>>,
    pub(crate) sought: mpsc::Receiver<Ula>,
    thread: Option<JoinHandle<Result<(), PlaneError>>>,
}

impl Member {
    pub(crate) fn new(number: u8, locals: &[&str]) -> Member {
        let inside = MeshPrefix::of(&"EJ50YAA67EF9BXEH3DB3Y8KS7R".parse::<MeshId>().expect("an id"));
        let (host, device) = UnixDatagram::pair().expect("a pair");
        let (line, tls) = UnixDatagram::pair().expect("a pair");
        for socket in [&host, &line] {
            socket.set_read_timeout(Some(GLANCE)).expect("a time");
        }
        let key = PrivateKey::new([number; 32]);
        let address = inside.nth(number.into());
        let (sender, told) = watch::channel(None);
        let (seeks, sought) = mpsc::channel(8);
        let agent = mesh::Config { seed: [number; 32], inside, loopback: true };
        let config = PlaneConfig {
            private_key: key.clone(),
            listen_port: None,
            mtu: mesh::INNER_MTU_MAX,
            peers: Vec::new(),
            mesh: Some(MeshConfig {
                agent,
                address,
                tls,
                filter: Filter::default(),
                told: sender,
                sought: seeks,
                outgoing: Outgoing::default(),
            }),
        };
        let (plane, handle) = Plane::new(config, Tun::of_socket(device).expect("a device")).expect("a plane");
        let locals: Vec<IpAddr> = locals.iter().map(|local| local.parse().expect("an address")).collect();
        let thread = Some(std::thread::spawn(move || plane.run()));
        wait(handle.tell(Surroundings::Locals(locals))).expect("it runs");
        Member { handle, key, address, host, line, told, sought, thread }
    }

    pub(crate) fn knows(&self, other: &Member, calls_first: bool, endpoints: &[SocketAddr]) {
        let hints = Hints { endpoints: endpoints.to_vec(), calls_first };
        let peer = PeerConfig {
            public_key: other.key.public(),
            preshared_key: None,
            allowed_ips: vec![format!("{}/128", other.address).parse().expect("a prefix")],
            endpoint: None,
            keepalive: None,
            mesh: Some(MeshPeer { address: other.address, hints }),
        };
        wait(self.handle.add_peer(peer)).expect("a peer");
    }

    pub(crate) fn at(&self, ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), self.handle.port())
    }

    pub(crate) fn path(&self, other: &Member) -> Option<Path> {
        let key = other.key.public();
        let peers = wait(self.handle.look()).expect("it runs").peers;
        peers.into_iter().find(|peer| peer.public_key == key)?.mesh?.path
    }

    pub(crate) fn mtu(&self, other: &Member) -> Option<u16> {
        let key = other.key.public();
        let peers = wait(self.handle.look()).expect("it runs").peers;
        Some(peers.into_iter().find(|peer| peer.public_key == key)?.mesh?.mtu)
    }

    /// A packet of the host's to another box: an ICMPv6 echo request, which its filter lets in.
    pub(crate) fn packet(&self, to: &Member, payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(8 + payload.len()).expect("small").to_be_bytes();
        let mut packet = vec![0x60, 0, 0, 0, len[0], len[1], 58, 64];
        packet.extend(Ipv6Addr::from(self.address).octets());
        packet.extend(Ipv6Addr::from(to.address).octets());
        packet.extend([128, 0, 0, 0, 0, 0, 0, 0]);
        packet.extend(payload);
        packet
    }

    /// Sends until it arrives.
    pub(crate) fn reaches(&self, to: &Member, payload: &[u8]) {
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
                wait(self.handle.look()),
                wait(to.handle.look())
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
