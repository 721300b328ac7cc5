//! How long an Opus packet is, read from its first bytes (RFC 6716, 3.1 and 3.2).

/// Samples at 48 kHz in one packet; none if it is malformed. At most 5760 (120 ms).
#[must_use]
pub fn packet_samples(packet: &[u8]) -> Option<u32> {
    let toc = *packet.first()?;
    let frame = match toc >> 3 {
        // SILK and hybrid: 10, 20, 40 or 60 ms; hybrid only 10 or 20.
        config @ 0..=11 => [480, 960, 1920, 2880][usize::from(config % 4)],
        config @ 12..=15 => [480, 960][usize::from(config % 2)],
        // CELT: 2.5, 5, 10 or 20 ms.
        config => [120, 240, 480, 960][usize::from(config % 4)],
    };
    let frames = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let samples = frame * frames;
    (1..=5760).contains(&samples).then_some(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_from_the_first_bytes() {
        // CELT fullband 20 ms, one frame; SILK 60 ms; CELT 2.5 ms in two frames; three hybrid frames of 20 ms.
        for (packet, samples) in [(&[0xfc][..], 960), (&[0x18], 2880), (&[0x81], 240), (&[0x7b, 3], 2880)] {
            assert_eq!(packet_samples(packet), Some(samples), "{packet:x?}");
        }
    }

    #[test]
    fn malformed_packets_have_no_length() {
        for packet in [&[][..], &[0xff], &[0xff, 0], &[0x1b, 3]] {
            assert_eq!(packet_samples(packet), None, "{packet:x?}");
        }
    }
}
