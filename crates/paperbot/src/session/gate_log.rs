//! Which decisions of the gate are logged: all that let an order pass, and one a second of refusals for one reason.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::model::GateDecision;
use crate::clock::Now;
use botops_contract::GateReason;

/// Refusals for the same reason within this time of the logged one are counted, not logged.
const DENIAL_INTERVAL: Duration = Duration::from_secs(1);

/// The refusal that was logged last.
#[derive(Debug, Default)]
pub(super) struct DenialThrottle {
    last: Mutex<Option<LastDenial>>,
}

#[derive(Debug)]
struct LastDenial {
    reason: GateReason,
    at: Duration,
    left_out: u64,
}

impl DenialThrottle {
    /// Whether to log a decision: `None` for no, else how many refusals like it were left out since the last one.
    pub(super) fn admit(&self, decision: &GateDecision, now: Now) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if decision.allowed {
            *last = None;
            return Some(0);
        }
        match &mut *last {
            Some(last) if last.reason == decision.reason => {
                if now.mono.saturating_sub(last.at) < DENIAL_INTERVAL {
                    last.left_out += 1;
                    return None;
                }
                last.at = now.mono;
                Some(std::mem::take(&mut last.left_out))
            }
            other => {
                *other = Some(LastDenial { reason: decision.reason, at: now.mono, left_out: 0 });
                Some(0)
            }
        }
    }
}
