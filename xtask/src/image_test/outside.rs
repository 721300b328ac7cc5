//! A box into which nobody can look: QEMU's Raspberry Pi gives us no shell. What can be seen of it in the network, on its
//! console and on its card.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::firmware;
use super::place::Place;
use super::trial::{DATA_BYTES_MIN, ENVIRONMENT, INVITE, SETTLE_LIMIT, Trial, answers};
use crate::image::Role;

/// A card as QEMU's controller of a Raspberry Pi takes it: a power of two.
pub(super) const CARD_BYTES: u64 = 1 << 32;

/// Two starts, with a pulled plug between them.
pub(super) fn seen(trial: &Trial<'_>) -> Result<()> {
    let (board, stop) = (&trial.board.id, trial.stop);
    let card = Place::find(trial.card, Role::Card)?;
    let loader = Place::find(trial.card, Role::Loader)?;
    trial.office.invite_into(trial.name, trial.card)?;
    for what in ["the first start", "after a pulled plug"] {
        let mut guest = trial.power_on()?;
        let limit = Duration::from_secs(trial.qemu.boot_s_max);
        let took = guest.wait(what, limit, stop, |_| answers(trial.street, "relaybox"))?;
        println!("{board}: {what}: http://relaybox.local answers after {} s", took.as_secs());
        trial.in_the_mesh(&mut guest)?;
        let took = guest.wait("the slot is called good", SETTLE_LIMIT, stop, |_| {
            let said = loader.read(ENVIRONMENT)?;
            ensure!(said.lines().any(|line| line == "A_TRY=0"), "it was not: {said}");
            Ok(())
        })?;
        println!("{board}: the slot is called good {} s after that", took.as_secs());
        let tree = trial.qemu.device_tree.as_deref().context("a board without a device tree")?;
        ensure!(guest.said(&format!("device tree {tree}")), "the slot's device tree was not taken");
        guest.kill();
    }
    ensure!(!card.holds(INVITE)?, "the invite can still be read on the card");
    firmware::grown(trial.card, DATA_BYTES_MIN)?;
    println!("{board}: the data partition grew, and both partition tables are as they should be");
    Ok(())
}
