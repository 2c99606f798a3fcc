//! What answers to `GET state` show over time: numbers that do not move, times that cannot be.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::findings::ConformanceFinding;
use super::sdk_problems::check_sdk_problems;
use botops_contract::{BotReport, Hello, TradingMode};

const CALL: &str = "GET state";

/// A clock that is further ahead makes the age of the data unknown; the limit of the warning in the state.
const CLOCKS_AGREE: TimeDelta = TimeDelta::seconds(5);

/// Data that is older is stale, unless `BOT_STATE_CACHE_TTL` says otherwise.
const STALE: TimeDelta = TimeDelta::seconds(60);

/// A loop may be later than its interval by this much.
const LOOP_GRACE: TimeDelta = TimeDelta::seconds(5);

/// One answer that was read.
#[derive(Debug, Clone)]
pub(super) struct StateSample {
    pub report: BotReport,
    pub etag: Option<String>,
    pub received_at: DateTime<Utc>,
}

/// What one answer says that cannot be so.
pub(super) fn check_sample(sample: &StateSample, hello: &Hello) -> Vec<ConformanceFinding> {
    let report = &sample.report;
    let mut found = Vec::new();
    // One that is not known, or not said, was named already.
    let are_known = report.mode != TradingMode::Other && hello.mode != TradingMode::Other;
    if report.mode != hello.mode && are_known {
        let remedy = "`hello` and `state` must name the same mode: it says whether money is at risk.";
        let fault = ConformanceFinding::fault("mode_differs", CALL, remedy).at("/mode");
        found.push(fault.got(report.mode.as_str()).expected(hello.mode.as_str()));
    }
    if let (Some(of_state), Some(of_hello)) = (&report.boot_epoch, &hello.boot_epoch)
        && of_state != of_hello
    {
        let remedy = "Name the boot epoch of `hello` in `state` as well: they are the same start of the bot.";
        let fault = ConformanceFinding::fault("boot_epoch_differs", CALL, remedy).at("/boot_epoch");
        found.push(fault.got(of_state).expected(of_hello));
    }
    found.extend(check_times(sample));
    found.extend(check_sdk_problems(report));
    if let Some(rate) = report.performance.win_rate.filter(|rate| !(0.0..=1.0).contains(rate)) {
        let remedy = "Ratios are 0 to 1: 55 % is 0.55.";
        let fault = ConformanceFinding::fault("ratio_range", CALL, remedy).at("/performance/win_rate");
        found.push(fault.got(&rate.to_string()));
    }
    found
}

fn check_times(sample: &StateSample) -> Vec<ConformanceFinding> {
    let mut found = Vec::new();
    let age = |at: DateTime<Utc>| sample.received_at - at;
    if let Some(as_of) = sample.report.as_of {
        let got = as_of.to_rfc3339();
        if age(as_of) < -CLOCKS_AGREE {
            let remedy = "It lies in the future, so the age of the data cannot be told: take UTC, and look at the clock of the bot's machine.";
            found.push(ConformanceFinding::fault("as_of_in_future", CALL, remedy).at("/as_of").got(&got));
        } else if age(as_of) > STALE {
            let remedy = format!(
                "It is {} s old: botops tells data as stale after 60 s. It is when the bot knew this, so it moves with every turn of the loop.",
                age(as_of).num_seconds()
            );
            found.push(ConformanceFinding::fault("as_of_stale", CALL, &remedy).at("/as_of").got(&got));
        }
    }
    if let Some(tick) = sample.report.loop_stats.last_tick_at {
        let interval = sample.report.loop_stats.expected_interval_s.map(Duration::try_from_secs_f64);
        let limit = match interval {
            Some(Ok(interval)) => TimeDelta::from_std(interval).unwrap_or(STALE) + LOOP_GRACE,
            _ => STALE,
        };
        if age(tick) > limit {
            let remedy = format!(
                "The trading loop went round {} s ago: it stands still, or `last_tick_at` is not taken from it.",
                age(tick).num_seconds()
            );
            found.push(
                ConformanceFinding::warning("loop_stands_still", CALL, &remedy).at("/loop/last_tick_at"),
            );
        }
    }
    found
}

/// What the answers show one after the other; all of them are of one start of the bot.
pub(super) fn compare_samples(samples: &[StateSample]) -> Vec<ConformanceFinding> {
    let mut found = Vec::new();
    for (before, after) in samples.iter().zip(samples.iter().skip(1)) {
        if before.report.boot_epoch != after.report.boot_epoch {
            continue;
        }
        let (old, new) = (before.report.seq, after.report.seq);
        let is_changed = contents(&before.report) != contents(&after.report);
        if new < old {
            let remedy =
                "`seq` goes back although the bot was not started anew: count up by one with each change.";
            let fault = ConformanceFinding::fault("seq_goes_back", CALL, remedy).at("/seq");
            found.push(fault.got(&format!("{new} after {old}")));
        } else if new == old && is_changed {
            let remedy = "`seq` did not move although the state changed: count up by one with each change.";
            let fault = ConformanceFinding::fault("seq_stands_still", CALL, remedy).at("/seq");
            found.push(fault.got(&new.to_string()));
        }
        let has_same_tag = before.etag.is_some() && before.etag == after.etag;
        if has_same_tag && (is_changed || new != old) {
            let remedy = "The ETag is the same for two different states, so botops would not see the change: make it of boot epoch and seq.";
            found.push(ConformanceFinding::fault("etag_stands_still", CALL, remedy));
        }
    }
    found.extend(check_movement(samples));
    found
}

/// Whether `as_of` and `seq` move at all while the bot is watched.
fn check_movement(samples: &[StateSample]) -> Option<ConformanceFinding> {
    let (first, last) = (samples.first()?, samples.last()?);
    let watched = last.received_at - first.received_at;
    let (before, after) = (first.report.as_of?, last.report.as_of?);
    if samples.len() < 2 {
        return None;
    }
    if before == after {
        let remedy = format!(
            "It did not move in {:.1} s. It is when the bot knew this: if it is set at the start only, botops calls the data stale after 60 s.",
            watched.as_seconds_f64()
        );
        let warning = ConformanceFinding::warning("as_of_stands_still", CALL, &remedy).at("/as_of");
        return Some(warning.got(&after.to_rfc3339()));
    }
    let is_seq_still = samples.iter().all(|sample| sample.report.seq == first.report.seq);
    is_seq_still.then(|| {
        let remedy = "`seq` did not move while `as_of` did: count up by one with each change, or botops' clients see none.";
        ConformanceFinding::hint("seq_quiet", CALL, remedy).at("/seq").got(&last.report.seq.to_string())
    })
}

/// What a change of the state would show in: everything but the times and counters that move by themselves.
fn contents(report: &BotReport) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        for moving in ["seq", "as_of", "loop", "session", "market"] {
            members.remove(moving);
        }
    }
    strip_times(&mut value);
    value
}

fn strip_times(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !matches!(name.as_str(), "last_updated" | "as_of" | "updated_at"));
            members.values_mut().for_each(strip_times);
        }
        Value::Array(items) => items.iter_mut().for_each(strip_times),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u32, seq: u64, change: impl FnOnce(&mut BotReport)) -> StateSample {
        let at = DateTime::parse_from_rfc3339("2026-03-02T15:00:00Z").unwrap().to_utc();
        let received_at = at + TimeDelta::seconds(i64::from(second));
        let mut report =
            BotReport { seq, as_of: Some(received_at), mode: TradingMode::Paper, ..BotReport::default() };
        change(&mut report);
        StateSample { report, etag: None, received_at }
    }

    #[track_caller]
    fn check(samples: &[StateSample], rules: &[&str]) {
        let found: Vec<_> = compare_samples(samples).iter().map(|finding| finding.rule).collect();
        assert_eq!(found, rules);
    }

    #[test]
    fn what_moves_as_it_should_gives_no_finding() {
        check(&[sample(0, 1, |_| {}), sample(1, 2, |report| report.trading_enabled = Some(true))], &[]);
        check(&[sample(0, 1, |_| {})], &[]);
        // A new start counts anew.
        let named = |epoch: &str| Some(epoch.to_owned());
        let (one, two) = (
            sample(0, 9, |report| report.boot_epoch = named("a")),
            sample(1, 1, |report| report.boot_epoch = named("b")),
        );
        check(&[one, two], &[]);
    }

    #[test]
    fn numbers_and_times_that_do_not_move_are_named() {
        check(&[sample(0, 5, |_| {}), sample(1, 4, |_| {})], &["seq_goes_back"]);
        let changed = |report: &mut BotReport| report.trading_enabled = Some(false);
        check(&[sample(0, 5, |_| {}), sample(1, 5, changed)], &["seq_stands_still", "seq_quiet"]);
        check(&[sample(0, 5, |_| {}), sample(1, 5, |_| {})], &["seq_quiet"]);
        let still = |report: &mut BotReport| report.as_of = report.as_of.map(|at| at - TimeDelta::seconds(1));
        check(&[sample(0, 5, |_| {}), sample(1, 6, still)], &["as_of_stands_still"]);
        let tagged = |mut sample: StateSample| {
            sample.etag = Some("\"x\"".to_owned());
            sample
        };
        check(&[tagged(sample(0, 5, |_| {})), tagged(sample(1, 6, |_| {}))], &["etag_stands_still"]);
    }

    #[test]
    fn times_that_cannot_be_are_named() {
        let hello: Hello = serde_json::from_str(r#"{"bot_id": "x", "mode": "paper"}"#).unwrap();
        let rules = |sample: &StateSample| {
            check_sample(sample, &hello).iter().map(|finding| finding.rule).collect::<Vec<_>>()
        };
        let moved = |by: i64| {
            sample(0, 1, |report| report.as_of = report.as_of.map(|at| at + TimeDelta::seconds(by)))
        };
        assert_eq!(rules(&moved(6)), ["as_of_in_future"]);
        assert_eq!(rules(&moved(-61)), ["as_of_stale"]);
        assert_eq!(rules(&moved(-30)), [""; 0]);
        let live = sample(0, 1, |report| report.mode = TradingMode::Live);
        assert_eq!(rules(&live), ["mode_differs"]);
    }
}
