//! What went wrong, in the form of RFC 9457, with a code that stays the same over versions and with a sentence that
//! says what to do. Refuses to leave anybody with a number alone.

mod code;
mod origin;

use alloc::format;

use serde::{Deserialize, Serialize};

use crate::text::Text;
pub use code::Code;

/// The body of every response with a status from 400 on, as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// `/problems/CODE`, relative to the coordinator: its page says the same (RFC 9457 section 3.1.1).
    pub r#type: Text<128>,
    /// The same for every occurrence.
    pub title: Text<256>,
    pub status: u16,
    /// About this occurrence.
    pub detail: Text<512>,
    /// What the reader does about it.
    pub what_to_do: Text<512>,
    /// Stable: software decides by this field alone.
    pub code: Code,
}

/// The media type of a problem (RFC 9457 section 6.1).
pub const MEDIA_TYPE: &str = "application/problem+json";

impl Problem {
    /// A problem of that kind, with what is special about this occurrence; what is too long is cut.
    #[must_use]
    pub fn new(code: Code, detail: &str) -> Self {
        Self {
            r#type: Text::cut(&format!("/problems/{}", code.name())),
            title: Text::cut(code.title()),
            status: code.status(),
            detail: Text::cut(detail),
            what_to_do: Text::cut(code.what_to_do()),
            code,
        }
    }
}
