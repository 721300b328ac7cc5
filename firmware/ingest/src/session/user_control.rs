//! User control events (RTMP 1.0, 7.1.7).

pub(super) const STREAM_BEGIN: u16 = 0;
pub(super) const PING_REQUEST: u16 = 6;
pub(super) const PING_RESPONSE: u16 = 7;
