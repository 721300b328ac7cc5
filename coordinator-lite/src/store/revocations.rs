//! Revocations and evidence. What is revoked decides nothing here: the set is checked whole in memory.

use rusqlite::params;
use trust::{DoubleUse, Revocation, Revocations, RootKey, Signed, UnixSeconds};

use super::{Database, Durability, StoreError, sql};

impl Database {
    /// The set, verified again: a disk is believed no more than a line.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn revocations(&self, root: &RootKey) -> Result<Revocations, StoreError> {
        let mut statement = self.connection.prepare("SELECT statement FROM revocation ORDER BY serial")?;
        let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut revocations = Revocations::new();
        for text in texts {
            let entry: Signed<Revocation> = text?.parse().map_err(|_| StoreError::content("a revocation"))?;
            revocations.merge(root, [&entry]);
        }
        Ok(revocations)
    }

    /// Writes down what the set has become.
    ///
    /// # Errors
    /// [`StoreError`]; the set on disk stays as it was.
    pub(crate) fn keep_revocations(&mut self, revocations: &Revocations) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            transaction.execute("DELETE FROM revocation", [])?;
            let mut statement = transaction
                .prepare_cached("INSERT OR IGNORE INTO revocation (statement, serial) VALUES (?1, ?2)")?;
            for entry in revocations.entries() {
                statement.execute(params![entry.to_string(), entry.claims().serial])?;
            }
            Ok(())
        })
    }

    /// Keeps the first evidence for each invite. The caller has verified it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn keep_evidence(
        &mut self,
        invite: &trust::InviteId,
        evidence: &DoubleUse,
        now: UnixSeconds,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_string(evidence).map_err(|_| StoreError::content("evidence"))?;
        self.write(Durability::Full, |transaction| {
            transaction.execute(
                "INSERT INTO evidence (invite, received, statement) VALUES (?1, ?2, ?3)
                 ON CONFLICT (invite) DO NOTHING",
                params![invite.as_bytes(), sql(now), text],
            )?;
            Ok(())
        })
    }

    /// The invites that were used more often than they may be.
    pub(crate) fn evidence(&self) -> Result<Vec<DoubleUse>, StoreError> {
        let mut statement = self.connection.prepare("SELECT statement FROM evidence ORDER BY received")?;
        let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
        texts.map(|text| serde_json::from_str(&text?).map_err(|_| StoreError::content("evidence"))).collect()
    }
}
