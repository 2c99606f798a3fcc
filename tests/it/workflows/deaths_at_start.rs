//! A bot that ends again right after each start: what it wrote is named, and another start is not the remedy.

use serde_json::{Value, json};

use super::pair::Pair;
use crate::kit::until;

const LIMIT: std::time::Duration = std::time::Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_dies_at_its_start_is_left_to_a_person_with_what_it_wrote() {
    let mut pair = Pair::start().await;
    let dying = json!(["/bin/sh", "-c", "echo 'KeyError: EXCHANGE_KEY is not set'; exit 1"]).to_string();
    pair.settings.retain(|(name, _)| *name != "BOT_SUPERVISOR_COMMAND");
    pair.settings.push(("BOT_SUPERVISOR_COMMAND", dying));
    pair.serve(None).await;
    pair.connected().await;
    pair.bot.kill();
    let gone = || async { pair.get("/api/v1/summary").await["health_status"] == "offline" };
    until("botops sees that it is gone", LIMIT, gone).await;
    let output = pair.bot.folder.path().join("logs-2/bot-output.txt").display().to_string();
    for key in ["first", "second"] {
        let params = json!({"reason": "it has to run again", "mode": "immediate"});
        let body = pair.execute("restart-bot", &params, key).await.unwrap();
        let run = body["run_id"].as_str().unwrap_or_else(|| panic!("{body:#}")).to_owned();
        let view = pair.ended(&run).await.unwrap();
        assert_eq!(view["failed_step"], "restart", "{view:#}");
        let why = view["error"]["message"].as_str().unwrap();
        assert!(why.contains(&output) && why.ends_with("KeyError: EXCHANGE_KEY is not set"), "{why}");
    }
    let told = |summary: &Value| {
        let all = summary["warnings"].as_array().unwrap().iter().filter_map(Value::as_str);
        all.filter(|text| text.contains("in a row at its start")).map(str::to_owned).collect::<Vec<_>>()
    };
    until("the summary tells the deaths", LIMIT, || async {
        !told(&pair.get("/api/v1/summary").await).is_empty()
    })
    .await;
    let summary = pair.get("/api/v1/summary").await;
    let told = told(&summary);
    assert_eq!(told.len(), 1, "{summary:#}");
    let text = &told[0];
    // Each run tries the start again before it gives up.
    let times = text.strip_prefix("The bot died ").and_then(|rest| rest.split_once(" times")).unwrap();
    assert!(times.0.parse::<u32>().unwrap() >= 2, "{text}");
    assert!(text.contains("its last output: KeyError: EXCHANGE_KEY is not set."), "{text}");
    let remedy = format!("A person must mend it before it is started again: what it wrote is in {output}.");
    assert!(text.ends_with(&remedy), "{text}");
    assert!(!summary["warnings"].to_string().contains("restart-bot"), "{summary:#}");
    // The same failure is told once, with how often it came.
    until("both failures are one", LIMIT, || async {
        let summary = pair.get("/api/v1/summary").await;
        let all = summary["recent_errors"].as_array().unwrap().iter();
        let told: Vec<&Value> = all.filter(|error| error["error_code"] == "WFL_009").collect();
        assert!(told.len() <= 1, "{summary:#}");
        told.first().is_some_and(|error| error["times"] == 2)
    })
    .await;
}
