//! The slot of the config: trials, their endings and what a start boots.

use std::fs;

use super::super::document::BUILT_IN;
use super::*;

struct SlotFolder {
    path: tempfile::TempDir,
    facts: CheckFacts,
}

fn document(trades: u32) -> String {
    BUILT_IN.replace("\"max_trades_per_day\": 100", &format!("\"max_trades_per_day\": {trades}"))
}

fn version(number: u64, text: &str) -> VersionRef {
    VersionRef { version: number, sha256: sha256_hex(text) }
}

impl SlotFolder {
    fn new() -> Self {
        let symbols = ["SPY", "QQQ", "AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META"];
        let facts = CheckFacts { symbols: symbols.map(str::to_owned).to_vec(), ..CheckFacts::default() };
        Self { path: tempfile::tempdir().unwrap(), facts }
    }

    fn boot(&self) -> ConfigSlot {
        ConfigSlot::boot(self.path.path(), self.path.path(), "boot", &self.facts.symbols)
    }

    fn write_head(&self, number: u64, text: &str) {
        fs::create_dir_all(self.path.path().join("versions")).unwrap();
        fs::write(self.path.path().join("versions/v.json"), text).unwrap();
        let head = json!({"version": number, "sha256": sha256_hex(text), "file": "v.json"});
        fs::write(self.path.path().join("HEAD"), head.to_string()).unwrap();
    }

    fn activate(&self, slot: &mut ConfigSlot, txn: &str, text: &str, now: Instant) -> ConfigVerbResult {
        let message = ActivateConfigRequest {
            txn: txn.to_owned(),
            generation: 1,
            base: slot.running().version.clone(),
            candidate: version(2, text),
            document: text.to_owned(),
            ttl_ms: 1_000,
            boot_once: false,
        };
        slot.activate_trial(&message, &self.facts, now)
    }
}

fn end_trial(txn: &str, generation: u64) -> EndTrialRequest {
    EndTrialRequest { txn: txn.to_owned(), generation }
}

fn code(answer: ConfigVerbResult) -> String {
    answer.unwrap_err().code
}

#[test]
fn a_trial_that_nobody_commits_ends_in_head() {
    let folder = SlotFolder::new();
    folder.write_head(1, BUILT_IN);
    let mut slot = folder.boot();
    let now = Instant::now();
    folder.activate(&mut slot, "a", &document(7), now).unwrap();
    assert_eq!(slot.settings().trading.max_trades_per_day, 7);
    assert!(slot.expire_trial(now).is_none());
    let event = slot.expire_trial(now + Duration::from_secs(2)).unwrap();
    assert_eq!((event.what, event.running.version), ("trial_expired", 1));
    assert_eq!(code(slot.commit_trial(&end_trial("a", 1))), "not_in_trial");
    assert_eq!(code(folder.activate(&mut slot, "a", &document(7), now)), "txn_over");
}

#[test]
fn a_trial_that_head_names_by_then_stays() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    let now = Instant::now();
    folder.activate(&mut slot, "a", &document(7), now).unwrap();
    folder.write_head(2, &document(7));
    assert_eq!(slot.expire_trial(now + Duration::from_secs(2)).unwrap().what, "committed");
    assert!(slot.commit_trial(&end_trial("a", 1)).is_ok());
    assert_eq!(folder.boot().settings().trading.max_trades_per_day, 7);
}

#[test]
fn commit_verifies_head_and_is_repeatable() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    folder.activate(&mut slot, "a", &document(7), Instant::now()).unwrap();
    assert_eq!(code(slot.commit_trial(&end_trial("a", 1))), "head_mismatch");
    folder.write_head(2, &document(7));
    assert!(slot.commit_trial(&end_trial("a", 1)).unwrap().1.is_some());
    assert!(slot.commit_trial(&end_trial("a", 1)).unwrap().1.is_none());
    assert!(slot.commit_trial(&end_trial("a", 2)).is_ok());
    assert_eq!(code(slot.revert_trial(&end_trial("a", 2))), "not_in_trial");
}

#[test]
fn an_older_generation_and_a_second_trial_are_refused() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    let now = Instant::now();
    folder.activate(&mut slot, "a", &document(7), now).unwrap();
    assert_eq!(code(folder.activate(&mut slot, "b", &document(8), now)), "trial_live");
    assert!(folder.activate(&mut slot, "a", &document(7), now).unwrap().1.is_none());
    slot.revert_trial(&end_trial("a", 5)).unwrap();
    assert_eq!(code(slot.revert_trial(&end_trial("a", 4))), "older_generation");
    assert_eq!(code(folder.boot().revert_trial(&end_trial("a", 4))), "older_generation");
}

#[test]
fn a_revert_that_overtakes_its_activation_wins() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    slot.revert_trial(&end_trial("a", 1)).unwrap();
    assert_eq!(code(folder.activate(&mut slot, "a", &document(7), Instant::now())), "txn_over");
}

#[test]
fn a_head_that_does_not_hold_is_a_fault_until_it_holds_again() {
    let folder = SlotFolder::new();
    folder.write_head(1, &document(7));
    assert!(folder.boot().fault().is_none());
    fs::write(folder.path.path().join("versions/v.json"), BUILT_IN).unwrap();
    let mut slot = folder.boot();
    assert!(slot.fault().unwrap().contains("hash"));
    assert_eq!(slot.settings().trading.max_trades_per_day, 7, "what ran last closes the positions");
    assert!(slot.refresh_head().is_err());
    fs::write(folder.path.path().join("versions/v.json"), document(7)).unwrap();
    slot.refresh_head().unwrap();
    assert!(slot.fault().is_none());
}

#[test]
fn only_a_folder_that_never_had_a_head_begins_with_the_built_in_config() {
    let folder = SlotFolder::new();
    assert!(folder.boot().fault().is_none());
    folder.write_head(3, &document(7));
    // Versions without `HEAD`, before the bot ever saw one.
    fs::remove_file(folder.path.path().join("HEAD")).unwrap();
    assert!(folder.boot().fault().unwrap().contains("HEAD is missing"));
    folder.write_head(3, &document(7));
    assert!(folder.boot().fault().is_none());
    // Another, empty folder: the bot knows that it ran something else before.
    let elsewhere = folder.path.path().join("mistyped");
    let slot = ConfigSlot::boot(&elsewhere, folder.path.path(), "boot", &folder.facts.symbols);
    assert!(slot.fault().unwrap().contains("config v3"));
    assert_eq!(slot.settings().trading.max_trades_per_day, 7);
}

#[test]
fn a_restart_only_field_waits_and_says_so() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    let slower = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
    folder.activate(&mut slot, "a", &slower, Instant::now()).unwrap();
    assert_eq!(slot.settings().order_management.poll_interval_seconds, 15);
    assert_eq!(slot.state(Instant::now()).pending_restart, ["/order_management/poll_interval_seconds"]);
}

/// A candidate stored for the next start, with a slower poll interval.
fn store_candidate(folder: &SlotFolder, slot: &mut ConfigSlot) -> ConfigVerbResult {
    let text = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
    let message = ActivateConfigRequest {
        txn: "a".to_owned(),
        generation: 1,
        base: slot.running().version.clone(),
        candidate: version(2, &text),
        document: text,
        ttl_ms: 1_000,
        boot_once: true,
    };
    slot.activate_trial(&message, &folder.facts, Instant::now())
}

fn seconds(slot: &ConfigSlot) -> u32 {
    slot.settings().order_management.poll_interval_seconds
}

#[test]
fn a_candidate_is_booted_once_and_then_head() {
    let folder = SlotFolder::new();
    let mut first = folder.boot();
    store_candidate(&folder, &mut first).unwrap();
    assert_eq!((seconds(&first), first.state(Instant::now()).trial), (15, None), "nothing changes yet");
    // Killed before the start marked the candidate as tried, the next start tries it.
    let second = folder.boot();
    assert_eq!(seconds(&second), 60);
    assert_eq!(second.state(Instant::now()).trial.unwrap().txn, "a");
    assert_eq!(second.state(Instant::now()).pending_restart, Vec::<String>::new());
    // Killed at any moment after that, the next start boots `HEAD`.
    let mut third = folder.boot();
    assert_eq!((seconds(&third), third.state(Instant::now()).trial), (15, None));
    assert_eq!(code(store_candidate(&folder, &mut third)), "txn_over", "it does not get a second try");
    assert_eq!(seconds(&folder.boot()), 15);
}

#[test]
fn a_candidate_that_was_taken_back_is_not_booted() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    store_candidate(&folder, &mut slot).unwrap();
    slot.revert_trial(&end_trial("a", 1)).unwrap();
    assert_eq!(seconds(&folder.boot()), 15);
}

#[test]
fn a_candidate_of_another_base_or_another_time_is_not_booted() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    store_candidate(&folder, &mut slot).unwrap();
    folder.write_head(2, &document(7));
    assert_eq!(folder.boot().settings().trading.max_trades_per_day, 7);
    let (path, head) = (folder.path.path().join("config-boot-once.json"), version(0, BUILT_IN));
    let at = |minutes| Utc::now() + chrono::TimeDelta::minutes(minutes);
    assert!(boot_once::spend_try(&path, &head, at(-5)).unwrap().is_none(), "the clock went back");
    assert!(boot_once::spend_try(&path, &head, at(11)).unwrap().is_none(), "it waited too long");
    assert!(boot_once::spend_try(&path, &head, at(5)).unwrap().is_some());
}

#[test]
fn a_booted_candidate_becomes_permanent_or_leaves_its_fields_pending() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    store_candidate(&folder, &mut slot).unwrap();
    let mut slot = folder.boot();
    slot.expire_trial(Instant::now() + Duration::from_secs(2)).unwrap();
    assert_eq!(
        slot.state(Instant::now()).pending_restart,
        ["/order_management/poll_interval_seconds"],
        "until it is started again"
    );
    let folder = SlotFolder::new();
    store_candidate(&folder, &mut folder.boot()).unwrap();
    let mut slot = folder.boot();
    let text = BUILT_IN.replace("\"poll_interval_seconds\": 15", "\"poll_interval_seconds\": 60");
    folder.write_head(2, &text);
    slot.commit_trial(&end_trial("a", 1)).unwrap();
    assert_eq!((seconds(&slot), seconds(&folder.boot())), (60, 60));
}

/// What a bot must refuse before anything runs: it is said with its code, and the committed config runs on.
#[test]
fn what_does_not_fit_is_refused_and_nothing_runs_on_trial() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    let good = ActivateConfigRequest {
        txn: "a".to_owned(),
        generation: 1,
        base: slot.running().version.clone(),
        candidate: version(2, &document(7)),
        document: document(7),
        ttl_ms: 1_000,
        boot_once: false,
    };
    let out_of_range = document(0);
    let wrong = [
        ("base_mismatch", ActivateConfigRequest { base: version(0, "another"), ..good.clone() }),
        ("hash_mismatch", ActivateConfigRequest { document: document(8), ..good.clone() }),
        ("ttl_invalid", ActivateConfigRequest { ttl_ms: 0, ..good.clone() }),
        (
            "check_failed",
            ActivateConfigRequest {
                candidate: version(2, &out_of_range),
                document: out_of_range,
                ..good.clone()
            },
        ),
    ];
    for (expected, message) in wrong {
        for boot_once in [false, true] {
            let message = ActivateConfigRequest { boot_once, ..message.clone() };
            assert_eq!(code(slot.activate_trial(&message, &folder.facts, Instant::now())), expected);
            assert_eq!(slot.settings().trading.max_trades_per_day, 100, "{expected}");
            assert_eq!(slot.state(Instant::now()).trial, None, "{expected}");
            assert_eq!(folder.boot().settings().trading.max_trades_per_day, 100, "{expected}");
        }
    }
    slot.activate_trial(&good, &folder.facts, Instant::now()).unwrap();
}

#[test]
fn what_cannot_be_recorded_does_not_begin_and_an_end_that_cannot_be_is_recorded_later() {
    let folder = SlotFolder::new();
    let mut slot = folder.boot();
    let outcomes = folder.path.path().join("config-outcomes.json");
    fs::create_dir_all(outcomes.join("in the way")).unwrap();
    let now = Instant::now();
    assert_eq!(code(folder.activate(&mut slot, "a", &document(7), now)), "not_recorded");
    assert_eq!(slot.state(now).trial, None);
    fs::remove_dir_all(&outcomes).unwrap();
    folder.activate(&mut slot, "a", &document(7), now).unwrap();
    let candidate = folder.path.path().join("config-boot-once.json");
    fs::create_dir_all(candidate.join("in the way")).unwrap();
    fs::remove_file(&outcomes).unwrap();
    fs::create_dir_all(outcomes.join("in the way")).unwrap();
    // The trial is over, whatever the disk says.
    assert_eq!(slot.expire_trial(now + Duration::from_secs(2)).unwrap().what, "trial_expired");
    assert_eq!(slot.settings().trading.max_trades_per_day, 100);
    assert!(slot.save_outcomes().is_err());
    fs::remove_dir_all(&outcomes).unwrap();
    slot.save_outcomes().unwrap();
    fs::remove_dir_all(&candidate).unwrap();
    assert_eq!(code(folder.activate(&mut folder.boot(), "a", &document(7), now)), "txn_over");
}

#[test]
fn endings_that_cannot_be_read_refuse_every_trial_and_name_the_file() {
    for content in ["", "{\"gen\": 1", "[]"] {
        let folder = SlotFolder::new();
        fs::write(folder.path.path().join("config-outcomes.json"), content).unwrap();
        let mut slot = folder.boot();
        let refusal = folder.activate(&mut slot, "a", &document(7), Instant::now()).unwrap_err();
        assert_eq!(refusal.code, "not_recorded", "{content:?}");
        assert!(refusal.message.contains("config-outcomes.json cannot be used"), "{}", refusal.message);
        assert!(slot.outcomes_fault().is_some_and(|fault| fault.contains("move it away")));
        assert_eq!(slot.settings().trading.max_trades_per_day, 100);
    }
}

#[test]
fn a_head_that_leads_out_of_its_folder_is_not_followed() {
    for file in ["../v.json", "/etc/hostname", "versions/../../v.json"] {
        let folder = SlotFolder::new();
        folder.write_head(3, &document(7));
        let head = json!({"version": 3, "sha256": sha256_hex(document(7)), "file": file});
        fs::write(folder.path.path().join("HEAD"), head.to_string()).unwrap();
        assert!(folder.boot().fault().unwrap().contains("outside its folder"), "{file}");
    }
}

#[test]
fn a_last_config_that_is_not_what_its_hash_says_closes_nothing_by_its_values() {
    let folder = SlotFolder::new();
    folder.write_head(3, &document(7));
    assert!(folder.boot().fault().is_none());
    let file = folder.path.path().join("last-config.json");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replace("\\\"max_trades_per_day\\\": 7", "\\\"max_trades_per_day\\\": 9");
    assert_ne!(changed, text);
    fs::write(&file, changed).unwrap();
    // `HEAD` holds, so the file is written anew.
    assert!(folder.boot().fault().is_none());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    // Without a `HEAD` that holds, the changed one is not what the bot ran.
    fs::write(&file, text.replace("\\\"max_trades_per_day\\\": 7", "\\\"max_trades_per_day\\\": 9")).unwrap();
    fs::write(folder.path.path().join("HEAD"), "{").unwrap();
    let slot = folder.boot();
    assert!(slot.fault().is_some(), "nothing is opened");
    assert_eq!(slot.settings().trading.max_trades_per_day, 100);
}

#[test]
fn a_number_that_is_no_number_is_refused_with_its_place() {
    for wrong in ["\"seven\"", "true", "null", "[7]"] {
        let text =
            BUILT_IN.replace("\"max_trades_per_day\": 100", &format!("\"max_trades_per_day\": {wrong}"));
        let folder = SlotFolder::new();
        let refusal = folder.activate(&mut folder.boot(), "a", &text, Instant::now()).unwrap_err();
        assert_eq!(refusal.code, "check_failed");
        let said = json!(refusal).to_string();
        assert!(said.contains(" at line "), "{wrong}: {said}");
    }
}
