//! What was done about an incident: when a try begins, and how it ended.

use super::model::{Incident, IncidentAttempt};
use super::reading::{Deed, Reading, error_code};
use crate::events::Event;
use botops_contract::EventKind;

/// Attempts of an incident at most.
const ATTEMPTS: usize = 8;

/// Who does what recovery does.
pub(super) const RECOVERY: &str = "recovery";

/// Whether this incident waits for the run of an attempt that recovery told to begin.
pub(super) fn awaits_run_of(incident: &Incident, by: &str, what: &str) -> bool {
    let last = incident.tried.last();
    last.is_some_and(|last| {
        last.run_id.is_none() && last.outcome.is_none() && last.what == what && last.by == by
    })
}

/// Notes the begin or the end of a try.
pub(super) fn add_deed(incident: &mut Incident, event: &Event, reading: &Reading, deed: &Deed) {
    match deed {
        Deed::Begins { by, what } => {
            // Recovery says first that it begins, and its run then says the same.
            if awaits_run_of(incident, by, what) {
                if let Some(last) = incident.tried.last_mut() {
                    last.run_id.clone_from(&reading.run);
                }
                return;
            }
            let is_command = event.kind == EventKind::Control;
            let outcome = event.data["outcome"].as_str().filter(|_| is_command).map(str::to_owned);
            let attempt = IncidentAttempt {
                at: event.at,
                by: by.clone(),
                what: what.clone(),
                run_id: reading.run.clone(),
                outcome,
                error_code: event.data["error_code"].as_str().map(str::to_owned),
            };
            push_newest(&mut incident.tried, attempt, ATTEMPTS);
        }
        Deed::Ends { outcome } => {
            let is_meant = |one: &IncidentAttempt| match &reading.run {
                Some(run) => one.run_id.as_ref() == Some(run),
                None => one.by == RECOVERY,
            };
            let Some(attempt) = incident.tried.iter_mut().rev().find(|one| is_meant(one)) else { return };
            let says_more = attempt.outcome.is_none() || outcome.contains("help");
            if says_more {
                attempt.outcome = Some(outcome.clone());
            }
            attempt.error_code = attempt.error_code.take().or_else(|| error_code(event));
        }
    }
}

/// Adds one to a list that keeps the newest.
pub(super) fn push_newest<T>(list: &mut Vec<T>, one: T, most: usize) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(one);
}
