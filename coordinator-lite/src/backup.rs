//! `backup` and `restore`: the database as one file. The keys beside it never change, and are copied once by hand.
//! Refuses to overwrite: what is put aside can be taken back.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Parser;
use trust::UnixSeconds;

use crate::store::{Database, FILE};
use crate::{clock, file};

#[derive(Debug, Parser)]
pub(crate) struct Backup {
    #[command(flatten)]
    data: crate::DataDir,
    /// The file to make.
    file: PathBuf,
}

#[derive(Debug, Parser)]
pub(crate) struct Restore {
    #[command(flatten)]
    data: crate::DataDir,
    /// The file that `backup` made.
    file: PathBuf,
    /// Also in place of a database that has more in it; that one is kept beside.
    #[arg(long)]
    force: bool,
}

pub(crate) fn backup(args: Backup) -> Result<()> {
    ensure!(!args.file.exists(), "{} is there already: choose another name", args.file.display());
    let path = args.data.data_dir.join(FILE);
    let database = Database::open_existing(&path, clock::now())
        .with_context(|| format!("opening {}", path.display()))?;
    database.copy_to(&args.file).with_context(|| format!("writing {}", args.file.display()))?;
    file::hand_over(&args.data.data_dir)?;
    let (boxes, invites) = (database.boxes()?.len(), database.invites()?.len());
    println!("Copied to {}. Boxes: {boxes}, invites: {invites}.", args.file.display());
    println!("Keep {} too: its keys are not in the copy.", args.data.data_dir.display());
    Ok(())
}

pub(crate) fn restore(args: Restore) -> Result<()> {
    let (dir, now) = (&args.data.data_dir, clock::now());
    let path = dir.join(FILE);
    ensure!(args.file.is_file(), "there is no file {}", args.file.display());
    file::private_dir(dir)?;
    // Looked through in a copy, since opening may bring it up to date.
    let beside = dir.join("coordinator.db.restoring");
    let copy = || -> Result<Latest> {
        file::create_empty(&beside).with_context(|| format!("writing {}", beside.display()))?;
        std::fs::copy(&args.file, &beside)
            .with_context(|| format!("copying {} to {}", args.file.display(), beside.display()))?;
        let database = Database::open_existing(&beside, now)
            .with_context(|| format!("{} can't be restored", args.file.display()))?;
        latest(&database)
    };
    let done = copy().and_then(|theirs| put(&path, &beside, theirs, args.force, now));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(dir.join(format!("coordinator.db.restoring{suffix}")));
    }
    let aside = done?;
    file::hand_over(dir)?;
    println!("Restored {}.", args.file.display());
    if let Some(aside) = aside {
        println!("What was there is kept as {}.", aside.display());
    }
    println!("Start the service: boxes that came in since are taken back when they renew.");
    Ok(())
}

/// The last thing that a database knows of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Latest(UnixSeconds);

fn latest(database: &Database) -> Result<Latest> {
    let boxes = database.boxes()?;
    let boxes = boxes.iter().flat_map(|row| [Some(row.enrolled), row.seen]).flatten();
    let invites = database.invites()?;
    let invites = invites.iter().flat_map(|row| [Some(row.invite.claims().issued), row.used]).flatten();
    Ok(Latest(boxes.chain(invites).max().unwrap_or_default()))
}

/// Gives the copy its place; returns where the one before is.
fn put(path: &Path, beside: &Path, theirs: Latest, force: bool, now: UnixSeconds) -> Result<Option<PathBuf>> {
    let mut aside = None;
    if path.is_file() {
        ensure_stopped(path)?;
        let ours = Database::open_existing(path, now).map_err(anyhow::Error::from).and_then(|d| latest(&d));
        match ours {
            Ok(ours) if ours > theirs && !force => bail!(
                "the database has news from {}, and the copy ends at {}: --force takes the copy, and keeps the database \
                 beside it",
                ours.0,
                theirs.0
            ),
            Ok(_) => {}
            // A damaged one is why people restore.
            Err(error) => {
                eprintln!("the database that is there can't be read ({error:#}): it is kept beside");
            }
        }
        let kept = path.with_extension(format!("db.before-restore-{}", now.get()));
        std::fs::rename(path, &kept).with_context(|| format!("putting {} aside", path.display()))?;
        for suffix in ["-wal", "-shm"] {
            let with = |path: &Path| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                PathBuf::from(name)
            };
            let _ = std::fs::rename(with(path), with(&kept));
        }
        aside = Some(kept);
    }
    let database = Database::open_existing(beside, now)?;
    database.copy_to(path).with_context(|| format!("writing {}", path.display()))?;
    Ok(aside)
}

/// A service that goes on writing into a file that was renamed would lose what it writes.
fn ensure_stopped(path: &Path) -> Result<()> {
    let listen = path.with_file_name("listen");
    let Some(at) = file::read(&listen)? else { return Ok(()) };
    let Ok(at) = at.parse::<std::net::SocketAddr>() else { return Ok(()) };
    let ip = if at.ip().is_unspecified() { std::net::Ipv4Addr::LOCALHOST.into() } else { at.ip() };
    let there =
        std::net::TcpStream::connect_timeout(&(ip, at.port()).into(), std::time::Duration::from_secs(1));
    ensure!(there.is_err(), "the service is running (something answers at {at}): stop it first");
    Ok(())
}
