//! What the trial task works with.

use std::sync::Arc;
use std::time::Duration;

use super::recorder::TransitionRecorder;
use super::restart::BotRestart;
use crate::bots::Bots;
use crate::configs::admission::ChangeAdmission;
use crate::configs::audit::ConfigAudit;
use crate::configs::bot_schema::BotSchema;
use crate::configs::current::CurrentConfig;
use crate::configs::versions::ConfigVersions;
use crate::store::Store;

/// What the trial task works with.
#[derive(Debug)]
pub(crate) struct TrialServices {
    pub bots: Bots,
    pub store: Store,
    pub audit: ConfigAudit,
    pub current: Arc<CurrentConfig>,
    pub versions: Arc<ConfigVersions>,
    pub admission: Arc<ChangeAdmission>,
    pub recorder: TransitionRecorder,
    pub restart: BotRestart,
    pub schema: Arc<BotSchema>,
    /// How often the bot's state is read, which is how often a trial is evaluated.
    pub poll_interval: Duration,
}
