//! What is wrong with the bot's own code or folder, told as a failure of the bot: in its state, as an event and in the log.

use botops_contract::{SemanticError, Severity};
use serde_json::json;

use super::bot_handle::BotHandle;

/// A kind of problem: its code behind `SDK_`, and what it means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProblemKind {
    code: &'static str,
    severity: Severity,
    cause: &'static str,
    impact: &'static str,
    remediation: &'static str,
}

impl ProblemKind {
    /// A config could not be taken over or taken back.
    pub(crate) const fn of_config(code: &'static str) -> Self {
        Self {
            code,
            severity: Severity::High,
            cause: "a config could not be taken over or taken back",
            impact: "the bot may run other values than what was agreed",
            remediation: "Compare what GET config says with what was committed, and look at the bot's apply.",
        }
    }

    /// What is kept over a restart is not.
    pub(crate) const fn of_files(code: &'static str) -> Self {
        Self {
            code,
            severity: Severity::Medium,
            cause: "the bot's data folder cannot be used as it should",
            impact: "trades, answers or a config may not outlive a restart",
            remediation: "Give the bot a folder for its data that it may write to, with room on its disk.",
        }
    }
}

/// Tells a problem of this part of the bot.
pub(crate) fn report_problem(bot: &BotHandle, part: &str, kind: ProblemKind, message: &str) {
    tracing::error!("{part}: {message}");
    bot.error(SemanticError {
        error_code: format!("SDK_{}", kind.code),
        error_type: "ValidationError".to_owned(),
        severity: kind.severity,
        severity_raw: None,
        message: format!("{part}: {message}"),
        cause: kind.cause.to_owned(),
        impact: kind.impact.to_owned(),
        remediation: kind.remediation.to_owned(),
        context: json!({"where": part}),
        timestamp: None,
    });
}
