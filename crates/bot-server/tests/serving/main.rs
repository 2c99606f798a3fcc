//! Bots that are served for real: over a socket and a port, with handlers that panic and hang, over restarts.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod calls;
mod managed_config;
mod previews;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use botops_bot_server::{CommandReply, ConfigHandlers, ServedBot, refusal};
use botops_contract::{
    ActivateConfigRequest, BotReport, CheckVerdict, ConfigAck, ConfigState, ContractRefusal, EndTrialRequest,
    EventKind, RunningDocument, Severity, Trade, Verb, VersionRef,
};
use serde_json::{Value, json};

use calls::{ask, capabilities, command, new_bot, send, until};

#[test]
fn a_socket_is_private_replaced_when_it_is_stale_and_left_to_who_answers_there() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("private/bot.sock");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let served = new_bot().serve(&socket).unwrap();
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    let taken = new_bot().serve(&socket).unwrap_err();
    assert!(
        taken.contains("serves on")
            && taken.contains(&format!("another bot (process {})", std::process::id()))
            && taken.contains("choose another path"),
        "{taken}"
    );
    assert_eq!(ask(&socket, "GET state", &Value::Null).0, 200);
    drop(served);
    assert!(!socket.exists());
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let _served = new_bot().serve(&socket).unwrap();
    assert_eq!(ask(&socket, "GET hello", &Value::Null).1["bot_id"], "tested");
}

#[test]
fn a_socket_whose_file_is_removed_is_made_anew_and_another_process_there_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let served = new_bot().serve(&socket).unwrap();
    let mut kept = UnixStream::connect(&socket).unwrap();
    std::fs::remove_file(&socket).unwrap();
    until("it is there again", || socket.exists());
    assert_eq!(ask(&socket, "GET hello", &Value::Null).1["bot_id"], "tested");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    // A connection of before goes on.
    kept.write_all(b"GET /ipc/v1/hello HTTP/1.1\r\nHost: bot\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // Another process that takes the place is not pushed aside, neither while it serves nor at the end.
    std::fs::remove_file(&socket).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let asked = other.accept().map(|_| ());
    assert!(asked.is_ok(), "it looked who answers there");
    drop(served);
    assert!(socket.exists());
}

#[test]
fn only_what_was_given_is_offered_and_the_rest_is_refused_without_an_effect() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let served = new_bot().on_command(Verb::Pause, |_| async { CommandReply::done("paused") });
    let _served = served.serve(&socket).unwrap();
    assert_eq!(capabilities(&socket), ["pause", "events"]);
    for (call, body, status, code) in [
        ("POST commands/flatten", command("a"), 409, "not_capable"),
        ("POST commands/dance", command("a"), 404, "unknown_verb"),
        ("POST commands/pause", json!({"reason": "no id"}), 400, "invalid"),
        ("POST commands/pause", command(&"x".repeat(129)), 400, "invalid"),
        ("GET commands/a", Value::Null, 404, "not_capable"),
        ("GET trades", Value::Null, 404, "not_capable"),
        ("GET config", Value::Null, 404, "not_capable"),
        ("POST config/check", json!({"config": {}}), 404, "not_capable"),
        ("GET nothing", Value::Null, 404, "unknown_path"),
        ("POST hello", Value::Null, 405, "unknown_method"),
    ] {
        let (answered, refused) = ask(&socket, call, &body);
        assert_eq!((answered, refused["code"].as_str()), (status, Some(code)), "{call} {refused}");
    }
}

#[test]
fn the_state_is_what_was_published_last_also_while_the_loop_is_busy() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let served = new_bot().expected_interval(Duration::from_secs(3)).serve(&socket).unwrap();
        let (_, first) = ask(&socket, "GET state", &Value::Null);
        assert_eq!((&first["phase"], &first["mode"]), (&json!("starting"), &json!("paper")));
        served.bot().publish(BotReport { positions: Some(Vec::new()), ..BotReport::default() });
        // This thread, the only one of the bot's runtime, waits in `ask`: a server on it could not answer.
        let (_, state) = ask(&socket, "GET state", &Value::Null);
        assert_eq!((&state["phase"], &state["positions"]), (&json!("running"), &json!([])));
        assert_eq!(
            (&state["loop"]["ticks"], &state["loop"]["expected_interval_s"]),
            (&json!(1), &json!(3.0))
        );
        let get = |known: &str| {
            let head = format!("GET /ipc/v1/state HTTP/1.1\r\nIf-None-Match: {known}\r\n");
            send(UnixStream::connect(&socket).unwrap(), &head, "")
        };
        let (_, head, _) = get("");
        let tag = head.lines().find_map(|line| line.strip_prefix("etag: ")).unwrap().to_owned();
        assert_eq!((get(&tag).0, get("\"other\"").0), (304, 200));
        served.bot().publish(BotReport::default());
        assert_eq!(get(&tag).0, 200);
    });
}

#[test]
fn a_command_acts_once_for_each_id_and_a_dry_run_never() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let served = new_bot()
        .on_command(Verb::Pause, move |command| {
            counted.fetch_add(1, Ordering::SeqCst);
            async move { CommandReply::done(&format!("paused: {}", command.reason)) }
        })
        .serve(&socket)
        .unwrap();
    let dry = json!({"command_id": "0", "reason": "a test", "dry_run": true});
    let (_, predicted) = ask(&socket, "POST commands/pause", &dry);
    assert_eq!((&predicted["outcome"], runs.load(Ordering::SeqCst)), (&json!("predicted"), 0));
    let late = json!({"command_id": "1", "reason": "a test", "valid_for_ms": 0});
    let (_, expired) = ask(&socket, "POST commands/pause", &late);
    assert_eq!((&expired["outcome"], &expired["reason_code"]), (&json!("refused"), &json!("expired")));
    let (_, first) = ask(&socket, "POST commands/pause", &command("2"));
    assert_eq!((&first["outcome"], &first["message"]), (&json!("done"), &json!("paused: a test")));
    assert_eq!((&first["phase"], &first["trading_enabled"]), (&json!("paused"), &json!(false)));
    let (_, again) = ask(&socket, "POST commands/pause", &command("2"));
    assert_eq!((&again["at"], &again["replayed"]), (&first["at"], &json!(true)));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    assert!(!served.bot().trading_enabled());
    let (_, state) = ask(&socket, "GET state", &Value::Null);
    assert_eq!(state["phase_reason"], "pause: a test");
}

#[test]
fn a_handler_that_panics_or_hangs_costs_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let (begun, begins) = std::sync::mpsc::channel();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let served = new_bot()
        .on_command(Verb::Flatten, |_| async { panic!("the exchange is away") })
        .on_command(Verb::Halt, move |command| {
            begun.send(command.command_id).unwrap();
            // Blocks its thread, as a call that was not made for tasks does.
            let _ = held.lock().unwrap().recv();
            async { CommandReply::done("halted") }
        })
        .on_command(Verb::Pause, |_| async { CommandReply::done("paused") })
        .serve(&socket)
        .unwrap();
    let (status, panicked) = ask(&socket, "POST commands/flatten", &command("1"));
    assert_eq!((status, &panicked["outcome"]), (200, &json!("unconfirmed")), "{panicked}");
    assert_eq!(panicked["reason_code"], "handler_raised", "{panicked}");
    let said = "the bot's handler of flatten raised a panic: the exchange is away; it may have acted";
    assert_eq!(panicked["message"], said, "{panicked}");
    let send_halt = |id: &'static str| {
        let socket = socket.clone();
        let sent = std::thread::spawn(move || {
            let stream = UnixStream::connect(&socket).unwrap();
            let head = "POST /ipc/v1/commands/halt HTTP/1.1\r\n";
            let answer = std::panic::catch_unwind(|| send(stream, head, &command(id).to_string()));
            answer.map(|(_, _, body)| serde_json::from_str::<Value>(&body).unwrap())
        });
        assert_eq!(begins.recv_timeout(Duration::from_secs(20)).unwrap(), id);
        sent
    };
    let hung = send_halt("2");
    assert_eq!(
        ask(&socket, "POST commands/halt", &command("3")),
        (429, {
            json!({"code": "busy", "message": "an earlier halt has not ended; this one was not begun"})
        })
    );
    let (_, paused) = ask(&socket, "POST commands/pause", &command("4"));
    assert_eq!(paused["outcome"], "done", "another verb does not wait for it: {paused}");
    assert_eq!(ask(&socket, "GET state", &Value::Null).0, 200);
    assert_eq!(hung.join().unwrap().unwrap()["outcome"], "unconfirmed");
    release.send(()).unwrap();
    until("its end is kept", || ask(&socket, "POST commands/halt", &command("2")).1["outcome"] == "done");
    until("the verb is free again", || {
        let (_, dry) = ask(
            &socket,
            "POST commands/halt",
            &json!({"command_id": "5", "reason": "a test", "valid_for_ms": 0}),
        );
        dry["reason_code"] == "expired"
    });
    // One that hangs for good keeps nobody from ending.
    let hung = send_halt("6");
    drop(served);
    assert!(hung.join().unwrap().is_err(), "nobody answers it any more");
    drop(release);
}

#[test]
fn commands_and_trades_are_known_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (socket, data) = (folder.path().join("bot.sock"), folder.path().join("data"));
    let runs = Arc::new(AtomicU32::new(0));
    let start = || -> ServedBot {
        let counted = runs.clone();
        let bot = new_bot().data_dir(&data).on_command(Verb::Pause, move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            async { CommandReply::done("paused") }
        });
        bot.serve(&socket).unwrap()
    };
    let trade: Trade =
        serde_json::from_value(json!({"seq": 0, "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z"}))
            .unwrap();
    let numbers = || -> Vec<u64> {
        let (_, page) = ask(&socket, "GET trades?after=0&limit=10", &Value::Null);
        page["items"].as_array().unwrap().iter().map(|trade| trade["seq"].as_u64().unwrap()).collect()
    };
    let served = start();
    assert_eq!(capabilities(&socket), ["pause", "events", "command-status", "trades"]);
    let other = new_bot().data_dir(&data).serve(&folder.path().join("other.sock")).unwrap_err();
    assert!(other.contains(&format!("another bot (process {}) uses", std::process::id())), "{other}");
    let (_, first) = ask(&socket, "POST commands/pause", &command("1"));
    assert!(served.bot().trade(trade.clone()));
    until("the trade is told", || numbers() == [1]);
    drop(served);
    let served = start();
    let (_, again) = ask(&socket, "POST commands/pause", &command("1"));
    assert_eq!((&again["at"], &again["replayed"]), (&first["at"], &json!(true)));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    let standing = |id: &str| ask(&socket, &format!("GET commands/{id}"), &Value::Null).1["standing"].clone();
    assert_eq!((standing("1"), standing("2")), (json!("answered"), json!("unknown")));
    assert!(served.bot().trade(trade));
    until("the next trade is told", || numbers() == [1, 2]);
}

#[test]
fn events_go_on_where_their_reader_left_off() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let served = new_bot().serve(&socket).unwrap();
    let bot = served.bot();
    let read = |last: &str, count: usize| -> Vec<(String, Value)> {
        let mut stream = UnixStream::connect(&socket).unwrap();
        write!(stream, "GET /ipc/v1/events HTTP/1.1\r\nHost: bot\r\nLast-Event-ID: {last}\r\n\r\n").unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let mut next =
            |prefix: &str| lines.find_map(|line| line.strip_prefix(prefix).map(str::to_owned)).unwrap();
        (0..count).map(|_| (next("id: "), serde_json::from_str(&next("data: ")).unwrap())).collect()
    };
    bot.event(EventKind::Order, Severity::Low, "an order", Value::Null);
    bot.error(serde_json::from_value(json!({"error_code": "EXC_001", "message": "it is away"})).unwrap());
    let events = read("", 2);
    assert_eq!((&events[0].1["seq"], &events[1].1["error"]["error_code"]), (&json!(1), &json!("EXC_001")));
    assert_eq!(read(&events[0].0, 1)[0], events[1]);
    assert_eq!(read("another-life/7", 2), events);
    // Nor is a reader who comes with a number that was never given told nothing for ever.
    let epoch = events[0].1["boot_epoch"].as_str().unwrap();
    assert_eq!(read(&format!("{epoch}/{}", u64::MAX), 2), events);
    let last = events[1].0.clone();
    std::thread::scope(|scope| {
        let live = scope.spawn(|| read(&last, 1));
        bot.event(EventKind::Fill, Severity::Low, "a fill", json!({"price": "1.50"}));
        assert_eq!(live.join().unwrap()[0].1["data"]["price"], "1.50");
    });
}

#[test]
fn a_port_takes_only_who_shows_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("bot.token");
    let anywhere = new_bot().serve_on_port("0.0.0.0:0".parse().unwrap(), &token_file).unwrap_err();
    assert!(anywhere.contains("of this machine"), "{anywhere}");
    let served = new_bot().serve_on_port("127.0.0.1:0".parse().unwrap(), &token_file).unwrap();
    let token = std::fs::read_to_string(&token_file).unwrap();
    let get = |authorization: &str| {
        let stream = TcpStream::connect(("127.0.0.1", served.port().unwrap())).unwrap();
        send(stream, &format!("GET /ipc/v1/hello HTTP/1.1\r\n{authorization}"), "").0
    };
    assert_eq!(get(&format!("Authorization: Bearer {}\r\n", token.trim())), 200);
    assert_eq!((get(""), get("Authorization: Bearer nothing\r\n")), (401, 401));
}

/// A config whose check panics and whose commit is refused.
struct FaultyConfig;

impl ConfigHandlers for FaultyConfig {
    fn state(&self) -> ConfigState {
        let version = VersionRef { version: 0, sha256: "00".to_owned() };
        ConfigState {
            boot_epoch: "life".to_owned(),
            running: version.clone(),
            committed: version,
            trial: None,
            pending_restart: Vec::new(),
            last_outcome: None,
            generation: 0,
        }
    }

    fn schema(&self) -> String {
        r#"{"type": "object"}"#.to_owned()
    }

    fn document(&self) -> RunningDocument {
        RunningDocument { running: self.state().running, document: "{}".to_owned() }
    }

    fn check(&self, _: &Value) -> CheckVerdict {
        panic!("the check fails")
    }

    fn activate(&self, request: &ActivateConfigRequest) -> Result<ConfigAck, ContractRefusal> {
        let running = request.candidate.clone();
        Ok(ConfigAck { txn: request.txn.clone(), running, boot_epoch: "life".to_owned() })
    }

    fn commit(&self, _: &EndTrialRequest) -> Result<ConfigAck, ContractRefusal> {
        Err(refusal("not_in_trial", "this transaction is not on trial"))
    }

    fn revert(&self, request: &EndTrialRequest) -> Result<ConfigAck, ContractRefusal> {
        self.commit(request)
    }
}

#[test]
fn the_config_calls_are_the_handlers_and_one_that_panics_costs_one_answer() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let _served = new_bot().on_config(FaultyConfig).serve(&socket).unwrap();
    assert_eq!(capabilities(&socket), ["config", "config-schema", "events"]);
    let version = json!({"version": 1, "sha256": "01"});
    let trial =
        json!({"txn": "t", "gen": 1, "base": version, "candidate": version, "document": "{}", "ttl_ms": 1});
    let (status, failed) = ask(&socket, "POST config/check", &json!({"config": {}}));
    assert_eq!((status, &failed["code"]), (500, &json!("internal")));
    let said = "the bot's config handler raised a panic: the check fails; it may have acted";
    assert_eq!(failed["message"], said);
    for (call, body, status, place, said) in [
        ("GET config", Value::Null, 200, "/running/version", json!(0)),
        ("GET config/schema", Value::Null, 200, "/type", json!("object")),
        ("GET config/document", Value::Null, 200, "/document", json!("{}")),
        ("POST config/activate", trial, 200, "/running/version", json!(1)),
        ("POST config/commit", json!({"txn": "t", "gen": 1}), 409, "/code", json!("not_in_trial")),
        ("POST config/revert", json!({"txn": "t", "gen": 1}), 409, "/code", json!("not_in_trial")),
    ] {
        let (answered, answer) = ask(&socket, call, &body);
        assert_eq!((answered, answer.pointer(place)), (status, Some(&said)), "{call} {answer}");
    }
}
