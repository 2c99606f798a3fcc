//! `ManagedConfig`: a config is described, given its check and its apply, and from then on kept by the SDK.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};

use super::super::bot_handle::BotHandle;
use super::config_check::{CheckValues, ConfigCheck};
use super::config_files::ConfigFiles;
use super::config_finding::ConfigFinding;
use super::config_schema::ConfigSchema;
use super::config_values::ConfigValues;
use super::trial_slot::TrialSlot;
use super::value_switch::{ApplyValues, ValueSwitch};

/// The bot's config, which botops may change in watched trials.
///
/// The SDK keeps the trial and its clock: one that nobody commits in time is taken back by the bot itself, whatever becomes
/// of botops. With [`super::super::BotServer::data_dir`] the bot starts with what was committed last; a field that its
/// schema marks `x-apply: restart` keeps the value of the start until the next one.
///
/// ```no_run
/// use botops_bot_server::{BotServer, ConfigFinding, ManagedConfig};
/// use botops_contract::TradingMode;
/// use serde_json::json;
///
/// # fn main() -> Result<(), String> {
/// let schema = json!({
///     "type": "object",
///     "additionalProperties": false,
///     "required": ["risk"],
///     "properties": {"risk": {"type": "number", "minimum": 0.001, "maximum": 0.05,
///                             "x-risk": {"direction": "up", "class": "high"}}},
/// });
/// let config = ManagedConfig::new(schema, json!({"risk": 0.02})).check(|values| {
///     let is_much = values["risk"].as_f64().is_some_and(|risk| risk > 0.04);
///     let finding = || ConfigFinding::warning("/risk", "more than most days bring").fix("use at most 0.04");
///     is_much.then(finding).into_iter().collect()
/// });
/// let values = config.values();
/// let served = BotServer::new("my-bot".parse()?, TradingMode::Paper, "1.0")
///     .data_dir("my-bot/data".as_ref())
///     .config(config)
///     .serve("my-bot/bot.sock".as_ref())?;
/// // Once in each round of the loop:
/// let risk = values.load()["risk"].as_f64();
/// # Ok(())
/// # }
/// ```
pub struct ManagedConfig {
    schema: Value,
    built_in: Value,
    check: Option<CheckValues>,
    apply: Option<ApplyValues>,
    config_dir: Option<PathBuf>,
    values: ConfigValues,
}

impl fmt::Debug for ManagedConfig {
    /// Without the values: one may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ManagedConfig").finish_non_exhaustive()
    }
}

impl ManagedConfig {
    /// A config with the bot's JSON Schema 2020-12, which carries the marks of botops (`x-apply`, `x-risk`, `x-role`, …), and
    /// the values of a first start, an object.
    ///
    /// What does not hold in them is told when the bot is served.
    pub fn new(schema: Value, values: Value) -> Self {
        let first = values.as_object().cloned().unwrap_or_default();
        let values_in_force = ConfigValues::new(first);
        Self { schema, built_in: values, check: None, apply: None, config_dir: None, values: values_in_force }
    }

    /// Says what the schema cannot: rules between fields, and what is perhaps a mistake. It gets values that the schema
    /// takes, and runs on any thread. One that panics refuses the document.
    #[must_use]
    pub fn check<F>(mut self, check: F) -> Self
    where
        F: Fn(&Map<String, Value>) -> Vec<ConfigFinding> + Send + Sync + 'static,
    {
        self.check = Some(Arc::new(check));
        self
    }

    /// Takes the values over where the bot does not read [`ManagedConfig::values`] itself: once when the bot is served, and at
    /// each change, one at a time, on a thread of its own.
    ///
    /// One that fails leaves the bot with what it ran before, which it gets once more; so does one that takes 5 seconds.
    #[must_use]
    pub fn apply<F>(mut self, apply: F) -> Self
    where
        F: Fn(&Map<String, Value>) -> Result<(), String> + Send + Sync + 'static,
    {
        self.apply = Some(Arc::new(apply));
        self
    }

    /// The folder `config` of botops, where it is on the same disk: what its `HEAD` names is started with, and committed.
    #[must_use]
    pub fn config_dir(mut self, folder: &Path) -> Self {
        self.config_dir = Some(folder.to_owned());
        self
    }

    /// The handle to the values in force, for the trading code.
    pub fn values(&self) -> ConfigValues {
        self.values.clone()
    }

    /// Whether what `HEAD` names is committed.
    pub(super) fn follows_head(&self) -> bool {
        self.config_dir.is_some()
    }

    /// Loads what this start runs.
    ///
    /// # Errors
    /// One sentence: the schema, the values or what is committed do not hold.
    pub(super) fn boot(
        self,
        data_dir: Option<&Path>,
        bot: BotHandle,
    ) -> Result<(TrialSlot, Arc<ConfigCheck>), String> {
        let check = Arc::new(ConfigCheck { schema: ConfigSchema::new(self.schema)?, own: self.check });
        let files = ConfigFiles::open(data_dir.map(Path::to_owned), self.config_dir)?;
        let switch = ValueSwitch::new(self.values, self.apply, bot.clone());
        let slot = TrialSlot::boot(check.clone(), files, switch, bot, &self.built_in)?;
        Ok((slot, check))
    }
}
