//! `relayd leave`: takes this box out of its mesh, as far as the box itself goes: it forgets its membership and its
//! keys, and is a new box to the next mesh. Refuses without `--yes`, since there is no way back. Streams, their keys and
//! the PIN are none of its business.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Parser;

use crate::control::kept::{self, Kept};
use crate::owner::become_owner_of;
use crate::settings::DATA_DIR;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// Do it: the membership and the box's keys are removed for good.
    #[arg(long)]
    yes: bool,
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    become_owner_of(&args.data_dir)?;
    let dir = kept::directory(&args.data_dir);
    if !dir.exists() {
        println!("This box belongs to no mesh. Nothing was changed.");
        return Ok(());
    }
    // What can't be read any more is left all the more.
    let kept = Kept::read(&dir).ok().flatten();
    let name = kept.as_ref().map(|kept| kept.chain.certificate.claims().name.to_string());
    if !args.yes {
        let who = name.map_or_else(|| "keys without a membership".to_owned(), |name| format!("`{name}`"));
        bail!(
            "this box would forget {who} and could come in again by another invite alone; its streams stay. If that is \
             what you want: relayd leave --yes"
        );
    }
    forget(&dir)?;
    println!("This box belongs to no mesh any more. Restart relayd if it runs.");
    if let Some(name) = name {
        println!("Whoever runs the mesh takes it off the list: coordinator-lite box revoke {name}");
    }
    Ok(())
}

/// First aside in one step, so that a power cut leaves a member or none, and a daemon that runs finds no place where it
/// could write its membership down again.
fn forget(dir: &Path) -> Result<()> {
    let aside = dir.with_extension("left");
    let before = fs::remove_dir_all(&aside);
    if let Some(error) = before.err().filter(|error| error.kind() != ErrorKind::NotFound) {
        return Err(error).with_context(|| format!("removing {}", aside.display()));
    }
    fs::rename(dir, &aside).with_context(|| format!("leaving {}", dir.display()))?;
    fs::remove_dir_all(&aside).with_context(|| format!("removing {}", aside.display()))
}
