//! What a bot could offer next, and what botops gives for it.

use serde::Serialize;

use botops_contract::{BotReport, Hello};

/// A name is taken for a misspelling of a capability that is this much alike (1 is equal).
const ALIKE: f64 = 0.85;

/// Something that a bot can add, and what botops gives for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConformanceGain {
    /// The capability, or the member of an answer.
    pub add: &'static str,
    /// What botops gives for it.
    pub gives: &'static str,
}

/// Every capability, with what botops gives for it; the most useful first.
const CAPABILITIES: [(&str, &str); 17] = [
    ("pause", "a person or an agent stops new positions, and a workflow or a recovery can"),
    ("resume", "new positions are let in again without a restart"),
    ("command-status", "a lost answer to a command is found again, instead of staying unknown"),
    ("events", "errors, fills and orders are told when they happen, and kept"),
    ("trades", "performance by day, symbol and account, from the closed trades themselves"),
    ("flatten", "all positions are closed by one command, with a preview"),
    ("cancel-orders", "resting orders are cancelled by one command"),
    ("halt", "no order passes until a person resets the breaker"),
    ("reset-breaker", "a person closes the circuit breaker again"),
    ("config", "the config is changed as a trial that is watched and goes back by itself"),
    (
        "config-schema",
        "the config is checked, compared and changed by the fields that the bot itself describes",
    ),
    ("session", "a component `broker_session` is watched, with alerts"),
    ("probe-session", "the broker session is checked on demand"),
    ("reauth", "signing in to the broker again, with a code if it needs one"),
    ("durable-pause", "a pause holds over a restart of the bot"),
    ("config-boot-once", "settings that need a restart can be tried as well"),
    ("shutdown", "the bot ends cleanly, before a restart for instance"),
];

/// Whether a capability has this name.
pub(super) fn is_capability(name: &str) -> bool {
    CAPABILITIES.iter().any(|(known, _)| *known == name)
}

/// Every capability, as one text.
pub(super) fn list_capabilities() -> String {
    let names: Vec<&str> = CAPABILITIES.iter().map(|(name, _)| *name).collect();
    format!("one of `{}`", names.join("`, `"))
}

/// The capability that is most likely meant by a name that none has.
pub(super) fn closest_capability(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace(['_', ' '], "-");
    let likeness = CAPABILITIES.iter().map(|(known, _)| (strsim::jaro_winkler(known, &name), *known));
    let closest = likeness.max_by(|one, two| one.0.total_cmp(&two.0))?;
    (closest.0 >= ALIKE).then_some(closest.1)
}

/// What this bot could add, the most useful first.
pub(super) fn find_gains(hello: &Hello, report: Option<&BotReport>, has_etag: bool) -> Vec<ConformanceGain> {
    let mut gains = Vec::new();
    let mut add = |is_there: bool, add: &'static str, gives: &'static str| {
        if !is_there {
            gains.push(ConformanceGain { add, gives });
        }
    };
    if let Some(report) = report {
        add(
            report.loop_stats.last_tick_at.is_some(),
            "loop.last_tick_at",
            "a trading loop that stands still is told, although the socket answers",
        );
        let has_interval = report.loop_stats.expected_interval_s.is_some();
        add(
            has_interval,
            "loop.expected_interval_s",
            "that standstill is an alert within seconds instead of a warning after 60 s",
        );
        add(
            report.account.account_balance.is_some(),
            "account",
            "balance, buying power and limits by the size of the account",
        );
        add(report.account.currency.is_some(), "account.currency", "amounts say what they are in");
        add(report.positions.is_some(), "positions", "exposure, profit and the risk of each position");
        add(report.orders.is_some(), "orders", "open orders, and what became of them");
        add(report.trading_enabled.is_some(), "trading_enabled", "whether new positions are let in is known");
        add(
            report.performance.daily_pl.is_some(),
            "performance.daily_pl",
            "the day's profit and loss, in summary and metrics",
        );
    }
    add(
        hello.names_its_start(),
        "hello.pid, hello.boot_epoch",
        "a restart is told from a gap, and a dead process can be started again",
    );
    for (name, gives) in CAPABILITIES {
        add(hello.offers(name), name, gives);
    }
    add(has_etag, "ETag of state", "an unchanged state is a 304 and costs next to nothing");
    add(
        hello.log_dir.is_some(),
        "hello.log_dir",
        "logs are collected with one call, and a line in them is a sign of life",
    );
    gains
}

#[cfg(test)]
mod tests {
    use super::*;
    use botops_contract::{BOOT_ONCE, COMMAND_STATUS, CONFIG_SCHEMA, DURABLE_PAUSE, Verb};

    #[test]
    fn every_capability_of_the_contract_is_known() {
        for name in Verb::ALL.map(Verb::as_str) {
            assert!(is_capability(name), "{name}");
        }
        for name in
            [BOOT_ONCE, COMMAND_STATUS, DURABLE_PAUSE, CONFIG_SCHEMA, "config", "session", "events", "trades"]
        {
            assert!(is_capability(name), "{name}");
        }
    }

    #[test]
    fn a_misspelt_capability_is_recognised() {
        assert_eq!(closest_capability("cancel_orders"), Some("cancel-orders"));
        assert_eq!(closest_capability("event"), Some("events"));
        assert_eq!(closest_capability("telepathy"), None);
    }
}
