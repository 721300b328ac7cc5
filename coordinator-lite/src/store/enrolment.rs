//! Coming in, as one transaction: the invite's use, the name, the address and the WireGuard key are taken together or
//! not at all. A box that asks again with the same chain gets what it has.

use rusqlite::{OptionalExtension as _, Transaction, params};
use trust::peer::ENDPOINTS_MAX;
use trust::{
    BoxKey, DecodeError, Endpoint, Identity, List, Membership, MeshPrefix, Name, Signed, Ula, UnixSeconds,
    WireGuardBinding,
};

use super::boxes::{BindingRefused, endpoints_text, insert_binding};
use super::{Database, Durability, StoreError, invites, sql, time};

/// Addresses that are tried for one box: the tenth is never reached before the universe ends.
const ATTEMPTS_MAX: u32 = 10;

/// More boxes are not let into one mesh: as many as may ask within two minutes ([`wire::ReplayGuard`]).
const BOXES_MAX: i64 = wire::ReplayGuard::BOXES_MAX as i64;

/// A box that was verified and wants to come in.
#[derive(Clone, Debug)]
pub(crate) struct Enrolment {
    pub(crate) identity: Identity,
    pub(crate) wireguard: Signed<WireGuardBinding>,
    pub(crate) version: String,
    pub(crate) board: String,
    pub(crate) endpoints: List<Endpoint, ENDPOINTS_MAX>,
    pub(crate) now: UnixSeconds,
}

/// A box is not let in; nothing was used up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the invite for `{name}` let in as many boxes as it is for, the last one on {at}")]
    InviteUsed { name: Name, at: UnixSeconds },
    #[error("a box with the name `{name}` is there already")]
    NameTaken { name: Name },
    #[error("the same box came in by another invite before")]
    OtherInvite,
    #[error("another box has this WireGuard key")]
    KeyTaken,
    #[error("no address is left")]
    NoAddress,
    #[error("the membership can't be signed")]
    Sign(#[source] DecodeError),
    #[error("the database failed")]
    Store(#[from] StoreError),
}

impl From<BindingRefused> for Refused {
    fn from(refused: BindingRefused) -> Self {
        match refused {
            BindingRefused::Store(error) => Self::Store(error),
            BindingRefused::Taken | BindingRefused::Rotation(_) | BindingRefused::Unknown => Self::KeyTaken,
        }
    }
}

impl Database {
    /// Lets a box in, or knows it again. `sign` makes the coordinator's word of it.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn enrol(
        &mut self,
        asked: &Enrolment,
        sign: impl Fn(Membership) -> Result<Signed<Membership>, DecodeError>,
    ) -> Result<Signed<Membership>, Refused> {
        self.write(Durability::Full, |transaction| {
            if let Some(membership) = known(transaction, asked)? {
                return Ok(membership);
            }
            let (identity, now) = (&asked.identity, asked.now);
            invites::insert(transaction, &identity.chain().invite)?;
            if !invites::take(transaction, &identity.invite(), now)? {
                return Err(used(transaction, identity)?);
            }
            admit(transaction, asked, &sign)
        })
    }

    /// Takes back a box that this database lost, by the coordinator's own word about it: it came in before, and its
    /// address and name are its own unless somebody has them since.
    ///
    /// # Errors
    /// [`Refused`].
    pub(crate) fn readmit(
        &mut self,
        asked: &Enrolment,
        membership: &Signed<Membership>,
    ) -> Result<(), Refused> {
        self.write(Durability::Full, |transaction| {
            if known(transaction, asked)?.is_some() {
                return Ok(());
            }
            let invite = &asked.identity.chain().invite;
            invites::insert(transaction, invite)?;
            let id = asked.identity.invite();
            let counted = transaction.execute(
                "UPDATE invite SET uses = uses + 1, used = CASE WHEN uses + 1 >= boxes THEN ?2 END
                 WHERE id = ?1 AND uses < boxes",
                params![id.as_bytes(), sql(asked.now)],
            );
            if counted.map_err(StoreError::from)? == 0 {
                return Err(used(transaction, &asked.identity)?);
            }
            if address_taken(transaction, &membership.claims().address)? {
                return Err(Refused::NoAddress);
            }
            insert(transaction, asked, membership)
        })
    }
}

/// The membership of a box that is in by the same invite.
fn known(transaction: &Transaction<'_>, asked: &Enrolment) -> Result<Option<Signed<Membership>>, Refused> {
    let row: Option<([u8; 16], String)> = transaction
        .query_row(
            "SELECT invite, membership FROM box WHERE key = ?1",
            [asked.identity.key().as_bytes()],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
        .map_err(StoreError::from)?;
    let Some((invite, membership)) = row else { return Ok(None) };
    if invite != *asked.identity.invite().as_bytes() {
        return Err(Refused::OtherInvite);
    }
    Ok(Some(membership.parse().map_err(|_| StoreError::content("a membership"))?))
}

fn used(transaction: &Transaction<'_>, identity: &Identity) -> Result<Refused, StoreError> {
    let at: Option<i64> = transaction.query_row(
        "SELECT used FROM invite WHERE id = ?1",
        [identity.invite().as_bytes()],
        |row| row.get(0),
    )?;
    let name = identity.chain().invite.claims().name.clone();
    Ok(Refused::InviteUsed { name, at: at.map_or(UnixSeconds::new(0), time) })
}

fn admit(
    transaction: &Transaction<'_>,
    asked: &Enrolment,
    sign: &impl Fn(Membership) -> Result<Signed<Membership>, DecodeError>,
) -> Result<Signed<Membership>, Refused> {
    let identity = &asked.identity;
    let address = free_address(transaction, identity.key(), &MeshPrefix::of(identity.mesh()))?;
    let membership = Membership {
        mesh: *identity.mesh(),
        key: *identity.key(),
        invite: identity.invite(),
        address,
        issued: asked.now,
    };
    let membership = sign(membership).map_err(Refused::Sign)?;
    insert(transaction, asked, &membership)?;
    Ok(membership)
}

fn insert(
    transaction: &Transaction<'_>,
    asked: &Enrolment,
    membership: &Signed<Membership>,
) -> Result<(), Refused> {
    let (identity, now) = (&asked.identity, asked.now);
    let boxes: i64 =
        transaction.query_row("SELECT count(*) FROM box", [], |row| row.get(0)).map_err(StoreError::from)?;
    if boxes >= BOXES_MAX {
        return Err(Refused::NoAddress);
    }
    let name = identity.name();
    let taken: i64 = transaction
        .query_row("SELECT count(*) FROM box WHERE name = ?1", [name.as_str()], |row| row.get(0))
        .map_err(StoreError::from)?;
    if taken > 0 {
        return Err(Refused::NameTaken { name: name.clone() });
    }
    transaction
        .execute(
            "INSERT INTO box (key, name, invite, certificate, membership, address, endpoints, version, board,
                enrolled) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            params![
                identity.key().as_bytes(),
                name.as_str(),
                identity.invite().as_bytes(),
                identity.chain().certificate.to_string(),
                membership.to_string(),
                membership.claims().address.to_string(),
                endpoints_text(&asked.endpoints)?,
                asked.version,
                asked.board,
                sql(now),
            ],
        )
        .map_err(StoreError::from)?;
    Ok(insert_binding(transaction, identity.key(), &asked.wireguard)?)
}

fn free_address(transaction: &Transaction<'_>, key: &BoxKey, prefix: &MeshPrefix) -> Result<Ula, Refused> {
    for attempt in 0..ATTEMPTS_MAX {
        let address = prefix.of_box(key, attempt);
        if !address_taken(transaction, &address)? {
            return Ok(address);
        }
    }
    Err(Refused::NoAddress)
}

fn address_taken(transaction: &Transaction<'_>, address: &Ula) -> Result<bool, StoreError> {
    let taken: i64 = transaction.query_row(
        "SELECT count(*) FROM box WHERE address = ?1",
        [address.to_string()],
        |row| row.get(0),
    )?;
    Ok(taken > 0)
}
