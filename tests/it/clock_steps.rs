//! The wall clock is set forth and back under real processes: what lasts a time lasts that time, and a day begins once.

use std::path::Path;
use std::time::Duration;

use botops_contract::BotPhase;
use reqwest::Method;
use serde_json::{Value, json};

use crate::kit::botops_process::BotopsProcess;
use crate::kit::paperbot::{Paperbot, lines};
use crate::kit::scripted_bot::{ScriptedBot, report};
use crate::kit::wall_clock::WallClock;
use crate::kit::{Process, folder, until};

const LIMIT: Duration = Duration::from_secs(60);

const DAY: i64 = 86_400;

/// The days that the bot's ledger began, each with the equity.
fn days(bot: &Paperbot) -> Vec<(String, String)> {
    let entries = lines(&bot.data().join("ledger.jsonl"));
    let of_day = entries.iter().map(|line| &line["entry"]).filter(|entry| entry["type"] == "day");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    of_day.map(|entry| (text(&entry["day"]), text(&entry["equity"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trading_day_begins_once_however_often_the_clock_is_set() {
    let clock = WallClock::right();
    let mut bot = Paperbot::prepare(&["--tick", "5ms"]);
    let mut launched = bot.command();
    bot.process = Some(Process::spawn(launched.envs(clock.settings())));
    until("paperbot answers", LIMIT, || async { bot.get::<Value>("hello").await.is_some() }).await;
    // From now on equity moves with each price, so that no day begins with the equity of another one by chance.
    bot.until("it holds something", |report| !report.position_list().is_empty()).await;
    let began = async |shift: i64, count: usize| {
        clock.shift(shift);
        until("the day is another one", LIMIT, || async { days(&bot).len() == count }).await;
        days(&bot).pop().unwrap()
    };
    let first = days(&bot).pop().unwrap();
    let next = began(DAY, 2).await;
    assert!(next.0 > first.0, "{next:?} follows {first:?}");
    for _ in 0..2 {
        let begun = days(&bot).len();
        assert_eq!(began(0, begun + 1).await, first, "it goes on with what it began with");
        assert_eq!(began(DAY, begun + 2).await, next);
    }
    // A bot that is killed meanwhile knows the days as well.
    bot.kill();
    clock.shift(0);
    let begun = days(&bot).len();
    let mut launched = bot.command();
    bot.process = Some(Process::spawn(launched.envs(clock.settings())));
    until("it is the first day again", LIMIT, || async { days(&bot).len() > begun }).await;
    assert_eq!(days(&bot).pop().unwrap(), first);
}

/// A workflow that waits until the bot is degraded, for less time than the clock is set by.
const WAITING: &str = "\
workflow: v1
id: waiting
title: Waits for a bot
risk: disruptive
params: {type: object, additionalProperties: false}
policy: {locks: [bot], on_conflict: reject, timeout_s: 1800, on_crash: resume}
steps:
  - {id: pause, uses: bot.pause_trading, undo: {uses: bot.resume_trading}}
  - id: look
    uses: bot.status
    until: {every_ms: 100, for_s: 600, expect: [{that: /phase, is: eq, value: degraded}]}
";

fn start(folder: &Path, bot: &ScriptedBot, clock: &WallClock) -> BotopsProcess {
    start_with(folder, bot, clock, &[])
}

fn start_with(
    folder: &Path,
    bot: &ScriptedBot,
    clock: &WallClock,
    more: &[(&'static str, &str)],
) -> BotopsProcess {
    let (socket, id) = (bot.socket().display().to_string(), bot.id().to_string());
    let [preload, file] = clock.settings();
    let settings = [
        ("BOT_IPC_SOCKET", socket.as_str()),
        ("BOT_ID", id.as_str()),
        ("BOT_POLL_INTERVAL", "50ms"),
        (preload.0, preload.1.as_str()),
        (file.0, file.1.as_str()),
    ];
    BotopsProcess::start(folder, &[&settings, more].concat())
}

/// Sets the clock, and waits until botops tells that it did.
async fn shift(botops: &BotopsProcess, clock: &WallClock, seconds: i64) {
    let jumps = async || {
        let (_, page) = botops.get("/api/v1/events?kind=health&limit=200").await;
        let events = page["items"].as_array().cloned().unwrap_or_default();
        events.iter().filter(|event| event["data"]["event_type"] == "clock.jump").count()
    };
    let before = jumps().await;
    clock.shift(seconds);
    until("the step is told", LIMIT, || async { jumps().await > before }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_clock_ends_no_workflow_run_and_no_wait_of_one() {
    let (folder, place) = (folder(), folder());
    let workflows = folder.path().join("botops-data/workflows");
    std::fs::create_dir_all(&workflows).unwrap();
    std::fs::write(workflows.join("waiting.yaml"), WAITING).unwrap();
    let bot = ScriptedBot::at(&place.path().join("bot.sock"), report());
    bot.script().alive = true;
    let clock = WallClock::right();
    let botops = start(folder.path(), &bot, &clock);
    let seen = || async { botops.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("botops sees the bot", LIMIT, seen).await;
    let path = "/api/v1/workflows/waiting/execute";
    let (status, body) = botops.send(Method::POST, path, &json!({"params": {}})).await;
    assert_eq!(status, 202, "{body}");
    let run = format!("/api/v1/workflows/runs/{}", body["run_id"].as_str().unwrap());
    until("it waits", LIMIT, || async { botops.get(&run).await.1["state"] == "waiting" }).await;
    for hours in [3, 0, -3, 0, 3] {
        shift(&botops, &clock, hours * 3_600).await;
        let (_, view) = botops.get(&run).await;
        assert_eq!(view["terminal"], false, "{hours} h: {view:#}");
    }
    // Nor does the next start of botops, whose clock is three hours further on than when the run began.
    botops.stop();
    let botops = start(folder.path(), &bot, &clock);
    let (_, view) = botops.get(&run).await;
    assert_eq!(view["terminal"], false, "{view:#}");
    bot.change(|report| report.phase = BotPhase::Degraded);
    until("it ends", LIMIT, || async { botops.get(&run).await.1["terminal"] == true }).await;
    let (_, view) = botops.get(&run).await;
    assert_eq!(view["state"], "succeeded", "{view:#}");
    botops.stop();
}

/// What `GET health/status` says of the clock.
async fn clock_step(botops: &BotopsProcess) -> Value {
    botops.get("/api/v1/health/status").await.1["clock_step"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_stands_in_the_health_and_ends_no_notice_that_waits() {
    let (folder, place) = (folder(), folder());
    let bot = ScriptedBot::at(&place.path().join("bot.sock"), report());
    let clock = WallClock::right();
    // Nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/");
    let run = || start_with(folder.path(), &bot, &clock, &[("BOT_ALERT_WEBHOOK_URL", url.as_str())]);
    let botops = run();
    let webhook = async |botops: &BotopsProcess| {
        let (_, body) = botops.get("/api/v1/health/monitoring/status").await;
        let receivers = body["receiver_states"].as_array().cloned().unwrap_or_default();
        receivers.into_iter().find(|receiver| receiver["receiver"] == "webhook").unwrap_or_default()
    };
    let fails_again = async |botops: &BotopsProcess| {
        let before = webhook(botops).await["failed"].as_u64();
        let again = || async {
            let state = webhook(botops).await;
            state["failed"].as_u64() > before || state["given_up"] != json!(0)
        };
        until("the webhook is tried again", LIMIT, again).await;
    };
    let seen = || async { clock_step(&botops).await.is_null() };
    until("nothing is said of a clock that was not set", LIMIT, seen).await;
    let (status, body) = botops.send(Method::POST, "/api/v1/health/test", &json!({"notify": true})).await;
    assert_eq!(status, 200, "{body}");
    for (days, total) in [(3, 3), (-3, -3), (0, 0)] {
        shift(&botops, &clock, days * DAY).await;
        let step =
            || async { (clock_step(&botops).await["total_ms"].as_i64().unwrap_or(1) / 10_000) * 10_000 };
        until("the step is shown", LIMIT, || async { (step().await - total * DAY * 1_000).abs() < 60_000 })
            .await;
        let shown = clock_step(&botops).await;
        let time =
            |member: &str| shown[member].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
        assert_eq!((time("shown_until") - time("at")).num_hours(), 24, "{shown:#}");
        assert!(shown["jump_ms"].as_i64().unwrap().abs() > 2 * DAY * 1_000, "{shown:#}");
        fails_again(&botops).await;
        let state = webhook(&botops).await;
        assert_eq!(
            (&state["given_up"], state["waiting"] != json!(0)),
            (&json!(0), true),
            "{days}: {state:#}"
        );
    }
    // Nor does the next start give it up, whose clock is three days further on.
    botops.stop();
    clock.shift(3 * DAY);
    // The log of another day is moved away; what the kit counts in it begins anew.
    std::fs::remove_file(folder.path().join("botops-data/logs/botops.log")).unwrap();
    let botops = run();
    fails_again(&botops).await;
    let state = webhook(&botops).await;
    assert_eq!((&state["given_up"], state["waiting"] != json!(0)), (&json!(0), true), "{state:#}");
    botops.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_is_shown_for_its_day_also_after_the_next_start_of_botops() {
    let (folder, place) = (folder(), folder());
    let bot = ScriptedBot::at(&place.path().join("bot.sock"), report());
    let clock = WallClock::right();
    let botops = start(folder.path(), &bot, &clock);
    until("nothing is said of a clock that was not set", LIMIT, || async {
        clock_step(&botops).await.is_null()
    })
    .await;
    shift(&botops, &clock, 2 * 3_600).await;
    shift(&botops, &clock, 3 * 3_600).await;
    until("both are shown", LIMIT, || async { clock_step(&botops).await["steps"] == 2 }).await;
    let shown = clock_step(&botops).await;
    botops.stop();
    let botops = start(folder.path(), &bot, &clock);
    let again = clock_step(&botops).await;
    for member in ["jump_ms", "total_ms", "steps", "message"] {
        assert_eq!(again[member], shown[member], "{member}: {again:#}");
    }
    let until_of = |step: &Value| {
        step["shown_until"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap()
    };
    let moved = (until_of(&again) - until_of(&shown)).num_seconds().abs();
    assert!(moved < 10, "its day did not begin again: {shown:#} {again:#}");
    // A step of this run is added to what is shown of the earlier one.
    shift(&botops, &clock, 0).await;
    until("it is added", LIMIT, || async { clock_step(&botops).await["steps"] == 3 }).await;
    let last = clock_step(&botops).await;
    assert!(last["total_ms"].as_i64().unwrap().abs() < 60_000, "it was set back to what it was: {last:#}");
    botops.stop();
}
