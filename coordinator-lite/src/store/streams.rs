//! Whose a stream's name is: the first box that published under it, for as long as it does so now and then.

use std::time::Duration;

use rusqlite::{OptionalExtension as _, Transaction, params};
use stream::StreamName;
use trust::{BoxKey, UnixSeconds};
use wire::{Code, Heartbeat};

use super::{Database, StoreError, sql};

/// A name that nobody published under for so long is free again: 30 days.
const KEPT: Duration = Duration::from_secs(30 * 86_400);

impl Database {
    /// Whose a name is; none for one that nobody published under, or not for long.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn owner(&self, name: &StreamName, now: UnixSeconds) -> Result<Option<BoxKey>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT owner FROM stream WHERE name = ?1 AND seen >= ?2")?;
        let found = statement.query_row(params![name.as_str(), sql(now.minus(KEPT))], |row| row.get(0));
        let found: Option<[u8; 32]> = found.optional()?;
        found
            .map(|key| BoxKey::from_bytes(key).map_err(|_| StoreError::content("a stream's owner")))
            .transpose()
    }
}

/// Claims the names under which the box publishes, `limit` at most; what stands against one is a notice.
pub(super) fn claim(
    transaction: &Transaction<'_>,
    key: &BoxKey,
    heartbeat: &Heartbeat,
    limit: u8,
    now: UnixSeconds,
) -> Result<Vec<Code>, StoreError> {
    let mut notices = Vec::new();
    for report in heartbeat.streams.iter().filter(|report| report.owner == *key) {
        let name = report.name.as_str();
        let mut again = transaction
            .prepare_cached("UPDATE stream SET seen = ?3 WHERE name = ?1 AND owner = ?2 RETURNING name")?;
        let known: Option<String> =
            again.query_row(params![name, key.as_bytes(), sql(now)], |row| row.get(0)).optional()?;
        if known.is_some() {
            continue;
        }
        let mut count = transaction.prepare_cached("SELECT count(*) FROM stream WHERE owner = ?1")?;
        let has: i64 = count.query_row([key.as_bytes()], |row| row.get(0))?;
        if has >= i64::from(limit) {
            notices.push(Code::Forbidden);
            continue;
        }
        let mut take = transaction.prepare_cached(
            "INSERT INTO stream (name, owner, claimed, seen) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT (name) DO UPDATE SET owner = ?2, claimed = ?3, seen = ?3 WHERE seen < ?4",
        )?;
        let taken = take.execute(params![name, key.as_bytes(), sql(now), sql(now.minus(KEPT))])?;
        if taken == 0 {
            notices.push(Code::StreamTaken);
        }
    }
    notices.sort_unstable();
    notices.dedup();
    Ok(notices)
}

impl Database {
    /// Whose a stream's name is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn owner_of(&self, name: &StreamName) -> Result<Option<BoxKey>, StoreError> {
        let mut find = self.connection.prepare_cached("SELECT owner FROM stream WHERE name = ?1")?;
        let owner: Option<[u8; 32]> = find.query_row([name.as_str()], |row| row.get(0)).optional()?;
        let key = |bytes| BoxKey::from_bytes(bytes).map_err(|_| StoreError::content("a stream's owner"));
        owner.map(key).transpose()
    }
}
