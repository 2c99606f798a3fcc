//! The loop that joins the parts: an answer of freqtrade becomes a report for readers and a difference for the journal.

use std::time::{Duration, Instant};

use botops_contract::{BotReport, Severity};
use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use tokio::task::block_in_place;
use tokio_util::sync::CancellationToken;

use crate::events::{AdapterJournal, Differences, ObservedDay, ObservedState, OtherDay};
use crate::polling::{PictureCell, UpstreamPicture, UpstreamReach, differ_by_database};
use crate::report::{HelloInputs, ReportInputs, build_hello, build_report, day_began};
use crate::serve::{PublishedState, StateCell};
use crate::trades::{AccountTally, ClosedTradeLog, key_of_open};

/// Without a change, phase and locks are looked at again: both end by time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A total that is this old at midnight is not the one with which the day began.
const DAY_GAP: Duration = Duration::from_secs(60);

/// What the loop needs.
#[derive(Debug)]
pub(crate) struct Publisher {
    cell: PictureCell,
    trades: ClosedTradeLog,
    journal: AdapterJournal,
    state: StateCell,
    hello: HelloInputs,
    /// Names this run of the adapter in entity tags.
    run: String,
    seq: u64,
    /// The report that was published, without its number.
    shown: Option<BotReport>,
    /// What the closed trades add up to, for this newest trade, account and day.
    tally: Option<(u64, String, DateTime<Utc>, AccountTally)>,
    /// When a total result was known last.
    total_at: Option<Instant>,
    journal_failed: bool,
    /// Differences were told in this run of the adapter.
    has_told: bool,
}

impl Publisher {
    pub(crate) fn new(
        cell: PictureCell,
        trades: ClosedTradeLog,
        journal: AdapterJournal,
        state: StateCell,
        hello: HelloInputs,
        run: String,
    ) -> Self {
        Self {
            cell,
            trades,
            journal,
            state,
            hello,
            run,
            seq: 0,
            shown: None,
            tally: None,
            total_at: None,
            journal_failed: false,
            has_told: false,
        }
    }

    /// Publishes until the stop.
    pub(crate) async fn run(mut self, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.cell.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            // What freqtrade said before it went away stays as it was said.
            if self.cell.reach() == UpstreamReach::Answers {
                self.publish_answers();
            }
        }
    }

    fn publish_answers(&mut self) {
        let (picture, now) = (self.cell.load(), Utc::now());
        let Some(account) = picture.account_id() else { return };
        let tally = self.tally_of(&account, now);
        let mut told = self.journal.told();
        let report = build_report(ReportInputs {
            picture: &picture,
            tally: tally.as_ref(),
            closed_orders: self.trades.recent_orders(&account),
            day_base: told
                .as_ref()
                .and_then(|told| told.day.as_ref())
                .and_then(|day| base_of(day, &account, now)),
            is_between: self.is_between(&picture),
            now,
        });
        let total = report.performance.total_pl.as_ref().and_then(botops_contract::Amount::value);
        self.publish_report(&picture, report);
        self.publish_differences(&picture, &mut told, &account, total, now);
    }

    /// Whether a trade is at this moment on its way from the open to the closed ones, which are read one after the other: it
    /// would be counted never or twice.
    fn is_between(&self, picture: &UpstreamPicture) -> bool {
        let open = picture.open_trades.value().map_or(&[][..], |open| &open.items);
        !picture.left_trades.is_empty() || open.iter().any(|trade| self.trades.contains(&key_of_open(trade)))
    }

    /// The tally, computed anew only when a trade closed or the day changed; `None` until all trades were read.
    fn tally_of(&mut self, account: &str, now: DateTime<Utc>) -> Option<AccountTally> {
        if !self.trades.is_complete(account) {
            return None;
        }
        let key = (self.trades.newest_seq(), account.to_owned(), day_began(now));
        if let Some((seq, of, day, tally)) = &self.tally
            && (*seq, of, *day) == (key.0, &key.1, key.2)
        {
            return Some(tally.clone());
        }
        let tally = self.trades.tally(account, key.2);
        self.tally = Some((key.0, key.1, key.2, tally.clone()));
        Some(tally)
    }

    fn publish_report(&mut self, picture: &UpstreamPicture, report: BotReport) {
        if self.shown.as_ref() == Some(&report) {
            return;
        }
        self.seq += 1;
        let numbered = BotReport { seq: self.seq, ..report.clone() };
        let hello = build_hello(&self.hello, picture);
        self.state.publish(PublishedState::new(hello, numbered, &self.run));
        self.shown = Some(report);
    }

    fn publish_differences(
        &mut self,
        picture: &UpstreamPicture,
        told: &mut Option<ObservedState>,
        account: &str,
        total: Option<Decimal>,
        now: DateTime<Utc>,
    ) {
        // Before everything was read once, a difference would be one of what was read and not of freqtrade.
        let is_whole = self.trades.is_complete(account) && picture.locks.value().is_some();
        if !is_whole {
            return;
        }
        // Another account begins as a freqtrade that is seen for the first time: its history is no news.
        let told_account = told.as_ref().and_then(|told| Some(told.day.as_ref()?.account_id.clone()));
        let is_other = told_account.as_deref().is_some_and(|told| told != account);
        let is_other_database = told_account.is_some_and(|told| differ_by_database(&told, account));
        if is_other {
            *told = None;
        }
        let newest = self.trades.newest_seq();
        let closed =
            told.as_ref().map_or_else(Vec::new, |told| self.trades.trades_after(told.told_trade_seq));
        let Differences { mut events, mut observed, .. } =
            Differences::between(told.as_ref(), picture, &closed, !self.has_told, now);
        observed.told_trade_seq = newest.max(observed.told_trade_seq);
        observed.day = Some(self.day_of(observed.day.take(), account, total, now));
        if is_other {
            for event in &mut events {
                event.message = if is_other_database {
                    format!(
                        "freqtrade uses another database now: its trades and results are an account of their own, {account}, \
                         which is watched from now on"
                    )
                } else {
                    format!("freqtrade trades another account now, {account}, which is watched from now on")
                };
                event.severity = Severity::Medium;
            }
        }
        match block_in_place(|| self.journal.append(events, &observed)) {
            Ok(()) => {
                self.journal_failed = false;
                self.has_told = true;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.journal_failed, true) {
                    tracing::error!("events cannot be kept, so they are not told: {error}");
                }
            }
        }
    }

    /// The day and the total with which it began: that of now, when the adapter was there at midnight.
    fn day_of(
        &mut self,
        before: Option<ObservedDay>,
        account: &str,
        total: Option<Decimal>,
        now: DateTime<Utc>,
    ) -> ObservedDay {
        let began_at = day_began(now);
        let was_there = self.total_at.is_some_and(|at| at.elapsed() < DAY_GAP);
        if total.is_some() {
            self.total_at = Some(Instant::now());
        }
        let today = ObservedDay { began_at, account_id: account.to_owned(), total, other: None };
        next_day(before, today, was_there)
    }
}

/// The day that holds: the one before, or `today`, whose total counts only for who was there when it began.
fn next_day(before: Option<ObservedDay>, today: ObservedDay, was_there: bool) -> ObservedDay {
    let same_account = before.filter(|day| day.account_id == today.account_id);
    match same_account {
        Some(day) if day.began_at == today.began_at => day,
        // A trade is on its way to the closed ones: the day begins once its result is known.
        Some(day) if was_there && today.total.is_none() => day,
        Some(day) => {
            // A day begins once: a clock that was set forth and back finds both days as they began.
            let known = day.other.filter(|other| other.began_at == today.began_at);
            let is_new = was_there && today.began_at > day.began_at;
            let total = known.map_or(today.total.filter(|_| is_new), |known| known.total);
            let other = Some(OtherDay { began_at: day.began_at, total: day.total });
            ObservedDay { total, other, ..today }
        }
        None => ObservedDay { total: None, ..today },
    }
}

fn base_of(day: &ObservedDay, account: &str, now: DateTime<Utc>) -> Option<Decimal> {
    day.total.filter(|_| day.began_at == day_began(now) && day.account_id == account)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(days: i64, account: &str, total: Option<i64>) -> ObservedDay {
        let began_at = DateTime::from_timestamp(days * 86_400, 0).unwrap();
        ObservedDay { began_at, account_id: account.to_owned(), total: total.map(Decimal::from), other: None }
    }

    /// The day that holds, without the one before.
    fn begin(before: Option<ObservedDay>, today: ObservedDay, was_there: bool) -> ObservedDay {
        ObservedDay { other: None, ..next_day(before, today, was_there) }
    }

    #[test]
    fn a_clock_that_is_set_forth_and_back_begins_no_day_anew() {
        let mut now = day(1, "a", Some(100));
        for (number, total, base) in
            [(2, 90, Some(90)), (1, 80, Some(100)), (2, 70, Some(90)), (1, 60, Some(100)), (0, 50, None)]
        {
            now = next_day(Some(now), day(number, "a", Some(total)), true);
            assert_eq!((now.began_at, now.total), (day(number, "a", None).began_at, base.map(Decimal::from)));
        }
    }

    #[test]
    fn a_day_begins_with_the_total_of_midnight_or_with_none() {
        let today = day(2, "a", Some(7));
        assert_eq!(
            begin(None, today.clone(), true),
            day(2, "a", None),
            "the adapter came in the middle of it"
        );
        assert_eq!(begin(Some(day(1, "a", None)), today.clone(), true), today);
        assert_eq!(begin(Some(day(1, "a", Some(3))), today.clone(), false), day(2, "a", None), "it was away");
        assert_eq!(
            begin(Some(day(2, "a", Some(3))), today.clone(), true),
            day(2, "a", Some(3)),
            "the same day"
        );
        let not_yet = begin(Some(day(1, "a", Some(3))), day(2, "a", None), true);
        assert_eq!(not_yet, day(1, "a", Some(3)), "the total is not known for a moment");
        assert_eq!(begin(Some(day(1, "b", Some(3))), today, true), day(2, "a", None), "another account");
    }
}
