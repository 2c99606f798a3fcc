//! The account with its ledger: what happens is on disk before it changes the account.

use chrono::Utc;

use super::book::{AccountBook, BookChange};
use super::ledger::{Ledger, LedgerEntry, LedgerLine};

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
    /// Why the ledger cannot be written, while it cannot.
    write_fault: Option<String>,
}

impl RecordedAccount {
    /// Takes a ledger and a book to which every earlier line of that ledger was applied.
    pub(crate) fn new(ledger: Ledger, book: AccountBook) -> Self {
        Self { ledger, book, write_fault: None }
    }

    pub(crate) fn book(&self) -> &AccountBook {
        &self.book
    }

    /// Why the ledger cannot be written, while it cannot.
    pub(crate) fn write_fault(&self) -> Option<&str> {
        self.write_fault.as_deref()
    }

    /// Writes entries to disk. They take effect when each line is passed to [`RecordedAccount::apply`].
    pub(crate) fn record(&mut self, entries: Vec<LedgerEntry>) -> Result<RecordedLines, LedgerUnwritable> {
        match self.ledger.write(Utc::now(), entries) {
            Ok(lines) => Ok(RecordedLines { lines, recovered: self.write_fault.take().is_some() }),
            Err(error) => {
                let fault = error.to_string();
                let is_new = self.write_fault.replace(fault.clone()).is_none();
                Err(LedgerUnwritable { new_fault: is_new.then_some(fault) })
            }
        }
    }

    /// Applies a line that [`RecordedAccount::record`] returned.
    pub(crate) fn apply(&mut self, line: &LedgerLine) -> BookChange {
        self.book.apply(line)
    }
}
