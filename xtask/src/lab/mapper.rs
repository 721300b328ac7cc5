//! A server for PCP, NAT-PMP and UPnP in a router: Debian's miniupnpd, as many home routers run it; and just enough of
//! a client to see that it maps.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::netns::Namespace;
use super::plan::Site;
use super::rules;
use crate::child::Child;
use crate::stop::Stop;

/// RFC 6887 section 19, RFC 6886 section 1.1.
const PORT: u16 = 5351;
/// How long the server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(5);
/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// Seconds for which a mapping is asked.
const LIFETIME_S: u32 = 120;

pub(crate) fn start(router: &Namespace, site: &Site, dir: &Path) -> Result<Child> {
    let conf = dir.join(format!("{}-miniupnpd.conf", site.name));
    std::fs::write(&conf, configuration()).context("writing miniupnpd.conf")?;
    let mut command = router.tool("miniupnpd");
    // -d: in the foreground.
    command.args(["-d", "-f"]).arg(&conf).arg("-P").arg(dir.join(format!("{}-miniupnpd.pid", site.name)));
    let mut server = Child::start("miniupnpd", &command, &dir.join(format!("{}-miniupnpd.log", site.name)))?;
    let gateway = SocketAddr::new(site.gateway, PORT);
    let listens = || {
        let taken = router.inside(|| Ok(UdpSocket::bind(gateway).is_err()));
        taken.unwrap_or(false) || server.ended().is_some()
    };
    Stop::default().wait_until(START_LIMIT, listens);
    if server.ended().is_some() {
        return Err(server.failure());
    }
    Ok(server)
}

fn configuration() -> String {
    format!(
        "ext_ifname=wan
listening_ip=lan
enable_natpmp=yes
enable_upnp=yes
secure_mode=yes
system_uptime=yes
upnp_table_name={table}
upnp_nat_table_name={table}
upnp_forward_chain={forward}
upnp_nat_chain={inward}
upnp_nat_postrouting_chain={outward}
uuid=6a1c2b1e-0000-4000-8000-000000000001
allow 1024-65535 0.0.0.0/0 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
",
        table = rules::MAPPER_TABLE,
        forward = rules::MAPPER_FORWARD,
        inward = rules::MAPPER_IN,
        outward = rules::MAPPER_OUT,
    )
}

/// How a mapping is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Pcp,
    NatPmp,
}

/// Asks the router for a mapping of this UDP port of ours. `None` if nobody answers; an error if the answer is a
/// refusal. Call it inside the box's namespace.
pub(crate) fn ask(protocol: Protocol, site: &Site, port: u16) -> Result<Option<SocketAddrV4>> {
    let (IpAddr::V4(gateway), IpAddr::V4(own)) = (site.gateway, site.address) else { return Ok(None) };
    let socket = UdpSocket::bind((own, 0)).context("a socket for port mapping")?;
    socket.set_read_timeout(Some(ANSWER_LIMIT)).context("a limit of time")?;
    let question = match protocol {
        Protocol::Pcp => pcp(own, port),
        Protocol::NatPmp => nat_pmp(port),
    };
    let mut answer = [0; 1100];
    // A router without the server may say that the port is closed, or nothing at all.
    let sent = socket.connect((gateway, PORT)).and_then(|()| socket.send(&question));
    let Ok(len) = sent.and_then(|_| socket.recv(&mut answer)) else { return Ok(None) };
    match protocol {
        Protocol::Pcp => pcp_answer(&answer[..len]).map(Some),
        Protocol::NatPmp => nat_pmp_answer(&answer[..len], &socket, &mut [0; 64]).map(Some),
    }
}

/// Whether a UPnP gateway answers a search (UPnP Device Architecture 1.0, section 1.2).
pub(crate) fn upnp_answers(site: &Site) -> Result<bool> {
    let IpAddr::V4(own) = site.address else { return Ok(false) };
    let socket = UdpSocket::bind((own, 0)).context("a socket for UPnP")?;
    socket.set_read_timeout(Some(ANSWER_LIMIT)).context("a limit of time")?;
    let search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n\
                  ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";
    let mut answer = [0; 1500];
    let sent = socket.send_to(search.as_bytes(), (Ipv4Addr::new(239, 255, 255, 250), 1900));
    let Ok((len, from)) = sent.and_then(|_| socket.recv_from(&mut answer)) else { return Ok(false) };
    Ok(from.ip() == site.gateway && answer[..len].starts_with(b"HTTP/1.1 200"))
}

/// RFC 6887 sections 7.1 and 11.1: MAP, UDP.
fn pcp(own: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut bytes = vec![2, 1, 0, 0];
    bytes.extend(LIFETIME_S.to_be_bytes());
    bytes.extend(own.to_ipv6_mapped().octets());
    bytes.extend(*b"relaybox-lab");
    bytes.extend([17, 0, 0, 0]);
    bytes.extend(port.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.extend(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets());
    bytes
}

fn pcp_answer(bytes: &[u8]) -> Result<SocketAddrV4> {
    ensure!(bytes.len() >= 60 && bytes[0] == 2 && bytes[1] == 0x81, "no PCP answer: {bytes:02x?}");
    ensure!(bytes[3] == 0, "PCP refuses with code {}", bytes[3]);
    let port = u16::from_be_bytes([bytes[42], bytes[43]]);
    Ok(SocketAddrV4::new(Ipv4Addr::new(bytes[56], bytes[57], bytes[58], bytes[59]), port))
}

/// RFC 6886 section 3.3.
fn nat_pmp(port: u16) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0];
    bytes.extend(port.to_be_bytes());
    bytes.extend(port.to_be_bytes());
    bytes.extend(LIFETIME_S.to_be_bytes());
    bytes
}

/// The mapping does not tell the address; that is asked for by itself (section 3.2).
fn nat_pmp_answer(bytes: &[u8], socket: &UdpSocket, buffer: &mut [u8]) -> Result<SocketAddrV4> {
    ensure!(bytes.len() >= 16 && bytes[..2] == [0, 129], "no NAT-PMP answer: {bytes:02x?}");
    ensure!(bytes[2..4] == [0, 0], "NAT-PMP refuses with code {}", bytes[3]);
    let port = u16::from_be_bytes([bytes[10], bytes[11]]);
    socket.send(&[0, 0]).context("asking for the address")?;
    let len = socket.recv(buffer).context("no answer about the address")?;
    ensure!(len >= 12 && buffer[..4] == [0, 128, 0, 0], "odd answer: {:02x?}", &buffer[..len]);
    Ok(SocketAddrV4::new(Ipv4Addr::new(buffer[8], buffer[9], buffer[10], buffer[11]), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_not_a_mapping() {
        let mut answer = [0; 60];
        (answer[0], answer[1], answer[3]) = (2, 0x81, 8);
        assert_eq!(pcp_answer(&answer).unwrap_err().to_string(), "PCP refuses with code 8");
        (answer[3], answer[42], answer[43]) = (0, 0x12, 0x34);
        answer[56..].copy_from_slice(&[11, 0, 0, 2]);
        assert_eq!(pcp_answer(&answer).unwrap(), "11.0.0.2:4660".parse().unwrap());
        assert!(pcp_answer(&answer[..59]).is_err());
    }

    #[test]
    fn a_request_has_the_length_of_the_rfc() {
        assert_eq!(pcp(Ipv4Addr::LOCALHOST, 1).len(), 60);
        assert_eq!(nat_pmp(1).len(), 12);
    }
}
