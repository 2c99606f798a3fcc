//! `GET state`: everything a bot reports about itself, in one answer.
//!
//! Money, prices and quantities are decimal strings; counts, seconds and ratios are numbers; names ending in
//! `_pct` are percentages (1.36 means 1.36 %). A value the bot does not know is `null`, never a guess.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::events::{SemanticError, Severity};
use crate::identity::TradingMode;
use crate::trading::{Account, Order, Performance, Position};
use crate::verbatim::VerbatimJson;
use crate::words::closed_words;
use crate::{TrialState, VersionRef};

closed_words! {
    /// What the bot's loop is doing.
    #[derive(Default)]
    pub enum BotPhase {
        /// The bot is still starting: no orders yet.
        Starting = "starting",
        /// The bot trades by its strategy.
        Running = "running",
        /// The loop runs, but something keeps the bot from opening positions (session, breaker, feed).
        Degraded = "degraded",
        /// An operator paused the bot: it closes positions and opens none.
        Paused = "paused",
        /// The bot runs and manages nothing: open positions are left to themselves.
        Stopped = "stopped",
        /// The process is about to end.
        Stopping = "stopping",
        /// A word that is not in this list; it stands in `phase_raw`.
        #[default]
        Other = "other",
    }
}

closed_words! {
    /// Whether the market's regular trading session is running.
    #[derive(Default)]
    pub enum MarketStatus {
        /// The regular trading session is running.
        Open = "OPEN",
        /// No regular session is running; prices may still move outside of it.
        Closed = "CLOSED",
        /// The market never closes.
        AlwaysOpen = "ALWAYS_OPEN",
        /// The bot does not know.
        Unknown = "UNKNOWN",
        /// A word that is not in this list; it stands in `status_raw`.
        #[default]
        Other = "OTHER",
    }
}

/// State of the market and of the price feed. `null` is what the bot does not report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct MarketState {
    /// Whether the regular trading session is running.
    pub status: Option<MarketStatus>,
    /// The bot's own word for the status, where `status` is `OTHER`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_raw: Option<String>,
    /// Part of the trading day: `closed`, `pre`, `core` (the regular session), `post` or `overnight`; `simulated` for a
    /// simulated market.
    pub phase: Option<String>,
    /// Where prices come from: `simulated`, `replay`, or the name of a broker or an exchange.
    pub source: Option<String>,
    /// When the last price arrived; `null` before the first one.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub last_price_at: Option<DateTime<Utc>>,
    /// Time of the last price in market time. Lies in the past while the bot replays prices.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub market_time: Option<DateTime<Utc>>,
    /// Start of the next regular session; `null` when the bot does not know it.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub next_open: Option<DateTime<Utc>>,
    /// End of the current regular session, or else of the next one; `null` when the bot does not know it.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub next_close: Option<DateTime<Utc>>,
}

closed_words! {
    /// State of the broker session.
    #[derive(Default)]
    pub enum SessionPhase {
        /// No check has finished yet.
        Starting = "starting",
        /// A recent authenticated call to the broker succeeded.
        Healthy = "healthy",
        /// A check failed, or the last success is too old: orders that add exposure are refused.
        Degraded = "degraded",
        /// The bot is signing in to the broker again.
        Reauthenticating = "reauthenticating",
        /// The breaker is open after transient failures. It closes by itself with paper money; with real money it waits
        /// for an operator.
        HaltedTransient = "halted_transient",
        /// The broker refused the credentials, or a human must approve: nothing is retried.
        HaltedCredential = "halted_credential",
        /// An operator halted trading; it stays so until the breaker is reset.
        HaltedOperator = "halted_operator",
        /// A state that this version of botops does not know, or none.
        #[default]
        Unknown = "unknown",
    }
}

closed_words! {
    /// Why the check before each order (the gate) allows or refuses it. The list is closed.
    #[derive(Default)]
    pub enum GateReason {
        /// Allowed: a recent check of the session succeeded.
        Ok = "ok",
        /// Allowed although the session is degraded, because the order reduces exposure.
        ReducingAllowed = "reducing_allowed",
        /// No check has finished yet.
        SessionStarting = "session_starting",
        /// The last successful check is too old (10 s for paperbot), and no new one has succeeded yet.
        EvidenceStale = "evidence_stale",
        /// The last check of the session failed.
        SessionDegraded = "session_degraded",
        /// The bot is signing in to the broker again.
        Reauthenticating = "reauthenticating",
        /// The circuit breaker is open.
        BreakerOpen = "breaker_open",
        /// The broker refused the credentials; nothing is retried until they are renewed.
        CredentialsRejected = "credentials_rejected",
        /// The sign-in waits for a person to approve it.
        AwaitingHuman = "awaiting_human",
        /// The broker asked the bot to send fewer requests.
        RateLimited = "rate_limited",
        /// The broker does not let the account open positions.
        AccountRestricted = "account_restricted",
        /// An operator halted or paused trading.
        OperatorHalt = "operator_halt",
        /// The market is closed.
        MarketClosed = "market_closed",
        /// The part of the bot that checks the session stopped doing so.
        MonitorStale = "monitor_stale",
        /// A word that is not in this list; it stands in `gate_raw`.
        #[default]
        Other = "other",
    }
}

/// The broker session as the bot sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Session {
    /// The broker's name, such as `paper`, `alpaca` or `robinhood`; empty when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub broker: String,
    /// State of the session; `unknown` when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub state: SessionPhase,
    /// The bot's own word for the state, where `state` is `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_raw: Option<String>,
    /// Why the session is in this state, in one sentence; `null` when healthy.
    pub reason: Option<String>,
    /// The `BRK_NNN` code behind `reason`; `null` when healthy.
    #[serde(default, deserialize_with = "crate::tolerance::optional_text_or_digits")]
    pub error_code: Option<String>,
    /// True exactly when the session itself does not keep the bot from opening positions. Where a bot does not say, it
    /// follows from a `state` that is known, and is `null` otherwise.
    #[serde(default)]
    pub is_healthy: Option<bool>,
    /// When the session entered this state; `null` when the bot does not say, as below.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub since: Option<DateTime<Utc>>,
    /// Whether an order that adds exposure would be allowed now (`ok`), and if not, why.
    #[serde(default)]
    pub gate: Option<GateReason>,
    /// The bot's own word for the gate's reason, where `gate` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate_raw: Option<String>,
    /// When an order that `gate` refuses now may pass without anybody's help: the bot then checks, signs in or calls the
    /// broker again by itself, or the market opens.
    ///
    /// An instant that does not move while the bot waits. `null` when `gate` is `ok`, when no time is known, and
    /// always when a person must act: never given together with `needs_human`.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub resumes_at: Option<DateTime<Utc>>,
    /// Seconds from the report's `as_of` until `resumes_at`: it counts down. `null` when that is.
    #[serde(default)]
    pub retry_after_s: Option<f64>,
    /// When this process of the bot began its session.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub session_start_time: Option<DateTime<Utc>>,
    /// Seconds since `session_start_time`.
    #[serde(default)]
    pub session_uptime_seconds: Option<f64>,
    /// When the session was last checked, whatever the outcome; `null` before the first check.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub last_health_check: Option<DateTime<Utc>>,
    /// When an authenticated call to the broker last succeeded; `null` when none ever has. A later failure, a refusal or
    /// a sign-in does not take it back.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub last_ok: Option<DateTime<Utc>>,
    /// Duration of the last check in milliseconds; `null` before the first one.
    #[serde(default)]
    pub last_latency_ms: Option<f64>,
    /// Number of checks since the start of the process.
    #[serde(default)]
    pub health_check_count: Option<u64>,
    /// Number of successful sign-ins since the start of the process.
    #[serde(default)]
    pub reauth_count: Option<u64>,
    /// Number of failed checks in a row; 0 after a success.
    #[serde(default)]
    pub consecutive_failures: Option<u32>,
    /// Sign-in attempts the bot still allows itself within 24 h, restarts included; `null` when it has no such limit.
    #[serde(default)]
    pub reauth_budget_left: Option<u32>,
    /// When the broker's access token expires; `null` when unknown or not used.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub token_expires_at: Option<DateTime<Utc>>,
    /// When the next check or sign-in is due; `null` when none is planned. In a wait that the broker asked for, it is
    /// the instant of `resumes_at`.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub next_check_at: Option<DateTime<Utc>>,
    /// The broker's clock minus the bot's, in seconds; `null` when the broker's time was not seen yet.
    #[serde(default)]
    pub clock_skew_seconds: Option<f64>,
    /// What a person has to do before the session can recover: `approve_device`, `enter_code`, `renew_credentials`,
    /// `repair_token_store` or `reset_breaker`; `null` when waiting is enough. Never given together with `resumes_at`.
    #[serde(default)]
    pub needs_human: Option<String>,
}

impl Session {
    /// Whether the session lets the bot open positions: what the bot says, or else what follows from its state.
    pub fn known_health(&self) -> Option<bool> {
        let by_state = match self.state {
            SessionPhase::Unknown => None,
            state => Some(state == SessionPhase::Healthy),
        };
        self.is_healthy.or(by_state)
    }
}

closed_words! {
    /// State of the circuit breaker.
    #[derive(Default)]
    pub enum BreakerState {
        /// Orders pass; nothing is wrong.
        Closed = "closed",
        /// Orders that add exposure are refused.
        Open = "open",
        /// One probe is let through; its outcome closes or opens the breaker.
        HalfOpen = "half_open",
        /// A word that is not in this list; it stands in `state_raw`.
        #[default]
        Other = "other",
    }
}

/// The circuit breaker, which refuses orders that add exposure after failures or losses, or stops what `stops` says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Breaker {
    /// Whether orders that add exposure pass; `other` without `state_raw` when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub state: BreakerState,
    /// The bot's own word for the state, where `state` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_raw: Option<String>,
    /// Why it opened, in one sentence; `null` when closed.
    pub reason: Option<String>,
    /// When it entered this state; `null` when the bot does not say.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub since: Option<DateTime<Utc>>,
    /// What opened it: `session`, `daily_loss`, `max_drawdown`, `consecutive_losses` or `operator`; `null` when closed.
    #[serde(default)]
    pub source: Option<String>,
    /// Failures of the session that count towards opening it, or that opened it; `null` when the bot does not say.
    #[serde(default)]
    pub failure_count: Option<u32>,
    /// When the bot by itself next tries to close it; `null` when it is closed, when no time is known, and always when a
    /// person must act: never given together with `needs_human`. The same instant as the session's `resumes_at` where
    /// the session opened it.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub resumes_at: Option<DateTime<Utc>>,
    /// The same instant as `resumes_at`, under its older name.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub retry_at: Option<DateTime<Utc>>,
    /// What a person has to do before it can close, in the words of the session's `needs_human`, or `resume`; `null` when
    /// it is closed or waiting is enough.
    #[serde(default)]
    pub needs_human: Option<String>,
    /// What it stops while it is open, as a clause that can follow a colon; `null`: orders that add exposure are refused.
    /// Given by a bot in which something else passes, such as an order that a person forces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stops: Option<String>,
}

/// The few config values that are shown beside the state. `null` is what the bot does not report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct ConfigSummary {
    /// Whether the bot's orders move real money.
    pub mode: Option<TradingMode>,
    /// The bot's own word for the mode, where `mode` is `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode_raw: Option<String>,
    /// Largest position as a percentage of equity.
    pub max_position_size_pct: Option<f64>,
    /// Daily profit and loss, in account currency, at which the bot stops for the day; at most 0.
    pub daily_loss_limit: Option<Amount>,
}

/// The config versions of the bot: in force, committed and under trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RunningConfig {
    /// The version in force now: the candidate during a trial.
    pub running: VersionRef,
    /// The version a restart would load.
    pub committed: VersionRef,
    /// The trial that runs; `null` when none does.
    #[serde(default)]
    pub trial: Option<TrialState>,
    /// JSON pointers to fields whose new value takes effect only after a restart.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub pending_restart: Vec<String>,
    /// A few values of the config in force.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub summary: ConfigSummary,
}

/// What a bot shows of a config that is not managed through the contract: to be read, never to be changed here.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct EchoedConfig {
    /// Why it is not managed and where it is changed, in one or two sentences.
    pub reason: String,
    /// What shows that these values are in force, and how much of the config they are.
    pub proof: String,
    /// When the bot said so.
    pub as_of: Option<DateTime<Utc>>,
    /// The values, in the bot's own words, with every digit and without secrets.
    #[cfg_attr(feature = "openapi", schema(value_type = serde_json::Value))]
    pub values: VerbatimJson,
}

/// A lock: no new position in a symbol until it ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct EntryLock {
    /// The symbol, or `*` for all of them.
    #[serde(deserialize_with = "crate::tolerance::null_is_default")]
    pub symbol: String,
    /// `long` or `short` where it holds for one direction alone; `null` for both.
    pub side: Option<String>,
    /// When it ends by itself; `null` when it does not, or when that is not known.
    #[serde(deserialize_with = "crate::tolerance::optional_plain_time")]
    pub until: Option<DateTime<Utc>>,
    /// Why it was set, in the bot's words; `null` when no reason was given.
    pub reason: Option<String>,
}

/// Timing of the trading loop. Measured by the bot, so that a loop that botops slows down would show here. `null` is
/// what the bot does not report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct LoopStats {
    /// Number of ticks since the start of the process.
    pub ticks: Option<u64>,
    /// How late the last 1,000 ticks began: median, in milliseconds.
    pub tick_delay_p50_ms: Option<f64>,
    /// How late the last 1,000 ticks began: 99th percentile, in milliseconds.
    pub tick_delay_p99_ms: Option<f64>,
    /// How late the last 1,000 ticks began: the worst, in milliseconds.
    pub tick_delay_max_ms: Option<f64>,
    /// When the loop last finished a tick; `null` before the first one.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub last_tick_at: Option<DateTime<Utc>>,
    /// Longest time in seconds that the loop should take between two ticks.
    ///
    /// A loop that is much later is reported as stopped, which is a fault of the bot. Without this value, 60 s without
    /// a tick are a warning.
    pub expected_interval_s: Option<f64>,
    /// Number of orders refused in the last hour.
    pub order_rejects_last_hour: Option<u32>,
}

/// The bot's trading day: what "today" means in its numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct BotTradingDay {
    /// The time zone whose midnight begins it, as the tz database names it: `America/New_York`, `UTC`.
    pub zone: Option<String>,
    /// When it began.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub began_at: Option<DateTime<Utc>>,
}

closed_words! {
    /// Why a field is `null`.
    #[derive(Default)]
    pub enum UnknownWhy {
        /// The bot has no such number.
        NotReported = "not_reported",
        /// There is no such thing for this bot or its market.
        NotApplicable = "not_applicable",
        /// It will be known later.
        NotYet = "not_yet",
        /// Where the bot would get it from failed.
        UpstreamError = "upstream_error",
        /// A word that is not in this list; it stands in `why_raw`.
        #[default]
        Other = "other",
    }
}

/// A field of the report that is `null`, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnknownField {
    /// The field, as a path with dots: `account.buying_power`.
    pub field: String,
    /// Why it is not known.
    #[serde(default, deserialize_with = "crate::tolerance::null_is_default")]
    pub why: UnknownWhy,
    /// The bot's own word for the reason, where `why` is `other`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why_raw: Option<String>,
}

/// `GET state`: the whole state in one answer.
///
/// Required of a bot are `seq`, `as_of`, `mode` and `phase`, and what it has of `account`, `positions` and `orders`.
/// Everything else may be left out or be `null`, and `unknown` says why. Nothing is required of a reader: what is
/// missing has a value here that says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct BotReport {
    /// Grows with every change the bot publishes; begins anew with each start of its process.
    #[serde(deserialize_with = "crate::tolerance::whole_number")]
    pub seq: u64,
    /// Identifies the process that answers; a new value at each start. `null` when the bot does not tell its starts
    /// apart.
    #[serde(default, deserialize_with = "crate::tolerance::optional_text_or_digits")]
    pub boot_epoch: Option<String>,
    /// The moment that all values of this answer describe.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub as_of: Option<DateTime<Utc>>,
    /// Whether the bot's orders move real money.
    pub mode: TradingMode,
    /// The bot's own word for the mode, where `mode` is `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode_raw: Option<String>,
    /// What the bot's loop is doing.
    pub phase: BotPhase,
    /// The bot's own word for the phase, where `phase` is `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_raw: Option<String>,
    /// Why the bot is in this phase, for people; `null` when it is simply running.
    pub phase_reason: Option<String>,
    /// Whether new positions may be opened.
    pub trading_enabled: Option<bool>,
    /// The bot's trading day.
    #[serde(deserialize_with = "crate::tolerance::null_is_default")]
    pub day: BotTradingDay,
    /// Balances of the trading account.
    #[serde(deserialize_with = "crate::tolerance::null_is_default")]
    pub account: Account,
    /// Open positions, in the bot's own order; `null` when the bot does not report them.
    pub positions: Option<Vec<Position>>,
    /// Open and recent orders, newest first; `null` when the bot does not report them.
    pub orders: Option<Vec<Order>>,
    /// Results of the trades so far.
    #[serde(deserialize_with = "crate::tolerance::null_is_default")]
    pub performance: Performance,
    /// State of the market and of the price feed.
    #[serde(deserialize_with = "crate::tolerance::null_is_default")]
    pub market: MarketState,
    /// The broker session; `null` when the bot has none.
    pub session: Option<Session>,
    /// State of the circuit breaker, with what opened it; `null` when the bot has none.
    pub circuit_breaker: Option<Breaker>,
    /// The config in force, committed and under trial; `null` when the bot has none that could be managed.
    pub config: Option<RunningConfig>,
    /// What a bot without the capability `config` shows of its own config; left out when it shows nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub echoed_config: Option<EchoedConfig>,
    /// The most recent failures, newest first, at most 50; `null` when the bot does not report them.
    pub recent_errors: Option<Vec<SemanticError>>,
    /// Number of failures in the last hour; may exceed the length of `recent_errors`.
    pub error_count_last_hour: Option<u32>,
    /// Severity of the worst failure in the last hour; `null` when there was none.
    pub worst_error_last_hour: Option<Severity>,
    /// When an order was last filled; `null` when none ever was.
    #[serde(default, deserialize_with = "crate::tolerance::optional_plain_time")]
    pub last_trade_at: Option<DateTime<Utc>>,
    /// Names of the conditions that keep the bot from opening positions now; empty when it could, `null` when the bot
    /// does not report them.
    pub no_entry_reasons: Option<Vec<String>>,
    /// Locks that keep the bot from opening positions in some symbols, or in all, those that end first before the others;
    /// left out by a bot that has none of the kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locks: Option<Vec<EntryLock>>,
    /// Timing of the trading loop.
    #[serde(rename = "loop", deserialize_with = "crate::tolerance::null_is_default")]
    pub loop_stats: LoopStats,
    /// Fields of this answer that are `null`, and why.
    #[serde(deserialize_with = "crate::tolerance::null_is_default")]
    pub unknown: Vec<UnknownField>,
}

impl BotReport {
    /// What is required of a bot, with what it has to be in words: the members of the core.
    pub const REQUIRED: [(&'static str, &'static str); 4] = [
        ("seq", "a whole number that grows with each change"),
        ("as_of", "the time that the state describes, as RFC 3339 with its zone"),
        ("mode", "one of `paper`, `live`, `backtest`"),
        ("phase", "one of `starting`, `running`, `degraded`, `paused`, `stopped`, `stopping`"),
    ];

    /// The open positions that were reported; empty also when the bot reports none at all.
    pub fn position_list(&self) -> &[Position] {
        self.positions.as_deref().unwrap_or_default()
    }

    /// The orders that were reported; empty also when the bot reports none at all.
    pub fn order_list(&self) -> &[Order] {
        self.orders.as_deref().unwrap_or_default()
    }

    /// The recent failures that were reported; empty also when the bot reports none at all.
    pub fn error_list(&self) -> &[SemanticError] {
        self.recent_errors.as_deref().unwrap_or_default()
    }

    /// How many of the reported orders may still fill; `None` when the bot does not report orders.
    pub fn open_order_count(&self) -> Option<usize> {
        Some(self.orders.as_ref()?.iter().filter(|order| order.may_still_fill()).count())
    }

    /// The state of the circuit breaker; `None` when the bot has none, or does not say.
    pub fn breaker_state(&self) -> Option<BreakerState> {
        let breaker = self.circuit_breaker.as_ref()?;
        let is_said = breaker.state != BreakerState::Other || breaker.state_raw.is_some();
        is_said.then_some(breaker.state)
    }
}
