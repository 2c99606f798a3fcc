//! A configured database: an SQLite file or a PostgreSQL server.
//!
//! Sizes and row counts are estimates that the database already has; no table is ever scanned.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_core::text::clean;
use rusqlite::{Connection, OpenFlags};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio_postgres::NoTls;
use utoipa::ToSchema;

use super::check_run::CheckRun;
use super::metric_limits::{CONNECTION_TIME, DATABASE_SIZE, QUERY_TIME, TABLE_COUNT, TOTAL_ROWS};
use super::review::{CheckerReview, FileLook};
use super::sample::{CheckOutcome, CheckSample, wide};
use super::targets::CheckTargets;

/// How many tables are asked for their largest row id.
const TABLES: usize = 200;

/// Which database to check: exactly one of the two members is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatabaseConfig {
    /// Absolute path of an SQLite file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(crate) db_path: Option<PathBuf>,
    /// Name of an environment variable (`BOT_CHECK_SECRET_*`) that holds a PostgreSQL URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url_env: Option<String>,
}

impl DatabaseConfig {
    /// Checks that exactly one member is given and that it can be used.
    pub(crate) fn review(&self, review: &mut CheckerReview<'_>) {
        match (&self.db_path, &self.url_env) {
            (Some(path), None) => {
                let expected = match review.file {
                    _ if !path.is_absolute() => Some("the absolute path of an existing file"),
                    FileLook::File => None,
                    FileLook::Hangs => Some("a path on a file system that answers"),
                    FileLook::NotAsked | FileLook::NoFile => Some("the absolute path of an existing file"),
                };
                if let Some(expected) = expected {
                    review.defects.wrong(
                        "/config/db_path",
                        clean(&path.display().to_string(), 120),
                        expected,
                    );
                }
            }
            (None, Some(name)) => review.review_secret("/config/url_env", name),
            _ => {
                let got = serde_json::to_value(self).unwrap_or_default();
                review.defects.wrong("/config", got, "either `db_path` or `url_env`");
            }
        }
    }
}

pub(crate) async fn check_database(
    config: DatabaseConfig,
    targets: Arc<CheckTargets>,
    run: CheckRun,
) -> CheckSample {
    let timeout = run.timeout;
    if let Some(path) = config.db_path {
        // With the path: a checker that was removed and added with another one does not wait for the old one's call.
        let name = format!("{}, {}", run.component, clean(&path.display().to_string(), 120));
        let checked = targets.threads.call(&name, move || sqlite(&path, timeout)).await;
        return checked.unwrap_or_else(|sample| sample);
    }
    let url = config.url_env.as_ref().and_then(|name| targets.secrets.get(name));
    let Some(url) = url else {
        return CheckSample::failed(
            CheckOutcome::Internal,
            "the environment variable with the URL is not set",
        );
    };
    match tokio_postgres::Config::from_str(url.expose_secret()) {
        Ok(mut config) => {
            config.connect_timeout(timeout);
            match targets.guard.resolve_postgres(&mut config).await {
                Ok(()) => postgres(&config).await,
                Err(note) => CheckSample::failed(CheckOutcome::Dns, note),
            }
        }
        Err(_) => CheckSample::failed(
            CheckOutcome::Internal,
            "the environment variable does not hold a PostgreSQL URL",
        ),
    }
}

fn sqlite(path: &Path, timeout: Duration) -> CheckSample {
    let started = Instant::now();
    let Ok(file) = std::fs::metadata(path) else {
        return CheckSample::failed(
            CheckOutcome::Unreachable,
            "the database file is not there, or may not be read",
        );
    };
    if !file.is_file() {
        // To open a pipe would wait for its other end.
        return CheckSample::failed(CheckOutcome::Protocol, "what lies at the path is no file");
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.busy_timeout((timeout / 4).min(Duration::from_secs(2)))?;
        let tables: i64 =
            connection
                .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))?;
        Ok((connection, tables))
    });
    let (connection, tables) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            return match error.sqlite_error_code() {
                Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                    CheckSample::failed(CheckOutcome::Timeout, "the database is locked")
                }
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                    CheckSample::failed(CheckOutcome::Protocol, "the file is no database, or is damaged")
                }
                _ => CheckSample::failed(CheckOutcome::Unreachable, "the database does not open"),
            };
        }
    };
    let open_ms = started.elapsed().as_secs_f64() * 1000.0;
    let asked = Instant::now();
    let rows = rows_of(&connection);
    let query_ms = asked.elapsed().as_secs_f64() * 1000.0;
    measured(open_ms, wide(file.len()) / 1e6, tables, rows, query_ms)
}

/// The sum of the largest row ids, an upper bound of the rows that costs one index lookup for each table.
fn rows_of(connection: &Connection) -> Option<i64> {
    let mut names = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' LIMIT ?1")
        .ok()?;
    let limit = i64::try_from(TABLES).unwrap_or(i64::MAX);
    let names: Vec<String> =
        names.query_map([limit], |row| row.get(0)).ok()?.collect::<Result<_, _>>().ok()?;
    let largest = |name: &String| -> i64 {
        let quoted = name.replace('"', "\"\"");
        // A table without row ids has no cheap count; it is left out.
        connection
            .query_row(&format!("SELECT max(rowid) FROM \"{quoted}\""), [], |row| {
                row.get::<_, Option<i64>>(0)
            })
            .ok()
            .flatten()
            .unwrap_or(0)
            .max(0)
    };
    Some(names.iter().map(largest).fold(0, i64::saturating_add))
}

async fn postgres(config: &tokio_postgres::Config) -> CheckSample {
    let started = Instant::now();
    let (client, connection) = match config.connect(NoTls).await {
        Ok(connected) => connected,
        Err(error) => return postgres_failure(&error),
    };
    let open_ms = started.elapsed().as_secs_f64() * 1000.0;
    let asked = Instant::now();
    let work = client.query_one(
        "SELECT pg_database_size(current_database())::bigint,
                count(*)::bigint,
                coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')",
        &[],
    );
    // The connection has to be driven while the query runs; it ends with the check.
    let row = tokio::select! {
        row = work => row,
        ended = connection => match ended {
            Err(error) => return postgres_failure(&error),
            Ok(()) => return CheckSample::failed(CheckOutcome::Protocol, "the server closed the connection"),
        },
    };
    match row {
        Ok(row) => {
            let numbers: Result<Vec<i64>, _> = (0..3).map(|index| row.try_get(index)).collect();
            let Ok(numbers) = numbers else {
                return CheckSample::failed(CheckOutcome::Protocol, "the server's answer makes no sense");
            };
            let query_ms = asked.elapsed().as_secs_f64() * 1000.0;
            let size = wide(numbers[0].unsigned_abs()) / 1e6;
            measured(open_ms, size, numbers[1], Some(numbers[2]), query_ms)
        }
        Err(error) => postgres_failure(&error),
    }
}

fn postgres_failure(error: &tokio_postgres::Error) -> CheckSample {
    use tokio_postgres::error::SqlState;
    if let Some(state) = error.code() {
        return match *state {
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                CheckSample::failed(CheckOutcome::Auth, "the server refused the credentials")
            }
            SqlState::TOO_MANY_CONNECTIONS => {
                CheckSample::failed(CheckOutcome::RateLimited, "the server has no connection left")
            }
            SqlState::CANNOT_CONNECT_NOW => {
                CheckSample::failed(CheckOutcome::Refused, "the server is starting or stopping")
            }
            _ => CheckSample::failed(CheckOutcome::Protocol, "the server answered with an error"),
        };
    }
    let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    match io.map(std::io::Error::kind) {
        Some(std::io::ErrorKind::ConnectionRefused) => {
            CheckSample::failed(CheckOutcome::Refused, "nothing listens there")
        }
        Some(std::io::ErrorKind::TimedOut) => {
            CheckSample::failed(CheckOutcome::Timeout, "the server does not answer")
        }
        _ => CheckSample::failed(CheckOutcome::Unreachable, "the server cannot be reached"),
    }
}

fn measured(open_ms: f64, size_mb: f64, tables: i64, rows: Option<i64>, query_ms: f64) -> CheckSample {
    let number = |number: i64| wide(number.unsigned_abs());
    let mut measures = vec![
        CONNECTION_TIME.measure(open_ms),
        DATABASE_SIZE.measure(size_mb),
        TABLE_COUNT.measure(number(tables)),
        QUERY_TIME.measure(query_ms),
    ];
    measures.extend(rows.map(|rows| TOTAL_ROWS.measure(number(rows))));
    CheckSample { tables: Some(tables.unsigned_abs()), ..CheckSample::ok(measures) }
}
