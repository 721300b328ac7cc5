//! `relayd status` and `relayd doctor`: how the box stands in its mesh, from what it keeps on disk, and from the daemon
//! if it runs. Asks nobody else, and changes nothing.

mod advice;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use trust::map::Staleness;
use trust::{Authority, MembershipState, Roster, UnixSeconds};

use crate::control::hour::Hour;
use crate::control::kept::{self, Kept};
use crate::network::standing::{self, Standing};
use crate::settings::DATA_DIR;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let standing = ask(&args.data_dir)?;
    show(&args.data_dir, hour(&args.data_dir, standing.as_ref()))?;
    match standing {
        Some(standing) => print!("{}", table(&standing)),
        None => println!("daemon       not running: relayd run"),
    }
    Ok(())
}

/// `relayd doctor`: what is wrong, and what to do about it. An error when something is.
pub(crate) fn examine(args: &Args) -> Result<()> {
    let dir = kept::directory(&args.data_dir);
    let kept = Kept::read(&dir)?;
    let standing = ask(&args.data_dir)?;
    let now = hour(&args.data_dir, standing.as_ref());
    let findings = advice::findings(kept.as_ref(), standing.as_ref(), now);
    let mut wrong = 0;
    for finding in &findings {
        println!("{finding}");
        wrong += usize::from(finding.is_wrong());
    }
    anyhow::ensure!(wrong == 0, "{wrong} of {} points need attention", findings.len());
    Ok(())
}

/// As the coordinator told the daemon; else what this board's clock shows, which is never before what was seen.
fn hour(data_dir: &Path, standing: Option<&Standing>) -> UnixSeconds {
    let hour = Hour::new(&kept::directory(data_dir), 0);
    standing.and_then(|standing| standing.now).unwrap_or_else(|| hour.now().max(hour.floor()))
}

fn ask(data_dir: &Path) -> Result<Option<Standing>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(standing::ask(&kept::directory(data_dir)))
}

/// One line for the network, one for each peer.
fn table(standing: &Standing) -> String {
    let relay = if standing.relay { "connected" } else { "not connected" };
    let Standing { interface, port, router, .. } = standing;
    let mut text = match standing.external {
        true => {
            format!("network      {interface}, which was there before; TCP port {port}, by certificates\n")
        }
        false => format!(
            "network      {interface}, UDP port {port}; the router here: {router}; the coordinator's relay: {relay}\n"
        ),
    };
    for peer in &standing.peers {
        let number = |n: Option<u32>, unit: &str| n.map_or("-".to_owned(), |n| format!("{n} {unit}"));
        text.push_str(&format!(
            "  {:<16} {}; round trip {}, packets up to {}, handshake {} ago, sent {}, received {}\n",
            peer.name.to_string(),
            peer.path,
            number(peer.round_trip_ms, "ms"),
            number(peer.packet_bytes_max.map(u32::from), "B"),
            number(peer.handshake_age_s, "s"),
            bytes(peer.sent_bytes),
            bytes(peer.received_bytes),
        ));
        text.push_str(&format!("  {:<16} {}\n", "", peer.address));
        if let Some(why) = &peer.why_not {
            text.push_str(&format!("  {:<16} not direct: {why}\n", ""));
        }
    }
    text
}

/// In units of 1000, with one decimal.
fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{}.{} kB", n / 1_000, n % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{} MB", n / 1_000_000, n % 1_000_000 / 100_000),
        _ => format!("{}.{} GB", n / 1_000_000_000, n % 1_000_000_000 / 100_000_000),
    }
}

/// How the box stands at `now`, from what it keeps.
pub(crate) fn show(data_dir: &Path, now: UnixSeconds) -> Result<()> {
    let dir = kept::directory(data_dir);
    let Some(kept) = Kept::read(&dir)? else {
        println!("This box belongs to no mesh. With an invite: relayd join INVITE");
        return Ok(());
    };
    let membership = kept.membership.claims();
    println!("name         {}", kept.chain.certificate.claims().name);
    println!("address      {}", membership.address);
    println!("mesh         {}", kept.mesh());
    println!("root         {}", kept.root.fingerprint());
    println!("coordinator  {}", kept.url);
    let state = match membership.state(now) {
        _ if kept.is_revoked() => {
            "revoked: the mesh's root took this box out. To come back: relayd leave --yes, and another invite"
                .to_owned()
        }
        MembershipState::Early => format!("begins at {}: this board's clock is behind", membership.issued),
        MembershipState::Fresh => format!("good until {}", membership.expires()),
        MembershipState::Renew => {
            format!("good until {}; renewed when the coordinator answers", membership.expires())
        }
        MembershipState::Grace => {
            format!("expired, and accepted by peers until {}: is the coordinator away?", membership.lapses())
        }
        MembershipState::Lapsed => {
            format!("ended at {}: relayd leave --yes, and join with another invite", membership.lapses())
        }
    };
    println!("membership   {state}");
    println!("peers        {}", peers(&kept, &dir, now)?);
    Ok(())
}

fn peers(kept: &Kept, dir: &Path, now: UnixSeconds) -> Result<String> {
    let coordinator = kept.coordinator()?;
    let map = kept::read_map(dir, kept.key(), &coordinator).context("reading the map")?;
    let Some(map) = map else { return Ok("no map yet".to_owned()) };
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
