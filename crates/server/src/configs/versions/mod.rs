//! The versions of the config: their files, their rows, and both together by name and number.

mod config_versions;
#[cfg(test)]
mod power_loss;
mod version_files;
mod version_rows;

pub(crate) use config_versions::{ConfigVersions, VersionSummaryView};
pub(crate) use version_files::VersionFiles;
pub(crate) use version_rows::{NewVersionRow, insert_version, mark_committed};
