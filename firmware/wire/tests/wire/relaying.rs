//! Frames of the relay over TLS: as they stand on the line, cut anywhere, and bent.

use std::net::Ipv6Addr;

use proptest::prelude::*;
use trust::Ula;
use wire::relay::{DATAGRAM_BYTES_MAX, Decoder, FRAME_BYTES_MAX, Frame, FrameError, Outbox, Parcel};

fn ula(last: u16) -> Ula {
    Ula::try_from(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last)).unwrap()
}

/// What was said: None is a ping.
type Said = Option<(Ula, Vec<u8>)>;

/// All frames, from pieces of the given lengths.
fn decoded(bytes: &[u8], cuts: &[usize]) -> Result<Vec<Said>, FrameError> {
    let (mut decoder, mut found, mut rest) = (Decoder::new(), Vec::new(), bytes);
    let mut cuts = cuts.iter().copied().cycle();
    while !rest.is_empty() {
        let (mut piece, behind) = rest.split_at(cuts.next().unwrap().clamp(1, rest.len()));
        while let Some(frame) = decoder.read(&mut piece)? {
            found.push(match frame {
                Frame::Ping => None,
                Frame::Parcel(parcel) => Some((parcel.other, parcel.datagram.to_vec())),
            });
        }
        assert!(piece.is_empty());
        rest = behind;
    }
    Ok(found)
}

#[test]
fn frames_are_as_described() {
    let mut out = Vec::new();
    Frame::Ping.write(&mut out).unwrap();
    Frame::Parcel(Parcel { other: ula(7), datagram: b"abc" }).write(&mut out).unwrap();
    let line = b"\0\0\0\x13\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x07abc";
    assert_eq!(out, line);
    assert_eq!(decoded(line, &[1]), Ok(vec![None, Some((ula(7), b"abc".to_vec()))]));
}

#[test]
fn what_is_no_frame_ends_the_line() {
    let check = |bytes: &[u8], expected| {
        let mut decoder = Decoder::new();
        assert_eq!(decoder.read(&mut &bytes[..]), Err(expected));
        assert_eq!(decoder.read(&mut &b"\0\0"[..]), Err(expected), "for ever");
    };
    check(&[0, 16], FrameError::Length { found: 16 });
    check(&[0, 1], FrameError::Length { found: 1 });
    check(&[0xff, 0xff], FrameError::Length { found: 65_535 });
    check(&[0x06, 0x51], FrameError::Length { found: 1617 });
    let mut other = vec![0, 17, 0x20, 0x01];
    other.extend([0; 15]);
    check(&other, FrameError::Address);
}

#[test]
fn datagrams_that_no_frame_has_are_not_written() {
    let long = [0; DATAGRAM_BYTES_MAX + 1];
    for datagram in [&[][..], &long] {
        let mut out = vec![1];
        let parcel = Parcel { other: ula(1), datagram };
        assert!(Frame::Parcel(parcel).write(&mut out).is_err() && out == [1]);
        assert!(!Outbox::new(usize::MAX).push(parcel));
    }
    let mut out = Vec::new();
    Frame::Parcel(Parcel { other: ula(1), datagram: &long[1..] }).write(&mut out).unwrap();
    assert_eq!(out.len(), FRAME_BYTES_MAX);
}

#[test]
fn an_outbox_takes_what_fits_and_drops_the_rest() {
    let parcel = |datagram| Parcel { other: ula(1), datagram };
    let mut outbox = Outbox::new(50);
    assert!(outbox.push(parcel(b"1234567")), "25 bytes");
    assert!(outbox.push(parcel(b"1234567")), "50 bytes");
    assert!(!outbox.push(parcel(b"1")));
    let mut taken = vec![9];
    outbox.take(&mut taken);
    assert_eq!(taken.len(), 50);
    assert!(outbox.push(parcel(b"1")));
    outbox.take(&mut taken);
    assert_eq!(taken.len(), 19);
    outbox.take(&mut taken);
    assert!(taken.is_empty());
}

proptest! {
    #[test]
    fn what_was_written_is_read_however_it_is_cut(
        sent in proptest::collection::vec(
            proptest::option::of((any::<u16>(), proptest::collection::vec(any::<u8>(), 1..=DATAGRAM_BYTES_MAX))), 0..8),
        cuts in proptest::collection::vec(1usize..2000, 1..6),
    ) {
        let mut line = Vec::new();
        for frame in &sent {
            let frame = frame.as_ref().map_or(Frame::Ping, |(last, datagram)| {
                Frame::Parcel(Parcel { other: ula(*last), datagram })
            });
            frame.write(&mut line).unwrap();
        }
        let expected: Vec<_> =
            sent.into_iter().map(|frame| frame.map(|(last, datagram)| (ula(last), datagram))).collect();
        prop_assert_eq!(decoded(&line, &cuts), Ok(expected));
    }

    #[test]
    fn cuts_change_nothing(
        bytes in proptest::collection::vec(prop_oneof![3 => Just(0u8), 1 => 16u8..20, 1 => any::<u8>()], 0..200),
        cuts in proptest::collection::vec(1usize..40, 1..6),
    ) {
        prop_assert_eq!(decoded(&bytes, &cuts), decoded(&bytes, &[200]));
    }

    #[test]
    fn an_outbox_keeps_to_its_bound(bound in 0usize..5000, lengths in proptest::collection::vec(0usize..1700, 0..20)) {
        let (mut outbox, mut taken) = (Outbox::new(bound), Vec::new());
        for length in lengths {
            outbox.push(Parcel { other: ula(1), datagram: &vec![7; length] });
        }
        outbox.take(&mut taken);
        prop_assert!(taken.len() <= bound);
        prop_assert!(decoded(&taken, &[bound.max(1)]).is_ok());
    }
}
