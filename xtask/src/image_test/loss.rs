//! A data partition that can't be used. What can be repaired is repaired without a question; else the box starts all the same,
//! says on screen, page and card what is wrong, keeps nothing and takes nothing, and leaves the partition as it is, until its
//! friend has it made new.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::guest::Guest;
use super::place::Place;
use super::studio::Studio;
use super::trial::{ENVIRONMENT, SLIP, Trial, answers, called_good, grown, settled};
use crate::command;
use crate::image::Role;

/// ext4's superblock is 1024 bytes long, and begins after as many.
const HEAD_AT: u64 = 1024;
const HEAD_BYTES: usize = 1024;
/// Its number on the card, from 1 on.
const NUMBER: &str = "5";
const DAMAGED: &str = "What the box keeps can't be used: its partition is damaged beyond repair.";
const MISSING: &str = "What the box keeps can't be used: the card has no partition for it.";
const RESET: &str = "relaybox-reset.txt";
/// From power until a box that was made new starts itself again.
const ANEW_LIMIT: Duration = Duration::from_secs(600);
/// What it would take over if it could keep it.
const WISHES: &str = "upload_kbps_max = 3000\n";

pub(super) fn trial(trial: &Trial<'_>) -> Result<()> {
    let data = Place::find(trial.card, Role::Data)?;
    let card = Place::find(trial.card, Role::Card)?;
    let before = trial.office.knows(trial.name)?;

    data.tear(HEAD_AT, HEAD_BYTES)?;
    let mut guest = trial.start("a torn head of the data partition")?;
    let address = trial.in_the_mesh(&mut guest)?;
    ensure!(before == address, "it was {before} in the mesh, and is {address}");
    guest.sh("findmnt --types ext4 /data && test ! -e /run/relaybox/lost && test ! -e /data/box/emptied")?;
    guest.kill();

    data.empty()?;
    card.put(SLIP, WISHES)?;
    let mut guest = lost(trial, "a data partition with nothing in it", DAMAGED)?;
    takes_nothing(trial, &mut guest)?;
    guest.kill();
    trial.said_on_card(DAMAGED)?;
    ensure!(card.read(SLIP)? == WISHES, "what the friend wrote is no more as it was");
    data.is_empty().context("the partition was written to, and nobody asked for it")?;

    card.put(RESET, "relaybox\n")?;
    made_new(trial)?;
    let names = card.names()?;
    for gone in [RESET, SLIP, "RELAYBOX-ERROR.txt"] {
        ensure!(!names.contains(gone), "{gone} is still on the card");
    }

    command::output(command::program("sfdisk").args(["--quiet", "--delete"]).arg(trial.card).arg(NUMBER))?;
    let guest = lost(trial, "a card without a data partition", MISSING)?;
    guest.kill();
    trial.said_on_card(MISSING)?;
    let table = command::output(command::program("sfdisk").arg("--dump").arg(trial.card))?;
    ensure!(!table.contains("name=\"data\""), "a partition was made, and nobody asked for it: {table}");
    Ok(())
}

/// Up, with no failed unit, and without a word to the loader that all is well.
fn lost(trial: &Trial<'_>, what: &str, words: &str) -> Result<Guest> {
    let mut guest = trial.power_on()?;
    let limit = Duration::from_secs(trial.qemu.boot_s_max);
    let took = guest.wait(what, limit, trial.stop, |_| answers(trial.street, "relaybox"))?;
    println!("{}: {what}: http://relaybox.local answers after {} s", trial.board.id, took.as_secs());
    settled(&mut guest, trial.stop)?;
    trial.shown(&mut guest, words)?;
    guest.sh("findmnt --types tmpfs /data && systemctl is-active relaybox-healthy")?;
    let said = Place::find(trial.card, Role::Loader)?.read(ENVIRONMENT)?;
    // One more for each start, also for one that a starved guest's watchdog made.
    let tries = said.lines().find_map(|line| line.strip_prefix("A_TRY=")).context("no count of tries")?;
    ensure!(tries != "0", "the slot was called good: {said}");
    Ok(guest)
}

fn takes_nothing(trial: &Trial<'_>, guest: &mut Guest) -> Result<()> {
    let pin = guest.sh("cat /var/lib/relaybox/pin")?;
    let studio = Studio::enter(trial.street, trial.street.resolve("relaybox.local")?, pin.trim())?;
    studio.refused(false, "studio/streams", "{\"name\": \"party\"}", DAMAGED)?;
    studio.refused(false, "setup/invite", "{\"invite\": \"RELAYBOX1\"}", DAMAGED)?;
    studio.refused(true, "giving", "{\"limit_kbps\": 2000}", DAMAGED)?;
    println!("{}: no stream, no invite and no wish is taken, and it says why", trial.board.id);
    Ok(())
}

/// It makes its partition, and starts again by itself, as a new box.
fn made_new(trial: &Trial<'_>) -> Result<()> {
    let mut guest = trial.power_on()?;
    guest.wait("it starts itself again", ANEW_LIMIT, trial.stop, |guest| {
        ensure!(guest.loads() > 1, "it was started once");
        Ok(())
    })?;
    let limit = Duration::from_secs(trial.qemu.boot_s_max);
    let took = guest.wait("a new box", limit, trial.stop, |guest| {
        guest.sh("findmnt --types ext4 /data")?;
        answers(trial.street, "relaybox")
    })?;
    println!("{}: made new: http://relaybox.local answers {} s after that", trial.board.id, took.as_secs());
    settled(&mut guest, trial.stop)?;
    called_good(&mut guest)?;
    grown(&mut guest)?;
    guest.sh("test -e /var/lib/relaybox/new && test ! -e /var/lib/relaybox/mesh/mesh.json && test ! -e /data/box/emptied")?;
    ensure!(guest.loads() == 2, "it was started {} times", guest.loads());
    guest.kill();
    Ok(())
}
