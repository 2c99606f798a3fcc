//! What belongs together is one incident, with what was tried and who must act, from outside.

use reqwest::Method;
use serde_json::{Value, json};

use crate::health::{LIMIT, Peer, Stub, add, component_is, external, get, hasty, leave_out_machine};
use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::kit::scripted_bot::ScriptedBot;

async fn beside(bot: &ScriptedBot, folder: &std::path::Path) -> Running {
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let settings =
        [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str()), ("BOT_CHECK_ALLOW", "127.0.0.1")];
    let botops = Running::start(folder, &settings).await;
    leave_out_machine(&botops).await;
    let (status, body) = botops.send(Method::PUT, "/api/v1/health/monitoring/config", &hasty()).await;
    assert_eq!(status, 200, "{body}");
    botops
}

async fn incidents(botops: &Running, query: &str) -> Vec<Value> {
    get(botops, &format!("/api/v1/incidents{query}")).await["items"].as_array().cloned().unwrap_or_default()
}

/// The incidents that go on, but those of a machine that is busy with other tests.
async fn of_test(botops: &Running) -> Vec<Value> {
    let mut open = incidents(botops, "?state=open").await;
    open.retain(|one| one["components"]["bot"].is_boolean() || one["components"]["quotes"].is_boolean());
    open
}

#[tokio::test(flavor = "multi_thread")]
async fn two_faults_are_two_incidents_and_the_summary_says_what_is_not_green() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    bot.keeps_its_config();
    bot.script().alive = true;
    let botops = beside(&bot, folder.path()).await;
    component_is(&botops, "bot", "HEALTHY").await;
    let peer = Stub::start(Peer::Fine).await;
    add(&botops, &external("quotes", &peer.base)).await;
    component_is(&botops, "quotes", "HEALTHY").await;

    peer.set(Peer::Status(500));
    bot.change(|report| report.error_count_last_hour = Some(500));
    component_is(&botops, "bot", "CRITICAL").await;
    kit::until("both are told apart", LIMIT, || async { incidents(&botops, "?state=open").await.len() == 2 })
        .await;
    kit::until("the summary names both, with what is beyond its limit", LIMIT, || async {
        let summary = get(&botops, "/api/v1/summary").await;
        let not_green = summary["not_green"].as_array().unwrap();
        let of = |id: &str| not_green.iter().find(|one| one["component_id"] == id).cloned();
        let (Some(bot), Some(_)) = (of("bot"), of("quotes")) else { return false };
        bot["status"] == "CRITICAL"
            && bot["beyond_limit"]["value"] == 500.0
            && bot["since"].is_string()
            && summary["incidents"].as_array().unwrap().len() == 2
    })
    .await;
    let of_bot = incidents(&botops, "?component=bot").await.remove(0);
    assert!(of_bot["title"].as_str().unwrap().contains("bot is CRITICAL"), "{of_bot:#}");
    kit::until("a person is named, since nothing that answers is restarted", LIMIT, || async {
        let of_bot = incidents(&botops, "?component=bot").await.remove(0);
        of_bot["who_must_act"] == "person" && of_bot["person_must"].as_str().unwrap().contains("unasked")
    })
    .await;
    // The summary's call leads to the timeline, over MCP as well.
    kit::until("the summary leads to an incident", LIMIT, || async {
        let summary = get(&botops, "/api/v1/summary").await;
        let calls = summary["next_actions"].as_array().cloned().unwrap_or_default();
        calls.iter().any(|call| call["path"].as_str().unwrap().starts_with("/api/v1/incidents/inc-"))
    })
    .await;
    let id = of_bot["incident_id"].as_str().unwrap();
    let whole = get(&botops, &format!("/api/v1/incidents/{id}")).await;
    assert!(whole["timeline"].as_array().is_some_and(|timeline| !timeline.is_empty()), "{whole:#}");
    let result = crate::mcp::call(&botops, KEY, "list_incidents", json!({"incident_id": id})).await;
    assert_eq!(result["structuredContent"]["incident_id"], id, "{result:#}");

    // A restart of botops loses nothing of it, and it ends by what is seen then.
    botops.stop().await;
    bot.change(|report| report.error_count_last_hour = Some(0));
    let botops = beside(&bot, folder.path()).await;
    let again = get(&botops, &format!("/api/v1/incidents/{id}")).await;
    assert_eq!((&again["began_at"], &again["causes"]), (&whole["began_at"], &whole["causes"]), "{again:#}");
    kit::until("it works again", LIMIT, || async {
        let one = get(&botops, &format!("/api/v1/incidents/{id}")).await;
        one["state"] == "quiet" && one["ended_at"].is_string() && one["who_must_act"] == "nobody"
    })
    .await;
    assert_eq!(of_test(&botops).await.len(), 2, "quiet is not over");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_and_the_alerts_can_be_waited_for() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    bot.keeps_its_config();
    bot.script().alive = true;
    let botops = beside(&bot, folder.path()).await;
    component_is(&botops, "bot", "HEALTHY").await;
    let peer = Stub::start(Peer::Status(500)).await;
    add(&botops, &external("quotes", &peer.base)).await;
    let began = get(&botops, "/api/v1/health/alerts?component_id=quotes&wait=60s").await;
    assert_eq!(began["items"][0]["component_id"], "quotes", "{began:#}");
    let path = "/api/v1/health/components/quotes?until=up&wait=60s";
    let mended = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        peer.set(Peer::Fine);
    };
    let (back, ()) = tokio::join!(get(&botops, path), mended);
    assert!(["HEALTHY", "WARNING"].contains(&back["status"].as_str().unwrap()), "{back:#}");
    let (status, problem) = botops.get("/api/v1/health/components/quotes?until=up").await;
    assert_eq!((status, &problem["errors"][0]["pointer"]), (400, &json!("?wait")), "{problem:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_incident_and_a_wrong_filter_are_named() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, folder.path()).await;
    for id in ["inc-7", "7", "inc-x"] {
        let (status, problem) = botops.get(&format!("/api/v1/incidents/{id}")).await;
        assert_eq!((status, problem["error_code"].as_str()), (404, Some("HLT_013")), "{problem:#}");
        assert_eq!(problem["next_actions"][0]["path"], "/api/v1/incidents");
    }
    let (status, problem) = botops.get("/api/v1/incidents?state=closed").await;
    assert_eq!((status, &problem["errors"][0]["expected"]), (400, &json!("open or over")), "{problem:#}");
    botops.stop().await;
}
