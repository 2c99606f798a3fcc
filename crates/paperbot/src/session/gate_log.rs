//! Which decisions of the gate are written: all that let an order pass, and of like refusals one a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::model::GateDecision;
use crate::clock::Now;
use botops_contract::GateReason;

/// Like refusals nearer to each other than this are counted, not written.
const DENIAL_INTERVAL: Duration = Duration::from_secs(1);

/// The refusal written last.
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
    /// How many like it were left out since the last written one; `None` when this one is left out as well.
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
