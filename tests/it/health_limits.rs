//! Every limit that decides something in health is shown, documented, and the one that is used.

use serde_json::Value;

use crate::health::{beside, get};
use crate::kit;
use crate::kit::scripted_bot::ScriptedBot;

fn text(row: &Value, member: &str) -> String {
    match &row[member] {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string().trim_end_matches(".0").to_owned(),
    }
}

/// The rows of the tables under a heading of `docs/health.md`, cells trimmed.
fn documented(heading: &str) -> Vec<Vec<String>> {
    let page = std::fs::read_to_string("docs/health.md").unwrap();
    let section =
        page.split("\n## ").find(|section| section.starts_with(heading)).expect("the section is there");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limits_that_are_shown_are_those_that_are_documented_and_used() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    let monitoring = get(&botops, "/api/v1/health/monitoring/status").await;
    let limits = monitoring["metric_limits"].as_array().expect("the limits are shown").clone();
    let shown: Vec<Vec<String>> = limits
        .iter()
        .map(|row| {
            ["component", "metric", "unit", "warning", "critical", "direction", "source"]
                .map(|member| text(row, member))
                .to_vec()
        })
        .collect();
    assert_eq!(documented("Limits of metrics"), shown, "docs/health.md differs from monitoring/status");
    let rules = monitoring["rules"].as_array().expect("the other limits are shown").clone();
    let shown: Vec<Vec<String>> = rules
        .iter()
        .map(|row| ["name", "value", "unit", "decides", "source"].map(|member| text(row, member)).to_vec())
        .collect();
    assert_eq!(documented("Other limits"), shown, "docs/health.md differs from monitoring/status");

    let is_measured = async || {
        let status = get(&botops, "/api/v1/health/status").await;
        let components = status["components"].as_array().unwrap().iter();
        components.map(|component| component["metrics"].as_array().unwrap().len()).sum::<usize>() > 12
    };
    kit::until("the checks have measured", std::time::Duration::from_secs(60), is_measured).await;
    // Each metric that is measured is judged by the limits that are shown for it.
    let status = get(&botops, "/api/v1/health/status").await;
    let mut judged = 0;
    for component in status["components"].as_array().unwrap() {
        for metric in component["metrics"].as_array().unwrap() {
            let limits_of = |row: &&Value| {
                row["component"] == component["component_id"] && row["metric"] == metric["name"]
            };
            let Some(row) = limits.iter().find(limits_of) else {
                let is_unlimited =
                    metric["threshold_warning"].is_null() && metric["threshold_critical"].is_null();
                assert!(is_unlimited, "{metric:#} of {} is not in the table", component["component_id"]);
                continue;
            };
            judged += 1;
            if row["source"] == "code" {
                assert_eq!(metric["threshold_warning"], row["warning"], "{metric:#}");
                assert_eq!(metric["threshold_critical"], row["critical"], "{metric:#}");
            }
            assert_eq!(
                (&metric["unit"], &metric["direction"]),
                (&row["unit"], &row["direction"]),
                "{metric:#}"
            );
        }
    }
    assert!(judged > 10, "metrics were measured: {judged}");
    botops.stop().await;
}
