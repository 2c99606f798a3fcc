//! Two processes at one address: the later one is asked, and the earlier one that still runs is not forgotten.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::kit::app::Running;
use crate::kit::paperbot::Paperbot;
use crate::kit::{Process, folder, program, until};

const SOON: Duration = Duration::from_secs(60);

/// Starts another paperbot with an account of its own at the address of this one.
fn start_beside(first: &Paperbot, data: &std::path::Path) -> Process {
    let _ = std::fs::remove_file(first.socket());
    let mut command = Command::new(program("paperbot"));
    command.arg("--socket").arg(first.socket()).arg("--data-dir").arg(data).args(["--tick", "50ms"]);
    Process::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

async fn answers(running: &Running, pid: u32) {
    let is_it = || async {
        let bot = running.get("/api/v1/state").await.1["bot"].clone();
        bot["pid"] == pid && bot["presence"] == "connected"
    };
    until("this process answers", SOON, is_it).await;
}

async fn warning(running: &Running) -> Option<String> {
    let warnings = running.get("/api/v1/summary").await.1["warnings"].clone();
    let mut texts = warnings.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.find(|text| text.starts_with("Two processes")).map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_lives_on_behind_the_one_that_answers_is_named_until_it_ends() {
    let (mut first, second, third) = (Paperbot::start(&["--tick", "50ms"]).await, folder(), folder());
    let old = first.process.as_ref().unwrap().pid();
    let socket = first.socket().display().to_string();
    let running = Running::start(first.folder.path(), &[("BOT_IPC_SOCKET", &socket)]).await;
    answers(&running, old).await;

    let mut new = start_beside(&first, second.path());
    answers(&running, new.pid()).await;
    until("the other process is named", SOON, || async { warning(&running).await.is_some() }).await;
    let text = warning(&running).await.unwrap();
    for part in [format!("process {old} "), new.pid().to_string(), "positions".to_owned()] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    let warnings = running.get("/api/v1/summary").await.1["warnings"].to_string();
    assert!(warnings.contains(&format!("kill {old}")), "{warnings}");
    let state = running.get("/api/v1/state").await.1;
    assert_eq!(state["health"]["status"], "degraded", "{state:#}");
    let trading = || async {
        let one = running.get("/api/v1/health/components/trading").await.1;
        one["reason"].as_str().is_some_and(|why| why.contains(&old.to_string()))
    };
    until("health names it", SOON, trading).await;
    let (_, events) = running.get("/api/v1/events?kind=lifecycle&after=0&limit=100").await;
    let told =
        events["items"].as_array().unwrap().iter().filter(|event| event["data"]["other_pids"].is_array());
    assert_eq!(told.count(), 1, "it is told once: {events:#}");

    first.kill();
    until("it has ended", SOON, || async { warning(&running).await.is_none() }).await;

    // A restart is none of that: the process before is gone.
    new.kill();
    let newest = start_beside(&first, third.path());
    answers(&running, newest.pid()).await;
    let polls = || async { running.get("/api/v1/metrics").await.1["ops"]["polls"].as_u64().unwrap() };
    let before = polls().await;
    until("it was asked some more times", SOON, || async { polls().await > before + 5 }).await;
    assert_eq!(warning(&running).await, None);
    running.stop().await;
}
