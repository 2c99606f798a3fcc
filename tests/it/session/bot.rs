//! The session in the real program: the effects of a fault script on a trading bot, as seen on its socket.

use botops_contract::{BotPhase, BotReport, BreakerState, CommandOutcome, GateReason, SessionPhase, Verb};
use serde_json::{Value, json};
use std::time::Duration;

use crate::kit::ReportParts as _;
use crate::kit::app::Running;
use crate::kit::paperbot::{Paperbot, lines};
use crate::kit::until;

/// Starts a bot with short ticks and a session whose waits are a twentieth of the usual ones.
pub(super) async fn bot_with(script: &str) -> Paperbot {
    let mut bot = Paperbot::prepare(&[]);
    let file = bot.folder.path().join("faults.yaml");
    std::fs::write(&file, script).unwrap();
    let file = file.display().to_string();
    bot.arguments(&["--tick", "10ms", "--session-speed", "20", "--fault-script", &file]);
    bot.launch().await;
    bot
}

fn session(report: &BotReport) -> &botops_contract::Session {
    report.session.as_ref().expect("a paper bot has a session")
}

#[tokio::test]
async fn a_bot_shows_its_session_and_obeys_the_operator() {
    let bot = bot_with("[]").await;
    bot.until("a healthy session", |report| session(report).state == SessionPhase::Healthy).await;
    let hello: botops_contract::Hello = bot.get("hello").await.unwrap();
    for name in ["session", "probe-session", "reauth", "reset-breaker", "halt"] {
        assert!(hello.capabilities.iter().any(|known| known.name == name), "{name}");
    }
    bot.until("an order that passed the gate", |report| !report.order_list().is_empty()).await;
    let log = std::fs::read_to_string(bot.data().join("logs/health_check.log")).unwrap();
    assert!(log.contains("\"event\":\"trade_gate.decided\""), "{log}");
    let before = session(&bot.state().await).health_check_count;
    let probed = bot.command_as(Verb::ProbeSession, "p1").await;
    assert_eq!((probed.outcome, probed.replayed), (CommandOutcome::Done, false));
    let again = bot.command_as(Verb::ProbeSession, "p1").await;
    assert!(again.replayed, "the same id acts once");
    bot.until("the check", |report| session(report).health_check_count > before).await;
    let signed_in = bot.command_as(Verb::Reauth, "r1").await;
    assert_eq!(signed_in.outcome, CommandOutcome::Done, "{signed_in:?}");
    bot.until("the new session", |report| session(report).reauth_count == Some(1)).await;
    let refused = bot.command_as(Verb::ResetBreaker, "b1").await;
    assert_eq!(refused.reason_code.as_deref(), Some("breaker_closed"));
}

/// The lines of the text log in their specified form: the check, that the session is valid, and the trade.
#[tokio::test]
async fn a_trade_stands_in_the_text_log_after_the_checks_that_let_it_pass() {
    let bot = bot_with("[]").await;
    let shell = |command: &str| {
        let logs = bot.data();
        let output = std::process::Command::new("sh").arg("-c").arg(command).current_dir(logs).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let trades = || shell("grep ' UTC | INFO     | bot | TRADE EXECUTED | symbol=' logs/trading_bot.log");
    let complete = || async {
        let checked = shell(
            "grep 'health | health_check.executed | context=pre_trade | latency_ms=' logs/trading_bot.log",
        );
        let valid = shell("grep 'health | health_check.passed | session_valid=true' logs/trading_bot.log");
        let sold = trades().contains("| action=SELL | shares=");
        !checked.is_empty() && !valid.is_empty() && sold
    };
    until("checks, an entry and an exit are logged", Duration::from_secs(60), complete).await;
    let log = shell("cat logs/trading_bot.log");
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text}: {log}"));
    assert!(place("health_check.passed") < place("TRADE EXECUTED"), "a check comes before the first trade");

    // Each line is a fill of the ledger.
    let told = trades();
    let ledger = lines(&bot.data().join("ledger.jsonl"));
    let fills: Vec<String> = ledger
        .iter()
        .filter(|line| line["entry"]["type"] == "filled")
        .map(|line| {
            let fill = &line["entry"];
            let word = |key: &str| fill[key].as_str().unwrap().to_owned();
            let (symbol, side, shares) = (word("symbol"), word("side"), word("quantity"));
            let (price, order) = (word("price"), word("order_id"));
            format!("symbol={symbol} | action={side} | shares={shares} | price={price} | order_id={order}")
        })
        .collect();
    assert!(!fills.is_empty());
    for (trade, fill) in told.lines().zip(&fills) {
        assert!(trade.ends_with(fill.as_str()), "{trade} is not {fill}");
    }
    assert!(fills.len() >= told.lines().count());
}

#[tokio::test]
async fn an_operators_halt_outlives_the_process_and_ends_by_the_operator() {
    let mut bot = bot_with("[]").await;
    bot.until("a healthy session", |report| session(report).state == SessionPhase::Healthy).await;
    let halted = bot.command_as(Verb::Halt, "h1").await;
    assert_eq!((halted.outcome, halted.trading_enabled), (CommandOutcome::Done, Some(false)), "{halted:?}");
    assert!(bot.command_as(Verb::Halt, "h1").await.replayed);
    let stands = |report: &BotReport| {
        let session = session(report);
        (session.state, session.gate) == (SessionPhase::HaltedOperator, Some(GateReason::OperatorHalt))
            && report.breaker().state == BreakerState::Open
            && report.breaker().source.as_deref() == Some("operator")
    };
    bot.until("the halt", stands).await;
    bot.kill();
    bot.launch().await;
    bot.until("the halt after the restart", stands).await;
    let reset = bot.command_as(Verb::ResetBreaker, "b1").await;
    assert_eq!(reset.outcome, CommandOutcome::Done, "{reset:?}");
    bot.until("trading again", |report| report.opens_positions()).await;
}

#[tokio::test]
async fn refused_credentials_stop_trading_until_an_operator_signs_in() {
    // The first check finds a good session; orders cause warm checks, and a probe makes sure of a second check.
    let mut bot = bot_with("[{do: ok}, {do: 401}, {do: credentials_rejected}]").await;
    bot.command_as(Verb::ProbeSession, "look").await;
    bot.until("the halt", |report| session(report).state == SessionPhase::HaltedCredential).await;
    let is_told = |report: &BotReport| report.error_list().iter().any(|error| error.error_code == "BRK_002");
    bot.until("the halt is told", is_told).await;
    let report = bot.until("the picture follows", |report| report.phase == BotPhase::Degraded).await;
    assert!(!report.opens_positions());
    assert_eq!(session(&report).error_code.as_deref(), Some("BRK_002"));
    assert_eq!(session(&report).needs_human.as_deref(), Some("renew_credentials"));
    assert_eq!(report.breaker().state, BreakerState::Open);
    assert_eq!(report.breaker().source.as_deref(), Some("session"));
    let named = "session_credentials_rejected".to_owned();
    bot.until("the reason for no entry", |report| report.entry_reasons().contains(&named)).await;
    let told = |report: &BotReport| {
        let error = report.error_list().iter().find(|error| error.error_code == "BRK_002");
        error.is_some_and(|error| error.remediation.starts_with("A human must act"))
    };
    bot.until("it is told with its remedy", told).await;
    bot.kill();
    bot.launch().await;
    bot.until("the halt again", |report| session(report).gate == Some(GateReason::CredentialsRejected)).await;
    let signed_in = bot.command_as(Verb::Reauth, "fixed").await;
    assert_eq!(signed_in.outcome, CommandOutcome::Refused, "the script refuses once in each life");
    let signed_in = bot.command_as(Verb::Reauth, "fixed again").await;
    assert_eq!(signed_in.outcome, CommandOutcome::Done, "{signed_in:?}");
    bot.until("trading goes on", |report| report.opens_positions() && report.phase == BotPhase::Running)
        .await;
}

#[tokio::test]
async fn the_breaker_opens_after_failures_and_is_reset_by_a_check_that_passes() {
    // Enough failures that five of them come within the window, whatever delays the checks.
    let bot = bot_with("[{do: ok}, {do: '503', times: 30}]").await;
    bot.command_as(Verb::ProbeSession, "look").await;
    let open = |report: &BotReport| report.breaker().state == BreakerState::Open;
    let report = bot.until("the breaker", open).await;
    assert_eq!(session(&report).gate, Some(GateReason::BreakerOpen));
    assert!(report.breaker().failure_count >= Some(5), "{:?}", report.circuit_breaker);
    assert!(report.breaker().retry_at.is_some());
    assert_eq!(json!(report.breaker().source), "session");
    let mut outcomes = Vec::new();
    for n in 0..40 {
        let result = bot.command_as(Verb::ResetBreaker, &format!("reset-{n}")).await;
        outcomes.push((result.outcome, result.reason_code.clone()));
        if result.outcome == CommandOutcome::Done || result.reason_code.as_deref() == Some("breaker_closed") {
            break;
        }
    }
    bot.until("the breaker closes", |report| report.breaker().state == BreakerState::Closed).await;
    bot.until("trading goes on", |report| report.opens_positions()).await;
    assert!(!outcomes.is_empty());
}

/// botops lists every failure in the bot's own error log, whatever the kind of its event.
#[tokio::test(flavor = "multi_thread")]
async fn every_failure_of_the_session_is_in_the_list_of_failures() {
    let bot = bot_with(
        "[{do: ok}, {after_s: 2, do: expire_token}, {on: reauth, do: 503}, {after_s: 5, do: 429, retry_after_s: 2}, \
         {after_s: 10, do: 503, times: 8}]",
    )
    .await;
    let socket = bot.socket().display().to_string();
    let botops = Running::start(
        bot.folder.path(),
        &[("BOT_IPC_SOCKET", &socket), ("BOT_DATA_DIR", &format!("{socket}.ops"))],
    )
    .await;
    let key = |error: &Value| {
        (error["error_code"].to_string(), error["timestamp"].to_string(), error["message"].to_string())
    };
    let logged = || {
        let folder = std::fs::read_dir(bot.data().join("logs")).unwrap();
        let files = folder.map(|entry| entry.unwrap().path());
        let errors = files.filter(|file| file.file_name().unwrap().to_str().unwrap().starts_with("errors-"));
        let mut errors: Vec<_> = errors.flat_map(|file| lines(&file)).map(|error| key(&error)).collect();
        errors.sort();
        errors
    };
    let agrees = || async {
        let logged = logged();
        let (_, page) = botops.get("/api/v1/errors?limit=500").await;
        let items = page["items"].as_array().unwrap();
        let of_bot = items.iter().filter(|item| item["source"] == "bot:paperbot");
        let mut listed: Vec<_> = of_bot.map(key).collect();
        listed.sort();
        let (_, state) = botops.get("/api/v1/state").await;
        let (_, summary) = botops.get("/api/v1/summary").await;
        let shown = summary["recent_errors"].as_array().map_or(0, Vec::len);
        let omitted =
            summary["omitted"].as_array().into_iter().flatten().find(|left| left["what"] == "errors");
        let omitted = omitted.and_then(|left| left["count"].as_u64()).unwrap_or_default();
        ["BRK_001", "BRK_004", "BRK_008"].iter().all(|code| logged.iter().any(|error| error.0.contains(code)))
            && logged == listed
            && state["health"]["error_count_last_hour"] == logged.len()
            && shown as u64 + omitted == items.len() as u64
    };
    until("log, list, state and summary agree", Duration::from_secs(60), agrees).await;
    botops.stop().await;
}

/// Starts a bot with a fault script that it does not understand: the message on its terminal, parsed.
pub(crate) async fn raise_cannot_start() -> Value {
    let mut bot = Paperbot::prepare(&[]);
    let file = bot.folder.path().join("faults.yaml");
    std::fs::write(&file, "[{do: explode}]").unwrap();
    bot.arguments(&["--fault-script", &file.display().to_string()]);
    let mut command = bot.command();
    command.stderr(std::process::Stdio::piped());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    let line = said.lines().find_map(|line| line.strip_prefix("paperbot: ")).unwrap_or_default();
    let (code, message) = line.split_once(' ').unwrap_or_else(|| panic!("{said}"));
    json!({"error_code": code, "message": message})
}

#[tokio::test]
async fn a_wrong_script_is_told_at_the_start() {
    let said = raise_cannot_start().await;
    assert_eq!(said["error_code"], "BOT_011", "{said}");
    assert!(said["message"].as_str().unwrap().contains("explode"), "{said}");
}
