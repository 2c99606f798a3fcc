//! A workflow that needs what the bot lacks: that is said before its first effect.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{define, ended, execute, holding};
use crate::kit::app::Running;
use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_bot::{ScriptedBot, report};
use crate::kit::{folder, until};
use crate::refusals::assert_problem;

/// Starts botops, which could start a bot, beside a bot that offers only these capabilities.
async fn beside(folder: &std::path::Path, capabilities: &[&str], boot_epoch: &str) -> (ScriptedBot, Running) {
    let mut state = report();
    state.boot_epoch = Some(boot_epoch.to_owned()).filter(|epoch| !epoch.is_empty());
    let bot = ScriptedBot::at(&folder.join("bot.sock"), state);
    {
        let mut script = bot.script();
        script.alive = true;
        script.hello.capabilities = capabilities.iter().map(|one| (*one).into()).collect();
    }
    let id = bot.id().to_string();
    let supervisor = ("BOT_SUPERVISOR", "command:[\"/bin/true\"]");
    let running = Running::start(folder, &[("BOT_ID", &id), supervisor]).await;
    let seen = || async { running.get("/api/v1/summary").await.1["health_status"] != "offline" };
    until("the bot is seen", Duration::from_secs(30), seen).await;
    (bot, running)
}

fn commands(bot: &ScriptedBot) -> Vec<String> {
    let all = bot.journal().into_iter().filter(|asked| asked.method == "POST");
    all.filter(|asked| asked.body["dry_run"] != true).map(|asked| asked.path).collect()
}

async fn plan(running: &Running, id: &str, params: Value) -> Value {
    let path = format!("/api/v1/workflows/{id}/execute?dry_run=true");
    let (status, plan) = running.send(Method::POST, &path, &json!({"params": params})).await;
    assert_eq!(status, 200, "{plan}");
    plan
}

/// What is impossible, as `step/capability`.
fn impossible(plan: &Value) -> Vec<String> {
    let all = plan["impossible"].as_array().unwrap_or_else(|| panic!("{plan:#}")).iter();
    all.map(|one| format!("{}/{}", one["step"].as_str().unwrap(), one["missing"].as_str().unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_needs_a_missing_verb_is_refused_before_its_first_effect() {
    let folder = folder();
    let (bot, running) = beside(folder.path(), &["pause", "resume"], "life-1").await;
    let params = json!({"reason": "a test of missing verbs"});
    let plan_of_all = plan(&running, "restart-bot", params.clone()).await;
    assert_eq!(plan_of_all["forecast"], "fail", "{plan_of_all:#}");
    assert_eq!(impossible(&plan_of_all), ["cancel-resting/cancel-orders"]);
    let step = &plan_of_all["steps"][2];
    assert_eq!(
        (&step["forecast"], &step["error"]["error_code"]),
        (&json!("fail"), &json!("BOT_004")),
        "{step:#}"
    );

    let (_, refused) = execute(&running, "restart-bot", params).await;
    assert_problem(&refused, 409, "BOT_004");
    assert!(refused["cause"].as_str().unwrap().contains("cancel-orders"), "{refused}");
    assert_eq!(refused["context"]["missing"][0]["missing"], "cancel-orders", "{refused}");
    assert_eq!(refused["context"]["works_with"], json!({"cancel_resting": false}), "{refused:#}");
    let works = &refused["next_actions"][0];
    let (status, plan_of_next) =
        running.send(Method::POST, works["path"].as_str().unwrap(), &works["body"]).await;
    assert_eq!((status, impossible(&plan_of_next)), (200, Vec::new()), "{works:#}");
    // The dry run offers the same call, and MCP the same with a tool and all of its arguments.
    assert_eq!(plan_of_all["next_actions"][0]["path"], works["path"], "{plan_of_all:#}");
    assert_eq!(plan_of_all["next_actions"][0]["body"]["params"]["cancel_resting"], false, "{plan_of_all:#}");
    assert!(plan_of_next["next_actions"].is_null(), "{plan_of_next:#}");
    let asked = json!({"workflow_id": "restart-bot", "params": {"reason": "a test of missing verbs"}});
    let over_mcp = crate::mcp::call(&running, crate::kit::app::KEY, "run_workflow", asked).await;
    let next = &over_mcp["structuredContent"]["next_actions"][0];
    assert_eq!(next["tool"], "run_workflow", "{over_mcp:#}");
    let again =
        crate::mcp::call(&running, crate::kit::app::KEY, "run_workflow", next["arguments"].clone()).await;
    assert_eq!(again["structuredContent"]["impossible"], json!([]), "{again:#}");
    assert_eq!(commands(&bot), Vec::<String>::new(), "the bot was not touched");
    let runs = running.get("/api/v1/workflows/restart-bot/runs").await.1;
    assert_eq!(runs["items"], json!([]), "a refused request is no run");

    // A step that is skipped needs nothing.
    let skipped = json!({"reason": "a test of missing verbs", "cancel_resting": false});
    let plan = plan(&running, "restart-bot", skipped).await;
    assert_eq!(impossible(&plan), Vec::<String>::new());
    assert_ne!(plan["forecast"], "fail", "{plan:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_on_offer_only_where_its_default_parameters_are_taken() {
    let folder = folder();
    let (bot, running) = beside(folder.path(), &["pause", "resume"], "life-1").await;
    let path = "/api/v1/workflows/restart-bot";
    let one = running.get(path).await.1;
    assert_eq!(one["available"], false, "{one:#}");
    let why = one["unavailable_because"].as_str().unwrap();
    for part in ["`cancel-orders`", "step `cancel-resting`", r#"{"cancel_resting":false}"#] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let (_, list) = running.get("/api/v1/workflows").await;
    let listed = list["items"].as_array().unwrap().iter().find(|item| item["workflow_id"] == "restart-bot");
    assert_eq!(listed.unwrap()["unavailable_because"], one["unavailable_because"]);
    // An immediate restart needs none of the verbs, and nothing less avoids two that are missing.
    bot.script().hello.capabilities.retain(|one| one.name != "pause");
    running.stop().await;
    let running = Running::start(
        folder.path(),
        &[("BOT_ID", bot.id().as_str()), ("BOT_SUPERVISOR", "command:[\"/bin/true\"]")],
    )
    .await;
    let lacks_pause = || async {
        let one = running.get(path).await.1;
        one["unavailable_because"].as_str().is_some_and(|why| why.contains("`pause`"))
    };
    until("it says that the bot cannot be paused", Duration::from_secs(30), lacks_pause).await;
    let why = running.get(path).await.1["unavailable_because"].as_str().unwrap().to_owned();
    assert!(why.ends_with(r#"with the parameters {"mode":"immediate"} it can"#), "{why}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_a_step_back_is_needed_too() {
    let folder = folder();
    define(folder.path(), "quiet", &holding("quiet", "reject", ""));
    let (bot, running) = beside(folder.path(), &["pause"], "life-1").await;
    let (_, refused) = execute(&running, "quiet", json!({})).await;
    assert_problem(&refused, 409, "BOT_004");
    assert!(refused["cause"].as_str().unwrap().contains("resume"), "{refused}");
    assert_eq!(impossible(&plan(&running, "quiet", json!({})).await), ["pause/resume"]);
    assert_eq!(commands(&bot), Vec::<String>::new());
    // All of a workflow's needs are named at once.
    let (_, refused) = execute(&running, "restart-bot", json!({"reason": "a test of missing verbs"})).await;
    for verb in ["resume", "cancel-orders"] {
        assert!(refused["cause"].as_str().unwrap().contains(verb), "{refused}");
    }
    let (_, refused) = execute(
        &running,
        "update-targets",
        json!({"reason": "a test of missing verbs", "targets": [{"symbol": "SPY", "weight": 0.1}]}),
    )
    .await;
    assert_problem(&refused, 409, "BOT_004");
    assert!(refused["cause"].as_str().unwrap().contains("config"), "{refused}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_names_no_boot_cannot_be_restarted_and_that_is_said_before() {
    let folder = folder();
    let (bot, running) = beside(folder.path(), &["pause", "resume", "cancel-orders", "shutdown"], "").await;
    let (_, refused) = execute(&running, "restart-bot", json!({"reason": "a test of missing verbs"})).await;
    assert_problem(&refused, 409, "BOT_004");
    assert!(refused["cause"].as_str().unwrap().contains("boot_epoch"), "{refused}");
    let plan = plan(&running, "restart-bot", json!({"reason": "a test of missing verbs"})).await;
    assert_eq!(
        (plan["forecast"].as_str(), impossible(&plan)),
        (Some("fail"), vec!["restart/boot_epoch".to_owned()])
    );
    // What no parameter avoids is offered no parameters.
    let why = running.get("/api/v1/workflows/restart-bot").await.1["unavailable_because"].to_string();
    assert!(why.contains("boot_epoch") && !why.contains("with the parameters"), "{why}");
    assert_eq!(commands(&bot), Vec::<String>::new());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_on_an_earlier_look_decides_whether_a_verb_is_needed() {
    let folder = folder();
    let rest = "  - {id: before, uses: bot.status}\n\
         \x20 - {id: pause, uses: bot.pause_trading, undo: {uses: bot.resume_trading}}\n\
         \x20 - {id: cancel, uses: bot.cancel_orders, undo: none, when: [{that: $steps.before.resting_orders, is: gt, value: 0}]}\n\
         \x20 - {id: again, uses: bot.resume_trading, undo: none}\n";
    let workflow = holding("tidy", "reject", "")
        .replace("  - {id: pause, uses: bot.pause_trading, undo: {uses: bot.resume_trading}}\n", rest);
    define(folder.path(), "tidy", &workflow);
    let (bot, running) = beside(folder.path(), &["pause", "resume"], "life-1").await;
    let (_, refused) = execute(&running, "tidy", json!({})).await;
    assert_problem(&refused, 409, "BOT_004");
    assert_eq!(commands(&bot), Vec::<String>::new());
    bot.change(|report| report.orders = Some(Vec::new()));
    let begun = std::sync::Mutex::new(Value::Null);
    until("without orders it begins", Duration::from_secs(30), || async {
        let (status, body) = execute(&running, "tidy", json!({})).await;
        *begun.lock().unwrap() = body;
        status == 202
    })
    .await;
    let run = begun.lock().unwrap()["run_id"].as_str().unwrap().to_owned();
    let view = ended(&running, &run, Duration::from_secs(60)).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_bot_that_is_gone_can_be_started_without_verbs() {
    let folder = folder();
    let (mut bot, running) = beside(folder.path(), &[], "life-1").await;
    bot.die();
    let gone = || async { running.get("/api/v1/summary").await.1["health_status"] == "offline" };
    until("the bot is gone", Duration::from_secs(30), gone).await;
    let plan = plan(&running, "restart-bot", json!({"reason": "a test of missing verbs"})).await;
    assert_eq!(impossible(&plan), Vec::<String>::new(), "{plan:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_that_nobody_could_make_is_refused_before_trading_is_paused() {
    let folder = folder();
    let (bot, running) = super::requests::with_bot(folder.path()).await;
    let (_, refused) = execute(&running, "restart-bot", json!({"reason": "nobody can start it"})).await;
    assert_problem(&refused, 409, "BOT_020");
    // The bot of this test is this very process, so its command is known.
    let by_hand = refused["context"]["by_hand"].as_str().unwrap_or_default();
    let remedy = refused["remediation"].as_str().unwrap();
    assert!(remedy.contains("BOT_SUPERVISOR"), "{refused:#}");
    assert!(by_hand.is_empty() || remedy.contains(by_hand), "{refused:#}");
    assert_eq!(commands(&bot), Vec::<String>::new());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_bot_was_started_is_told_also_once_it_is_gone_and_by_a_later_botops() {
    let mut bot = Paperbot::start(&[]).await;
    let socket = bot.socket().display().to_string();
    let folder = folder();
    let running = Running::start(folder.path(), &[("BOT_IPC_SOCKET", &socket)]).await;
    let health = async |running: &Running| running.get("/api/v1/summary").await.1["health_status"].clone();
    until("the bot is seen", Duration::from_secs(30), || async { health(&running).await != "offline" }).await;
    bot.kill();
    until("the bot is gone", Duration::from_secs(30), || async { health(&running).await == "offline" }).await;
    let refused = async |running: &Running| {
        let (_, refused) = execute(running, "restart-bot", json!({"reason": "nobody can start it"})).await;
        assert_problem(&refused, 409, "BOT_020");
        let by_hand =
            refused["context"]["by_hand"].as_str().unwrap_or_else(|| panic!("{refused:#}")).to_owned();
        let remedy = refused["remediation"].as_str().unwrap();
        assert!(by_hand.contains("paperbot") && remedy.contains(&by_hand), "{refused:#}");
        assert!(!remedy.contains("kill"), "there is nothing to end: {remedy}");
        by_hand
    };
    let told = refused(&running).await;
    running.stop().await;
    let later = Running::start(folder.path(), &[("BOT_IPC_SOCKET", &socket)]).await;
    assert_eq!(refused(&later).await, told);
    later.stop().await;
}
