//! The form of a rule: which concepts ask for an intent, and which calls it becomes.

use crate::ask::concept::WordConcept;
use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::AskPlan;
use crate::ask::word::SlotKind;

/// The rule of one intent. `needs` lists groups of concepts; each group must match a word of its own.
pub(crate) struct IntentRule {
    pub(crate) intent: &'static str,
    /// What the intent does, in a few words, for options and help.
    pub(crate) title: &'static str,
    pub(crate) needs: &'static [&'static [WordConcept]],
    /// Further concepts that the rule explains, at a slightly lower score.
    pub(crate) also: &'static [WordConcept],
    /// Concepts that rule the intent out.
    pub(crate) never: &'static [WordConcept],
    pub(crate) slots: &'static [SlotKind],
    /// A condition on the text that concepts cannot express.
    pub(crate) when: fn(&ParsedText) -> bool,
    pub(crate) build: fn(&ParsedText, &AskContext) -> AskPlan,
}

impl IntentRule {
    /// Whether the intent stops the bot's trading, starts it, or cancels something: such a one takes a word of its own.
    pub(crate) fn is_dangerous(&self) -> bool {
        matches!(
            self.intent,
            "pause"
                | "resume"
                | "flatten"
                | "shutdown"
                | "stop"
                | "close"
                | "cancel"
                | "cancel_orders"
                | "workflow_cancel"
                | "config_cancel"
                | "reset_breaker"
        )
    }
}

impl IntentRule {
    /// Whether the intent changes something.
    pub(crate) fn acts(&self) -> bool {
        self.is_dangerous()
            || matches!(
                self.intent,
                "config_set"
                    | "config_rollback"
                    | "config_confirm"
                    | "workflow_run"
                    | "reset"
                    | "probe_session"
                    | "reauth"
                    | "silence"
                    | "acknowledge"
                    | "health_check"
            )
    }
}

impl std::fmt::Debug for IntentRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.intent)
    }
}

/// The `when` of a rule without a further condition.
pub(super) fn always(_: &ParsedText) -> bool {
    true
}
