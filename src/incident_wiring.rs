//! What joins incidents with the features that know more: health, the bot's presence, the overview.

use std::cmp::Reverse;
use std::time::Duration;

use crate::handles::FeatureHandles;
use botops_contract::BreakerState;
use botops_core::error::NextAction;
use botops_core::tasks::{OnFailure, Tasks};
use botops_server::bots::BotSnapshot;
use botops_server::health::{HealthPart, HealthStatus};
use botops_server::incidents::{Incident, NowKnown, PartNow, PersonStep, RecoveryNow};
use botops_server::overview::{BeyondLimit, IncidentBrief, NotGreen, PersonRemedy};

/// How often what health knows is passed on.
const EVERY: Duration = Duration::from_secs(1);

/// Passes to the incidents what works now, and to the overview which incidents there are.
pub(crate) fn spawn_incident_publishing(handles: &FeatureHandles, tasks: &Tasks) {
    let handles = handles.clone();
    let mut shown = handles.incidents.watch_recent();
    let stopping = tasks.stopping();
    tasks.spawn("incidents-in-overview", OnFailure::Log, async move {
        loop {
            handles.incidents.tell_known(known_now(&handles));
            let mut incidents = shown.borrow_and_update().as_ref().clone();
            // What is about the bot itself comes first, then the worst, then the newest.
            incidents.sort_by_key(|one| (!one.is_open(), !one.is_of_bot(), Reverse(one.severity)));
            handles.overview.update_extras(|extras| {
                extras.incidents = incidents.iter().map(brief).collect();
                extras.incident_actions = actions(&incidents);
            });
            tokio::select! {
                () = stopping.cancelled() => return,
                changed = shown.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    });
}

/// What works now, by component; empty until health has looked at everything once.
fn known_now(handles: &FeatureHandles) -> NowKnown {
    let health = handles.health.overall();
    if health.parts.iter().any(|part| part.component_id == "bot" && part.status == HealthStatus::Unknown) {
        return NowKnown::new();
    }
    let mut known: NowKnown =
        health.parts.iter().map(|part| (part.component_id.clone(), part_now(part))).collect();
    let seen = handles.bots.snapshot();
    let presence = seen.presence;
    known.insert(
        "presence".to_owned(),
        PartNow { is_up: presence.answers(), reason: None, since: None, recovery: None, by_person: None },
    );
    let of_session = PersonRemedy::of_session(&seen).map(person_step);
    if let Some(session) = known.get_mut("broker_session").filter(|session| session.by_person.is_none()) {
        session.by_person = of_session;
    }
    known.extend(breaker_now(&seen).map(|breaker| ("breaker".to_owned(), breaker)));
    known
}

/// Whether the bot's breaker is closed; one that an operator opened is as it should be. `None` where the bot reports none.
fn breaker_now(seen: &BotSnapshot) -> Option<PartNow> {
    let breaker = seen.report.as_deref()?.circuit_breaker.as_ref()?;
    let is_wanted = breaker.source.as_deref() == Some("operator");
    Some(PartNow {
        is_up: breaker.state != BreakerState::Open || is_wanted,
        reason: breaker.reason.clone(),
        since: breaker.since,
        recovery: None,
        by_person: PersonRemedy::of_breaker(seen).map(person_step),
    })
}

fn person_step(remedy: PersonRemedy) -> PersonStep {
    PersonStep { must: remedy.must, next_actions: remedy.next_actions }
}

fn part_now(part: &HealthPart) -> PartNow {
    let recovery = part.recovery_handler.as_ref().map(|_| RecoveryNow {
        may_act: !matches!(part.recovery_state.as_str(), "held" | "exhausted"),
        left_to_person: part.left_to_person.clone(),
        next_actions: part.next_actions.clone(),
    });
    PartNow {
        is_up: matches!(part.status, HealthStatus::Healthy | HealthStatus::Warning),
        reason: part.reason.clone(),
        since: Some(part.since),
        recovery,
        by_person: None,
    }
}

/// An incident as the summary shows it.
fn brief(incident: &Incident) -> IncidentBrief {
    let last = incident.tried.last();
    let tried = last.map(|last| {
        let ended = last.outcome.as_deref().unwrap_or("under way");
        let code = last.error_code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
        let times = incident.tried.len();
        let times = if times > 1 { format!(", the last of {times} attempts") } else { String::new() };
        format!("{} by {}: {ended}{code}{times}", last.what, last.by)
    });
    IncidentBrief {
        incident_id: incident.incident_id.clone(),
        state: incident.state.as_str(),
        began_at: incident.began_at,
        ended_at: incident.ended_at,
        cause: incident.title.clone(),
        tried,
        who_must_act: incident.who_must_act.as_str(),
        person_must: incident.person_must.clone(),
    }
}

/// The calls that may end the newest incident that goes on, and the one that says what happened in it.
fn actions(incidents: &[Incident]) -> Vec<NextAction> {
    let Some(newest) = incidents.iter().find(|incident| incident.is_open()) else { return Vec::new() };
    let mut actions = newest.next_actions.clone();
    actions.push(NextAction {
        operation: "get_incident".to_owned(),
        method: "GET".to_owned(),
        path: format!("/api/v1/incidents/{}", newest.incident_id),
        body: None,
        scope: Some("read".to_owned()),
    });
    actions
}

/// The components that are known not to be HEALTHY, worst first; those that others depend on come first in `caused_by` order.
pub(crate) fn not_green(parts: &[HealthPart], caused_by: &[String]) -> Vec<NotGreen> {
    let is_known_bad =
        |part: &&HealthPart| !matches!(part.status, HealthStatus::Healthy | HealthStatus::Unknown);
    let mut bad: Vec<&HealthPart> =
        parts.iter().filter(|part| is_known_bad(part) && !part.suspended).collect();
    let rank = |part: &HealthPart| match part.status {
        HealthStatus::Down => 0,
        HealthStatus::Critical => 1,
        HealthStatus::Warning => 2,
        HealthStatus::Unknown => 3,
        HealthStatus::Healthy => 4,
    };
    let place =
        |part: &HealthPart| caused_by.iter().position(|id| *id == part.component_id).unwrap_or(usize::MAX);
    bad.sort_by_key(|part| (rank(part), place(part), part.component_id.clone()));
    bad.into_iter().map(shown).collect()
}

fn shown(part: &HealthPart) -> NotGreen {
    NotGreen {
        component_id: part.component_id.clone(),
        status: part.status.as_str().to_owned(),
        since: part.since,
        reason: part.reason.clone(),
        beyond_limit: part.beyond_limit.clone().map(|(metric, value, limit, unit)| BeyondLimit {
            metric,
            value,
            limit,
            unit,
        }),
        alert_id: part.alert_id.clone(),
        recovery: Some(part.recovery_state.clone()).filter(|state| !state.is_empty() && state != "idle"),
    }
}
