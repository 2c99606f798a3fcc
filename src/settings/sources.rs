//! Where values come from: flags, then the environment, then `.env`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use botops_core::env_file;

use super::error::SettingError;
use super::flags::SettingFlags;
use super::row::SettingRow;

/// Name of the file with settings in the working folder.
const ENV_FILE: &str = ".env";

/// Prefix of the names of botops' own settings.
const OWN: &str = "BOT_";

/// Every value that was given, by the setting's name; flags and environment are merged already.
pub struct SettingSources {
    values: BTreeMap<String, String>,
    /// The names of those that only `.env` gave.
    from_file: BTreeSet<String>,
}

impl SettingSources {
    /// Reads `.env` in the working folder, then the environment, then the flags; the later ones win.
    ///
    /// # Errors
    /// Every line of `.env` and every variable that cannot be read, by line number and name.
    pub fn read(flags: &SettingFlags) -> Result<Self, Vec<SettingError>> {
        let mut values: BTreeMap<String, String> = read_env_file()?.into_iter().collect();
        let mut from_file: BTreeSet<String> = values.keys().cloned().collect();
        let mut wrong = Vec::new();
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    from_file.remove(&name);
                    values.insert(name, value);
                }
                Err(_) if name.starts_with(OWN) => wrong.push(SettingError {
                    setting: name,
                    problem: "the value is not UTF-8 text".to_owned(),
                    remedy: "Set it anew.".to_owned(),
                }),
                Err(_) => {}
            }
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        for (name, value) in flags.values() {
            from_file.remove(name);
            values.insert(name.to_owned(), value.to_owned());
        }
        Ok(Self { values, from_file })
    }

    /// Values given directly, for tests.
    pub fn of(values: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: values.into_iter().collect(), from_file: BTreeSet::new() }
    }

    /// Sets a value unless one was given; an empty one counts as not given.
    pub(crate) fn set_default(&mut self, row: &SettingRow, value: impl Into<String>) {
        if self.get(row).is_none() {
            self.values.insert(row.name.to_owned(), value.into());
        }
    }

    /// A value as text, without blanks around it; an empty one counts as not given.
    pub(crate) fn get(&self, row: &SettingRow) -> Option<&str> {
        self.values.get(row.name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Where a value was given, for people: never what it is.
    pub(super) fn origin(&self, row: &SettingRow) -> &'static str {
        if self.from_file.contains(row.name) { "`.env`" } else { "the environment" }
    }

    /// A value as it was given, blanks included; none where [`Self::get`] has none.
    pub(super) fn get_verbatim(&self, row: &SettingRow) -> Option<&str> {
        self.get(row).and_then(|_| self.values.get(row.name)).map(String::as_str)
    }

    /// Every value whose name begins with the prefix.
    pub(super) fn beginning_with(&self, prefix: &str) -> impl Iterator<Item = (&str, &str)> {
        let pairs = self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        pairs.filter(move |(name, _)| name.starts_with(prefix))
    }
}

impl fmt::Debug for SettingSources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.values.keys()).finish()
    }
}

/// The names and values of `.env`; none when there is no such file.
fn read_env_file() -> Result<Vec<(String, String)>, Vec<SettingError>> {
    let refused = |problem: String, remedy: &str| {
        let (setting, remedy) = (ENV_FILE.to_owned(), remedy.to_owned());
        SettingError { setting, problem, remedy }
    };
    let file = match std::fs::read(ENV_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            let problem = format!("the file cannot be read ({error})");
            return Err(vec![refused(problem, "Make it readable for this user, or remove it.")]);
        }
    };
    // The message does not quote the line, which may contain a secret.
    let broken = |error: &env_file::LineError| {
        refused(error.said(OWN), "Write one NAME=value a line; values are taken literally.")
    };
    env_file::parse(&file).map_err(|wrong| wrong.iter().map(broken).collect())
}
