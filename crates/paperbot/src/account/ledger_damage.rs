//! Summing up a ledger that may be damaged: what is believed, what is in doubt, and how that is said.
//!
//! A proven line counts, a doubtful one does not. What a doubtful line may have changed is in doubt as well: positions
//! and orders of those symbols are set aside, since selling what is not held would be worse than waiting for a person.
//! The other positions are as proven as ever, and are closed as ever.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::book::{AccountBook, BookChange};
use super::ledger::{LedgerEntry, LedgerHistory, LedgerLine};
use super::ledger_chain::{ChainedLine, DoubtScope, DoubtfulLine};

/// The most symbols that are named in one sentence.
const NAMED_SYMBOLS: usize = 8;

/// Why the ledger is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerDamage {
    path: PathBuf,
    what: String,
    /// The symbols whose positions cannot be proven.
    pub in_doubt: BTreeSet<String>,
}

impl LedgerDamage {
    /// What is wrong, what follows and what to do, as one text.
    pub(crate) fn sentence(&self) -> String {
        let doubt = if self.in_doubt.is_empty() {
            "Open positions are proven and are closed as ever".to_owned()
        } else {
            let named: Vec<&str> = self.in_doubt.iter().take(NAMED_SYMBOLS).map(String::as_str).collect();
            let more = self.in_doubt.len() - named.len();
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            let named = named.join(", ");
            format!(
                "Positions in {named}{more} cannot be proven and are left to you, others are closed as ever"
            )
        };
        format!(
            "the ledger {} is not believed: {}; no position is opened and amounts are not known. Stop the bot and put the \
             file back from a backup, or for a new account move it and ledger-mark.json away. {doubt}",
            self.path.display(),
            self.what,
        )
    }
}

/// The account that the history adds up to, and what is wrong with it; `each` gets every line that is believed, with what it
/// changed.
pub(crate) fn sum_up(
    path: &Path,
    history: &LedgerHistory,
    mut each: impl FnMut(&LedgerLine, &BookChange),
) -> (AccountBook, Option<LedgerDamage>) {
    let mut book = AccountBook::default();
    let mut in_doubt = BTreeSet::new();
    let mut doubtful: Vec<&DoubtfulLine> = Vec::new();
    for line in &history.lines {
        match line {
            ChainedLine::Proven(line) => {
                let is_lost = matches!(&line.entry, LedgerEntry::Filled(fill) if !book.working.contains_key(&fill.order_id));
                if let LedgerEntry::Filled(fill) = &line.entry
                    && is_lost
                    && !doubtful.is_empty()
                {
                    in_doubt.insert(fill.symbol.clone());
                }
                each(line, &book.apply(line));
            }
            ChainedLine::Doubtful(line) => {
                in_doubt.extend(symbols_in_doubt(&book, &line.scope));
                doubtful.push(line);
            }
        }
    }
    if history.fault.is_some() {
        in_doubt.extend(symbols_in_doubt(&book, &DoubtScope::Everything));
    }
    let what = match (&history.fault, doubtful.first()) {
        (Some(fault), _) => fault.clone(),
        (None, Some(first)) => {
            let more = doubtful.len() - 1;
            let more =
                if more == 0 { String::new() } else { format!(" (and {more} later lines do not hold)") };
            format!("line {} {}{more}", first.line, first.what)
        }
        (None, None) => return (book, None),
    };
    book.set_aside(&in_doubt);
    (book, Some(LedgerDamage { path: path.to_owned(), what, in_doubt }))
}

fn symbols_in_doubt(book: &AccountBook, scope: &DoubtScope) -> BTreeSet<String> {
    let resting = || book.working.values().map(|order| order.placed.symbol.clone());
    match scope {
        DoubtScope::Nothing => BTreeSet::new(),
        DoubtScope::Order(id) => match book.working.get(id) {
            Some(order) => BTreeSet::from([order.placed.symbol.clone()]),
            None => resting().collect(),
        },
        DoubtScope::RestingOrders => resting().collect(),
        DoubtScope::Everything => resting().chain(book.positions.keys().cloned()).collect(),
    }
}
