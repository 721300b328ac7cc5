//! The multivariant playlist: one variant, with what was measured of it (RFC 8216bis 4.4.6.2).

use alloc::string::String;
use core::fmt::{self, Write};

use crate::header::EpochRecord;
use crate::playlist::PlaylistName;

#[derive(Debug)]
pub(crate) struct Multivariant<'a> {
    pub(crate) name: PlaylistName,
    pub(crate) record: &'a EpochRecord,
    pub(crate) peak_bps: u64,
    pub(crate) average_bps: u64,
}

impl Multivariant<'_> {
    pub(crate) fn render(&self) -> String {
        let mut out = String::with_capacity(384);
        // A String takes all that is written to it.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "#EXTM3U\n#EXT-X-INDEPENDENT-SEGMENTS")?;
        write!(out, "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={}", self.peak_bps, self.average_bps)?;
        if !self.record.codecs.is_empty() {
            write!(out, ",CODECS=\"{}\"", self.record.codecs)?;
        }
        if let Some((width, height)) = self.record.resolution {
            write!(out, ",RESOLUTION={width}x{height}")?;
        }
        if let Some(milli) = self.record.frame_rate_milli {
            write!(out, ",FRAME-RATE={}.{:03}", milli / 1000, milli % 1000)?;
        }
        writeln!(out, "\n{}", self.name)
    }
}
