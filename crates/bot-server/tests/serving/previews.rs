//! Dry runs that the bot's own previews answer.

use std::sync::Mutex;
use std::sync::mpsc;

use botops_bot_server::CommandReply;
use botops_contract::{Exposure, Verb};
use serde_json::{Value, json};

use crate::calls::{ask, new_bot};

fn dry_run(verb: &str, id: &str, args: &Value) -> (String, Value) {
    let body = json!({"command_id": id, "reason": "a test", "dry_run": true, "args": args});
    (format!("POST commands/{verb}"), body)
}

#[test]
fn a_preview_says_what_a_verb_would_do_and_does_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let served = new_bot()
        .on_command(Verb::Flatten, |_| async { panic!("a dry run must not act") })
        .on_preview(Verb::Flatten, |command| async move {
            let symbols = command.symbols().join(", ");
            let exposure = Exposure { positions_closing: Some(vec![symbols.clone()]), ..Exposure::default() };
            match symbols.as_str() {
                "" => CommandReply::refused("nothing_open", "no position is open"),
                "BTC" => CommandReply::predicted("it would sell BTC").with_exposure(exposure),
                _ => CommandReply::done("it would sell the others"),
            }
        })
        .serve(&socket)
        .unwrap();
    let ask_for = |id: &str, symbols: &Value| {
        let (call, body) = dry_run("flatten", id, &json!({"symbols": symbols}));
        ask(&socket, &call, &body).1
    };
    let predicted = ask_for("1", &json!(["BTC"]));
    assert_eq!(
        (&predicted["outcome"], &predicted["message"]),
        (&json!("predicted"), &json!("it would sell BTC"))
    );
    assert_eq!(predicted["exposure"]["positions_closing"], json!(["BTC"]));
    assert_eq!((&predicted["trading_enabled"], served.bot().trading_enabled()), (&json!(true), true));
    let refused = ask_for("2", &json!([]));
    assert_eq!((&refused["outcome"], &refused["reason_code"]), (&json!("refused"), &json!("nothing_open")));
    assert_eq!(ask_for("3", &json!(["ETH"]))["outcome"], "predicted", "whatever it says, nothing was done");
    assert!(served.bot().trading_enabled());
}

#[test]
fn a_preview_that_panics_or_hangs_predicts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("bot.sock");
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let _served = new_bot()
        .on_command(Verb::Flatten, |_| async { CommandReply::done("flat") })
        .on_preview(Verb::Flatten, |_| async { panic!("no price") })
        .on_command(Verb::Halt, |_| async { CommandReply::done("halted") })
        .on_preview(Verb::Halt, move |_| {
            let _ = held.lock().unwrap().recv();
            async { CommandReply::predicted("it would halt") }
        })
        .serve(&socket)
        .unwrap();
    let (call, body) = dry_run("flatten", "1", &Value::Null);
    let (status, panicked) = ask(&socket, &call, &body);
    assert_eq!((status, &panicked["outcome"]), (200, &json!("predicted")));
    assert_eq!(panicked["reason_code"], "preview_raised");
    assert_eq!(panicked["message"], "the bot's preview of flatten raised a panic: no price");
    let (call, body) = dry_run("halt", "2", &Value::Null);
    let (_, late) = ask(&socket, &call, &body);
    assert_eq!((&late["outcome"], &late["reason_code"]), (&json!("predicted"), &json!("preview_late")));
    let (status, busy) = ask(&socket, &call, &body);
    assert_eq!((status, &busy["code"]), (429, &json!("busy")));
    let (_, done) = ask(&socket, "POST commands/halt", &json!({"command_id": "3", "reason": "a test"}));
    assert_eq!(done["outcome"], "done", "the verb itself waits for no preview");
    drop(release);
}
