//! A stream by HLS: a reader goes along the playlist and fetches segments; a player gives what is in them to the
//! publication as it is due, since whole segments at once would make viewers here wait and hurry by turns.
//!
//! ```text
//! playlist, segments <- fetch <- read (what is new: walk) -> one segment waits -> play (when it is due: pace) -> Supply
//! ```
//! Taken are MPEG-TS segments with H.264 and AAC in them, without encryption, all from the playlist's own host. Refuses
//! everything else in plain words.

mod fetch;
mod pace;
mod walk;

use std::time::Duration;

use http::Uri;
use ingest::Event;
use ingest::ts::{Segments, TimedEvent};
use serve::SourceState;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use self::fetch::{FetchError, Fetcher};
use self::pace::Pace;
use self::walk::{Piece, Walk};
use super::Pulled;
use super::supply::{End, Supply};
use crate::lint::{MediaPlaylist, Playlist, parse, resolve};

const PLAYLIST_BYTES_MAX: u64 = 1 << 20;
const SEGMENT_BYTES_MAX: u64 = 24 << 20;
const PLAYLIST_PATIENCE: Duration = Duration::from_secs(10);
const SEGMENT_PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at a playlist; its own target duration lies in between.
const RELOAD_MIN: Duration = Duration::from_millis(500);
const RELOAD_MAX: Duration = Duration::from_secs(10);
/// Between two looks for a playlist that is not there.
const ABSENT_RELOAD: Duration = Duration::from_secs(3);
/// A playlist that does not change for so many target durations, and this long, is over.
const STALE_TARGETS: u32 = 3;
const STALE_MIN: Duration = Duration::from_secs(12);
/// A longer one is not believed.
const TARGET_S_MAX: u64 = 60;
/// Multivariant playlists that may lead to each other.
const HOPS_MAX: u32 = 3;
/// Fetches in a row that may fail.
const MISSES_MAX: u32 = 4;
/// What is due within this is given together.
const TOGETHER: Duration = Duration::from_millis(20);

/// What the reader hands to the player.
enum Batch {
    Segment {
        /// It begins a timeline of its own.
        fresh: bool,
        units: Vec<TimedEvent>,
        /// Segments that the server has besides.
        behind: usize,
    },
    /// The playlist says that nothing follows.
    End,
}

/// Along one playlist, to its end.
pub(super) async fn pull(pulled: &Pulled, url: &Uri, supply: &mut Supply) -> End {
    let fetcher = match Fetcher::new(pulled) {
        Ok(fetcher) => fetcher,
        Err(error) => return End::Failed(error.to_string()),
    };
    let (batches, inbox) = mpsc::channel(1);
    let mut reader = Reader { pulled, fetcher, segments: Segments::new(), walk: Walk::default(), misses: 0 };
    tokio::select! {
        end = reader.read(url.to_string(), batches) => end,
        end = play(inbox, supply) => end,
    }
}

struct Reader<'a> {
    pulled: &'a Pulled,
    fetcher: Fetcher,
    segments: Segments,
    walk: Walk,
    misses: u32,
}

impl Reader<'_> {
    /// Ends with what makes it end; after the last segment it waits for the player.
    async fn read(&mut self, url: String, batches: mpsc::Sender<Batch>) -> End {
        match self.follow(url, &batches).await {
            Err(end) => end,
            Ok(()) => {
                let _ = batches.send(Batch::End).await;
                std::future::pending().await
            }
        }
    }

    /// Until the playlist ends. One that has ended at the first look is of a stream that is over.
    async fn follow(&mut self, mut url: String, batches: &mpsc::Sender<Batch>) -> Result<(), End> {
        let (mut changed, mut hops) = (Instant::now(), 0);
        loop {
            let looked = Instant::now();
            let Some(text) = self.playlist(&mut url).await? else {
                self.ensure_going(changed, Duration::ZERO)?;
                sleep(ABSENT_RELOAD).await;
                continue;
            };
            let playlist = match understand(&text)? {
                Playlist::Media(playlist) => playlist,
                Playlist::Multivariant(_) if hops == HOPS_MAX => {
                    return Err(End::Failed("its multivariant playlists lead nowhere".to_owned()));
                }
                Playlist::Multivariant(multivariant) => {
                    url = variant(&url, multivariant)?;
                    hops += 1;
                    continue;
                }
            };
            hops = 0;
            let pieces = self.walk.next(&playlist);
            let fruitless = pieces.is_empty();
            let target = Duration::from_secs(playlist.target_duration.unwrap_or(1).clamp(1, TARGET_S_MAX));
            if fruitless && !playlist.ended {
                self.ensure_going(changed, target * STALE_TARGETS)?;
            } else {
                changed = looked;
            }
            self.take(&url, pieces, batches).await?;
            if playlist.ended && self.walk.has_begun() {
                return Ok(());
            }
            // RFC 8216 6.3.4: a target duration from one look to the next, half of it when nothing was new.
            let wait = if fruitless { target / 2 } else { target };
            sleep_until(looked + wait.clamp(RELOAD_MIN, RELOAD_MAX)).await;
        }
    }

    /// What had begun, and does not go on, is over. What has not begun is waited for.
    fn ensure_going(&self, changed: Instant, patience: Duration) -> Result<(), End> {
        if !self.walk.has_begun() {
            self.pulled.wait_for("the server has no playlist that goes on");
            return Ok(());
        }
        if changed.elapsed() > STALE_MIN.max(patience) { Err(End::Over) } else { Ok(()) }
    }

    /// The text; none while there is none. Redirects are followed by the address for good.
    async fn playlist(&mut self, url: &mut String) -> Result<Option<String>, End> {
        match self.fetcher.get(url.clone(), None, PLAYLIST_BYTES_MAX, PLAYLIST_PATIENCE).await {
            Ok(fetched) => {
                self.misses = 0;
                *url = fetched.url;
                Ok(Some(String::from_utf8_lossy(&fetched.body).into_owned()))
            }
            // A server that waits for its publisher.
            Err(FetchError::Status(404)) => Ok(None),
            Err(error) => self.miss(error).map(|()| None),
        }
    }

    fn miss(&mut self, error: FetchError) -> Result<(), End> {
        self.misses += 1;
        if error.is_final() || self.misses > MISSES_MAX {
            return Err(End::Failed(error.to_string()));
        }
        tracing::debug!(stream.id = %self.pulled.wanted.name, %error, "a fetch failed");
        Ok(())
    }

    /// Fetches what is new, and hands it over as there is room.
    async fn take(
        &mut self,
        base: &str,
        pieces: Vec<Piece>,
        batches: &mpsc::Sender<Batch>,
    ) -> Result<(), End> {
        let count = pieces.len();
        for (index, piece) in pieces.into_iter().enumerate() {
            if piece.fresh {
                self.segments = Segments::new();
            }
            let url = resolve(base, &piece.uri);
            let fetched = self.fetcher.get(url, piece.range, SEGMENT_BYTES_MAX, SEGMENT_PATIENCE).await;
            let body = match fetched {
                Ok(fetched) => fetched.body,
                Err(error) => {
                    // What was missed is a hole, which the timeline knows.
                    self.miss(error)?;
                    continue;
                }
            };
            self.misses = 0;
            let units = self.segments.handle_segment(&body);
            let units = units.map_err(|refusal| End::Failed(refusal.to_string()))?;
            let batch = Batch::Segment { fresh: piece.fresh, units, behind: count - index - 1 };
            if batches.send(batch).await.is_err() {
                return Err(End::Over);
            }
        }
        Ok(())
    }
}

/// Gives units as they are due.
async fn play(mut inbox: mpsc::Receiver<Batch>, supply: &mut Supply) -> End {
    let opened = Instant::now();
    let mut pace = Pace::default();
    let mut due_together: Vec<Event> = Vec::new();
    loop {
        let batch = tokio::select! {
            end = supply.revoked() => return end,
            batch = inbox.recv() => batch,
        };
        let Some(Batch::Segment { fresh, units, behind }) = batch else { return End::Over };
        if fresh {
            // Another timeline: for viewers here it is as if the publisher had come anew.
            supply.close(&End::Over);
            pace = Pace::default();
        }
        for TimedEvent { at_ms, event } in units {
            let now_ms = elapsed_ms(opened);
            let due_ms = pace.due(at_ms, now_ms, behind);
            let due = opened + Duration::from_millis(due_ms);
            if due > Instant::now() + TOGETHER {
                if let Err(end) = supply.accept(&mut due_together) {
                    return end;
                }
                tokio::select! {
                    end = supply.revoked() => return end,
                    () = sleep_until(due) => {}
                }
            }
            due_together.push(event);
        }
        if let Err(end) = supply.accept(&mut due_together) {
            return end;
        }
    }
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What the text is, unless it is nothing that can be taken.
fn understand(text: &str) -> Result<Playlist, End> {
    let no = |why: &str| Err(End::Failed(why.to_owned()));
    let encrypted = |line: &str| line.starts_with("#EXT-X-KEY:") && !line.contains("METHOD=NONE");
    if text.lines().any(encrypted) {
        return no("its segments are encrypted");
    }
    match parse(text).0 {
        None => no("what the server sends is no playlist"),
        Some(Playlist::Media(playlist)) if is_fragmented(&playlist) => {
            no("its segments are fragmented MP4: set the server to MPEG-TS, or pull by RTMP")
        }
        Some(playlist) => Ok(playlist),
    }
}

fn is_fragmented(playlist: &MediaPlaylist) -> bool {
    playlist.segments.iter().any(|segment| segment.map.is_some())
}

/// The best of a multivariant playlist: nothing is transcoded here, and viewers get what comes.
fn variant(base: &str, multivariant: crate::lint::Multivariant) -> Result<String, End> {
    let whole = multivariant.variants.into_iter().filter(|variant| !variant.separate_audio);
    let best = whole.max_by_key(|variant| variant.bandwidth);
    let best = best.ok_or_else(|| End::Failed("its sound is in playlists of its own".to_owned()))?;
    Ok(resolve(base, &best.uri))
}

impl Pulled {
    /// The server is there, and says why nothing comes.
    fn wait_for(&self, why: &str) {
        let mut standing = self.standing();
        (standing.state, standing.trouble) = (SourceState::Waiting, Some(why.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        match understand(text) {
            Err(End::Failed(why)) => assert_eq!(why, expected),
            other => panic!("{}: {:?}", text, other.map(|_| ())),
        }
    }

    #[test]
    fn what_cant_be_taken_is_said() {
        check("<html>", "what the server sends is no playlist");
        let head = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n";
        check(
            &format!("{head}#EXT-X-MAP:URI=\"i.mp4\"\n#EXTINF:2,\n0.m4s\n"),
            "its segments are fragmented MP4: set the server to MPEG-TS, or pull by RTMP",
        );
        check(
            &format!("{head}#EXT-X-KEY:METHOD=AES-128,URI=\"k\"\n#EXTINF:2,\n0.ts\n"),
            "its segments are encrypted",
        );
        let open = format!("{head}#EXT-X-KEY:METHOD=NONE\n#EXTINF:2,\n0.ts\n");
        assert!(matches!(understand(&open), Ok(Playlist::Media(_))));
    }

    #[test]
    fn the_best_variant_that_is_whole_is_taken() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlow.m3u8\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=3000,AUDIO=\"a\"\nsplit.m3u8\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=2000\n/live/high.m3u8?hls_ctx=7\n";
        let Ok(Playlist::Multivariant(multivariant)) = understand(text) else { panic!("not understood") };
        let url = variant("http://srs.example:8080/live/ana.m3u8?k=1", multivariant).unwrap();
        assert_eq!(url, "http://srs.example:8080/live/high.m3u8?hls_ctx=7");
    }
}
