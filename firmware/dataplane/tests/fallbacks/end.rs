//! Two namespaces with a cable between them, and a tunnel whose ends run in them, each on a thread of its own.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

use dataplane::{Handle, Network, PeerConfig, Plane, PlaneConfig, PlaneError, PrivateKey, Tun};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tracing_subscriber::fmt::MakeWriter;

use crate::kernel::Lacks;

const INTERFACE: &str = "rbfall0";
const MTU: u16 = 1420;

/// Number 1 and 2: addresses outside and inside of the tunnel end so.
pub(crate) const SIDES: [u8; 2] = [1, 2];

pub(crate) struct Place {
    name: String,
}

impl Place {
    pub(crate) fn new(name: &str) -> Option<Place> {
        if !rustix::process::geteuid().is_root() || !Path::new("/dev/net/tun").exists() {
            println!("skipped: namespaces and /dev/net/tun need root");
            return None;
        }
        let place = Place { name: format!("rbf{}{name}", std::process::id()) };
        for side in SIDES {
            let mut add = Command::new("ip");
            if !add.args(["netns", "add", &place.namespace(side)]).status().expect("ip runs").success() {
                println!("skipped: this machine makes no network namespaces");
                return None;
            }
        }
        let far = place.namespace(2);
        place.ip(1, &format!("link add out type veth peer name out netns {far}"));
        for side in SIDES {
            place.ip(side, "link set lo up");
            place.ip(side, &format!("address add 192.0.2.{side}/24 dev out"));
            place.ip(side, "link set out up");
        }
        Some(place)
    }

    /// The cable carries packets up to this length.
    pub(crate) fn narrow(&self, mtu: u16) {
        SIDES.into_iter().for_each(|side| self.ip(side, &format!("link set out mtu {mtu}")));
    }

    fn namespace(&self, side: u8) -> String {
        format!("{}{side}", self.name)
    }

    fn ip(&self, side: u8, words: &str) {
        let mut ip = Command::new("ip");
        let done = ip.args(["-n", &self.namespace(side)]).args(words.split(' ')).status();
        assert!(done.expect("ip runs").success(), "ip {words}");
    }

    /// Runs something in a namespace, on a thread of its own.
    pub(crate) fn inside<T: Send + 'static>(
        &self,
        side: u8,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let namespace = File::open(format!("/run/netns/{}", self.namespace(side))).expect("a namespace");
        std::thread::spawn(move || {
            let kind = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(namespace.as_fd(), kind).expect("the namespace");
            work()
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        for side in SIDES {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(side)]).status();
        }
    }
}

/// What an end says.
#[derive(Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no panic")).into_owned()
    }

    pub(crate) fn contains(&self, words: &str) -> bool {
        self.text().contains(words)
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Said {
    type Writer = Said;

    fn make_writer(&self) -> Said {
        self.clone()
    }
}

/// A tunnel that is up.
pub(crate) struct Ends {
    pub(crate) a: Said,
    pub(crate) b: Said,
    running: Vec<(Handle, JoinHandle<Result<(), PlaneError>>)>,
}

impl Ends {
    pub(crate) fn start(place: &Place, a: Lacks, b: Lacks) -> Ends {
        let saids = [Said::default(), Said::default()];
        let running = SIDES.into_iter().zip([a, b]).zip(&saids).map(|((side, lacks), said)| {
            let (ready, readied) = mpsc::channel();
            let writer = said.clone();
            let thread = place.inside(side, move || {
                let said = tracing_subscriber::fmt().with_writer(writer).with_ansi(false).finish();
                tracing::subscriber::with_default(said, || {
                    lacks.enforce();
                    let (plane, handle, network) = end(side);
                    ready.send(handle).expect("somebody waits");
                    let ended = plane.run();
                    network.take_down();
                    ended
                })
            });
            (readied.recv().expect("an end that starts"), thread)
        });
        let running = running.collect();
        let [a, b] = saids;
        Ends { a, b, running }
    }

    pub(crate) fn stop(self) {
        for (handle, thread) in self.running {
            handle.stop();
            thread.join().expect("no panic").expect("it ran until now");
        }
    }
}

fn end(side: u8) -> (Plane, Handle, Network) {
    let other = 3 - side;
    let tun = Tun::open(INTERFACE).expect("an interface");
    let peer = PeerConfig {
        public_key: PrivateKey::new([other; 32]).public(),
        preshared_key: None,
        allowed_ips: vec![format!("fd77::{other}/128").parse().expect("a prefix")],
        endpoint: Some(format!("192.0.2.{other}:5000").parse().expect("a place")),
        keepalive: None,
        mesh: None,
    };
    let config = PlaneConfig {
        private_key: PrivateKey::new([side; 32]),
        listen_port: Some(5000),
        mtu: MTU,
        peers: vec![peer],
        mesh: None,
    };
    let (plane, handle) = Plane::new(config, tun).expect("a data plane");
    let mut network = Network::open(INTERFACE).expect("the interface");
    let address = format!("fd77::{side}").parse().expect("an address");
    network.bring_up(MTU, &[(address, 64)]).expect("it comes up");
    (plane, handle, network)
}
