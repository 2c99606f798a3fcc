//! Every limit of the session, with the values of the design, and where its files are.
//!
//! Deliberately absent: reading them from anywhere.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::breaker;
use crate::calendar::Calendar;

/// Every limit of the session, in one place.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The breaker's own limits.
    pub breaker: breaker::Limits,
    /// Evidence up to this age lets an order pass.
    pub fresh: Duration,
    /// How long an order waits for a fresh check.
    pub gate: Duration,
    /// Of one attempt of a check.
    pub attempt: Duration,
    /// Of a whole check with its retries.
    pub check: Duration,
    /// Waits between the attempts of a check.
    pub retry_waits: Vec<Duration>,
    /// A broker's wait up to this is waited for inside a check.
    pub short_wait: Duration,
    /// Between checks in the trading window.
    pub in_window: Duration,
    /// Between checks outside it.
    pub outside: Duration,
    /// Between checks after a failed one.
    pub confirm: Duration,
    /// Added to two intervals before the keeper counts as stuck.
    pub stale_grace: Duration,
    /// A check comes when evidence is this old, while orders are being decided.
    pub warm_after: Duration,
    /// Orders count as being decided this long after the last question.
    pub warm_for: Duration,
    /// Of one sign-in request.
    pub reauth: Duration,
    /// Waits before the attempts of one incident; as many attempts as entries.
    pub reauth_waits: Vec<Duration>,
    /// Sign-in attempts in 24 hours, over restarts.
    pub reauths_per_day: usize,
    /// Between two sign-ins with a password.
    pub password_gap: Duration,
    /// Sign-ins with a password in 24 hours.
    pub passwords_per_day: usize,
    /// How long a human has to approve.
    pub challenge: Duration,
    /// Between two looks whether a human approved.
    pub challenge_poll: Duration,
    /// Between two snapshots in the health log.
    pub snapshot: Duration,
    /// A difference between the clocks above this is a suspend or a set clock.
    pub jump: TimeDelta,
    /// A broker's clock this far off is worth a warning.
    pub skew: TimeDelta,
    /// When the bot trades, New York time; checks are more frequent then.
    pub window: (NaiveTime, NaiveTime),
    /// The calendar for the window.
    pub calendar: Calendar,
}

impl Limits {
    /// The limits of the design. A live account never resumes by itself.
    pub fn new(live: bool) -> Self {
        let seconds = Duration::from_secs;
        let hour = |hour| NaiveTime::from_hms_opt(hour, 0, 0).expect("an hour of the day");
        Self {
            breaker: breaker::Limits {
                threshold: 5,
                window: seconds(60),
                first_wait: seconds(60),
                longest_wait: seconds(600),
                permit: seconds(30),
                gap: seconds(10),
                resumes_per_day: if live { 0 } else { 3 },
            },
            fresh: seconds(10),
            gate: seconds(2),
            attempt: seconds(10),
            check: seconds(20),
            retry_waits: vec![seconds(1), seconds(2), seconds(4)],
            short_wait: seconds(5),
            in_window: seconds(300),
            outside: seconds(900),
            confirm: seconds(10),
            stale_grace: seconds(20),
            warm_after: Duration::from_millis(7_500),
            warm_for: seconds(60),
            reauth: seconds(30),
            reauth_waits: vec![Duration::ZERO, seconds(30), seconds(120)],
            reauths_per_day: 6,
            password_gap: seconds(300),
            passwords_per_day: 3,
            challenge: seconds(120),
            challenge_poll: seconds(8),
            snapshot: seconds(900),
            jump: TimeDelta::seconds(60),
            skew: TimeDelta::seconds(30),
            window: (hour(7), hour(10)),
            calendar: Calendar::new(),
        }
    }

    /// The same rules with shorter waits, for demonstrations: every duration is multiplied by `factor`.
    #[must_use]
    pub fn scaled(mut self, factor: f64) -> Self {
        let breaker = &mut self.breaker;
        for duration in [
            &mut breaker.window,
            &mut breaker.first_wait,
            &mut breaker.longest_wait,
            &mut breaker.permit,
            &mut breaker.gap,
            &mut self.fresh,
            &mut self.gate,
            &mut self.attempt,
            &mut self.check,
            &mut self.short_wait,
            &mut self.in_window,
            &mut self.outside,
            &mut self.confirm,
            &mut self.stale_grace,
            &mut self.warm_after,
            &mut self.warm_for,
            &mut self.reauth,
            &mut self.password_gap,
            &mut self.challenge,
            &mut self.challenge_poll,
            &mut self.snapshot,
        ]
        .into_iter()
        .chain(&mut self.retry_waits)
        .chain(&mut self.reauth_waits)
        {
            *duration = duration.mul_f64(factor);
        }
        self
    }

    pub(super) fn interval_at(&self, wall: DateTime<Utc>) -> Duration {
        let (from, to) = self.window;
        if self.calendar.in_window(wall, from, to) { self.in_window } else { self.outside }
    }
}

/// What a session needs to run.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Every limit.
    pub limits: Limits,
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
            limits: Limits::new(live),
            state_file: data_dir.join("session.json"),
            log_dir: log_dir.to_owned(),
            market_hours_only: live,
        }
    }
}
