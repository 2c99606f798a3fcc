//! What the bot does, for everybody who reads: state, summary, metrics and the stream.
//!
//! One task watches the bot and renders once per snapshot, and each second while nothing new comes, so that ages stay
//! true. A request clones finished bytes: it never reaches the bot, takes no lock that rendering holds, and costs the
//! same whatever the state's size. The rendering is the cache.

mod api;
mod at_risk;
#[cfg(test)]
mod bad_day_tests;
mod bot_health;
#[cfg(test)]
mod documented_limits;
mod example;
mod field_selection;
mod handle;
mod markdown;
mod metrics;
mod model;
mod moment;
mod pause_view;
mod plausibility;
mod position_value;
mod remedies;
mod rendered;
mod state_view;
mod stream;
mod summary;
mod summary_limits;
mod summary_view;
mod telemetry;
#[cfg(test)]
mod tests;
mod tokens;
mod warning;
mod warnings;
mod wording;

pub use api::{routes, with_ready};
pub use bot_health::BotHealthStatus;
pub use handle::Overview;
pub use metrics::MetricsView;
pub use model::{
    BeyondLimit, ConfigSync, IncidentBrief, NotGreen, OverviewExtras, OverviewOptions, RunningWorkflow,
};
pub use remedies::PersonRemedy;
pub use state_view::StateView;
pub use summary::{SUMMARY_MAX_BYTES, SUMMARY_MAX_TOKENS};
pub use summary_view::SummaryView;
pub use warning::Warning;
