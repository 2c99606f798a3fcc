//! The performance history compared with sums over the bot's ledger that are computed here: real prices, replayed by
//! the real program.

use std::collections::BTreeMap;

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::Running;
use crate::kit::paperbot::{Paperbot, lines};
use crate::kit::scripted_bot::{ScriptedBot, trade};

const DAILY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/daily-2017-11-12.csv");

/// A trade from no position to no position, computed from fills alone.
struct RoundTrip {
    symbol: String,
    day: String,
    net: Decimal,
    commission: Decimal,
}

fn decimal(value: &Value) -> Decimal {
    value.as_str().unwrap().parse().unwrap()
}

/// Sums the cash flows by symbol; a trade is closed when no share is held.
fn round_trips(ledger: &[Value]) -> Vec<RoundTrip> {
    let mut open: BTreeMap<String, (Decimal, Decimal, Decimal)> = BTreeMap::new();
    let mut closed = Vec::new();
    for fill in ledger.iter().map(|line| &line["entry"]).filter(|entry| entry["type"] == "filled") {
        let symbol = fill["symbol"].as_str().unwrap().to_owned();
        let (held, flow, commission) = open.entry(symbol.clone()).or_default();
        let quantity = decimal(&fill["quantity"]);
        let signed = if fill["side"] == "BUY" { quantity } else { -quantity };
        *held += signed;
        *flow -= signed * decimal(&fill["price"]) + decimal(&fill["commission"]);
        *commission += decimal(&fill["commission"]);
        if held.is_zero() {
            let day = fill["market_at"].as_str().unwrap().get(..10).unwrap().to_owned();
            closed.push(RoundTrip { symbol: symbol.clone(), day, net: *flow, commission: *commission });
            open.remove(&symbol);
        }
    }
    assert!(open.is_empty(), "the replay ends flat");
    closed
}

/// Compares the history's numbers with those computed from these trades.
fn check(said: &Value, trades: &[&RoundTrip]) {
    let net = |trade: &&RoundTrip| trade.net;
    let total: Decimal = trades.iter().map(net).sum();
    let wins: Vec<Decimal> = trades.iter().map(net).filter(|net| *net > Decimal::ZERO).collect();
    let losses: Vec<Decimal> = trades.iter().map(net).filter(|net| *net < Decimal::ZERO).collect();
    assert_eq!(said["total_trades"], json!(trades.len()), "{said:#}");
    assert_eq!(said["total_wins"], json!(wins.len()), "{said:#}");
    assert_eq!(said["total_losses"], json!(losses.len()), "{said:#}");
    assert_eq!(decimal(&said["realized_pnl"]), total, "{said:#}");
    let commission: Decimal = trades.iter().map(|trade| trade.commission).sum();
    assert_eq!(decimal(&said["commission"]), commission, "{said:#}");
    assert_eq!(decimal(&said["gross_pnl"]), total + commission, "{said:#}");
    if !trades.is_empty() {
        let told = decimal(&said["expectancy"]);
        let mean = total / Decimal::from(trades.len());
        assert!(told.scale() >= 2, "{said:#}");
        assert_eq!(told, mean.round_dp(told.scale()), "{said:#}");
    }
    let (mut sum, mut peak, mut deepest) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    for trade in trades {
        sum += trade.net;
        peak = peak.max(sum);
        deepest = deepest.min(sum - peak);
    }
    assert_eq!(decimal(&said["max_drawdown"]), deepest, "{said:#}");
    let newest_wins = trades.iter().rev().find(|trade| !trade.net.is_zero()).map(|t| t.net > Decimal::ZERO);
    let of_newest = |trade: &&&RoundTrip| Some(trade.net > Decimal::ZERO) == newest_wins;
    let streak = trades.iter().rev().filter(|trade| !trade.net.is_zero()).take_while(of_newest).count();
    assert_eq!(said["current_streak"], json!(streak), "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_months_performance_is_the_ledgers_to_the_cent() {
    let mut bot = Paperbot::prepare(&["--replay", DAILY, "--tick", "2ms"]);
    bot.launch().await;
    let folder = kit::folder();
    let socket = bot.socket().display().to_string();
    let botops = Running::start(folder.path(), &[("BOT_IPC_SOCKET", &socket), ("BOT_ID", "paperbot")]).await;
    bot.until("the replay ends", |report| report.phase_reason.as_deref() == Some("the replay has ended"))
        .await;
    let trades = round_trips(&lines(&bot.data().join("ledger.jsonl")));
    assert!(trades.len() > 3, "{} trades", trades.len());
    let all: Vec<&RoundTrip> = trades.iter().collect();
    let ask = async |query: &str| {
        let (status, body) = botops.get(&format!("/api/v1/performance?{query}")).await;
        assert_eq!(status, 200, "{body}");
        body
    };
    kit::until("every trade is copied", std::time::Duration::from_secs(60), || async {
        ask("window=all").await["total_trades"] == json!(trades.len())
    })
    .await;
    let whole = ask("window=all").await;
    check(&whole, &all);
    assert_eq!((&whole["omitted"], &whole["omitted_parts"]), (&json!(0), &json!([])));
    for month in ["2017-11", "2017-12"] {
        let of_month: Vec<&RoundTrip> = trades.iter().filter(|trade| trade.day.starts_with(month)).collect();
        assert!(!of_month.is_empty());
        let said = ask(&format!("from={month}&to={month}&by=day")).await;
        check(&said, &of_month);
        for group in said["groups"].as_array().unwrap() {
            let of_day: Vec<&RoundTrip> = of_month
                .iter()
                .filter(|trade| trade.day == group["key"].as_str().unwrap())
                .copied()
                .collect();
            check(group, &of_day);
        }
    }
    for (by, key) in [("symbol", false), ("month", true)] {
        let said = ask(&format!("window=all&by={by}")).await;
        assert!(!said["groups"].as_array().unwrap().is_empty());
        for group in said["groups"].as_array().unwrap() {
            let name = group["key"].as_str().unwrap();
            let mine =
                |trade: &&RoundTrip| if key { trade.day.starts_with(name) } else { trade.symbol == name };
            let of_group: Vec<&RoundTrip> = trades.iter().filter(mine).collect();
            check(group, &of_group);
        }
    }
    // In a replay, the present is the market's time.
    let last: Vec<&RoundTrip> = trades.iter().filter(|trade| trade.day.starts_with("2017-12")).collect();
    check(&ask("window=month").await, &last);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_account_of_the_same_bot_is_measured_for_itself() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.change(|report| report.account.account_id = Some("first".to_owned()));
    bot.script().trades = vec![trade(1, "10.00"), trade(2, "-4.5")];
    let folder = kit::folder();
    let socket = bot.socket().display().to_string();
    let botops =
        Running::start(folder.path(), &[("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")]).await;
    let shows = async |query: &str, trades: u64, pnl: &str| {
        let path = format!("/api/v1/performance?window=all{query}");
        kit::until(&format!("{trades} trades of {query}"), Duration::from_secs(20), || async {
            let (status, body) = botops.get(&path).await;
            status == 200 && body["total_trades"] == json!(trades) && body["realized_pnl"] == pnl
        })
        .await;
    };
    shows("", 2, "5.50").await;
    // The ledger is replaced: the numbers begin anew.
    bot.script().trades = vec![trade(1, "0.00001")];
    bot.change(|report| report.account.account_id = Some("second".to_owned()));
    shows("", 1, "0.00001").await;
    shows("&account=first", 2, "5.50").await;
    let (_, body) = botops.get("/api/v1/performance?window=all&account=first").await;
    assert_eq!(body["accounts"], json!(["first", "second"]));
    assert_eq!((&body["unrealized_pnl"], &body["currency"]), (&Value::Null, &Value::Null), "it is of before");
    let (status, refused) = botops.get("/api/v1/performance?account=third").await;
    assert_eq!(status, 400, "{refused:#}");
    assert!(refused.to_string().contains("first, second"), "{refused:#}");
    let (_, by_symbol) = botops.get("/api/v1/performance?window=all&symbol=spy").await;
    assert_eq!(by_symbol["total_trades"], json!(1), "upper and lower case are the same");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_amount_takes_the_measures_of_the_other_trades_away() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let most = "79228162514264337593543950335";
    let least = "0.0000000000000000000000000001";
    let numbers = [most, &format!("-{most}"), least, "0", "7922816251426433759354395033.5", "1e400"];
    let mut trades = vec![json!(trade(1, "10.00")), json!(trade(2, "-4.00"))];
    for member in
        ["net_pl", "gross_pl", "commission", "entry_price", "stop_price", "target_price", "quantity"]
    {
        for number in numbers {
            let seq = u64::try_from(trades.len()).unwrap() + 1;
            let mut trade = json!(trade(seq, "0.00"));
            trade["stop_price"] = json!("99.9999999999999999999999999");
            trade["target_price"] = json!(most);
            trade[member] = json!(number);
            trades.push(trade);
        }
    }
    let count = trades.len();
    let page = json!({"items": trades, "next": null}).to_string();
    bot.script().raw_trades = Some(std::sync::Arc::new(move |after, _| {
        if after == 0 { page.clone() } else { json!({"items": [], "next": null}).to_string() }
    }));
    let folder = kit::folder();
    let socket = bot.socket().display().to_string();
    for _ in 0..2 {
        let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")];
        let botops = Running::start(folder.path(), &settings).await;
        kit::until("all are copied", Duration::from_secs(20), || async {
            let (status, body) = botops.get("/api/v1/performance?window=all").await;
            assert!(status < 500, "{body:#}");
            body["total_trades"] == json!(count)
        })
        .await;
        for by in ["day", "week", "month", "symbol"] {
            let (status, body) = botops.get(&format!("/api/v1/performance?window=all&by={by}")).await;
            assert_eq!(status, 200, "{body:#}");
            assert!(body["unmeasured_trades"].as_u64().unwrap() > 0, "{body:#}");
            assert!(body["total_wins"].as_u64().unwrap() > 0 && body["win_rate"].is_f64(), "{body:#}");
        }
        botops.stop().await;
    }
}
