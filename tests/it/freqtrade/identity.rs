//! Which start of freqtrade answers, and who answers for it.

use serde_json::{Value, json};

use super::world::{Adapter, FreqtradeStub, SOON, expect_left_alone, heartbeat, log_line, until_presence};
use crate::kit::{Process, until};

#[tokio::test(flavor = "multi_thread")]
async fn the_adapter_is_never_taken_for_the_bot() {
    let freqtrade = FreqtradeStub::start().await;
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    let bot = until_presence(&botops, "connected").await;
    assert_eq!(
        (&bot["pid"], &bot["started_at"]),
        (&Value::Null, &Value::Null),
        "a number from elsewhere means nothing"
    );
    assert!(bot["adapter"]["pid"].is_number(), "{bot:#}");
    let hello = adapter.get("hello").await;
    assert!(hello["boot_epoch"].is_string(), "{hello:#}");
    assert_eq!(hello["bot_id"], "fq", "the name of freqtrade is no id");
    assert_eq!(hello["name"], "freqtrade (Sample)");
    expect_left_alone(&botops, &freqtrade).await;
    botops.stop().await;
}

/// Where the process that freqtrade names can be seen, it is the bot's, and botops does not wonder at it.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_can_be_seen_is_named_with_its_start() {
    let folder = crate::kit::folder();
    let program = folder.path().join("freqtrade");
    std::fs::copy("/bin/sleep", &program).unwrap();
    let process = Process::start(&program, &["1000"]);
    let freqtrade = FreqtradeStub::start().await;
    let beat = format!("Bot heartbeat. PID={}, version='2026.9', state='RUNNING'", process.pid());
    let at = chrono::Utc::now().timestamp_millis() + 1_000;
    freqtrade.logs(&[json!(["", at, "freqtrade.worker", "INFO", beat])]);
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    let bot = until_presence(&botops, "connected").await;
    assert_eq!(bot["pid"], process.pid(), "{bot:#}");
    assert!(bot["started_at"].is_string() && bot["boot_epoch"].is_string(), "{bot:#}");
    assert_eq!(bot["presence_reason"], "it answers on time");
    expect_left_alone(&botops, &freqtrade).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_another_start_and_a_reload_is_none() {
    let freqtrade = FreqtradeStub::start().await;
    let mut adapter = Adapter::start(&freqtrade);
    let epoch = |state: &Value| state["boot_epoch"].as_str().map(str::to_owned);
    let first = epoch(&adapter.until_state("it is read", |state| epoch(state).is_some()).await);
    // A reload is set up anew and writes on into the same log.
    freqtrade.went_round(0, 200);
    freqtrade.logs(&[log_line(1, "INFO", "Starting worker 2026.9"), heartbeat(2), heartbeat(9)]);
    adapter.kill();
    adapter.launch();
    let state = adapter.until_state("it is read again", |state| state["seq"].is_number()).await;
    assert_eq!(epoch(&state), first, "the same start, also for the next run of the adapter");
    // A restart begins a new log, here even under the same number of the process.
    freqtrade.logs(&[log_line(100, "INFO", "Starting worker 2026.9"), heartbeat(101)]);
    adapter.until_state("another start", |state| epoch(state).is_some() && epoch(state) != first).await;
    let hello = adapter.get("hello").await;
    assert_ne!(hello["boot_epoch"].as_str().map(str::to_owned), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_is_learnt_late_reaches_botops() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.logs(&[log_line(1, "INFO", "Starting worker 2026.9")]);
    let adapter = Adapter::start(&freqtrade);
    let botops = adapter.with_botops().await;
    let bot = until_presence(&botops, "connected").await;
    assert_eq!(bot["boot_epoch"], Value::Null);
    freqtrade.logs(&[log_line(1, "INFO", "Starting worker 2026.9"), heartbeat(2)]);
    until("botops knows the start", SOON, || async {
        botops.get("/api/v1/state").await.1["bot"]["boot_epoch"].is_string()
    })
    .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn real_money_is_told_as_such_only_on_freqtrades_word() {
    for (config, mode) in [
        (json!({"dry_run": true}), "paper"),
        (json!({"dry_run": false, "runmode": "live"}), "live"),
        (json!({"dry_run": false, "runmode": "live", "demo_trading": true}), "paper"),
        (json!({"dry_run": null}), "other"),
    ] {
        let freqtrade = FreqtradeStub::start().await;
        freqtrade.configured(&config);
        let adapter = Adapter::start(&freqtrade);
        let state = adapter.until_state("it is read", |state| state["seq"].is_number()).await;
        assert_eq!(
            (&state["mode"], &adapter.get("hello").await["mode"]),
            (&json!(mode), &json!(mode)),
            "{config}"
        );
    }
}
