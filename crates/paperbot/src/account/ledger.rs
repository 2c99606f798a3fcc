//! The ledger: everything that ever happened to the account, one JSON line each, on disk before it takes effect.
//!
//! The account in memory ([`super::book::AccountBook`]) is the sum of these lines and is summed up again at each start.
//! A torn last line is cut off. Lines are chained by checksums ([`super::ledger_chain`]): what is not as it was written
//! is not believed, and the bot says so ([`super::ledger_damage`]). Lines are never changed or removed.

use std::io;
use std::path::{Path, PathBuf};

use super::append_file::AppendOnlyFile;
use super::ledger_chain::{ChainReader, ChainedLine, is_whole, seal_line};
pub(crate) use super::ledger_line::{
    LedgerEntry, LedgerLine, OrderFill, OrderPurpose, PlacedOrder, UnwrittenLine,
};
use super::ledger_mark::{LedgerMark, LedgerMarkFile};

/// The open ledger file.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    /// The file, or why nothing is written into it.
    file: Result<AppendOnlyFile, String>,
    /// Whether there never was a file: it is made as soon as that is possible.
    is_new: bool,
    mark: LedgerMarkFile,
    next: u64,
    /// The sum that the next line is chained to.
    last_sum: String,
    boot_epoch: String,
}

/// What the file held when it was opened.
#[derive(Debug, Default)]
pub(crate) struct LedgerHistory {
    pub lines: Vec<ChainedLine>,
    /// Whether an incomplete last line was cut off.
    pub repaired: bool,
    /// Why nothing can be learnt of the account, or not all of it: the file is missing, too short or cannot be read.
    pub fault: Option<String>,
}

impl Ledger {
    /// Opens or creates the file for a new start of the process. A file that does not hold is never an error: the history
    /// says what is wrong with it.
    ///
    /// Into a file that is missing, too short or unreadable nothing is written, so that the real one can be put back.
    pub(crate) fn open(path: &Path, boot_epoch: &str) -> (Self, LedgerHistory) {
        let (mark, known) = LedgerMarkFile::open(path);
        let is_new = known.lines == 0 && !path.exists();
        let is_gone = known.lines > 0 && !path.exists();
        let opened = if is_gone { Err("it is missing".to_owned()) } else { read_file(path, known) };
        let mut reader = ChainReader::new();
        let (file, mut history) = match opened {
            Ok((file, texts, repaired)) => {
                let texts = texts.iter().enumerate();
                let lines = texts.map(|(index, text)| reader.read_line(index, text)).collect();
                (Ok(file), LedgerHistory { lines, repaired, fault: None })
            }
            Err(fault) => {
                let told = Some(fault.clone()).filter(|_| !is_new);
                (Err(fault), LedgerHistory { fault: told, ..LedgerHistory::default() })
            }
        };
        let (last_sum, next) = reader.into_end();
        let mut ledger = Self {
            path: path.to_owned(),
            file,
            is_new,
            mark,
            next,
            last_sum,
            boot_epoch: boot_epoch.to_owned(),
        };
        if ledger.file.is_ok() && next <= known.lines {
            let fault = format!("it ends at line {}, and had {} lines before", next - 1, known.lines);
            ledger.file = Err(fault.clone());
            history.fault = Some(fault);
        }
        (ledger, history)
    }

    /// Writes what happened, all of it with one sync, and returns the lines once they are on disk.
    pub(crate) fn write(
        &mut self,
        unwritten: impl IntoIterator<Item = UnwrittenLine>,
    ) -> io::Result<Vec<LedgerLine>> {
        if self.is_new && self.file.is_err() {
            let (file, _) = AppendOnlyFile::open(&self.path)?;
            self.file = Ok(file);
        }
        let file = self.file.as_mut().map_err(|fault| io::Error::other(fault.clone()))?;
        let mut lines = Vec::new();
        let mut bytes = Vec::new();
        let mut sum = self.last_sum.clone();
        for (n, UnwrittenLine { at, event, entry }) in (self.next..).zip(unwritten) {
            let line = LedgerLine { n, at, boot_epoch: self.boot_epoch.clone(), event, entry };
            sum = seal_line(&sum, &line, &mut bytes)?;
            lines.push(line);
        }
        file.append(&bytes)?;
        self.next = lines.last().map_or(self.next, |line| line.n + 1);
        self.last_sum = sum;
        Ok(lines)
    }

    /// Whether lines can be written, without writing one.
    pub(crate) fn try_room(&mut self) -> io::Result<()> {
        self.file.as_mut().map_err(|fault| io::Error::other(fault.clone()))?.try_room()
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A line of this start that is not in the file.
    pub(crate) fn in_memory(&self, unwritten: UnwrittenLine) -> LedgerLine {
        let UnwrittenLine { at, event, entry } = unwritten;
        LedgerLine { n: self.next, at, boot_epoch: self.boot_epoch.clone(), event, entry }
    }

    /// Writes down how far the file has come, so that one that is cut shorter is noticed.
    pub(crate) fn store_mark(&mut self) -> io::Result<()> {
        // A ledger that is no longer in its place is told by the next write.
        let Ok(file) = &mut self.file else { return Ok(()) };
        file.stay_in_place()?;
        self.mark.store(self.next - 1)
    }
}

/// The file, its whole lines, and whether a torn one was cut off.
fn read_file(path: &Path, known: LedgerMark) -> Result<(AppendOnlyFile, Vec<String>, bool), String> {
    let (mut file, found) = AppendOnlyFile::open(path).map_err(|error| error.to_string())?;
    let mut repaired = !found.torn.is_empty();
    let mut texts = found.lines;
    // What was written whole is damaged when it cannot be read; only what was not is a torn write, which never counted.
    let was_torn = |text: &String| !is_whole(text) && serde_json::from_str::<LedgerLine>(text).is_err();
    let counted = u64::try_from(texts.len()).unwrap_or(u64::MAX) <= known.lines;
    if let Some(torn) = texts.pop_if(|text| !counted && was_torn(text)) {
        file.cut_last(&torn).map_err(|error| error.to_string())?;
        repaired = true;
    }
    Ok((file, texts, repaired))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use botops_contract::{BotPhase, CommandOutcome, CommandResult, Exposure, Verb};
    use chrono::Utc;
    use rust_decimal::Decimal;

    fn opened() -> LedgerEntry {
        LedgerEntry::Opened { cash: Decimal::from(100_000), account_id: None }
    }

    #[test]
    fn the_answer_to_a_command_is_read_back_with_its_amounts() {
        let exposure = Exposure { notional: Some(Decimal::new(12_345, 2).into()), ..Exposure::default() };
        let result = CommandResult {
            command_id: "c".to_owned(),
            outcome: CommandOutcome::Done,
            reason_code: None,
            message: "done".to_owned(),
            phase: Some(BotPhase::Paused),
            phase_raw: None,
            trading_enabled: Some(false),
            exposure: Some(exposure),
            at: Some(Utc::now()),
            replayed: false,
        };
        let entry = LedgerEntry::Command { verb: Verb::Flatten, result: Box::new(result) };
        let text = serde_json::to_string(&entry).unwrap();
        let read: LedgerEntry = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{read:?}"), format!("{entry:?}"));
    }

    fn now(entries: Vec<LedgerEntry>) -> Vec<UnwrittenLine> {
        entries.into_iter().map(|entry| UnwrittenLine { at: Utc::now(), event: None, entry }).collect()
    }

    /// The numbers of the lines that are believed.
    fn believed(history: &LedgerHistory) -> Vec<u64> {
        let proven = history.lines.iter().filter_map(|line| match line {
            ChainedLine::Proven(line) => Some(line.n),
            ChainedLine::Doubtful(_) => None,
        });
        proven.collect()
    }

    #[test]
    fn what_was_written_is_read_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut ledger, _) = Ledger::open(&path, "a");
        ledger.write(now(vec![opened(), LedgerEntry::Paused { reason: "why".to_owned() }])).unwrap();
        ledger.write(now(vec![LedgerEntry::Resumed { reason: "why not".to_owned() }])).unwrap();
        let (mut ledger, history) = Ledger::open(&path, "b");
        assert_eq!(believed(&history), [1, 2, 3]);
        assert_eq!((history.repaired, history.fault), (false, None));
        ledger.write(now(vec![opened()])).unwrap();
        assert_eq!(believed(&Ledger::open(&path, "c").1), [1, 2, 3, 4]);
    }

    #[test]
    fn a_torn_tail_is_repaired_and_damage_is_kept_and_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut ledger, _) = Ledger::open(&path, "a");
        for _ in 0..3 {
            ledger.write(now(vec![opened()])).unwrap();
        }
        let whole = fs::read_to_string(&path).unwrap();
        for torn in ["{\"n\":4,\"at\"", "{\"n\":4,\"at\"\n"] {
            fs::write(&path, format!("{whole}{torn}")).unwrap();
            let (_, history) = Ledger::open(&path, "b");
            assert_eq!((believed(&history), history.repaired), (vec![1, 2, 3], true));
            assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        }
        // One digit of the last line: it was written whole, so it is no torn write.
        let changed = whole.replacen("100000", "900000", 3).replacen("900000", "100000", 2);
        fs::write(&path, &changed).unwrap();
        let (_, history) = Ledger::open(&path, "b");
        assert_eq!((believed(&history), history.repaired), (vec![1, 2], false));
        assert_eq!(fs::read_to_string(&path).unwrap(), changed, "what is damaged is evidence");
    }

    #[test]
    fn a_ledger_that_is_shorter_than_it_was_or_gone_is_not_believed_and_not_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut ledger, _) = Ledger::open(&path, "a");
        ledger.write(now(vec![opened(), opened(), opened()])).unwrap();
        ledger.store_mark().unwrap();
        let whole = fs::read_to_string(&path).unwrap();
        let first = whole.lines().next().unwrap().to_owned() + "\n";
        fs::write(&path, &first).unwrap();
        let (mut ledger, history) = Ledger::open(&path, "b");
        assert_eq!(history.fault.as_deref(), Some("it ends at line 1, and had 3 lines before"));
        assert!(ledger.write(now(vec![opened()])).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), first);
        fs::remove_file(&path).unwrap();
        let (mut ledger, history) = Ledger::open(&path, "b");
        assert_eq!(history.fault.as_deref(), Some("it is missing"));
        assert!(ledger.write(now(vec![opened()])).is_err());
        assert!(!path.exists());
        // Put back, it is believed again.
        fs::write(&path, &whole).unwrap();
        assert_eq!(believed(&Ledger::open(&path, "c").1), [1, 2, 3]);
    }
}
