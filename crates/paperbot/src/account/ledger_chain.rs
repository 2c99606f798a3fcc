//! The chain of checksums in the ledger: how a line is sealed, and what an existing file of lines proves. Pure.
//!
//! A line ends in `,"sum":"<64 hex digits>"}`. The sum is SHA-256 over the sum of the line before and every byte of the
//! line before that ending, so a changed digit, a line that is missing and one that was moved are all noticed. It is no
//! secret: it finds damage, not somebody who computes the sums anew. Ledgers of before have no sums; their lines are
//! taken as they are and are covered by the first sum that follows them.

use botops_core::text::sha256_hex;

use super::ledger_line::{LedgerLine, entry_fault};

/// What separates a line's content from its sum.
const SEAL: &str = ",\"sum\":\"";
/// Hex digits of a sum.
const SUM_DIGITS: usize = 64;

/// Appends the sealed line with its line end, and returns its sum, which the next line is chained to.
pub(super) fn seal_line(before: &str, line: &LedgerLine, bytes: &mut Vec<u8>) -> serde_json::Result<String> {
    let mut content = serde_json::to_string(line)?;
    content.pop();
    let sum = sum_of(before, &content);
    for part in [content.as_str(), SEAL, sum.as_str(), "\"}\n"] {
        bytes.extend_from_slice(part.as_bytes());
    }
    Ok(sum)
}

/// A line of the file, in their order.
#[derive(Debug)]
pub(crate) enum ChainedLine {
    /// It is as it was written, and so are all before it up to the last doubtful one.
    Proven(Box<LedgerLine>),
    /// It is not, or one before it is missing.
    Doubtful(DoubtfulLine),
}

/// A line that is not what was written, or a place where lines are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DoubtfulLine {
    /// Its line in the file, from 1.
    pub line: usize,
    /// What is wrong with it, as the end of a sentence that begins with the line.
    pub what: String,
    /// What it may have changed.
    pub scope: DoubtScope,
}

/// Which holdings a doubtful line may have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DoubtScope {
    /// None: it reads as a line that moves no shares. Damage does not turn one kind of line into another.
    Nothing,
    /// Those of this order: damage does not turn one random id into another that is known.
    Order(String),
    /// Those of any order that rested then.
    RestingOrders,
    /// Any: lines are missing.
    Everything,
}

/// Reads a file's lines one after the other.
#[derive(Debug, Default)]
pub(super) struct ChainReader {
    /// The sum that the next line is chained to; `None` behind a line whose own sum cannot be read.
    before: Option<String>,
    next: u64,
    /// The process start that wrote the last sealed line.
    sealed_by: Option<String>,
}

impl ChainReader {
    /// Begins at the first line.
    pub(super) fn new() -> Self {
        Self { before: Some(String::new()), next: 1, sealed_by: None }
    }

    /// The sum that the line after the last one is chained to, and its number.
    pub(super) fn into_end(self) -> (String, u64) {
        (self.before.unwrap_or_default(), self.next)
    }

    /// Takes the next line of the file.
    pub(super) fn read_line(&mut self, index: usize, text: &str) -> ChainedLine {
        let doubtful =
            |what: String, scope| ChainedLine::Doubtful(DoubtfulLine { line: index + 1, what, scope });
        let seal = split_seal(text);
        let computed =
            self.before.as_deref().map(|before| sum_of(before, seal.map_or(text, |(content, _)| content)));
        let holds = seal.map(|(_, sum)| computed.as_deref() == Some(sum));
        self.before = seal.map(|(_, sum)| sum.to_owned()).or(computed);
        let expected = self.next;
        let parsed = serde_json::from_str::<LedgerLine>(text);
        // The number of a line that is chained is as true as the rest of it; others are counted.
        let number = parsed.as_ref().ok().filter(|_| holds != Some(false)).map_or(expected, |line| line.n);
        self.next = number.max(expected) + 1;
        let absurd = parsed.as_ref().ok().and_then(|line| entry_fault(&line.entry));
        match parsed {
            Ok(_) if let Some(fault) = absurd => {
                doubtful(format!("is of no real account: {fault}"), scope_of(text))
            }
            Ok(line) if line.n != expected && holds != Some(true) => {
                let what =
                    format!("has number {} where {expected} is due: a line is missing or moved", line.n);
                doubtful(what, DoubtScope::Everything)
            }
            Ok(line) if holds == Some(true) => {
                self.sealed_by = Some(line.boot_epoch.clone());
                ChainedLine::Proven(Box::new(line))
            }
            // A release of before the sums writes whole starts without them.
            Ok(line) if holds.is_none() && self.sealed_by.as_ref() != Some(&line.boot_epoch) => {
                ChainedLine::Proven(Box::new(line))
            }
            Ok(_) => {
                doubtful("is not what was written: its checksum does not fit".to_owned(), scope_of(text))
            }
            Err(error) => {
                // Nothing can be chained to what has no sum of its own.
                if seal.is_none() {
                    self.before = None;
                }
                doubtful(format!("cannot be read (column {})", error.column()), scope_of(text))
            }
        }
    }
}

/// Whether the text has the ending of a sealed line: then it was written whole, whatever became of it.
pub(super) fn is_whole(text: &str) -> bool {
    split_seal(text).is_some()
}

/// The content of a sealed line and its sum; `None` for a line without a sum that can be read.
fn split_seal(text: &str) -> Option<(&str, &str)> {
    let sealed = text.strip_suffix("\"}")?;
    let (content, sum) = sealed.split_at_checked(sealed.len().checked_sub(SUM_DIGITS)?)?;
    let content = content.strip_suffix(SEAL)?;
    sum.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some((content, sum))
}

fn sum_of(before: &str, content: &str) -> String {
    sha256_hex(format!("{before}\n{content}"))
}

/// What a damaged line may have changed, by what can still be read of it.
fn scope_of(text: &str) -> DoubtScope {
    let Ok(read) = serde_json::from_str::<serde_json::Value>(text) else { return DoubtScope::RestingOrders };
    let entry = read.get("entry").unwrap_or(&serde_json::Value::Null);
    match entry.get("type").and_then(serde_json::Value::as_str) {
        // An order that is placed or refused moves nothing; fills of one that is not known are noticed by themselves.
        Some(
            "opened" | "started" | "stopped" | "day" | "peak" | "paused" | "resumed" | "tripped" | "reset"
            | "command" | "placed" | "refused",
        ) => DoubtScope::Nothing,
        _ => entry
            .get("order_id")
            .and_then(serde_json::Value::as_str)
            .map_or(DoubtScope::RestingOrders, |id| DoubtScope::Order(id.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;

    use super::*;
    use crate::account::ledger_line::LedgerEntry;

    /// Five sealed lines behind two of a release without sums.
    fn written() -> Vec<String> {
        let line = |n: u64| LedgerLine {
            n,
            at: Utc::now(),
            boot_epoch: if n < 3 { "older" } else { "newer" }.to_owned(),
            event: None,
            entry: LedgerEntry::Paused { reason: format!("because {n}") },
        };
        let mut texts: Vec<String> = (1..3).map(|n| serde_json::to_string(&line(n)).unwrap()).collect();
        let mut reader = ChainReader::new();
        texts.iter().enumerate().for_each(|(index, text)| drop(reader.read_line(index, text)));
        let (mut before, next) = reader.into_end();
        for n in next..8 {
            let mut bytes = Vec::new();
            before = seal_line(&before, &line(n), &mut bytes).unwrap();
            texts.push(String::from_utf8(bytes).unwrap().trim_end().to_owned());
        }
        texts
    }

    /// The lines (from 1) that are doubtful.
    fn doubts(texts: &[String]) -> Vec<usize> {
        let mut reader = ChainReader::new();
        let read = texts.iter().enumerate().map(|(index, text)| reader.read_line(index, text));
        read.filter_map(|line| match line {
            ChainedLine::Doubtful(doubtful) => Some(doubtful.line),
            ChainedLine::Proven(_) => None,
        })
        .collect()
    }

    #[test]
    fn lines_as_they_were_written_are_proven_and_so_are_those_of_before_the_sums() {
        assert!(doubts(&written()).is_empty());
    }

    #[test]
    fn every_single_changed_byte_is_noticed() {
        let texts = written();
        for (index, text) in texts.iter().enumerate() {
            for at in 0..text.len() {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1;
                let mut changed = texts.clone();
                changed[index] = String::from_utf8_lossy(&bytes).into_owned();
                let found = doubts(&changed);
                // The line itself or, where it has no sum of its own, the first one with a sum behind it.
                assert!(!found.is_empty(), "line {} byte {at}: {}", index + 1, changed[index]);
            }
        }
    }

    #[test]
    fn a_missing_and_a_moved_line_are_noticed() {
        let texts = written();
        for index in 0..texts.len() - 1 {
            let mut missing = texts.clone();
            missing.remove(index);
            assert!(!doubts(&missing).is_empty(), "line {}", index + 1);
            let mut moved = texts.clone();
            moved.swap(index, index + 1);
            assert!(!doubts(&moved).is_empty(), "line {}", index + 1);
        }
    }
}
