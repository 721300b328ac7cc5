//! Sealed items are read back as written, and nothing else is read.

use alloc::vec;
use std::format;

use proptest::prelude::*;

use super::*;
use crate::track::{AudioFormat, Codec, TrackConfig, Tracks};

fn stamp() -> impl Strategy<Value = Stamp> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u32>(), any::<u64>(), any::<u64>(), any::<u64>());
    let rest = (any::<bool>(), proptest::option::of(1..=u32::MAX), any::<u64>(), any::<i64>(), any::<u64>());
    (numbers, rest).prop_map(|((serial, epoch, n, first_msn, peak_bps, average_bps), rest)| {
        let (discontinuity, target_duration_s, discontinuities, hold_back, next_msn) = rest;
        Stamp {
            serial,
            playlist: PlaylistName { epoch: EpochId(epoch), n },
            first_msn,
            target_duration_s,
            discontinuity,
            discontinuities,
            peak_bps,
            average_bps,
            part_hold_back: Ticks(hold_back),
            next_msn,
        }
    })
}

fn part_header(epoch: u64, msn: u64, bytes: u32) -> PartHeader {
    PartHeader {
        epoch: EpochId(epoch),
        msn,
        part: 3,
        start: Ticks(-90),
        duration: Ticks(18_000),
        independent: true,
        last: false,
        gap: false,
        bytes,
    }
}

fn record() -> EpochRecord {
    let video = TrackConfig { codec: Codec::H264, record: vec![1, 100, 0, 31].into(), audio: None };
    let format = AudioFormat { sample_rate: 48_000, channels: 2, frame_samples: 1024 };
    let audio = TrackConfig { codec: Codec::Aac, record: vec![0x11, 0x90].into(), audio: Some(format) };
    EpochRecord {
        id: EpochId(9),
        tracks: Tracks { video: Some(video), audio: Some(audio) },
        codecs: "avc1.64001f,mp4a.40.2".into(),
        resolution: Some((1280, 720)),
        frame_rate_milli: Some(30_000),
        part_target: Ticks(18_000),
        zero_unix_ms: 1_750_000_000_000,
    }
}

proptest! {
    #[test]
    fn items_are_read_back(stamp in stamp(), epoch: u64, msn: u64, bytes in 1_usize..200_000, audio: bool, kind in 1_usize..=3) {
        let content = vec![7; bytes];
        let header = part_header(epoch, msn, bytes as u32);
        let part = PartSeal::of(&header, stamp, &content).unwrap();
        prop_assert_eq!(part.blocks.len(), bytes.div_ceil(16384));
        let mut record = record();
        if !audio {
            record.tracks.audio = None;
        }
        let init_hash = BlockHash::of(&content);
        let mark = [Mark::Abandoned, Mark::Dropped, Mark::Ended][kind - 1];
        for seal in [
            Seal::Part(part),
            Seal::Epoch(EpochSeal { stamp, record, init_bytes: 700, init_hash }),
            Seal::Mark(MarkSeal { stamp, mark, msn }),
        ] {
            let encoded = seal.encode();
            prop_assert_eq!(Seal::decode(&encoded), Ok(seal));
            prop_assert!(encoded.len() <= SEALED_BYTES_MAX);
            for cut in [0, 4, 5, encoded.len() / 2, encoded.len() - 1] {
                prop_assert!(Seal::decode(&encoded[..cut]).is_err());
            }
            prop_assert_eq!(Seal::decode(&[encoded.as_slice(), &[0]].concat()), Err(SealError::Trailing));
        }
    }

    #[test]
    fn whatever_is_read_has_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let bytes = [b"RBs\x01".as_slice(), &bytes].concat();
        if let Ok(seal) = Seal::decode(&bytes) {
            prop_assert_eq!(seal.encode(), bytes);
        }
    }
}

#[test]
fn a_block_is_its_own_bytes_at_its_own_place() {
    let content: Vec<u8> = (0..40_000_u32).map(|n| (n / 7) as u8).collect();
    let stamp = Stamp {
        serial: 1,
        playlist: PlaylistName { epoch: EpochId(1), n: 0 },
        first_msn: 1,
        target_duration_s: None,
        discontinuity: false,
        discontinuities: 0,
        peak_bps: 1,
        average_bps: 1,
        part_hold_back: Ticks::ZERO,
        next_msn: 2,
    };
    let part = PartSeal::of(&part_header(1, 1, 40_000), stamp, &content).unwrap();
    assert_eq!(
        [0, 1, 2, 3].map(|index| part.block_bytes(index)),
        [Some(16_384), Some(16_384), Some(7_232), None]
    );
    assert_eq!(part.block_bytes(usize::MAX), None);
    assert!(part.is_block(1, &content[16_384..32_768]));
    assert!(part.is_block(2, &content[32_768..]));
    assert!(!part.is_block(0, &content[16_384..32_768]), "another block's bytes");
    assert!(!part.is_block(2, &content[32_768..39_999]), "cut short");
    let mut forged = content[..16_384].to_vec();
    forged[100] ^= 1;
    assert!(!part.is_block(0, &forged));
    assert_eq!(PartSeal::of(&PartHeader { gap: true, ..part.header.clone() }, stamp, &[]), None);
    assert!(format!("{part:?}").contains("PartSeal"));
}
