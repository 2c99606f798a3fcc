//! What must hold whatever a bot answers: the fuzz target `bot_answers` and the replay of its seeds go by it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::reading::{
    MOST_NAMED, PathStep, TolerantAnswer, TradeJournalPage, UnreadableAnswer, UnreadablePart, read_parts,
    read_trade_page, read_whole, span_of, to_json_text,
};
use super::sanitise;
use botops_contract::{BotReport, CommandResult, Hello, LARGEST_SEQ};
use botops_core::exact_number::ExactNumber;
use botops_core::text::clean;

/// Reads an answer as the call that `kind` stands for. Returns the page for the answer to `GET trades`.
pub fn check_bot_answer(kind: u8, body: &[u8]) -> Option<TradeJournalPage> {
    match kind % 5 {
        0 => check_whole(body, &Hello::REQUIRED, sanitise::hello),
        1 => check_report(body),
        2 => check_whole(body, &[], sanitise::config_state),
        3 => check_whole::<CommandResult>(body, &[], sanitise::command_result),
        _ => return check_page(body, u64::from(kind / 5)),
    }
    None
}

/// Reads an answer as one part, which `cleaned` makes harmless.
pub(super) fn check_whole<T: Serialize + DeserializeOwned>(
    body: &[u8],
    required: &[(&str, &str)],
    cleaned: fn(&mut T),
) {
    match read_whole::<T>("GET it", body, required) {
        Ok(mut answer) => {
            check_parts(&answer.unreadable);
            if answer.unreadable.is_empty() {
                check_digits(body, &written(&answer.value));
            }
            check_cleaned(&mut answer.value, cleaned, |text| read_whole::<T>("GET it", text, &[]));
        }
        Err(refused) => check_parts(&refused.parts),
    }
}

fn check_report(body: &[u8]) {
    match read_parts::<BotReport>("GET state", body, &BotReport::REQUIRED) {
        Ok(TolerantAnswer { mut value, unreadable, .. }) => {
            check_parts(&unreadable);
            if unreadable.is_empty() {
                check_digits(body, &written(&value));
            }
            let cleaned = |report: &mut BotReport| {
                sanitise::report(report, &mut Vec::new());
            };
            check_cleaned(&mut value, cleaned, |text| read_parts::<BotReport>("GET state", text, &[]));
        }
        Err(refused) => check_parts(&refused.parts),
    }
}

fn check_page(body: &[u8], after: u64) -> Option<TradeJournalPage> {
    let (mut page, unreadable) = read_trade_page(body, after).ok()?;
    check_parts(&unreadable);
    let highest = page.trades.iter().map(|trade| trade.seq).max();
    assert!(page.newest >= highest, "{:?} is not the newest of {highest:?}", page.newest);
    assert!(page.next.is_none_or(|next| next <= LARGEST_SEQ));
    assert!(page.newest.is_none_or(|newest| newest <= LARGEST_SEQ));
    let is_whole = page.unread == 0 && page.unnumbered == 0;
    assert!(
        !is_whole || page.first_unread.is_none(),
        "nothing is unread, and this is: {:?}",
        page.first_unread
    );
    sanitise::trades(&mut page.trades);
    for trade in &page.trades {
        let again: Result<botops_contract::Trade, _> = serde_json::from_str(&written(trade));
        assert_eq!(again.as_ref().ok(), Some(trade), "{again:?}");
    }
    Some(page)
}

/// Whoever reads an answer is told what could not be read, in a bounded text without control characters.
fn check_parts(parts: &[UnreadablePart]) {
    assert!(parts.len() <= MOST_NAMED);
    // In characters: `expected` may name a whole set of words.
    let longest = 301;
    for part in parts {
        for text in [&part.pointer, &part.got, &part.expected] {
            assert!(text.chars().count() <= longest, "{text:?} is long");
            assert_eq!(*text, clean(text, longest), "it is not clean");
        }
    }
}

/// What was cleaned is written, read again without a fault, and is the same; and there is nothing left to clean.
fn check_cleaned<T: Serialize>(
    value: &mut T,
    cleaned: impl Fn(&mut T),
    read: impl Fn(&[u8]) -> Result<TolerantAnswer<T>, UnreadableAnswer>,
) {
    cleaned(value);
    let text = written(value);
    let mut again = match read(text.as_bytes()) {
        Ok(again) => again,
        Err(why) => panic!("what was read cannot be read again: {why}\n{text}"),
    };
    assert!(again.unreadable.is_empty(), "what was read is faulty: {:?}\n{text}", again.unreadable);
    assert_eq!(written(&again.value), text, "what was read and written reads differently");
    cleaned(&mut again.value);
    assert_eq!(written(&again.value), text, "what was cleaned is cleaned once more");
}

fn written<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the types of the contract have only texts as keys")
}

/// The numbers that are written as texts are worth what was sent, to the last digit.
fn check_digits(body: &[u8], written: &str) {
    let sent = to_json_text(body);
    let value: Value = serde_json::from_str(written).expect("it was just written");
    let mut amounts = Vec::new();
    find_amounts(&value, &mut Vec::new(), &mut amounts);
    for (path, amount) in amounts {
        let Some(came) = span_of(&sent, &path).and_then(|span| sent.get(span)) else { continue };
        let came = came.trim_matches('"');
        if let Some(exact) = ExactNumber::parse(came) {
            assert_eq!(Some(exact), ExactNumber::parse(&amount), "{came} became {amount} at {path:?}");
        }
    }
}

fn find_amounts(value: &Value, path: &mut Vec<PathStep>, found: &mut Vec<(Vec<PathStep>, String)>) {
    // Each is looked for in the whole text.
    if found.len() >= 24 {
        return;
    }
    match value {
        Value::String(text) if ExactNumber::parse(text).is_some() => found.push((path.clone(), text.clone())),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                path.push(PathStep::Item(index));
                find_amounts(item, path, found);
                path.pop();
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                path.push(PathStep::Member(name.clone()));
                find_amounts(member, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}
