//! paperbot: its ledger under kills, its commands, its config trials, and that readers do not delay its loop.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use botops_contract::{
    ActivateConfigRequest, BotPhase, BotReport, BreakerState, CheckVerdict, CommandOutcome, CommandRequest,
    ConfigState, EndTrialRequest, Order, OrderType, SessionPhase, Side, TradePage, Verb, VersionRef,
};
use data_encoding::HEXLOWER;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::ReportParts as _;
use crate::kit::paperbot::{Paperbot, lines, url};
use crate::kit::{Process, until};

const DEFAULT: &str = include_str!("../../crates/paperbot/schemas/default-bot-config.json");
const DAILY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/daily-2017-11-12.csv");

#[tokio::test]
async fn it_keeps_the_contract() {
    let bot = Paperbot::start(&["--tick", "5ms"]).await;
    bot.until("a trade is closed", |report| report.performance.trades_today > Some(3)).await;
    crate::contract::keeps_the_contract(&bot.socket()).await;
}

/// Scheduling policies of a process's threads, as numbers of `sched_setscheduler` (2 is round robin, real time).
fn policies(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().filter_map(Result::ok);
    let stats = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("stat")).ok());
    // The name in brackets may hold spaces; the policy is the 39th field after it (field 41 of `/proc/<pid>/stat`).
    let after_name = |stat: String| stat.rsplit(')').next().map(str::to_owned);
    stats
        .filter_map(after_name)
        .map(|rest| rest.split_ascii_whitespace().nth(38).unwrap().parse().unwrap())
        .collect()
}

#[tokio::test]
async fn its_trading_loop_alone_goes_before_ordinary_work_where_that_is_allowed() {
    let bot = Paperbot::start(&["--tick", "5ms"]).await;
    bot.until("the loop ticks", |report| report.ticks() > 3).await;
    let is_allowed =
        std::process::Command::new("chrt").args(["-r", "1", "true"]).output().unwrap().status.success();
    let real_time =
        policies(bot.process.as_ref().unwrap().pid()).into_iter().filter(|policy| *policy == 2).count();
    assert_eq!(real_time, usize::from(is_allowed));
}

/// The account that follows from ledger lines, computed without the bot's own code.
#[derive(Debug, Default, PartialEq)]
struct RebuiltAccount {
    cash: Decimal,
    positions: BTreeMap<String, Decimal>,
    fills: BTreeMap<String, Value>,
}

fn decimal(value: &Value) -> Decimal {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{value} is no decimal string"))
}

fn rebuild_account(ledger: &Path) -> RebuiltAccount {
    let mut account = RebuiltAccount::default();
    let mut orders: BTreeMap<String, Decimal> = BTreeMap::new();
    for (index, line) in lines(ledger).into_iter().enumerate() {
        assert_eq!(line["n"], index + 1, "a line is missing");
        let entry = &line["entry"];
        match entry["type"].as_str().unwrap() {
            "opened" => account.cash = decimal(&entry["cash"]),
            "placed" => {
                let id = entry["order_id"].as_str().unwrap().to_owned();
                assert!(orders.insert(id, decimal(&entry["quantity"])).is_none(), "an order stands twice");
            }
            "filled" => {
                let (quantity, price) = (decimal(&entry["quantity"]), decimal(&entry["price"]));
                let sign = if entry["side"] == "BUY" { Decimal::ONE } else { Decimal::NEGATIVE_ONE };
                account.cash -= sign * quantity * price + decimal(&entry["commission"]);
                let symbol = entry["symbol"].as_str().unwrap().to_owned();
                *account.positions.entry(symbol).or_default() += sign * quantity;
                let rest = orders.get_mut(entry["order_id"].as_str().unwrap()).expect("a fill has an order");
                *rest -= quantity;
                assert!(*rest >= Decimal::ZERO, "more was filled than ordered");
                let id = entry["fill_id"].as_str().unwrap().to_owned();
                assert!(account.fills.insert(id, entry.clone()).is_none(), "a fill stands twice");
            }
            _ => {}
        }
    }
    account.positions.retain(|_, quantity| !quantity.is_zero());
    account
}

#[track_caller]
fn value(amount: &Option<botops_contract::Amount>) -> Decimal {
    botops_contract::amount_value(amount.as_ref()).expect("paperbot knows it")
}

fn reported_holdings(report: &BotReport) -> (Decimal, BTreeMap<String, Decimal>) {
    let held = |position: &botops_contract::Position| (position.symbol.clone(), value(&position.quantity));
    (value(&report.account.cash_balance), report.position_list().iter().map(held).collect())
}

/// Collects the ids of fills that the bot publishes as events, until the process ends.
async fn collect_fill_events(bot: &Paperbot) -> tokio::task::JoinHandle<Vec<String>> {
    let mut stream = bot.client.get(url("events")).send().await.expect("the stream opens");
    tokio::spawn(async move {
        let mut text = String::new();
        while let Ok(Some(chunk)) = stream.chunk().await {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        let data = text.split("\n\n").filter(|frame| frame.ends_with('}')).flat_map(str::lines);
        let events = data.filter_map(|line| serde_json::from_str::<Value>(line.strip_prefix("data: ")?).ok());
        let fills = events.filter(|event| event["kind"] == "fill");
        fills.map(|event| event["data"]["fill_id"].as_str().unwrap().to_owned()).collect()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_kills_lose_no_fill_and_double_none() {
    let mut bot = Paperbot::prepare(&["--tick", "1ms"]);
    let ledger = bot.data().join("ledger.jsonl");
    let mut random = 0x5eed_u64;
    for start in 0..50 {
        bot.launch().await;
        let published = collect_fill_events(&bot).await;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Enough ticks for entries; every second start closes what the one before opened.
        let ticks = 70 + (random >> 33) % 60;
        bot.until("it has traded a while", |report| report.ticks() > ticks).await;
        if start % 2 == 1 {
            bot.command_as(Verb::Flatten, &format!("flatten {start}")).await;
            bot.command_as(Verb::Resume, &format!("resume {start}")).await;
        }
        tokio::time::sleep(Duration::from_micros((random >> 20) % 15_000)).await;
        bot.kill();
        let published = published.await.unwrap();
        let account = rebuild_account(&ledger);
        for fill in published {
            assert!(account.fills.contains_key(&fill), "{fill} was published and is not in the ledger");
        }
    }
    let account = rebuild_account(&ledger);
    assert!(account.fills.len() > 40, "only {} fills were put to the test", account.fills.len());

    bot.launch().await;
    // No order passes before the session's first check.
    bot.trades().await;
    assert_eq!(bot.command_as(Verb::Flatten, "stand still").await.outcome, CommandOutcome::Done);
    bot.until("everything is closed", |report| {
        report.holds_nothing()
            && report
                .order_list()
                .iter()
                .all(|order| order.filled_quantity == order.quantity || order.status_is_final())
    })
    .await;
    let account = rebuild_account(&ledger);
    assert_eq!(reported_holdings(&bot.state().await), (account.cash.round_dp(2), account.positions));
    let trades: TradePage = bot.get("trades?limit=5000").await.unwrap();
    let seqs: Vec<u64> = trades.items.iter().map(|trade| trade.seq).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert_eq!(
        Decimal::from(100_000) + trades.items.iter().map(|trade| value(&trade.net_pl)).sum::<Decimal>(),
        account.cash
    );
}

trait Final {
    fn status_is_final(&self) -> bool;
}

impl Final for Order {
    fn status_is_final(&self) -> bool {
        use botops_contract::OrderStatus::{Cancelled, Filled, Rejected};
        matches!(self.status, Some(Cancelled | Filled | Rejected))
    }
}

#[tokio::test]
async fn real_daily_prices_are_replayed_and_traded() {
    let mut bot = Paperbot::prepare(&["--replay", DAILY, "--tick", "2ms"]);
    let mut document: Value = serde_json::from_str(DEFAULT).unwrap();
    let target = |symbol: &str| json!({"symbol": symbol, "weight": 0.05});
    document["targets"] = json!([target("AAPL"), target("COKE"), target("TSLA")]);
    write_head(&bot, 1, &document.to_string());
    bot.launch().await;
    let ended = |report: &BotReport| report.phase_reason.as_deref() == Some("the replay has ended");
    let report = bot.until("the replay ends", ended).await;
    assert_eq!(report.market.source.as_deref(), Some("replay"));
    assert_eq!(report.mode.to_string(), "backtest");
    assert!(
        report
            .error_list()
            .iter()
            .any(|error| error.error_code == "BOT_010" && error.message.contains("2017-11-08"))
    );
    let trades: TradePage = bot.get("trades").await.unwrap();
    assert!(trades.items.len() >= 3, "{trades:?}");
    for trade in &trades.items {
        assert_eq!(trade.side, Some(Side::Buy));
        assert!(
            trade.closed_at.to_rfc3339().starts_with("2017-1") && trade.opened_at < Some(trade.closed_at)
        );
        assert_eq!(value(&trade.net_pl), value(&trade.gross_pl) - value(&trade.commission));
    }
    let from: TradePage = bot.get("trades?from=2017-12-01T00:00:00Z").await.unwrap();
    assert!(from.items.len() < trades.items.len());

    // After a restart the replay continues, and does not trade the same days again.
    bot.kill();
    bot.launch().await;
    bot.until("the replay has ended again", ended).await;
    let again: TradePage = bot.get("trades").await.unwrap();
    assert_eq!(again.items[..trades.items.len()], trades.items[..]);
}

/// Whether a position is held that no order sells, apart from the one that rests at its target.
fn holds_to_keep(report: &BotReport) -> bool {
    let leaves = |order: &&Order| {
        order.side == Some(Side::Sell)
            && order.order_type == Some(OrderType::Market)
            && !order.status_is_final()
    };
    let left: Vec<&str> =
        report.order_list().iter().filter(leaves).filter_map(|order| order.symbol.as_deref()).collect();
    report.position_list().iter().any(|position| !left.contains(&position.symbol.as_str()))
}

#[tokio::test]
async fn a_command_acts_once_even_across_a_kill() {
    // A position is held for hundreds of ticks; with long ticks it is there as long as the test needs it.
    let mut bot = Paperbot::start(&["--tick", "30ms"]).await;
    bot.until("a position is open", holds_to_keep).await;
    let dry = CommandRequest {
        command_id: "f".to_owned(),
        reason: "what if".to_owned(),
        args: Value::Null,
        dry_run: true,
        valid_for_ms: None,
        expires_at: None,
    };
    let predicted = bot.command_with(Verb::Flatten, &dry).await;
    assert_eq!(predicted.outcome, CommandOutcome::Predicted);
    assert!(bot.state().await.phase != BotPhase::Paused, "it was a dry run");

    let first = bot.command_as(Verb::Flatten, "f").await;
    assert_eq!(
        (first.outcome, first.phase, first.replayed),
        (CommandOutcome::Done, Some(BotPhase::Paused), false)
    );
    assert!(!first.exposure.unwrap().positions_closing.unwrap().is_empty());
    bot.until("all is closed", |report| report.holds_nothing()).await;
    bot.command_as(Verb::Resume, "r").await;
    bot.trades().await;
    bot.kill();
    bot.launch().await;

    let again = bot.command_as(Verb::Flatten, "f").await;
    assert!(again.replayed);
    assert_eq!(again.at, first.at);
    assert!(bot.state().await.phase != BotPhase::Paused, "the repeated command did nothing");
    bot.trades().await;
    let effects = lines(&bot.data().join("effects.jsonl"));
    assert_eq!(effects.iter().filter(|effect| effect["command_id"] == "f").count(), 1);
    let (status, refusal) = bot.post("commands/pause", &json!({"command_id": "f", "reason": "x"})).await;
    assert_eq!((status, &refusal["code"]), (409, &json!("command_id_reused")));
}

#[tokio::test]
async fn a_pause_survives_a_kill_and_lets_no_position_open() {
    let mut bot = Paperbot::start(&["--tick", "5ms"]).await;
    bot.command_as(Verb::Pause, "p").await;
    bot.kill();
    let opened = lines(&bot.data().join("ledger.jsonl")).len();
    bot.launch().await;
    bot.until("the market has moved on", |report| report.ticks() > 300).await;
    let report = bot.state().await;
    assert_eq!((report.phase, report.opens_positions()), (BotPhase::Paused, false));
    assert!(report.entry_reasons().contains(&"paused".to_owned()));
    let later = lines(&bot.data().join("ledger.jsonl"));
    let entries = later.iter().skip(opened).filter(|line| line["entry"]["purpose"] == "entry");
    assert_eq!(entries.count(), 0);
    assert_eq!(bot.command_as(Verb::Resume, "r").await.phase, Some(BotPhase::Running));
}

#[tokio::test]
async fn cancel_orders_takes_away_what_rests() {
    // The order rests for hundreds of ticks; with long ticks it is still there when the command comes.
    let bot = Paperbot::start(&["--tick", "30ms"]).await;
    let rests = |report: &BotReport| {
        report.order_list().iter().any(|order| !order.status_is_final() && order.side == Some(Side::Sell))
    };
    bot.until("a profit-taking order rests", rests).await;
    let result = bot.command_as(Verb::CancelOrders, "c").await;
    assert!(result.exposure.unwrap().orders_cancelled > Some(0));
    let refused = bot.command_as(Verb::ResetBreaker, "b").await;
    assert_eq!(refused.reason_code.as_deref(), Some("breaker_closed"));
}

#[tokio::test]
async fn it_stops_in_order_on_a_command_and_on_sigterm() {
    let mut bot = Paperbot::start(&["--tick", "5ms"]).await;
    let result = bot.command_as(Verb::Shutdown, "bye").await;
    assert_eq!(result.phase, Some(BotPhase::Stopping));
    let status = bot.process.take().unwrap().wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0));
    bot.launch().await;
    assert!(
        bot.command_as(Verb::Shutdown, "bye").await.replayed,
        "an old command does not stop a new process"
    );
    bot.process.as_ref().unwrap().terminate();
    assert_eq!(bot.process.take().unwrap().wait(Duration::from_secs(20)).code(), Some(0));
    assert!(!bot.socket().exists());
}

#[tokio::test]
async fn a_second_bot_and_a_bad_start_are_refused_with_a_reason() {
    let bot = Paperbot::start(&[]).await;
    let says = |command: &mut std::process::Command| {
        let output = command.stderr(std::process::Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, said) = says(&mut bot.command());
    assert_eq!(code, Some(2));
    assert!(said.contains("another bot (process ") && said.contains(") uses"), "{said}");

    let other = Paperbot::prepare(&[]);
    let (code, said) = says(other.command().arg("--socket").arg(bot.socket()));
    assert_eq!(code, Some(2), "{said}");
    let long = other.folder.path().join("x".repeat(120));
    let mut command = std::process::Command::new(crate::kit::program("paperbot"));
    let (code, said) = says(command.arg("--data-dir").arg(other.data()).arg("--socket").arg(long));
    assert_eq!(code, Some(2));
    assert!(said.contains("too long for a socket"), "{said}");
    let (code, said) = says(other.command().arg("--replay").arg("/nowhere.csv"));
    assert_eq!(code, Some(2));
    // The option is named, its value is not repeated.
    assert!(said.contains("--replay: No such file") && !said.contains("/nowhere.csv"), "{said}");
}

fn sha(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text.as_bytes()))
}

fn write_head(bot: &Paperbot, version: u64, text: &str) {
    let folder = bot.data().join("config");
    std::fs::create_dir_all(folder.join("versions")).unwrap();
    let file = format!("versions/{version:06}-{}.json", sha(text).split_at(8).0);
    std::fs::write(folder.join(&file), text).unwrap();
    let head = json!({"version": version, "sha256": sha(text), "file": file, "txn": null, "at": "2026-01-01T00:00:00Z"});
    std::fs::write(folder.join("HEAD.new"), head.to_string()).unwrap();
    std::fs::rename(folder.join("HEAD.new"), folder.join("HEAD")).unwrap();
}

async fn config(bot: &Paperbot) -> ConfigState {
    bot.get("config").await.unwrap()
}

async fn activate(bot: &Paperbot, txn: &str, generation: u64, text: &str, ttl_ms: u64) -> (u16, Value) {
    let message = ActivateConfigRequest {
        txn: txn.to_owned(),
        generation,
        base: config(bot).await.running,
        candidate: VersionRef { version: 2, sha256: sha(text) },
        document: text.to_owned(),
        ttl_ms,
        boot_once: false,
    };
    bot.post("config/activate", &message).await
}

fn with(pointer: &str, value: Value) -> String {
    let mut document: Value = serde_json::from_str(DEFAULT).unwrap();
    *document.pointer_mut(pointer).unwrap() = value;
    document.to_string()
}

#[tokio::test]
async fn a_config_trial_changes_what_the_bot_does_and_ends_by_itself() {
    let bot = Paperbot::start(&["--tick", "5ms"]).await;
    bot.until("positions may be opened", |report| report.entry_reasons().is_empty()).await;
    let base = config(&bot).await.running;
    assert_eq!((base.version, base.sha256), (0, sha(DEFAULT)));

    let minute = (chrono::Utc::now() + chrono::TimeDelta::hours(2)).with_timezone(&chrono_tz::UTC);
    let mut document: Value = serde_json::from_str(DEFAULT).unwrap();
    let from = if minute.format("%H").to_string() == "23" {
        "00:00".to_owned()
    } else {
        minute.format("%H:00").to_string()
    };
    let to = from.replace(":00", ":59");
    document["trading"]["hours"] = json!({"start_time": from, "end_time": to, "timezone": "UTC"});
    let later = document.to_string();
    // First a trial that is long enough to be seen.
    let (status, ack) = activate(&bot, "t0", 1, &later, 60_000).await;
    assert_eq!((status, &ack["running"]["sha256"]), (200, &json!(sha(&later))));
    let report = bot.state().await;
    assert_eq!(report.running_config().trial.as_ref().map(|trial| trial.txn.as_str()), Some("t0"));
    bot.until("the hours gate entries", |report| {
        report.entry_reasons().contains(&"outside_hours".to_owned())
    })
    .await;
    assert_eq!(
        bot.post("config/revert", &EndTrialRequest { txn: "t0".to_owned(), generation: 1 }).await.0,
        200
    );
    assert_eq!(activate(&bot, "t1", 2, &later, 300).await.0, 200);
    bot.until("HEAD's config is back", |report| {
        report.running_config().trial.is_none() && report.running_config().running.version == 0
    })
    .await;
    bot.until("entries are possible again", |report| report.entry_reasons().is_empty()).await;
    assert_eq!(config(&bot).await.last_outcome, Some(("t1".to_owned(), "trial_expired".to_owned())));
    let (status, refusal) =
        bot.post("config/commit", &EndTrialRequest { txn: "t1".to_owned(), generation: 2 }).await;
    assert_eq!((status, &refusal["code"]), (409, &json!("not_in_trial")));
    let effects: Vec<Value> = lines(&bot.data().join("effects.jsonl"));
    for (txn, ending) in [("t0", "reverted"), ("t1", "trial_expired")] {
        let verbs: Vec<&Value> =
            effects.iter().filter(|effect| effect["txn"] == txn).map(|effect| &effect["verb"]).collect();
        assert_eq!(verbs, ["activated", ending]);
    }
}

#[tokio::test]
async fn a_kill_during_a_trial_boots_from_head() {
    let mut bot = Paperbot::prepare(&["--tick", "5ms"]);
    write_head(&bot, 4, DEFAULT);
    bot.launch().await;
    assert_eq!(config(&bot).await.running.version, 4);
    let candidate = with("/trading/max_trades_per_day", json!(3));
    assert_eq!(activate(&bot, "t", 7, &candidate, 60_000).await.0, 200);
    bot.kill();
    bot.launch().await;
    let state = config(&bot).await;
    assert_eq!((state.running.sha256, state.trial, state.generation), (sha(DEFAULT), None, 7));
    let (status, refusal) = activate(&bot, "u", 6, &candidate, 60_000).await;
    assert_eq!((status, &refusal["code"]), (409, &json!("older_generation")));

    assert_eq!(activate(&bot, "u", 8, &candidate, 60_000).await.0, 200);
    let commit = EndTrialRequest { txn: "u".to_owned(), generation: 8 };
    assert_eq!(bot.post("config/commit", &commit).await.1["code"], "head_mismatch");
    write_head(&bot, 5, &candidate);
    assert_eq!(bot.post("config/commit", &commit).await.0, 200);
    assert_eq!(bot.post("config/commit", &commit).await.0, 200);
    bot.kill();
    bot.launch().await;
    assert_eq!(config(&bot).await.running.version, 5);
    assert_eq!(bot.post("config/commit", &commit).await.0, 200, "the outcome is remembered");
}

#[tokio::test]
async fn a_config_that_cannot_work_is_refused_by_the_check_and_the_activation() {
    let bot = Paperbot::start(&["--tick", "5ms"]).await;
    let bad = with("/targets/0/symbol", json!("ZZZZ"));
    let check: Value = serde_json::from_str(&bad).unwrap();
    let (status, verdict) = bot.post("config/check", &json!({"config": check})).await;
    let verdict: CheckVerdict = serde_json::from_value(verdict).unwrap();
    assert_eq!((status, verdict.ok), (200, false));
    assert_eq!(verdict.violations[0].path, "/targets/0/symbol");
    let (status, refusal) = activate(&bot, "t", 1, &bad, 60_000).await;
    assert_eq!((status, &refusal["code"]), (422, &json!("check_failed")));
    let slower: Value =
        serde_json::from_str(&with("/order_management/poll_interval_seconds", json!(30))).unwrap();
    let (_, verdict) = bot.post("config/check", &json!({"config": slower})).await;
    assert_eq!(
        (&verdict["restart"], &verdict["hot"]),
        (&json!(["/order_management/poll_interval_seconds"]), &json!([]))
    );
    assert_eq!(config(&bot).await.trial, None);
}

#[tokio::test]
async fn limits_bind_orders_and_refusals_say_why() {
    let bot = Paperbot::start(&["--tick", "5ms"]).await;
    let tight = with("/order_management/max_slippage_pct", json!(0.05));
    bot.command_as(Verb::Pause, "p").await;
    bot.command_as(Verb::Flatten, "f").await;
    bot.until("nothing is open", |report| report.holds_nothing()).await;
    assert_eq!(activate(&bot, "t", 1, &tight, 60_000).await.0, 200);
    bot.command_as(Verb::Resume, "r").await;
    let refused = |report: &BotReport| report.loop_stats.order_rejects_last_hour > Some(2);
    let report = bot.until("orders are refused", refused).await;
    let error = report.error_list().iter().find(|error| error.error_code == "BRK_010").unwrap();
    assert_eq!(error.context["reason_code"], "slippage_limit");
    assert!(report.holds_nothing());
}

#[tokio::test]
async fn losses_open_the_breaker_which_stays_open_across_a_kill_until_it_is_reset() {
    let mut bot = Paperbot::prepare(&["--tick", "2ms"]);
    write_head(&bot, 1, &with("/risk_management/daily_loss_limit", json!("-1.00")));
    bot.launch().await;
    let open = |report: &BotReport| report.breaker().state == BreakerState::Open;
    let report = bot.until("the breaker opens", open).await;
    assert_eq!(report.breaker().source.as_deref(), Some("daily_loss"));
    assert!(!report.opens_positions());
    assert!(report.error_list().iter().any(|error| error.error_code == "BOT_013"));
    bot.kill();
    // With so tight a limit, the loss of the next tick would open the breaker again before the test sees it closed.
    write_head(&bot, 2, DEFAULT);
    bot.launch().await;
    assert_eq!(bot.state().await.breaker().state, BreakerState::Open);
    let reset = bot.command_as(Verb::ResetBreaker, "r").await;
    assert_eq!(reset.outcome, CommandOutcome::Done);
    bot.trades().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_that_never_read_do_not_slow_the_loop() {
    let bot = Paperbot::start(&["--tick", "5ms"]).await;
    bot.until("it ticks", |report| report.ticks() > 100).await;
    let mut stalled = Vec::new();
    for _ in 0..50 {
        let mut stream = tokio::net::UnixStream::connect(bot.socket()).await.unwrap();
        for path in ["state", "events"] {
            let request = format!("GET /ipc/v1/{path} HTTP/1.1\r\nhost: bot\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
        }
        stalled.push(stream);
    }
    let before = bot.state().await.ticks();
    let started = std::time::Instant::now();
    let moved = || async { bot.state().await.ticks() > before + 200 };
    until("the loop goes on", Duration::from_secs(20), moved).await;
    // 200 ticks of 5 ms take a second; a loop that waited for a reader would not get there.
    assert!(started.elapsed() < Duration::from_secs(10));
    let mut one = [0; 16];
    stalled[0].read_exact(&mut one).await.unwrap();
    assert!(one.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_stopped_process_reports_the_gap_when_it_goes_on() {
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    let process: &Process = bot.process.as_ref().unwrap();
    bot.until("it ticks", |report| report.ticks() > 3).await;
    process.freeze();
    tokio::time::sleep(Duration::from_millis(5_200)).await;
    process.thaw();
    let gap = |report: &BotReport| report.error_list().iter().any(|error| error.error_code == "BOT_010");
    bot.until("the gap is reported", gap).await;
}

#[tokio::test]
async fn a_session_that_the_broker_rejects_stops_orders_and_says_so() {
    let script = crate::kit::folder();
    let path = script.path().join("faults.yaml");
    // More good checks than are made before a position is open.
    let faults = "- {do: ok, times: 4}\n- {do: 401}\n- {do: credentials_rejected, times: 1}\n";
    std::fs::write(&path, faults).unwrap();
    // With ticks this long, the position is still held when the session is halted.
    let bot = Paperbot::start(&["--tick", "30ms", "--fault-script", path.to_str().unwrap()]).await;
    let healthy =
        |report: &BotReport| report.session.as_ref().is_some_and(|session| session.is_healthy == Some(true));
    bot.until("the session is proven", healthy).await;
    bot.until("a position is open", |report| !report.holds_nothing()).await;
    for check in 0..5 {
        bot.command_as(Verb::ProbeSession, &format!("check {check}")).await;
    }
    let halted = |report: &BotReport| {
        report.session.as_ref().is_some_and(|session| session.state == SessionPhase::HaltedCredential)
    };
    bot.until("the session is halted", halted).await;
    let named = "session_credentials_rejected".to_owned();
    bot.until("the snapshot follows", |report| {
        !report.opens_positions()
            && report.phase == BotPhase::Degraded
            && report.entry_reasons().contains(&named)
    })
    .await;
    let flatten = bot.command_as(Verb::Flatten, "f").await;
    assert_eq!(
        (flatten.outcome, flatten.reason_code.as_deref()),
        (CommandOutcome::Refused, Some("session_halted"))
    );

    let signed_in = bot.command_as(Verb::Reauth, "again").await;
    assert_eq!(signed_in.outcome, CommandOutcome::Done, "{signed_in:?}");
    assert!(bot.command_as(Verb::Reauth, "again").await.replayed);
    // Not "trading is enabled": on a slow machine the market may have reached a limit on losses meanwhile.
    let in_the_way =
        |report: &BotReport| report.entry_reasons().iter().any(|reason| reason.starts_with("session"));
    bot.until("the session lets it trade again", |report| healthy(report) && !in_the_way(report)).await;
}
