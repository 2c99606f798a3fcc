//! The newest answer of each kind that freqtrade gave, shared between those that ask and those that tell.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use botops_contract::VerbatimJson;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Notify, watch};

use super::bot_life::BotLife;
use super::error_lines::ErrorLines;
use super::reach::{ReachFacts, UpstreamReach};
use super::refused_requests::{RefusedRequest, RefusedRequests};
use super::upstream_clock::UpstreamClock;
use crate::trades::key_of_open;
use crate::upstream::{
    BalanceAnswer, ConfigEcho, FreqtradeTrade, HealthAnswer, LocksAnswer, ReadList, UpstreamFailure,
    WhitelistAnswer,
};

/// A part of the state that freqtrade refuses, or does not answer, for this long is not shown any more.
const GIVEN_UP_AFTER: TimeDelta = TimeDelta::minutes(2);

/// One kind of answer: the newest one, and why the newest question brought none.
#[derive(Debug)]
pub(crate) struct PolledPart<T> {
    answer: Option<(Arc<T>, DateTime<Utc>)>,
    /// Why the newest question was not answered; `None` when it was, or none was asked.
    pub failure: Option<UpstreamFailure>,
}

impl<T> Default for PolledPart<T> {
    fn default() -> Self {
        Self { answer: None, failure: None }
    }
}

impl<T> Clone for PolledPart<T> {
    fn clone(&self) -> Self {
        Self { answer: self.answer.clone(), failure: self.failure.clone() }
    }
}

impl<T> PolledPart<T> {
    /// The newest answer.
    pub(crate) fn value(&self) -> Option<&T> {
        self.answer.as_ref().map(|(value, _)| &**value)
    }

    /// When it came.
    pub(crate) fn at(&self) -> Option<DateTime<Utc>> {
        self.answer.as_ref().map(|(_, at)| *at)
    }

    /// Takes in the outcome of a question. What freqtrade refuses for long, or gives no answer to while it answers others,
    /// is given up: it is then not known, makes nothing else look as old, and is not shown under a newer moment.
    pub(super) fn set(&mut self, outcome: Result<(T, DateTime<Utc>), UpstreamFailure>, now: DateTime<Utc>) {
        match outcome {
            Ok((value, at)) => *self = Self { answer: Some((Arc::new(value), at)), failure: None },
            Err(failure) => {
                let is_old = self.at().is_some_and(|at| now - at > GIVEN_UP_AFTER);
                if is_old {
                    self.answer = None;
                }
                self.failure = Some(failure);
            }
        }
    }

    /// Whether freqtrade has answered the question, be it with a refusal.
    fn is_settled(&self) -> bool {
        self.answer.is_some() || self.failure.as_ref().is_some_and(UpstreamFailure::was_answered)
    }
}

/// The config as it is used, as it came without secrets, and when it came.
pub(super) type ConfigAnswer = (ConfigEcho, VerbatimJson, DateTime<Utc>);

/// What was asked together.
#[derive(Debug)]
pub(super) struct UpstreamRound {
    /// The account that these answers are of; `None` where they do not say it.
    pub account: Option<String>,
    pub config: Result<ConfigAnswer, UpstreamFailure>,
    pub health: Result<(HealthAnswer, DateTime<Utc>), UpstreamFailure>,
    /// freqtrade's clock when it told its health.
    pub clock: Option<DateTime<Utc>>,
    pub open_trades: Result<(ReadList<FreqtradeTrade>, DateTime<Utc>), UpstreamFailure>,
}

/// What freqtrade said last. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(crate) struct UpstreamPicture {
    pub config: PolledPart<ConfigEcho>,
    /// The same answer as it came, without secrets.
    pub config_as_told: PolledPart<VerbatimJson>,
    pub health: PolledPart<HealthAnswer>,
    pub clock: UpstreamClock,
    pub open_trades: PolledPart<ReadList<FreqtradeTrade>>,
    pub balance: PolledPart<BalanceAnswer>,
    pub locks: PolledPart<LocksAnswer>,
    pub whitelist: PolledPart<WhitelistAnswer>,
    /// `None` until the log was read once.
    pub life: Option<Arc<BotLife>>,
    pub errors: Arc<ErrorLines>,
    /// Requests of commands that freqtrade refused, which it writes into its log as errors.
    pub refused: Arc<RefusedRequests>,
    /// The account that the newest round is of.
    account: Option<String>,
    /// The same, also while none is known.
    last_account: Option<String>,
    /// Trades that were open and of which the closed ones, which are read at another moment, were not read since.
    pub left_trades: BTreeSet<String>,
    /// When freqtrade answered again after it had not: from and to.
    pub last_silence: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl UpstreamPicture {
    /// The moment that everything in it describes at least: that of the oldest part of the last round.
    pub(crate) fn as_of(&self) -> Option<DateTime<Utc>> {
        let config = self.config.at()?;
        Some([self.health.at(), self.open_trades.at()].into_iter().flatten().fold(config, std::cmp::Ord::min))
    }

    /// The picture with these open trades alone.
    #[cfg(test)]
    pub(crate) fn show_open_trades(&mut self, trades: ReadList<FreqtradeTrade>) {
        self.open_trades.set(Ok((trades, Utc::now())), Utc::now());
    }

    /// The open trades, by what tells one from another.
    pub(super) fn open_keys(&self) -> BTreeSet<String> {
        self.open_trades
            .value()
            .map_or_else(BTreeSet::new, |trades| trades.items.iter().map(key_of_open).collect())
    }

    /// Takes in one round. Of another account, nothing that was read before holds.
    pub(super) fn take_round(&mut self, round: UpstreamRound, now: DateTime<Utc>) {
        let before = self.open_keys();
        match round.config {
            Ok((echo, told, at)) => {
                self.config.set(Ok((echo, at)), now);
                self.config_as_told.set(Ok((told, at)), now);
            }
            Err(failure) => self.config.set(Err(failure), now),
        }
        let account = round.account.clone().or_else(|| self.last_account.clone());
        self.account = round.account;
        let was = std::mem::replace(&mut self.last_account, account);
        let is_other = was.is_some() && was != self.last_account;
        if is_other {
            self.open_trades = PolledPart::default();
            self.balance = PolledPart::default();
            self.locks = PolledPart::default();
            self.whitelist = PolledPart::default();
            self.left_trades.clear();
        }
        if let Ok((health, at)) = &round.health {
            self.clock.note(health.last_process, round.clock, *at, Instant::now());
        }
        self.health.set(round.health, now);
        self.open_trades.set(round.open_trades, now);
        if !is_other && self.open_trades.value().is_some() {
            let open = self.open_keys();
            self.left_trades.extend(before.difference(&open).cloned());
            self.left_trades.retain(|key| !open.contains(key));
        }
    }

    /// Whether everything that a state needs was read, or refused, once.
    pub(super) fn has_state(&self) -> bool {
        self.config.at().is_some()
            && self.health.is_settled()
            && self.open_trades.is_settled()
            && self.life.is_some()
    }

    /// Names the account; `None` until freqtrade said which it trades.
    pub(crate) fn account_id(&self) -> Option<String> {
        self.account.clone()
    }

    /// The account that was known last, also while none is.
    pub(super) fn last_account(&self) -> Option<&str> {
        self.last_account.as_deref()
    }
}

/// The shared picture; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct PictureCell {
    shared: Arc<CellContents>,
}

#[derive(Debug)]
struct CellContents {
    picture: Mutex<UpstreamPicture>,
    facts: Mutex<ReachFacts>,
    place: String,
    changed: Notify,
    round: Notify,
    slow: Notify,
    log: Notify,
    pings: watch::Sender<bool>,
}

impl PictureCell {
    /// An empty picture of a freqtrade at this place.
    pub(crate) fn new(place: String) -> Self {
        let shared = CellContents {
            picture: Mutex::default(),
            facts: Mutex::default(),
            place,
            changed: Notify::new(),
            round: Notify::new(),
            slow: Notify::new(),
            log: Notify::new(),
            pings: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What was said last.
    pub(crate) fn load(&self) -> UpstreamPicture {
        lock(&self.shared.picture).clone()
    }

    /// Whether freqtrade answers now.
    pub(crate) fn reach(&self) -> UpstreamReach {
        lock(&self.shared.facts).decide(Instant::now(), &self.shared.place)
    }

    /// Resolves when something changed since the last call.
    pub(crate) async fn changed(&self) {
        self.shared.changed.notified().await;
    }

    /// Makes the pollers read everything that may have changed soon: after an event of freqtrade, or after a command.
    pub(crate) fn wake_pollers(&self) {
        self.shared.round.notify_one();
        self.shared.slow.notify_one();
    }

    /// Notes that freqtrade refused a request of a command.
    pub(crate) fn add_refused_request(&self, request: RefusedRequest) {
        self.update(|picture| Arc::make_mut(&mut picture.refused).add(request));
    }

    pub(super) fn wake_slow_poller(&self) {
        self.shared.slow.notify_one();
    }

    pub(super) fn wake_log_poller(&self) {
        self.shared.log.notify_one();
    }

    pub(super) async fn log_woken(&self) {
        self.shared.log.notified().await;
    }

    pub(super) async fn round_woken(&self) {
        self.shared.round.notified().await;
    }

    pub(super) async fn slow_woken(&self) {
        self.shared.slow.notified().await;
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut UpstreamPicture)) {
        change(&mut lock(&self.shared.picture));
        self.shared.changed.notify_one();
    }

    pub(super) fn update_facts(&self, change: impl FnOnce(&mut ReachFacts)) {
        change(&mut lock(&self.shared.facts));
        self.shared.changed.notify_one();
    }

    /// Tells whether the newest `ping` was answered.
    pub(super) fn set_ping(&self, answered: bool) {
        self.shared.pings.send_replace(answered);
    }

    /// Resolves while the newest `ping` was answered: a freqtrade that is silent is sent nothing but `ping`.
    pub(super) async fn wait_for_ping(&self) {
        // Fails only when the sender is gone, which this value holds.
        let _ = self.shared.pings.subscribe().wait_for(|answered| *answered).await;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(dry_run: bool, trades: &str) -> UpstreamRound {
        let at = DateTime::from_timestamp(1_000, 0).unwrap();
        let config: ConfigEcho = serde_json::from_str(&format!("{{\"dry_run\": {dry_run}}}")).unwrap();
        UpstreamRound {
            account: Some(format!("dry: {dry_run}")),
            config: Ok((config, VerbatimJson::default(), at)),
            health: Ok((HealthAnswer::default(), at)),
            clock: None,
            open_trades: Ok((serde_json::from_str(trades).unwrap(), at)),
        }
    }

    #[test]
    fn a_trade_that_left_is_known_by_its_key_and_another_account_begins_with_nothing() {
        let (mut picture, now) = (UpstreamPicture::default(), Utc::now());
        picture.take_round(round(true, r#"[{"trade_id": 1, "pair": "A/B"}]"#), now);
        picture.balance.set(Ok((BalanceAnswer::default(), now)), now);
        picture.locks.set(Ok((LocksAnswer::default(), now)), now);
        assert_eq!(picture.left_trades.len(), 0);
        picture.take_round(round(true, r#"[{"trade_id": 2, "pair": "A/B"}]"#), now);
        assert_eq!(picture.left_trades.iter().collect::<Vec<_>>(), ["1|A/B|0"], "as many, but not the same");
        assert!(picture.balance.value().is_some());
        picture.take_round(round(false, "[]"), now);
        assert!(picture.balance.value().is_none() && picture.locks.value().is_none());
        assert_eq!((picture.left_trades.len(), picture.open_trades.value().is_some()), (0, true));
    }

    #[test]
    fn what_is_refused_or_silent_for_long_is_not_known() {
        let start = DateTime::from_timestamp(1_000, 0).unwrap();
        let later = start + TimeDelta::minutes(3);
        let refused = || Err(UpstreamFailure::Domain("no".to_owned()));
        let mut part = PolledPart::default();
        part.set(Ok((7, start)), start);
        part.set(refused(), start + TimeDelta::minutes(1));
        assert_eq!(part.value(), Some(&7));
        let mut silent = part.clone();
        part.set(refused(), later);
        assert_eq!((part.value(), part.failure.is_some()), (None, true));
        silent.set(Err(UpstreamFailure::Late), start + TimeDelta::minutes(1));
        assert_eq!(silent.value(), Some(&7));
        silent.set(Err(UpstreamFailure::Late), later);
        assert_eq!((silent.value(), silent.failure.is_some()), (None, true));
        part.set(Ok((8, later)), later);
        assert_eq!((part.value(), part.failure.is_some()), (Some(&8), false));
    }
}
