//! A freqtrade that does not answer is told as what it is, in time, and left alone.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{
    Adapter, FreqtradeStub, PASSWORD, SOON, expect_left_alone, heartbeat, log_line, stand_beside_open_trade,
    until_presence, until_told,
};
use crate::kit::app::command;
use crate::kit::broker_stub::Act;
use crate::kit::{Process, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_freqtrade_that_hangs_is_told_and_left_alone_and_comes_back() {
    let (freqtrade, adapter, botops) = stand_beside_open_trade().await;
    freqtrade.hang();
    let bot = until_presence(&botops, "hung").await;
    assert!(bot["presence_reason"].as_str().unwrap().contains("upstream_hung"), "{bot:#}");
    let (status, refused) = adapter.try_get("state").await.unwrap();
    assert_eq!((status, &refused["code"]), (503, &json!("upstream_hung")));
    // One that hangs is there: whoever starts another one makes it worse.
    let (status, refused) =
        botops.send(Method::POST, "/api/v1/control/pause", &json!({"reason": "it does not answer"})).await;
    assert_eq!((status, &refused["error_code"]), (503, &json!("BOT_001")), "{refused}");
    let remedy = refused["remediation"].as_str().unwrap();
    assert!(remedy.contains("hangs") && !remedy.contains("Start the bot"), "{remedy}");
    // Who it is can still be asked: the adapter, and whose adapter.
    assert_eq!(adapter.get("hello").await["adapter"]["name"], "botops freqtrade");
    // The last word of the bot stands as the last word, with its age.
    let (_, state) = botops.get("/api/v1/state").await;
    assert_eq!(state["bot"]["presence"], "hung", "{state:#}");
    // Nothing but `ping` is sent to one that is silent.
    let sent = freqtrade.requests().len();
    until("it is asked again", SOON, || async { freqtrade.requests().len() > sent + 2 }).await;
    let later = freqtrade.requests().split_off(sent);
    let beside = later.iter().filter(|(_, path)| path != "/api/v1/ping").count();
    assert!(beside <= 4, "at most the questions that were open: {later:?}");
    freqtrade.recover();
    until_presence(&botops, "connected").await;
    until_told(&botops, "freqtrade did not answer for").await;
    expect_left_alone(&botops, &freqtrade).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_are_told_with_what_to_do() {
    let freqtrade = FreqtradeStub::start().await;
    for path in ["show_config", "health", "status", "balance", "locks", "trades", "logs"] {
        freqtrade.act(path, Act::json(401, r#"{"detail": "Unauthorized"}"#));
    }
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    let bot = until_presence(&botops, "incompatible").await;
    let reason = bot["presence_reason"].as_str().unwrap();
    assert!(reason.contains("upstream_unauthorized") && reason.contains("--credentials"), "{reason}");
    assert!(!format!("{bot}{}", adapter.written()).contains(PASSWORD));
    expect_left_alone(&botops, &freqtrade).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freqtrade_that_is_gone_is_unreachable_and_a_foreign_server_is_no_freqtrade() {
    let (freqtrade, adapter, botops) = stand_beside_open_trade().await;
    // It closes each connection, so that none is left once it is gone.
    let foreign = Act::ok(r#"{"hello": "from another program"}"#);
    freqtrade.act("ping", Act::CloseAfter(Box::new(foreign)));
    let bot = until_presence(&botops, "unreachable").await;
    assert!(bot["presence_reason"].as_str().unwrap().contains("no freqtrade"), "{bot:#}");
    drop(freqtrade);
    let gone =
        |refused: &Value| refused["message"].as_str().is_some_and(|said| said.contains("nobody answers"));
    until("it is gone", SOON, || async { gone(&adapter.get("state").await) }).await;
    assert_eq!(adapter.get("state").await["code"], "upstream_unreachable");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freqtrade_that_does_not_trade_is_refused_in_clear_words() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.configured(&json!({"runmode": "webserver", "state": ""}));
    for path in ["health", "status", "balance", "locks", "trades"] {
        freqtrade.act(path, Act::json(503, r#"{"detail": "Bot is not in the correct state."}"#));
    }
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    let bot = until_presence(&botops, "incompatible").await;
    let reason = bot["presence_reason"].as_str().unwrap();
    assert!(reason.contains("`webserver`") && reason.contains("does not trade"), "{reason}");
    expect_left_alone(&botops, &freqtrade).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_that_answers_in_front_of_a_loop_that_does_not_is_told() {
    let (freqtrade, mut adapter, botops) = stand_beside_open_trade().await;
    adapter.until_state("it runs", |state| state["phase"] == "running").await;
    // Only freqtrade's own clock can tell of a loop that is seen for the first time how long it stands.
    adapter.kill();
    freqtrade.went_round(75, 100);
    adapter.launch();
    let state = adapter.until_state("the loop is silent", |state| state["phase"] == "degraded").await;
    assert!(state["phase_reason"].as_str().unwrap().starts_with("loop_silent"), "{state:#}");
    assert_eq!(state["trading_enabled"], false);
    until("botops tells it", SOON, || async {
        botops.get("/api/v1/summary").await.1["health_status"] == "degraded"
    })
    .await;
    // A question that is answered late or refused leaves what was said, with the age that it has.
    let as_of = state["as_of"].clone();
    freqtrade.act("status", Act::json(502, r#"{"error": "Error querying /api/v1/status: no"}"#));
    let asked = freqtrade.requests().iter().filter(|(_, path)| path == "/api/v1/status").count();
    until("it is asked again", SOON, || async {
        freqtrade.requests().iter().filter(|(_, path)| path == "/api/v1/status").count() > asked + 2
    })
    .await;
    let state = adapter.get("state").await;
    assert_eq!(state["positions"].as_array().unwrap().len(), 1, "{state:#}");
    assert!(state["as_of"].as_str() >= as_of.as_str());
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_asks_for_fewer_questions_is_no_dead_one() {
    let (freqtrade, adapter, botops) = stand_beside_open_trade().await;
    freqtrade.act("show_config", Act::json(429, r#"{"detail": "Rate limit exceeded"}"#));
    let asked = |of: &str| freqtrade.requests().iter().filter(|(_, path)| path.ends_with(of)).count();
    let before = asked("show_config");
    until("it was refused", SOON, || async { asked("show_config") > before }).await;
    let pings = asked("ping");
    until("a few pings later", SOON, || async { asked("ping") > pings + 4 }).await;
    let (status, state) = adapter.try_get("state").await.unwrap();
    assert_eq!(status, 200, "{state:#}");
    assert!(asked("show_config") <= before + 2, "it is asked less often");
    botops.stop().await;
}

#[test]
fn options_that_cannot_be_used_are_refused_without_their_value() {
    let folder = crate::kit::folder();
    let file = folder.path().join("credentials");
    std::fs::write(&file, format!("password={PASSWORD}\n")).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    for (url, socket) in [
        ("http://127.0.0.1:1", path("bot.sock")),
        ("http://user:canary-in-url@127.0.0.1:1", path("bot.sock")),
        ("canary-in-url", path("bot.sock")),
    ] {
        let credentials = file.display().to_string();
        let arguments = [
            "freqtrade",
            "--url",
            url,
            "--socket",
            &socket,
            "--credentials",
            &credentials,
            "--data-dir",
            &path("data"),
        ];
        let output = command(&arguments).output().unwrap();
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(!said.contains("canary") && said.contains("--"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_adapter_on_the_same_folder_is_refused() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.logs(&[heartbeat(1), log_line(2, "INFO", "x")]);
    let adapter = Adapter::start(&freqtrade);
    adapter.until_state("it is read", |state| state["seq"].is_number()).await;
    let path = |name: &str| adapter.folder.path().join(name).display().to_string();
    let (socket, data, credentials) = (path("other.sock"), path("adapter"), path("credentials"));
    let url = freqtrade.url();
    let arguments =
        ["freqtrade", "--url", &url, "--socket", &socket, "--credentials", &credentials, "--data-dir", &data];
    let mut second = Process::spawn(&mut command(&arguments));
    assert_eq!(second.wait(Duration::from_secs(20)).code(), Some(2));
}
