//! `botops freqtrade init`: from freqtrade's own config to files that start the adapter and botops.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use crate::kit::app::command;
use crate::kit::folder;

const SECRETS: [&str; 4] =
    ["canary-of-the-password", "canary-of-the-jwt", "canary-of-the-exchange", "canary-of-the-ws"];

/// As people write it: with comments, and commas that no strict reader takes.
const CONFIG: &str = r#"{
    // the bot of the cellar
    "dry_run": true,
    "exchange": {"name": "binance", "key": "canary-of-the-exchange", "secret": "canary-of-the-exchange",},
    "api_server": {
        "enabled": true, /* since March */
        "listen_ip_address": "0.0.0.0",
        "listen_port": 8081,
        "jwt_secret_key": "canary-of-the-jwt",
        "ws_token": "canary-of-the-ws",
        "username": "operator",
        "password": "canary-of-the-password's $end #1",
    },
}"#;

fn init(folder: &Path, more: &[&str]) -> Output {
    let mut command = command(&["freqtrade", "init", "--config", "config.json"]);
    command.args(more).current_dir(folder).output().expect("botops runs")
}

fn said(output: &Output) -> String {
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for secret in SECRETS {
        assert!(!said.contains(secret), "it prints a secret: {said}");
    }
    said
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn it_writes_what_starts_both_and_no_secret_where_others_read() {
    let home = folder();
    std::fs::write(home.path().join("config.json"), CONFIG).unwrap();
    let output = init(home.path(), &["--output", "beside", "--bot-id", "cellar"]);
    let printed = said(&output);
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains("http://127.0.0.1:8081") && printed.contains("in dry run"), "{printed}");
    let beside = home.path().join("beside");
    assert!(read(&beside.join("credentials")).contains("canary-of-the-password"));
    for private in ["credentials", "botops.env"] {
        let mode = beside.join(private).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{private}");
    }
    let key = read(&beside.join("botops.env"));
    let key = key.lines().find_map(|line| line.strip_prefix("BOT_API_AUTH_TOKEN=")).expect("a key");
    assert!(key.len() >= 24 && !printed.contains(key));
    for unit in ["botops-freqtrade.service", "botops.service"] {
        let unit = read(&beside.join(unit));
        assert!(SECRETS.iter().all(|secret| !unit.contains(secret)) && !unit.contains(key), "{unit}");
    }
    let adapter = read(&beside.join("botops-freqtrade.service"));
    assert!(
        adapter.contains("--url http://127.0.0.1:8081") && adapter.contains("--bot-id cellar"),
        "{adapter}"
    );
    // Both programs take the files: botops its settings, the adapter its credentials.
    let settings = std::process::Command::new("sh")
        .args(["-c", "set -a; . ./botops.env; exec \"$0\" check", env!("CARGO_BIN_EXE_botops")])
        .current_dir(&beside)
        .output()
        .unwrap();
    assert!(settings.status.success(), "{}", String::from_utf8_lossy(&settings.stderr));
    let again = init(home.path(), &["--output", "beside"]);
    let refused = said(&again);
    assert!(!again.status.success() && refused.contains("is there already"), "{refused}");
}

#[test]
fn a_compose_file_is_written_for_the_service_that_is_named() {
    let home = folder();
    std::fs::write(home.path().join("config.json"), CONFIG).unwrap();
    let output = init(home.path(), &["--compose", "--service", "bot-one", "--output", "beside"]);
    assert!(output.status.success(), "{}", said(&output));
    let compose = read(&home.path().join("beside/compose.yaml"));
    let parsed: serde_json::Value = serde_yaml::from_str(&compose).expect("it is YAML");
    let adapter = &parsed["services"]["botops-freqtrade"]["command"];
    assert!(adapter.as_array().unwrap().iter().any(|word| word == "http://bot-one:8081"), "{adapter}");
    assert!(SECRETS.iter().all(|secret| !compose.contains(secret)), "{compose}");
    assert!(!home.path().join("beside/botops.service").exists());
}

#[test]
fn a_config_without_an_api_is_refused_with_the_lines_to_add_and_leaves_nothing() {
    let home = folder();
    for config in [
        CONFIG.replace("\"enabled\": true", "\"enabled\": false"),
        CONFIG.replace("\"api_server\"", "\"api_server_of_before\""),
        CONFIG.replace("\"password\"", "\"password_of_before\""),
    ] {
        std::fs::write(home.path().join("config.json"), config).unwrap();
        let output = init(home.path(), &["--output", "beside"]);
        let refused = said(&output);
        assert_eq!(output.status.code(), Some(1), "{refused}");
        assert!(refused.contains("\"api_server\": {") && refused.contains("\"enabled\": true"), "{refused}");
    }
    std::fs::write(
        home.path().join("config.json"),
        CONFIG.replace("\"operator\"", "operator canary-of-the-jwt"),
    )
    .unwrap();
    let output = init(home.path(), &["--output", "beside"]);
    let refused = said(&output);
    assert!(!output.status.success() && refused.contains("config.json: line 11"), "{refused}");
    assert!(!home.path().join("beside").exists());
}
