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
    // Up to the end of a day of the bot's.
    if period.is_open && period.seconds.is_none() && period.ends.is_none() && period.zone.is_none() {
        return vec![format!("to={}", period.to)];
    }
    let (from, to) = period.instants(context.now, context.zone);
    let from = from.map(|from| format!("from={}", instant(from)));
    from.into_iter().chain(to.map(|to| format!("to={}", instant(to)))).collect()
}

/// What trades are grouped by, where the text says so.
fn grouping(asked: &ParsedText) -> Option<&'static str> {
    let words: Vec<&str> = asked.words.iter().flat_map(|word| word.lower.split([' ', '-'])).collect();
    let at = |at: usize| words.get(at).copied().unwrap_or_default().trim_end_matches('s');
    let by = (0..words.len()).find_map(|place| {
        let opens = match at(place) {
            "by" | "per" | "each" | "every" | "individual" | "which" | "what" | "acro" | "between" => true,
            "for" | "of" => at(place + 1) == "each",
            _ => false,
        };
        // "Hour wise".
        if at(place + 1) == "wise" {
            return group_named(at(place));
        }
        // One word may stand between: "by exit reason", "per strategy version".
        opens.then(|| [at(place + 1), at(place + 2)].into_iter().find_map(|word| group_named(word)))?
    });
    // "Does the new config make more than the old one" is the same question as "by version".
    let compares = says(asked, WordList::ComparesWords) && (asked.has(C::Config) || asked.has(C::Version));
    let has = |wanted: &[&str]| words.iter().any(|word| wanted.contains(word));
    let of_exits = has(&["stop", "stops", "stopped", "outs", "stopouts"])
        && has(&["profits", "profit", "target", "targets"])
        && has(&["vs", "versus", "and", "or", "against"]);
    match by {
        Some(by) => Some(by),
        None if compares => Some("version"),
        None if (says(asked, WordList::ReasonWords) || of_exits) && asked.has(C::Performance) => {
            Some("reason")
        }
        // "Daily P&L of March": a period longer than a day, told day by day.
        None if has(&["daily"]) && asked.slots.period.is_some_and(|period| period.from != period.to) => {
            Some("day")
        }
        None if has(&["weekly"]) && has(&["breakdown"]) => Some("week"),
        None => None,
    }
}

/// The group that a word names; without its plural.
fn group_named(word: &str) -> Option<&'static str> {
    Some(match word {
        "day" | "date" | "weekday" => "day",
        "week" => "week",
        "month" => "month",
        "symbol" | "ticker" | "stock" | "instrument" | "pair" | "coin" | "name" | "asset" | "underlying"
        | "market" => "symbol",
        "version" | "config" | "strategy" => "version",
        "reason" | "exit" => "reason",
        "hour" => "hour",
        _ => return None,
    })
}

pub(super) fn read_performance(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut query = match asked.slots.period {
        // The bot's own day, also where it is another than the one of this machine or of a replay.
        Some(period) if period.is_day(asked.today) => vec!["window=day".to_owned()],
        _ => from_and_to(asked, context),
    };
    // "The worst drawdown" is one number.
    let lower = asked.text.to_lowercase();
    let is_extreme =
        (asked.has(C::Best) || asked.has(C::Worst)) && !lower.contains("drawdown") && !lower.contains(" dd");
    let by_symbol = asked.has(C::PerSymbol) || is_extreme;
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
    if let Some(side) = side(asked).filter(|_| kind == Some("fill")) {
        select.mentions.push(side.to_owned());
    }
    if let Some(period) = asked.slots.period {
        let (from, to) = period.instants(context.now, context.zone);
        query.extend(from.map(|from| format!("since={}", instant(from))));
        select.until = to;
    } else if let Some(seconds) = asked.slots.seconds.and_then(|seconds| i64::try_from(seconds).ok()) {
        // "I was out for two hours, what did I miss".
        query.push(format!("since={}", instant(context.now - chrono::TimeDelta::seconds(seconds))));
    }
    match (asked.slots.count, select.until.is_some() || !select.mentions.is_empty()) {
        (Some(count), false) => query.push(format!("limit={count}")),
        (count, true) => {
            query.push(PAGE_MAX.to_owned());
            select.limit = count;
        }
        (None, false) => {}
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
        (select.since, select.until) = (from, to);
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
        (WordList::EndedStates, &["FILLED", "CANCELLED", "REJECTED", "EXPIRED"]),
    ]
    .into_iter()
    .filter(|(list, _)| says(asked, *list))
    // "Partially filled" is another state than "filled", and "not filled" is none of it.
    .filter(|(list, _)| {
        *list != WordList::FilledStates
            || !says(asked, WordList::PartlyStates) && !says(asked, WordList::Negations)
    })
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

/// How positions went that the text asks for; "unrealised profit or loss" asks for a number.
fn position_outcome(asked: &ParsedText) -> Option<bool> {
    let lower = asked.text.to_lowercase();
    let loses = ["under water", "in minus", "in the red", "in the minus", "at a loss", "in loss"]
        .iter()
        .any(|phrase| lower.contains(phrase));
    let wins =
        ["in the green", "in plus", "in profit", "in the black"].iter().any(|phrase| lower.contains(phrase));
    match (loses, wins) {
        (true, false) => Some(false),
        (false, true) => Some(true),
        _ => outcome(asked),
    }
}

pub(super) fn read_positions(asked: &ParsedText, _: &AskContext) -> AskPlan {
    let mut select = AnswerSelection::of("positions");
    select.symbols.clone_from(&asked.slots.symbols);
    select.limit = asked.slots.count;
    select.sign.extend(position_outcome(asked).map(|is_gain| ("unrealized_pl", is_gain)));
    // A short position has a quantity below zero.
    select.sign.extend(side(asked).map(|side| ("quantity", side == "BUY")));
    read_selected("/api/v1/state?fields=positions,mode", select)
}

pub(super) fn read_errors(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut select = AnswerSelection { symbols: Vec::new(), ..selected("items", asked, context) };
    // An error says where it is from in its words alone.
    if let Some(component) = named_part(asked) {
        select.mentions = component_words(component);
    } else if asked.has(C::Session) {
        select.mentions = component_words("broker_session");
    }
    let query = match (select.limit, select.since.or(select.until)) {
        (Some(count), None) if select.mentions.is_empty() => {
            select.limit = None;
            vec![format!("limit={count}")]
        }
        (None, None) if select.mentions.is_empty() => Vec::new(),
        _ => vec![PAGE_MAX.to_owned()],
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
    // "Over the last hour" and "until now" are of the time.
    const OF_TIME: [&str; 5] = ["over", "past", "now", "current", "currently"];
    let mut parts = asked.words.iter().flat_map(|word| word.lower.split(' '));
    let names_state = parts.any(|part| {
        let is_state = [WordList::OverStates, WordList::PendingStates, WordList::FiringStates]
            .iter()
            .any(|list| list.contains(part));
        is_state && !OF_TIME.contains(&part)
    });
    let is_timeless = select.since.or(select.until).is_none();
    query.extend(
        state
            .filter(|_| is_timeless || names_state || is_unacknowledged)
            .map(|state| format!("state={state}")),
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
        && select.since.or(select.until).is_none()
        && let Some(count) = select.limit.take()
    {
        query.push(format!("limit={count}"));
    }
    read_selected(with_query("/api/v1/health/alerts", &query), select)
}

/// The words by which a text of the bot speaks of a component.
fn component_words(component: &str) -> Vec<String> {
    let more: &[&str] = match component {
        "broker_session" => &["broker", "session", "AUTH_"],
        "store" => &["database", "DB_"],
        "database" => &["store", "DB_"],
        "system_resources" => &["memory", "disk", "cpu"],
        _ => &[],
    };
    std::iter::once(component).chain(more.iter().copied()).map(str::to_owned).collect()
}

/// The changes of health of the last hours, from the time that the text names.
pub(super) fn read_health_history(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut query = Vec::new();
    let mut select = AnswerSelection::of("items");
    if let Some(period) = asked.slots.period {
        let (from, to) = period.instants(context.now, context.zone);
        let hours = from.map_or(2_158, |from| (context.now - from).num_hours().clamp(0, 2_158)) + 1;
        query.push(format!("hours={hours}"));
        (select.since, select.until) = (from, to);
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
    let leaf = |key: &String| key.rsplit('.').next().unwrap_or(key).to_owned();
    select.mentions.extend(asked.slots.keys.iter().map(leaf));
    let query: Vec<String> =
        match select.since.or(select.until).is_none().then_some(()).filter(|()| select.mentions.is_empty()) {
            Some(()) => select.limit.take().map(|count| format!("limit={count}")).into_iter().collect(),
            None => Vec::new(),
        };
    read_selected(with_query(path, &query), select)
}

/// What the schema says, of one field where the text names one.
pub(super) fn read_schema(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let place = |key: &String| {
        // A field behind a reference has no place of its own.
        let parts: Vec<&str> = key.split('.').collect();
        let found = parts.iter().try_fold(&context.schema, |node, part| node.get("properties")?.get(part));
        found.map(|_| format!("properties.{}", parts.join(".properties.")))
    };
    let places: Vec<String> = asked.slots.keys.iter().filter_map(place).collect();
    if places.is_empty() {
        return read_call("/api/v1/config/schema");
    }
    read_call(format!("/api/v1/config/schema?fields={}", places.join(",")))
}

/// The numbers of all, or those of the machine where it is named.
pub(super) fn read_metrics(asked: &ParsedText, _: &AskContext) -> AskPlan {
    match named_part(asked).filter(|id| *id == "system_resources") {
        Some(id) => read_call(format!("/api/v1/health/components/{id}/metrics")),
        None => read_call("/api/v1/metrics"),
    }
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
