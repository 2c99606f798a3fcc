//! The account with its ledger: what happens is on disk before it changes the account.
//!
//! With one exception: what closes a position goes on while the ledger cannot be written. It is kept in memory, counts
//! at once, and is written before anything else as soon as that is possible.

use std::path::Path;

use chrono::Utc;

use super::book::{AccountBook, BookChange};
use super::ledger::{Ledger, LedgerEntry, LedgerLine, OrderPurpose, UnwrittenLine};
use super::ledger_damage::LedgerDamage;
use botops_contract::Side;

/// The ledger could not be written; the account is unchanged.
#[derive(Debug)]
pub(crate) struct LedgerUnwritable {
    /// Why, when the write before this one had succeeded; `None` for further failures, which are not reported again.
    pub new_fault: Option<String>,
}

/// Lines that are on disk and not yet in the account.
#[derive(Debug)]
pub(crate) struct RecordedLines {
    /// To be passed to [`RecordedAccount::apply`] in this order.
    pub lines: Vec<LedgerLine>,
    /// Whether the write before this one had failed, so that the recovery can be reported once.
    pub recovered: bool,
}

/// The ledger and the account it adds up to.
#[derive(Debug)]
pub(crate) struct RecordedAccount {
    ledger: Ledger,
    book: AccountBook,
    /// Why the ledger is not believed; it stays so until the next start.
    damage: Option<LedgerDamage>,
    /// Why the ledger cannot be written, while it cannot.
    write_fault: Option<String>,
    /// What happened in memory while the ledger could not be written, oldest first.
    unwritten: Vec<UnwrittenLine>,
}

impl RecordedAccount {
    /// Takes a ledger and a book to which every earlier line of that ledger was applied that is believed.
    pub(crate) fn new(ledger: Ledger, book: AccountBook, damage: Option<LedgerDamage>) -> Self {
        Self { ledger, book, damage, write_fault: None, unwritten: Vec::new() }
    }

    pub(crate) fn book(&self) -> &AccountBook {
        &self.book
    }

    /// Why the ledger is not believed; `None` for one that holds.
    pub(crate) fn damage(&self) -> Option<&LedgerDamage> {
        self.damage.as_ref()
    }

    /// Why the ledger cannot be written, while it cannot.
    pub(crate) fn write_fault(&self) -> Option<&str> {
        self.write_fault.as_deref()
    }

    /// The path of the ledger.
    pub(crate) fn ledger_path(&self) -> &Path {
        self.ledger.path()
    }

    /// How many lines count in memory and are not on disk.
    pub(crate) fn unwritten(&self) -> usize {
        self.unwritten.len()
    }

    /// Writes entries to disk. They take effect when each line is passed to [`RecordedAccount::apply`]. The events that tell
    /// of them get the numbers from `next_event` on: a line names its own, so that one that a kill kept back is made later.
    pub(crate) fn record(
        &mut self,
        entries: Vec<LedgerEntry>,
        next_event: u64,
    ) -> Result<RecordedLines, LedgerUnwritable> {
        let waiting = self.unwritten.len();
        let all = self.unwritten.iter().cloned().chain(numbered(entries, next_event));
        match self.ledger.write(all.collect::<Vec<_>>()) {
            Ok(mut lines) => {
                // They counted when they happened.
                lines.drain(..waiting);
                self.unwritten.clear();
                Ok(RecordedLines { lines, recovered: self.write_fault.take().is_some() })
            }
            Err(error) => {
                let fault = error.to_string();
                let is_new = self.write_fault.replace(fault.clone()).is_none();
                Err(LedgerUnwritable { new_fault: is_new.then_some(fault) })
            }
        }
    }

    /// Tries a ledger again that could not be written: what waits in memory is written now, also when nothing else happens.
    /// Returns whether it can be written again.
    pub(crate) fn try_again(&mut self) -> bool {
        if self.write_fault.is_none() {
            return false;
        }
        let tried = match self.unwritten.is_empty() {
            true => self.ledger.try_room(),
            false => self.ledger.write(self.unwritten.clone()).map(drop),
        };
        match tried {
            Ok(()) => {
                self.unwritten.clear();
                self.write_fault = None;
                true
            }
            Err(error) => {
                self.write_fault = Some(error.to_string());
                false
            }
        }
    }

    /// Keeps in memory what closes positions, for a ledger that cannot be written now; the rest did not happen.
    pub(crate) fn keep_exits(&mut self, entries: Vec<LedgerEntry>, next_event: u64) -> Vec<LedgerLine> {
        let exits = entries.into_iter().filter(closes_position).collect();
        let mut lines = Vec::new();
        for unwritten in numbered(exits, next_event) {
            lines.push(self.ledger.in_memory(unwritten.clone()));
            self.unwritten.push(unwritten);
        }
        lines
    }

    /// Applies a line that [`RecordedAccount::record`] or [`RecordedAccount::keep_exits`] returned.
    pub(crate) fn apply(&mut self, line: &LedgerLine) -> BookChange {
        self.book.apply(line)
    }

    /// Writes down how far the ledger has come. A failure is logged: then a cut is noticed a little less exactly.
    pub(crate) fn store_mark(&mut self) {
        if let Err(error) = self.ledger.store_mark() {
            tracing::debug!("ledger-mark.json cannot be written: {error}");
        }
    }
}

/// The entries as of now, each that an event tells of with the number of that event.
fn numbered(entries: Vec<LedgerEntry>, next_event: u64) -> impl Iterator<Item = UnwrittenLine> {
    let (at, mut next) = (Utc::now(), next_event);
    entries.into_iter().map(move |entry| {
        let event = entry.is_told().then_some(next);
        next += u64::from(event.is_some());
        UnwrittenLine { at, event, entry }
    })
}

/// Whether an entry takes risk out of the account, or belongs to one that does: the answer to a command counts for it,
/// since only commands that take risk out are carried out in memory.
fn closes_position(entry: &LedgerEntry) -> bool {
    match entry {
        LedgerEntry::Placed(order) => order.purpose != OrderPurpose::Entry,
        LedgerEntry::Filled(fill) => fill.side == Side::Sell,
        LedgerEntry::Cancelled { .. }
        | LedgerEntry::Tripped { .. }
        | LedgerEntry::Paused { .. }
        | LedgerEntry::Command { .. } => true,
        LedgerEntry::Opened { .. }
        | LedgerEntry::Started { .. }
        | LedgerEntry::Refused { .. }
        | LedgerEntry::Stopped { .. }
        | LedgerEntry::Day { .. }
        | LedgerEntry::Peak { .. }
        | LedgerEntry::Resumed { .. }
        | LedgerEntry::Reset { .. } => false,
    }
}
