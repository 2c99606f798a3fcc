//! What the summary names, it names with its reason, and with what is known elsewhere.

use std::time::Duration;

use botops_contract::BotPhase;
use serde_json::Value;

use crate::kit::app::Running;
use crate::kit::scripted_bot::{ScriptedBot, position, trade};
use crate::kit::{folder, until};

const SOON: Duration = Duration::from_secs(40);

async fn beside(bot: &ScriptedBot, folder: &std::path::Path) -> Running {
    let (socket, id) = (bot.socket().display().to_string(), bot.id());
    let running = Running::start(folder, &[("BOT_IPC_SOCKET", &socket), ("BOT_ID", id.as_str())]).await;
    let seen = || async { running.get("/api/v1/summary").await.1["presence"] == "connected" };
    until("the bot is seen", SOON, seen).await;
    running
}

async fn summary(running: &Running) -> Value {
    running.get("/api/v1/summary").await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn system_health_that_is_not_healthy_names_the_component_and_its_reason() {
    let (bot, folder) = (ScriptedBot::start(), folder());
    bot.script().alive = true;
    bot.keeps_its_config();
    bot.change(|report| (report.phase, report.trading_enabled) = (BotPhase::Stopped, Some(false)));
    let running = beside(&bot, folder.path()).await;
    let named = || async {
        let not_green = summary(&running).await["not_green"].to_string();
        not_green.contains("trading") && not_green.contains("manages")
    };
    until("the component is named", SOON, named).await;
    let request = running.request(reqwest::Method::GET, "/api/v1/summary").header("accept", "text/markdown");
    let page = request.send().await.unwrap().text().await.unwrap();
    let row = page.lines().find(|line| line.starts_with("- trading CRITICAL since")).unwrap().to_owned();
    assert!(row.contains("trading") && row.contains("manages"), "{row}");
    bot.change(|report| (report.phase, report.trading_enabled) = (BotPhase::Running, Some(true)));
    let is_over = || async {
        let reason = summary(&running).await["not_green"].to_string();
        !reason.contains("trading")
    };
    until("it is over", SOON, is_over).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_trade_is_known_from_the_record_when_the_bot_does_not_say_it() {
    let (bot, folder) = (ScriptedBot::start(), folder());
    {
        let mut script = bot.script();
        script.alive = true;
        script.trades = (1..4).map(|seq| trade(seq, "2.50")).collect();
        script.report.last_trade_at = None;
    }
    bot.keeps_its_config();
    let running = beside(&bot, folder.path()).await;
    let expected = trade(3, "2.50").closed_at;
    let shown = |summary: &Value| {
        summary["last_trade_time"].as_str().and_then(|at| at.parse().ok()) == Some(expected)
    };
    until("the record is shown", SOON, || async { shown(&summary(&running).await) }).await;
    running.stop().await;
    // A bot that has forgotten its trades changes nothing of the record.
    bot.script().trades.clear();
    let running = beside(&bot, folder.path()).await;
    until("it is shown after a restart", SOON, || async { shown(&summary(&running).await) }).await;
    // What the bot says counts where it is later.
    let later = expected + chrono::Duration::hours(1);
    bot.change(|report| report.last_trade_at = Some(later));
    let is_later = || async {
        summary(&running).await["last_trade_time"].as_str().and_then(|at| at.parse().ok()) == Some(later)
    };
    until("what the bot says is shown", SOON, is_later).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn profit_that_follows_from_the_positions_is_computed_and_what_does_not_follow_says_why() {
    let (bot, folder) = (ScriptedBot::start(), folder());
    bot.script().alive = true;
    bot.keeps_its_config();
    bot.change(|report| report.performance = botops_contract::Performance::default());
    let running = beside(&bot, folder.path()).await;
    let now = summary(&running).await;
    assert_eq!(now["daily_pnl"], Value::Null, "{now:#}");
    let why = now["daily_pnl_unknown"].as_str().unwrap_or_else(|| panic!("{now:#}"));
    assert!(why.contains("`daily_pl`") && why.contains("/api/v1/performance?window=day"), "{why}");
    assert_eq!(now["unrealized_pl"], "295.00", "{now:#}");
    assert_eq!(running.get("/api/v1/metrics").await.1["total_unrealized_pl"], "295.00");
    // One position without a price, and the sum is not known.
    bot.change(|report| {
        let unpriced = botops_contract::Position {
            unrealized_pl: None,
            current_price: None,
            ..position("QQQ", "1", "1", "1")
        };
        report.positions.as_mut().unwrap().push(unpriced);
    });
    until("it is not known", SOON, || async { summary(&running).await["unrealized_pl"].is_null() }).await;
    running.stop().await;
}
