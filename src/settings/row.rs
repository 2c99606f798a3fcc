//! The form of a row of the settings table.

use std::ops::RangeInclusive;
use std::time::Duration;

/// One setting: what is said of it, and what bounds its value.
#[derive(Debug)]
pub(crate) struct SettingRow {
    /// The environment variable; of a family, how its names begin.
    pub(crate) name: &'static str,
    pub(super) kind: SettingKind,
    pub(super) default: SettingDefault,
    /// What it is for, without a full stop; the documents add it.
    pub(super) meaning: &'static str,
    /// More sentences for the documents, or none.
    pub(super) note: &'static str,
    /// What `.env.example` shows where the default is no literal value.
    pub(super) example: &'static str,
    pub(super) flag: Option<SettingFlag>,
    /// Left out of the documents: of use to tests alone.
    pub(super) for_tests: bool,
}

/// What a value is.
#[derive(Debug, Clone, Copy)]
pub(super) enum SettingKind {
    IpAddress,
    Number {
        min: u64,
        max: u64,
    },
    /// Bounds in the form in which values are written, such as `200ms`.
    Duration {
        min: &'static str,
        max: &'static str,
    },
    BotId,
    Path,
    Url,
    List,
    Text,
    /// Turns up in no output; [`super::Settings::secrets`] has it.
    Secret,
    /// Any number of secrets whose names begin alike; `example` ends one of them.
    SecretFamily {
        example: &'static str,
    },
}

/// What holds when nothing is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum SettingDefault {
    /// botops does not start without it.
    Required,
    Nothing,
    /// This value, read as if it had been given.
    Value(&'static str),
    /// Found out at start; the text says how.
    Derived(&'static str),
}

/// A flag of `botops serve` and `botops check` that wins over the environment.
#[derive(Debug)]
pub(super) struct SettingFlag {
    pub(super) long: &'static str,
    pub(super) value_name: &'static str,
    /// For `--help`, which adds the setting's name.
    pub(super) help: &'static str,
}

/// What rows share.
pub(super) const ROW: SettingRow = SettingRow {
    name: "",
    kind: SettingKind::Text,
    default: SettingDefault::Nothing,
    meaning: "",
    note: "",
    example: "",
    flag: None,
    for_tests: false,
};

impl SettingRow {
    /// The bounds of a number; a row of another kind has none.
    pub(super) fn number_range(&self) -> RangeInclusive<u64> {
        match self.kind {
            SettingKind::Number { min, max } => min..=max,
            _ => 0..=u64::MAX,
        }
    }

    /// The bounds of a duration; a row of another kind has none.
    pub(super) fn duration_range(&self) -> RangeInclusive<Duration> {
        let bound = |text: &str| botops_core::duration::parse_duration(text).unwrap_or_default();
        match self.kind {
            SettingKind::Duration { min, max } => bound(min)..=bound(max),
            _ => Duration::ZERO..=Duration::MAX,
        }
    }

    /// What a value has to be, for a refusal.
    pub(super) fn expectation(&self) -> String {
        match self.kind {
            SettingKind::IpAddress => "an IP address".to_owned(),
            SettingKind::Number { min, max } => format!("a whole number from {min} to {max}"),
            SettingKind::Duration { min, max } => {
                let example = self.default_value().unwrap_or(min);
                format!("a duration from {min} to {max}, such as `{example}`")
            }
            SettingKind::BotId => "a bot id".to_owned(),
            SettingKind::Path => "a path".to_owned(),
            SettingKind::Url => "an http or https URL".to_owned(),
            SettingKind::List => "a list, separated by commas".to_owned(),
            SettingKind::Text => "a text".to_owned(),
            SettingKind::Secret | SettingKind::SecretFamily { .. } => "a secret".to_owned(),
        }
    }

    /// The default, where it is a literal value.
    pub(super) fn default_value(&self) -> Option<&'static str> {
        match self.default {
            SettingDefault::Value(value) => Some(value),
            _ => None,
        }
    }
}
