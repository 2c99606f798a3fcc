//! Reads of the state, of performance, of events and of failures, with the symbols, times, counts and states of the text.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::ask::answer_selection::AnswerSelection;
use crate::ask::concept::WordConcept as C;
use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskPlan, read_call, read_selected};
use crate::ask::word_lists::WordList;
use botops_core::text::percent_encode;

/// The largest page of the journal: read where a part of it is chosen afterwards.
const PAGE_MAX: &str = "limit=500";

pub(super) fn read_state(fields: &str) -> AskPlan {
    read_call(format!("/api/v1/state?fields={fields}"))
}

/// A path with its query.
pub(super) fn with_query(path: &str, query: &[String]) -> String {
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{path}{mark}{}", query.join("&"))
}

pub(super) fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The period of the text as `from` and `to`: whole days as days, which the bot's zone bounds, else instants.
pub(super) fn from_and_to(asked: &ParsedText, context: &AskContext) -> Vec<String> {
    let Some(period) = asked.slots.period else { return Vec::new() };
    if period.is_whole_days() {
        return vec![format!("from={}", period.from), format!("to={}", period.to)];
    }
    let (from, to) = period.instants(context.now, context.zone);
    let to = to.map(|to| format!("to={}", instant(to)));
    [Some(format!("from={}", instant(from))), to].into_iter().flatten().collect()
}

/// What trades are grouped by, where the text says so.
fn grouping(asked: &ParsedText) -> Option<&'static str> {
    let by = asked.words.windows(2).find_map(|pair| match pair {
        [before, word] if matches!(before.lower.as_str(), "by" | "per" | "each" | "every") => {
            let next = word.lower.split(' ').next();
            next.filter(|next| !matches!(*next, "exit" | "config"))
                .or(Some("version"))
                .map(|next| if word.lower == "exit" { "reason" } else { next })
        }
        _ => None,
    });
    // "Does the new config make more than the old one" is the same question as "by version".
    let compares = says(asked, WordList::ComparesWords) && (asked.has(C::Config) || asked.has(C::Version));
    match by.map(|word| word.trim_end_matches('s')) {
        None if compares => Some("version"),
        None if says(asked, WordList::ReasonWords) && asked.has(C::Performance) => Some("reason"),
        Some("day" | "date") => Some("day"),
        Some("week") => Some("week"),
        Some("month") => Some("month"),
        Some("symbol" | "ticker" | "stock" | "instrument" | "pair") => Some("symbol"),
        Some("version" | "config") => Some("version"),
        Some("reason" | "exit") => Some("reason"),
        Some("hour") => Some("hour"),
        _ => None,
    }
}

pub(super) fn read_performance(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut query = match asked.slots.period {
        // The bot's own day, also where it is another than the one of this machine or of a replay.
        Some(period) if period.is_day(asked.today) => vec!["window=day".to_owned()],
        _ => from_and_to(asked, context),
    };
    let by_symbol = asked.has(C::PerSymbol) || asked.has(C::Best) || asked.has(C::Worst);
    if let Some(symbol) = asked.slots.symbols.first() {
        query.push(format!("symbol={}", percent_encode(symbol)));
    }
    match grouping(asked) {
        Some(by) => query.push(format!("by={by}")),
        None if by_symbol && asked.slots.symbols.is_empty() => query.push("by=symbol".to_owned()),
        None => {}
    }
    read_call(with_query("/api/v1/performance", &query))
}

/// The journal from the time, of the symbol and the component of the text. Its end, and a count of what lies before it, are
/// chosen from a page as large as there is.
pub(super) fn read_events(kind: Option<&str>, asked: &ParsedText, context: &AskContext) -> AskPlan {
    let kind = kind.or_else(|| kind_of_events(asked));
    let mut query: Vec<String> = kind.map(|kind| format!("kind={kind}")).into_iter().collect();
    let mut select = AnswerSelection::of("items");
    if let Some(component) = named_part(asked) {
        query.push(format!("component={}", percent_encode(component)));
    }
    if let Some(run) = asked.slots.id.as_ref().filter(|id| uuid::Uuid::parse_str(id).is_ok()) {
        query.push(format!("run={run}"));
    }
    if let Some(symbol) = asked.slots.symbols.first() {
        query.push(format!("symbol={}", percent_encode(symbol)));
    }
    if let Some(period) = asked.slots.period {
        let (from, to) = period.instants(context.now, context.zone);
        query.push(format!("since={}", instant(from)));
        select.until = to;
    }
    match (asked.slots.count, select.until) {
        (Some(count), None) => query.push(format!("limit={count}")),
        (count, Some(_)) => {
            query.push(PAGE_MAX.to_owned());
            select.limit = count;
        }
        (None, None) => {}
    }
    read_selected(with_query("/api/v1/events", &query), select)
}

/// The component that the text names; the bot itself is a word of most texts, and what they are about anyway.
pub(super) fn named_part(asked: &ParsedText) -> Option<&str> {
    asked.slots.component.as_deref().filter(|id| !matches!(*id, "bot" | "api_server"))
}

/// Whether the text asks for events by that name.
pub(super) fn names_events(asked: &ParsedText) -> bool {
    let is_name =
        |word: &str| matches!(word, "event" | "events") || strsim::osa_distance(word, "events") <= 1;
    asked.words.iter().any(|word| word.is(C::Event) && is_name(&word.lower))
}

/// The kind that stands before "events": "order events".
fn kind_of_events(asked: &ParsedText) -> Option<&'static str> {
    let kinds = [
        (C::Order, "order"),
        (C::Fill, "fill"),
        (C::Error, "error"),
        (C::Session, "session"),
        (C::Breaker, "breaker"),
        (C::Config, "config"),
        (C::Workflow, "workflow"),
        (C::Health, "health"),
        (C::Alert, "health"),
    ];
    let found = kinds.into_iter().find(|(concept, _)| asked.has(*concept)).map(|(_, kind)| kind);
    found.filter(|_| names_events(asked))
}

/// A selection by the symbols, the time and the count of the text.
fn selected(list: &'static str, asked: &ParsedText, context: &AskContext) -> AnswerSelection {
    let mut select = AnswerSelection::of(list);
    select.symbols.clone_from(&asked.slots.symbols);
    select.limit = asked.slots.count;
    if let Some(period) = asked.slots.period {
        let (from, to) = period.instants(context.now, context.zone);
        (select.since, select.until) = (Some(from), to);
    }
    select
}

/// The words of the text, those of phrases one by one.
pub(super) fn says(asked: &ParsedText, list: WordList) -> bool {
    asked.words.iter().flat_map(|word| word.lower.split(' ')).any(|word| list.contains(word))
}

pub(super) fn read_orders(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut select = selected("orders", asked, context);
    let states: Vec<String> = [
        (WordList::OpenStates, ["PENDING", "PARTIALLY_FILLED"].as_slice()),
        (WordList::PartlyStates, &["PARTIALLY_FILLED"]),
        (WordList::FilledStates, &["FILLED"]),
        (WordList::CancelledStates, &["CANCELLED"]),
        (WordList::RejectedStates, &["REJECTED"]),
        (WordList::ExpiredStates, &["EXPIRED"]),
    ]
    .into_iter()
    .filter(|(list, _)| says(asked, *list))
    // "Partially filled" is another state than "filled".
    .filter(|(list, _)| *list != WordList::FilledStates || !says(asked, WordList::PartlyStates))
    .flat_map(|(_, states)| states.iter().map(|state| (*state).to_owned()))
    .collect();
    if !states.is_empty() {
        select.states.push(("status", states));
    }
    if let Some(side) = side(asked) {
        select.states.push(("side", vec![side.to_owned()]));
    }
    read_selected("/api/v1/state?fields=orders,mode", select)
}

/// `BUY` or `SELL`, where the text names one side.
pub(super) fn side(asked: &ParsedText) -> Option<&'static str> {
    match (says(asked, WordList::BuySides), says(asked, WordList::SellSides)) {
        (true, false) => Some("BUY"),
        (false, true) => Some("SELL"),
        _ => None,
    }
}

/// `true` for what gained, `false` for what lost, where the text names one.
pub(super) fn outcome(asked: &ParsedText) -> Option<bool> {
    match (says(asked, WordList::WinStates), says(asked, WordList::LossStates)) {
        (true, false) => Some(true),
        (false, true) => Some(false),
        _ => None,
    }
}

pub(super) fn read_positions(asked: &ParsedText, _: &AskContext) -> AskPlan {
    let mut select = AnswerSelection::of("positions");
    select.symbols.clone_from(&asked.slots.symbols);
    select.limit = asked.slots.count;
    select.sign = outcome(asked).map(|is_gain| ("unrealized_pl", is_gain));
    read_selected("/api/v1/state?fields=positions,mode", select)
}

pub(super) fn read_errors(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut select = AnswerSelection { symbols: Vec::new(), ..selected("items", asked, context) };
    let query = match (select.limit, select.since) {
        (Some(count), None) => {
            select.limit = None;
            vec![format!("limit={count}")]
        }
        (_, Some(_)) => vec![PAGE_MAX.to_owned()],
        (None, None) => Vec::new(),
    };
    read_selected(with_query("/api/v1/errors", &query), select)
}

pub(super) fn read_alerts(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut select = AnswerSelection { symbols: Vec::new(), ..selected("items", asked, context) };
    let mut query = Vec::new();
    let is_acknowledged = says(asked, WordList::AcknowledgedStates);
    let is_unacknowledged =
        says(asked, WordList::UnacknowledgedStates) || is_acknowledged && says(asked, WordList::Negations);
    let state = if says(asked, WordList::OverStates) {
        Some("resolved")
    } else if says(asked, WordList::PendingStates) {
        Some("pending")
    } else if says(asked, WordList::FiringStates) || is_unacknowledged {
        Some("firing")
    } else {
        None
    };
    query.extend(
        state.filter(|_| select.since.is_none() || is_unacknowledged).map(|state| format!("state={state}")),
    );
    if let Some(component) = named_part(asked) {
        query.push(format!("component_id={}", percent_encode(component)));
    }
    if says(asked, WordList::CriticalStates) {
        query.push("severity=critical".to_owned());
    }
    if is_unacknowledged {
        select.present = Some(("acknowledged_at", false));
    } else if is_acknowledged {
        select.present = Some(("acknowledged_at", true));
    }
    if select.present.is_none()
        && select.since.is_none()
        && let Some(count) = select.limit.take()
    {
        query.push(format!("limit={count}"));
    }
    read_selected(with_query("/api/v1/health/alerts", &query), select)
}

/// The changes of health of the last hours, from the time that the text names.
pub(super) fn read_health_history(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut query = Vec::new();
    let mut select = AnswerSelection::of("items");
    if let Some(period) = asked.slots.period {
        let (from, to) = period.instants(context.now, context.zone);
        let hours = (context.now - from).num_hours().clamp(0, 2_158) + 1;
        query.push(format!("hours={hours}"));
        (select.since, select.until) = (Some(from), to);
    }
    if let Some(component) = named_part(asked) {
        query.push(format!("component_id={}", percent_encode(component)));
    }
    query.extend(asked.slots.count.map(|count| format!("limit={count}")));
    read_selected(with_query("/api/v1/health/history", &query), select)
}

/// A list of the config's past, of which a page can be asked for and a time chosen.
pub(super) fn read_page(path: &str, asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut select = AnswerSelection { symbols: Vec::new(), ..selected("items", asked, context) };
    let query: Vec<String> = match select.since {
        None => select.limit.take().map(|count| format!("limit={count}")).into_iter().collect(),
        Some(_) => Vec::new(),
    };
    read_selected(with_query(path, &query), select)
}

/// The config, or the fields of it that the text names.
pub(super) fn read_config(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let known: Vec<String> = asked
        .slots
        .keys
        .iter()
        .filter(|key| context.value_of(key).is_some())
        .map(|key| format!("config.{key}"))
        .collect();
    if known.is_empty() {
        return read_call("/api/v1/config");
    }
    read_call(format!("/api/v1/config?fields={}", known.join(",")))
}
