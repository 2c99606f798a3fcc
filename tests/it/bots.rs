//! The link to a bot, against a scripted bot with faults and against a process that is really stopped and killed.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use botops_contract::{
    ActivateConfigRequest, CheckConfigRequest, CommandOutcome, CommandRequest, EndTrialRequest, EventKind,
    SemanticError, Severity, Verb, VersionRef,
};
use botops_core::error::{Code, Error};
use botops_server::bots::{BotSnapshot, CallError, HoldReason, Presence};
use botops_server::events::Event;
use chrono::Utc;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::kit::ReportParts as _;
use crate::kit::running_link::{BACK_WITHIN, INTERVAL, RunningLink, TOLD_WITHIN};
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, position, refusal, report, sha256, trade};
use crate::kit::{Process, folder, until};

async fn linked(bot: &ScriptedBot) -> (RunningLink, TempDir) {
    let data = folder();
    let link = RunningLink::begin(data.path(), bot.id(), bot.socket()).await;
    link.is(Presence::Connected, TOLD_WITHIN).await;
    (link, data)
}

fn order(id: &str) -> CommandRequest {
    let (command_id, reason, args) = (id.to_owned(), "a test".to_owned(), Value::Null);
    CommandRequest { command_id, reason, args, dry_run: false, valid_for_ms: None, expires_at: None }
}

fn problem(error: &Error) -> Value {
    json!(error.problem("r", Utc::now()))
}

#[tokio::test]
async fn a_healthy_bot_is_connected_and_asked_once_per_interval_whatever_is_read() {
    let bot = ScriptedBot::start();
    let (link, _data) = linked(&bot).await;
    let seen = link.bots.snapshot();
    assert_eq!(seen.hello.as_ref().unwrap().name.as_deref(), Some("Scripted bot"));
    assert_eq!(seen.report.as_ref().unwrap().position_list().len(), 2);
    let mut watch = link.bots.watch();
    for _ in 0..8 {
        watch.changed().await.unwrap();
        // The newest request may not be answered yet; the one before it is.
        let asked: Vec<_> = bot.journal().into_iter().filter(|asked| asked.path == "state").collect();
        let answered = asked[asked.len().saturating_sub(2)].at;
        for _ in 0..1000 {
            let age = link.bots.snapshot().answer_age().unwrap();
            assert!(age <= answered.elapsed(), "{age:?}");
        }
    }
    assert_eq!(bot.count("GET", "hello"), 1);
    let polls: Vec<_> = bot.journal().into_iter().filter(|asked| asked.path == "state").collect();
    assert!(polls.len() >= 8);
    assert!(
        polls.iter().skip(1).all(|asked| asked.if_none_match.is_some()),
        "unchanged states are not sent again"
    );
    let first_to_last = polls.last().unwrap().at - polls.first().unwrap().at;
    assert!(first_to_last > INTERVAL * (u32::try_from(polls.len()).unwrap() - 1) * 9 / 10);
    let stats = link.bots.stats();
    assert_eq!(stats.poll_failures, 0);
    assert!(stats.polls_unchanged >= 7 && stats.poll_latency_us_sum > 0);
    bot.change(|report| report.trading_enabled = Some(false));
    link.sees("the change", BACK_WITHIN, |seen| !seen.report.as_ref().unwrap().opens_positions()).await;
}

/// One fault of the bot: presence shows it in time, the last good state stays and grows older, and the recovered bot
/// is seen at once.
async fn bad_day(behaviour: Behaviour, expected: Presence, word: &'static str) {
    let bot = ScriptedBot::start();
    let (link, _data) = linked(&bot).await;
    bot.behave(behaviour);
    let told = move |seen: &BotSnapshot| seen.presence == expected && seen.presence_reason.contains(word);
    let seen = link.sees(&format!("{behaviour:?}"), TOLD_WITHIN, told).await;
    assert_eq!(seen.report.as_ref().unwrap().position_list().len(), 2, "the last good state stays");
    // No restart is allowed yet, whatever the fault; a bot that answers is never restarted for it.
    let held = seen.unasked_restart.verdict.unwrap_err();
    assert_eq!(held == HoldReason::Answers, !expected.is_offline(), "{held:?}");
    let age = seen.data_age().unwrap();
    link.sees("an older state", BACK_WITHIN, move |seen| seen.data_age().unwrap() > age).await;
    let told =
        link.journal_has("presence", EventKind::Lifecycle, |event| event.data["presence"] == json!(expected));
    let severity = if expected.is_offline() { Severity::High } else { Severity::Medium };
    assert_eq!(told.await.severity, severity);
    bot.behave(Behaviour::Normal);
    link.is(Presence::Connected, BACK_WITHIN).await;
    link.end().await;
}

#[tokio::test]
async fn a_bot_that_stalls_is_hung() {
    bad_day(Behaviour::Stall, Presence::Hung, "not answered").await;
}

#[tokio::test]
async fn a_bot_that_sends_a_byte_now_and_then_is_hung() {
    bad_day(Behaviour::Drip, Presence::Hung, "not answered").await;
}

#[tokio::test]
async fn a_bot_that_answers_after_three_seconds_is_slow() {
    bad_day(Behaviour::Delay(Duration::from_secs(3)), Presence::Slow, "2 s is on time").await;
}

#[tokio::test]
async fn a_bot_that_struggles_is_not_buried_in_questions() {
    let bot = ScriptedBot::start();
    let (link, _data) = linked(&bot).await;
    bot.behave(Behaviour::Stall);
    link.is(Presence::Hung, TOLD_WITHIN).await;
    let before = (bot.count("GET", "state"), bot.count("GET", "hello"));
    let begun = Instant::now();
    let asked_thrice = || async { bot.count("GET", "hello") >= before.1 + 3 };
    until("it is asked who it is", Duration::from_secs(20), asked_thrice).await;
    let after = (bot.count("GET", "state"), bot.count("GET", "hello"));
    assert!(after.0 - before.0 <= 1, "the state is not asked for again and again: {before:?} {after:?}");
    let seconds = usize::try_from(begun.elapsed().as_secs()).unwrap();
    assert!(after.1 - before.1 <= seconds + 2, "once a second: {before:?} {after:?} in {seconds} s");
}

#[tokio::test]
async fn a_bot_that_answers_garbage_is_there_and_not_understood() {
    bad_day(Behaviour::Garbage, Presence::Incompatible, "not JSON").await;
}

#[tokio::test]
async fn a_bot_that_does_not_speak_http_is_there_and_not_understood() {
    bad_day(Behaviour::NotHttp, Presence::Incompatible, "not HTTP").await;
}

#[tokio::test]
async fn a_bot_that_answers_ten_mebibytes_is_there_and_not_understood() {
    bad_day(Behaviour::Huge, Presence::Incompatible, "8 MiB").await;
    bad_day(Behaviour::HugeChunked, Presence::Incompatible, "8 MiB").await;
}

#[tokio::test]
async fn a_bot_that_hangs_up_is_unreachable() {
    bad_day(Behaviour::HangUp, Presence::Unreachable, "closed the connection").await;
}

#[tokio::test]
async fn a_bot_whose_socket_nobody_serves_or_is_deleted_is_unreachable_until_it_is_back() {
    let mut bot = ScriptedBot::start();
    let (link, _data) = linked(&bot).await;
    bot.die();
    let seen =
        link.sees("a reason", TOLD_WITHIN, |seen| seen.presence_reason.contains("nobody listens")).await;
    assert_eq!(seen.presence, Presence::Unreachable);
    bot.revive();
    link.is(Presence::Connected, BACK_WITHIN).await;
    std::fs::remove_file(bot.socket()).unwrap();
    let seen = link.sees("a reason", TOLD_WITHIN, |seen| seen.presence_reason.contains("no socket")).await;
    assert_eq!(seen.presence, Presence::Unreachable);
    bot.revive();
    link.is(Presence::Connected, BACK_WITHIN).await;
    assert_eq!(link.bots.stats().recoveries, 2);
}

#[tokio::test]
async fn a_bot_that_was_never_there_is_never_seen_and_then_connected() {
    let (data, place) = (folder(), folder());
    let socket = place.path().join("bot.sock");
    let link = RunningLink::begin(data.path(), "scripted".parse().unwrap(), &socket).await;
    let seen = link.sees("a reason", TOLD_WITHIN, |seen| seen.presence_reason.contains("no socket")).await;
    assert_eq!(seen.presence, Presence::NeverSeen);
    assert!(seen.report.is_none() && seen.data_age().is_none());
    let _bot = ScriptedBot::at(&socket, report());
    link.is(Presence::Connected, BACK_WITHIN).await;
}

#[tokio::test]
async fn another_bots_socket_is_refused() {
    let (data, bot) = (folder(), ScriptedBot::start());
    let link = RunningLink::begin(data.path(), "main-account".parse().unwrap(), bot.socket()).await;
    let seen = link.sees("a reason", TOLD_WITHIN, |seen| seen.presence_reason.contains("`scripted`")).await;
    assert_eq!(seen.presence, Presence::NeverSeen);
    assert_eq!(bot.count("GET", "state"), 0, "it is not asked anything more");
}

#[tokio::test]
async fn another_users_socket_is_refused() {
    let bot = ScriptedBot::start();
    // Changing a file's owner needs root; without it there is nothing to test.
    if std::os::unix::fs::chown(bot.socket(), Some(4242), None).is_err() {
        return;
    }
    let data = folder();
    let link = RunningLink::begin(data.path(), bot.id(), bot.socket()).await;
    let seen = link.sees("a reason", TOLD_WITHIN, |seen| seen.presence_reason.contains("another user")).await;
    assert!(seen.presence_reason.contains("4242") && seen.presence.is_offline());
    assert!(bot.journal().is_empty());
}

#[tokio::test]
async fn an_older_contract_is_served_with_what_it_has() {
    let bot = ScriptedBot::start();
    {
        let mut script = bot.script();
        script.hello.contract = Some(0);
        script.missing_fields = vec!["loop", "no_entry_reasons", "session", "orders", "last_trade_at"];
    }
    let (link, _data) = linked(&bot).await;
    let seen = link.bots.snapshot();
    assert!(seen.presence_reason.contains("older contract 0"), "{}", seen.presence_reason);
    assert!(seen.report.as_ref().unwrap().session.is_none());
}

#[tokio::test]
async fn hostile_texts_and_lists_are_bounded_at_the_door() {
    let bot = ScriptedBot::start();
    bot.change(|report| {
        report.positions = Some(vec![position("SPY\u{202e}\u{1b}[31m", "1", "1", "1")]);
        report.orders = Some(vec![report.order_list()[0].clone(); 2_007]);
        let long = "\u{202e}\u{7}é".repeat(10_000);
        let error = SemanticError {
            severity_raw: None,
            error_code: "BRK_001".to_owned(),
            error_type: "TradingError".to_owned(),
            severity: Severity::High,
            message: long.clone(),
            cause: String::new(),
            impact: String::new(),
            remediation: String::new(),
            context: Value::Null,
            timestamp: Some(Utc::now()),
        };
        report.phase_reason = Some(long);
        let mut errors = vec![SemanticError { message: String::new(), ..error.clone() }; 300];
        errors[0] = error;
        errors[1].context = json!({ "dump": "x".repeat(100_000) });
        report.recent_errors = Some(errors);
    });
    let data = folder();
    let link = RunningLink::begin(data.path(), bot.id(), bot.socket()).await;
    // In a debug build both sides need long for a megabyte; each answer may take 5 s.
    let seen = link.sees("a report", Duration::from_secs(30), |seen| seen.report.is_some()).await;
    let report = seen.report.as_ref().unwrap();
    assert_eq!((report.order_list().len(), seen.dropped.orders), (2_000, 7));
    assert_eq!(seen.open_order_count(), Some(2_007), "the count is of all that came");
    assert_eq!((report.error_list().len(), seen.dropped.errors), (200, 100));
    assert_eq!(report.position_list()[0].symbol, "SPY[31m");
    assert_eq!(report.error_list()[0].message, format!("{}…", "é".repeat(499)));
    assert_eq!(report.error_list()[1].context, json!({ "omitted_bytes": 100_011 }));
    assert!(report.phase_reason.as_ref().unwrap().chars().count() <= 500);
}

#[tokio::test]
async fn commands_act_once_and_every_failure_has_its_code() {
    let bot = ScriptedBot::start();
    let (link, _data) = linked(&bot).await;
    let done = link.bots.command(Verb::Pause, order("c1")).await.unwrap();
    assert_eq!(
        (done.outcome, done.replayed, done.trading_enabled),
        (CommandOutcome::Done, false, Some(false))
    );
    let again = link.bots.command(Verb::Pause, order("c1")).await.unwrap();
    assert!(again.replayed);
    let flat = CommandRequest { dry_run: true, ..order("c2") };
    let flat = link.bots.command(Verb::Flatten, flat).await.unwrap();
    assert_eq!((flat.outcome, flat.exposure.unwrap().orders_submitted), (CommandOutcome::Predicted, Some(2)));

    bot.script().refuse = Some(refusal("breaker_open", "not now\u{1b}"));
    let refused = link.bots.command(Verb::Resume, order("c3")).await.unwrap_err();
    assert_eq!(refused.code(), Code::BotRefused);
    assert_eq!(problem(&refused)["context"]["reason_code"], "breaker_open");
    assert_eq!(problem(&refused)["effect"], "none");
    bot.script().refuse = None;

    bot.script().only = "commands";
    for (behaviour, code) in
        [(Behaviour::HangUp, Code::BotTimeout), (Behaviour::Garbage, Code::BotAnswerInvalid)]
    {
        bot.behave(behaviour);
        let failed = link.bots.command(Verb::Resume, order("c4")).await.unwrap_err();
        assert_eq!((failed.code(), problem(&failed)["effect"].as_str()), (code, Some("unknown")));
    }
    bot.behave(Behaviour::Stall);
    let asked = Instant::now();
    let late = link.bots.command(Verb::Resume, order("c5")).await.unwrap_err();
    assert_eq!(late.code(), Code::BotTimeout);
    assert!((9..19).contains(&asked.elapsed().as_secs()), "the deadline is 10 s");
    assert_eq!(link.bots.snapshot().presence, Presence::Connected, "a stuck command is not a stuck bot");
}

#[tokio::test]
async fn what_a_bot_cannot_do_and_what_cannot_reach_it_is_not_sent() {
    let mut bot = ScriptedBot::start();
    bot.script().hello.capabilities = vec!["pause".into()];
    let (link, _data) = linked(&bot).await;
    let not_capable = link.bots.command(Verb::Flatten, order("c1")).await.unwrap_err();
    assert_eq!(not_capable.code(), Code::BotNotCapable);
    assert_eq!(link.bots.config_state().await, Err(CallError::NotCapable("config".to_owned())));
    bot.die();
    let lost = link.bots.command(Verb::Pause, order("c2")).await.unwrap_err();
    assert_eq!(lost.code(), Code::BotOffline);
    link.is(Presence::Unreachable, TOLD_WITHIN).await;
    let away = link.bots.command(Verb::Pause, order("c3")).await.unwrap_err();
    assert_eq!((away.code(), problem(&away)["effect"].as_str()), (Code::BotOffline, Some("none")));
    assert_eq!(bot.journal().iter().filter(|asked| asked.method == "POST").count(), 0);
}

#[tokio::test]
async fn config_verbs_and_trades_reach_the_bot() {
    let bot = ScriptedBot::start();
    bot.script().trades = (1..=5).map(|seq| trade(seq, "12.50")).collect();
    let (link, _data) = linked(&bot).await;
    let bots = &link.bots;
    let page = bots.trades(1, None, None, 2).await.unwrap();
    assert_eq!(page.trades.iter().map(|trade| trade.seq).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(page.next, Some(3));
    let from = page.trades[1].closed_at;
    let later = bots.trades(0, Some(from), Some(from + chrono::Duration::minutes(1)), 10).await.unwrap();
    assert_eq!((later.trades.len(), later.trades[0].seq, later.next), (1, 3, None));

    let before = bots.config_state().await.unwrap();
    assert!(bots.config_check(&CheckConfigRequest { config: json!({}) }).await.unwrap().ok);
    assert!(!bots.config_check(&CheckConfigRequest { config: json!(7) }).await.unwrap().ok);
    let document = r#"{"a":1}"#.to_owned();
    let candidate = VersionRef { version: 2, sha256: sha256(document.as_bytes()) };
    let (txn, generation, base, ttl_ms) = ("t1".to_owned(), 1, before.running.clone(), 60_000);
    let activate = ActivateConfigRequest {
        txn,
        generation,
        base,
        candidate: candidate.clone(),
        document,
        ttl_ms,
        boot_once: false,
    };
    assert_eq!(bots.config_activate(&activate).await.unwrap().running, candidate);
    let settle = EndTrialRequest { txn: "t1".to_owned(), generation: 1 };
    assert_eq!(bots.config_revert(&settle).await.unwrap().running, before.running);
    let Err(CallError::Refused(refusal)) = bots.config_commit(&settle).await else { panic!("not refused") };
    assert_eq!(refusal.code, "not_in_trial");
    let old = EndTrialRequest { txn: "t2".to_owned(), generation: 0 };
    let Err(CallError::Refused(refusal)) = bots.config_commit(&old).await else { panic!("not refused") };
    assert_eq!(refusal.code, "older_generation");
}

#[tokio::test]
async fn events_are_taken_over_once_and_what_was_lost_is_said() {
    let mut bot = ScriptedBot::start();
    for number in 1..=3 {
        bot.emit(EventKind::Fill, Severity::Low, &format!("fill {number}\u{202e}"));
    }
    let (link, data) = linked(&bot).await;
    let third = link.journal_has("the third", EventKind::Fill, |event| event.message == "fill 3").await;
    assert_eq!(third.source, "bot:scripted");
    bot.emit(EventKind::Fill, Severity::Low, "fill 4");
    link.journal_has("the fourth", EventKind::Fill, |event| event.message == "fill 4").await;
    link.end().await;

    // While botops is away, 5 to 9 happen, and the bot forgets 5 to 7.
    for number in 5..=9 {
        bot.emit(EventKind::Fill, Severity::Low, &format!("fill {number}"));
    }
    bot.script().events.drain(..7);
    let link = RunningLink::begin(data.path(), bot.id(), bot.socket()).await;
    link.journal_has("the ninth", EventKind::Fill, |event| event.message == "fill 9").await;
    let fills: Vec<_> = link.journal(EventKind::Fill).await.iter().map(|fill| fill.message.clone()).collect();
    assert_eq!(fills, ["fill 1", "fill 2", "fill 3", "fill 4", "fill 8", "fill 9"]);
    let gap = link.journal_has("the gap", EventKind::Lifecycle, |event| event.data["lost"] == 3).await;
    assert!(gap.message.contains("3 events"), "{}", gap.message);
    assert_eq!(link.bots.stats().events_lost, 3);

    // A new boot numbers its events from one again.
    bot.restart();
    bot.emit(EventKind::Fill, Severity::Low, "fill of the new life");
    link.journal_has("the new life", EventKind::Fill, |event| event.message == "fill of the new life").await;
    link.journal_has("the start", EventKind::Lifecycle, |event| event.data["boot_epoch"] == "life-1+").await;
    assert_eq!(link.journal(EventKind::Fill).await.len(), 7);
}

#[tokio::test]
async fn a_number_out_of_reach_takes_no_later_event_of_that_start_away() {
    let bot = ScriptedBot::start();
    let raw = |seq: u64| {
        let event = json!({"seq": seq, "boot_epoch": "life-1", "kind": "fill", "severity": "low", "message": format!("fill {seq}")});
        bot.emit_raw(event.to_string());
    };
    let (link, data) = linked(&bot).await;
    for seq in [1, 2, u64::MAX, 3, 4, u64::MAX, 4] {
        raw(seq);
    }
    link.journal_has("the fourth", EventKind::Fill, |event| event.message == "fill 4").await;
    let jump = |event: &Event| event.data["event_type"] == "event_numbers.jumped";
    let jump = link.journal_has("the jump", EventKind::Lifecycle, jump).await;
    assert_eq!((&jump.data["from_seq"], &jump.data["to_seq"]), (&json!(2), &json!(u64::MAX)));
    assert_eq!((&jump.data["boot_epoch"], &jump.data["bot_id"]), (&json!("life-1"), &json!("scripted")));
    let back = |event: &Event| event.data["event_type"] == "event_numbers.went_back";
    let back = link.journal_has("the way back", EventKind::Lifecycle, back).await;
    assert_eq!((&back.data["from_seq"], &back.data["to_seq"]), (&json!(u64::MAX), &json!(3)));
    assert_eq!(link.bots.stats().events_lost, 0, "nobody knows of a loss");
    link.end().await;

    // The next start of botops asks the bot to go on where it really is.
    let link = RunningLink::begin(data.path(), bot.id(), bot.socket()).await;
    link.is(Presence::Connected, BACK_WITHIN).await;
    for seq in [3, 4, 5] {
        raw(seq);
    }
    link.journal_has("the fifth", EventKind::Fill, |event| event.message == "fill 5").await;
    let asked = bot.journal().into_iter().filter_map(|asked| asked.last_event_id).next_back();
    assert_eq!(asked.as_deref(), Some("life-1/4"));
    let fills: Vec<_> = link.journal(EventKind::Fill).await.iter().map(|fill| fill.message.clone()).collect();
    let jumped = format!("fill {}", u64::MAX);
    assert_eq!(fills, ["fill 1", "fill 2", &jumped, "fill 3", "fill 4", "fill 5"]);
}

#[tokio::test]
async fn a_restart_of_botops_beside_a_dead_bot_still_knows_the_last_state_and_its_age() {
    let begun = Instant::now();
    let mut bot = ScriptedBot::start();
    let (link, data) = linked(&bot).await;
    let known = link.bots.snapshot();
    link.end().await;
    bot.die();
    let link = RunningLink::begin(data.path(), bot.id(), bot.socket()).await;
    let seen = link.bots.snapshot();
    assert_eq!(seen.report.as_ref().unwrap().as_of, known.report.as_ref().unwrap().as_of);
    assert!(seen.received_at.unwrap() >= known.received_at.unwrap());
    let age = seen.data_age().unwrap();
    assert!(age > Duration::ZERO && age < begun.elapsed() + Duration::from_secs(2), "{age:?}");
    assert_eq!(seen.presence, Presence::Unreachable);
    let seen = link.sees("a reason", TOLD_WITHIN, |seen| seen.presence_reason.contains("nobody")).await;
    assert!(seen.data_age().unwrap() > age && seen.report.is_some());
}

#[tokio::test]
async fn an_expected_restart_is_reloading_and_then_connected() {
    let mut bot = ScriptedBot::start();
    let (link, _data) = linked(&bot).await;
    link.bots.expect_restart(Duration::from_secs(20));
    bot.die();
    link.is(Presence::Reloading, TOLD_WITHIN).await;
    bot.restart();
    link.is(Presence::Connected, BACK_WITHIN).await;
    // The restart has happened: the next absence is one.
    bot.die();
    link.is(Presence::Unreachable, TOLD_WITHIN).await;
    bot.revive();
    link.bots.expect_restart(Duration::from_millis(300));
    bot.die();
    link.is(Presence::Unreachable, TOLD_WITHIN).await;
}

#[tokio::test]
async fn a_process_that_is_stopped_is_hung_and_one_that_is_killed_has_exited() {
    let (data, place) = (folder(), folder());
    let socket = place.path().join("bot.sock");
    let mut process = scripted_process(&socket);
    let link = RunningLink::begin(data.path(), "scripted".parse().unwrap(), &socket).await;
    link.is(Presence::Connected, Duration::from_secs(10)).await;

    process.freeze();
    let seen = link.is(Presence::Hung, TOLD_WITHIN).await;
    assert!(seen.presence_reason.contains("stopped"), "{}", seen.presence_reason);
    let refused = link.bots.command(Verb::Flatten, order("c1")).await.unwrap_err();
    assert_eq!(refused.code(), Code::BotOffline, "a command must not wait in a hung bot's socket");
    // Long enough for every earlier request to have ended.
    tokio::time::sleep(Duration::from_secs(6)).await;
    process.thaw();
    link.is(Presence::Connected, BACK_WITHIN).await;

    process.kill();
    let seen = link.is(Presence::Exited, TOLD_WITHIN).await;
    assert!(seen.presence_reason.contains("gone"), "{}", seen.presence_reason);
    assert!(seen.report.is_some());
    let begun = Instant::now();
    let _process = scripted_process(&socket);
    let back = link.is(Presence::Connected, Duration::from_secs(10)).await;
    assert!(back.data_age().unwrap() < begun.elapsed(), "what is seen is the new process's");
}

/// The scripted bot in its own process: this test binary again, running [`scripted_bot_process`].
fn scripted_process(socket: &Path) -> Process {
    let this = std::env::current_exe().unwrap();
    let mut process =
        Process::start(&this, &["--exact", "bots::scripted_bot_process", "--ignored", "--nocapture"]);
    let stdin = process.child().stdin.as_mut().unwrap();
    writeln!(stdin, "{}", socket.display()).unwrap();
    process
}

#[test]
#[ignore = "not a test: a bot process that other tests start, stop and kill"]
fn scripted_bot_process() {
    let mut lines = std::io::stdin().lines();
    let Some(Ok(socket)) = lines.next() else { return };
    let mut report = report();
    report.boot_epoch = Some(format!("process-{}", std::process::id()));
    let _bot = ScriptedBot::at(Path::new(&socket), report);
    // Ends when the test that started it closes its standard input.
    while lines.next().is_some() {}
}
