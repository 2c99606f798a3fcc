//! What is wrong with a document is all that is said of it: nothing is told of a change that cannot be.

use botops_contract::ConfigViolation;
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{World, auto};
use crate::kit::app::{KEY, answer};

/// Patches that cannot be, each with the pointer of what is wrong.
fn impossible() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"risk_management": {"max_position_pct": -5}}), "/risk_management/max_position_pct"),
        (json!({"risk_management": {"leverage": 50, "stop_loss_pct": 1}}), "/risk_management/leverage"),
        (json!({"trading": {"hours": {"start_time": "23:59"}}}), "/trading/hours/start_time"),
        (json!({"mode": "live", "risk_management": {"max_position_pct": 2}}), "/mode"),
        (
            json!({"order_management": {"poll_interval_seconds": 0}}),
            "/order_management/poll_interval_seconds",
        ),
    ]
}

/// Asserts that an answer about a candidate names what is wrong and says nothing of risk and effects.
#[track_caller]
fn assert_findings_only(answer: &Value, findings: &Value, pointer: &str) {
    let found = findings.as_array().unwrap_or_else(|| panic!("no findings: {answer:#}"));
    assert!(found.iter().any(|finding| finding["pointer"] == pointer), "{answer:#}");
    assert!(answer["risk"].is_null() && answer["effects"].is_null(), "{answer:#}");
    assert!(answer.get("diff").is_none_or(|diff| *diff == json!([])), "{answer:#}");
    let text = answer.to_string();
    for word in ["lowers risk", "raises risk", "decreases", "increases", "\"class\""] {
        assert!(!text.contains(word), "{word}: {answer:#}");
    }
}

async fn dry_run(world: &World, patch: &Value) -> Value {
    let etag = world.etag().await;
    let request = world.botops.request(Method::PUT, "/api/v1/config/apply?dry_run=true");
    let (status, plan) = answer(request.header("if-match", etag).json(&auto(patch.clone(), 30.0))).await;
    assert_eq!(status, 200, "{plan:#}");
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_candidate_has_findings_only() {
    let world = World::start().await;
    for (patch, pointer) in impossible() {
        let plan = dry_run(&world, &patch).await;
        assert_eq!(plan["would_apply"], false);
        assert_findings_only(&plan, &plan["verdict"]["errors"], pointer);
        let body = json!({"merge_patch": patch});
        let (status, diff) = world.botops.send(Method::POST, "/api/v1/config/diff", &body).await;
        assert_eq!((status, &diff["valid"]), (200, &json!(false)), "{diff:#}");
        assert_eq!(diff["no_changes"], false, "{diff:#}");
        assert_findings_only(&diff, &diff["errors"], pointer);
        let (_, verdict) = world.botops.send(Method::POST, "/api/v1/config/validate", &body).await;
        assert_findings_only(&verdict, &verdict["errors"], pointer);
        let arguments = json!({"action": "apply", "merge_patch": patch, "reason": "a test", "dry_run": true,
            "if_match": world.etag().await});
        let told = crate::mcp::call(&world.botops, KEY, "change_config", arguments).await;
        let plan = &told["structuredContent"];
        assert_findings_only(plan, &plan["verdict"]["errors"], pointer);
    }
    let text = json!({"text": "set max_position_pct to -5"});
    let (_, asked) = world.botops.send(Method::POST, "/api/v1/ask", &text).await;
    let plan = &asked["answer"];
    assert_findings_only(plan, &plan["verdict"]["errors"], "/risk_management/max_position_pct");
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bot_refuses_cannot_be_either() {
    let world = World::start().await;
    let valid = json!({"risk_management": {"max_position_size": 4_000}});
    let plan = dry_run(&world, &valid).await;
    assert_eq!(plan["risk"]["direction"], "decreases", "{plan:#}");
    assert_eq!(plan["effects"]["hot"], json!(["/risk_management/max_position_size"]));
    let body = json!({"merge_patch": valid});
    let (_, diff) = world.botops.send(Method::POST, "/api/v1/config/diff", &body).await;
    assert_eq!((&diff["valid"], &diff["errors"]), (&json!(true), &json!([])), "{diff:#}");
    assert_eq!(diff["diff"].as_array().unwrap().len(), 1);
    world.bot.script().config.violations = vec![botops_contract::ConfigViolation {
        path: "/risk_management/max_position_size".to_owned(),
        code: "too_small".to_owned(),
        message: "no position would be that small".to_owned(),
        fix: None,
    }];
    let pointer = "/risk_management/max_position_size";
    let plan = dry_run(&world, &valid).await;
    assert_findings_only(&plan, &plan["verdict"]["errors"], pointer);
    let (_, diff) = world.botops.send(Method::POST, "/api/v1/config/diff", &body).await;
    assert_findings_only(&diff, &diff["errors"], pointer);
    world.botops.stop().await;
}

/// In a workflow: the plan that its step puts out.
#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_plans_no_risk_of_what_cannot_be() {
    let world = World::start().await;
    let targets = json!([{"symbol": "SPY", "weight": 0.9}, {"symbol": "QQQ", "weight": 0.9}]);
    let params = json!({"params": {"reason": "other weights", "targets": targets}});
    let path = "/api/v1/workflows/update-targets/execute?dry_run=true";
    let (status, plan) = world.botops.send(Method::POST, path, &params).await;
    assert_eq!(status, 200, "{plan:#}");
    let step = plan["steps"].as_array().unwrap().iter().find(|step| step["step"] == "plan").unwrap();
    let text = step.to_string();
    assert!(text.contains("weights_above_one"), "{step:#}");
    for word in ["lowers risk", "raises risk", "decreases", "increases"] {
        assert!(!text.contains(word), "{word}: {step:#}");
    }
    world.botops.stop().await;
}

/// What the bot's check says is its reason; what to change and what is expected is never left out.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_bots_own_check_says_is_its_reason_and_every_finding_says_what_to_change() {
    let world = World::start().await;
    let violation = |path: &str, message: &str, fix: Option<&str>| ConfigViolation {
        path: path.to_owned(),
        code: "own_rule".to_owned(),
        message: message.to_owned(),
        fix: fix.map(str::to_owned),
    };
    world.bot.script().config.violations = vec![
        violation("/risk_management/max_position_size", "the account holds less than that", None),
        violation("/risk_management/max_position_pct", "it is too much for this account", Some("use 0.02")),
        violation("/no/such/field", "it does not fit the rest", None),
        violation("", "", None),
    ];
    let body = json!({"merge_patch": {"risk_management": {"max_position_size": 4_000}}});
    let (status, verdict) = world.botops.send(Method::POST, "/api/v1/config/validate", &body).await;
    assert_eq!((status, &verdict["valid"]), (200, &json!(false)), "{verdict:#}");
    let errors = verdict["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 4, "{verdict:#}");
    for error in errors {
        for member in ["expected", "fix"] {
            assert!(!error[member].as_str().unwrap().is_empty(), "{member}: {error:#}");
        }
        assert_eq!(error["level"], "bot", "{error:#}");
    }
    assert_eq!(errors[0]["reason"], "the account holds less than that", "{verdict:#}");
    assert_eq!(errors[0]["got"], 4_000, "{verdict:#}");
    // The schema takes that number: what is expected is what the bot says.
    assert_eq!(errors[0]["expected"], errors[0]["reason"], "{verdict:#}");
    assert_eq!(
        (&errors[1]["reason"], &errors[1]["fix"]),
        (&json!("it is too much for this account"), &json!("use 0.02"))
    );
    assert!(errors[3]["reason"].as_str().unwrap().contains("no reason"), "{verdict:#}");

    // The refusal of the change itself says the same, member by member.
    let etag = world.etag().await;
    let body = auto(json!({"risk_management": {"max_position_size": 4_000}}), 5.0);
    let (_, problem) = answer(world.apply(&body, &etag)).await;
    assert_eq!(problem["errors"], verdict["errors"], "{problem:#}");
    // What the schema finds is said alike, too.
    let body = json!({"merge_patch": {"risk_management": {"risk_per_trade": 0.5}}});
    let (_, verdict) = world.botops.send(Method::POST, "/api/v1/config/validate", &body).await;
    let body = auto(json!({"risk_management": {"risk_per_trade": 0.5}}), 5.0);
    let (_, problem) = answer(world.apply(&body, &etag)).await;
    assert_eq!(problem["errors"], verdict["errors"], "{problem:#}");
    assert_eq!(problem["errors"][0]["level"], "schema", "{problem:#}");
    world.botops.stop().await;
}
