//! How far the copy of the bot's journal of trades has come, and what it could not take over. Pure.

use serde::{Deserialize, Serialize};

use crate::bots::{BotSnapshot, TradeJournalPage};
use botops_contract::Hello;

/// How far the copy has come. It runs over all accounts of the bot, and is stored with the trades that it passed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct JournalCursor {
    /// The account of trades that name none: the one that the bot named last; empty when it named none.
    pub account: String,
    /// The start of the bot in which it named that account.
    life: String,
    /// Trades up to this number were read, or passed as unreadable.
    pub after: u64,
    /// Trades that were passed because they could not be read.
    passed: u64,
    /// Where the first of them is looked for when they are read again.
    passed_from: Option<u64>,
    /// In which start of the bot they were passed.
    passed_in: String,
    /// Trades at the end of the journal without a number: they are seen at each reading, and count once.
    unnumbered: u64,
    /// What is wrong in the first of those that could not be read.
    pub first_unread: Option<String>,
    /// First and last numbers of trades that were kept without the name of an account in this start of the bot.
    unnamed: Vec<(u64, u64)>,
}

/// Ranges of trades without the name of an account that are remembered; what is beyond stays under no name unless the bot
/// gives it again.
const MOST_UNNAMED_RANGES: usize = 200;

impl JournalCursor {
    /// Names the start of the bot that the copy follows.
    pub(crate) fn life(&self) -> &str {
        &self.life
    }

    /// Trades of the journal that could not be read.
    pub(crate) fn unread(&self) -> u64 {
        self.passed.saturating_add(self.unnumbered)
    }

    /// The account that the bot trades. A name that is missing is no other account as long as the bot was not started
    /// again since it gave one.
    pub(crate) fn account_now(&self, seen: &BotSnapshot) -> String {
        let named = seen.report.as_ref().and_then(|report| report.account.account_id.clone());
        let is_same_life = !self.account.is_empty() && self.life == life_of(seen.hello.as_deref());
        named.or_else(|| is_same_life.then(|| self.account.clone())).unwrap_or_default()
    }

    /// Takes up the account and the start of the bot as they are now. Another account has another journal; a bot that was
    /// started again may give what it could not before, and so may one that is asked again after a while.
    ///
    /// Returns the numbers of kept trades that belong to this account from now on: those that the bot gave before it named
    /// an account for the first time since it was started, as it does before a login.
    pub(crate) fn follow(&mut self, seen: &BotSnapshot, is_asked_anew: bool) -> Vec<(u64, u64)> {
        let (account, life) = (self.account_now(seen), life_of(seen.hello.as_deref()));
        let is_same_life =
            self.life == life && seen.hello.as_ref().is_some_and(|hello| hello.names_its_start());
        let unnamed = if is_same_life { std::mem::take(&mut self.unnamed) } else { Vec::new() };
        let is_named_now = self.account.is_empty() && !account.is_empty();
        if account != self.account {
            *self = Self { account, ..Self::default() };
        }
        self.life.clone_from(&life);
        if let Some(from) = self.passed_from.filter(|_| is_asked_anew || self.passed_in != life) {
            (self.after, self.passed, self.passed_from) = (from, 0, None);
            self.first_unread = None;
        }
        if is_named_now {
            return unnamed;
        }
        self.unnamed = unnamed;
        Vec::new()
    }

    /// Remembers trades that were kept under no name.
    pub(crate) fn add_unnamed(&mut self, numbers: &[u64]) {
        for number in numbers {
            let last = self.unnamed.last_mut().map(|(_, last)| last);
            if let Some(last) = last.filter(|last| last.checked_add(1) == Some(*number)) {
                *last = *number;
            } else if self.unnamed.len() < MOST_UNNAMED_RANGES {
                self.unnamed.push((*number, *number));
            }
        }
    }

    /// Moves on over a page. Returns whether there may be another one.
    pub(crate) fn pass_page(&mut self, page: &TradeJournalPage) -> bool {
        // A bot that repeats itself must not make a reader go round for ever, and one that gives a next page after an empty
        // one would lead it past trades that are yet to come.
        let is_empty = page.newest.is_none() && page.unnumbered == 0;
        let reached = page.newest.or(page.next).filter(|reached| !is_empty && *reached > self.after);
        let is_last = page.next.is_none() || reached.is_none();
        let passed = if is_last { page.unread } else { page.unread + page.unnumbered };
        self.unnumbered = if is_last { page.unnumbered } else { 0 };
        if passed > 0 && reached.is_some() {
            self.passed = self.passed.saturating_add(passed);
            self.passed_from.get_or_insert(self.after);
            self.passed_in.clone_from(&self.life);
        }
        if let Some(first) = &page.first_unread {
            self.first_unread.get_or_insert_with(|| first.to_string());
        }
        if self.unread() == 0 {
            self.first_unread = None;
        }
        self.after = reached.unwrap_or(self.after);
        !is_last
    }
}

/// What must hold whatever page comes: a cursor never goes back, and a reader does not go round for ever.
#[cfg(any(test, fuzzing))]
pub fn check_cursor(page: &TradeJournalPage) {
    for after in [0, page.newest.unwrap_or(0), u64::MAX] {
        let mut cursor = JournalCursor { after, ..JournalCursor::default() };
        let goes_on = cursor.pass_page(page);
        assert!(cursor.after >= after, "the cursor went back from {after} to {}", cursor.after);
        assert!(!goes_on || cursor.after > after, "it goes on, and from {after} again");
    }
}

/// Names one start of the bot, as far as it tells its starts apart.
fn life_of(hello: Option<&Hello>) -> String {
    let Some(hello) = hello else { return String::new() };
    let by_process = || format!("{:?} {:?}", hello.pid, hello.started_at);
    hello.boot_epoch.clone().unwrap_or_else(by_process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_page_is_the_last_and_moves_nothing() {
        let mut cursor = JournalCursor { after: 7, ..JournalCursor::default() };
        assert!(!cursor.pass_page(&page(None, Some(507), 0, 0)), "whatever comes next");
        assert_eq!(cursor.after, 7);
    }

    fn page(newest: Option<u64>, next: Option<u64>, unread: u64, unnumbered: u64) -> TradeJournalPage {
        let (trades, first_unread, is_repeated) = (Vec::new(), None, false);
        TradeJournalPage { trades, next, newest, unread, unnumbered, first_unread, is_repeated }
    }

    #[test]
    fn a_page_of_unreadable_trades_is_passed_and_each_counts_once() {
        let mut cursor = JournalCursor::default();
        assert!(cursor.pass_page(&page(Some(500), Some(500), 500, 0)));
        assert!(!cursor.pass_page(&page(Some(502), None, 1, 0)));
        assert_eq!((cursor.after, cursor.unread(), cursor.passed_from), (502, 501, Some(0)));
        // The next readings find nothing new.
        for _ in 0..3 {
            assert!(!cursor.pass_page(&page(None, None, 0, 0)));
        }
        assert_eq!((cursor.after, cursor.unread()), (502, 501));
    }

    #[test]
    fn trades_without_a_number_never_make_it_go_round() {
        let mut cursor = JournalCursor { after: 7, ..JournalCursor::default() };
        for next in [None, Some(7), Some(3), None] {
            assert!(!cursor.pass_page(&page(None, next, 0, 2)), "{next:?}");
            assert_eq!((cursor.after, cursor.unread()), (7, 2));
        }
        // A page of nothing else, with a cursor to the next one.
        assert!(cursor.pass_page(&page(None, Some(9), 0, 2)));
        assert_eq!((cursor.after, cursor.unread()), (9, 2));
        assert!(!cursor.pass_page(&page(Some(10), None, 0, 0)));
        assert_eq!((cursor.after, cursor.unread(), cursor.passed_from), (10, 2, Some(7)));
    }

    #[test]
    fn numbers_without_a_name_are_remembered_in_ranges_and_no_end_of_them() {
        let mut cursor = JournalCursor::default();
        cursor.add_unnamed(&[1, 2, 3]);
        cursor.add_unnamed(&[4, 7]);
        assert_eq!(cursor.unnamed, [(1, 4), (7, 7)]);
        for number in 10..2_000 {
            cursor.add_unnamed(&[number * 2]);
        }
        assert_eq!(cursor.unnamed.len(), MOST_UNNAMED_RANGES);
    }
}
