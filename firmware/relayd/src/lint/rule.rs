//! The rules: what each is called, where it is written, and whether breaking it is an error.
//!
//! Sections are those of RFC 8216bis (draft-pantos-hls-rfc8216bis) unless another document is named.

use std::fmt;

use serde::{Serialize, Serializer};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// A SHOULD, or a MUST that can't be measured exactly from outside.
    Warning,
    Error,
}

macro_rules! rules {
    ($($rule:ident $severity:ident $id:literal $section:literal $says:literal)*) => {
        /// A rule that a stream can break.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub(crate) enum Rule { $($rule),* }

        impl Rule {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$rule),*];

            pub(crate) fn id(self) -> &'static str {
                match self { $(Self::$rule => $id),* }
            }

            /// Where the rule is written.
            pub(crate) fn section(self) -> &'static str {
                match self { $(Self::$rule => $section),* }
            }

            pub(crate) fn severity(self) -> Severity {
                match self { $(Self::$rule => Severity::$severity),* }
            }

            /// The rule in one sentence.
            pub(crate) fn says(self) -> &'static str {
                match self { $(Self::$rule => $says),* }
            }
        }
    };
}

rules! {
    Http Error "http" "6.2.1" "what a playlist lists can be fetched"
    ContentType Error "content-type" "4" "playlists have one of the two registered media types"
    StaleCache Error "stale-cache" "RFC 9111 5.2.2.1" "a live playlist must not be cacheable for longer than it holds"
    MediaCache Warning "media-cache" "RFC 8246 2" "media never changes and should be cacheable"
    Immutable Error "immutable" "6.2.1" "the same URI gives the same bytes"

    Syntax Error "syntax" "4.1" "a playlist is well-formed"
    Version Error "version" "8" "EXT-X-VERSION covers what is used"
    TargetMissing Error "target-duration-missing" "4.4.3.1" "EXT-X-TARGETDURATION is required"
    SegmentTooLong Error "segment-too-long" "4.4.3.1" "EXTINF, rounded, is at most the target duration"
    TargetChanged Error "target-duration-changed" "6.2.1" "the target duration never changes"
    PartInfoMissing Error "part-inf-missing" "4.4.3.7" "parts need EXT-X-PART-INF"
    PartTargetChanged Error "part-target-changed" "4.4.3.7" "the part target never changes"
    PartTooLong Error "part-too-long" "4.4.4.9" "no part exceeds the part target"
    PartTooShort Error "part-too-short" "4.4.4.9" "a part holds 85 % of the part target, but for a segment's last, independent ones and gaps"
    PartsSum Error "parts-sum" "4.4.4.9" "a segment lasts as long as its parts"
    PartsOld Warning "parts-old" "6.2.2" "parts leave three target durations from the end"
    PartHoldBack Error "part-hold-back" "4.4.3.8" "PART-HOLD-BACK is given with parts, and is at least twice the part target"
    PartHoldBackShort Warning "part-hold-back-short" "4.4.3.8" "PART-HOLD-BACK should be three times the part target"
    HoldBack Error "hold-back" "4.4.3.8" "HOLD-BACK is at least three target durations"
    SkipUntil Error "can-skip-until" "4.4.3.8" "CAN-SKIP-UNTIL is at least six target durations"
    MapMissing Error "map-missing" "3.1.2" "fragmented MP4 needs EXT-X-MAP"

    WindowShort Error "window-short" "6.2.2" "no segment leaves when less than three target durations would stay"
    SequenceBack Error "media-sequence" "6.2.2" "EXT-X-MEDIA-SEQUENCE grows by one for each segment removed"
    DiscontinuitySequence Error "discontinuity-sequence" "6.2.2" "a segment keeps its discontinuity sequence number"
    SegmentChanged Error "segment-changed" "6.2.1" "a listed segment or part stays as it was"
    EndUndone Error "end-undone" "6.2.1" "nothing follows EXT-X-ENDLIST"
    StaleAnswer Error "stale-answer" "6.2.1" "no answer is older than one before it"
    SegmentLate Error "segment-late" "6.2.1" "a new segment comes within 1.5 target durations"
    PartLate Warning "part-late" "6.2.1" "a new part comes within a part target"
    DateTime Warning "program-date-time" "4.4.4.6" "EXT-X-PROGRAM-DATE-TIME moves with the media"

    BlockingEarly Error "blocking-early" "6.2.5.2" "a blocking reload answers when the part is there, not before"
    BlockingFailed Error "blocking-failed" "6.2.5.2" "a blocking reload answers"
    PartWithoutMsn Error "part-without-msn" "6.2.5.2" "_HLS_part without _HLS_msn gets 400"
    FarMsn Error "far-msn" "6.2.5.2" "_HLS_msn beyond the last plus two gets 400"
    FarPart Error "far-part" "6.2.5.2" "_HLS_part beyond the Advance Part Limit gets 400"
    Delta Error "delta" "6.2.5.1" "a delta update merges to the full playlist"
    Hint Error "preload-hint" "6.2.6" "a hinted part can be had, and is what comes next"

    Media Error "media" "3.1" "media can be read"
    Duration Error "duration" "4.4.4.1" "EXTINF is the segment's real duration"
    PartDuration Error "part-duration" "4.4.4.9" "DURATION is the part's real duration"
    PartsDiffer Error "parts-differ" "4.4.4.9" "a segment's media is that of its parts"
    NoKeyframe Error "no-keyframe" "6.2.1, 4.4.2.1" "a segment begins with a keyframe"
    FalseIndependent Error "false-independent" "4.4.4.9" "INDEPENDENT=YES only where a keyframe begins"
    SyncFlag Error "sync-flag" "ISO/IEC 14496-12 8.8.3.1" "sync flags tell the truth"
    AvOffset Error "av-offset" "3" "audio and video of a segment begin together, within an audio frame"
    Continuity Error "continuity" "6.2.1, 4.4.4.3" "stamps go on without hole or overlap unless EXT-X-DISCONTINUITY says so"

    Bandwidth Error "bandwidth" "4.4.6.2" "BANDWIDTH is at least the measured peak"
    AverageBandwidth Warning "average-bandwidth" "4.4.6.2" "AVERAGE-BANDWIDTH is near the measured average"
    Codecs Error "codecs" "4.4.6.2" "CODECS names each media format"
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
