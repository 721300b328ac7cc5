//! What the coordinator keeps, in one SQLite file. All SQL of the house is below this module.
//!
//! [`Database`] is the connection and does one thing at a time; [`Store`] gives it a thread of its own, which is the
//! service's one writer, and bounds how long anybody waits for it. Other programs of the operator (`invite`,
//! `box revoke`) open the file beside the service: WAL lets them, and the service sees that it changed.
//! Refuses a file of newer software, a damaged one, and to keep anything with which somebody could come in.

mod boxes;
mod connections;
mod enrolment;
mod failure;
mod invites;
mod revocations;
mod schema;
mod streams;
mod uptime;
mod viewers;
mod worker;

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use trust::UnixSeconds;

pub(crate) use boxes::{BindingRefused, BoxRow};
pub(crate) use enrolment::{Enrolment, Refused};
pub(crate) use failure::StoreError;
pub(crate) use invites::InviteRow;
pub(crate) use schema::LATEST as SCHEMA_LATEST;
pub(crate) use uptime::Uptime;
pub(crate) use worker::Store;

/// The file's name in the data directory.
pub(crate) const FILE: &str = "coordinator.db";
/// How long a statement waits for another program that writes.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// Whether a commit has to be on the disk before it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// Enrolments, invites, memberships, keys, revocations: a power cut takes nothing back.
    Full,
    /// Heartbeats: the last seconds may be lost.
    Normal,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Database {
    connection: Connection,
}

impl Database {
    /// Opens the file, or makes it; brings an older one up to date, with a copy beside it.
    ///
    /// # Errors
    /// [`StoreError`]; the file is as it was.
    pub(crate) fn open(path: &Path, now: UnixSeconds) -> Result<Self, StoreError> {
        let mut database = Self::connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
        schema::update(&mut database.connection, path, now)?;
        Ok(database)
    }

    /// Opens a file that has to be there.
    ///
    /// # Errors
    /// [`StoreError::Missing`] and those of [`Self::open`].
    pub(crate) fn open_existing(path: &Path, now: UnixSeconds) -> Result<Self, StoreError> {
        if path.is_file() { Self::open(path, now) } else { Err(StoreError::Missing(path.to_owned())) }
    }

    fn connect(path: &Path, more: OpenFlags) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_MAX)?;
        // What is damaged is found when it is read, and never believed.
        connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF;")?;
        let database = Self { connection };
        database.check()?;
        database.connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL;",
        )?;
        Ok(database)
    }

    /// Looks through the whole file.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`].
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let first: String = self.connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
        if first == "ok" { Ok(()) } else { Err(StoreError::Corrupt { found: first }) }
    }

    /// Changes when another program has written.
    pub(crate) fn version(&self) -> Result<i64, StoreError> {
        Ok(self.connection.query_row("PRAGMA data_version", [], |row| row.get(0))?)
    }

    pub(crate) fn schema(&self) -> Result<i64, StoreError> {
        schema::version(&self.connection)
    }

    /// A whole copy in a new file, also while others write.
    ///
    /// # Errors
    /// [`StoreError`]; what was written of the copy is taken away.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), StoreError> {
        schema::copy(&self.connection, path)
    }

    /// Everything or nothing, alone from its first statement on.
    fn write<T, E: From<StoreError>>(
        &mut self,
        durability: Durability,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let level = match durability {
            Durability::Full => "PRAGMA synchronous = FULL",
            Durability::Normal => "PRAGMA synchronous = NORMAL",
        };
        self.connection.execute_batch(level).map_err(StoreError::from)?;
        let begun = self.connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(StoreError::from)?;
        let done = work(&transaction)?;
        transaction.commit().map_err(StoreError::from)?;
        Ok(done)
    }
}

/// As SQLite counts: times never reach the sign bit.
fn sql(time: UnixSeconds) -> i64 {
    i64::try_from(time.get()).unwrap_or(i64::MAX)
}

fn time(seconds: i64) -> UnixSeconds {
    UnixSeconds::new(u64::try_from(seconds).unwrap_or(0))
}

#[cfg(test)]
mod tests;
