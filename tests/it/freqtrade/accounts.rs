//! One address, several databases: what freqtrade traded out of one of them is no result of another.

use serde_json::{Value, json};

use super::world::{Adapter, FreqtradeStub, SOON, closed_trade, until_told};
use crate::kit::app::Running;
use crate::kit::until;

impl FreqtradeStub {
    /// Its database was first used at this second.
    fn uses_database(&self, first_used: i64) {
        let now = chrono::Utc::now().timestamp();
        let health = json!({"last_process_ts": now, "bot_start_ts": first_used, "bot_startup_ts": 100});
        self.answer("health", &health);
    }
}

/// Waits until so many closed trades make up the performance of the bot.
async fn until_counted(botops: &Running, count: u64) -> Value {
    let counted = || async {
        let (_, performance) = botops.get("/api/v1/performance").await;
        performance["total_trades"] == count
    };
    until(&format!("{count} trades are counted"), SOON, counted).await;
    botops.get("/api/v1/performance").await.1
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_is_another_account_and_the_first_one_is_known_again() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.uses_database(1_000);
    freqtrade.closed(&json!([closed_trade(1, &json!({})), closed_trade(2, &json!({}))]));
    let mut adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    until_told(&botops, "watches this freqtrade").await;
    until_counted(&botops, 2).await;
    let first = adapter.get("state").await["account"]["account_id"].clone();
    assert_eq!(first, "binance-spot-dry-USDT", "the first database has the name that there always was");

    freqtrade.uses_database(90_000);
    freqtrade.closed(&json!([closed_trade(1, &json!({"open_timestamp": 1_795_910_000_000_i64}))]));
    let messages = until_told(&botops, "another database").await;
    let told = messages.iter().filter(|message| message.contains("another database")).count();
    assert_eq!(told, 1, "{messages:?}");
    until_counted(&botops, 1).await;
    let second = adapter.get("state").await["account"]["account_id"].clone();
    assert_eq!(second, "binance-spot-dry-USDT-19700102T010000Z", "named after its first use");

    // The adapter starts anew, and freqtrade goes back to its first database.
    adapter.kill();
    freqtrade.uses_database(1_000);
    freqtrade.closed(&json!([closed_trade(1, &json!({})), closed_trade(2, &json!({}))]));
    adapter.launch();
    adapter.until_state("the first account is back", |state| state["account"]["account_id"] == first).await;
    until_counted(&botops, 2).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freqtrade_that_does_not_tell_its_database_keeps_its_account() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.uses_database(1_000);
    let adapter = Adapter::start(&freqtrade);
    let state = adapter.until_state("it is read", |state| state["account"]["account_id"].is_string()).await;
    let now = chrono::Utc::now().timestamp();
    freqtrade.answer("health", &json!({"last_process_ts": now + 5, "bot_startup_ts": 100}));
    let tick = state["loop"]["last_tick_at"].clone();
    let read = adapter.until_state("it is read again", |state| state["loop"]["last_tick_at"] != tick).await;
    assert_eq!(read["account"]["account_id"], state["account"]["account_id"]);
}
