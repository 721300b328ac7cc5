//! Tells whoever asks from which address it is seen (`wire::stun`): on two ports, since a router that shows another
//! address to each is found by asking both.
//!
//! Answers everybody, members or not, and remembers nobody: an answer is never larger than its request. Refuses to
//! wait: what can't be sent at once is dropped, and whoever asked asks again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use wire::stun::{ANSWER_BYTES_MAX, DATAGRAM_BYTES_MAX, Ports, answer};

/// Addresses of a machine that has several, on both ports each.
const SOCKETS_MAX: usize = 16;
/// After receiving failed for want of memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Sockets that are open, and not yet attended to.
#[derive(Debug)]
pub(crate) struct Stun {
    sockets: Vec<UdpSocket>,
    ports: Ports,
}

impl Stun {
    /// Opens all addresses.
    ///
    /// # Errors
    /// With what to do, when one is taken or there are more ports than boxes are told of.
    pub(crate) fn open(addresses: &[SocketAddr]) -> Result<Self> {
        ensure!(addresses.len() <= SOCKETS_MAX, "--stun takes at most {SOCKETS_MAX} addresses");
        let (mut sockets, mut ports) = (Vec::new(), Vec::new());
        for address in addresses {
            let opened = open(*address).and_then(|socket| Ok((socket.local_addr()?.port(), socket)));
            let (port, socket) = opened.with_context(|| {
                format!("opening UDP {address}: is another program using it? Choose two ports with --stun")
            })?;
            sockets.push(socket);
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
        let ports = Ports::try_from(ports).ok().context("--stun takes addresses with two ports at most")?;
        Ok(Self { sockets, ports })
    }

    /// What boxes are told: they ask at the host of the coordinator's URL.
    pub(crate) fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Answers until dropped; ends only by a fault of this program.
    pub(crate) async fn serve(self) {
        let mut tasks = JoinSet::new();
        for socket in self.sockets {
            tasks.spawn(attend(socket));
        }
        if tasks.join_next().await.is_none() {
            // There is no socket: nobody is answered.
            std::future::pending::<()>().await;
        }
    }
}

/// `[::]` takes both families, whatever the machine's default is.
fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::DGRAM, flags, None)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    bind(&socket, &address)?;
    UdpSocket::from_std(socket.into())
}

async fn attend(socket: UdpSocket) {
    // One byte more, so that a datagram that is too long is not of its own length, and refused.
    let mut datagram = [0; DATAGRAM_BYTES_MAX + 1];
    let mut out = [0; ANSWER_BYTES_MAX];
    loop {
        match socket.recv_from(&mut datagram).await {
            Ok((length, from)) => {
                let Some(length) = answer(&datagram[..length], from, &mut out) else { continue };
                if let Err(error) = socket.try_send_to(&out[..length], from) {
                    tracing::trace!(%error, "an answer was dropped");
                }
            }
            Err(error) => {
                tracing::warn!(%error, "receiving failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
