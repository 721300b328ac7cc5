//! A flood of handshake initiations that mean nothing, from a hundred sources, on a core of its own.
//!
//! Half of them carry a right mac1 (WireGuard's whitepaper, section 5.4.4), which anybody can make who knows the box's
//! public key: those cost the box a Diffie-Hellman, if it lets them.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use blake2::digest::{FixedOutput as _, Mac as _};
use blake2::{Blake2s256, Blake2sMac, Digest as _};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::dice::Dice;
use super::plan::{INTERNET, OBSERVER, observer_v4};
use super::world::World;
use crate::stop::Stop;

pub(crate) const SOURCES: u8 = 100;
pub(crate) const PER_SECOND: usize = 10_000;
/// How many are made beforehand, to be sent again and again.
const PACKETS: usize = 20_000;
/// Length of an initiation, and where its mac1 begins.
const INITIATION: usize = 148;
const MAC1: usize = 116;
/// What it could not send because somebody else had the core is sent later, up to so much time's worth.
const BACKLOG: Duration = Duration::from_millis(50);
/// Sources lie in as many networks.
const FIRST_NETWORK: u8 = 100;

type Packet = [u8; INITIATION];

/// Where the flood comes from.
pub(crate) fn sources() -> impl Iterator<Item = Ipv4Addr> {
    (0..SOURCES).map(|number| Ipv4Addr::new(11, 0, FIRST_NETWORK + number, 9))
}

/// It spins from the start, and sends while it is told to.
#[derive(Debug)]
pub(crate) struct Flooder {
    sends: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Flooder {
    /// Towards a box with this WireGuard key.
    pub(crate) fn start(world: &World, to: SocketAddr, key: [u8; 32], core: usize) -> Result<Flooder> {
        let sockets = sockets(world, to)?;
        let packets = packets(&key, &mut Dice::new(7));
        let (sends, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let stop = Stop::default();
        let (told, count, wanted) = (sends.clone(), sent.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            // Where this can't be done the run shows it: the boxes lose a core.
            pin(core).ok();
            flood(&sockets, &packets, &told, &count, &wanted);
        });
        Ok(Flooder { sends, sent, stop, thread: Some(thread) })
    }

    pub(crate) fn send(&self, sends: bool) {
        self.sends.store(sends, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flooder {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn sockets(world: &World, to: SocketAddr) -> Result<Vec<UdpSocket>> {
    let gateway = observer_v4(0);
    let (mut routes, mut addresses) = (String::new(), String::new());
    for source in sources() {
        let [a, b, c, _] = source.octets();
        routes += &format!("route add {a}.{b}.{c}.0/24 via {gateway}\n");
        addresses += &format!("address add {source}/32 dev lo\n");
    }
    let observer = world.namespace(OBSERVER);
    observer.ip(&addresses).context("the addresses of a flood")?;
    world.namespace(INTERNET).ip(&routes).context("the way back to a flood")?;
    observer.inside(|| {
        let socket = |source| {
            let socket = UdpSocket::bind((source, 0)).context("a socket of a flood")?;
            socket.connect(to).context("towards the box")?;
            Ok(socket)
        };
        sources().map(socket).collect()
    })
}

fn flood(sockets: &[UdpSocket], packets: &[Packet], sends: &AtomicBool, sent: &AtomicUsize, stop: &Stop) {
    const BATCH: usize = 10;
    let every = Duration::from_secs(1) * BATCH as u32 / PER_SECOND as u32;
    let mut next = Instant::now();
    while !stop.wanted() {
        if Instant::now() < next {
            std::hint::spin_loop();
            continue;
        }
        next = (next + every).max(Instant::now() - BACKLOG);
        if sends.load(Ordering::Relaxed) {
            for _ in 0..BATCH {
                let number = sent.fetch_add(1, Ordering::Relaxed);
                // Cookie replies come back, and nobody is interested.
                sockets[number % sockets.len()].send(&packets[number % packets.len()]).ok();
            }
        }
    }
}

/// Every second one has a right mac1.
fn packets(key: &[u8; 32], dice: &mut Dice) -> Vec<Packet> {
    let mac_key = Blake2s256::new().chain_update(b"mac1----").chain_update(key).finalize();
    let packet = |number: usize| {
        let mut packet = [0; INITIATION];
        dice.fill(&mut packet);
        packet[..4].copy_from_slice(&[1, 0, 0, 0]);
        if number % 2 == 1 {
            let mac = mac(&mac_key, &packet[..MAC1]);
            packet[MAC1..MAC1 + 16].copy_from_slice(&mac);
            packet[MAC1 + 16..].fill(0);
        }
        packet
    };
    (0..PACKETS).map(packet).collect()
}

/// Keyed BLAKE2s with 16 bytes of output.
fn mac(key: &[u8], bytes: &[u8]) -> [u8; 16] {
    let mac = Blake2sMac::<blake2::digest::consts::U16>::new_from_slice(key).expect("a key of 32 bytes");
    mac.chain_update(bytes).finalize_fixed().into()
}

/// The cores that this thread may use.
pub(crate) fn cores() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("asking for cores")?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Keeps this thread, and what it starts from here on, on one core.
pub(crate) fn pin(core: usize) -> Result<()> {
    restrict(&[core])
}

pub(crate) fn restrict(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    sched_setaffinity(None, &set).context("choosing cores")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What python3 says to hashlib.blake2s(bytes(116), digest_size=16, key=hashlib.blake2s(b"mac1----" +
    /// bytes(32)).digest()).hexdigest().
    #[test]
    fn a_mac_is_the_one_of_the_whitepaper() {
        let key = Blake2s256::new().chain_update(b"mac1----").chain_update([0; 32]).finalize();
        let hex: String = mac(&key, &[0; MAC1]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "a27f47acf041191bf95a6748dc26d89e");
    }

    #[test]
    fn a_flood_is_made_of_initiations() {
        let packets = packets(&[7; 32], &mut Dice::new(1));
        assert_eq!(packets.len(), PACKETS);
        assert!(packets.iter().all(|packet| packet[..4] == [1, 0, 0, 0]));
        assert_ne!(packets[0][4..], packets[2][4..]);
    }
}
