//! The names that a text can use at the moment.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde_json::Value;

use super::bot_standing::AskedBotView;

/// The names that a text can use, and current values; read from the running system before the text is parsed.
#[derive(Debug, Clone, Default)]
pub(super) struct AskContext {
    /// Ids of the workflows that can be run.
    pub(super) workflows: Vec<String>,
    /// Each workflow's id with the names of its parameters.
    pub(super) parameters: Vec<(String, Vec<String>)>,
    pub(super) components: Vec<String>,
    /// Every leaf of the config: dotted path and value.
    pub(super) config: Vec<(String, Value)>,
    /// The schema of the config as the bot brings it; `null` when it could not be read.
    pub(super) schema: Value,
    /// ETag of the config, for `If-Match`; `None` when the config could not be read.
    pub(super) etag: Option<String>,
    /// The current time, from which durations are counted.
    pub(super) now: DateTime<Utc>,
    /// Id of the config transaction whose trial runs, if there is one.
    pub(super) trial: Option<String>,
    /// Symbols that the bot holds or has orders for.
    pub(super) symbols: Vec<String>,
    /// The time zone of the bot's trading day.
    pub(super) zone: Tz,
    /// What the summary says of the day's change of the equity; `None` when it is not known.
    pub(super) equity_change: Option<String>,
    /// The date of that day when it is over; `None` when it is today.
    pub(super) past_day: Option<String>,
    /// How the bot stands; `None` when that could not be read.
    pub(super) bot: Option<AskedBotView>,
    /// Id of the workflow run in progress, if there is one.
    pub(super) running: Option<String>,
    /// Each firing alert's id, and by what it can be named.
    pub(super) alerts: Vec<(String, String)>,
}

/// How far references of a schema are followed from one node.
const REFERENCES_MAX: usize = 8;

impl AskContext {
    /// The present value of a field of the config.
    pub(super) fn value_of(&self, key: &str) -> Option<&Value> {
        self.config.iter().find(|(path, _)| path == key).map(|(_, value)| value)
    }

    /// What the schema says of a field of the config.
    pub(super) fn field_schema(&self, key: &str) -> Option<&Value> {
        key.split('.').try_fold(self.resolved(&self.schema), |node, part| {
            Some(self.resolved(node.get("properties")?.get(part)?))
        })
    }

    fn resolved<'s>(&'s self, mut node: &'s Value) -> &'s Value {
        for _ in 0..REFERENCES_MAX {
            // A mark beside the reference belongs to this place, so the place is what counts where it has one.
            let target = node["$ref"].as_str().and_then(|target| target.strip_prefix('#'));
            let Some(target) = target.filter(|_| node.get("x-unit").is_none()) else { break };
            match self.schema.pointer(target) {
                Some(found) => node = found,
                None => break,
            }
        }
        node
    }
}
