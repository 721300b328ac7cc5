//! What is published: encoded once by ffmpeg, kept as FLV, read into memory, and sent round and round.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// One round in seconds: whole groups of pictures (2 s) and whole AAC frames (1024/48000 s) both fit into it.
const ROUND_S: u32 = 24;
const AAC_FRAMES: usize = 1125;
const AUDIO_KBPS: u32 = 128;
pub(crate) const ROUND_MS: u32 = ROUND_S * 1000;

#[derive(Clone, Debug)]
pub(crate) struct Tag {
    /// As in FLV and RTMP: 8 audio, 9 video, 18 script.
    pub(crate) kind: u8,
    pub(crate) stamp_ms: u32,
    pub(crate) body: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// Metadata and decoder configurations, sent once.
    pub(crate) head: Vec<Tag>,
    /// Frames of one round in order of their stamps.
    pub(crate) frames: Vec<Tag>,
}

/// 720p30, a keyframe every 2 s, no B-frames, noise that really uses the bits; audio and video together as asked.
pub(crate) fn source(kbps: u32, dir: &Path) -> Result<Source> {
    let path = dir.join(format!("source-{kbps}.flv"));
    if !path.is_file() {
        eprintln!("encoding {ROUND_S} s of 720p30 at {kbps} kbit/s");
        // Under another name until it is whole.
        let growing = dir.join("source-growing.flv");
        encode(kbps, &growing)?;
        std::fs::rename(&growing, &path).context("could not keep the source")?;
    }
    let flv = std::fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
    split(tags(&flv)?)
}

fn encode(kbps: u32, path: &Path) -> Result<()> {
    let video_kbps = kbps - AUDIO_KBPS;
    let words = format!(
        "-hide_banner -nostdin -nostats -loglevel error -y \
         -f lavfi -i testsrc2=size=1280x720:rate=30,noise=alls=24:allf=t \
         -f lavfi -i sine=frequency=440:sample_rate=48000 -t {ROUND_S} \
         -c:v libx264 -preset ultrafast -tune zerolatency -profile:v main -pix_fmt yuv420p \
         -g 60 -keyint_min 60 -sc_threshold 0 -b:v {video_kbps}k -maxrate {video_kbps}k -bufsize {video_kbps}k \
         -c:a aac -b:a {AUDIO_KBPS}k -ac 2 -f flv"
    );
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(words.split_whitespace()).arg(path).stdin(Stdio::null());
    let status = ffmpeg.status().context("could not start ffmpeg")?;
    ensure!(status.success(), "ffmpeg ended with {status}");
    Ok(())
}

fn tags(flv: &[u8]) -> Result<Vec<Tag>> {
    ensure!(flv.starts_with(b"FLV"), "the source is not FLV");
    let mut rest = flv.get(13..).context("the source is empty")?;
    let mut tags = Vec::new();
    while let Some((head, after)) = rest.split_at_checked(11) {
        let length = u32::from_be_bytes([0, head[1], head[2], head[3]]) as usize;
        let stamp_ms = u32::from_be_bytes([head[7], head[4], head[5], head[6]]);
        let body = after.get(..length).context("the source breaks off")?;
        tags.push(Tag { kind: head[0], stamp_ms, body: body.to_vec() });
        rest = after.get(length + 4..).unwrap_or_default();
    }
    Ok(tags)
}

fn split(tags: Vec<Tag>) -> Result<Source> {
    // The second byte of a legacy tag says 0 for a decoder configuration, 2 for the end of the video.
    let is_head = |tag: &Tag| tag.kind == 18 || tag.body.get(1) == Some(&0);
    let (head, frames): (Vec<Tag>, Vec<Tag>) = tags.into_iter().partition(is_head);
    let video = frames.iter().filter(|tag| tag.kind == 9 && tag.body.get(1) == Some(&1)).cloned();
    // One AAC frame more than the round holds comes of the encoder's priming.
    let audio = frames.iter().filter(|tag| tag.kind == 8).take(AAC_FRAMES).cloned();
    let mut frames: Vec<Tag> = video.chain(audio).collect();
    frames.sort_by_key(|tag| tag.stamp_ms);
    ensure!(head.len() == 3, "the source has {} heads, not 3", head.len());
    ensure!(frames.last().is_some_and(|tag| tag.stamp_ms < ROUND_MS), "the source is too long");
    Ok(Source { head, frames })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_frames_are_told_apart() {
        let mut flv = b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec();
        let bodies: [(u8, u8, &[u8]); 6] = [
            (18, 0, b"\x02\0\x0aonMetaData"),
            (9, 0, &[0x17, 0, 0, 0, 0, 1]),
            (8, 0, &[0xaf, 0, 0x11, 0x90]),
            (9, 0, &[0x17, 1, 0, 0, 0, 9]),
            (9, 33, &[0x27, 1, 0, 0, 0, 9]),
            (8, 21, &[0xaf, 1, 7]),
        ];
        for (kind, stamp, body) in bodies {
            flv.extend([kind, 0, 0, body.len() as u8, 0, 0, stamp, 0, 0, 0, 0]);
            flv.extend(body);
            flv.extend([0, 0, 0, body.len() as u8 + 11]);
        }
        let source = split(tags(&flv).unwrap()).unwrap();
        assert_eq!(source.head.iter().map(|tag| tag.kind).collect::<Vec<_>>(), [18, 9, 8]);
        assert_eq!(source.frames.iter().map(|tag| tag.stamp_ms).collect::<Vec<_>>(), [0, 21, 33]);
    }
}
