//! One sentence for the answer of each read: what was asked for, or plainly that there is nothing, or that it is not known.
//!
//! A sentence contains nothing that the answer does not contain.

use serde_json::Value;

/// Items that one sentence names.
const NAMED: usize = 3;

/// The sentence for an answer; `None` for intents whose answer speaks for itself.
pub(super) fn sentence(intent: &str, answer: &Value) -> Option<String> {
    match intent {
        "performance" => performance(answer),
        "errors" => Some(errors(answer)),
        "breaker" => Some(breaker(answer)),
        "positions" => Some(positions(answer)),
        "orders" => Some(orders(answer)),
        "trades" => Some(newest_event(answer, "No fill is recorded.")),
        "events" => Some(newest_event(answer, "Nothing is recorded.")),
        "alerts" => Some(alerts(answer)),
        _ => None,
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

fn breaker(answer: &Value) -> String {
    let reasons = items(answer, "no_entry_reasons").into_iter().flatten().filter_map(Value::as_str);
    let pairs = reasons.filter_map(|reason| match reason.split_once(':') {
        Some(("pairs_locked", count)) => Some(format!(" {count} of the pairs are locked.")),
        _ if reason == "all_pairs_locked" => Some(" Every single pair is locked.".to_owned()),
        _ => None,
    });
    let pairs: String = pairs.collect();
    let breaker = &answer["circuit_breaker"];
    let Some(state) = text(breaker, "state") else {
        return format!("Whether a circuit breaker or a lock holds it back is not known.{pairs}");
    };
    if state == "closed" {
        return format!("The circuit breaker is closed: no lock holds everything back.{pairs}");
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
    format!("The circuit breaker is {state}{until}: {}.{stops}{pairs}", why.trim_end_matches('.'))
}

fn positions(answer: &Value) -> String {
    let Some(open) = items(answer, "positions") else {
        return "Which positions are open is not known.".to_owned();
    };
    if open.is_empty() {
        return "No position is open.".to_owned();
    }
    let named = open.iter().take(NAMED).map(|position| {
        let gain = text(position, "unrealized_pl").map(|gain| format!(" (stands at {gain})"));
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
    format!("{} open: {named}{more}.", counted(open.len(), "position is", "positions are"))
}

fn orders(answer: &Value) -> String {
    let Some(orders) = items(answer, "orders") else {
        return "Which orders there are is not known.".to_owned();
    };
    if orders.is_empty() {
        return "No order is open, and none is recent.".to_owned();
    }
    let is_open = |order: &&Value| matches!(text(order, "status"), Some("PENDING" | "PARTIALLY_FILLED"));
    let open = orders.iter().filter(is_open).count();
    let shown = counted(orders.len(), "order is", "orders are");
    format!("{} open; {shown} shown, recent ones included.", counted(open, "order is", "orders are"))
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
        assert_eq!(sentence(intent, answer).unwrap(), expected);
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
        check("trades", &json!({"items": []}), "No fill is recorded.");
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
    }
}
