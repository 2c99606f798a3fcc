//! A page of the bot's journal of trades, with the numbers of those that cannot be read: a cursor passes them by, and what
//! it passed is known.

use std::collections::HashSet;

use super::json_text::{RawMembers, raw_items, to_json_text};
use super::tolerant::{TolerantAnswer, UnreadableAnswer, read_parts};
use super::unreadable::UnreadablePart;
use botops_contract::{Trade, TradePage};

const CALL: &str = "GET trades";

/// A page of the bot's journal, as far as it could be read.
#[derive(Debug, Clone, PartialEq)]
pub struct TradeJournalPage {
    /// The trades that could be read.
    pub trades: Vec<Trade>,
    /// What the bot gave as the cursor of the next page; `None` when this page is the last.
    pub next: Option<u64>,
    /// The highest number of a trade in the page, also of those that could not be read.
    pub newest: Option<u64>,
    /// Trades that could not be read, and that a cursor behind the newest passes.
    pub unread: u64,
    /// Trades behind the newest of which not even the number could be read.
    pub unnumbered: u64,
    /// What is wrong in the first of them.
    pub first_unread: Option<UnreadablePart>,
}

/// The page, and everything in it that could not be read.
///
/// # Errors
/// When the answer has no list of trades.
pub(in crate::bots) fn read_trade_page(
    bytes: &[u8],
) -> Result<(TradeJournalPage, Vec<UnreadablePart>), UnreadableAnswer> {
    let required = [("items", "the list of the trades with a number above `after`")];
    let TolerantAnswer { value, unreadable, lost_items, .. } =
        read_parts::<TradePage>(CALL, bytes, &required)?;
    // An answer without its list is not the answer that there are no trades.
    if let Some(part) = unreadable.iter().find(|part| part.pointer == "/items") {
        return Err(UnreadableAnswer { sentence: format!("cannot read {part}"), parts: unreadable });
    }
    let read: HashSet<u64> = value.items.iter().map(|trade| trade.seq).collect();
    let lost = lost_items.get("items").map_or(0, |lost| u64::try_from(*lost).unwrap_or(u64::MAX));
    let numbers = if lost == 0 { Vec::new() } else { numbers_in(bytes) };
    let passed: HashSet<u64> =
        numbers.iter().flatten().filter(|number| !read.contains(number)).copied().collect();
    // One without a number that stands before the newest is passed with it.
    let newest = numbers.iter().flatten().max().copied();
    let newest_at = newest.and_then(|newest| numbers.iter().rposition(|number| *number == Some(newest)));
    let before_newest = numbers.get(..newest_at.unwrap_or(0)).unwrap_or_default();
    let unnumbered = before_newest.iter().filter(|number| number.is_none()).count();
    let unread = lost.min(u64::try_from(passed.len() + unnumbered).unwrap_or(u64::MAX));
    let first_unread = unreadable.iter().find(|part| part.pointer.starts_with("/items/")).cloned();
    let page = TradeJournalPage {
        next: value.next,
        newest: read.iter().chain(&passed).max().copied(),
        unread,
        unnumbered: lost - unread,
        first_unread: first_unread.filter(|_| lost > 0),
        trades: value.items,
    };
    Ok((page, unreadable))
}

/// The numbers of all items, in their order.
fn numbers_in(bytes: &[u8]) -> Vec<Option<u64>> {
    let text = to_json_text(bytes);
    let list = RawMembers::of(&text).and_then(|members| {
        let list = members.0.into_iter().rev().find(|(name, _)| name == "items")?;
        raw_items(list.1.get())
    });
    let number = |item: &str| {
        let (_, seq) = RawMembers::of(item)?.0.into_iter().rev().find(|(name, _)| name == "seq")?;
        seq.get().trim_matches('"').parse().ok()
    };
    list.unwrap_or_default().into_iter().map(|item| number(item.get())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const READABLE: &str = r#"{"seq": 4, "symbol": "A", "closed_at": "2026-03-02T15:00:00Z"}"#;

    #[track_caller]
    fn page(items: &str) -> TradeJournalPage {
        read_trade_page(format!("{{\"items\": [{items}], \"next\": null}}").as_bytes()).unwrap().0
    }

    #[test]
    fn what_cannot_be_read_is_counted_and_its_number_moves_the_cursor() {
        let found = page(&format!(r#"{READABLE}, {{"seq": "9", "symbol": "A", "closed_at": "soon"}}, 7"#));
        assert_eq!((found.trades.len(), found.newest), (1, Some(9)));
        assert_eq!((found.unread, found.unnumbered), (1, 1));
        assert_eq!(found.first_unread.unwrap().pointer, "/items/1/closed_at");
        // What stands before the newest without a number will not be asked for again.
        let found = page(&format!(r#"7, {READABLE}, 8"#));
        assert_eq!((found.newest, found.unread, found.unnumbered), (Some(4), 1, 1));
        let found = page(READABLE);
        assert_eq!((found.newest, found.unread, found.unnumbered, found.first_unread), (Some(4), 0, 0, None));
        let found = page("7, 8");
        assert_eq!((found.newest, found.unread, found.unnumbered), (None, 0, 2));
        let found = page("");
        assert_eq!((found.newest, found.unread, found.unnumbered), (None, 0, 0));
    }

    #[test]
    fn an_answer_without_a_list_is_no_empty_page() {
        for answer in ["{}", r#"{"items": 7}"#, r#"{"items": "none", "next": 3}"#, "[]", "not JSON"] {
            assert!(read_trade_page(answer.as_bytes()).is_err(), "{answer}");
        }
    }
}
