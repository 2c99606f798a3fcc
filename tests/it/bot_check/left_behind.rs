//! `--exercise` leaves nothing behind: what it began is waited for and taken back, however the run ends, and what cannot
//! be taken back is told with the state that the bot is in and the command that mends it.

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::stub_bot::{self, StubBot, StubReply, StubRequest, json_reply};
use super::{Checked, check};
use crate::kit::app::command;
use crate::kit::until;

/// What a bot with slow hands does with a pause, and with a config that it is told to try.
#[derive(Debug, Default)]
struct SlowHands {
    phase: String,
    /// The id of the pause that was sent for good.
    pause: Option<String>,
    /// Whether the handler of the pause has returned.
    has_paused: bool,
    /// The transaction that is on trial.
    trial: Option<String>,
    has_tried: bool,
}

type Hands = Arc<Mutex<SlowHands>>;

/// How long the handlers of a slow bot take: longer than a run that does not wait for them.
const LATE: Duration = Duration::from_millis(2_500);

/// A bot whose `pause` is answered at once with `unconfirmed`, and takes effect when `paused` has returned.
fn slow_bot(capabilities: Value, paused: fn() -> bool) -> (StubBot, Hands) {
    let hands: Hands =
        Arc::new(Mutex::new(SlowHands { phase: "running".to_owned(), ..SlowHands::default() }));
    let shared = hands.clone();
    let bot = StubBot::start(move |request| match request.call.as_str() {
        "GET hello" => {
            let offered = json!({ "capabilities": capabilities });
            Some(json_reply(&stub_bot::with(stub_bot::hello(), offered)))
        }
        "GET state" => {
            let phase = shared.lock().unwrap().phase.clone();
            let now = json!({"phase": phase, "trading_enabled": phase == "running"});
            Some(json_reply(&stub_bot::with(stub_bot::state(), now)))
        }
        "POST commands/pause" => Some(answer_pause(request, &shared, paused)),
        "POST commands/resume" => {
            shared.lock().unwrap().phase = "running".to_owned();
            Some(json_reply(
                &json!({"command_id": request.body["command_id"], "outcome": "done", "message": "m",
                "exposure": {}}),
            ))
        }
        call if call.starts_with("GET commands/") => Some(answer_status(call, &shared)),
        _ => None,
    });
    (bot, hands)
}

fn answer_pause(request: &StubRequest, hands: &Hands, paused: fn() -> bool) -> StubReply {
    let id = request.body["command_id"].as_str().unwrap_or_default().to_owned();
    if request.body["dry_run"] == true {
        return json_reply(&json!({"command_id": id, "outcome": "predicted", "message": "m"}));
    }
    hands.lock().unwrap().pause = Some(id.clone());
    let late = hands.clone();
    std::thread::spawn(move || {
        if paused() {
            let mut late = late.lock().unwrap();
            (late.phase, late.has_paused) = ("paused".to_owned(), true);
        }
    });
    json_reply(&json!({"command_id": id, "outcome": "unconfirmed", "message": "not yet", "exposure": {}}))
}

fn answer_status(call: &str, hands: &Hands) -> StubReply {
    let id = call.trim_start_matches("GET commands/");
    let hands = hands.lock().unwrap();
    let standing = match &hands.pause {
        Some(pause) if pause == id && hands.has_paused => {
            let result = json!({"command_id": id, "outcome": "done", "message": "m"});
            return json_reply(&json!({"command_id": id, "standing": "answered", "result": result}));
        }
        Some(pause) if pause == id => "pending",
        _ => "unknown",
    };
    json_reply(&json!({"command_id": id, "standing": standing}))
}

fn paused_late() -> bool {
    std::thread::sleep(LATE);
    true
}

fn never() -> bool {
    false
}

/// The finding of a change that could not be taken back, which names the command that does it.
fn command_of<'c>(checked: &'c Checked, rule: &str) -> &'c str {
    let finding = checked.finding(rule);
    assert_eq!(finding["weight"], "fault", "{finding:#}");
    finding["command"].as_str().unwrap_or_else(|| panic!("no command: {finding:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_takes_effect_after_the_check_gave_up_is_taken_back() {
    for capabilities in [json!(["pause", "resume", "command-status"]), json!(["pause", "resume"])] {
        let (bot, hands) = slow_bot(capabilities, paused_late);
        let checked = check(&bot.socket(), &["--exercise", "--yes"]);
        // However the run ended: it is the end of the late handler that the bot must not be left with.
        until("the late pause has come", Duration::from_secs(20), || async {
            hands.lock().unwrap().has_paused
        })
        .await;
        assert_eq!(hands.lock().unwrap().phase, "running", "{:#}", checked.report);
        for rule in ["left_paused", "pause_still_open"] {
            assert!(!checked.rules("fault").contains(&rule), "{:#}", checked.report);
        }
    }
}

#[test]
fn a_pause_that_never_ends_is_told_with_the_state_and_the_command_that_takes_it_back() {
    for capabilities in [json!(["pause", "resume", "command-status"]), json!(["pause", "resume"])] {
        let (bot, _) = slow_bot(capabilities, never);
        let checked = check(&bot.socket(), &["--exercise", "--yes", "--wait", "1"]);
        assert_eq!(checked.code, 1);
        let command = command_of(&checked, "pause_still_open");
        let socket = bot.socket().display().to_string();
        assert!(command.contains(&socket) && command.contains("commands/resume"), "{command}");
        let got = checked.finding("pause_still_open")["got"].as_str().unwrap();
        assert!(got.contains("`running`") && got.contains("trading_enabled true"), "{got}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_interrupted_takes_back_what_it_began() {
    let (bot, hands) = slow_bot(json!(["pause", "resume", "command-status"]), paused_late);
    let socket = bot.socket().display().to_string();
    let mut run = command(&["bot", "check", &socket, "--json", "--exercise", "--yes"]);
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("the bot was told to pause", Duration::from_secs(30), || async {
        hands.lock().unwrap().pause.is_some()
    })
    .await;
    kill_process(Pid::from_child(&run), Signal::INT).unwrap();
    let output = run.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    until("the late pause has come", Duration::from_secs(20), || async { hands.lock().unwrap().has_paused })
        .await;
    assert_eq!(hands.lock().unwrap().phase, "running", "{report:#}");
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    let rules: Vec<&str> =
        report["findings"].as_array().into_iter().flatten().filter_map(|one| one["rule"].as_str()).collect();
    assert!(rules.contains(&"interrupted"), "{report:#}");
}

#[test]
fn a_bot_that_is_lost_while_it_is_exercised_is_told_with_the_command_that_resumes_it() {
    let is_gone = Arc::new(Mutex::new(false));
    let bot = StubBot::start(move |request| {
        let mut is_gone = is_gone.lock().unwrap();
        *is_gone |= request.call == "POST commands/pause" && request.body["dry_run"] == false;
        match request.call.as_str() {
            _ if *is_gone => Some(StubReply::HangUp),
            "GET hello" => {
                let offered = json!({"capabilities": ["pause", "resume"]});
                Some(json_reply(&stub_bot::with(stub_bot::hello(), offered)))
            }
            "POST commands/pause" => Some(json_reply(
                &json!({"command_id": request.body["command_id"], "outcome": "predicted", "message": "m"}),
            )),
            _ => None,
        }
    });
    let checked = check(&bot.socket(), &["--exercise", "--yes", "--wait", "1"]);
    assert_eq!(checked.code, 1);
    assert!(command_of(&checked, "left_unknown").contains("commands/resume"), "{:#}", checked.report);
}

/// The config calls of a bot that breaks off the connection of `activate`, and tries the config later all the same.
fn answer_config(request: &StubRequest, hands: &Hands, ends: bool) -> Option<StubReply> {
    let digest = |letter: &str| letter.repeat(64);
    let running = |hands: &SlowHands| match hands.trial {
        Some(_) => json!({"version": 2, "sha256": digest("b")}),
        None => json!({"version": 1, "sha256": digest("a")}),
    };
    match request.call.as_str() {
        "GET hello" => Some(json_reply(&stub_bot::with(
            stub_bot::hello(),
            json!({"boot_epoch": "e", "capabilities": ["config"]}),
        ))),
        "GET config" => {
            let hands = hands.lock().unwrap();
            let candidate = json!({"version": 2, "sha256": digest("b")});
            let trial = hands
                .trial
                .as_ref()
                .map(|txn| json!({"txn": txn, "candidate": candidate, "ttl_left_ms": 9_000}));
            Some(json_reply(&json!({"boot_epoch": "e", "running": running(&hands),
                "committed": {"version": 1, "sha256": digest("a")}, "trial": trial, "gen": 0})))
        }
        "POST config/check" => {
            Some(json_reply(&json!({"ok": true, "violations": [], "warnings": [], "hot": [], "restart": []})))
        }
        "POST config/activate" => {
            let (late, txn) = (hands.clone(), request.body["txn"].as_str().unwrap_or_default().to_owned());
            std::thread::spawn(move || {
                std::thread::sleep(LATE);
                let mut late = late.lock().unwrap();
                (late.trial, late.has_tried) = (Some(txn), true);
            });
            Some(StubReply::HangUp)
        }
        "POST config/revert" => {
            let mut hands = hands.lock().unwrap();
            if hands.trial.is_none() {
                let refused = json!({"code": "not_in_trial", "message": "no such trial"});
                return Some(StubReply::Answer(409, "", refused.to_string()));
            }
            if ends {
                hands.trial = None;
            }
            Some(json_reply(&json!({"txn": request.body["txn"], "running": running(&hands),
                "committed": {"version": 1, "sha256": digest("a")}, "outcome": "reverted"})))
        }
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_that_begins_late_is_reverted_and_one_that_cannot_be_is_told() {
    for ends in [true, false] {
        let hands = Hands::default();
        let shared = hands.clone();
        let bot = StubBot::start(move |request| answer_config(request, &shared, ends));
        let candidate = bot.folder().join("candidate.json");
        std::fs::write(&candidate, "{\"a\": 1}").unwrap();
        let candidate = candidate.display().to_string();
        let mut arguments = vec!["--exercise", "--yes", "--config", &candidate];
        if !ends {
            arguments.extend(["--wait", "5"]);
        }
        let checked = check(&bot.socket(), &arguments);
        until("the late trial has begun", Duration::from_secs(20), || async {
            hands.lock().unwrap().has_tried
        })
        .await;
        if ends {
            assert_eq!(hands.lock().unwrap().trial, None, "{:#}", checked.report);
            continue;
        }
        let command = command_of(&checked, "trial_not_reverted");
        let txn = hands.lock().unwrap().trial.clone().unwrap();
        assert!(command.contains("config/revert") && command.contains(&txn), "{command}");
    }
}

#[test]
fn the_command_that_is_named_does_what_it_says() {
    // Without curl there is nothing to run; botops itself needs none.
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let (bot, hands) = slow_bot(json!(["pause", "resume"]), never);
    let checked = check(&bot.socket(), &["--exercise", "--yes", "--wait", "0"]);
    hands.lock().unwrap().phase = "paused".to_owned();
    let by_hand = command_of(&checked, "pause_still_open");
    let ran = Command::new("sh").args(["-c", by_hand]).output().unwrap();
    assert_eq!(hands.lock().unwrap().phase, "running", "{by_hand}: {ran:?}");
}
