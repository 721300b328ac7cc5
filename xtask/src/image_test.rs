//! `cargo xtask image-test BOARD`: boots the finished image in QEMU, in a network that leads nowhere, and looks at it as
//! a viewer would.
//!
//! Software emulation is all that it needs. Nothing in the image is made for it. Every wait has a limit, and what went
//! wrong is said with the end of the console.

mod guest;
mod multicast;
mod office;
mod place;
mod street;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::apt::{Consent, Purpose};
use crate::build::Profile;
use crate::deb::Arch;
use crate::image::{self, Board, Pack};
use crate::stop::Stop;
use crate::{apt, build, command, deb};
use guest::Guest;
use office::Office;
use place::Place;
use street::Street;

/// Whose box it is.
const FRIEND: &str = "ana";
/// As each invite begins.
const INVITE: &str = "RELAYBOX1";
const JOIN_LIMIT: Duration = Duration::from_secs(120);
/// How long an answer over the network may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// From the page's first answer until every unit had its turn.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// The data partition of the card that is tried, once it has grown: the card has 3.9 GB.
const DATA_BYTES_MIN: u64 = 1_300_000_000;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// One of the folders in board/ that QEMU can play
    board: String,
    /// Take this package of the daemon, and build none
    #[arg(long, value_name = "FILE")]
    relayd: Option<PathBuf>,
    /// Install missing Debian packages without a question
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    boot(&Board::read(&args.board)?, args.relayd.as_deref(), Pack::Whole, Consent::from_yes(args.yes))
}

/// The smoke boots an image with debug binaries that nobody packs.
pub(crate) fn profile(smoke: bool, consent: Consent) -> Result<()> {
    let board = Board::read("efi-x86_64")?;
    if !smoke {
        return boot(&board, None, Pack::Whole, consent);
    }
    let made = deb::shipped(board.arch, env!("CARGO_PKG_VERSION").to_owned(), Profile::Debug, consent)?;
    let relayd = made.iter().find(|path| path.to_string_lossy().contains("/relayd_"));
    boot(&board, Some(relayd.context("no package of the daemon was made")?), Pack::Disk, consent)
}

fn boot(board: &Board, relayd: Option<&Path>, pack: Pack, consent: Consent) -> Result<()> {
    let qemu = board.qemu.as_ref().with_context(|| format!("QEMU can't play {}", board.id))?;
    let emulator = match board.arch {
        Arch::Amd64 => Purpose::EmulatePc,
        Arch::Arm64 => Purpose::EmulateArm,
    };
    apt::require(&[emulator, Purpose::Street], consent)?;
    let place = command::target().join("image-test").join(&board.id);
    let image = image::make(board, relayd, (pack == Pack::Disk).then_some(place.as_path()), pack, consent)?;
    let dir = place.join("run");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("clearing {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let stop = Stop::on_signals()?;
    let card = dir.join("card.img");
    guest::card(&image.disk, &card)?;
    let street = Street::open(&dir)?;
    let limit = Duration::from_secs(qemu.boot_s_max);
    let coordinator = build::mesh(Profile::Debug)?.coordinator;
    let office = Office::open(&street, &coordinator, &dir, &stop)?;
    let place = Place::find(&card)?;
    office.invite_into(FRIEND, &card)?;
    ensure!(place.holds(INVITE)?, "the invite is not on the card");

    let mut guest = Guest::start(qemu, &card, &street, &dir)?;
    let took = guest.wait("the box's page answers", limit, &stop, |_| answers(&street, "relaybox"))?;
    println!("{}: http://relaybox.local answers {} s after the start", board.id, took.as_secs());
    settled(&mut guest, &stop)?;
    first_start(&mut guest)?;
    let took =
        guest.wait("the box joins by the invite on its card", JOIN_LIMIT, &stop, |_| office.sees(FRIEND))?;
    println!("{}: in the mesh {} s after that, by the invite on its card", board.id, took.as_secs());
    guest.sh("test ! -e /data/box/invite").context("the invite is kept after it was used")?;
    guest.kill();
    ensure!(!place.holds(INVITE)?, "the invite can still be read on the card");
    place.put("relaybox.toml", "# a slip\nname = \"my box\"\n")?;

    let mut guest = Guest::start(qemu, &card, &street, &dir)?;
    let took = guest
        .wait("it comes back after the plug was pulled", limit, &stop, |_| answers(&street, "relaybox"))?;
    println!("{}: plug pulled, and back after {} s", board.id, took.as_secs());
    settled(&mut guest, &stop)?;
    guest.wait("the box is in its mesh again", JOIN_LIMIT, &stop, |_| office.sees(FRIEND))?;
    guest.kill();
    let error = place.read("RELAYBOX-ERROR.txt").context("nothing says what is wrong with the file")?;
    ensure!(error.contains("line 2: \"my box\" is no name"), "on the card stands: {error}");
    println!("{}: in the mesh again; a wrong file was answered on the card", board.id);
    fs::remove_file(&card).context("removing the card")?;
    Ok(())
}

/// By mDNS, as a phone would: its page, and that it is well.
fn answers(street: &Street, name: &str) -> Result<()> {
    let host = street.resolve(&format!("{name}.local"))?;
    street.fetch(&format!("http://{host}/healthz"))?;
    let page = street.fetch(&format!("http://{host}/"))?;
    ensure!(page.contains("<html"), "the page is none: {page}");
    Ok(())
}

/// Every unit had its turn, and none failed.
fn settled(guest: &mut Guest, stop: &Stop) -> Result<()> {
    guest.wait("every unit has had its turn", SETTLE_LIMIT, stop, |guest| {
        let state = guest.sh("systemctl is-system-running || true")?;
        ensure!(!matches!(state.trim(), "starting" | "initializing"), "the system is {}", state.trim());
        Ok(())
    })?;
    let state = guest.sh("systemctl is-system-running || true")?;
    let failed = guest.sh(
        "systemctl --failed --plain --no-legend; journalctl --boot --priority err --no-pager --lines 15",
    )?;
    ensure!(state.trim() == "running", "the system is {}:\n{failed}", state.trim());
    let took =
        guest.sh("systemd-analyze | head --lines 1; systemd-analyze blame --no-pager | head --lines 4")?;
    println!("systemd says: {}; no unit failed. {}", state.trim(), took.trim().replace('\n', ";"));
    Ok(())
}

/// What is done once in a box's life, and how it stands after that.
fn first_start(guest: &mut Guest) -> Result<()> {
    let bytes = guest.sh("stat --file-system --format '%b %S' /data")?;
    let (blocks, size) = bytes.trim().split_once(' ').context("no size of /data")?;
    let bytes = blocks.parse::<u64>()? * size.parse::<u64>()?;
    ensure!(bytes >= DATA_BYTES_MIN, "the data partition has {bytes} bytes, and did not grow");
    guest.sh("! touch /usr/written && ! touch /etc/written").context("the root can be written to")?;
    let environment =
        "mount /run/relaybox-loader && cat /run/relaybox-loader/grub/grubenv; umount /run/relaybox-loader";
    let environment = guest.sh(&format!("mkdir -p /run/relaybox-loader; {environment}"))?;
    ensure!(
        environment.lines().any(|line| line == "A_TRY=0") && environment.lines().any(|line| line == "A_OK=1"),
        "the slot was not called good: {environment}"
    );
    let uid = guest.sh("stat --format %u /var/lib/relaybox/pin")?;
    ensure!(uid.trim() == "970", "what the daemon keeps belongs to {}", uid.trim());
    println!("the data partition grew to {bytes} bytes, the root is read-only, and the slot was called good");
    Ok(())
}
