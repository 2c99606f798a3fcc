//! How the bot stands, for answers that mean little without it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// Components that are named; more are counted.
const NAMED: usize = 5;

/// Intents whose answer is about what went wrong: nobody should have to ask a second time whether the bot is there.
const ABOUT_TROUBLE: [&str; 2] = ["errors", "alerts"];

/// How the bot stands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskedBotView {
    /// `healthy`, `degraded` or `offline`.
    #[schema(example = "offline")]
    pub(super) status: String,
    /// Why, in whole sentences.
    pub(super) reason: String,
    /// Whether it answers; if not, what its process and socket show.
    #[schema(example = "unreachable")]
    pub(super) presence: String,
    /// Why presence is what it is.
    pub(super) presence_reason: String,
    /// Since when presence is what it is (UTC).
    pub(super) since: Option<String>,
    /// When the bot knew what is shown of it (UTC), where it does not answer now; absent while it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_seen: Option<String>,
    /// The components that are not healthy, at most five.
    pub(super) unhealthy: Vec<AskedComponentView>,
    /// How many more there are: `GET health/status` has them.
    pub(super) unhealthy_more: usize,
}

/// A component that is not healthy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct AskedComponentView {
    /// Its id.
    pub(super) component_id: String,
    /// Its confirmed status.
    pub(super) status: String,
    /// Since when it has that status (UTC).
    pub(super) since: Option<String>,
}

impl AskedBotView {
    /// From `GET state?fields=bot,health` and `GET health/status`; `None` where the state could not be read.
    pub(super) fn of(state: &Value, health: &Value) -> Option<Self> {
        let (bot, status) = (&state["bot"], owned(&state["health"], "status")?);
        let is_unhealthy = |component: &&Value| {
            matches!(component["status"].as_str(), Some("WARNING" | "CRITICAL" | "DOWN"))
        };
        let unhealthy: Vec<&Value> =
            health["components"].as_array().into_iter().flatten().filter(is_unhealthy).collect();
        let presence = owned(bot, "presence").unwrap_or_default();
        let answers = matches!(presence.as_str(), "connected" | "slow");
        Some(Self {
            status,
            reason: owned(&state["health"], "reason").unwrap_or_default(),
            presence_reason: owned(bot, "presence_reason").unwrap_or_default(),
            since: owned(bot, "since"),
            last_seen: owned(state, "as_of").filter(|_| !answers),
            presence,
            unhealthy_more: unhealthy.len().saturating_sub(NAMED),
            unhealthy: unhealthy.into_iter().take(NAMED).map(AskedComponentView::of).collect(),
        })
    }

    /// Whether the answer of this read is to be read together with it.
    pub(super) fn belongs_to(&self, intent: &str, path: &str) -> bool {
        let answers = matches!(self.presence.as_str(), "connected" | "slow");
        ABOUT_TROUBLE.contains(&intent) || !answers && path.starts_with("/api/v1/state")
    }
}

impl AskedComponentView {
    fn of(component: &Value) -> Self {
        Self {
            component_id: owned(component, "component_id").unwrap_or_default(),
            status: owned(component, "status").unwrap_or_default(),
            since: owned(component, "since"),
        }
    }
}

fn owned(value: &Value, name: &str) -> Option<String> {
    value[name].as_str().map(str::to_owned)
}
