//! The smallest bot in Rust: `cargo run -p botops-bot-server --example minimal_bot -- minimal/bot.sock`.

use std::path::Path;
use std::time::Duration;

use botops_bot_server::{BotServer, CommandReply};
use botops_contract::{Account, BotReport, TradingMode, Verb};

#[tokio::main]
async fn main() -> Result<(), String> {
    let socket = std::env::args().nth(1).unwrap_or_else(|| "minimal/bot.sock".to_owned());
    let served = BotServer::new("minimal".parse()?, TradingMode::Paper, env!("CARGO_PKG_VERSION"))
        .expected_interval(Duration::from_secs(2))
        .on_command(Verb::Pause, |_| async { CommandReply::done("no new positions are opened") })
        .on_command(Verb::Resume, |_| async { CommandReply::done("new positions may be opened again") })
        .serve(Path::new(&socket))?;
    let bot = served.bot();
    let mut rounds = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        // Your strategy goes here; it opens nothing while `bot.trading_enabled()` is false.
        bot.publish(BotReport {
            account: Account {
                currency: Some("USD".to_owned()),
                account_balance: "1000.50".parse().ok(),
                ..Account::default()
            },
            positions: Some(Vec::new()),
            orders: Some(Vec::new()),
            ..BotReport::default()
        });
    }
}
