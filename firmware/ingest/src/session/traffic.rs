//! What both sides of a connection count in bytes: the pace, and when the peer has to hear how much came.

use stream::Millis;

use super::pace::Pace;
use crate::Limits;

/// What is announced to the peer, and taken as its wish until it says another (RTMP 1.0, 5.4.4).
pub(super) const ACK_WINDOW_BYTES: u32 = 2_500_000;

#[derive(Debug)]
pub(super) struct Traffic {
    pace: Pace,
    received_bytes: u64,
    acknowledged_bytes: u64,
    ack_window_bytes: u32,
}

impl Traffic {
    pub(super) fn new(limits: &Limits, now: Millis) -> Self {
        Self {
            pace: Pace::new(limits.bits_per_second, limits.burst_ms, now),
            received_bytes: 0,
            acknowledged_bytes: 0,
            ack_window_bytes: ACK_WINDOW_BYTES,
        }
    }

    /// Adds what came; false if it came too fast.
    pub(super) fn handle_bytes(&mut self, now: Millis, bytes: usize) -> bool {
        self.received_bytes += bytes as u64;
        self.pace.handle_bytes(now, bytes)
    }

    /// The peer's Window Acknowledgement Size.
    pub(super) const fn handle_window(&mut self, bytes: u32) {
        self.ack_window_bytes = if bytes == 0 { 1 } else { bytes };
    }

    pub(super) const fn received_bytes(&self) -> u64 {
        self.received_bytes
    }

    /// The sequence number to acknowledge, once for each window. It has 32 bits and wraps (5.4.3).
    pub(super) fn take_acknowledgement(&mut self) -> Option<u32> {
        if self.received_bytes - self.acknowledged_bytes < u64::from(self.ack_window_bytes) {
            return None;
        }
        self.acknowledged_bytes = self.received_bytes;
        Some(self.received_bytes as u32)
    }
}
