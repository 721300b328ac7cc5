//! When pairs of boxes reached each other: stretches like those of [`super::uptime`], from what either of the two tells
//! of its paths. Refuses pairs with a box that is not known, and more than [`STRETCHES_MAX`] stretches of one pair.

use rusqlite::{Transaction, params};
use trust::{BoxKey, UnixSeconds};
use wire::heartbeat::{PathKind, PeerPath};

use super::uptime::{DAYS_7, DAYS_30, GAP_MAX, KEPT, Uptime, share};
use super::{Database, StoreError, sql};

/// A pair that parted more often in 35 days loses its oldest stretches, so that a box that makes them up fills no disk.
pub(super) const STRETCHES_MAX: u32 = 512;

pub(super) fn note(
    transaction: &Transaction<'_>,
    key: &BoxKey,
    paths: &[PeerPath],
    now: UnixSeconds,
) -> Result<(), StoreError> {
    let mut lengthen = transaction.prepare_cached(
        "UPDATE connection SET until = max(until, ?3)
         WHERE one = ?1 AND other = ?2 AND began =
            (SELECT max(began) FROM connection WHERE one = ?1 AND other = ?2)
         AND began <= ?3 AND until >= ?4",
    )?;
    let mut begin = transaction.prepare_cached(
        "INSERT OR IGNORE INTO connection (one, other, began, until)
         SELECT ?1, ?2, ?3, ?3 WHERE (SELECT count(*) FROM box WHERE key IN (?1, ?2)) = 2",
    )?;
    let mut bound = transaction.prepare_cached(
        "DELETE FROM connection WHERE one = ?1 AND other = ?2 AND began <=
            (SELECT began FROM connection WHERE one = ?1 AND other = ?2
             ORDER BY began DESC LIMIT 1 OFFSET ?3)",
    )?;
    let mut began = 0;
    for path in paths.iter().filter(|path| path.kind != PathKind::None && path.peer != *key) {
        let (one, other) = (key.min(&path.peer).as_bytes(), key.max(&path.peer).as_bytes());
        if lengthen.execute(params![one, other, sql(now), sql(now.minus(GAP_MAX))])? == 0 {
            began += begin.execute(params![one, other, sql(now)])?;
            bound.execute(params![one, other, STRETCHES_MAX])?;
        }
    }
    if began > 0 {
        let mut forget = transaction.prepare_cached("DELETE FROM connection WHERE until < ?1")?;
        forget.execute([sql(now.minus(KEPT))])?;
    }
    Ok(())
}

impl Database {
    /// Whom a box reached in the last 30 days, by rising key: the share of the time since both came in.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn connections(
        &self,
        key: &BoxKey,
        now: UnixSeconds,
    ) -> Result<Vec<(BoxKey, Uptime)>, StoreError> {
        let (week, month) = (now.minus(DAYS_7), now.minus(DAYS_30));
        let mut statement = self.connection.prepare_cached(
            "SELECT peer.key, max(own.enrolled, peer.enrolled),
                sum(max(0, min(until, ?2) - max(began, ?3, own.enrolled, peer.enrolled))),
                sum(max(0, min(until, ?2) - max(began, ?4, own.enrolled, peer.enrolled)))
             FROM connection
             JOIN box own ON own.key = ?1
             JOIN box peer ON peer.key = CASE one WHEN ?1 THEN other ELSE one END
             WHERE (one = ?1 OR other = ?1) AND until > ?4
             GROUP BY peer.key ORDER BY peer.key",
        )?;
        let mut rows = statement.query(params![key.as_bytes(), sql(now), sql(week), sql(month)])?;
        let mut connections = Vec::new();
        while let Some(row) = rows.next()? {
            let peer = BoxKey::from_bytes(row.get(0)?).map_err(|_| StoreError::content("a box's key"))?;
            let both = super::time(row.get(1)?);
            let of = |there: i64, from: UnixSeconds| share(there, from.max(both), now);
            let (days_7_milli, days_30_milli) = (of(row.get(2)?, week), of(row.get(3)?, month));
            connections.push((peer, Uptime { days_7_milli, days_30_milli }));
        }
        Ok(connections)
    }
}
