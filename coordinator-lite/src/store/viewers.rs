//! Viewers: what the root signed about them, to be carried to their gateways. Their private keys were never here.

use rusqlite::{Connection, params};
use trust::{Name, Signed, UnixSeconds, Viewer};

use super::{Database, Durability, StoreError, sql};

impl Database {
    /// Keeps what `make` signs, once it has seen those that there are: nobody else adds one meanwhile. Forgets those
    /// whose time is over.
    ///
    /// # Errors
    /// Those of `make`, and [`StoreError`]; nothing is kept then.
    pub(crate) fn add_viewer<E: From<StoreError>>(
        &mut self,
        now: UnixSeconds,
        make: impl FnOnce(&[Signed<Viewer>]) -> Result<Signed<Viewer>, E>,
    ) -> Result<Signed<Viewer>, E> {
        self.write(Durability::Full, |transaction| {
            let forgotten = transaction.execute("DELETE FROM viewer WHERE expires <= ?1", [sql(now)]);
            forgotten.map_err(StoreError::from)?;
            let made = make(&read(transaction)?)?;
            let claims = made.claims();
            let keep = || -> Result<(), StoreError> {
                transaction.execute(
                    "INSERT INTO viewer (key, gateway, name, expires, statement) VALUES (?1, ?2, ?3, ?4, ?5)",
                    params![
                        claims.key.as_bytes(),
                        claims.gateway.as_bytes(),
                        claims.name.as_str(),
                        sql(claims.expires),
                        made.to_string()
                    ],
                )?;
                Ok(())
            };
            keep()?;
            Ok(made)
        })
    }

    /// All that are kept, also those whose time is over, by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn viewers(&self) -> Result<Vec<Signed<Viewer>>, StoreError> {
        read(&self.connection)
    }

    /// Those of this name whose time is not over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn viewers_named(
        &self,
        name: &Name,
        now: UnixSeconds,
    ) -> Result<Vec<Signed<Viewer>>, StoreError> {
        let mut viewers = self.viewers()?;
        viewers.retain(|viewer| viewer.claims().name == *name && now < viewer.claims().expires);
        Ok(viewers)
    }
}

fn read(connection: &Connection) -> Result<Vec<Signed<Viewer>>, StoreError> {
    let mut statement = connection.prepare_cached("SELECT statement FROM viewer ORDER BY name, key")?;
    let texts = statement.query_map([], |row| row.get::<_, String>(0))?;
    texts.map(|text| text?.parse().map_err(|_| StoreError::content("a viewer"))).collect()
}
