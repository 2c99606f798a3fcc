//! A page of the bot's journal of trades, with the numbers of those that cannot be read: a cursor passes them by, and what
//! it passed is known.

use std::collections::HashSet;

use super::json_text::{RawMembers, raw_items, to_json_text};
use super::tolerant::{TolerantAnswer, UnreadableAnswer, read_parts};
use super::unreadable::UnreadablePart;
use botops_contract::{LARGEST_SEQ, Trade, TradePage};

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
    /// Trades that could not be read, and that a cursor behind the newest passes. Those that the cursor of the question
    /// had passed already are not among them.
    pub unread: u64,
    /// Trades behind the newest of which not even the number could be read.
    pub unnumbered: u64,
    /// What is wrong in the first of them.
    pub first_unread: Option<UnreadablePart>,
    /// Whether it ends at or before the number that was asked for, and still says that more follow.
    pub is_repeated: bool,
}

/// The answer to the question for the trades with a number above `after`, and everything in it that could not be read. A
/// bot may give others as well.
///
/// # Errors
/// When the answer has no list of trades.
pub(in crate::bots) fn read_trade_page(
    bytes: &[u8],
    after: u64,
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
    let is_passed = |number: u64| after > 0 && number <= after;
    let has_passed = read.iter().chain(numbers.iter().flatten()).any(|number| is_passed(*number));
    let is_repeated = has_passed && value.next.is_some_and(|next| next <= after);
    let fresh = FreshItems::of(&numbers, after, is_repeated, &read);
    let read_again = value.items.iter().filter(|trade| trade.seq <= after).count();
    let lost_again = count(fresh.passed.saturating_sub(read_again));
    let lost = lost.saturating_sub(lost_again);
    let passed: HashSet<u64> = fresh
        .numbers
        .iter()
        .filter_map(|(_, number)| *number)
        .filter(|number| !read.contains(number))
        .collect();
    // One without a number that stands before the newest is passed with it.
    let newest = fresh.numbers.iter().filter_map(|(_, number)| *number).max();
    let newest_at =
        newest.and_then(|newest| fresh.numbers.iter().rposition(|(_, number)| *number == Some(newest)));
    let before_newest = fresh.numbers.get(..newest_at.unwrap_or(0)).unwrap_or_default();
    let unnumbered = before_newest.iter().filter(|(_, number)| number.is_none()).count();
    let unread = lost.min(count(passed.len() + unnumbered));
    // Of a trade that was read, a part may be unreadable too: what is told is why one could not be.
    let is_lost = |number: &Option<u64>| number.is_none_or(|number| !read.contains(&number));
    let lost_at: HashSet<usize> =
        fresh.numbers.iter().filter(|(_, number)| is_lost(number)).map(|(index, _)| *index).collect();
    let is_fresh = |part: &&UnreadablePart| index_of(part).is_some_and(|index| lost_at.contains(&index));
    let first_unread = unreadable.iter().find(is_fresh).cloned();
    let page = TradeJournalPage {
        next: value.next.filter(|next| *next <= LARGEST_SEQ),
        newest: read.iter().chain(&passed).max().copied(),
        unread,
        unnumbered: lost - unread,
        first_unread: first_unread.filter(|_| lost > 0),
        is_repeated,
        trades: value.items,
    };
    Ok((page, unreadable))
}

/// The items of a page that its question asked for.
struct FreshItems {
    /// Where each stands, and its number, as far as that says more than its place.
    numbers: Vec<(usize, Option<u64>)>,
    /// How many others there are.
    passed: usize,
}

impl FreshItems {
    /// An item without a number was passed with the one behind it, and all were where the page is given again.
    fn of(numbers: &[Option<u64>], after: u64, is_repeated: bool, read: &HashSet<u64>) -> Self {
        let is_passed = |number: &Option<u64>| after > 0 && number.is_some_and(|number| number <= after);
        let last_passed = numbers.iter().rposition(is_passed);
        let is_fresh = |(index, number): &(usize, Option<u64>)| match number {
            Some(0) if read.contains(&0) => false,
            // No cursor lies before the number 0: where it stands tells whether it was passed.
            None | Some(0) => last_passed.is_none_or(|last| *index > last) && !is_repeated,
            Some(number) => *number > after,
        };
        let above_zero = |(index, number): (usize, Option<u64>)| (index, number.filter(|number| *number > 0));
        let fresh: Vec<_> = numbers.iter().copied().enumerate().filter(is_fresh).map(above_zero).collect();
        Self { passed: numbers.len() - fresh.len(), numbers: fresh }
    }
}

/// The item of the page in which a part is.
fn index_of(part: &UnreadablePart) -> Option<usize> {
    part.pointer.strip_prefix("/items/").and_then(|rest| rest.split('/').next()?.parse().ok())
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap_or(u64::MAX)
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
        seq.get().trim_matches('"').parse().ok().filter(|number| *number <= LARGEST_SEQ)
    };
    list.unwrap_or_default().into_iter().map(|item| number(item.get())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_lost_trade_is_wrong_in_that_one() {
        let page = br#"{"items": [
            {"seq": 1, "symbol": "A", "closed_at": "2026-03-02T15:00:00Z", "net_pl": "NaN"},
            {"seq": 2, "symbol": "A", "closed_at": "0001"}]}"#;
        let (page, unreadable) = read_trade_page(page, 0).unwrap();
        assert_eq!((page.trades.len(), page.unread), (1, 1), "{unreadable:?}");
        assert_eq!(page.first_unread.unwrap().pointer, "/items/1/closed_at");
    }

    const READABLE: &str = r#"{"seq": 4, "symbol": "A", "closed_at": "2026-03-02T15:00:00Z"}"#;

    #[track_caller]
    fn page(items: &str) -> TradeJournalPage {
        page_after(0, items, "null")
    }

    #[track_caller]
    fn page_after(after: u64, items: &str, next: &str) -> TradeJournalPage {
        let text = format!("{{\"items\": [{items}], \"next\": {next}}}");
        read_trade_page(text.as_bytes(), after).unwrap().0
    }

    #[test]
    fn what_was_passed_before_is_counted_no_more() {
        let journal = format!(r#"{{"seq": 0}}, 7, {{"seq": 3}}, {READABLE}, {{"seq": 5}}, 8"#);
        let found = page(&journal);
        assert_eq!((found.newest, found.unread, found.unnumbered), (Some(5), 4, 1));
        assert_eq!(found.first_unread.unwrap().pointer, "/items/0");
        let found = page_after(4, &journal, "null");
        assert_eq!((found.newest, found.unread, found.unnumbered), (Some(5), 1, 1));
        assert_eq!(found.first_unread.unwrap().pointer, "/items/4");
        let found = page_after(5, &journal, "null");
        assert_eq!((found.newest, found.unread, found.unnumbered, found.is_repeated), (Some(4), 0, 1, false));
        assert_eq!(found.first_unread.unwrap().pointer, "/items/5");
        // The page of before once more: what stands at its end was passed with it.
        let found = page_after(5, &journal, "5");
        assert_eq!((found.unread, found.unnumbered, found.is_repeated), (0, 0, true));
        assert_eq!(found.first_unread, None);
        // Nothing in it was passed: a cursor that is wrong is another fault.
        let found = page_after(9, "7, 8", "9");
        assert_eq!((found.unread, found.unnumbered, found.is_repeated), (0, 2, false));
        assert!(page_after(4, READABLE, "4").is_repeated);
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
    fn a_number_that_no_trade_has_moves_no_cursor() {
        let far = r#"{"seq": 18446744073709551615, "symbol": "A", "closed_at": "2026-03-02T15:00:00Z"}"#;
        let found = page_after(0, &format!("{READABLE}, {far}"), "18446744073709551615");
        assert_eq!((found.trades.len(), found.newest, found.next), (1, Some(4), None));
        assert_eq!((found.unread, found.unnumbered), (0, 1));
        assert_eq!(found.first_unread.unwrap().pointer, "/items/1/seq");
    }

    #[test]
    fn an_answer_without_a_list_is_no_empty_page() {
        for answer in ["{}", r#"{"items": 7}"#, r#"{"items": "none", "next": 3}"#, "[]", "not JSON"] {
            assert!(read_trade_page(answer.as_bytes(), 0).is_err(), "{answer}");
        }
    }
}
