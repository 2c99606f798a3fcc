//! When to try to recover a component, and when to stop trying.
//!
//! Pure: one machine per component and one budget for the process. A handler that says "done" has proved nothing:
//! only the component's own check ends an attempt. Marks are on the monotonic clock and are moved when they are read
//! back from the store.

use std::time::Duration;

use botops_core::retry::{Backoff, Jitter};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::health::model::{ConfirmedStatus, HealthLevel};

/// How long a component is CRITICAL or DOWN before the first attempt is planned.
const DELAY: i64 = 30_000;

/// Attempts per incident.
const PER_INCIDENT: u32 = 3;

/// Attempts per component in an hour.
const PER_HOUR: usize = 5;

const HOUR: i64 = 3_600_000;

/// Attempts of all components together in ten minutes.
const PER_PROCESS: usize = 6;

const TEN_MINUTES: i64 = 600_000;

/// How long the check may take to confirm that an attempt helped.
const VERIFY: i64 = 90_000;

/// Unbroken good time after which an incident is over and its attempts are forgotten.
const INCIDENT_OVER: i64 = 600_000;

/// Rest after the attempts are used up; it doubles.
const COOL_DOWN: i64 = 1_800_000;

/// The longest rest.
const COOL_DOWN_MOST: i64 = 4 * HOUR;

/// How soon an attempt that could not begin is tried again; it doubles.
const UNTRIED: i64 = 10_000;

/// The longest wait for that.
const UNTRIED_MOST: i64 = 300_000;

/// Where recovery of one component stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum RecoveryPhase {
    /// Nothing to do.
    Idle,
    /// An attempt is planned.
    Waiting {
        /// When (monotonic milliseconds).
        due: i64,
    },
    /// A handler runs.
    Running {
        /// Until when it may.
        deadline: i64,
    },
    /// The handler ended; the check decides.
    Verifying {
        /// Until when it may confirm.
        until: i64,
    },
    /// All attempts are used up; it rests.
    Exhausted {
        /// Until one more attempt is made.
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

    /// When this state ends by itself.
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
    /// Attempts in this incident.
    pub(crate) attempts: u32,
    /// When attempts began, in the last hour.
    pub(crate) recent: Vec<i64>,
    /// How often the attempts were used up in this incident.
    pub(crate) exhaustions: u32,
    /// Since when the component is CRITICAL or DOWN without a break.
    pub(crate) bad_since: Option<i64>,
    /// Since when it is HEALTHY or WARNING without a break.
    pub(crate) good_since: Option<i64>,
    /// Who stopped automatic attempts.
    pub(crate) held_by: Option<String>,
    /// What the last attempt came to.
    pub(crate) last_outcome: Option<String>,
    /// The workflow run that is the running attempt: taken up again after a restart of botops.
    #[serde(default)]
    pub(crate) run: Option<AttemptRun>,
    /// How often in a row an attempt could not even begin, because something else held the bot.
    #[serde(default)]
    pub(crate) untried: u32,
    /// Why botops may not act, when an event said so.
    #[serde(default, rename = "told_blocked")]
    pub(crate) announced_hold: Option<String>,
}

/// A workflow run that is an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AttemptRun {
    /// The run's idempotency key: executing with it again finds the same run.
    pub(crate) key: String,
    /// The reason that went into the run.
    pub(crate) reason: String,
    /// The operator who asked for it; `None`: nobody did.
    pub(crate) asked_by: Option<String>,
}

/// How a handler ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HandlerEnd {
    /// It did what it does; the component's check decides whether that helped.
    Done(String),
    /// It failed.
    Failed(String),
    /// It could not begin, because something else held what it needs: no attempt was made.
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

/// What the whole process may still do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecoveryBudget {
    /// When attempts of any component began, in the last ten minutes.
    pub(crate) recent: Vec<i64>,
    /// Whether a handler runs now: one at a time.
    pub(crate) is_busy: bool,
}

/// What a decision about a component is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecoveryInput {
    pub(crate) confirmed: ConfirmedStatus,
    /// Why nothing may start: suspended, flapping, a parent is down, no handler, a bot that is not proven dead.
    pub(crate) blocked: Option<&'static str>,
    /// How long the handler may run.
    pub(crate) handler_ms: i64,
    /// From 0 to 1: spreads the waits.
    pub(crate) jitter: f64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RecoveryStep {
    /// Run the handler now.
    Start { attempt: u32 },
    /// The check confirmed that it works again.
    Recovered { attempt: u32 },
    /// The attempt did not help.
    Failed { attempt: u32, why: &'static str },
    /// The attempt could not begin; `is_news` when that was not said before.
    NotTried { why: String, is_news: bool },
    /// The attempts are used up.
    Exhausted,
    /// An attempt is planned.
    Planned,
}

impl RecoveryMachine {
    /// Moves on. At most one step each call.
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
                // The runner has its own limit; this catches one that never came back.
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

    /// The handler came back.
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
            HandlerEnd::Failed(_) => {
                self.untried = 0;
                self.fail("the handler failed", now)
            }
            HandlerEnd::NotTried(why) => self.not_tried(why, budget, now),
        }
    }

    /// Nothing was done, so nothing is counted; it is tried again later, and later still.
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

    /// An operator starts an attempt: past waits and per-incident limits, not past the process's budget.
    ///
    /// # Errors
    /// Why not.
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

    /// An operator wipes the counters.
    pub(crate) fn reset(&mut self) {
        let running = matches!(self.at, RecoveryPhase::Running { .. }).then_some(self.at);
        *self = Self { bad_since: self.bad_since, good_since: self.good_since, ..Self::default() };
        self.at = running.unwrap_or(RecoveryPhase::Idle);
    }

    /// Moves marks stored by another run. An attempt that is a workflow run goes on, because the run does; another one
    /// that is found running counts as failed.
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

    /// True when it has been bad for so long that an attempt would be made.
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

    /// Whether the attempts are used up.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhaustions > 0 && self.bad_since.is_some()
    }
}

/// Waits of recovery: half of each is fixed, half is spread, so a wait is never zero.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(5), factor: 2.0, longest: Duration::from_secs(300) };

fn wait(attempt: u32, jitter: f64) -> i64 {
    i64::try_from(BACKOFF.wait(attempt, Jitter::Half, jitter).as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
