//! freqtrade's answers in the words of the contract.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{
    Adapter, FreqtradeStub, PASSWORD, SOON, closed_trade, heartbeat, log_line, open_trade, order,
};
use crate::kit::broker_stub::Act;
use crate::kit::until;

fn why<'s>(state: &'s Value, field: &str) -> &'s Value {
    let unknown = state["unknown"].as_array().unwrap();
    unknown.iter().find(|one| one["field"] == field).map_or(&Value::Null, |one| &one["why"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_freqtrade_is_told_as_it_is() {
    let freqtrade = FreqtradeStub::recorded().await;
    let adapter = Adapter::start(&freqtrade);
    let state = adapter
        .until_state("everything is read", |state| {
            state["performance"]["trades_today"].is_number() && state["circuit_breaker"].is_object()
        })
        .await;
    // Of four open trades, the first entry of one rests: that is an order and no position.
    let positions = state["positions"].as_array().unwrap();
    let symbols: Vec<&str> = positions.iter().map(|position| position["symbol"].as_str().unwrap()).collect();
    assert_eq!(symbols, ["BTC/USDT", "ETH/USDT"], "{state:#}");
    // After a partial exit of 0.008 of 0.01656.
    assert_eq!(positions[1]["quantity"], "0.00856");
    // (3017.65 − 3019.22) × 0.00856: freqtrade's own profit_abs has the fee of an exit that was not made.
    assert_eq!(positions[1]["unrealized_pl"], "-0.0134392");
    let resting: Vec<&Value> =
        state["orders"].as_array().unwrap().iter().filter(|order| order["status"] == "PENDING").collect();
    assert_eq!(resting.len(), 1, "{state:#}");
    assert_eq!((&resting[0]["order_type"], &resting[0]["limit_price"]), (&json!("LIMIT"), &json!("100.0")));
    // The closed trade and the partial exit of an open one, each once, and the fees of what is held, which are paid:
    // −0.12646821 − 0.05693888 − 0.0495152162 − 0.0499982832 × 0.00856 ÷ 0.01656.
    assert_eq!(state["performance"]["total_realized_pl"], "-0.258766829399999997");
    assert_eq!(
        (&state["mode"], &state["phase"]),
        (&json!("paper"), &json!("degraded")),
        "its loop went round long ago"
    );
    assert!(state["phase_reason"].as_str().unwrap().starts_with("loop_silent"));
    assert_eq!(state["account"]["currency"], "USDT");
    assert_eq!(state["account"]["buying_power"], Value::Null);
    assert_eq!(why(&state, "account.buying_power"), "not_reported");
    assert_eq!(why(&state, "account.day_trade_count"), "not_applicable");
    assert_eq!(state["day"]["zone"], "UTC");
    assert_eq!(state["market"]["status"], "ALWAYS_OPEN");
    let trades = adapter.get("trades?after=0").await;
    assert_eq!(
        (&trades["items"][0]["seq"], &trades["items"][0]["net_pl"]),
        (&json!(1), &json!("-0.12646821"))
    );
    assert_eq!(trades["items"][0]["exit_reason"], "force_exit");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_number_is_not_known_and_nothing_is_made_up_for_it() {
    let freqtrade = FreqtradeStub::start().await;
    let trade = open_trade(1, &json!({"current_rate": "NAN", "liquidation_price": "NAN"})).to_string();
    freqtrade.answer_text("status", &format!("[{}]", trade.replace("\"NAN\"", "NaN")));
    freqtrade.answer_text("balance", r#"{"currencies": [], "total_bot": NaN, "note": "NaN"}"#);
    let adapter = Adapter::start(&freqtrade);
    let state = adapter.until_state("a position", |state| state["positions"][0].is_object()).await;
    let position = &state["positions"][0];
    assert_eq!((&position["current_price"], &position["unrealized_pl"]), (&Value::Null, &Value::Null));
    assert_eq!(position["entry_price"], "100.0");
    assert_eq!(state["account"]["account_balance"], Value::Null);
    assert_eq!(state["performance"]["total_pl"], Value::Null, "of a position without a price");
    assert!(why(&state, "account.account_balance").is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn shorts_part_fills_and_several_trades_of_a_pair_are_positions_of_their_own() {
    let freqtrade = FreqtradeStub::start().await;
    let in_part = order("e-2", &json!({"filled": 0.125, "status": "open", "is_open": true}));
    let short_entry = order("e-3", &json!({"ft_order_side": "sell"}));
    let short =
        json!({"is_short": true, "orders": [short_entry], "leverage": 3.0, "liquidation_price": 130.0});
    freqtrade.answer(
        "status",
        &json!([
            open_trade(1, &json!({})),
            open_trade(2, &json!({"amount": 0.0, "orders": [in_part]})),
            open_trade(3, &short),
        ]),
    );
    let adapter = Adapter::start(&freqtrade);
    let state = adapter.until_state("three positions", |state| state["positions"][2].is_object()).await;
    let quantities: Vec<&Value> =
        state["positions"].as_array().unwrap().iter().map(|position| &position["quantity"]).collect();
    assert_eq!(quantities, ["0.5", "0.125", "-0.5"]);
    let short = &state["positions"][2];
    assert_eq!((&short["unrealized_pl"], &short["leverage"]), (&json!("-5"), &json!("3.0")));
    assert_eq!(short["liquidation_price"], "130.0");
    let partial = state["orders"].as_array().unwrap().iter().find(|order| order["id"] == "e-2").unwrap();
    assert_eq!(partial["status"], "PARTIALLY_FILLED");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_with_other_words_is_read_as_far_as_it_goes() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.configured(&json!({"version": "2099.1-dev", "state": "hibernating", "max_open_trades": "many",
        "stake_amount": {"kind": "dynamic"}, "new_part": [1, 2]}));
    let odd = order("odd", &json!({"status": "frozen", "order_type": "iceberg", "filled": null}));
    freqtrade.answer("status", &json!([open_trade(1, &json!({"orders": [odd], "amount": "0.5"}))]));
    let adapter = Adapter::start(&freqtrade);
    let state = adapter.until_state("it is read", |state| state["seq"].is_number()).await;
    assert_eq!((&state["phase"], &state["phase_raw"]), (&json!("other"), &json!("hibernating")));
    assert_eq!(state["trading_enabled"], false);
    let order = &state["orders"][0];
    assert_eq!((&order["status"], &order["status_raw"]), (&json!("OTHER"), &json!("frozen")));
    assert_eq!((&order["order_type"], &order["order_type_raw"]), (&json!("OTHER"), &json!("iceberg")));
    assert_eq!(adapter.get("hello").await["version"], "2099.1-dev");
    // A list of which a part cannot be read is none: a trade that nobody sees is worse than none told.
    freqtrade.answer("status", &json!([open_trade(1, &json!({})), {"trade_id": "x"}]));
    let state = adapter.until_state("the list is not told", |state| state["positions"].is_null()).await;
    assert_eq!(why(&state, "positions"), "upstream_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_are_the_breaker_and_failures_of_the_log_have_codes() {
    let freqtrade = FreqtradeStub::start().await;
    let until_ms = chrono::Utc::now().timestamp_millis() + 3_600_000;
    let lock = |pair: &str, reason: &str| {
        json!({"id": pair, "active": true, "pair": pair, "side": "*", "reason": reason,
            "lock_timestamp": 1_795_900_000_000_i64, "lock_end_timestamp": until_ms})
    };
    freqtrade.answer(
        "locks",
        &json!({"locks": [lock("ETH/USDT", "Auto lock"), lock("*", "4 stoplosses in 60 min")]}),
    );
    freqtrade.logs(&[heartbeat(1), log_line(2, "ERROR", "Could not load markets. password=hunter2")]);
    let adapter = Adapter::start(&freqtrade);
    let state = adapter.until_state("the locks are read", |state| state["circuit_breaker"].is_object()).await;
    let breaker = &state["circuit_breaker"];
    assert_eq!((&breaker["state"], &breaker["source"]), (&json!("open"), &json!("consecutive_losses")));
    assert!(breaker["resumes_at"].is_string());
    assert_eq!(state["trading_enabled"], false);
    assert_eq!(state["no_entry_reasons"], json!(["global_lock", "pairs_locked:1/2"]));
    let failure = &state["recent_errors"][0];
    assert_eq!((&failure["error_code"], &failure["severity"]), (&json!("EXC_005"), &json!("high")));
    assert!(!failure.to_string().contains("hunter2"), "{failure:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_keeps_it_from_entering_is_named() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.configured(&json!({"stake_amount": "2000"}));
    freqtrade.trades_pairs(&[]);
    let adapter = Adapter::start(&freqtrade);
    let expected = json!(["whitelist_empty", "insufficient_stake"]);
    adapter.until_state("both are named", |state| state["no_entry_reasons"] == expected).await;
    drop(adapter);
    // Each of the pairs that it trades is locked: the same as a lock of everything.
    freqtrade.configured(&json!({}));
    freqtrade.trades_pairs(&["ETH/USDT"]);
    let until_ms = chrono::Utc::now().timestamp_millis() + 3_600_000;
    let lock =
        json!({"id": 1, "active": true, "pair": "ETH/USDT", "side": "*", "lock_end_timestamp": until_ms});
    freqtrade.answer("locks", &json!({"locks": [lock]}));
    let adapter = Adapter::start(&freqtrade);
    let state = adapter
        .until_state("the locks are read", |state| state["no_entry_reasons"] == json!(["all_pairs_locked"]))
        .await;
    assert_eq!(state["trading_enabled"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_is_read_and_never_changed_and_no_verb_reaches_freqtrade_unasked() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.configured(
        &json!({"jwt_secret_key": "canary-jwt", "api_server": {"password": "canary-api", "token": "x"}}),
    );
    let adapter = Adapter::start(&freqtrade);
    adapter.until_state("it is read", |state| state["seq"].is_number()).await;
    let config = adapter.get("config").await;
    let values = &config["echoed_config"]["values"];
    assert_eq!((&config["managed"], &values["strategy"]), (&json!(false), &json!("Sample")));
    assert!(!config.to_string().contains("canary"), "{config:#}");
    // botops shows the same, as what it is, and refuses a change with the bot's own reason.
    let botops = adapter.with_botops().await;
    let echo = || async { botops.get("/api/v1/config").await.1["echoed"].is_object() };
    until("botops shows the echo", SOON, echo).await;
    let (_, shown) = botops.get("/api/v1/config").await;
    assert_eq!((&shown["sync"], &shown["writable"]), (&json!("not_applicable"), &json!(false)), "{shown:#}");
    assert_eq!((&shown["config"], &shown["echoed"]["values"]), (&Value::Null, values));
    assert!(shown["echoed"]["proof"].as_str().unwrap().contains("show_config"), "{shown:#}");
    let change = json!({"reason": "a larger stake", "merge_patch": {"stake_amount": "100"}});
    let (status, problem) = botops.send(Method::PUT, "/api/v1/config/apply", &change).await;
    assert_eq!((status, &problem["error_code"]), (409, &json!("BOT_004")), "{problem:#}");
    assert!(problem["cause"].as_str().unwrap().contains("not managed"), "{problem:#}");
    botops.stop().await;
    let (status, refused) = adapter.post("config/activate", &json!({"txn": "1"})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("not_capable")));
    let hello = adapter.get("hello").await;
    assert!(!hello["capabilities"].to_string().contains("config"), "{hello:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_is_refused_does_not_hide_the_rest() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.closed(&json!([closed_trade(1, &json!({}))]));
    let domain = r#"{"error": "Error querying /api/v1/balance: no rates"}"#;
    freqtrade.act("balance", Act::json(502, domain));
    freqtrade.act("locks", Act::json(500, "oops"));
    let adapter = Adapter::start(&freqtrade);
    let state =
        adapter.until_state("trades are read", |state| state["performance"]["win_rate"].is_number()).await;
    assert_eq!(
        (&state["account"]["account_balance"], &state["circuit_breaker"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(why(&state, "account.account_balance"), "upstream_error");
    assert_eq!(why(&state, "circuit_breaker"), "upstream_error");
    assert_eq!(state["performance"]["total_realized_pl"], "-5.095");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_written_nowhere() {
    let freqtrade = FreqtradeStub::start().await;
    let echo = format!("{{\"detail\": \"bad word {PASSWORD}\"}}");
    freqtrade.act("locks", Act::json(500, echo));
    freqtrade.logs(&[heartbeat(1), log_line(2, "ERROR", &format!("login with {PASSWORD} refused"))]);
    let adapter = Adapter::start(&freqtrade);
    let state = adapter.until_state("the log is read", |state| state["recent_errors"][0].is_object()).await;
    let hello = adapter.get("hello").await;
    until("the log of the adapter is written", SOON, || async { adapter.written().contains("is served on") })
        .await;
    let written = adapter.written();
    assert!(!format!("{hello}{written}").contains(PASSWORD), "{written}");
    assert!(!state.to_string().contains(PASSWORD), "{state:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_an_ordinary_word_changes_no_data() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.logs(&[heartbeat(1), log_line(2, "ERROR", "login with running refused")]);
    let adapter = Adapter::start_with(freqtrade.url(), "running".to_owned());
    let state = adapter.until_state("the log is read", |state| state["recent_errors"][0].is_object()).await;
    assert_eq!(state["phase"], "running", "{state:#}");
    assert!(state["recent_errors"].to_string().contains("login with ***** refused"), "{state:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_read_once_and_a_trade_on_its_way_is_not_missing_from_a_sum() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.answer("status", &json!([open_trade(500, &json!({}))]));
    let mut closed: Vec<Value> = (1..=100).map(|id| closed_trade(id, &json!({"orders": []}))).collect();
    freqtrade.closed(&json!(closed));
    let adapter = Adapter::start(&freqtrade);
    let known = |state: &Value| state["performance"]["total_pl"].is_string();
    adapter.until_state("the history is read", known).await;
    let asked = || freqtrade.requests().iter().filter(|(_, path)| path.ends_with("/trades")).count();
    assert_eq!(asked(), 2, "two pages, of which the second one brings nothing");
    // One closes and another one opens in the same moment; the closed ones cannot be read.
    freqtrade.act("trades", Act::json(502, r#"{"error": "busy"}"#));
    freqtrade.answer("status", &json!([open_trade(501, &json!({}))]));
    let state = adapter.until_state("it is on its way", |state| !known(state)).await;
    assert_eq!(why(&state, "performance.total_pl"), "not_yet", "{state:#}");
    until("they are asked for at once", SOON, || async { asked() == 3 }).await;
    closed.remove(0);
    closed.push(closed_trade(500, &json!({"orders": []})));
    freqtrade.closed(&json!(closed));
    let state = adapter.until_state("it is counted", known).await;
    // 101 results of −5.095, the fee of the open one, and its gain of 5.
    assert_eq!(state["performance"]["total_pl"], "-509.645", "{state:#}");
    let trades = adapter.get("trades?after=0&limit=500").await;
    assert_eq!(trades["items"].as_array().unwrap().len(), 101);
    assert!(asked() <= 5, "a page with something new, and one without");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_partial_exit_brought_is_named_until_its_trade_is_closed() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.closed(&json!([closed_trade(1, &json!({}))]));
    freqtrade.answer("status", &json!([open_trade(2, &json!({"realized_profit": -0.0569}))]));
    let adapter = Adapter::start(&freqtrade);
    let state = adapter.until_state("it is read", |state| state["performance"]["win_rate"].is_number()).await;
    assert_eq!(state["positions"][0]["realized_pl"], "-0.0569", "{state:#}");
    // −5.095 of the closed trade, −0.0569 of the part, −0.05 for the entry of what is held.
    assert_eq!(state["performance"]["total_realized_pl"], "-5.2019", "{state:#}");
    let botops = adapter.with_botops().await;
    let path = "/api/v1/performance?window=all";
    let known = || async {
        let (_, shown) = botops.get(path).await;
        shown["total_trades"] == 1 && shown["unrealized_pnl"].is_string()
    };
    until("botops has the trade", SOON, known).await;
    let (_, shown) = botops.get(path).await;
    assert_eq!(shown["realized_pnl"], "-5.095", "closed trades alone: {shown:#}");
    assert!(shown["incomplete"].to_string().contains("1 open position brought -0.0569"), "{shown:#}");
    let (_, shown) = botops.get("/api/v1/performance?window=all&symbol=ETH%2FUSDT").await;
    assert_eq!(shown["incomplete"], json!([]), "it is of another pair: {shown:#}");
    botops.stop().await;
}

/// A number of the config is money or decides about money: every digit of it stays as freqtrade wrote it.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_the_config_keep_their_digits() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.answer_text(
        "show_config",
        r#"{"dry_run": true, "stake_currency": "USDT", "exchange": "binance", "state": "running", "runmode": "dry_run",
            "strategy": "Sample", "stoploss": -0.10, "tradable_balance_ratio": 0.9900000000000000000001,
            "available_capital": 1000.00, "trailing_stop_positive": NaN, "password": 123456.789,
            "minimal_roi": {"0": 0.10, "30": 1e-2}}"#,
    );
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    let echo = || async { botops.get("/api/v1/config").await.1["echoed"].is_object() };
    until("botops shows the echo", SOON, echo).await;
    let shown = botops.request(Method::GET, "/api/v1/config").send().await.unwrap().text().await.unwrap();
    for number in ["-0.10", "0.9900000000000000000001", "1000.00", r#""0":0.10"#, "1e-2"] {
        assert!(shown.contains(number), "{number}: {shown}");
    }
    assert!(!shown.contains("123456"), "{shown}");
    botops.stop().await;
}
