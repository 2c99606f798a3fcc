//! A command looks again before it acts: what changed since it was planned is not acted on, and what happened meanwhile is
//! told as it is.

use serde_json::{Value, json};

use crate::kit::scripted_freqtrade::{
    FreqtradeFault, PassUnderWay, ScriptedFreqtrade, open_trade, with_resting,
};
use crate::kit::until;

use super::commands::{adapter_beside, three_trades};
use super::world::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_that_a_pass_under_way_enters_after_the_pause_is_exited_too() {
    let freqtrade = ScriptedFreqtrade::start(vec![open_trade(1, "BTC/USDT", 0.5)]).await;
    let adapter = adapter_beside(&freqtrade).await;
    let entry = open_trade(2, "ETH/USDT", 2.0);
    freqtrade.world().pass = Some(PassUnderWay { entry, last_process: chrono::Utc::now(), asked: 0 });
    adapter.run("flatten", "a", Value::Null).await;
    let done = adapter.end_of("a").await;
    assert_eq!(done["outcome"], "done", "{done}");
    assert_eq!(freqtrade.world().trades, [] as [Value; 0], "done means that nothing is open");
    assert_eq!(freqtrade.acted(), ["POST pause", "POST forceexit", "POST forceexit"]);
    let exposure = &done["exposure"];
    assert_eq!(exposure["positions_closing"], json!(["BTC/USDT", "ETH/USDT"]), "{done}");
    assert_eq!((&exposure["orders_submitted"], &exposure["notional"]), (&json!(2), &json!("275")), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_whose_orders_changed_meanwhile_is_left_as_it_is() {
    let resting = |id, pair| with_resting(open_trade(id, pair, 0.5), "buy");
    let freqtrade = ScriptedFreqtrade::start(vec![resting(1, "BTC/USDT"), resting(2, "ETH/USDT")]).await;
    let adapter = adapter_beside(&freqtrade).await;
    // While the first is cancelled, the entry of the second is filled and its exit rests.
    let exit = with_resting(open_trade(2, "ETH/USDT", 1.5), "sell");
    freqtrade
        .world()
        .open_after
        .insert("DELETE trades/1/open-order".to_owned(), vec![open_trade(1, "BTC/USDT", 0.5), exit]);
    let done = adapter.run("cancel-orders", "a", Value::Null).await;
    assert_eq!(
        (&done["outcome"], &done["exposure"]["orders_cancelled"]),
        (&json!("done"), &json!(1)),
        "{done}"
    );
    let said = done["message"].as_str().unwrap();
    assert!(said.contains("changed meanwhile: #2 ETH/USDT"), "{said}");
    assert_eq!(freqtrade.acted(), ["DELETE trades/1/open-order"], "an exit was not meant");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_that_was_filled_before_it_was_cancelled_is_not_called_cancelled() {
    let trade = with_resting(open_trade(1, "BTC/USDT", 0.5), "sell");
    let freqtrade = ScriptedFreqtrade::start(vec![trade]).await;
    let adapter = adapter_beside(&freqtrade).await;
    freqtrade.world().open_after.insert("DELETE trades/1/open-order".to_owned(), Vec::new());
    let done = adapter.run("cancel-orders", "a", json!({"exits": true})).await;
    assert_eq!(
        (&done["outcome"], &done["exposure"]["orders_cancelled"]),
        (&json!("done"), &json!(0)),
        "{done}"
    );
    assert!(done["message"].as_str().unwrap().contains("1 of them were filled"), "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_one_too_many_is_not_repeated_on_a_freqtrade_that_was_stopped_since() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::IsOneTooMany);
    let adapter = adapter_beside(&freqtrade).await;
    let stop = async {
        until("freqtrade has it", SOON, || async { !freqtrade.acted().is_empty() }).await;
        freqtrade.world().state = "stopped".to_owned();
    };
    tokio::join!(adapter.run("pause", "a", Value::Null), stop);
    let refused = adapter.end_of("a").await;
    assert_eq!((&refused["outcome"], &refused["reason_code"]), (&json!("refused"), &json!("bot_state")));
    assert!(refused["message"].as_str().unwrap().contains("stopped"), "{refused}");
    assert_eq!((freqtrade.acted().len(), freqtrade.world().state.as_str()), (1, "stopped"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_one_too_many_is_not_repeated_once_it_is_expired() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::IsOneTooMany);
    let adapter = adapter_beside(&freqtrade).await;
    let body = json!({"command_id": "a", "reason": "a test", "valid_for_ms": 3_000});
    adapter.command("pause", body).await;
    let refused = adapter.end_of("a").await;
    assert_eq!((&refused["outcome"], &refused["reason_code"]), (&json!("refused"), &json!("expired")));
    assert_eq!((freqtrade.acted().len(), freqtrade.world().state.as_str()), (1, "running"));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_answer_of_a_proxy_no_further_request_is_sent() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.world().state = "paused".to_owned();
    freqtrade.fault("POST forceexit", FreqtradeFault::WorksBehindProxy);
    let adapter = adapter_beside(&freqtrade).await;
    adapter.run("flatten", "a", Value::Null).await;
    let open = adapter.end_of("a").await;
    assert_eq!(open["outcome"], "unconfirmed", "{open}");
    let said = open["message"].as_str().unwrap();
    assert!(said.contains("status 504") && said.contains("2 further requests were not sent"), "{said}");
    assert_eq!(freqtrade.acted(), ["POST forceexit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freqtrade_that_counts_its_questions_is_not_called_away() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    freqtrade.world().reads_are_too_many = true;
    let refused = adapter.run("pause", "a", Value::Null).await;
    assert_eq!(
        (&refused["outcome"], &refused["reason_code"]),
        (&json!("refused"), &json!("bot_asked_too_often")),
        "{refused}"
    );
    assert!(freqtrade.acted().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_under_way_is_not_the_answer_of_another_verb() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::IsOneTooMany);
    let adapter = adapter_beside(&freqtrade).await;
    let other = async {
        until("freqtrade has it", SOON, || async { !freqtrade.acted().is_empty() }).await;
        adapter.command("flatten", json!({"command_id": "a", "reason": "another verb"})).await
    };
    let (_, (status, refused)) = tokio::join!(adapter.run("pause", "a", Value::Null), other);
    assert_eq!((status, &refused["code"]), (409, &json!("command_id_used")), "{refused}");
    assert_eq!(adapter.end_of("a").await["outcome"], "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_of_a_side_that_is_not_traded_keeps_nothing_closed() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    freqtrade.world().locks.push(json!({"id": 7, "active": true, "pair": "*", "side": "short",
        "reason": "no shorts", "lock_end_timestamp": 4_102_444_800_000_i64}));
    freqtrade.world().state = "paused".to_owned();
    let adapter = adapter_beside(&freqtrade).await;
    let done = adapter.run("resume", "a", Value::Null).await;
    assert_eq!((&done["outcome"], &done["trading_enabled"]), (&json!("done"), &json!(true)), "{done}");
}
