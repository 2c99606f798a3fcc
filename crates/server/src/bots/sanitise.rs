//! Everything a bot says is cleaned and bounded here, once, before it is kept.
//!
//! Texts lose control and bidi characters and are capped; lists are capped and say how much was cut; free-form JSON
//! is capped in bytes. What passes is still untrusted in its meaning, but no longer in its form.

use serde_json::{Value, json};

use super::snapshot::DroppedItems;
use botops_contract::{
    BotEvent, BotReport, CheckVerdict, CommandResult, ConfigAck, ConfigState, ContractRefusal, Hello, Order,
    SemanticError, Session, Trade, TradePage, TrialState, VersionRef,
};
use botops_core::text::clean;

/// Longest sentence.
const SENTENCE: usize = 500;
/// Longest id: order, trade, transaction, boot.
const ID: usize = 128;
/// Longest word of a vocabulary: a code, a phase, a source.
const WORD: usize = 64;
/// Longest symbol; option symbols have 21 characters.
const SYMBOL: usize = 32;
/// Largest free-form JSON, in bytes as it is written.
const FREE_FORM: usize = 8 * 1024;

const MAX_POSITIONS: usize = 20_000;
const MAX_ORDERS: usize = 2_000;
const MAX_ERRORS: usize = 200;
const MAX_NAMES: usize = 200;

/// Cleans a report in place and says what was cut off its lists.
pub(super) fn report(report: &mut BotReport) -> DroppedItems {
    let dropped = DroppedItems {
        positions: cut(&mut report.positions, MAX_POSITIONS),
        orders: cut(&mut report.orders, MAX_ORDERS),
        errors: cut(&mut report.recent_errors, MAX_ERRORS),
    };
    text(&mut report.boot_epoch, ID);
    optional(&mut report.phase_reason, SENTENCE);
    for position in &mut report.positions {
        text(&mut position.symbol, SYMBOL);
    }
    report.orders.iter_mut().for_each(order);
    text(&mut report.market.phase, WORD);
    text(&mut report.market.source, WORD);
    if let Some(found) = &mut report.session {
        session(found);
    }
    optional(&mut report.circuit_breaker.reason, SENTENCE);
    optional(&mut report.circuit_breaker.source, WORD);
    optional(&mut report.circuit_breaker.needs_human, WORD);
    version(&mut report.config.running);
    version(&mut report.config.committed);
    if let Some(found) = &mut report.config.trial {
        trial(found);
    }
    names(&mut report.config.pending_restart);
    report.recent_errors.iter_mut().for_each(semantic_error);
    names(&mut report.no_entry_reasons);
    dropped
}

/// Cleans the `hello` of whoever answered.
pub(super) fn hello(hello: &mut Hello) {
    text(&mut hello.name, WORD);
    text(&mut hello.version, WORD);
    text(&mut hello.boot_epoch, ID);
    cut(&mut hello.capabilities, WORD);
    hello.capabilities.iter_mut().for_each(|name| text(name, WORD));
    optional(&mut hello.log_dir, 4096);
}

/// Cleans one event of the bot.
pub(super) fn event(event: &mut BotEvent) {
    text(&mut event.boot_epoch, ID);
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
    cut(&mut result.exposure.positions_closing, MAX_POSITIONS);
    result.exposure.positions_closing.iter_mut().for_each(|symbol| text(symbol, SYMBOL));
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
    for violation in &mut verdict.violations {
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

/// Cleans a page of trades.
pub(super) fn trades(page: &mut TradePage) {
    page.items.iter_mut().for_each(trade);
}

fn trade(trade: &mut Trade) {
    text(&mut trade.id, ID);
    text(&mut trade.symbol, SYMBOL);
    text(&mut trade.entry_reason, SENTENCE);
    text(&mut trade.exit_reason, SENTENCE);
    text(&mut trade.boot_epoch, ID);
    text(&mut trade.config_sha256, ID);
}

fn order(order: &mut Order) {
    text(&mut order.id, ID);
    text(&mut order.client_order_id, ID);
    text(&mut order.symbol, SYMBOL);
    optional(&mut order.status_reason, SENTENCE);
}

fn session(session: &mut Session) {
    text(&mut session.broker, WORD);
    optional(&mut session.reason, SENTENCE);
    optional(&mut session.error_code, WORD);
    optional(&mut session.needs_human, WORD);
}

fn semantic_error(error: &mut SemanticError) {
    text(&mut error.error_code, WORD);
    text(&mut error.error_type, WORD);
    text(&mut error.message, SENTENCE);
    text(&mut error.cause, SENTENCE);
    text(&mut error.impact, SENTENCE);
    text(&mut error.remediation, SENTENCE);
    free_form(&mut error.context);
}

fn version(version: &mut VersionRef) {
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
