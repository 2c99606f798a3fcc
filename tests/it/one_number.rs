//! What two answers say of the same thing is the same.

use std::time::Duration;

use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::{Running, command};
use crate::kit::scripted_bot::{ScriptedBot, report, trade};
use botops_contract::VersionRef;

const SOON: Duration = Duration::from_secs(40);

async fn beside(bot: &ScriptedBot, folder: &std::path::Path, id: &str) -> Running {
    let socket = bot.socket().display().to_string();
    Running::start(folder, &[("BOT_IPC_SOCKET", &socket), ("BOT_ID", id)]).await
}

/// A bot that knows its own first config by its hash alone: it was given no number yet.
fn a_bot_of_its_first_config() -> ScriptedBot {
    let bot = ScriptedBot::start();
    let mut script = bot.script();
    let first = |version: &VersionRef| VersionRef { version: 0, ..version.clone() };
    let config = script.report.config.as_mut().unwrap();
    (config.running, config.committed) = (first(&config.running), first(&config.committed));
    let now = report();
    script.config = kit::scripted_config::ScriptedConfig::new(&script.report);
    script.report.seq = now.seq + 1;
    script.trades = (1..4).map(|seq| trade(seq, "2.50")).collect();
    drop(script);
    bot
}

/// Where a value stands: a path of `GET`, and a pointer into the answer.
type Place = (&'static str, &'static str);

/// Each row: places that say the same number.
const SAME: &[(&str, &[Place])] = &[
    (
        "the version of the config",
        &[
            ("/api/v1/summary", "/config_version"),
            ("/api/v1/config", "/version"),
            ("/api/v1/config", "/committed/version"),
            ("/api/v1/config", "/running/version"),
            ("/api/v1/state", "/config/running/version"),
            ("/api/v1/config/versions", "/items/0/version"),
        ],
    ),
    (
        "the sync of the config",
        &[
            ("/api/v1/summary", "/config_sync"),
            ("/api/v1/config", "/sync"),
            ("/api/v1/state", "/config/sync/status"),
        ],
    ),
    ("open positions", &[("/api/v1/summary", "/position_count"), ("/api/v1/metrics", "/position_count")]),
    ("open orders", &[("/api/v1/summary", "/open_order_count"), ("/api/v1/metrics", "/open_order_count")]),
    (
        "equity",
        &[
            ("/api/v1/summary", "/account/account_balance"),
            ("/api/v1/state", "/account/account_balance"),
            ("/api/v1/metrics", "/account_balance"),
        ],
    ),
    (
        "buying power",
        &[
            ("/api/v1/summary", "/account/buying_power"),
            ("/api/v1/state", "/account/buying_power"),
            ("/api/v1/metrics", "/buying_power"),
        ],
    ),
    (
        "the change of equity of the day",
        &[
            ("/api/v1/summary", "/daily_pnl"),
            ("/api/v1/state", "/performance/daily_pl"),
            ("/api/v1/metrics", "/daily_pnl"),
        ],
    ),
    (
        "the health of the bot",
        &[
            ("/api/v1/summary", "/health_status"),
            ("/api/v1/state", "/health/status"),
            ("/api/v1/metrics", "/health/status"),
        ],
    ),
    (
        "presence",
        &[
            ("/api/v1/summary", "/presence"),
            ("/api/v1/state", "/bot/presence"),
            ("/api/v1/metrics", "/presence"),
        ],
    ),
    ("system health", &[("/api/v1/summary", "/system_health"), ("/api/v1/health/status", "/overall_status")]),
    (
        "the breaker",
        &[("/api/v1/summary", "/circuit_breaker/state"), ("/api/v1/state", "/circuit_breaker/state")],
    ),
    (
        "the phase",
        &[("/api/v1/summary", "/phase"), ("/api/v1/state", "/phase"), ("/api/v1/metrics", "/phase")],
    ),
    (
        "errors",
        &[("/api/v1/state", "/health/error_count_last_hour"), ("/api/v1/metrics", "/error_count_last_hour")],
    ),
];

async fn said_at(botops: &Running, (path, pointer): Place) -> Value {
    let (status, answer) = botops.get(path).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer.pointer(pointer).unwrap_or_else(|| panic!("{path} {pointer}: {answer:#}")).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_answers_say_the_same_of_the_same_thing() {
    let (bot, folder) = (a_bot_of_its_first_config(), kit::folder());
    let botops = beside(&bot, folder.path(), bot.id().as_str()).await;
    let in_sync = || async { botops.get("/api/v1/config").await.1["sync"] == "in_sync" };
    kit::until("in sync", SOON, in_sync).await;
    let mut differing = Vec::new();
    for (what, places) in SAME {
        // What is rendered for one answer is rendered for the other within a second.
        let agree = || async {
            let mut said = Vec::new();
            for place in *places {
                said.push(said_at(&botops, *place).await);
            }
            // Words are compared without their case: health writes its own in capitals.
            let plain = |said: &Value| said.to_string().to_lowercase();
            said.windows(2).all(|pair| plain(&pair[0]) == plain(&pair[1]) && !pair[0].is_null())
        };
        if tokio::time::timeout(Duration::from_secs(8), kit::until(what, Duration::MAX, agree)).await.is_err()
        {
            let mut said = Vec::new();
            for place in *places {
                said.push(format!("{} {}: {}", place.0, place.1, said_at(&botops, *place).await));
            }
            differing.push((what, said));
        }
    }
    assert!(differing.is_empty(), "{differing:#?}");
    let state = botops.get("/api/v1/state").await.1;
    assert_eq!(state["positions"].as_array().map(Vec::len), Some(2));
    assert_eq!(said_at(&botops, ("/api/v1/summary", "/position_count")).await, json!(2));
    botops.stop().await;
}

/// Another bot than the configured one answers: the summary and the check name the same remedy.
#[tokio::test(flavor = "multi_thread")]
async fn another_bot_at_the_address_has_one_remedy_wherever_it_is_told() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, folder.path(), "mine").await;
    let told = || async {
        let reason = botops.get("/api/v1/summary").await.1["presence_reason"].to_string();
        reason.contains("`scripted`") && reason.contains("`mine`")
    };
    kit::until("the other bot is named", SOON, told).await;
    let socket = bot.socket().display().to_string();
    let check = command(&["bot", "check", &socket, "--bot-id", "mine", "--json"]);
    let checked = tokio::task::spawn_blocking(move || {
        let mut check = check;
        check.output().unwrap()
    });
    let checked: Value = serde_json::from_slice(&checked.await.unwrap().stdout).unwrap();
    let finding = checked["findings"].as_array().unwrap().iter().find(|one| one["rule"] == "wrong_bot_id");
    let remedy = finding.unwrap_or_else(|| panic!("{checked:#}"))["remedy"].as_str().unwrap().to_owned();
    assert!(remedy.contains("BOT_ID"), "{remedy}");
    let summary = botops.get("/api/v1/summary").await.1;
    let warnings = summary["warnings"].to_string();
    assert!(warnings.contains(&remedy), "{remedy}: {warnings}");
    for wrong in ["start it", "Look whether"] {
        assert!(!warnings.contains(wrong), "{wrong}: {warnings}");
    }
    botops.stop().await;
}
