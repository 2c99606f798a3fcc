//! Starting and stopping: a program that cannot start prints one line; one that runs stops in order.

use std::process::Output;
use std::time::Duration;

use crate::kit;
use crate::kit::app::{KEY, command};

fn refused(arguments: &[&str], settings: &[(&str, &str)], name: &str) {
    let folder = kit::folder();
    let mut command = command(arguments);
    command.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("BOT_API_PORT", "0");
    command.envs(settings.iter().copied());
    let Output { status, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stderr).into_owned();
    assert_eq!(status.code(), Some(2), "{text}");
    assert!(text.lines().any(|line| line.contains(name)), "{name} in {text}");
    assert!(!text.contains(KEY), "{text}");
    assert!(text.lines().count() <= 2, "{text}");
}

#[test]
fn a_setting_that_cannot_be_used_is_named_and_the_process_ends_with_2() {
    let long = format!("/tmp/{}", "x".repeat(120));
    refused(&["serve"], &[("BOT_API_AUTH_TOKEN", "short")], "BOT_API_AUTH_TOKEN");
    refused(&["serve"], &[("BOT_API_AUTH_TOKEN", "")], "BOT_API_AUTH_TOKEN");
    refused(&["serve"], &[("BOT_API_KEYS_FILE", "/nowhere/keys.json")], "BOT_API_KEYS_FILE");
    refused(&["serve"], &[("BOT_API_TOKEN", "x")], "BOT_API_TOKEN");
    refused(&["serve"], &[("BOT_IPC_SOCKET", &long)], "BOT_IPC_SOCKET");
    refused(&["serve"], &[("BOT_DATA_DIR", "/proc/nowhere")], "BOT_DATA_DIR");
    refused(&["serve", "--port", "99999"], &[], "BOT_API_PORT");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&["serve", "--port", &port], &[], "BOT_API_PORT");
}

/// `operator` is who holds `BOT_API_AUTH_TOKEN`: a second key of that name could not be told from it in the audit.
#[test]
fn a_named_key_cannot_take_the_operator_s_name() {
    let folder = kit::folder();
    let file = folder.path().join("keys.json");
    let path = file.to_str().unwrap();
    let record = serde_json::json!({"id": "operator", "sha256": "0".repeat(64), "scopes": ["read"]});
    let keys = serde_json::json!({"keys": [record]}).to_string();
    std::fs::write(&file, &keys).unwrap();
    refused(&["serve"], &[("BOT_API_KEYS_FILE", path)], "BOT_API_KEYS_FILE");
    for id in ["operator", "two words", ""] {
        std::fs::remove_file(&file).unwrap_or_default();
        let ended =
            command(&["key", "new", "--id", id, "--scopes", "read", "--file", path]).output().unwrap();
        assert!(!ended.status.success(), "{id:?}");
        assert!(ended.stdout.is_empty() && !file.exists(), "{id:?}: {ended:?}");
    }
}

#[test]
fn a_second_botops_on_the_same_folder_refuses() {
    let folder = kit::folder();
    let mut first = command(&["serve"]);
    first.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("BOT_API_PORT", "0");
    let first = kit::Process::spawn(&mut first);
    let log = folder.path().join("botops-data/logs/botops.log");
    let serves = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("botops serves on"));
    kit::wait_until("the first serves", Duration::from_secs(30), serves);
    let mut second = command(&["serve"]);
    second.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("BOT_API_PORT", "0");
    let output = second.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("another botops uses"), "{text}");
    drop(first);
}

#[test]
fn sigterm_ends_it_in_order_and_no_event_is_lost() {
    let folder = kit::folder();
    let mut botops = command(&["serve"]);
    botops.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("BOT_API_PORT", "0");
    let mut botops = kit::Process::spawn(&mut botops);
    let log = folder.path().join("botops-data/logs/botops.log");
    let serves = || std::fs::read_to_string(&log).is_ok_and(|text| text.contains("botops serves on"));
    kit::wait_until("it serves", Duration::from_secs(30), serves);
    botops.terminate();
    let status = botops.wait(Duration::from_secs(20));
    assert_eq!(status.code(), Some(0));
    let store = rusqlite::Connection::open(folder.path().join("botops-data/ops.db")).unwrap();
    let newest: String =
        store.query_row("SELECT body FROM events ORDER BY seq DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    assert!(newest.contains("botops stops"), "{newest}");
}

#[test]
fn named_keys_are_made_by_the_command_line() {
    let folder = kit::folder();
    let file = folder.path().join("keys.json");
    let file = file.to_str().unwrap();
    let make = |id: &str| {
        command(&["key", "new", "--id", id, "--scopes", "read,operate", "--file", file]).output().unwrap()
    };
    let made = make("agent");
    assert!(made.status.success());
    let key = String::from_utf8(made.stdout).unwrap();
    assert!(key.trim().len() > 40, "{key}");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(!text.contains(key.trim()));
    assert!(text.contains("\"agent\""));
    assert!(!make("agent").status.success());
}

/// Starts `botops serve` in this folder and returns what it has written to stderr once its log says that it serves.
fn said_at_start(folder: &std::path::Path, more: &[(&str, &str)]) -> String {
    let said = folder.join("stderr.txt");
    let mut botops = command(&["serve", "--socket", "bot.sock"]);
    botops.current_dir(folder).env("BOT_API_PORT", "0").envs(more.iter().copied());
    botops.stderr(std::fs::File::create(&said).unwrap());
    let botops = kit::Process::spawn(&mut botops);
    let has_said = || std::fs::read_to_string(&said).is_ok_and(|text| text.ends_with('\n'));
    kit::wait_until("it says something", Duration::from_secs(30), has_said);
    drop(botops);
    std::fs::read_to_string(said).unwrap()
}

#[test]
fn one_line_says_where_it_listens_beside_which_bot_and_where_the_key_is() {
    let folder = kit::folder();
    let said = said_at_start(folder.path(), &[("BOT_API_AUTH_TOKEN", KEY)]);
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["botops serves on 127.0.0.1:", "bot.sock", "BOT_API_AUTH_TOKEN of the environment"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    std::fs::write(folder.path().join(".env"), format!("BOT_API_AUTH_TOKEN={KEY}\n")).unwrap();
    let from_file = said_at_start(folder.path(), &[]);
    assert!(from_file.contains("BOT_API_AUTH_TOKEN of `.env`"), "{from_file}");
    let from_both =
        said_at_start(folder.path(), &[("BOT_API_AUTH_TOKEN", "another-key-of-the-environment-1")]);
    assert!(from_both.contains("of the environment"), "{from_both}");
    for text in [said, from_file, from_both] {
        assert!(!text.contains(KEY) && !text.contains("another-key"), "{text}");
    }
}
