//! Names of boxes and friends, as they stand in addresses, files and pages. Refuses all that would have to be escaped
//! anywhere, and all that only looks like another name.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// 1 to 32 characters of `a-z 0-9 -`, a label of a host name (RFC 1123 2.1): no dash at either end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Box<str>);

/// The text is not a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 32 small letters, digits or dashes, with no dash at either end")]
pub struct BadName;

impl Name {
    pub const BYTES_MAX: usize = 32;

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a box of an invite for `self` may have this name: the same, or with a dash and more behind it.
    #[must_use]
    pub fn grants(&self, of_box: &Name) -> bool {
        of_box.0.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

impl FromStr for Name {
    type Err = BadName;
    fn from_str(text: &str) -> Result<Self, BadName> {
        let plain = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if text.is_empty() || text.len() > Self::BYTES_MAX || !plain {
            return Err(BadName);
        }
        if text.starts_with('-') || text.ends_with('-') {
            return Err(BadName);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}
impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.into()
    }
}
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_names() {
        for good in ["a", "ana", "ana-2", "0x", "a--b", "abcdefghijklmnopqrstuvwxyz012345"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "Ana", "a b", "a.b", "añ", "a/b", "abcdefghijklmnopqrstuvwxyz0123456"] {
            assert_eq!(bad.parse::<Name>(), Err(BadName), "{bad}");
        }
    }

    #[test]
    fn an_invite_grants_its_name_and_those_below() {
        let granted = |of_box: &str| "ana".parse::<Name>().unwrap().grants(&of_box.parse().unwrap());
        assert!(granted("ana") && granted("ana-attic"));
        assert!(!granted("anabel") && !granted("bob") && !granted("an") && !granted("bob-ana"));
    }
}
