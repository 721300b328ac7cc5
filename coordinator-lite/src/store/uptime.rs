//! When boxes were there: stretches between heartbeats that were not too far apart. A heartbeat lengthens the last
//! stretch or begins another one, so a month of a quiet box is one row.

use std::time::Duration;

use rusqlite::{Transaction, params};
use trust::{BoxKey, UnixSeconds};

use super::{Database, StoreError, sql};

const DAY: Duration = Duration::from_secs(86_400);
/// What is older is forgotten: 35 days.
pub(super) const KEPT: Duration = Duration::from_secs(35 * DAY.as_secs());
pub(super) const DAYS_7: Duration = Duration::from_secs(7 * DAY.as_secs());
pub(super) const DAYS_30: Duration = Duration::from_secs(30 * DAY.as_secs());
/// Two heartbeats this far apart belong to one stretch.
pub(crate) const GAP_MAX: Duration = Duration::from_secs(60);

/// In thousandths of the time since the box, or the later one of a pair, came in, at most of the last 7 and 30 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Uptime {
    pub(crate) days_7_milli: u32,
    pub(crate) days_30_milli: u32,
}

pub(super) fn note(transaction: &Transaction<'_>, key: &BoxKey, now: UnixSeconds) -> Result<(), StoreError> {
    let mut lengthen = transaction.prepare_cached(
        "UPDATE presence SET until = max(until, ?2)
         WHERE box = ?1 AND began = (SELECT max(began) FROM presence WHERE box = ?1)
         AND began <= ?2 AND until >= ?3",
    )?;
    let lengthened = lengthen.execute(params![key.as_bytes(), sql(now), sql(now.minus(GAP_MAX))])?;
    if lengthened == 0 {
        let mut begin = transaction
            .prepare_cached("INSERT OR IGNORE INTO presence (box, began, until) VALUES (?1, ?2, ?2)")?;
        begin.execute(params![key.as_bytes(), sql(now)])?;
        let mut forget = transaction.prepare_cached("DELETE FROM presence WHERE until < ?1")?;
        forget.execute([sql(now.minus(KEPT))])?;
    }
    Ok(())
}

impl Database {
    /// Of a box that came in at `enrolled`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn uptime(
        &self,
        key: &BoxKey,
        enrolled: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<Uptime, StoreError> {
        let milli = |span: Duration| -> Result<u32, StoreError> {
            let from = now.minus(span).max(enrolled);
            let mut statement = self.connection.prepare_cached(
                "SELECT coalesce(sum(min(until, ?3) - max(began, ?2)), 0) FROM presence
                 WHERE box = ?1 AND until > ?2 AND began < ?3",
            )?;
            let there: i64 =
                statement.query_row(params![key.as_bytes(), sql(from), sql(now)], |row| row.get(0))?;
            Ok(share(there, from, now))
        };
        Ok(Uptime { days_7_milli: milli(DAYS_7)?, days_30_milli: milli(DAYS_30)? })
    }
}

/// Thousandths of the time between `from` and `now` that `there` seconds are.
pub(super) fn share(there: i64, from: UnixSeconds, now: UnixSeconds) -> u32 {
    let all = now.since(from).as_secs();
    let milli = u64::try_from(there).unwrap_or(0).saturating_mul(1000).checked_div(all).unwrap_or(0);
    u32::try_from(milli.min(1000)).unwrap_or(1000)
}
