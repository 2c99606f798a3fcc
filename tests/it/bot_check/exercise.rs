//! `--exercise`: what can be taken back is done and taken back, and whose bot it is not is left alone.

use std::sync::Mutex;
use std::time::Duration;

use botops_contract::{BotPhase, ConfigState, RunningDocument, TradingMode};
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::stub_bot::{self, StubBot, StubReply, StubRequest, json_reply};
use super::{check, run};
use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn paperbot_is_paused_resumed_and_its_config_is_as_before() {
    let bot = Paperbot::start(&[]).await;
    bot.trades().await;
    let before: ConfigState = bot.get("config").await.unwrap();
    // The document that runs, a little changed.
    let running: RunningDocument = bot.get("config/document").await.unwrap();
    let document = running.document.replace("\"risk_per_trade\": 0.02", "\"risk_per_trade\": 0.01");
    let file = bot.folder.path().join("candidate.json");
    std::fs::write(&file, document).unwrap();
    let checked = check(&bot.socket(), &["--exercise", "--yes", "--config", file.to_str().unwrap()]);
    checked.assert_passed();
    assert_eq!(checked.rules("warning"), [""; 0], "{:#}", checked.report);
    for call in ["POST commands/{verb}", "POST config/{verb}"] {
        assert_eq!(checked.standing(call), "served", "{call}: {:#}", checked.report);
    }
    assert_ne!(bot.state().await.phase, BotPhase::Paused);
    let after: ConfigState = bot.get("config").await.unwrap();
    assert_eq!((after.running, after.trial), (before.running, None));
    assert_eq!(after.last_outcome.map(|(_, ending)| ending).as_deref(), Some("reverted"));
}

#[test]
fn a_scripted_bot_is_sent_one_pause_that_acts_and_one_resume() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    check(bot.socket(), &["--exercise", "--yes"]).assert_passed();
    assert_eq!(bot.script().report.phase, BotPhase::Running);
    let ids = |verb: &str| {
        let sent = bot.journal().into_iter().filter(|asked| asked.path == format!("commands/{verb}"));
        let acting = sent.filter(|asked| asked.body["dry_run"] == false);
        acting.map(|asked| asked.body["command_id"].to_string()).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!((ids("pause").len(), ids("resume").len()), (1, 1));
}

#[test]
fn a_bot_with_real_money_is_not_exercised_without_live() {
    let bot = ScriptedBot::start();
    {
        let mut script = bot.script();
        script.alive = true;
        (script.hello.mode, script.report.mode) = (TradingMode::Live, TradingMode::Live);
    }
    let commands = || bot.journal().into_iter().filter(|asked| asked.method == "POST").count();
    let refused = check(bot.socket(), &["--exercise", "--yes"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("--live"), "{}", refused.stderr);
    assert_eq!(commands(), 0, "not even a verb that nobody has");
    check(bot.socket(), &["--exercise", "--yes", "--live"]).assert_passed();
    assert!(commands() > 0);
}

#[test]
fn nobody_is_exercised_unasked_and_no_other_bot() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    let refused = run(bot.socket(), &["--exercise"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--yes"));
    let other = check(bot.socket(), &["--exercise", "--yes", "--bot-id", "another"]);
    assert_eq!((other.code, other.rules("fault")), (1, vec!["wrong_bot_id"]));
    assert_eq!((bot.count("POST", "commands/pause"), bot.count("POST", "commands/resume")), (0, 0));
}

#[test]
fn a_verb_that_raises_or_hangs_is_named_and_the_bot_is_resumed() {
    let bot = ScriptedBot::start();
    {
        let mut script = bot.script();
        script.alive = true;
        script.refuse = Some(refusal("internal", "KeyError: 'x'"));
        (script.refuse_status, script.refuse_only) = (StatusCode::INTERNAL_SERVER_ERROR, "commands/pause");
        script.act_anyway = true;
    }
    let checked = check(bot.socket(), &["--exercise", "--yes"]);
    assert_eq!((checked.code, checked.rules("fault")), (1, vec!["raises"]), "{:#}", checked.report);
    assert_eq!(checked.finding("raises")["call"], "POST commands/pause");
    assert_eq!(bot.script().report.phase, BotPhase::Running, "what may have been done is taken back");
    {
        let mut script = bot.script();
        script.refuse = None;
        (script.behaviour, script.only) = (Behaviour::Stall, "commands/pause");
    }
    let checked = check(bot.socket(), &["--exercise", "--yes", "--wait", "1"]);
    // Without `command-status` nobody knows whether the pause is carried out yet.
    let faults = vec!["verb_hangs", "pause_still_open"];
    assert_eq!((checked.code, checked.rules("fault")), (1, faults), "{:#}", checked.report);
    assert!(bot.count("POST", "commands/resume") > 1);
}

/// A bot whose verbs do what `wrong` makes of them; the phase is what its last verb made it.
fn careless_bot(wrong: impl Fn(&StubRequest, &mut Value) + Send + Sync + 'static) -> StubBot {
    let phase = Mutex::new("running".to_owned());
    StubBot::start(move |request| {
        let mut phase = phase.lock().unwrap();
        let hello = json!({"capabilities": ["pause", "resume", "command-status"]});
        match request.call.as_str() {
            "GET hello" => Some(json_reply(&stub_bot::with(stub_bot::hello(), hello))),
            "GET state" => {
                let enabled = *phase == "running";
                let now = json!({"phase": *phase, "trading_enabled": enabled});
                Some(json_reply(&stub_bot::with(stub_bot::state(), now)))
            }
            "POST commands/pause" | "POST commands/resume" => {
                let wanted = if request.call.ends_with("pause") { "paused" } else { "running" };
                let mut answer = json!({"command_id": request.body["command_id"], "outcome": "done", "exposure": {},
                    "message": "done", "at": chrono::Utc::now().to_rfc3339(), "phase": wanted});
                wrong(request, &mut answer);
                if answer["keep"] != true {
                    wanted.clone_into(&mut phase);
                }
                Some(json_reply(&answer))
            }
            call if call.starts_with("GET commands/") => {
                let id = call.trim_start_matches("GET commands/");
                Some(json_reply(&json!({"command_id": id, "standing": "unknown"})))
            }
            _ => None,
        }
    })
}

#[test]
fn each_promise_of_a_command_that_is_not_kept_is_named() {
    let bot = careless_bot(|_, _| {});
    let checked = check(&bot.socket(), &["--exercise", "--yes"]);
    let mut faults = checked.rules("fault");
    faults.sort_unstable();
    assert_eq!(faults, ["dry_run_ignored", "expiry_ignored", "forgets_commands", "not_idempotent"]);
    let predicted = |request: &StubRequest, answer: &mut Value| {
        if request.body["dry_run"] == true {
            (answer["outcome"], answer["keep"]) = (json!("predicted"), json!(true));
        }
    };
    let bot = careless_bot(move |request, answer| {
        predicted(request, answer);
        answer["command_id"] = json!("mine");
        answer["keep"] = json!(true);
    });
    let checked = check(&bot.socket(), &["--exercise", "--yes"]);
    for rule in ["other_command_id", "pause_without_effect"] {
        assert_eq!(checked.finding(rule)["weight"], "fault");
    }
    let bot = careless_bot(move |request, answer| {
        predicted(request, answer);
        // It never resumes.
        answer["keep"] = json!(answer["keep"] == true || request.call.ends_with("resume"));
    });
    let checked = check(&bot.socket(), &["--exercise", "--yes"]);
    for rule in ["resume_without_effect", "left_paused"] {
        assert_eq!(checked.finding(rule)["weight"], "fault");
    }
    let resumes = bot.asked().into_iter().filter(|call| call == "POST commands/resume").count();
    assert_eq!(resumes, 2);
}

#[test]
fn a_handler_that_hangs_is_told_as_that_and_not_as_a_bot_that_forgets() {
    let sent = Mutex::new(Vec::new());
    let bot = StubBot::start(move |request| {
        let hello = json!({"capabilities": ["pause", "resume", "command-status"]});
        match request.call.as_str() {
            "GET hello" => Some(json_reply(&stub_bot::with(stub_bot::hello(), hello))),
            "POST commands/pause" | "POST commands/resume" => {
                sent.lock().unwrap().push(request.body["command_id"].as_str().unwrap_or_default().to_owned());
                let hangs = request.call.ends_with("pause") && request.body["dry_run"] == false;
                let outcome = if request.body["dry_run"] == true { "predicted" } else { "done" };
                let outcome = if hangs { "unconfirmed" } else { outcome };
                Some(json_reply(&json!({"command_id": request.body["command_id"], "outcome": outcome,
                    "message": "m", "exposure": {}, "replayed": false})))
            }
            call if call.starts_with("GET commands/") => {
                let id = call.trim_start_matches("GET commands/");
                let was_sent = sent.lock().unwrap().iter().any(|one| one == id);
                let standing = if was_sent { "pending" } else { "unknown" };
                Some(json_reply(&json!({"command_id": id, "standing": standing})))
            }
            _ => None,
        }
    });
    let checked = check(&bot.socket(), &["--exercise", "--yes", "--wait", "1"]);
    let faults = vec!["verb_hangs", "pause_still_open"];
    assert_eq!((checked.code, checked.rules("fault")), (1, faults), "{:#}", checked.report);
    assert_eq!(checked.finding("verb_hangs")["call"], "POST commands/pause");
}

#[test]
fn a_paused_bot_is_left_as_it_is() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.change(|report| (report.phase, report.trading_enabled) = (BotPhase::Paused, Some(false)));
    let checked = check(bot.socket(), &["--exercise", "--yes"]);
    checked.assert_passed();
    assert!(checked.finding("exercise_left_out")["remedy"].as_str().unwrap().contains("paused now"));
    assert_eq!((bot.count("POST", "commands/pause"), bot.count("POST", "commands/resume")), (0, 0));
}

#[test]
fn a_slow_state_is_a_fault() {
    let bot = StubBot::start(|request| {
        (request.call == "GET state").then(|| {
            std::thread::sleep(Duration::from_millis(2_200));
            StubReply::Answer(200, "", stub_bot::state().to_string())
        })
    });
    let checked = check(&bot.socket(), &[]);
    assert_eq!((checked.code, checked.rules("fault")), (1, vec!["slow"]), "{:#}", checked.report);
}
