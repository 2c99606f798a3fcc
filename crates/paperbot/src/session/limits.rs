//! Every limit of the session, with its usual value, and where the session's files are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::breaker::BreakerLimits;
use crate::calendar::Calendar;

/// Every limit of the session. [`SessionLimits::new`] has the usual values.
#[derive(Debug, Clone)]
pub struct SessionLimits {
    /// The breaker's own limits.
    pub breaker: BreakerLimits,
    /// A successful check up to this age lets an order with new exposure pass.
    pub evidence_max_age: Duration,
    /// Deadline of a check that an order needs.
    pub pre_trade_check: Duration,
    /// Deadline of one attempt of a check.
    pub attempt_timeout: Duration,
    /// Deadline of a whole check with its retries.
    pub check_timeout: Duration,
    /// Waits between the attempts of a check.
    pub retry_waits: Vec<Duration>,
    /// A rate limit's wait up to this is waited out inside a check; a longer one ends the check.
    pub short_wait: Duration,
    /// Time between checks in the trading window.
    pub interval_in_window: Duration,
    /// Time between checks outside the trading window.
    pub interval_outside_window: Duration,
    /// Time between checks after a failed one.
    pub confirm_interval: Duration,
    /// The keeper counts as stuck when nothing was finished for two intervals and this time.
    pub stale_grace: Duration,
    /// While orders are being decided, a check is made when the last success is this old, before it is too old.
    pub warm_after: Duration,
    /// Orders count as being decided for this long after the last question to the gate.
    pub warm_for: Duration,
    /// Deadline of one sign-in request.
    pub sign_in_timeout: Duration,
    /// Waits before the attempts of one incident; their number is that of the attempts.
    pub sign_in_waits: Vec<Duration>,
    /// Most sign-in attempts in 24 hours, counted across restarts.
    pub sign_ins_per_day: usize,
    /// Least time between two sign-ins with a password.
    pub password_gap: Duration,
    /// Most sign-ins with a password in 24 hours, counted across restarts.
    pub passwords_per_day: usize,
    /// Time for a human to answer a challenge.
    pub challenge_deadline: Duration,
    /// Time between two polls whether a human has answered.
    pub challenge_poll_interval: Duration,
    /// Time between two snapshots in the health log.
    pub snapshot_interval: Duration,
    /// When wall clock and monotonic clock differ by more than this, the computer was suspended or its clock was set.
    pub clock_jump: TimeDelta,
    /// A broker's clock that differs by more than this gives a warning.
    pub max_clock_skew: TimeDelta,
    /// Start and end of the daily window in New York time in which checks are more frequent.
    pub trading_window: (NaiveTime, NaiveTime),
    /// The calendar that says on which days the window applies.
    pub calendar: Calendar,
}

impl SessionLimits {
    /// The usual limits. With a live account, only an operator closes the breaker.
    pub fn new(live: bool) -> Self {
        let seconds = Duration::from_secs;
        let hour = |hour| NaiveTime::from_hms_opt(hour, 0, 0).expect("an hour of the day");
        Self {
            breaker: BreakerLimits {
                failure_threshold: 5,
                failure_window: seconds(60),
                first_wait: seconds(60),
                longest_wait: seconds(600),
                permit_lifetime: seconds(30),
                success_gap: seconds(10),
                resumes_per_day: if live { 0 } else { 3 },
            },
            evidence_max_age: seconds(10),
            pre_trade_check: seconds(2),
            attempt_timeout: seconds(10),
            check_timeout: seconds(20),
            retry_waits: vec![seconds(1), seconds(2), seconds(4)],
            short_wait: seconds(5),
            interval_in_window: seconds(300),
            interval_outside_window: seconds(900),
            confirm_interval: seconds(10),
            stale_grace: seconds(20),
            warm_after: Duration::from_millis(7_500),
            warm_for: seconds(60),
            sign_in_timeout: seconds(30),
            sign_in_waits: vec![Duration::ZERO, seconds(30), seconds(120)],
            sign_ins_per_day: 6,
            password_gap: seconds(300),
            passwords_per_day: 3,
            challenge_deadline: seconds(120),
            challenge_poll_interval: seconds(8),
            snapshot_interval: seconds(900),
            clock_jump: TimeDelta::seconds(60),
            max_clock_skew: TimeDelta::seconds(30),
            trading_window: (hour(7), hour(10)),
            calendar: Calendar::new(),
        }
    }

    /// Multiplies every duration by `factor`, for demonstrations that should not take long.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let breaker = &mut self.breaker;
        for duration in [
            &mut breaker.failure_window,
            &mut breaker.first_wait,
            &mut breaker.longest_wait,
            &mut breaker.permit_lifetime,
            &mut breaker.success_gap,
            &mut self.evidence_max_age,
            &mut self.pre_trade_check,
            &mut self.attempt_timeout,
            &mut self.check_timeout,
            &mut self.short_wait,
            &mut self.interval_in_window,
            &mut self.interval_outside_window,
            &mut self.confirm_interval,
            &mut self.stale_grace,
            &mut self.warm_after,
            &mut self.warm_for,
            &mut self.sign_in_timeout,
            &mut self.password_gap,
            &mut self.challenge_deadline,
            &mut self.challenge_poll_interval,
            &mut self.snapshot_interval,
        ]
        .into_iter()
        .chain(&mut self.retry_waits)
        .chain(&mut self.sign_in_waits)
        {
            *duration = duration.mul_f64(factor);
        }
        self
    }

    pub(super) fn interval_at(&self, wall: DateTime<Utc>) -> Duration {
        let (from, to) = self.trading_window;
        if self.calendar.in_window(wall, from, to) {
            self.interval_in_window
        } else {
            self.interval_outside_window
        }
    }
}

/// Settings of a session.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    pub limits: SessionLimits,
    /// File of the durable state, mode 0600.
    pub state_file: PathBuf,
    /// Folder of `health_check.log` and `trading_bot.log`.
    pub log_dir: PathBuf,
    /// Whether new positions are refused outside the regular session.
    pub market_hours_only: bool,
}

impl SessionSettings {
    /// The usual settings for a data and a log folder.
    pub fn new(data_dir: &Path, log_dir: &Path, live: bool) -> Self {
        Self {
            limits: SessionLimits::new(live),
            state_file: data_dir.join("session.json"),
            log_dir: log_dir.to_owned(),
            market_hours_only: live,
        }
    }
}
