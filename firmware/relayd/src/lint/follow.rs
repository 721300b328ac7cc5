//! Follows one variant of a live stream as a player would, and hands what it sees to the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::lint::bandwidth::{self, Rates};
use crate::lint::content::Content;
use crate::lint::fetch::{Client, Response, resolve, with_query};
use crate::lint::history::{History, listed_parts};
use crate::lint::m3u8::{self, Breach, Map, MediaPlaylist, Part, Playlist, Range, Segment, Variant};
use crate::lint::report::Report;
use crate::lint::rule::Rule;
use crate::lint::{blocking, delta};

/// How long an answer of 503 with Retry-After is waited for, as players do while the first group is made.
const HELD: Duration = Duration::from_secs(15);
const PATIENCE: Duration = Duration::from_secs(15);
/// Segments of the first playlist that are fetched, from its end.
const BACKLOG_SEGMENTS: usize = 3;
/// Objects that are fetched again at the end.
const KEPT_MAX: usize = 8;
/// Preload hints that are fetched before their part is listed.
const HINTS_MAX: u32 = 3;
/// How often the full playlist and its delta update are asked for beside blocking reloads.
const DELTA_EVERY: Duration = Duration::from_secs(3);
/// A server that does not hold requests is asked no faster than this.
const EARLY_PAUSE: Duration = Duration::from_millis(200);
/// Different breaches that are told apart; beyond that each is counted.
const TOLD_MAX: usize = 1 << 14;
/// Media playlist URIs that are followed one after the other.
const URIS_MAX: u64 = 64;

pub(crate) struct Follower<'a> {
    client: &'a Client,
    report: &'a mut Report,
    begun: Instant,
    until: Instant,
    told: BTreeSet<(Rule, String)>,
    content: Content,
    rates: Rates,
    variant: Option<Variant>,
    target_duration: f64,
    /// The media sequence number behind the last segment that was fetched.
    fetched_msn: Option<u64>,
    part_bytes: BTreeMap<(u64, usize), Vec<u8>>,
    kept: BTreeMap<String, (Option<Range>, u64)>,
    hints: u32,
    delta_at: Option<Instant>,
}

/// Why following one media playlist URI ended.
enum Followed {
    TimeIsUp,
    /// ENDLIST, or the URI is gone: the multivariant playlist may know a new one.
    Over,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(client: &'a Client, report: &'a mut Report, seconds: u64) -> Self {
        let begun = Instant::now();
        Self {
            client,
            report,
            begun,
            until: begun + Duration::from_secs(seconds),
            told: BTreeSet::new(),
            content: Content::default(),
            rates: Rates::default(),
            variant: None,
            target_duration: 0.0,
            fetched_msn: None,
            part_bytes: BTreeMap::new(),
            kept: BTreeMap::new(),
            hints: 0,
            delta_at: None,
        }
    }

    /// Follows what is at a URL, from one media playlist to the next if the multivariant playlist names another.
    pub(crate) fn run(mut self, url: &str, variant: usize) -> anyhow::Result<()> {
        let mut media_url = String::new();
        for _ in 0..URIS_MAX {
            let (next_url, first) = self.enter(url, variant)?;
            if next_url == media_url {
                break;
            }
            media_url = next_url;
            self.report.looked_at.media_playlist_uris += 1;
            match self.follow(&media_url, first)? {
                Followed::Over if media_url != url => {}
                Followed::Over | Followed::TimeIsUp => break,
            }
        }
        self.refetch();
        self.conclude();
        Ok(())
    }

    fn tell(&mut self, breaches: impl IntoIterator<Item = Breach>) {
        for Breach { rule, what } in breaches {
            let known = self.told.len() < TOLD_MAX && !self.told.insert((rule, what.clone()));
            if !known {
                self.report.add(rule, what);
            }
        }
    }

    /// The media playlist's URL, and the playlist itself if the URL that was given is already one.
    fn enter(&mut self, url: &str, variant: usize) -> anyhow::Result<(String, Option<MediaPlaylist>)> {
        let playlist = self.playlist(url)?;
        match playlist {
            Playlist::Media(media) => Ok((url.to_owned(), Some(media))),
            Playlist::Multivariant(multivariant) => {
                let count = multivariant.variants.len();
                let chosen = multivariant.variants.into_iter().nth(variant);
                let chosen = chosen.with_context(|| format!("no variant {variant}, there are {count}"))?;
                let media_url = resolve(url, &chosen.uri);
                self.variant = Some(chosen);
                Ok((media_url, None))
            }
        }
    }

    /// Gets a playlist, waiting while it is held.
    fn playlist(&mut self, url: &str) -> anyhow::Result<Playlist> {
        let deadline = Instant::now() + HELD;
        loop {
            let response = self.client.get(url, PATIENCE)?;
            if response.ok() {
                let playlist = self.read(url, &response);
                return playlist.with_context(|| format!("{url} is no playlist"));
            }
            let wait = response.retry_after_s.filter(|_| response.status == 503);
            let Some(wait) = wait.filter(|_| Instant::now() < deadline) else {
                bail!("{url} got {}", response.status);
            };
            std::thread::sleep(Duration::from_secs(wait.min(2)));
        }
    }

    fn read(&mut self, url: &str, response: &Response) -> Option<Playlist> {
        self.report.looked_at.playlists += 1;
        let mime = response.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !matches!(mime.as_str(), "application/vnd.apple.mpegurl" | "audio/mpegurl") {
            self.tell([Breach::new(Rule::ContentType, format!("{url} is {:?}", response.content_type))]);
        }
        let Ok(text) = std::str::from_utf8(&response.body) else {
            self.tell([Breach::new(Rule::Syntax, "not UTF-8 (4.1)")]);
            return None;
        };
        let (playlist, breaches) = m3u8::parse(text);
        self.tell(breaches);
        if let Some(Playlist::Media(media)) = &playlist {
            let age = response.max_age_s().unwrap_or(0);
            // The answer to a blocking reload names what it holds, and may be kept (RFC 8216bis B.1).
            if !url.contains("_HLS_msn") && !media.ended && age as f64 > media.target().max(1.0) {
                let what = format!("max-age={age}, target duration {}", media.target());
                self.tell([Breach::new(Rule::StaleCache, what)]);
            }
        }
        playlist
    }

    fn follow(&mut self, url: &str, first: Option<MediaPlaylist>) -> anyhow::Result<Followed> {
        let mut playlist = match first {
            Some(playlist) => playlist,
            None => match self.playlist(url)? {
                Playlist::Media(media) => media,
                Playlist::Multivariant(_) => bail!("{url} is a multivariant playlist again"),
            },
        };
        let mut history = History::new(&playlist, self.now());
        let mut refusals = false;
        loop {
            self.target_duration = self.target_duration.max(playlist.target());
            let shape = crate::lint::shape::check(&playlist);
            self.tell(shape);
            self.fetch_media(url, &playlist);
            if playlist.ended {
                return Ok(Followed::Over);
            }
            if playlist.control.can_block_reload && !refusals {
                refusals = true;
                let breaches = blocking::check_refusals(self.client, url, &playlist);
                self.tell(breaches);
            }
            self.check_hint(url, &playlist);
            self.check_delta(url, &mut history);
            if Instant::now() >= self.until {
                return Ok(Followed::TimeIsUp);
            }
            match self.reload(url, &playlist)? {
                None => return Ok(Followed::Over),
                Some(next) => playlist = next,
            }
            let breaches = history.update(&playlist, self.now());
            self.tell(breaches);
        }
    }

    fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// The playlist's next version; none if its URI is gone.
    fn reload(&mut self, url: &str, playlist: &MediaPlaylist) -> anyhow::Result<Option<MediaPlaylist>> {
        let target = Duration::from_secs_f64(playlist.target().clamp(0.5, 60.0));
        let asked = playlist.control.can_block_reload.then(|| blocking::next(playlist));
        let asked_url = asked.map_or(url.to_owned(), |next| with_query(url, &blocking::query(next)));
        let patience = if asked.is_some() { target * 3 + PATIENCE } else { PATIENCE };
        if asked.is_some() {
            self.report.looked_at.blocking_reloads += 1;
        } else {
            std::thread::sleep((target / 2).min(Duration::from_secs(2)));
        }
        let response = self.client.get(&asked_url, patience)?;
        match response.status {
            404 | 410 => return Ok(None),
            200 | 206 => {}
            status => {
                let rule = if asked.is_some() { Rule::BlockingFailed } else { Rule::Http };
                let what = format!("{url} got {status} after {:.1} s", response.took.as_secs_f64());
                self.tell([Breach::new(rule, what)]);
                std::thread::sleep(Duration::from_secs(response.retry_after_s.unwrap_or(1).clamp(1, 2)));
                return Ok(Some(playlist.clone()));
            }
        }
        let Some(Playlist::Media(next)) = self.read(&asked_url, &response) else {
            bail!("{url} is no media playlist any more");
        };
        if let Some(asked) = asked.filter(|asked| !blocking::answers(&next, *asked)) {
            self.tell([Breach::new(
                Rule::BlockingEarly,
                format!("?{} was not in the answer", blocking::query(asked)),
            )]);
            std::thread::sleep(EARLY_PAUSE);
        }
        Ok(Some(next))
    }

    /// Fetches what is new: of the first playlist only its end, or all of it if it has ended.
    fn fetch_media(&mut self, url: &str, playlist: &MediaPlaylist) {
        let backlog = playlist.segments.len().saturating_sub(BACKLOG_SEGMENTS);
        let backlog = if playlist.ended { 0 } else { backlog };
        let first = playlist.segments.get(backlog).map_or(playlist.next_msn(), |segment| segment.msn);
        let from = self.fetched_msn.unwrap_or(first);
        for segment in playlist.segments.iter().filter(|segment| segment.msn >= from && !segment.gap) {
            self.fetch_parts(url, segment.msn, &segment.parts, segment.map.as_ref());
            self.fetch_segment(url, segment);
        }
        self.fetched_msn = Some(from.max(playlist.next_msn()));
        let map = playlist.segments.last().and_then(|segment| segment.map.as_ref());
        self.fetch_parts(url, playlist.next_msn(), &playlist.open_parts, map);
    }

    fn fetch_map(&mut self, base: &str, map: &Map) {
        if self.content.knows_map(map) {
            return;
        }
        let Some(bytes) = self.object(base, &map.uri, map.range) else { return };
        let added = self.content.add_map(map, &bytes);
        self.tell(added.err());
    }

    fn fetch_segment(&mut self, base: &str, segment: &Segment) {
        if let Some(map) = &segment.map {
            self.fetch_map(base, map);
        }
        let Some(bytes) = self.object(base, &segment.uri, segment.range) else { return };
        self.report.looked_at.segments += 1;
        self.rates.add(bytes.len() as u64, segment.duration);
        let breaches = self.content.segment(segment, &bytes);
        self.tell(breaches);
        let parts: Vec<Vec<u8>> = (0..segment.parts.len())
            .filter_map(|index| self.part_bytes.remove(&(segment.msn, index)))
            .collect();
        if !parts.is_empty() && parts.len() == segment.parts.len() && parts.concat() != bytes {
            let (whole, parts) = (bytes.len(), parts.concat().len());
            let what = format!("{}: {whole} bytes, its parts {parts}, or others", segment.uri);
            self.tell([Breach::new(Rule::PartsDiffer, what)]);
        }
        self.part_bytes.retain(|(msn, _), _| *msn > segment.msn);
    }

    fn fetch_parts(&mut self, base: &str, msn: u64, parts: &[Part], map: Option<&Map>) {
        for (index, part) in parts.iter().enumerate().filter(|(_, part)| !part.gap) {
            if self.part_bytes.contains_key(&(msn, index)) {
                continue;
            }
            if let Some(map) = map {
                self.fetch_map(base, map);
            }
            let Some(bytes) = self.object(base, &part.uri, part.range) else { continue };
            self.report.looked_at.parts += 1;
            let breaches = self.content.part(part, map, &bytes);
            self.tell(breaches);
            self.part_bytes.insert((msn, index), bytes);
        }
    }

    /// One media object, with what HTTP says about it.
    fn object(&mut self, base: &str, uri: &str, range: Option<Range>) -> Option<Vec<u8>> {
        let url = resolve(base, uri);
        let response = match self.client.get_range(&url, range.map(|r| (r.offset, r.length)), PATIENCE) {
            Ok(response) if response.ok() => response,
            Ok(response) => {
                self.tell([Breach::new(Rule::Http, format!("{uri} got {}", response.status))]);
                return None;
            }
            Err(error) => {
                self.tell([Breach::new(Rule::Http, format!("{uri}: {error:#}"))]);
                return None;
            }
        };
        if response.max_age_s().unwrap_or(0) == 0 {
            let what = format!("Cache-Control: {:?} for media such as {uri}", response.cache_control);
            if !self.told.iter().any(|(rule, _)| *rule == Rule::MediaCache) {
                self.tell([Breach::new(Rule::MediaCache, what)]);
            }
        }
        self.report.looked_at.media_bytes += response.body.len() as u64;
        if self.kept.len() < KEPT_MAX {
            self.kept.insert(url, (range, hash(&response.body)));
        }
        Some(response.body)
    }

    /// Asks for a hinted part before it is listed: it may be held, but has to come, and to be what is listed then.
    fn check_hint(&mut self, url: &str, playlist: &MediaPlaylist) {
        let Some(hint) = playlist.hint.as_deref().filter(|_| self.hints < HINTS_MAX) else { return };
        self.hints += 1;
        let patience = Duration::from_secs_f64(playlist.target().clamp(1.0, 20.0)) * 2;
        let answer = self.client.get(&resolve(url, hint), patience);
        let Ok(Playlist::Media(after)) = self.playlist(url) else { return };
        let listed = listed_parts(&after).any(|(_, part)| part.uri == hint);
        let wrong = match answer {
            Ok(response) if response.ok() && listed => return,
            // A plan may change: then nothing has that name (RFC 8216bis 6.2.6).
            Ok(response) if response.status == 404 && !listed => return,
            Ok(response) if response.ok() => format!("{hint} came, but is not listed"),
            Ok(response) => format!("{hint} got {}, but is listed", response.status),
            Err(error) => format!("{hint}: {error:#}"),
        };
        if !after.ended {
            self.tell([Breach::new(Rule::Hint, wrong)]);
        }
    }

    fn check_delta(&mut self, url: &str, history: &mut History) {
        if self.delta_at.is_some_and(|at| at.elapsed() < DELTA_EVERY) {
            return;
        }
        self.delta_at = Some(Instant::now());
        let Ok(Playlist::Media(full)) = self.playlist(url) else { return };
        let breaches = history.update(&full, self.now());
        self.tell(breaches);
        if full.control.can_skip_until.is_none() {
            return;
        }
        let Ok(response) = self.client.get(&with_query(url, "_HLS_skip=YES"), PATIENCE) else { return };
        if !response.ok() {
            self.tell([Breach::new(Rule::Delta, format!("?_HLS_skip=YES got {}", response.status))]);
        } else if let Some(Playlist::Media(update)) = self.read(url, &response) {
            self.tell(delta::check(&full, &update));
        }
    }

    /// The same URI has to give the same bytes for as long as it gives any.
    fn refetch(&mut self) {
        for (url, (range, before)) in std::mem::take(&mut self.kept) {
            let range = range.map(|range| (range.offset, range.length));
            let Ok(again) = self.client.get_range(&url, range, PATIENCE) else { continue };
            if again.ok() && hash(&again.body) != before {
                self.tell([Breach::new(Rule::Immutable, url)]);
            }
        }
    }

    fn conclude(&mut self) {
        if let Some(variant) = self.variant.take() {
            let rates = self.rates.check(&variant, self.target_duration);
            self.tell(rates);
            if !variant.separate_audio {
                let codecs = bandwidth::check_codecs(&variant, &self.content.codecs);
                self.tell(codecs);
            }
        }
        let looked_at = &mut self.report.looked_at;
        looked_at.seconds = self.begun.elapsed().as_secs_f64();
        looked_at.peak_bps = self.rates.peak_bps(self.target_duration) as u64;
        looked_at.av_offset_ms_max = self.content.av_offset_max.millis();
        if looked_at.segments == 0 {
            self.tell([Breach::new(Rule::Media, "no segment could be looked at")]);
        }
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
