//! Who writes into the daemon's directory: its owner. Root's `relayd join` would otherwise leave keys there that the
//! daemon can't read.
//!
//! Refuses to give anybody a right: it only gives root's away.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

/// Goes on as the owner of this directory. Does nothing unless root runs this and somebody else owns it.
///
/// As another run of this program with the same words, since a process changes its user as a whole only when it
/// begins.
pub(crate) fn become_owner_of(data_dir: &Path) -> Result<()> {
    let own = std::fs::metadata("/proc/self").context("asking who runs this")?;
    let Ok(owner) = std::fs::metadata(data_dir) else { return Ok(()) };
    if own.uid() != 0 || owner.uid() == 0 {
        return Ok(());
    }
    let program = std::env::current_exe().context("finding this binary")?;
    let mut again = Command::new(program);
    again.args(std::env::args_os().skip(1)).uid(owner.uid()).gid(owner.gid());
    Err(again.exec()).with_context(|| format!("going on as the owner of {}", data_dir.display()))
}
