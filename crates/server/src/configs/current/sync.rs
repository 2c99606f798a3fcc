//! Whether the bot runs what is committed. Pure.

use super::view::{RunningConfigView, SyncState};
use crate::bots::BotSnapshot;
use crate::configs::document::short_hash;
use crate::configs::head::VersionHead;
use crate::configs::support::{ConfigSupport, echoed_config};
use crate::configs::transaction::{TransactionState, TransactionView};

/// What the sync state is derived from.
pub(super) struct SyncFacts<'a> {
    pub seen: &'a BotSnapshot,
    pub support: ConfigSupport,
    /// What was committed cannot be read.
    pub is_damaged: bool,
    pub head: Option<&'a VersionHead>,
    /// Why the first version could not be made.
    pub first_version_problem: Option<&'a str>,
    pub running: Option<&'a RunningConfigView>,
    pub live: Option<&'a TransactionView>,
    /// Whether the bot has acknowledged anything since botops started: a trial it reports then is one of ours.
    pub was_acknowledged: bool,
}

/// Whether the bot runs what is committed, and why one can say so, in one sentence.
pub(super) fn evaluate_sync(facts: &SyncFacts<'_>) -> (SyncState, String) {
    let has_nothing = facts.head.is_none() && !facts.is_damaged;
    match facts.support {
        ConfigSupport::Missing => return (SyncState::NotApplicable, reason_for_none(facts)),
        ConfigSupport::Schemaless if has_nothing => {
            let none = "the bot lists `config` in its hello and not `config-schema`: no document of it is kept here, \
                        and nothing is checked, changed or compared";
            return (SyncState::NotApplicable, none.to_owned());
        }
        _ => {}
    }
    let Some(head) = facts.head else {
        let reason = match facts.support {
            _ if facts.is_damaged => "the committed config cannot be read".to_owned(),
            ConfigSupport::Offered => match facts.first_version_problem {
                Some(problem) => format!("there is no first version yet: {problem}"),
                None => "the first version is being written".to_owned(),
            },
            _ => "the bot was never seen, so it is not known whether it has a config here".to_owned(),
        };
        return (SyncState::Unknown, reason);
    };
    if let Some(live) = facts.live {
        let text = match live.state {
            TransactionState::Trial => {
                format!("change {} is on trial; it is undone unless it is confirmed", live.txn)
            }
            TransactionState::Confirming => {
                format!("change {} is confirmed; the bot has not said yet that it keeps it", live.txn)
            }
            _ => format!("change {} is {}", live.txn, live.state.as_str()),
        };
        return match live.state {
            TransactionState::Trial | TransactionState::Confirming => (SyncState::Trial, text),
            TransactionState::Prepared | TransactionState::Checked => sync_without_trial(facts, head),
            _ => (SyncState::Unknown, text),
        };
    }
    sync_without_trial(facts, head)
}

/// Why there is no config of this bot, and what became of the one that was kept.
fn reason_for_none(facts: &SyncFacts<'_>) -> String {
    let none = "the bot does not list `config` in its hello: its config is not kept here";
    match facts.head {
        None if echoed_config(facts.seen).is_some() => {
            format!("{none} and not changed; `echoed` has what it shows of it, and why")
        }
        None => format!("{none}, and nothing is checked, changed or compared"),
        Some(head) => format!(
            "{none}; version {}, committed on {}, stays readable and is not changed",
            head.version,
            head.at.format("%Y-%m-%d")
        ),
    }
}

/// The sync state while the bot was told of no change that is under way.
fn sync_without_trial(facts: &SyncFacts<'_>, head: &VersionHead) -> (SyncState, String) {
    let seen = facts.seen;
    if !seen.presence.answers() {
        return (SyncState::BotOffline, format!("the bot is {}: {}", seen.presence, seen.presence_reason));
    }
    let Some(running) = facts.running else {
        return (SyncState::Unknown, "the bot has not said what it runs".to_owned());
    };
    let foreign_trial = seen.report.as_ref().and_then(|report| report.config.as_ref()?.trial.as_ref());
    if running.sha256 != head.sha256 {
        return match foreign_trial {
            Some(trial) if !facts.was_acknowledged => (
                SyncState::Unknown,
                format!(
                    "the bot runs trial {}, which botops does not lead; the bot's own timer ends it",
                    trial.txn
                ),
            ),
            _ => (
                SyncState::Drifted,
                format!(
                    "the bot runs version {} ({}), committed is version {} ({})",
                    running.version,
                    short_hash(&running.sha256),
                    head.version,
                    short_hash(&head.sha256)
                ),
            ),
        };
    }
    if running.pending_restart.is_empty() {
        return (SyncState::InSync, format!("the bot runs the committed version {}", head.version));
    }
    let fields = running.pending_restart.join(", ");
    (SyncState::PendingRestart, format!("these fields wait for a restart of the bot: {fields}"))
}
