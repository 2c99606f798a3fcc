//! A bot that remembers less than before: botops knows more trades of the same account than the bot does.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use crate::kit::botops_process::BotopsProcess;
use crate::kit::paperbot::{Paperbot, lines};
use crate::kit::until;

const PATIENCE: Duration = Duration::from_secs(60);

async fn warnings(botops: &BotopsProcess) -> String {
    botops.get("/api/v1/state").await.1["warnings"].to_string()
}

async fn kept_trades(botops: &BotopsProcess) -> u64 {
    botops.get("/api/v1/performance").await.1["total_trades"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_remembers_less_of_the_same_account_is_told_and_a_new_account_is_not() {
    let mut bot = Paperbot::start(&["--tick", "1ms"]).await;
    let folder = crate::kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[("BOT_IPC_SOCKET", bot.socket().to_str().unwrap())]);
    until("botops keeps some trades", PATIENCE, || async { kept_trades(&botops).await >= 3 }).await;
    bot.kill();
    // Its ledger is cut behind the first fill, and with its mark gone the bot itself cannot know.
    let ledger = bot.data().join("ledger.jsonl");
    let first_fill = lines(&ledger).iter().position(|line| line["entry"]["type"] == "filled").unwrap();
    let text = fs::read_to_string(&ledger).unwrap();
    let kept: String = text.lines().take(first_fill + 1).map(|line| format!("{line}\n")).collect();
    fs::write(&ledger, kept).unwrap();
    fs::remove_file(bot.data().join("ledger-mark.json")).unwrap();
    // It does not trade meanwhile, so that it does not make up for what it lost.
    bot.replace_arguments(&["--tick", "1h"]);
    bot.launch().await;
    let told = || async { warnings(&botops).await.contains("THE BOT REMEMBERS LESS") };
    until("botops says that the bot remembers less", PATIENCE, told).await;
    let summary: Value = botops.get("/api/v1/summary").await.1;
    let said = summary["warnings"].to_string();
    assert!(said.contains("it knows 0 of ") && said.contains("from a backup"), "{said}");
    assert!(warnings(&botops).await.contains("up to number 0"), "the whole of it is in the state");

    // A new account begins anew by its name.
    bot.kill();
    fs::remove_file(&ledger).unwrap();
    bot.launch().await;
    let is_quiet = || async { !warnings(&botops).await.contains("THE BOT REMEMBERS LESS") };
    until("a new account is no loss", PATIENCE, is_quiet).await;
    botops.stop();
}
