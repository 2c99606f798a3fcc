//! Reads of what is over: closed trades and incidents; and the read that waits until a component works again.

use super::conditions::{asks_when_it_was, is_about_a_part, is_about_the_machine, misses_trades};
use super::read_calls::{from_and_to, instant, named_part, outcome, says, side, with_query};
use crate::ask::answer_selection::AnswerSelection;
use crate::ask::concept::WordConcept as C;
use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskPlan, read_call, read_selected};
use crate::ask::word_lists::WordList;
use botops_core::text::percent_encode;

/// How long one question waits: less than its handler may take.
const WAIT: &str = "25s";

/// Whether the text asks for trades one by one, and not for what they came to.
pub(super) fn asks_for_trades(asked: &ParsedText) -> bool {
    let names_trades = asked.has(C::Trade) && (says(asked, WordList::TradeNouns) || names_an_exit(asked));
    let is_counted = asked.words.first().is_some_and(|word| word.lower.starts_with("how"));
    // "Losing" and "won" say which trades; "profit" and "drawdown" ask for a number.
    let asks_number = asked.words.iter().any(|word| {
        let mut parts = word.lower.split(' ');
        word.is(C::Performance)
            && word.slot.is_none()
            && !matches!(word.lower.as_str(), "end in a loss" | "ended in a loss" | "at a loss")
            && !parts.any(|part| WordList::WinStates.contains(part) || WordList::LossStates.contains(part))
    });
    // "Entry, exit and reason" are of trades, whatever else is named.
    let lower = asked.text.to_lowercase();
    let names_both = lower.contains("entry") && lower.contains("exit") && asked.has(C::Trade);
    names_both || names_trades && !asked.has(C::Not) && !is_counted && !asks_number && !asked.opens_with_be()
}

/// "Entry and exit", "the exit price", "closed with": whether the text names the end of trades.
fn names_an_exit(asked: &ParsedText) -> bool {
    // "By exit reason" groups.
    let groups = asked.words.windows(2).any(|pair| matches!(pair, [by, exit] if matches!(by.lower.as_str(), "by" | "per" | "each") && exit.lower.starts_with("exit")));
    let mut parts = asked.words.iter().flat_map(|word| word.lower.split(' '));
    !groups
        && parts.any(|part| matches!(part, "exit" | "exits" | "exited" | "closed"))
        && !asked.has(C::Not)
        && !asked.has(C::Order)
}

/// "Why did we lose today": the trades that lost, with their reasons.
pub(super) fn asks_why_lost(asked: &ParsedText) -> bool {
    let groups = asked
        .words
        .windows(3)
        .any(|three| matches!(three, [by, _, reason] if by.lower == "by" && reason.is(C::Why)));
    asked.is_question && asked.has(C::Why) && outcome(asked).is_some() && !asked.has(C::Config) && !groups
}

/// How the trades went that the text asks for: "bad ones", "ended in a loss".
fn trade_outcome(asked: &ParsedText) -> Option<bool> {
    let has = |wanted: &[&str]| {
        asked.words.iter().flat_map(|word| word.lower.split(' ')).any(|word| wanted.contains(&word))
    };
    outcome(asked)
        .or_else(|| (has(&["bad", "loss", "red"]) && !has(&["profit", "good", "gain"])).then_some(false))
}

/// By what trades are ordered where the text wants the first of them: "the worst three", "the biggest winners".
fn trade_order(asked: &ParsedText) -> Option<&'static str> {
    let has = |wanted: &[&str]| {
        asked.words.iter().flat_map(|word| word.lower.split([' ', '-'])).any(|word| wanted.contains(&word))
    };
    // The biggest of what lost are the worst.
    let is_size = has(&["biggest", "largest", "top", "most", "heaviest", "highest", "greatest"]);
    match (asked.has(C::Best), asked.has(C::Worst), trade_outcome(asked)) {
        (_, true, Some(true)) if !is_size => None,
        (_, _, Some(false)) if is_size || has(&["worst"]) => Some("worst"),
        (_, _, Some(true)) if is_size || has(&["best"]) => Some("best"),
        (true, false, _) => Some("best"),
        (false, true, _) => Some("worst"),
        _ => None,
    }
}

/// "The worst trade": one is asked for, and not how each symbol went.
fn names_one_trade(asked: &ParsedText) -> bool {
    let mut parts = asked.words.iter().flat_map(|word| word.lower.split(' '));
    parts.any(|part| matches!(part, "trade" | "deal" | "loser" | "winner"))
}

pub(super) fn read_trades(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut query: Vec<String> = Vec::new();
    if !asked.slots.symbols.is_empty() {
        let symbols: Vec<String> = asked.slots.symbols.iter().map(|symbol| percent_encode(symbol)).collect();
        query.push(format!("symbol={}", symbols.join(",")));
    }
    // "Why did it sell" asks for no side.
    let names_side = asked
        .words
        .iter()
        .flat_map(|word| word.lower.split(' '))
        .any(|word| matches!(word, "long" | "longs" | "short" | "shorts"));
    query.extend(side(asked).filter(|_| names_side).map(|side| format!("side={side}")));
    query
        .extend(trade_outcome(asked).map(|is_win| format!("result={}", if is_win { "win" } else { "loss" })));
    let lower = asked.text.to_lowercase();
    let by_stop = [
        "stopped out",
        "hit the stop",
        "hit their stop",
        "hit its stop",
        "stop loss",
        "by the stop",
        "by a stop",
        "by their stop",
        "by its stop",
        "at the stop",
    ];
    if says(asked, WordList::StopReasons) || by_stop.iter().any(|phrase| lower.contains(phrase)) {
        query.push("reason=stop".to_owned());
    }
    if ["take profit", "took profit", "take-profit"].iter().any(|phrase| lower.contains(phrase)) {
        query.push("reason=profit".to_owned());
    }
    query.extend(asked.slots.versions.first().map(|version| format!("version={version}")));
    query.extend(from_and_to(asked, context));
    let order = trade_order(asked);
    query.extend(order.map(|order| format!("sort={order}")));
    let one = order.filter(|_| names_one_trade(asked)).map(|_| 1);
    query.extend(asked.slots.count.or(one).map(|count| format!("limit={count}")));
    read_call(with_query("/api/v1/trades", &query))
}

/// "What happened last night", "what did I miss": whether the text asks for what somebody who was not there wants to know.
pub(super) fn asks_what_was_missed(asked: &ParsedText) -> bool {
    let lower = asked.text.to_lowercase();
    // "What happened overnight" is asked of the journal, "any errors overnight" of the errors.
    const TROUBLE: &[&str] = &[
        "broke",
        "break",
        "broken",
        "wrong",
        "crash",
        "crashed",
        "bad",
        "trouble",
        "recover",
        "recovered",
        "heal",
        "healing",
        "fix",
    ];
    let trouble =
        asked.words.iter().flat_map(|word| word.lower.split([' ', '-'])).any(|word| TROUBLE.contains(&word));
    let was_away = says(asked, WordList::AwayWords)
        || WordList::AwayPhrases.phrases().iter().any(|phrase| lower.contains(phrase.as_str()));
    trouble && was_away
}

/// "What has recovery tried": whether the text asks for what was done, and not for what is planned.
pub(super) fn asks_what_was_tried(asked: &ParsedText) -> bool {
    says(asked, WordList::TryWords)
}

pub(super) fn read_incidents(asked: &ParsedText, context: &AskContext) -> AskPlan {
    // A bare number is what most people say of it.
    let id = asked.slots.id.as_deref().map(|id| id.strip_prefix("inc-").unwrap_or(id));
    if let Some(number) = id.filter(|id| id.chars().all(|c| c.is_ascii_digit())) {
        return read_call(format!("/api/v1/incidents/inc-{number}"));
    }
    let mut query: Vec<String> = Vec::new();
    let mut select = AnswerSelection::of("items");
    if let Some(period) = asked.slots.period {
        let (from, to) = period.instants(context.now, context.zone);
        query.extend(from.map(|from| format!("since={}", instant(from))));
        select.until = to;
    }
    let state = if says(asked, WordList::FiringStates) {
        Some("open")
    } else if says(asked, WordList::OverStates) {
        Some("over")
    } else {
        None
    };
    query.extend(state.map(|state| format!("state={state}")));
    let component = named_part(asked);
    query.extend(component.map(|id| format!("component={}", percent_encode(id))));
    query.extend(asked.slots.count.map(|count| format!("limit={count}")));
    read_selected(with_query("/api/v1/incidents", &query), select)
}

/// "Tell me when it is back": whether the text asks to be answered later.
pub(super) fn asks_to_wait(asked: &ParsedText) -> bool {
    let text = format!(" {} ", asked.text.to_lowercase());
    let has = |list: WordList| list.phrases().iter().any(|phrase| text.contains(&format!(" {phrase} ")));
    has(WordList::TellPhrases) && has(WordList::UntilWords)
}

pub(super) fn wait_for_health(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let is_of_broker = asked.has(C::Session) && context.components.iter().any(|id| id == "broker_session");
    let id = named_part(asked).unwrap_or(if is_of_broker { "broker_session" } else { "bot" });
    read_call(format!("/api/v1/health/components/{id}?until=up&wait={WAIT}"))
}

/// Whether the text asks for failures, and not for lost trades or for missing ones.
pub(super) fn asks_for_errors(asked: &ParsedText) -> bool {
    let is_of_trades =
        asks_for_trades(asked) && asked.has(C::Why) || misses_trades(asked) && asked.is_question;
    !(is_of_trades || asks_what_was_missed(asked))
}

/// Whether the text asks how one component is at the moment.
pub(super) fn asks_how_a_part_is(asked: &ParsedText) -> bool {
    let asks_number = asked.has(C::Metric) && is_about_the_machine(asked);
    let is_otherwise = asks_number || asks_to_wait(asked) || asks_when_it_was(asked);
    let names_a_state = [C::Health, C::Component, C::Okay, C::Alive, C::Summary, C::Metric]
        .iter()
        .any(|concept| asked.has(*concept));
    is_about_a_part(asked) && names_a_state && !is_otherwise
}
