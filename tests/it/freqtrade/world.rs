//! A server that plays freqtrade, the adapter beside it, and botops in front of both.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::app::{Running, command};
use crate::kit::broker_stub::{Act, BrokerStub};
pub(super) use crate::kit::scripted_freqtrade::PASSWORD;
use crate::kit::{Process, folder, socket_client, until};

/// Long enough for whatever the adapter does next, on a busy machine.
pub(super) const SOON: Duration = Duration::from_secs(30);

/// A server that answers like freqtrade; each answer can be replaced.
pub(super) struct FreqtradeStub {
    stub: BrokerStub,
}

impl FreqtradeStub {
    /// A freqtrade on paper that runs, with no trade.
    pub(super) async fn start() -> Self {
        let freqtrade = Self { stub: BrokerStub::start().await };
        freqtrade.recover();
        freqtrade
    }

    /// Answers every path as at the start.
    pub(super) fn recover(&self) {
        self.answer("ping", &json!({"status": "pong"}));
        self.answer("show_config", &config());
        self.answer("status", &json!([]));
        self.answer(
            "balance",
            &json!({"currencies": [{"currency": "USDT", "free": 1000.5, "used": 0.0}],
            "total": 1000.5, "total_bot": 1000.5, "stake": "USDT"}),
        );
        self.answer("locks", &json!({"lock_count": 0, "locks": []}));
        self.trades_pairs(&["BTC/USDT", "ETH/USDT"]);
        self.closed(&json!([]));
        self.logs(&[log_line(1, "INFO", "Starting worker 2026.9"), heartbeat(2)]);
        self.went_round(0, 100);
    }

    /// A freqtrade that answers as the recorded one did.
    pub(super) async fn recorded() -> Self {
        let freqtrade = Self::start().await;
        for path in ["show_config", "health", "status", "balance", "locks", "trades", "logs"] {
            freqtrade.answer_text(path, &recorded(path));
        }
        freqtrade
    }

    pub(super) fn url(&self) -> String {
        self.stub.url()
    }

    pub(super) fn act(&self, path: &str, act: Act) {
        self.stub.always(&format!("GET /api/v1/{path}"), act);
    }

    pub(super) fn answer(&self, path: &str, answer: &Value) {
        self.answer_text(path, &answer.to_string());
    }

    pub(super) fn answer_text(&self, path: &str, answer: &str) {
        // As uvicorn does: what its clock shows.
        let date = chrono::Utc::now().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
        self.act(path, Act::ok(answer).header("Date", date));
    }

    /// The config with some values replaced.
    pub(super) fn configured(&self, changes: &Value) {
        self.answer("show_config", &merged(config(), changes));
    }

    /// The closed trades, as `trades` gives them.
    pub(super) fn closed(&self, trades: &Value) {
        let count = trades.as_array().unwrap().len();
        self.answer(
            "trades",
            &json!({"trades": trades, "trades_count": count, "offset": 0, "total_trades": count}),
        );
    }

    /// The pairs that it trades.
    pub(super) fn trades_pairs(&self, pairs: &[&str]) {
        self.answer(
            "whitelist",
            &json!({"whitelist": pairs, "length": pairs.len(), "method": ["StaticPairList"]}),
        );
    }

    pub(super) fn logs(&self, lines: &[Value]) {
        self.answer("logs", &json!({"log_count": lines.len(), "logs": lines}));
    }

    /// Its loop went round so many seconds ago, and was set up at this moment.
    pub(super) fn went_round(&self, seconds_ago: i64, startup: i64) {
        let at = chrono::Utc::now().timestamp() - seconds_ago;
        self.answer("health", &json!({"last_process_ts": at, "bot_start_ts": 1, "bot_startup_ts": startup}));
    }

    /// Every path, `ping` included, takes the connection and gives no answer.
    pub(super) fn hang(&self) {
        for path in
            ["ping", "show_config", "health", "status", "balance", "locks", "whitelist", "trades", "logs"]
        {
            self.act(path, Act::Hang);
        }
    }

    /// The answer to a login with the password.
    pub(super) fn give_token(&self, token: &str) {
        let answer = json!({"access_token": token, "refresh_token": "none"}).to_string();
        self.stub.always("POST /api/v1/token/login", Act::ok(answer));
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        self.stub.addr
    }

    /// The requests so far, by method and path.
    pub(super) fn requests(&self) -> Vec<(String, String)> {
        self.stub.journal().into_iter().map(|seen| (seen.method, seen.path)).collect()
    }
}

fn config() -> Value {
    json!({"version": "2026.9", "dry_run": true, "trading_mode": "spot", "margin_mode": "", "short_allowed": false,
        "stake_currency": "USDT", "stake_amount": "50", "max_open_trades": 3.0, "exchange": "binance",
        "strategy": "Sample", "bot_name": "freqtrade", "state": "running", "runmode": "dry_run"})
}

fn merged(mut value: Value, changes: &Value) -> Value {
    for (name, change) in changes.as_object().unwrap() {
        value[name] = change.clone();
    }
    value
}

fn recorded(path: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/freqtrade/{path}.json"));
    fs::read_to_string(file).unwrap()
}

/// A line of freqtrade's log; `second` puts lines in order.
pub(super) fn log_line(second: u32, level: &str, message: &str) -> Value {
    let at = f64::from(second).mul_add(1_000.0, 1_795_900_000_000.25);
    json!(["2026-11-29 04:00:00", at, "freqtrade.worker", level, message])
}

/// A process number that no process of this machine has.
pub(super) fn heartbeat(second: u32) -> Value {
    log_line(second, "INFO", "Bot heartbeat. PID=4194999, version='2026.9', state='RUNNING'")
}

/// An open trade with some values replaced.
pub(super) fn open_trade(id: i64, changes: &Value) -> Value {
    let trade = json!({"trade_id": id, "pair": "BTC/USDT", "is_open": true, "is_short": false, "amount": 0.5,
        "open_rate": 100.0, "open_timestamp": 1_795_900_000_000_i64 + id, "current_rate": 110.0, "leverage": 1.0,
        "fee_open": 0.001, "fee_open_cost": 0.05, "fee_open_currency": "USDT",
        "realized_profit": 0.0, "profit_abs": 4.9, "stop_loss_abs": 90.0,
        "orders": [order(&format!("entry-{id}"), &json!({}))]});
    merged(trade, changes)
}

/// A closed trade with some values replaced.
pub(super) fn closed_trade(id: i64, changes: &Value) -> Value {
    let exit = json!({"ft_order_side": "sell", "safe_price": 90.0});
    let trade = json!({"trade_id": id, "pair": "BTC/USDT", "is_open": false, "is_short": false, "amount": 0.5,
        "open_rate": 100.0, "open_timestamp": 1_795_900_000_000_i64 + id, "close_rate": 90.0,
        "close_timestamp": 1_795_900_600_000_i64 + id, "close_profit_abs": -5.095, "exit_reason": "stop_loss",
        "orders": [order(&format!("entry-{id}"), &json!({})), order(&format!("exit-{id}"), &exit)]});
    merged(trade, changes)
}

/// A filled entry with some values replaced.
pub(super) fn order(id: &str, changes: &Value) -> Value {
    let order = json!({"order_id": id, "pair": "BTC/USDT", "status": "closed", "amount": 0.5, "filled": 0.5,
        "remaining": 0.0, "safe_price": 100.0, "ft_order_side": "buy", "order_type": "limit", "is_open": false,
        "order_timestamp": 1_795_900_000_000_i64, "order_filled_timestamp": 1_795_900_001_000_i64});
    merged(order, changes)
}

/// The adapter's process. Its folder stays over kills and restarts.
pub(super) struct Adapter {
    pub folder: TempDir,
    process: Option<Process>,
    url: String,
    password: String,
    client: reqwest::Client,
}

impl Adapter {
    /// Starts it beside a freqtrade; nothing is waited for.
    pub(super) fn start(freqtrade: &FreqtradeStub) -> Self {
        Self::start_at(freqtrade.url())
    }

    /// The same, beside a freqtrade that is reached at this address.
    pub(super) fn start_at(url: String) -> Self {
        Self::start_with(url, PASSWORD.to_owned())
    }

    /// The same, with another password.
    pub(super) fn start_with(url: String, password: String) -> Self {
        let folder = folder();
        let client = socket_client(&folder.path().join("bot.sock"));
        let mut adapter = Self { folder, process: None, url, password, client };
        adapter.launch();
        adapter
    }

    /// Starts the process, again after a kill.
    pub(super) fn launch(&mut self) {
        self.process = Some(Process::spawn(&mut self.start_command()));
    }

    /// Starts the process, which ends by itself since it cannot go on.
    pub(super) fn launch_in_vain(&self) -> Output {
        self.start_command().output().unwrap()
    }

    fn start_command(&self) -> Command {
        let credentials = self.folder.path().join("credentials");
        fs::write(&credentials, format!("username=operator\npassword={}\n", self.password)).unwrap();
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let (socket, data, credentials) =
            (path("bot.sock"), path("adapter"), credentials.display().to_string());
        let arguments = [
            "freqtrade",
            "--url",
            &self.url,
            "--socket",
            &socket,
            "--credentials",
            &credentials,
            "--data-dir",
            &data,
            "--bot-id",
            "fq",
            "--poll-interval",
            "200ms",
        ];
        let mut command = command(&arguments);
        command.env("FAIL_IN", self.faults());
        command
    }

    /// Writes of this name fail while the folder holds a file of it.
    pub(super) fn faults(&self) -> PathBuf {
        self.folder.path().join("faults")
    }

    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join("bot.sock")
    }

    /// `GET` of the contract: status and JSON, or `None` while nobody serves.
    pub(super) async fn try_get(&self, path: &str) -> Option<(u16, Value)> {
        let response = self.client.get(format!("http://bot/ipc/v1/{path}")).send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, serde_json::from_slice(&response.bytes().await.ok()?).ok()?))
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.try_get(path).await.unwrap_or_default().1
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.client.post(format!("http://bot/ipc/v1/{path}")).json(body);
        crate::kit::app::answer(request).await
    }

    /// Waits until the state satisfies `wanted`, and returns it.
    pub(super) async fn until_state(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        until(what, SOON, || async { self.try_get("state").await.is_some_and(|(_, state)| wanted(&state)) })
            .await;
        let state = self.get("state").await;
        assert!(wanted(&state), "{what}: {state:#}");
        state
    }

    /// Everything that it wrote to its folder, logs included.
    pub(super) fn written(&self) -> String {
        fn read_all(folder: &Path, text: &mut String) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let path = entry.path();
                if path.is_dir() {
                    read_all(&path, text);
                } else {
                    text.push_str(&String::from_utf8_lossy(&fs::read(&path).unwrap()));
                }
            }
        }
        let mut text = String::new();
        read_all(&self.folder.path().join("adapter"), &mut text);
        text
    }

    /// botops in front of it.
    pub(super) async fn with_botops(&self) -> Running {
        let socket = self.socket().display().to_string();
        let settings =
            [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "fq"), ("BOT_POLL_INTERVAL", "200ms")];
        Running::start(self.folder.path(), &settings).await
    }
}

/// Waits until botops shows this presence, and returns what it shows of the bot.
pub(super) async fn until_presence(botops: &Running, presence: &str) -> Value {
    until(presence, SOON, || async { botops.get("/api/v1/state").await.1["bot"]["presence"] == presence })
        .await;
    botops.get("/api/v1/state").await.1["bot"].clone()
}

/// The messages of the adapter's events that botops took over, oldest first.
pub(super) async fn told(botops: &Running) -> Vec<String> {
    let (_, events) = botops.get("/api/v1/events?limit=500").await;
    let of_bot = events["items"].as_array().unwrap().iter().filter(|event| event["source"] == "bot:fq");
    of_bot.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
}

/// Waits until an event with this text was taken over.
pub(super) async fn until_told(botops: &Running, text: &str) -> Vec<String> {
    until(text, SOON, || async { told(botops).await.iter().any(|message| message.contains(text)) }).await;
    told(botops).await
}

/// What nobody asked for was not done: no run of a restart, and nothing but reads sent to freqtrade.
pub(super) async fn expect_left_alone(botops: &Running, freqtrade: &FreqtradeStub) {
    let (_, runs) = botops.get("/api/v1/workflows/restart-bot/runs").await;
    assert_eq!(runs["items"], json!([]));
    let acting = freqtrade
        .requests()
        .into_iter()
        .filter(|(method, path)| method != Method::GET.as_str() && !path.ends_with("token/login"));
    assert_eq!(acting.collect::<Vec<_>>(), []);
}

/// A freqtrade with one open trade, the adapter, and botops, all of which know each other.
pub(super) async fn stand_beside_open_trade() -> (FreqtradeStub, Adapter, Running) {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.answer("status", &json!([open_trade(1, &json!({}))]));
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    until_presence(&botops, "connected").await;
    until_told(&botops, "watches this freqtrade").await;
    (freqtrade, adapter, botops)
}
