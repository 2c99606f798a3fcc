//! Every intent on one page: which concepts ask for it, which values it takes, and the call it is.
//!
//! A rule holds when each of its groups has a word of its own. Reads become one call; a change becomes its dry run
//! (or, where a change has none, the read that shows what it would touch) beside the call that would do it.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use serde_json::{Map, Value, json};

use super::grammar::Heard;
use super::slots::{Period, Slot, World};
use super::vocabulary::Concept as C;

/// A call of the API.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: Option<Value>,
    /// Whether it needs the config's validator.
    pub if_match: bool,
}

/// What an intent comes to for one text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plan {
    /// A read: performed at once.
    Read(Request),
    /// A change: `preview` is harmless, `real` is shown and never performed.
    Change { preview: Request, real: Request },
    /// Something is missing or several things fit: one intent and text each.
    Choose(Vec<(&'static str, &'static str, Plan)>),
    /// It makes sense and cannot be done now.
    Impossible(&'static str),
}

/// One intent.
pub(super) struct Rule {
    pub intent: &'static str,
    /// What it does, for options and help.
    pub title: &'static str,
    pub needs: &'static [&'static [C]],
    /// Concepts that fit in as well.
    pub also: &'static [C],
    /// Concepts that rule it out.
    pub never: &'static [C],
    pub slots: &'static [Slot],
    /// What concepts cannot say.
    pub when: fn(&Heard) -> bool,
    pub build: fn(&Heard, &World) -> Plan,
}

/// The short form of a rule.
macro_rules! rule {
    ($intent:literal, $title:literal, [$($needs:expr),* $(,)?], also: $also:expr, never: $never:expr, slots: $slots:expr,
     when: $when:expr, $build:expr) => {
        Rule { intent: $intent, title: $title, needs: &[$(&$needs),*], also: &$also, never: &$never, slots: &$slots,
               when: $when, build: $build }
    };
}

fn always(_: &Heard) -> bool {
    true
}

fn get(path: impl Into<String>) -> Plan {
    Plan::Read(request("GET", path, None))
}

fn request(method: &'static str, path: impl Into<String>, body: Option<Value>) -> Request {
    Request { method, path: path.into(), body, if_match: false }
}

fn state(fields: &str) -> Plan {
    get(format!("/api/v1/state?fields={fields}"))
}

fn reason(heard: &Heard) -> String {
    format!("asked: {}", botops_core::text::clean(heard.text.trim(), 160))
}

fn control(verb: &str, heard: &Heard, symbols: &[String]) -> Plan {
    let mut body = Map::from_iter([("reason".to_owned(), json!(reason(heard)))]);
    if !symbols.is_empty() {
        body.insert("symbols".to_owned(), json!(symbols));
    }
    let call = |suffix: &str| {
        request("POST", format!("/api/v1/control/{verb}{suffix}"), Some(Value::Object(body.clone())))
    };
    Plan::Change { preview: call("?dry_run=true"), real: call("") }
}

fn config_change(path: &str, body: &Value) -> Plan {
    let call = |suffix: &str| Request {
        if_match: true,
        ..request("PUT", format!("{path}{suffix}"), Some(body.clone()))
    };
    Plan::Change { preview: call("?dry_run=true"), real: call("") }
}

fn performance(heard: &Heard) -> Plan {
    let mut query = match heard.slots.period {
        Some(Period { from, to, .. }) => vec![format!("from={from}"), format!("to={to}")],
        None => Vec::new(),
    };
    let by_symbol = heard.has(C::PerSymbol)
        || heard.has(C::Best)
        || heard.has(C::Worst)
        || !heard.slots.symbols.is_empty();
    if let Some(symbol) = heard.slots.symbols.first() {
        query.push(format!("symbol={symbol}"));
    }
    if by_symbol && heard.slots.symbols.is_empty() {
        query.push("by=symbol".to_owned());
    }
    let mark = if query.is_empty() { "" } else { "?" };
    get(format!("/api/v1/performance{mark}{}", query.join("&")))
}

fn events(kind: Option<&str>) -> Plan {
    let kind = kind.map(|kind| format!("?kind={kind}")).unwrap_or_default();
    get(format!("/api/v1/events{kind}"))
}

fn merge_patch(heard: &Heard, key: &str) -> Value {
    let value = heard.slots.value.clone().unwrap_or(Value::Null);
    key.split('.').rev().fold(value, |inner, part| json!({part: inner}))
}

fn set_config(heard: &Heard, _: &World) -> Plan {
    let change = |key: &String| {
        config_change(
            "/api/v1/config/apply",
            &json!({"merge_patch": merge_patch(heard, key), "reason": reason(heard)}),
        )
    };
    match (heard.slots.keys.as_slice(), &heard.slots.value) {
        ([key], Some(_)) => change(key),
        ([], _) | (_, None) => Plan::Choose(vec![
            (
                "config_schema",
                "name a key and a value, as in `set max_position_pct to 4`; this lists the keys",
                get("/api/v1/config/schema"),
            ),
            ("config_read", "see the current values first", get("/api/v1/config")),
        ]),
        (keys, Some(_)) => Plan::Choose(
            keys.iter().map(|key| ("config_set", "this key fits; several do", change(key))).collect(),
        ),
    }
}

fn validate_config(heard: &Heard, world: &World) -> Plan {
    let body = match (heard.slots.keys.first(), &heard.slots.value) {
        (Some(key), Some(_)) => json!({"merge_patch": merge_patch(heard, key)}),
        _ => {
            let mut document = json!({});
            for (path, value) in &world.config {
                put(&mut document, path, value.clone());
            }
            json!({"config": document})
        }
    };
    Plan::Read(request("POST", "/api/v1/config/validate", Some(body)))
}

fn put(document: &mut Value, path: &str, value: Value) {
    let mut place = document;
    for part in path.split('.') {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[part];
    }
    *place = value;
}

fn diff_config(heard: &Heard, _: &World) -> Plan {
    let (from, to) = match heard.slots.versions.as_slice() {
        [from, to, ..] => (from.as_str(), to.as_str()),
        [one] => (one.as_str(), "committed"),
        [] => ("previous", "committed"),
    };
    get(format!("/api/v1/config/diff?from={from}&to={to}"))
}

fn settle_trial(verb: &'static str, world: &World) -> Plan {
    let Some(txn) = &world.trial else {
        return Plan::Impossible(
            "No config change is on trial right now. Ask `show the config history` to see the last ones.",
        );
    };
    Plan::Change {
        preview: request("GET", format!("/api/v1/config/txns/{txn}"), None),
        real: request("POST", format!("/api/v1/config/txns/{txn}/{verb}"), None),
    }
}

fn run_workflow(heard: &Heard, world: &World) -> Plan {
    match &heard.slots.workflow {
        Some(id) => execute(id, heard, world),
        None => Plan::Choose(vec![
            ("workflow_run", "restart the bot and check it", execute("restart-bot", heard, world)),
            ("workflow_run", "find out whether everything works", execute("check-health", heard, world)),
            ("workflow_run", "bundle the logs", execute("export-logs", heard, world)),
            ("workflows_list", "see every workflow first", get("/api/v1/workflows")),
        ]),
    }
}

fn execute(id: &str, heard: &Heard, world: &World) -> Plan {
    let mut params = Map::new();
    let takes = |name: &str| {
        world.parameters.iter().any(|(known, names)| known == id && names.iter().any(|known| known == name))
    };
    // What the text itself says; anything else a workflow wants is named by the dry run.
    if takes("reason") {
        params.insert("reason".to_owned(), json!(reason(heard)));
    }
    if takes("from") && takes("to") {
        let (from, to) = range(heard, world);
        params.insert("from".to_owned(), json!(from));
        params.insert("to".to_owned(), json!(to));
    }
    let body = json!({"params": params});
    let call =
        |suffix: &str| request("POST", format!("/api/v1/workflows/{id}/execute{suffix}"), Some(body.clone()));
    Plan::Change { preview: call("?dry_run=true"), real: call("") }
}

/// The period of the text as instants; the day up to now when it names none.
fn range(heard: &Heard, world: &World) -> (DateTime<Utc>, DateTime<Utc>) {
    let midnight = |day: NaiveDate| day.and_hms_opt(0, 0, 0).map(|time| time.and_utc());
    match heard.slots.period {
        Some(Period { hours: Some(hours), .. }) => (world.now - Duration::hours(i64::from(hours)), world.now),
        Some(Period { from, to, .. }) => {
            let end = to.succ_opt().and_then(midnight).unwrap_or(world.now);
            (midnight(from).unwrap_or(world.now), end.min(world.now))
        }
        None => (world.now - Duration::hours(24), world.now),
    }
}

fn workflow_status(heard: &Heard, world: &World) -> Plan {
    if let Some(run) = &heard.slots.id {
        return get(format!("/api/v1/workflows/runs/{run}"));
    }
    let spoken_of = [(C::Restart, "restart-bot"), (C::Export, "export-logs")]
        .into_iter()
        .find(|(concept, id)| heard.has(*concept) && world.workflows.iter().any(|known| known == id));
    if let Some(id) = heard.slots.workflow.as_deref().or(spoken_of.map(|(_, id)| id)) {
        return get(format!("/api/v1/workflows/{id}/status"));
    }
    match &world.running {
        Some(run) => get(format!("/api/v1/workflows/runs/{run}")),
        None => get("/api/v1/workflows"),
    }
}

fn cancel_workflow(heard: &Heard, world: &World) -> Plan {
    let Some(run) = heard.slots.id.as_ref().or(world.running.as_ref()) else {
        return Plan::Impossible(
            "No workflow runs right now. `show the workflows` lists them with their last runs.",
        );
    };
    Plan::Change {
        preview: request("GET", format!("/api/v1/workflows/runs/{run}"), None),
        real: request("POST", format!("/api/v1/workflows/runs/{run}/cancel"), None),
    }
}

/// How long alerts keep quiet when the text does not say.
const SILENCE: u64 = 3_600;

/// Longest silence the health monitoring takes.
const SILENCE_MAX: u64 = 30 * 86_400;

fn silence(heard: &Heard, world: &World) -> Plan {
    let seconds = heard.slots.seconds.unwrap_or(SILENCE).min(SILENCE_MAX);
    let ends_at = world.now + Duration::seconds(i64::try_from(seconds).unwrap_or(3_600));
    // Without a component every alert is meant: each has one.
    let matcher = match &heard.slots.component {
        Some(component) => json!({"name": "component", "value": component}),
        None => json!({"name": "component", "op": "!=", "value": ""}),
    };
    let body = json!({"matchers": [matcher], "comment": reason(heard), "ends_at": ends_at});
    Plan::Change {
        preview: request("GET", "/api/v1/health/alerts", None),
        real: request("POST", "/api/v1/health/silences", Some(body)),
    }
}

fn acknowledge(heard: &Heard, world: &World) -> Plan {
    match &heard.slots.id {
        Some(id) => Plan::Change {
            preview: request("GET", "/api/v1/health/alerts", None),
            real: request(
                "POST",
                format!("/api/v1/health/alerts/{id}/ack"),
                Some(json!({"note": reason(heard)})),
            ),
        },
        None => Plan::Choose(vec![
            (
                "alerts",
                "see the alerts and their ids first, then `acknowledge alert <id>`",
                get("/api/v1/health/alerts"),
            ),
            ("silence", "silence all alerts for an hour instead", silence(heard, world)),
        ]),
    }
}

fn stop_what(heard: &Heard, _: &World) -> Plan {
    Plan::Choose(vec![
        ("pause", "open no new positions; exits go on", control("pause", heard, &[])),
        ("flatten", "close every position at the market and open none", control("flatten", heard, &[])),
        ("shutdown", "end the bot's process; positions and orders stay", control("shutdown", heard, &[])),
    ])
}

fn cancel_what(heard: &Heard, world: &World) -> Plan {
    let mut options = vec![("cancel_orders", "cancel the open orders", control("cancel-orders", heard, &[]))];
    if world.trial.is_some() {
        options.push(("config_cancel", "end the config trial and go back", settle_trial("cancel", world)));
    }
    if world.running.is_some() {
        options.push(("workflow_cancel", "cancel the workflow that runs", cancel_workflow(heard, world)));
    }
    options.push(("pause", "open no new positions", control("pause", heard, &[])));
    Plan::Choose(options)
}

fn component_health(heard: &Heard, _: &World) -> Plan {
    match &heard.slots.component {
        Some(id) if heard.has(C::Metric) => get(format!("/api/v1/health/components/{id}/metrics")),
        Some(id) => get(format!("/api/v1/health/components/{id}")),
        None if heard.has(C::Component) => get("/api/v1/health/components"),
        None => get("/api/v1/health/status"),
    }
}

/// Whether the text speaks of "today" and not of what is over.
fn is_about_now(heard: &Heard) -> bool {
    let today =
        heard.slots.period.is_none_or(|period| period.from == heard.today && period.to == heard.today);
    today && !heard.words.iter().any(|word| word.lower == "did" || word.lower.contains("did "))
}

fn is_about_past(heard: &Heard) -> bool {
    heard.slots.period.is_some() && !is_about_now(heard)
}

fn is_question(heard: &Heard) -> bool {
    heard.is_question
}

fn is_order(heard: &Heard) -> bool {
    !heard.is_question
}

/// "Why was TSLA sold": about one deal that was done, not about deals that are not.
fn asks_about_a_deal(heard: &Heard) -> bool {
    !heard.slots.symbols.is_empty()
        && !heard.has(C::Not)
        && heard.words.iter().any(|word| matches!(word.lower.as_str(), "sold" | "bought" | "buy" | "sell"))
        && heard.has(C::Past)
        && heard.is_question
}

/// "How is trading today": wants to know how it went.
fn asks_how(heard: &Heard) -> bool {
    heard.is_question
        && heard.words.first().is_some_and(|word| matches!(word.lower.as_str(), "how" | "how is"))
}

fn asks_since_when(heard: &Heard) -> bool {
    heard.words.iter().any(|word| word.lower == "uptime")
}

/// About the bot as a whole, as it is now.
fn asks_about_it_all(heard: &Heard) -> bool {
    let why_no_trade = heard.has(C::Trade) && heard.has(C::Why);
    is_about_now(heard) && !why_no_trade && !asks_since_when(heard) && !is_about_a_part(heard)
}

/// About a component other than the bot itself.
fn is_about_a_part(heard: &Heard) -> bool {
    heard.slots.component.as_deref().is_some_and(|id| !matches!(id, "bot" | "api_server"))
}

/// Whether a word says that something is in the way, not just "why".
fn hinders(heard: &Heard) -> bool {
    const PLAIN: &[&str] = &["why", "how come", "reason", "cause", "because", "what for"];
    heard.words.iter().any(|word| word.is(C::Why) && !PLAIN.contains(&word.lower.as_str()))
}

fn has_key(heard: &Heard) -> bool {
    !heard.slots.keys.is_empty()
}

fn has_component(heard: &Heard) -> bool {
    heard.slots.component.is_some()
}

fn has_workflow(heard: &Heard) -> bool {
    heard.slots.workflow.is_some()
}

/// "export the logs" is its workflow; "check health" is a look unless the workflow is meant by its id.
fn names_workflow(heard: &Heard) -> bool {
    let is_check = heard.slots.workflow.as_deref() == Some("check-health");
    heard.slots.workflow.is_some() && (!is_check || heard.slots.workflow_is_exact) && !heard.is_question
}

/// Every rule. Order decides only between equal scores.
pub(super) const RULES: &[Rule] = &[
    rule!("summary", "how the bot is doing, most important first", [[C::Summary, C::Doing, C::Okay, C::Alive]],
        also: [C::Alive, C::Okay, C::Doing, C::Not, C::Summary, C::Trade, C::Why], never: [C::Workflow, C::Execution, C::Entry], slots: [Slot::Period, Slot::Component],
        when: asks_about_it_all, |_, _| get("/api/v1/summary")),
    rule!("why_no_trade", "why the bot opens no positions, and whether it trades", [[C::Trade, C::Entry], [C::Why, C::Not, C::Stop, C::Alive, C::Pause]],
        also: [C::Stop, C::Pause, C::Not, C::Alive, C::Doing, C::Position, C::Why, C::Okay, C::Explain, C::Past, C::Fill, C::Trade, C::Entry, C::Order, C::Flatten, C::Schema, C::Performance], never: [C::Resume],
        slots: [Slot::Period, Slot::Symbol], when: |heard| (is_question(heard) || heard.has(C::Why)) && (heard.has(C::Not) || !heard.has(C::Performance)) && !asks_about_a_deal(heard),
        |_, _| state("no_entry_reasons,phase,phase_reason,trading_enabled,circuit_breaker,session,market_status,bot,health")),
    rule!("why_no_trade", "why the bot opens no positions, and whether it trades", [[C::Why, C::Not, C::Past], [C::Stop, C::Pause, C::Entry]],
        also: [C::Stop, C::Pause, C::Not, C::Trade, C::Doing, C::Resume, C::Past, C::Why, C::Execution, C::Run, C::Alive], never: [],
        slots: [Slot::Period, Slot::Symbol], when: is_question,
        |_, _| state("no_entry_reasons,phase,phase_reason,trading_enabled,circuit_breaker,session,market_status,bot,health")),
    rule!("why_no_trade", "why the bot opens no positions, and whether it trades", [[C::Trade, C::Entry, C::Pause, C::Stop]],
        also: [C::Doing, C::Not, C::Resume, C::Okay, C::Alive, C::Position, C::Schema], never: [C::History, C::Last, C::Best, C::Worst, C::Fill], slots: [Slot::Symbol],
        when: |heard| heard.is_question && heard.opens_with_be(),
        |_, _| state("no_entry_reasons,phase,phase_reason,trading_enabled,circuit_breaker,session,market_status,bot,health")),
    rule!("why_no_trade", "why the bot opens no positions, and whether it trades", [[C::Why]], also: [C::Doing, C::Trade, C::Alive, C::Stop, C::Explain], never: [C::Position, C::Order, C::Config, C::Workflow],
        slots: [Slot::Period, Slot::Symbol], when: |heard| is_question(heard) && hinders(heard),
        |_, _| state("no_entry_reasons,phase,phase_reason,trading_enabled,circuit_breaker,session,market_status,bot,health")),
    rule!("freshness", "how old the data is", [[C::Age]], also: [C::Summary, C::Alive, C::Doing, C::Metric, C::Position, C::Account, C::Okay, C::Not], never: [C::Config, C::Version], slots: [], when: is_question,
        |_, _| state("as_of,data_age_seconds,is_data_stale,bot")),
    rule!("positions", "open positions", [[C::Position]], also: [C::Best, C::Worst, C::Trade, C::Alive, C::Performance, C::PerSymbol, C::Summary], never: [C::Close, C::Flatten, C::Cancel, C::Why], slots: [Slot::Symbol],
        when: |heard| !(heard.has(C::Performance) && heard.slots.period.is_some()), |_, _| state("positions,mode")),
    rule!("orders", "open and recent orders", [[C::Order]], also: [C::Alive, C::Trade, C::History, C::Why, C::Fill, C::Error, C::Summary, C::Progress, C::Cancel], never: [],
        slots: [Slot::Symbol, Slot::Id, Slot::Period], when: |heard| heard.is_question || !heard.has(C::Cancel), |_, _| state("orders,mode")),
    rule!("account", "money in the account", [[C::Account]], also: [C::Alive, C::Trade, C::Okay, C::Summary, C::Doing], never: [C::Performance], slots: [], when: always,
        |_, _| state("account,mode")),
    rule!("performance", "how trading went, by period and symbol", [[C::Performance]],
        also: [C::Trade, C::Best, C::Worst, C::PerSymbol, C::Doing, C::Account, C::Why, C::Summary, C::History, C::Version, C::Not, C::Okay, C::Past, C::Execution], never: [C::Config, C::Workflow], slots: [Slot::Period, Slot::Symbol, Slot::Duration],
        when: always, |heard, _| performance(heard)),
    rule!("performance", "how trading went, by period and symbol", [[C::Doing, C::Summary, C::Okay, C::Metric]],
        also: [C::Trade, C::Best, C::Worst, C::PerSymbol, C::Doing, C::Past, C::Summary, C::Okay], never: [C::Workflow, C::Event, C::Error, C::Entry], slots: [Slot::Period, Slot::Symbol, Slot::Duration],
        when: is_about_past, |heard, _| performance(heard)),
    rule!("performance", "how trading went, by period and symbol", [[C::Best, C::Worst], [C::PerSymbol, C::Trade, C::Position]],
        also: [C::Doing, C::Okay, C::Position], never: [], slots: [Slot::Period, Slot::Symbol], when: always, |heard, _| performance(heard)),
    rule!("performance", "how trading went, by period and symbol", [[C::Trade]], also: [C::Doing, C::Okay, C::Past], never: [C::Why, C::Not, C::Entry, C::Fill], slots: [Slot::Period, Slot::Symbol],
        when: asks_how, |heard, _| performance(heard)),
    rule!("trades", "recent fills", [[C::Trade]], also: [C::Why, C::Past, C::Fill], never: [C::Not, C::Entry], slots: [Slot::Symbol, Slot::Period],
        when: asks_about_a_deal, |_, _| events(Some("fill"))),
    rule!("trades", "recent fills", [[C::Trade, C::Fill]], also: [C::History, C::Fill, C::Event, C::Execution, C::Trade, C::Past, C::Doing], never: [C::Why, C::Not, C::Pause, C::Stop, C::Resume, C::Config, C::Workflow, C::Best, C::Worst],
        slots: [Slot::Symbol, Slot::Period, Slot::Duration], when: |heard| !heard.opens_with_be() && !asks_how(heard), |_, _| events(Some("fill"))),
    rule!("errors", "recent failures with their remedies", [[C::Error]], also: [C::Event, C::History, C::Why, C::Past, C::Logs, C::Worst, C::Doing, C::Program, C::Alive, C::Order, C::Summary], never: [C::Codes],
        slots: [Slot::Period, Slot::Duration, Slot::Component], when: always, |_, _| get("/api/v1/errors")),
    rule!("explain_code", "what an error code means and what to do", [], also: [C::Explain, C::Error, C::Codes, C::Why, C::Help, C::Fill, C::Health, C::Doing, C::Past], never: [], slots: [Slot::Code],
        when: |heard| heard.slots.code.is_some(),
        |heard, _| get(format!("/api/v1/errors/catalogue/{}", heard.slots.code.as_deref().unwrap_or_default()))),
    rule!("error_catalogue", "every error code", [[C::Codes]], also: [C::Error, C::Explain, C::Help], never: [], slots: [],
        when: |heard| heard.slots.code.is_none(), |_, _| get("/api/v1/errors/catalogue")),
    rule!("config_read", "the bot's config", [[C::Config]], also: [C::Version, C::Summary, C::Active, C::Trade, C::Schema], never: [C::Change, C::Undo, C::History, C::Compare, C::Validate, C::Audit, C::Why],
        slots: [Slot::Key], when: always, |_, _| get("/api/v1/config")),
    rule!("config_read", "the bot's config", [], also: [C::Config, C::Summary, C::Explain, C::Trade], never: [C::Undo, C::History, C::Validate], slots: [Slot::Key],
        when: |heard| has_key(heard) && heard.slots.value.is_none() && heard.is_question, |_, _| get("/api/v1/config")),
    rule!("config_schema", "which keys the config has and what they take", [[C::Schema], [C::Config, C::Change]], also: [C::Change, C::Config, C::Explain, C::Help, C::Okay], never: [], slots: [Slot::Key],
        when: |heard| heard.slots.value.is_none(), |_, _| get("/api/v1/config/schema")),
    rule!("config_schema", "which keys the config has and what they take", [[C::Schema]], also: [C::Config, C::Explain], never: [C::Trade, C::Entry, C::Permission], slots: [Slot::Key],
        when: |heard| heard.slots.value.is_none(), |_, _| get("/api/v1/config/schema")),
    rule!("config_diff", "what differs between two config versions", [[C::Compare], [C::Config, C::Version]], also: [C::Version, C::Config, C::Past, C::Change, C::History], never: [], slots: [Slot::Version, Slot::Period],
        when: |heard| !heard.has(C::Undo), diff_config),
    rule!("config_diff", "what differs between two config versions", [[C::Compare]], also: [C::Version, C::Config, C::Past], never: [], slots: [Slot::Version],
        when: |heard| !heard.slots.versions.is_empty(), diff_config),
    rule!("config_history", "past config versions: who, when, why", [[C::Config], [C::History, C::Version, C::Who, C::Why, C::Past]],
        also: [C::History, C::Version, C::Past, C::Change, C::Compare, C::Who, C::Undo, C::Why, C::Doing, C::Config], never: [C::Audit, C::Validate], slots: [Slot::Period, Slot::Version, Slot::Duration, Slot::Key],
        when: |heard| heard.is_question && !(heard.has(C::Undo) && !heard.has(C::Why) && !heard.has(C::Past) && !heard.has(C::Who)), |_, _| get("/api/v1/config/versions")),
    rule!("config_history", "past config versions: who, when, why", [[C::Who, C::History]], also: [C::Past, C::Config, C::Change, C::History], never: [C::Audit, C::Health], slots: [Slot::Key, Slot::Period],
        when: |heard| heard.is_question && (has_key(heard) || heard.has(C::Change)), |_, _| get("/api/v1/config/versions")),
    rule!("config_version", "one config version", [[C::Config, C::Version, C::Explain, C::Show]], also: [C::Version, C::Config, C::Explain, C::Past], never: [C::Undo, C::Compare, C::Change], slots: [Slot::Version],
        when: |heard| heard.slots.versions.len() == 1,
        |heard, _| get(format!("/api/v1/config/versions/{}", heard.slots.versions.first().map_or("", String::as_str)))),
    rule!("config_audit", "the record of every change", [[C::Audit]], also: [C::Config, C::History, C::Logs, C::Change, C::Who, C::Past], never: [C::Validate, C::Probe], slots: [Slot::Period],
        when: |heard| !heard.text.to_lowercase().contains("tamper"),
        |_, _| get("/api/v1/config/audit")),
    rule!("config_audit_verify", "whether the audit is whole", [[C::Audit], [C::Validate, C::Probe, C::Okay]], also: [C::Config, C::Logs, C::Not, C::Past, C::History, C::Audit], never: [], slots: [], when: always,
        |_, _| get("/api/v1/config/audit/verify")),
    rule!("config_audit_verify", "whether the audit is whole", [[C::Audit]], also: [C::Config, C::Logs, C::Not, C::Past, C::History, C::Audit], never: [], slots: [],
        when: |heard| heard.text.to_lowercase().contains("tamper"), |_, _| get("/api/v1/config/audit/verify")),
    rule!("config_validate", "whether a config would be accepted", [[C::Validate]], also: [C::Config, C::Change, C::Okay, C::Schema, C::Probe, C::Help], never: [C::Audit], slots: [Slot::Key, Slot::Value],
        when: |heard| heard.has(C::Config) || has_key(heard), validate_config),
    rule!("config_set", "change a config value: dry run first", [[C::Change]], also: [C::Config, C::Target], never: [C::Undo, C::Validate, C::Compare], slots: [Slot::Key, Slot::Value],
        when: |heard| has_key(heard) && !(heard.slots.value.is_none() && heard.asks_openly()), set_config),
    rule!("config_set", "change a config value: dry run first", [], also: [C::Config], never: [C::Undo, C::Validate, C::Compare, C::Show, C::Why], slots: [Slot::Key, Slot::Value],
        when: |heard| has_key(heard) && heard.slots.value.is_some(), set_config),
    rule!("config_set", "change a config value: dry run first", [[C::Change], [C::Config]], also: [], never: [C::Undo, C::Validate, C::Compare, C::History, C::Past, C::Schema, C::Who], slots: [Slot::Value],
        when: |heard| !heard.asks_openly(), set_config),
    rule!("config_rollback", "go back to an earlier config: dry run first", [[C::Undo]], also: [C::Config, C::Version, C::Change, C::Past, C::Okay, C::Alive], never: [C::Why, C::Session, C::History], slots: [Slot::Version, Slot::Key],
    when: |heard| !(heard.has(C::Past) && heard.asks_openly()),
    |heard, _| {
        let to = heard.slots.versions.first().cloned().unwrap_or_else(|| "previous".to_owned());
        config_change("/api/v1/config/rollback", &json!({"to": to, "reason": reason(heard)}))
    }),
    rule!("config_confirm", "keep the config that is on trial", [[C::Confirm], [C::Trial, C::Config]], also: [C::Change, C::Config, C::Trial, C::New], never: [C::Undo], slots: [Slot::Id], when: always,
        |_, world| settle_trial("confirm", world)),
    rule!("config_cancel", "end the config trial and go back", [[C::Cancel, C::Stop], [C::Trial, C::Config]], also: [C::Change, C::Config, C::Trial], never: [], slots: [Slot::Id], when: is_order,
        |_, world| settle_trial("cancel", world)),
    rule!("config_trial", "the config change on trial", [[C::Trial]], also: [C::Config, C::Progress, C::Doing, C::Alive, C::Summary], never: [C::Cancel, C::Confirm], slots: [Slot::Id], when: always,
        |heard, world| heard.slots.id.as_ref().or(world.trial.as_ref()).map_or_else(|| get("/api/v1/config"), |txn| get(format!("/api/v1/config/txns/{txn}")))),
    rule!("workflows_list", "which workflows there are", [[C::Workflow]], also: [C::Run, C::Execution, C::Help, C::Summary], never: [C::Cancel, C::Stop, C::Progress], slots: [],
        when: |heard| !has_workflow(heard) && (heard.is_question || !heard.has(C::Run)), |_, _| get("/api/v1/workflows")),
    rule!("workflow_describe", "what one workflow does", [[C::Workflow, C::Explain, C::Help]], also: [C::Explain, C::Workflow, C::Help, C::Doing, C::Execution], never: [C::Run, C::Cancel, C::Progress], slots: [Slot::Workflow],
        when: |heard| has_workflow(heard) && heard.is_question,
        |heard, _| get(format!("/api/v1/workflows/{}", heard.slots.workflow.as_deref().unwrap_or_default()))),
    rule!("workflow_describe", "what one workflow does", [], also: [C::Explain, C::Doing], never: [C::Run, C::Cancel, C::Past, C::History, C::Progress], slots: [Slot::Workflow],
        when: |heard| heard.slots.workflow_is_exact && heard.asks_openly(),
        |heard, _| get(format!("/api/v1/workflows/{}", heard.slots.workflow.as_deref().unwrap_or_default()))),
    rule!("workflow_run", "run a workflow: dry run first", [[C::Run], [C::Workflow, C::Execution]], also: [C::Workflow, C::Execution], never: [C::Progress, C::Cancel, C::Past], slots: [Slot::Workflow],
        when: |heard| !heard.asks_openly() && (heard.has(C::Workflow) || has_workflow(heard)), run_workflow),
    rule!("workflow_run", "run a workflow: dry run first", [[C::Run]], also: [C::Health, C::Restart, C::Export, C::Logs, C::Target, C::Change, C::Component], never: [C::Workflow, C::Past], slots: [Slot::Workflow],
        when: |heard| has_workflow(heard) && !heard.asks_openly(), run_workflow),
    rule!("workflow_run", "run a workflow: dry run first", [], also: [C::Restart, C::Export, C::Logs, C::Target, C::Change, C::Health, C::Workflow, C::Config], never: [C::Explain, C::Progress, C::Cancel, C::Past, C::Why, C::History], slots: [Slot::Workflow],
        when: names_workflow, run_workflow),
    rule!("workflow_run", "restart the bot: dry run first", [[C::Restart]], also: [C::Bot, C::Program, C::Trade], never: [C::Past, C::Who, C::Why, C::Progress], slots: [Slot::Workflow],
        when: |heard| !heard.asks_openly(), |heard, world| execute("restart-bot", heard, world)),
    rule!("workflow_run", "bundle the logs: dry run first", [[C::Export], [C::Logs]], also: [C::Event], never: [C::Progress, C::Past], slots: [Slot::Workflow, Slot::Period],
        when: |heard| !heard.asks_openly(), |heard, world| execute("export-logs", heard, world)),
    rule!("workflow_status", "how a workflow run is getting on", [[C::Workflow, C::Execution, C::Restart, C::Export], [C::Progress, C::Past, C::Doing, C::Summary, C::Active, C::Alive, C::Who]],
        also: [C::Run, C::Past, C::Alive, C::Okay, C::Doing, C::Summary, C::Error, C::Logs, C::Health, C::Target, C::Change, C::Progress, C::Execution, C::Workflow, C::Who], never: [C::Cancel, C::Performance],
        slots: [Slot::Workflow, Slot::Id, Slot::Period], when: is_question, workflow_status),
    rule!("workflow_status", "how a workflow run is getting on", [], also: [C::Progress, C::Execution, C::Workflow, C::Doing, C::Summary, C::Explain, C::Past, C::Error, C::Why], never: [C::Cancel, C::Stop, C::Trial, C::Alert, C::Order, C::Acknowledge], slots: [Slot::Id],
        when: |heard| heard.slots.id.is_some() && (heard.has(C::Execution) || heard.has(C::Workflow) || heard.has(C::Progress) || heard.slots.id.as_deref().is_some_and(|id| id.starts_with("run"))), workflow_status),
    rule!("workflow_status", "how a workflow run is getting on", [[C::Progress, C::Summary, C::Doing]], also: [C::Progress, C::Execution, C::Workflow, C::Restart, C::Export, C::Logs, C::Health, C::Target, C::Change, C::Past, C::Error], never: [C::Cancel], slots: [Slot::Workflow],
        when: |heard| has_workflow(heard) && (heard.slots.workflow_is_exact || heard.has(C::Workflow)), workflow_status),
    rule!("workflow_status", "how a workflow run is getting on", [[C::Execution, C::Progress]], also: [C::Past, C::Progress, C::Execution], never: [C::Cancel, C::Alert, C::Order, C::Trade], slots: [Slot::Period],
        when: |heard| is_question(heard) && !has_workflow(heard) && heard.words.iter().any(|word| matches!(word.lower.as_str(), "last run" | "runs" | "run")), workflow_status),
    rule!("workflow_runs", "past runs of a workflow", [[C::History, C::Execution], [C::Workflow, C::Execution, C::Restart, C::Export, C::History]], also: [C::Past, C::Workflow, C::Execution, C::History, C::Restart, C::Health, C::Export, C::Logs, C::Target], never: [C::Cancel, C::Progress, C::Run], slots: [Slot::Workflow, Slot::Period],
        when: |heard| has_workflow(heard) && (heard.has(C::History) || heard.words.iter().any(|word| word.lower == "runs")), |heard, _| get(format!("/api/v1/workflows/{}/runs", heard.slots.workflow.as_deref().unwrap_or_default()))),
    rule!("workflow_cancel", "cancel a workflow run", [[C::Cancel, C::Stop], [C::Workflow, C::Execution, C::Restart, C::Export]], also: [C::Execution, C::Workflow, C::Active, C::Logs], never: [C::Order], slots: [Slot::Id, Slot::Workflow], when: is_order,
        cancel_workflow),
    rule!("workflow_cancel", "cancel a workflow run", [[C::Cancel, C::Stop]], also: [C::Execution, C::Workflow], never: [C::Order, C::Alert, C::Trial], slots: [Slot::Id, Slot::Workflow],
        when: |heard| is_order(heard) && (heard.slots.id.is_some() || heard.slots.workflow_is_exact), cancel_workflow),
    rule!("pause", "open no new positions: dry run first", [[C::Pause]], also: [C::Trade, C::Entry, C::Position, C::Stop, C::Market], never: [C::Resume, C::Silence, C::Alert, C::Workflow], slots: [Slot::Period, Slot::Duration, Slot::Symbol], when: |heard| !heard.asks_openly() && !heard.opens_with_be(),
        |heard, _| control("pause", heard, &[])),
    rule!("pause", "open no new positions: dry run first", [[C::Stop], [C::Trade, C::Entry]], also: [C::Position, C::New], never: [C::Resume], slots: [Slot::Duration, Slot::Period], when: is_order,
        |heard, _| control("pause", heard, &[])),
    rule!("resume", "allow new positions again: dry run first", [[C::Resume]], also: [C::Trade, C::Entry, C::Position, C::Pause, C::Run, C::Doing], never: [C::Not, C::Why], slots: [Slot::Period], when: |heard| !heard.asks_openly() && !heard.opens_with_be(),
        |heard, _| control("resume", heard, &[])),
    rule!("resume", "allow new positions again: dry run first", [[C::Run], [C::Trade, C::Entry]], also: [C::Position], never: [C::Not, C::Why, C::Past], slots: [], when: is_order,
        |heard, _| control("resume", heard, &[])),
    rule!("cancel_orders", "cancel open orders: dry run first", [[C::Cancel], [C::Order]], also: [C::Active, C::Alive], never: [], slots: [Slot::Symbol, Slot::Id], when: is_order,
        |heard, _| control("cancel-orders", heard, &heard.slots.symbols)),
    rule!("flatten", "close every position: dry run first", [[C::Flatten]], also: [C::Position, C::Trade, C::Stop, C::Account, C::Close, C::Okay], never: [C::Why], slots: [], when: |heard| !heard.asks_openly(),
        |heard, _| control("flatten", heard, &[])),
    rule!("flatten", "close every position: dry run first", [[C::Close], [C::Position, C::Trade]], also: [], never: [C::Why], slots: [],
        when: |heard| is_order(heard) && heard.slots.symbols.is_empty(), |heard, _| control("flatten", heard, &[])),
    rule!("shutdown", "end the bot's process: dry run first", [[C::Shutdown]], also: [C::Program, C::Stop], never: [C::Why], slots: [], when: |heard| !heard.asks_openly(),
        |heard, _| control("shutdown", heard, &[])),
    rule!("stop", "stop: which kind?", [[C::Stop]], also: [C::Program, C::Trade, C::Run], never: [C::Why, C::Past, C::Not, C::Alert, C::Trial], slots: [],
        when: |heard| is_order(heard) && !heard.has(C::Trade) && !heard.has(C::Workflow) && !heard.has(C::Execution), stop_what),
    rule!("cancel", "cancel: what?", [[C::Cancel]], also: [], never: [C::Order, C::Workflow, C::Trial, C::Config, C::Why, C::Alert, C::Silence], slots: [], when: |heard| is_order(heard) && heard.slots.id.is_none() && !has_workflow(heard), cancel_what),
    rule!("probe_session", "check the broker session now: dry run first", [[C::Probe, C::Run], [C::Session]], also: [C::Health, C::Alive, C::Probe, C::Validate], never: [C::SignIn], slots: [Slot::Component], when: is_order,
        |heard, _| control("probe-session", heard, &[])),
    rule!("reauth", "sign in to the broker again: dry run first", [[C::SignIn]], also: [C::Session], never: [C::Why, C::Past], slots: [Slot::Component], when: |heard| !heard.asks_openly(),
        |heard, _| control("reauth", heard, &[])),
    rule!("reset_breaker", "let the circuit breaker try again: dry run first", [[C::Reset, C::Close], [C::Breaker]], also: [C::Trade], never: [C::Why], slots: [], when: |heard| !heard.asks_openly(),
        |heard, _| control("reset-breaker", heard, &[])),
    rule!("metrics", "the numbers in one small answer", [[C::Metric]], also: [C::Error, C::Program, C::Summary, C::Health, C::Doing, C::Bot], never: [C::Performance], slots: [Slot::Period], when: |heard| !has_component(heard) && !is_about_past(heard),
        |_, _| get("/api/v1/metrics")),
    rule!("events", "what happened, in order", [[C::Event]], also: [C::History, C::Past, C::Logs, C::Trade, C::Bot, C::Doing, C::Why], never: [C::Error, C::Config, C::Alert], slots: [Slot::Period, Slot::Duration], when: always, |_, _| events(None)),
    rule!("events", "what happened, in order", [[C::Logs]], also: [C::Event, C::History], never: [C::Export, C::Audit, C::Error, C::Workflow, C::SignIn], slots: [Slot::Period, Slot::Duration],
        when: |heard| !has_workflow(heard), |_, _| events(None)),
    rule!("alerts", "alerts: firing and recent", [[C::Alert]], also: [C::History, C::Health, C::Active, C::Error, C::Past, C::Why, C::Alive, C::Silence], never: [C::Stop, C::Acknowledge], slots: [Slot::Component, Slot::Period], when: |heard| heard.is_question || !heard.has(C::Silence),
        |_, _| get("/api/v1/health/alerts")),
    rule!("silence", "silence alerts for a while", [[C::Silence, C::Pause, C::Stop], [C::Alert, C::Component, C::Health]], also: [C::Error, C::Component, C::Session, C::Breaker, C::Health, C::Alert], never: [C::Trade], slots: [Slot::Duration, Slot::Component, Slot::Period], when: is_order, silence),
    rule!("silence", "silence alerts for a while", [[C::Silence]], also: [C::Error, C::Component, C::Session, C::Alert], never: [C::Trade], slots: [Slot::Duration, Slot::Component, Slot::Period], when: is_order, silence),
    rule!("acknowledge", "acknowledge an alert", [[C::Acknowledge]], also: [C::Alert], never: [], slots: [Slot::Id], when: is_order, acknowledge),
    rule!("health", "system health with causes", [[C::Health]], also: [C::Okay, C::Component, C::Summary, C::Why, C::Error, C::Program, C::Doing, C::Alive, C::Probe, C::Validate], never: [C::History, C::Silence, C::Workflow], slots: [Slot::Component, Slot::Workflow],
        when: |heard| !heard.slots.workflow_is_exact && heard.slots.period.is_none() && !(heard.has(C::Run) && has_workflow(heard)), component_health),
    rule!("health", "system health with causes", [[C::Component]], also: [C::Health, C::Okay, C::Summary, C::Error, C::Alive, C::Doing, C::Why], never: [C::Silence], slots: [Slot::Component], when: always, component_health),
    rule!("health", "system health with causes", [], also: [C::Health, C::Component, C::Okay, C::Summary, C::Alive, C::Why, C::Doing, C::Error, C::Metric, C::Session, C::Program], never: [C::Silence, C::Probe, C::SignIn], slots: [Slot::Component],
        when: |heard| has_component(heard) && (heard.has(C::Health) || heard.has(C::Component) || heard.has(C::Okay) || heard.has(C::Alive) || heard.has(C::Summary) || heard.has(C::Metric)), component_health),
    rule!("health_history", "how health was over time", [[C::Health], [C::History, C::Past, C::Event]], also: [C::Component, C::Doing, C::Okay, C::Event, C::History, C::Past], never: [], slots: [Slot::Period, Slot::Component, Slot::Duration],
        when: is_question, |_, _| get("/api/v1/health/history")),
    rule!("health_history", "how health was over time", [[C::Health]], also: [C::Component, C::Doing, C::Past], never: [], slots: [Slot::Period, Slot::Component],
        when: |heard| heard.slots.period.is_some(), |_, _| get("/api/v1/health/history")),
    rule!("health_check", "run all health checks now", [[C::Run], [C::Health, C::Component]], also: [C::Now, C::Component], never: [C::Workflow, C::Past], slots: [Slot::Workflow, Slot::Component],
        when: |heard| is_order(heard) && !heard.slots.workflow_is_exact,
        |_, _| Plan::Change { preview: request("GET", "/api/v1/health/current", None), real: request("POST", "/api/v1/health/check", None) }),
    rule!("session", "the broker session", [[C::Session]], also: [C::Okay, C::Health, C::Alive, C::Why, C::Breaker, C::Error, C::Progress, C::Summary, C::Past, C::Doing, C::Validate, C::SignIn, C::Program], never: [C::Run, C::Probe, C::Silence], slots: [Slot::Component, Slot::Period],
        when: |heard| heard.is_question || !heard.has(C::SignIn), |_, _| state("session,circuit_breaker,health")),
    rule!("breaker", "the circuit breaker", [[C::Breaker]], also: [C::Why, C::Okay, C::Active, C::Alive, C::Past, C::Stop, C::Summary, C::Doing, C::Who, C::Close, C::Progress], never: [C::Reset, C::Silence], slots: [Slot::Period], when: is_question,
        |_, _| state("circuit_breaker,no_entry_reasons,session")),
    rule!("market", "whether the market is open", [[C::Market]], also: [C::Active, C::Close, C::Who, C::Trade, C::Doing, C::Alive, C::Summary, C::Schema], never: [C::Why, C::Pause], slots: [Slot::Period], when: always,
        |_, _| state("market_status,market")),
    rule!("mode", "whether money is real", [[C::Mode]], also: [C::Trade, C::Account, C::Run, C::Alive, C::Active], never: [C::Change], slots: [], when: always, |_, _| state("mode,bot")),
    rule!("whoami", "what your key may do", [[C::Permission]], also: [C::Help, C::Schema], never: [], slots: [], when: always, |_, _| get("/api/v1/whoami")),
    rule!("recovery", "what mends itself, and what was tried", [[C::Recovery]], also: [C::History, C::Health, C::Component, C::Progress, C::Alive, C::Past, C::Summary, C::Doing], never: [], slots: [Slot::Component, Slot::Period], when: is_question,
    |heard, _| match &heard.slots.component {
        Some(id) => get(format!("/api/v1/health/recovery/{id}")),
        None => get("/api/v1/health/recovery"),
    }),
    rule!("version", "which bot runs, since when", [[C::Version], [C::Program, C::Bot]], also: [C::Alive, C::Run], never: [C::Config, C::Compare], slots: [], when: |heard| heard.slots.versions.is_empty(), |_, _| state("bot,mode")),
    rule!("version", "which bot runs, since when", [[C::Alive]], also: [C::Explain, C::Doing], never: [C::Component, C::Session], slots: [], when: |heard| is_question(heard) && asks_since_when(heard), |_, _| state("bot,mode")),
    rule!("readiness", "whether botops itself can work", [[C::Program]], also: [C::Alive, C::Okay, C::Health, C::Summary, C::Doing], never: [C::Restart, C::Shutdown, C::Stop, C::Run, C::Error], slots: [Slot::Component], when: is_question, |_, _| get("/readyz")),
    rule!("help", "what can be asked", [[C::Help]], also: [C::Explain, C::Doing, C::Program, C::Run], never: [C::Permission, C::Workflow, C::Error], slots: [], when: always, |_, _| get("/llms.txt")),
];
