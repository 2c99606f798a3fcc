//! The ledger: everything that ever happened to the account, one JSON line each, on disk before it takes effect.
//!
//! The account in memory ([`super::book::AccountBook`]) is the sum of these lines and is summed up again at each start.
//! A torn last line is cut off; damage in the middle refuses the start, because a bot that lost a fill must not trade.
//! Lines are never changed or removed.

use std::io;
use std::path::Path;

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize};

use super::amount_bounds::{cash_fault, money_fault, price_fault, quantity_fault};
use super::append_file::AppendOnlyFile;
use botops_contract::{CommandResult, OrderType, Side, Verb};

/// One line of `ledger.jsonl`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LedgerLine {
    /// Line number, from 1 without gaps: a missing line is detected when the file is read.
    pub n: u64,
    /// When it was written, by the bot's clock; `market_at` of an entry is the market's.
    pub at: DateTime<Utc>,
    /// Id of the process start that wrote it.
    pub boot_epoch: String,
    pub entry: LedgerEntry,
}

/// What can happen to the account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum LedgerEntry {
    /// The account was opened with this cash, in account currency. The first line.
    Opened {
        cash: Decimal,
        /// Names the account; ledgers of before have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        account_id: Option<String>,
    },
    /// The bot's process started: its version, the market's source and seed, and its process id.
    Started { version: String, source: String, seed: u64, pid: u32 },
    /// The bot's process stopped in order; missing after a kill or a crash.
    Stopped { reason: String },
    /// An order was accepted and is on its way to the exchange.
    Placed(PlacedOrder),
    /// An order was refused before it was sent, by a limit, the account or the broker session.
    Refused { order: PlacedOrder, code: String, reason: String },
    /// Some or all of an order was filled.
    Filled(OrderFill),
    /// The rest of an order was cancelled.
    Cancelled { order_id: String, reason: String },
    /// A trading day began with this equity.
    Day { day: NaiveDate, equity: Decimal },
    /// The equity reached a new peak, at least 0.1 % above the one recorded last.
    Peak { equity: Decimal },
    /// An operator paused the bot: no new positions until [`LedgerEntry::Resumed`].
    Paused { reason: String },
    /// An operator ended the pause.
    Resumed { reason: String },
    /// A limit on losses was reached and the risk breaker opened.
    Tripped { source: String, reason: String },
    /// An operator closed the risk breaker; losses are counted from these values on.
    Reset { reason: String, daily_pl: Decimal, equity: Decimal },
    /// The answer to a command, so that repeating its id gives the same answer and has no second effect.
    Command {
        verb: Verb,
        #[serde(deserialize_with = "read_result")]
        result: Box<CommandResult>,
    },
}

/// A tagged enum is buffered while it is read, and an amount is read by its text: from JSON alone, not from a buffer.
fn read_result<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<CommandResult>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    serde_json::from_value(value).map(Box::new).map_err(serde::de::Error::custom)
}

/// What an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OrderPurpose {
    /// Opens a position.
    Entry,
    /// Takes the profit of a position at its target.
    Target,
    /// Closes a position because the strategy's stop, target, trend or time limit says so.
    Exit,
    /// Closes a position on an operator's command.
    Flatten,
}

/// An order as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlacedOrder {
    pub order_id: String,
    pub client_order_id: String,
    pub symbol: String,
    pub side: Side,
    pub order_type: OrderType,
    pub quantity: Decimal,
    pub limit_price: Option<Decimal>,
    pub purpose: OrderPurpose,
    /// The strategy's or the operator's reason, one sentence.
    pub reason: String,
    /// The last price when the order was decided, which slippage can be compared with.
    pub decided_price: Decimal,
    pub stop_price: Option<Decimal>,
    pub target_price: Option<Decimal>,
    pub config_sha256: String,
    pub market_at: DateTime<Utc>,
}

/// A fill. Its id is made of the order's id and a number, so that a fill recorded twice is noticed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OrderFill {
    pub fill_id: String,
    pub order_id: String,
    pub symbol: String,
    pub side: Side,
    pub quantity: Decimal,
    pub price: Decimal,
    pub commission: Decimal,
    /// How much worse the fill is than the market price at that moment, for all its shares, in account currency.
    pub slippage: Decimal,
    pub market_at: DateTime<Utc>,
}

/// The open ledger file.
#[derive(Debug)]
pub(crate) struct Ledger {
    file: AppendOnlyFile,
    next: u64,
    boot_epoch: String,
}

/// What the file held when it was opened.
#[derive(Debug)]
pub(crate) struct LedgerHistory {
    pub lines: Vec<LedgerLine>,
    /// Whether an incomplete last line was cut off.
    pub repaired: bool,
}

impl Ledger {
    /// Opens or creates the file for a new start of the process; fails when a line in the middle is damaged.
    pub(crate) fn open(path: &Path, boot_epoch: &str) -> io::Result<(Self, LedgerHistory)> {
        let (mut file, found) = AppendOnlyFile::open(path)?;
        let mut repaired = !found.torn.is_empty();
        let mut lines: Vec<LedgerLine> = Vec::with_capacity(found.lines.len());
        for (index, text) in found.lines.iter().enumerate() {
            let expected = lines.last().map_or(1, |line| line.n + 1);
            let is_last = index + 1 == found.lines.len();
            match serde_json::from_str::<LedgerLine>(text) {
                Ok(line) if line.n == expected => {
                    if let Some(fault) = entry_fault(&line.entry) {
                        let what = format!("line {expected} is of no real account: {fault}");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                    }
                    lines.push(line);
                }
                Err(_) if is_last => {
                    file.cut_last(text)?;
                    repaired = true;
                }
                Ok(line) => {
                    let what = format!("line {} has number {}, not {expected}", index + 1, line.n);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
                Err(error) => {
                    let what = format!("line {} cannot be read: {error}", index + 1);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, what));
                }
            }
        }
        let next = lines.last().map_or(1, |line| line.n + 1);
        Ok((Self { file, next, boot_epoch: boot_epoch.to_owned() }, LedgerHistory { lines, repaired }))
    }

    /// Writes what happened, all of it with one sync, and returns the lines once they are on disk.
    pub(crate) fn write(
        &mut self,
        at: DateTime<Utc>,
        entries: Vec<LedgerEntry>,
    ) -> io::Result<Vec<LedgerLine>> {
        let mut lines = Vec::with_capacity(entries.len());
        let mut bytes = Vec::with_capacity(entries.len() * 512);
        for (n, entry) in (self.next..).zip(entries) {
            let line = LedgerLine { n, at, boot_epoch: self.boot_epoch.clone(), entry };
            serde_json::to_writer(&mut bytes, &line)?;
            bytes.push(b'\n');
            lines.push(line);
        }
        self.file.append(&bytes)?;
        self.next = lines.last().map_or(self.next, |line| line.n + 1);
        Ok(lines)
    }
}

/// The first amount of a ledger line that no account can have; `None` when all may be.
pub(crate) fn entry_fault(entry: &LedgerEntry) -> Option<String> {
    match entry {
        LedgerEntry::Opened { cash, .. } => cash_fault(*cash),
        LedgerEntry::Placed(order) | LedgerEntry::Refused { order, .. } => order_fault(order),
        LedgerEntry::Filled(fill) => fill_fault(fill),
        LedgerEntry::Day { equity, .. } | LedgerEntry::Peak { equity } => money_fault("equity", *equity),
        LedgerEntry::Reset { daily_pl, equity, .. } => {
            money_fault("daily_pl", *daily_pl).or_else(|| money_fault("equity", *equity))
        }
        LedgerEntry::Started { .. }
        | LedgerEntry::Stopped { .. }
        | LedgerEntry::Cancelled { .. }
        | LedgerEntry::Paused { .. }
        | LedgerEntry::Resumed { .. }
        | LedgerEntry::Tripped { .. }
        | LedgerEntry::Command { .. } => None,
    }
}

fn order_fault(order: &PlacedOrder) -> Option<String> {
    // What is computed from a price may be rounded to zero, or an offset may be larger than the price.
    let computed = [
        ("limit_price", order.limit_price),
        ("stop_price", order.stop_price),
        ("target_price", order.target_price),
    ];
    quantity_fault(order.quantity)
        .or_else(|| price_fault("decided_price", order.decided_price))
        .or_else(|| computed.into_iter().find_map(|(name, price)| money_fault(name, price?)))
}

fn fill_fault(fill: &OrderFill) -> Option<String> {
    quantity_fault(fill.quantity)
        .or_else(|| price_fault("price", fill.price).filter(|_| !fill.price.is_zero()))
        .or_else(|| money_fault("commission", fill.commission))
        .or_else(|| money_fault("slippage", fill.slippage))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use botops_contract::{BotPhase, CommandOutcome, Exposure};

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

    #[test]
    fn what_was_written_is_read_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut ledger, _) = Ledger::open(&path, "a").unwrap();
        let now = Utc::now();
        ledger.write(now, vec![opened(), LedgerEntry::Paused { reason: "why".to_owned() }]).unwrap();
        ledger.write(now, vec![LedgerEntry::Resumed { reason: "why not".to_owned() }]).unwrap();
        let (_, history) = Ledger::open(&path, "b").unwrap();
        assert_eq!(history.lines.iter().map(|line| line.n).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(!history.repaired);
    }

    #[test]
    fn a_torn_tail_is_repaired_and_damage_in_the_middle_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        let (mut ledger, _) = Ledger::open(&path, "a").unwrap();
        for _ in 0..3 {
            ledger.write(Utc::now(), vec![opened()]).unwrap();
        }
        let whole = fs::read_to_string(&path).unwrap();

        fs::write(&path, format!("{whole}{{\"n\":4,\"at\"")).unwrap();
        let (_, history) = Ledger::open(&path, "b").unwrap();
        assert_eq!((history.lines.len(), history.repaired), (3, true));

        fs::write(&path, format!("{whole}{{\"n\":4,\"at\"\n")).unwrap();
        let (_, history) = Ledger::open(&path, "b").unwrap();
        assert_eq!((history.lines.len(), history.repaired), (3, true));

        let mut spoiled: Vec<&str> = whole.lines().collect();
        spoiled[1] = "{\"n\":2,";
        fs::write(&path, spoiled.join("\n") + "\n").unwrap();
        assert!(Ledger::open(&path, "b").unwrap_err().to_string().contains("line 2 cannot be read"));

        fs::write(
            &path,
            whole
                .lines()
                .enumerate()
                .filter(|(index, _)| *index != 1)
                .fold(String::new(), |text, (_, line)| text + line + "\n"),
        )
        .unwrap();
        assert!(Ledger::open(&path, "b").unwrap_err().to_string().contains("number 3"));
    }
}
