//! The form of a rule: which concepts ask for an intent, and what it comes to.

use crate::ask::concept::WordConcept;
use crate::ask::context::AskContext;
use crate::ask::parsed_text::ParsedText;
use crate::ask::plan::AskPlan;
use crate::ask::word::SlotKind;

/// One intent.
pub(crate) struct IntentRule {
    pub(crate) intent: &'static str,
    /// What it does, for options and help.
    pub(crate) title: &'static str,
    pub(crate) needs: &'static [&'static [WordConcept]],
    /// Concepts that fit in as well.
    pub(crate) also: &'static [WordConcept],
    /// Concepts that rule it out.
    pub(crate) never: &'static [WordConcept],
    pub(crate) slots: &'static [SlotKind],
    /// What concepts cannot say.
    pub(crate) when: fn(&ParsedText) -> bool,
    pub(crate) build: fn(&ParsedText, &AskContext) -> AskPlan,
}

impl std::fmt::Debug for IntentRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.intent)
    }
}

/// For a rule without more to ask for.
pub(super) fn always(_: &ParsedText) -> bool {
    true
}
