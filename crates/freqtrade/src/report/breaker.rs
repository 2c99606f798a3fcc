//! Locks of freqtrade as the circuit breaker of the contract.

use botops_contract::{Breaker, BreakerState, EntryLock};
use chrono::{DateTime, Utc};

use crate::polling::UpstreamPicture;
use crate::upstream::{OWN_LOCK, PairLock, endless_lock};

/// The source of a lock that a durable pause set.
const OPERATOR: &str = "operator";

/// A lock is freqtrade's own word to its strategy, and no wall around the account.
const STOPPED_BY_LOCK: &str =
    "the strategy opens no new positions; a forced entry and additions to open trades pass a lock";

/// The locks that hold at this moment, by freqtrade's clock: it sets their ends.
pub(crate) fn holding_locks(picture: &UpstreamPicture, now: DateTime<Utc>) -> Vec<&PairLock> {
    let locks = picture.locks.value().map_or(&[][..], |locks| &locks.locks.items);
    let time = picture.clock.upstream_time(now);
    locks.iter().filter(|lock| lock.holds_at(time)).collect()
}

/// The lock that keeps every new position away: of all pairs, and of every direction in which the bot trades.
pub(crate) fn global_lock<'p>(locks: &[&'p PairLock], short_allowed: bool) -> Option<&'p PairLock> {
    let is_whole = |lock: &&&PairLock| match lock.side.as_deref() {
        Some("long") => !short_allowed,
        Some("short") => false,
        _ => true,
    };
    let global = locks.iter().filter(|lock| lock.is_global()).filter(is_whole);
    // The one that holds longest; one without an end holds longer than any.
    global.max_by_key(|lock| (lock.until.is_none(), lock.until)).copied()
}

/// Open while a global lock holds; `None` when the locks were not read.
pub(super) fn breaker_of(picture: &UpstreamPicture, now: DateTime<Utc>) -> Option<Breaker> {
    picture.locks.value()?;
    let locks = holding_locks(picture, now);
    let short_allowed = picture.config.value().and_then(|config| config.short_allowed).unwrap_or(false);
    let Some(lock) = global_lock(&locks, short_allowed) else {
        return Some(Breaker {
            state: BreakerState::Closed,
            state_raw: None,
            reason: None,
            since: None,
            source: None,
            failure_count: None,
            resumes_at: None,
            retry_at: None,
            needs_human: None,
            stops: None,
        });
    };
    let reason = lock.reason.clone().filter(|reason| !reason.is_empty());
    let source = source_of(reason.as_deref().unwrap_or_default());
    // One that was set until somebody resumes has no end that anybody waits for.
    let end = lock.until.filter(|until| *until < endless_lock());
    Some(Breaker {
        state: BreakerState::Open,
        state_raw: None,
        source: Some(source.to_owned()),
        reason: reason.or_else(|| Some("all pairs are locked, without a reason given".to_owned())),
        since: lock.since,
        failure_count: None,
        resumes_at: end,
        retry_at: end,
        needs_human: (source == OPERATOR && end.is_none()).then(|| "resume".to_owned()),
        stops: Some(STOPPED_BY_LOCK.to_owned()),
    })
}

/// Every lock that holds, those that end first before the others; `None` when the locks were not read.
pub(super) fn entry_locks_of(picture: &UpstreamPicture, now: DateTime<Utc>) -> Option<Vec<EntryLock>> {
    picture.locks.value()?;
    let mut locks: Vec<EntryLock> = holding_locks(picture, now).into_iter().map(entry_lock).collect();
    locks.sort_by(|a, b| {
        (a.until.is_none(), a.until, &a.symbol).cmp(&(b.until.is_none(), b.until, &b.symbol))
    });
    Some(locks)
}

fn entry_lock(lock: &PairLock) -> EntryLock {
    EntryLock {
        symbol: lock.pair.clone(),
        side: lock.side.clone().filter(|side| side != "*"),
        // One that was set until somebody resumes has no end that anybody waits for.
        until: lock.until.filter(|until| *until < endless_lock()),
        reason: lock.reason.clone().filter(|reason| !reason.is_empty()),
    }
}

/// What set the lock, as far as its reason shows it: freqtrade does not say.
fn source_of(reason: &str) -> &'static str {
    if reason.starts_with(OWN_LOCK) {
        return OPERATOR;
    }
    let reason = reason.to_ascii_lowercase();
    if reason.contains("drawdown") {
        "max_drawdown"
    } else if reason.contains("stoplosses in") {
        "consecutive_losses"
    } else {
        "lock"
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lock(pair: &str, side: &str, until: i64) -> PairLock {
        let lock = json!({"pair": pair, "side": side, "active": true, "lock_end_timestamp": until * 1000});
        serde_json::from_str(&lock.to_string()).unwrap()
    }

    #[test]
    fn only_a_lock_of_everything_is_global() {
        let (pair, long, all) = (lock("BTC/USDT", "*", 9), lock("*", "long", 8), lock("*", "*", 7));
        assert_eq!(global_lock(&[&pair], false), None);
        assert_eq!(global_lock(&[&pair, &long], true), None);
        assert_eq!(global_lock(&[&pair, &long], false), Some(&long));
        assert_eq!(global_lock(&[&long, &all], false), Some(&long), "it holds longer");
        assert_eq!(global_lock(&[&long, &all], true), Some(&all));
    }

    #[test]
    fn the_source_is_told_where_the_reason_shows_it() {
        assert_eq!(source_of("3 stoplosses in 60 min, locking for 30 min."), "consecutive_losses");
        assert_eq!(source_of("0.2 passed Max Drawdown"), "max_drawdown");
        assert_eq!(source_of("holiday"), "lock");
        assert_eq!(source_of("botops durable pause: after max drawdown"), "operator");
    }
}
