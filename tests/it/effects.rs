//! The effect of a command is proven or unknown: it is never guessed, and an event reports it once it is known.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use botops_contract::{BotPhase, Capability};
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::ReportParts as _;
use crate::kit::app::{Running, answer};
use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, position, refusal, report};
use crate::kit::{folder, until};
use crate::workflows::pair::Pair;

const SOON: Duration = Duration::from_secs(40);

async fn with_bot(folder: &std::path::Path) -> (ScriptedBot, Running) {
    with_bot_that(folder, &[]).await
}

/// A scripted bot with these capabilities in addition to its verbs, and botops beside it.
async fn with_bot_that(folder: &std::path::Path, can: &[&str]) -> (ScriptedBot, Running) {
    let mut state = report();
    state.positions = Some(vec![position("SPY", "10", "400", "410")]);
    let bot = ScriptedBot::at(&folder.join("bot.sock"), state);
    bot.script().alive = true;
    bot.script().hello.capabilities.extend(can.iter().map(|name| Capability::from(*name)));
    let running = beside(folder, bot.id().as_str()).await;
    (bot, running)
}

async fn beside(folder: &std::path::Path, id: &str) -> Running {
    let running = Running::start(folder, &[("BOT_ID", id)]).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("the bot is seen", SOON, seen).await;
    running
}

/// The capability of a bot that reports the state of a command.
const STATUS: &[&str] = &["command-status"];

async fn give(running: &Running, verb: &str, key: &str) -> (u16, Value) {
    let request = running.request(Method::POST, &format!("/api/v1/control/{verb}"));
    answer(request.header("idempotency-key", key).json(&json!({"reason": "a test of effects"}))).await
}

/// The events about a command, in order.
async fn told(running: &Running, key: &str) -> Vec<Value> {
    let (_, page) = running.get("/api/v1/events?kind=control&after=0&limit=200").await;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|event| event["data"]["command_id"] == key).collect()
}

fn outcomes(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["data"]["outcome"].as_str().unwrap()).collect()
}

/// Waits until there are two events about a command, and returns them.
async fn told_twice(running: &Running, key: &str) -> Vec<Value> {
    let settled = || async { told(running, key).await.len() >= 2 };
    until("how the command ended is told", SOON, settled).await;
    told(running, key).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_proves_nothing_leaves_the_effect_unknown() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    let doubtful = [
        (504, "no_answer"),
        (409, "no_answer"),
        (504, "upstream_hung"),
        (500, "internal"),
        (503, "busy"),
        (502, "bad_gateway"),
        (409, "upstream_timeout"),
        (408, "timeout"),
        (409, "in_progress"),
    ];
    for (index, (status, code)) in doubtful.into_iter().enumerate() {
        bot.script().refuse = Some(refusal(code, "it may still act"));
        bot.script().refuse_status = StatusCode::from_u16(status).unwrap();
        let key = format!("doubt-{index}");
        let (_, problem) = give(&running, "flatten", &key).await;
        assert_eq!(problem["effect"], "unknown", "{status} {code}: {problem:#}");
        assert_eq!(problem["error_code"], "BOT_002", "{status} {code}: {problem:#}");
        assert_eq!(problem["context"]["reason_code"], code);
        let events = told(&running, &key).await;
        assert_eq!(outcomes(&events)[0], "unknown", "{events:#?}");
        assert!(!events[0]["message"].as_str().unwrap().contains("refused"), "{events:#?}");
    }
    // A refusal with a reason of the contract proves that nothing happened.
    for (status, code) in [(409, "session_halted"), (422, "market_closed"), (429, "busy"), (409, "expired")] {
        bot.script().refuse = Some(refusal(code, "not now"));
        bot.script().refuse_status = StatusCode::from_u16(status).unwrap();
        let (_, problem) = give(&running, "flatten", &format!("reason-{code}")).await;
        assert_eq!(
            (problem["error_code"].as_str(), problem["effect"].as_str()),
            (Some("BOT_003"), Some("none"))
        );
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_contradicts_the_question_is_no_success() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    let contradictions = [
        ("pause", json!({"command_id": "somebody else's"}), "somebody else's"),
        ("pause", json!({"trading_enabled": true}), "trading_enabled"),
        // Before the halt: an open breaker would be a reason for it.
        ("resume", json!({"trading_enabled": false, "message": "ok"}), "trading_enabled"),
        ("halt", json!({"trading_enabled": true}), "trading_enabled"),
        ("flatten", json!({"trading_enabled": true}), "trading_enabled"),
        ("flatten", json!({"outcome": "predicted"}), "predicted"),
        ("flatten", json!({"outcome": "unconfirmed"}), "unconfirmed"),
        (
            "pause",
            json!({"command_id": "another", "outcome": "refused", "reason_code": "already"}),
            "another",
        ),
        ("pause", json!({"outcome": "refused", "reason_code": "no_answer"}), "no_answer"),
        ("pause", json!({"outcome": "queued"}), ""),
    ];
    for (index, (verb, twist, named)) in contradictions.into_iter().enumerate() {
        bot.script().twist = twist.clone();
        let key = format!("twist-{index}");
        let (status, problem) = give(&running, verb, &key).await;
        assert!(status >= 500, "{verb} {twist}: {problem:#}");
        assert_eq!(problem["effect"], "unknown", "{verb} {twist}: {problem:#}");
        assert!(problem["cause"].as_str().unwrap().contains(named), "{verb} {twist}: {problem:#}");
        assert_eq!(outcomes(&told(&running, &key).await)[0], "unknown");
    }
    // Not a contradiction: a resume that names the reason why entries stay closed.
    bot.script().twist = json!({"trading_enabled": false, "phase": "degraded"});
    let (status, view) = give(&running, "resume", "degraded").await;
    assert_eq!(status, 200, "{view:#}");
    bot.script().twist = json!({"outcome": "done"});
    let request = running.request(Method::POST, "/api/v1/control/flatten?dry_run=true");
    let (status, problem) = answer(request.json(&json!({"reason": "what would happen"}))).await;
    assert_eq!((status, problem["effect"].as_str()), (502, Some("unknown")), "{problem:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_did_is_told_when_the_bot_knows_it() {
    let folder = folder();
    let (bot, running) = with_bot_that(folder.path(), STATUS).await;
    {
        let mut script = bot.script();
        script.refuse = Some(refusal("no_answer", "it may still act"));
        script.refuse_status = StatusCode::GATEWAY_TIMEOUT;
        (script.act_anyway, script.keep_waiting) = (true, true);
    }
    let (status, problem) = give(&running, "flatten", "late").await;
    assert_eq!((status, problem["effect"].as_str()), (504, Some("unknown")), "{problem:#}");
    let asked = || async {
        bot.journal().iter().any(|asked| asked.path.starts_with("commands/") && asked.method == "GET")
    };
    until("the bot is asked what became of it", SOON, asked).await;
    assert_eq!(outcomes(&told(&running, "late").await), ["unknown"]);
    bot.script().keep_waiting = false;
    let events = told_twice(&running, "late").await;
    assert_eq!(outcomes(&events), ["unknown", "done"], "{events:#?}");
    assert_eq!(events[1]["data"]["verb"], "flatten");
    assert_eq!(events[1]["data"]["exposure"]["orders_submitted"], 1);
    assert_eq!(bot.count("POST", "commands/flatten"), 1, "it was never sent a second time");
    // The same key again gives the first effect.
    bot.script().refuse = None;
    let (status, view) = give(&running, "flatten", "late").await;
    assert_eq!((status, view["replayed"].as_bool()), (200, Some(true)), "{view:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_never_arrived_is_told_so_and_not_sent_again() {
    let folder = folder();
    let (bot, running) = with_bot_that(folder.path(), STATUS).await;
    bot.script().only = "commands/flatten";
    bot.behave(Behaviour::HangUp);
    let (status, problem) = give(&running, "flatten", "lost").await;
    assert_eq!((status, problem["error_code"].as_str()), (504, Some("BOT_002")), "{problem:#}");
    bot.behave(Behaviour::Normal);
    let sent: Value =
        bot.journal().iter().find(|asked| asked.path == "commands/flatten").unwrap().body.clone();
    assert!(sent["valid_for_ms"].as_u64().is_some_and(|ms| (1..=10_000).contains(&ms)), "{sent:#}");
    assert!(sent["expires_at"].as_str().is_some(), "{sent:#}");
    let events = told_twice(&running, "lost").await;
    assert_eq!(outcomes(&events), ["unknown", "not_received"], "{events:#?}");
    // It is proven only after the time in which a copy that is still on its way could act.
    let at = |event: &Value| event["at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    let expires: chrono::DateTime<chrono::Utc> = sent["expires_at"].as_str().unwrap().parse().unwrap();
    assert!(at(&events[1]) > expires);
    assert_eq!(bot.count("POST", "commands/flatten"), 1);
    assert_eq!(bot.script().report.position_list().len(), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_start_of_the_bot_that_does_not_know_a_command_proves_nothing() {
    let folder = folder();
    let (mut bot, running) = with_bot_that(folder.path(), STATUS).await;
    {
        let mut script = bot.script();
        script.refuse = Some(refusal("no_answer", "it may still act"));
        script.refuse_status = StatusCode::GATEWAY_TIMEOUT;
        (script.act_anyway, script.keep_waiting) = (true, true);
    }
    // It carries the command out, and dies before it has told or written that.
    give(&running, "flatten", "before-the-start").await;
    assert_eq!(bot.script().report.position_list().len(), 0, "it acted");
    bot.script().keep_waiting = false;
    bot.restart();
    let events = told_twice(&running, "before-the-start").await;
    assert_eq!(outcomes(&events), ["unknown", "still_unknown"], "{events:#?}");
    assert!(events[1]["message"].as_str().unwrap().contains("started again"), "{events:#?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_cannot_be_asked_leaves_it_to_a_person_with_what_the_state_shows() {
    let folder = folder();
    let (bot, running) = with_bot(folder.path()).await;
    {
        let mut script = bot.script();
        script.refuse = Some(refusal("no_answer", "it may still act"));
        script.refuse_status = StatusCode::GATEWAY_TIMEOUT;
        script.act_anyway = true;
    }
    give(&running, "pause", "unasked").await;
    let events = told_twice(&running, "unasked").await;
    assert_eq!(outcomes(&events), ["unknown", "still_unknown"], "{events:#?}");
    let last = &events[1];
    assert_eq!(last["data"]["state_shows"]["as_asked"], true, "{last:#}");
    assert_eq!(last["severity"], "medium");
    assert!(last["message"].as_str().unwrap().contains("person"), "{last:#}");
    assert_eq!(bot.count("POST", "commands/pause"), 1);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_command_is_followed_by_the_next_run_of_botops() {
    let folder = folder();
    let (bot, running) = with_bot_that(folder.path(), STATUS).await;
    {
        let mut script = bot.script();
        script.refuse = Some(refusal("no_answer", "it may still act"));
        script.refuse_status = StatusCode::GATEWAY_TIMEOUT;
        (script.act_anyway, script.keep_waiting) = (true, true);
    }
    give(&running, "pause", "across").await;
    running.stop().await;
    let running = beside(folder.path(), bot.id().as_str()).await;
    assert_eq!(outcomes(&told(&running, "across").await), ["unknown"]);
    bot.script().keep_waiting = false;
    assert_eq!(outcomes(&told_twice(&running, "across").await), ["unknown", "done"]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_leaves_a_record_of_how_it_ended() {
    let folder = folder();
    let (bot, running) = with_bot_that(folder.path(), STATUS).await;
    bot.script().only = "commands/pause";
    bot.behave(Behaviour::Hold);
    let request = running.request(Method::POST, "/api/v1/control/pause").header("idempotency-key", "gone");
    let sent = tokio::spawn(request.json(&json!({"reason": "a test of effects"})).send());
    until("the bot has it", SOON, || async { bot.count("POST", "commands/pause") > 0 }).await;
    // The caller's connection ends.
    sent.abort();
    assert!(sent.await.unwrap_err().is_cancelled());
    bot.behave(Behaviour::Normal);
    // The bot may have answered before the connection ended: then that is the record. If not, its state decides what is
    // expected to follow.
    let is_known = |outcome: &&str| *outcome != "unknown";
    let ended = || async { outcomes(&told(&running, "gone").await).iter().any(is_known) };
    until("how the command ended is told", SOON, ended).await;
    let events = told(&running, "gone").await;
    let acted = bot.script().report.phase == BotPhase::Paused;
    let ending = if acted { "done" } else { "not_received" };
    let outcomes = outcomes(&events);
    assert!(outcomes == ["unknown", ending] || acted && outcomes == ["done"], "{events:#?}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_botops_that_is_killed_over_a_command_tells_in_its_next_run_how_it_ended() {
    let mut pair = Pair::start().await;
    pair.bot.trades().await;
    pair.bot.stall("paperbot.request");
    let request = pair.request(Method::POST, "/api/v1/control/pause").header("idempotency-key", "killed");
    let request = request.json(&json!({"reason": "a test of effects"})).timeout(Duration::from_secs(4));
    let sent = tokio::spawn(request.send());
    pair.bot.stands("paperbot.request").await;
    pair.end();
    assert!(sent.await.unwrap().is_err());
    pair.bot.go_on("paperbot.request");
    pair.serve(None).await;
    pair.connected().await;
    let ended = || async {
        let page = pair.get("/api/v1/events?kind=control&after=0&limit=50").await;
        let items = page["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .any(|event| event["data"]["command_id"] == "killed" && event["data"]["outcome"] == "done")
    };
    until("how it ended is told", SOON, ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_which_nobody_knows_whether_it_acted_is_in_the_operators_log() {
    let pair = Pair::start().await;
    pair.bot.trades().await;
    pair.bot.stall("paperbot.request");
    let sent =
        pair.request(Method::POST, "/api/v1/control/pause").json(&json!({"reason": "a test of effects"}));
    let (status, problem) = crate::kit::app::answer(sent).await;
    assert_eq!((status, &problem["effect"]), (504, &json!("unknown")), "{problem:#}");
    pair.bot.go_on("paperbot.request");
    let logs = pair.logs().join("operators.log");
    let told = || async {
        let text = std::fs::read_to_string(&logs).unwrap_or_default();
        text.contains("pause by operator: 504, and whether it was done is not known")
    };
    until("it is in the log", SOON, told).await;
}

/// Starts a paperbot, waits until it trades, and starts botops beside it.
async fn beside_paperbot() -> (Paperbot, Running) {
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    bot.trades().await;
    let running = beside(bot.folder.path(), "paperbot").await;
    (bot, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_stands_still_does_not_act_after_the_caller_gave_up() {
    let (bot, running) = beside_paperbot().await;
    bot.until("it holds something", |report| !report.holds_nothing()).await;
    bot.stall("paperbot.loop");
    bot.stands("paperbot.loop").await;
    let (status, problem) = give(&running, "flatten", "frozen").await;
    assert!(status >= 400, "{problem:#}");
    let proven = problem["effect"] == "none";
    assert!(proven || problem["effect"] == "unknown", "{problem:#}");
    assert_eq!((proven, problem["context"]["reason_code"].as_str()), (true, Some("expired")), "{problem:#}");
    let before = bot.state().await.ticks();
    bot.go_on("paperbot.loop");
    let report = bot.until("the loop goes on", |report| report.ticks() > before + 5).await;
    assert_ne!(report.phase, BotPhase::Paused, "flatten pauses: it was carried out late");
    // The first answer is final, also for the same key again.
    let (status, again) = give(&running, "flatten", "frozen").await;
    assert_eq!((status, again["context"]["reason_code"].as_str()), (409, Some("expired")), "{again:#}");
    let (status, view) = give(&running, "flatten", "thawed").await;
    assert_eq!(status, 200, "{view:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_hangs_over_a_command_is_asked_until_it_says_what_it_did() {
    let (bot, running) = beside_paperbot().await;
    bot.stall("paperbot.request");
    let (status, problem) = give(&running, "pause", "taken").await;
    assert_eq!((status, problem["error_code"].as_str()), (504, Some("BOT_002")), "{problem:#}");
    assert_eq!(problem["effect"], "unknown");
    assert_eq!(problem["context"]["reason_code"], "no_answer");
    assert_eq!(outcomes(&told(&running, "taken").await), ["unknown"]);
    bot.go_on("paperbot.request");
    let events = told_twice(&running, "taken").await;
    assert_eq!(outcomes(&events), ["unknown", "done"], "{events:#?}");
    let (status, view) = give(&running, "pause", "taken").await;
    assert_eq!((status, view["replayed"].as_bool()), (200, Some(true)), "{view:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_says_nothing_happened_only_when_that_is_true_of_every_try() {
    let (bot, running) = beside_paperbot().await;
    bot.stall("paperbot.request");
    let (_, first) = give(&running, "pause", "twice").await;
    assert_eq!(first["effect"], "unknown", "{first:#}");
    let (_, second) = give(&running, "pause", "twice").await;
    assert_eq!(second["effect"], "unknown", "the first try is still under way: {second:#}");
    bot.go_on("paperbot.request");
    bot.until("the first try paused it", |report| report.phase == BotPhase::Paused).await;
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_could_not_tell_what_its_step_did_is_told_later() {
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    bot.trades().await;
    // Without a supervisor the restart would be refused before its first step.
    let settings = [("BOT_ID", "paperbot"), ("BOT_SUPERVISOR", "command:[\"/bin/true\"]")];
    let running = Running::start(bot.folder.path(), &settings).await;
    let seen = || async { running.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("the bot is seen", SOON, seen).await;
    bot.stall("paperbot.request");
    let body = json!({"params": {"reason": "a test of effects"}});
    let (status, run) = running.send(Method::POST, "/api/v1/workflows/restart-bot/execute", &body).await;
    assert_eq!(status, 202, "{run:#}");
    let path = format!("/api/v1/workflows/runs/{}", run["run_id"].as_str().unwrap());
    let ended = || async { running.get(&path).await.1["terminal"] == true };
    until("the run ends", Duration::from_secs(90), ended).await;
    let (_, view) = running.get(&path).await;
    assert_eq!(view["state"], "needs_attention", "{view:#}");
    let pause = |view: &Value| {
        view["steps"].as_array().unwrap().iter().find(|step| step["step"] == "pause").cloned().unwrap()
    };
    assert!(pause(&view)["later"].is_null(), "{view:#}");
    bot.go_on("paperbot.request");
    let told = || async { pause(&running.get(&path).await.1)["later"].is_string() };
    until("the run is told what its step did", Duration::from_secs(90), told).await;
    let (_, view) = running.get(&path).await;
    assert_eq!(view["state"], "needs_attention", "what the run came to stays: {view:#}");
    assert!(pause(&view)["later"].as_str().unwrap().contains("carried it out"), "{view:#}");
    running.stop().await;
    // As after a kill between the event that tells it and the line in the run's journal.
    let database = rusqlite::Connection::open(bot.folder.path().join("data/ops.db")).unwrap();
    assert_eq!(database.execute("DELETE FROM op_events WHERE type = 'command_ended'", []).unwrap(), 1);
    drop(database);
    let running = Running::start(bot.folder.path(), &settings).await;
    let told = || async { pause(&running.get(&path).await.1)["later"].is_string() };
    until("the next run of botops completes the record", SOON, told).await;
    running.stop().await;
    let running = Running::start(bot.folder.path(), &settings).await;
    running.app.handles().store.flush().await;
    running.stop().await;
    let database = rusqlite::Connection::open(bot.folder.path().join("data/ops.db")).unwrap();
    let count = "SELECT count(*) FROM op_events WHERE type = 'command_ended'";
    assert_eq!(database.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 1, "it is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_stopped_drops_what_waited_in_its_socket() {
    let (bot, running) = beside_paperbot().await;
    let process = bot.process.as_ref().unwrap();
    process.freeze();
    let asked = Instant::now();
    let (status, problem) = give(&running, "pause", "stopped").await;
    process.thaw();
    assert_eq!(
        (status, problem["effect"].as_str()),
        (504, Some("unknown")),
        "{:?} {problem:#}",
        asked.elapsed()
    );
    let events = told_twice(&running, "stopped").await;
    assert!(matches!(outcomes(&events)[1], "refused" | "not_received"), "{events:#?}");
    let before = bot.state().await.ticks();
    let report = bot.until("the loop goes on", |report| report.ticks() > before + 20).await;
    assert_ne!(report.phase, BotPhase::Paused, "it was carried out when nobody wanted it any more");
    running.stop().await;
}

/// Sends a harmless change with a manual trial of this many seconds.
async fn apply(running: &Running, seconds: u32) -> (u16, Value) {
    let (_, config) = running.get("/api/v1/config").await;
    let etag = config["etag"].as_str().unwrap().to_owned();
    let body = json!({"reason": "a test of effects", "confirm": "manual", "confirm_within_s": seconds,
        "merge_patch": {"trading": {"max_trades_per_day": 90}}});
    let request = running.request(Method::PUT, "/api/v1/config/apply").header("if-match", etag);
    answer(request.json(&body)).await
}

/// Starts a paperbot and botops with short trials, and waits until the bot runs the committed config, which is its own.
async fn in_sync_with_paperbot() -> (Paperbot, Running) {
    let bot = Paperbot::start(&["--tick", "20ms"]).await;
    bot.trades().await;
    let settings = [("BOT_ID", "paperbot"), ("BOT_CONFIG_MIN_TRIAL", "200ms")];
    let running = Running::start(bot.folder.path(), &settings).await;
    until("in sync", SOON, || async { running.get("/api/v1/config").await.1["sync"] == "in_sync" }).await;
    (bot, running)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_stands_still_never_runs_a_change_that_was_told_as_refused() {
    let (bot, running) = in_sync_with_paperbot().await;
    let before = bot.state().await.running_config().running.sha256.clone();
    bot.stall("paperbot.loop");
    bot.stands("paperbot.loop").await;
    let (status, problem) = apply(&running, 30).await;
    assert_eq!((status, problem["error_code"].as_str()), (409, Some("BOT_003")), "{problem:#}");
    assert_eq!((&problem["effect"], &problem["context"]["reason_code"]), (&json!("none"), &json!("expired")));
    let ticks = bot.state().await.ticks();
    bot.go_on("paperbot.loop");
    let report = bot.until("the loop goes on", |report| report.ticks() > ticks + 20).await;
    assert_eq!(
        (report.running_config().running.sha256.clone(), report.running_config().trial.clone()),
        (before, None),
        "it was run late, unwatched"
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_loop_hangs_over_is_watched_once_it_runs() {
    let (bot, running) = in_sync_with_paperbot().await;
    let before = bot.state().await.running_config().running.sha256.clone();
    bot.stall("paperbot.request");
    let (status, problem) = apply(&running, 12).await;
    assert_eq!((status, problem["error_code"].as_str()), (504, Some("CFG_017")), "{problem:#}");
    assert_eq!(problem["effect"], "unknown");
    let path = format!("/api/v1/config/txns/{}", problem["context"]["txn"].as_str().unwrap());
    bot.go_on("paperbot.request");
    let ended = || async { running.get(&path).await.1["terminal"] == true };
    until("it ends", SOON, ended).await;
    let (_, view) = running.get(&path).await;
    assert_eq!(view["state"], "rolled_back", "{view:#}");
    bot.until("it runs what is committed", |report| {
        report.running_config().running.sha256 == before && report.running_config().trial.is_none()
    })
    .await;
    let (_, verdict) = running.get("/api/v1/config/audit/verify").await;
    assert_eq!(verdict["valid"], true);
    running.stop().await;
}
