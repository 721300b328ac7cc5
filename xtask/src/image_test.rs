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
use crate::image::{self, Board, Pack, Qemu, Role, Versions};
use crate::stop::Stop;
use crate::{apt, build, command, deb, memory};
use guest::Guest;
use office::Office;
use place::Place;
use street::Street;

/// Whose box it is.
const FRIEND: &str = "ana";
/// As each invite begins.
const INVITE: &str = "RELAYBOX1";
/// The loader's environment, on its partition.
const ENVIRONMENT: &str = "grub/grubenv";
/// RuntimeWatchdogSec, a second stage as long, which some have, and firmware until the loader speaks.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(120);
const JOIN_LIMIT: Duration = Duration::from_secs(120);
/// How long an answer over the network may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// From the page's first answer until every unit had its turn.
const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// A card of 4 GB, which are fewer than 4 GiB.
const CARD_BYTES: u64 = 3_900_000_000;
/// Its data partition, once that has grown.
const DATA_BYTES_MIN: u64 = 1_300_000_000;
/// What is sold as 2 GB: the image does not fit.
const CARD_BYTES_CUT: u64 = 1_900_000_000;
/// From power until the loader speaks.
const LOADER_LIMIT: Duration = Duration::from_secs(120);
/// The screen looks every 3 s at what there is to say.
const SCREEN_LIMIT: Duration = Duration::from_secs(60);

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
    boot(&Board::read(&args.board)?, args.relayd.as_deref(), Depth::Whole, Consent::from_yes(args.yes))
}

/// The smoke boots an image with debug binaries that nobody packs.
pub(crate) fn profile(smoke: bool, consent: Consent) -> Result<()> {
    let board = Board::read("efi-x86_64")?;
    if !smoke {
        return boot(&board, None, Depth::Whole, consent);
    }
    let made = deb::shipped(board.arch, env!("CARGO_PKG_VERSION").to_owned(), Profile::Debug, consent)?;
    let relayd = made.iter().find(|path| path.to_string_lossy().contains("/relayd_"));
    boot(&board, Some(relayd.context("no package of the daemon was made")?), Depth::Smoke, consent)
}

/// How much of a box's life is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    /// Two starts, of an image of its own that nobody hands out
    Smoke,
    Whole,
}

fn boot(board: &Board, relayd: Option<&Path>, depth: Depth, consent: Consent) -> Result<()> {
    let qemu = board.qemu.as_ref().with_context(|| format!("QEMU can't play {}", board.id))?;
    let emulator = match board.arch {
        Arch::Amd64 => Purpose::EmulatePc,
        Arch::Arm64 => Purpose::EmulateArm,
    };
    apt::require(&[emulator, Purpose::Street], consent)?;
    let place = command::target().join("image-test").join(&board.id);
    let (own, versions) = match depth {
        Depth::Smoke => (Some(place.as_path()), Versions::Served),
        Depth::Whole => (None, Versions::Locked),
    };
    let image = image::make(board, relayd, own, Pack::Disk, versions, consent)?;
    let dir = place.join("run");
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("clearing {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let stop = Stop::on_signals()?;
    let card = dir.join("card.img");
    guest::card(&image.disk, CARD_BYTES, &card)?;
    let street = Street::open(&dir)?;
    let coordinator = build::mesh(Profile::Debug)?.coordinator;
    let office = Office::open(&street, &coordinator, &dir, &stop)?;
    let small = dir.join("small.img");
    let trial = Trial { board, qemu, card: &card, dir: &dir, street: &street, office: &office, stop: &stop };
    trial.first()?;
    trial.second()?;
    if depth == Depth::Whole {
        trial.without_environment()?;
        trial.still()?;
        Trial { card: &small, ..trial }.too_small(&image.disk)?;
    }
    fs::remove_file(&card).context("removing the card")
}

/// A box's life, start by start. Each ends by a pulled plug.
struct Trial<'a> {
    board: &'a Board,
    qemu: &'a Qemu,
    card: &'a Path,
    dir: &'a Path,
    street: &'a Street,
    office: &'a Office<'a>,
    stop: &'a Stop,
}

impl Trial<'_> {
    /// Until its page answers, every unit had its turn, and the slot was called good.
    fn start(&self, what: &str) -> Result<Guest> {
        let mut guest = Guest::start(self.qemu, self.card, self.street, self.dir)?;
        let limit = Duration::from_secs(self.qemu.boot_s_max);
        let took = guest.wait(what, limit, self.stop, |_| answers(self.street, "relaybox"))?;
        println!("{}: {what}: http://relaybox.local answers after {} s", self.board.id, took.as_secs());
        settled(&mut guest, self.stop)?;
        called_good(&mut guest)?;
        Ok(guest)
    }

    fn in_the_mesh(&self, guest: &mut Guest) -> Result<()> {
        let took =
            guest.wait("the box is in its mesh", JOIN_LIMIT, self.stop, |_| self.office.sees(FRIEND))?;
        println!("{}: in the mesh {} s after that", self.board.id, took.as_secs());
        Ok(())
    }

    /// With the invite on the card.
    fn first(&self) -> Result<()> {
        let place = Place::find(self.card, Role::Card)?;
        self.office.invite_into(FRIEND, self.card)?;
        ensure!(place.holds(INVITE)?, "the invite is not on the card");
        let mut guest = self.start("the first start")?;
        grown(&mut guest)?;
        self.in_the_mesh(&mut guest)?;
        guest.sh("test ! -e /data/box/invite").context("the invite is kept after it was used")?;
        let held = memory::pss_kib(&guest.sh(memory::ASK)?)?;
        println!("{}: idle in the mesh the daemon holds {held} KiB (PSS)", self.board.id);
        memory::judge(held)?;
        guest.kill();
        ensure!(!place.holds(INVITE)?, "the invite can still be read on the card");
        Ok(())
    }

    /// With a slip on the card, and the loader's environment torn.
    fn second(&self) -> Result<()> {
        let place = Place::find(self.card, Role::Card)?;
        place.put("relaybox.toml", "# a slip\nname = \"my box\"\n")?;
        Place::find(self.card, Role::Loader)?.put(ENVIRONMENT, "# GRUB Envi A_TRY=7\n\u{1}ORDER=")?;
        let mut guest = self.start("a torn environment")?;
        self.in_the_mesh(&mut guest)?;
        self.shown(&mut guest, "line 2: \"my box\" is no name")?;
        guest.kill();
        let error = place.read("RELAYBOX-ERROR.txt").context("nothing says what is wrong with the file")?;
        ensure!(error.contains("line 2: \"my box\" is no name"), "on the card stands: {error}");
        println!("{}: the mistake was answered on the card", self.board.id);
        Ok(())
    }

    fn without_environment(&self) -> Result<()> {
        let place = Place::find(self.card, Role::Loader)?;
        place.put(ENVIRONMENT, "")?;
        self.start("an empty environment")?.kill();
        place.remove(ENVIRONMENT)?;
        self.start("no environment")?.kill();
        Ok(())
    }

    /// On a card that the image just fills, the box runs and says so; from one that it does not fit, the loader speaks.
    fn too_small(&self, image: &Path) -> Result<()> {
        let whole = image.metadata().context("looking at the image")?.len();
        guest::card(image, whole, self.card)?;
        let mut guest = self.start("a card with no room for data")?;
        self.shown(&mut guest, "The card is too small: it has 2.3 GB")?;
        guest.kill();
        guest::card(image, CARD_BYTES_CUT, self.card)?;
        let mut guest = Guest::start(self.qemu, self.card, self.street, self.dir)?;
        let took = guest.wait("the loader speaks of a card too small", LOADER_LIMIT, self.stop, |guest| {
            ensure!(guest.said("Is it smaller than 4 GB"), "it says nothing of it");
            Ok(())
        })?;
        guest.kill();
        println!("{}: a card of 2 GB: the loader says so after {} s", self.board.id, took.as_secs());
        fs::remove_file(self.card).context("removing the small card")
    }

    /// On the screen, and for the page.
    fn shown(&self, guest: &mut Guest, words: &str) -> Result<()> {
        let street = self.street;
        guest.wait("the screen says it", SCREEN_LIMIT, self.stop, |guest| {
            // The letters on the first screen (vcs(4)), row after row.
            let screen = guest.sh("cat /dev/vcs1")?;
            ensure!(screen.contains(words), "on the screen stands: {screen}");
            Ok(())
        })?;
        let host = street.resolve("relaybox.local")?;
        let list = street.fetch(&format!("http://{host}/live/index.json"))?;
        // As JSON has it.
        ensure!(list.contains(&words.replace('"', "\\\"")), "the page is told: {list}");
        println!("{}: on the screen and the page: {words}", self.board.id);
        Ok(())
    }

    /// The first process stands still: nothing but the watchdog can help.
    fn still(&self) -> Result<()> {
        let mut guest = self.start("an ordinary start")?;
        let before = guest.loads();
        let watchdog =
            guest.sh("cat /sys/class/watchdog/watchdog0/identity /sys/class/watchdog/watchdog0/timeout")?;
        // systemd's answer to a fault of its own is to stand still (systemd(1), CrashAction).
        guest.sh("kill -SEGV 1")?;
        let took = guest.wait("the watchdog starts it again", WATCHDOG_LIMIT, self.stop, |guest| {
            ensure!(guest.loads() > before, "it still stands");
            Ok(())
        })?;
        let watchdog = watchdog.trim().replace('\n', ", ");
        println!(
            "{}: the watchdog ({watchdog} s) fired: the loader again after {} s",
            self.board.id,
            took.as_secs()
        );
        guest.kill();
        Ok(())
    }
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
fn grown(guest: &mut Guest) -> Result<()> {
    let bytes = guest.sh("stat --file-system --format '%b %S' /data")?;
    let (blocks, size) = bytes.trim().split_once(' ').context("no size of /data")?;
    let bytes = blocks.parse::<u64>()? * size.parse::<u64>()?;
    ensure!(bytes >= DATA_BYTES_MIN, "the data partition has {bytes} bytes, and did not grow");
    guest.sh("! touch /usr/written && ! touch /etc/written").context("the root can be written to")?;
    let uid = guest.sh("stat --format %u /var/lib/relaybox/pin")?;
    ensure!(uid.trim() == "970", "what the daemon keeps belongs to {}", uid.trim());
    println!("the data partition grew to {bytes} bytes, and the root is read-only");
    Ok(())
}

/// What the loader reads at the next start.
fn called_good(guest: &mut Guest) -> Result<()> {
    let read = format!("cat /run/relaybox-loader/{ENVIRONMENT}");
    let said = guest.sh(&format!(
        "mkdir -p /run/relaybox-loader; mount /run/relaybox-loader && {read}; umount /run/relaybox-loader"
    ))?;
    let has = |wanted: &str| said.lines().any(|line| line == wanted);
    ensure!(said.starts_with("# GRUB Environment Block\n"), "the environment is none: {said}");
    ensure!(has("A_TRY=0") && has("A_OK=1"), "the slot was not called good: {said}");
    Ok(())
}
