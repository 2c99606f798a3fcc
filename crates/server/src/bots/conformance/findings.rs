//! What a conformance run finds: one sentence a fault, with its place and what to do about it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::manual_place::manual_place;
use crate::bots::reading::UnreadablePart;
use botops_core::text::clean;

/// Characters of a place, of what came and of a sentence that may hold words of the bot.
const PLACE_SHOWN: usize = 200;
const GOT_SHOWN: usize = 120;
const SENTENCE_SHOWN: usize = 800;
/// A command names a path twice at most.
const COMMAND_SHOWN: usize = 10_000;

/// Rules about words: each word at a place is told by itself, up to this many.
const WORD_RULES: [&str; 2] = ["own_word", "word_in_no_list"];
const MOST_WORDS: usize = 20;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingWeight {
    /// botops cannot use what came, or would act or tell wrongly by it.
    Fault,
    /// botops can use it, with a loss or a risk.
    Warning,
    /// It is right, and could be better.
    Hint,
}

impl FindingWeight {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Hint => "hint",
        }
    }
}

/// One finding. Texts that came from the bot are cleaned and bounded, and stay untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConformanceFinding {
    /// How much it weighs.
    pub weight: FindingWeight,
    /// The stable name of what was looked at, such as `naive_time`.
    pub rule: &'static str,
    /// The call in whose answer it is, such as `GET state`; `socket` for what lies at the address.
    pub call: String,
    /// Where in that answer, as a JSON pointer; empty for the whole of it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pointer: String,
    /// What came; empty where the remedy says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub got: String,
    /// What would be right; empty where the remedy says it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expected: String,
    /// What it means and what to do, for the author of the bot.
    pub remedy: String,
    /// A command for a shell that mends it at once; empty where none does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// The place in the manual.
    pub manual: &'static str,
    /// In how many further places of the same kind it was found.
    pub more: usize,
}

impl ConformanceFinding {
    /// A finding about a call; what is special to it follows.
    pub(super) fn new(weight: FindingWeight, rule: &'static str, call: &str, remedy: &str) -> Self {
        Self {
            weight,
            rule,
            call: clean(call, PLACE_SHOWN),
            pointer: String::new(),
            got: String::new(),
            expected: String::new(),
            remedy: clean(remedy, SENTENCE_SHOWN),
            command: String::new(),
            manual: manual_place(call, rule),
            more: 0,
        }
    }

    pub(super) fn fault(rule: &'static str, call: &str, remedy: &str) -> Self {
        Self::new(FindingWeight::Fault, rule, call, remedy)
    }

    pub(super) fn warning(rule: &'static str, call: &str, remedy: &str) -> Self {
        Self::new(FindingWeight::Warning, rule, call, remedy)
    }

    pub(super) fn hint(rule: &'static str, call: &str, remedy: &str) -> Self {
        Self::new(FindingWeight::Hint, rule, call, remedy)
    }

    pub(super) fn at(mut self, pointer: &str) -> Self {
        self.pointer = clean(pointer, PLACE_SHOWN);
        self
    }

    pub(super) fn got(mut self, got: &str) -> Self {
        self.got = clean(got, GOT_SHOWN);
        self
    }

    pub(super) fn expected(mut self, expected: &str) -> Self {
        self.expected = clean(expected, SENTENCE_SHOWN);
        self
    }

    pub(super) fn by_command(mut self, command: &str) -> Self {
        self.command = clean(command, COMMAND_SHOWN);
        self
    }

    /// The same for every item of a list: what differs only in the item is one finding.
    fn kind(&self) -> (&'static str, String, &str) {
        (self.rule, UnreadablePart::new(&self.call, &self.pointer, "", "").kind(), self.own_word())
    }

    /// The word that a finding is about, where another one at the same place is another finding.
    fn own_word(&self) -> &str {
        if WORD_RULES.contains(&self.rule) { &self.got } else { "" }
    }

    /// What is the same as long as the fault is the same, whatever the value of the moment is.
    pub fn identity(&self) -> String {
        let (rule, place, word) = self.kind();
        format!("{} {rule} {place} {word}", self.weight.as_str())
    }
}

/// The findings of a run, each kind once.
#[derive(Debug, Clone, Default)]
pub(super) struct FindingList {
    findings: Vec<ConformanceFinding>,
    /// Rule, call, pointer and word of every place that was found, counted ones included.
    places: BTreeSet<(&'static str, String, String, String)>,
}

impl FindingList {
    pub(super) fn add(&mut self, finding: ConformanceFinding) {
        let word = finding.own_word().to_owned();
        let place = (finding.rule, finding.call.clone(), finding.pointer.clone(), word);
        if !self.places.insert(place) {
            // A later answer to the same call shows the same fault again.
            return;
        }
        let (rule, place, word) = finding.kind();
        let is_alike = |known: &ConformanceFinding| known.rule == rule && known.kind().1 == place;
        let alike = self.findings.iter().filter(|known| is_alike(known)).count();
        let same = self
            .findings
            .iter()
            .rposition(|known| is_alike(known) && (known.own_word() == word || alike >= MOST_WORDS));
        match same.and_then(|at| self.findings.get_mut(at)) {
            Some(known) => known.more += 1,
            None => self.findings.push(finding),
        }
    }

    pub(super) fn extend(&mut self, findings: impl IntoIterator<Item = ConformanceFinding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    pub(super) fn has_rule(&self, rule: &str) -> bool {
        self.findings.iter().any(|finding| finding.rule == rule)
    }

    /// Whether a finding weighs as a fault and names this call, or one of its family: `POST commands/{verb}`.
    pub(super) fn has_fault_in(&self, call: &str) -> bool {
        let family = call.split_once('{').map(|(family, _)| family);
        let is_in = |found: &ConformanceFinding| {
            found.call == call || family.is_some_and(|family| found.call.starts_with(family))
        };
        self.findings.iter().any(|finding| finding.weight == FindingWeight::Fault && is_in(finding))
    }

    /// The heaviest first, otherwise as they were found.
    pub(super) fn sorted(&self) -> Vec<ConformanceFinding> {
        let mut findings = self.findings.clone();
        findings.sort_by_key(|finding| finding.weight);
        findings
    }
}
