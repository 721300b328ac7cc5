//! The coordinator, as far as paths need it: it answers STUN on two ports, passes on where boxes are, and relays.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wire::stun;

const V4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const V6: Ipv6Addr = Ipv6Addr::new(0x2a00, 2, 0, 0, 0, 0, 0, 1);
const PORTS: [u16; 2] = [3478, 3479];

pub(crate) fn servers() -> Vec<SocketAddr> {
    let at = |ip: IpAddr| PORTS.map(|port| SocketAddr::new(ip, port));
    [at(V4.into()), at(V6.into())].concat()
}

pub(crate) fn is_server(address: SocketAddr) -> bool {
    servers().contains(&address)
}

pub(crate) fn answer(request: &[u8], from: SocketAddr) -> Option<Vec<u8>> {
    let mut out = [0; stun::ANSWER_BYTES_MAX];
    let len = stun::answer(request, from, &mut out)?;
    Some(out[..len].to_vec())
}
