//! Where the bytes come from, and which reader they get.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::lint::{Client, MediaPlaylist, Playlist, parse, resolve};
use crate::probe::fmp4::{self, Fmp4};
use crate::probe::media::Media;
use crate::probe::{flv, ts};

/// What is read of a file or of a live stream at most.
const BYTES_MAX: u64 = 256 << 20;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Source {
    /// The container, in words.
    pub(super) container: &'static str,
    pub(super) bytes: usize,
    /// Presented width and height in pixels, where the container says so.
    pub(super) size: Option<(u16, u16)>,
    /// Boxes that could not be read.
    pub(super) damage: Vec<String>,
    pub(super) media: Media,
}

pub(super) fn open(input: &str, seconds: u64) -> anyhow::Result<Source> {
    if input.starts_with("http://") || input.starts_with("https://") {
        return from_url(input, seconds);
    }
    if input.contains("://") {
        bail!("{input}: only files, http and https are supported");
    }
    let file = File::open(input).with_context(|| format!("can't open {input}"))?;
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes).with_context(|| format!("can't read {input}"))?;
    from_bytes(&bytes).with_context(|| input.to_owned())
}

fn from_bytes(bytes: &[u8]) -> anyhow::Result<Source> {
    let bare =
        |container, media| Source { container, bytes: bytes.len(), size: None, damage: Vec::new(), media };
    if flv::looks_like(bytes) {
        Ok(bare("FLV", flv::read(bytes)?))
    } else if ts::looks_like(bytes) {
        Ok(bare("MPEG-TS", ts::read(bytes)?))
    } else if fmp4::looks_like(bytes) {
        let init = Fmp4::parse(&bytes[..fmp4::init_bytes(bytes)])?;
        let damage = fmp4::damaged_boxes(bytes);
        Ok(Source { size: init.size(), damage, ..bare("fragmented MP4", init.read(bytes)?) })
    } else {
        bail!("not supported: neither fragmented MP4, FLV nor MPEG-TS")
    }
}

fn from_url(url: &str, seconds: u64) -> anyhow::Result<Source> {
    let client = Client::new(true);
    let bytes = client.sample(url, Duration::from_secs(seconds), BYTES_MAX)?;
    if !bytes.starts_with(b"#EXTM3U") {
        return from_bytes(&bytes).with_context(|| url.to_owned());
    }
    let (mut url, mut text) = (url.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
    // A multivariant playlist, and behind it a media playlist.
    for _ in 0..2 {
        match parse(&text).0.with_context(|| format!("{url} is no playlist"))? {
            Playlist::Media(playlist) => return from_playlist(&client, &url, &playlist, seconds),
            Playlist::Multivariant(playlist) => {
                let variant = playlist.variants.first().context("no variant")?;
                url = resolve(&url, &variant.uri);
                text = String::from_utf8_lossy(&get(&client, &url, None)?).into_owned();
            }
        }
    }
    bail!("{url} is a multivariant playlist again")
}

/// Reads the last segments, as many as last the seconds asked for.
fn from_playlist(
    client: &Client,
    url: &str,
    playlist: &MediaPlaylist,
    seconds: u64,
) -> anyhow::Result<Source> {
    let mut out =
        Source { container: "HLS", bytes: 0, size: None, damage: Vec::new(), media: Media::default() };
    let mut left = seconds as f64;
    let wanted = playlist.segments.iter().rev().take_while(|segment| {
        let take = left > 0.0;
        left -= segment.duration;
        take
    });
    let first = playlist.segments.len() - wanted.count();
    let mut init = None;
    for segment in playlist.segments[first..].iter().filter(|segment| !segment.gap) {
        let bytes = get(client, &resolve(url, &segment.uri), segment.range.map(|r| (r.offset, r.length)))?;
        out.bytes += bytes.len();
        let Some(map) = &segment.map else {
            out.media.append(ts::read(&bytes).with_context(|| segment.uri.clone())?);
            continue;
        };
        if init.as_ref().is_none_or(|(known, _)| known != map) {
            let head = get(client, &resolve(url, &map.uri), map.range.map(|r| (r.offset, r.length)))?;
            init = Some((map.clone(), Fmp4::parse(&head)?));
        }
        if let Some((_, init)) = &init {
            out.size = init.size();
            out.damage.extend(fmp4::damaged_boxes(&bytes));
            out.media.append(init.read(&bytes).with_context(|| segment.uri.clone())?);
        }
    }
    Ok(out)
}

fn get(client: &Client, url: &str, range: Option<(u64, u64)>) -> anyhow::Result<Vec<u8>> {
    let response = client.get_range(url, range, PATIENCE)?;
    if !response.ok() {
        bail!("{url} got {}", response.status);
    }
    Ok(response.body)
}
