//! Any frame from the device, cut; and any packets, put together and cut again: no panic, and nothing grows.
#![no_main]

use arbitrary::Arbitrary;
use dataplane::coalesce::{Coalescer, Offload};
use dataplane::packet;
use dataplane::split::{self, SLACK_BYTES};
use dataplane::vnet::{self, VnetHeader};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    header: [u8; vnet::LEN],
    frame: &'a [u8],
    packets: Vec<&'a [u8]>,
    tcp: bool,
    udp: bool,
    longest: u16,
}

fn cut(header: &VnetHeader, bytes: &[u8], longest: usize) -> usize {
    let mut frame = bytes.to_vec();
    frame.resize(bytes.len() + SLACK_BYTES, 0);
    let mut pieces = 0;
    let _ = split::split(header, &mut frame, bytes.len(), longest, |room, len| {
        assert!(len <= bytes.len() && room.len() >= len + SLACK_BYTES);
        pieces += 1;
    });
    pieces
}

fuzz_target!(|input: Input<'_>| {
    if let Ok(header) = VnetHeader::read(&input.header) {
        cut(&header, input.frame, input.longest.into());
    }
    let mut coalescer = Coalescer::new(Offload { tcp: input.tcp, udp: input.udp });
    let (mut put, mut got) = (0, 0);
    let mut count = |frame: &[u8]| {
        let (head, packet) = frame.split_first_chunk().expect("a header");
        got += cut(&VnetHeader::read(head).expect("a known kind"), packet, usize::MAX);
    };
    for packet in input.packets {
        let Ok(ip) = packet::header(packet) else { continue };
        let mut frame = vec![0; vnet::LEN];
        frame.extend_from_slice(packet);
        coalescer.push(&mut frame, &ip, &mut count);
        put += 1;
    }
    coalescer.flush(&mut count);
    assert_eq!(got, put);
});
