//! Each fill of paperbot's ledger is one event in botops' journal, also when the bot is killed between the two.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::kit::app::Running;
use crate::kit::paperbot::{Paperbot, lines};
use crate::kit::{Process, until};

const SOON: Duration = Duration::from_secs(60);

/// The ids of the fills in the ledger, in their order.
fn fills_of_ledger(bot: &Paperbot) -> Vec<String> {
    let entries = lines(&bot.data().join("ledger.jsonl")).into_iter().map(|line| line["entry"].clone());
    entries.filter(|entry| entry["type"] == "filled").map(|fill| id_of(&fill)).collect()
}

fn id_of(fill: &Value) -> String {
    fill["fill_id"].as_str().expect("a fill has an id").to_owned()
}

/// How often each fill is an event of botops' journal.
async fn fills_of_journal(botops: &Running) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut after = 0;
    loop {
        let (status, page) = botops.get(&format!("/api/v1/events?after={after}&kind=fill&limit=200")).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().expect("a list");
        for event in items {
            *found.entry(id_of(&event["data"])).or_default() += 1;
        }
        let Some(last) = items.last() else { return found };
        after = last["seq"].as_u64().expect("a number");
    }
}

/// Starts the bot so that it kills itself behind this line of its ledger and before the event of it, and waits for that.
fn run_until_killed(bot: &Paperbot, nth: u32) {
    let mut process = Process::spawn(bot.command().env("KILL_AT", format!("paperbot.event:{nth}")));
    let status = process.wait(SOON);
    assert!(!status.success(), "it kills itself");
}

async fn beside(bot: &Paperbot, folder: &Path) -> Running {
    let socket = bot.socket().display().to_string();
    Running::start(folder, &[("BOT_IPC_SOCKET", &socket)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fill_whose_event_a_kill_kept_back_is_told_once_by_the_next_start() {
    let mut bot = Paperbot::prepare(&["--tick", "2ms"]);
    let folder = crate::kit::folder();
    let botops = beside(&bot, folder.path()).await;
    // The first start is known to botops: what came before anybody looked would be no loss.
    bot.launch().await;
    let first = || async { !fills_of_journal(&botops).await.is_empty() };
    until("the first fill is told", SOON, first).await;
    bot.kill();
    // Placed, filled, placed, filled: each of them is killed behind its line once, one start after the other.
    for nth in [1, 2, 3, 4, 6, 1, 2] {
        run_until_killed(&bot, nth);
    }
    bot.launch().await;
    let ledger = fills_of_ledger(&bot);
    assert!(ledger.len() > 4, "only {} fills were put to the test", ledger.len());
    let all = || async {
        let told = fills_of_journal(&botops).await;
        ledger.iter().all(|fill| told.contains_key(fill))
    };
    until("every fill of the ledger is told", SOON, all).await;
    bot.kill();
    let told = fills_of_journal(&botops).await;
    assert!(told.values().all(|times| *times == 1), "a fill is told twice: {told:?}");
    botops.stop().await;
}
