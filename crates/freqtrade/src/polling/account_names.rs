//! Names the account that freqtrade trades: where, with what money, and out of which of its databases.
//!
//! freqtrade keeps its trades in a database, and names none. When it was first used is kept within it: that tells one from
//! another at the same address. The first one that was seen has the name without a database, which all had once.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use botops_core::durable_file;
use botops_core::text::sha256_hex;
use chrono::{DateTime, Utc};
use tokio::task::block_in_place;

use crate::upstream::{ConfigEcho, DatabaseUse};

/// The longest name; a longer one is told by its hash.
const LONGEST_NAME: usize = 128;

/// How the first use of a database ends the name of its account.
const FIRST_USE: &str = "%Y%m%dT%H%M%SZ";

/// The end of the name while a database has not been used.
const UNUSED: &str = "unused";

/// What tells the accounts apart, over restarts of the adapter; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct AccountNames {
    shared: Arc<KnownDatabases>,
}

#[derive(Debug)]
struct KnownDatabases {
    path: PathBuf,
    /// When the first database of each place was first used.
    first: Mutex<BTreeMap<String, DateTime<Utc>>>,
}

impl AccountNames {
    /// Reads what earlier runs of the adapter saw.
    ///
    /// # Errors
    /// One sentence when the file is there and cannot be read.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let first = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).map_err(|_| {
                format!(
                    "{}: it is damaged; move it away, and the database that freqtrade uses now counts as its first",
                    path.display()
                )
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(Self { shared: Arc::new(KnownDatabases { path: path.to_owned(), first: Mutex::new(first) }) })
    }

    /// The account that freqtrade trades; `None` while it has not said which of several databases it uses. `database` is
    /// what its health said, where it was answered; `before` is the account that was known last.
    pub(crate) fn name(
        &self,
        config: &ConfigEcho,
        database: Option<DatabaseUse>,
        before: Option<&str>,
    ) -> Option<String> {
        let place = place_of(config);
        let mut first = self.shared.first.lock().unwrap_or_else(PoisonError::into_inner);
        let since = match database.unwrap_or_default() {
            DatabaseUse::NotTold => {
                let known = before.filter(|before| without_database(before) == place);
                return Some(capped(known.unwrap_or(&place)));
            }
            DatabaseUse::NotYet if !first.contains_key(&place) => return Some(capped(&place)),
            // It says so within its first pass.
            DatabaseUse::NotYet if config.is_running() => return None,
            DatabaseUse::NotYet => return Some(capped(&format!("{place}-{UNUSED}"))),
            DatabaseUse::Since(since) => since,
        };
        if !first.contains_key(&place) {
            first.insert(place.clone(), since);
            self.shared.write(&first);
        }
        let is_first = first.get(&place) == Some(&since);
        Some(capped(&if is_first { place } else { format!("{place}-{}", since.format(FIRST_USE)) }))
    }
}

impl KnownDatabases {
    /// What cannot be written is known as long as the adapter runs.
    fn write(&self, first: &BTreeMap<String, DateTime<Utc>>) {
        let text = serde_json::to_vec_pretty(first).unwrap_or_default();
        let written =
            block_in_place(|| durable_file::replace(&self.path, &text, 0o600, "freqtrade_databases"));
        if let Err(error) = written {
            let path = self.path.display();
            tracing::error!("{path}: {error}: another database may be taken for this one after a restart");
        }
    }
}

/// Whether two accounts differ by their database alone.
pub(crate) fn differ_by_database(one: &str, other: &str) -> bool {
    one != other && without_database(one) == without_database(other)
}

/// The name without what tells its database.
fn without_database(account: &str) -> &str {
    account
        .rsplit_once('-')
        .filter(|(_, end)| *end == UNUSED || chrono::NaiveDateTime::parse_from_str(end, FIRST_USE).is_ok())
        .map_or(account, |(place, _)| place)
}

/// The exchange, whether it is real money, and the currency. A run on paper is an account of its own.
fn place_of(config: &ConfigEcho) -> String {
    let word = |part: &Option<String>| part.clone().unwrap_or_else(|| "unknown".to_owned());
    let money = match (config.dry_run, config.demo_trading) {
        (Some(false), Some(true)) => "demo",
        (Some(false), _) => "live",
        (Some(true), _) => "dry",
        (None, _) => "unknown",
    };
    let mode = config.trading_mode.as_deref().unwrap_or("spot");
    format!("{}-{mode}-{money}-{}", word(&config.exchange), word(&config.stake_currency))
}

fn capped(name: &str) -> String {
    if name.len() <= LONGEST_NAME { name.to_owned() } else { sha256_hex(name) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(state: &str) -> ConfigEcho {
        let told = format!(
            r#"{{"exchange": "kraken", "dry_run": true, "stake_currency": "EUR", "state": "{state}"}}"#
        );
        serde_json::from_str(&told).unwrap()
    }

    fn since(seconds: i64) -> Option<DatabaseUse> {
        DateTime::from_timestamp(seconds, 0).map(DatabaseUse::Since)
    }

    #[test]
    fn the_first_database_has_the_plain_name_and_each_other_one_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("databases.json");
        let name = |database, before: Option<&str>, state: &str| {
            AccountNames::open(&path).unwrap().name(&config(state), database, before)
        };
        let (plain, other) = ("kraken-spot-dry-EUR", "kraken-spot-dry-EUR-19700101T000002Z");
        assert_eq!(name(None, None, "running").as_deref(), Some(plain));
        assert_eq!(name(Some(DatabaseUse::NotYet), None, "running").as_deref(), Some(plain));
        assert_eq!(name(since(1), None, "running").as_deref(), Some(plain));
        assert_eq!(name(since(2), Some(plain), "running").as_deref(), Some(other));
        assert_eq!(name(since(1), Some(other), "running").as_deref(), Some(plain));
        assert_eq!(
            name(Some(DatabaseUse::NotYet), Some(plain), "running"),
            None,
            "a moment later it says so"
        );
        let unused = name(Some(DatabaseUse::NotYet), Some(plain), "stopped").unwrap();
        assert_eq!(unused, "kraken-spot-dry-EUR-unused");
        assert_eq!(name(None, Some(other), "running").as_deref(), Some(other), "it was not asked");
        assert_eq!(name(None, Some("binance-spot-dry-EUR"), "running").as_deref(), Some(plain));
        assert!(differ_by_database(plain, other) && differ_by_database(&unused, other));
        assert!(!differ_by_database(plain, "kraken-spot-live-EUR") && !differ_by_database(plain, plain));
        std::fs::write(&path, "{").unwrap();
        assert!(AccountNames::open(&path).unwrap_err().contains("databases.json"));
    }
}
