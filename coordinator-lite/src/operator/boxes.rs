//! `box list` and `box revoke`: who is in, and who no longer. Revoking takes the root's key; the service hears of it
//! from its database and tells all boxes at once.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};
use trust::{Name, Revoked, UnixSeconds};

use super::{Root, apart, root_dir};
use crate::service::Mesh;
use crate::store::{Database, FILE};
use crate::{clock, file, span};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows all boxes and the invites that are open.
    List {
        #[command(flatten)]
        data: crate::DataDir,
    },
    /// Takes a box out of the mesh, for good.
    Revoke(Revoke),
}

#[derive(Debug, Parser)]
pub(crate) struct Revoke {
    #[command(flatten)]
    data: crate::DataDir,
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
    /// The box, the viewer, or the one whose unused invite is taken back.
    name: Name,
    /// Only this box: others of the same invite stay, and so does the right to bring in another one.
    #[arg(long)]
    box_only: bool,
}

pub(crate) fn run(command: Command) -> Result<()> {
    match command {
        Command::List { data } => list(&data.data_dir),
        Command::Revoke(args) => revoke(args),
    }
}

fn open(data_dir: &Path, now: UnixSeconds) -> Result<Database> {
    let path = data_dir.join(FILE);
    Database::open_existing(&path, now).with_context(|| format!("opening {}", path.display()))
}

fn list(data_dir: &Path) -> Result<()> {
    let (mesh, now) = (Mesh::expect(data_dir)?, clock::now());
    let database = open(data_dir, now)?;
    let revocations = database.revocations(&mesh.root)?;
    let rows = database.boxes()?;
    println!("{:<24} {:<40} {:<10} {:<12} {:>6} {:>6}", "name", "address", "state", "seen", "7 d", "30 d");
    for row in &rows {
        let membership = row.entry.membership.claims();
        let revoked =
            revocations.revokes_box(row.key()) || revocations.revokes_invite(&row.entry.chain.invite.id());
        let state = if revoked {
            "revoked".to_owned()
        } else {
            format!("{:?}", membership.state(now)).to_lowercase()
        };
        let seen = row
            .seen
            .map_or_else(|| "never".to_owned(), |seen| format!("{} ago", span::words(now.since(seen))));
        let uptime = database.uptime(row.key(), row.enrolled, now)?;
        println!(
            "{:<24} {:<40} {:<10} {:<12} {:>6} {:>6}",
            row.name().as_str(),
            membership.address.to_string(),
            state,
            seen,
            percent(uptime.days_7_milli),
            percent(uptime.days_30_milli)
        );
    }
    if rows.is_empty() {
        println!("(none yet: coordinator-lite invite --name NAME)");
    }
    for viewer in database.viewers()? {
        let viewer = viewer.claims();
        if viewer.holds(&revocations, now) {
            let gateway = rows.iter().find(|row| *row.key() == viewer.gateway);
            let gateway = gateway.map_or("an unknown box", |row| row.name().as_str());
            println!("viewer {} through {gateway}, until {}", viewer.name, viewer.expires);
        }
    }
    let open: Vec<_> = database
        .invites()?
        .into_iter()
        .filter(|row| {
            let claims = row.invite.claims();
            row.used.is_none() && claims.enrols_at(now) && !revocations.revokes_invite(&claims.id())
        })
        .collect();
    for row in open {
        let claims = row.invite.claims();
        println!(
            "open invite for {}, used {} of {}, until {}",
            claims.name, row.uses, claims.limits.boxes, claims.expires
        );
    }
    Ok(())
}

/// With one digit behind the point.
fn percent(milli: u32) -> String {
    format!("{}.{} %", milli / 10, milli % 10)
}

fn revoke(args: Revoke) -> Result<()> {
    let (data_dir, root_dir) = (args.data.data_dir, root_dir(args.root_dir)?);
    apart(&data_dir, &root_dir)?;
    let (root, mesh, now) = (Root::expect(&root_dir)?, Mesh::expect(&data_dir)?, clock::now());
    if mesh.root != root.secret.public() {
        bail!("the root's key is another mesh's: choose with --root-dir");
    }
    let mut database = open(&data_dir, now)?;
    let mut targets = Vec::new();
    for row in database.boxes()?.iter().filter(|row| *row.name() == args.name) {
        targets.push(Revoked::Box(*row.key()));
        if !args.box_only {
            targets.push(Revoked::Invite(row.entry.chain.invite.id()));
        }
    }
    if !args.box_only {
        let open = database.invites()?.into_iter().filter(|row| row.used.is_none());
        let named = open.filter(|row| row.invite.claims().name == args.name);
        targets.extend(named.map(|row| Revoked::Invite(row.invite.id())));
    }
    let viewers = database.viewers_named(&args.name, now)?;
    targets.extend(viewers.iter().map(|viewer| Revoked::Invite(viewer.claims().id())));
    targets.dedup();
    if targets.is_empty() {
        bail!(
            "no box, no viewer and no open invite has the name `{}`: coordinator-lite box list shows all",
            args.name
        );
    }
    let before = database.revocations(&mesh.root)?;
    let revocations = root.revoke(&before, &targets, now)?;
    if revocations == before {
        println!("{} is revoked already. Nothing was changed.", args.name);
        return Ok(());
    }
    database.keep_revocations(&revocations).context(
        "signed, and kept in the root's directory, but the service could not be told: run this again",
    )?;
    file::hand_over(&data_dir)?;
    println!("Revoked {}. Boxes that are connected hear of it within a second.", args.name);
    if revocations.len() * 10 > trust::Revocations::MAX * 9 && std::io::stdout().is_terminal() {
        println!(
            "{} of {} revocations are used: plan a new root.",
            revocations.len(),
            trust::Revocations::MAX
        );
    }
    Ok(())
}
