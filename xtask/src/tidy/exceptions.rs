//! The allow-list of `tidy`, in `xtask/tidy.toml`: each exception names its own limit and a reason.

use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Exceptions {
    pub(super) long: Vec<Long>,
}

/// A file that may be longer than others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Long {
    pub(super) path: String,
    pub(super) lines: usize,
    pub(super) reason: String,
}

impl Exceptions {
    pub(super) fn read(path: &Path) -> Result<Exceptions> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("could not read {}", path.display()))?;
        toml::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))
    }
}
