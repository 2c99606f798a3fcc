//! What freqtrade answers about itself: config, health, balance, locks, log. Only the fields that are used.

use botops_contract::Amount;
use botops_core::redact;
use botops_core::text::clean;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::lenient::{ReadList, clean_text, lenient, lenient_millis, lenient_seconds, lenient_text};

/// How the reason of a lock begins that a durable pause set: freqtrade has no other place for a mark. What follows names
/// the adapter, so that one never removes the lock of another, nor one that a person wrote like it.
pub(crate) const OWN_LOCK: &str = "botops durable pause";

/// The end of a lock that ends only when somebody resumes: freqtrade has no lock without one.
pub(crate) fn endless_lock() -> DateTime<Utc> {
    // 2099-12-31T00:00:00Z.
    DateTime::from_timestamp(4_102_358_400, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The longest text of a log line that is kept.
const LONGEST_LINE: usize = 600;

/// `show_config`: what freqtrade tells of its config.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ConfigEcho {
    #[serde(deserialize_with = "lenient_text")]
    pub version: Option<String>,
    #[serde(deserialize_with = "lenient_text")]
    pub strategy_version: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub dry_run: Option<bool>,
    #[serde(deserialize_with = "lenient")]
    pub demo_trading: Option<bool>,
    #[serde(deserialize_with = "lenient_text")]
    pub trading_mode: Option<String>,
    #[serde(deserialize_with = "lenient_text")]
    pub margin_mode: Option<String>,
    #[serde(deserialize_with = "lenient")]
    pub short_allowed: Option<bool>,
    #[serde(deserialize_with = "lenient_text")]
    pub stake_currency: Option<String>,
    /// A number, or `unlimited`.
    #[serde(deserialize_with = "lenient_text")]
    pub stake_amount: Option<String>,
    /// −1 for no limit.
    #[serde(deserialize_with = "lenient")]
    pub max_open_trades: Option<Amount>,
    #[serde(deserialize_with = "lenient_text")]
    pub exchange: Option<String>,
    #[serde(deserialize_with = "lenient_text")]
    pub strategy: Option<String>,
    #[serde(deserialize_with = "lenient_text")]
    pub bot_name: Option<String>,
    /// `running`, `paused`, `stopped` or `reload_config`.
    #[serde(deserialize_with = "lenient_text")]
    pub state: Option<String>,
    /// `live`, `dry_run`, `webserver`, …
    #[serde(deserialize_with = "lenient_text")]
    pub runmode: Option<String>,
    /// Given by versions that echo it.
    #[serde(deserialize_with = "lenient")]
    pub process_throttle_secs: Option<Amount>,
    /// Given by versions that echo it.
    #[serde(deserialize_with = "lenient")]
    pub tradable_balance_ratio: Option<Amount>,
}

impl ConfigEcho {
    /// Whether its loop goes round, be it without new entries.
    pub(crate) fn is_running(&self) -> bool {
        let state = self.state.as_deref().unwrap_or_default();
        ["running", "paused"].iter().any(|running| state.eq_ignore_ascii_case(running))
    }
}

/// `health`: when freqtrade's loop last went round.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct HealthAnswer {
    #[serde(rename = "last_process_ts", deserialize_with = "lenient_seconds")]
    pub last_process: Option<DateTime<Utc>>,
    /// Changes with a start from `stopped` and with a reload of the config, not with a resume.
    #[serde(rename = "bot_startup_ts", deserialize_with = "lenient_seconds")]
    pub startup: Option<DateTime<Utc>>,
    /// freqtrade keeps this in its database, so another database tells another time.
    #[serde(rename = "bot_start_ts", deserialize_with = "database_use")]
    pub database: DatabaseUse,
}

/// Since when a database of freqtrade is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DatabaseUse {
    /// freqtrade does not tell it: older ones have no such value.
    #[default]
    NotTold,
    /// It was not used yet.
    NotYet,
    /// When it was first used, which never changes.
    Since(DateTime<Utc>),
}

fn database_use<'de, D: Deserializer<'de>>(deserializer: D) -> Result<DatabaseUse, D::Error> {
    Ok(lenient_seconds(deserializer)?.map_or(DatabaseUse::NotYet, DatabaseUse::Since))
}

/// `balance`: what the account holds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BalanceAnswer {
    pub currencies: ReadList<CurrencyBalance>,
    /// Worth of what the bot owns, in stake currency.
    #[serde(deserialize_with = "lenient")]
    pub total_bot: Option<Amount>,
}

/// One currency of `balance`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CurrencyBalance {
    #[serde(deserialize_with = "clean_text")]
    pub currency: String,
    #[serde(default, deserialize_with = "lenient")]
    pub free: Option<Amount>,
    #[serde(default, deserialize_with = "lenient")]
    pub used: Option<Amount>,
    /// What of it the bot counts as its own.
    #[serde(default, deserialize_with = "lenient")]
    pub bot_owned: Option<Amount>,
    /// A position of futures that is listed like a currency.
    #[serde(default, deserialize_with = "lenient")]
    pub is_position: Option<bool>,
}

/// `whitelist`: the pairs that freqtrade trades now.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct WhitelistAnswer {
    #[serde(deserialize_with = "lenient")]
    pub whitelist: Option<Vec<String>>,
}

/// `locks`: what may not be traded for a time.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LocksAnswer {
    pub locks: ReadList<PairLock>,
}

/// One lock.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct PairLock {
    #[serde(default, deserialize_with = "lenient_text")]
    pub id: Option<String>,
    /// A pair, or `*` for all of them.
    #[serde(deserialize_with = "clean_text")]
    pub pair: String,
    #[serde(default, deserialize_with = "lenient")]
    pub active: Option<bool>,
    /// `*`, `long` or `short`.
    #[serde(default, deserialize_with = "lenient_text")]
    pub side: Option<String>,
    #[serde(default, deserialize_with = "lenient_text")]
    pub reason: Option<String>,
    #[serde(default, rename = "lock_timestamp", deserialize_with = "lenient_millis")]
    pub since: Option<DateTime<Utc>>,
    #[serde(default, rename = "lock_end_timestamp", deserialize_with = "lenient_millis")]
    pub until: Option<DateTime<Utc>>,
}

impl PairLock {
    /// Whether it holds at this moment.
    pub(crate) fn holds_at(&self, now: DateTime<Utc>) -> bool {
        self.active != Some(false) && self.until.is_none_or(|until| until > now)
    }

    /// Whether a durable pause with this mark set it.
    pub(crate) fn is_marked(&self, mark: &str) -> bool {
        self.is_global() && self.reason.as_deref().is_some_and(|reason| reason.starts_with(mark))
    }

    /// Whether it is of every pair.
    pub(crate) fn is_global(&self) -> bool {
        self.pair == "*"
    }
}

/// `logs`: the newest lines of the log that freqtrade keeps in memory, oldest first.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LogsAnswer {
    pub logs: ReadList<LogLine>,
}

/// One line of the log: five members, `[text of the time, milliseconds, logger, level, message]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub at: DateTime<Utc>,
    pub logger: String,
    pub level: String,
    /// Cleaned, bounded, without what looks like a secret.
    pub message: String,
}

impl LogLine {
    /// Whether it is of the levels ERROR and CRITICAL, which are shown.
    pub(crate) fn is_failure(&self) -> bool {
        matches!(self.level.as_str(), "ERROR" | "CRITICAL")
    }
}

impl<'de> Deserialize<'de> for LogLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Members = (Box<RawValue>, Amount, String, String, String);
        let (_, at, logger, level, message) = Members::deserialize(deserializer)?;
        let millis = at.value().and_then(|at| i64::try_from(at.trunc()).ok());
        let at = millis.and_then(DateTime::from_timestamp_millis);
        let at = at.ok_or_else(|| serde::de::Error::custom("no time"))?;
        let message = redact::line(&clean(&message, LONGEST_LINE));
        Ok(Self { at, logger: clean(&logger, 80), level: clean(&level, 16), message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_another_form_is_not_given_and_the_rest_counts() {
        let echo: ConfigEcho = serde_json::from_str(
            r#"{"dry_run":"maybe","state":"running","stake_amount":100.5,"max_open_trades":-1,"minimal_roi":{"0":1}}"#,
        )
        .unwrap();
        assert_eq!((echo.dry_run, echo.state.as_deref()), (None, Some("running")));
        assert_eq!(echo.stake_amount.as_deref(), Some("100.5"));
        assert_eq!(echo.max_open_trades.unwrap().to_string(), "-1");
    }

    #[test]
    fn numbers_keep_their_digits() {
        let balance: BalanceAnswer = serde_json::from_str(
            r#"{"currencies":[{"currency":"BTC","free":1e-8,"used":0.1},{"free":1}],"total_bot":0.30000000000000004}"#,
        )
        .unwrap();
        assert_eq!(balance.total_bot.unwrap().to_string(), "0.30000000000000004");
        assert_eq!(balance.currencies.items[0].free.as_ref().unwrap().to_string(), "0.00000001");
        assert_eq!(balance.currencies.unreadable, 1, "one has no name");
    }

    #[test]
    fn a_log_line_has_five_members() {
        let logs: LogsAnswer = serde_json::from_str(
            r#"{"log_count":3,"logs":[["2026-11-29 04:00:00",1795924800000.25,"freqtrade.worker","INFO","password=hunter2"],["x"],[1,2,3,4,5]]}"#,
        )
        .unwrap();
        assert_eq!((logs.logs.items.len(), logs.logs.unreadable), (1, 2));
        assert_eq!(logs.logs.items[0].message, "password=*****");
        assert_eq!(logs.logs.items[0].at.timestamp(), 1_795_924_800);
    }

    #[test]
    fn a_lock_holds_until_its_end() {
        let lock: PairLock = serde_json::from_str(
            r#"{"id":3,"pair":"*","active":true,"side":"*","lock_end_timestamp":2000000000000}"#,
        )
        .unwrap();
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        assert!(lock.is_global() && lock.holds_at(at(1_999_999_999)) && !lock.holds_at(at(2_000_000_001)));
    }
}
