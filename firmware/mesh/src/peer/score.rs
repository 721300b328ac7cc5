//! Which of the paths that answer is the best one. Refuses those that don't.

use core::time::Duration;

use crate::pair::{Carries, Pair};
use crate::path::Path;

/// Lower is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score {
    pub(super) rank: u8,
    pub(super) round_trip: Duration,
}

/// `None` for a path that can't be used.
pub(super) fn score(path: Path, pair: &Pair) -> Option<Score> {
    if !pair.is_answered() {
        return None;
    }
    let rank = match (path, pair.carries()) {
        (Path::Direct { .. }, Carries::Full) => 0,
        (Path::Box(_), Carries::Full) => 1,
        (Path::Tls, Carries::Full) => 2,
        (Path::Tls, Carries::Unknown | Carries::Narrow) => 3,
        (Path::Direct { .. }, Carries::Narrow) => 4,
        (Path::Box(_), Carries::Narrow) => 5,
        (Path::Direct { .. }, Carries::Unknown) => 6,
        (Path::Box(_), Carries::Unknown) => 7,
    };
    Some(Score { rank, round_trip: pair.round_trip()? })
}
