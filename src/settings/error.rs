//! What is said of a setting that cannot be used.

use std::fmt;

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingError {
    /// The setting's name.
    pub setting: String,
    /// What is wrong, without the value: it may be a secret that was put into the wrong place.
    pub problem: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.setting, self.problem, self.remedy)
    }
}
