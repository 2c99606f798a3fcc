//! Questions about what is on record, over MCP, with the calls and tokens that an answer takes: who changed what, why trades
//! lost, what recovery has used up, what an auditor gets. The limits are promises.

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};

use crate::configs::world::{World, careful};
use crate::health::{LIMIT, get};
use crate::kit;
use crate::kit::scripted_bot::trade;
use crate::left_to_person::with_used_up_attempts;
use crate::walks::{Client, row};

fn table() -> String {
    format!("{:44} {:>11} {:>16}\n", "record", "calls", "tokens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_that_used_up_its_attempts_is_known_by_one_call() {
    let world = with_used_up_attempts().await;
    let of_feed = |summary: &Value| -> Option<Value> {
        let all = summary["incidents"].as_array()?;
        all.iter().find(|one| one["cause"].to_string().contains("feed")).cloned()
    };
    kit::until("the incident says who must act", LIMIT, || async {
        let summary = get(&world.botops, "/api/v1/summary").await;
        of_feed(&summary).is_some_and(|one| one["who_must_act"] == "person")
            && of_feed(&summary).is_some_and(|one| one["tried"].to_string().contains("the last of 3"))
            && summary["not_green"].to_string().contains("exhausted")
    })
    .await;
    let mut table = table();
    let mut it = Client::of(&world.botops);
    let summary = it.good("get_summary", json!({})).await;
    let incident = of_feed(&summary).unwrap_or_else(|| panic!("{summary:#}"));
    assert!(incident["person_must"].as_str().is_some_and(|must| must.contains("feed")), "{summary:#}");
    assert!(
        incident["tried"].as_str().is_some_and(|tried| tried.contains("the last of 3 attempts")),
        "{summary:#}"
    );
    let broken = summary["not_green"].as_array().unwrap().iter().find(|one| one["component_id"] == "feed");
    assert_eq!(broken.unwrap()["recovery"], "exhausted", "{summary:#}");
    row(&mut table, "recovery gave up: of what, who must act?", &it, 1, 1_100);
    println!("\n{table}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_among_several_is_found_and_undone_alone() {
    let world = World::start().await;
    for patch in [careful(4_000), json!({"risk_management": {"stop_loss_pct": 2.5}}), careful(4_200)] {
        let txn = world.try_out(patch, 30.0).await;
        world.end_trial(&txn, "confirm").await;
        assert_eq!(world.ended(&txn).await["state"], "committed");
    }
    let mut table = table();
    let mut it = Client::of(&world.botops);
    let page = it.good("get_config", json!({"view": "changes"})).await;
    let of_stop = |item: &&Value| item["changes"].to_string().contains("stop_loss_pct");
    let line = page["items"].as_array().unwrap().iter().find(of_stop).unwrap();
    assert_eq!(line["actor"], "operator", "{line:#}");
    let told = line["changes"][0].as_str().unwrap();
    let (name, values) = told.split_once(": ").unwrap();
    let before: f64 = values.split(' ').next().unwrap().parse().unwrap();
    let current = it.good("get_config", json!({})).await;
    let (part, key) = name.split_once('.').unwrap();
    let patch = json!({part: {key: before}});
    let why = "the stop as it was before; the other changes stay";
    let undone = it
        .good(
            "change_config",
            json!({"action": "apply", "merge_patch": patch, "if_match": current["etag"], "reason": why}),
        )
        .await;
    row(&mut table, "who changed the stop? undo that alone", &it, 3, 2_300);
    let txn = undone["txn"].as_str().unwrap();
    world.end_trial(txn, "confirm").await;
    assert_eq!(world.ended(txn).await["state"], "committed");
    let now = world.config().await["config"]["risk_management"].clone();
    assert_eq!((now["stop_loss_pct"].as_f64(), &now["max_position_size"]), (Some(before), &json!(4_200)));
    println!("\n{table}");
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trades_that_lost_are_told_with_their_reasons() {
    let world = World::start().await;
    let closed = |seq: u64, symbol: &str, net: &str, reason: &str| botops_contract::Trade {
        symbol: symbol.to_owned(),
        exit_reason: reason.to_owned(),
        closed_at: Utc::now() - TimeDelta::seconds(60 - i64::try_from(seq).unwrap()),
        ..trade(seq, net)
    };
    world.bot.script().trades = (1..=12)
        .map(|seq| match seq % 3 {
            0 => closed(seq, "SPY", "12.00", "target at 102 reached at 102.5"),
            1 => closed(seq, "NVDA", "-8.25", "stop at 95.3 reached at 95.2"),
            _ => closed(seq, "AAPL", "-3.00", "momentum faded to -3.5 basis points"),
        })
        .collect();
    kit::until("the trades are copied", LIMIT, || async {
        get(&world.botops, "/api/v1/performance?window=all").await["total_trades"] == 12
    })
    .await;
    let mut table = table();
    let mut it = Client::of(&world.botops);
    let from = json!({"result": "loss", "since": "24h", "limit": 5});
    let page = it.good("list_trades", from).await;
    let worst = &page["items"][0];
    assert!(page["items"].as_array().is_some_and(|all| all.len() == 5), "{page:#}");
    assert!(worst["exit_reason"].as_str().is_some_and(|why| !why.is_empty()), "{page:#}");
    let groups = it.good("get_performance", json!({"window": "week", "by": "reason"})).await;
    let told = groups.to_string();
    assert!(told.contains("-33") && told.contains("stop"), "{groups:#}");
    row(&mut table, "why did trades of today lose?", &it, 2, 2_300);
    println!("\n{table}");
    world.botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_gets_a_link_in_two_calls() {
    let world = World::start().await;
    let mut table = table();
    let mut it = Client::of(&world.botops);
    let range = json!({"last": "24h"});
    let run = it.good("run_workflow", json!({"workflow_id": "export-logs", "params": range})).await;
    let wait = json!({"run_id": run["run_id"], "wait": "30s", "after_seq": 1_000_000, "budget_tokens": 600});
    let ended = it.good("list_workflows", wait).await;
    assert_eq!(ended["state"], "succeeded", "{ended:#}");
    let url = ended["outputs"]["url"].as_str().unwrap_or_else(|| panic!("{ended:#}"));
    row(&mut table, "an export for an auditor, with its link", &it, 2, 1_200);
    let answer = world.botops.request(reqwest::Method::GET, url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    println!("\n{table}");
    world.botops.stop().await;
}
