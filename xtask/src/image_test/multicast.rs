//! Asking for a name as phones and laptops do: multicast DNS (RFC 6762). It shares no code with the daemon on purpose.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const PORT: u16 = 5353;
/// Section 5.2: a querier asks again after a second; and 6: who has just answered does not answer for a second.
const AGAIN: Duration = Duration::from_millis(1100);
const TIMES: u32 = 3;
const DATAGRAM_BYTES_MAX: usize = 9000;

const TYPE_A: u16 = 1;

/// The first IPv4 address that is said of `name`: a box also says the one that it has in its mesh, where viewers are not. To be called in the asker's namespace, whose address is `own`.
pub(super) fn ask(name: &str, own: Ipv4Addr) -> Result<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("opening the port of mDNS")?;
    socket.join_multicast_v4(&GROUP, &own).context("joining the group of mDNS")?;
    for _ in 0..TIMES {
        socket.send_to(&question(name), SocketAddrV4::new(GROUP, PORT)).context("asking by mDNS")?;
        if let Some(address) = hear(&socket, name)? {
            return Ok(address);
        }
    }
    bail!("nobody is called {name}")
}

/// Until it is time to ask again.
fn hear(socket: &UdpSocket, name: &str) -> Result<Option<Ipv4Addr>> {
    let end = Instant::now() + AGAIN;
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left)).context("a time to wait")?;
        let Ok(length) = socket.recv(&mut datagram) else { continue };
        let address = answer(&datagram[..length], name);
        if address.is_some() {
            return Ok(address);
        }
    }
}

/// RFC 1035, section 4.1: one question, for an IPv4 address.
fn question(name: &str) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.extend([0, 0, 1, 0, 1]);
    bytes
}

/// The address of this name in an answer, if it is one.
fn answer(datagram: &[u8], name: &str) -> Option<Ipv4Addr> {
    let number = |at: usize| Some(u16::from_be_bytes([*datagram.get(at)?, *datagram.get(at + 1)?]));
    if number(2)? & 0x8000 == 0 {
        return None;
    }
    let (questions, records) = (number(4)?, number(6)?.checked_add(number(10)?)?);
    let mut at = 12;
    for _ in 0..questions {
        (_, at) = label(datagram, at)?;
        at += 4;
    }
    for _ in 0..records {
        let (owner, after) = label(datagram, at)?;
        let (kind, length) = (number(after)?, usize::from(number(after + 8)?));
        let data = datagram.get(after + 10..after + 10 + length)?;
        at = after + 10 + length;
        if !owner.eq_ignore_ascii_case(name) {
            continue;
        }
        if let (TYPE_A, Ok(octets)) = (kind, <[u8; 4]>::try_from(data)) {
            return Some(Ipv4Addr::from(octets));
        }
    }
    None
}

/// A name with its pointers followed, and where it ends. Section 4.1.4: a pointer leads back, so this comes to an end.
fn label(datagram: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut at, mut end, mut name) = (start, None, String::new());
    loop {
        let length = usize::from(*datagram.get(at)?);
        match length {
            0 => return Some((name, end.unwrap_or(at + 1))),
            1..=63 => {
                let text = datagram.get(at + 1..at + 1 + length)?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(&String::from_utf8_lossy(text));
                at += 1 + length;
            }
            _ => {
                let target = (length & 0x3f) << 8 | usize::from(*datagram.get(at + 1)?);
                end = end.or(Some(at + 2));
                if length < 0xc0 || target >= at {
                    return None;
                }
                at = target;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_a_pointer_is_read() {
        let mut datagram = vec![0, 0, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0];
        datagram.extend(b"\x03box\x05local\x00\x00\x10\x80\x01\x00\x00\x00\x78\x00\x02hi");
        datagram.extend(b"\xc0\x0c\x00\x01\x80\x01\x00\x00\x00\x78\x00\x04\xc0\x00\x02\x07");
        assert_eq!(answer(&datagram, "Box.local"), Some("192.0.2.7".parse().unwrap()));
        assert_eq!(answer(&datagram, "other.local"), None);
        assert_eq!(answer(&question("box.local"), "box.local"), None, "a question is no answer");
        let circle = b"\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\xc0\x0c";
        assert_eq!(answer(circle, "box.local"), None);
    }
}
