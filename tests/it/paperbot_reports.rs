//! What paperbot's report says of the market's hours, of losses of earlier days, and of profit and loss.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::America::New_York;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::kit::ReportParts as _;
use crate::kit::app::Running;
use crate::kit::paperbot::Paperbot;
use crate::kit::until;

/// A calendar on which the market is closed from yesterday on, for five days.
fn closed_days(bot: &Paperbot) -> String {
    let today = Utc::now().with_timezone(&New_York).date_naive();
    let days = (-1..4).map(|days| today + TimeDelta::days(days));
    let lines: Vec<String> =
        days.map(|day| format!("- {{date: {day}, closed: true, reason: a test}}\n")).collect();
    let file = bot.folder.path().join("calendar.yaml");
    std::fs::write(&file, lines.concat()).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_market_is_no_fault_and_says_when_it_opens() {
    let mut bot = Paperbot::prepare(&["--tick", "10ms", "--market-hours-only"]);
    let calendar = closed_days(&bot);
    bot.arguments(&["--calendar-file", &calendar]);
    bot.launch().await;
    let checked = |report: &botops_contract::BotReport| {
        report.session.as_ref().is_some_and(|session| session.last_ok.is_some()) && report.ticks() > 200
    };
    bot.until("the session is checked and the strategy is warm", checked).await;
    let state: Value = bot.get("state").await.unwrap();
    let (market, session) = (&state["market"], &state["session"]);
    assert_eq!((&market["status"], &market["phase"]), (&json!("CLOSED"), &json!("closed")), "{market}");
    let opens: DateTime<Utc> =
        market["next_open"].as_str().unwrap_or_else(|| panic!("{market}")).parse().unwrap();
    let closes: DateTime<Utc> = market["next_close"].as_str().unwrap().parse().unwrap();
    assert!(Utc::now() < opens && opens < closes, "{market}");
    assert_eq!((&state["phase"], &state["trading_enabled"]), (&json!("running"), &json!(false)), "{state:#}");
    let said = opens.format("%Y-%m-%d %H:%M UTC").to_string();
    let why = state["phase_reason"].as_str().unwrap_or_else(|| panic!("{state:#}"));
    assert!(why.contains("the market is closed") && why.contains(&said), "{why}");
    assert_eq!((&session["state"], &session["is_healthy"]), (&json!("healthy"), &json!(true)), "{session}");
    assert_eq!((&session["gate"], &session["reason"]), (&json!("market_closed"), &Value::Null), "{session}");
    assert_eq!(session["resumes_at"], market["next_open"], "{session}");
    assert_eq!(state["no_entry_reasons"], json!(["market_closed"]), "{state:#}");
    assert_eq!(state["error_count_last_hour"], 0);

    let socket = bot.socket().display().to_string();
    let data = format!("{socket}.ops");
    let settings = [("BOT_IPC_SOCKET", socket.as_str()), ("BOT_DATA_DIR", data.as_str())];
    let botops = Running::start(bot.folder.path(), &settings).await;
    let healthy = || async { botops.get("/api/v1/state").await.1["health"]["status"] == "healthy" };
    until("the bot is healthy", Duration::from_secs(20), healthy).await;
    let (_, state) = botops.get("/api/v1/state").await;
    let reason = state["health"]["reason"].as_str().unwrap();
    assert!(reason.contains("the market is closed") && reason.contains(&said), "{reason}");
    let warnings = state["warnings"].to_string();
    assert!(!warnings.contains("degraded") && !warnings.contains("session"), "{warnings}");
    // A paused bot says both, and so does one whose breaker is open.
    bot.command_as(botops_contract::Verb::Pause, "p").await;
    bot.command_as(botops_contract::Verb::Halt, "h").await;
    let state: Value = bot.get("state").await.unwrap();
    let reasons = state["no_entry_reasons"].as_array().unwrap();
    for reason in ["paused", "breaker_open", "market_closed", "session_operator_halt"] {
        assert!(reasons.contains(&json!(reason)), "{reasons:?}");
    }
    botops.stop().await;
}

/// The ledger of a bot whose breaker opened on an earlier day, as versions before this one wrote it.
#[tokio::test]
async fn a_loss_of_an_earlier_day_is_told_with_its_date() {
    let mut bot = Paperbot::prepare(&["--tick", "10ms", "--market-hours-only"]);
    let calendar = closed_days(&bot);
    bot.arguments(&["--calendar-file", &calendar]);
    std::fs::create_dir_all(bot.data()).unwrap();
    let line = |n: u32, entry: Value| {
        json!({"n": n, "at": "2026-03-05T16:00:00Z", "boot_epoch": "earlier", "entry": entry}).to_string()
            + "\n"
    };
    let ledger = [
        line(1, json!({"type": "opened", "cash": "100000"})),
        line(2, json!({"type": "day", "day": "2026-03-05", "equity": "100000"})),
        line(
            3,
            json!({"type": "tripped", "source": "daily_loss",
            "reason": "today's loss of -512.46 reached the limit of -500"}),
        ),
    ];
    std::fs::write(bot.data().join("ledger.jsonl"), ledger.concat()).unwrap();
    bot.launch().await;
    let state = bot.until("a new day", |report| report.ticks() > 3).await;
    let breaker = state.breaker();
    let expected = "the loss of -512.46 on 2026-03-05 reached the limit of -500";
    assert_eq!(breaker.reason.as_deref(), Some(expected));
    assert!(
        state.phase_reason.as_deref().is_some_and(|reason| reason.contains(expected)),
        "{:?}",
        state.phase_reason
    );
    let breaker = json!(breaker);
    assert_eq!((&breaker["needs_human"], &breaker["resumes_at"]), (&json!("reset_breaker"), &Value::Null));
    for reason in ["breaker_open", "market_closed"] {
        assert!(state.entry_reasons().iter().any(|told| told == reason), "{:?}", state.no_entry_reasons);
    }
}

#[tokio::test]
async fn what_was_gained_since_the_start_is_the_change_of_the_equity_at_any_moment() {
    let bot = Paperbot::start(&["--tick", "5ms", "--cash", "100000"]).await;
    let mut seen_open = 0;
    let mut last_tick = 0;
    while seen_open < 30 {
        let report = bot.until("another tick", |report| report.ticks() > last_tick).await;
        last_tick = report.ticks();
        let told = &report.performance;
        let value = |amount: &Option<botops_contract::Amount>| {
            botops_contract::amount_value(amount.as_ref()).expect("paperbot reports it")
        };
        let equity = value(&report.account.account_balance);
        let (realized, unrealized) = (value(&told.total_realized_pl), value(&told.total_unrealized_pl));
        assert_eq!(Decimal::from(100_000) + value(&told.total_pl), equity, "{told:?}");
        assert_eq!(realized + unrealized, value(&told.total_pl), "{told:?}");
        // The account is of today, so the day began with the cash it was opened with.
        assert_eq!(told.daily_pl, told.total_pl, "{told:?}");
        let of_positions: Decimal =
            report.position_list().iter().map(|position| value(&position.unrealized_pl)).sum();
        assert_eq!(of_positions, unrealized, "{told:?}");
        seen_open += u32::from(!report.holds_nothing());
    }
}
