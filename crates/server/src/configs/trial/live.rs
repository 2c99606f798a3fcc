//! The live transaction with what is known of it in this process only: its clocks, waits and counters.

use std::time::{Duration, Instant};

use crate::configs::transaction::{ConfigTransaction, EndedBy, TransactionState};
use botops_contract::ConfigState;
use botops_core::durable_deadline::DurableDeadline;

/// A confirmation with less time left than this could arrive after the bot's own timer.
pub(super) const TOO_LATE: Duration = Duration::from_millis(500);

/// The bot's timer runs this much longer than ours, so that ours normally decides.
pub(super) const BOT_GRACE: Duration = Duration::from_secs(2);

/// How soon the bot is asked again; the wait doubles with each try in the same state.
const RETRY: Duration = Duration::from_millis(250);

/// The longest wait for a bot that does not answer: it may come back at any moment.
const SILENCE_WAIT: Duration = Duration::from_secs(2);

/// The longest wait for a bot that answers and refuses: its next answer is seldom another one.
const REFUSAL_WAIT: Duration = Duration::from_secs(30);

/// A trial is evaluated this often even when no report comes.
const TICK: Duration = Duration::from_millis(250);

/// A transaction that nothing is known about this long after its deadline needs a person.
const NEEDS_PERSON_AFTER: Duration = Duration::from_secs(60);

/// A bot that still refuses to keep a change or to go back, this long after its own timer should have ended the trial,
/// needs a person.
const REFUSALS_END: Duration = Duration::from_secs(15);

/// An undo waits this long for its record before the bot is told: a store that is locked must not hold it up.
pub(super) const RECORD_WAIT: Duration = Duration::from_secs(1);

/// What could not be recorded is tried again after this.
pub(super) const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// The live transaction with what is known of it in this process only.
#[derive(Debug)]
pub(super) struct LiveTrial {
    pub txn: ConfigTransaction,
    /// True while it must be asked what the bot runs.
    pub in_doubt: bool,
    /// When to ask again while something is awaited.
    pub retry_at: Instant,
    /// When the trial began, as far as this process saw.
    pub began: Instant,
    pub ends_at: Instant,
    /// Tries in this state that did not bring it to its end.
    pub tries: u32,
    /// What the bot refused last, and why.
    pub refused: Option<String>,
    pub last_sample: Option<Instant>,
    /// Samples in a row with a degraded session.
    pub strikes: u32,
    /// The bot is to be started again, to boot the candidate once.
    pub boots: bool,
    /// That the trial began could not be recorded yet; it is watched all the same.
    pub unrecorded: bool,
    /// An ending that could not be recorded yet.
    pub ending: Option<(TransactionState, EndedBy, String)>,
}

impl LiveTrial {
    pub(crate) fn new(txn: ConfigTransaction, in_doubt: bool) -> Self {
        let now = Instant::now();
        let left = txn.left();
        let window = Duration::from_millis(txn.plan.confirm_within_ms);
        // A trial that is taken up after a restart began when it began.
        let began = now.checked_sub(window.saturating_sub(left)).filter(|_| !left.is_zero()).unwrap_or(now);
        let (retry_at, ends_at) = (now, now + left);
        Self {
            txn,
            in_doubt,
            retry_at,
            began,
            ends_at,
            tries: 0,
            refused: None,
            last_sample: None,
            strikes: 0,
            boots: false,
            unrecorded: false,
            ending: None,
        }
    }

    /// When it has to be looked after next, although nothing happens until then.
    pub(crate) fn next_wakeup(&self) -> Instant {
        let waits = self.in_doubt || self.ending.is_some() || self.txn.state != TransactionState::Trial;
        if waits { self.retry_at } else { self.ends_at.min(Instant::now() + TICK) }
    }

    /// It is in this state now. Tries count within one state.
    pub(crate) fn enter(&mut self, state: TransactionState) {
        if self.txn.state != state {
            (self.tries, self.refused) = (0, None);
        }
        self.txn.state = state;
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.ends_at
    }

    /// What is left until its deadline.
    pub(crate) fn left(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }

    /// Nothing was known of it for so long that it needs a person.
    pub(crate) fn silence_needs_a_person(&self) -> bool {
        Instant::now() >= self.ends_at + BOT_GRACE + NEEDS_PERSON_AFTER
    }

    /// The bot refused for so long that it needs a person.
    pub(crate) fn refusals_need_a_person(&self) -> bool {
        Instant::now() >= self.ends_at + BOT_GRACE + REFUSALS_END
    }

    /// What the bot runs is not known: it is asked at once.
    pub(crate) fn mark_unproven_now(&mut self) {
        self.in_doubt = true;
        self.retry_at = Instant::now();
    }

    /// The next question to a bot that did not answer, or that is about to.
    pub(crate) fn wait_for_an_answer(&mut self) {
        self.wait(SILENCE_WAIT);
    }

    /// The next try with a bot that refused.
    pub(crate) fn wait_after_refusal(&mut self) {
        self.wait(REFUSAL_WAIT);
    }

    fn wait(&mut self, longest: Duration) {
        let wait = (RETRY * 2_u32.pow(self.tries.min(8))).min(longest);
        self.tries += 1;
        self.retry_at = Instant::now() + wait;
    }

    /// The bot has booted the candidate: the trial's time counts from now, and ends before the bot's own.
    pub(crate) fn begin_now(&mut self, state: &ConfigState) {
        let window = Duration::from_millis(self.txn.plan.confirm_within_ms);
        let of_bot = state.trial.as_ref().map(|trial| Duration::from_millis(trial.ttl_left_ms));
        let left = of_bot.map_or(window, |left| left.saturating_sub(BOT_GRACE)).min(window);
        self.txn.progress.deadline = Some(DurableDeadline::after(left));
        self.began = Instant::now();
        self.ends_at = self.began + left;
    }

    /// On whose account it is undone, as recorded before.
    pub(crate) fn recorded_ending(&self) -> (EndedBy, String) {
        let progress = &self.txn.progress;
        let by = progress.by.unwrap_or(EndedBy::Recovery);
        let outcome = progress.outcome.clone();
        (by, outcome.unwrap_or_else(|| "undone after a restart of botops".to_owned()))
    }

    /// As [`Self::recorded_ending`], now that the process `boot_epoch` answers. If it is another one than that of the
    /// trial, that one died.
    pub(crate) fn ending_as(&self, boot_epoch: &str) -> (EndedBy, String) {
        let before = self.txn.progress.boot_epoch.as_deref().filter(|_| self.is_undone_for_heartbeat());
        if before.is_some_and(|before| before != boot_epoch) {
            let text = "the bot died during the trial; it runs the committed config";
            return (EndedBy::BotCrash, text.to_owned());
        }
        self.recorded_ending()
    }

    /// Whether botops ended a process of the bot for this change, or was about to, and no other one has answered.
    pub(crate) fn is_owed_a_start(&self) -> bool {
        let may_boot_it = self.txn.plan.boot_once && self.txn.state == TransactionState::Activating;
        may_boot_it || self.txn.progress.ending_boot_epoch.is_some()
    }

    /// True when it is being undone only because the bot was no longer heard.
    pub(crate) fn is_undone_for_heartbeat(&self) -> bool {
        let progress = &self.txn.progress;
        let mut breached = progress.watch.iter().filter(|criterion| criterion.breached).peekable();
        // A process that botops ended itself says nothing by falling silent.
        progress.by == Some(EndedBy::Criteria)
            && progress.ending_boot_epoch.is_none()
            && breached.peek().is_some()
            && breached.all(|criterion| criterion.name == "heartbeat")
    }
}
