//! Reads single settings by their rows and collects what is wrong with them.

use std::path::PathBuf;
use std::time::Duration;

use super::error::SettingError;
use super::row::SettingRow;
use super::sources::SettingSources;
use super::table::{BOT_API_PORT, ROWS};

/// An unknown variable with this prefix is refused, since it is probably a misspelt setting.
const CLOSED_PREFIX: &str = "BOT_API_";

/// Reads values and collects what is wrong with them. Messages never repeat a value, since it may be a secret in the
/// wrong place.
pub(super) struct SettingsReader<'a> {
    pub(super) sources: &'a SettingSources,
    wrong: Vec<SettingError>,
}

impl<'a> SettingsReader<'a> {
    pub(super) fn new(sources: &'a SettingSources) -> Self {
        Self { sources, wrong: Vec::new() }
    }

    /// # Errors
    /// Everything that was refused, in the order of reading.
    pub(super) fn finish(self) -> Result<(), Vec<SettingError>> {
        if self.wrong.is_empty() { Ok(()) } else { Err(self.wrong) }
    }

    pub(super) fn refuse(&mut self, row: &SettingRow, problem: impl Into<String>, remedy: impl Into<String>) {
        let (setting, problem, remedy) = (row.name.to_owned(), problem.into(), remedy.into());
        self.wrong.push(SettingError { setting, problem, remedy });
    }

    pub(super) fn refuse_unknown(&mut self) {
        let known: Vec<&str> =
            ROWS.iter().map(|row| row.name).filter(|name| name.starts_with(CLOSED_PREFIX)).collect();
        for (name, _) in self.sources.beginning_with(CLOSED_PREFIX) {
            if known.contains(&name) {
                continue;
            }
            let near = known
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)));
            let near = near.unwrap_or(&BOT_API_PORT.name);
            self.wrong.push(SettingError {
                setting: name.to_owned(),
                problem: "unknown setting".to_owned(),
                remedy: format!("Did you mean {near}? Otherwise remove it."),
            });
        }
    }

    /// The value given, or else the row's default, read by `parse`; `fallback` when neither can be read.
    pub(super) fn parsed<T>(
        &mut self,
        row: &SettingRow,
        fallback: T,
        parse: impl Fn(&str) -> Option<T>,
    ) -> T {
        let Some(text) = self.sources.get(row) else {
            return row.default_value().and_then(parse).unwrap_or(fallback);
        };
        parse(text).unwrap_or_else(|| {
            let what = row.expectation();
            self.refuse(row, format!("it is not {what}"), format!("Set it to {what}."));
            fallback
        })
    }

    pub(super) fn number<T>(&mut self, row: &SettingRow, fallback: T) -> T
    where
        T: TryFrom<u64>,
    {
        let range = row.number_range();
        self.parsed(row, fallback, |text| {
            let number = text.parse::<u64>().ok().filter(|number| range.contains(number))?;
            T::try_from(number).ok()
        })
    }

    pub(super) fn duration(&mut self, row: &SettingRow) -> Duration {
        let range = row.duration_range();
        self.parsed(row, *range.start(), |text| {
            botops_core::duration::parse_duration(text).filter(|time| range.contains(time))
        })
    }

    /// The text given, or else the row's default.
    pub(super) fn text(&self, row: &SettingRow) -> Option<&'a str> {
        self.sources.get(row).or(row.default_value())
    }

    /// A path, taken literally. What a shell would expand is refused: it is not expanded here, and a folder with that
    /// name would be a new, empty one.
    pub(super) fn path(&mut self, row: &SettingRow) -> Option<PathBuf> {
        let text = self.text(row)?;
        if text.starts_with(['$', '~']) || text.contains("${") {
            let problem = "it begins with `~` or names a variable, which nothing fills in";
            self.refuse(row, problem, "Write the path out.");
            return None;
        }
        Some(PathBuf::from(text))
    }

    /// A URL. Messages do not repeat it, since it may contain a token.
    pub(super) fn url(&mut self, row: &SettingRow) -> Option<reqwest::Url> {
        let text = self.sources.get(row)?;
        let url = text.parse::<reqwest::Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        if url.is_none() {
            self.refuse(row, "it is no http or https URL", "Set it to an http or https URL.");
        }
        url
    }

    /// Reads a list separated by commas, each entry with `parse`.
    ///
    /// An entry that `parse` does not take is refused by its number, counted from 1, with `problem` and `remedy`.
    pub(super) fn list<T>(
        &mut self,
        row: &SettingRow,
        problem: &str,
        remedy: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Vec<T> {
        let list = self.sources.get(row).unwrap_or_default();
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let mut read = Vec::new();
        for (number, entry) in (1..).zip(entries) {
            match parse(entry) {
                Some(value) => read.push(value),
                None => self.refuse(row, format!("entry {number} {problem}"), remedy),
            }
        }
        read
    }
}
