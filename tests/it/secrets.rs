//! No secret is printed and none is changed, whether from `.env`, the environment, the command line or the files that
//! these name.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::kit;
use crate::kit::app::{KEY, command};

/// Used in place of secrets. It must not appear in any output.
const CANARY: &str = "hush-canary-5f3a9c1d";

/// Runs a program that ends by itself: exit code and both outputs.
#[track_caller]
fn run(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)))
}

/// Runs `botops check` on this `.env`: exit code and outputs.
#[track_caller]
fn checked(file: impl AsRef<[u8]>) -> (Option<i32>, String) {
    let folder = kit::folder();
    std::fs::write(folder.path().join(".env"), file).unwrap();
    let mut check = command(&["check"]);
    check.current_dir(folder.path());
    let (code, said) = run(check);
    assert!(!said.contains(CANARY) && !said.contains(KEY), "{said}");
    (code, said)
}

#[test]
fn a_line_of_env_that_cannot_be_used_is_told_by_its_number_and_never_quoted() {
    let with = |line: &str| format!("# the key\nBOT_API_AUTH_TOKEN={KEY}\n{line}\nBOT_API_PORT=0\n");
    let secret = "BOT_ALERT_WEBHOOK_SECRET";
    let unusable = [
        CANARY.to_owned(),
        format!("two words {CANARY}"),
        format!("{secret}: {CANARY}"),
        format!("{secret} {CANARY}={CANARY}"),
        format!("={CANARY}"),
        format!("9{secret}={CANARY}"),
        format!("export {CANARY}"),
        format!("{secret}=\"{CANARY}"),
        format!("{secret}='{CANARY}"),
        format!("{secret}='{CANARY}' {CANARY}"),
        format!("{secret}=\"{CANARY}\"{CANARY}"),
        format!("{secret}=\"\\x{CANARY}\""),
        format!("{secret}={CANARY} # {CANARY}"),
        format!("{secret}= # {CANARY}"),
        format!("{secret}={CANARY}\u{0}{CANARY}"),
        format!("{secret}={CANARY}\r{CANARY}"),
    ];
    for line in unusable {
        let (code, said) = checked(with(&line));
        assert_eq!(code, Some(2), "{line:?}: {said}");
        assert!(said.contains(".env") && said.contains("line 3"), "{line:?}: {said}");
        assert_eq!(line.starts_with(&format!("{secret}=")), said.contains(secret), "{line:?}: {said}");
    }
    let mut bytes = with("").into_bytes();
    bytes.extend(format!("{secret}={CANARY}\u{7f}").into_bytes());
    bytes.extend([0xff, b'\n']);
    let (code, said) = checked(bytes);
    assert!(code == Some(2) && said.contains("line 5"), "{said}");
    // UTF-16 with a byte order mark, as an editor on Windows saves "Unicode".
    let wide: Vec<u8> = std::iter::once(0xfeff)
        .chain(with("").encode_utf16().collect::<Vec<_>>())
        .flat_map(u16::to_le_bytes)
        .collect();
    let (code, said) = checked(wide);
    assert!(code == Some(2) && said.contains(".env"), "{said}");
}

#[test]
fn a_line_of_env_is_taken_as_it_stands() {
    let usable = [
        format!("\u{feff}BOT_API_AUTH_TOKEN={KEY}\n"),
        format!("\u{feff}# a note\r\nBOT_API_AUTH_TOKEN={KEY}\r\nBOT_API_PORT=0\r\n"),
        format!("  export   BOT_API_AUTH_TOKEN = {KEY}  \n\n   # a note\n"),
        format!("BOT_API_AUTH_TOKEN='{KEY}'\nBOT_API_RATE_LIMIT=\"100\" # a note behind a quoted value\n"),
        format!("BOT_API_AUTH_TOKEN={KEY}\nBOT_ALERT_WEBHOOK_SECRET=two words of a secret {CANARY}\n"),
        format!("BOT_API_AUTH_TOKEN={KEY}\nBOT_ALERT_WEBHOOK_SECRET=it's \"{CANARY}\"#2 \\ $HOME `x`"),
        format!("BOT_API_AUTH_TOKEN={KEY}\nBOT_API_CORS_ORIGINS=https://a, http://b\n"),
        format!("OTHER=of another program\nBOT_API_AUTH_TOKEN={KEY}"),
    ];
    for file in usable {
        let (code, said) = checked(&file);
        assert_eq!(code, Some(0), "{file:?}: {said}");
    }
}

/// Every commented setting of the example works when it is uncommented as it is.
#[test]
fn every_line_of_the_example_works_as_printed() {
    let example = include_str!("../../.env.example");
    let settings: Vec<&str> = example.lines().filter_map(|line| line.strip_prefix("#BOT_")).collect();
    assert!(settings.len() > 20, "{settings:?}");
    let all: String = settings.iter().map(|line| format!("BOT_{line}\n")).collect();
    let (code, said) = checked(format!("BOT_API_AUTH_TOKEN={KEY}\n{all}"));
    assert_eq!(code, Some(0), "{said}");
    let command = settings.iter().find(|line| line.starts_with("SUPERVISOR_COMMAND=")).unwrap();
    let spawn = format!("BOT_API_AUTH_TOKEN={KEY}\nBOT_SUPERVISOR=spawn\nBOT_{command}\n");
    let (code, said) = checked(spawn);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) =
        checked(format!("BOT_API_AUTH_TOKEN={KEY}\nBOT_SUPERVISOR=command:[\"program\", \"argument\"]\n"));
    assert_eq!(code, Some(0), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_a_dollar_sign_in_env_is_the_whole_key() {
    let key = "abcdefghijklmnopqrstuvw01$23456789ABC${HOME}`x`\\n'\"#end";
    let folder = kit::folder();
    std::fs::write(folder.path().join(".env"), format!("BOT_API_AUTH_TOKEN={key}\nBOT_API_PORT=0\n"))
        .unwrap();
    let mut botops = command(&["serve"]);
    botops.current_dir(folder.path()).stderr(Stdio::null()).stdout(Stdio::null());
    let _botops = kit::Process::spawn(&mut botops);
    let address = served_on(&folder.path().join("botops-data/logs/botops.log"));
    kit::install_tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let ask = async |key: &str| {
        let request = client.get(format!("http://{address}/api/v1/whoami")).header("x-api-key", key);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask(key).await, 200);
    for part in ["abcdefghijklmnopqrstuvw01", "abcdefghijklmnopqrstuvw0123456789ABC"] {
        assert_eq!(ask(part).await, 401, "{part}");
    }
}

/// The address that the log says botops serves on.
pub(crate) fn served_on(log: &Path) -> String {
    let served = || {
        let text = std::fs::read_to_string(log).ok()?;
        text.split("botops serves on ").nth(1)?.split(['"', ' ']).next().map(str::to_owned)
    };
    kit::wait_until("it serves", Duration::from_secs(30), || served().is_some());
    served().unwrap()
}

/// A secret in place of another setting is not repeated.
#[test]
fn no_setting_is_repeated_when_it_cannot_be_used() {
    let example = include_str!("../../.env.example");
    let lines = example.lines().map(|line| line.trim_start_matches('#'));
    let names =
        lines.filter_map(|line| Some(line.split_once('=')?.0)).filter(|name| name.starts_with("BOT_"));
    let mut names: Vec<&str> = names.collect();
    names.push("BOT_API_TOKEN");
    assert!(names.contains(&"BOT_API_AUTH_TOKEN") && names.len() > 20, "{names:?}");
    let values = [
        CANARY.to_owned(),
        format!("not usable: {CANARY}"),
        format!("ftp://{CANARY}/"),
        format!("/nowhere/{CANARY}"),
        format!("https://a/{CANARY}"),
        format!("command:{CANARY}"),
        format!("{CANARY}/99"),
        format!("/{}{CANARY}", "x".repeat(120)),
    ];
    for name in names {
        for value in &values {
            let folder = kit::folder();
            let mut check = command(&["check"]);
            check.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env(name, value);
            let (_, said) = run(check);
            assert!(!said.contains(CANARY), "{name}={value}: {said}");
        }
    }
    // Variables that a shell would replace: taken literally, they would name a new, empty folder.
    let paths =
        ["BOT_DATA_DIR", "BOT_LOG_DIR", "BOT_IPC_SOCKET", "BOT_API_KEYS_FILE", "BOT_SUPERVISOR_PID_FILE"];
    for name in paths {
        for value in ["$HOME/hush", "${HOME}/hush", "~/hush", "/home/${USER}/hush"] {
            let (code, said) = checked(format!(
                "BOT_API_AUTH_TOKEN={KEY}\nBOT_SUPERVISOR=spawn\nBOT_SUPERVISOR_COMMAND=[\"a\"]\n{name}={value}\n"
            ));
            assert!(code == Some(2) && said.contains(name) && !said.contains("hush"), "{said}");
        }
    }
    // Values that the operating system refuses at the start.
    let more = [("BOT_DATA_DIR", "BOT_ID"), ("BOT_LOG_DIR", "BOT_ID"), ("BOT_DATA_DIR", "BOT_LOG_DIR")];
    for (name, beside) in more {
        let folder = kit::folder();
        let mut serve = command(&["serve", "--port", "0"]);
        serve.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env(name, format!("/proc/{CANARY}"));
        serve.env(beside, "logs");
        let (code, said) = run(serve);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(name) && !said.contains(CANARY), "{said}");
    }
}

#[test]
fn a_keys_file_is_never_quoted() {
    let folder = kit::folder();
    let file = folder.path().join("keys.json");
    let digest = "0".repeat(64);
    let contents = [
        CANARY.to_owned(),
        format!("\"{CANARY}\""),
        format!("{{\"{CANARY}\": []}}"),
        format!("{{\"keys\": \"{CANARY}\"}}"),
        format!("{{\"keys\": [\"{CANARY}\"]}}"),
        format!("{{\"keys\": [{{\"id\": \"{CANARY}\", \"sha256\": \"{CANARY}\", \"scopes\": [\"read\"]}}]}}"),
        format!("{{\"keys\": [{{\"id\": \"a\", \"sha256\": \"{digest}\", \"scopes\": [\"{CANARY}\"]}}]}}"),
        format!("{{\"keys\": [{{\"id\": \"a\", \"key\": \"{CANARY}\", \"scopes\": [\"read\"]}}]}}"),
        format!(
            "{{\"keys\": [{{\"id\": \"a\", \"sha256\": \"{digest}\", \"scopes\": [], \"expires_at\": \"{CANARY}\"}}]}}"
        ),
        format!("{{\"keys\": [{{\"id\": \"{CANARY} x\", \"sha256\": \"{digest}\", \"scopes\": []}}]}}"),
    ];
    for content in contents {
        std::fs::write(&file, &content).unwrap();
        let mut check = command(&["check"]);
        check.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("BOT_API_KEYS_FILE", &file);
        let mut new = command(&["key", "new", "--id", "other"]);
        new.env("BOT_API_KEYS_FILE", &file);
        for (command, expected) in [(check, 2), (new, 1)] {
            let (code, said) = run(command);
            assert_eq!(code, Some(expected), "{content}: {said}");
            assert!(!said.contains(CANARY), "{content}: {said}");
            assert!(said.contains("BOT_API_KEYS_FILE") || said.contains("keys file"), "{said}");
        }
    }
}

#[test]
fn a_command_line_that_cannot_be_read_is_not_repeated() {
    let botops: &[&[&str]] = &[
        &[CANARY],
        &["serve", CANARY],
        &["serve", "--port"],
        &["serve", "--port", CANARY, CANARY],
        &["serve", "--port", CANARY],
        &["serve", "--token=hush-canary-5f3a9c1d"],
        &["serve", "--hush-canary-5f3a9c1d"],
        &["check", "-xhush-canary-5f3a9c1d"],
        &["key", CANARY],
        &["key", "new", "--id", "a", "--scopes", CANARY, "--file", "k"],
        &["key", "new", "--id", "a", "--expires", CANARY, "--file", "k"],
        &["audit", "verify", "/nowhere", "--head", CANARY],
        &["demo", "--port", CANARY],
        &["paperbot", "--tick", CANARY],
        &["paperbot", "--broker", CANARY],
        &["paperbot", "--cash", CANARY],
        &["paperbot", "--id", "hush-canary-5f3a9c1d !"],
        &["paperbot", "--seed", CANARY],
    ];
    for arguments in botops {
        let folder = kit::folder();
        let mut command = command(arguments);
        command.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("TMPDIR", folder.path());
        let (code, said) = run(command);
        assert!(matches!(code, Some(1 | 2)), "{arguments:?}: {said}");
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "{arguments:?} leaves nothing behind"
        );
        assert!(!said.contains(CANARY) && !said.trim().is_empty(), "{arguments:?}: {said}");
    }
}

/// Every setting that paperbot takes from its environment, with wrong values.
#[test]
fn no_setting_of_the_bot_is_repeated() {
    let names = [
        "PAPERBOT_ID",
        "PAPERBOT_SEED",
        "PAPERBOT_SPEED",
        "PAPERBOT_TICK",
        "PAPERBOT_CASH",
        "PAPERBOT_REPLAY",
        "PAPERBOT_BROKER",
        "PAPERBOT_FAULT_SCRIPT",
        "PAPERBOT_TOKEN_LIFETIME",
        "PAPERBOT_SESSION_SPEED",
        "PAPERBOT_ALPACA_LIVE",
        "PAPERBOT_MARKET_HOURS_ONLY",
        "PAPERBOT_CALENDAR_FILE",
        "PAPERBOT_PASSWORD_SIGN_IN",
    ];
    let folder = kit::folder();
    for program in [kit::program("paperbot"), kit::program("botops")] {
        for name in names {
            let mut bot = Command::new(&program);
            if program.ends_with("botops") {
                bot.arg("paperbot");
            }
            bot.args(["--data-dir", folder.path().to_str().unwrap()]).stdin(Stdio::null());
            bot.env(name, format!("{CANARY} !"));
            let (code, said) = run(bot);
            assert_eq!(code, Some(2), "{name}: {said}");
            assert!(
                !said.contains(CANARY) && said.contains(&name[9..].to_lowercase().replace('_', "-")),
                "{name}: {said}"
            );
        }
    }
    for name in ["BOT_IPC_SOCKET", "PAPERBOT_DATA_DIR", "PAPERBOT_LOG_DIR"] {
        // One each: a bot that has an account starts without a log as well.
        let folder = kit::folder();
        let mut bot = Command::new(kit::program("paperbot"));
        bot.env("PAPERBOT_DATA_DIR", folder.path()).env(name, format!("/proc/{CANARY}/x"));
        let (code, said) = run(bot);
        assert_eq!(code, Some(2), "{name}: {said}");
        let named = said.contains(if name == "BOT_IPC_SOCKET" { "--socket" } else { "-dir" });
        assert!(!said.contains(CANARY) && named, "{name}: {said}");
    }
    // Files with a secret in place of another kind of file, and broken files of the broker's keys.
    let file = folder.path().join("secrets.env");
    let file = file.to_str().unwrap();
    let cases: &[(&str, &str, &str)] = &[
        ("--fault-script", "paper", "APCA_API_SECRET_KEY=CANARY"),
        ("--fault-script", "paper", "CANARY: x"),
        ("--calendar-file", "paper", "APCA_API_SECRET_KEY=CANARY"),
        ("--calendar-file", "paper", "key: CANARY"),
        ("--replay", "paper", "APCA_API_SECRET_KEY=CANARY\nCANARY,1"),
        ("--alpaca-key-file", "alpaca", "CANARY"),
        ("--alpaca-key-file", "alpaca", "APCA_API_KEY_ID='CANARY\nAPCA_API_SECRET_KEY=CANARY"),
        ("--broker-ca-file", "alpaca", "-----BEGIN CERTIFICATE-----\nCANARY\n-----END CERTIFICATE-----"),
    ];
    for (flag, broker, content) in cases {
        std::fs::write(file, content.replace("CANARY", CANARY)).unwrap();
        let mut bot = Command::new(kit::program("paperbot"));
        bot.args(["--data-dir", folder.path().to_str().unwrap(), "--broker", broker, flag, file]);
        if *flag == "--broker-ca-file" {
            bot.env("APCA_API_KEY_ID", CANARY).env("APCA_API_SECRET_KEY", CANARY);
        }
        let (code, said) = run(bot);
        assert_eq!(code, Some(2), "{flag} {content}: {said}");
        assert!(!said.contains(CANARY), "{flag} {content}: {said}");
    }
    let mut bot = Command::new(kit::program("paperbot"));
    bot.args(["--data-dir", folder.path().to_str().unwrap(), "--broker", "alpaca"]);
    bot.args(["--broker-url", &format!("https://user:{CANARY}@127.0.0.1/")]);
    bot.env("APCA_API_KEY_ID", CANARY).env("APCA_API_SECRET_KEY", CANARY);
    let (code, said) = run(bot);
    assert!(code == Some(2) && !said.contains(CANARY), "{said}");
}

#[test]
fn help_shows_no_value_of_the_environment() {
    let secret_names = [
        "BOT_API_KEYS_FILE",
        "BOT_IPC_SOCKET",
        "PAPERBOT_BROKER_URL",
        "PAPERBOT_ID",
        "ROBINHOOD_ACCOUNT",
        "ROBINHOOD_PASSWORD",
        "APCA_API_SECRET_KEY",
        "MFA_SECRET",
    ];
    for arguments in [&["paperbot", "--help"][..], &["key", "new", "--help"], &["serve", "--help"]] {
        let mut help = command(arguments);
        help.envs(secret_names.map(|name| (name, CANARY)));
        let (code, said) = run(help);
        assert_eq!(code, Some(0), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
}

/// The secrets that botops was given are redacted in its log, also when a client sends them.
#[test]
fn a_secret_that_a_client_repeats_does_not_reach_the_log() {
    use std::io::{Read, Write};
    let folder = kit::folder();
    let quoted = "quote\"canary\\77aa";
    let mut botops = command(&["serve", "--port", "0"]);
    botops.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("RUST_LOG", "trace");
    botops.env("BOT_ALERT_WEBHOOK_SECRET", CANARY).env("BOT_CHECK_SECRET_FEED", quoted);
    botops.stderr(Stdio::null()).stdout(Stdio::null());
    let _botops = kit::Process::spawn(&mut botops);
    let log = folder.path().join("botops-data/logs/botops.log");
    let address = served_on(&log);
    let said = serde_json::json!({"name": CANARY, "arguments": {"text": quoted}});
    let call =
        serde_json::json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": said}).to_string();
    for n in 0..2 {
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        let length = call.len();
        // An unknown query parameter is refused, and the refusal is logged as well.
        let query = if n == 0 { format!("?marker={CANARY}") } else { String::new() };
        let head = format!(
            "POST /mcp{query} HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {KEY}\r\nuser-agent: {CANARY}\r\n\
             accept: application/json, text/event-stream\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(call.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
    }
    let text = || std::fs::read_to_string(&log).unwrap();
    // At this level the MCP library logs the messages that it gets.
    let logged = || text().contains("tools/call") || text().contains("CallTool");
    kit::wait_until("the calls are logged", Duration::from_secs(20), logged);
    let text = text();
    assert!(!text.contains(CANARY) && !text.contains("77aa"), "{text}");
}
