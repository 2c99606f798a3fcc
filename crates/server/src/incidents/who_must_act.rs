//! Who has to do something for an incident to end, and what.

use super::model::{Incident, NowKnown, WhoMustAct};
use super::reading::{BOT, PRESENCE, ROOTS, SENTENCE};
use botops_core::text::clean;

/// Who has to do something, by what recovery does about what is wrong.
pub(super) fn say_who_must_act(incident: &mut Incident, known: &NowKnown) {
    (incident.who_must_act, incident.person_must) = (WhoMustAct::Nobody, None);
    incident.next_actions.clear();
    if let Some(left) = &incident.left_behind {
        (incident.who_must_act, incident.person_must) = (WhoMustAct::Person, Some(left.clone()));
    }
    if !incident.is_open() || known.is_empty() {
        return;
    }
    let is_bad = |component: &str| incident.components.get(component) == Some(&true);
    let root_is_bad = ROOTS.iter().any(|root| is_bad(root));
    let bad = incident.components.iter().filter(|(_, is_bad)| **is_bad).map(|(component, _)| component);
    // What depends on a bot that is gone comes back with it.
    let leading = bad.filter(|component| !root_is_bad || ROOTS.contains(&component.as_str()));
    let mut acts = false;
    for component in leading {
        let asked = if component == PRESENCE { BOT } else { component };
        let Some(part) = known.get(asked) else { continue };
        let left = part.recovery.as_ref().and_then(|recovery| recovery.left_to_person.clone());
        let acts_now = part.recovery.as_ref().is_some_and(|recovery| recovery.may_act) && left.is_none();
        acts |= acts_now;
        if acts_now || incident.person_must.is_some() {
            continue;
        }
        let actions = part.recovery.as_ref().map(|recovery| recovery.next_actions.clone());
        let (must, actions) = match (left, &part.by_person) {
            (Some(left), _) => (left, actions.unwrap_or_default()),
            (None, Some(step)) => (clean(&step.must, SENTENCE), step.next_actions.clone()),
            (None, None) => (nothing_set(asked, part.reason.as_deref()), actions.unwrap_or_default()),
        };
        incident.person_must = Some(must);
        incident.next_actions = actions;
    }
    incident.who_must_act = match (&incident.person_must, acts) {
        (Some(_), _) => WhoMustAct::Person,
        (None, true) => WhoMustAct::Recovery,
        (None, false) => WhoMustAct::Nobody,
    };
}

fn nothing_set(component: &str, reason: Option<&str>) -> String {
    let why = reason.map(|reason| format!(": {}", reason.trim_end_matches('.'))).unwrap_or_default();
    clean(&format!("put {component} right by hand, since no recovery is set for it{why}"), SENTENCE)
}
