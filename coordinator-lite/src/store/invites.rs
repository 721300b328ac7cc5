//! Invites, by id: how often each may be used, and was. Refuses to keep an invite's seed: there is no column for it.

use rusqlite::{OptionalExtension as _, Transaction, params};
use trust::{Invite, InviteId, Signed, UnixSeconds};

use super::{Database, Durability, StoreError, sql, time};

/// As the operator sees it.
#[derive(Clone, Debug)]
pub(crate) struct InviteRow {
    pub(crate) invite: Signed<Invite>,
    pub(crate) uses: u32,
    pub(crate) used: Option<UnixSeconds>,
}

impl Database {
    /// Makes it known; again changes nothing. The caller has verified it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn register_invite(&mut self, invite: &Signed<Invite>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| insert(transaction, invite))
    }

    pub(crate) fn invites(&self) -> Result<Vec<InviteRow>, StoreError> {
        let mut statement =
            self.connection.prepare("SELECT statement, uses, used FROM invite ORDER BY expires, id")?;
        let mut rows = statement.query([])?;
        let mut invites = Vec::new();
        while let Some(row) = rows.next()? {
            let text: String = row.get(0)?;
            invites.push(InviteRow {
                invite: text.parse().map_err(|_| StoreError::content("an invite"))?,
                uses: row.get(1)?,
                used: row.get::<_, Option<i64>>(2)?.map(time),
            });
        }
        Ok(invites)
    }
}

pub(super) fn insert(transaction: &Transaction<'_>, invite: &Signed<Invite>) -> Result<(), StoreError> {
    let claims = invite.claims();
    let mut statement = transaction.prepare_cached(
        "INSERT INTO invite (id, statement, name, expires, boxes) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (id) DO NOTHING",
    )?;
    let (text, name) = (invite.to_string(), claims.name.as_str());
    statement.execute(params![
        claims.id().as_bytes(),
        text,
        name,
        sql(claims.expires),
        claims.limits.boxes
    ])?;
    Ok(())
}

/// One use of the invite, if one is left: nobody else can have it.
pub(super) fn take(
    transaction: &Transaction<'_>,
    invite: &InviteId,
    now: UnixSeconds,
) -> Result<bool, StoreError> {
    let mut statement = transaction.prepare_cached(
        "UPDATE invite SET uses = uses + 1, used = CASE WHEN uses + 1 >= boxes THEN ?2 END
         WHERE id = ?1 AND used IS NULL AND uses < boxes AND expires > ?2 RETURNING uses",
    )?;
    let uses: Option<i64> =
        statement.query_row(params![invite.as_bytes(), sql(now)], |row| row.get(0)).optional()?;
    Ok(uses.is_some())
}
