//! `botops bot check`: what it says of bots that are right, and that every mistake of a newcomer is named.

mod exercise;
mod left_behind;
mod mistakes;
mod stub_bot;
mod watch;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use botops_server::bots::conformance::MANUAL_PLACES;
use serde_json::Value;

use crate::kit::app::command;
use crate::kit::paperbot::Paperbot;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot, trade};
use crate::kit::{Process, built_example, until};
use crate::zoo::ZOO;
use stub_bot::StubBot;

/// The result of `botops bot check SOCKET --json …`.
pub(crate) struct Checked {
    code: i32,
    pub(crate) report: Value,
    stderr: String,
}

impl Checked {
    /// The rules of the findings that have this weight, in their order.
    fn rules(&self, weight: &str) -> Vec<&str> {
        let findings = self.report["findings"].as_array().into_iter().flatten();
        findings
            .filter(|finding| finding["weight"] == weight)
            .map(|finding| finding["rule"].as_str().unwrap())
            .collect()
    }

    fn finding(&self, rule: &str) -> &Value {
        let mut findings = self.report["findings"].as_array().into_iter().flatten();
        findings
            .find(|finding| finding["rule"] == rule)
            .unwrap_or_else(|| panic!("no {rule}: {:#}", self.report))
    }

    /// How a call was answered: `served`, `faulty`, `not_offered` or `not_tried`.
    fn standing(&self, call: &str) -> &str {
        let mut calls = self.report["calls"].as_array().into_iter().flatten();
        let found =
            calls.find(|one| one["call"] == call).unwrap_or_else(|| panic!("{call}: {:#}", self.report));
        found["standing"].as_str().unwrap()
    }

    #[track_caller]
    pub(crate) fn assert_passed(&self) {
        assert_eq!((self.code, self.rules("fault")), (0, Vec::new()), "{:#} {}", self.report, self.stderr);
        assert_eq!(self.report["passed"], true);
    }
}

fn run(socket: &Path, more: &[&str]) -> Output {
    let socket = socket.display().to_string();
    let arguments = [&["bot", "check", &socket], more].concat();
    command(&arguments).output().expect("the program runs")
}

/// Runs the check with `--json`.
pub(crate) fn check(socket: &Path, more: &[&str]) -> Checked {
    let output = run(socket, &[&["--json"], more].concat());
    Checked {
        code: output.status.code().expect("it ends by itself"),
        report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paperbot_passes_and_everything_it_offers_is_seen() {
    let bot = Paperbot::start(&[]).await;
    let checked = check(&bot.socket(), &["--bot-id", "paperbot"]);
    checked.assert_passed();
    assert_eq!(checked.rules("warning"), [""; 0], "{:#}", checked.report);
    for call in
        ["GET hello", "GET state", "GET events", "GET trades", "GET config", "GET commands/{command_id}"]
    {
        assert_eq!(checked.standing(call), "served", "{call}");
    }
    assert_eq!(checked.standing("POST commands/{verb}"), "not_tried");
    assert_eq!(checked.report["bot"]["bot_id"], "paperbot");
    let text = String::from_utf8(run(&bot.socket(), &[]).stdout).unwrap();
    assert!(text.contains("botops can stand beside this bot"), "{text}");
    assert!(text.lines().count() < 40, "{text}");
}

#[test]
fn each_bot_of_the_zoo_passes_and_is_told_what_it_could_offer() {
    let bots: Vec<(&str, ScriptedBot)> = ZOO.iter().map(|foreign| (foreign.name, foreign.start())).collect();
    for (name, bot) in &bots {
        let checked = check(bot.socket(), &[]);
        assert_eq!((checked.code, checked.rules("fault")), (0, Vec::new()), "{name}: {:#}", checked.report);
        assert!(!checked.report["gains"].as_array().unwrap().is_empty(), "{name}");
        let warnings = checked.rules("warning");
        match *name {
            "unknown_words" => assert!(warnings.contains(&"word_in_no_list"), "{:#}", checked.report),
            "frozen_loop" => assert_eq!(warnings, ["loop_stands_still"]),
            _ => {}
        }
        let sent = bot.journal().into_iter().filter(|asked| asked.method != "GET").count();
        assert_eq!(
            sent > 0,
            *name != "live" && name_offers_verbs(name),
            "{name}: {sent} calls that were no reads"
        );
    }
}

/// The bots of the zoo that list a verb.
fn name_offers_verbs(name: &str) -> bool {
    ["crypto_spot", "no_config", "no_trades", "contract_one"].contains(&name)
}

#[test]
fn a_bot_that_serves_everything_is_read_as_the_link_reads_it() {
    let bot = ScriptedBot::start();
    bot.script().alive = true;
    bot.script().trades = (1..=7).map(|seq| trade(seq, "1")).collect();
    bot.emit(botops_contract::EventKind::Fill, botops_contract::Severity::Low, "a fill");
    bot.emit(botops_contract::EventKind::Order, botops_contract::Severity::Low, "an order");
    check(bot.socket(), &["--bot-id", "scripted"]).assert_passed();
    let journal = bot.journal();
    let resumed = journal.iter().find_map(|asked| asked.last_event_id.clone());
    assert_eq!(resumed.as_deref(), Some("life-1/2"));
    assert!(journal.iter().any(|asked| asked.path.starts_with("trades?after=1&")));
}

/// Runs a bot that serves on the socket that it is given last, and checks it.
async fn check_started_bot(mut bot: Command, more: &[&str]) -> Checked {
    let folder = crate::kit::folder();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let socket = folder.path().join("bot.sock");
    let _process = Process::spawn(bot.arg(&socket).stdin(Stdio::null()));
    let client = crate::kit::socket_client(&socket);
    until("it answers", Duration::from_secs(20), || async {
        client.get("http://bot/ipc/v1/hello").send().await.is_ok()
    })
    .await;
    check(&socket, more)
}

/// Runs a bot in Python and checks it. Python is not needed to build or test botops: without it there is nothing to run.
async fn check_python_bot(program: &Path, more: &[&str]) -> Option<Checked> {
    Command::new("python3").arg("--version").output().ok()?;
    let mut python = Command::new("python3");
    python.arg(program);
    Some(check_started_bot(python, more).await)
}

fn assert_nothing_is_wrong(checked: &Checked) {
    checked.assert_passed();
    assert_eq!(checked.rules("warning"), [""; 0], "{:#}", checked.report);
}

/// Checks a bot in Python in which nothing may be wrong.
async fn pass_python_bot(program: &Path, more: &[&str]) {
    let Some(checked) = check_python_bot(program, more).await else { return };
    assert_nothing_is_wrong(&checked);
}

/// A bot with the SDK of this repository that gives it what cannot be told, and has a handler that never returns.
const CARELESS_BOT: &str = r#"
import sys, time
from datetime import datetime
sys.path.insert(0, "CLIENTS")
from botops import Bot

bot = Bot("careless", mode="paper", address=sys.argv[1], expected_interval=5)
bot.on("pause", thread=True)(lambda command: time.sleep(3600))
bot.on("resume", thread=True)(lambda command: "it goes on")
bot.account(balance=float("nan"), currency="USDT")
bot.market(last_price_at=datetime(2026, 3, 2, 15))
with bot:
    while not bot.is_stopping:
        bot.tick()
        bot.sleep(0.1)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_bot_gives_its_sdk_and_what_its_handlers_do_is_found_by_name() {
    let folder = crate::kit::folder();
    let file = folder.path().join("careless_bot.py");
    let program = CARELESS_BOT.replace("CLIENTS", concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python"));
    std::fs::write(&file, program).unwrap();
    let Some(checked) = check_python_bot(&file, &["--bot-id", "careless"]).await else { return };
    let mut warnings = checked.rules("warning");
    warnings.sort_unstable();
    assert_eq!(
        (checked.code, warnings),
        (0, vec!["sdk_bad_value", "sdk_naive_time"]),
        "{:#}",
        checked.report
    );
    assert_eq!(checked.finding("sdk_bad_value")["pointer"], "/account/account_balance");
    assert_eq!(checked.finding("sdk_naive_time")["pointer"], "/market/last_price_at");
    let Some(checked) = check_python_bot(&file, &["--exercise", "--yes", "--wait", "1"]).await else {
        return;
    };
    let faults = vec!["verb_hangs", "pause_still_open"];
    assert_eq!((checked.code, checked.rules("fault")), (1, faults), "{:#}", checked.report);
    assert_eq!(checked.finding("verb_hangs")["call"], "POST commands/pause");
}

/// A bot with the SDK of this repository whose handlers raise, and that has words of its own.
const RAISING_BOT: &str = r#"
import sys
sys.path.insert(0, "CLIENTS")
from botops import Bot

bot = Bot("raising", mode="paper", address=sys.argv[1], expected_interval=5)

@bot.on("pause")
def pause(command):
    raise KeyError("no route; api_key=hunter2")

@bot.on("resume")
def resume(command):
    raise ValueError("nothing to resume")

def check(values):
    return [] if values["size"] == 1 else 1 // 0

SCHEMA = {"type": "object", "properties": {"size": {"type": "number"}}}
bot.config(SCHEMA, {"size": 1}, check=check)
for number, status in enumerate(["triggered", "parked", "parked", "PENDING"]):
    bot.order(number, symbol="BTC", side="BUY", status=status, type="iceberg", quantity="1")
with bot:
    bot.event("rebalanced", "of its own kind")
    bot.account(balance=float("nan"))
    while not bot.is_stopping:
        bot.tick()
        bot.sleep(0.1)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_handlers_raise_is_a_fault_and_each_own_word_is_named() {
    let folder = crate::kit::folder();
    let file = folder.path().join("raising_bot.py");
    let program = RAISING_BOT.replace("CLIENTS", concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python"));
    std::fs::write(&file, program).unwrap();
    let candidate = folder.path().join("candidate.json");
    std::fs::write(&candidate, "{\"size\": 2}").unwrap();
    let candidate = candidate.display().to_string();
    let more = ["--exercise", "--yes", "--wait", "2", "--config", &candidate];
    let Some(checked) = check_python_bot(&file, &more).await else { return };
    let findings: Vec<&Value> = checked.report["findings"].as_array().unwrap().iter().collect();
    let of_rule = |rule: &'static str| findings.iter().filter(move |one| one["rule"] == rule).copied();
    // What came of the pause is not known: it is no warning, and is told with what was raised.
    assert_eq!(of_rule("unconfirmed").count(), 0, "{:#}", checked.report);
    let raised: Vec<_> = of_rule("handler_raised")
        .map(|one| {
            (one["weight"].as_str().unwrap(), one["call"].as_str().unwrap(), one["got"].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        raised,
        [
            ("fault", "POST commands/pause", "KeyError: 'no route; api_key=*****'"),
            ("fault", "POST commands/resume", "ValueError: nothing to resume"),
            ("fault", "POST config/check", "ZeroDivisionError: integer division or modulo by zero"),
        ],
        "{:#}",
        checked.report
    );
    assert!(
        of_rule("handler_raised").all(|one| one["manual"].as_str().unwrap().contains("your-own-bot.md#"))
    );
    let own: Vec<_> = of_rule("own_word")
        .map(|one| {
            (one["pointer"].as_str().unwrap(), one["got"].as_str().unwrap(), one["more"].as_u64().unwrap())
        })
        .collect();
    for word in [
        ("/orders/0/order_type", "iceberg", 3),
        ("/orders/1/status", "parked", 1),
        ("/orders/3/status", "triggered", 0),
        ("/kind", "rebalanced", 0),
    ] {
        assert!(own.contains(&word), "{word:?}: {own:#?}");
    }
    assert!(of_rule("own_word").all(|one| one["weight"] == "hint"), "{:#}", checked.report);
    assert_eq!(checked.finding("sdk_bad_value")["pointer"], "/account/account_balance");
    let sentences = own.iter().filter(|(place, ..)| place.starts_with("/unknown/")).count();
    assert_eq!(sentences, 0, "why a field is not known is no word: {own:#?}");
    let allowed =
        of_rule("own_word").find(|one| one["got"] == "parked").unwrap()["expected"].as_str().unwrap();
    assert!(allowed.contains("`PARTIALLY_FILLED`") && allowed.contains("`EXPIRED`"), "{allowed}");
    let undeclared = checked.finding("risk_undeclared")["remedy"].as_str().unwrap();
    assert!(undeclared.contains("/size") && undeclared.contains("x-risk"), "{undeclared}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_bot_in_rust_passes_and_is_paused_and_resumed() {
    let text = include_str!("../../../crates/bot-server/examples/minimal_bot.rs");
    assert!(text.lines().count() < 60, "it is the smallest");
    let bot = Command::new(built_example("minimal_bot"));
    let checked = check_started_bot(bot, &["--exercise", "--yes", "--bot-id", "minimal"]).await;
    assert_nothing_is_wrong(&checked);
    assert_eq!(checked.report["bot"]["bot_id"], "minimal");
    assert_eq!(checked.standing("POST commands/{verb}"), "served");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_in_rust_with_a_config_passes_and_tries_one() {
    let folder = crate::kit::folder();
    let wanted = folder.path().join("wanted.json");
    std::fs::write(&wanted, r#"{"risk_per_trade": 0.02, "max_positions": 5, "interval_s": 0.5}"#).unwrap();
    let bot = Command::new(built_example("config_bot"));
    let config = wanted.display().to_string();
    let options = ["--exercise", "--yes", "--bot-id", "config-bot", "--config", &config];
    let checked = check_started_bot(bot, &options).await;
    assert_nothing_is_wrong(&checked);
    for call in ["GET config", "GET config/schema", "POST config/{verb}"] {
        assert_eq!(checked.standing(call), "served", "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_smallest_example_passes() {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/minimal_bot.py");
    pass_python_bot(&program, &["--exercise", "--yes", "--bot-id", "minimal"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bot_at_the_top_of_the_manual_passes() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/your-own-bot.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, program) = page.split_once("```python\n").expect("the page begins with a bot");
    let folder = crate::kit::folder();
    let file = folder.path().join("tiny_bot.py");
    std::fs::write(&file, program.split("```").next().unwrap()).unwrap();
    pass_python_bot(&file, &["--bot-id", "tiny"]).await;
}

#[test]
fn where_nobody_answers_the_exit_code_is_2_and_says_what_to_do() {
    let folder = crate::kit::folder();
    let nothing = folder.path().join("nothing.sock");
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let left_over = folder.path().join("left.sock");
    drop(std::os::unix::net::UnixListener::bind(&left_over).unwrap());
    for (socket, said) in [
        (&nothing, "Start the bot"),
        (&file, "is not a socket"),
        (&left_over, "left over from a bot that ended"),
    ] {
        let checked = check(socket, &[]);
        assert_eq!(checked.code, 2, "{}", checked.stderr);
        assert!(checked.stderr.contains(said), "{}", checked.stderr);
        assert_eq!(checked.report["passed"], false);
        assert!(checked.report["unreachable"].is_string());
    }
    assert_eq!(check(&nothing, &["--yes"]).code, 2);
    assert_eq!(check(Path::new("http://127.0.0.1:1"), &[]).code, 2);
}

#[test]
fn the_socket_of_another_user_is_not_used() {
    let bot = ScriptedBot::start();
    // Changing a file's owner needs root; without it there is nothing to test.
    if std::os::unix::fs::chown(bot.socket(), Some(4242), None).is_err() {
        return;
    }
    let checked = check(bot.socket(), &[]);
    assert_eq!(checked.code, 2);
    assert!(checked.stderr.contains("4242") && checked.stderr.contains("as one user"), "{}", checked.stderr);
    assert!(bot.journal().is_empty());
}

#[test]
fn texts_of_the_bot_cannot_write_on_the_terminal() {
    let bot = StubBot::start(|request| {
        let evil = "\u{1b}[2J\u{202e}evil";
        let hello = stub_bot::with(
            stub_bot::hello(),
            serde_json::json!({"name": evil, "version": evil, "capabilities": [evil]}),
        );
        let state =
            stub_bot::with(stub_bot::state(), serde_json::json!({"phase": evil, evil: 1, "as_of": evil}));
        match request.call.as_str() {
            "GET hello" => Some(stub_bot::json_reply(&hello)),
            "GET state" => Some(stub_bot::json_reply(&state)),
            _ => None,
        }
    });
    let text = String::from_utf8(run(&bot.socket(), &[]).stdout).unwrap();
    assert!(text.contains("evil"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    let report = check(&bot.socket(), &[]).report;
    let mut left = vec![&report];
    while let Some(value) = left.pop() {
        assert!(value.as_str().is_none_or(|text| !text.contains(['\u{1b}', '\u{202e}'])), "{value}");
        left.extend(value.as_array().into_iter().flatten());
        left.extend(value.as_object().into_iter().flat_map(|members| members.values()));
    }
}

#[test]
fn a_bot_that_hangs_or_closes_is_told_as_that() {
    let bot = ScriptedBot::start();
    for (behaviour, rule) in [
        (Behaviour::HangUp, "cut"),
        (Behaviour::NotHttp, "not_http"),
        (Behaviour::Garbage, "not_readable"),
        (Behaviour::Stall, "hung"),
    ] {
        bot.behave(behaviour);
        let checked = check(bot.socket(), &[]);
        assert_eq!((checked.code, checked.rules("fault")), (1, vec![rule]), "{:#}", checked.report);
    }
}

#[test]
fn every_place_in_the_manual_is_a_heading_of_it() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/your-own-bot.md")).unwrap();
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_alphanumeric() || *c == '-').collect::<String>()
    };
    let anchors: Vec<String> = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#').trim()))
        .collect();
    for place in MANUAL_PLACES {
        let wanted = place.strip_prefix("docs/your-own-bot.md#").unwrap();
        assert!(anchors.iter().any(|known| known == wanted), "{place}: {anchors:?}");
    }
}

/// A bot with the SDK whose schema has words that are nearly those of botops.
const MISSPELT_BOT: &str = r#"
import sys
sys.path.insert(0, "CLIENTS")
from botops import Bot

bot = Bot("misspelt", mode="paper", address=sys.argv[1], expected_interval=5)
RISK = {"direction": "up", "class": "high"}
bot.config({"type": "object", "properties": {
    "loss": {"type": "number", "x-rolle": "daily_loss_limit", "x-aply": "restart", "x-group": "limits", "x-risk": RISK},
    "part": {"type": "number", "x-role": "equity_los_limit", "x-risk": RISK}}}, {"loss": 5, "part": 1})
with bot:
    while not bot.is_stopping:
        bot.tick()
        bot.sleep(0.1)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn misspelt_words_of_a_config_schema_are_warnings_with_their_place_and_the_near_word() {
    let folder = crate::kit::folder();
    let file = folder.path().join("misspelt_bot.py");
    let program = MISSPELT_BOT.replace("CLIENTS", concat!(env!("CARGO_MANIFEST_DIR"), "/clients/python"));
    std::fs::write(&file, program).unwrap();
    let Some(checked) = check_python_bot(&file, &[]).await else { return };
    let findings = checked.report["findings"].as_array().unwrap();
    let named: Vec<(&str, &str)> = findings
        .iter()
        .filter(|one| one["rule"] == "schema_word_unknown")
        .map(|one| (one["pointer"].as_str().unwrap(), one["remedy"].as_str().unwrap()))
        .collect();
    for (place, near) in [
        ("/properties/loss/x-rolle", "Did you mean `x-role`?"),
        ("/properties/loss/x-aply", "Did you mean `x-apply`?"),
        ("/properties/part/x-role", "Did you mean `equity_loss_limit`?"),
    ] {
        let is_named = named.iter().any(|(pointer, remedy)| *pointer == place && remedy.contains(near));
        assert!(is_named, "{place}: {named:#?}");
    }
    assert_eq!(named.len(), 3, "{named:#?}");
    assert!(!checked.rules("warning").contains(&"sdk_problem"), "it is told once: {:#}", checked.report);
}
