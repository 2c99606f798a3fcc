//! Going on after a restart: streaks, open alerts, silences, budgets, and the gap in which nobody watched.

use super::alerts::Alert;
use super::component::{AlertKind, Component};
use super::engine::{Engine, OutboxRow, Row};
use super::history::Left;
use super::recovery::{Budget, Recovery};
use super::silence::{Maintenance, Silence};
use super::slo::Span;
use super::spec::{MonitoringConfig, Spec};
use super::status::Now;

/// Longer than this between the last sign of life and now, and nobody knows what was.
const GAP: i64 = 5_000;

/// The engine as the last run left it, and the notices that are still to be delivered.
pub(super) fn engine(left: Left, receivers: Vec<String>, now: Now) -> (Engine, Vec<OutboxRow>) {
    let things = |kind: &'static str| {
        left.things
            .iter()
            .filter(move |(of, _, _)| of == kind)
            .map(|(_, id, body)| (id.as_str(), body.as_str()))
    };
    let config: Option<MonitoringConfig> =
        things("config").find_map(|(_, body)| serde_json::from_str(body).ok());
    let config = config.filter(|config: &MonitoringConfig| config.defects().is_empty()).unwrap_or_default();
    let mut engine = Engine::new(config, receivers);
    let mut seed = [0_u8; 8];
    // Without randomness the spread of waits is the same in every run; nothing else depends on it.
    let _ = getrandom::fill(&mut seed);
    engine.seed(u64::from_le_bytes(seed));
    let added = left.specs.iter().filter_map(|(_, spec)| serde_json::from_str::<Spec>(spec).ok());
    for spec in Spec::all_built_in().into_iter().chain(added) {
        engine.add(spec, now);
    }
    for (_, body) in things("silence") {
        if let Ok(silence) = serde_json::from_str::<Silence>(body) {
            engine.silences.insert(silence.id.clone(), silence);
        }
    }
    for (_, body) in things("maintenance") {
        if let Ok(window) = serde_json::from_str::<Maintenance>(body) {
            engine.maintenance.insert(window.id.clone(), window);
        }
    }
    for (_, body) in things("recovery_budget") {
        if let Some((offset, mut budget)) = stored::<Budget>(body, "budget") {
            budget.recent.iter_mut().for_each(|at| *at += offset - now.offset());
            engine.budget = Budget { is_busy: false, ..budget };
        }
    }
    let gap = left.alive.filter(|alive| now.wall - alive > GAP);
    engine.states = left.states.clone();
    for (id, component) in &mut engine.components {
        if let Some(state) = engine.states.remove(id) {
            component.resume(state, &engine.config, now);
        }
        component.spans.extend(left.spans.get(id).into_iter().flatten().copied());
        resume_recorded(component, now);
    }
    for (id, body) in things("recovery") {
        if let (Some(component), Some((offset, mut recovery))) =
            (engine.components.get_mut(id), stored::<Recovery>(body, "recovery"))
        {
            recovery.resume(offset - now.offset(), now.mono);
            component.recovery = recovery;
        }
    }
    engine.take_up_attempts();
    engine.whole_spans.extend(left.spans.get("system").into_iter().flatten().copied());
    note_gap(&mut engine, gap);
    take_alerts(&mut engine, &left, now);
    (engine, left.outbox)
}

fn stored<T: serde::de::DeserializeOwned>(body: &str, member: &str) -> Option<(i64, T)> {
    let mut body: serde_json::Value = serde_json::from_str(body).ok()?;
    let offset = body["offset"].as_i64()?;
    serde_json::from_value(body[member].take()).ok().map(|value| (offset, value))
}

fn resume_recorded(component: &mut Component, now: Now) {
    if let Some(last) = component.spans.back() {
        component.recorded = Some((last.level, last.in_maintenance));
        component.status_since = last.from;
        if last.level.is_some_and(super::status::Level::is_up) {
            component.up_since = Some(now.mono);
        }
    }
}

/// The time in which botops did not run is unknown time, for each component and for the whole.
fn note_gap(engine: &mut Engine, gap: Option<i64>) {
    let Some(alive) = gap else { return };
    let unknown = Span { from: alive, level: None, in_maintenance: false };
    let row = |component: &str| Row::Transition {
        component: component.to_owned(),
        at: alive,
        level: None,
        maintenance: false,
        reason: Some("botops did not run".to_owned()),
    };
    let mut rows = Vec::new();
    for (id, component) in &mut engine.components {
        if component.spans.back().is_some_and(|last| last.level.is_some()) {
            component.spans.push_back(unknown);
            component.recorded = Some((None, false));
            rows.push(row(id));
        }
    }
    if engine.whole_spans.back().is_some_and(|last| last.level.is_some()) {
        engine.whole_spans.push_back(unknown);
        rows.push(row("system"));
    }
    rows.into_iter().for_each(|row| engine.put(row));
}

fn take_alerts(engine: &mut Engine, left: &Left, now: Now) {
    for body in &left.alerts {
        let Ok(mut alert) = serde_json::from_str::<Alert>(body) else { continue };
        alert.resume(now);
        let kind = AlertKind::ALL
            .into_iter()
            .find(|kind| alert.labels.get("alertname").is_some_and(|name| name == kind.name()));
        let component = alert.labels.get("component").and_then(|id| engine.components.get_mut(id));
        match (kind, component) {
            (Some(kind), Some(component)) => {
                component.alerts.insert(kind, Some(alert));
            }
            // Its component may still be plugged in.
            _ => engine.orphans.push(alert),
        }
    }
    for body in left.resolved.iter().rev() {
        if let Ok(alert) = serde_json::from_str::<Alert>(body) {
            engine.resolved.push_back(alert);
        }
    }
    engine.whole_since = engine.whole_spans.back().map_or(now.wall, |last| last.from);
}
