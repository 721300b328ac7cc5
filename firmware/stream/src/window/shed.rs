//! Giving segments back for a budget that several windows share.

use crate::window::Window;
use crate::window::segment::Segment;

impl Window {
    /// Drops the oldest segment, even if the playlist then is shorter than it should be. False if there is none, or
    /// only the open one.
    pub fn shed_oldest(&mut self) -> bool {
        if self.segments.front().is_none_or(Segment::is_open) {
            return false;
        }
        let needed = self.is_needed(&self.segments[0]);
        let Some(front) = self.segments.pop_front() else { return false };
        self.evict(&front);
        self.forced = needed;
        self.forget_generations();
        self.version += 1;
        true
    }
}
