//! Every limit of the session, with its usual value, and where the session's files are.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use super::breaker::BreakerLimits;
use crate::calendar::Calendar;

/// Every limit of the session, in one place.
#[derive(Debug, Clone)]
pub struct SessionLimits {
    /// The breaker's own limits.
    pub breaker: BreakerLimits,
    /// Evidence up to this age lets an order pass.
    pub evidence_max_age: Duration,
    /// Of a check that an order asked for.
    pub pre_trade_check: Duration,
    /// Of one attempt of a check.
    pub attempt_timeout: Duration,
    /// Of a whole check with its retries.
    pub check_timeout: Duration,
    /// Waits between the attempts of a check.
    pub retry_waits: Vec<Duration>,
    /// A broker's wait up to this is waited for inside a check.
    pub short_wait: Duration,
    /// Between checks in the trading window.
    pub interval_in_window: Duration,
    /// Between checks outside it.
    pub interval_outside_window: Duration,
    /// Between checks after a failed one.
    pub confirm_interval: Duration,
    /// Added to two intervals before the keeper counts as stuck.
    pub stale_grace: Duration,
    /// A check comes when evidence is this old, while orders are being decided.
    pub warm_after: Duration,
    /// Orders count as being decided this long after the last question.
    pub warm_for: Duration,
    /// Of one sign-in request.
    pub sign_in_timeout: Duration,
    /// Waits before the attempts of one incident; as many attempts as entries.
    pub sign_in_waits: Vec<Duration>,
    /// Sign-in attempts in 24 hours, over restarts.
    pub sign_ins_per_day: usize,
    /// Between two sign-ins with a password.
    pub password_gap: Duration,
    /// Sign-ins with a password in 24 hours.
    pub passwords_per_day: usize,
    /// How long a human has to approve.
    pub challenge_deadline: Duration,
    /// Between two questions whether a human approved.
    pub challenge_poll_interval: Duration,
    /// Between two snapshots in the health log.
    pub snapshot_interval: Duration,
    /// A difference between the clocks above this is a suspend or a set clock.
    pub clock_jump: TimeDelta,
    /// A broker's clock this far off is worth a warning.
    pub max_clock_skew: TimeDelta,
    /// When the bot trades, New York time; checks are more frequent then.
    pub trading_window: (NaiveTime, NaiveTime),
    /// The calendar for the window.
    pub calendar: Calendar,
}

impl SessionLimits {
    /// The usual limits. A live account never resumes by itself.
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

    /// The same rules with shorter waits, for demonstrations: every duration is multiplied by `factor`.
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

/// What a session needs to run.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Every limit.
    pub limits: SessionLimits,
    /// The small durable state; 0600.
    pub state_file: PathBuf,
    /// Folder of the health log.
    pub log_dir: PathBuf,
    /// Refuse new positions outside the regular session.
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
