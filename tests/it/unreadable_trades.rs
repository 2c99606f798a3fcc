//! Closed trades of bots whose journal is wrong in places, names no account, or cannot be read: no number looks like an
//! answer that it is not.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot};

const SOON: Duration = Duration::from_secs(20);

fn a_trade(seq: u64, account: Option<&str>, net: &str) -> Value {
    let mut trade = json!({"seq": seq, "symbol": "SPY", "net_pl": net, "closed_at": "2026-03-02T15:00:00Z"});
    if let Some(account) = account {
        trade["account_id"] = json!(account);
    }
    trade
}

/// Answers `GET trades` from these items, as the contract says: those above `after`, in pages of `limit`.
fn serve(bot: &ScriptedBot, items: Vec<Value>) {
    let items = Arc::new(items);
    bot.script().raw_trades = Some(Arc::new(move |after, limit| {
        let above = |item: &&Value| item["seq"].as_u64().is_none_or(|seq| seq > after);
        let page: Vec<Value> = items.iter().filter(above).take(limit).cloned().collect();
        let more = items.iter().filter(above).count() > limit;
        let next = page.last().filter(|_| more).map(|item| item["seq"].clone());
        json!({"items": page, "next": next}).to_string()
    }));
}

async fn beside(bot: &ScriptedBot) -> (tempfile::TempDir, Running) {
    let folder = kit::folder();
    let botops = again(bot, &folder).await;
    (folder, botops)
}

async fn again(bot: &ScriptedBot, folder: &tempfile::TempDir) -> Running {
    let socket = bot.socket().display().to_string();
    Running::start(folder.path(), &[("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", "scripted")]).await
}

async fn performance(botops: &Running, query: &str) -> Value {
    let (status, body) = botops.get(&format!("/api/v1/performance?window=all{query}")).await;
    assert_eq!(status, 200, "{body:#}");
    body
}

async fn counts(botops: &Running, query: &str, trades: u64, pnl: &str) {
    kit::until(&format!("{trades} trades, {pnl} of `{query}`"), SOON, || async {
        let (status, body) = botops.get(&format!("/api/v1/performance?window=all{query}")).await;
        status == 200 && body["total_trades"] == json!(trades) && body["realized_pnl"] == pnl
    })
    .await;
}

/// The cursors that the bot was asked with.
fn cursors(bot: &ScriptedBot) -> Vec<u64> {
    let journal = bot.journal();
    let asked = journal.iter().filter_map(|asked| asked.path.strip_prefix("trades?after="));
    asked.filter_map(|rest| rest.split('&').next()?.parse().ok()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_without_the_name_of_the_account_is_not_a_new_account() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.change(|report| report.account.account_id = Some("one".to_owned()));
    serve(&bot, vec![a_trade(1, None, "10.00"), a_trade(2, None, "-4.50")]);
    let (folder, botops) = beside(&bot).await;
    counts(&botops, "", 2, "5.50").await;
    bot.change(|report| report.account.account_id = None);
    let asked = bot.count("GET", "trades");
    kit::until("the journal is read without a name", SOON, || async {
        bot.count("GET", "trades") > asked + 2
    })
    .await;
    let body = performance(&botops, "").await;
    assert_eq!((&body["account_id"], &body["accounts"]), (&json!("one"), &json!(["one"])), "{body:#}");
    assert_eq!(body["total_trades"], 2);
    botops.stop().await;
    // Another run of botops beside the same life of the bot.
    let botops = again(&bot, &folder).await;
    counts(&botops, "", 2, "5.50").await;
    assert_eq!(performance(&botops, "").await["accounts"], json!(["one"]));
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trades_of_several_accounts_are_read_once_and_each_counts_in_its_own() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.change(|report| report.account.account_id = Some("one".to_owned()));
    serve(
        &bot,
        vec![
            a_trade(1, None, "1.00"),
            a_trade(2, Some("two"), "2.00"),
            a_trade(3, None, "4.00"),
            a_trade(4, Some("two"), "8.00"),
        ],
    );
    let (_folder, botops) = beside(&bot).await;
    counts(&botops, "", 2, "5.00").await;
    counts(&botops, "&account=two", 2, "10.00").await;
    let asked = cursors(&bot).len();
    kit::until("the journal is read on", SOON, || async { cursors(&bot).len() > asked + 1 }).await;
    let later = &cursors(&bot)[asked + 1..];
    assert!(later.iter().all(|after| *after == 4), "the cursor runs over all accounts: {later:?}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_whose_trades_alone_name_the_account_is_measured_for_it() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    serve(&bot, vec![a_trade(1, Some("two"), "2.00")]);
    let (_folder, botops) = beside(&bot).await;
    counts(&botops, "", 1, "2.00").await;
    assert_eq!(performance(&botops, "").await["account_id"], "two");
    // With another account, which of them is traded now is not known.
    serve(&bot, vec![a_trade(1, Some("two"), "2.00"), a_trade(2, Some("three"), "3.00")]);
    counts(&botops, "&account=three", 1, "3.00").await;
    let body = performance(&botops, "").await;
    assert_eq!((&body["total_trades"], &body["realized_pnl"]), (&Value::Null, &Value::Null), "{body:#}");
    let why = body["unknown_reason"].as_str().unwrap();
    assert!(why.contains("three") && why.contains("two") && why.contains("account="), "{why}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trades_that_cannot_be_read_are_named_and_the_history_says_that_it_is_incomplete() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let unread = |seq: u64| json!({"seq": seq, "symbol": "SPY", "net_pl": "1", "closed_at": "yesterday"});
    // A first page of nothing but unreadable trades, and readable ones after it.
    let mut items: Vec<Value> = (1..=500).map(unread).collect();
    items.push(a_trade(501, None, "7.00"));
    items.push(unread(502));
    serve(&bot, items);
    let (_folder, botops) = beside(&bot).await;
    counts(&botops, "", 1, "7.00").await;
    kit::until("all are counted", SOON, || async { performance(&botops, "").await["unread_trades"] == 501 })
        .await;
    let body = performance(&botops, "").await;
    let why = body["incomplete"].to_string();
    assert!(why.contains("501 trades") && why.contains("closed_at") && why.contains("yesterday"), "{why}");
    let asked = cursors(&bot).len();
    kit::until("the journal is read on", SOON, || async { cursors(&bot).len() > asked + 1 }).await;
    assert_eq!(cursors(&bot)[asked + 1..].iter().max(), Some(&502), "{:?}", cursors(&bot));
    assert_eq!(performance(&botops, "").await["unread_trades"], 501, "each is counted once");
    let (_, state) = botops.get("/api/v1/state").await;
    let named = state["unreadable"].as_array().unwrap();
    let part = named.iter().find(|part| part["call"] == "GET trades").unwrap_or_else(|| panic!("{named:#?}"));
    assert!(part["pointer"].as_str().unwrap().ends_with("/closed_at"), "{part}");
    assert_eq!(part["got"], "\"yesterday\"");
    let (_, errors) = botops.get("/api/v1/errors").await;
    assert!(errors.to_string().contains("GET trades"), "{errors:#}");
    // Once the bot is started again, what could not be read is asked for anew.
    let mut bot = bot;
    serve(&bot, (1..=502).map(|seq| a_trade(seq, None, "1.00")).collect());
    bot.restart();
    kit::until("nothing is missing any more", SOON, || async {
        let body = performance(&botops, "").await;
        body["total_trades"] == 502 && body["unread_trades"] == 0 && body["incomplete"] == json!([])
    })
    .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_which_nothing_can_be_read_is_no_journal_of_no_trades() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    serve(&bot, vec![json!({"symbol": "SPY", "net_pl": "1"}), json!(7)]);
    let (_folder, botops) = beside(&bot).await;
    kit::until("the reason is told", SOON, || async {
        performance(&botops, "").await["unknown_reason"].as_str().is_some_and(|why| why.contains("2 trades"))
    })
    .await;
    let body = performance(&botops, "").await;
    assert_eq!((&body["total_trades"], &body["realized_pnl"]), (&Value::Null, &Value::Null), "{body:#}");
    assert_eq!(body["unread_trades"], 2);
    let asked = bot.count("GET", "trades");
    kit::until("it is read again", SOON, || async { bot.count("GET", "trades") > asked + 1 }).await;
    assert_eq!(performance(&botops, "").await["unread_trades"], 2, "each is counted once");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_fails_is_told_with_its_reason_and_since_when() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.script()
        .raw
        .insert("trades", Arc::new(|| "{\"code\": \"database\", \"message\": \"locked\"}".to_owned()));
    bot.script().raw_status.insert("trades", StatusCode::INTERNAL_SERVER_ERROR);
    let (_folder, botops) = beside(&bot).await;
    kit::until("the failure is told", SOON, || async {
        performance(&botops, "").await["unknown_reason"].as_str().is_some_and(|why| why.contains("locked"))
    })
    .await;
    let body = performance(&botops, "").await;
    assert_eq!((&body["total_trades"], &body["as_of"]), (&Value::Null, &Value::Null), "{body:#}");
    // Read once, it says from when its numbers are.
    bot.script().raw.remove("trades");
    serve(&bot, vec![a_trade(1, None, "7.00")]);
    counts(&botops, "", 1, "7.00").await;
    let body = performance(&botops, "").await;
    assert_eq!((&body["incomplete"], &body["unknown_reason"]), (&json!([]), &Value::Null), "{body:#}");
    bot.script().only = "trades";
    bot.behave(Behaviour::HangUp);
    kit::until("the failure is told", SOON, || async {
        !performance(&botops, "").await["incomplete"].as_array().unwrap().is_empty()
    })
    .await;
    let body = performance(&botops, "").await;
    assert_eq!(body["total_trades"], 1);
    let why = body["incomplete"][0].as_str().unwrap();
    assert!(why.contains("GET trades") && why.contains(body["as_of"].as_str().unwrap()), "{why}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_would_lose_a_digit_leaves_the_amount_out_and_says_so() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.change(|report| {
        for position in report.positions.iter_mut().flatten() {
            position.unrealized_pl = "0.00000000000000000001".parse().ok();
        }
        report.positions.as_mut().unwrap()[0].unrealized_pl = "12345678901234567890".parse().ok();
    });
    serve(&bot, vec![a_trade(1, None, "12345678901234567890"), a_trade(2, None, "0.00000000000000000001")]);
    let (_folder, botops) = beside(&bot).await;
    counts(&botops, "", 2, "12345678901234567890").await;
    let body = performance(&botops, "").await;
    assert_eq!(body["unmeasured_trades"], 1, "{body:#}");
    assert_eq!((&body["unrealized_pnl"], &body["total_pnl"]), (&Value::Null, &Value::Null), "{body:#}");
    let why = body["incomplete"].to_string();
    assert!(why.contains("1 trade") && why.contains("digits") && why.contains("open positions"), "{why}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_that_closed_in_no_year_is_left_out_of_every_group() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let mut absurd = a_trade(2, None, "5.00");
    absurd["closed_at"] = json!("+262142-12-31T23:59:59Z");
    let mut negative = a_trade(3, None, "5.00");
    negative["closed_at"] = json!("-262142-01-01T00:00:00Z");
    serve(&bot, vec![a_trade(1, None, "7.00"), absurd, negative]);
    let (_folder, botops) = beside(&bot).await;
    kit::until("all are seen", SOON, || async { performance(&botops, "").await["unread_trades"] == 2 }).await;
    for by in ["day", "week", "month", "symbol"] {
        let body = performance(&botops, &format!("&by={by}")).await;
        assert_eq!(body["groups"].as_array().map(Vec::len), Some(1), "{body:#}");
        assert_eq!(body["realized_pnl"], "7.00");
    }
    botops.stop().await;
}

/// A journal that is given whole, or as far as `limit` goes, whatever `after` says.
fn serve_whatever_is_asked(bot: &ScriptedBot, items: Vec<Value>, next: Value) {
    let page = json!({"items": items, "next": next}).to_string();
    bot.script().raw_trades = Some(Arc::new(move |_, _| page.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_ignores_the_cursor_has_each_unreadable_trade_counted_once() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let unread = |seq: u64| json!({"seq": seq, "symbol": "SPY", "net_pl": "1", "closed_at": "yesterday"});
    // Three that cannot be read: the first one's number is 0, another has none.
    let mut items =
        vec![unread(0), a_trade(1, None, "1.00"), json!("no trade"), unread(2), a_trade(3, None, "2.00")];
    serve_whatever_is_asked(&bot, items.clone(), Value::Null);
    let (_folder, botops) = beside(&bot).await;
    counts(&botops, "", 2, "3.00").await;
    assert_eq!(performance(&botops, "").await["unread_trades"], 3);
    // Each further trade moves the cursor, and the whole journal is given again.
    for (seq, pnl) in [(4, "7.00"), (5, "11.00"), (6, "15.00")] {
        items.push(a_trade(seq, None, "4.00"));
        serve_whatever_is_asked(&bot, items.clone(), Value::Null);
        counts(&botops, "", seq - 1, pnl).await;
        let body = performance(&botops, "").await;
        assert_eq!(body["unread_trades"], 3, "each counts once: {:#}", body["incomplete"]);
    }
    // One more that cannot be read counts, too.
    items.extend([unread(7), a_trade(8, None, "1.00")]);
    serve_whatever_is_asked(&bot, items, Value::Null);
    counts(&botops, "", 6, "16.00").await;
    assert_eq!(performance(&botops, "").await["unread_trades"], 4);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_gives_the_same_page_for_the_next_one_is_not_read_to_its_end() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let items = vec![a_trade(1, None, "1.00"), json!({"seq": 2, "closed_at": "soon"}), json!(7)];
    serve_whatever_is_asked(&bot, items, json!(2));
    let (_folder, botops) = beside(&bot).await;
    counts(&botops, "", 1, "1.00").await;
    let asked = bot.count("GET", "trades");
    kit::until("it is read again", SOON, || async { bot.count("GET", "trades") > asked + 3 }).await;
    let body = performance(&botops, "").await;
    assert_eq!(body["unread_trades"], 2, "{body:#}");
    // It says that more follow, and never gives them: nobody may take this for the whole journal.
    assert_eq!(body["as_of"], Value::Null, "{body:#}");
    let why = body["incomplete"].to_string();
    assert!(why.contains("after=2") && why.contains("more"), "{why}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_named_after_a_login_has_the_trades_of_before_it() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    serve(&bot, vec![a_trade(1, None, "10.00"), a_trade(2, None, "-4.50")]);
    let (_folder, botops) = beside(&bot).await;
    counts(&botops, "", 2, "5.50").await;
    assert_eq!(performance(&botops, "").await["accounts"], json!([""]), "no name is known yet");
    // The first one is in the journal of the bot no more when it has signed in.
    serve(&bot, vec![a_trade(2, None, "-4.50"), a_trade(3, None, "1.00")]);
    bot.change(|report| report.account.account_id = Some("one".to_owned()));
    counts(&botops, "", 3, "6.50").await;
    let body = performance(&botops, "").await;
    assert_eq!((&body["account_id"], &body["accounts"]), (&json!("one"), &json!(["one"])), "{body:#}");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trades_of_one_named_account_are_never_those_of_another() {
    let mut bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.change(|report| report.account.account_id = Some("one".to_owned()));
    let mut items = vec![a_trade(1, None, "10.00"), a_trade(2, None, "-4.50")];
    serve(&bot, items.clone());
    let (_folder, botops) = beside(&bot).await;
    counts(&botops, "", 2, "5.50").await;
    // Started again and not signed in yet, it gives its journal without a name: what is known of it keeps its account.
    bot.change(|report| report.account.account_id = None);
    bot.restart();
    let asked = bot.count("GET", "trades");
    kit::until("the journal is read", SOON, || async { bot.count("GET", "trades") > asked + 2 }).await;
    let body = performance(&botops, "").await;
    assert_eq!((&body["account_id"], &body["accounts"]), (&json!("one"), &json!(["one"])), "{body:#}");
    assert_eq!(body["total_trades"], 2);
    items.push(a_trade(3, None, "1.00"));
    serve(&bot, items);
    counts(&botops, "&account=", 1, "1.00").await;
    // It signs in to another account: that has the trade of this start alone.
    bot.change(|report| report.account.account_id = Some("two".to_owned()));
    kit::until("the other account has its trade", SOON, || async {
        performance(&botops, "").await["accounts"] == json!(["one", "two"])
    })
    .await;
    counts(&botops, "", 1, "1.00").await;
    let body = performance(&botops, "").await;
    assert_eq!((&body["account_id"], &body["accounts"]), (&json!("two"), &json!(["one", "two"])), "{body:#}");
    counts(&botops, "&account=one", 2, "5.50").await;
    botops.stop().await;
}
