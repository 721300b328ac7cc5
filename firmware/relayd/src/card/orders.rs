//! What the box's page wants of root: the house's Wi-Fi, and a reset. The daemon, which may neither, leaves a file in a
//! folder that is its own.
//!
//! Believes nothing of it: what is there is judged as if it came from the card, no link is followed, and no file is read
//! that is longer than any order.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::wish::{self, Wish};
use super::{Args, keep, reset};

pub(crate) const WIFI: &str = "wifi.toml";
pub(crate) const RESET: &str = "reset";

/// Takes what is there, and says whether the machine has to start again.
pub(super) fn take(orders: &Path, name: &str, args: &Args) -> Result<bool> {
    if let Some(bytes) = read(&orders.join(WIFI))? {
        // Gone first: what can't be used is not tried again.
        fs::remove_file(orders.join(WIFI)).context("removing the order for Wi-Fi")?;
        let (wish, _) = wish::read(&bytes).context("the order for Wi-Fi")?;
        keep(Wish { wifi: wish.wifi, ..Wish::default() }, &wish::Secrets::default(), args)?;
    }
    let Some(bytes) = read(&orders.join(RESET))? else { return Ok(false) };
    fs::remove_file(orders.join(RESET)).context("removing the order for a reset")?;
    let named = String::from_utf8_lossy(&bytes);
    ensure!(named.trim().eq_ignore_ascii_case(name), "a reset was ordered of another box than {name}");
    reset::mark(&args.kept)?;
    Ok(true)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let said = || format!("reading {}", path.display());
    // Neither a link nor a pipe, on which it would wait.
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(said),
    };
    ensure!(file.metadata().with_context(said)?.is_file(), "{} is no file", path.display());
    let mut bytes = Vec::new();
    file.take(wish::BYTES_MAX as u64 + 1).read_to_end(&mut bytes).with_context(said)?;
    Ok(Some(bytes))
}
