//! `relayd join INVITE`: brings the box into a mesh. Every step can be repeated: the keys are kept before anybody hears
//! of them, and the coordinator gives a box that asks again the same answer.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Parser;
use trust::wireguard::WireGuardBinding;
use trust::{List, MeshId, Name, Revocations, Signed, Ticket, TicketError};
use wire::enrol::{EnrolRequest, EnrolResponse};
use wire::{Code, path};

use crate::control::ask::{AskError, Desk};
use crate::control::hour::Hour;
use crate::control::kept::{self, Kept};
use crate::control::keys::Keys;
use crate::control::report;
use crate::owner::become_owner_of;
use crate::settings::DATA_DIR;

#[derive(Debug, Parser)]
pub(crate) struct Args {
    /// The line that you were given, from RELAYBOX to its end; spaces and line breaks do no harm.
    #[arg(required = true, num_args = 1.., value_name = "INVITE")]
    invite: Vec<String>,
    /// The box's name: that of the invite, or that with a dash and more behind it.
    #[arg(long)]
    name: Option<Name>,
    #[arg(long, value_name = "DIR", default_value = DATA_DIR)]
    data_dir: PathBuf,
    /// Pretend that the board's clock is off by so many seconds.
    #[arg(long, hide = true, default_value_t = 0, allow_hyphen_values = true)]
    clock_off_s: i64,
}

/// A step that failed, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JoinError {
    #[error("{0}")]
    Ticket(TicketError),
    #[error("{}", Chained(.0))]
    Ask(AskError),
    #[error("this box is a member already, by another invite, which is left as it is")]
    Member,
}

/// An error with its causes, in one line.
struct Chained<'a>(&'a AskError);

impl std::fmt::Display for Chained<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = std::error::Error::source(self.0);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl JoinError {
    pub(crate) fn what_to_do(&self) -> String {
        match self {
            Self::Ticket(error) => Code::from(error).what_to_do().to_owned(),
            Self::Ask(error) => error.what_to_do(),
            Self::Member => "The new invite was not used, and can be used by another box. To come in by it with this one, \
                 forget the membership first: relayd leave --yes."
                .to_owned(),
        }
    }
}

pub(crate) fn run(args: Args) -> Result<()> {
    become_owner_of(&args.data_dir)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime")?;
    runtime.block_on(join(args))
}

async fn join(args: Args) -> Result<()> {
    let entered = enter(&args.invite.join(" "), args.name, &args.data_dir, args.clock_off_s).await?;
    if entered.before {
        println!("This box came in by this invite before. Nothing was changed.");
    } else {
        println!("Joined as {}.", entered.name);
    }
    crate::standing::show(&args.data_dir, entered.hour.now())
}

/// How a box stands after an invite was used.
pub(crate) struct Entered {
    pub(crate) name: String,
    /// It had come in by it already.
    before: bool,
    hour: Hour,
}

/// Every refusal is a [`JoinError`].
pub(crate) async fn enter(
    invite: &str,
    name: Option<Name>,
    data_dir: &Path,
    clock_off_s: i64,
) -> Result<Entered> {
    let ticket = Ticket::parse(invite).map_err(JoinError::Ticket)?;
    let dir = kept::directory(data_dir);
    std::fs::create_dir_all(&dir).with_context(|| format!("making {}", dir.display()))?;
    let before = Kept::read(&dir)?;
    let hour = Hour::new(&dir, clock_off_s);
    let entered = |kept: &Kept, before, hour| {
        let name = kept.chain.certificate.claims().name.to_string();
        Entered { name, before, hour }
    };
    if let Some(before) = &before {
        ticket.check(Some(&before.root), before.membership.claims().issued).or_else(foreign)?;
        if before.chain.invite.id() != ticket.invite.id() {
            return Err(JoinError::Member.into());
        }
        if !before.is_revoked() {
            return Ok(entered(before, true, hour));
        }
    }
    let keys = Keys::open(&dir)?;
    let mesh = MeshId::of(&ticket.root);
    let mut desk = Desk::new(ticket.url.clone(), ticket.pin, keys.identity.clone(), mesh, hour.clone())?;
    match desk.time(&ticket.root, &Revocations::new()).await {
        Ok(true) => println!("This board's clock was off: the coordinator says it is {}.", hour.now()),
        Ok(false) => {}
        Err(error) => {
            // As far as can be told without the coordinator.
            ticket.check(None, hour.now()).map_err(JoinError::Ticket)?;
            return Err(JoinError::Ask(error).into());
        }
    }
    ticket.check(None, hour.now()).map_err(JoinError::Ticket)?;
    let kept = enrol(name, &ticket, &keys, &mut desk, &dir).await?;
    kept::write_floor(&dir, hour.floor()).await?;
    Ok(entered(&kept, false, hour))
}

/// Only that the invite is for another mesh counts before the time is known.
fn foreign(error: TicketError) -> Result<(), JoinError> {
    match error {
        TicketError::Foreign { .. } => Err(JoinError::Ticket(error)),
        _ => Ok(()),
    }
}

async fn enrol(
    name: Option<Name>,
    ticket: &Ticket,
    keys: &Keys,
    desk: &mut Desk,
    dir: &Path,
) -> Result<Kept> {
    let name = name.unwrap_or_else(|| ticket.invite.claims().name.clone());
    let mesh = MeshId::of(&ticket.root);
    let key = keys.identity.public();
    let chain = ticket.sign_box(key, name).context("signing this box")?;
    let hour = desk.hour().clone();
    let binding =
        WireGuardBinding { mesh, key: keys.wireguard, generation: 1, boot: 1, valid_from: hour.now() };
    let binding = Signed::sign(binding, &keys.identity).context("signing the WireGuard key")?;
    let question = EnrolRequest {
        chain: chain.clone(),
        wireguard: binding.clone(),
        version: report::version(),
        board: report::board(),
        endpoints: List::new(),
    };
    let answer: EnrolResponse = desk.post(path::ENROL, &question).await.map_err(JoinError::Ask)?;
    let (certificate, membership) = (answer.certificate.clone(), answer.membership.clone());
    let (revocations, heartbeat_s) = (answer.revocations.clone(), answer.heartbeat_s);
    let enrolled = answer.check(&ticket.root, &chain, hour.now());
    let enrolled = enrolled.context("the coordinator's answer does not make this box a member")?;
    let kept = Kept {
        url: ticket.url.clone(),
        pin: ticket.pin,
        root: ticket.root,
        chain,
        certificate,
        membership,
        wireguard: List::try_from(vec![binding]).context("one key")?,
        revocations,
        heartbeat_s,
    };
    kept::write_map(dir, &enrolled.map).await?;
    // Last: with it the box is a member.
    kept.write(dir).await?;
    Ok(kept)
}
