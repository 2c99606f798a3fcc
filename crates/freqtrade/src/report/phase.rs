//! What freqtrade's loop is doing, and what keeps it from opening positions.

use std::time::Duration;

use botops_contract::{BotPhase, amount_value};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::account::stake_balance;
use super::breaker::{global_lock, holding_locks};
use crate::polling::UpstreamPicture;
use crate::upstream::{ConfigEcho, PairLock};

/// A loop whose interval is not known is silent after this time: freqtrade's default interval is 5 s.
const SILENT_AFTER: Duration = Duration::from_secs(60);

/// The loop's interval, when freqtrade tells it.
pub(super) fn loop_interval(config: &ConfigEcho) -> Option<f64> {
    amount_value(config.process_throttle_secs.as_ref())?.to_f64().filter(|seconds| *seconds > 0.0)
}

/// The phase, freqtrade's own word where it is none of the contract's, and the reason.
pub(super) struct PhaseView {
    pub phase: BotPhase,
    pub raw: Option<String>,
    pub reason: Option<String>,
}

pub(super) fn phase_of(picture: &UpstreamPicture) -> PhaseView {
    let Some(config) = picture.config.value() else {
        return PhaseView { phase: BotPhase::Starting, raw: None, reason: None };
    };
    let view = |phase, reason: Option<String>| PhaseView { phase, raw: None, reason };
    let open = picture.open_trades.value().map_or(0, |trades| trades.items.len());
    let state = config.state.as_deref().unwrap_or_default().to_ascii_lowercase();
    match state.as_str() {
        "running" => match loop_silence(picture, config) {
            Some(silence) => view(BotPhase::Degraded, Some(silence)),
            None => view(BotPhase::Running, None),
        },
        "paused" => match loop_silence(picture, config) {
            Some(silence) => view(BotPhase::Degraded, Some(format!("{silence}; it is paused"))),
            None => view(BotPhase::Paused, Some("it is paused: it closes trades and opens none".to_owned())),
        },
        "stopped" if open > 0 => view(
            BotPhase::Stopped,
            Some(format!("it is stopped: nobody manages its {open} open trades, stop losses included")),
        ),
        "stopped" => view(BotPhase::Stopped, Some("it is stopped".to_owned())),
        "reload_config" => view(BotPhase::Starting, Some("it reads its config anew".to_owned())),
        "" => view(BotPhase::Starting, Some("it does not say its state".to_owned())),
        other => PhaseView { phase: BotPhase::Other, raw: Some(other.to_owned()), reason: None },
    }
}

/// Why the loop counts as standing still; `None` while it goes round.
fn loop_silence(picture: &UpstreamPicture, config: &ConfigEcho) -> Option<String> {
    let silent = picture.clock.loop_stands_for()?;
    let limit = loop_interval(config)
        .and_then(|interval| Duration::try_from_secs_f64(interval * 5.0).ok())
        .map_or(SILENT_AFTER, |limit| limit.max(SILENT_AFTER));
    (silent > limit).then(|| {
        format!("loop_silent: its loop last went round {} s ago, while its API answers", silent.as_secs())
    })
}

/// Names of what keeps freqtrade from opening a position; empty when it could. Reasons of the strategy are not known.
pub(super) fn no_entry_reasons(picture: &UpstreamPicture, now: DateTime<Utc>) -> Vec<String> {
    let Some(config) = picture.config.value() else { return vec!["starting".to_owned()] };
    let mut reasons = Vec::new();
    let state = config.state.as_deref().unwrap_or_default().to_ascii_lowercase();
    match state.as_str() {
        "running" => {}
        "reload_config" | "" => reasons.push("starting".to_owned()),
        other => reasons.push(other.to_owned()),
    }
    if loop_silence(picture, config).is_some() && state != "stopped" {
        reasons.push("loop_silent".to_owned());
    }
    let locks = holding_locks(picture, now);
    if global_lock(&locks, config.short_allowed.unwrap_or(false)).is_some() {
        reasons.push("global_lock".to_owned());
    }
    reasons.extend(locked_pairs(picture, &locks));
    if whitelist(picture).is_some_and(<[String]>::is_empty) {
        reasons.push("whitelist_empty".to_owned());
    }
    let open = picture.open_trades.value().map(|trades| Decimal::from(trades.items.len()));
    let most = amount_value(config.max_open_trades.as_ref()).filter(|most| *most >= Decimal::ZERO);
    if open.zip(most).is_some_and(|(open, most)| open >= most) {
        reasons.push("max_open_trades".to_owned());
    }
    let stake = config.stake_amount.as_deref().and_then(|stake| stake.parse::<Decimal>().ok());
    let free = stake_balance(picture).and_then(|stake| amount_value(stake.free.as_ref()));
    if stake.zip(free).is_some_and(|(stake, free)| free < stake) {
        reasons.push("insufficient_stake".to_owned());
    }
    reasons
}

fn whitelist(picture: &UpstreamPicture) -> Option<&[String]> {
    picture.whitelist.value()?.whitelist.as_deref()
}

/// `all_pairs_locked`, or `pairs_locked:N/M`: so many of the pairs that freqtrade trades; without the M where it does not
/// tell them. `None` while none is.
fn locked_pairs(picture: &UpstreamPicture, locks: &[&PairLock]) -> Option<String> {
    let mut pairs: Vec<&str> =
        locks.iter().filter(|lock| !lock.is_global()).map(|lock| lock.pair.as_str()).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let traded = whitelist(picture);
    if let Some(traded) = traded {
        pairs.retain(|pair| traded.iter().any(|one| one == pair));
    }
    match traded.map(<[String]>::len) {
        _ if pairs.is_empty() => None,
        Some(all) if pairs.len() == all => Some("all_pairs_locked".to_owned()),
        Some(all) => Some(format!("pairs_locked:{}/{all}", pairs.len())),
        None => Some(format!("pairs_locked:{}", pairs.len())),
    }
}

/// Whether new positions may be opened: a necessary condition, since the strategy may still refuse. A lock of single
/// pairs leaves the others.
pub(super) fn is_trading_enabled(reasons: &[String]) -> bool {
    reasons.iter().all(|reason| reason.starts_with("pairs_locked"))
}
