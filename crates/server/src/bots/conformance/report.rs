//! The report of a conformance run.

use serde::Serialize;

use super::findings::{ConformanceFinding, FindingWeight};
use super::gains::ConformanceGain;
use super::probe::GONE;

/// How one call of the contract was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallStanding {
    /// It was answered, and the answer could be read.
    Served,
    /// It was asked, and something is wrong with the answer; the findings say what.
    Faulty,
    /// The bot does not offer it, so it is not asked.
    NotOffered,
    /// The bot offers it, and it was not asked: a run without `--exercise` changes nothing.
    NotTried,
}

/// One call of the contract.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckedCall {
    /// The call, such as `GET state`.
    pub call: String,
    /// How it was answered.
    pub standing: CallStanding,
    /// What else is worth knowing: time, size, names; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Who answered, in the bot's own words, cleaned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckedBot {
    /// Its id.
    pub bot_id: String,
    /// Version of its program; `null` when it does not say.
    pub version: Option<String>,
    /// `paper`, `live`, `backtest` or `other`.
    pub mode: String,
    /// The contract version it speaks; `null` when it does not say.
    pub contract: Option<u32>,
    /// The adapter that answers for it, if one does.
    pub adapter: Option<String>,
    /// The process that answers at the address; `null` where the system does not tell it.
    pub process: Option<u32>,
}

/// What a conformance run saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ConformanceReport {
    /// Where the bot was asked.
    pub address: String,
    /// Who answered; `null` when `GET hello` could not be read.
    pub bot: Option<CheckedBot>,
    /// True when botops takes everything that was asked: no finding is a fault.
    pub passed: bool,
    /// Every call of the contract.
    pub calls: Vec<CheckedCall>,
    /// What was found, the heaviest first.
    pub findings: Vec<ConformanceFinding>,
    /// What the bot could add, the most useful first.
    pub gains: Vec<ConformanceGain>,
}

impl ConformanceReport {
    /// Why the bot is there no more, if it ended during the run.
    pub fn departure(&self) -> Option<&ConformanceFinding> {
        self.findings.iter().find(|finding| finding.rule == GONE)
    }

    /// How many findings have this weight.
    pub fn count(&self, weight: FindingWeight) -> usize {
        self.findings.iter().filter(|finding| finding.weight == weight).count()
    }
}
