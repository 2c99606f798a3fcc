//! Reads of the state, of performance and of events.

use crate::ask::concept::WordConcept as C;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskPlan, read_call};
use crate::ask::slots::AskedPeriod;
use botops_core::text::percent_encode;

pub(super) fn read_state(fields: &str) -> AskPlan {
    read_call(format!("/api/v1/state?fields={fields}"))
}

pub(super) fn read_performance(asked: &ParsedText) -> AskPlan {
    let mut query = match asked.slots.period {
        // The bot's own day, also where it is another than the one of this machine or of a replay.
        Some(AskedPeriod { from, to, .. }) if from == asked.today && to == asked.today => {
            vec!["window=day".to_owned()]
        }
        Some(AskedPeriod { from, to, .. }) => vec![format!("from={from}"), format!("to={to}")],
        None => Vec::new(),
    };
    let by_symbol = asked.has(C::PerSymbol)
        || asked.has(C::Best)
        || asked.has(C::Worst)
        || !asked.slots.symbols.is_empty();
    if let Some(symbol) = asked.slots.symbols.first() {
        query.push(format!("symbol={}", percent_encode(symbol)));
    }
    if by_symbol && asked.slots.symbols.is_empty() {
        query.push("by=symbol".to_owned());
    }
    let mark = if query.is_empty() { "" } else { "?" };
    read_call(format!("/api/v1/performance{mark}{}", query.join("&")))
}

pub(super) fn read_events(kind: Option<&str>) -> AskPlan {
    let kind = kind.map(|kind| format!("?kind={kind}")).unwrap_or_default();
    read_call(format!("/api/v1/events{kind}"))
}
