//! `cargo xtask image-test BOARD`: boots the finished image in QEMU, in a network that leads nowhere, and looks at it as
//! a viewer would.
//!
//! Software emulation is all that it needs. Nothing in the image is made for it. Every wait has a limit, and what went
//! wrong is said with the end of the console.

mod cuts;
mod firmware;
mod friend;
mod full;
mod guest;
mod loss;
mod meter;
mod multicast;
mod office;
mod outside;
mod place;
mod renewal;
mod street;
mod studio;
mod trial;
mod wifi;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::apt::{Consent, Purpose};
use crate::build::{MeshBinaries, Profile};
use crate::deb::Arch;
use crate::image::{self, Board, Pack, Qemu, Versions};
use crate::stop::Stop;
use crate::{apt, build, command, deb};
use cuts::Cuts;
use friend::Friend;
use office::Office;
use street::Street;
use trial::Trial;

/// Whose box it is.
const FRIEND: &str = "ana";
/// A card of 4 GB, which are fewer than 4 GiB.
const CARD_BYTES: u64 = 3_900_000_000;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// One of the folders in board/ that QEMU can play
    board: String,
    /// Take this package of the daemon, and build none
    #[arg(long, value_name = "FILE")]
    relayd: Option<PathBuf>,
    /// After the first start only this
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Nothing but power cuts, so many, at random moments of first starts and of running
    #[arg(long, value_name = "COUNT", conflicts_with = "only", value_parser = clap::value_parser!(u32).range(1..))]
    cuts: Option<u32>,
    /// Where the moments of cuts come from
    #[arg(long, default_value_t = 1, requires = "cuts")]
    seed: u64,
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
}

/// Parts of a box's life that can be tried by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The loader's environment torn; a mistake in the friend's file
    Torn,
    /// The loader's environment empty; an invite of another mesh
    Empty,
    /// The hardware watchdog
    Watchdog,
    /// Cards that are too small; an invite that was used
    Small,
    /// The loader's environment missing; what a box writes to its card that has nothing to do
    Idle,
    /// A data partition without room: what was kept stays, what can't be kept is refused
    Full,
    /// A data partition that is torn, of another kind, made new by its friend, or gone
    Data,
    /// Wi-Fi of a box without an invite, with radios that the kernel plays, and a box made new
    Wifi,
}

/// How much is tried.
#[derive(Clone, Debug)]
enum Depth {
    /// Two starts, of an image of its own that nobody hands out.
    Smoke,
    Whole(Vec<Part>),
    Cuts(Cuts),
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let depth = match args.cuts {
        Some(count) => Depth::Cuts(Cuts { count, seed: args.seed }),
        None if args.only.is_empty() => Depth::Whole(Part::value_variants().to_vec()),
        None => Depth::Whole(args.only.clone()),
    };
    boot(&Board::read(&args.board)?, args.relayd.as_deref(), &depth, Consent::from_yes(args.yes))
}

/// The smoke boots an image with debug binaries that nobody packs.
pub(crate) fn profile(smoke: bool, consent: Consent) -> Result<()> {
    let board = Board::read("efi-x86_64")?;
    if !smoke {
        return boot(&board, None, &Depth::Whole(Part::value_variants().to_vec()), consent);
    }
    let made = deb::shipped(board.arch, env!("CARGO_PKG_VERSION").to_owned(), Profile::Debug, consent)?;
    let relayd = made.iter().find(|path| path.to_string_lossy().contains("/relayd_"));
    boot(&board, Some(relayd.context("no package of the daemon was made")?), &Depth::Smoke, consent)
}

fn boot(board: &Board, relayd: Option<&Path>, depth: &Depth, consent: Consent) -> Result<()> {
    let emulator = match board.arch {
        Arch::Amd64 => Purpose::EmulatePc,
        Arch::Arm64 => Purpose::EmulateArm,
    };
    apt::require(&[emulator, Purpose::Street, Purpose::Run, Purpose::Publish], consent)?;
    let place = command::target().join("image-test").join(&board.id);
    let (own, versions) = match depth {
        Depth::Smoke => (Some(place.as_path()), Versions::Served),
        Depth::Whole(_) | Depth::Cuts(_) => (None, Versions::Locked),
    };
    let image = image::make(board, relayd, own, Pack::Disk, versions, consent)?;
    if board.imager.is_some() {
        firmware::check(board, &image.disk)?;
    }
    let Some(qemu) = &board.qemu else {
        println!("{}: QEMU can't play it, so nothing was started", board.id);
        return Ok(());
    };
    let dir = place.join("run");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("clearing {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let binaries = build::mesh_with_media(Profile::Debug)?;
    let setting = Setting { board, qemu, image: &image.disk, dir: &dir, binaries: &binaries };
    setting.play(depth)
}

/// What a run is made of before anything is started.
struct Setting<'a> {
    board: &'a Board,
    qemu: &'a Qemu,
    image: &'a Path,
    dir: &'a Path,
    binaries: &'a MeshBinaries,
}

impl Setting<'_> {
    fn play(&self, depth: &Depth) -> Result<()> {
        let Setting { board, qemu, image, dir, binaries } = *self;
        let stop = Stop::on_signals()?;
        let street = Street::open(dir)?;
        let office = Office::open(&street, &binaries.coordinator, dir, &stop)?;
        let card = dir.join("card.img");
        let trial = Trial {
            board,
            qemu,
            name: FRIEND,
            card: &card,
            dir,
            street: &street,
            office: &office,
            stop: &stop,
        };
        if qemu.loader.is_some() {
            guest::card(image, outside::CARD_BYTES, &card)?;
            outside::seen(&trial)?;
            return fs::remove_file(&card).context("removing the card");
        }
        match depth {
            Depth::Cuts(cuts) => return cuts.run(&trial, image),
            Depth::Smoke => self.life(&trial, None)?,
            Depth::Whole(parts) => {
                if parts.iter().any(|part| *part != Part::Wifi) {
                    self.life(&trial, Some(parts))?;
                }
                if !parts.contains(&Part::Wifi) {
                    return fs::remove_file(&card).context("removing the card");
                }
                guest::card(image, CARD_BYTES, &card)?;
                wifi::trial(&trial)?;
            }
        }
        fs::remove_file(&card).context("removing the card")
    }

    /// The first start, and then these parts; a smoke has one. What is not handed out has no budget.
    fn life(&self, trial: &Trial<'_>, parts: Option<&[Part]>) -> Result<()> {
        guest::card(self.image, CARD_BYTES, trial.card)?;
        let mut friend = Friend::open(trial.street, trial.office, &self.binaries.relayd, self.dir)?;
        let slip = trial.first(&mut friend, parts.is_some())?;
        friend.rest();
        let has = |part| parts.map_or(part == Part::Torn, |parts| parts.contains(&part));
        if has(Part::Torn) {
            trial.torn_environment()?;
        }
        if has(Part::Empty) {
            trial.empty_environment()?;
        }
        if has(Part::Watchdog) {
            trial.still()?;
        }
        if has(Part::Small) {
            let small = self.dir.join("small.img");
            Trial { card: &small, ..*trial }.too_small(self.image, &slip)?;
        }
        if has(Part::Full) {
            full::trial(trial, &mut friend)?;
        }
        drop(friend);
        if has(Part::Idle) {
            trial.idle()?;
        }
        // After this there is no card to go on with.
        if has(Part::Data) {
            loss::trial(trial)?;
        }
        Ok(())
    }
}
