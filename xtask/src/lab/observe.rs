//! Looks at a site from both sides with real packets: how its router maps, what it lets in, what it drops.
//!
//! The world's own proof rests on this, so nothing in here knows what kind of router it should be looking at. What must
//! not arrive is never waited for by the clock alone: a packet that must arrive is sent after it on the same cables.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::mapper::{self, Protocol};
use super::plan::{OBSERVER, Site, observer_v4, observer_v6};
use super::world::World;

/// What is asked of one family's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// How long what must arrive may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what may not arrive is looked for once what came after it is there.
const LINGER: Duration = Duration::from_millis(150);
/// The observer listens here, at each of its addresses, as a STUN server would.
const PORT: u16 = 3478;

/// What UDP does between a box and the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Udp {
    /// The box has no address of this family, or no way out.
    None,
    /// It has a way out, which UDP does not pass.
    Blocked,
    Passes {
        /// The address and port that others see are the box's own.
        own_address: bool,
        /// Three destinations see the same port.
        same_port: bool,
        /// The port is the same even for somebody who sent a packet to it first.
        steady: bool,
        /// A packet comes in from an address to which nothing was ever sent.
        open: bool,
        /// A packet comes in from another port of an address to which something was sent.
        open_to_known: bool,
    },
}

/// Everything that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) v4: Udp,
    pub(crate) v6: Udp,
    /// TCP to the outside, by either family.
    pub(crate) tcp_out: bool,
    /// The mappings that the router gives by PCP and NAT-PMP, and whether they let a stranger in.
    pub(crate) pcp: bool,
    pub(crate) nat_pmp: bool,
    pub(crate) upnp: bool,
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |is: bool| if is { "yes" } else { "no" };
        let Behaviour { v4, v6, tcp_out, pcp, nat_pmp, upnp } = self;
        write!(f, "IPv4 UDP {v4}; IPv6 UDP {v6}; TCP out {}", yes(*tcp_out))?;
        write!(f, "; PCP {}, NAT-PMP {}, UPnP {}", yes(*pcp), yes(*nat_pmp), yes(*upnp))
    }
}

impl fmt::Display for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Udp::Passes { own_address, same_port, steady, open, open_to_known } = *self else {
            return f.write_str(if *self == Udp::None { "none" } else { "blocked" });
        };
        f.write_str(if own_address { "untranslated" } else { "translated" })?;
        f.write_str(if same_port { ", one port for all" } else { ", a port for each" })?;
        f.write_str(if steady { "" } else { ", moved by an early probe" })?;
        f.write_str(match (open, open_to_known) {
            (true, _) => ", open",
            (false, true) => ", open to known addresses",
            (false, false) => ", replies only",
        })
    }
}

/// Looks at one site of a world.
pub(crate) fn site(world: &World, site: &Site) -> Result<Behaviour> {
    let eye = Eye { world, site };
    let v4 = eye.udp(Family::V4).context("IPv4")?;
    let v6 = eye.udp(Family::V6).context("IPv6")?;
    let tcp_out = eye.tcp_out(Family::V4)? || eye.tcp_out(Family::V6)?;
    let pcp = eye.mapped(Protocol::Pcp).context("PCP")?;
    let nat_pmp = eye.mapped(Protocol::NatPmp).context("NAT-PMP")?;
    let upnp = world.namespace(&site.host).inside(|| mapper::upnp_answers(site))?;
    Ok(Behaviour { v4, v6, tcp_out, pcp, nat_pmp, upnp })
}

struct Eye<'a> {
    world: &'a World,
    site: &'a Site,
}

fn address(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => observer_v4(number).into(),
        Family::V6 => observer_v6(number).into(),
    }
}

impl Eye<'_> {
    fn outside(&self, family: Family, number: u8, port: u16) -> Result<UdpSocket> {
        let at = SocketAddr::new(address(family, number), port);
        let bind = || UdpSocket::bind(at).with_context(|| format!("listening on {at}"));
        let socket = self.world.namespace(OBSERVER).inside(bind)?;
        socket.set_read_timeout(Some(PATIENCE)).context("a limit of time")?;
        Ok(socket)
    }

    /// A socket of the box, bound to the address that it would use. `None` without a way out.
    fn within(&self, family: Family) -> Result<Option<UdpSocket>> {
        let unspecified: IpAddr = match family {
            Family::V4 => [0; 4].into(),
            Family::V6 => [0; 16].into(),
        };
        let far = SocketAddr::new(address(family, 0), PORT);
        self.world.namespace(&self.site.host).inside(|| {
            let feeler = UdpSocket::bind((unspecified, 0)).context("a socket in the box")?;
            if feeler.connect(far).is_err() {
                return Ok(None);
            }
            let own = feeler.local_addr().context("the box's address")?.ip();
            let socket = UdpSocket::bind((own, 0)).context("a socket in the box")?;
            socket.set_read_timeout(Some(PATIENCE)).context("a limit of time")?;
            Ok(Some(socket))
        })
    }

    fn udp(&self, family: Family) -> Result<Udp> {
        let Some(inner) = self.within(family)? else { return Ok(Udp::None) };
        let first = self.outside(family, 0, PORT)?;
        let Some(seen) = self.seen_by(&first, &inner)? else { return Ok(Udp::Blocked) };
        // Two that stay silent until they are spoken to: another port, and another address.
        let mut seen_elsewhere = Vec::new();
        for (number, port) in [(0, PORT + 1), (1, PORT)] {
            let silent = self.outside(family, number, port)?;
            seen_elsewhere
                .push(self.seen_by(&silent, &inner)?.context("the next destination hears nothing")?);
        }
        let (known, stranger) = (self.outside(family, 0, PORT + 2)?, self.outside(family, 2, PORT)?);
        let say = |from: &UdpSocket, text: &[u8]| from.send_to(text, seen).map(drop).context("sending in");
        say(&known, b"known address")?;
        say(&stranger, b"stranger")?;
        say(&first, b"reply")?;
        let heard = heard_until(&inner, b"reply")?;
        let has = |text: &[u8]| heard.iter().any(|found| found == text);
        let after_probe = self.seen_by(&stranger, &inner)?.context("the stranger hears nothing")?;
        let same_port = seen_elsewhere.iter().all(|elsewhere| *elsewhere == seen);
        Ok(Udp::Passes {
            own_address: seen == inner.local_addr().context("the box's address")?,
            same_port,
            steady: !same_port || after_probe == seen,
            open: has(b"stranger"),
            open_to_known: has(b"known address"),
        })
    }

    /// Under which address the far end sees the box's socket.
    fn seen_by(&self, far: &UdpSocket, inner: &UdpSocket) -> Result<Option<SocketAddr>> {
        let to = far.local_addr().context("the observer's address")?;
        for _ in 0..3 {
            // A router that forbids may say so by ICMP, which is an error here and an answer.
            inner.send_to(b"who am I", to).ok();
        }
        far.set_read_timeout(Some(LINGER)).context("a limit of time")?;
        let mut text = [0; 64];
        let Ok((_, from)) = far.recv_from(&mut text) else { return Ok(None) };
        while far.recv_from(&mut text).is_ok() {}
        Ok(Some(from))
    }

    fn tcp_out(&self, family: Family) -> Result<bool> {
        let at = SocketAddr::new(address(family, 1), 443);
        let listen = || TcpListener::bind(at).with_context(|| format!("listening on {at}"));
        let listener = self.world.namespace(OBSERVER).inside(listen)?;
        let connect = || Ok(TcpStream::connect_timeout(&at, PATIENCE).ok());
        let Some(mut stream) = self.world.namespace(&self.site.host).inside(connect)? else {
            return Ok(false);
        };
        let (mut accepted, _) = listener.accept().context("accepting")?;
        accepted.write_all(b"hello").context("writing")?;
        stream.set_read_timeout(Some(PATIENCE)).context("a limit of time")?;
        let mut text = [0; 5];
        Ok(stream.read_exact(&mut text).is_ok() && &text == b"hello")
    }

    /// Whether the router gives a mapping that lets a stranger in.
    fn mapped(&self, protocol: Protocol) -> Result<bool> {
        let IpAddr::V4(own) = self.site.address else { return Ok(false) };
        let host = self.world.namespace(&self.site.host);
        let inner = host.inside(|| UdpSocket::bind((own, 0)).context("a socket in the box"))?;
        let port = inner.local_addr().context("the box's port")?.port();
        let Some(outer) = host.inside(|| mapper::ask(protocol, self.site, port))? else { return Ok(false) };
        if !self.site.public.contains(&IpAddr::V4(*outer.ip())) {
            bail!("the router names {outer}, but is seen as {:?}", self.site.public);
        }
        let stranger = self.outside(Family::V4, 2, PORT)?;
        stranger.send_to(b"by mapping", outer).context("sending to the mapping")?;
        inner.set_read_timeout(Some(PATIENCE)).context("a limit of time")?;
        let mut text = [0; 64];
        let heard = inner.recv_from(&mut text);
        Ok(heard.is_ok_and(|(len, _)| &text[..len] == b"by mapping"))
    }
}

/// What arrives until this does, and shortly after.
fn heard_until(socket: &UdpSocket, last: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut heard = Vec::new();
    let mut text = [0; 64];
    while !heard.iter().any(|text: &Vec<u8>| text == last) {
        let (len, _) = socket.recv_from(&mut text).context("not even the reply comes in")?;
        heard.push(text[..len].to_vec());
    }
    socket.set_read_timeout(Some(LINGER)).context("a limit of time")?;
    while let Ok((len, _)) = socket.recv_from(&mut text) {
        heard.push(text[..len].to_vec());
    }
    Ok(heard)
}
