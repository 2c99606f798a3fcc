//! What is known of a bot at one moment: the last good report, how old it is, and whether the bot is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::absence::AbsenceAdvice;
use super::contradiction::{Contradiction, ContradictionKind};
use super::earlier_processes::OtherProcesses;
use super::operator_notes::OperatorNotes;
use super::presence::Presence;
use super::reading::UnreadablePart;
use super::restart_proof::UnaskedRestart;
use botops_contract::{BotId, BotReport, Hello, TradingMode};

/// What is known of a bot. Immutable: a newer snapshot replaces it.
#[derive(Debug, Clone)]
pub struct BotSnapshot {
    /// Id of the bot that this is about.
    pub id: BotId,
    /// The last `hello`; from an earlier run of botops until the bot answers this one. `None`: it never answered.
    pub hello: Option<Arc<Hello>>,
    /// The last good report, kept while the bot is away. `None`: there never was one.
    pub report: Option<Arc<BotReport>>,
    /// What was cut from the report when it was received.
    pub dropped: DroppedItems,
    /// Parts of the last answers (`hello` and the state) that could not be read, at most 50.
    pub unreadable: Arc<Vec<UnreadablePart>>,
    /// How many further parts could not be read.
    pub unreadable_more: usize,
    /// Whether the bot answers, and if not, what is known about that.
    pub presence: Presence,
    /// Why presence is what it is, in one sentence.
    pub presence_reason: String,
    /// Since when presence is what it is.
    pub since: DateTime<Utc>,
    /// When the report was last received or confirmed as unchanged, on the monotonic clock. `None` when that was
    /// before this boot of the machine, or never.
    pub received: Option<Instant>,
    /// When that was, by the wall clock; also known for a report of an earlier run of botops.
    pub received_at: Option<DateTime<Utc>>,
    /// When this `as_of` of the report was first received; an answer that repeats it does not move it.
    pub as_of_seen: Option<FirstSeen>,
    /// When the current last tick of the trading loop was first received; a report that repeats it does not move it.
    pub tick_seen: Option<FirstSeen>,
    /// When the bot will be asked next.
    pub next_poll: Instant,
    /// How long the last answered poll took.
    pub poll_latency: Option<Duration>,
    /// Polls started in this run of botops.
    pub polls: u64,
    /// What a person is told while it does not answer; `None` while it does.
    pub absence: Option<Arc<AbsenceAdvice>>,
    /// Whether it may be started or restarted without anybody asking for it.
    pub unasked_restart: Arc<UnaskedRestart>,
    /// Earlier processes of the bot that run on beside the one that answers; `None` where none is known of.
    pub other_processes: Option<Arc<OtherProcesses>>,
    /// What became of operators' commands, as far as a reader has to know it.
    pub operator: Arc<OperatorNotes>,
    /// Where the bot contradicts itself, worst first.
    pub contradictions: Arc<Vec<Contradiction>>,
}

/// A standstill of the trading loop is reported after this time when the bot declares no interval.
const LOOP_LIMIT: Duration = Duration::from_secs(60);

/// What a loop may be late beyond the interval that the bot declares before it counts as standing still.
const LOOP_SLACK: Duration = Duration::from_secs(5);

/// Clocks that differ by no more than this agree.
const CLOCKS_AGREE: Duration = Duration::from_secs(5);

/// A moment that a report names, as it was when it was first received.
///
/// One that lies ahead of the clock and does not move grows old from then on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstSeen {
    /// When it was first received.
    pub at: Instant,
    /// How long ago it was then.
    pub age: Duration,
    /// How far it lay ahead of this machine's clock then.
    pub ahead: Duration,
}

/// How long ago the bot's trading loop last finished a tick.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoopAge {
    /// Time since its last tick.
    pub age: Duration,
    /// Beyond this age the loop counts as standing still.
    pub limit: Duration,
    /// True when the bot declared its interval; without one, a standstill is a warning and no more.
    pub declared: bool,
    /// For how long it has been seen not to move.
    pub watched: Duration,
}

impl LoopAge {
    /// True when the loop stands still, although the bot may answer: its last tick is old, and was not seen to move.
    ///
    /// An old time alone may come from a step of the clock.
    pub fn stands_still(&self) -> bool {
        self.age > self.limit && self.watched >= LOOP_SLACK
    }
}

impl BotSnapshot {
    /// How long ago the bot knew what its report says: by the report's own `as_of`, whoever confirmed it since.
    ///
    /// A step of the wall clock after it was received does not change it.
    pub fn data_age(&self) -> Option<Duration> {
        let as_of = self.report.as_ref()?.as_of?;
        Some(age_of(as_of, self.as_of_seen))
    }

    /// Paper, live or backtest; `None` while the bot was never seen. Where `hello` and the state differ and one of them says
    /// live, it is live: that is the more dangerous one.
    pub fn mode(&self) -> Option<TradingMode> {
        let of_report = self.report.as_ref().map(|report| (report.mode, report.mode_raw.is_some()));
        let of_hello = self.hello.as_ref().map(|hello| (hello.mode, hello.mode_raw.is_some()));
        // `other` without the bot's own word is what it did not say.
        let said = |said: &(TradingMode, bool)| said.0 != TradingMode::Other || said.1;
        if [of_report, of_hello].iter().flatten().any(|(mode, _)| *mode == TradingMode::Live) {
            return Some(TradingMode::Live);
        }
        of_report.filter(said).or(of_hello.filter(said)).map(|(mode, _)| mode)
    }

    /// The bot's own word for its mode, where that is `other`.
    pub fn mode_raw(&self) -> Option<&str> {
        if self.mode() != Some(TradingMode::Other) {
            return None;
        }
        let of_report = self.report.as_deref().and_then(|report| report.mode_raw.as_deref());
        of_report.or_else(|| self.hello.as_deref().and_then(|hello| hello.mode_raw.as_deref()))
    }

    /// How many positions the bot reported, those included that were cut off; `None` when it reports none at all.
    pub fn position_count(&self) -> Option<usize> {
        Some(
            self.report.as_ref()?.positions.as_ref()?.len()
                + self.dropped.positions
                + self.dropped.unread_positions,
        )
    }

    /// How many of the reported orders may still fill, those included that were cut off; `None` when the bot reports no
    /// orders at all.
    pub fn open_order_count(&self) -> Option<usize> {
        if self.dropped.unread_orders > 0 {
            return None;
        }
        Some(self.report.as_ref()?.open_order_count()? + self.dropped.open_orders)
    }

    /// Whether something at this place of the state, or inside of it, could not be read.
    pub fn is_unreadable(&self, pointer: &str) -> bool {
        self.unreadable.iter().any(|part| part.call == "GET state" && part.pointer.starts_with(pointer))
    }

    /// How far the bot's clock is ahead of this machine's, when that is more than 5 s: how old its data is cannot be
    /// told then.
    pub fn clock_ahead(&self) -> Option<Duration> {
        self.as_of_seen.map(|snapshot| snapshot.ahead).filter(|ahead| *ahead > CLOCKS_AGREE)
    }

    /// The contradiction of a pause, while there is one.
    pub fn denied_pause(&self) -> Option<&Contradiction> {
        self.contradictions.iter().find(|one| one.kind == ContradictionKind::Pause)
    }

    /// How far the last tick of the bot's loop lies in the future, where the bot's clock agrees with this machine's otherwise.
    pub(super) fn tick_ahead(&self) -> Option<Duration> {
        let ahead = self.tick_seen.map(|tick| tick.ahead).filter(|ahead| *ahead > CLOCKS_AGREE);
        ahead.filter(|_| self.clock_ahead().is_none())
    }

    /// How long ago the bot last answered, with whatever age of data.
    pub fn answer_age(&self) -> Option<Duration> {
        if let Some(received) = self.received {
            return Some(received.elapsed());
        }
        // Received before the machine started: the wall clock is all there is.
        self.received_at.map(|at| (Utc::now() - at).to_std().unwrap_or_default())
    }

    /// How long ago the trading loop last finished a tick; `None` when the bot does not report it.
    pub fn loop_age(&self) -> Option<LoopAge> {
        let ticks = &self.report.as_ref()?.loop_stats;
        let age = age_of(ticks.last_tick_at?, self.tick_seen);
        let declared = ticks.expected_interval_s.filter(|seconds| seconds.is_finite() && *seconds > 0.0);
        let interval = declared.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let limit = interval.map_or(LOOP_LIMIT, |interval| interval + LOOP_SLACK);
        let watched = self.tick_seen.map_or(Duration::ZERO, |snapshot| snapshot.at.elapsed());
        Some(LoopAge { age, limit, declared: interval.is_some(), watched })
    }
}

/// How long ago a moment was that the report names.
fn age_of(moment: DateTime<Utc>, snapshot: Option<FirstSeen>) -> Duration {
    snapshot.map_or_else(|| (Utc::now() - moment).to_std().unwrap_or_default(), FirstSeen::age_now)
}

impl FirstSeen {
    /// `moment` was received now, after `before` with what was known of it.
    pub(super) fn after(before: Option<(DateTime<Utc>, Self)>, moment: DateTime<Utc>) -> Self {
        if let Some((_, known)) = before.filter(|(earlier, _)| *earlier == moment) {
            return known;
        }
        let wall = Utc::now();
        let by_the_clock = (wall - moment).to_std().unwrap_or_default();
        // What is newer than something cannot be older than that, whatever step the wall clock made between.
        let bound = before.filter(|(earlier, _)| *earlier < moment).map(|(_, known)| known.age_now());
        let age = bound.map_or(by_the_clock, |bound| by_the_clock.min(bound));
        Self { at: Instant::now(), age, ahead: (moment - wall).to_std().unwrap_or_default() }
    }

    fn age_now(self) -> Duration {
        self.age + self.at.elapsed()
    }
}

/// How many items of a report were cut off: no real bot has so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DroppedItems {
    /// Positions beyond the first 20,000.
    pub positions: usize,
    /// Orders beyond the first 2,000.
    pub orders: usize,
    /// How many of those orders may still fill.
    pub open_orders: usize,
    /// Positions that could not be read and are not in the list; they count as positions.
    pub unread_positions: usize,
    /// Orders that could not be read and are not in the list: how many may still fill is not known then.
    pub unread_orders: usize,
    /// Locks beyond the first 200.
    pub locks: usize,
    /// Recent errors beyond the first 200.
    pub errors: usize,
}
