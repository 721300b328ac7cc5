//! What can go wrong with the database, told apart as far as somebody can do something about it.

use std::path::PathBuf;

use rusqlite::ErrorCode;
use wire::Code;

/// Display says what happened, and [`Code::what_to_do`] what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the database is locked by another program")]
    Locked(#[source] rusqlite::Error),
    #[error("the disk is full")]
    DiskFull(#[source] rusqlite::Error),
    #[error("the database can't be written")]
    ReadOnly(#[source] rusqlite::Error),
    #[error("the database is damaged: {found}")]
    Corrupt { found: String },
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    #[error("{} is the database of another program", .0.display())]
    Foreign(PathBuf),
    #[error("the database has schema {found}, and this software knows up to {known}")]
    Newer { found: i64, known: i64 },
    #[error("copying the database")]
    Copy(#[source] std::io::Error),
    #[error("the database did not answer in time")]
    Late,
    #[error("too many wait for the database")]
    Busy,
    #[error("the database's thread has ended")]
    Ended,
    #[error("the database refused")]
    Other(#[source] rusqlite::Error),
}

impl StoreError {
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Locked(_) | Self::Late => Code::DatabaseLocked,
            Self::DiskFull(_) => Code::DiskFull,
            Self::ReadOnly(_) => Code::DatabaseReadOnly,
            Self::Corrupt { .. } | Self::Foreign(_) => Code::DatabaseCorrupt,
            Self::Newer { .. } => Code::DatabaseNewer,
            Self::Busy => Code::TryAgain,
            Self::Missing(_) | Self::Copy(_) | Self::Ended | Self::Other(_) => Code::Internal,
        }
    }

    /// A content that this software never wrote.
    pub(super) fn content(what: &str) -> Self {
        Self::Corrupt { found: format!("{what} can't be read") }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        let Some(code) = error.sqlite_error_code() else { return Self::Other(error) };
        match code {
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Locked(error),
            ErrorCode::DiskFull => Self::DiskFull(error),
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                Self::ReadOnly(error)
            }
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => {
                Self::Corrupt { found: error.to_string() }
            }
            _ => Self::Other(error),
        }
    }
}
