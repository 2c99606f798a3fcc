//! freqtrade's clock and this machine's. They may differ, so nothing is judged by the difference between one's time and the
//! other's.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// When freqtrade's loop moved, as seen here, and what its clock showed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct UpstreamClock {
    /// The newest round of the loop that it told, by its clock, and since when it tells no newer one, by this machine's.
    round: Option<(DateTime<Utc>, Instant)>,
    /// How far its clock is ahead of this one; `None` where its server does not tell the time.
    ahead: Option<TimeDelta>,
}

impl UpstreamClock {
    /// Takes in when the loop went round last, and what freqtrade's clock and this one were when it said so. A loop that
    /// is seen for the first time may have stood for a while, which only its own clock can tell.
    pub(super) fn note(
        &mut self,
        last_process: Option<DateTime<Utc>>,
        clock: Option<DateTime<Utc>>,
        at: DateTime<Utc>,
        seen: Instant,
    ) {
        self.ahead = clock.map(|clock| clock - at);
        self.round = match (self.round, last_process) {
            (_, None) => None,
            (Some((round, since)), Some(told)) if round == told => Some((round, since)),
            (Some(_), Some(told)) => Some((told, seen)),
            (None, Some(told)) => {
                let stood = clock.and_then(|clock| (clock - told).to_std().ok()).unwrap_or_default();
                Some((told, seen.checked_sub(stood).unwrap_or(seen)))
            }
        };
    }

    /// How long the loop has told no newer round; `None` when it told none.
    pub(crate) fn loop_stands_for(&self) -> Option<Duration> {
        self.round.map(|(_, since)| since.elapsed())
    }

    /// The time by freqtrade's clock. The header is to the second, so that a small difference is none.
    pub(crate) fn upstream_time(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let ahead = self.ahead.filter(|ahead| ahead.abs() > TimeDelta::seconds(2));
        ahead.and_then(|ahead| now.checked_add_signed(ahead)).unwrap_or(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_loop_stands_since_its_value_changed_here_whatever_the_clocks_say() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let start = Instant::now().checked_sub(MINUTE * 3).unwrap();
        let mut clock = UpstreamClock::default();
        clock.note(Some(at(1_000)), None, at(9_000), start);
        assert!(clock.loop_stands_for().unwrap() >= MINUTE * 3);
        clock.note(Some(at(1_000)), None, at(9_100), start + MINUTE);
        assert!(clock.loop_stands_for().unwrap() >= MINUTE * 3, "the same value as before");
        clock.note(Some(at(1_090)), None, at(9_160), start + MINUTE * 2);
        assert!(clock.loop_stands_for().unwrap() < MINUTE * 2, "it moved");
        clock.note(None, None, at(9_161), start + MINUTE * 2);
        assert_eq!(clock.loop_stands_for(), None);
    }

    #[test]
    fn one_that_is_seen_first_is_judged_by_its_own_clock() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        let mut clock = UpstreamClock::default();
        clock.note(Some(at(1_000)), Some(at(1_075)), at(5_000), Instant::now());
        let stands = clock.loop_stands_for().unwrap();
        assert!(stands >= Duration::from_secs(75) && stands < Duration::from_secs(2_000), "{stands:?}");
        assert_eq!(clock.upstream_time(at(6_000)), at(2_075));
        clock.note(Some(at(1_000)), Some(at(5_001)), at(5_000), Instant::now());
        assert_eq!(clock.upstream_time(at(6_000)), at(6_000), "a second is none");
    }
}
