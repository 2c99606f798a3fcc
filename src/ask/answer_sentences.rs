//! One sentence for the answer of each read: what was asked for, or plainly that there is nothing, or that it is not known.
//!
//! A sentence contains nothing that the answer does not contain.

use serde_json::Value;

use super::read_sentences::system_sentence;

/// Items that one sentence names.
const NAMED: usize = 3;

/// Locks that one sentence names.
const LOCKS_NAMED: usize = 6;

/// The sentence for an answer; `None` for intents whose answer speaks for itself. `last_seen` is when the bot knew what is
/// told of it, where it does not answer now: nothing of that is told as the present.
pub(super) fn sentence(intent: &str, answer: &Value, last_seen: Option<&str>) -> Option<String> {
    let tense = Tense { last_seen };
    match intent {
        "performance" => performance(answer),
        "errors" => Some(errors(answer)),
        "breaker" => Some(tense.placed(&breaker(answer, tense))),
        "positions" => Some(tense.placed(&positions(answer, tense))),
        "orders" => Some(tense.placed(&orders(answer, tense))),
        "account" => Some(tense.placed(&account(answer, tense))),
        "trades" => Some(newest_event(answer, "No fill is recorded for this.")),
        "events" => Some(newest_event(answer, "Nothing is recorded for this.")),
        "alerts" => Some(alerts(answer)),
        intent => system_sentence(intent, answer),
    }
}

/// Whether a sentence is about now, or about when the bot was seen last.
#[derive(Debug, Clone, Copy)]
struct Tense<'a> {
    last_seen: Option<&'a str>,
}

impl Tense<'_> {
    fn is(self) -> &'static str {
        if self.last_seen.is_some() { "was" } else { "is" }
    }

    fn are(self) -> &'static str {
        if self.last_seen.is_some() { "were" } else { "are" }
    }

    /// The form of "be" for so many of them.
    fn be(self, count: usize) -> &'static str {
        if count == 1 { self.is() } else { self.are() }
    }

    /// The sentence, with the time that it is about.
    fn placed(self, sentence: &str) -> String {
        let Some(at) = self.last_seen else { return sentence.to_owned() };
        let mut letters = sentence.chars();
        let first = letters.next().map(|first| first.to_lowercase().to_string()).unwrap_or_default();
        format!("When last seen, {at}, {first}{}", letters.as_str())
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str().filter(|text| !text.is_empty())
}

fn items<'a>(answer: &'a Value, name: &str) -> Option<&'a Vec<Value>> {
    answer[name].as_array()
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn performance(answer: &Value) -> Option<String> {
    let of_symbol = text(answer, "symbol").map(|symbol| format!(" of {symbol}")).unwrap_or_default();
    if let Some(why) = text(answer, "unknown_reason") {
        return Some(format!("How trading{of_symbol} went is not known: {why}."));
    }
    let range = match text(answer, "window")? {
        "day" => " today".to_owned(),
        "week" => " this week".to_owned(),
        "month" => " this month".to_owned(),
        "year" => " this year".to_owned(),
        "range" => {
            let day = |name: &str| text(answer, name).and_then(|at| at.get(..10)).unwrap_or("…");
            format!(" from {} to {}", day("from"), day("to"))
        }
        _ => String::new(),
    };
    let unit = text(answer, "currency").map(|unit| format!(" {unit}")).unwrap_or_default();
    let closed = usize::try_from(answer["total_trades"].as_u64()?).ok()?;
    let mut said = if closed == 0 {
        format!("No trade{of_symbol} was closed{range}.")
    } else {
        let trades = counted(closed, "trade", "trades");
        let result = text(answer, "realized_pnl").map_or_else(
            || "what they brought is not known".to_owned(),
            |sum| format!("together they brought {sum}{unit}"),
        );
        let count = |name: &str| answer[name].as_u64().unwrap_or_default();
        format!(
            "{trades}{of_symbol} {} closed{range}, {} won and {} lost: {result}.",
            if closed == 1 { "was" } else { "were" },
            count("total_wins"),
            count("total_losses")
        )
    };
    if let Some(open) = text(answer, "unrealized_pnl") {
        said.push_str(&format!(" What is open{of_symbol} stands at {open}{unit}."));
    }
    for gap in items(answer, "incomplete").into_iter().flatten().filter_map(Value::as_str) {
        said.push_str(&format!(" Left out: {gap}."));
    }
    Some(said)
}

fn errors(answer: &Value) -> String {
    let failures = items(answer, "items").map(Vec::as_slice).unwrap_or_default();
    let unseen = text(answer, "unknown_reason").map(|why| format!(" {why}.")).unwrap_or_default();
    let Some(newest) = failures.first() else {
        return format!("No failure is recorded.{unseen}");
    };
    let at = text(newest, "timestamp").or_else(|| text(newest, "first_seen_at")).unwrap_or("an unknown time");
    let omitted =
        answer["omitted"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    format!(
        "{} recorded. The newest, of {at}: {} ({}). {}{unseen}",
        counted(failures.len() + omitted, "failure is", "failures are"),
        text(newest, "message").unwrap_or("without a text").trim_end_matches('.'),
        text(newest, "error_code").unwrap_or("without a code"),
        text(newest, "remediation").unwrap_or_default(),
    )
}

fn breaker(answer: &Value, tense: Tense<'_>) -> String {
    let (is, are) = (tense.is(), tense.are());
    let reasons = items(answer, "no_entry_reasons").into_iter().flatten().filter_map(Value::as_str);
    let pairs = reasons.filter_map(|reason| match reason.split_once(':') {
        Some(("pairs_locked", count)) => Some(format!(" {count} of the pairs {are} locked.")),
        _ if reason == "all_pairs_locked" => Some(format!(" Every single pair {is} locked.")),
        _ => None,
    });
    let pairs: String = pairs.chain(locks(answer, are)).collect();
    let breaker = &answer["circuit_breaker"];
    let Some(state) = text(breaker, "state") else {
        return format!("Whether a circuit breaker or a lock holds it back {is} not known.{pairs}");
    };
    if state == "closed" {
        return format!("The circuit breaker {is} closed: no lock holds everything back.{pairs}");
    }
    let until = match (text(breaker, "resumes_at"), text(breaker, "needs_human")) {
        (Some(at), _) => format!(" until {at}"),
        (None, Some("resume")) => " until somebody resumes".to_owned(),
        (None, Some(needs)) => format!(" until a person acts ({needs})"),
        (None, None) => String::new(),
    };
    let why = text(breaker, "reason").unwrap_or("the bot gives no reason");
    let stops = text(breaker, "stops").map(|stops| format!(" It stops this: {stops}.")).unwrap_or_default();
    let state = state.replace('_', " ");
    format!("The circuit breaker {is} {state}{until}: {}.{stops}{pairs}", why.trim_end_matches('.'))
}

/// The locks by symbol, each with its end; the lock of all symbols is the breaker's.
fn locks(answer: &Value, are: &str) -> Option<String> {
    let is_of_all = |lock: &&Value| text(lock, "symbol") == Some("*") && text(lock, "side").is_none();
    let locks: Vec<&Value> = items(answer, "locks")?.iter().filter(|lock| !is_of_all(lock)).collect();
    if locks.is_empty() {
        return Some(format!(" No single pair {} locked.", if are == "were" { "was" } else { "is" }));
    }
    let named = locks.iter().take(LOCKS_NAMED).map(|lock| {
        let symbol = text(lock, "symbol")
            .map_or("unnamed", |symbol| if symbol == "*" { "every pair" } else { symbol });
        let side = text(lock, "side").map(|side| format!(" ({side})")).unwrap_or_default();
        let until =
            text(lock, "until").map_or_else(|| ", without an end".to_owned(), |at| format!(" until {at}"));
        let why =
            text(lock, "reason").map(|why| format!(" ({})", why.trim_end_matches('.'))).unwrap_or_default();
        format!("{symbol}{side}{until}{why}")
    });
    let named = named.collect::<Vec<_>>().join("; ");
    let more = match locks.len().saturating_sub(LOCKS_NAMED) {
        0 => String::new(),
        count => format!("; and {count} more"),
    };
    Some(format!(" Locked {are}: {named}{more}."))
}

fn account(answer: &Value, tense: Tense<'_>) -> String {
    let account = &answer["account"];
    let unit = text(account, "currency").map(|unit| format!(" {unit}")).unwrap_or_default();
    let Some(balance) = text(account, "account_balance") else {
        return format!("What the account holds {} not known.", tense.is());
    };
    let has = if tense.last_seen.is_some() { "had" } else { "has" };
    let part = |name: &str, known: &str| {
        text(account, name)
            .map_or_else(|| format!("{known} not told"), |amount| format!("{known} {amount}{unit}"))
    };
    let (cash, power) = (part("cash_balance", "cash"), part("buying_power", "buying power"));
    format!("The account {has} {balance}{unit} ({cash}, {power}).")
}

fn positions(answer: &Value, tense: Tense<'_>) -> String {
    let Some(open) = items(answer, "positions") else {
        return format!("Which positions {} open {} not known.", tense.are(), tense.is());
    };
    if open.is_empty() {
        return format!("No position {} open.", tense.is());
    }
    let stands = if tense.last_seen.is_some() { "stood" } else { "stands" };
    let named = open.iter().take(NAMED).map(|position| {
        let gain = text(position, "unrealized_pl").map(|gain| format!(" ({stands} at {gain})"));
        let (symbol, units) = (text(position, "symbol"), text(position, "quantity"));
        format!(
            "{} {}{}",
            symbol.unwrap_or("unnamed"),
            units.unwrap_or("of unknown size"),
            gain.unwrap_or_default()
        )
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = if open.len() > NAMED { ", …" } else { "" };
    let be = tense.be(open.len());
    format!("{} {be} open: {named}{more}.", counted(open.len(), "position", "positions"))
}

fn orders(answer: &Value, tense: Tense<'_>) -> String {
    let Some(orders) = items(answer, "orders") else {
        return format!("Which orders there {} {} not known.", tense.are(), tense.is());
    };
    if orders.is_empty() {
        return format!("No order {is} open, and none {is} recent.", is = tense.is());
    }
    let is_open = |order: &&Value| matches!(text(order, "status"), Some("PENDING" | "PARTIALLY_FILLED"));
    let open = orders.iter().filter(is_open).count();
    let shown = counted(orders.len(), "order is", "orders are");
    let be = tense.be(open);
    format!("{} {be} open; {shown} shown, recent ones included.", counted(open, "order", "orders"))
}

fn newest_event(answer: &Value, nothing: &str) -> String {
    let newest = items(answer, "items").into_iter().flatten().max_by_key(|event| event["seq"].as_u64());
    match newest {
        None => nothing.to_owned(),
        Some(event) => format!(
            "The newest, of {}: {}",
            text(event, "at").unwrap_or("an unknown time"),
            text(event, "message").unwrap_or("it has no text")
        ),
    }
}

fn alerts(answer: &Value) -> String {
    let known = items(answer, "items").into_iter().flatten();
    let firing: Vec<&str> = known
        .filter(|alert| text(alert, "state") == Some("firing"))
        .map(|alert| text(alert, "summary").unwrap_or("an alert without a text"))
        .collect();
    if firing.is_empty() {
        return "No alert is firing.".to_owned();
    }
    let named = firing.iter().take(NAMED).copied().collect::<Vec<_>>().join("; ");
    let more = if firing.len() > NAMED { "; …" } else { "" };
    format!("{} firing: {named}{more}.", counted(firing.len(), "alert is", "alerts are"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(intent: &str, answer: &Value, expected: &str) {
        assert_eq!(sentence(intent, answer, None).unwrap(), expected);
    }

    #[test]
    fn nothing_is_said_plainly_and_is_not_the_same_as_not_known() {
        check(
            "errors",
            &json!({"items": [], "omitted": 0, "unknown_reason": null}),
            "No failure is recorded.",
        );
        check("positions", &json!({"positions": []}), "No position is open.");
        check("positions", &json!({"positions": null}), "Which positions are open is not known.");
        check("orders", &json!({"orders": []}), "No order is open, and none is recent.");
        check("trades", &json!({"items": []}), "No fill is recorded for this.");
        check("alerts", &json!({"items": [{"state": "resolved", "summary": "x"}]}), "No alert is firing.");
        let none = json!({"window": "month", "symbol": "BTC/USDT", "total_trades": 0, "unrealized_pnl": "1.5",
            "currency": "USDT", "incomplete": []});
        check(
            "performance",
            &none,
            "No trade of BTC/USDT was closed this month. What is open of BTC/USDT stands at 1.5 USDT.",
        );
        let unknown = json!({"window": "day", "unknown_reason": "the bot was never seen", "total_trades": 0});
        check("performance", &unknown, "How trading went is not known: the bot was never seen.");
    }

    #[test]
    fn what_there_is_comes_with_its_numbers() {
        let week = json!({"window": "range", "from": "2026-03-02T00:00:00Z", "to": "2026-03-09T00:00:00Z",
            "total_trades": 3, "total_wins": 2, "total_losses": 1, "realized_pnl": "4.00", "incomplete": ["x"]});
        check(
            "performance",
            &week,
            "3 trades were closed from 2026-03-02 to 2026-03-09, 2 won and 1 lost: together they brought 4.00. Left out: x.",
        );
        let failed = json!({"items": [{"timestamp": "T", "message": "no funds.", "error_code": "EXC_003",
            "remediation": "Compare."}], "omitted": 4});
        check("errors", &failed, "5 failures are recorded. The newest, of T: no funds (EXC_003). Compare.");
        let open = json!({"positions": [{"symbol": "A/B", "quantity": "2", "unrealized_pl": "-1"}]});
        check("positions", &open, "1 position is open: A/B 2 (stands at -1).");
        let events =
            json!({"items": [{"seq": 2, "at": "T", "message": "bought"}, {"seq": 1, "message": "old"}]});
        check("trades", &events, "The newest, of T: bought");
    }

    #[test]
    fn what_was_seen_last_is_told_as_the_past() {
        let check = |intent: &str, answer: Value, expected: &str| {
            let said = sentence(intent, &answer, Some("11:20 UTC")).unwrap();
            assert_eq!(said, format!("When last seen, 11:20 UTC, {expected}"));
        };
        check(
            "positions",
            json!({"positions": [{"symbol": "A/B", "quantity": "2"}]}),
            "1 position was open: A/B 2.",
        );
        check("positions", json!({"positions": null}), "which positions were open was not known.");
        check("orders", json!({"orders": []}), "no order was open, and none was recent.");
        let account = json!({"account": {"account_balance": "7.50", "currency": "EUR", "cash_balance": "2"}});
        check("account", account, "the account had 7.50 EUR (cash 2 EUR, buying power not told).");
        let closed = json!({"circuit_breaker": {"state": "closed"}, "locks": []});
        check(
            "breaker",
            closed,
            "the circuit breaker was closed: no lock holds everything back. No single pair was locked.",
        );
    }

    #[test]
    fn locks_are_told_with_their_end_and_what_passes_them() {
        let closed =
            json!({"circuit_breaker": {"state": "closed"}, "no_entry_reasons": ["pairs_locked:1/3"]});
        check(
            "breaker",
            &closed,
            "The circuit breaker is closed: no lock holds everything back. 1/3 of the pairs are locked.",
        );
        let open = json!({"circuit_breaker": {"state": "open", "reason": "holidays", "needs_human": "resume",
            "stops": "new positions"}});
        check(
            "breaker",
            &open,
            "The circuit breaker is open until somebody resumes: holidays. It stops this: new positions.",
        );
        check(
            "breaker",
            &json!({"circuit_breaker": null}),
            "Whether a circuit breaker or a lock holds it back is not known.",
        );
        let named = json!({"circuit_breaker": {"state": "closed"}, "no_entry_reasons": ["pairs_locked:2/9"], "locks": [
            {"symbol": "A/B", "side": "long", "until": "2026-03-02T10:00:00Z", "reason": "two losses."},
            {"symbol": "C/D", "until": null}, {"symbol": "*"}]});
        check(
            "breaker",
            &named,
            "The circuit breaker is closed: no lock holds everything back. 2/9 of the pairs are locked. Locked are: A/B \
             (long) until 2026-03-02T10:00:00Z (two losses); C/D, without an end.",
        );
    }
}
