//! Opus: the channel count of the identification header and the length of a packet.

/// Opus counts in 48 kHz whatever the input was (RFC 7845 4).
pub(super) const SAMPLE_RATE: u32 = 48_000;
/// A packet holds at most 120 ms (RFC 6716 3.2.5, R5).
const PACKET_SAMPLES_MAX: u32 = 5760;

/// `OpusHead` (RFC 7845 5.1) of a major version 0: the number of output channels.
pub(super) fn head_channels(record: &[u8]) -> Option<u8> {
    let rest = record.strip_prefix(b"OpusHead")?;
    let &[version, channels, _, _, _, _, _, _, _, _, _mapping, ..] = rest else { return None };
    (version >> 4 == 0 && channels > 0).then_some(channels)
}

/// Samples in a packet, from its table-of-contents byte (RFC 6716 3.1).
pub(super) fn packet_samples(packet: &[u8]) -> Option<u32> {
    let &[toc, ref rest @ ..] = packet else { return None };
    let frame = match toc >> 3 {
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config & 3)],
        config @ 12..=15 => [480, 960][usize::from(config & 1)],
        config => [120, 240, 480, 960][usize::from(config & 3)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(rest.first()? & 0x3F),
    };
    let samples = frame * frames;
    (1..=PACKET_SAMPLES_MAX).contains(&samples).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packets_length_follows_from_its_first_bytes() {
        for (packet, samples) in [
            (&[0x78][..], Some(960)),    // hybrid, full band, 20 ms
            (&[0xFC], Some(960)),        // CELT, full band, 20 ms
            (&[0xE0], Some(120)),        // CELT, full band, 2.5 ms
            (&[0xFD], Some(1920)),       // two frames of 20 ms
            (&[0x1B, 0x02], Some(5760)), // SILK, 60 ms, code 3 with two frames
            (&[0x1B, 0x03], None),       // 180 ms
            (&[0x1B], None),
            (&[], None),
        ] {
            assert_eq!(packet_samples(packet), samples, "{packet:x?}");
        }
    }

    #[test]
    fn a_header_of_another_major_version_is_refused() {
        let head = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00";
        assert_eq!(head_channels(head), Some(2));
        assert_eq!(head_channels(&head[..18]), None);
        let mut newer = *head;
        newer[8] = 0x10;
        assert_eq!(head_channels(&newer), None);
    }
}
