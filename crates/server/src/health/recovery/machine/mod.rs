//! When to try to recover a component, and when to stop trying.
//!
//! Pure: one machine per component and one budget for the process. That a handler ended does not prove that it
//! helped: only the component's own check ends an attempt. Marks are in milliseconds of the monotonic clock and are
//! converted when they are read back from the store.

use std::time::Duration;

use botops_core::retry::{Backoff, Jitter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::health::limit_rules::LimitRuleView;
use crate::health::model::{ConfirmedStatus, HealthLevel};

/// Milliseconds a component is CRITICAL or DOWN before the first attempt is planned.
pub(crate) const DELAY: i64 = 30_000;

/// Attempts per incident at most.
pub(crate) const PER_INCIDENT: u32 = 3;

/// Attempts per component in an hour at most.
pub(crate) const PER_HOUR: usize = 5;

const HOUR: i64 = 3_600_000;

/// Attempts of all components together in ten minutes at most.
const PER_PROCESS: usize = 6;

const TEN_MINUTES: i64 = 600_000;

/// Milliseconds the check may take to confirm that an attempt helped.
pub(crate) const VERIFY: i64 = 90_000;

/// Milliseconds of unbroken good time after which an incident is over and its attempts are forgotten.
const INCIDENT_OVER: i64 = 600_000;

/// Milliseconds of pause after the attempts are used up; it doubles each time.
const COOL_DOWN: i64 = 1_800_000;

/// The longest such pause, in milliseconds.
const COOL_DOWN_MOST: i64 = 4 * HOUR;

/// Milliseconds after which an attempt that could not begin is tried again; it doubles each time.
const UNTRIED: i64 = 10_000;

/// The longest such wait, in milliseconds.
const UNTRIED_MOST: i64 = 300_000;

/// The limits of this file.
pub(crate) fn attempt_rules() -> Vec<LimitRuleView> {
    let attempts = "attempts";
    vec![
        LimitRuleView::fixed_ms(
            "recovery_delay",
            DELAY,
            "how long a component is CRITICAL or DOWN before recovery is planned",
        ),
        LimitRuleView::fixed(
            "recovery_first_wait",
            BACKOFF.first.as_secs(),
            "s",
            "the wait before the first attempt, half of it random; it doubles",
        ),
        LimitRuleView::fixed(
            "recovery_longest_wait",
            BACKOFF.longest.as_secs(),
            "s",
            "the longest wait before an attempt",
        ),
        LimitRuleView::fixed("recovery_per_incident", PER_INCIDENT, attempts, "recovery is exhausted"),
        LimitRuleView::fixed(
            "recovery_per_hour",
            PER_HOUR,
            attempts,
            "recovery of one component is exhausted",
        ),
        LimitRuleView::fixed(
            "recovery_per_ten_minutes",
            PER_PROCESS,
            attempts,
            "recovery of all components waits",
        ),
        LimitRuleView::fixed_ms(
            "recovery_verified_within",
            VERIFY,
            "the check must confirm that an attempt helped",
        ),
        LimitRuleView::fixed_ms(
            "recovery_incident_over",
            INCIDENT_OVER,
            "the time without trouble after which attempts are forgotten",
        ),
        LimitRuleView::fixed_ms("recovery_rest", COOL_DOWN, "the rest after exhaustion; it doubles"),
        LimitRuleView::fixed_ms("recovery_longest_rest", COOL_DOWN_MOST, "the longest such rest"),
        LimitRuleView::fixed_ms(
            "recovery_retry",
            UNTRIED,
            "the wait after an attempt that could not begin; it doubles",
        ),
        LimitRuleView::fixed_ms("recovery_longest_retry", UNTRIED_MOST, "the longest such wait"),
    ]
}

/// The state of a component's recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum RecoveryPhase {
    /// The component works, or has not failed for long enough.
    Idle,
    /// An attempt is planned and waits for its time.
    Waiting {
        /// When it begins, in monotonic milliseconds.
        due: i64,
    },
    /// The handler of an attempt runs.
    Running {
        /// When the attempt counts as failed, in monotonic milliseconds.
        deadline: i64,
    },
    /// The handler ended; the component's check decides whether it helped.
    Verifying {
        /// When the attempt counts as failed without a confirmation, in monotonic milliseconds.
        until: i64,
    },
    /// All attempts are used up; recovery pauses.
    Exhausted {
        /// When one more attempt is made, in monotonic milliseconds.
        until: i64,
    },
}

impl RecoveryPhase {
    /// The name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Waiting { .. } => "waiting",
            Self::Running { .. } => "running",
            Self::Verifying { .. } => "verifying",
            Self::Exhausted { .. } => "exhausted",
        }
    }

    /// When this state ends without an event, in monotonic milliseconds; `None` for `Idle`.
    pub(crate) fn ends(self) -> Option<i64> {
        match self {
            Self::Idle => None,
            Self::Waiting { due } => Some(due),
            Self::Running { deadline: end }
            | Self::Verifying { until: end }
            | Self::Exhausted { until: end } => Some(end),
        }
    }
}

/// The recovery of one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecoveryMachine {
    pub(crate) at: RecoveryPhase,
    /// Attempts made in this incident.
    pub(crate) attempts: u32,
    /// When the attempts of the last hour began.
    pub(crate) recent: Vec<i64>,
    /// How often the attempts were used up in this incident.
    pub(crate) exhaustions: u32,
    /// Since when the component is CRITICAL or DOWN without a break.
    pub(crate) bad_since: Option<i64>,
    /// Since when it is HEALTHY or WARNING without a break.
    pub(crate) good_since: Option<i64>,
    /// Who holds recovery, so that no automatic attempt starts; `None` when nobody does.
    pub(crate) held_by: Option<String>,
    /// How the last attempt ended.
    pub(crate) last_outcome: Option<String>,
    /// The workflow run of the running attempt; it is resumed after a restart of botops.
    #[serde(default)]
    pub(crate) run: Option<AttemptRun>,
    /// How many times in a row an attempt could not even begin, because something else held the bot.
    #[serde(default)]
    pub(crate) untried: u32,
    /// The reason why botops may not act that was published last, so that it is published once.
    #[serde(default, rename = "told_blocked")]
    pub(crate) announced_hold: Option<String>,
}

/// A workflow run that is a recovery attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptRun {
    /// The run's idempotency key: executing the workflow with it again finds the same run.
    pub(crate) key: String,
    /// The reason given to the run.
    pub(crate) reason: String,
    /// The operator who asked for it; `None` for an automatic attempt.
    pub(crate) asked_by: Option<String>,
}

/// How a handler ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerEnd {
    /// The handler did its work; the component's check decides whether that helped.
    Done(String),
    /// The handler failed, with the reason.
    Failed(String),
    /// The handler could not begin, because something else held what it needs: this counts as no attempt.
    NotTried(String),
}

impl Default for RecoveryMachine {
    fn default() -> Self {
        Self {
            at: RecoveryPhase::Idle,
            attempts: 0,
            recent: Vec::new(),
            exhaustions: 0,
            bad_since: None,
            good_since: None,
            held_by: None,
            last_outcome: None,
            run: None,
            untried: 0,
            announced_hold: None,
        }
    }
}

/// The budget of attempts of the whole process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecoveryBudget {
    /// When the attempts of all components in the last ten minutes began.
    pub(crate) recent: Vec<i64>,
    /// Whether a handler runs now; only one may run at a time.
    pub(crate) is_busy: bool,
}

/// What a decision about a component's recovery depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecoveryInput {
    pub(crate) confirmed: ConfirmedStatus,
    /// Why no attempt may start: suspended, flapping, a dependency is down, no handler, a bot not proven dead.
    pub(crate) blocked: Option<&'static str>,
    /// How long the handler may run, in milliseconds.
    pub(crate) handler_ms: i64,
    /// From 0 to 1: spreads the waits of components, so that they do not act together.
    pub(crate) jitter: f64,
}

/// What a step of recovery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecoveryStep {
    /// An attempt begins: the handler must be run now.
    Start { attempt: u32 },
    /// The check confirmed that the component works again.
    Recovered { attempt: u32 },
    /// The attempt did not help.
    Failed { attempt: u32, why: &'static str },
    /// The attempt could not begin; `is_news` when the reason was not published before.
    NotTried { why: String, is_news: bool },
    /// All attempts are used up.
    Exhausted,
    /// An attempt is planned.
    Planned,
}

impl RecoveryMachine {
    /// Advances by at most one step.
    pub(crate) fn advance(
        &mut self,
        input: &RecoveryInput,
        budget: &mut RecoveryBudget,
        now: i64,
    ) -> Option<RecoveryStep> {
        self.record_status(input.confirmed, now);
        budget.recent.retain(|at| now - at < TEN_MINUTES);
        self.recent.retain(|at| now - at < HOUR);
        let is_bad = self.bad_since.is_some();
        match self.at {
            RecoveryPhase::Idle => {
                if self.good_since.is_some_and(|since| now - since >= INCIDENT_OVER) {
                    self.attempts = 0;
                    self.exhaustions = 0;
                }
                if !self.is_due(now) || input.blocked.is_some() || self.held_by.is_some() {
                    return None;
                }
                if self.attempts >= PER_INCIDENT {
                    return Some(self.exhaust(now));
                }
                self.at = RecoveryPhase::Waiting { due: now + wait(self.attempts + 1, input.jitter) };
                Some(RecoveryStep::Planned)
            }
            RecoveryPhase::Waiting { .. } if !is_bad => {
                self.at = RecoveryPhase::Idle;
                None
            }
            RecoveryPhase::Waiting { due } => {
                let may = input.blocked.is_none() && self.held_by.is_none();
                let has_room = self.recent.len() < PER_HOUR && budget.recent.len() < PER_PROCESS;
                if now < due || !may || budget.is_busy {
                    return None;
                }
                if !has_room {
                    return (self.recent.len() >= PER_HOUR).then(|| self.exhaust(now));
                }
                Some(self.begin(input.handler_ms, budget, now))
            }
            RecoveryPhase::Running { deadline } if now >= deadline => {
                // The runner limits the handler's time itself; this covers a handler that never returned.
                Some(self.end_attempt(&HandlerEnd::Failed("it never came back".to_owned()), budget, now))
            }
            RecoveryPhase::Running { .. } => None,
            RecoveryPhase::Verifying { until } => {
                if input.confirmed.level().is_some_and(HealthLevel::is_up) {
                    self.at = RecoveryPhase::Idle;
                    self.last_outcome = Some("recovered".to_owned());
                    return Some(RecoveryStep::Recovered { attempt: self.attempts });
                }
                (now >= until).then(|| self.fail("the check did not confirm it in time", now))
            }
            RecoveryPhase::Exhausted { .. } if !is_bad => {
                if self.good_since.is_some_and(|since| now - since >= INCIDENT_OVER) {
                    self.at = RecoveryPhase::Idle;
                    self.attempts = 0;
                    self.exhaustions = 0;
                }
                None
            }
            RecoveryPhase::Exhausted { until } => {
                let may = input.blocked.is_none() && self.held_by.is_none() && !budget.is_busy;
                let has_room = self.recent.len() < PER_HOUR && budget.recent.len() < PER_PROCESS;
                (now >= until && may && has_room).then(|| self.begin(input.handler_ms, budget, now))
            }
        }
    }

    /// Takes the result of the handler that ran.
    pub(crate) fn end_attempt(
        &mut self,
        end: &HandlerEnd,
        budget: &mut RecoveryBudget,
        now: i64,
    ) -> RecoveryStep {
        budget.is_busy = false;
        self.run = None;
        match end {
            HandlerEnd::Done(_) => {
                self.untried = 0;
                self.at = RecoveryPhase::Verifying { until: now + VERIFY };
                RecoveryStep::Planned
            }
            HandlerEnd::Failed(words) => {
                self.untried = 0;
                let step = self.fail("the handler failed", now);
                self.last_outcome = Some(format!("the handler failed: {words}"));
                step
            }
            HandlerEnd::NotTried(why) => self.not_tried(why, budget, now),
        }
    }

    /// The handler could not begin, so no attempt is counted. It is tried again after a wait that doubles each time.
    fn not_tried(&mut self, why: &str, budget: &mut RecoveryBudget, now: i64) -> RecoveryStep {
        self.attempts = self.attempts.saturating_sub(1);
        if let Some(began) = self.recent.pop()
            && let Some(place) = budget.recent.iter().rposition(|at| *at == began)
        {
            budget.recent.remove(place);
        }
        let is_news = self.untried == 0 || self.last_outcome.as_deref() != Some(why);
        self.at = RecoveryPhase::Waiting { due: now + (UNTRIED << self.untried.min(5)).min(UNTRIED_MOST) };
        self.untried = self.untried.saturating_add(1);
        self.last_outcome = Some(why.to_owned());
        RecoveryStep::NotTried { why: why.to_owned(), is_news }
    }

    /// Starts an attempt for an operator: waits and limits per incident do not apply, the budget of the process does.
    ///
    /// # Errors
    /// The reason for which no attempt may start.
    pub(crate) fn run_now(
        &mut self,
        handler_ms: i64,
        budget: &mut RecoveryBudget,
        now: i64,
    ) -> Result<RecoveryStep, &'static str> {
        budget.recent.retain(|at| now - at < TEN_MINUTES);
        if budget.is_busy || matches!(self.at, RecoveryPhase::Running { .. }) {
            return Err("another recovery runs; one runs at a time");
        }
        if budget.recent.len() >= PER_PROCESS {
            return Err("six recoveries were started in the last ten minutes");
        }
        Ok(self.begin(handler_ms, budget, now))
    }

    /// Resets the counters for an operator; a handler that runs goes on.
    pub(crate) fn reset(&mut self) {
        let running = matches!(self.at, RecoveryPhase::Running { .. }).then_some(self.at);
        let run = self.run.take().filter(|_| running.is_some());
        *self = Self { bad_since: self.bad_since, good_since: self.good_since, run, ..Self::default() };
        self.at = running.unwrap_or(RecoveryPhase::Idle);
    }

    /// Converts marks stored by another run. An attempt that is a workflow run goes on, because the run does; any
    /// other attempt that was running counts as failed.
    pub(crate) fn resume(&mut self, by: i64, now: i64) {
        for mark in self.recent.iter_mut().chain(&mut self.bad_since).chain(&mut self.good_since) {
            *mark += by;
        }
        self.at = match self.at {
            RecoveryPhase::Idle => RecoveryPhase::Idle,
            RecoveryPhase::Waiting { due } => RecoveryPhase::Waiting { due: due + by },
            RecoveryPhase::Verifying { until } => RecoveryPhase::Verifying { until: until + by },
            RecoveryPhase::Exhausted { until } => RecoveryPhase::Exhausted { until: until + by },
            RecoveryPhase::Running { deadline } if self.run.is_some() => {
                RecoveryPhase::Running { deadline: deadline + by }
            }
            RecoveryPhase::Running { .. } => {
                self.fail("botops ended while the handler ran", now);
                self.at
            }
        };
    }

    fn record_status(&mut self, confirmed: ConfirmedStatus, now: i64) {
        match confirmed.level() {
            Some(level) if level.is_up() => {
                self.bad_since = None;
                self.announced_hold = None;
                self.good_since.get_or_insert(now);
            }
            Some(_) => {
                self.good_since = None;
                self.bad_since.get_or_insert(now);
            }
            None => {}
        }
    }

    /// True when the component has been bad for so long that an attempt would be made.
    pub(crate) fn is_due(&self, now: i64) -> bool {
        self.bad_since.is_some_and(|since| now - since >= DELAY)
    }

    fn begin(&mut self, handler_ms: i64, budget: &mut RecoveryBudget, now: i64) -> RecoveryStep {
        self.attempts += 1;
        self.recent.push(now);
        budget.recent.push(now);
        budget.is_busy = true;
        self.at = RecoveryPhase::Running { deadline: now + handler_ms + 5_000 };
        RecoveryStep::Start { attempt: self.attempts }
    }

    fn fail(&mut self, why: &'static str, now: i64) -> RecoveryStep {
        self.last_outcome = Some(why.to_owned());
        if self.attempts >= PER_INCIDENT {
            self.exhaust(now);
        } else {
            self.at = RecoveryPhase::Idle;
        }
        RecoveryStep::Failed { attempt: self.attempts, why }
    }

    fn exhaust(&mut self, now: i64) -> RecoveryStep {
        let rest = (COOL_DOWN << self.exhaustions.min(3)).min(COOL_DOWN_MOST);
        self.exhaustions += 1;
        self.at = RecoveryPhase::Exhausted { until: now + rest };
        RecoveryStep::Exhausted
    }

    /// True when all attempts are used up.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhaustions > 0 && self.bad_since.is_some()
    }
}

/// Waits before attempts: half of each is fixed and half is random, so a wait is never zero.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(5), factor: 2.0, longest: Duration::from_secs(300) };

fn wait(attempt: u32, jitter: f64) -> i64 {
    i64::try_from(BACKOFF.wait(attempt, Jitter::Half, jitter).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
