//! Somebody in the household plays a game meanwhile: the round trip from each house to a host in the internet, by ICMP
//! echo (RFC 792) that takes the same line as the box. Refuses to judge a house from which nothing came back.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};

use crate::lab::plan::COORDINATOR_V4;
use crate::lab::world::World;

const EVERY: Duration = Duration::from_millis(50);
/// One that takes longer is lost.
const LOST_AFTER: Duration = Duration::from_secs(1);
const ECHO: u8 = 8;
const ECHO_REPLY: u8 = 0;

/// Round trips of each house in milliseconds, until they are asked for.
pub(crate) struct Pings {
    stop: Arc<AtomicBool>,
    houses: Vec<(String, JoinHandle<Result<Vec<f64>>>)>,
}

impl Pings {
    pub(crate) fn start<'a>(world: &World, names: impl IntoIterator<Item = &'a str>) -> Result<Pings> {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |name: &str| {
            let (place, stop) = (world.namespace(&world.site(name).host).handle()?, Arc::clone(&stop));
            let ping = move || place.inside(|| ping(COORDINATOR_V4, &stop));
            Ok((name.to_owned(), std::thread::spawn(ping)))
        };
        let houses = names.into_iter().map(start).collect::<Result<Vec<_>>>()?;
        Ok(Pings { stop, houses })
    }

    /// Sorted, by house.
    pub(crate) fn finish(mut self) -> Result<BTreeMap<String, Vec<f64>>> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        for (name, house) in self.houses.drain(..) {
            let mut took = house.join().map_err(|_| anyhow!("a ping from {name} panicked"))??;
            ensure!(!took.is_empty(), "no ping from {name} came back");
            took.sort_by(f64::total_cmp);
            all.insert(name, took);
        }
        Ok(all)
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Lost ones count as long as they were waited for.
fn ping(to: Ipv4Addr, stop: &AtomicBool) -> Result<Vec<f64>> {
    let icmp = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)).context("no ping here")?;
    set_socket_timeout(&icmp, Timeout::Recv, Some(LOST_AFTER)).context("a ping that waits for ever")?;
    let mut took_ms = Vec::new();
    let mut number: u16 = 0;
    while !stop.load(Ordering::Relaxed) {
        number = number.wrapping_add(1);
        let sent = Instant::now();
        sendto(&icmp, &echo(number), SendFlags::empty(), &SocketAddrV4::new(to, 0)).context("a ping")?;
        await_reply(&icmp, to, number, sent);
        took_ms.push(sent.elapsed().as_secs_f64() * 1e3);
        std::thread::sleep(EVERY.saturating_sub(sent.elapsed()));
    }
    Ok(took_ms)
}

fn await_reply(icmp: &OwnedFd, from: Ipv4Addr, number: u16, sent: Instant) {
    let mut packet = [0; 256];
    while sent.elapsed() < LOST_AFTER {
        let Ok((len, _)) = recv(icmp, &mut packet[..], RecvFlags::empty()) else { return };
        if packet.get(..len).is_some_and(|packet| is_reply(packet, from, number)) {
            return;
        }
    }
}

/// Type, code, checksum, identifier, sequence number: of 8 bytes there is nothing to add.
fn echo(number: u16) -> [u8; 8] {
    let [high, low] = number.to_be_bytes();
    let id = IDENTIFIER.to_be_bytes();
    let sum = u32::from(u16::from_be_bytes([ECHO, 0])) + u32::from(IDENTIFIER) + u32::from(number);
    let folded = (sum & 0xffff) + (sum >> 16);
    let [check_high, check_low] = (!(u16::try_from(folded & 0xffff).unwrap_or_default())).to_be_bytes();
    [ECHO, 0, check_high, check_low, id[0], id[1], high, low]
}

/// A router puts its own in its place, so it tells nobody apart.
const IDENTIFIER: u16 = 0x5262;

/// An IPv4 packet with the reply to this echo, which comes back with the identifier that was sent.
fn is_reply(packet: &[u8], from: Ipv4Addr, number: u16) -> bool {
    let Some(head) = packet.first().map(|first| usize::from(first & 0x0f) * 4) else { return false };
    let is_from = packet.get(12..16) == Some(&from.octets()[..]);
    let Some(icmp) = packet.get(head..head + 8) else { return false };
    let expected = [&IDENTIFIER.to_be_bytes()[..], &number.to_be_bytes()[..]].concat();
    is_from && icmp[0] == ECHO_REPLY && icmp[4..] == expected
}

/// Of sorted values: the smallest that this share of them does not exceed.
pub(crate) fn quantile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 1071: with its checksum in it, the words of a message add up to ones.
    #[test]
    fn an_echo_has_its_checksum_and_its_reply_is_known() {
        let echo = echo(0xfffe);
        let words = echo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
        let sum: u32 = words.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        let from = Ipv4Addr::new(192, 0, 2, 1);
        let mut packet = vec![0x45];
        packet.resize(12, 0);
        packet.extend(from.octets());
        packet.resize(20, 0);
        packet.extend([ECHO_REPLY, 0, 0, 0, echo[4], echo[5], 0xff, 0xfe]);
        assert!(is_reply(&packet, from, 0xfffe));
        assert!(!is_reply(&packet, from, 0xfffd) && !is_reply(&packet, Ipv4Addr::LOCALHOST, 0xfffe));
        assert!(!is_reply(&packet[..27], from, 0xfffe));
    }
}
