//! What a reader sees of config changes: the last one that was refused, one line a change, and a nearer stop for what it is.

use reqwest::Method;
use serde_json::{Value, json};

use super::world::{CONFIG, World, auto, careful, manual};
use crate::kit::app::KEY;

#[tokio::test]
async fn a_change_that_is_refused_is_the_last_rejected_one() {
    let world = World::start().await;
    assert_eq!(world.config().await["last_rejected"], Value::Null);
    let (status, _) = world.apply_now(&auto(json!({"risk_management": {"risk_per_trade": 1}}), 60.0)).await;
    assert_eq!(status, 422);
    let rejected = world.config().await["last_rejected"].clone();
    assert_eq!(rejected["txn"], Value::Null, "{rejected:#}");
    assert_eq!(
        (&rejected["actor"], &rejected["reason"]),
        (&json!("operator"), &json!("a test")),
        "{rejected:#}"
    );
    assert_eq!(rejected["error"]["error_code"], "CFG_001", "{rejected:#}");
    let (pointer, wanted) = (&rejected["error"]["errors"][0]["pointer"], "/risk_management/risk_per_trade");
    assert_eq!(pointer, wanted, "{rejected:#}");
    world.botops.stop().await;
}

#[tokio::test]
async fn the_audit_says_each_change_in_one_line_newest_first() {
    let world = World::start().await;
    for size in [4_000, 4_100] {
        let txn = world.try_out(careful(size), 30.0).await;
        world.end_trial(&txn, if size == 4_000 { "confirm" } else { "cancel" }).await;
        world.ended(&txn).await;
    }
    let live = world.try_out(careful(4_200), 30.0).await;
    let (status, page) = world.botops.get(&format!("{CONFIG}/audit?changes&limit=2")).await;
    assert_eq!(status, 200, "{page:#}");
    let states = |page: &Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items.map(|item| item["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&page), ["trial", "rolled_back"], "{page:#}");
    assert_eq!(page["items"][0]["txn"], live);
    assert_eq!(page["items"][0]["changes"].as_array().map(Vec::len), Some(1), "{page:#}");
    let undone = &page["items"][1];
    assert_eq!((&undone["actor"], &undone["by"]), (&json!("operator"), &json!("operator")), "{undone:#}");
    let text = undone["changes"][0].as_str().unwrap();
    assert!(text.starts_with("risk_management.max_position_size: 4000 → 4100 USD"), "{text}");
    let (_, older) = world.botops.get(&format!("{CONFIG}/audit?changes=true&before={}", page["older"])).await;
    assert_eq!(states(&older).last().map(String::as_str), Some("committed"), "{older:#}");
    assert_eq!(older["older"], Value::Null, "{older:#}");
    let asked = world
        .botops
        .request(Method::GET, &format!("{CONFIG}/audit?changes"))
        .header("accept", "text/markdown");
    let markdown = asked.send().await.unwrap().text().await.unwrap();
    assert!(
        markdown.contains("operator apply, v2 → v3: risk") && markdown.contains("Reason: a test"),
        "{markdown}"
    );
    let over_mcp = crate::mcp::call(&world.botops, KEY, "get_config", json!({"view": "changes"})).await;
    assert_eq!(over_mcp["structuredContent"]["items"][0]["txn"], live, "{over_mcp:#}");
    for query in ["changes&after=1", "before=3", "changes=maybe"] {
        let (status, refused) = world.botops.get(&format!("{CONFIG}/audit?{query}")).await;
        assert_eq!(status, 400, "{query}: {refused:#}");
    }
    world.end_trial(&live, "cancel").await;
    world.botops.stop().await;
}

#[tokio::test]
async fn a_nearer_stop_is_unclear_and_says_why() {
    let world = World::start().await;
    let body = manual(json!({"risk_management": {"stop_loss_pct": 0.1}}), 30.0);
    let etag = world.etag().await;
    let asked = world.botops.request(Method::PUT, &format!("{CONFIG}/apply?dry_run=true"));
    let (status, plan) = crate::kit::app::answer(asked.header("if-match", &etag).json(&body)).await;
    assert_eq!((status, &plan["risk"]["direction"]), (200, &json!("unclear")), "{plan:#}");
    assert_eq!(plan["risk"]["unclear"], json!(["/risk_management/stop_loss_pct"]), "{plan:#}");
    let text = plan["diff"][0]["text"].as_str().unwrap();
    assert!(text.contains("fires sooner") && !text.contains("lowers risk"), "{text}");
    world.botops.stop().await;
}
