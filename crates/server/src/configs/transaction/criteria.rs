//! What a trial is watched for: is the bot worse off than before? Pure.
//!
//! A baseline is taken when the trial begins; each later report is held against it. A criterion is `ok`, not ok
//! (the trial does not confirm itself on such a sample), or breached (the trial is undone at once). Profit is no
//! criterion: a minute of trading says nothing about it. Only losses that limits exist for count.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::bots::BotSnapshot;
use crate::configs::document::{ConfigSchema, read_decimal};
use botops_contract::{
    BotReport, BreakerState, FieldRole, OrderStatus, SemanticError, SessionPhase, Severity, amount_value,
};

/// Errors that a trial may see beyond what the hour before lets expect.
const EXTRA_ERRORS: u32 = 3;

/// Refused orders that a trial may see beyond what the hour before lets expect.
const EXTRA_REJECTS: u32 = 2;

/// An answer that is older than this many polls, and than [`OLDEST`], is silence.
const MISSED_POLLS: u32 = 3;

/// Silence shorter than this is never a breach.
const OLDEST: Duration = Duration::from_secs(5);

/// Good samples that an automatic confirmation needs at least.
pub(crate) const SAMPLES_NEEDED: u32 = 3;

/// Samples in a row with a degraded session that count as a breach.
pub(crate) const STRIKES: u32 = 3;

/// The state of the bot when the trial began, which later reports are compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TrialBaseline {
    pub at: DateTime<Utc>,
    /// Errors that were there before: when, and which code. A clock that was set back makes a new one look old.
    #[serde(default)]
    pub known_errors: Vec<(Option<DateTime<Utc>>, String)>,
    /// `None` where the bot reports no such number; the same below.
    pub errors_last_hour: Option<u32>,
    pub rejects_last_hour: Option<u32>,
    pub equity: Option<Decimal>,
    pub session_was_healthy: bool,
    pub breaker_was_closed: bool,
    /// The largest loss of equity during the trial, as a part; from the tighter of both documents. `None` where no
    /// field of the config has that role.
    pub loss_limit: Option<Decimal>,
    /// The day's loss limit, from the tighter of both documents; not evaluated when it was exceeded before.
    pub day_limit: Option<Decimal>,
    /// The fields that both come from.
    #[serde(default)]
    pub loss_field: Option<String>,
    #[serde(default)]
    pub day_field: Option<String>,
}

/// The limits on losses that a config has, by the roles that its schema gives to fields. Of two documents, the tighter
/// limit counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LossLimits {
    /// The part of the equity, above zero, with its field.
    equity: Option<(Decimal, String)>,
    /// The result of the day in account currency, below zero, with its field.
    day: Option<(Decimal, String)>,
}

impl LossLimits {
    /// The tighter limits of these documents.
    pub(crate) fn of(schema: &ConfigSchema, documents: [&Value; 2]) -> Self {
        // A loss is written below zero or as its size; either way, the one nearer to zero is the tighter one.
        let tighter = |role: FieldRole| {
            let pointer = schema.pointer_of(role)?;
            let values = documents.iter().filter_map(|document| document.pointer(pointer));
            Some((values.filter_map(read_decimal).map(|value| value.abs()).min()?, pointer.to_owned()))
        };
        let is_percent = |pointer: &str| schema.at(pointer).is_some_and(|node| node["x-unit"] == "%");
        let equity = tighter(FieldRole::EquityLossLimit).map(|(limit, pointer)| {
            let part = limit.checked_div(Decimal::ONE_HUNDRED).filter(|_| is_percent(&pointer));
            (part.map_or(limit, |part| part.normalize()), pointer)
        });
        let day = tighter(FieldRole::DailyLossLimit).map(|(limit, pointer)| (-limit, pointer));
        Self { equity, day }
    }
}

/// One thing a trial is watched for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrialCriterion {
    /// `heartbeat`, `loop`, `errors`, `order_rejects`, `drawdown`, `session` or `breaker`.
    pub name: String,
    /// Whether it holds now.
    pub ok: bool,
    /// True when it ends the trial.
    pub breached: bool,
    /// What was seen; its type depends on the criterion.
    pub value: Value,
    /// What is allowed; its type depends on the criterion.
    pub limit: Value,
    /// What was seen and what is allowed, in one sentence.
    pub text: String,
    /// Where `limit` comes from: a setting, a field of the config, the bot, or built in.
    #[serde(default)]
    pub source: String,
}

impl TrialBaseline {
    /// Takes the baseline from the last report before the trial and from the limits of both documents.
    pub(crate) fn take(report: &BotReport, limits: LossLimits) -> Self {
        let (loss_limit, loss_field) = limits.equity.unzip();
        let (day_limit, day_field) = limits.day.unzip();
        let day_result = amount_value(report.performance.daily_pl.as_ref());
        Self {
            at: Utc::now(),
            known_errors: report.error_list().iter().map(error_identity).collect(),
            errors_last_hour: report.error_count_last_hour,
            rejects_last_hour: report.loop_stats.order_rejects_last_hour,
            equity: amount_value(report.account.account_balance.as_ref()),
            session_was_healthy: report
                .session
                .as_ref()
                .is_some_and(|session| session.is_healthy == Some(true)),
            breaker_was_closed: report.breaker_state() == Some(BreakerState::Closed),
            loss_limit,
            day_limit: day_limit.filter(|limit| day_result.is_some_and(|result| result > *limit)),
            loss_field,
            day_field,
        }
    }

    /// Every criterion, `elapsed` after the beginning of the trial.
    pub(crate) fn evaluate(
        &self,
        seen: &BotSnapshot,
        poll_interval: Duration,
        elapsed: Duration,
    ) -> Vec<TrialCriterion> {
        let mut criteria = vec![heartbeat_criterion(seen, poll_interval), loop_criterion(seen)];
        if let Some(report) = &seen.report {
            criteria.extend([
                self.rejects(report, elapsed),
                self.errors(report, elapsed),
                self.drawdown(report),
                self.session(report),
                self.breaker(report),
            ]);
        }
        criteria
    }

    fn errors(&self, report: &BotReport, elapsed: Duration) -> TrialCriterion {
        let new =
            report.error_list().iter().filter(|error| !self.known_errors.contains(&error_identity(error)));
        let critical = new.clone().find(|error| error.severity == Severity::Critical);
        let serious = new.filter(|error| error.severity >= Severity::Medium).count();
        // Without a count on both sides, the list alone decides.
        let known_before = self.errors_last_hour.unwrap_or_default();
        let counts = report.error_count_last_hour.zip(self.errors_last_hour);
        let grown = counts.map_or(0, |(now, before)| now.saturating_sub(before));
        let count = grown.max(u32::try_from(serious).unwrap_or(u32::MAX));
        let limit = EXTRA_ERRORS + expected_count(known_before, elapsed);
        let breached = critical.is_some() || count > limit;
        let text = match critical {
            Some(error) => format!("a critical error appeared: {}", error.error_code),
            None => format!("{count} new errors, {limit} allowed"),
        };
        let (value, limit) = (json!(count), json!(limit));
        let source = growth_source(EXTRA_ERRORS);
        TrialCriterion { name: "errors".to_owned(), ok: !breached, breached, value, limit, text, source }
    }

    fn rejects(&self, report: &BotReport, elapsed: Duration) -> TrialCriterion {
        let known_before = self.rejects_last_hour.unwrap_or_default();
        let counts = report.loop_stats.order_rejects_last_hour.zip(self.rejects_last_hour);
        let grown = counts.map_or(0, |(now, before)| now.saturating_sub(before));
        let is_new_reject = |order: &&botops_contract::Order| {
            order.status == Some(OrderStatus::Rejected) && order.updated_at.is_some_and(|at| at >= self.at)
        };
        let listed = report.order_list().iter().filter(is_new_reject);
        let last = listed.clone().max_by_key(|order| order.updated_at);
        let count = grown.max(u32::try_from(listed.count()).unwrap_or(u32::MAX));
        let limit = EXTRA_REJECTS + expected_count(known_before, elapsed);
        let breached = count > limit;
        let mut text = format!("{count} orders refused, {limit} allowed");
        if let Some(why) = last.and_then(|order| order.status_reason.as_deref()) {
            text = format!("{text} (the last one: {})", botops_core::text::clean(why, 120));
        }
        let (value, limit) = (json!(count), json!(limit));
        let source = growth_source(EXTRA_REJECTS);
        TrialCriterion {
            name: "order_rejects".to_owned(),
            ok: !breached,
            breached,
            value,
            limit,
            text,
            source,
        }
    }

    fn drawdown(&self, report: &BotReport) -> TrialCriterion {
        let equity_now = amount_value(report.account.account_balance.as_ref());
        let part = self.equity.zip(equity_now).map(|(before, now)| {
            let lost = before.checked_sub(now).unwrap_or_default();
            lost.checked_div(before).unwrap_or_default().max(Decimal::ZERO).round_dp(4)
        });
        let day_result = amount_value(report.performance.daily_pl.as_ref());
        let day = self.day_limit.zip(day_result).filter(|(limit, result)| result <= limit);
        let lost = part.zip(self.loss_limit).is_some_and(|(part, limit)| part >= limit);
        let breached = lost || day.is_some();
        let text = match (day, part, self.loss_limit) {
            (Some((limit, result)), _, _) => {
                format!("the day's result {result} has reached the limit {limit}")
            }
            (None, Some(part), Some(limit)) => {
                format!("equity fell by {part} as a part of it, {limit} allowed")
            }
            (None, Some(part), None) => match self.day_text(day_result) {
                Some(day) => {
                    format!("equity fell by {part} as a part of it, for which no limit is named; {day}")
                }
                None => format!("equity fell by {part} as a part of it; the config names no limit"),
            },
            (None, None, _) => "the bot does not report its equity, so its fall is not watched".to_owned(),
        };
        TrialCriterion {
            name: "drawdown".to_owned(),
            ok: !breached,
            breached,
            value: json!(part),
            limit: json!(self.loss_limit),
            text,
            source: self.drawdown_source(),
        }
    }

    /// How the day's result stands to its limit; `None` when the config names none.
    fn day_text(&self, day_result: Option<Decimal>) -> Option<String> {
        self.day_field.as_ref()?;
        Some(match (self.day_limit, day_result) {
            (Some(limit), Some(result)) => format!("the day's result is {result}, {limit} is its limit"),
            (Some(limit), None) => {
                format!("the bot does not report the day's result now, {limit} is its limit")
            }
            (None, _) => {
                "the day's result was at its limit before the trial, or is not reported, and is not watched"
                    .to_owned()
            }
        })
    }

    /// Which fields of the config have the limits, and what is not watched for want of one.
    fn drawdown_source(&self) -> String {
        let role = |role: FieldRole| format!("no field of the config has `x-role: {role}`");
        let equity = match &self.loss_field {
            Some(field) => format!("{field} of the config, the tighter of both"),
            None => {
                format!("none: {}, so the fall of the equity ends nothing", role(FieldRole::EquityLossLimit))
            }
        };
        let day = match &self.day_field {
            Some(field) => format!("the day's result at {field} ends it too"),
            None => format!("{}, so the day's result is not watched", role(FieldRole::DailyLossLimit)),
        };
        format!("{equity}; {day}")
    }

    fn session(&self, report: &BotReport) -> TrialCriterion {
        let state = report.session.as_ref().map(|session| session.state);
        let healthy = report.session.as_ref().is_none_or(|session| session.is_healthy != Some(false));
        let halted = matches!(
            state,
            Some(
                SessionPhase::HaltedTransient | SessionPhase::HaltedCredential | SessionPhase::HaltedOperator
            )
        );
        let ok = healthy || !self.session_was_healthy;
        let text = match (ok, self.session_was_healthy) {
            (false, _) => "the broker session was healthy before the trial and is not now".to_owned(),
            (true, false) if !healthy => {
                "the broker session was not healthy before the trial either".to_owned()
            }
            (true, _) if report.session.is_none() => {
                "the bot reports no broker session, so none is watched".to_owned()
            }
            (true, _) => "the broker session is healthy".to_owned(),
        };
        TrialCriterion {
            name: "session".to_owned(),
            ok,
            breached: halted && self.session_was_healthy,
            value: json!(state),
            limit: json!("healthy"),
            text,
            source: format!(
                "built in: {STRIKES} degraded reports in a row, or a halt, of a session that was healthy"
            ),
        }
    }

    fn breaker(&self, report: &BotReport) -> TrialCriterion {
        let breached = self.breaker_was_closed && report.breaker_state() == Some(BreakerState::Open);
        let breaker = report.circuit_breaker.as_ref();
        let source = breaker.and_then(|breaker| breaker.source.as_deref()).unwrap_or("an unnamed cause");
        let text = if breached {
            format!("the circuit breaker opened ({source})")
        } else if report.breaker_state().is_none() {
            "the bot reports no circuit breaker, so none is watched".to_owned()
        } else {
            "the circuit breaker did not open".to_owned()
        };
        TrialCriterion {
            name: "breaker".to_owned(),
            ok: !breached,
            breached,
            value: json!(report.breaker_state()),
            limit: json!(BreakerState::Closed),
            text,
            source: "built in: a breaker that was closed stays closed".to_owned(),
        }
    }
}

fn error_identity(error: &SemanticError) -> (Option<DateTime<Utc>>, String) {
    (error.timestamp, error.error_code.clone())
}

fn heartbeat_criterion(seen: &BotSnapshot, poll_interval: Duration) -> TrialCriterion {
    let limit = (poll_interval * MISSED_POLLS).max(OLDEST);
    let age = seen.answer_age();
    let fresh = age.is_some_and(|age| age <= limit);
    let ok = fresh && seen.presence.answers();
    let text = match age {
        _ if !seen.presence.answers() => format!("the bot is {}", seen.presence),
        Some(age) => format!("the bot answered {:.1} s ago", age.as_secs_f64()),
        None => "the bot has not answered yet".to_owned(),
    };
    TrialCriterion {
        name: "heartbeat".to_owned(),
        ok,
        breached: !fresh || seen.presence.is_offline(),
        value: json!(age.map(|age| age.as_secs_f64())),
        limit: json!(limit.as_secs_f64()),
        text,
        source: format!("{MISSED_POLLS} times BOT_POLL_INTERVAL, at least {} s", OLDEST.as_secs()),
    }
}

/// A bot may answer although its trading loop stands still. Of a bot that is silent nothing more is known.
fn loop_criterion(seen: &BotSnapshot) -> TrialCriterion {
    let ticked = seen.loop_age().filter(|_| seen.presence.answers());
    let ok = !ticked.is_some_and(|ticked| ticked.stands_still());
    let text = match ticked {
        Some(ticked) => format!("the trading loop last went round {:.1} s ago", ticked.age.as_secs_f64()),
        None => "the bot does not say when its trading loop last went round".to_owned(),
    };
    TrialCriterion {
        name: "loop".to_owned(),
        ok,
        breached: !ok,
        value: json!(ticked.map(|ticked| ticked.age.as_secs_f64())),
        limit: json!(ticked.map(|ticked| ticked.limit.as_secs_f64())),
        text,
        source: match ticked {
            Some(ticked) if ticked.declared => {
                "`loop.expected_interval_s` of the bot, and what it may be late"
            }
            Some(_) => "built in, since the bot declares no `loop.expected_interval_s`",
            None => "none, since the bot does not say when its loop last went round",
        }
        .to_owned(),
    }
}

/// Why a trial ends, in one sentence: every criterion that is breached. `None` when none is.
pub(crate) fn breach_text(watch: &[TrialCriterion]) -> Option<String> {
    let texts: Vec<&str> = watch
        .iter()
        .filter(|criterion| criterion.breached)
        .map(|criterion| criterion.text.as_str())
        .collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// Where the limit of something that is counted comes from.
fn growth_source(extra: u32) -> String {
    format!("built in: {extra}, and twice the rate of the hour before the trial")
}

/// How many of something to expect in a while, doubled, from how many the last hour had.
fn expected_count(last_hour: u32, elapsed: Duration) -> u32 {
    let seconds = elapsed.as_secs().min(3_600);
    let twice = u64::from(last_hour) * 2 * seconds / 3_600;
    u32::try_from(twice).unwrap_or(u32::MAX)
}
