//! What a bot's own check says of a document.

use botops_contract::ConfigViolation;

/// A reason against a document, or what is allowed and yet perhaps a mistake.
///
/// Its text is shown to people and to botops: it quotes no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFinding {
    is_warning: bool,
    told: ConfigViolation,
}

impl ConfigFinding {
    /// The bot would not run the document, because of what is at this JSON pointer (`/risk`; empty for the whole).
    pub fn refused(path: &str, message: &str) -> Self {
        Self::new(false, path, "refused", message)
    }

    /// The bot would run the document, and what is at this JSON pointer may be a mistake.
    pub fn warning(path: &str, message: &str) -> Self {
        Self::new(true, path, "warning", message)
    }

    /// Says what would be right, such as `use at most 0.03`.
    #[must_use]
    pub fn fix(mut self, fix: &str) -> Self {
        self.told.fix = Some(fix.to_owned());
        self
    }

    fn new(is_warning: bool, path: &str, code: &str, message: &str) -> Self {
        let (path, code, message) = (path.to_owned(), code.to_owned(), message.to_owned());
        Self { is_warning, told: ConfigViolation { path, code, message, fix: None } }
    }

    /// The reasons against a document, and the warnings.
    pub(super) fn split(findings: Vec<Self>) -> (Vec<ConfigViolation>, Vec<ConfigViolation>) {
        let (warnings, violations): (Vec<Self>, Vec<Self>) =
            findings.into_iter().partition(|finding| finding.is_warning);
        let told = |findings: Vec<Self>| findings.into_iter().map(|finding| finding.told).collect();
        (told(violations), told(warnings))
    }
}
