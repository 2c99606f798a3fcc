//! The error of a setting that cannot be used.

use std::fmt;

/// What is wrong with one setting; shown as one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The setting's name.
    pub setting: String,
    /// What is wrong. Does not repeat the value, which may be a secret in the wrong place.
    pub problem: String,
    /// What to do, as a sentence.
    pub remedy: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.setting, self.problem, self.remedy)
    }
}
