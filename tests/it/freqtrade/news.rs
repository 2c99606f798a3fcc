//! What is told of changes: each once, also over restarts of the adapter.

use serde_json::{Value, json};

use super::world::{
    Adapter, FreqtradeStub, SOON, closed_trade, heartbeat, log_line, open_trade, order, told, until_presence,
    until_told,
};
use crate::kit::app::Running;
use crate::kit::broker_stub::Act;
use crate::kit::until;

async fn world() -> (FreqtradeStub, Adapter, Running) {
    let freqtrade = FreqtradeStub::start().await;
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    until_presence(&botops, "connected").await;
    until_told(&botops, "watches this freqtrade").await;
    (freqtrade, adapter, botops)
}

fn count(told: &[String], text: &str) -> usize {
    told.iter().filter(|message| message.contains(text)).count()
}

fn resting(filled: f64) -> Value {
    let status = if filled < 0.5 { "open" } else { "closed" };
    let order = order("e-1", &json!({"filled": filled, "status": status, "is_open": filled < 0.5}));
    json!([open_trade(1, &json!({"amount": 0.0, "orders": [order]}))])
}

#[tokio::test(flavor = "multi_thread")]
async fn fills_are_told_once_and_in_order_also_over_a_kill_of_the_adapter() {
    let (freqtrade, mut adapter, botops) = world().await;
    freqtrade.answer("status", &resting(0.0));
    until_told(&botops, "order BUY BTC/USDT was placed").await;
    freqtrade.answer("status", &resting(0.125));
    until_told(&botops, "was filled in part: 0.125").await;
    adapter.kill();
    freqtrade.answer("status", &resting(0.25));
    adapter.launch();
    until_told(&botops, "was filled in part: 0.125").await;
    until("the part that was filled meanwhile is told", SOON, || async {
        count(&told(&botops).await, "was filled in part: 0.125") == 2
    })
    .await;
    freqtrade.answer("status", &resting(0.5));
    let told = until_told(&botops, "was filled: 0.25").await;
    assert_eq!(count(&told, "was placed"), 1, "{told:#?}");
    assert_eq!(count(&told, "watches this freqtrade"), 1, "{told:#?}");
    assert_eq!(count(&told, "were lost"), 0, "{told:#?}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_that_closes_is_told_and_numbered_and_a_reused_id_is_another_trade() {
    let (freqtrade, mut adapter, botops) = world().await;
    freqtrade.answer("status", &json!([open_trade(1, &json!({}))]));
    until_told(&botops, "order BUY BTC/USDT was filled").await;
    freqtrade.answer("status", &json!([]));
    freqtrade.closed(&json!([closed_trade(1, &json!({}))]));
    let told = until_told(&botops, "trade of BTC/USDT closed: -5.095 (stop_loss)").await;
    assert_eq!(count(&told, "order SELL BTC/USDT was filled: 0.5"), 1, "{told:#?}");
    // freqtrade deleted the trade and gives its id again.
    let again = json!({"pair": "ETH/USDT", "open_timestamp": 1_795_900_700_000_i64,
        "close_timestamp": 1_795_900_800_000_i64, "close_profit_abs": 2.5, "exit_reason": "roi", "orders": []});
    freqtrade.closed(&json!([closed_trade(1, &again)]));
    // Without a fill to see, closed trades are read once in a while; a new run of the adapter reads them at once.
    adapter.kill();
    adapter.launch();
    until_told(&botops, "trade of ETH/USDT closed: 2.5 (roi)").await;
    let trades = adapter.get("trades?after=0").await;
    let items = trades["items"].as_array().unwrap();
    let seqs: Vec<&Value> = items.iter().map(|trade| &trade["seq"]).collect();
    assert_eq!(seqs, [1, 2], "{trades:#}");
    assert_eq!((&items[0]["id"], &items[1]["id"]), (&json!("1"), &json!("1")));
    assert_eq!(adapter.get("trades?after=1").await["items"].as_array().unwrap().len(), 1);
    // botops has both in its own history.
    until("botops has both", SOON, || async {
        botops.get("/api/v1/performance?window=all").await.1["total_trades"] == 2
    })
    .await;
    let messages = super::world::told(&botops).await;
    assert_eq!(count(&messages, "trade of BTC/USDT closed"), 1, "{messages:#?}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_lifts_a_pause_is_told_as_that() {
    let (freqtrade, adapter, botops) = world().await;
    freqtrade.configured(&json!({"state": "paused"}));
    until_told(&botops, "freqtrade is paused").await;
    assert_eq!(adapter.get("state").await["phase"], "paused");
    freqtrade.configured(&json!({"state": "reload_config"}));
    adapter.until_state("it reloads", |state| state["phase"] == "starting").await;
    freqtrade.configured(&json!({"state": ""}));
    adapter
        .until_state("it has no state", |state| {
            state["phase_reason"].as_str().is_some_and(|reason| reason.contains("does not say its state"))
        })
        .await;
    freqtrade.went_round(0, 200);
    freqtrade.configured(&json!({"state": "running"}));
    let told = until_told(&botops, "lifted the pause").await;
    assert_eq!(count(&told, "is in the state"), 0, "{told:#?}");
    assert_eq!(count(&told, "opens positions again"), 1, "{told:#?}");
    // An operator's resume is not a reload.
    freqtrade.configured(&json!({"state": "paused"}));
    adapter.until_state("it is paused", |state| state["phase"] == "paused").await;
    freqtrade.configured(&json!({"state": "running"}));
    until("it is told", SOON, || async {
        count(&super::world::told(&botops).await, "opens positions again") == 2
    })
    .await;
    assert_eq!(count(&super::world::told(&botops).await, "lifted the pause"), 1);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_with_open_trades_is_stopped_and_alarming() {
    let (freqtrade, adapter, botops) = world().await;
    freqtrade
        .answer("status", &json!([open_trade(1, &json!({})), open_trade(2, &json!({"pair": "ETH/USDT"}))]));
    adapter.until_state("two positions", |state| state["positions"][1].is_object()).await;
    freqtrade.configured(&json!({"state": "stopped"}));
    let state = adapter.until_state("it is stopped", |state| state["phase"] == "stopped").await;
    assert!(
        state["phase_reason"].as_str().unwrap().contains("nobody manages its 2 open trades"),
        "{state:#}"
    );
    assert_eq!((&state["trading_enabled"], &state["loop"]["last_tick_at"]), (&json!(false), &Value::Null));
    until_told(&botops, "was stopped: nobody manages its 2 open trades").await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_locks_are_told_once() {
    let (freqtrade, mut adapter, botops) = world().await;
    let until_ms = chrono::Utc::now().timestamp_millis() + 3_600_000;
    let lock = json!({"id": 5, "active": true, "pair": "*", "side": "*", "reason": "holiday",
        "lock_timestamp": 1_795_900_000_000_i64, "lock_end_timestamp": until_ms});
    freqtrade.answer("locks", &json!({"locks": [lock]}));
    freqtrade.logs(&[
        log_line(1, "INFO", "Starting"),
        heartbeat(2),
        log_line(3, "ERROR", "Unable to create order"),
    ]);
    adapter.kill();
    adapter.launch();
    until_told(&botops, "all pairs are locked: holiday").await;
    until_told(&botops, "Unable to create order").await;
    let (_, summary) = botops.get("/api/v1/summary").await;
    let remedy = summary["circuit_breaker"]["remediation"].as_str().unwrap();
    assert!(remedy.contains("Ask whoever set it") && remedy.contains("ends by itself at"), "{remedy}");
    adapter.kill();
    adapter.launch();
    freqtrade.answer("locks", &json!({"locks": []}));
    adapter.until_state("it is read", |state| state["seq"].is_number()).await;
    let told = until_told(&botops, "a lock of all pairs ended").await;
    assert_eq!(count(&told, "all pairs are locked"), 1, "{told:#?}");
    assert_eq!(count(&told, "Unable to create order"), 1, "{told:#?}");
    let (_, errors) = botops.get("/api/v1/errors").await;
    assert!(errors.to_string().contains("EXC_004"), "{errors:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_and_a_gap_of_the_adapter_are_told() {
    let (freqtrade, mut adapter, botops) = world().await;
    let exit =
        order("x-1", &json!({"ft_order_side": "sell", "status": "open", "is_open": true, "filled": 0.0}));
    let entry = order("e-1", &json!({}));
    freqtrade.answer("status", &json!([open_trade(1, &json!({"orders": [entry, exit]}))]));
    until_told(&botops, "order SELL BTC/USDT was placed").await;
    freqtrade.answer("status", &json!([open_trade(1, &json!({"orders": [entry]}))]));
    let messages = until_told(&botops, "an order of BTC/USDT was cancelled; nothing of it was filled").await;
    assert_eq!(count(&messages, "what became of it"), 0, "{messages:#?}");
    assert_eq!(count(&messages, "was away"), 0, "{messages:#?}");
    adapter.kill();
    adapter.launch();
    let messages = until_told(&botops, "the adapter was away and watches again").await;
    assert_eq!(count(&messages, "was away"), 1, "{messages:#?}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_account_begins_with_nothing_of_the_one_before() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.closed(&json!([closed_trade(1, &json!({}))]));
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    until_told(&botops, "watches this freqtrade").await;
    adapter.until_state("its orders are shown", |state| state["orders"][0].is_object()).await;
    freqtrade.act("balance", Act::json(502, r#"{"error": "no rates"}"#));
    let live = json!({"pair": "ETH/USDT", "open_timestamp": 1_795_900_700_000_i64, "orders": []});
    freqtrade.closed(&json!([closed_trade(2, &live)]));
    freqtrade.configured(&json!({"dry_run": false, "runmode": "live"}));
    let messages = until_told(&botops, "freqtrade trades another account now").await;
    assert_eq!(count(&messages, "closed: "), 0, "a history is no news: {messages:#?}");
    let state = adapter.get("state").await;
    assert_eq!(state["account"]["account_id"], "binance-spot-live-USDT");
    assert_eq!(
        (&state["account"]["account_balance"], &state["orders"]),
        (&Value::Null, &json!([])),
        "{state:#}"
    );
    assert_eq!(state["performance"]["total_realized_pl"], "-5.095", "of one trade");
    let trades = adapter.get("trades?after=0").await;
    let accounts: Vec<&Value> =
        trades["items"].as_array().unwrap().iter().map(|trade| &trade["account_id"]).collect();
    assert_eq!(accounts, ["binance-spot-dry-USDT", "binance-spot-live-USDT"], "{trades:#}");
    botops.stop().await;
}
