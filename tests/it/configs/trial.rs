//! A change on trial: how it becomes permanent, and every way in which it is undone.

use botops_contract::{BotReport, BreakerState, SemanticError, SessionPhase, Severity};
use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{CONFIG, SOON, World, auto, careful, manual};
use crate::kit;
use crate::kit::ReportParts as _;
use crate::kit::scripted_bot::Behaviour;
use crate::refusals::assert_problem;

#[tokio::test]
async fn a_good_change_is_tried_and_becomes_permanent_by_itself() {
    let world = World::start().await;
    // Confirmed automatically after half of the time at the earliest; shortly before the end it would be too late.
    let (status, txn) = world.apply_now(&auto(careful(9_000), 12.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(txn["diff"][0]["text"], "risk_management.max_position_size: 5000 → 9000 USD; raises risk");
    assert_eq!(world.config().await["sync"], "trial");
    assert_eq!(world.config().await["version"], 1);
    let ended = world.ended(txn["txn"].as_str().unwrap()).await;
    assert_eq!(ended["state"], "committed", "{ended:#}");
    let config = world.config().await;
    assert_eq!((&config["version"], &config["sync"]), (&json!(2), &json!("in_sync")));
    assert_eq!(config["config"]["risk_management"]["max_position_size"], 9_000);
    assert_eq!(config["committed"]["sha256"], world.running());
    let audit = world.botops.get("/api/v1/config/audit").await.1;
    let events: Vec<_> =
        audit["items"].as_array().unwrap().iter().map(|item| item["event"].clone()).collect();
    let expected =
        ["header", "first_version", "prepared", "checked", "activating", "trial", "confirming", "committed"];
    assert_eq!(events, expected);
    assert_eq!(world.verify().await["valid"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_says_when_it_becomes_permanent_and_its_end_can_be_waited_for() {
    let world = World::start().await;
    let id = world.try_out(careful(4_000), 30.0).await;
    let path = format!("/api/v1/config/txns/{id}");
    let by_hand = world.botops.get(&path).await.1;
    assert_eq!(by_hand["commits_at"], Value::Null, "a person has to confirm it: {by_hand:#}");
    let waiting_path = format!("{path}?wait=60s");
    let (waited, (status, _)) = tokio::join!(world.botops.get(&waiting_path), async {
        // The wait has to begin first.
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        world.end_trial(&id, "cancel").await
    });
    assert_eq!((status, &waited.1["state"]), (200, &json!("rolled_back")), "{:#}", waited.1);
    let ended = world.botops.get(&waiting_path).await.1;
    assert_eq!(ended["state"], "rolled_back", "what has ended is not waited for: {ended:#}");
    let (_, txn) = world.apply_now(&auto(careful(9_000), 40.0)).await;
    let path = format!("/api/v1/config/txns/{}", txn["txn"].as_str().unwrap());
    let in_trial = || async { world.botops.get(&path).await.1["state"] == "trial" };
    kit::until("it is tried", SOON, in_trial).await;
    let txn = world.botops.get(&path).await.1;
    let at = |name: &str| txn[name].as_str().unwrap().parse::<chrono::DateTime<Utc>>().unwrap();
    assert_eq!(at("confirm_by") - at("commits_at"), chrono::TimeDelta::seconds(20), "{txn:#}");
    let (status, problem) = world.botops.get(&format!("{path}?wait=6m")).await;
    assert_problem(&problem, status, "API_007");
}

#[tokio::test]
async fn a_trial_that_nobody_confirms_is_undone_at_its_deadline() {
    let world = World::start().await;
    let before = world.running();
    let id = world.try_out(careful(4_000), 0.6).await;
    let ended = world.ended(&id).await;
    // By botops, not by the bot, whose own timer is 2 s longer, and not before the deadline.
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("deadline")));
    let at = |name: &str| ended[name].as_str().unwrap().parse::<chrono::DateTime<Utc>>().unwrap();
    assert!(at("updated_at") >= at("confirm_by"), "{ended:#}");
    assert_eq!(world.bot.count("POST", "config/activate"), 1);
    assert_eq!(world.running(), before);
    assert_eq!(world.config().await["version"], 1);
}

#[tokio::test]
async fn confirm_and_cancel_end_a_trial_and_may_be_repeated() {
    let world = World::start().await;
    let id = world.try_out(careful(4_000), 30.0).await;
    for _ in 0..2 {
        let (status, txn) = world.end_trial(&id, "confirm").await;
        assert_eq!((status, txn["state"].as_str()), (200, Some("committed")), "{txn:#}");
    }
    let (status, problem) = world.end_trial(&id, "cancel").await;
    assert_eq!(status, 409);
    assert_problem(&problem, 409, "CFG_012");
    let id = world.try_out(careful(3_000), 30.0).await;
    for _ in 0..2 {
        let (status, txn) = world.end_trial(&id, "cancel").await;
        assert_eq!((status, txn["by"].as_str()), (200, Some("operator")), "{txn:#}");
    }
    assert_eq!(world.config().await["config"]["risk_management"]["max_position_size"], 4_000);
    assert_problem(&world.end_trial("nothing", "confirm").await.1, 404, "CFG_011");
}

/// Confirms a trial of less than half a second, which is too late from the start: returns the refusal.
pub(crate) async fn raise_confirmed_too_late(world: &World) -> Value {
    let id = world.try_out(careful(4_000), 0.4).await;
    let (status, problem) = world.end_trial(&id, "confirm").await;
    assert_eq!((status, &problem["context"]["txn"]), (409, &json!(id)), "{problem:#}");
    problem
}

#[tokio::test]
async fn a_confirmation_in_the_last_half_second_comes_too_late() {
    let world = World::start().await;
    let problem = raise_confirmed_too_late(&world).await;
    assert_problem(&problem, 409, "CFG_007");
    let id = problem["context"]["txn"].as_str().unwrap().to_owned();
    assert_eq!(world.ended(&id).await["state"], "rolled_back");
    assert_problem(&world.end_trial(&id, "confirm").await.1, 409, "CFG_007");
}

async fn breach(name: &str, change: impl Fn(&mut BotReport)) {
    let world = World::start().await;
    let before = world.running();
    let (status, txn) = world.apply_now(&auto(careful(4_000), 60.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    world.bot.change(change);
    let ended = world.ended(txn["txn"].as_str().unwrap()).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("criteria")), "{name}");
    let watch = ended["watch"].as_array().unwrap();
    let breached = watch.iter().find(|criterion| criterion["name"] == name).unwrap();
    assert_eq!(ended["outcome"], breached["text"], "{ended:#}");
    assert_eq!(world.running(), before);
    assert_eq!(world.verify().await["valid"], true);
}

#[tokio::test]
async fn a_trial_that_hurts_is_undone_at_once_with_the_reason() {
    breach("order_rejects", |report| report.loop_stats.order_rejects_last_hour = Some(3)).await;
    breach("breaker", |report| report.breaker_mut().state = BreakerState::Open).await;
    breach("session", |report| {
        let session = report.session.as_mut().unwrap();
        (session.state, session.is_healthy) = (SessionPhase::HaltedCredential, Some(false));
    })
    .await;
    breach("drawdown", |report| report.account.account_balance = kit::plausible::amount("83542.29")).await;
    breach("errors", |report| {
        report.recent_errors.as_mut().unwrap().insert(
            0,
            SemanticError {
                error_code: "BRK_010".to_owned(),
                error_type: "TradingError".to_owned(),
                severity: Severity::Critical,
                message: "orders fail".to_owned(),
                cause: String::new(),
                impact: String::new(),
                remediation: String::new(),
                context: Value::Null,
                severity_raw: None,
                timestamp: Some(Utc::now() + chrono::TimeDelta::seconds(1)),
            },
        );
    })
    .await;
}

#[tokio::test]
async fn a_bot_that_starts_again_during_a_trial_runs_what_is_committed() {
    let mut world = World::start().await;
    let before = world.running();
    let id = world.try_out(careful(4_000), 60.0).await;
    world.bot.restart();
    let ended = world.ended(&id).await;
    assert_eq!(ended["state"], "rolled_back", "{ended:#}");
    assert_eq!(world.running(), before);
    world.until_in_sync().await;
}

/// Applies a change to which the bot closes the connection, as it does from then on: returns the problem.
pub(crate) async fn raise_activation_unanswered(world: &World) -> Value {
    world.bot.script().only = "config/activate";
    world.bot.behave(Behaviour::HangUp);
    let (status, problem) = world.apply_now(&manual(careful(4_000), 30.0)).await;
    assert_eq!(status, 504, "{problem:#}");
    problem
}

#[tokio::test]
async fn a_lost_answer_to_activate_is_looked_into() {
    let world = World::start().await;
    let before = world.running();
    let problem = raise_activation_unanswered(&world).await;
    assert_problem(&problem, 504, "CFG_017");
    assert_eq!(problem["effect"], "unknown");
    let path = problem["next_actions"][0]["path"].as_str().unwrap();
    assert_eq!(world.botops.get(path).await.0, 200);
    let ended = world.ended(problem["context"]["txn"].as_str().unwrap()).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("recovery")));
    assert_eq!(world.running(), before);
}

#[tokio::test]
async fn a_rollback_is_a_new_version_that_passes_the_same_checks() {
    let world = World::start().await;
    let id = world.try_out(careful(4_000), 30.0).await;
    world.end_trial(&id, "confirm").await;
    let etag = world.etag().await;
    let body = json!({"to": "previous", "reason": "back again", "confirm": "manual", "confirm_within_s": 30});
    let request = world.botops.request(Method::PUT, "/api/v1/config/rollback").header("if-match", &etag);
    let (status, txn) = kit::app::answer(request.json(&body)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!((&txn["version"], &txn["restored_from"]), (&json!(3), &json!(1)));
    world.end_trial(txn["txn"].as_str().unwrap(), "confirm").await;
    let config = world.config().await;
    assert_eq!(config["config"]["risk_management"]["max_position_size"], 5_000);
    let versions = world.botops.get("/api/v1/config/versions").await.1;
    let numbers: Vec<_> =
        versions["items"].as_array().unwrap().iter().map(|v| v["version"].clone()).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!((&versions["next"], &versions["omitted"]), (&Value::Null, &json!(0)));
    let (_, diff) = world.botops.get("/api/v1/config/diff?from=v1&to=v3").await;
    assert_eq!(diff["no_changes"], true, "{diff:#}");
    let (_, diff) = world.botops.get("/api/v1/config/diff?from=v2&to=running").await;
    assert_eq!(diff["risk"]["direction"], "increases", "{diff:#}");
}

/// Reads a list in pages of two items: the values of `member`, and the `omitted` counts.
async fn pages_of_two(world: &World, path: &str, member: &str) -> (Vec<u64>, Vec<u64>) {
    let (mut found, mut omitted, mut after) = (Vec::new(), Vec::new(), String::new());
    loop {
        let (status, page) = world.botops.get(&format!("{path}?limit=2{after}")).await;
        assert_eq!(status, 200, "{page:#}");
        found.extend(page["items"].as_array().unwrap().iter().map(|item| item[member].as_u64().unwrap()));
        omitted.push(page["omitted"].as_u64().unwrap());
        let Some(next) = page["next"].as_u64() else { return (found, omitted) };
        after = format!("&after={next}");
    }
}

#[tokio::test]
async fn lists_count_what_their_limit_leaves_out_and_refuse_a_limit_above_the_most() {
    let world = World::start().await;
    for size in [4_000, 3_000] {
        let id = world.try_out(careful(size), 30.0).await;
        assert_eq!(world.end_trial(&id, "confirm").await.0, 200);
    }
    let versions = "/api/v1/config/versions";
    assert_eq!(pages_of_two(&world, versions, "version").await, (vec![3, 2, 1], vec![1, 0]));
    let (found, omitted) = pages_of_two(&world, "/api/v1/config/audit", "seq").await;
    let records = world.verify().await["records"].as_u64().unwrap();
    assert_eq!(found, (1..=records).collect::<Vec<_>>());
    let expected: Vec<u64> = (1..=records.div_ceil(2)).map(|page| records.saturating_sub(2 * page)).collect();
    assert_eq!(omitted, expected);
    for (path, most) in [(versions, 50), ("/api/v1/config/audit", 500)] {
        assert_eq!(world.botops.get(&format!("{path}?limit={most}")).await.0, 200);
        for limit in [0, most + 1, 100_000] {
            let (status, problem) = world.botops.get(&format!("{path}?limit={limit}")).await;
            assert_problem(&problem, status, "API_007");
            let error = &problem["errors"][0];
            assert_eq!(
                (&error["pointer"], &error["got"]),
                (&json!("?limit"), &json!(limit.to_string())),
                "{problem:#}"
            );
            assert_eq!(
                (status, &error["expected"]),
                (400, &json!(format!("a whole number from 1 to {most}")))
            );
        }
    }
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let world = World::start().await;
    let etag = world.etag().await;
    let request =
        world.botops.request(Method::PUT, "/api/v1/config/apply?dry_run=true").header("if-match", &etag);
    let (status, plan) = kit::app::answer(request.json(&auto(careful(9_000), 60.0))).await;
    assert_eq!(status, 200);
    assert_eq!((&plan["would_apply"], &plan["risk"]["direction"]), (&json!(true), &json!("increases")));
    assert_eq!(plan["verdict"]["bot"]["ok"], true, "{plan:#}");
    assert_eq!(world.bot.count("POST", "config/activate"), 0);
    assert_eq!(world.etag().await, etag);
}

#[tokio::test]
async fn of_fifty_changes_on_one_base_exactly_one_wins() {
    let world = World::start().await;
    let etag = world.etag().await;
    let requests =
        (0..50_u32).map(|n| kit::app::answer(world.apply(&manual(careful(4_000 + n), 30.0), &etag)));
    let answers = futures_util::future::join_all(requests).await;
    let won: Vec<_> = answers.iter().filter(|(status, _)| *status == 202).collect();
    assert_eq!(won.len(), 1);
    assert!(answers.iter().all(|(status, _)| matches!(status, 202 | 409 | 412)));
    assert_eq!(world.bot.count("POST", "config/activate"), 1);
    world.end_trial(won[0].1["txn"].as_str().unwrap(), "confirm").await;
    let stale = kit::app::answer(world.apply(&manual(careful(4_500), 30.0), &etag)).await;
    assert_problem(&stale.1, 412, "CFG_005");
    assert_eq!(stale.1["context"]["diff"].as_array().unwrap().len(), 1, "{:#}", stale.1);
}

#[tokio::test]
async fn an_idempotency_key_acts_once_also_across_a_restart() {
    let world = World::start().await;
    let etag = world.etag().await;
    let send = |world: &World, body: Value| {
        kit::app::answer(world.apply(&body, &etag).header("idempotency-key", "once"))
    };
    let (status, first) = send(&world, manual(careful(4_000), 30.0)).await;
    assert_eq!(status, 202, "{first:#}");
    let (status, again) = send(&world, manual(careful(4_000), 30.0)).await;
    assert_eq!((status, &again["txn"]), (202, &first["txn"]));
    assert_problem(&send(&world, manual(careful(4_100), 30.0)).await.1, 422, "API_011");
    world.end_trial(first["txn"].as_str().unwrap(), "confirm").await;
    let world = world.restart().await;
    let (status, again) = send(&world, manual(careful(4_000), 30.0)).await;
    assert_eq!((status, &again["txn"], &again["state"]), (202, &first["txn"], &json!("committed")));
    assert_eq!(world.bot.count("POST", "config/activate"), 1);
}

#[tokio::test]
async fn a_drift_is_published_and_what_is_committed_can_be_asserted_again() {
    let world = World::start().await;
    let sha = "0".repeat(64);
    {
        let mut script = world.bot.script();
        let committed = script.config.state().committed;
        script.config.drift(botops_contract::VersionRef { version: 0, sha256: sha.clone() });
        assert_ne!(committed.sha256, sha);
    }
    kit::until("drift is seen", SOON, || async { world.config().await["sync"] == "drifted" }).await;
    let published = || async {
        let events = world.botops.get("/api/v1/events?kind=config&after=0").await.1;
        events["items"].as_array().unwrap().iter().any(|event| {
            event["message"].as_str().is_some_and(|message| message.contains("drift"))
                && event["data"]["remedies"].as_array().is_some_and(|remedies| remedies.len() == 3)
        })
    };
    kit::until("the drift is published", SOON, published).await;
    let etag = world.etag().await;
    let request = world.botops.request(Method::PUT, "/api/v1/config/rollback").header("if-match", &etag);
    let body = json!({"to": "committed", "reason": "assert again", "confirm_within_s": 12});
    let (status, txn) = kit::app::answer(request.json(&body)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(world.ended(txn["txn"].as_str().unwrap()).await["state"], "committed");
    assert_eq!(world.botops.get(CONFIG).await.1["sync"], "in_sync");
}
