//! Following one stream from the live edge on, by blocking playlist reload (RFC 8216bis, 6.2.5.2).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::playlist::{self, Media, Part, Place};
use super::{Reader, Sample, Tally};
use crate::stop::Stop;

/// A daemon may hold a request for 10 s until the first group of pictures is whole.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// Between two tries after an answer that was no media.
const RETRY: Duration = Duration::from_millis(300);

/// For a playlist that does not say how far behind a player is to stay: three parts.
const HOLD_BACK_S: f64 = 0.6;

/// How much media is kept for the judgement.
const SAMPLE_S: f64 = 6.0;
const SAMPLE_BYTES_MAX: usize = 64 << 20;

pub(super) struct Follower {
    reader: Reader,
    multivariant: String,
    tally: Arc<Mutex<Tally>>,
    stop: Stop,
    /// The first part not yet read.
    next: Option<Place>,
    map: Option<(String, Vec<u8>)>,
    growing: Option<Sample>,
    whole: Option<Sample>,
}

impl Follower {
    pub(super) fn new(http_url: &str, stream: &str, tally: Arc<Mutex<Tally>>, stop: Stop) -> Follower {
        Follower {
            reader: Reader::new(REQUEST_LIMIT),
            multivariant: format!("{http_url}/live/{stream}/index.m3u8"),
            tally,
            stop,
            next: None,
            map: None,
            growing: None,
            whole: None,
        }
    }

    /// Reads until a stop is wanted; returns the last whole sample, or the longest there is.
    pub(super) fn run(mut self) -> Option<Sample> {
        while !self.stop.wanted() {
            if let Err(error) = self.follow_playlist() {
                self.count(|tally| {
                    // Before the first part there may be nothing to read yet, which is nobody's fault.
                    tally.faults += u64::from(tally.parts > 0);
                    tally.last_fault = Some(format!("{error:#}"));
                });
                self.stop.wait(RETRY);
            }
        }
        self.whole.or(self.growing)
    }

    /// One media playlist, from asking which it is to its end.
    fn follow_playlist(&mut self) -> Result<()> {
        let text = self.reader.fetch_text(&self.multivariant)?;
        let variant = playlist::first_variant(&text).context("the multivariant playlist names no variant")?;
        let url = playlist::resolve(&self.multivariant, variant);
        let mut media = self.reload(&url)?;
        loop {
            let unread = self.unread(&media);
            let begins = !self.has_begun();
            for part in &unread {
                self.read(&url, part)?;
            }
            let hold_back_s = media.part_hold_back_s.unwrap_or(HOLD_BACK_S);
            let read_s: f64 = unread.iter().map(|part| part.duration_s).sum();
            self.count(|tally| {
                if begins && read_s > 0.0 {
                    tally.pace.begin(read_s, hold_back_s, Instant::now());
                }
                if media.ended && unread.is_empty() {
                    tally.ended = true;
                    tally.pace.end(Instant::now());
                }
            });
            // Nothing more comes, or the answer came without anything new: no reason to ask again at once.
            if unread.is_empty() || media.ended {
                self.stop.wait(RETRY);
            }
            if media.ended || self.stop.wanted() {
                return Ok(());
            }
            let Place { msn, part } = media.next;
            media = self.reload(&format!("{url}?_HLS_msn={msn}&_HLS_part={part}"))?;
        }
    }

    fn reload(&self, url: &str) -> Result<Media> {
        let text = self.reader.fetch_text(url)?;
        self.count(|tally| tally.playlists += 1);
        Ok(playlist::media(&text))
    }

    /// What to read next: everything after the last part read, or on the first look from the last keyframe on that is
    /// as far from the end as a player stays.
    fn unread(&self, media: &Media) -> Vec<Part> {
        let Some(first) = self.next.or_else(|| first_place(media)) else { return Vec::new() };
        media.parts.iter().filter(|part| part.place >= first).cloned().collect()
    }

    fn has_begun(&self) -> bool {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).pace.has_begun()
    }

    fn read(&mut self, playlist_url: &str, part: &Part) -> Result<()> {
        // Whatever becomes of it, it is asked for once.
        self.next = Some(Place { msn: part.place.msn, part: part.place.part + 1 });
        if part.gap {
            // A player shows nothing of it and goes on behind it.
            self.growing = None;
            self.count(|tally| {
                tally.gaps += 1;
                tally.pace.add(part.duration_s, Instant::now());
            });
            return Ok(());
        }
        let map_url = playlist::resolve(playlist_url, &part.map);
        if self.map.as_ref().is_none_or(|(url, _)| *url != map_url) {
            let bytes = self.reader.fetch(&map_url)?;
            self.count(|tally| tally.epochs += 1);
            self.map = Some((map_url, bytes));
            self.growing = None;
        }
        let bytes = self.reader.fetch(&playlist::resolve(playlist_url, &part.uri));
        if bytes.is_err() {
            self.growing = None;
        }
        let bytes = bytes?;
        self.count(|tally| {
            tally.parts += 1;
            tally.bytes += bytes.len() as u64;
            tally.media_s += part.duration_s;
            tally.pace.add(part.duration_s, Instant::now());
        });
        self.keep(part, &bytes);
        Ok(())
    }

    fn keep(&mut self, part: &Part, bytes: &[u8]) {
        if self
            .growing
            .as_ref()
            .is_some_and(|sample| sample.media_s >= SAMPLE_S || sample.bytes.len() > SAMPLE_BYTES_MAX)
        {
            self.whole = self.growing.take();
        }
        if self.growing.is_none() && part.independent {
            let init = self.map.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
            self.growing = Some(Sample { bytes: init, media_s: 0.0 });
        }
        if let Some(sample) = &mut self.growing {
            sample.bytes.extend_from_slice(bytes);
            sample.media_s += part.duration_s;
        }
    }

    fn count(&self, change: impl FnOnce(&mut Tally)) {
        change(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

fn first_place(media: &Media) -> Option<Place> {
    let hold_back_s = media.part_hold_back_s.unwrap_or(0.0);
    let mut behind_s = 0.0;
    let mut newest = None;
    for part in media.parts.iter().rev() {
        behind_s += part.duration_s;
        if part.independent {
            newest = newest.or(Some(part.place));
            if behind_s >= hold_back_s {
                return Some(part.place);
            }
        }
    }
    newest
}

#[cfg(test)]
mod tests;
