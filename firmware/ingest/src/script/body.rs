//! Bodies of FLV tags that demultiplex but do not decode.

/// AVCDecoderConfigurationRecord, baseline 3.0, one stub of an SPS and one of a PPS.
pub const AVC_RECORD: &[u8] = b"\x01\x42\xc0\x1e\xff\xe1\x00\x04\x67\x42\xc0\x1e\x01\x00\x02\x68\xce";
/// AudioSpecificConfig: AAC-LC, 44100 Hz, stereo.
pub const AAC_RECORD: &[u8] = &[0x12, 0x10];

#[must_use]
pub fn avc_config() -> Vec<u8> {
    [&[0x17, 0, 0, 0, 0], AVC_RECORD].concat()
}

/// One picture: an IDR slice or another one, with `payload` in it.
#[must_use]
pub fn avc_frame(idr: bool, composition_ms: i32, payload: &[u8]) -> Vec<u8> {
    let [_, composition @ ..] = composition_ms.to_be_bytes();
    let (first, nal) = if idr { (0x17, 0x65) } else { (0x27, 0x41) };
    let length = (payload.len() as u32 + 1).to_be_bytes();
    [&[first, 1][..], &composition, &length, &[nal], payload].concat()
}

#[must_use]
pub fn aac_config() -> Vec<u8> {
    [&[0xAF, 0], AAC_RECORD].concat()
}

#[must_use]
pub fn aac_frame(payload: &[u8]) -> Vec<u8> {
    [&[0xAF, 1], payload].concat()
}
