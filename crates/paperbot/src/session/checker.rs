//! Checks of the session: a probe of the broker, retried for some kinds of check, with its outcome recorded.

use std::sync::Arc;

use botops_core::duration::milliseconds;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::context::SessionContext;
use super::machine::SessionCheckKind;
use crate::broker::{BrokerError, ProbeReply, TransientFailure};
use crate::calendar::MarketPhase;
use botops_contract::SessionPhase;
use botops_core::error::Code;
use botops_core::retry::random_share;

pub(super) struct SessionChecker {
    context: Arc<SessionContext>,
}

impl SessionChecker {
    pub(super) fn new(context: Arc<SessionContext>) -> Self {
        Self { context }
    }

    /// Makes one check, with retries if its kind has them, and reports the outcome to the machine and to the log.
    pub(super) async fn check(&self, kind: SessionCheckKind) -> Result<ProbeReply, BrokerError> {
        let started = self.context.clock.mono();
        let (result, attempts) = self.probe_with_retries(kind).await;
        let found = result.inspect(|reply| self.warn_of_skew(reply));
        self.context.update(|machine, now| {
            match &found {
                Ok(found) => machine.check_passed(now, started, found),
                Err(error) => machine.check_failed(now, started, error),
            }
            machine.apply_jitter(now, random_part());
        });
        self.record_check(kind, attempts, &found);
        if found.is_ok() && self.context.settings.market_hours_only && kind.is_retried() {
            self.compare_market_hours().await;
        }
        found
    }

    pub(super) async fn probe_with_retries(
        &self,
        kind: SessionCheckKind,
    ) -> (Result<ProbeReply, BrokerError>, usize) {
        let limits = &self.context.settings.limits;
        let started = tokio::time::Instant::now();
        let budget =
            if kind == SessionCheckKind::PreTrade { limits.pre_trade_check } else { limits.check_timeout };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let left = budget.saturating_sub(started.elapsed());
            let limit = left.min(limits.attempt_timeout);
            // The adapter keeps the limit itself; this is for one that does not.
            let late = Err(BrokerError::Transient { kind: TransientFailure::Timeout, status: None });
            let result = timeout(limit, self.context.broker.probe(limit)).await.unwrap_or(late);
            let Err(error) = &result else { return (result, attempt) };
            let planned = limits.retry_waits.get(attempt - 1).copied();
            let wait = match (error, planned) {
                (BrokerError::Transient { .. }, Some(planned)) => planned.mul_f64(1.0 + random_part()),
                (BrokerError::RateLimited { wait }, Some(_)) if *wait <= limits.short_wait => *wait,
                _ => return (result, attempt),
            };
            let fits = started.elapsed() + wait < budget;
            if !kind.is_retried() || !fits {
                return (result, attempt);
            }
            let fields = [
                ("attempt", json!(attempt)),
                ("max_attempts", json!(limits.retry_waits.len() + 1)),
                ("delay_ms", json!(milliseconds(wait))),
                ("error_type", json!(error.kind())),
            ];
            self.context.log_event("retry.attempt", kind, &fields);
            sleep(wait).await;
        }
    }

    /// Warns once when the broker's clock begins to differ too much from this machine's.
    pub(super) fn warn_of_skew(&self, reply: &ProbeReply) {
        let limit = self.context.settings.limits.max_clock_skew;
        let was_off = self.context.machine().skew.is_some_and(|skew| skew.abs() > limit);
        if let Some(skew) = reply.skew.filter(|skew| skew.abs() > limit && !was_off) {
            let text = format!("the broker's clock and ours differ by {} s", skew.num_seconds());
            let facts = json!({"clock_skew_seconds": skew.as_seconds_f64()});
            self.context.publisher.publish_warning(
                self.context.clock.wall(),
                Code::BrokerClockSkew,
                &text,
                facts,
            );
        }
    }

    pub(super) fn record_check(
        &self,
        kind: SessionCheckKind,
        attempts: usize,
        found: &Result<ProbeReply, BrokerError>,
    ) {
        // Measured at the end of the check, so that storing the outcome does not count as the broker's latency.
        let (latency, checks, failures, phase) = {
            let machine = self.context.machine();
            (machine.last_latency, machine.checks, machine.failures, machine.phase)
        };
        let latency = milliseconds(latency.unwrap_or_default());
        let will_sign_in = phase == SessionPhase::Reauthenticating && found.is_err();
        let fields = [
            ("latency_ms", json!(latency)),
            ("success", json!(found.is_ok())),
            ("attempts", json!(attempts)),
            ("cached", json!(false)),
            ("reauth_triggered", json!(will_sign_in)),
        ];
        self.context.log_event("health_check.executed", kind, &fields);
        match found {
            Ok(_) => {
                let uptime = self.context.clock.mono().saturating_sub(self.context.started.mono).as_secs();
                let mut fields = [
                    ("session_uptime_seconds", json!(uptime)),
                    ("session_valid", json!(true)),
                    ("health_check_count", json!(checks)),
                ];
                // A reader of the text log wants these first: how long the session is valid, or that an order may pass.
                if matches!(kind, SessionCheckKind::PreTrade | SessionCheckKind::Warm) {
                    fields.swap(0, 1);
                }
                self.context.log_event("health_check.passed", kind, &fields);
            }
            Err(error) => {
                let fields = [
                    ("error_type", json!(error.kind())),
                    ("error_code", json!(error.code().row().code)),
                    ("latency_ms", json!(latency)),
                    ("consecutive_failures", json!(failures)),
                ];
                self.context.log_event("health_check.failed", kind, &fields);
            }
        }
    }

    /// Compares the calendar with the broker's market clock; the market counts as closed when either says so.
    async fn compare_market_hours(&self) {
        let Ok(Some(open)) = self.context.broker.market_open().await else { return };
        let now = self.context.clock.now();
        let expected = self.context.settings.limits.calendar.phase_at(now.wall) == MarketPhase::Core;
        if open != expected {
            tracing::warn!(
                market.open = open,
                "the broker says market open: {open}; the calendar says {expected}"
            );
        }
        self.context.machine().broker_market_open = Some((now.mono, open));
    }
}

/// A random number between −0.1 and 0.1.
fn random_part() -> f64 {
    (random_share() - 0.5) * 0.2
}
