//! Why a write is given up, and what a failure of SQLite means to a client.

use rusqlite::ErrorCode;

use botops_core::error::{Code, Effect, Error};

/// Why a write closure gives up; its changes are undone.
#[derive(Debug)]
pub enum StoreAbort {
    /// SQLite failed; what that means to a client depends on its error code.
    Sql(rusqlite::Error),
    /// The feature refused; the error reaches the caller as it is.
    Refused(Error),
}

impl From<rusqlite::Error> for StoreAbort {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for StoreAbort {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreAbort> for Error {
    fn from(abort: StoreAbort) -> Self {
        match abort {
            StoreAbort::Sql(error) => sql_error(&error),
            StoreAbort::Refused(error) => error,
        }
    }
}

pub(super) fn unavailable(cause: &dyn std::fmt::Display) -> Error {
    Error::new(Code::StoreUnavailable).caused_by(cause)
}

fn sql_error(error: &rusqlite::Error) -> Error {
    match error.sqlite_error_code() {
        Some(
            ErrorCode::DiskFull
            | ErrorCode::ReadOnly
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
            | ErrorCode::PermissionDenied,
        ) => unavailable(error),
        _ => Error::new(Code::Internal).effect(Effect::None).caused_by(error),
    }
}
