//! Signals to the real programs: which reopen the logs, which are ignored, and which end the program in order; and what
//! a log on a full disk says once there is room.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::kit::app::{KEY, command};
use crate::kit::paperbot::{Paperbot, lines};
use crate::kit::{self, Process, until};
use crate::secrets::served_on;

const SOON: Duration = Duration::from_secs(30);

fn send(process: &Process, signal: Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Signals that end a program by default, and must not end these.
const HARMLESS: [Signal; 6] =
    [Signal::USR1, Signal::USR2, Signal::HUP, Signal::ALARM, Signal::PROF, Signal::XFSZ];

fn start(folder: &Path) -> (Process, PathBuf, String) {
    start_with(folder, &[])
}

fn start_with(folder: &Path, more: &[(&str, String)]) -> (Process, PathBuf, String) {
    let mut botops = command(&["serve", "--port", "0"]);
    botops.envs(more.iter().map(|(name, value)| (name, value)));
    botops.current_dir(folder).env("BOT_API_AUTH_TOKEN", KEY);
    botops.stderr(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    let botops = Process::spawn(&mut botops);
    let log = folder.join("botops-data/logs/botops.log");
    let address = served_on(&log);
    (botops, log, address)
}

fn count(log: &Path, text: &str) -> usize {
    std::fs::read_to_string(log).unwrap_or_default().matches(text).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn botops_opens_its_log_anew_at_hup_and_loses_no_line() {
    let folder = kit::folder();
    let (mut botops, log, address) = start(folder.path());
    kit::install_tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // Each refused request with a right key makes one line in the log.
    let mut sent = 0;
    let refused = async |sent: &mut usize| {
        let answer =
            client.get(format!("http://{address}/nowhere")).header("x-api-key", KEY).send().await.unwrap();
        *sent += 1;
        answer.status().as_u16()
    };
    let mut moved = Vec::new();
    for turn in 0..3 {
        for _ in 0..3 {
            assert_eq!(refused(&mut sent).await, 404);
        }
        let aside = log.with_extension(format!("aside-{turn}"));
        std::fs::rename(&log, &aside).unwrap();
        moved.push(aside);
        // Until the signal, lines still go to the renamed file.
        assert_eq!(refused(&mut sent).await, 404);
        for signal in HARMLESS {
            send(&botops, signal);
        }
        let anew = || async { log.exists() };
        until("the log is there again under its name", SOON, anew).await;
        assert_eq!(refused(&mut sent).await, 404);
        until("new lines go there", SOON, || async { count(&log, "API_001") > 0 }).await;
    }
    let all =
        || moved.iter().chain([&log]).map(|file| count(file, "\"error.code\":\"API_001\"")).sum::<usize>();
    until("every line is in one of the files", SOON, || async { all() == sent }).await;
    assert_eq!(botops.child().try_wait().unwrap(), None, "it lives");
    botops.terminate();
    assert_eq!(botops.wait(SOON).code(), Some(0));
    assert!(count(&log, "botops stops") > 0 || count(&log, "stop") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_took_from_the_log_is_counted_and_told_once_there_is_room() {
    let folder = kit::folder();
    let control = folder.path().join("full");
    let (_botops, log, address) = start_with(folder.path(), &kit::full_disk::settings(&control));
    kit::install_tls();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    // Each makes one line in the log.
    let refused = async || {
        let answer = client.get(format!("http://{address}/nowhere")).header("x-api-key", KEY).send().await;
        assert_eq!(answer.unwrap().status().as_u16(), 404, "it serves on");
    };
    let logged = || count(&log, "\"error.code\":\"API_001\"");
    let lost = async || {
        let metrics = client.get(format!("http://{address}/metrics")).header("x-api-key", KEY).send().await;
        let text = metrics.unwrap().text().await.unwrap();
        let line = text.lines().find(|line| line.starts_with("botops_log_lines_lost_total "));
        line.expect("the counter is there").split_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    refused().await;
    until("it is logged", SOON, || async { logged() == 1 }).await;
    assert_eq!(lost().await, 0);
    kit::full_disk::fill(&control, &log);
    for _ in 0..5 {
        refused().await;
    }
    until("the losses are counted", SOON, || async { lost().await >= 5 }).await;
    std::fs::remove_file(&control).unwrap();
    refused().await;
    until("the log goes on", SOON, || async { logged() == 2 }).await;
    let told = lines(&log);
    let told = told.iter().find(|line| line["target"] == "botops::log").expect("the loss is told");
    assert!(told["log.lost"].as_u64().unwrap() >= 5, "{told}");
    assert!(told["message"].as_str().unwrap().contains("No space left"), "{told}");
}

#[test]
fn whatever_asks_botops_to_end_ends_it_in_order() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        let folder = kit::folder();
        let (mut botops, _, _) = start(folder.path());
        send(&botops, signal);
        assert_eq!(botops.wait(SOON).code(), Some(0), "{signal:?}");
        let store = rusqlite::Connection::open(folder.path().join("botops-data/ops.db")).unwrap();
        let newest: String = store
            .query_row("SELECT body FROM events ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
            .unwrap();
        assert!(newest.contains("botops stops"), "{signal:?}: {newest}");
    }
}

/// The log files of a bot, by name.
fn logs_of(bot: &Paperbot) -> Vec<PathBuf> {
    let folder = std::fs::read_dir(bot.data().join("logs")).unwrap();
    folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().contains("aside"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_opens_all_its_logs_anew_at_hup_and_trades_on() {
    let mut bot = Paperbot::prepare(&[]);
    bot.arguments(&["--tick", "5ms", "--session-speed", "50"]);
    bot.launch().await;
    let started = bot.state().await.boot_epoch;
    let names = ["paperbot.log", "health_check.log", "trading_bot.log", "trades-"];
    let has_all = || async {
        let files = logs_of(&bot);
        names.iter().all(|name| files.iter().any(|file| file.to_string_lossy().contains(&format!("/{name}"))))
    };
    until("all logs are there", SOON, has_all).await;
    let aside: Vec<(PathBuf, PathBuf)> = logs_of(&bot)
        .into_iter()
        .map(|file| (file.clone(), PathBuf::from(format!("{}.aside", file.display()))))
        .collect();
    for (file, aside) in &aside {
        std::fs::rename(file, aside).unwrap();
    }
    for signal in HARMLESS {
        send(bot.process.as_ref().unwrap(), signal);
    }
    let again =
        || async { aside.iter().all(|(file, _)| std::fs::metadata(file).is_ok_and(|file| file.len() > 0)) };
    until("all logs go on under their names", Duration::from_secs(60), again).await;
    assert_eq!(bot.state().await.boot_epoch, started, "it is the same process");
    // No line was lost or written twice: the numbers have no gap.
    let health = bot.data().join("logs/health_check.log");
    let numbers =
        |file: &Path| lines(file).iter().map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>();
    let mut seen = numbers(Path::new(&format!("{}.aside", health.display())));
    seen.extend(numbers(&health));
    let expected: Vec<u64> = (1..).take(seen.len()).collect();
    assert_eq!(seen, expected);
    // The ledger is no log and is not reopened.
    assert!(lines(&bot.data().join("ledger.jsonl")).len() > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_asks_a_bot_to_end_leaves_its_stop_record() {
    let mut bot = Paperbot::prepare(&["--tick", "20ms"]);
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT] {
        bot.launch().await;
        for signal in HARMLESS {
            send(bot.process.as_ref().unwrap(), signal);
        }
        assert!(bot.get::<Value>("hello").await.is_some());
        let mut process = bot.process.take().unwrap();
        send(&process, signal);
        assert_eq!(process.wait(SOON).code(), Some(0), "{signal:?}");
        let ledger = lines(&bot.data().join("ledger.jsonl"));
        assert_eq!(ledger.last().unwrap()["entry"]["type"], "stopped", "{signal:?}");
    }
}
