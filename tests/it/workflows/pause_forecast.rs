//! What a plan says of a pause that the restart in it may end.

use std::time::Duration;

use botops_contract::BotPhase;
use reqwest::Method;
use serde_json::{Value, json};

use super::define;
use crate::kit::app::Running;
use crate::kit::scripted_bot::{ScriptedBot, report};
use crate::kit::{folder, until};

const SOON: Duration = Duration::from_secs(40);

/// botops, which could start a bot, beside a bot that offers also this.
async fn beside(folder: &std::path::Path, more: &[&str]) -> (ScriptedBot, Running) {
    let bot = ScriptedBot::at(&folder.join("bot.sock"), report());
    bot.keeps_its_config();
    {
        let mut script = bot.script();
        script.alive = true;
        script.hello.capabilities.extend(more.iter().map(|one| (*one).into()));
    }
    let id = bot.id().to_string();
    let supervisor = ("BOT_SUPERVISOR", "command:[\"/bin/true\"]");
    let running = Running::start(folder, &[("BOT_ID", &id), supervisor]).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("the bot is seen", SOON, seen).await;
    (bot, running)
}

async fn pause(running: &Running, more: Value) {
    let mut body = json!({"reason": "lunch, back at two"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let (status, view) = running.send(Method::POST, "/api/v1/control/pause", &body).await;
    assert_eq!((status, view["outcome"].as_str()), (200, Some("done")), "{view}");
    let paused = || async { running.get("/api/v1/summary").await.1["phase"] == "paused" };
    until("the state shows the pause", SOON, paused).await;
}

async fn plan(running: &Running, id: &str) -> Value {
    let path = format!("/api/v1/workflows/{id}/execute?dry_run=true");
    let params = json!({"params": {"reason": "a test of the forecast"}});
    let (status, plan) = running.send(Method::POST, &path, &params).await;
    assert_eq!(status, 200, "{plan}");
    plan
}

fn warnings(plan: &Value) -> Vec<&str> {
    plan["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn step<'a>(plan: &'a Value, id: &str) -> &'a Value {
    let steps = plan["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == id).unwrap_or_else(|| panic!("{id}: {plan:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_that_a_bot_may_not_keep_its_pause_over_the_restart() {
    let folder = folder();
    let (_bot, running) = beside(folder.path(), &[]).await;
    pause(&running, json!({})).await;
    let plan = plan(&running, "restart-bot").await;
    let [warning] = warnings(&plan)[..] else { panic!("{plan:#}") };
    for part in ["NOT PAUSED", "operator", "durable-pause", "POST /api/v1/control/pause"] {
        assert!(warning.contains(part), "{part}: {warning}");
    }
    let after = &step(&plan, "healthy")["predicted_output"];
    assert_eq!((&after["trading_enabled"], &after["phase"]), (&Value::Null, &Value::Null), "{plan:#}");
    assert_eq!(step(&plan, "healthy")["forecast"], "unknown", "{plan:#}");
    assert_eq!(step(&plan, "resume")["runs"], false, "who was paused before is not resumed: {plan:#}");
    assert_eq!(plan["forecast"], "unknown", "{plan:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_for_a_bot_that_trades_warns_of_nothing_and_leaves_open_whether_it_has_to_resume() {
    let folder = folder();
    let (_bot, running) = beside(folder.path(), &[]).await;
    let plan = plan(&running, "restart-bot").await;
    assert_eq!(warnings(&plan), Vec::<&str>::new(), "{plan:#}");
    let resume = step(&plan, "resume");
    assert_eq!((&resume["runs"], &resume["forecast"]), (&json!(false), &json!("unknown")), "{plan:#}");
    let why = resume["forecast_reason"].as_str().unwrap_or_default();
    assert!(why.contains("$steps.healthy.trading_enabled"), "{resume:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_pause_is_foreseen_to_hold_and_a_plain_one_of_the_same_bot_is_not() {
    let folder = folder();
    let (bot, running) = beside(folder.path(), &["durable-pause"]).await;
    pause(&running, json!({})).await;
    let plain = plan(&running, "restart-bot").await;
    let [warning] = warnings(&plain)[..] else { panic!("{plain:#}") };
    assert!(warning.contains(r#"{"durable": true}"#), "{warning}");

    pause(&running, json!({"args": {"durable": true}})).await;
    let durable = plan(&running, "restart-bot").await;
    assert_eq!(warnings(&durable), Vec::<&str>::new(), "{durable:#}");
    let after = &step(&durable, "healthy")["predicted_output"];
    assert_eq!(
        (&after["trading_enabled"], &after["phase"]),
        (&json!(false), &json!("paused")),
        "{durable:#}"
    );

    // Paused by somebody else: of whichever kind it is, botops does not know it.
    let body = json!({"reason": "back at work"});
    assert_eq!(running.send(Method::POST, "/api/v1/control/resume", &body).await.0, 200);
    bot.change(|report| (report.phase, report.trading_enabled) = (BotPhase::Paused, Some(false)));
    let paused = || async {
        let summary = running.get("/api/v1/summary").await.1;
        summary["phase"] == "paused" && summary["pause"]["by"].is_null()
    };
    until("it is paused by its own means", SOON, paused).await;
    let foreign = plan(&running, "restart-bot").await;
    assert_eq!(warnings(&foreign).len(), 1, "{foreign:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_that_pauses_and_restarts_and_sees_to_nothing_after_it_is_warned_of() {
    let folder = folder();
    let (_bot, running) = beside(folder.path(), &[]).await;
    let head = |id: &str| {
        format!(
            "workflow: v1\nid: {id}\ntitle: A test\nrisk: disruptive\nparams:\n  type: object\n  \
             additionalProperties: false\n  properties: {{reason: {{type: string}}}}\npolicy: {{locks: [bot], \
             on_conflict: reject, timeout_s: 400, on_crash: resume}}\nsteps:\n\
             \x20 - {{id: look, uses: bot.status}}\n\
             \x20 - {{id: pause, uses: bot.pause_trading, undo: {{uses: bot.resume_trading}}}}\n\
             \x20 - {{id: restart, uses: bot.restart, pivot: true, with: {{expect_epoch: $steps.look.boot_epoch}}, \
             timeout_s: 330}}\n"
        )
    };
    define(folder.path(), "leave-paused", &head("leave-paused"));
    let again = "  - {id: again, uses: bot.pause_trading}\n";
    define(folder.path(), "pause-again", &format!("{}{again}", head("pause-again")));
    let left = plan(&running, "leave-paused").await;
    let [warning] = warnings(&left)[..] else { panic!("{left:#}") };
    assert!(warning.contains("NOT PAUSED") && warning.contains("`bot.pause_trading`"), "{warning}");
    let again = plan(&running, "pause-again").await;
    assert_eq!(warnings(&again), Vec::<&str>::new(), "{again:#}");
    assert_eq!(step(&again, "again")["predicted_output"]["trading_enabled"], false, "{again:#}");
    running.stop().await;
}
