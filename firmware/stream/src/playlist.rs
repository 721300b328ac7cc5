//! Playlists as text: pure functions of what the window holds.
//!
//! Nothing here decides what is in a playlist or who has to wait for it: that is `window`.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use crate::header::{EpochId, NameError};

pub(crate) mod media;
pub(crate) mod multivariant;
mod reload;
pub(crate) mod text;

pub use reload::{BadQuery, Reload, Skip};

/// The name of a media playlist, relative to `/live/NAME/`: `<epoch>.<n>.m3u8`.
///
/// A name stands for one playlist generation for ever: what it declared once never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaylistName {
    /// The epoch in which the generation began.
    pub epoch: EpochId,
    /// How many generations began in that epoch before.
    pub n: u32,
}

impl fmt::Display for PlaylistName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.m3u8", self.epoch, self.n)
    }
}

impl FromStr for PlaylistName {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let (epoch, n) = s.strip_suffix(".m3u8").and_then(|stem| stem.split_once('.')).ok_or(NameError)?;
        let canonical = (n == "0" || !n.starts_with('0')) && n.bytes().all(|b| b.is_ascii_digit());
        if !canonical {
            return Err(NameError);
        }
        Ok(Self { epoch: epoch.parse()?, n: n.parse().map_err(|_| NameError)? })
    }
}

/// What a request for a media playlist gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Ready(String),
    /// What the viewer waits for may still come: ask again when the version has changed.
    Wait,
    /// The request can't be met in a reasonable time (RFC 8216bis 6.2.5.2): 400 with this text.
    BadRequest(&'static str),
    /// No such playlist, or it left the window: 404.
    NotFound,
    /// The first group of pictures is not whole yet, so that nothing can be promised: hold, then 503.
    Held,
}

/// What a request gets, before any text is made: the answers are the same for all who get the same verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// [`crate::window::Window::render`] with this `delta` has the text.
    Ready {
        delta: bool,
    },
    Wait,
    BadRequest(&'static str),
    NotFound,
    Held,
}

/// There is no multivariant playlist yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReady {
    #[error("nothing was published yet")]
    Empty,
    #[error("the first group of pictures is not whole yet")]
    Held,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn names_read_back_and_have_one_spelling() {
        let name = PlaylistName { epoch: EpochId(0xab), n: 10 };
        assert_eq!(name.to_string(), "00000000000000ab.10.m3u8");
        assert_eq!("00000000000000ab.10.m3u8".parse(), Ok(name));
        for bad in
            ["", ".m3u8", "00000000000000ab.m3u8", "00000000000000ab.01.m3u8", "00000000000000ab..m3u8"]
        {
            assert_eq!(bad.parse::<PlaylistName>(), Err(NameError), "{bad}");
        }
    }
}
