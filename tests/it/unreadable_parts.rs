//! What the contract does not require may be left out, what is right in another form is read, and whatever is not is
//! named once.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::ScriptedBot;

const SOON: Duration = Duration::from_secs(20);

/// botops beside a bot whose `hello` and `state` are changed by these before they are sent.
async fn beside(hello: fn(&mut Value), state: fn(&mut Value)) -> (ScriptedBot, tempfile::TempDir, Running) {
    let bot = ScriptedBot::start();
    let said = bot.script().hello.clone();
    let report = bot.script().report.clone();
    bot.script().raw.insert(
        "hello",
        Arc::new(move || {
            let mut said = serde_json::to_value(&said).unwrap();
            hello(&mut said);
            said.to_string()
        }),
    );
    bot.script().raw.insert(
        "state",
        Arc::new(move || {
            let mut report = serde_json::to_value(&report).unwrap();
            report["as_of"] = json!(chrono::Utc::now());
            state(&mut report);
            report.to_string()
        }),
    );
    let folder = kit::folder();
    let socket = bot.socket().display().to_string();
    let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")];
    let botops = Running::start(folder.path(), &settings).await;
    kit::until("a report is read", SOON, || async {
        botops.get("/api/v1/state").await.1["as_of"].is_string()
    })
    .await;
    (bot, folder, botops)
}

fn pointers(state: &Value) -> Vec<String> {
    let parts = state["unreadable"].as_array().unwrap();
    parts
        .iter()
        .map(|part| format!("{} {}", part["call"].as_str().unwrap(), part["pointer"].as_str().unwrap()))
        .collect()
}

/// Failures that the journal has of what could not be read, as the messages of their events.
async fn told(botops: &Running) -> Vec<String> {
    let (_, events) = botops.get("/api/v1/events?limit=200").await;
    let items = events["items"].as_array().unwrap();
    let messages = items.iter().map(|event| event["message"].as_str().unwrap_or_default().to_owned());
    messages
        .filter(|message| message.contains("cannot read") || message.contains("can be read again"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_contract_does_not_require_may_be_left_out_of_every_part() {
    let (_bot, _folder, botops) = beside(
        |_| {},
        |state| {
            state["session"] = json!({"state": "healthy"});
            state["circuit_breaker"] = json!({"reason": null});
            state["positions"] = json!([{"symbol": "SPY", "quantity": "1"}, {"quantity": "2"}]);
            state["orders"] = json!([{"symbol": "QQQ", "status": "PENDING", "client_order_id": null}]);
            state["recent_errors"] = json!([{"message": "m", "cause": null, "severity": null}]);
        },
    )
    .await;
    let (_, state) = botops.get("/api/v1/state").await;
    assert_eq!(state["session"]["state"], "healthy", "{:#}", state["unreadable"]);
    assert_eq!(state["session"]["is_healthy"], true, "it follows from the state");
    assert_eq!(state["health"]["api_connected"], true);
    assert_eq!(state["circuit_breaker"]["failure_count"], Value::Null, "{:#}", state["circuit_breaker"]);
    assert_eq!(state["health"]["circuit_breaker_active"], Value::Null);
    assert_eq!(state["positions"].as_array().map(Vec::len), Some(2));
    assert_eq!(state["orders"][0]["symbol"], "QQQ");
    assert_eq!(pointers(&state), ["GET state /positions/1/symbol"]);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_names_no_known_state_is_neither_healthy_nor_a_fault() {
    let (_bot, _folder, botops) = beside(|_| {}, |state| state["session"] = json!({"broker": "x"})).await;
    let (_, state) = botops.get("/api/v1/state").await;
    assert_eq!(state["session"]["broker"], "x", "{:#}", state["unreadable"]);
    assert_eq!(state["session"]["is_healthy"], Value::Null);
    assert_eq!(state["health"]["api_connected"], Value::Null);
    assert_eq!(state["health"]["status"], "healthy", "{:#}", state["health"]);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_numbers_keep_their_digits() {
    let (bot, _folder, botops) = beside(
        |hello| {
            (hello["boot_epoch"], hello["version"]) = (json!(17), json!(3));
            (hello["contract"], hello["capabilities"]) = (json!("2"), json!(["events", "trades", "pause"]));
        },
        |state| {
            (state["boot_epoch"], state["seq"]) = (json!(17), json!("8"));
            state["account"]["account_id"] = json!(987_654_321_012_345_678_u64);
            state["orders"][0]["id"] = json!(12345);
            state["positions"][0]["symbol"] = json!(7203);
            state["recent_errors"] = json!([{"error_code": 1001, "message": "m"}]);
        },
    )
    .await;
    let trade = r#"{"items": [{"seq": "1", "id": 55, "account_id": 987654321012345678, "symbol": "SPY", "net_pl": 1.50,
        "closed_at": "2026-03-02T15:00:00Z"}], "next": null}"#;
    bot.script().raw.insert("trades", Arc::new(move || trade.to_owned()));
    bot.emit_raw(
        r#"{"seq": "1", "boot_epoch": 17, "kind": "fill", "severity": "low", "message": "numbered"}"#,
    );
    bot.script().raw_commands = Some(Arc::new(|asked: &Value| {
        json!({"command_id": asked["command_id"], "outcome": "done", "message": null, "replayed": null})
            .to_string()
    }));
    let (_, state) = botops.get("/api/v1/state").await;
    assert_eq!(pointers(&state), Vec::<String>::new(), "{:#}", state["unreadable"]);
    assert_eq!((&state["bot"]["boot_epoch"], &state["bot"]["version"]), (&json!("17"), &json!("3")));
    assert_eq!(state["account"]["account_id"], "987654321012345678");
    assert_eq!(state["orders"][0]["id"], "12345");
    let symbols: Vec<&Value> =
        state["positions"].as_array().unwrap().iter().map(|one| &one["symbol"]).collect();
    assert!(symbols.contains(&&json!("7203")), "{symbols:?}");
    kit::until("the trade is kept under its account", SOON, || async {
        let (_, performance) = botops.get("/api/v1/performance?window=all").await;
        performance["account_id"] == "987654321012345678" && performance["realized_pnl"] == "1.50"
    })
    .await;
    kit::until("the event is taken over", SOON, || async {
        botops.get("/api/v1/events?limit=200").await.1.to_string().contains("numbered")
    })
    .await;
    let reason = json!({"reason": "a number is an id as well"});
    let (status, answer) = botops.send(Method::POST, "/api/v1/control/pause", &reason).await;
    assert_eq!((status, &answer["outcome"]), (200, &json!("done")), "{answer:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarantee_that_no_list_has_costs_the_word_and_not_the_capability() {
    let (bot, _folder, botops) = beside(
        |hello| {
            hello["capabilities"] =
                json!([{"name": "pause", "guarantee": "exchange"}, {"name": "resume", "guarantee": 7}]);
        },
        |_| {},
    )
    .await;
    let reason = json!({"reason": "whoever keeps the promise"});
    for verb in ["pause", "resume"] {
        let (status, answer) = botops.send(Method::POST, &format!("/api/v1/control/{verb}"), &reason).await;
        assert_eq!(status, 200, "{answer:#}");
    }
    assert_eq!(bot.count("POST", "commands/pause"), 1);
    let (_, state) = botops.get("/api/v1/state").await;
    assert_eq!(pointers(&state), Vec::<String>::new());
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_missing_member_of_a_hello_is_named_with_what_would_be_right() {
    let (_bot, _folder, botops) = beside(
        |hello| {
            for member in ["contract", "version", "mode"] {
                hello.as_object_mut().unwrap().remove(member);
            }
        },
        |_| {},
    )
    .await;
    let (_, state) = botops.get("/api/v1/state").await;
    assert_eq!(state["bot"]["contract"], Value::Null);
    let reason = state["bot"]["presence_reason"].as_str().unwrap();
    assert!(reason.contains("says no contract version") && !reason.contains("older"), "{reason}");
    for (member, right) in [("contract", "2"), ("version", "version"), ("mode", "`paper`")] {
        let part = state["unreadable"]
            .as_array()
            .unwrap()
            .iter()
            .find(|part| part["call"] == "GET hello" && part["pointer"] == format!("/{member}"));
        let part = part.unwrap_or_else(|| panic!("{member} is not named: {:#}", state["unreadable"]));
        assert_eq!(part["got"], "nothing");
        assert!(part["expected"].as_str().unwrap().contains(right), "{part}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_without_a_bot_id_names_all_that_is_missing() {
    let bot = ScriptedBot::start();
    bot.script().raw.insert("hello", Arc::new(|| json!({"name": "nobody"}).to_string()));
    let folder = kit::folder();
    let socket = bot.socket().display().to_string();
    let botops =
        Running::start(folder.path(), &[("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")]).await;
    kit::until("it is not understood", SOON, || async {
        botops.get("/api/v1/state").await.1["bot"]["presence"] == "incompatible"
    })
    .await;
    let (_, state) = botops.get("/api/v1/state").await;
    let reason = state["bot"]["presence_reason"].as_str().unwrap();
    for member in ["/contract", "/bot_id", "/version", "/mode"] {
        assert!(reason.contains(member), "{member}: {reason}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_that_no_calendar_has_is_named_and_taken_for_none() {
    let (_bot, _folder, botops) = beside(
        |hello| hello["started_at"] = json!("0001-01-01T00:00:00Z"),
        |state| {
            state["day"]["began_at"] = json!("-9999-01-01T00:00:00Z");
            state["market"]["market_time"] = json!("+262142-12-31T23:59:59Z");
            state["market"]["source"] = json!("replay");
            state["loop"]["last_tick_at"] = json!("+262142-12-31T23:59:59Z");
            state["last_trade_at"] = json!("+123456-01-01T00:00:00Z");
        },
    )
    .await;
    let (_, state) = botops.get("/api/v1/state").await;
    for pointer in [
        "GET hello /started_at",
        "GET state /day/began_at",
        "GET state /market/market_time",
        "GET state /loop/last_tick_at",
        "GET state /last_trade_at",
    ] {
        assert!(pointers(&state).contains(&pointer.to_owned()), "{pointer}: {:#}", state["unreadable"]);
    }
    for window in ["day", "week", "month", "year", "all"] {
        let (status, answer) = botops.get(&format!("/api/v1/performance?window={window}&by=day")).await;
        assert_eq!(status, 200, "{answer:#}");
    }
    for bound in
        ["from=%2B262142-12-31", "to=%2B262142-12-31", "from=-262143-01", "to=9999-12-31", "from=0000-01-01"]
    {
        let (status, answer) = botops.get(&format!("/api/v1/performance?{bound}&by=week")).await;
        assert!(matches!(status, 200 | 400), "{bound}: {status} {answer:#}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_some_events_is_told_once_and_stands_in_the_state_as_well() {
    let (bot, _folder, botops) = beside(|_| {}, |_| {}).await;
    let good =
        |seq: u32| json!({"seq": seq, "kind": "fill", "severity": "low", "message": format!("event {seq}")});
    for round in 0..5 {
        let mut bad = good(round * 3 + 1);
        bad["at"] = json!("yesterday");
        bot.emit_raw(bad.to_string());
        bot.emit_raw(good(round * 3 + 2).to_string());
        bot.emit_raw(r#"{"seq": "none", "message": "no number"}"#);
    }
    bot.emit_raw(good(100).to_string());
    kit::until("all events are taken over", SOON, || async {
        botops.get("/api/v1/events?limit=200").await.1.to_string().contains("event 100")
    })
    .await;
    kit::until("the state names them", SOON, || async {
        let all = pointers(&botops.get("/api/v1/state").await.1);
        all.contains(&"GET events /at".to_owned()) && all.contains(&"GET events /seq".to_owned())
    })
    .await;
    let told = told(&botops).await;
    assert!(!told.iter().any(|message| message.contains("again")), "{told:#?}");
    assert!((1..=2).contains(&told.len()), "two kinds of faults are told once each: {told:#?}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_the_place_of_an_object_is_never_read_by_position() {
    let (bot, _folder, botops) = beside(
        |hello| hello["adapter"] = json!(["an adapter", "1.0"]),
        |state| {
            state["account"] = json!(["one", "USD", "1.00"]);
            state["positions"] =
                json!([["SPY", "50"], {"symbol": "QQQ", "quantity": "1", "entry_price": "2"}]);
            state["orders"] = json!([["o-1", "c-1", "SPY"], {"id": "o-2", "symbol": "SPY"}]);
            state["session"] = json!(["x", "healthy", null, "why", null]);
            state["circuit_breaker"] = json!(["open", null, "why"]);
            state["market"] = json!(["CLOSED"]);
            state["performance"] = json!([0.5]);
            state["day"] = json!(["UTC"]);
            state["loop"] = json!([5]);
            state["config"]["running"] = json!([9, "abc"]);
            state["recent_errors"] = json!([["A", "B", "high", null, "a failure by position"]]);
            state["unknown"] = json!([["account.buying_power", "not_yet"]]);
            state["echoed_config"] = json!(["why", "proof"]);
        },
    )
    .await;
    let (_, state) = botops.get("/api/v1/state").await;
    let named = pointers(&state);
    for part in [
        "GET hello /adapter",
        "GET state /account",
        "GET state /positions/0",
        "GET state /orders/0",
        "GET state /session",
        "GET state /circuit_breaker",
        "GET state /market",
        "GET state /performance",
        "GET state /day",
        "GET state /loop",
        "GET state /config/running",
        "GET state /recent_errors/0",
        "GET state /unknown/0",
        "GET state /echoed_config",
    ] {
        assert!(named.contains(&part.to_owned()), "{part} is not named: {named:#?}");
    }
    let symbols: Vec<&Value> =
        state["positions"].as_array().unwrap().iter().map(|one| &one["symbol"]).collect();
    assert_eq!(symbols, [&json!("QQQ")]);
    assert_eq!(state["orders"].as_array().map(Vec::len), Some(1));
    assert_eq!((&state["session"], &state["circuit_breaker"]), (&Value::Null, &Value::Null));
    let page = r#"{"items": [[1, "t-1", null, "SPY"], {"seq": 2, "symbol": "SPY", "net_pl": "1.50",
        "closed_at": "2026-03-02T15:00:00Z"}], "next": null}"#;
    bot.script().raw.insert("trades", Arc::new(move || page.to_owned()));
    bot.emit_raw(
        r#"["1", "life-1", "2026-03-02T15:00:00Z", "fill", null, "low", null, "an event by position"]"#,
    );
    bot.emit_raw(r#"{"seq": 2, "boot_epoch": "life-1", "kind": "fill", "message": "an event by name"}"#);
    kit::until("what is named is taken over", SOON, || async {
        let (_, events) = botops.get("/api/v1/events?limit=200").await;
        let (_, performance) = botops.get("/api/v1/performance?window=all").await;
        events.to_string().contains("an event by name") && performance["realized_pnl"] == "1.50"
    })
    .await;
    let (_, events) = botops.get("/api/v1/events?limit=200").await;
    assert!(!events.to_string().contains("an event by position"), "{events:#}");
    // What became of a command that is answered by position is not known.
    bot.script().raw_commands =
        Some(Arc::new(|asked: &Value| json!([asked["command_id"], "done", null, "by position"]).to_string()));
    let reason = json!({"reason": "an answer by position"});
    let (status, answer) = botops.send(Method::POST, "/api/v1/control/pause", &reason).await;
    assert_ne!(status, 200, "{answer:#}");
    // Nor is what a client sends.
    let by_position = json!(["a reason by position"]);
    let (status, answer) = botops.send(Method::POST, "/api/v1/control/pause", &by_position).await;
    assert_eq!(status, 400, "{answer:#}");
    assert!(answer.to_string().contains("expected an object"), "{answer:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bot_shows_of_its_config_keeps_every_digit() {
    let (bot, _folder, botops) =
        beside(|hello| hello["capabilities"].as_array_mut().unwrap().retain(|one| one != "config"), |_| {})
            .await;
    let report = bot.script().report.clone();
    let values = r#"{"long":0.1234567890123456789012,"small":1e-30,"zeros":[5.00,-0.10],"big":123456789012345678901234567890.5,"word":"1.0","api_key":123456,"beyond":1e400}"#;
    bot.script().raw.insert(
        "state",
        Arc::new(move || {
            let mut report = serde_json::to_value(&report).unwrap();
            report["as_of"] = json!(chrono::Utc::now());
            report["config"] = Value::Null;
            report["echoed_config"] = json!({"reason": "its file", "proof": "it says so", "values": "@"});
            report.to_string().replace("\"@\"", values)
        }),
    );
    let shown = values.replace("123456,\"beyond", "\"*****\",\"beyond").replace("1e400", "\"1e400\"");
    kit::until("the echo is shown digit for digit", SOON, || async {
        let request = botops.request(Method::GET, "/api/v1/config");
        request.send().await.unwrap().text().await.unwrap().contains(&shown)
    })
    .await;
    // Where an answer is shortened, and for agents, a number that a float would change is a text.
    let (_, shaped) = botops.get("/api/v1/config?fields=echoed").await;
    let values = &shaped["echoed"]["values"];
    assert_eq!(
        (&values["long"], &values["small"]),
        (&json!("0.1234567890123456789012"), &json!(1e-30)),
        "{shaped:#}"
    );
    botops.stop().await;
}
