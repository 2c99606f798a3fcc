//! Equal amounts are equal whatever their scale or form, wherever a value comes in.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{CONFIG, SOON, World, auto, careful, manual};
use crate::kit;
use crate::kit::app::{KEY, answer};

/// Patches that change nothing: other digits of the same amounts.
fn same_amounts() -> Vec<Value> {
    let of_limit = ["\"-500\"", "\"-500.0\"", "-500", "-500.00", "-5e2"];
    let limits =
        of_limit.iter().map(|text| format!(r#"{{"risk_management": {{"daily_loss_limit": {text}}}}}"#));
    let others = [
        r#"{"risk_management": {"max_consecutive_losses": 10.0}}"#,
        r#"{"risk_management": {"max_position_size": "5000.00", "stop_loss_pct": 2}}"#,
        r#"{"order_management": {"poll_interval_seconds": 15.0, "buy_offset": "15.0000"}}"#,
        r#"{"performance_targets": {"daily_pl_target": "500.00", "max_drawdown_target": "-200.00"}}"#,
    ];
    let all = limits.chain(others.map(str::to_owned));
    all.map(|text| serde_json::from_str(&text).unwrap()).collect()
}

async fn dry_run(world: &World, body: &Value) -> (u16, Value) {
    let etag = world.etag().await;
    let request = world.botops.request(Method::PUT, "/api/v1/config/apply?dry_run=true");
    answer(request.header("if-match", etag).json(body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_amount_in_other_digits_changes_nothing() {
    let world = World::start().await;
    let document = world.config().await["config"].clone();
    for patch in same_amounts() {
        let body = json!({"merge_patch": patch});
        let (status, diff) = world.botops.send(Method::POST, "/api/v1/config/diff", &body).await;
        assert_eq!((status, &diff["no_changes"], &diff["diff"]), (200, &json!(true), &json!([])), "{diff:#}");
        assert_eq!(diff["risk"]["direction"], "neutral", "{diff:#}");
        let (_, verdict) = world.botops.send(Method::POST, "/api/v1/config/validate", &body).await;
        assert_eq!(verdict["valid"], true, "{patch}: {verdict:#}");
        let (_, plan) = dry_run(&world, &auto(patch.clone(), 30.0)).await;
        assert_eq!(plan["blocked_by"], "nothing would change", "{plan:#}");
        let (status, problem) = world.apply_now(&auto(patch.clone(), 30.0)).await;
        assert_eq!((status, &problem["error_code"]), (422, &json!("CFG_013")), "{problem:#}");
        let arguments = json!({"action": "apply", "merge_patch": patch, "reason": "a test", "dry_run": true,
            "if_match": world.etag().await});
        let told = crate::mcp::call(&world.botops, KEY, "change_config", arguments).await;
        assert_eq!(told["structuredContent"]["diff"], json!([]), "{told:#}");
        // As a whole document, and as a JSON Patch.
        let mut whole = document.clone();
        json_merge(&mut whole, &patch);
        let (_, plan) = dry_run(&world, &json!({"config": whole, "reason": "a test"})).await;
        assert_eq!(plan["blocked_by"], "nothing would change", "{plan:#}");
    }
    for text in ["set daily_loss_limit to -500", "set max_consecutive_losses to 10.0"] {
        let (_, asked) = world.botops.send(Method::POST, "/api/v1/ask", &json!({"text": text})).await;
        assert_eq!(asked["answer"]["blocked_by"], "nothing would change", "{asked:#}");
    }
    assert_eq!(world.bot.count("POST", "config/activate"), 0, "no trial");
    assert_eq!(world.config().await["version"], 1);
    world.botops.stop().await;
}

fn json_merge(document: &mut Value, patch: &Value) {
    match (document, patch) {
        (Value::Object(members), Value::Object(changes)) => {
            for (name, change) in changes {
                json_merge(&mut members[name], change);
            }
        }
        (document, patch) => *document = patch.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_in_a_json_patch_compares_amounts() {
    let world = World::start().await;
    let guarded = |path: &str, value: &Value| {
        json!({"reason": "a test", "json_patch": [
            {"op": "test", "path": path, "value": value},
            {"op": "replace", "path": "/risk_management/max_position_size", "value": "4000.00"},
        ]})
    };
    let targets = world.config().await["config"]["targets"].clone();
    let mut reversed = targets.as_array().unwrap().clone();
    reversed.reverse();
    for (path, value) in [
        ("/risk_management/daily_loss_limit", json!("-500")),
        ("/risk_management/daily_loss_limit", json!(-500)),
        ("/risk_management/max_consecutive_losses", json!(10.0)),
        ("/risk_management/max_position_size", json!("5000.0")),
        ("/targets", json!(reversed)),
    ] {
        let (status, plan) = dry_run(&world, &guarded(path, &value)).await;
        assert_eq!((status, &plan["would_apply"]), (200, &json!(true)), "{path} {value}: {plan:#}");
    }
    for (path, value) in [
        ("/risk_management/daily_loss_limit", json!("-500.01")),
        ("/risk_management/risk_per_trade", json!("0.02")),
        ("/trading/hours/start_time", json!(0)),
        ("/nothing", json!(null)),
    ] {
        let (status, problem) = dry_run(&world, &guarded(path, &value)).await;
        assert_eq!((status, &problem["error_code"]), (422, &json!("CFG_016")), "{path} {value}: {problem:#}");
        assert_eq!(problem["errors"][0]["pointer"], "/json_patch/0", "{problem:#}");
    }
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_float_is_taken_where_an_integer_is_wanted() {
    let world = World::start().await;
    let patch = json!({"risk_management": {"max_consecutive_losses": 9.0}});
    let (status, txn) = world.apply_now(&auto(patch, 2.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(world.ended(txn["txn"].as_str().unwrap()).await["state"], "committed");
    assert_eq!(txn["diff"][0]["new"].as_f64(), Some(9.0), "{txn:#}");
    let half = json!({"risk_management": {"max_consecutive_losses": 9.5}});
    assert_eq!(world.apply_now(&auto(half, 30.0)).await.0, 422);
    // A version by its number.
    let back = json!({"to": 1.0, "reason": "back to it", "confirm_within_s": 2.0});
    let etag = world.etag().await;
    let request = world.botops.request(Method::PUT, "/api/v1/config/rollback").header("if-match", etag);
    let (status, txn) = answer(request.json(&back)).await;
    assert_eq!((status, &txn["restored_from"]), (202, &json!(1)), "{txn:#}");
    // A tool's argument, where another value would be taken silently.
    let arguments = json!({"verb": "silence", "component": "bot", "minutes": 2.0, "reason": "a test of it"});
    let silence = crate::mcp::call(&world.botops, KEY, "control_bot", arguments).await;
    let ends: chrono::DateTime<chrono::Utc> =
        silence["structuredContent"]["ends_at"].as_str().unwrap().parse().unwrap();
    assert!((ends - chrono::Utc::now()).num_seconds() <= 120, "{silence:#}");
    let events =
        crate::mcp::call(&world.botops, KEY, "list_events", json!({"after": 0.0, "limit": 2.0})).await;
    assert_eq!(events["structuredContent"]["items"].as_array().map(Vec::len), Some(2), "{events:#}");
    world.botops.stop().await;
}

/// The parameter of a workflow, and the weights that it would set.
#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_takes_whole_floats_and_changes_nothing_for_equal_weights() {
    let world = World::start().await;
    let mut targets = world.config().await["config"]["targets"].clone();
    let path = "/api/v1/workflows/update-targets/execute";
    targets[0]["weight"] = json!(0.01);
    let params = json!({"params": {"reason": "other weights", "targets": targets, "trial_s": 90.0}});
    let (status, plan) = world.botops.send(Method::POST, &format!("{path}?dry_run=true"), &params).await;
    let failed: Vec<&Value> =
        plan["steps"].as_array().unwrap().iter().filter(|step| step["forecast"] == "fail").collect();
    assert_eq!((status, failed), (200, vec![]), "{plan:#}");
    // A weight of one hundred percent, written in both ways.
    let whole = json!({"targets": [{"symbol": "SPY", "weight": 1}]});
    let (status, txn) = world.apply_now(&auto(whole, 2.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    world.ended(txn["txn"].as_str().unwrap()).await;
    let activated = world.bot.count("POST", "config/activate");
    let params =
        json!({"params": {"reason": "the same weights", "targets": [{"symbol": "SPY", "weight": 1.0}]}});
    let (_, run) = world.botops.send(Method::POST, path, &params).await;
    let run_path = format!("/api/v1/workflows/runs/{}", run["run_id"].as_str().unwrap());
    kit::until("the run ends", SOON, || async { world.botops.get(&run_path).await.1["terminal"] == true })
        .await;
    let run = world.botops.get(&run_path).await.1;
    assert_eq!((&run["state"], &run["failed_step"]), (&json!("failed"), &json!("plan")), "{run:#}");
    assert_eq!(world.bot.count("POST", "config/activate"), activated, "no trial");
    world.botops.stop().await;
}

/// Other digits of a document that the bot died over are that document.
#[tokio::test(flavor = "multi_thread")]
async fn other_digits_do_not_get_a_document_past_the_memory_of_a_crash() {
    let mut world = World::start().await;
    let txn = world.try_out(careful(4_000), 600.0).await;
    world.bot.restart();
    let ended = world.ended(&txn).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("bot_crash")), "{ended:#}");
    for again in [json!(4_000), json!(4_000.0), json!("4000.00")] {
        let body = manual(json!({"risk_management": {"max_position_size": again}}), 30.0);
        let (status, problem) = world.apply_now(&body).await;
        assert_eq!((status, &problem["error_code"]), (409, &json!("CFG_019")), "{again}: {problem:#}");
        assert_eq!(problem["context"]["txn"], txn.as_str());
    }
    world.botops.stop().await;
}

/// What a change does not touch stays as it was written, and what it sets is kept as it was sent.
#[tokio::test(flavor = "multi_thread")]
async fn digits_are_kept_as_written() {
    let world = World::start().await;
    let body = r#"{"reason": "a test", "confirm_within_s": 2.0, "merge_patch": {"risk_management":
        {"max_position_size": 4000.10, "risk_per_trade": 0.0200, "stop_loss_pct": 1.2345678901234567890123}}}"#;
    let etag = world.etag().await;
    let request = world.botops.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag);
    let (status, txn) = answer(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(world.ended(txn["txn"].as_str().unwrap()).await["state"], "committed");
    let text = std::fs::read_to_string(world.folder.path().join("data/config/current.json")).unwrap();
    for written in ["4000.10", "0.0200", "1.2345678901234567890123", "\"-500.00\"", "-0.10", "5.0"] {
        assert!(text.contains(written), "{written}: {text}");
    }
    let shown = world.botops.request(Method::GET, CONFIG).send().await.unwrap().text().await.unwrap();
    assert!(shown.contains("4000.10") && shown.contains("-0.10"), "{shown}");
    world.botops.stop().await;
}
