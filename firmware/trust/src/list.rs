//! A list with an upper bound that is part of its type. Refuses, while reading, what would go beyond it.

use alloc::vec::Vec;
use core::fmt;
use core::marker::PhantomData;
use core::ops::Deref;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// At most `MAX` items.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct List<T, const MAX: usize>(Vec<T>);

/// There were more items than the list may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {max} items")]
pub struct TooMany {
    pub max: usize,
}

impl<T, const MAX: usize> List<T, MAX> {
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, const MAX: usize> TryFrom<Vec<T>> for List<T, MAX> {
    type Error = TooMany;
    fn try_from(items: Vec<T>) -> Result<Self, TooMany> {
        if items.len() > MAX { Err(TooMany { max: MAX }) } else { Ok(Self(items)) }
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_seq(Items::<T, MAX>(PhantomData))
    }
}

struct Items<T, const MAX: usize>(PhantomData<fn() -> T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Items<T, MAX> {
    type Value = List<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {MAX} items")
    }

    /// Nothing is reserved on the word of a length that came from outside.
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            if items.len() == MAX {
                return Err(A::Error::invalid_length(MAX + 1, &self));
            }
            items.push(item);
        }
        Ok(List(items))
    }
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::*;

    type Three = List<u8, 3>;

    #[test]
    fn a_list_has_its_bound() {
        assert_eq!(Three::try_from(vec![1, 2, 3]).unwrap()[..], [1, 2, 3]);
        assert_eq!(Three::try_from(vec![1, 2, 3, 4]), Err(TooMany { max: 3 }));
        assert!(serde_json::from_str::<Three>("[1,2,3]").is_ok());
        assert!(serde_json::from_str::<Three>("[1,2,3,4]").is_err());
        assert!(postcard::from_bytes::<Three>(&[3, 1, 2, 3]).is_ok());
        assert!(postcard::from_bytes::<Three>(&[4, 1, 2, 3, 4]).is_err());
        // A length of 2^28 alone reserves nothing.
        assert!(postcard::from_bytes::<Three>(&[0x80, 0x80, 0x80, 0x80, 0x01]).is_err());
    }
}
