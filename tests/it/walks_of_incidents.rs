//! Incidents as an agent meets them, over MCP, with the calls and tokens that knowing and acting takes: the first call says
//! what is wrong, since when, what was tried and who must act; the second does it. The limits are promises.

use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};

use crate::health::{LIMIT, Peer, Stub, add, beside, component_is, external, get};
use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot};
use crate::walks::{Client, row};
use botops_contract::{BotPhase, EventKind, Severity};

/// Waits until the summary is as the test needs it; no call of the agent counts for that.
async fn summary_shows(botops: &Running, what: &str, is_so: impl Fn(&Value) -> bool) {
    kit::until(what, LIMIT, || async { is_so(&get(botops, "/api/v1/summary").await) }).await;
}

fn names(summary: &Value, component: &str) -> bool {
    summary["not_green"].as_array().is_some_and(|all| all.iter().any(|one| one["component_id"] == component))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_is_known_by_one_call_and_acted_on_by_the_second() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    bot.keeps_its_config();
    bot.script().alive = true;
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let mut table = format!("{:44} {:>11} {:>16}\n", "incident", "calls", "tokens");
    let table = &mut table;

    summary_shows(&botops, "all is well", |summary| summary["health_status"] == "healthy").await;
    let mut it = Client::of(&botops);
    let summary = it.good("get_summary", json!({})).await;
    assert_eq!(
        (&summary["health_status"], &summary["incidents"]),
        (&json!("healthy"), &json!([])),
        "{summary:#}"
    );
    row(table, "is everything all right?", &it, 1, 700);

    let peer = Stub::start(Peer::Status(500)).await;
    add(&botops, &external("quotes", &peer.base)).await;
    summary_shows(&botops, "it is named", |summary| {
        let incidents = summary["incidents"].as_array().unwrap();
        let of_quotes = incidents.iter().find(|one| one["cause"].to_string().contains("quotes"));
        names(summary, "quotes") && of_quotes.is_some_and(|one| one["who_must_act"] == "person")
    })
    .await;
    let mut it = Client::of(&botops);
    let summary = it.good("get_summary", json!({})).await;
    let all = summary["not_green"].as_array().unwrap();
    let broken = all.iter().find(|one| one["component_id"] == "quotes").unwrap();
    assert!(broken["since"].is_string() && broken["alert_id"].is_string(), "{broken:#}");
    row(table, "what is wrong?", &it, 1, 900);

    let story = it.advised(&summary).await;
    assert!(story["timeline"].as_array().is_some_and(|all| !all.is_empty()), "{story:#}");
    row(table, "the story of an incident", &it, 2, 2_000);

    let why = "known: the vendor is at it";
    let mut it = Client::of(&botops);
    it.good("control_bot", json!({"verb": "silence", "component": "quotes", "minutes": 30, "reason": why}))
        .await;
    let mended = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        peer.set(Peer::Fine);
    };
    let wait = json!({"component": "quotes", "wait": "50s", "until": "up"});
    let (back, ()) = tokio::join!(it.good("get_health", wait), mended);
    assert_ne!(back["status"], "CRITICAL", "{back:#}");
    row(table, "silence it, and wait until it is back", &it, 2, 900);

    bot.change(|report| report.error_count_last_hour = Some(500));
    component_is(&botops, "bot", "CRITICAL").await;
    summary_shows(&botops, "the limit is named", |summary| {
        let all = summary["not_green"].as_array().unwrap();
        all.iter().any(|one| one["component_id"] == "bot" && one["beyond_limit"]["limit"].is_number())
    })
    .await;
    let mut it = Client::of(&botops);
    let summary = it.good("get_summary", json!({})).await;
    let all = summary["not_green"].as_array().unwrap();
    let of_bot = all.iter().find(|one| one["component_id"] == "bot").unwrap();
    assert_eq!(of_bot["beyond_limit"]["value"], 500.0, "{summary:#}");
    row(table, "beyond a limit: which, and how far", &it, 1, 900);
    bot.change(|report| report.error_count_last_hour = Some(0));
    component_is(&botops, "bot", "HEALTHY").await;

    bot.emit(EventKind::Error, Severity::High, "the order for 500 NVDA was refused");
    summary_shows(&botops, "the error is counted", |summary| {
        summary["recent_errors"].as_array().is_some_and(|all| !all.is_empty())
    })
    .await;
    let mut it = Client::of(&botops);
    let page = it.good("list_errors", json!({"limit": 1})).await;
    assert!(page["items"][0]["message"].as_str().unwrap().contains("NVDA"), "{page:#}");
    row(table, "which order was refused, and why?", &it, 1, 400);

    let mut it = Client::of(&botops);
    let recent = json!({"since": "1h", "kind": "error,health", "limit": 5});
    let page = it.good("list_events", recent).await;
    assert!(page["items"].as_array().is_some_and(|all| all.len() == 5), "{page:#}");
    row(table, "what happened in the last hour?", &it, 1, 900);

    bot.change(|report| {
        let breaker = json!({"state": "open", "reason": "the daily loss limit of 3 % was reached", "source": "risk",
            "since": Utc::now(), "resumes_at": "2099-01-01T00:00:00Z"});
        report.circuit_breaker = serde_json::from_value(breaker).unwrap();
        report.no_entry_reasons = serde_json::from_value(json!(["the circuit breaker is open"])).unwrap();
    });
    summary_shows(&botops, "the breaker is open", |summary| summary["circuit_breaker_active"] == true).await;
    let mut it = Client::of(&botops);
    let summary = it.good("get_summary", json!({})).await;
    assert!(summary["circuit_breaker"]["remediation"].is_string(), "{summary:#}");
    assert!(summary["circuit_breaker_reason"].as_str().unwrap().contains("daily loss"), "{summary:#}");
    row(table, "why is the breaker open, what ends it?", &it, 1, 1_100);

    let mut it = Client::of(&botops);
    let fields = json!({"fields": "circuit_breaker,session,market_status,no_entry_reasons"});
    let state = it.good("get_state", fields).await;
    assert_eq!(state["circuit_breaker"]["resumes_at"], "2099-01-01T00:00:00Z", "{state:#}");
    row(table, "when will it trade again?", &it, 1, 450);
    bot.change(|report| (report.circuit_breaker, report.no_entry_reasons) = (None, None));

    let mut it = Client::of(&botops);
    let paused = it
        .good(
            "control_bot",
            json!({"verb": "pause", "reason": why, "idempotency_key": "walk-incident-pause"}),
        )
        .await;
    assert_eq!(paused["outcome"], "done", "{paused:#}");
    row(table, "stop new risk", &it, 1, 300);
    summary_shows(&botops, "the pause is seen", |summary| summary["pause"].is_object()).await;
    let mut it = Client::of(&botops);
    let summary = it.good("get_summary", json!({})).await;
    assert!(summary["pause"].to_string().contains(why), "{summary:#}");
    row(table, "who paused it, why, and what ends it?", &it, 1, 1_100);
    it.good("control_bot", json!({"verb": "resume", "reason": why})).await;

    println!("\n{table}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_hangs_and_one_that_is_gone_are_known_by_one_call() {
    let (mut bot, folder) = (ScriptedBot::start(), kit::folder());
    bot.keeps_its_config();
    bot.script().alive = true;
    let botops = beside(&bot, &folder, &[]).await;
    let mut table = format!("{:44} {:>11} {:>16}\n", "incident", "calls", "tokens");
    let table = &mut table;
    bot.behave(Behaviour::Stall);
    summary_shows(&botops, "it is hung", |summary| {
        summary["incidents"][0]["state"] == "open"
            && summary["incidents"][0]["who_must_act"] != "nobody"
            && summary["presence"] == "hung"
    })
    .await;
    let mut it = Client::of(&botops);
    let summary = it.good("get_summary", json!({})).await;
    let hung = &summary["incidents"][0];
    assert!(hung["cause"].as_str().unwrap().contains("hung"), "{summary:#}");
    row(table, "the bot hangs: since when, who must act?", &it, 1, 1_100);
    bot.behave(Behaviour::Normal);
    summary_shows(&botops, "it is back", |summary| summary["presence"] == "connected").await;
    component_is(&botops, "bot", "HEALTHY").await;
    summary_shows(&botops, "the hang is over", |summary| {
        summary["incidents"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["cause"].as_str().unwrap().contains("hung") && one["state"] != "open")
    })
    .await;
    let mut it = Client::of(&botops);
    let summary = it.good("get_summary", json!({})).await;
    let over =
        summary["incidents"].as_array().unwrap().iter().find(|one| one["cause"].to_string().contains("hung"));
    let over = over.expect("a hang that is over is in the summary");
    assert!(over["ended_at"].is_string() && over["who_must_act"] == "nobody", "{over:#}");
    row(table, "hung and back: what was it?", &it, 1, 1_100);

    bot.change(|report| report.phase = BotPhase::Running);
    bot.die();
    summary_shows(&botops, "it is gone", |summary| {
        summary["health_status"] == "offline" && summary["incidents"][0]["who_must_act"] == "person"
    })
    .await;
    let mut it = Client::of(&botops);
    let summary = it.good("get_summary", json!({})).await;
    assert!(
        summary["incidents"][0]["person_must"].as_str().is_some_and(|must| must.len() > 20),
        "{summary:#}"
    );
    row(table, "the bot is gone and nothing starts it", &it, 1, 1_100);

    let mut it = Client::of(&botops);
    let open = it.good("list_incidents", json!({"state": "open"})).await;
    assert!(open["items"].as_array().is_some_and(|all| !all.is_empty()), "{open:#}");
    row(table, "what is broken now, whole?", &it, 1, 900);

    println!("\n{table}");
    botops.stop().await;
}
