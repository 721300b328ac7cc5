//! Tests of putting packets together: what is cut again is what was put in.

use proptest::prelude::*;

use super::*;
use crate::packet;
use crate::split;
use crate::split::tests::{is_sound, tcp, udp};

const ALL: Offload = Offload { tcp: true, udp: true };

fn run(offload: Offload, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut coalescer = Coalescer::new(offload);
    let mut frames = Vec::new();
    for packet in packets {
        let mut frame = vec![0xee; vnet::LEN];
        frame.extend_from_slice(packet);
        let ip = packet::header(packet).expect("a packet");
        coalescer.push(&mut frame, &ip, |frame| frames.push(frame.to_vec()));
    }
    coalescer.flush(|frame| frames.push(frame.to_vec()));
    frames
}

/// What the kernel would make of the frames.
fn cut(frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for frame in frames {
        let (head, packet) = frame.split_first_chunk::<{ vnet::LEN }>().expect("a header");
        let header = VnetHeader::read(head).expect("a known kind");
        let mut room = packet.to_vec();
        room.resize(packet.len() + split::SLACK_BYTES, 0);
        split::split(&header, &mut room, packet.len(), usize::MAX, |room, len| {
            out.push(room[..len].to_vec());
        })
        .expect("splits");
    }
    out
}

fn stream(v6: bool, flags: &[u8], piece: usize) -> Vec<Vec<u8>> {
    let mut sequence = 1000;
    let mut packets = Vec::new();
    for &flags in flags {
        packets.push(tcp(v6, sequence, flags, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], &vec![7; piece]));
        sequence += u32::try_from(piece).expect("small");
    }
    packets
}

#[test]
fn a_stream_becomes_one_frame() {
    for v6 in [false, true] {
        let frames = run(ALL, &stream(v6, &[ACK; 40], 1360));
        assert_eq!(frames.len(), 1);
        assert_eq!(cut(&frames).len(), 40);
        assert!(cut(&frames).iter().all(|packet| is_sound(packet)));
    }
}

#[test]
fn push_ends_a_frame() {
    assert_eq!(run(ALL, &stream(false, &[ACK, ACK | PSH, ACK, ACK], 100)).len(), 2);
}

#[test]
fn datagrams_become_one_frame_only_where_the_device_takes_it() {
    let packets: Vec<_> = (0..10).map(|n| udp(false, &[n; 700])).collect();
    assert_eq!(run(ALL, &packets).len(), 1);
    assert_eq!(run(Offload { tcp: true, udp: false }, &packets).len(), 10);
    let packets: Vec<_> = (0..100).map(|n| udp(false, &[n; 100])).collect();
    assert_eq!(run(ALL, &packets).len(), 2);
}

#[test]
fn what_differs_goes_alone() {
    let base = stream(false, &[ACK, ACK], 500);
    let changed = |at: usize, value: u8| {
        let mut second = base[1].clone();
        second[at] = value;
        second[10..12].fill(0);
        let sum = checksum::finish(checksum::sum(&second[..20]));
        second[10..12].copy_from_slice(&sum);
        second[36..38].fill(0);
        let ip = packet::header(&second).expect("a packet");
        let sum = checksum::pseudo_header(ip.source, ip.destination, 6, second.len() - 20)
            + checksum::sum(&second[20..]);
        second[36..38].copy_from_slice(&checksum::finish(sum));
        run(ALL, &[base[0].clone(), second]).len()
    };
    assert_eq!(run(ALL, &base).len(), 1);
    for (what, at, value) in [
        ("type of service", 1, 3),
        ("a fragment", 6, 0x20),
        ("time to live", 8, 63),
        ("sequence", 27, 0),
        ("acknowledged", 31, 9),
        ("a reset", 33, ACK | 4),
        ("window", 35, 1),
        ("an option", 47, 9),
    ] {
        assert_eq!(changed(at, value), 2, "{what}");
    }
    let mut broken = base.clone();
    broken[1][100] ^= 1;
    assert_eq!(
        run(ALL, &broken),
        [[vec![0; vnet::LEN], broken[0].clone()].concat(), [vec![0; vnet::LEN], broken[1].clone()].concat()]
    );
}

#[test]
fn many_flows_all_come_out() {
    let packets: Vec<_> = (0..50_u8)
        .map(|n| {
            let mut packet = udp(false, &[n; 64]);
            packet[21] = n;
            packet[26..28].fill(0);
            let sum = checksum::pseudo_header([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 17, 72)
                + checksum::sum(&packet[20..]);
            packet[26..28].copy_from_slice(&checksum::finish(sum));
            packet
        })
        .collect();
    assert_eq!(cut(&run(ALL, &packets)), packets);
}

proptest! {
    #[test]
    fn cut_again_it_is_what_was_put_in(
        v6: bool,
        steps in proptest::collection::vec((0_u8..8, prop_oneof![Just(1360_usize), 0_usize..1360]), 1..80),
    ) {
        let mut sequence = u32::MAX - 5000;
        let mut packets = Vec::new();
        for (kind, len) in steps {
            let payload: Vec<u8> = (0..len).map(|n| u8::try_from(n % 253).expect("below 256")).collect();
            packets.push(match kind {
                0 => tcp(v6, sequence, ACK | PSH, &[], &payload),
                1 => tcp(v6, sequence, ACK | 1, &[], &payload),
                2 => tcp(v6, sequence.wrapping_add(1), ACK, &[], &payload),
                3 => udp(v6, &payload),
                _ => tcp(v6, sequence, ACK, &[], &payload),
            });
            if kind != 3 {
                sequence = sequence.wrapping_add(u32::try_from(len).expect("small"));
            }
        }
        // Two flows may change places, so each is looked at alone. Identifications count up from the first piece.
        let only = |protocol: u8, packets: &[Vec<u8>]| -> Vec<Vec<u8>> {
            let plain = |packet: &Vec<u8>| {
                let mut packet = packet.clone();
                if !v6 {
                    packet[4..6].fill(0);
                    packet[10..12].fill(0);
                }
                packet
            };
            packets.iter().filter(|packet| packet[if v6 { 6 } else { 9 }] == protocol).map(plain).collect()
        };
        let out = cut(&run(ALL, &packets));
        prop_assert!(out.iter().all(|packet| is_sound(packet)));
        prop_assert_eq!(only(6, &out), only(6, &packets));
        prop_assert_eq!(only(17, &out), only(17, &packets));
    }
}
