//! The UDP sockets, one for IPv4 and one for IPv6, on the same port; and more of IPv4 for a while, when the mesh's
//! agent wants them.
//!
//! Datagrams for one place go out many at a time where the kernel can (`UDP_SEGMENT`), and come in many at a time
//! (`recvmmsg`, `UDP_GRO`). A kernel or a network card that can't is found out once and remembered; a kernel without
//! `recvmmsg` is too old to have put datagrams together.

mod batch;
mod extra;

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mesh::SocketId;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

pub(crate) use batch::Batches;
use extra::Extra;

use crate::DATAGRAM_BYTES_MAX;
use crate::packet::UDP_HEADER_BYTES;

/// Messages taken by one call; each may hold up to 64 datagrams.
pub(crate) const RECEIVE_BATCH: usize = 16;

/// What the kernel may hold for a socket, bytes: 20 ms of 1.6 Gbit/s.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// How long a sender waits for a full socket before what it has is dropped.
const SEND_PATIENCE: Duration = Duration::from_millis(20);

/// Tries to find one port that is free for both families.
const PORT_TRIES: usize = 16;

/// Outside, a datagram of IPv4 that is too long for a link may be cut: better than lost. What routers say of the path's
/// length is not believed (ip(7), IP_PMTUDISC_OMIT): the kernel would refuse to cut many datagrams at once by it.
const MAY_BE_CUT: sockopt::Ipv4PathMtuDiscovery = sockopt::Ipv4PathMtuDiscovery::OMIT;

/// Errors of one socket that are fetched at once.
const ERRORS_MAX: usize = 64;

/// Why there are no sockets.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("UDP port {port} is taken")]
    Taken { port: u16 },
    #[error("cannot open UDP port {port}")]
    Open { port: u16, source: io::Error },
}

/// Both sockets; one may be missing where the host has only one family.
#[derive(Debug)]
pub(crate) struct Link {
    v4: Option<Socket>,
    v6: Option<Socket>,
    extra: Extra,
    port: u16,
}

const IPV4_HEADER_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;

/// From which socket to which place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) socket: SocketId,
    pub(crate) to: SocketAddr,
}

impl From<SocketAddr> for Hop {
    fn from(to: SocketAddr) -> Hop {
        Hop { socket: SocketId::MAIN, to }
    }
}

#[derive(Debug)]
pub(crate) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    /// Datagrams that could not be sent.
    unsent: Cell<u64>,
    /// Bytes of those that could, with their headers, since somebody took the count.
    sent: Cell<u64>,
    gso_reported: Cell<bool>,
    /// There is no `recvmmsg`.
    singly: Cell<bool>,
}

/// Room for what one call receives.
pub(crate) struct Received {
    bytes: Box<[u8]>,
    metas: [RecvMeta; RECEIVE_BATCH],
    count: usize,
}

impl Link {
    /// Opens both on `port`, or on one that is free for both if it is 0.
    pub(crate) fn open(port: u16) -> Result<Link, LinkError> {
        for _ in 0..PORT_TRIES {
            let v4 = open(Ipv4Addr::UNSPECIFIED.into(), port, Some(SOCKET_BUFFER_BYTES));
            let (v4, bound) = match v4 {
                Ok(socket) => {
                    let bound = socket.port();
                    (Some(socket), bound)
                }
                Err(error) if is_missing(&error) => (None, port),
                Err(error) => return Err(refusal(port, error)),
            };
            match open(Ipv6Addr::UNSPECIFIED.into(), bound, Some(SOCKET_BUFFER_BYTES)) {
                Ok(v6) => {
                    let port = v6.port();
                    return Ok(Link { v4, v6: Some(v6), extra: Extra::default(), port });
                }
                Err(error) if is_missing(&error) && v4.is_some() => {
                    tracing::warn!("this host has no IPv6: only IPv4 is used outside");
                    return Ok(Link { v4, v6: None, extra: Extra::default(), port: bound });
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && port == 0 => {}
                Err(error) => return Err(refusal(bound, error)),
            }
        }
        Err(LinkError::Taken { port })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn register(&mut self, registry: &Registry, v4: Token, v6: Token) -> io::Result<()> {
        for (socket, token) in [(&mut self.v4, v4), (&mut self.v6, v6)] {
            if let Some(socket) = socket {
                registry.register(&mut socket.socket, token, Interest::READABLE)?;
            }
        }
        Ok(())
    }

    pub(crate) fn v4(&self) -> Option<&Socket> {
        self.v4.as_ref()
    }

    pub(crate) fn v6(&self) -> Option<&Socket> {
        self.v6.as_ref()
    }

    /// Datagrams that could not be sent.
    pub(crate) fn unsent(&self) -> u64 {
        let main = [&self.v4, &self.v6].into_iter().flatten().map(|socket| socket.unsent.get()).sum::<u64>();
        main + self.extra.unsent()
    }

    /// Bytes of all datagrams that were sent since the last call, with their headers of UDP and IP.
    pub(crate) fn take_sent(&self) -> u64 {
        let main = [&self.v4, &self.v6].into_iter().flatten();
        main.chain(self.extra.sockets()).map(|socket| socket.sent.take()).sum()
    }

    /// The most datagrams that go out in one call.
    pub(crate) fn segments_max(&self, hop: Hop) -> usize {
        self.towards(hop).map_or(1, |socket| socket.state.max_gso_segments())
    }

    /// Sends datagrams of `stride` bytes each, of which the last may be shorter. What can't be sent is counted: to
    /// whom it mattered, they will send it again.
    pub(crate) fn send(&self, hop: impl Into<Hop>, datagrams: &[u8], stride: usize) {
        let hop = hop.into();
        let (Some(socket), to) = (self.towards(hop), hop.to) else { return };
        if datagrams.len() > stride && socket.state.max_gso_segments() > 1 {
            match socket.try_send(to, datagrams, Some(stride)) {
                Ok(()) => return,
                Err(Errno::IO | Errno::INVAL) => socket.report_gso(),
                // Longer than this host's own link: one by one they are cut.
                Err(Errno::MSGSIZE) => {}
                Err(error) => return socket.count(error, datagrams.len().div_ceil(stride), to),
            }
        }
        for datagram in datagrams.chunks(stride) {
            if let Err(error) = socket.try_send(to, datagram, None) {
                socket.count(error, 1, to);
            }
        }
    }

    /// Sends one datagram that no router may cut, whatever it knows of the way (RFC 8899, 3): those of IPv6 never are.
    pub(crate) fn send_whole(&self, hop: Hop, datagram: &[u8]) {
        let Some(socket) = self.towards(hop) else { return };
        let discover = |how| match hop.to {
            SocketAddr::V4(_) => sockopt::set_ip_mtu_discover(&socket.socket, how).is_ok(),
            SocketAddr::V6(_) => true,
        };
        // One that could be cut would prove nothing.
        if discover(sockopt::Ipv4PathMtuDiscovery::PROBE)
            && let Err(error) = socket.try_send(hop.to, datagram, None)
        {
            tracing::trace!(%error, len = datagram.len(), "longer than this host's link");
        }
        discover(MAY_BE_CUT);
    }

    /// More sockets of IPv4, each on a port of its own; those that can't be opened are missing.
    pub(crate) fn open_extra(&mut self, registry: &Registry, first: SocketId, count: u16) {
        self.extra.open(registry, first, count);
    }

    pub(crate) fn close_extra(
        &mut self,
        registry: &Registry,
        first: SocketId,
        count: u16,
        keep: Option<SocketId>,
    ) {
        self.extra.close(registry, first, count, keep);
    }

    /// Takes note that one of the further sockets has something to read.
    pub(crate) fn extra_readable(&mut self, token: Token) {
        self.extra.readable(token);
    }

    /// Takes what is there at one of the further sockets that have something; `None` when none has any more.
    pub(crate) fn receive_extra(&mut self, received: &mut Received) -> Option<SocketId> {
        self.extra.receive(received)
    }

    fn towards(&self, hop: Hop) -> Option<&Socket> {
        match (hop.socket, hop.to) {
            (SocketId::MAIN, SocketAddr::V4(_)) => self.v4.as_ref(),
            (SocketId::MAIN, SocketAddr::V6(_)) => self.v6.as_ref(),
            (socket, _) => self.extra.get(socket),
        }
    }
}

impl Socket {
    /// Takes what is there. `false` when there was nothing, or nothing more.
    pub(crate) fn receive(&self, received: &mut Received) -> io::Result<bool> {
        received.count = 0;
        if self.singly.get() {
            return self.receive_one(received);
        }
        let mut chunks = received.bytes.chunks_exact_mut(DATAGRAM_BYTES_MAX);
        let mut slices: [IoSliceMut<'_>; RECEIVE_BATCH] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().expect("as many chunks as messages")));
        match self.state.recv((&self.socket).into(), &mut slices, &mut received.metas) {
            Ok(count) => {
                received.count = count;
                Ok(count == RECEIVE_BATCH)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOSYS) => {
                tracing::warn!("this kernel has no recvmmsg: datagrams are taken one by one");
                self.singly.set(true);
                self.receive_one(received)
            }
            Err(error) => Err(error),
        }
    }

    fn receive_one(&self, received: &mut Received) -> io::Result<bool> {
        match self.socket.recv_from(&mut received.bytes[..DATAGRAM_BYTES_MAX]) {
            Ok((len, addr)) => {
                let meta = &mut received.metas[0];
                (meta.addr, meta.len, meta.stride) = (addr, len, len);
                received.count = 1;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fetches what the network said about datagrams that were sent, so that it doesn't fill the socket.
    pub(crate) fn drain_errors(&self) {
        for _ in 0..ERRORS_MAX {
            match self.state.recv_transport_error((&self.socket).into()) {
                Ok(Some(error)) => tracing::trace!(?error, "the network answers"),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }

    fn try_send(&self, to: SocketAddr, contents: &[u8], segment_size: Option<usize>) -> Result<(), Errno> {
        let transmit = Transmit { destination: to, ecn: None, contents, segment_size, src_ip: None };
        let send = || self.state.try_send((&self.socket).into(), &transmit);
        let result = match send() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let patience = Timespec { tv_sec: 0, tv_nsec: SEND_PATIENCE.subsec_nanos().into() };
                let _ =
                    rustix::event::poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], Some(&patience));
                send()
            }
            // Mostly an answer of the network to an earlier datagram, to anybody: this one was not sent yet. GSO that
            // is refused is for the caller.
            Err(error) if !matches!(Errno::from_io_error(&error), Some(Errno::IO | Errno::INVAL)) => send(),
            result => result,
        };
        result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let datagrams = contents.len().div_ceil(segment_size.unwrap_or(usize::MAX).max(1));
        let headers = UDP_HEADER_BYTES + if to.is_ipv4() { IPV4_HEADER_BYTES } else { IPV6_HEADER_BYTES };
        self.sent.set(self.sent.get() + (contents.len() + datagrams * headers) as u64);
        Ok(())
    }

    fn count(&self, error: Errno, datagrams: usize, to: SocketAddr) {
        self.unsent.set(self.unsent.get() + datagrams as u64);
        tracing::trace!(%error, datagrams, endpoint = %to, "not sent");
    }

    fn report_gso(&self) {
        if !self.gso_reported.replace(true) {
            tracing::warn!("datagrams can't be sent many at a time here: they go one by one");
        }
    }
}

impl Default for Received {
    fn default() -> Received {
        Received {
            bytes: vec![0; RECEIVE_BATCH * DATAGRAM_BYTES_MAX].into(),
            metas: [RecvMeta::default(); RECEIVE_BATCH],
            count: 0,
        }
    }
}

impl Received {
    /// Each datagram and where it came from.
    pub(crate) fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        let messages = self.bytes.chunks_exact(DATAGRAM_BYTES_MAX).zip(&self.metas).take(self.count);
        messages.flat_map(|(bytes, meta)| {
            let bytes = &bytes[..meta.len.min(DATAGRAM_BYTES_MAX)];
            bytes.chunks(meta.stride.max(1)).map(move |datagram| (meta.addr, datagram))
        })
    }
}

impl std::fmt::Debug for Received {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Received").field("count", &self.count).finish_non_exhaustive()
    }
}

fn open(address: IpAddr, port: u16, buffer_bytes: Option<usize>) -> io::Result<Socket> {
    let socket =
        RawSocket::new(Domain::for_address((address, port).into()), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    if let Some(bytes) = buffer_bytes {
        enlarge(&socket, bytes);
    }
    socket.bind(&SocketAddr::new(address, port).into())?;
    let state = UdpSocketState::new((&socket).into())?;
    if address.is_ipv4() {
        let _ = sockopt::set_ip_mtu_discover(&socket, MAY_BE_CUT);
    }
    if state.max_gso_segments() == 1 {
        tracing::warn!("this kernel has no UDP_SEGMENT: datagrams are sent one by one");
    }
    if state.gro_segments() == 1 {
        tracing::warn!("this kernel has no UDP_GRO: datagrams come one by one");
    }
    let socket = UdpSocket::from_std(socket.into());
    Ok(Socket {
        socket,
        state,
        unsent: Cell::new(0),
        sent: Cell::new(0),
        gso_reported: Cell::new(false),
        singly: Cell::new(false),
    })
}

/// Beyond the system's limit where that is allowed, and up to it where not.
fn enlarge(socket: &RawSocket, bytes: usize) {
    if sockopt::set_socket_recv_buffer_size_force(socket, bytes).is_err() {
        let _ = socket.set_recv_buffer_size(bytes);
    }
    if sockopt::set_socket_send_buffer_size_force(socket, bytes).is_err() {
        let _ = socket.set_send_buffer_size(bytes);
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

fn refusal(port: u16, error: io::Error) -> LinkError {
    if error.kind() == io::ErrorKind::AddrInUse {
        LinkError::Taken { port }
    } else {
        LinkError::Open { port, source: error }
    }
}
