//! What one event says about an incident.

use serde_json::Value;

use botops_contract::{EventKind, Severity};

use crate::events::{Event, OWN_SOURCE};

/// Whether the bot answers, as a component of an incident.
pub(super) const PRESENCE: &str = "presence";

/// A config trial that was taken back, as a component of an incident.
pub(super) const CONFIG: &str = "config";

/// A workflow run that needs a person, as a component of an incident.
pub(super) const WORKFLOW: &str = "workflow";

/// The circuit breaker of the bot, as a component of an incident.
pub(super) const BREAKER: &str = "breaker";

/// The family of everything that is read from the bot.
pub(super) const BOT: &str = "bot";

/// Components that say whether the bot works at all.
pub(super) const ROOTS: [&str; 2] = [PRESENCE, BOT];

/// Components of a bot that fall ill together: its session, and what it may trade.
pub(super) const TOGETHER: [&str; 2] = ["broker_session", "trading"];

/// The longest sentence of an incident, in characters.
pub(super) const SENTENCE: usize = 240;

/// What an event says about an incident.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sign {
    /// A component does not work.
    Bad(String),
    /// A component works again.
    Good(String),
    /// Something went wrong that is over by itself.
    Moment(&'static str),
    /// Something that belongs to an incident that is open, and begins none.
    Note,
}

/// Something that is done about an incident.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Deed {
    /// It begins, by somebody.
    Begins { by: String, what: String },
    /// It ended so.
    Ends { outcome: String },
}

/// What an event says about an incident, and what it belongs to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) sign: Sign,
    /// The component it is about; `None` for what is about the bot as a whole.
    pub(super) component: Option<String>,
    /// The component that this one depends on in the end, where the event says so.
    pub(super) root: Option<String>,
    pub(super) deed: Option<Deed>,
    pub(super) run: Option<String>,
    pub(super) alert: Option<String>,
    pub(super) txn: Option<String>,
    /// An operator stopped the bot, or began a run: that the bot is gone meanwhile is no incident.
    pub(super) expects_absence: bool,
    /// What is done acts on the bot itself, so it may be about an incident of the bot. An export of logs does not.
    pub(super) acts_on_bot: bool,
}

impl Reading {
    fn new(sign: Sign) -> Self {
        let component = match &sign {
            Sign::Bad(component) | Sign::Good(component) => Some(component.clone()),
            Sign::Moment(component) => Some((*component).to_owned()),
            Sign::Note => None,
        };
        Self {
            sign,
            component,
            root: None,
            deed: None,
            run: None,
            alert: None,
            txn: None,
            expects_absence: false,
            acts_on_bot: true,
        }
    }
}

fn text(data: &Value, member: &str) -> Option<String> {
    data[member].as_str().map(str::to_owned)
}

/// What `event` says about an incident; `None` for what belongs to none, such as fills.
pub(super) fn read(event: &Event) -> Option<Reading> {
    let is_own = event.source == OWN_SOURCE;
    match event.kind {
        EventKind::Lifecycle if is_own => presence(event),
        EventKind::Health if is_own => health(event),
        EventKind::Workflow if is_own => workflow(event),
        EventKind::Config if is_own => config(event),
        EventKind::Control if is_own => control(event),
        EventKind::Lifecycle
        | EventKind::Session
        | EventKind::Breaker
        | EventKind::Config
        | EventKind::Error => (!is_own).then(|| Reading::new(Sign::Note)),
        _ => None,
    }
}

fn presence(event: &Event) -> Option<Reading> {
    let sign = match event.data["presence"].as_str()? {
        "hung" | "exited" | "unreachable" => Sign::Bad(PRESENCE.to_owned()),
        "connected" | "slow" => Sign::Good(PRESENCE.to_owned()),
        _ => Sign::Note,
    };
    Some(Reading::new(sign))
}

fn health(event: &Event) -> Option<Reading> {
    let data = &event.data;
    let kind = data["event_type"].as_str()?;
    let component = text(data, "component_id");
    let mut reading = match kind {
        "component.status_changed" => {
            let id = component.clone()?;
            Reading::new(match data["status"].as_str()? {
                "CRITICAL" | "DOWN" => Sign::Bad(id),
                "HEALTHY" | "WARNING" => Sign::Good(id),
                _ => Sign::Note,
            })
        }
        "checker.removed" => Reading::new(Sign::Good(component.clone()?)),
        "alert.firing" if event.severity >= Severity::High => Reading::new(Sign::Bad(component.clone()?)),
        "alert.firing" | "alert.rise" | "alert.resolved" | "alert.acknowledged" => Reading::new(Sign::Note),
        _ if kind.starts_with("recovery.") => {
            Reading { deed: recovery_deed(event), ..Reading::new(Sign::Note) }
        }
        _ => return None,
    };
    reading.root = text(data, "root_component");
    reading.alert = text(data, "alert_id");
    reading.component = reading.component.or(component);
    Some(reading)
}

fn recovery_deed(event: &Event) -> Option<Deed> {
    let data = &event.data;
    let ends = |outcome: &str| Some(Deed::Ends { outcome: outcome.to_owned() });
    match data["event_type"].as_str()? {
        "recovery.started" => {
            let handler = data["handler"].as_str().unwrap_or_default();
            let what = handler.strip_prefix("workflow:").unwrap_or(handler).to_owned();
            Some(Deed::Begins { by: "recovery".to_owned(), what })
        }
        "recovery.handler_ended" => ends(if data["ok"] == true { "done" } else { "failed" }),
        "recovery.succeeded" => ends("helped"),
        "recovery.failed" => ends("did not help"),
        "recovery.not_tried" => ends("could not begin"),
        _ => None,
    }
}

fn workflow(event: &Event) -> Option<Reading> {
    let data = &event.data;
    let run = text(data, "run_id")?;
    let by = text(data, "actor").unwrap_or_default();
    let (is_terminal, is_start) = (data["terminal"] == true, data["event"] == "started");
    if !is_terminal && !is_start {
        return None;
    }
    let state = text(data, "state").unwrap_or_default();
    let sign = if state == "needs_attention" { Sign::Moment(WORKFLOW) } else { Sign::Note };
    let deed = if is_terminal {
        Deed::Ends { outcome: state }
    } else {
        Deed::Begins { by: by.clone(), what: text(data, "workflow_id").unwrap_or_default() }
    };
    let expects_absence = is_start && !by.starts_with("recovery");
    // An event of an older version does not say it.
    let acts_on_bot = data["acts_on_bot"] != false;
    Some(Reading { deed: Some(deed), run: Some(run), expects_absence, acts_on_bot, ..Reading::new(sign) })
}

fn config(event: &Event) -> Option<Reading> {
    let data = &event.data;
    let Some(txn) = text(data, "txn") else { return Some(Reading::new(Sign::Note)) };
    let by_itself = matches!(data["by"].as_str(), Some("criteria" | "bot_crash" | "recovery" | "bot"));
    let sign = match data["state"].as_str() {
        Some("failed_attention") => Sign::Moment(CONFIG),
        Some("rolled_back") if by_itself => Sign::Moment(CONFIG),
        _ => Sign::Note,
    };
    Some(Reading { txn: Some(txn), ..Reading::new(sign) })
}

fn control(event: &Event) -> Option<Reading> {
    let data = &event.data;
    if data["dry_run"] == true || data["outcome"] == "replayed" {
        return None;
    }
    let verb = text(data, "verb")?;
    let expects_absence = verb == "shutdown" && data["outcome"] == "done";
    // The steps of a run are told with the run.
    let run = text(data, "run_id");
    let deed =
        run.is_none().then(|| Deed::Begins { by: text(data, "actor").unwrap_or_default(), what: verb });
    Some(Reading { deed, run, expects_absence, ..Reading::new(Sign::Note) })
}

/// The code of the failure that an event tells; `None` without one.
pub(super) fn error_code(event: &Event) -> Option<String> {
    event.error.as_ref().map(|error| error.error_code.clone()).filter(|code| !code.is_empty())
}
