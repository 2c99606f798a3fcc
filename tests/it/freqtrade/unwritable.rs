//! A journal of commands that cannot be written: what cannot be recorded first is not done.

use std::fs;

use serde_json::{Value, json};

use crate::kit::scripted_freqtrade::{FreqtradeFault, ScriptedFreqtrade};
use crate::kit::until;

use super::commands::{adapter_beside, three_trades};
use super::world::{Adapter, SOON};

/// The name under which the journal writes its lines.
const APPEND: &str = "command_journal.append";

impl Adapter {
    fn fill_disk(&self) {
        fs::create_dir_all(self.faults()).unwrap();
        fs::write(self.faults().join(APPEND), "").unwrap();
    }

    fn free_disk(&self) {
        fs::remove_file(self.faults().join(APPEND)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_cannot_be_recorded_is_refused_and_not_sent() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    adapter.fill_disk();
    for verb in ["pause", "flatten"] {
        let refused = adapter.run(verb, &format!("{verb}-full"), Value::Null).await;
        assert_eq!(
            (&refused["outcome"], &refused["reason_code"]),
            (&json!("refused"), &json!("journal_unwritable")),
            "{refused}"
        );
        assert!(refused["message"].as_str().unwrap().contains("free space"), "{refused}");
    }
    assert!(freqtrade.acted().is_empty(), "nothing was sent");
    assert_eq!(adapter.get("state").await["phase"], "running", "it is told as before");
    adapter.free_disk();
    assert_eq!(adapter.run("pause", "pause-free", Value::Null).await["outcome"], "done");
    assert_eq!(freqtrade.acted(), ["POST pause"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_recorded_is_given_all_the_same() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::WaitsBehindProxy);
    let mut adapter = adapter_beside(&freqtrade).await;
    let full = async {
        until("it is sent", SOON, || async { !freqtrade.acted().is_empty() }).await;
        adapter.fill_disk();
    };
    let (answer, ()) = tokio::join!(adapter.run("pause", "a", Value::Null), full);
    assert_eq!(answer["outcome"], "unconfirmed", "{answer}");
    let known = adapter.get("commands/a").await;
    assert_eq!(known["result"]["message"], answer["message"], "{known}");
    adapter.free_disk();
    freqtrade.world().state = "paused".to_owned();
    let ended = |known: Value| known["result"]["outcome"] == "done";
    until("the pause is seen", SOON, || async { ended(adapter.get("commands/a").await) }).await;
    adapter.kill();
    adapter.launch();
    let known = || async { adapter.try_get("commands/a").await.is_some_and(|(_, known)| ended(known)) };
    until("it is known after a restart", SOON, known).await;
    assert_eq!(freqtrade.acted(), ["POST pause"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_does_not_come_back_keeps_no_state_from_being_told() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let stands = "command_journal.sync";
    fs::create_dir_all(adapter.faults()).unwrap();
    fs::write(adapter.faults().join(stands), "").unwrap();
    let looked = async {
        let mark = adapter.faults().join(format!("{stands}.stands"));
        until("the disk stands", SOON, || async { mark.exists() }).await;
        let before = adapter.get("state").await["as_of"].clone();
        adapter.until_state("it is told and read anew", |state| state["as_of"] != before).await;
        assert!(freqtrade.acted().is_empty(), "it is not on disk yet");
        fs::remove_file(adapter.faults().join(stands)).unwrap();
    };
    let (done, ()) = tokio::join!(adapter.run("pause", "a", Value::Null), looked);
    assert_eq!(done["outcome"], "done", "{done}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adapter_whose_journal_cannot_be_opened_does_not_start_and_names_it() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    let mut adapter = adapter_beside(&freqtrade).await;
    adapter.kill();
    let journal = adapter.folder.path().join("adapter/commands.jsonl");
    fs::remove_file(&journal).unwrap();
    fs::create_dir(&journal).unwrap();
    let ended = adapter.launch_in_vain();
    assert_eq!(ended.status.code(), Some(2), "{ended:?}");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("commands.jsonl") && said.contains("move it away"), "{said}");
}
