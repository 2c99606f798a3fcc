//! Small bots that nobody here wrote, as they are met outside: each reports what it has, in its own words.
//!
//! What botops makes of each stands in `tests/data/zoo/` (`UPDATE_DOCUMENTS=1 cargo test --locked --test it -- zoo` writes it
//! anew). No value may stand there that the bot did not give.

mod contract_one;
mod crypto_spot;
mod frozen_loop;
mod futures;
mod live;
mod minimal;
mod no_config;
mod no_session;
mod no_trades;
mod own_config;
mod slow_starter;
mod unknown_words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::kit::app::Running;
use crate::kit::plausible::report;
use crate::kit::scripted_bot::ScriptedBot;

/// A bot of the zoo: its name, and what it answers to `hello` and `state`.
pub(crate) struct ForeignBot {
    pub name: &'static str,
    pub hello: fn() -> Value,
    pub state: fn(&BotClock) -> Value,
}

/// The time of a bot's process, for what changes from answer to answer.
pub(crate) struct BotClock {
    started: Instant,
    began_at: DateTime<Utc>,
}

impl BotClock {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), began_at: Utc::now() }
    }

    /// How many answers a bot has made that makes ten in a second.
    pub(super) fn seq(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis() / 100).unwrap() + 1
    }

    pub(super) fn began_at(&self) -> DateTime<Utc> {
        self.began_at
    }
}

pub(super) fn now() -> String {
    Utc::now().to_rfc3339()
}

/// Every bot of the zoo.
pub(crate) const ZOO: [ForeignBot; 11] = [
    minimal::BOT,
    crypto_spot::BOT,
    futures::BOT,
    unknown_words::BOT,
    no_config::BOT,
    no_trades::BOT,
    no_session::BOT,
    frozen_loop::BOT,
    slow_starter::BOT,
    live::BOT,
    contract_one::BOT,
];

impl ForeignBot {
    /// Starts it on a socket, under the name that every scripted bot has.
    pub(crate) fn start(&self) -> ScriptedBot {
        let bot = ScriptedBot::start();
        let clock = BotClock::start();
        let (hello, state) = (self.hello, self.state);
        let mut script = bot.script();
        // The link knows the bot by the name that every scripted bot has.
        script.raw.insert("hello", Arc::new(move || named(hello()).to_string()));
        script.raw.insert("state", Arc::new(move || state(&clock).to_string()));
        script.hello.bot_id = report_id();
        drop(script);
        bot
    }

    /// botops beside it, once it has a report that can be shown.
    async fn beside(&self, bot: &ScriptedBot, more: &[(&str, &str)]) -> (tempfile::TempDir, Running) {
        let folder = crate::kit::folder();
        let socket = bot.socket().display().to_string();
        let mut settings = vec![("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")];
        settings.extend(more);
        let botops = Running::start(folder.path(), &settings).await;
        let name = self.name;
        crate::kit::until(&format!("{name} is read"), Duration::from_secs(20), || async {
            botops.get("/api/v1/state").await.1["as_of"].is_string()
        })
        .await;
        (folder, botops)
    }
}

fn report_id() -> botops_contract::BotId {
    crate::kit::plausible::hello(&report()).bot_id
}

fn named(mut hello: Value) -> Value {
    hello["bot_id"] = json!("scripted");
    hello
}

/// The summary without what differs from run to run.
fn lasting(mut summary: Value) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(members) => {
                for name in [
                    "generated_at",
                    "as_of",
                    "data_age_seconds",
                    "since",
                    "began_at",
                    "last_trade_time",
                    "timestamp",
                ] {
                    if members.get(name).is_some_and(|value| !value.is_null()) {
                        members.insert(name.to_owned(), json!("…"));
                    }
                }
                // The day that a report of now stands for; another date is the bot's own word.
                let today = chrono::Utc::now().to_string();
                if members.get("date").and_then(Value::as_str).is_some_and(|date| today.starts_with(date)) {
                    members.insert("date".to_owned(), json!("today"));
                }
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            Value::String(text) if text.contains("s ago") => *text = without_digits(text),
            _ => {}
        }
    }
    strip(&mut summary);
    // Statuses of checks come when they come.
    for name in
        ["system_health", "system_health_reason", "config_sync", "not_green", "incidents", "next_actions"]
    {
        summary.as_object_mut().unwrap().remove(name);
    }
    summary
}

fn without_digits(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect::<String>().replace("####", "###")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bot_of_the_zoo_is_told_as_it_is() {
    let mut wrong = Vec::new();
    for foreign in &ZOO {
        let bot = foreign.start();
        let (_folder, botops) = foreign.beside(&bot, &[]).await;
        if foreign.name == frozen_loop::BOT.name {
            // That a loop does not move is seen after a while only.
            crate::kit::until("the standstill is told", Duration::from_secs(20), || async {
                botops.get("/api/v1/summary").await.1["health_status"] == "degraded"
            })
            .await;
        }
        let (_, summary) = botops.get("/api/v1/summary").await;
        let shown = format!("{:#}\n", lasting(summary));
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/data/zoo")
            .join(format!("{}.json", foreign.name));
        if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
            std::fs::write(&file, &shown).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if expected != shown {
            wrong.push(format!("{}: expected {expected}, is {shown}", foreign.name));
        }
        let (status, markdown) = botops.get("/api/v1/state").await;
        assert_eq!(status, 200, "{}: {markdown}", foreign.name);
        botops.stop().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bot_does_not_report_is_null_everywhere() {
    let bot = minimal::BOT.start();
    let (_folder, botops) = minimal::BOT.beside(&bot, &[]).await;
    let (_, state) = botops.get("/api/v1/state").await;
    for part in
        ["account", "positions", "orders", "performance", "circuit_breaker", "session", "config", "market"]
    {
        assert_eq!(state[part], Value::Null, "{part}: {state:#}");
        let unknown = state["unknown"].as_array().unwrap();
        assert!(unknown.iter().any(|known| known["part"] == part), "{part} has no reason: {unknown:?}");
    }
    let (_, metrics) = botops.get("/api/v1/metrics").await;
    for number in
        ["position_count", "open_order_count", "daily_pnl", "account_balance", "trades_today", "win_rate"]
    {
        assert_eq!(metrics[number], Value::Null, "{number}");
    }
    let (_, performance) = botops.get("/api/v1/performance?window=all").await;
    for number in ["total_trades", "max_drawdown", "realized_pnl", "source", "total_pnl"] {
        assert_eq!(performance[number], Value::Null, "{number}");
    }
    assert!(performance["unknown_reason"].as_str().unwrap().contains("does not report its closed trades"));
    crate::kit::until("no session is watched where there is none", Duration::from_secs(20), || async {
        let (_, health) = botops.get("/api/v1/health/status").await;
        let components = health["components"].as_array().unwrap();
        let is_watched = |id: &str| components.iter().any(|component| component["component_id"] == id);
        is_watched("bot") && !is_watched("broker_session") && !is_watched("config_sync")
    })
    .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_to_any_bot_of_the_zoo() {
    let watched = Duration::from_secs(30);
    let mut worlds = Vec::new();
    for foreign in &ZOO {
        let bot = foreign.start();
        // A twentieth of the usual interval.
        let (folder, botops) = foreign.beside(&bot, &[("BOT_POLL_INTERVAL", "50ms")]).await;
        worlds.push((foreign, bot, folder, botops));
    }
    let begun = Instant::now();
    while begun.elapsed() < watched {
        for (foreign, _, _, botops) in &worlds {
            let (status, summary) = botops.get("/api/v1/summary").await;
            assert_eq!(status, 200);
            assert_ne!(summary["health_status"], "offline", "{}: {summary:#}", foreign.name);
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    for (foreign, bot, _folder, botops) in worlds {
        let name = foreign.name;
        let (_, alerts) = botops.get("/api/v1/health/alerts?state=firing").await;
        let of_bot = alerts["items"].as_array().unwrap().iter().filter(|alert| {
            let component = alert["labels"]["component"].as_str().unwrap_or_default();
            component.starts_with("bot") || component.contains("session") || component.contains("config")
        });
        assert_eq!(of_bot.count(), 0, "{name}: {alerts:#}");
        let (_, runs) = botops.get("/api/v1/workflows/restart-bot/runs").await;
        assert_eq!(runs["items"], json!([]), "{name}");
        let changes = bot.journal().into_iter().filter(|asked| asked.method != "GET");
        assert_eq!(changes.count(), 0, "{name}: something was done to it");
        botops.stop().await;
    }
}
