//! What recovery may run, what it needs for that, and what costs an attempt.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::health::{LIMIT, Peer, Stub, add, beside, component_is, external, get};
use crate::kit;
use crate::kit::scripted_bot::ScriptedBot;
use crate::refusals::assert_problem;
use crate::workflows::{define, ended, execute, holding};

/// A workflow that recovery can run: it takes `reason`, holds the bot, and cancels resting orders.
fn mending(id: &str, reason: &str, on_conflict: &str) -> String {
    format!(
        "workflow: v1\nid: {id}\ntitle: Mend\nrisk: disruptive\nparams:\n  type: object\n  additionalProperties: false\n\
         \x20 properties: {{reason: {{type: string{reason}}}}}\n\
         policy: {{locks: [bot], on_conflict: {on_conflict}, timeout_s: 60, on_crash: resume}}\nsteps:\n\
         \x20 - {{id: cancel, uses: bot.cancel_orders, undo: none, with: {{reason: $params.reason}}}}\n"
    )
}

fn recovered_by(workflow: &str, base: &str) -> Value {
    let mut checker = external("feed", base);
    checker["recovery_workflow"] = json!(workflow);
    checker
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_workflow_of_a_checker_is_checked_when_it_is_added() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    define(folder.path(), "mend", &mending("mend", "", "reject"));
    define(folder.path(), "curt", &mending("curt", ", maxLength: 20", "reject"));
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let peer = Stub::start(Peer::Fine).await;
    for (workflow, why) in [
        ("no-such", "no workflow"),
        ("check-health", "reason"),
        ("export-logs", "reason"),
        ("update-targets", "targets"),
        ("curt", "reason"),
        ("Not An Id", "no workflow"),
    ] {
        let checker = recovered_by(workflow, &peer.base);
        let (_, body) = botops.send(Method::POST, "/api/v1/health/checkers", &checker).await;
        assert_problem(&body, 422, "HLT_002");
        let error = &body["errors"][0];
        assert_eq!(
            (&error["pointer"], &error["got"]),
            (&json!("/recovery_workflow"), &json!(workflow)),
            "{body}"
        );
        let expected = error["expected"].as_str().unwrap();
        assert!(expected.contains("restart-bot") && expected.contains("mend"), "{workflow}: {expected}");
        assert!(expected.contains(why), "{workflow}: {expected}");
    }
    let (status, _) = botops.get("/api/v1/health/components/feed").await;
    assert_eq!(status, 404, "nothing was added");
    add(&botops, &recovered_by("mend", &peer.base)).await;
    assert_eq!(get(&botops, "/api/v1/health/recovery/feed").await["handler"], "workflow:mend");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_that_cannot_run_burns_no_attempt_and_says_what_a_person_must_do() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    bot.script().hello.capabilities.retain(|one| one.name != "cancel-orders");
    define(folder.path(), "mend", &mending("mend", "", "reject"));
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let peer = Stub::start(Peer::Status(500)).await;
    add(&botops, &recovered_by("mend", &peer.base)).await;
    component_is(&botops, "feed", "CRITICAL").await;
    let path = "/api/v1/health/recovery/feed";
    // Recovery is planned after 30 s; an attempt that could not succeed would be made within 40 s.
    kit::until("it is told once, when recovery would have begun", LIMIT * 2, || async {
        let events = get(&botops, "/api/v1/health/events?component_id=feed").await;
        let told = |event: &Value| event["data"]["event_type"] == "recovery.left_to_person";
        let count = events["items"].as_array().unwrap().iter().filter(|event| told(event)).count();
        assert!(count <= 1, "{events:#}");
        count == 1
    })
    .await;
    let shown = get(&botops, path).await;
    let words = shown["left_to_person"].as_str().unwrap_or_else(|| panic!("{shown:#}"));
    assert!(words.contains("cancel-orders") && words.contains("mend"), "{words}");
    assert_eq!((&shown["attempts"], &shown["attempts_last_hour"]), (&json!(0), &json!(0)), "{shown:#}");
    let summary = get(&botops, "/api/v1/summary").await;
    let warned = |warning: &Value| warning.as_str().is_some_and(|text| text.contains("cancel-orders"));
    kit::until("the summary warns", LIMIT, || async {
        get(&botops, "/api/v1/summary").await["warnings"].as_array().unwrap().iter().any(warned)
    })
    .await;
    drop(summary);
    let (_, refused) = botops.send(Method::POST, path, &json!({"action": "run"})).await;
    assert_problem(&refused, 409, "HLT_012");
    assert!(refused["cause"].as_str().unwrap().contains("cancel-orders"), "{refused}");
    assert_eq!(bot.count("POST", "commands/cancel-orders"), 0);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_lock_is_no_failed_attempt_and_one_attempt_is_one_run() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    define(folder.path(), "mend", &mending("mend", "", "reject"));
    let wait = "  - {id: wait, uses: wait.for, with: {seconds: 300}, timeout_s: 310}\n";
    define(folder.path(), "holder", &holding("holder", "reject", wait));
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let peer = Stub::start(Peer::Status(500)).await;
    add(&botops, &recovered_by("mend", &peer.base)).await;
    component_is(&botops, "feed", "CRITICAL").await;
    let (status, holder) = execute(&botops, "holder", json!({})).await;
    assert_eq!(status, 202, "{holder}");
    let holder = holder["run_id"].as_str().unwrap().to_owned();
    let path = "/api/v1/health/recovery/feed";
    let (status, body) = botops.send(Method::POST, path, &json!({"action": "run"})).await;
    assert_eq!(status, 200, "{body}");
    kit::until("the lock is met", LIMIT, || async {
        let shown = get(&botops, path).await;
        shown["state"] == "waiting"
            && shown["last_outcome"].as_str().is_some_and(|text| text.contains("holder"))
    })
    .await;
    let shown = get(&botops, path).await;
    assert_eq!((&shown["attempts"], &shown["attempts_last_hour"]), (&json!(0), &json!(0)), "{shown:#}");
    let (_, body) =
        botops.send(Method::POST, &format!("/api/v1/workflows/runs/{holder}/cancel"), &json!({})).await;
    assert!(body["error_code"].is_null(), "{body}");
    ended(&botops, &holder, Duration::from_secs(60)).await;
    peer.set(Peer::Status(500));
    kit::until("it is tried again", LIMIT, || async { get(&botops, path).await["state"] == "verifying" })
        .await;
    assert_eq!(get(&botops, path).await["attempts"], 1);
    let runs = get(&botops, "/api/v1/workflows/mend/runs").await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1, "{runs:#}");
    peer.set(Peer::Fine);
    kit::until("the check confirms it", LIMIT, || async {
        get(&botops, path).await["last_outcome"] == "recovered"
    })
    .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_turn_does_not_come_is_taken_back_and_no_failed_attempt() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    define(folder.path(), "mend", &mending("mend", "", "queue"));
    let wait = "  - {id: wait, uses: wait.for, with: {seconds: 300}, timeout_s: 310}\n";
    define(
        folder.path(),
        "holder",
        &holding("holder", "reject", wait).replace("timeout_s: 60", "timeout_s: 600"),
    );
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let peer = Stub::start(Peer::Status(500)).await;
    add(&botops, &recovered_by("mend", &peer.base)).await;
    component_is(&botops, "feed", "CRITICAL").await;
    let (status, holder) = execute(&botops, "holder", json!({})).await;
    assert_eq!(status, 202, "{holder}");
    let path = "/api/v1/health/recovery/feed";
    let (status, body) = botops.send(Method::POST, path, &json!({"action": "run"})).await;
    assert_eq!(status, 200, "{body}");
    // A run may wait a minute for its turn; its own deadline does not run meanwhile.
    kit::until("it is taken back", LIMIT * 3, || async { get(&botops, path).await["state"] == "waiting" })
        .await;
    let shown = get(&botops, path).await;
    assert_eq!((&shown["attempts"], &shown["attempts_last_hour"]), (&json!(0), &json!(0)), "{shown:#}");
    assert!(shown["last_outcome"].as_str().unwrap().contains("held the bot"), "{shown:#}");
    let runs = get(&botops, "/api/v1/workflows/mend/runs").await;
    assert_eq!(runs["items"][0]["state"], "cancelled", "{runs:#}");
    assert_eq!(bot.count("POST", "commands/cancel-orders"), 0, "it had no effect");
    botops.stop().await;
}
