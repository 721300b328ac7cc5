//! Boxes: who they are, how they are reached, when they were seen. What a row says about who may what is a signed
//! statement, as it was given to others; columns beside it are for looking up.

use rusqlite::{Row, Transaction, params};
use trust::peer::{ENDPOINTS_MAX, Entry};
use trust::wireguard::{RotationError, WireGuardBinding, WireGuardKeys};
use trust::{BoxKey, Chain, Endpoint, List, Membership, Name, Signed, UnixSeconds};
use wire::{Code, Heartbeat};

use super::{Database, Durability, StoreError, connections, sql, streams, time, uptime};

/// One box.
#[derive(Clone, Debug)]
pub(crate) struct BoxRow {
    pub(crate) entry: Entry,
    pub(crate) version: String,
    pub(crate) board: String,
    pub(crate) enrolled: UnixSeconds,
    pub(crate) seen: Option<UnixSeconds>,
    pub(crate) heartbeat: Option<Heartbeat>,
}

impl BoxRow {
    pub(crate) fn key(&self) -> &BoxKey {
        self.entry.key()
    }

    pub(crate) fn name(&self) -> &Name {
        &self.entry.chain.certificate.claims().name
    }
}

/// What a heartbeat did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) notices: Vec<Code>,
    /// Peers have to hear of it.
    pub(crate) endpoints_changed: bool,
}

/// A WireGuard key is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindingRefused {
    #[error("another box has this WireGuard key")]
    Taken,
    #[error("the WireGuard key can't follow the one before it")]
    Rotation(#[source] RotationError),
    #[error("the box is not known")]
    Unknown,
    #[error("keeping the WireGuard key")]
    Store(#[from] StoreError),
}

impl Database {
    /// All boxes by rising key.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn boxes(&self) -> Result<Vec<BoxRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT box.key, invite.statement, box.certificate, box.membership, box.endpoints, box.version,
                box.board, box.enrolled, box.seen, box.heartbeat
             FROM box JOIN invite ON invite.id = box.invite ORDER BY box.key",
        )?;
        let mut rows = statement.query([])?;
        let mut boxes = Vec::new();
        while let Some(row) = rows.next()? {
            boxes.push(self.row(row)?);
        }
        Ok(boxes)
    }

    fn row(&self, row: &Row<'_>) -> Result<BoxRow, StoreError> {
        let key: [u8; 32] = row.get(0)?;
        let chain = Chain {
            invite: parsed(row, 1, "an invite")?,
            certificate: parsed(row, 2, "a box's certificate")?,
        };
        let endpoints: String = row.get(4)?;
        let endpoints = serde_json::from_str(&endpoints).map_err(|_| StoreError::content("endpoints"))?;
        let membership = parsed(row, 3, "a membership")?;
        let entry = Entry { chain, membership, wireguard: bindings(&self.connection, &key)?, endpoints };
        let heartbeat: Option<String> = row.get(9)?;
        Ok(BoxRow {
            entry,
            version: row.get(5)?,
            board: row.get(6)?,
            enrolled: time(row.get(7)?),
            seen: row.get::<_, Option<i64>>(8)?.map(time),
            // It informs; one that an older version wrote is passed over.
            heartbeat: heartbeat.and_then(|text| serde_json::from_str(&text).ok()),
        })
    }

    /// Keeps what a box said about itself.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn heartbeat(
        &mut self,
        key: &BoxKey,
        heartbeat: &Heartbeat,
        streams_max: u8,
        now: UnixSeconds,
    ) -> Result<Seen, StoreError> {
        let text = serde_json::to_string(heartbeat).map_err(|_| StoreError::content("a heartbeat"))?;
        let endpoints = endpoints_text(&heartbeat.endpoints)?;
        self.write(Durability::Normal, |transaction| {
            let mut statement = transaction.prepare_cached("SELECT endpoints FROM box WHERE key = ?1")?;
            let before: String = statement.query_row([key.as_bytes()], |row| row.get(0))?;
            let mut statement = transaction.prepare_cached(
                "UPDATE box SET heartbeat = ?2, endpoints = ?3, version = ?4, board = ?5, seen = ?6
                 WHERE key = ?1",
            )?;
            let (version, board) = (heartbeat.version.as_str(), heartbeat.board.as_str());
            statement.execute(params![key.as_bytes(), text, endpoints, version, board, sql(now)])?;
            uptime::note(transaction, key, now)?;
            connections::note(transaction, key, &heartbeat.paths, now)?;
            let notices = streams::claim(transaction, key, heartbeat, streams_max, now)?;
            Ok(Seen { notices, endpoints_changed: before != endpoints })
        })
    }

    /// Another membership in place of the one that ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn renew(&mut self, membership: &Signed<Membership>) -> Result<(), StoreError> {
        self.write(Durability::Full, |transaction| {
            transaction.execute(
                "UPDATE box SET membership = ?2 WHERE key = ?1",
                params![membership.claims().key.as_bytes(), membership.to_string()],
            )?;
            Ok(())
        })
    }

    /// Another WireGuard key of a box, or the same one after a start. The caller has verified it.
    ///
    /// # Errors
    /// [`BindingRefused`]; the keys stay as they are.
    pub(crate) fn bind(
        &mut self,
        key: &BoxKey,
        offered: &Signed<WireGuardBinding>,
    ) -> Result<(), BindingRefused> {
        self.write(Durability::Full, |transaction| {
            let known = bindings(transaction, key.as_bytes())?;
            let mut known = known.iter().map(|signed| signed.claims().clone());
            let mut keys = WireGuardKeys::new(known.next().ok_or(BindingRefused::Unknown)?);
            for binding in known {
                keys.handle_binding(binding).map_err(BindingRefused::Rotation)?;
            }
            keys.handle_binding(offered.claims().clone()).map_err(BindingRefused::Rotation)?;
            insert_binding(transaction, key, offered)
        })
    }
}

/// Writes a binding in place of the one of its generation, and forgets all but the newest two.
pub(super) fn insert_binding(
    transaction: &Transaction<'_>,
    key: &BoxKey,
    signed: &Signed<WireGuardBinding>,
) -> Result<(), BindingRefused> {
    let claims = signed.claims();
    let mut others = transaction
        .prepare_cached("SELECT count(*) FROM wireguard WHERE key = ?1 AND box <> ?2")
        .map_err(StoreError::from)?;
    let others: i64 = others
        .query_row(params![claims.key.as_bytes(), key.as_bytes()], |row| row.get(0))
        .map_err(StoreError::from)?;
    if others > 0 {
        return Err(BindingRefused::Taken);
    }
    let insert = || -> Result<(), StoreError> {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO wireguard (box, generation, key, statement) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (box, generation) DO UPDATE SET key = ?3, statement = ?4",
        )?;
        let (generation, text) = (claims.generation, signed.to_string());
        statement.execute(params![key.as_bytes(), generation, claims.key.as_bytes(), text])?;
        let mut forget = transaction.prepare_cached(
            "DELETE FROM wireguard WHERE box = ?1 AND generation NOT IN
             (SELECT generation FROM wireguard WHERE box = ?1 ORDER BY generation DESC LIMIT 2)",
        )?;
        forget.execute([key.as_bytes()])?;
        Ok(())
    };
    Ok(insert()?)
}

pub(super) fn endpoints_text(endpoints: &List<Endpoint, ENDPOINTS_MAX>) -> Result<String, StoreError> {
    serde_json::to_string(endpoints).map_err(|_| StoreError::content("endpoints"))
}

fn bindings(
    connection: &rusqlite::Connection,
    key: &[u8; 32],
) -> Result<List<Signed<WireGuardBinding>, { WireGuardKeys::MAX }>, StoreError> {
    let mut statement =
        connection.prepare_cached("SELECT statement FROM wireguard WHERE box = ?1 ORDER BY generation")?;
    let mut rows = statement.query([key])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        all.push(parsed(row, 0, "a WireGuard key")?);
    }
    List::try_from(all).map_err(|_| StoreError::content("a box's WireGuard keys"))
}

fn parsed<T: std::str::FromStr>(row: &Row<'_>, at: usize, what: &str) -> Result<T, StoreError> {
    let text: String = row.get(at)?;
    text.parse().map_err(|_| StoreError::content(what))
}
