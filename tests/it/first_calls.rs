//! What somebody who has only an address and a key asks first, and gets told in that call.

use botops_contract::{GateReason, SessionPhase};
use serde_json::{Value, json};

use crate::configs::world::{World, careful};
use crate::health::{LIMIT, Peer, Stub, add, beside, component_is, external, get};
use crate::kit;
use crate::kit::scripted_bot::ScriptedBot;
use reqwest::Method;

#[tokio::test(flavor = "multi_thread")]
async fn who_restarts_the_bot_is_told_before_it_is_needed() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[("BOT_SUPERVISOR", "command:[\"/bin/true\"]")]).await;
    let outlook = async |component: &str| {
        let view = get(&botops, &format!("/api/v1/health/recovery/{component}")).await;
        view["if_it_failed_now"].as_str().unwrap_or_default().to_owned()
    };
    kit::until("a supervisor starts it", LIMIT, || async {
        let told = outlook("bot").await;
        told.contains("by the supervisor `command`")
            && told.contains("after 30 s")
            && told.contains("3 times")
    })
    .await;
    assert_eq!(outlook("trading").await, "Nothing: no recovery is set for it.");
    let (_, held) =
        botops.send(Method::POST, "/api/v1/health/recovery/bot", &json!({"action": "hold"})).await;
    assert!(held["if_it_failed_now"].as_str().unwrap().contains("holds its recovery"), "{held:#}");
    botops.stop().await;

    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let alone = beside(&bot, &folder, &[]).await;
    kit::until("nobody does", LIMIT, || async {
        let view = get(&alone, "/api/v1/health/recovery/bot").await;
        view["if_it_failed_now"].to_string().contains("BOT_SUPERVISOR")
    })
    .await;
    alone.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_is_tried_first_and_said_in_minutes() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    let silence =
        json!({"matchers": [{"name": "component", "value": "bot"}], "minutes": 30, "reason": "known"});
    let path = "/api/v1/health/silences";
    let (status, tried) = botops.send(Method::POST, &format!("{path}?dry_run=true"), &silence).await;
    assert_eq!(
        (status, &tried["state"], &tried["dry_run"]),
        (200, &json!("active"), &json!(true)),
        "{tried:#}"
    );
    assert_eq!(get(&botops, path).await["items"], json!([]), "a dry run adds nothing");
    let (status, added) = botops.send(Method::POST, path, &silence).await;
    assert_eq!(status, 201, "{added:#}");
    let at = |member: &str| added[member].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!((at("ends_at") - at("starts_at")).num_minutes(), 30);
    for wrong in [
        json!({"matchers": [{"name": "component", "value": "bot"}], "reason": "known"}),
        json!({"matchers": [{"name": "component", "value": "bot"}], "reason": "known", "minutes": 5, "ends_at": "2030-01-01T00:00:00Z"}),
    ] {
        let (status, refused) = botops.send(Method::POST, path, &wrong).await;
        assert_eq!((status, &refused["errors"][0]["pointer"]), (400, &json!("/ends_at")), "{refused:#}");
    }
    let bad =
        json!({"matchers": [{"name": "component", "value": "bot"}], "reason": "known", "minutes": 50_000});
    let (status, refused) = botops.send(Method::POST, &format!("{path}?dry_run=true"), &bad).await;
    assert_eq!((status, &refused["error_code"]), (422, &json!("HLT_008")), "{refused:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_says_whether_what_it_waited_for_came() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let peer = Stub::start(Peer::Status(500)).await;
    add(&botops, &external("quotes", &peer.base)).await;
    component_is(&botops, "quotes", "CRITICAL").await;
    let path = "/api/v1/health/components/quotes";
    let waited = get(&botops, &format!("{path}?wait=1s&until=up")).await;
    assert_eq!((&waited["until_met"], &waited["status"]), (&json!(false), &json!("CRITICAL")), "{waited:#}");
    assert!(get(&botops, path).await.get("until_met").is_none());
    peer.set(Peer::Fine);
    let waited = get(&botops, &format!("{path}?wait=50s&until=up")).await;
    assert_eq!(waited["until_met"], true, "{waited:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_broker_locked_is_an_incident_that_a_person_must_end() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    component_is(&botops, "broker_session", "HEALTHY").await;
    bot.change(|report| {
        let session = report.session.as_mut().unwrap();
        (session.state, session.gate) = (SessionPhase::Healthy, Some(GateReason::AccountRestricted));
        (session.is_healthy, session.needs_human) = (Some(false), Some("clear_restriction".to_owned()));
        session.reason = Some("the account is locked".to_owned());
    });
    component_is(&botops, "broker_session", "CRITICAL").await;
    kit::until("the incident says who must act", LIMIT, || async {
        let summary = get(&botops, "/api/v1/summary").await;
        let all = summary["incidents"].as_array().cloned().unwrap_or_default();
        let of_session = all.iter().find(|one| one["cause"].to_string().contains("the account is locked"));
        of_session.is_some_and(|one: &Value| {
            one["who_must_act"] == "person"
                && one["person_must"].to_string().contains("clear the restriction")
        })
    })
    .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_comes_with_the_patch_that_takes_it_back() {
    let world = World::start().await;
    let before = world.config().await["config"]["risk_management"]["max_position_size"].clone();
    let txn = world.try_out(careful(4_000), 30.0).await;
    world.end_trial(&txn, "confirm").await;
    world.ended(&txn).await;
    let (_, page) = world.botops.get("/api/v1/config/audit?changes").await;
    let wanted = json!({"risk_management": {"max_position_size": before}});
    assert_eq!(page["items"][0]["revert_merge_patch"], wanted, "{page:#}");
    let proof = world.verify().await;
    assert!(proof["checked_at"].is_string() && proof["proves"].to_string().contains("`head`"), "{proof:#}");
    world.botops.stop().await;
}
