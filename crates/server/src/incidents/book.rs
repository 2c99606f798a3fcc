//! The rules: what belongs to which incident, and when one is over.
//!
//! Pure: events and what is known now go in, incidents come out. The same events in the same order make the same
//! incidents, whenever they are read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::attempts::{RECOVERY, add_deed, awaits_run_of, push_newest};
use super::model::{
    Incident, IncidentCause, IncidentConfigChange, IncidentState, NowKnown, TimelineEntry, WhoMustAct,
};
use super::reading::{
    BOT, BREAKER, CONFIG, Deed, PRESENCE, ROOTS, Reading, SENTENCE, Sign, TOGETHER, WORKFLOW, error_code,
    read,
};
use super::who_must_act::say_who_must_act;
use crate::events::Event;
use botops_contract::{EventKind, Severity};
use botops_core::text::clean;

/// An incident is over when everything has worked for so long: a flap is one incident.
pub(super) const QUIET: TimeDelta = TimeDelta::seconds(120);

/// A bot that is gone belongs to an incident about the bot whose last sign is no older: a fault of yesterday that nobody
/// mended is another one.
const RELATED: TimeDelta = TimeDelta::minutes(10);

/// A config change so long before an incident is shown with it.
const CHANGE_BEFORE: TimeDelta = TimeDelta::minutes(10);

/// What the bot said so long before an incident belongs to it.
const WORDS_BEFORE: TimeDelta = TimeDelta::seconds(60);

/// That the bot is gone is expected for so long after an operator began a run: a restart takes less.
const EXPECTED: TimeDelta = TimeDelta::minutes(5);

/// A sign younger than this is not ended by what is known now, which may be older.
const SETTLES: TimeDelta = TimeDelta::seconds(5);

/// Causes and alerts of an incident at most.
const CAUSES: usize = 3;
const ALERTS: usize = 8;

/// Components of an incident at most.
const COMPONENTS: usize = 40;

/// Entries of a timeline: the first ones, and the newest ones.
const FIRST_ENTRIES: usize = 20;
const NEWEST_ENTRIES: usize = 60;

/// Runs of operators that are remembered at a time, and signs that are held back meanwhile.
const EXPECTED_RUNS: usize = 64;

/// Events before an incident that may belong to it.
const CONTEXT: usize = 24;

/// Components whose root is remembered.
const KNOWN_ROOTS: usize = 1_000;

/// What the rules remember beside the incidents.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct BookMemory {
    /// The component that each depends on in the end.
    roots: BTreeMap<String, String>,
    /// Runs that operators began, and when: that the bot is gone meanwhile is expected.
    expected_runs: BTreeMap<String, DateTime<Utc>>,
    /// An operator shut the bot down, and it was not there since.
    is_shut_down: bool,
    /// Signs that are no incident while they are expected.
    held: BTreeMap<String, Event>,
}

/// The incidents that are not over, and the rules.
#[derive(Debug, Default)]
pub(super) struct IncidentBook {
    /// Not over, in the order in which they began.
    open: Vec<Incident>,
    memory: BookMemory,
    /// What was told before, for the next incident.
    context: VecDeque<(Event, Reading)>,
    /// Incidents that changed since they were taken.
    changed: BTreeMap<String, Incident>,
}

impl IncidentBook {
    /// The book of an earlier run; `before` is what was told last, oldest first.
    pub(super) fn restored(
        open: Vec<Incident>,
        memory: BookMemory,
        before: impl IntoIterator<Item = Arc<Event>>,
    ) -> Self {
        let mut book = Self { open, memory, ..Self::default() };
        for event in before {
            let note = read(&event).filter(|reading| reading.sign == Sign::Note);
            if let Some(reading) = note.filter(|reading| book.find(&event, reading).is_none()) {
                book.remember(&event, reading);
            }
        }
        book
    }

    /// Keeps what belongs to no incident, for the next one.
    fn remember(&mut self, event: &Event, reading: Reading) {
        self.context.push_back((event.clone(), reading));
        if self.context.len() > CONTEXT {
            self.context.pop_front();
        }
    }

    pub(super) fn open(&self) -> &[Incident] {
        &self.open
    }

    pub(super) fn memory(&self) -> &BookMemory {
        &self.memory
    }

    /// The incidents that changed since this was asked last.
    pub(super) fn take_changed(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.changed).into_values().collect()
    }

    /// Takes the next event of the journal.
    pub(super) fn take(&mut self, event: &Event) {
        self.end_quiet(event.at);
        self.end_expectations(event.at);
        let Some(reading) = read(event) else { return };
        if let (Some(component), Some(root)) = (&reading.component, &reading.root)
            && component != root
            && self.memory.roots.len() < KNOWN_ROOTS
        {
            self.memory.roots.insert(component.clone(), root.clone());
        }
        if reading.expects_absence {
            match &reading.run {
                Some(run) if self.memory.expected_runs.len() < EXPECTED_RUNS => {
                    self.memory.expected_runs.insert(run.clone(), event.at);
                }
                Some(_) => {}
                None => self.memory.is_shut_down = true,
            }
        }
        match &reading.sign {
            Sign::Bad(component) if self.is_expected(component) => {
                self.memory.held.entry(component.clone()).or_insert_with(|| event.clone());
                return;
            }
            Sign::Good(component) => {
                self.memory.held.remove(component);
                self.memory.is_shut_down &= component != PRESENCE;
            }
            _ => {}
        }
        let ended = reading.run.clone().filter(|_| matches!(reading.deed, Some(Deed::Ends { .. })));
        self.fold(event, reading);
        if ended.is_some_and(|run| self.memory.expected_runs.remove(&run).is_some()) {
            self.release_held();
        }
    }

    /// Ends what is known to have ended, and says who must act.
    pub(super) fn tick(&mut self, now: DateTime<Utc>, known: &NowKnown) {
        self.end_expectations(now);
        let of_bot: Vec<bool> = self.open.iter().map(|incident| self.is_of(incident, BOT)).collect();
        for (incident, is_of_bot) in self.open.iter_mut().zip(of_bot) {
            let before = incident.clone();
            if is_of_bot {
                add_open_breaker(incident, known);
            }
            if !known.is_empty() && now - incident.last_sign_at > SETTLES {
                for (component, is_bad) in &mut incident.components {
                    *is_bad &= known.get(component).is_some_and(|part| !part.is_up);
                }
                settle(incident, now);
            }
            say_who_must_act(incident, known);
            if *incident != before {
                self.changed.insert(incident.incident_id.clone(), incident.clone());
            }
        }
        self.end_quiet(now);
    }

    fn is_expected(&self, component: &str) -> bool {
        let is_waited_for = self.memory.is_shut_down || !self.memory.expected_runs.is_empty();
        let is_told = self.open.iter().any(|incident| incident.components.contains_key(component));
        is_waited_for && self.family(component) == BOT && !is_told
    }

    /// Runs that take longer than a restart excuse nothing any more.
    fn end_expectations(&mut self, now: DateTime<Utc>) {
        let before = self.memory.expected_runs.len();
        self.memory.expected_runs.retain(|_, began| now - *began < EXPECTED);
        if self.memory.expected_runs.len() < before {
            self.release_held();
        }
    }

    /// What was held back is a sign after all, unless it is still expected.
    fn release_held(&mut self) {
        if self.memory.is_shut_down || !self.memory.expected_runs.is_empty() {
            return;
        }
        let mut held: Vec<Event> = std::mem::take(&mut self.memory.held).into_values().collect();
        held.sort_by_key(|event| event.seq);
        for event in held {
            if let Some(reading) = read(&event) {
                self.fold(&event, reading);
            }
        }
    }

    fn end_quiet(&mut self, now: DateTime<Utc>) {
        let is_over = |incident: &Incident| incident.ended_at.is_some_and(|ended| now - ended >= QUIET);
        for incident in self.open.iter_mut().filter(|incident| is_over(incident)) {
            incident.state = IncidentState::Over;
            self.changed.insert(incident.incident_id.clone(), incident.clone());
        }
        self.open.retain(|incident| incident.state != IncidentState::Over);
    }

    fn family<'a>(&'a self, component: &'a str) -> &'a str {
        let is_of_bot = ROOTS.contains(&component)
            || TOGETHER.contains(&component)
            || [CONFIG, WORKFLOW, BREAKER].contains(&component);
        if is_of_bot { BOT } else { self.memory.roots.get(component).map_or(component, String::as_str) }
    }

    fn fold(&mut self, event: &Event, reading: Reading) {
        let place = self.find(event, &reading);
        let index = match (place, &reading.sign) {
            (Some(index), _) => index,
            (None, Sign::Bad(_) | Sign::Moment(_)) => self.begin(event, &reading),
            (None, _) => return self.remember(event, reading),
        };
        let incident = &mut self.open[index];
        add(incident, event, &reading);
        self.changed.insert(incident.incident_id.clone(), incident.clone());
    }

    /// The incident that an event belongs to.
    fn find(&self, event: &Event, reading: &Reading) -> Option<usize> {
        let newest = |wanted: &dyn Fn(&Incident) -> bool| self.open.iter().rposition(wanted);
        if let Some(run) = &reading.run {
            let of_run =
                |incident: &Incident| incident.tried.iter().any(|one| one.run_id.as_ref() == Some(run));
            if let Some(index) = newest(&of_run) {
                return Some(index);
            }
        }
        if let Some(txn) = &reading.txn {
            let of_txn = |one: &Incident| one.config_change.as_ref().is_some_and(|change| change.txn == *txn);
            if let Some(index) = newest(&of_txn) {
                return Some(index);
            }
        }
        if let (Some(run), Some(Deed::Begins { by, what })) = (&reading.run, &reading.deed)
            && !run.is_empty()
            && let Some(index) = newest(&|incident| awaits_run_of(incident, by, what))
        {
            return Some(index);
        }
        let Some(component) = &reading.component else {
            return newest(&|incident| self.is_of(incident, BOT) && may_concern(incident, event, reading));
        };
        if let Some(index) = newest(&|incident| incident.components.contains_key(component)) {
            return Some(index);
        }
        let family = self.family(component);
        let in_family = |incident: &Incident| self.is_of(incident, family);
        if family != BOT {
            return newest(&|incident| in_family(incident) && incident.components.contains_key(family));
        }
        let is_related = |incident: &Incident| event.at - incident.last_sign_at <= RELATED;
        if ROOTS.contains(&component.as_str()) || [CONFIG, WORKFLOW].contains(&component.as_str()) {
            return newest(&|incident| in_family(incident) && is_related(incident));
        }
        let has = |incident: &Incident, names: &[&str]| {
            names.iter().any(|name| incident.components.contains_key(*name))
        };
        newest(&|incident| has(incident, &ROOTS))
            .or_else(|| {
                newest(&|incident| TOGETHER.contains(&component.as_str()) && has(incident, &TOGETHER))
            })
            // A trial that was taken back, and what fell ill by it.
            .or_else(|| newest(&|incident| has(incident, &[CONFIG]) && is_related(incident)))
    }

    fn is_of(&self, incident: &Incident, family: &str) -> bool {
        incident.components.keys().any(|component| self.family(component) == family)
    }

    /// Begins an incident with this event, and with what was told before and belongs to it.
    fn begin(&mut self, event: &Event, reading: &Reading) -> usize {
        let mut incident = Incident {
            incident_id: format!("inc-{}", event.seq),
            state: IncidentState::Open,
            severity: event.severity,
            title: clean(&event.message, SENTENCE),
            began_at: event.at,
            ended_at: None,
            last_sign_at: event.at,
            components: BTreeMap::new(),
            causes: Vec::new(),
            config_change: None,
            tried: Vec::new(),
            who_must_act: WhoMustAct::Nobody,
            person_must: None,
            left_behind: None,
            next_actions: Vec::new(),
            repeats: 0,
            alert_ids: Vec::new(),
            last_seq: event.seq,
            event_count: 0,
            timeline: Vec::new(),
        };
        let is_of_bot = reading.component.as_deref().is_none_or(|component| self.family(component) == BOT);
        let context = std::mem::take(&mut self.context);
        for (earlier, said) in context.iter().filter(|_| is_of_bot) {
            let age = event.at - earlier.at;
            let is_change = said.txn.is_some() && age <= CHANGE_BEFORE;
            let is_word = said.component.is_none() && said.txn.is_none() && age <= WORDS_BEFORE;
            let is_word = is_word && said.acts_on_bot;
            if (is_change || is_word) && earlier.seq < event.seq {
                add(&mut incident, earlier, said);
            }
        }
        self.open.push(incident);
        self.open.len() - 1
    }
}

/// Whether what is about the bot as a whole may be about this incident: what somebody does about it is begun while something
/// is wrong, and a config change that explains it is not made long after its last sign.
fn may_concern(incident: &Incident, event: &Event, reading: &Reading) -> bool {
    if let Some(Deed::Begins { by, .. }) = &reading.deed {
        return by.starts_with(RECOVERY) || (incident.is_open() && reading.acts_on_bot);
    }
    if reading.txn.is_some() {
        let is_recent = event.at - incident.last_sign_at <= RELATED;
        return incident.is_open() && is_recent && incident.config_change.is_none();
    }
    // How a run ended that was not begun about it, or what it told the bot to do, is told elsewhere.
    reading.run.is_none()
}

/// A breaker that opened with it keeps an incident of the bot open: nothing is over while the bot opens no position.
fn add_open_breaker(incident: &mut Incident, known: &NowKnown) {
    let Some(breaker) = known.get(BREAKER).filter(|breaker| !breaker.is_up) else { return };
    let first = incident.timeline.first().map_or(incident.began_at, |entry| entry.at.min(incident.began_at));
    let opened_with_it = breaker.since.is_some_and(|since| since >= first - WORDS_BEFORE);
    let is_bad = incident.components.get(BREAKER) == Some(&true);
    if opened_with_it && !is_bad && incident.components.len() < COMPONENTS {
        incident.components.insert(BREAKER.to_owned(), true);
        (incident.state, incident.ended_at) = (IncidentState::Open, None);
    }
}

/// Adds an event to an incident that it belongs to.
fn add(incident: &mut Incident, event: &Event, reading: &Reading) {
    incident.event_count += 1;
    incident.last_seq = incident.last_seq.max(event.seq);
    add_to_timeline(incident, event, reading);
    match &reading.sign {
        Sign::Bad(component) => {
            let was_bad = incident.components.get(component).copied();
            if incident.components.len() < COMPONENTS || was_bad.is_some() {
                incident.components.insert(component.clone(), true);
            }
            incident.repeats += u64::from(was_bad == Some(false));
            (incident.state, incident.ended_at) = (IncidentState::Open, None);
            add_sign(incident, event, component);
        }
        Sign::Good(component) => {
            if let Some(is_bad) = incident.components.get_mut(component) {
                *is_bad = false;
            }
            settle(incident, event.at);
        }
        Sign::Moment(component) => {
            incident.components.insert((*component).to_owned(), false);
            add_sign(incident, event, component);
            let needs_person = *component == WORKFLOW || event.data["state"] == "failed_attention";
            if needs_person {
                incident.left_behind = Some(clean(&event.message, SENTENCE));
            }
            incident.ended_at = incident.ended_at.map(|_| event.at);
            settle(incident, event.at);
        }
        Sign::Note => add_words(incident, event),
    }
    if let Some(alert) = &reading.alert
        && !incident.alert_ids.contains(alert)
    {
        push_newest(&mut incident.alert_ids, alert.clone(), ALERTS);
    }
    if let Some(txn) = &reading.txn {
        let said = |member: &str| event.data[member].as_str().map(str::to_owned);
        incident.config_change = Some(IncidentConfigChange {
            txn: txn.clone(),
            version: event.data["version"].as_u64(),
            at: event.at,
            actor: said("actor"),
            state: said("state").unwrap_or_default(),
        });
    }
    if let Some(deed) = &reading.deed {
        add_deed(incident, event, reading, deed);
    }
}

/// A sign: how bad it is, and a cause where there is room for one.
fn add_sign(incident: &mut Incident, event: &Event, component: &str) {
    incident.last_sign_at = event.at;
    incident.severity = incident.severity.max(event.severity);
    let is_told = incident.causes.iter().any(|cause| cause.component_id.as_deref() == Some(component));
    if !is_told {
        add_cause(incident, event, Some(component));
    }
}

/// What the bot said of a failure that matters is a cause, where there is room for one.
fn add_words(incident: &mut Incident, event: &Event) {
    let is_failure = event.kind == EventKind::Error && event.severity >= Severity::High;
    let same = |cause: &IncidentCause| cause.message == clean(&event.message, SENTENCE);
    if is_failure && event.at - incident.began_at <= WORDS_BEFORE && !incident.causes.iter().any(same) {
        add_cause(incident, event, None);
    }
}

fn add_cause(incident: &mut Incident, event: &Event, component: Option<&str>) {
    if incident.causes.len() >= CAUSES {
        return;
    }
    incident.causes.push(IncidentCause {
        at: event.at,
        seq: event.seq,
        component_id: component.map(str::to_owned),
        error_code: error_code(event),
        message: clean(&event.message, SENTENCE),
    });
    // Whether the bot is there at all explains the rest; then in the order of what happened.
    let is_root = |cause: &IncidentCause| cause.component_id.as_deref().is_some_and(|id| ROOTS.contains(&id));
    incident.causes.sort_by_key(|cause| (!is_root(cause), cause.seq));
    if let Some(first) = incident.causes.first() {
        incident.title.clone_from(&first.message);
    }
}

fn add_to_timeline(incident: &mut Incident, event: &Event, reading: &Reading) {
    let message = clean(&event.message, SENTENCE);
    let timeline = &mut incident.timeline;
    if let Some(last) = timeline.last_mut()
        && last.source == event.source
        && last.message == message
    {
        last.times = Some(last.times.unwrap_or(1) + 1);
        return;
    }
    if timeline.len() >= FIRST_ENTRIES + NEWEST_ENTRIES {
        timeline.remove(FIRST_ENTRIES);
    }
    timeline.push(TimelineEntry {
        seq: event.seq,
        at: event.at,
        kind: event.kind,
        source: event.source.clone(),
        message,
        error_code: error_code(event),
        run_id: reading.run.clone(),
        times: None,
    });
}

/// An incident is quiet as soon as nothing of it is wrong.
fn settle(incident: &mut Incident, now: DateTime<Utc>) {
    if incident.state == IncidentState::Open && incident.components.values().all(|is_bad| !is_bad) {
        (incident.state, incident.ended_at) = (IncidentState::Quiet, Some(now));
    }
}
