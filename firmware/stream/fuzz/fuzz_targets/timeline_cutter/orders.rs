//! The cutter's commands as the packager takes them, and what it relies on.

use stream::cutter::{Command, Cut, EPOCH_ORIGIN, PartPlan, Placed, Plan};
use stream::{Ticks, TrackKind};

use crate::payload;

/// What the packager's protocol takes in one message: samples, and bytes of a header.
const BATCH_ITEMS_MAX: usize = 4096;
const BATCH_HEADER_BYTES_MAX: usize = u16::MAX as usize;

#[derive(Default)]
pub struct Orders {
    epoch: Option<Epoch>,
    /// The newest unit of each track, and when it is shown; since [`Orders::watch`].
    pub newest: [Option<(usize, Ticks)>; 2],
    /// Media in parts since then.
    pub published: Ticks,
}

struct Epoch {
    plan: Plan,
    rate: u32,
    /// Newest decoding times of video and audio.
    dts: [Option<i64>; 2],
    /// A cut whose part was not announced.
    cut: Option<Cut>,
    /// What came between a cut and its part's announcement: the first unit of each track behind the cut.
    behind: Vec<Placed>,
    /// Sample time of the newest audio unit that came so.
    ahead: Option<i64>,
    parts: usize,
    /// Where the next part begins, and whether it opens a segment.
    next: Ticks,
    opens: bool,
    /// Units since the newest cut.
    items: usize,
    header_bytes: usize,
    /// Decoding time of the first picture since the newest cut, and whether it is a keyframe.
    first: Option<(i64, bool)>,
}

impl Orders {
    pub fn handle(&mut self, command: Command) {
        match command {
            Command::Begin(plan) => {
                assert!(self.epoch.is_none(), "an epoch in an epoch");
                self.epoch = Some(Epoch::new(plan));
            }
            Command::Put(placed) => {
                let epoch = self.open();
                epoch.take(&placed);
                let (slot, at) = match placed.kind {
                    TrackKind::Video => (0, Ticks(placed.pts)),
                    TrackKind::Audio => (1, Ticks::from_samples(placed.pts, epoch.rate)),
                };
                self.newest[slot] = Some((payload::number(&placed.data), at));
            }
            Command::Cut(cut) => self.open().cut(cut),
            Command::Part(part) => {
                self.open().part(part);
                self.published += part.duration;
            }
            Command::Finish => {
                let epoch = self.epoch.take().expect("an epoch is finished once");
                assert!(epoch.cut.is_none());
                assert!(epoch.parts == 0 || epoch.opens, "the last part does not end its segment");
                assert!(epoch.items == 0, "units behind the last part");
            }
        }
    }

    /// The packager lost the epoch.
    pub fn forget(&mut self) {
        self.epoch = None;
    }

    pub fn watch(&mut self) {
        self.newest = [None; 2];
        self.published = Ticks::ZERO;
    }

    pub fn end(&self) {
        assert!(self.epoch.is_none(), "the last epoch is not finished");
    }

    fn open(&mut self) -> &mut Epoch {
        self.epoch.as_mut().expect("an order without an epoch")
    }
}

impl Epoch {
    fn new(plan: Plan) -> Self {
        assert!(plan.tracks.video.is_some() || plan.tracks.audio.is_some());
        assert!(plan.part_target > Ticks::ZERO && plan.lead >= Ticks::ZERO, "{plan:?}");
        assert_eq!(plan.tracks.video.is_some(), plan.frame_rate_milli.is_some());
        let rate =
            plan.tracks.audio.as_ref().and_then(|config| config.audio).map_or(1, |format| format.sample_rate);
        Self {
            plan,
            rate,
            dts: [None; 2],
            cut: None,
            behind: Vec::new(),
            ahead: None,
            parts: 0,
            next: EPOCH_ORIGIN,
            opens: true,
            items: 0,
            header_bytes: 0,
            first: None,
        }
    }

    /// Video decides if there is any.
    fn leads(&self, kind: TrackKind) -> bool {
        kind == TrackKind::Video || self.plan.tracks.video.is_none()
    }

    fn ticks(&self, kind: TrackKind, at: i64) -> Ticks {
        match kind {
            TrackKind::Video => Ticks(at),
            TrackKind::Audio => Ticks::from_samples(at, self.rate),
        }
    }

    fn take(&mut self, placed: &Placed) {
        if self.cut.is_some() {
            assert!(self.behind.iter().all(|other| other.kind != placed.kind), "{placed:?} holds a part up");
            self.behind.push(placed.clone());
        } else {
            self.put(placed);
        }
    }

    fn put(&mut self, placed: &Placed) {
        let (slot, track) = match placed.kind {
            TrackKind::Video => (0, &self.plan.tracks.video),
            TrackKind::Audio => (1, &self.plan.tracks.audio),
        };
        assert!(track.is_some(), "{} is not in the epoch", placed.kind);
        assert!(placed.dts >= 0 && placed.pts >= 0 && placed.duration > 0, "{placed:?}");
        assert!(i32::try_from(placed.pts - placed.dts).is_ok(), "{placed:?}");
        assert!(
            self.dts[slot].replace(placed.dts).is_none_or(|before| before < placed.dts),
            "{placed:?} is late"
        );
        if self.leads(placed.kind) {
            assert!(
                self.first.is_some() || self.parts > 0 || placed.keyframe,
                "an epoch begins without a keyframe"
            );
            self.first.get_or_insert((placed.dts, placed.keyframe));
        }
        self.items += 1;
        let numbers =
            [placed.dts as u64, placed.pts as u64, placed.duration.into(), placed.data.len() as u64];
        self.header_bytes += 2 + numbers.into_iter().map(varint_bytes).sum::<usize>();
        assert!(
            self.items < BATCH_ITEMS_MAX && self.header_bytes + 64 < BATCH_HEADER_BYTES_MAX,
            "{} units in one part",
            self.items
        );
    }

    fn cut(&mut self, cut: Cut) {
        assert!(self.cut.is_none(), "two cuts in a row");
        assert!(cut.at >= 0 && cut.audio_at.is_none_or(|at| at >= 0), "{cut:?}");
        let leader = if self.plan.tracks.video.is_some() { TrackKind::Video } else { TrackKind::Audio };
        let at = self.ticks(leader, cut.at);
        // Where an epoch begins need not be a whole sample.
        let sample = Ticks(Ticks::RATE / i64::from(self.rate) + 2);
        let audio = |at| self.ticks(TrackKind::Audio, at);
        assert!(self.dts[0].is_none_or(|newest| Ticks(newest) < at), "video is beyond {cut:?}");
        // The unit that was taken from behind the cut before may lie behind this one, if the part is short.
        let ahead = |newest| self.ahead == Some(newest) && audio(newest) < self.next + self.plan.part_target;
        let in_front = |newest| audio(newest) < at + sample || ahead(newest);
        assert!(self.dts[1].is_none_or(in_front), "audio is beyond {cut:?}");
        assert!(cut.audio_at.is_none_or(|behind| audio(behind) + sample > at), "{cut:?}");
        self.cut = Some(cut);
    }

    fn part(&mut self, part: PartPlan) {
        let end = part.start + part.duration;
        if let Some(cut) = self.cut.take() {
            assert_eq!(part.last, cut.segment);
            if self.plan.tracks.video.is_some() {
                assert_eq!(end, Ticks(cut.at));
            }
        } else {
            assert!(part.last, "a part without a cut");
        }
        assert_eq!(part.start, self.next, "a hole between parts");
        assert!(
            part.duration > Ticks::ZERO && part.duration <= self.plan.part_target,
            "{part:?} {:?}",
            self.plan
        );
        assert_eq!(part.opens_segment, self.opens);
        let (first, keyframe) = self.first.take().expect("a part without a unit");
        assert!(part.independent == (keyframe || self.plan.tracks.video.is_none()), "{part:?} {keyframe}");
        assert!(part.independent || !part.opens_segment);
        if self.plan.tracks.video.is_some() {
            assert_eq!(part.start.0, first);
            assert!(self.dts[0].is_some_and(|newest| newest < end.0), "{part:?} {:?}", self.dts);
        }
        self.next = end;
        self.opens = part.last;
        self.parts += 1;
        (self.items, self.header_bytes) = (0, 0);
        for placed in std::mem::take(&mut self.behind) {
            if placed.kind == TrackKind::Audio {
                self.ahead = Some(placed.dts);
            }
            self.put(&placed);
        }
    }
}

fn varint_bytes(number: u64) -> usize {
    (70 - (number | 1).leading_zeros() as usize) / 7
}
