//! Tests of cutting, and the packets that other tests are made of.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

/// A TCP packet with right checksums.
pub(crate) fn tcp(v6: bool, sequence: u32, flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut transport = vec![0; 20];
    transport[..4].copy_from_slice(&[0x30, 0x39, 0x00, 0x50]);
    transport[4..8].copy_from_slice(&sequence.to_be_bytes());
    transport[8..12].copy_from_slice(&77_u32.to_be_bytes());
    transport[12] = u8::try_from((20 + options.len()) / 4).expect("small") << 4;
    transport[13] = flags;
    transport[14..16].copy_from_slice(&500_u16.to_be_bytes());
    transport.extend_from_slice(options);
    transport.extend_from_slice(payload);
    wrap(v6, 6, 16, transport)
}

/// A UDP packet with right checksums.
pub(crate) fn udp(v6: bool, payload: &[u8]) -> Vec<u8> {
    let mut transport = vec![0x30, 0x39, 0x00, 0x50, 0, 0, 0, 0];
    transport[4..6].copy_from_slice(&length(8 + payload.len()));
    transport.extend_from_slice(payload);
    wrap(v6, 17, 6, transport)
}

fn wrap(v6: bool, protocol: u8, field: usize, mut transport: Vec<u8>) -> Vec<u8> {
    let (source, destination): (IpAddr, IpAddr) = if v6 {
        ("fd00::1".parse().expect("v6"), "fd00::2".parse().expect("v6"))
    } else {
        ([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
    };
    let sum =
        checksum::pseudo_header(source, destination, protocol, transport.len()) + checksum::sum(&transport);
    transport[field..field + 2].copy_from_slice(&never_none(checksum::finish(sum), protocol));
    let mut packet = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip = vec![0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0];
            ip[2..4].copy_from_slice(&length(20 + transport.len()));
            ip.extend_from_slice(&source.octets());
            ip.extend_from_slice(&destination.octets());
            let sum = checksum::finish(checksum::sum(&ip));
            ip[10..12].copy_from_slice(&sum);
            ip
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut ip = vec![0x60, 0, 0, 0, 0, 0, protocol, 64];
            ip[4..6].copy_from_slice(&length(transport.len()));
            ip.extend_from_slice(&source.octets());
            ip.extend_from_slice(&destination.octets());
            ip
        }
        _ => unreachable!("one family"),
    };
    packet.extend_from_slice(&transport);
    packet
}

/// Whether both checksums of a packet are right.
pub(crate) fn is_sound(packet: &[u8]) -> bool {
    let Ok(ip) = packet::header(packet) else { return false };
    let transport = &packet[ip.header_len..ip.len];
    let pseudo = checksum::pseudo_header(ip.source, ip.destination, ip.protocol, transport.len());
    let outer = ip.source.is_ipv6() || checksum::is_right(checksum::sum(&packet[..20]));
    outer && checksum::is_right(pseudo + checksum::sum(transport))
}

/// Cuts a packet as if the kernel had handed it over.
pub(crate) fn pieces(packet: &[u8], gso: Option<(Gso, u16)>) -> Result<Vec<Vec<u8>>, SplitError> {
    pieces_within(packet, gso, usize::MAX)
}

fn pieces_within(packet: &[u8], gso: Option<(Gso, u16)>, longest: usize) -> Result<Vec<Vec<u8>>, SplitError> {
    let ip = packet::header(packet)?;
    let offset = if ip.protocol == 6 { 16 } else { 6 };
    let checksum = Some(Checksum { start: u16::try_from(ip.header_len).expect("small"), offset });
    let mut frame = packet.to_vec();
    // What a partial checksum looks like.
    let pseudo =
        checksum::pseudo_header(ip.source, ip.destination, ip.protocol, packet.len() - ip.header_len);
    let field = ip.header_len + usize::from(offset);
    frame[field..field + 2].copy_from_slice(&checksum::fold(pseudo));
    frame.resize(packet.len() + SLACK_BYTES, 0xee);
    let mut out = Vec::new();
    split(&VnetHeader { checksum, gso, header_len: 0 }, &mut frame, packet.len(), longest, |room, len| {
        assert!(room.len() >= len + SLACK_BYTES);
        out.push(room[..len].to_vec());
    })?;
    Ok(out)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n % 251).expect("below 256")).collect()
}

#[test]
fn a_small_packet_gets_its_checksum() {
    for packet in [tcp(false, 1, 0x10, &[], &bytes(33)), udp(true, &bytes(7)), udp(false, &[])] {
        assert_eq!(pieces(&packet, None), Ok(vec![packet]));
    }
}

#[test]
fn sequence_flags_and_ids_count_up() {
    let packet = tcp(false, u32::MAX - 999, CWR | PSH | FIN | 0x10, &[1, 1, 1, 0], &bytes(2500));
    let out = pieces(&packet, Some((Gso::TcpV4, 1000))).expect("splits");
    assert_eq!(out.len(), 3);
    let seen: Vec<_> = out
        .iter()
        .map(|piece| {
            let id = u16::from_be_bytes([piece[4], piece[5]]);
            (piece.len(), id, u32::from_be_bytes(piece[24..28].try_into().expect("4")), piece[33])
        })
        .collect();
    assert_eq!(
        seen,
        [
            (1044, 0x1234, u32::MAX - 999, CWR | 0x10),
            (1044, 0x1235, 0, 0x10),
            (544, 0x1236, 1000, PSH | FIN | 0x10)
        ]
    );
}

#[test]
fn headers_that_lie_are_refused() {
    let packet = tcp(false, 1, 0x10, &[], &bytes(2500));
    assert_eq!(pieces(&packet, Some((Gso::TcpV6, 1000))), Err(SplitError::Header));
    assert_eq!(pieces(&packet, Some((Gso::TcpV4, 0))), Err(SplitError::Header));
    let mut short = packet.clone();
    short[32] = 0x40;
    assert_eq!(pieces(&short, Some((Gso::TcpV4, 1000))), Err(SplitError::Header));
    let mut frame = packet.clone();
    frame.resize(packet.len() + SLACK_BYTES, 0);
    for checksum in
        [None, Some(Checksum { start: 60_000, offset: 16 }), Some(Checksum { start: 3, offset: 16 })]
    {
        let header = VnetHeader { checksum, gso: Some((Gso::TcpV4, 1000)), header_len: 40 };
        let split = split(&header, &mut frame, packet.len(), usize::MAX, |_, _| unreachable!());
        assert_eq!(split, Err(SplitError::Header));
    }
    let far =
        VnetHeader { checksum: Some(Checksum { start: 20, offset: 60_000 }), gso: None, header_len: 40 };
    let split = split(&far, &mut frame, packet.len(), usize::MAX, |_, _| unreachable!());
    assert_eq!(split, Err(SplitError::Header));
}

#[test]
fn what_is_too_long_for_the_path_is_cut_or_refused() {
    let lens = |packet: &[u8], gso, longest| {
        pieces_within(packet, gso, longest).map(|pieces| pieces.iter().map(Vec::len).collect::<Vec<_>>())
    };
    // TCP in one packet: 60 bytes of headers, and 1360.
    let whole = tcp(true, 9, PSH | 0x10, &[], &bytes(1360));
    assert_eq!(lens(&whole, None, 1420), Ok(vec![1420]));
    assert_eq!(lens(&whole, None, 1280), Ok(vec![1280, 200]));
    // In a large one, the device's pieces are shortened, and never made longer.
    let large = tcp(true, 9, 0x10, &[], &bytes(3000));
    assert_eq!(lens(&large, Some((Gso::TcpV6, 1360)), 1280), Ok(vec![1280, 1280, 620]));
    assert_eq!(lens(&large, Some((Gso::TcpV6, 1000)), 1280), Ok(vec![1060; 3]));
    // What begins or ends a connection at once has no bytes to be cut.
    for flags in [SYN, RST | 0x10, URG | 0x10] {
        assert_eq!(lens(&tcp(true, 9, flags, &[], &bytes(1360)), None, 1280), Err(SplitError::TooLong));
    }
    for v6 in [false, true] {
        assert_eq!(lens(&udp(v6, &bytes(1360)), None, 1280), Err(SplitError::TooLong));
        let large = udp(v6, &bytes(2720));
        assert_eq!(lens(&large, Some((Gso::Udp, 1360)), 1280), Err(SplitError::TooLong));
        assert_eq!(lens(&large, Some((Gso::Udp, 1360)), 1420).map(|lens| lens.len()), Ok(2));
    }
    // Without "don't fragment" it may be cut by others, and may be a part already.
    let mut free = udp(false, &bytes(1360));
    free[6] = 0;
    assert_eq!(lens(&free, None, 1280), Ok(vec![1388]));
    assert_eq!(lens(&tcp(true, 9, 0x10, &[], &bytes(1360)), None, 60), Err(SplitError::TooLong));
}

proptest! {
    #[test]
    fn pieces_are_sound_and_carry_every_byte(
        v6: bool, is_tcp: bool, len in 1_usize..20_000, piece in 100_u16..3000, sequence: u32, options in 0_usize..=10,
    ) {
        let payload = bytes(len);
        let (packet, gso, header_len) = if is_tcp {
            let gso = if v6 { Gso::TcpV6 } else { Gso::TcpV4 };
            (tcp(v6, sequence, 0x10, &vec![1; options * 4], &payload), gso, 20 + options * 4)
        } else {
            (udp(v6, &payload), Gso::Udp, 8)
        };
        let out = pieces(&packet, Some((gso, piece))).expect("splits");
        let header_len = header_len + if v6 { 40 } else { 20 };
        prop_assert_eq!(out.len(), len.div_ceil(piece.into()));
        prop_assert!(out.iter().all(|piece| is_sound(piece)));
        let joined: Vec<u8> = out.iter().flat_map(|piece| piece[header_len..].iter().copied()).collect();
        prop_assert_eq!(joined, payload);
    }

    #[test]
    fn any_path_gets_every_byte_of_tcp(
        v6: bool, len in 1_usize..20_000, piece in proptest::option::of(100_u16..3000), longest in 120_usize..3000,
    ) {
        let payload = bytes(len);
        let packet = tcp(v6, 7, 0x10, &[], &payload);
        let gso = piece.map(|piece| (if v6 { Gso::TcpV6 } else { Gso::TcpV4 }, piece));
        let out = pieces_within(&packet, gso, longest).expect("TCP is cut");
        prop_assert!(out.iter().all(|piece| is_sound(piece) && piece.len() <= longest));
        let header_len = if v6 { 60 } else { 40 };
        let joined: Vec<u8> = out.iter().flat_map(|piece| piece[header_len..].iter().copied()).collect();
        prop_assert_eq!(joined, payload);
    }

    #[test]
    fn nothing_panics(
        header in any::<[u8; 10]>(), mut frame in proptest::collection::vec(any::<u8>(), 0..200), v6: bool,
        longest in 0_usize..300,
    ) {
        if let Some(first) = frame.first_mut() {
            *first = if v6 { 0x60 } else { 0x45 };
        }
        let len = frame.len();
        frame.resize(len + SLACK_BYTES, 0);
        if let Ok(header) = VnetHeader::read(&header) {
            let _ = split(&header, &mut frame, len, longest, |room, len| assert!(room.len() >= len + SLACK_BYTES));
        }
    }
}
