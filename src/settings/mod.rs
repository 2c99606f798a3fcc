//! Settings: the command line, the environment and `.env`, checked once and passed on as plain values.
//!
//! Nothing else reads the environment. A flag wins over the environment, the environment over `.env`. Everything that
//! is wrong is reported at once, one line each, with the setting's name and the remedy; the process then ends with
//! code 2. Secrets are kept in a type that cannot be printed.
//!
//! `table` has one row for each setting. The flags of the command line, the check, `.env.example` and the table in
//! `docs/settings.md` are made from it: a new setting needs a row there and a member of [`Settings`].

mod access;
mod bot_address;
mod checked;
mod documents;
mod error;
mod flags;
#[cfg(any(test, fuzzing))]
mod fuzz_properties;
mod health;
mod reader;
mod row;
mod sources;
mod supervisor;
mod table;
#[cfg(test)]
mod tests;

pub(crate) use bot_address::read_token_file;
pub use checked::Settings;
pub use documents::{env_example, settings_table};
pub use error::SettingError;
pub use flags::SettingFlags;
#[cfg(any(test, fuzzing))]
pub(crate) use fuzz_properties::{check_keys_file, check_settings};
pub use health::HealthSettings;
pub use sources::SettingSources;
pub(crate) use table::{
    BOT_API_AUTH_TOKEN, BOT_API_KEYS_FILE, BOT_API_PORT, BOT_DATA_DIR, BOT_IPC_SOCKET, BOT_IPC_TOKEN_FILE,
    BOT_IPC_UID, BOT_IPC_URL, BOT_LOG_DIR, BOT_SUPERVISOR, BOT_SUPERVISOR_COMMAND, BOT_SUPERVISOR_PID_FILE,
};
