//! An effect that did not show in its time: the adapter goes on looking, and botops completes its record.

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::app::Running;
use crate::kit::scripted_freqtrade::{FreqtradeFault, ScriptedFreqtrade, api_error_line, resting_trade};
use crate::kit::until;

use super::commands::{adapter_beside, three_trades};
use super::world::{Adapter, SOON};

/// The `control` events on commands that were followed.
async fn followed(botops: &Running) -> Vec<Value> {
    let (_, events) = botops.get("/api/v1/events?kind=control&limit=100").await;
    let items = events["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|event| event["data"]["follow_up"] == true).collect()
}

async fn pause_without_a_clear_answer(adapter: &Adapter) -> (Running, Value) {
    let botops = adapter.with_botops().await;
    let connected = || async { botops.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("botops is connected", SOON, connected).await;
    let body = json!({"reason": "a pause that is not seen"});
    let (status, unknown) = botops.send(Method::POST, "/api/v1/control/pause", &body).await;
    assert_eq!((status, &unknown["error_code"]), (504, &json!("BOT_002")), "{unknown}");
    (botops, unknown)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_takes_effect_late_is_told_as_done_and_sent_no_second_time() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::WaitsBehindProxy);
    let adapter = adapter_beside(&freqtrade).await;
    let (botops, unknown) = pause_without_a_clear_answer(&adapter).await;
    let id = unknown["context"]["command_id"].clone();
    assert_eq!(followed(&botops).await, [] as [Value; 0], "nothing is known yet");
    freqtrade.world().state = "paused".to_owned();
    until("botops knows how it ended", SOON, || async { !followed(&botops).await.is_empty() }).await;
    let event = followed(&botops).await.remove(0);
    assert_eq!((&event["data"]["outcome"], &event["data"]["command_id"]), (&json!("done"), &id), "{event}");
    assert!(event["message"].as_str().unwrap().contains("freqtrade is paused"), "{event}");
    assert_eq!(freqtrade.acted(), ["POST pause"]);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_was_passed_over_is_told_as_not_done() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::IsPassedOver);
    let adapter = adapter_beside(&freqtrade).await;
    let (botops, _) = pause_without_a_clear_answer(&adapter).await;
    until("botops knows how it ended", SOON, || async { !followed(&botops).await.is_empty() }).await;
    let data = followed(&botops).await.remove(0)["data"].clone();
    assert_eq!((&data["outcome"], &data["reason_code"]), (&json!("refused"), &json!("no_effect")), "{data}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_seen_is_looked_for_after_a_restart_of_the_adapter() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::WaitsBehindProxy);
    let mut adapter = adapter_beside(&freqtrade).await;
    let open = adapter.run("pause", "a", Value::Null).await;
    assert_eq!(open["outcome"], "unconfirmed", "{open}");
    adapter.kill();
    freqtrade.world().state = "paused".to_owned();
    adapter.launch();
    let ended = || async {
        adapter.try_get("commands/a").await.is_some_and(|(_, known)| known["result"]["outcome"] == "done")
    };
    until("the pause is seen", SOON, ended).await;
    assert_eq!(freqtrade.acted(), ["POST pause"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_a_command_caused_names_it_and_one_of_somebody_else_does_not() {
    let freqtrade = ScriptedFreqtrade::start(vec![resting_trade(1, "BTC/USDT", 0.5)]).await;
    // Somebody else asked in vain an hour ago, by a clock that is two hours behind.
    freqtrade.world().clock_ahead = -TimeDelta::hours(2);
    freqtrade.world().logs.push(api_error_line(Utc::now() - TimeDelta::hours(3)));
    let adapter = adapter_beside(&freqtrade).await;
    let done = adapter.run("cancel-orders", "a", Value::Null).await;
    assert_eq!(done["outcome"], "done", "freqtrade answered 502 to what it did: {done}");
    let two = |state: &Value| state["recent_errors"].as_array().is_some_and(|errors| errors.len() == 2);
    let state = adapter.until_state("both lines are read", two).await;
    let (own, other) = (&state["recent_errors"][0], &state["recent_errors"][1]);
    assert_eq!(
        (&own["context"]["command_id"], &own["context"]["verb"]),
        (&json!("a"), &json!("cancel-orders"))
    );
    assert_eq!(own["severity"], "low", "{own}");
    assert_eq!(
        (&other["context"]["command_id"], &other["severity"]),
        (&Value::Null, &json!("medium")),
        "{other}"
    );
}
