//! Everything a bot says is cleaned and bounded here, once, before it is kept.
//!
//! Texts lose control and bidi characters and are capped; lists are capped and say how much was cut; free-form JSON
//! is capped in bytes. What passes is still untrusted in its meaning, but no longer in its form.

use serde_json::{Value, json};

use super::reading::{UnreadablePart, harmless_json};
use super::snapshot::DroppedItems;
use botops_contract::{
    BotEvent, BotReport, CheckVerdict, CommandResult, ConfigAck, ConfigState, ContractRefusal, Hello,
    MarketState, Order, SemanticError, Session, Trade, TrialState, VerbatimJson, VersionRef,
};
use botops_core::redact;
use botops_core::text::clean;

/// Longest sentence.
const SENTENCE: usize = 500;
/// Longest id: order, trade, transaction, boot.
const ID: usize = 128;
/// Longest word of a vocabulary: a code, a phase, a source.
const WORD: usize = 64;
/// Longest symbol, by the contract.
const SYMBOL: usize = 64;
/// Longest path of a folder, as on Linux.
const FOLDER: usize = 4096;
/// Largest free-form JSON, in bytes as it is written.
const FREE_FORM: usize = 8 * 1024;

/// Positions that are kept of a report; more are counted.
const MAX_POSITIONS: usize = 20_000;
/// Orders that are kept of a report; more are counted.
const MAX_ORDERS: usize = 2_000;
/// Recent errors, and violations of a config, that are kept.
const MAX_ERRORS: usize = 200;
/// Names of a list (reasons, fields) that are kept.
const MAX_NAMES: usize = 200;

/// Cleans a report in place, says what was cut off its lists, and writes out what follows from what it says.
///
/// A symbol is what somebody would act on, so one that is too long is named in `unreadable` as well.
pub(super) fn report(report: &mut BotReport, unreadable: &mut Vec<UnreadablePart>) -> DroppedItems {
    let beyond = report.orders.as_ref().and_then(|orders| orders.get(MAX_ORDERS..)).unwrap_or_default();
    let dropped = DroppedItems {
        open_orders: beyond.iter().filter(|order| order.may_still_fill()).count(),
        positions: report.positions.as_mut().map_or(0, |positions| cut(positions, MAX_POSITIONS)),
        orders: report.orders.as_mut().map_or(0, |orders| cut(orders, MAX_ORDERS)),
        locks: report.locks.as_mut().map_or(0, |locks| cut(locks, MAX_NAMES)),
        errors: report.recent_errors.as_mut().map_or(0, |errors| cut(errors, MAX_ERRORS)),
        ..DroppedItems::default()
    };
    optional(&mut report.boot_epoch, ID);
    optional(&mut report.mode_raw, WORD);
    optional(&mut report.phase_raw, WORD);
    optional(&mut report.phase_reason, SENTENCE);
    optional(&mut report.day.zone, WORD);
    optional(&mut report.account.account_id, ID);
    optional(&mut report.account.currency, WORD);
    for (index, position) in report.positions.iter_mut().flatten().enumerate() {
        symbol(&mut position.symbol, || format!("/positions/{index}/symbol"), unreadable);
    }
    for (index, found) in report.orders.iter_mut().flatten().enumerate() {
        order(found);
        if let Some(name) = &mut found.symbol {
            symbol(name, || format!("/orders/{index}/symbol"), unreadable);
        }
    }
    optional(&mut report.performance.streak_type_raw, WORD);
    market(&mut report.market);
    if let Some(found) = &mut report.session {
        session(found);
    }
    if let Some(breaker) = &mut report.circuit_breaker {
        optional(&mut breaker.reason, SENTENCE);
        optional(&mut breaker.source, WORD);
        optional(&mut breaker.state_raw, WORD);
        optional(&mut breaker.needs_human, WORD);
        optional(&mut breaker.stops, SENTENCE);
    }
    if let Some(config) = &mut report.config {
        version(&mut config.running);
        version(&mut config.committed);
        if let Some(found) = &mut config.trial {
            trial(found);
        }
        names(&mut config.pending_restart);
        optional(&mut config.summary.mode_raw, WORD);
    }
    if let Some(echoed) = &mut report.echoed_config {
        for sentence in [&mut echoed.reason, &mut echoed.proof] {
            *sentence = clean(&redact::line(sentence), SENTENCE);
        }
        let harmless = harmless_json(echoed.values.as_str(), FREE_FORM);
        echoed.values = VerbatimJson::parse(harmless).unwrap_or_default();
        echoed.as_of = echoed.as_of.or(report.as_of);
    }
    report.recent_errors.iter_mut().flatten().for_each(semantic_error);
    if let Some(reasons) = &mut report.no_entry_reasons {
        names(reasons);
    }
    for (index, lock) in report.locks.iter_mut().flatten().enumerate() {
        symbol(&mut lock.symbol, || format!("/locks/{index}/symbol"), unreadable);
        optional(&mut lock.side, WORD);
        optional(&mut lock.reason, SENTENCE);
    }
    cut(&mut report.unknown, MAX_NAMES);
    for unknown in &mut report.unknown {
        text(&mut unknown.field, ID);
        optional(&mut unknown.why_raw, WORD);
    }
    dropped
}

fn market(market: &mut MarketState) {
    optional(&mut market.status_raw, WORD);
    optional(&mut market.phase, WORD);
    optional(&mut market.source, WORD);
}

/// A symbol of more than 64 characters ends with an ellipsis, so that nobody takes it for a whole one. One that is missing
/// is named: nobody could act on what it belongs to.
fn symbol(name: &mut String, pointer: impl FnOnce() -> String, unreadable: &mut Vec<UnreadablePart>) {
    if name.is_empty() {
        let pointer = pointer();
        if unreadable.iter().all(|part| part.pointer != pointer) {
            unreadable.push(UnreadablePart::new(
                "GET state",
                &pointer,
                "nothing",
                "the symbol of the position",
            ));
        }
        return;
    }
    if name.len() > SYMBOL && name.chars().count() > SYMBOL {
        unreadable.push(UnreadablePart::new(
            "GET state",
            &pointer(),
            name,
            "a symbol of at most 64 characters",
        ));
        text(name, SYMBOL - 1);
        name.push('…');
    } else {
        text(name, SYMBOL);
    }
}

/// Cleans the `hello` of whoever answered.
pub(super) fn hello(hello: &mut Hello) {
    optional(&mut hello.name, WORD);
    optional(&mut hello.version, WORD);
    optional(&mut hello.boot_epoch, ID);
    optional(&mut hello.mode_raw, WORD);
    cut(&mut hello.capabilities, WORD);
    for capability in &mut hello.capabilities {
        text(&mut capability.name, WORD);
        optional(&mut capability.guarantee_raw, WORD);
    }
    optional(&mut hello.log_dir, FOLDER);
    if let Some(adapter) = &mut hello.adapter {
        text(&mut adapter.name, WORD);
        optional(&mut adapter.version, WORD);
    }
}

/// Cleans one event of the bot.
pub(super) fn event(event: &mut BotEvent) {
    text(&mut event.boot_epoch, ID);
    optional(&mut event.kind_raw, WORD);
    optional(&mut event.severity_raw, WORD);
    text(&mut event.message, SENTENCE);
    if let Some(error) = &mut event.error {
        semantic_error(error);
    }
    free_form(&mut event.data);
}

/// Cleans the answer to a command.
pub(super) fn command_result(result: &mut CommandResult) {
    text(&mut result.command_id, ID);
    optional(&mut result.reason_code, WORD);
    text(&mut result.message, SENTENCE);
    optional(&mut result.phase_raw, WORD);
    if let Some(closing) = result.exposure.as_mut().and_then(|exposure| exposure.positions_closing.as_mut()) {
        cut(closing, MAX_POSITIONS);
        closing.iter_mut().for_each(|symbol| text(symbol, SYMBOL));
    }
}

/// Cleans a refusal.
pub(super) fn refusal(refusal: &mut ContractRefusal) {
    text(&mut refusal.code, WORD);
    text(&mut refusal.message, SENTENCE);
    free_form(&mut refusal.context);
}

/// Cleans the verdict of the bot's check of a document.
pub(super) fn verdict(verdict: &mut CheckVerdict) {
    cut(&mut verdict.violations, MAX_ERRORS);
    cut(&mut verdict.warnings, MAX_ERRORS);
    for violation in verdict.violations.iter_mut().chain(&mut verdict.warnings) {
        text(&mut violation.path, SENTENCE);
        text(&mut violation.code, WORD);
        text(&mut violation.message, SENTENCE);
        optional(&mut violation.fix, SENTENCE);
    }
    names(&mut verdict.hot);
    names(&mut verdict.restart);
}

/// Cleans the state of the config that the bot reports.
pub(super) fn config_state(state: &mut ConfigState) {
    text(&mut state.boot_epoch, ID);
    version(&mut state.running);
    version(&mut state.committed);
    if let Some(found) = &mut state.trial {
        trial(found);
    }
    names(&mut state.pending_restart);
    if let Some((txn, ending)) = &mut state.last_outcome {
        text(txn, ID);
        text(ending, WORD);
    }
}

/// Cleans the acknowledgement of an activation, a commit or a revert.
pub(super) fn config_ack(ack: &mut ConfigAck) {
    text(&mut ack.txn, ID);
    version(&mut ack.running);
    text(&mut ack.boot_epoch, ID);
}

/// Cleans trades of the journal.
pub(super) fn trades(trades: &mut [Trade]) {
    trades.iter_mut().for_each(trade);
}

fn trade(trade: &mut Trade) {
    text(&mut trade.id, ID);
    text(&mut trade.symbol, SYMBOL);
    optional(&mut trade.account_id, ID);
    optional(&mut trade.side_raw, WORD);
    optional(&mut trade.outcome_raw, WORD);
    text(&mut trade.entry_reason, SENTENCE);
    text(&mut trade.exit_reason, SENTENCE);
    text(&mut trade.boot_epoch, ID);
    text(&mut trade.config_sha256, ID);
}

fn order(order: &mut Order) {
    text(&mut order.id, ID);
    text(&mut order.client_order_id, ID);
    optional(&mut order.side_raw, WORD);
    optional(&mut order.order_type_raw, WORD);
    optional(&mut order.status_raw, WORD);
    optional(&mut order.status_reason, SENTENCE);
}

fn session(session: &mut Session) {
    session.is_healthy = session.known_health();
    text(&mut session.broker, WORD);
    optional(&mut session.state_raw, WORD);
    optional(&mut session.gate_raw, WORD);
    optional(&mut session.reason, SENTENCE);
    optional(&mut session.error_code, WORD);
    optional(&mut session.needs_human, WORD);
}

fn semantic_error(error: &mut SemanticError) {
    text(&mut error.error_code, WORD);
    text(&mut error.error_type, WORD);
    optional(&mut error.severity_raw, WORD);
    text(&mut error.message, SENTENCE);
    text(&mut error.cause, SENTENCE);
    text(&mut error.impact, SENTENCE);
    text(&mut error.remediation, SENTENCE);
    free_form(&mut error.context);
}

pub(super) fn version(version: &mut VersionRef) {
    text(&mut version.sha256, ID);
}

fn trial(trial: &mut TrialState) {
    text(&mut trial.txn, ID);
    version(&mut trial.candidate);
}

fn names(names: &mut Vec<String>) {
    cut(names, MAX_NAMES);
    names.iter_mut().for_each(|name| text(name, SENTENCE));
}

fn text(value: &mut String, max: usize) {
    // Most texts are short plain words: nothing to copy then.
    let plain = value.len() <= max && value.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    if !plain {
        *value = clean(value, max);
    }
}

fn optional(value: &mut Option<String>, max: usize) {
    if let Some(value) = value {
        text(value, max);
    }
}

fn cut<T>(items: &mut Vec<T>, max: usize) -> usize {
    let dropped = items.len().saturating_sub(max);
    items.truncate(max);
    // Give the memory of what was cut back.
    if dropped > 0 {
        items.shrink_to_fit();
    }
    dropped
}

fn free_form(value: &mut Value) {
    if value.is_null() {
        return;
    }
    let bytes = value.to_string().len();
    if bytes > FREE_FORM {
        *value = json!({ "omitted_bytes": bytes });
        return;
    }
    *value = cleaned(std::mem::take(value));
}

fn cleaned(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(&text, SENTENCE)),
        Value::Array(items) => items.into_iter().map(cleaned).collect(),
        Value::Object(members) => {
            members.into_iter().map(|(key, value)| (clean(&key, WORD), cleaned(value))).collect()
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_form_json_is_bounded_and_its_keys_are_cleaned() {
        let mut huge = json!({ "a": "x".repeat(FREE_FORM) });
        free_form(&mut huge);
        assert_eq!(huge, json!({ "omitted_bytes": FREE_FORM + 8 }));
        let mut hostile = json!({ "a\u{202e}b": ["c\u{1b}[0m", 7, null] });
        free_form(&mut hostile);
        assert_eq!(hostile, json!({ "ab": ["c[0m", 7, null] }));
    }

    #[test]
    fn a_refusal_of_a_mebibyte_becomes_a_sentence() {
        let mut found =
            ContractRefusal { code: "x\n".into(), message: "é".repeat(1 << 20), context: Value::Null };
        refusal(&mut found);
        assert_eq!(found.message.chars().count(), SENTENCE);
        assert_eq!(found.code, "x ");
    }

    #[test]
    fn lists_are_cut_and_the_cut_is_counted() {
        let mut many = vec![0_u8; 12];
        assert_eq!(cut(&mut many, 10), 2);
        assert_eq!(many.len(), 10);
        assert_eq!(cut(&mut many, 10), 0);
    }
}
