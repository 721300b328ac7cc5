//! Packets that wait for a session: a fixed number of buffers, made once.
//!
//! One peer holds at most [`PER_PEER_MAX`] of them, so that a peer that never answers takes nobody else's. When a
//! peer has its share, or all buffers are taken, the newest packet is dropped: what came first starts a connection.

use heapless::Deque;

/// Packets that wait at once, over all peers.
pub(crate) const PACKETS_MAX: usize = 64;
/// Packets that wait for one peer.
pub(crate) const PER_PEER_MAX: usize = 16;

pub(crate) struct Waiting {
    queue: Deque<Packet, PACKETS_MAX>,
    free: heapless::Vec<Box<[u8]>, PACKETS_MAX>,
}

struct Packet {
    peer: u16,
    len: usize,
    bytes: Box<[u8]>,
}

impl Waiting {
    /// Room for packets of up to `packet_bytes_max`; longer ones are dropped.
    pub(crate) fn new(packet_bytes_max: usize) -> Waiting {
        let free = (0..PACKETS_MAX).map(|_| vec![0; packet_bytes_max].into()).collect();
        Waiting { queue: Deque::new(), free }
    }

    /// `false` when the packet was dropped.
    pub(crate) fn push(&mut self, peer: u16, packet: &[u8]) -> bool {
        let mine = self.queue.iter().filter(|waiting| waiting.peer == peer).count();
        if mine >= PER_PEER_MAX || self.free.first().is_none_or(|bytes| bytes.len() < packet.len()) {
            return false;
        }
        let Some(mut bytes) = self.free.pop() else { return false };
        bytes[..packet.len()].copy_from_slice(packet);
        // As many places as buffers.
        self.queue.push_back(Packet { peer, len: packet.len(), bytes }).is_ok()
    }

    /// Copies the oldest packet out whose peer is `ready`; gives the peer and the length.
    pub(crate) fn pop(&mut self, ready: impl Fn(u16) -> bool, out: &mut [u8]) -> Option<(u16, usize)> {
        let mut found = None;
        // All go round once, so that the order of what stays doesn't change.
        for _ in 0..self.queue.len() {
            let packet = self.queue.pop_front()?;
            if found.is_none() && packet.len <= out.len() && ready(packet.peer) {
                out[..packet.len].copy_from_slice(&packet.bytes[..packet.len]);
                found = Some((packet.peer, packet.len));
                self.keep(packet.bytes);
            } else {
                let _ = self.queue.push_back(packet);
            }
        }
        found
    }

    /// Drops what waits for a peer.
    pub(crate) fn forget(&mut self, peer: u16) {
        for _ in 0..self.queue.len() {
            let Some(packet) = self.queue.pop_front() else { return };
            if packet.peer == peer {
                self.keep(packet.bytes);
            } else {
                let _ = self.queue.push_back(packet);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn keep(&mut self, bytes: Box<[u8]>) {
        let _ = self.free.push(bytes);
    }
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("packets", &self.queue.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(waiting: &mut Waiting, peer: u16) -> Vec<u8> {
        let mut out = [0; 8];
        let mut seen = Vec::new();
        while let Some((from, len)) = waiting.pop(|number| number == peer, &mut out) {
            assert_eq!((from, len), (peer, 1));
            seen.push(out[0]);
        }
        seen
    }

    #[test]
    fn each_peer_keeps_its_order_and_its_share() {
        let mut waiting = Waiting::new(8);
        let taken = (0..40_u8).filter(|&n| waiting.push(u16::from(n % 2), &[n])).count();
        assert_eq!(taken, 32);
        assert_eq!(all(&mut waiting, 1), (0..32).filter(|n| n % 2 == 1).collect::<Vec<u8>>());
        assert_eq!(all(&mut waiting, 0), (0..32).filter(|n| n % 2 == 0).collect::<Vec<u8>>());
        assert!(waiting.is_empty());
    }

    #[test]
    fn buffers_come_back() {
        let mut waiting = Waiting::new(8);
        for _ in 0..10 {
            let taken = (0..8).flat_map(|peer| [peer; 16]).filter(|&peer| waiting.push(peer, &[1])).count();
            assert_eq!(taken, PACKETS_MAX);
            (0..8).for_each(|peer| waiting.forget(peer));
            assert!(waiting.is_empty());
        }
        assert!(!waiting.push(1, &[0; 9]));
    }
}
