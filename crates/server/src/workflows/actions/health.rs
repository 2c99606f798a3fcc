//! Health as a workflow sees it: named facts with a limit each, and one word for all of them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rust_decimal::prelude::ToPrimitive;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bot::Status;
use super::{Call, Failure, World};
use crate::bots::BotSnapshot;
use botops_contract::{BotReport, BreakerState, SessionPhase};

/// Time between samples: about one poll of the bot.
const BETWEEN: Duration = Duration::from_secs(1);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Probe {
    /// Which facts.
    #[schemars(length(min = 1, max = 8))]
    checks: Vec<CheckName>,
    /// So many looks; the worst counts.
    #[serde(default = "once")]
    #[schemars(range(min = 1, max = 30))]
    samples: u32,
}

fn once() -> u32 {
    1
}

impl Probe {
    /// The same with one look.
    pub fn once(self) -> Self {
        Self { samples: 1, ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum CheckName {
    Heartbeat,
    BrokerSession,
    ErrorRate,
    Drawdown,
    Disk,
    ClockSkew,
    AuditChain,
    ConfigSync,
}

impl CheckName {
    fn as_str(self) -> &'static str {
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

/// How good a fact is; the order is the order of concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Grade {
    Ok,
    Warn,
    Unknown,
    Fail,
}

/// One fact.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Fact {
    /// The number behind it; `null` when it is not known.
    pub value: Option<f64>,
    /// Where it begins to be a worry.
    pub threshold: Option<f64>,
    pub unit: String,
    pub status: Grade,
    /// What it means, in one sentence.
    pub detail: String,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Probed {
    /// The worst of all checks.
    pub worst: Grade,
    pub checks: BTreeMap<String, Fact>,
    pub samples: u32,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Weigh {
    /// What `bot.status` put out; left out when it could not be told.
    #[serde(default)]
    bot: Option<Status>,
    /// What `health.probe` put out.
    #[serde(default)]
    probes: Option<Probed>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Overall {
    Healthy,
    Degraded,
    Offline,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Verdict {
    pub status: Overall,
    /// Why it is not healthy, worst first.
    pub reasons: Vec<String>,
}

pub(super) async fn probe(world: &World, input: &Probe, call: &Call) -> Result<Probed, Failure> {
    let mut checks: BTreeMap<String, Fact> = BTreeMap::new();
    for sample in 0..input.samples.max(1) {
        if sample > 0 {
            if call.left() <= BETWEEN {
                return Err(Failure::timeout("the samples take longer than the step may", false));
            }
            tokio::time::sleep(BETWEEN).await;
        }
        let seen = world.bots.snapshot();
        for name in &input.checks {
            let fact = look(world, &seen, *name);
            let known = checks.get(name.as_str());
            if known.is_none_or(|known| fact.status >= known.status) {
                checks.insert(name.as_str().to_owned(), fact);
            }
        }
    }
    let worst = checks.values().map(|fact| fact.status).max().unwrap_or(Grade::Unknown);
    Ok(Probed { worst, checks, samples: input.samples })
}

fn look(world: &World, seen: &BotSnapshot, name: CheckName) -> Fact {
    let report = seen.report.as_deref().filter(|_| seen.presence.answers());
    match name {
        CheckName::Heartbeat => heartbeat(seen),
        CheckName::Disk => disk(&world.data_dir),
        CheckName::AuditChain => audit_chain(world),
        CheckName::BrokerSession => report.map_or_else(|| unknown("state"), broker_session),
        CheckName::ErrorRate => report.map_or_else(|| unknown("errors/min"), error_rate),
        CheckName::Drawdown => report.map_or_else(|| unknown("%"), drawdown),
        CheckName::ClockSkew => report.map_or_else(|| unknown("s"), clock_skew),
        CheckName::ConfigSync => report.map_or_else(|| unknown("state"), config_sync),
    }
}

fn unknown(unit: &str) -> Fact {
    let detail = "the bot does not answer, so this is not known".to_owned();
    Fact { value: None, threshold: None, unit: unit.to_owned(), status: Grade::Unknown, detail }
}

/// A number that is better when it is small.
fn measured(value: f64, [warn, fail]: [f64; 2], unit: &str, detail: String) -> Fact {
    let status = if value >= fail {
        Grade::Fail
    } else if value >= warn {
        Grade::Warn
    } else {
        Grade::Ok
    };
    Fact { value: Some(value), threshold: Some(warn), unit: unit.to_owned(), status, detail }
}

fn heartbeat(seen: &BotSnapshot) -> Fact {
    let Some(age) = seen.answer_age().filter(|_| seen.presence.answers()) else {
        let detail = format!("the bot is {}: {}", seen.presence, seen.presence_reason);
        return Fact {
            value: None,
            threshold: Some(2_000.0),
            unit: "ms".to_owned(),
            status: Grade::Fail,
            detail,
        };
    };
    let age = age.as_secs_f64() * 1_000.0;
    measured(age, [2_000.0, 5_000.0], "ms", format!("the bot last answered {age:.0} ms ago"))
}

fn broker_session(report: &BotReport) -> Fact {
    const UNIT: &str = "failed checks in a row";
    let Some(session) = &report.session else {
        return Fact { detail: "the bot has no broker session".to_owned(), ..unknown(UNIT) };
    };
    let status = match session.state {
        _ if report.circuit_breaker.state == BreakerState::Open => Grade::Fail,
        SessionPhase::Healthy => Grade::Ok,
        SessionPhase::Starting | SessionPhase::Degraded | SessionPhase::Reauthenticating => Grade::Warn,
        SessionPhase::HaltedTransient | SessionPhase::HaltedCredential | SessionPhase::HaltedOperator => {
            Grade::Fail
        }
        SessionPhase::Unknown => Grade::Unknown,
    };
    let reason = session.reason.clone().or_else(|| report.circuit_breaker.reason.clone());
    let failures = f64::from(session.consecutive_failures);
    let detail = reason.unwrap_or_else(|| "the broker session is good".to_owned());
    Fact { value: Some(failures), threshold: Some(1.0), unit: UNIT.to_owned(), status, detail }
}

fn error_rate(report: &BotReport) -> Fact {
    let rate = f64::from(report.error_count_last_hour) / 60.0;
    let detail = format!("{} errors in the last hour", report.error_count_last_hour);
    measured(rate, [0.5, 2.0], "errors/min", detail)
}

fn drawdown(report: &BotReport) -> Fact {
    let balance = report.account.account_balance.to_f64().unwrap_or_default();
    let drawdown = report.performance.max_drawdown.to_f64().unwrap_or_default().abs();
    if balance <= 0.0 {
        return Fact { detail: "the account has no balance to compare with".to_owned(), ..unknown("%") };
    }
    let share = drawdown / balance * 100.0;
    measured(share, [10.0, 20.0], "%", format!("the deepest drawdown is {share:.2} % of the balance"))
}

fn clock_skew(report: &BotReport) -> Fact {
    let Some(skew) = report.session.as_ref().and_then(|session| session.clock_skew_seconds) else {
        let detail = "the broker has shown no clock; nothing speaks against ours".to_owned();
        return Fact { value: None, threshold: Some(5.0), unit: "s".to_owned(), status: Grade::Ok, detail };
    };
    measured(skew.abs(), [5.0, 30.0], "s", format!("the broker's clock differs by {skew:.1} s"))
}

fn config_sync(report: &BotReport) -> Fact {
    let config = &report.config;
    let same = config.running.sha256 == config.committed.sha256;
    let (status, detail) = match &config.trial {
        Some(trial) => (Grade::Warn, format!("the config trial {} runs", trial.txn)),
        None if !same => (Grade::Fail, "the bot runs something else than what is committed".to_owned()),
        None if !config.pending_restart.is_empty() => {
            (Grade::Warn, format!("{} fields wait for a restart", config.pending_restart.len()))
        }
        None => (Grade::Ok, "the bot runs what is committed".to_owned()),
    };
    let value = Some(f64::from(u8::from(!same)));
    Fact { value, threshold: Some(1.0), unit: "differs".to_owned(), status, detail }
}

fn audit_chain(world: &World) -> Fact {
    let holds = world.configs.current().writable;
    let (status, detail) = if holds {
        (Grade::Ok, "the audit of config changes holds".to_owned())
    } else {
        (Grade::Fail, "the audit does not hold or the config cannot be read: changes are refused".to_owned())
    };
    let value = Some(f64::from(u8::from(!holds)));
    Fact { value, threshold: Some(1.0), unit: "broken".to_owned(), status, detail }
}

fn disk(folder: &Path) -> Fact {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        let detail = "the data folder cannot be looked at".to_owned();
        return Fact { detail, status: Grade::Fail, ..unknown("%") };
    };
    #[expect(clippy::cast_precision_loss, reason = "a share of a disk needs no more than 52 bits")]
    let used = 100.0 - disk.f_bavail as f64 / (disk.f_blocks.max(1)) as f64 * 100.0;
    measured(used, [90.0, 97.0], "%", format!("{used:.1} % of the disk is used"))
}

pub(super) fn verdict(input: Weigh) -> Verdict {
    let mut reasons = Vec::new();
    let mut checks: Vec<(String, Fact)> = input.probes.into_iter().flat_map(|probes| probes.checks).collect();
    checks.sort_by_key(|(_, fact)| std::cmp::Reverse(fact.status));
    for (name, fact) in checks.iter().filter(|(_, fact)| fact.status != Grade::Ok) {
        reasons.push(format!("{name}: {}", fact.detail));
    }
    let Some(bot) = input.bot else {
        reasons.insert(0, "the bot does not answer".to_owned());
        return Verdict { status: Overall::Offline, reasons };
    };
    if bot.phase != "running" {
        let why = bot.phase_reason.unwrap_or_else(|| "no reason given".to_owned());
        reasons.insert(0, format!("the bot is {}: {why}", bot.phase));
    }
    let status = if reasons.is_empty() { Overall::Healthy } else { Overall::Degraded };
    Verdict { status, reasons }
}
