//! The form of a row in the table of settings.

use std::ops::RangeInclusive;
use std::time::Duration;

/// One setting: its name, its kind and bounds, its default, and its texts for documents and messages.
#[derive(Debug)]
pub(crate) struct SettingRow {
    /// Name of the environment variable; for a family of settings, the prefix of their names.
    pub(crate) name: &'static str,
    pub(super) kind: SettingKind,
    pub(super) default: SettingDefault,
    /// What the setting is for, without a full stop; the documents add it.
    pub(super) meaning: &'static str,
    /// Further sentences for the documents; may be empty.
    pub(super) note: &'static str,
    /// Value that `.env.example` shows when the default is not a literal value.
    pub(super) example: &'static str,
    pub(super) flag: Option<SettingFlag>,
    /// True for settings that only tests use; the documents leave them out.
    pub(super) for_tests: bool,
}

/// What kind of value a setting takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum SettingKind {
    IpAddress,
    Number {
        min: u64,
        max: u64,
    },
    /// A duration; its bounds are written like values, such as `200ms`.
    Duration {
        min: &'static str,
        max: &'static str,
    },
    BotId,
    Path,
    Url,
    List,
    Text,
    /// A value that no output may contain; [`super::Settings::secrets`] includes it.
    Secret,
    /// Any number of secrets whose names share a prefix; `example` is the rest of one such name.
    SecretFamily {
        example: &'static str,
    },
}

/// What applies when no value is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum SettingDefault {
    /// botops does not start without it.
    Required,
    Nothing,
    /// This value, read as if it had been given.
    Value(&'static str),
    /// Computed at start; the text says how.
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

/// Template of a row.
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
    /// The bounds of a number, for a row of that kind.
    pub(super) fn number_range(&self) -> RangeInclusive<u64> {
        match self.kind {
            SettingKind::Number { min, max } => min..=max,
            _ => 0..=u64::MAX,
        }
    }

    /// The bounds of a duration, for a row of that kind.
    pub(super) fn duration_range(&self) -> RangeInclusive<Duration> {
        let bound = |text: &str| botops_core::duration::parse_duration(text).unwrap_or_default();
        match self.kind {
            SettingKind::Duration { min, max } => bound(min)..=bound(max),
            _ => Duration::ZERO..=Duration::MAX,
        }
    }

    /// What a value must be, in words for a refusal.
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

    /// The default, if it is a literal value.
    pub(super) fn default_value(&self) -> Option<&'static str> {
        match self.default {
            SettingDefault::Value(value) => Some(value),
            _ => None,
        }
    }
}
