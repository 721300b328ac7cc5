//! Texts with an upper bound that is part of their type. Refuses control characters, which have no place in a field
//! and would let one line of a log look like two.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;
use core::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// At most `MAX` bytes of UTF-8 without control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Text<const MAX: usize>(Box<str>);

/// The text is too long, or has control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at most {max} bytes, without control characters")]
pub struct BadText {
    pub max: usize,
}

impl<const MAX: usize> Text<MAX> {
    /// As much of the text as fits, with control characters replaced: for what only informs.
    #[must_use]
    pub fn cut(text: &str) -> Self {
        let mut end = text.len().min(MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        // Some control characters have two bytes, a space has one: it only gets shorter.
        Self(text[..end].chars().map(plain).collect::<String>().into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const MAX: usize> FromStr for Text<MAX> {
    type Err = BadText;
    fn from_str(text: &str) -> Result<Self, BadText> {
        let bad = text.len() > MAX || text.chars().any(char::is_control);
        if bad { Err(BadText { max: MAX }) } else { Ok(Self(text.into())) }
    }
}

impl<const MAX: usize> Deref for Text<MAX> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}
impl<const MAX: usize> fmt::Display for Text<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de, const MAX: usize> Deserialize<'de> for Text<MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Parsed(PhantomData))
    }
}

/// Reads a text in place, so that one that is too long is never copied.
struct Parsed<T>(PhantomData<fn() -> T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a short text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_bounded() {
        assert_eq!("12345".parse::<Text<4>>(), Err(BadText { max: 4 }));
        assert_eq!("a\nb".parse::<Text<4>>(), Err(BadText { max: 4 }));
        assert!(serde_json::from_str::<Text<4>>("\"12345\"").is_err());
        assert_eq!(serde_json::from_str::<Text<4>>("\"\\u00e9\"").unwrap().as_str(), "é");
        assert_eq!(Text::<4>::cut("ab\ncd").as_str(), "ab c");
        assert_eq!(Text::<3>::cut("aéé").as_str(), "aé");
        assert_eq!(Text::<2>::cut("aéé").as_str(), "a");
    }

    proptest! {
        #[test]
        fn what_was_cut_is_a_text(text: String) {
            let cut = Text::<16>::cut(&text);
            prop_assert_eq!(cut.as_str().parse::<Text<16>>(), Ok(cut.clone()));
        }
    }
}
