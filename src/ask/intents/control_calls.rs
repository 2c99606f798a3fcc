//! Commands to the bot, and requests that may mean several of them.

use serde_json::{Map, Value, json};

use super::config_calls::{config_change, end_trial};
use super::workflow_calls::{cancel_workflow, execute_workflow};
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

pub(super) fn choose_cancel(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let mut options: Vec<AskChoice> =
        vec![("cancel_orders", "cancel the open orders".into(), control_call("cancel-orders", asked, &[]))];
    if context.trial.is_some() {
        options.push((
            "config_cancel",
            "end the config trial and go back".into(),
            end_trial("cancel", context),
        ));
    }
    if context.running.is_some() {
        options.push((
            "workflow_cancel",
            "cancel the workflow that runs".into(),
            cancel_workflow(asked, context),
        ));
    }
    if options.len() == 1 {
        // Nothing else runs that could be cancelled, so the second option shows that.
        options.push((
            "workflows_list",
            "see the workflows and their runs; none is in progress".into(),
            read_call("/api/v1/workflows"),
        ));
    }
    AskPlan::Choose(options)
}

/// "Reset it": what is said to be reset, each with its own call.
pub(super) fn choose_reset(asked: &ParsedText, context: &AskContext) -> AskPlan {
    let rollback =
        config_change("/api/v1/config/rollback", &json!({"to": "previous", "reason": asked.reason()}));
    AskPlan::Choose(vec![
        (
            "reset_breaker",
            "let the circuit breaker try again".into(),
            control_call("reset-breaker", asked, &[]),
        ),
        (
            "workflow_run",
            "restart the bot and check it".into(),
            execute_workflow("restart-bot", asked, context),
        ),
        ("reauth", "sign in to the broker again".into(), control_call("reauth", asked, &[])),
        ("config_rollback", "go back to the config before".into(), rollback),
    ])
}
