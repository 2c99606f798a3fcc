//! Random damage to valid answers: the part is named, the rest stays as it is.

use serde_json::{Value, json};

use super::tolerant::{TolerantAnswer, read_parts, read_whole};
use botops_contract::{BotEvent, BotReport, CommandResult, Hello, TradePage};

/// How many damaged answers each run reads.
const MUTATIONS: u64 = 3_000;

fn state() -> Value {
    json!({
        "seq": 7, "boot_epoch": "e", "as_of": "2026-03-02T15:00:00Z", "mode": "paper", "phase": "running",
        "trading_enabled": true,
        "account": {"currency": "USD", "buying_power": "61500.25", "account_balance": "100250.75", "cash_balance": "1.10",
                    "day_trade_count": 1, "last_updated": "2026-03-02T15:00:00Z"},
        "positions": [
            {"symbol": "SPY", "quantity": "50", "entry_price": "500.10", "current_price": "505.40"},
            {"symbol": "MSFT", "quantity": "-20", "entry_price": "420.00", "last_updated": "2026-03-02T15:00:00Z"},
        ],
        "orders": [
            {"id": "1", "symbol": "QQQ", "side": "BUY", "order_type": "LIMIT", "status": "PENDING", "quantity": "10"},
            {"id": "2", "symbol": "SPY", "side": "SELL", "order_type": "MARKET", "status": "FILLED", "quantity": "3"},
        ],
        "performance": {"win_rate": 0.6, "daily_pl": "120.50", "current_streak": 2, "streak_type": "WIN"},
        "market": {"status": "OPEN", "source": "x"},
        "circuit_breaker": {"state": "closed", "reason": null, "since": "2026-03-02T15:00:00Z"},
        "recent_errors": [{"error_code": "A", "error_type": "B", "severity": "high", "message": "m",
                           "timestamp": "2026-03-02T15:00:00Z"}],
        "error_count_last_hour": 1,
        "no_entry_reasons": ["paused"],
        "loop": {"ticks": 5, "last_tick_at": "2026-03-02T15:00:00Z"},
    })
}

/// A small generator; a failure names the seed that made it.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(sides).unwrap()).unwrap()
    }
}

/// Every place in a document but its root, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            found.push(format!("{at}/{name}"));
            places(value, &format!("{at}/{name}"), found);
        }),
        Value::Array(items) => items.iter().enumerate().for_each(|(index, value)| {
            found.push(format!("{at}/{index}"));
            places(value, &format!("{at}/{index}"), found);
        }),
        _ => {}
    }
}

const DAMAGE: [&str; 14] = [
    "null",
    "true",
    "-7",
    "1.5",
    "1e400",
    "\"\"",
    "\"a word\"",
    "[]",
    "[1, \"a\"]",
    "{}",
    "{\"a\": {\"b\": 1}}",
    "NaN",
    "-Infinity",
    "\"\\u202e\\ud83d evil\"",
];

/// A document with one place damaged, as text, and that place.
fn damaged(document: &Value, dice: &mut Dice) -> (String, String) {
    let mut found = Vec::new();
    places(document, "", &mut found);
    let place = found[dice.throw(found.len())].clone();
    let mut changed = document.clone();
    let mark = "\u{1}damage\u{1}";
    *changed.pointer_mut(&place).unwrap() = json!(mark);
    let damage = match dice.throw(DAMAGE.len() + 2) {
        kind if kind < DAMAGE.len() => DAMAGE[kind].to_owned(),
        kind if kind == DAMAGE.len() => format!("\"{}\"", "x".repeat(100_000)),
        _ => format!("{}{}", "[".repeat(300), "]".repeat(300)),
    };
    (changed.to_string().replace(&json!(mark).to_string(), &damage), place)
}

/// The part of a document that a pointer begins with: `/positions/1` of `/positions/1/quantity`.
fn first_parts(pointer: &str) -> String {
    let mut parts = pointer.split('/').skip(1);
    let first = parts.next().unwrap_or_default();
    let item = parts.next().filter(|part| part.parse::<usize>().is_ok());
    item.map_or_else(|| format!("/{first}"), |item| format!("/{first}/{item}"))
}

#[test]
fn whatever_is_damaged_in_a_state_the_rest_of_it_stays_and_the_part_is_named() {
    let whole = read_parts::<BotReport>("GET state", state().to_string().as_bytes(), &[]).unwrap();
    let whole = serde_json::to_value(whole.value).unwrap();
    for seed in 1..=MUTATIONS {
        let (text, place) = damaged(&state(), &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let read = read_parts::<BotReport>("GET state", text.as_bytes(), &[]);
        let TolerantAnswer { value, unreadable, .. } =
            read.unwrap_or_else(|why| panic!("seed {seed}, {place}: {why}"));
        let value = serde_json::to_value(value).unwrap();
        let part = first_parts(&place);
        let top = part.split('/').nth(1).unwrap();
        for (name, before) in whole.as_object().unwrap().iter().filter(|(name, _)| *name != top) {
            // The bot's own word may have come beside the damaged one.
            assert_eq!(&value[name], before, "seed {seed}, {place}: {name} changed");
        }
        for (index, item) in whole[top].as_array().into_iter().flatten().enumerate() {
            let is_other = part != format!("/{top}") && part != format!("/{top}/{index}");
            let still = value[top].as_array().is_some_and(|items| items.contains(item));
            assert!(!is_other || still, "seed {seed}, {place}: /{top}/{index} is lost");
        }
        let shown = value.pointer(&place).is_some_and(|shown| !shown.is_null());
        let named = unreadable
            .iter()
            .any(|named| place.starts_with(&named.pointer) || named.pointer.starts_with(place.as_str()));
        let is_absent = text.contains("null") || text.contains("[]") || text.contains("{}");
        assert!(
            shown || named || is_absent,
            "seed {seed}, {place}: neither shown nor named in {unreadable:?}"
        );
        let size: usize = unreadable.iter().map(|part| part.got.len() + part.expected.len()).sum();
        assert!(size < 20_000, "seed {seed}: {size} bytes are kept of what could not be read");
    }
}

#[test]
fn damage_to_the_small_answers_costs_a_part_or_the_answer_and_never_a_panic() {
    let hello = json!({"contract": 2, "bot_id": "b", "version": "1", "mode": "paper", "pid": 7, "name": "n",
        "capabilities": ["pause", {"name": "flatten", "guarantee": "adapter"}], "boot_epoch": "e",
        "started_at": "2026-03-02T15:00:00Z"});
    let event = json!({"seq": 3, "boot_epoch": "e", "at": "2026-03-02T15:00:00Z", "kind": "fill", "severity": "low",
        "message": "m", "data": {"a": 1}});
    let command = json!({"command_id": "c", "outcome": "done", "message": "m", "phase": "paused",
        "trading_enabled": false, "exposure": {"orders_cancelled": 1, "notional": "5"}, "at": "2026-03-02T15:00:00Z"});
    let trades = json!({"items": [
        {"seq": 1, "id": "a", "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z", "net_pl": "1.5"},
        {"seq": 2, "id": "b", "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z", "side": "BUY"}], "next": null});
    for seed in 1..=MUTATIONS {
        let mut dice = Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let (text, place) = damaged(&hello, &mut dice);
        if let Ok(read) = read_whole::<Hello>("GET hello", text.as_bytes(), &[]) {
            assert!(read.value.bot_id.as_str() == "b" || place == "/bot_id", "seed {seed}, {place}");
        } else {
            assert!(place == "/bot_id" || place == "/contract", "seed {seed}, {place}: {text}");
        }
        let (text, place) = damaged(&event, &mut dice);
        match read_whole::<BotEvent>("GET events", text.as_bytes(), &[]) {
            Ok(_) => {}
            Err(why) => assert_eq!(place, "/seq", "seed {seed}: {why}"),
        }
        let (text, place) = damaged(&command, &mut dice);
        if let Ok(read) = read_whole::<CommandResult>("POST commands/pause", text.as_bytes(), &[]) {
            let is_as_sent = read.value.command_id == "c" || place == "/command_id";
            assert!(is_as_sent, "seed {seed}, {place}");
        } else {
            assert!(matches!(place.as_str(), "/command_id" | "/outcome"), "seed {seed}, {place}: {text}");
        }
        let (text, place) = damaged(&trades, &mut dice);
        let read = read_parts::<TradePage>("GET trades", text.as_bytes(), &[]);
        let read = read.unwrap_or_else(|why| panic!("seed {seed}, {place}: {why}"));
        assert!(!read.value.items.is_empty() || place == "/items", "seed {seed}, {place}: {text}");
    }
}

#[test]
fn a_word_that_no_list_has_stands_beside_the_word_for_that() {
    let text = json!({"orders": [{"id": "1", "order_type": "ICEBERG", "side": "buy", "status": "DONE_FOR_DAY"}],
        "phase": "warming-up", "mode": "sandbox"});
    let read = read_parts::<BotReport>("GET state", text.to_string().as_bytes(), &[]).unwrap();
    assert_eq!(read.unreadable, Vec::new());
    let report = serde_json::to_value(read.value).unwrap();
    let order = &report["orders"][0];
    assert_eq!((&order["order_type"], &order["order_type_raw"]), (&json!("OTHER"), &json!("ICEBERG")));
    assert_eq!((&order["status"], &order["status_raw"]), (&json!("OTHER"), &json!("DONE_FOR_DAY")));
    assert_eq!((&order["side"], order.get("side_raw")), (&json!("BUY"), None), "case does not matter");
    assert_eq!((&report["phase"], &report["phase_raw"]), (&json!("other"), &json!("warming-up")));
    assert_eq!((&report["mode"], &report["mode_raw"]), (&json!("other"), &json!("sandbox")));
}

#[test]
fn what_came_and_what_would_be_right_are_named() {
    let text = r#"{"seq": 1, "account": {"account_balance": "1,5", "buying_power": 12.50, "last_updated": "2026-03-02T15:00:00"},
        "positions": [{"symbol": "A", "quantity": NaN}, {"quantity": "1"}, 7], "trading_enabled": "yes"}"#;
    let read = read_parts::<BotReport>("GET state", text.as_bytes(), &[("as_of", "a time")]).unwrap();
    let named: Vec<(&str, &str, &str)> = read
        .unreadable
        .iter()
        .map(|part| (part.pointer.as_str(), part.got.as_str(), part.expected.as_str()))
        .collect();
    let has = |pointer: &str, got: &str, expected: &str| {
        let found = named.iter().any(|(p, g, e)| *p == pointer && g.contains(got) && e.contains(expected));
        assert!(found, "{pointer}: {named:#?}");
    };
    has("/as_of", "nothing", "a time");
    has("/account/account_balance", "1,5", "decimal number");
    has("/account/last_updated", "15:00:00", "RFC 3339 with its zone");
    has("/positions/0/quantity", "NaN", "decimal number");
    has("/positions/2", "7", "an object");
    has("/trading_enabled", "yes", "boolean");
    // A position without a symbol is one of those that are open: whoever shows it names what is missing.
    assert_eq!(read.value.position_list().len(), 2);
    assert_eq!(read.value.account.buying_power.unwrap().to_string(), "12.50");
}

#[test]
fn a_word_of_the_bot_takes_the_place_of_the_null_beside_it() {
    let text = r#"{"seq": 1, "phase": "sleeping", "phase_raw": null, "mode": "sandbox", "mode_raw": "mine"}"#;
    let read = read_parts::<BotReport>("GET state", text.as_bytes(), &[]).unwrap();
    let report = serde_json::to_value(read.value).unwrap();
    assert_eq!((&report["phase"], &report["phase_raw"]), (&json!("other"), &json!("sleeping")));
    assert_eq!(report["mode"], "other");
    assert!(["sandbox", "mine"].contains(&report["mode_raw"].as_str().unwrap()));
}

#[test]
fn what_is_left_out_of_a_list_is_counted() {
    let text = r#"{"orders": [true, {"id": 2}], "positions": ["5", {"symbol": "A"}, 7]}"#;
    let read = read_parts::<BotReport>("GET state", text.as_bytes(), &[]).unwrap();
    assert_eq!((read.lost_items["orders"], read.lost_items["positions"]), (1, 2));
    assert_eq!(read.value.order_list().len(), 1);
}

#[test]
fn what_a_hostile_answer_can_cost_is_bounded() {
    // A large part is not repaired item by item.
    let numbers = "1,".repeat(300_000);
    let version = r#"{"version": 1, "sha256": "a"}"#;
    let pending = format!(
        r#"{{"seq": 1, "config": {{"running": {version}, "committed": {version}, "pending_restart": [{numbers}1]}}}}"#
    );
    let read = read_parts::<BotReport>("GET state", pending.as_bytes(), &[]).unwrap();
    assert_eq!((read.value.config, read.unreadable[0].pointer.as_str()), (None, "/config"));
    // Nor is a list repaired without an end, and what is left out is counted.
    let item = r#"{"id": "1", "side": 1, "order_type": 2, "status": 3, "quantity": []},"#;
    let orders = format!(r#"{{"seq": 1, "orders": [{}{{"id": "last"}}]}}"#, item.repeat(20_500));
    let read = read_parts::<BotReport>("GET state", orders.as_bytes(), &[]).unwrap();
    assert_eq!(read.value.order_list().len() + read.lost_items["orders"], 20_501);
    assert!(read.value.order_list().len() < 2_000, "{} were repaired", read.value.order_list().len());
    assert_eq!(read.unreadable.len(), 50);
    assert!(read.unreadable_more > 0);
}
