//! Tests of the table, the reader and the checks, with values given directly.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::row::{SettingDefault, SettingKind};
use super::table::{BOT_API_AUTH_TOKEN, ROWS};
use super::*;

fn with(pairs: &[(&str, &str)]) -> Result<Settings, Vec<SettingError>> {
    let mut values = vec![("BOT_API_AUTH_TOKEN".to_owned(), "abcdefghijklmnopqrstuvwxyz".to_owned())];
    values.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    Settings::check(&SettingSources::of(values))
}

#[track_caller]
fn refused(name: &str, value: &str) {
    let wrong = with(&[(name, value)]).unwrap_err();
    assert!(wrong.iter().any(|error| error.setting == name), "{wrong:?}");
}

#[test]
fn a_bad_setting_is_named() {
    refused("BOT_API_PORT", "70000");
    refused("BOT_API_HOST", "everywhere");
    refused("BOT_API_AUTH_TOKEN", "short");
    refused("BOT_API_AUTH_TOKEN", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    refused("BOT_API_RATE_LIMIT", "0");
    refused("BOT_API_CORS_ORIGINS", "*");
    refused("BOT_API_KEYS_FILE", "/nowhere/keys.json");
    refused("BOT_API_PROT", "8000");
    refused("BOT_POLL_INTERVAL", "1h");
    refused("BOT_IPC_SOCKET", &"x".repeat(108));
    refused("BOT_IPC_TOKEN_FILE", "/nowhere/token");
    refused("BOT_IPC_UID", "somebody");
    refused("BOT_CHECK_ALLOW", "10.0.0.0/40");
    refused("BOT_ALERT_WEBHOOK_URL", "ftp://somewhere/");
    refused("BOT_ALERT_WEBHOOK_SECRET", "short");
    refused("BOT_ALERT_WEBHOOK_SECRET", "long enough, with a line end\n");
}

#[test]
fn a_bot_on_a_port_needs_a_private_address_and_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_string_lossy().into_owned()
    };
    let (good, short) = (file("good", "canary-canary-canary\n"), file("short", "canary\n"));
    let settings = |url: &str, token: &str| with(&[("BOT_IPC_URL", url), ("BOT_IPC_TOKEN_FILE", token)]);
    let taken = settings("http://127.0.0.1:9100", &good).unwrap();
    assert_eq!(taken.bot_address.to_string(), "http://127.0.0.1:9100");
    assert!(!format!("{taken:?}").contains("canary"));
    assert!(taken.secrets().iter().any(|secret| secret.expose_secret() == "canary-canary-canary"));
    assert!(taken.warnings().iter().any(|warning| warning.contains("BOT_IPC_TOKEN_FILE")));
    for url in ["http://8.8.8.8:9100", "https://127.0.0.1:9100", "http://127.0.0.1:9100/ipc"] {
        let wrong = settings(url, &good).unwrap_err();
        assert!(wrong.iter().any(|error| error.setting == "BOT_IPC_URL"), "{url}: {wrong:?}");
    }
    let wrong = settings("http://127.0.0.1:9100", &short).unwrap_err();
    assert!(wrong[0].setting == "BOT_IPC_TOKEN_FILE" && !format!("{wrong:?}").contains("canary"));
    let wrong = with(&[("BOT_IPC_URL", "http://127.0.0.1:9100")]).unwrap_err();
    assert_eq!(wrong[0].setting, "BOT_IPC_TOKEN_FILE");
    let wrong = with(&[
        ("BOT_IPC_URL", "http://127.0.0.1:9100"),
        ("BOT_IPC_TOKEN_FILE", &good),
        ("BOT_IPC_SOCKET", "/run/bot.sock"),
    ]);
    assert_eq!(wrong.unwrap_err()[0].setting, "BOT_IPC_URL");
}

#[test]
fn one_key_has_one_id() {
    let key = |id: &str, digest: &str| {
        format!(r#"{{"id": "{id}", "sha256": "{}", "scopes": ["read"]}}"#, digest.repeat(32))
    };
    let file =
        |second: &str| botops_http::KeyFile::parse(&format!(r#"{{"keys": [{}, {second}]}}"#, key("a", "ab")));
    assert!(file(&key("b", "cd")).is_ok());
    let why = file(&key("b", "ab")).unwrap_err();
    assert!(why.starts_with("key 2 is another one under a second id"), "{why}");
}

#[test]
fn a_weak_key_is_refused_without_being_shown() {
    let wrong = with(&[("BOT_API_AUTH_TOKEN", "hunter2hunter2")]).unwrap_err();
    assert!(!format!("{wrong:?}").contains("hunter2"));
}

#[test]
fn defaults_are_closed() {
    let settings = with(&[]).unwrap();
    assert!(settings.address.ip().is_loopback());
    assert!(settings.cors_origins.is_empty());
    assert!(settings.warnings().is_empty());
    assert!(!format!("{settings:?}").contains("abcdefghijklmnop"));
}

#[test]
fn what_may_hold_a_secret_is_not_printed() {
    let settings = with(&[
        ("BOT_ALERT_WEBHOOK_URL", "https://hooks.example/canary"),
        ("BOT_ALERT_WATCHDOG_URL", "https://ping.example/canary"),
        ("BOT_ALERTMANAGER_URL", "http://user:canary@alerts.example"),
        ("BOT_ALERT_WEBHOOK_SECRET", "canary-canary-canary"),
        ("BOT_CHECK_SECRET_FEED", "canary"),
        ("BOT_SUPERVISOR", "command:[\"bot\", \"--password=canary\"]"),
    ]);
    let printed = format!("{:?}", settings.unwrap());
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn an_empty_value_takes_a_default() {
    let mut sources = SettingSources::of([("BOT_API_AUTH_TOKEN".to_owned(), " ".to_owned())]);
    sources.set_default(&BOT_API_AUTH_TOKEN, "made");
    assert_eq!(sources.get(&BOT_API_AUTH_TOKEN), Some("made"));
    sources.set_default(&BOT_API_AUTH_TOKEN, "made again");
    assert_eq!(sources.get(&BOT_API_AUTH_TOKEN), Some("made"));
}

/// A secret that is added to the table is masked in the log without further code.
#[test]
fn every_secret_of_the_table_is_among_the_secrets() {
    const CANARY: &str = "canary-0123456789-abcdefghij";
    for row in ROWS {
        let name = match row.kind {
            SettingKind::Secret => row.name.to_owned(),
            SettingKind::SecretFamily { example } => format!("{}{example}", row.name),
            _ => continue,
        };
        let secrets = with(&[(&name, CANARY)]).unwrap().secrets();
        assert!(secrets.iter().any(|secret| secret.expose_secret() == CANARY), "{name}");
    }
}

/// A default is read like a given value, so it must be a valid one.
#[test]
fn every_default_and_every_example_of_the_table_can_be_used() {
    for row in ROWS.iter().filter(|row| !matches!(row.default, SettingDefault::Required)) {
        for value in [row.default_value().unwrap_or_default(), row.example] {
            with(&[(row.name, value)]).unwrap_or_else(|wrong| panic!("{}={value}: {wrong:?}", row.name));
        }
        if let SettingKind::Number { .. } = row.kind {
            let default = row.default_value().map(|value| value.parse().unwrap());
            assert!(default.is_none_or(|value| row.number_range().contains(&value)), "{}", row.name);
        }
        if let SettingKind::Duration { .. } = row.kind {
            let default = botops_core::duration::parse_duration(row.default_value().unwrap()).unwrap();
            assert!(row.duration_range().contains(&default), "{}", row.name);
        }
    }
}

#[test]
fn durations_are_read_with_and_without_a_unit() {
    let check = |text: &str, milliseconds: Option<u64>| {
        assert_eq!(
            botops_core::duration::parse_duration(text),
            milliseconds.map(Duration::from_millis),
            "{text}"
        );
    };
    check("5", Some(5_000));
    check("200ms", Some(200));
    check("1.5m", Some(90_000));
    check("5 weeks", None);
    check("-1s", None);
}
