//! `invite`: signs an invite with the root's key and has the service know it. The seed is in the printed text alone.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use trust::ticket::{CoordinatorUrl, InviteSeed};
use trust::{Invite, InviteKind, Limits, MeshId, Name, Signed, Ticket};

use super::{Root, apart, card, root_dir, viewer};
use crate::service::{self, Mesh};
use crate::span::Span;
use crate::store::{Database, FILE};
use crate::{clock, file};

#[derive(Debug, Parser)]
pub(crate) struct Args {
    #[command(flatten)]
    data: crate::DataDir,
    #[arg(long, value_name = "DIR")]
    root_dir: Option<PathBuf>,
    /// Whom it is for: the box will have this name, or this name with a dash and more behind it.
    #[arg(long, required_unless_present = "card")]
    name: Option<Name>,
    /// How long it can be used: 90m, 12h, 7d; at most 90 days, and 7 when nothing is said. For a viewer how long it may
    /// watch: at most 366 days, and 90 when nothing is said.
    #[arg(long)]
    expires: Option<Span>,
    /// How many streams the box may publish; 0 for one that only carries.
    #[arg(long, default_value_t = Limits::SINGLE.streams)]
    streams: u8,
    /// How many boxes may come in by it.
    #[arg(long, default_value_t = Limits::SINGLE.boxes)]
    boxes: u8,
    /// Where the box finds the service, if not where the service itself says.
    #[arg(long, value_name = "https://HOST[:PORT]")]
    url: Option<CoordinatorUrl>,
    /// The line, or the configuration, alone: for programs.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    viewer: viewer::Options,
    #[command(flatten)]
    card: card::Options,
}

impl Args {
    /// For one box, as when nothing more is said.
    pub(super) fn plain(data_dir: PathBuf, root_dir: PathBuf, name: Name) -> Args {
        Args {
            data: crate::DataDir { data_dir },
            root_dir: Some(root_dir),
            name: Some(name),
            expires: None,
            streams: Limits::SINGLE.streams,
            boxes: Limits::SINGLE.boxes,
            url: None,
            quiet: false,
            viewer: viewer::Options::default(),
            card: card::Options::default(),
        }
    }

    fn whom(&self) -> Result<&Name> {
        self.name.as_ref().or(self.card.card.as_ref()).context("whom is it for? --name or --card")
    }
}

/// A week.
const EXPIRES: Span = Span(Duration::from_secs(7 * 86_400));

pub(crate) fn run(args: Args) -> Result<()> {
    let (data_dir, root_dir) = (args.data.data_dir.clone(), root_dir(args.root_dir.clone())?);
    apart(&data_dir, &root_dir)?;
    let root = Root::expect(&root_dir)?;
    let mesh = Mesh::expect(&data_dir)?;
    ensure!(mesh.root == root.secret.public(), "the root's key is another mesh's: choose with --root-dir");
    if args.viewer.viewer {
        return viewer(&args, &root);
    }
    let url = match args.url.clone() {
        Some(url) => url,
        None => service::url(&data_dir)?.context(
            "where boxes find the service is not known yet: start `coordinator-lite serve`, or say --url",
        )?,
    };
    let name = args.whom()?;
    if args.card.card.is_some() {
        card::check(&args.card, name)?;
    }
    let now = clock::now();
    let seed = InviteSeed(clock::random()?);
    let invite = Invite {
        mesh: MeshId::of(&mesh.root),
        key: seed.secret().public(),
        name: name.clone(),
        kind: InviteKind::Box,
        limits: Limits { boxes: args.boxes, streams: args.streams },
        issued: now,
        expires: now.plus(args.expires.unwrap_or(EXPIRES).0),
    };
    let expires = invite.expires;
    let invite = Signed::sign(invite, &root.secret).context("signing the invite")?;
    let pin = service::pin(&data_dir)?;
    // Known before it is shown: what is printed can be used.
    let path = data_dir.join(FILE);
    let mut database =
        Database::open_existing(&path, now).with_context(|| format!("opening {}", path.display()))?;
    database.register_invite(&invite).context("nothing was made, since the service can't know it")?;
    file::hand_over(&data_dir)?;
    let ticket = Ticket { url: url.clone(), pin, root: mesh.root, invite, seed };
    let text = ticket.text();
    if args.card.card.is_some() {
        let place = card::deliver(&args.card, name, &text, expires)?;
        println!("For {name}, until {expires}, at {url}: {place}. Whoever has it can use the invite.");
        return Ok(());
    }
    if args.quiet {
        println!("{text}");
        return Ok(());
    }
    println!("{text}\n");
    println!("{}", code(&text)?);
    println!("For {name}, until {expires}, at {url}. Whoever has this text can use it.");
    println!("On the box: relayd join INVITE");
    println!("To compare by phone, the root: {}", mesh.root.fingerprint());
    Ok(())
}

fn viewer(args: &Args, root: &Root) -> Result<()> {
    let (data_dir, name) = (&args.data.data_dir, args.whom()?);
    let path = data_dir.join(FILE);
    let opened = Database::open_existing(&path, clock::now());
    let mut database = opened.with_context(|| format!("opening {}", path.display()))?;
    let made = viewer::make(root, &mut database, name, args.expires, &args.viewer)?;
    file::hand_over(data_dir)?;
    let conf = made.conf.as_str();
    if args.quiet {
        print!("{conf}");
        return Ok(());
    }
    println!("{conf}");
    println!("{}", code(conf)?);
    println!(
        "For {}, through {} at {}, until {}. Whoever has this text can watch as {}; it is kept nowhere.",
        name, made.gateway, made.endpoint, made.expires, name
    );
    println!("In the WireGuard app: add a tunnel from this QR code, or from the text as a file.");
    println!(
        "UDP {} has to lead to the box from outside, since the app can't open a way by itself.",
        made.endpoint
    );
    Ok(())
}

/// As half blocks, two modules to a character, dark on light whatever the terminal's colours are.
fn code(text: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).context("drawing the QR code")?;
    let drawn = code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build();
    let lines = drawn.lines().map(|line| format!("\u{1b}[97;40m{line}\u{1b}[0m\n"));
    Ok(lines.collect())
}
