//! Which boxes were asked for, and which may be asked for again. Pure: answers and times come from its caller.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use trust::BoxKey;

use super::Sought;

/// Those that are remembered; of more the one that was asked for longest ago is forgotten.
const KNOWN_MAX: usize = 256;
/// Questions at once, and how often there is another one: fewer than the coordinator takes.
const BURST: u32 = 8;
const REFILL: Duration = Duration::from_secs(1);
/// How long a map that was promised may take before it is asked for again.
const MAP_TAKES: Duration = Duration::from_secs(20);
/// A box that is no member is not asked for again before that.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// The same when nobody answered, or the coordinator had no room.
const FAILED_FOR: Duration = Duration::from_secs(5);
/// When a box with which bytes are exchanged is asked for again after that.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// How long maps are taken to hold everybody when the coordinator said so.
const EVERYBODY_FOR: Duration = Duration::from_secs(600);

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Both stand in each other's maps for so long.
    Found {
        lasts: Duration,
    },
    /// They do, as everybody does.
    Everybody,
    /// It is no member.
    Unknown,
    Failed,
}

/// What is to be done with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Ask,
    /// Nothing: it was found.
    Found,
    /// Nothing: it was asked for in vain, or too much was asked.
    Rest,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    at: Instant,
    answer: Answer,
    /// Bytes that had been exchanged with it by then.
    moved: u64,
}

#[derive(Debug, Default)]
pub(super) struct Asked {
    known: BTreeMap<Sought, Known>,
    /// When as many questions as [`BURST`] may be asked again.
    rested_at: Option<Instant>,
    /// When the coordinator said last that maps hold everybody.
    everybody_at: Option<Instant>,
}

impl Answer {
    pub(super) fn found(lasts_s: u32) -> Self {
        match lasts_s {
            0 => Self::Everybody,
            lasts_s => Self::Found { lasts: Duration::from_secs(lasts_s.into()) },
        }
    }

    /// Before it may be asked for again. What stands in the map is only to be renewed in time.
    fn rest(self, is_there: bool) -> Duration {
        match self {
            Self::Found { lasts } if is_there => lasts / 2,
            Self::Everybody if is_there => EVERYBODY_FOR,
            Self::Found { .. } | Self::Everybody => MAP_TAKES,
            Self::Unknown => UNKNOWN_FOR,
            Self::Failed => FAILED_FOR,
        }
    }
}

impl Asked {
    /// Whether to ask for a box now; it counts if so.
    pub(super) fn judge(&mut self, sought: &Sought, is_there: bool, now: Instant) -> Verdict {
        if let Some(known) = self.known.get(sought)
            && now < known.at + known.answer.rest(is_there)
        {
            return match known.answer {
                Answer::Found { .. } | Answer::Everybody => Verdict::Found,
                Answer::Unknown | Answer::Failed => Verdict::Rest,
            };
        }
        if is_there && self.everybody_at.is_some_and(|at| now < at + EVERYBODY_FOR) {
            return Verdict::Found;
        }
        if self.spend(now) { Verdict::Ask } else { Verdict::Rest }
    }

    /// The coordinator's word. `moved` are the bytes that were exchanged with the box so far.
    pub(super) fn handle_answer(&mut self, sought: Sought, answer: Answer, moved: u64, now: Instant) {
        match answer {
            Answer::Everybody => self.everybody_at = Some(now),
            Answer::Found { .. } => self.everybody_at = None,
            Answer::Unknown | Answer::Failed => {}
        }
        if self.known.len() >= KNOWN_MAX && !self.known.contains_key(&sought) {
            let oldest = self.known.iter().min_by_key(|(_, known)| known.at).map(|(sought, _)| *sought);
            oldest.and_then(|oldest| self.known.remove(&oldest));
        }
        self.known.insert(sought, Known { at: now, answer, moved });
    }

    /// When [`Self::poll_renewals`] has something to look at.
    pub(super) fn next_renewal(&self) -> Option<Instant> {
        self.known.iter().filter_map(|(sought, known)| Some(renewal(sought, known)?.1)).min()
    }

    /// Boxes whose time is half over and with which bytes were exchanged since; the others of that age are forgotten.
    pub(super) fn poll_renewals(&mut self, moved: impl Fn(&BoxKey) -> u64, now: Instant) -> Vec<BoxKey> {
        let mut due = Vec::new();
        self.known.retain(|sought, known| {
            let Some((key, at)) = renewal(sought, known) else { return true };
            if at > now {
                return true;
            }
            if moved(&key) > known.moved {
                due.push(key);
            }
            false
        });
        due
    }

    fn spend(&mut self, now: Instant) -> bool {
        let next = self.rested_at.map_or(now, |at| at.max(now)) + REFILL;
        let may = next <= now + REFILL * BURST;
        if may {
            self.rested_at = Some(next);
        }
        may
    }
}

/// Which box is to be asked for again, and when.
fn renewal(sought: &Sought, known: &Known) -> Option<(BoxKey, Instant)> {
    match (sought, known.answer) {
        (Sought::Key(key), Answer::Found { lasts }) => Some((*key, known.at + lasts / 2)),
        // The coordinator may be back.
        (Sought::Key(key), Answer::Failed) => Some((*key, known.at + RETRY_AFTER)),
        (Sought::Key(_), Answer::Everybody | Answer::Unknown) | (Sought::Address(_), _) => None,
    }
}

#[cfg(test)]
mod tests {
    use trust::{BoxSecret, MeshId, MeshPrefix, RootSecret};

    use super::*;

    const FOUND: Answer = Answer::Found { lasts: Duration::from_secs(600) };

    fn key(n: u8) -> BoxKey {
        BoxSecret::from_seed(&[n; 32]).public()
    }

    fn address(n: u64) -> Sought {
        let mesh = MeshId::of(&RootSecret::from_seed(&[1; 32]).public());
        Sought::Address(MeshPrefix::of(&mesh).nth(n))
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// Who is asked for again after each answer, and when, looked at each second.
    #[test]
    fn each_answer_has_its_rest() {
        let start = Instant::now();
        for (answer, is_there, rests, meanwhile) in [
            (FOUND, true, 300, Verdict::Found),
            (FOUND, false, 20, Verdict::Found),
            (Answer::Everybody, true, 600, Verdict::Found),
            (Answer::Everybody, false, 20, Verdict::Found),
            (Answer::Unknown, false, 60, Verdict::Rest),
            (Answer::Failed, false, 5, Verdict::Rest),
        ] {
            let (mut asked, sought) = (Asked::default(), Sought::Key(key(1)));
            assert_eq!(asked.judge(&sought, is_there, start), Verdict::Ask);
            asked.handle_answer(sought, answer, 0, start);
            for seconds in 0..rests {
                assert_eq!(asked.judge(&sought, is_there, at(start, seconds)), meanwhile, "{answer:?}");
            }
            assert_eq!(asked.judge(&sought, is_there, at(start, rests)), Verdict::Ask, "{answer:?}");
        }
    }

    #[test]
    fn where_maps_hold_everybody_only_those_that_are_missing_are_asked_for() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        asked.handle_answer(Sought::Key(key(1)), Answer::Everybody, 0, start);
        let other = Sought::Key(key(2));
        assert_eq!(asked.judge(&other, true, at(start, 599)), Verdict::Found);
        assert_eq!(asked.judge(&other, false, at(start, 599)), Verdict::Ask);
        assert_eq!(asked.judge(&other, true, at(start, 600)), Verdict::Ask);
        // The mesh has grown.
        asked.handle_answer(other, Answer::Everybody, 0, at(start, 600));
        asked.handle_answer(Sought::Key(key(3)), FOUND, 0, at(start, 601));
        assert_eq!(asked.judge(&Sought::Key(key(4)), true, at(start, 602)), Verdict::Ask);
    }

    #[test]
    fn what_is_used_is_renewed_and_the_rest_forgotten() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        asked.handle_answer(Sought::Key(key(1)), FOUND, 1000, start);
        asked.handle_answer(Sought::Key(key(2)), FOUND, 1000, at(start, 10));
        asked.handle_answer(address(3), FOUND, 0, start);
        asked.handle_answer(Sought::Key(key(4)), Answer::Unknown, 0, start);
        assert_eq!(asked.next_renewal(), Some(at(start, 300)));
        let moved = |of: &BoxKey| if *of == key(1) { 1001 } else { 1000 };
        assert_eq!(asked.poll_renewals(moved, at(start, 299)), []);
        assert_eq!(asked.poll_renewals(moved, at(start, 320)), [key(1)]);
        assert_eq!((asked.next_renewal(), asked.known.len()), (None, 2));
        asked.handle_answer(Sought::Key(key(1)), Answer::Failed, 1001, at(start, 320));
        assert_eq!(asked.next_renewal(), Some(at(start, 350)));
        assert_eq!(asked.poll_renewals(|_| 1002, at(start, 350)), [key(1)]);
    }

    #[test]
    fn one_that_tries_all_addresses_asks_once_a_second_and_fills_no_memory() {
        let (mut asked, start) = (Asked::default(), Instant::now());
        let mut questions = 0;
        for n in 0..10_000_u64 {
            let now = start + Duration::from_millis(n * 100);
            if asked.judge(&address(n), false, now) == Verdict::Ask {
                questions += 1;
                asked.handle_answer(address(n), Answer::Unknown, 0, now);
            }
        }
        // A thousand seconds, and eight at once.
        assert_eq!((questions, asked.known.len()), (1007, 256));
    }
}
