//! Any bytes in any pieces into the relay's decoder: the same frames however they are cut, and never more kept than one.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use wire::relay::{DATAGRAM_BYTES_MAX, Decoder, Frame, FrameError, Outbox};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    cuts: [u8; 4],
    bytes: &'a [u8],
}

/// The frames up to the first error, written again.
fn again(bytes: &[u8], cuts: &[usize]) -> (Vec<u8>, Option<FrameError>) {
    let (mut decoder, mut out, mut rest) = (Decoder::new(), Vec::new(), bytes);
    for cut in cuts.iter().copied().cycle() {
        if rest.is_empty() {
            break;
        }
        let (mut piece, behind) = rest.split_at(cut.clamp(1, rest.len()));
        rest = behind;
        loop {
            match decoder.read(&mut piece) {
                Ok(Some(frame)) => {
                    if let Frame::Parcel(parcel) = frame {
                        assert!((1..=DATAGRAM_BYTES_MAX).contains(&parcel.datagram.len()));
                        assert!(Outbox::new(1 << 20).push(parcel));
                    }
                    frame.write(&mut out).expect("what was read can be written");
                }
                Ok(None) => break,
                Err(error) => return (out, Some(error)),
            }
        }
        assert!(piece.is_empty(), "all is taken");
    }
    (out, None)
}

fuzz_target!(|input: Input<'_>| {
    let whole = again(input.bytes, &[usize::MAX]);
    assert!(input.bytes.starts_with(&whole.0), "what is written is what was read");
    assert_eq!(again(input.bytes, &input.cuts.map(usize::from)), whole);
});
