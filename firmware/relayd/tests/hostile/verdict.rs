//! What outside tools say of what was served: ffprobe and ffmpeg on whole epochs, mp4-atom on every part.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::laboratory::{Laboratory, until};

/// Flash and beep leave within this of each other.
const SYNC_MS: f64 = 40.0;

/// A media playlist as it was read: only what the tests look at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Playlist {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) target_duration_s: u32,
    pub(crate) part_target_s: f64,
    pub(crate) first_msn: u64,
    pub(crate) segments: Vec<Segment>,
    pub(crate) ended: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) uri: String,
    pub(crate) map: String,
    pub(crate) duration_s: f64,
    /// Duration, URI, independent.
    pub(crate) parts: Vec<(f64, String, bool)>,
    pub(crate) discontinuity: bool,
}

/// Waits until the stream has playlists, and reads the current one.
pub(crate) fn playlist(lab: &Laboratory) -> Playlist {
    let name = until("the multivariant playlist is there", || {
        let answer = lab.get("/live/demo/index.m3u8");
        (answer.status == 200).then(|| answer.text().lines().last().unwrap().to_owned())
    });
    read(lab, &name)
}

pub(crate) fn read(lab: &Laboratory, name: &str) -> Playlist {
    let text = String::from_utf8(lab.fetch(&format!("/live/demo/{name}"))).unwrap();
    let mut playlist = Playlist { name: name.to_owned(), text: text.clone(), ..Playlist::default() };
    let (mut map, mut open) = (String::new(), Segment::default());
    for line in text.lines() {
        let (tag, value) = line.split_once(':').unwrap_or((line, ""));
        match tag {
            "#EXT-X-TARGETDURATION" => playlist.target_duration_s = value.parse().unwrap(),
            "#EXT-X-PART-INF" => playlist.part_target_s = attribute(value, "PART-TARGET").parse().unwrap(),
            "#EXT-X-MEDIA-SEQUENCE" => playlist.first_msn = value.parse().unwrap(),
            "#EXT-X-MAP" => map = attribute(value, "URI"),
            "#EXT-X-DISCONTINUITY" => open.discontinuity = true,
            "#EXT-X-PART" => open.parts.push((
                attribute(value, "DURATION").parse().unwrap(),
                attribute(value, "URI"),
                value.contains("INDEPENDENT=YES"),
            )),
            "#EXTINF" => open.duration_s = value.trim_end_matches(',').parse().unwrap(),
            "#EXT-X-ENDLIST" => playlist.ended = true,
            _ if !line.starts_with('#') && !line.is_empty() => {
                (open.uri, open.map) = (line.to_owned(), map.clone());
                playlist.segments.push(std::mem::take(&mut open));
            }
            _ => {}
        }
    }
    playlist
}

fn attribute(list: &str, name: &str) -> String {
    let at = list.find(&format!("{name}=")).unwrap() + name.len() + 1;
    let value = &list[at..];
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap().to_owned(),
        None => value.split(',').next().unwrap().to_owned(),
    }
}

/// The rules that hold for every playlist, whatever was published (RFC 8216bis sections in the messages).
pub(crate) fn check_rules(playlist: &Playlist) {
    let Playlist { target_duration_s, part_target_s, .. } = playlist;
    for segment in &playlist.segments {
        let rounded = segment.duration_s.round() as u32;
        assert!(
            rounded <= *target_duration_s,
            "4.4.3.1: EXTINF {} over {target_duration_s}",
            segment.duration_s
        );
        for (index, (duration, uri, independent)) in segment.parts.iter().enumerate() {
            assert!(duration <= part_target_s, "4.4.4.9: {uri} {duration} over {part_target_s}");
            let last = index + 1 == segment.parts.len();
            let full = duration * 100.0 >= part_target_s * 85.0 - 0.01;
            assert!(full || last || *independent, "4.4.4.9: {uri} {duration} of {part_target_s}");
        }
    }
}

/// Fetches what the playlist lists, an epoch a file, and has outside tools look at each. Gives the files.
pub(crate) fn check_media(lab: &Laboratory, playlist: &Playlist) -> Vec<PathBuf> {
    check_rules(playlist);
    let mut epochs: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    let mut current = (String::new(), 0);
    for segment in &playlist.segments {
        let init = lab.fetch(&format!("/live/demo/{}", segment.map));
        let bytes = lab.fetch(&format!("/live/demo/{}", segment.uri));
        check_segment(lab, segment, &init, &bytes);
        if current.0 != segment.map {
            current = (segment.map.clone(), current.1 + 1);
            epochs.insert(current.1, init);
        }
        epochs.entry(current.1).or_default().extend_from_slice(&bytes);
    }
    let files = epochs.into_iter().map(|(number, bytes)| {
        let path = lab.dir.join(format!("{}-{number}.mp4", playlist.name));
        fs::write(&path, bytes).unwrap();
        path
    });
    let files: Vec<PathBuf> = files.collect();
    files.iter().for_each(|file| check_decodes(file));
    files
}

/// Each segment begins with a keyframe, decodes alone, and its parts are its bytes.
fn check_segment(lab: &Laboratory, segment: &Segment, init: &[u8], bytes: &[u8]) {
    let boxes = boxes(bytes);
    assert!(
        boxes.iter().all(|name| ["styp", "moof", "mdat"].contains(&name.as_str())),
        "{}: {boxes:?}",
        segment.uri
    );
    if !segment.parts.is_empty() {
        let parts: Vec<u8> =
            segment.parts.iter().flat_map(|(_, uri, _)| lab.fetch(&format!("/live/demo/{uri}"))).collect();
        assert_eq!(parts, bytes, "{} is not its parts", segment.uri);
    }
    let path = lab.dir.join("segment.mp4");
    fs::write(&path, [init, bytes].concat()).unwrap();
    let packets = probe(&path, &["-show_entries", "packet=codec_type,flags", "-of", "csv=p=0"]);
    let first = packets.lines().find(|line| line.starts_with("video"));
    assert!(first.is_none_or(|line| line.contains(",K")), "{} begins with {first:?}", segment.uri);
}

/// Reads every top-level box with an outside parser; gives their names.
fn boxes(bytes: &[u8]) -> Vec<String> {
    use mp4_atom::{Any, ReadFrom};
    let mut rest = std::io::Cursor::new(bytes);
    let mut names = Vec::new();
    while let Some(atom) = Option::<Any>::read_from(&mut rest).unwrap() {
        names.push(atom.kind().to_string());
    }
    names
}

/// The whole epoch decodes without a word, and its decoding times only grow.
fn check_decodes(path: &Path) {
    let decoded = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&decoded.stderr);
    assert!(decoded.status.success() && words.is_empty(), "{}: {words}", path.display());
    let packets = probe(path, &["-show_entries", "packet=stream_index,dts", "-of", "csv=p=0"]);
    let mut last: BTreeMap<&str, i64> = BTreeMap::new();
    for line in packets.lines() {
        let (stream, dts) = line.split_once(',').unwrap();
        let dts = dts.trim_end_matches(',').parse().unwrap();
        if let Some(before) = last.insert(stream, dts) {
            assert!(dts > before, "{}: {dts} after {before}", path.display());
        }
    }
}

/// Each flash has a beep within the bound; at least `least` were seen.
pub(crate) fn check_sync(path: &Path, least: usize) {
    let (flashes, beeps) = (flashes(path), beeps(path));
    let mut pairs = 0;
    for flash in &flashes {
        let Some(beep) = beeps.iter().min_by(|a, b| (**a - flash).abs().total_cmp(&(**b - flash).abs()))
        else {
            break;
        };
        let apart = (beep - flash) * 1000.0;
        // A flash whose beep lies in another epoch has none here.
        if apart.abs() < 500.0 {
            assert!(apart.abs() <= SYNC_MS, "{}: beep {apart:.1} ms after flash at {flash}", path.display());
            pairs += 1;
        }
    }
    assert!(pairs >= least, "{}: {pairs} pairs; flashes {flashes:?}, beeps {beeps:?}", path.display());
}

/// Seconds at which the picture turns white.
fn flashes(path: &Path) -> Vec<f64> {
    let graph = format!("movie={},signalstats", path.display());
    let entries = "frame=pts_time:frame_tags=lavfi.signalstats.YAVG";
    onsets(&probe_graph(&graph, entries), 120.0)
}

/// Seconds at which the sound begins: the first 5 ms that are loud.
fn beeps(path: &Path) -> Vec<f64> {
    let graph = format!("amovie={},asetnsamples=n=240:p=0,astats=metadata=1:reset=1", path.display());
    let entries = "frame=pts_time:frame_tags=lavfi.astats.Overall.RMS_level";
    onsets(&probe_graph(&graph, entries), -25.0)
}

fn onsets(lines: &str, threshold: f64) -> Vec<f64> {
    let (mut found, mut above) = (Vec::new(), false);
    for line in lines.lines() {
        let Some((time, level)) = line.split_once(',') else { continue };
        let (Ok(time), Ok(level)) = (time.parse(), level.trim_end_matches(',').parse::<f64>()) else {
            continue;
        };
        if level > threshold && !above {
            found.push(time);
        }
        above = level > threshold;
    }
    found
}

fn probe_graph(graph: &str, entries: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-f", "lavfi", "-i", graph, "-show_entries", entries, "-of", "csv=p=0"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn probe(path: &Path, args: &[&str]) -> String {
    let output = Command::new("ffprobe").args(["-v", "error"]).args(args).arg(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
