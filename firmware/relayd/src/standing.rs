//! `relayd status`: how the box stands in its mesh, from what it keeps on disk. Asks nobody.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use trust::map::Staleness;
use trust::{Authority, MembershipState, Roster};

use crate::control::hour::Hour;
use crate::control::kept::{self, Kept};
use crate::settings::DATA_DIR;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    show(&args.data_dir)
}

pub(crate) fn show(data_dir: &Path) -> Result<()> {
    let dir = kept::directory(data_dir);
    let Some(kept) = Kept::read(&dir)? else {
        println!("This box belongs to no mesh. With an invite: relayd join INVITE");
        return Ok(());
    };
    let now = Hour::new(&dir, 0).now();
    let membership = kept.membership.claims();
    println!("name         {}", kept.chain.certificate.claims().name);
    println!("address      {}", membership.address);
    println!("mesh         {}", kept.mesh());
    println!("root         {}", kept.root.fingerprint());
    println!("coordinator  {}", kept.url);
    let state = match membership.state(now) {
        _ if kept.is_revoked() => "revoked: the mesh's root took this box out".to_owned(),
        MembershipState::Early => format!("begins at {}: this board's clock is behind", membership.issued),
        MembershipState::Fresh => format!("good until {}", membership.expires()),
        MembershipState::Renew => {
            format!("good until {}; renewed when the coordinator answers", membership.expires())
        }
        MembershipState::Grace => {
            format!("expired, and accepted by peers until {}: is the coordinator away?", membership.lapses())
        }
        MembershipState::Lapsed => {
            format!("ended at {}: join again with another invite", membership.lapses())
        }
    };
    println!("membership   {state}");
    println!("peers        {}", peers(&kept, &dir)?);
    Ok(())
}

fn peers(kept: &Kept, dir: &Path) -> Result<String> {
    let coordinator = kept.coordinator()?;
    let map = kept::read_map(dir, kept.key(), &coordinator).context("reading the map")?;
    let Some(map) = map else { return Ok("no map yet".to_owned()) };
    let now = Hour::new(dir, 0).now();
    let revocations = kept.revocations();
    let authority = Authority { root: &kept.root, coordinator: &coordinator, revocations: &revocations };
    let verdicts = map.peers(&authority, now, &mut Roster::new());
    let names: Vec<_> = verdicts.accepted.iter().map(|peer| peer.identity().name().to_string()).collect();
    let mut text = format!("{}", names.len());
    if !names.is_empty() {
        text.push_str(&format!(": {}", names.join(", ")));
    }
    if !verdicts.refused.is_empty() {
        text.push_str(&format!("; {} in the map are refused", verdicts.refused.len()));
    }
    match map.staleness(now) {
        Staleness::Current => {}
        Staleness::Stale { since } => text.push_str(&format!(" (the map is stale since {since})")),
    }
    Ok(text)
}
