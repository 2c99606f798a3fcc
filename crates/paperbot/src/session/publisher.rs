//! Publishes changes of the session: to the health log, and as notes for the bot's journal.
//!
//! The reported state before and after a change is compared, so that no way of changing it is forgotten. Texts are the
//! catalogue's and fixed ones, never a broker's.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::breaker::BreakerTrip;
use super::health_log::HealthLog;
use super::machine::{SessionMachine, SessionOutlook, SessionReason, session_outlook};
use super::model::{NoteSink, SessionNote};
use crate::clock::Now;
use botops_contract::{BreakerState, EventKind, SemanticError, SessionPhase, Severity};
use botops_core::error::Code;

/// The receivers of the session's changes.
pub(super) struct SessionPublisher {
    pub(super) log: HealthLog,
    pub(super) sink: NoteSink,
    pub(super) broker: &'static str,
}

impl SessionPublisher {
    /// Publishes the differences between two states.
    pub(super) fn publish_change(&self, now: Now, before: &ReportedState, after: &ReportedState) {
        if before.breaker != after.breaker {
            self.publish_breaker(now, after);
        }
        let same = before.phase == after.phase
            && before.reason == after.reason
            && before.restricted == after.restricted
            && before.needs == after.needs;
        if same {
            return;
        }
        let fields = [
            ("state", json!(after.phase)),
            ("was", json!(before.phase)),
            ("error_code", json!(after.reason.as_ref().map(|reason| &reason.code))),
            ("needs_human", json!(after.needs)),
            ("consecutive_failures", json!(after.failures)),
        ];
        self.log.event(now.wall, "session.state_changed", after.generation, "", &fields);
        let error = after.reason.as_ref().and_then(|reason| {
            catalogue_error(
                now.wall,
                reason,
                &json!({
                    "broker": self.broker, "state": after.phase, "needs_human": after.needs,
                }),
            )
        });
        // Another text for the same failure is published, but does not count as a second failure.
        let same_trouble = before.phase == after.phase
            && before.needs == after.needs
            && before.reason.as_ref().map(|reason| &reason.code)
                == after.reason.as_ref().map(|reason| &reason.code);
        let error = error.filter(|_| !same_trouble);
        let restricted = after.restricted.filter(|_| before.restricted != after.restricted);
        let restricted = restricted.map(|text| SessionReason::new(Code::BrokerAccountRestricted, text));
        let error = error.or_else(|| catalogue_error(now.wall, restricted.as_ref()?, &json!({})));
        let word = phase_word(after.phase);
        let message = match (&after.reason, after.restricted) {
            (Some(reason), _) => format!("broker session {word}: {}", reason.text),
            (None, Some(text)) => format!("broker session {word}: {text}"),
            (None, None) => format!("broker session {word}"),
        };
        let severity = error.as_ref().map_or(Severity::Low, |error| error.severity);
        let data = json!({
            "state": after.phase, "was": before.phase, "needs_human": after.needs,
            "generation": after.generation,
        });
        (self.sink)(SessionNote { kind: EventKind::Session, severity, message, error, data, at: now.wall });
    }

    fn publish_breaker(&self, now: Now, after: &ReportedState) {
        let trip = after.trip.as_ref();
        let (event, severity, message) = match after.breaker {
            BreakerState::Open => {
                let text = trip.map_or("", |trip| trip.reason.as_str());
                ("circuit_breaker.opened", Severity::Critical, format!("circuit breaker opened: {text}"))
            }
            BreakerState::HalfOpen => (
                "circuit_breaker.reset",
                Severity::Medium,
                "circuit breaker lets one check decide".to_owned(),
            ),
            // It has no other state.
            BreakerState::Closed | BreakerState::Other => {
                ("circuit_breaker.closed", Severity::Low, "circuit breaker closed".to_owned())
            }
        };
        let fields = [
            ("reason", json!(trip.map(|trip| &trip.reason))),
            ("failure_count", json!(trip.map_or(0, |trip| trip.failures))),
            ("error_code", json!(trip.map(|trip| &trip.code))),
        ];
        self.log.event(now.wall, event, after.generation, "", &fields);
        let error = trip.filter(|_| after.breaker == BreakerState::Open).and_then(|trip| {
            let reason = SessionReason::new(Code::BrokerBreakerOpen, &trip.reason);
            catalogue_error(now.wall, &reason, &json!({"source": trip.source, "because": trip.code}))
        });
        let data = json!({
            "state": after.breaker, "source": trip.map(|trip| &trip.source), "because": trip.map(|trip| &trip.code),
        });
        (self.sink)(SessionNote { kind: EventKind::Breaker, severity, message, error, data, at: now.wall });
    }

    /// Publishes a warning that changes no state.
    pub(super) fn publish_warning(&self, at: DateTime<Utc>, code: Code, text: &str, facts: Value) {
        let error = catalogue_error(at, &SessionReason::new(code, text), &facts);
        let (kind, message) = (EventKind::Error, text.to_owned());
        (self.sink)(SessionNote { kind, severity: Severity::Medium, message, error, data: facts, at });
    }
}

/// The parts of the machine's state whose changes are published.
pub(super) struct ReportedState {
    phase: SessionPhase,
    reason: Option<SessionReason>,
    restricted: Option<&'static str>,
    needs: Option<String>,
    breaker: BreakerState,
    trip: Option<BreakerTrip>,
    generation: u64,
    failures: u32,
}

impl ReportedState {
    pub(super) fn of(machine: &SessionMachine, now: Now) -> Self {
        Self {
            phase: machine.phase,
            reason: machine.reason.clone(),
            restricted: machine.restricted,
            needs: SessionOutlook::members(session_outlook(machine, now)).1,
            breaker: machine.breaker.state(),
            trip: machine.breaker.open_trip().cloned(),
            generation: machine.generation,
            failures: machine.failures,
        }
    }
}

/// The failure with the catalogue's texts; `None` when the reason has no code of the catalogue.
fn catalogue_error(at: DateTime<Utc>, reason: &SessionReason, context: &Value) -> Option<SemanticError> {
    let code = Code::named(&reason.code)?;
    let row = code.row();
    Some(SemanticError {
        error_code: row.code.to_owned(),
        error_type: serde_json::to_value(row.kind).ok()?.as_str()?.to_owned(),
        severity: row.severity,
        severity_raw: None,
        message: reason.text.clone(),
        cause: row.cause.to_owned(),
        impact: row.impact.to_owned(),
        remediation: row.remediation.to_owned(),
        context: context.clone(),
        timestamp: Some(at),
    })
}

fn phase_word(phase: SessionPhase) -> &'static str {
    match phase {
        SessionPhase::Starting => "starting",
        SessionPhase::Healthy => "healthy",
        SessionPhase::Degraded => "degraded",
        SessionPhase::Reauthenticating => "reauthenticating",
        SessionPhase::HaltedTransient => "halted after failures",
        SessionPhase::HaltedCredential => "halted: a human is needed",
        SessionPhase::HaltedOperator => "halted by an operator",
        SessionPhase::Unknown => "unknown",
    }
}
