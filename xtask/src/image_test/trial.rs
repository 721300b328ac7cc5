//! A box's life, start by start. Each ends by a pulled plug.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::friend::{self, Friend};
use super::guest::{self, Guest};
use super::office::Office;
use super::place::Place;
use super::street::Street;
use crate::image::{Board, Qemu, Role};
use crate::memory;
use crate::stop::Stop;
use crate::viewer::Viewer;

/// As each invite begins.
pub(super) const INVITE: &str = "RELAYBOX1";
/// The loader's environment, on its partition.
pub(super) const ENVIRONMENT: &str = "grub/grubenv";
/// RuntimeWatchdogSec, a second stage as long, which some have, and firmware until the loader speaks.
const WATCHDOG_LIMIT: Duration = Duration::from_secs(120);
const JOIN_LIMIT: Duration = Duration::from_secs(120);
/// From the page's first answer until every unit had its turn.
pub(super) const SETTLE_LIMIT: Duration = Duration::from_secs(120);
/// Its data partition, once that has grown.
pub(super) const DATA_BYTES_MIN: u64 = 1_300_000_000;
/// What is sold as 2 GB: the image does not fit.
const CARD_BYTES_CUT: u64 = 1_900_000_000;
/// From power until the loader speaks.
const LOADER_LIMIT: Duration = Duration::from_secs(120);
/// The screen looks every 3 s at what there is to say.
const SCREEN_LIMIT: Duration = Duration::from_secs(60);
/// What a friend writes on the card.
pub(super) const SLIP: &str = "relaybox.toml";
/// In the coordinator's answer to an invite by which another box came in.
const USED: &str = "each one lets in one box";
/// Where the box keeps count of refusals, after the words.
const REFUSALS: &str = "/run/relaybox/join-error";
/// After so many the card says it.
const TRIES: u32 = 3;
/// After 5 s, and then after ever more.
const REFUSED_LIMIT: Duration = Duration::from_secs(180);
/// Until the box has found its friend and its way there.
const PICTURE_LIMIT: Duration = Duration::from_secs(180);
/// So much of a stream is enough for a verdict.
const SEEN_S: f64 = 10.0;
/// How long an idle box is looked at: it keeps its clock's time every ten minutes.
const IDLE_WINDOW: Duration = Duration::from_secs(630);
const DAY: Duration = Duration::from_secs(86_400);
/// What may be written to the card on an idle day.
const IDLE_BYTES_MAX: u64 = 50_000_000;

/// One box, and what is around it.
#[derive(Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) board: &'a Board,
    pub(super) qemu: &'a Qemu,
    /// Its name in the mesh.
    pub(super) name: &'a str,
    pub(super) card: &'a Path,
    pub(super) dir: &'a Path,
    pub(super) street: &'a Street,
    pub(super) office: &'a Office<'a>,
    pub(super) stop: &'a Stop,
}

impl Trial<'_> {
    pub(super) fn power_on(&self) -> Result<Guest> {
        Guest::start(self.qemu, self.card, self.street, self.dir)
    }

    /// Until its page answers, every unit had its turn, and the slot was called good.
    pub(super) fn start(&self, what: &str) -> Result<Guest> {
        let mut guest = self.power_on()?;
        let limit = Duration::from_secs(self.qemu.boot_s_max);
        let took = guest.wait(what, limit, self.stop, |_| answers(self.street, "relaybox"))?;
        println!("{}: {what}: http://relaybox.local answers after {} s", self.board.id, took.as_secs());
        settled(&mut guest, self.stop)?;
        called_good(&mut guest)?;
        Ok(guest)
    }

    /// Its address there.
    pub(super) fn in_the_mesh(&self, guest: &mut Guest) -> Result<String> {
        let mut address = String::new();
        let took = guest.wait("the box is in its mesh", JOIN_LIMIT, self.stop, |_| {
            address = self.office.sees(self.name)?;
            Ok(())
        })?;
        println!("{}: in the mesh {} s after that", self.board.id, took.as_secs());
        Ok(address)
    }

    /// With the invite on the card; what stood there. Budgets are for what is handed out.
    pub(super) fn first(&self, friend: &mut Friend<'_>, has_budget: bool) -> Result<String> {
        let place = Place::find(self.card, Role::Card)?;
        self.office.invite_into(self.name, self.card)?;
        ensure!(place.holds(INVITE)?, "the invite is not on the card");
        let slip = place.read(SLIP)?;
        let mut guest = self.start("the first start")?;
        grown(&mut guest)?;
        self.in_the_mesh(&mut guest)?;
        guest.sh("test ! -e /data/box/invite").context("the invite is kept after it was used")?;
        let idle = memory::pss_kib(&guest.sh(memory::ASK)?)?;
        println!("{}: idle in the mesh the daemon holds {idle} KiB (PSS)", self.board.id);
        let carrying = self.relays(&mut guest, friend)?;
        println!("{}: while it relays that, {carrying} KiB", self.board.id);
        if has_budget {
            memory::judge(memory::Load::Idle, idle)?;
            memory::judge(memory::Load::Carrying, carrying)?;
        }
        guest.kill();
        ensure!(!place.holds(INVITE)?, "the invite can still be read on the card");
        Ok(slip)
    }

    /// What is published in another household comes to a viewer at home, whole; what the daemon holds meanwhile.
    pub(super) fn relays(&self, guest: &mut Guest, friend: &mut Friend<'_>) -> Result<u64> {
        friend.publish()?;
        let host = self.street.resolve("relaybox.local")?;
        let (url, sample) = (format!("http://{host}"), self.dir.join("sample.mp4"));
        let viewer = Viewer::start_inside(self.street.at_the_viewer()?, &url, friend::STREAM, sample);
        let seen = guest.wait("a viewer sees the friend's stream", PICTURE_LIMIT, self.stop, |_| {
            let tally = viewer.tally();
            let fault = tally.last_fault.unwrap_or_default();
            ensure!(
                tally.media_s >= SEEN_S,
                "{:.1} s were read, {} parts missing: {fault}",
                tally.media_s,
                tally.gaps
            );
            Ok(())
        });
        let took = seen.with_context(|| format!("at the friend's:\n{}", friend.logs()))?;
        let held = memory::pss_kib(&guest.sh(memory::ASK)?)?;
        let (_, verdict) = viewer.finish()?;
        verdict.demand(true)?;
        println!(
            "{}: relays a friend's stream: {SEEN_S} s of it after {} s; {verdict}",
            self.board.id,
            took.as_secs()
        );
        Ok(held)
    }

    /// With a slip on the card, and the loader's environment torn.
    pub(super) fn torn_environment(&self) -> Result<()> {
        let place = Place::find(self.card, Role::Card)?;
        place.put(SLIP, "# a slip\nname = \"my box\"\n")?;
        Place::find(self.card, Role::Loader)?.put(ENVIRONMENT, "# GRUB Envi A_TRY=7\n\u{1}ORDER=")?;
        let mut guest = self.start("a torn environment")?;
        self.in_the_mesh(&mut guest)?;
        self.shown(&mut guest, "line 2: \"my box\" is no name")?;
        guest.kill();
        self.said_on_card("line 2: \"my box\" is no name")
    }

    /// With an invite of another mesh on the card. A box stays where it is.
    pub(super) fn empty_environment(&self) -> Result<()> {
        let (card, loader) = (Place::find(self.card, Role::Card)?, Place::find(self.card, Role::Loader)?);
        card.put(SLIP, &format!("invite = \"{}\"\n", self.office.foreign_invite(self.name)?))?;
        loader.put(ENVIRONMENT, "")?;
        let mut guest = self.start("an empty environment")?;
        self.in_the_mesh(&mut guest)?;
        self.refused(&mut guest, "the invite is for another mesh")?;
        self.office.sees(self.name).context("the foreign invite took the box out of its mesh")?;
        guest.kill();
        self.said_on_card("the invite is for another mesh")
    }

    /// Without the loader's environment. What a box writes that does nothing but belong to its mesh.
    pub(super) fn idle(&self) -> Result<()> {
        Place::find(self.card, Role::Loader)?.remove(ENVIRONMENT)?;
        let mut guest = self.start("no environment")?;
        self.in_the_mesh(&mut guest)?;
        // An invite that was refused is tried for ever, which is not nothing.
        guest.sh("systemctl stop relaybox-join && sync")?;
        let mut meter = guest.meter(self.stop)?;
        let before = meter.written()?;
        self.stop.wait(IDLE_WINDOW);
        let after = meter.written()?;
        ensure!(!guest.has_ended() && !self.stop.wanted(), "the idle box was not looked at to the end");
        self.office.sees(self.name).context("the idle box left its mesh")?;
        let (bytes, writes) = (after.bytes - before.bytes, after.writes - before.writes);
        let day = bytes * DAY.as_secs() / IDLE_WINDOW.as_secs();
        println!(
            "{}: an idle box wrote {bytes} bytes in {} s ({writes} writes), which is {:.1} MB a day",
            self.board.id,
            IDLE_WINDOW.as_secs(),
            day as f64 / 1e6
        );
        ensure!(day <= IDLE_BYTES_MAX, "an idle box writes {day} bytes a day, more than {IDLE_BYTES_MAX}");
        guest.kill();
        Ok(())
    }

    /// On a card that the image just fills, the box runs and says so; from one that it does not fit, the loader speaks.
    /// The slip has been used by another box.
    pub(super) fn too_small(&self, image: &Path, slip: &str) -> Result<()> {
        let whole = image.metadata().context("looking at the image")?.len();
        guest::card(image, whole, self.card)?;
        Place::find(self.card, Role::Card)?.put(SLIP, slip)?;
        let mut guest = self.start("a card with no room for data")?;
        self.shown(&mut guest, "The card is too small: it has 2.3 GB")?;
        self.refused(&mut guest, USED)?;
        guest.sh("test ! -e /var/lib/relaybox/mesh/mesh.json").context("a used invite lets a box in")?;
        guest.kill();
        self.said_on_card(USED)?;
        guest::card(image, CARD_BYTES_CUT, self.card)?;
        let mut guest = self.power_on()?;
        let took = guest.wait("the loader speaks of a card too small", LOADER_LIMIT, self.stop, |guest| {
            ensure!(guest.said("Is it smaller than 4 GB"), "it says nothing of it");
            Ok(())
        })?;
        guest.kill();
        println!("{}: a card of 2 GB: the loader says so after {} s", self.board.id, took.as_secs());
        fs::remove_file(self.card).context("removing the small card")
    }

    /// On the screen, and for the page.
    pub(super) fn shown(&self, guest: &mut Guest, words: &str) -> Result<()> {
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

    /// By the coordinator, so often in the same words that the card says it as well.
    fn refused(&self, guest: &mut Guest, words: &str) -> Result<()> {
        self.shown(guest, words)?;
        let tries =
            format!("tail --lines 1 {REFUSALS}; systemctl show --property SubState --value relaybox-join");
        let took = guest.wait("the card says why", REFUSED_LIMIT, self.stop, |guest| {
            let said = guest.sh(&tries)?;
            let (count, state) = said.trim().split_once('\n').context("nothing was tried")?;
            ensure!(
                count.parse::<u32>()? >= TRIES && state == "auto-restart",
                "tried {count} times, {state}"
            );
            Ok(())
        })?;
        println!("{}: tried {TRIES} times within {} s after that", self.board.id, took.as_secs());
        Ok(())
    }

    /// While the box is off.
    pub(super) fn said_on_card(&self, words: &str) -> Result<()> {
        let error = Place::find(self.card, Role::Card)?.read("RELAYBOX-ERROR.txt");
        let error = error.context("nothing says on the card what is wrong")?;
        ensure!(error.contains(words), "on the card stands: {error}");
        println!("{}: on the card: {words}", self.board.id);
        Ok(())
    }

    /// The first process stands still: nothing but the watchdog can help.
    pub(super) fn still(&self) -> Result<()> {
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
pub(super) fn answers(street: &Street, name: &str) -> Result<()> {
    let host = street.resolve(&format!("{name}.local"))?;
    street.fetch(&format!("http://{host}/healthz"))?;
    let page = street.fetch(&format!("http://{host}/"))?;
    ensure!(page.contains("<html"), "the page is none: {page}");
    Ok(())
}

/// Every unit had its turn, and none failed.
pub(super) fn settled(guest: &mut Guest, stop: &Stop) -> Result<()> {
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
    println!("its first process had read its units {:.1} s after it was started", unfed(guest)?);
    Ok(())
}

/// Until systemd has run generators and read units. It opens the watchdog on the way, and feeds it only after that.
fn unfed(guest: &mut Guest) -> Result<f64> {
    let names = "UserspaceTimestampMonotonic,UnitsLoadFinishTimestampMonotonic";
    let said = guest.sh(&format!("systemctl show --value --property {names}"))?;
    let times: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [one, other] = times[..] else { anyhow::bail!("systemd says of its start: {said}") };
    Ok(one.abs_diff(other) as f64 / 1e6)
}

/// What is done once in a box's life, and how it stands after that.
pub(super) fn grown(guest: &mut Guest) -> Result<()> {
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
pub(super) fn called_good(guest: &mut Guest) -> Result<()> {
    let read = format!("cat /run/relaybox-loader/{ENVIRONMENT}");
    let said = guest.sh(&format!(
        "mkdir -p /run/relaybox-loader; mount /run/relaybox-loader && {read}; umount /run/relaybox-loader"
    ))?;
    let has = |wanted: &str| said.lines().any(|line| line == wanted);
    ensure!(said.starts_with("# GRUB Environment Block\n"), "the environment is none: {said}");
    ensure!(has("A_TRY=0") && has("A_OK=1"), "the slot was not called good: {said}");
    Ok(())
}
