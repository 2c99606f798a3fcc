//! Named facts about the bot's health, each with its number, its limit and what it means.

use std::path::Path;

use rust_decimal::prelude::ToPrimitive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::context::ActionServices;
use crate::bots::BotSnapshot;
use botops_contract::{Amount, BotReport, BreakerState, SessionPhase, amount_value};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum HealthFactName {
    Heartbeat,
    BrokerSession,
    ErrorRate,
    Drawdown,
    Disk,
    ClockSkew,
    AuditChain,
    ConfigSync,
}

impl HealthFactName {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Heartbeat => "heartbeat",
            Self::BrokerSession => "broker_session",
            Self::ErrorRate => "error_rate",
            Self::Drawdown => "drawdown",
            Self::Disk => "disk",
            Self::ClockSkew => "clock_skew",
            Self::AuditChain => "audit_chain",
            Self::ConfigSync => "config_sync",
        }
    }
}

/// The numbers from which on a fact is `warn` and `fail`, with their unit; `docs/workflows.md` has the same.
const LIMITS: &[(HealthFactName, [f64; 2], &str)] = &[
    (HealthFactName::Heartbeat, [2_000.0, 5_000.0], "ms"),
    (HealthFactName::ErrorRate, [0.5, 2.0], "errors/min"),
    (HealthFactName::Drawdown, [10.0, 20.0], "%"),
    (HealthFactName::ClockSkew, [5.0, 30.0], "s"),
    (HealthFactName::Disk, [90.0, 97.0], "%"),
];

/// The limits of a fact that has some, and their unit.
fn limits_of(name: HealthFactName) -> ([f64; 2], &'static str) {
    let row = LIMITS.iter().find(|(listed, ..)| *listed == name);
    row.map(|(_, limits, unit)| (*limits, *unit)).expect("a fact that is measured has limits")
}

/// The grade of a fact; the order of the variants is the order of concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum HealthGrade {
    Ok,
    Warn,
    Unknown,
    Fail,
}

/// A fact with its grade, its number and its meaning.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct HealthFact {
    /// The number that was graded; `null` when it is not known.
    pub(super) value: Option<f64>,
    /// The number from which on the grade is no longer `ok`; `null` when there is none.
    pub(super) threshold: Option<f64>,
    pub(super) unit: String,
    pub(super) status: HealthGrade,
    /// What it means, in one sentence.
    pub(super) detail: String,
}

/// Reads a fact from the bot's last report and from botops' own data.
pub(super) fn read_fact(world: &ActionServices, seen: &BotSnapshot, name: HealthFactName) -> HealthFact {
    let report = seen.report.as_deref().filter(|_| seen.presence.answers());
    match name {
        HealthFactName::Heartbeat => heartbeat_fact(seen),
        HealthFactName::Disk => disk_fact(&world.data_dir),
        HealthFactName::AuditChain => audit_chain_fact(world),
        HealthFactName::BrokerSession => report.map_or_else(|| unknown_fact("state"), broker_session_fact),
        HealthFactName::ErrorRate => report.map_or_else(|| unknown_fact("errors/min"), error_rate_fact),
        HealthFactName::Drawdown => report.map_or_else(|| unknown_fact("%"), drawdown_fact),
        HealthFactName::ClockSkew => report.map_or_else(|| unknown_fact("s"), clock_skew_fact),
        HealthFactName::ConfigSync if world.configs.not_offered().is_some() => no_config_fact(),
        HealthFactName::ConfigSync => report.map_or_else(|| unknown_fact("state"), config_sync_fact),
    }
}

fn unknown_fact(unit: &str) -> HealthFact {
    let detail = "the bot does not answer, so this is not known".to_owned();
    HealthFact { value: None, threshold: None, unit: unit.to_owned(), status: HealthGrade::Unknown, detail }
}

/// A fact from a number of which smaller values are better.
fn measured_fact(name: HealthFactName, value: f64, detail: String) -> HealthFact {
    let ([warn, fail], unit) = limits_of(name);
    let status = if value >= fail {
        HealthGrade::Fail
    } else if value >= warn {
        HealthGrade::Warn
    } else {
        HealthGrade::Ok
    };
    HealthFact { value: Some(value), threshold: Some(warn), unit: unit.to_owned(), status, detail }
}

fn heartbeat_fact(seen: &BotSnapshot) -> HealthFact {
    let ([limit, _], unit) = limits_of(HealthFactName::Heartbeat);
    let Some(age) = seen.answer_age().filter(|_| seen.presence.answers()) else {
        let detail = format!("the bot is {}: {}", seen.presence, seen.presence_reason);
        return HealthFact {
            value: None,
            threshold: Some(limit),
            unit: unit.to_owned(),
            status: HealthGrade::Fail,
            detail,
        };
    };
    let age = age.as_secs_f64() * 1_000.0;
    measured_fact(HealthFactName::Heartbeat, age, format!("the bot last answered {age:.0} ms ago"))
}

fn broker_session_fact(report: &BotReport) -> HealthFact {
    const UNIT: &str = "failed checks in a row";
    let Some(session) = &report.session else {
        return HealthFact { detail: "the bot has no broker session".to_owned(), ..unknown_fact(UNIT) };
    };
    let status = match session.state {
        _ if report.breaker_state() == Some(BreakerState::Open) => HealthGrade::Fail,
        SessionPhase::Healthy => HealthGrade::Ok,
        SessionPhase::Starting | SessionPhase::Degraded | SessionPhase::Reauthenticating => HealthGrade::Warn,
        SessionPhase::HaltedTransient | SessionPhase::HaltedCredential | SessionPhase::HaltedOperator => {
            HealthGrade::Fail
        }
        SessionPhase::Unknown => HealthGrade::Unknown,
    };
    let breaker =
        report.circuit_breaker.as_ref().filter(|_| report.breaker_state() == Some(BreakerState::Open));
    let detail = match breaker {
        Some(breaker) => {
            let why = breaker.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
            format!("the circuit breaker is open{why}")
        }
        None => session.reason.clone().unwrap_or_else(|| "the broker session is good".to_owned()),
    };
    let failures = session.consecutive_failures.map(f64::from);
    HealthFact { value: failures, threshold: Some(1.0), unit: UNIT.to_owned(), status, detail }
}

fn error_rate_fact(report: &BotReport) -> HealthFact {
    let Some(count) = report.error_count_last_hour else {
        return HealthFact {
            detail: "the bot does not count its errors".to_owned(),
            ..unknown_fact("errors/min")
        };
    };
    let rate = f64::from(count) / 60.0;
    let detail = format!("{count} errors in the last hour");
    measured_fact(HealthFactName::ErrorRate, rate, detail)
}

fn drawdown_fact(report: &BotReport) -> HealthFact {
    let number = |amount: &Option<Amount>| amount_value(amount.as_ref()).and_then(|value| value.to_f64());
    let balance = number(&report.account.account_balance);
    let drawdown = number(&report.performance.max_drawdown);
    let Some((balance, drawdown)) = balance.zip(drawdown) else {
        return HealthFact {
            detail: "the bot does not report its balance and its drawdown".to_owned(),
            ..unknown_fact("%")
        };
    };
    let drawdown = drawdown.abs();
    if balance <= 0.0 {
        return HealthFact {
            detail: "the account has no balance to compare with".to_owned(),
            ..unknown_fact("%")
        };
    }
    let share = drawdown / balance * 100.0;
    let detail = format!("the deepest drawdown is {share:.2} % of the balance");
    measured_fact(HealthFactName::Drawdown, share, detail)
}

fn clock_skew_fact(report: &BotReport) -> HealthFact {
    let Some(skew) = report.session.as_ref().and_then(|session| session.clock_skew_seconds) else {
        let ([limit, _], unit) = limits_of(HealthFactName::ClockSkew);
        let detail = "the broker has shown no clock; nothing speaks against ours".to_owned();
        return HealthFact {
            value: None,
            threshold: Some(limit),
            unit: unit.to_owned(),
            status: HealthGrade::Ok,
            detail,
        };
    };
    let detail = format!("the broker's clock differs by {skew:.1} s");
    measured_fact(HealthFactName::ClockSkew, skew.abs(), detail)
}

/// Nothing can be out of step with a config that is not kept here.
fn no_config_fact() -> HealthFact {
    let detail = "not applicable: the bot does not list `config`, so there is none here".to_owned();
    HealthFact { value: None, threshold: None, unit: "differs".to_owned(), status: HealthGrade::Ok, detail }
}

fn config_sync_fact(report: &BotReport) -> HealthFact {
    let Some(config) = &report.config else {
        let detail = "the bot has no config that could be managed".to_owned();
        return HealthFact { detail, ..unknown_fact("differs") };
    };
    let same = config.running.sha256 == config.committed.sha256;
    let (status, detail) = match &config.trial {
        Some(trial) => (HealthGrade::Warn, format!("the config trial {} runs", trial.txn)),
        None if !same => (HealthGrade::Fail, "the bot runs something else than what is committed".to_owned()),
        None if !config.pending_restart.is_empty() => {
            (HealthGrade::Warn, format!("{} fields wait for a restart", config.pending_restart.len()))
        }
        None => (HealthGrade::Ok, "the bot runs what is committed".to_owned()),
    };
    let value = Some(f64::from(u8::from(!same)));
    HealthFact { value, threshold: Some(1.0), unit: "differs".to_owned(), status, detail }
}

fn audit_chain_fact(world: &ActionServices) -> HealthFact {
    let holds = world.configs.record_fault().is_none();
    let (status, detail) = if holds {
        (HealthGrade::Ok, "the audit of config changes holds".to_owned())
    } else {
        (
            HealthGrade::Fail,
            "the audit does not hold or the config cannot be read: changes are refused".to_owned(),
        )
    };
    let value = Some(f64::from(u8::from(!holds)));
    HealthFact { value, threshold: Some(1.0), unit: "broken".to_owned(), status, detail }
}

fn disk_fact(folder: &Path) -> HealthFact {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        let detail = "the data folder cannot be looked at".to_owned();
        return HealthFact { detail, status: HealthGrade::Fail, ..unknown_fact("%") };
    };
    #[expect(clippy::cast_precision_loss, reason = "a share of a disk needs no more than 52 bits")]
    let used = 100.0 - disk.f_bavail as f64 / (disk.f_blocks.max(1)) as f64 * 100.0;
    measured_fact(HealthFactName::Disk, used, format!("{used:.1} % of the disk is used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_limits_of_every_fact() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/workflows.md");
        let page = std::fs::read_to_string(page).unwrap();
        for (name, [warn, fail], unit) in LIMITS {
            let row = format!("| `{}` | {warn} | {fail} | {unit} |", name.as_str());
            assert!(page.contains(&row), "{row}");
        }
    }
}
