//! The flags of the command line, which win over the environment; they come from the rows of the table.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};

use super::row::{SettingFlag, SettingRow};
use super::table::ROWS;

/// The flags that were given.
#[derive(Debug, Clone, Default)]
pub struct SettingFlags {
    values: BTreeMap<&'static str, String>,
}

impl SettingFlags {
    /// Adds a flag with this value, for a setting that the program chooses itself.
    #[must_use]
    pub(crate) fn with(mut self, row: &'static SettingRow, value: impl Into<String>) -> Self {
        self.values.insert(row.name, value.into());
        self
    }

    /// The names of the given settings, with their values.
    pub(super) fn values(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

/// The rows that have a flag.
fn flags() -> impl Iterator<Item = (&'static SettingRow, &'static SettingFlag)> {
    ROWS.iter().filter_map(|row| Some((*row, row.flag.as_ref()?)))
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        flags().fold(command, |command, (row, flag)| {
            let help = format!("{} (`{}`)", flag.help, row.name);
            command.arg(Arg::new(flag.long).long(flag.long).value_name(flag.value_name).help(help))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (row, flag) in flags() {
            if let Some(value) = matches.get_one::<String>(flag.long) {
                self.values.insert(row.name, value.clone());
            }
        }
        Ok(())
    }
}
