//! A data partition without room. The box starts, is in its mesh, passes streams on and says what is wrong; what it had it
//! still has, and what it can't keep it says so of.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::friend::Friend;
use super::guest::Guest;
use super::studio::Studio;
use super::trial::Trial;

/// Until the daemon is up again after it came into its mesh.
const ENTER_LIMIT: Duration = Duration::from_secs(60);
/// Takes all there is, for whoever is not root, in ever smaller pieces.
const FILL: &str = "for size in 64M 4M 256K 4K; do n=0; while fallocate --length $size /data/filler-$size-$n 2> /dev/null; do n=$((n + 1)); done; done; sync; stat --file-system --format %a /data";
const FREE: &str = "rm /data/filler-* && sync && systemctl start relaybox-disk";
const NOTICE: &str = "The card is full: 0 MB are free for what the box keeps.";
const REFUSAL: &str = "the box's card is full: the change could not be kept, and all is as it was";
const KBPS: u64 = 1234;

pub(super) fn trial(trial: &Trial<'_>, friend: &mut Friend<'_>) -> Result<()> {
    let mut guest = trial.start("before the card is full")?;
    let address = trial.in_the_mesh(&mut guest)?;
    let studio = enter(trial, &mut guest)?;
    studio.wish(KBPS)?;
    let free = guest.sh(FILL)?;
    ensure!(free.trim() == "0", "there is room for {} blocks", free.trim());
    refused(&studio)?;
    guest.kill();

    let mut guest = trial.start("a full card")?;
    let again = trial.in_the_mesh(&mut guest)?;
    ensure!(address == again, "it was {address} in the mesh, and is {again}");
    trial.shown(&mut guest, NOTICE)?;
    let studio = enter(trial, &mut guest)?;
    refused(&studio)?;
    trial.relays(&mut guest, friend)?;
    friend.rest();
    guest.sh("test ! -e /data/relaybox/giving.new").context("a refused wish takes room")?;

    guest.sh(FREE)?;
    studio.wish(KBPS + 1).context("after there is room again")?;
    let host = trial.street.resolve("relaybox.local")?;
    let list = trial.street.fetch(&format!("http://{host}/live/index.json"))?;
    ensure!(!list.contains(NOTICE), "the page still says: {list}");
    println!("{}: once there is room the box takes wishes again, and says no more of it", trial.board.id);
    guest.kill();
    Ok(())
}

fn enter(trial: &Trial<'_>, guest: &mut Guest) -> Result<Studio> {
    let pin = guest.sh("cat /var/lib/relaybox/pin")?;
    let mut studio = None;
    // A box that has just come in begins anew, and forgets who entered the PIN before.
    guest.wait("its page takes the PIN", ENTER_LIMIT, trial.stop, |_| {
        let host = trial.street.resolve("relaybox.local")?;
        studio = Some(Studio::enter(trial.street, host, pin.trim())?);
        Ok(())
    })?;
    studio.context("nobody entered the PIN")
}

/// A wish, and a stream that would get a key. What was wished for before is still there.
fn refused(studio: &Studio) -> Result<()> {
    studio.refused(true, "giving", "{\"limit_kbps\": 2000}", REFUSAL)?;
    studio.refused(false, "studio/streams", "{\"name\": \"another\"}", REFUSAL)?;
    let wished = studio.wished()?;
    ensure!(wished == Some(KBPS), "the wish before was {KBPS} kbit/s, and is {wished:?}");
    Ok(())
}
