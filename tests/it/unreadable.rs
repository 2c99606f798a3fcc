//! A bot whose answers are wrong in places is there: what can be read counts, what cannot is named, nothing is done to it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::app::Running;
use crate::kit::scripted_bot::ScriptedBot;

/// botops beside a bot whose state is changed by this before it is sent.
async fn beside(change: fn(&mut Value)) -> (ScriptedBot, tempfile::TempDir, Running) {
    let bot = ScriptedBot::start();
    let report = bot.script().report.clone();
    let state = move || {
        let mut state = serde_json::to_value(&report).unwrap();
        state["as_of"] = json!(chrono::Utc::now());
        change(&mut state);
        state.to_string().replace("\"<NaN>\"", "NaN")
    };
    bot.script().raw.insert("state", Arc::new(state));
    let folder = crate::kit::folder();
    let socket = bot.socket().display().to_string();
    let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")];
    let botops = Running::start(folder.path(), &settings).await;
    crate::kit::until("a report is read", Duration::from_secs(10), || async {
        !botops.get("/api/v1/state").await.1["account"].is_null()
    })
    .await;
    (bot, folder, botops)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_named_in_state_summary_errors_and_the_rest_counts() {
    let (bot, _folder, botops) = beside(|state| {
        state["orders"][0]["quantity"] = json!("<NaN>");
        state["positions"][0]["entry_price"] = json!("");
        state["positions"][1]["last_updated"] = json!("2026-03-02T15:00:00");
        state["performance"]["trades_today"] = json!(-1);
        state["account"]["cash_balance"] = json!("123456789012345678901234567890.12");
        state["orders"][1]["order_type"] = json!("STOP_LIMIT");
    })
    .await;
    let (_, state) = botops.get("/api/v1/state").await;
    assert_eq!(state["bot"]["presence"], "connected", "{:#}", state["bot"]);
    let pointers: Vec<&str> = state["unreadable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["pointer"].as_str().unwrap())
        .collect();
    for pointer in [
        "/orders/0/quantity",
        "/positions/0/entry_price",
        "/positions/1/last_updated",
        "/performance/trades_today",
    ] {
        assert!(pointers.contains(&pointer), "{pointer}: {pointers:?}");
    }
    assert_eq!(state["positions"].as_array().unwrap().len(), 2);
    assert_eq!(state["account"]["cash_balance"], "123456789012345678901234567890.12");
    assert_eq!(state["account"]["buying_power"], "61500.25");
    assert_eq!(state["orders"][1]["order_type"], "STOP_LIMIT");
    let (_, summary) = botops.get("/api/v1/summary").await;
    let warnings = summary["warnings"].to_string();
    assert!(warnings.contains("4 parts of what the bot says cannot be read"), "{warnings}");
    assert_ne!(summary["health_status"], "offline");
    let (_, errors) = botops.get("/api/v1/errors").await;
    assert!(errors.to_string().contains("BOT_006"), "{errors:#}");
    // Told once, however often the bot repeats it.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let (_, errors) = botops.get("/api/v1/errors").await;
    let told =
        errors["items"].as_array().unwrap().iter().filter(|error| error["error_code"] == "BOT_006").count();
    assert_eq!(told, 1, "{errors:#}");
    assert!(bot.journal().iter().all(|asked| asked.method == "GET"), "nothing is done to it");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_of_whose_state_nothing_is_known_is_there_and_not_understood() {
    let (bot, _folder, botops) = beside(|_| {}).await;
    for nothing in [r#"{"hello": "I am a bot, but not one that you know"}"#, "[]", "{}", r#"{"phase": null}"#]
    {
        bot.script().raw.insert("state", Arc::new(move || nothing.to_owned()));
        crate::kit::until(&format!("{nothing} is not understood"), Duration::from_secs(10), || async {
            botops.get("/api/v1/state").await.1["bot"]["presence"] == "incompatible"
        })
        .await;
        let (_, summary) = botops.get("/api/v1/summary").await;
        assert_eq!(summary["health_status"], "degraded", "{summary:#}");
    }
    assert!(bot.journal().iter().all(|asked| asked.method == "GET"), "nothing is done to it");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_whose_bot_is_away_says_what_is_known_of_the_bot() {
    use axum::http::StatusCode;
    for (code, presence) in [
        ("upstream_unreachable", "unreachable"),
        ("upstream_hung", "hung"),
        ("upstream_starting", "reloading"),
        ("upstream_unauthorized", "incompatible"),
    ] {
        let bot = ScriptedBot::start();
        bot.script().hello.adapter = Some(botops_contract::AdapterIdentity {
            name: "botops freqtrade".to_owned(),
            ..botops_contract::AdapterIdentity::default()
        });
        bot.script().upstream = None;
        let folder = crate::kit::folder();
        let socket = bot.socket().display().to_string();
        let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")];
        let botops = Running::start(folder.path(), &settings).await;
        let is = async |wanted: &str| {
            crate::kit::until(&format!("presence is {wanted}"), Duration::from_secs(10), || async {
                botops.get("/api/v1/state").await.1["bot"]["presence"] == wanted
            })
            .await;
        };
        is("connected").await;
        bot.script().upstream = Some((StatusCode::SERVICE_UNAVAILABLE, code));
        is(presence).await;
        let (_, state) = botops.get("/api/v1/state").await;
        assert!(state["bot"]["presence_reason"].as_str().unwrap().contains(code), "{:#}", state["bot"]);
        assert_eq!(state["bot"]["adapter"]["name"], "botops freqtrade");
        assert_eq!(state["account"]["account_balance"], "100250.75", "the last that was known stays");
        bot.script().upstream = None;
        is("connected").await;
        botops.stop().await;
    }
}
