//! The tables, as numbered steps from an empty file to the newest schema. A step that was released never changes.
//!
//! Before the first step on a file that has something in it, a whole copy is made beside it. All missing steps are one
//! transaction. Refuses a file with a higher number: what newer software wrote, older software can't keep whole.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use trust::UnixSeconds;

use super::StoreError;

/// In the file's header, so that it is told apart from other programs' ("RlBx").
const APPLICATION_ID: i64 = 0x526c_4278;

/// Step n leads from schema n - 1 to n.
pub(super) const STEPS: &[&str] = &[
    // 1: invites, boxes with their keys, revocations.
    "CREATE TABLE invite (
        id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
        statement TEXT NOT NULL,
        name TEXT NOT NULL,
        expires INTEGER NOT NULL,
        boxes INTEGER NOT NULL,
        uses INTEGER NOT NULL DEFAULT 0 CHECK (uses <= boxes),
        used INTEGER
    ) STRICT;
    CREATE TABLE box (
        key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
        name TEXT NOT NULL UNIQUE,
        invite BLOB NOT NULL REFERENCES invite (id),
        certificate TEXT NOT NULL,
        membership TEXT NOT NULL,
        address TEXT NOT NULL UNIQUE,
        endpoints TEXT NOT NULL,
        version TEXT NOT NULL,
        board TEXT NOT NULL,
        enrolled INTEGER NOT NULL,
        seen INTEGER,
        heartbeat TEXT
    ) STRICT;
    CREATE TABLE wireguard (
        box BLOB NOT NULL REFERENCES box (key),
        generation INTEGER NOT NULL,
        key BLOB NOT NULL UNIQUE CHECK (length(key) = 32),
        statement TEXT NOT NULL,
        PRIMARY KEY (box, generation)
    ) STRICT;
    CREATE TABLE revocation (
        statement TEXT NOT NULL PRIMARY KEY,
        serial INTEGER NOT NULL
    ) STRICT;",
    // 2: when boxes were there, whose a stream's name is, and what peers found out about invites.
    "CREATE TABLE presence (
        box BLOB NOT NULL REFERENCES box (key),
        began INTEGER NOT NULL,
        until INTEGER NOT NULL CHECK (until >= began),
        PRIMARY KEY (box, began)
    ) STRICT;
    CREATE INDEX presence_until ON presence (until);
    CREATE TABLE stream (
        name TEXT NOT NULL PRIMARY KEY,
        owner BLOB NOT NULL REFERENCES box (key),
        claimed INTEGER NOT NULL,
        seen INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX stream_owner ON stream (owner);
    CREATE TABLE evidence (
        invite BLOB NOT NULL PRIMARY KEY CHECK (length(invite) = 16),
        received INTEGER NOT NULL,
        statement TEXT NOT NULL
    ) STRICT;",
    // 3: when pairs of boxes reached each other.
    "CREATE TABLE connection (
        one BLOB NOT NULL REFERENCES box (key),
        other BLOB NOT NULL REFERENCES box (key) CHECK (one < other),
        began INTEGER NOT NULL,
        until INTEGER NOT NULL CHECK (until >= began),
        PRIMARY KEY (one, other, began)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX connection_other ON connection (other);
    CREATE INDEX connection_until ON connection (until);",
    // 4: phones and laptops that watch through a box.
    "CREATE TABLE viewer (
        key BLOB NOT NULL PRIMARY KEY CHECK (length(key) = 32),
        gateway BLOB NOT NULL REFERENCES box (key),
        name TEXT NOT NULL,
        expires INTEGER NOT NULL,
        statement TEXT NOT NULL
    ) STRICT;",
];

/// The newest schema.
pub(crate) const LATEST: i64 = STEPS.len() as i64;

pub(super) fn version(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

pub(super) fn update(connection: &mut Connection, path: &Path, now: UnixSeconds) -> Result<(), StoreError> {
    let application: i64 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let found = version(connection)?;
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables > 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    if found > LATEST {
        return Err(StoreError::Newer { found, known: LATEST });
    }
    if found == LATEST {
        return Ok(());
    }
    if found > 0 {
        let copy = path.with_extension(format!("db.schema-{found}-{}", now.get()));
        self::copy(connection, &copy)?;
    }
    steps(connection, LATEST)
}

/// All steps up to schema `to`, as one.
pub(super) fn steps(connection: &mut Connection, to: i64) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Read again inside: another program may have been faster.
    let found = usize::try_from(version(&transaction)?).unwrap_or(0);
    let to = usize::try_from(to).unwrap_or(0);
    for step in STEPS.get(found..to).unwrap_or_default() {
        transaction.execute_batch(step)?;
    }
    let reached = found.max(to);
    transaction.execute_batch(&format!(
        "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {reached};"
    ))?;
    Ok(transaction.commit()?)
}

/// A copy beside `path`, and then under that name: whoever finds the name finds a whole copy.
pub(super) fn copy(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = std::path::PathBuf::from(beside);
    let attempt = || -> Result<(), StoreError> {
        // SQLite writes only into an empty file, which is made first so that nobody else can ever read it.
        crate::file::create_empty(&beside).map_err(StoreError::Copy)?;
        connection.execute("VACUUM INTO ?1", [beside.to_string_lossy()])?;
        crate::file::settle(&beside, path).map_err(StoreError::Copy)
    };
    attempt().inspect_err(|_| drop(std::fs::remove_file(&beside)))
}
