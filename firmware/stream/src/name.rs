//! Names of streams, as they stand in URIs and as file names.
//!
//! Refuses everything that would have to be escaped anywhere: a name is a URI segment, a file name and a metrics
//! label as it is.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// 1 to 64 characters of `a-z A-Z 0-9 _ -`, the first one not a dash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StreamName(Box<str>);

/// The text is not a stream's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a stream's name is 1 to 64 letters, digits, `_` or `-`, and does not begin with `-`")]
pub struct BadStreamName;

impl StreamName {
    pub const BYTES_MAX: usize = 64;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamName {
    type Err = BadStreamName;

    fn from_str(s: &str) -> Result<Self, BadStreamName> {
        let plain = s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if s.is_empty() || s.len() > Self::BYTES_MAX || s.starts_with('-') || !plain {
            return Err(BadStreamName);
        }
        Ok(Self(s.into()))
    }
}

impl TryFrom<String> for StreamName {
    type Error = BadStreamName;
    fn try_from(text: String) -> Result<Self, BadStreamName> {
        text.parse()
    }
}
impl From<StreamName> for String {
    fn from(name: StreamName) -> Self {
        name.0.into()
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned;
    use std::string::ToString;

    use super::*;

    #[test]
    fn only_plain_names_are_taken() {
        for good in ["demo", "a", "Stream_2-b", &"x".repeat(64)] {
            assert_eq!(good.parse::<StreamName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "-x", ".", "..", "a/b", "a.b", "é", "a b", "a\0", &"x".repeat(65)] {
            assert_eq!(bad.parse::<StreamName>(), Err(BadStreamName), "{bad}");
        }
    }
}
