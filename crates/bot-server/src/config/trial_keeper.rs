//! A managed config as the server asks it, and the clock of its trial.
//!
//! Reads are answered from memory. A change runs on a thread of its own, since it waits for the bot's `apply` and for the
//! disk; so does the end of a trial, whatever became of botops.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use botops_contract::{
    ActivateConfigRequest, CheckConfigRequest, CheckVerdict, ConfigAck, ContractRefusal, EndTrialRequest,
    RunningDocument,
};
use botops_core::tasks::{OnFailure, Tasks};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::super::bot_handle::BotHandle;
use super::super::guarded_calls::{GuardedCalls, LateAnswer};
use super::super::refusals::refusal;
use super::super::sdk_problem::{ProblemKind, report_problem};
use super::super::source::{ConfigSource, ContractAnswer, ShownConfig, answer_now};
use super::call_progress::{CallProgress, GivenUp};
use super::config_check::ConfigCheck;
use super::managed_config::ManagedConfig;
use super::trial_slot::{ShownConfigSlot, TrialSlot, apply_unended, not_taken_in_time};

/// How soon an end of a trial that failed is tried again.
const TRY_AGAIN_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at a clock that has nothing to end.
const LONGEST_SLEEP: Duration = Duration::from_hours(1);

/// Handle to a config whose trials the SDK keeps; cloning is cheap.
#[derive(Clone)]
pub(crate) struct TrialKeeper {
    slot: Arc<Mutex<TrialSlot>>,
    shown: Arc<ShownConfigSlot>,
    check: Arc<ConfigCheck>,
    schema: Arc<str>,
    follows_head: bool,
    calls: GuardedCalls,
    bot: BotHandle,
}

impl TrialKeeper {
    /// Loads what this start runs.
    ///
    /// # Errors
    /// One sentence: the schema, the values or what is committed do not hold.
    pub(crate) fn boot(
        config: ManagedConfig,
        data_dir: Option<&Path>,
        bot: BotHandle,
        tasks: Tasks,
    ) -> Result<Self, String> {
        let follows_head = config.follows_head();
        let (slot, check) = config.boot(data_dir, bot.clone())?;
        Ok(Self {
            shown: slot.shown(),
            slot: Arc::new(Mutex::new(slot)),
            schema: check.schema.text().into(),
            check,
            follows_head,
            calls: GuardedCalls::new(tasks),
            bot,
        })
    }

    /// Ends each trial whose time is over, until `closing` is cancelled.
    pub(crate) async fn run_clock(self, tasks: Tasks, closing: CancellationToken) {
        let mut is_told = false;
        loop {
            let sleep = match self.shown.deadline() {
                Some(deadline) => tokio::time::sleep_until(deadline.into()),
                None => tokio::time::sleep(LONGEST_SLEEP),
            };
            tokio::select! {
                () = closing.cancelled() => return,
                () = self.shown.changed.notified() => continue,
                () = sleep => {}
            }
            let (slot, (reply, ended)) = (self.slot.clone(), oneshot::channel());
            tasks.spawn_thread("end of a config trial", OnFailure::Log, move || {
                // Fails when the server has gone.
                let _ = reply.send(lock(&slot).expire());
            });
            let refused = match ended.await {
                Ok(Ok(())) => {
                    is_told = false;
                    continue;
                }
                Ok(Err(refused)) => refused.message,
                Err(_) => "the end of the trial failed".to_owned(),
            };
            if !std::mem::replace(&mut is_told, true) {
                let said = format!("a trial is over and could not be taken back: {refused}");
                report_problem(&self.bot, "config", ProblemKind::of_config("NOT_REVERTED"), &said);
            }
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(TRY_AGAIN_EVERY) => {}
            }
        }
    }

    /// Carries out a change of the slot, which may be given up.
    fn change(
        &self,
        work: impl FnOnce(&mut TrialSlot, &CallProgress) -> Result<ConfigAck, ContractRefusal> + Send + 'static,
        halfway: fn() -> ContractRefusal,
    ) -> ContractAnswer<ConfigAck> {
        let (slot, progress) = (self.slot.clone(), Arc::new(CallProgress::default()));
        let carried_out = progress.clone();
        let run = move || work(&mut lock(&slot), &carried_out);
        self.calls.run(run, move || match progress.give_up() {
            GivenUp::BeforeItsBegin => LateAnswer::Refuse(not_taken_in_time()),
            GivenUp::Halfway => LateAnswer::Refuse(halfway()),
            GivenUp::TooLate => LateAnswer::WaitOn,
        })
    }
}

fn lock(slot: &Mutex<TrialSlot>) -> MutexGuard<'_, TrialSlot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

fn no_answer() -> ContractRefusal {
    refusal("no_answer", "the bot's config did not answer in time; it may still act")
}

impl ConfigSource for TrialKeeper {
    fn shown(&self) -> ContractAnswer<ShownConfig> {
        let (shown, boot_epoch) = (self.shown.clone(), self.bot.boot_epoch().to_owned());
        let answer = move || Ok(ShownConfig::Managed(shown.state(&boot_epoch)));
        if !self.follows_head {
            return answer_now(answer());
        }
        let slot = self.slot.clone();
        let refresh = move || {
            // While a change runs, what stood before it is shown.
            if let Ok(mut slot) = slot.try_lock() {
                slot.refresh_head();
            }
            answer()
        };
        self.calls.run(refresh, || LateAnswer::Refuse(no_answer()))
    }

    fn schema(&self) -> ContractAnswer<String> {
        answer_now(Ok(self.schema.to_string()))
    }

    fn document(&self) -> ContractAnswer<RunningDocument> {
        answer_now(Ok(self.shown.document()))
    }

    fn check(&self, request: CheckConfigRequest) -> ContractAnswer<CheckVerdict> {
        let (shown, check) = (self.shown.clone(), self.check.clone());
        let run = move || Ok(shown.verdict(&check, &request.config));
        self.calls.run(run, || LateAnswer::Refuse(no_answer()))
    }

    fn activate(&self, request: ActivateConfigRequest) -> ContractAnswer<ConfigAck> {
        self.change(move |slot, progress| slot.activate(&request, progress), apply_unended)
    }

    fn commit(&self, request: EndTrialRequest) -> ContractAnswer<ConfigAck> {
        self.change(move |slot, progress| slot.commit(&request, progress), no_answer)
    }

    fn revert(&self, request: EndTrialRequest) -> ContractAnswer<ConfigAck> {
        let slot = self.slot.clone();
        // It is carried out however long it takes: what is on trial must not stay because nobody waited.
        self.calls.run(
            move || lock(&slot).revert(&request),
            || {
                let what = "the bot's apply has not ended yet; it runs what is committed as soon as it does";
                LateAnswer::Refuse(refusal("no_answer", what))
            },
        )
    }
}
