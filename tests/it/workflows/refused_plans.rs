//! A plan that the bot refuses says each thing once, in words that fit, and how to try before the next run.

use std::time::Duration;

use botops_contract::ConfigViolation;
use reqwest::Method;
use serde_json::{Value, json};

use super::{ended, execute};
use crate::configs::world::World;
use crate::kit::until;

const WHY: &str =
    "the weights add up to 1.7 and at most 1 is allowed, since what is more would have to be borrowed";
const EXECUTE: &str = "/api/v1/workflows/update-targets/execute?dry_run=true";

fn params(first: f64) -> Value {
    json!({"reason": "new weights", "targets": [{"symbol": "SPY", "weight": first}, {"symbol": "QQQ", "weight": 0.2}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_plan_says_each_reason_once_in_words_and_once_as_a_finding() {
    let world = World::start().await;
    let violation = |path: &str, code: &str, message: &str| ConfigViolation {
        path: path.to_owned(),
        code: code.to_owned(),
        message: message.to_owned(),
        fix: None,
    };
    world.bot.script().config.violations = vec![
        violation("/targets", "weights_above_one", WHY),
        violation("/targets/0/weight", "maximum", "too much"),
    ];
    let (status, begun) = execute(&world.botops, "update-targets", params(0.5)).await;
    assert_eq!(status, 202, "{begun:#}");
    let view = ended(&world.botops, begun["run_id"].as_str().unwrap(), Duration::from_secs(60)).await;
    assert_eq!((&view["state"], &view["failed_step"]), (&json!("failed"), &json!("plan")), "{view:#}");
    let step = &view["steps"][1];
    assert!(view["error"]["message"].as_str().unwrap().contains(WHY), "{view:#}");
    assert!(view["error"]["remediation"].as_str().unwrap().contains("?dry_run=true"), "{view:#}");
    // The step and its output refer to that.
    let of_step = &step["error"];
    assert_eq!(of_step["error_code"], view["error"]["error_code"], "{step:#}");
    for text in [&of_step["message"], &step["output"]["blocked_by"]] {
        let text = text.as_str().unwrap();
        assert!(!text.contains(WHY) && text.contains("/error/message"), "{text}: {step:#}");
    }
    let findings = step["output"]["errors"].as_array().unwrap();
    assert_eq!(findings.len(), 2, "{step:#}");
    assert_eq!((&findings[0]["reason"], &findings[0]["expected"]), (&json!(WHY), &json!(WHY)), "{step:#}");
    // A rule of the schema is said by the schema.
    assert!(findings[1]["expected"].as_str().unwrap().contains("number"), "{step:#}");
    assert_eq!(view.to_string().matches(WHY).count(), 3, "{view:#}");

    // The same in a dry run, where the step's own error is the place.
    let (_, plan) = world.botops.send(Method::POST, EXECUTE, &json!({"params": params(0.5)})).await;
    let step = &plan["steps"][1];
    assert!(step["error"]["message"].as_str().unwrap().contains(WHY), "{plan:#}");
    let blocked_by = step["predicted_output"]["blocked_by"].as_str().unwrap();
    assert!(!blocked_by.contains(WHY) && blocked_by.contains("/steps/1/error/message"), "{plan:#}");
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_differences_once() {
    let world = World::start().await;
    let (_, plan) = world.botops.send(Method::POST, EXECUTE, &json!({"params": params(0.1)})).await;
    assert!(plan["predicted_outputs"]["diff"].as_array().is_some_and(|diff| !diff.is_empty()), "{plan:#}");
    let diff = &plan["steps"][1]["predicted_output"]["diff"];
    assert_eq!(diff, &json!({"same_as": "/predicted_outputs/diff"}), "{plan:#}");
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_stops_at_a_bot_that_is_not_well_says_what_is_not() {
    let world = World::start().await;
    world.bot.change(|report| {
        let breaker =
            json!({"state": "open", "reason": "the loss of a day reached its limit", "source": "daily_loss"});
        report.circuit_breaker = serde_json::from_value(breaker).unwrap();
    });
    let open = || async { world.botops.get("/api/v1/summary").await.1["circuit_breaker_active"] == true };
    until("the breaker is seen", Duration::from_secs(30), open).await;
    let said = "the circuit breaker is open: the loss of a day reached its limit";
    let (_, plan) = world.botops.send(Method::POST, EXECUTE, &json!({"params": params(0.1)})).await;
    assert!(plan["steps"][0]["error"]["message"].as_str().is_some_and(|why| why.contains(said)), "{plan:#}");
    let (status, begun) = execute(&world.botops, "update-targets", params(0.1)).await;
    assert_eq!(status, 202, "{begun:#}");
    let view = ended(&world.botops, begun["run_id"].as_str().unwrap(), Duration::from_secs(60)).await;
    assert_eq!((&view["state"], &view["failed_step"]), (&json!("failed"), &json!("baseline")), "{view:#}");
    assert!(view["error"]["message"].as_str().unwrap().contains(said), "{view:#}");
    world.botops.stop().await;
}
