//! The list of closed trades, the groups of their sums, and what a window leaves out.

use std::time::Duration;

use botops_contract::{Side, Trade};
use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::kit::scripted_bot::{ScriptedBot, trade};

const SOON: Duration = Duration::from_secs(20);

async fn beside(bot: &ScriptedBot) -> (tempfile::TempDir, Running) {
    let folder = kit::folder();
    let socket = bot.socket().display().to_string();
    let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")];
    let botops = Running::start(folder.path(), &settings).await;
    (folder, botops)
}

fn closed(seq: u64, symbol: &str, net: &str, reason: &str, at: DateTime<Utc>) -> Trade {
    Trade {
        symbol: symbol.to_owned(),
        exit_reason: reason.to_owned(),
        closed_at: at,
        opened_at: Some(at - TimeDelta::seconds(90)),
        entry_price: Some(Decimal::from(100).into()),
        exit_price: None,
        quantity: Some(Decimal::TEN.into()),
        ..trade(seq, net)
    }
}

/// Six trades of a day, an hour apart, the newest an hour ago.
fn a_day() -> Vec<Trade> {
    let at = |hours: i64| Utc::now() - TimeDelta::hours(hours);
    vec![
        closed(1, "SPY", "10.00", "target at 102 reached at 102.5", at(6)),
        closed(2, "NVDA", "-4.50", "stop at 95.3 reached at 95.2", at(5)),
        Trade { side: Some(Side::Sell), ..closed(3, "SPY", "-1.25", "stop at 99 reached at 98.75", at(4)) },
        closed(4, "MSFT", "0.00", "", at(3)),
        closed(5, "NVDA", "7.00", "momentum faded to -3.5 basis points", at(2)),
        closed(6, "SPY", "-2.00", "stop at 101 reached at 100", at(1)),
    ]
}

async fn listed(botops: &Running, query: &str) -> Value {
    let (status, page) = botops.get(&format!("/api/v1/trades?{query}")).await;
    assert_eq!(status, 200, "{query}: {page:#}");
    page
}

fn numbers(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap().iter().filter_map(|item| item["seq"].as_u64()).collect()
}

async fn copied(botops: &Running, trades: usize) {
    kit::until("the trades are copied", SOON, || async {
        let (status, body) = botops.get("/api/v1/performance?window=all").await;
        status == 200 && body["total_trades"] == json!(trades)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_trades_are_listed_newest_first_and_found_by_what_they_are() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.script().trades = a_day();
    let (_folder, botops) = beside(&bot).await;
    copied(&botops, 6).await;
    let all = listed(&botops, "").await;
    assert_eq!(numbers(&all), [6, 5, 4, 3, 2, 1], "{all:#}");
    assert_eq!((&all["next"], &all["older"], &all["omitted"]), (&json!(6), &Value::Null, &json!(0)));
    let newest = &all["items"][0];
    assert_eq!((&newest["result"], &newest["held_seconds"]), (&json!("loss"), &json!(90.0)), "{newest:#}");
    assert_eq!((&newest["return_pct"], &newest["net_pl"]), (&json!(-0.2), &json!("-2.00")), "{newest:#}");
    assert_eq!(newest["exit_reason"], "stop at 101 reached at 100");
    let unknown = all["unknown"].as_array().unwrap();
    let without_reason = unknown.iter().find(|member| member["field"] == "exit_reason").unwrap();
    assert_eq!(without_reason["count"], json!(1), "{unknown:#?}");
    assert!(unknown.iter().any(|member| member["field"] == "config_version"), "{unknown:#?}");
    let since = (Utc::now() - TimeDelta::minutes(270)).format("%Y-%m-%dT%H:%M:%SZ");
    for (query, wanted) in [
        ("symbol=spy".to_owned(), vec![6, 3, 1]),
        ("symbol=SPY,msft".to_owned(), vec![6, 4, 3, 1]),
        ("symbol=AAPL".to_owned(), vec![]),
        ("side=sell".to_owned(), vec![3]),
        ("result=loss".to_owned(), vec![6, 3, 2]),
        ("result=win&symbol=NVDA".to_owned(), vec![5]),
        ("result=breakeven".to_owned(), vec![4]),
        ("reason=stop".to_owned(), vec![6, 3, 2]),
        ("reason=Stop%20at%2095.3%20reached&symbol=SPY".to_owned(), vec![6, 3]),
        ("reason=target&result=loss".to_owned(), vec![]),
        ("since=150m".to_owned(), vec![6, 5]),
        (format!("since={since}&symbol=SPY"), vec![6, 3]),
        (format!("from={since}&result=loss&limit=1"), vec![6]),
        (format!("to={since}"), vec![2, 1]),
        ("after=0&limit=2".to_owned(), vec![1, 2]),
        ("after=4".to_owned(), vec![5, 6]),
        ("before=3".to_owned(), vec![2, 1]),
        ("version=v9".to_owned(), vec![]),
    ] {
        let page = listed(&botops, &query).await;
        assert_eq!(numbers(&page), wanted, "{query}: {page:#}");
        assert_eq!(page["empty_reason"].is_string(), wanted.is_empty(), "{query}: {page:#}");
    }
    // Page by page to the end.
    let (mut before, mut seen) = ("limit=2".to_owned(), Vec::new());
    for _ in 0..3 {
        let page = listed(&botops, &before).await;
        seen.extend(numbers(&page));
        before = format!("limit=2&before={}", page["older"]);
    }
    assert_eq!((seen, before.as_str()), (vec![6, 5, 4, 3, 2, 1], "limit=2&before=null"));
    let cut = listed(&botops, "budget_tokens=500").await;
    let last = *numbers(&cut).last().unwrap();
    assert_eq!(cut["continue"]["path"], format!("/api/v1/trades?before={last}"), "{cut:#}");
    for (query, field) in [
        ("result=lost", "?result"),
        ("side=long", "?side"),
        ("version=latest", "?version"),
        ("since=yesterday", "?since"),
        ("limit=501", "?limit"),
        ("after=1&before=2", "?before"),
        ("account=other", "?account"),
    ] {
        let (status, refused) = botops.get(&format!("/api/v1/trades?{query}")).await;
        assert_eq!((status, &refused["errors"][0]["pointer"]), (400, &json!(field)), "{query}: {refused:#}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worst_and_the_best_of_a_window_are_one_call() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let mut trades = a_day();
    let old = Utc::now() - TimeDelta::days(800);
    trades.push(closed(7, "SPY", "-100.00", "stop at 1", old));
    trades.push(Trade {
        net_pl: None,
        ..closed(8, "SPY", "1", "nobody knows", Utc::now() - TimeDelta::minutes(9))
    });
    bot.script().trades = trades;
    let (_folder, botops) = beside(&bot).await;
    copied(&botops, 8).await;
    for (query, wanted, omitted) in [
        ("sort=worst&limit=3", vec![7, 2, 6], 4),
        ("sort=worst&since=24h&limit=3", vec![2, 6, 3], 3),
        ("sort=best&limit=2", vec![1, 5], 5),
        ("sort=worst&symbol=spy&since=24h", vec![6, 3, 1], 0),
        ("sort=worst&result=loss&symbol=NVDA", vec![2], 0),
        ("sort=BEST&reason=stop&since=24h", vec![3, 6, 2], 0),
        ("sort=worst&symbol=AAPL", vec![], 0),
    ] {
        let page = listed(&botops, query).await;
        assert_eq!(numbers(&page), wanted, "{query}: {page:#}");
        assert_eq!((&page["omitted"], page.get("older")), (&json!(omitted), None), "{query}: {page:#}");
        assert_eq!(page["empty_reason"].is_string(), wanted.is_empty(), "{query}: {page:#}");
    }
    // Those of which the net profit is not known are in no such list, and that is said.
    let told = listed(&botops, "sort=worst").await["incomplete"].to_string();
    assert!(told.contains("1 trade") && told.contains("net profit"), "{told}");
    // A budget cuts it, and no cursor goes on.
    let cut = listed(&botops, "sort=worst&budget_tokens=500").await;
    assert!(!numbers(&cut).is_empty() && numbers(&cut).len() < 7, "{cut:#}");
    assert_eq!(
        (&cut["continue"]["path"], &cut["next"]),
        (&json!("/api/v1/trades?sort=worst"), &Value::Null),
        "{cut:#}"
    );
    // A window is what it is in `GET performance`.
    for window in ["today", "day", "week", "month", "year", "all", "weekly"] {
        let page = listed(&botops, &format!("window={window}")).await;
        let (_, sums) = botops.get(&format!("/api/v1/performance?window={window}")).await;
        assert_eq!(json!(numbers(&page).len()), sums["total_trades"], "{window}: {page:#}");
        assert_eq!(page["window_text"], sums["window_text"], "{window}: {page:#}");
    }
    assert!(!numbers(&listed(&botops, "window=year").await).contains(&7));
    assert_eq!(numbers(&listed(&botops, "window=all&sort=worst&limit=1").await), [7]);
    for (query, field) in [
        ("window=fortnight", "?window"),
        ("window=today&since=2h", "?since"),
        ("window=today&from=2026-01-01", "?from"),
        ("window=today&to=2026-01-01", "?to"),
        ("sort=newest", "?sort"),
        ("sort=worst&before=3", "?before"),
        ("sort=worst&after=3", "?after"),
    ] {
        let (status, refused) = botops.get(&format!("/api/v1/trades?{query}")).await;
        assert_eq!((status, &refused["errors"][0]["pointer"]), (400, &json!(field)), "{query}: {refused:#}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_by_profit_compares_the_newest_trades_and_says_so() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let begin = Utc::now() - TimeDelta::days(20);
    let of =
        |seq: u64, net: &str| closed(seq, "SPY", net, "stop", begin + TimeDelta::minutes(seq.cast_signed()));
    let mut trades: Vec<Trade> = (1..=20_001).map(|seq| of(seq, "1.00")).collect();
    trades[0] = of(1, "-100.00");
    trades[1] = of(2, "-50.00");
    bot.script().trades = trades;
    let (_folder, botops) = beside(&bot).await;
    kit::until("the trades are copied", Duration::from_secs(240), || async {
        listed(&botops, "limit=1").await["next"] == json!(20_001)
    })
    .await;
    let worst = listed(&botops, "sort=worst&limit=1").await;
    assert_eq!((numbers(&worst), &worst["omitted"]), (vec![2], &json!(100)), "{worst:#}");
    assert!(worst["incomplete"].to_string().contains("20000"), "{worst:#}");
    let end = (begin + TimeDelta::minutes(60)).format("%Y-%m-%dT%H:%M:%SZ");
    let worst = listed(&botops, &format!("sort=worst&limit=1&to={end}")).await;
    assert_eq!((numbers(&worst), &worst["incomplete"]), (vec![1], &json!([])), "{worst:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trades_come_as_tables_and_over_mcp_as_well() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.script().trades = a_day();
    let (_folder, botops) = beside(&bot).await;
    copied(&botops, 6).await;
    for (media, wanted) in [("text/tab-separated-values", "seq\tsymbol"), ("text/markdown", "| NVDA |")] {
        let asked = botops.request(Method::GET, "/api/v1/trades?symbol=NVDA").header("accept", media);
        let text = asked.send().await.unwrap().text().await.unwrap();
        let first_column = text.contains(wanted) || text.contains("\tsymbol");
        assert!(first_column && text.contains("momentum faded to -3.5 basis points"), "{media}: {text}");
    }
    let losses = json!({"result": "loss", "symbol": "NVDA"});
    let answer = crate::mcp::call(&botops, KEY, "list_trades", losses).await;
    assert_eq!(numbers(&answer["structuredContent"]), [2], "{answer:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_without_trades_or_that_tells_none_is_told_in_words() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let (_folder, botops) = beside(&bot).await;
    let says = async |words: &str| {
        kit::until(words, SOON, || async {
            let page = listed(&botops, "").await;
            page["items"] == json!([]) && page["empty_reason"].as_str().unwrap_or_default().contains(words)
        })
        .await;
    };
    says("has closed yet").await;
    botops.stop().await;
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.script().hello.capabilities.retain(|capability| capability.name != "trades");
    let (_folder, botops) = beside(&bot).await;
    kit::until("the bot was seen", SOON, || async {
        let page = listed(&botops, "").await;
        page["empty_reason"].as_str().unwrap_or_default().contains("capability `trades`")
    })
    .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_are_grouped_by_what_trades_share_and_a_window_says_what_it_leaves_out() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let mut trades = a_day();
    // A year ago: outside of every window but `all`.
    let old = Utc::now() - TimeDelta::days(800);
    trades.insert(0, Trade { seq: 1, ..closed(1, "SPY", "-100.00", "stop at 1", old) });
    for (place, trade) in trades.iter_mut().enumerate() {
        trade.seq = u64::try_from(place).unwrap() + 1;
    }
    bot.script().trades = trades;
    let (_folder, botops) = beside(&bot).await;
    copied(&botops, 7).await;
    let ask = async |query: &str| {
        let (status, body) = botops.get(&format!("/api/v1/performance?{query}")).await;
        assert_eq!(status, 200, "{body:#}");
        body
    };
    let keys = |body: &Value| -> Vec<String> {
        let groups = body["groups"].as_array().unwrap().iter();
        groups.map(|group| group["key"].as_str().unwrap().to_owned()).collect()
    };
    let by_reason = ask("window=all&by=reason").await;
    assert_eq!(
        keys(&by_reason),
        [
            "target at … reached at …",
            "momentum faded to … basis points",
            "none told",
            "stop at … reached at …",
            "stop at …"
        ],
        "{by_reason:#}"
    );
    let stops = &by_reason["groups"][3];
    assert_eq!((&stops["total_trades"], &stops["realized_pnl"]), (&json!(3), &json!("-7.75")), "{stops:#}");
    assert_eq!(stops["share_of_realized_pct"], json!(8.54), "{stops:#}");
    assert_eq!(keys(&ask("window=all&by=symbol").await), ["NVDA", "MSFT", "SPY"]);
    assert_eq!(keys(&ask("window=all&by=version").await), ["none told"]);
    let hours = ask("window=all&by=hour").await;
    assert!(keys(&hours).iter().all(|hour| hour.len() == 5 && hour.ends_with(":00")), "{hours:#}");
    let both = ask("window=all&by=symbol,reason&symbol=NVDA").await;
    assert_eq!(
        both["groups"][1]["keys"],
        json!({"symbol": "NVDA", "reason": "stop at … reached at …"}),
        "{both:#}"
    );
    let (status, refused) = botops.get("/api/v1/performance?by=symbol,colour").await;
    assert_eq!(status, 400, "{refused:#}");
    // Without a window: what it is, and what it leaves out.
    let month = ask("").await;
    let words = month["window_text"].as_str().unwrap();
    assert!(words.contains("no window was named") && words.contains("America/New_York"), "{words}");
    let before = &month["outside"]["before"];
    let (inside, outside) =
        (month["total_trades"].as_u64().unwrap(), before["total_trades"].as_u64().unwrap());
    assert_eq!(inside + outside, 7, "{month:#}");
    let rest = botops.get(before["call"]["path"].as_str().unwrap()).await.1;
    assert_eq!((&rest["total_trades"], &rest["realized_pnl"]), (&json!(outside), &before["realized_pnl"]));
    assert_eq!(month["outside"]["after"], Value::Null);
    assert!(ask("window=all").await.get("outside").is_none());
    botops.stop().await;
}
