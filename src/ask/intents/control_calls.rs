//! Commands to the bot, and requests that may mean several of them.

use serde_json::{Map, Value, json};

use super::workflow_calls::execute_workflow;
use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::{AskChoice, AskPlan, planned_call, read_call};
use botops_core::redact::MASK;

pub(super) fn control_call(verb: &str, asked: &ParsedText, symbols: &[String]) -> AskPlan {
    let code = asked.slots.sign_in_code.as_deref().filter(|_| verb == "reauth");
    let reason = code.map_or_else(|| asked.reason(), |code| asked.reason().replace(code, MASK));
    let mut body = Map::from_iter([("reason".to_owned(), json!(reason))]);
    if let Some(code) = code {
        body.insert("args".to_owned(), json!({"code": code}));
    }
    if !symbols.is_empty() {
        body.insert("symbols".to_owned(), json!(symbols));
    }
    let call = |suffix: &str| {
        planned_call("POST", format!("/api/v1/control/{verb}{suffix}"), Some(Value::Object(body.clone())))
    };
    AskPlan::Change { preview: call("?dry_run=true"), real: call("") }
}

pub(super) fn choose_stop(asked: &ParsedText, _: &AskContext) -> AskPlan {
    AskPlan::Choose(vec![
        ("pause", "open no new positions; exits go on".into(), control_call("pause", asked, &[])),
        (
            "flatten",
            "close every position at the market and open none".into(),
            control_call("flatten", asked, &[]),
        ),
        (
            "shutdown",
            "end the bot's process; positions and orders stay".into(),
            control_call("shutdown", asked, &[]),
        ),
    ])
}

/// "Cancel it": what there is to cancel, to be looked at, each with the words that would do it. None of it was spoken of.
pub(super) fn choose_cancel(_: &ParsedText, context: &AskContext) -> AskPlan {
    let mut options: Vec<AskChoice> = vec![(
        "orders",
        "see the open orders; `cancel the open orders` cancels them".into(),
        read_call("/api/v1/state?fields=orders,mode"),
    )];
    if let Some(txn) = &context.trial {
        options.push((
            "config_trial",
            "see the config change on trial; `cancel the trial` ends it and goes back".into(),
            read_call(format!("/api/v1/config/txns/{txn}")),
        ));
    }
    options.push(match &context.running {
        Some(run) => (
            "workflow_status",
            "see the workflow that runs; `cancel the workflow` ends it".into(),
            read_call(format!("/api/v1/workflows/runs/{run}")),
        ),
        None => (
            "workflows_list",
            "see the workflows and their runs; none is in progress".into(),
            read_call("/api/v1/workflows"),
        ),
    });
    AskPlan::Choose(options)
}

/// "Close it": what is open, to be looked at, each with the words that would close it.
pub(super) fn choose_close(_: &ParsedText, _: &AskContext) -> AskPlan {
    AskPlan::Choose(vec![
        (
            "positions",
            "see the open positions; `flatten` closes every one at the market".into(),
            read_call("/api/v1/state?fields=positions,mode"),
        ),
        (
            "orders",
            "see the open orders; `cancel the open orders` cancels them".into(),
            read_call("/api/v1/state?fields=orders,mode"),
        ),
    ])
}

/// "Reset it": what is said to be reset, to be looked at, each with the words that would do it. "Reset the bot" names one.
pub(super) fn choose_reset(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut options: Vec<AskChoice> = Vec::new();
    if asked.words.iter().any(|word| word.lower == "bot") {
        let restart = execute_workflow("restart-bot", asked, context);
        options.push(("workflow_run", "restart the bot and check it".into(), restart));
    }
    options.extend([
        (
            "breaker",
            "see the circuit breaker; `reset the breaker` lets it try again".into(),
            read_call("/api/v1/state?fields=circuit_breaker,no_entry_reasons,session,locks"),
        ),
        (
            "config_history",
            "see the config's versions; `undo the last config change` goes back by one".into(),
            read_call("/api/v1/config/versions"),
        ),
        (
            "session",
            "see the broker session; `sign in to the broker again` renews it".into(),
            read_call("/api/v1/state?fields=session,circuit_breaker,health"),
        ),
    ]);
    AskPlan::Choose(options)
}
