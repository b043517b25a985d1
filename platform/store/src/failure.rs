//! What a database error means to a caller: conflict, not now, or a fault of ours. Constraint
//! names become codes through the table that services register. Not for domain rules.

use std::sync::{Arc, OnceLock};

use kernel::Error;
use sea_orm::sqlx::error::{DatabaseError, ErrorKind};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

/// A database constraint and what breaking it means to a caller.
#[derive(Clone, Copy, Debug)]
pub struct Constraint {
    /// The constraint's or index's name; PostgreSQL reports it.
    pub name: &'static str,
    /// What SQLite reports instead: `table.column, table.column`, or the CHECK's name.
    pub columns: &'static str,
    /// The stable error code.
    pub code: &'static str,
    /// The message that callers see.
    pub message: &'static str,
}

static CONSTRAINTS: OnceLock<Vec<Constraint>> = OnceLock::new();

/// Registers the constraints of all services, once per process and before the first request.
pub fn register_constraints(constraints: Vec<Constraint>) {
    // A second start in the same process (tests) brings the same list.
    let _ = CONSTRAINTS.set(constraints);
}

fn sqlx_error(error: &DbErr) -> Option<&Arc<sea_orm::sqlx::Error>> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(inner))
        | DbErr::Exec(RuntimeErr::SqlxError(inner))
        | DbErr::Query(RuntimeErr::SqlxError(inner)) => Some(inner),
        _ => None,
    }
}

fn database_error(error: &DbErr) -> Option<&dyn DatabaseError> {
    sqlx_error(error)?.as_database_error()
}

/// Returns SQLite's primary result code. PostgreSQL's codes have five characters, SQLite's are
/// numbers, primary or extended.
fn sqlite_code(code: &str) -> Option<i32> {
    code.parse::<i32>().ok().filter(|_| code.len() < 5).map(|number| number & 0xff)
}

/// Says whether SQLite may have ended the whole transaction, not only the statement.
pub(crate) fn breaks_transaction(error: &DbErr) -> bool {
    match database_error(error) {
        // The kinds, and ERROR, TOOBIG, CONSTRAINT, MISMATCH and RANGE, end the statement only.
        Some(known) => {
            !matches!(
                known.kind(),
                ErrorKind::UniqueViolation
                    | ErrorKind::ForeignKeyViolation
                    | ErrorKind::NotNullViolation
                    | ErrorKind::CheckViolation
            ) && !matches!(sqlite_code(&known.code().unwrap_or_default()), Some(1 | 18 | 19 | 20 | 25))
        }
        // Row decoding and the like leave the transaction as it was; a lost connection does not.
        None => sqlx_error(error).is_some_and(|inner| {
            !matches!(
                **inner,
                sea_orm::sqlx::Error::RowNotFound
                    | sea_orm::sqlx::Error::ColumnDecode { .. }
                    | sea_orm::sqlx::Error::ColumnNotFound(_)
                    | sea_orm::sqlx::Error::Decode(_)
            )
        }),
    }
}

/// Turns a database error into ours.
pub fn from_database(error: DbErr) -> Error {
    if let DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) = error {
        return Error::unavailable("store.pool_exhausted", "the database is busy; try again shortly")
            .retry_after(1)
            .source_error(error);
    }
    if let DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed) = error {
        return unavailable().source_error(error);
    }
    let Some(inner) = sqlx_error(&error) else {
        return Error::internal("a database call failed").source_error(error);
    };
    let Some(known) = inner.as_database_error() else {
        let away = matches!(
            **inner,
            sea_orm::sqlx::Error::Io(_)
                | sea_orm::sqlx::Error::PoolClosed
                | sea_orm::sqlx::Error::PoolTimedOut
                | sea_orm::sqlx::Error::WorkerCrashed
                | sea_orm::sqlx::Error::Protocol(_)
                | sea_orm::sqlx::Error::Tls(_)
        );
        return if away {
            unavailable().source_error(error)
        } else {
            Error::internal("a database call failed").source_error(error)
        };
    };
    let code = known.code().unwrap_or_default().into_owned();
    match known.kind() {
        ErrorKind::UniqueViolation | ErrorKind::CheckViolation | ErrorKind::ForeignKeyViolation => {
            return constraint(known).source_error(error);
        }
        _ => {}
    }
    match (sqlite_code(&code), code.as_str()) {
        (Some(13), _) | (_, "53100") => disk_full().source_error(error),
        // BUSY, LOCKED, IOERR, CANTOPEN, PROTOCOL, READONLY (a file system gone read-only), NOMEM.
        (Some(5 | 6 | 7 | 8 | 10 | 14 | 15), _) => unavailable().source_error(error),
        (_, "40001" | "40P01") => {
            Error::unavailable("store.contention", "several changes met at the same rows; try again")
                .retry_after(1)
                .source_error(error)
        }
        (_, "25P03" | "57014") => Error::unavailable("store.timeout", "the database took too long; try again")
            .retry_after(1)
            .source_error(error),
        // Connection exceptions, too many connections, shutdown, read-only after a failover.
        (_, text) if text.starts_with("08") || text.starts_with("57P") || text.starts_with("53") || text == "25006" => {
            unavailable().source_error(error)
        }
        _ => Error::internal("a database call failed").source_error(error),
    }
}

/// The store is being closed.
pub(crate) fn stopping() -> Error {
    Error::unavailable("server.stopping", "the server is stopping; try again shortly").retry_after(2)
}

/// Turns a failure to get a connection into ours. The pool says "timed out" for both: all are lent
/// out, or none can be opened.
pub(crate) fn from_acquire(error: DbErr, all_lent: bool) -> Error {
    match error {
        DbErr::ConnectionAcquire(ConnAcquireErr::Timeout) if !all_lent => unavailable().source_error(error),
        other => from_database(other),
    }
}

fn unavailable() -> Error {
    Error::unavailable("store.unavailable", "the database is away; try again shortly").retry_after(2)
}

fn disk_full() -> Error {
    Error::unavailable("store.disk_full", "the server has no room to store this; nothing was changed").retry_after(60)
}

fn constraint(known: &dyn DatabaseError) -> Error {
    let text = known.message();
    let found = CONSTRAINTS.get().into_iter().flatten().find(|constraint| {
        known.constraint() == Some(constraint.name)
            || text.strip_suffix(constraint.columns).is_some_and(|before| before.ends_with(": "))
    });
    match found {
        Some(constraint) => Error::conflict(constraint.code, constraint.message),
        None => Error::conflict("store.constraint", "this would break a rule between stored things")
            .context(format!("no code is registered for: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_the_pool_is_not_now_rather_than_a_fault() {
        let error = from_database(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout));
        assert_eq!((error.code(), error.status(), error.retry_after_seconds()), ("store.pool_exhausted", 503, Some(1)));
    }
}
