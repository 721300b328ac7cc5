//! Making a window again after a restart, from what the shell kept: headers, records, and a memo of what can't be
//! read off them.
//!
//! What comes back goes through the same checks as what comes new. It refuses to guess: if the numbers do not go on
//! where they ended, the old playlist gets its ENDLIST and the next epoch a new one.

use alloc::vec::Vec;

use crate::header::{EpochRecord, PartHeader};
use crate::playlist::PlaylistName;
use crate::window::generation::{Generation, Life, Promise, Rates};
use crate::window::segment::SegmentState;
use crate::window::{Window, WindowError, WindowLimits};

/// What the current playlist has promised, and what was counted over all that ever left the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memo {
    pub playlist: PlaylistName,
    /// The first segment that the playlist ever listed.
    pub first_msn: u64,
    pub target_duration_s: u32,
    pub discontinuities: u64,
    pub next_msn: u64,
    /// The playlist has its ENDLIST.
    pub ended: bool,
}

impl Window {
    /// What must be kept besides headers and records to go on with the current playlist; none while it promises
    /// nothing yet. Worth asking for again whenever the version has changed.
    #[must_use]
    pub fn memo(&self) -> Option<Memo> {
        let current = self.generations.back()?;
        Some(Memo {
            playlist: current.name,
            first_msn: current.first_msn,
            target_duration_s: current.target_duration()?,
            discontinuities: self.discontinuities,
            next_msn: self.next_msn,
            ended: current.life != Life::Live,
        })
    }

    /// A window with these epochs and their parts, in order, whose next segment gets the number `next_msn`.
    ///
    /// Segments that the memo's playlist never listed are left out, and the last one is closed as it is. The playlist
    /// goes on if `next_msn` is the number after the last segment and the one that the memo names.
    pub fn restore(
        limits: WindowLimits,
        memo: &Memo,
        next_msn: u64,
        kept: impl IntoIterator<Item = (EpochRecord, Vec<PartHeader>)>,
    ) -> Result<Self, WindowError> {
        let mut window = Self::new(limits, memo.first_msn);
        for (record, mut parts) in kept {
            parts.retain(|part| part.msn >= memo.first_msn);
            if parts.is_empty() {
                continue;
            }
            window.begin_epoch(record)?;
            for part in parts {
                window.push_part(part)?;
            }
        }
        window.close(SegmentState::Truncated);
        window.adopt(memo, next_msn);
        Ok(window)
    }

    /// Takes the memo's word for the playlist, in place of what the replay made of it.
    fn adopt(&mut self, memo: &Memo, next_msn: u64) {
        let goes_on = !memo.ended && next_msn == memo.next_msn && next_msn == self.next_msn;
        let life = if goes_on { Life::Live } else { Life::Closed { next_msn: self.next_msn } };
        self.epoch = None;
        self.cursor = None;
        self.next_msn = self.next_msn.max(next_msn);
        let missed = memo.discontinuities.saturating_sub(self.discontinuities);
        for segment in &mut self.segments {
            segment.discontinuities += missed;
        }
        self.discontinuities += missed;
        let Some(replayed) = self.generations.pop_back() else { return };
        self.generations.clear();
        self.generations.push_back(Generation {
            name: memo.playlist,
            first_msn: memo.first_msn,
            promise: Promise::Frozen(memo.target_duration_s),
            life,
            rates: Rates::default(),
            ..replayed
        });
        self.recount();
    }

    fn recount(&mut self) {
        let Some(current) = self.generations.back_mut() else { return };
        let Promise::Frozen(seconds) = current.promise else { return };
        for nth in 0..self.segments.len() {
            current.rates.count(seconds, self.segments.range(..=nth).rev());
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::header::EpochId;
    use crate::playlist::{Reload, Verdict};
    use crate::window::tests::Script;

    const SCRIPT: &str = "
        epoch a
        group 200 200 200 200 200
        group 200 200 200 200 200
        epoch b
        group 200 200 200 200 200
        open 200 200
    ";

    fn kept(window: &Window) -> Vec<(EpochRecord, Vec<PartHeader>)> {
        let mut kept: Vec<(EpochRecord, Vec<PartHeader>)> = Vec::new();
        for segment in &window.segments {
            if kept.last().is_none_or(|(record, _)| record.id != segment.epoch) {
                kept.push((window.epochs[&segment.epoch].clone(), Vec::new()));
            }
            kept.last_mut().unwrap().1.extend(segment.parts.iter().cloned());
        }
        kept
    }

    fn restored(script: &Script, next_msn: u64) -> Window {
        let window = &script.window;
        Window::restore(window.limits, &window.memo().unwrap(), next_msn, kept(window)).unwrap()
    }

    fn text(window: &Window) -> String {
        window.render(window.current().unwrap(), false).unwrap()
    }

    #[test]
    fn the_same_playlist_goes_on() {
        let mut script = Script::run(SCRIPT);
        // The open segment comes back closed, and nothing is hinted.
        script.play("abandon");
        let before = text(&script.window);
        let master = script.window.multivariant().unwrap();
        script.window = restored(&script, 11);
        assert_eq!(text(&script.window), before);
        assert_eq!(script.window.multivariant().unwrap(), master);
        let name = script.window.current().unwrap();
        script.play("epoch c\n group 200 200 200 200 200");
        assert_eq!(script.window.current(), Some(name));
        let after = text(&script.window);
        assert!(after.contains("#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n"), "{after}");
        let (_, added) = after.split_once("\n000000000000000b/10.m4s\n").unwrap();
        assert!(
            added.starts_with("#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"000000000000000c/init.mp4\"\n"),
            "{added}"
        );
        assert!(added.contains("\n000000000000000c/11.m4s\n"), "{added}");
    }

    #[test]
    fn what_left_before_is_not_counted_again() {
        let mut script = Script::run(SCRIPT);
        script.play("abandon");
        script.window.shed_oldest();
        script.window.shed_oldest();
        let before = text(&script.window);
        assert!(before.contains("#EXT-X-MEDIA-SEQUENCE:9\n"), "{before}");
        let window = restored(&script, 11);
        let after = text(&window);
        assert!(after.contains("#EXT-X-MEDIA-SEQUENCE:9\n#EXT-X-DISCONTINUITY-SEQUENCE:1\n"), "{after}");
        assert!(!after.contains("#EXT-X-DISCONTINUITY\n"), "{after}");
    }

    #[test]
    fn numbers_that_jump_end_the_playlist() {
        let script = Script::run(SCRIPT);
        let mut window = restored(&script, 4096);
        let old = window.current().unwrap();
        assert!(text(&window).ends_with("#EXT-X-ENDLIST\n"));
        assert_eq!(window.next_msn(), 4096);
        let mut record = script.window.epochs[&EpochId(0xb)].clone();
        record.id = EpochId(0xd);
        window.begin_epoch(record).unwrap();
        assert_ne!(window.current(), Some(old));
        assert_eq!(window.verdict(old, &Reload::default()), Verdict::Ready { delta: false });
    }

    #[test]
    fn an_ended_playlist_stays_ended() {
        let mut script = Script::run(SCRIPT);
        script.play("end");
        let before = text(&script.window);
        assert_eq!(text(&restored(&script, 11)), before);
    }

    #[test]
    fn nothing_kept_is_an_empty_window() {
        let script = Script::run(SCRIPT);
        let memo = script.window.memo().unwrap();
        let window = Window::restore(script.window.limits, &memo, 11, []).unwrap();
        assert_eq!((window.current(), window.next_msn()), (None, 11));
    }
}
