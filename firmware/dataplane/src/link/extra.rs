//! Sockets beside the main ones: many for a few seconds of the birthday punch, then the one that hit.
//!
//! Refuses IPv6, which needs no punch of this kind, and to be many for long: who opened them closes them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use mesh::SocketId;
use mio::{Interest, Registry, Token};

use super::{Received, Socket, open};

/// Sockets at once: one punch, and those that were kept from earlier ones.
const SOCKETS_MAX: usize = 512;

/// The token of a socket is this and its id.
const TOKENS: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Extra {
    sockets: BTreeMap<SocketId, Entry>,
    /// Datagrams that sockets which are closed by now could not send.
    unsent: u64,
}

#[derive(Debug)]
struct Entry {
    socket: Socket,
    /// May have more to give.
    is_readable: bool,
}

impl Extra {
    pub(super) fn open(&mut self, registry: &Registry, first: SocketId, count: u16) {
        for id in (first.0..first.0.saturating_add(count)).map(SocketId) {
            if id == SocketId::MAIN || self.sockets.len() >= SOCKETS_MAX || self.sockets.contains_key(&id) {
                continue;
            }
            let opened = open(Ipv4Addr::UNSPECIFIED.into(), 0, None).and_then(|mut socket| {
                let token = Token(TOKENS + usize::from(id.0));
                registry.register(&mut socket.socket, token, Interest::READABLE)?;
                Ok(socket)
            });
            match opened {
                Ok(socket) => drop(self.sockets.insert(id, Entry { socket, is_readable: false })),
                // One probe less: the others may hit.
                Err(error) => tracing::debug!(%error, "no further socket"),
            }
        }
    }

    pub(super) fn close(&mut self, registry: &Registry, first: SocketId, count: u16, keep: Option<SocketId>) {
        for id in (first.0..first.0.saturating_add(count)).map(SocketId).filter(|id| Some(*id) != keep) {
            if let Some(mut entry) = self.sockets.remove(&id) {
                self.unsent += entry.socket.unsent.get();
                // It goes with its file anyway.
                let _ = registry.deregister(&mut entry.socket.socket);
            }
        }
    }

    pub(super) fn get(&self, id: SocketId) -> Option<&Socket> {
        self.sockets.get(&id).map(|entry| &entry.socket)
    }

    pub(super) fn readable(&mut self, token: Token) {
        let id = token.0.checked_sub(TOKENS).and_then(|id| u16::try_from(id).ok());
        if let Some(entry) = id.and_then(|id| self.sockets.get_mut(&SocketId(id))) {
            entry.is_readable = true;
        }
    }

    pub(super) fn receive(&mut self, received: &mut Received) -> Option<SocketId> {
        let (id, entry) = self.sockets.iter_mut().find(|(_, entry)| entry.is_readable)?;
        entry.is_readable = entry.socket.receive(received).unwrap_or_else(|error| {
            tracing::trace!(%error, "receiving");
            entry.socket.drain_errors();
            true
        });
        Some(*id)
    }

    pub(super) fn sockets(&self) -> impl Iterator<Item = &Socket> {
        self.sockets.values().map(|entry| &entry.socket)
    }

    pub(super) fn unsent(&self) -> u64 {
        self.unsent + self.sockets.values().map(|entry| entry.socket.unsent.get()).sum::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    use mio::{Events, Poll};

    use super::super::{Hop, Link};
    use super::*;

    #[test]
    fn each_sends_and_receives_for_itself_until_it_is_closed() {
        let far = UdpSocket::bind("127.0.0.1:0").expect("a port");
        far.set_read_timeout(Some(Duration::from_secs(5))).expect("a time");
        let to = far.local_addr().expect("an address");
        let mut poll = Poll::new().expect("a poll");
        let mut link = Link::open(0).expect("sockets");
        link.open_extra(poll.registry(), SocketId(7), 3);
        let mut seen = Vec::new();
        for id in 7..10 {
            link.send(Hop { socket: SocketId(id), to }, &[9], 1);
            seen.push(far.recv_from(&mut [0; 9]).expect("a datagram").1.port());
        }
        assert!(seen[0] != seen[1] && seen[1] != seen[2] && !seen.contains(&link.port()), "{seen:?}");
        assert_eq!(link.take_sent(), 3 * 29);
        far.send_to(b"hit", ("127.0.0.1", seen[1])).expect("it is sent");
        let (mut events, mut received) = (Events::with_capacity(8), Received::default());
        let end = Instant::now() + Duration::from_secs(5);
        let got = loop {
            poll.poll(&mut events, Some(Duration::from_millis(100))).expect("events");
            events.iter().for_each(|event| link.extra_readable(event.token()));
            if let Some(id) = link.receive_extra(&mut received) {
                break (
                    id,
                    received.datagrams().map(|(from, bytes)| (from, bytes.to_vec())).collect::<Vec<_>>(),
                );
            }
            assert!(Instant::now() < end, "it never came");
        };
        assert_eq!(got, (SocketId(8), vec![(to, b"hit".to_vec())]));
        link.close_extra(poll.registry(), SocketId(7), 3, Some(SocketId(8)));
        // Those that are closed send no more; the kept one does.
        for id in [7, 9, 8] {
            link.send(Hop { socket: SocketId(id), to }, &[u8::try_from(id).expect("small")], 1);
        }
        let mut byte = [0];
        far.recv(&mut byte).expect("a datagram");
        assert_eq!(byte, [8]);
    }

    #[test]
    fn there_are_never_too_many() {
        let poll = Poll::new().expect("a poll");
        let mut extra = Extra::default();
        extra.open(poll.registry(), SocketId(0), 300);
        extra.open(poll.registry(), SocketId(200), 400);
        assert_eq!(extra.sockets.len(), SOCKETS_MAX);
        assert!(!extra.sockets.contains_key(&SocketId::MAIN));
        extra.close(poll.registry(), SocketId(0), u16::MAX, None);
        assert!(extra.sockets.is_empty());
    }
}
