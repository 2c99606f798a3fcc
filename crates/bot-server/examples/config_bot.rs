//! A bot in Rust with a config and a preview: `cargo run -p botops-bot-server --example config_bot -- config/bot.sock`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use botops_bot_server::{BotServer, CommandReply, ConfigFinding, ManagedConfig};
use botops_contract::{Account, BotReport, Exposure, TradingMode, Verb};
use serde_json::{Map, Value, json};

fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["risk_per_trade", "max_positions", "interval_s"],
        "properties": {
            "risk_per_trade": {"type": "number", "minimum": 0.001, "maximum": 0.05, "x-apply": "hot",
                               "x-risk": {"direction": "up", "class": "high"},
                               "x-help": "part of the equity that one trade may lose"},
            "max_positions": {"type": "integer", "minimum": 0, "maximum": 20, "x-apply": "hot",
                              "x-risk": {"direction": "up", "class": "low"}},
            "interval_s": {"type": "number", "minimum": 0.1, "maximum": 60, "x-apply": "restart", "x-unit": "s",
                           "x-risk": {"direction": "none", "class": "low"}},
        },
    })
}

/// What the schema cannot say: a rule between two fields.
fn check(values: &Map<String, Value>) -> Vec<ConfigFinding> {
    let number = |name: &str| values.get(name).and_then(Value::as_f64).unwrap_or_default();
    let at_risk = number("risk_per_trade") * number("max_positions");
    let finding = || {
        ConfigFinding::refused(
            "/max_positions",
            "all positions together would risk more than a fifth of the equity",
        )
        .fix("use fewer positions, or a smaller risk for each")
    };
    (at_risk > 0.2).then(finding).into_iter().collect()
}

#[tokio::main]
async fn main() -> Result<(), String> {
    let socket = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "config/bot.sock".to_owned()));
    let data = socket.parent().unwrap_or(Path::new(".")).join("data");
    let first = json!({"risk_per_trade": 0.01, "max_positions": 5, "interval_s": 0.5});
    let config = ManagedConfig::new(schema(), first).check(check);
    let values = config.values();
    let served = BotServer::new("config-bot".parse()?, TradingMode::Paper, env!("CARGO_PKG_VERSION"))
        .data_dir(&data)
        .expected_interval(Duration::from_secs(2))
        .config(config)
        .on_command(Verb::Pause, |_| async { CommandReply::done("no new positions are opened") })
        .on_command(Verb::Resume, |_| async { CommandReply::done("new positions may be opened again") })
        .on_command(Verb::Flatten, |_| async {
            CommandReply::done("there was nothing to sell").with_exposure(nothing_open())
        })
        .on_preview(Verb::Flatten, |_| async {
            CommandReply::predicted("there is nothing to sell").with_exposure(nothing_open())
        })
        .serve(&socket)?;
    let bot = served.bot();
    loop {
        // What is in force now: a trial may have changed it since the last round.
        let now = values.load();
        let pause = now["interval_s"].as_f64().unwrap_or(0.5);
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs_f64(pause)) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        // Your strategy goes here, by `now["risk_per_trade"]` and `now["max_positions"]`.
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

fn nothing_open() -> Exposure {
    Exposure {
        orders_cancelled: Some(0),
        orders_submitted: Some(0),
        positions_left: Some(0),
        orders_left: Some(0),
        positions_closing: Some(Vec::new()),
        notional: "0".parse().ok(),
    }
}
