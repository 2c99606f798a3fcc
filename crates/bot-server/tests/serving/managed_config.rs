//! Config trials over the socket, as botops sends them, of a config that the SDK keeps.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};

use botops_bot_server::{ConfigFinding, ConfigValues, ManagedConfig, ServedBot};
use botops_contract::Trade;
use botops_core::text::sha256_hex;
use serde_json::{Value, json};

use crate::calls::{ask, capabilities, new_bot, until};

fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": false,
        "required": ["risk", "interval"],
        "properties": {
            "risk": {"type": "number", "minimum": 0.001, "maximum": 0.05, "x-apply": "hot",
                     "x-risk": {"direction": "up", "class": "high"}},
            "daily_loss": {"type": ["string", "number"], "pattern": "^-[0-9.]+$", "maximum": -1,
                           "x-role": "daily_loss_limit", "x-unit": "USDT"},
            "interval": {"type": "integer", "minimum": 1, "x-apply": "restart"},
            "exchange": {"enum": ["kraken", "binance"], "x-apply": "never"},
            "api_key": {"type": "string", "minLength": 8, "x-secret": true},
            "targets": {"type": "array", "x-list-key": "symbol", "items": {"$ref": "#/$defs/target"}},
        },
        "$defs": {"target": {"type": "object", "required": ["symbol"], "additionalProperties": false,
                             "properties": {"symbol": {"type": "string"}, "weight": {"type": "number"}}}},
    })
}

fn first_values() -> Value {
    json!({"risk": 0.02, "daily_loss": "-500.00", "interval": 5, "exchange": "kraken", "api_key": "a-secret-key",
           "targets": [{"symbol": "BTC/USDT", "weight": 1}]})
}

fn values_with(changes: &Value) -> Value {
    let mut values = first_values();
    for (name, value) in changes.as_object().unwrap() {
        values[name] = value.clone();
    }
    values
}

fn new_config() -> ManagedConfig {
    ManagedConfig::new(schema(), first_values())
}

/// A folder with a bot in it, which may be served several times.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("bot.sock")
    }

    fn serve(&self, config: ManagedConfig) -> (ServedBot, ConfigValues) {
        let values = config.values();
        (self.try_to_serve(config).unwrap(), values)
    }

    fn try_to_serve(&self, config: ManagedConfig) -> Result<ServedBot, String> {
        new_bot().data_dir(&self.folder.path().join("data")).config(config).serve(&self.socket())
    }

    fn config(&self) -> Value {
        ask(&self.socket(), "GET config", &Value::Null).1
    }

    fn post(&self, verb: &str, body: &Value) -> (u16, Value) {
        ask(&self.socket(), &format!("POST config/{verb}"), body)
    }

    fn end(&self, verb: &str, txn: &str, generation: u64) -> (u16, Value) {
        self.post(verb, &json!({"txn": txn, "gen": generation}))
    }

    /// An activation of the first values with these changes.
    fn request(&self, txn: &str, changes: &Value) -> Value {
        let document = values_with(changes).to_string();
        json!({"txn": txn, "gen": 1, "base": self.config()["running"], "ttl_ms": 60_000,
               "candidate": {"version": 2, "sha256": sha256_hex(&document)}, "document": document})
    }

    fn activate(&self, txn: &str, changes: &Value, ttl_ms: u64) -> (u16, Value) {
        let mut request = self.request(txn, changes);
        request["ttl_ms"] = json!(ttl_ms);
        self.post("activate", &request)
    }

    fn keep_for_next_start(&self, txn: &str, changes: &Value) -> (u16, Value) {
        let mut request = self.request(txn, changes);
        request["boot_once"] = json!(true);
        self.post("activate", &request)
    }

    fn check(&self, changes: &Value) -> Value {
        self.post("check", &json!({"config": values_with(changes)})).1
    }
}

#[track_caller]
fn refused(answer: &(u16, Value), status: u16, code: &str) {
    assert_eq!((answer.0, answer.1["code"].as_str()), (status, Some(code)), "{answer:?}");
}

fn codes(found: &Value) -> Vec<(&str, &str)> {
    let found = found.as_array().unwrap().iter();
    found.map(|one| (one["path"].as_str().unwrap(), one["code"].as_str().unwrap())).collect()
}

fn risk_of(values: &ConfigValues) -> f64 {
    values.load()["risk"].as_f64().unwrap()
}

#[track_caller]
fn runs(values: &ConfigValues, risk: f64) {
    assert_eq!(json!(risk_of(values)), json!(risk));
}

#[test]
fn the_schema_is_the_bots_own_and_the_config_is_shown_without_its_secrets() {
    let place = Place::new();
    let (served, values) = place.serve(new_config());
    let offered = ["config", "config-schema", "config-boot-once", "events", "command-status", "trades"];
    assert_eq!(capabilities(&place.socket()), offered);
    assert_eq!(ask(&place.socket(), "GET config/schema", &Value::Null).1, schema());
    let (_, shown) = ask(&place.socket(), "GET config/document", &Value::Null);
    let document = shown["document"].as_str().unwrap();
    assert_eq!(shown["running"]["sha256"], sha256_hex(document));
    assert_eq!(serde_json::from_str::<Value>(document).unwrap(), first_values());
    let state = place.config();
    assert_eq!((&state["running"]["version"], &state["gen"]), (&json!(0), &json!(0)));
    assert_eq!((&state["running"], &state["trial"]), (&state["committed"], &Value::Null));
    let (_, report) = ask(&place.socket(), "GET state", &Value::Null);
    assert_eq!(report["config"]["running"], state["running"]);
    let summary = &report["config"]["summary"];
    assert_eq!((&summary["daily_loss_limit"], &summary["mode"]), (&json!("-500.00"), &json!("paper")));
    assert!(!report.to_string().contains("a-secret-key"));
    runs(&values, 0.02);
    let trade = r#"{"seq": 0, "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z"}"#;
    served.bot().trade(serde_json::from_str::<Trade>(trade).unwrap());
    let trades = || ask(&place.socket(), "GET trades?after=0", &Value::Null).1["items"].clone();
    until("the trade is told", || trades()[0].is_object());
    assert_eq!(trades()[0]["config_sha256"], state["running"]["sha256"]);
}

#[test]
fn a_check_names_every_reason_and_no_secret() {
    let place = Place::new();
    let config = new_config().check(|values| {
        let (risk, interval) = (values["risk"].as_f64().unwrap(), values["interval"].as_f64().unwrap());
        let mut found = Vec::new();
        if risk > 0.03 && interval < 3.0 {
            found.push(
                ConfigFinding::refused("/risk", "too much for so short an interval").fix("use at most 0.03"),
            );
        }
        if interval > 600.0 {
            found.push(ConfigFinding::warning("/interval", "it looks at the market every ten minutes only"));
        }
        assert!(interval < 1_000.0, "a fault of the bot");
        found
    });
    let _served = place.serve(config);
    let verdict = place.check(&json!({"risk": 0.9, "interval": 0.5, "more": 1, "api_key": "short",
                                      "targets": [{"weight": "x"}]}));
    let mut found = codes(&verdict["violations"]);
    found.sort_unstable();
    let expected = [
        ("/api_key", "wrong_length"),
        ("/interval", "wrong_type"),
        ("/more", "not_allowed"),
        ("/risk", "out_of_range"),
        ("/targets/0/symbol", "missing"),
        ("/targets/0/weight", "wrong_type"),
    ];
    assert_eq!(found, expected);
    assert!(!verdict.to_string().contains("short\""));
    let by_own_rule = place.check(&json!({"risk": 0.04, "interval": 1}));
    assert_eq!(by_own_rule["violations"][0]["fix"], "use at most 0.03");
    let warned = place.check(&json!({"interval": 900}));
    assert_eq!((&warned["ok"], codes(&warned["warnings"])), (&json!(true), vec![("/interval", "warning")]));
    let moved = place.check(&json!({"exchange": "binance"}));
    assert_eq!(codes(&moved["violations"]), [("/exchange", "not_changeable")]);
    let failed = place.check(&json!({"interval": 2_000}));
    assert_eq!(codes(&failed["violations"]), [("", "check_failed")]);
    assert_eq!(failed["violations"][0]["message"], "the bot's check raised a panic: a fault of the bot");
    let verdict = place.check(&json!({"risk": 0.01, "interval": 7.0, "daily_loss": -500}));
    assert_eq!(
        (&verdict["ok"], &verdict["hot"], &verdict["restart"]),
        (&json!(true), &json!(["/daily_loss", "/risk"]), &json!(["/interval"]))
    );
    let same = place.check(&json!({"risk": 0.020}));
    assert_eq!(
        (&same["hot"], &same["restart"]),
        (&json!([]), &json!([])),
        "other digits of the same are no change"
    );
}

#[test]
fn a_trial_is_run_and_committed_and_a_restart_runs_it() {
    let place = Place::new();
    let applied = Arc::new(Mutex::new(Vec::new()));
    let seen = applied.clone();
    let config = new_config().apply(move |values| {
        seen.lock().unwrap().push(values["risk"].clone());
        Ok(())
    });
    let (served, values) = place.serve(config);
    let (status, ack) = place.activate("t1", &json!({"risk": 0.01}), 60_000);
    assert_eq!((status, &ack["running"]["version"], &ack["txn"]), (200, &json!(2), &json!("t1")));
    assert_eq!(*applied.lock().unwrap(), [json!(0.02), json!(0.01)], "at the start, and for the trial");
    runs(&values, 0.01);
    let state = place.config();
    assert_eq!((&state["trial"]["txn"], &state["gen"]), (&json!("t1"), &json!(1)));
    assert_eq!(
        (&state["committed"]["version"], &state["trial"]["candidate"]),
        (&json!(0), &state["running"])
    );
    assert!(state["trial"]["ttl_left_ms"].as_u64().unwrap() <= 60_000);
    refused(&place.activate("t2", &json!({"risk": 0.03}), 1_000), 409, "trial_live");
    let again = json!({"txn": "t1", "gen": 1, "base": state["committed"], "candidate": state["running"],
                       "document": "{}", "ttl_ms": 1});
    assert_eq!(place.post("activate", &again).0, 200, "the same again is the same");
    assert_eq!(place.end("commit", "t1", 2).0, 200);
    assert_eq!(place.config()["committed"]["version"], 2);
    assert_eq!(place.end("commit", "t1", 2).0, 200);
    refused(&place.end("revert", "t1", 2), 409, "not_in_trial");
    refused(&place.end("revert", "t9", 1), 409, "older_generation");
    let mut over = place.request("t1", &json!({}));
    over["gen"] = json!(2);
    refused(&place.post("activate", &over), 409, "txn_over");
    drop(served);
    let (_served, values) = place.serve(ManagedConfig::new(schema(), values_with(&json!({"risk": 0.03}))));
    runs(&values, 0.01);
    let state = place.config();
    assert_eq!((&state["last_outcome"], &state["gen"]), (&json!(["t1", "committed"]), &json!(2)));
}

#[test]
fn a_trial_that_nobody_commits_ends_by_itself() {
    let place = Place::new();
    let (served, values) = place.serve(new_config());
    assert_eq!(place.activate("t1", &json!({"risk": 0.01}), 150).0, 200);
    until("the trial is over", || place.config()["trial"].is_null());
    assert_eq!(place.config()["last_outcome"], json!(["t1", "trial_expired"]));
    runs(&values, 0.02);
    refused(&place.end("commit", "t1", 1), 409, "not_in_trial");
    refused(&place.activate("t1", &json!({"risk": 0.01}), 150), 409, "txn_over");
    let (_, report) = ask(&place.socket(), "GET state", &Value::Null);
    assert_eq!(
        (&report["config"]["trial"], &report["config"]["running"]["version"]),
        (&Value::Null, &json!(0))
    );
    // One that still runs ends with the process.
    assert_eq!(place.activate("t2", &json!({"risk": 0.01}), 60_000).0, 200);
    drop(served);
    let (_served, values) = place.serve(new_config());
    runs(&values, 0.02);
}

#[test]
fn a_revert_goes_back_and_holds_against_a_late_activation() {
    let place = Place::new();
    let (_served, values) = place.serve(new_config());
    assert_eq!(place.activate("t1", &json!({"risk": 0.01}), 60_000).0, 200);
    let (status, ack) = place.end("revert", "t1", 1);
    assert_eq!((status, &ack["running"]["version"]), (200, &json!(0)));
    runs(&values, 0.02);
    assert_eq!(place.end("revert", "t7", 1).0, 200);
    refused(&place.activate("t7", &json!({"risk": 0.01}), 60_000), 409, "txn_over");
}

#[test]
fn what_does_not_fit_is_not_run() {
    let place = Place::new();
    let (_served, values) = place.serve(new_config());
    let other = json!({"version": 9, "sha256": "0".repeat(64)});
    let broken = json!({"version": 2, "sha256": sha256_hex("{")});
    let change = |changes: &Value| {
        let mut request = place.request("t", &json!({"risk": 0.01}));
        for (name, value) in changes.as_object().unwrap() {
            request[name] = value.clone();
        }
        place.post("activate", &request)
    };
    refused(&change(&json!({"base": other})), 409, "base_mismatch");
    refused(&change(&json!({"candidate": other})), 422, "hash_mismatch");
    refused(&change(&json!({"ttl_ms": 0})), 422, "ttl_invalid");
    refused(&change(&json!({"ttl_ms": "soon"})), 400, "invalid");
    refused(&change(&json!({"document": "{", "candidate": broken})), 422, "check_failed");
    let deep = format!("{{\"targets\": {}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let named = json!({"version": 2, "sha256": sha256_hex(&deep)});
    refused(&change(&json!({"document": deep, "candidate": named})), 422, "check_failed");
    let unfit = place.activate("t", &json!({"risk": 0.9}), 60_000);
    refused(&unfit, 422, "check_failed");
    assert_eq!(codes(&unfit.1["context"]["violations"]), [("/risk", "out_of_range")]);
    assert_eq!(place.config()["trial"], Value::Null);
    runs(&values, 0.02);
}

#[test]
fn an_apply_that_fails_leaves_what_ran_before() {
    let place = Place::new();
    let applied = Arc::new(Mutex::new(Vec::new()));
    let seen = applied.clone();
    let config = new_config().apply(move |values| {
        let risk = values["risk"].as_f64().unwrap();
        seen.lock().unwrap().push(values["risk"].clone());
        assert!(risk < 0.03, "no such risk");
        if risk < 0.02 { Err("the exchange takes no such size".to_owned()) } else { Ok(()) }
    });
    let (_served, values) = place.serve(config);
    let failed = place.activate("t1", &json!({"risk": 0.01}), 60_000);
    refused(&failed, 422, "apply_failed");
    assert_eq!(failed.1["message"], "the bot's apply raised the exchange takes no such size");
    let panicked = place.activate("t2", &json!({"risk": 0.04}), 60_000);
    assert_eq!(panicked.1["message"], "the bot's apply raised a panic: no such risk");
    let order = [0.02, 0.01, 0.02, 0.04, 0.02].map(Value::from);
    assert_eq!(*applied.lock().unwrap(), order, "what ran before is applied again");
    runs(&values, 0.02);
    assert_eq!(place.config()["trial"], Value::Null);
}

#[test]
fn an_apply_that_ends_too_late_is_taken_back() {
    let place = Place::new();
    let (release, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let applied = Arc::new(Mutex::new(Vec::new()));
    let seen = applied.clone();
    let config = new_config().apply(move |values| {
        seen.lock().unwrap().push(values["risk"].clone());
        if values["risk"] == 0.01 {
            let _ = held.lock().unwrap().recv();
        }
        Ok(())
    });
    let (_served, values) = place.serve(config);
    let late = place.activate("t1", &json!({"risk": 0.01}), 60_000);
    refused(&late, 504, "no_answer");
    let said = "the bot's apply has begun and does not end; what it ran before is applied again once it does";
    assert_eq!(late.1["message"], said);
    assert_eq!(place.config()["trial"], Value::Null, "it is shown meanwhile as before");
    release.send(()).unwrap();
    let order = [0.02, 0.01, 0.02].map(Value::from);
    until("what ran before is applied again", || *applied.lock().unwrap() == order);
    runs(&values, 0.02);
    // A change that was never begun is withdrawn, and a revert that nobody waited for is carried out all the same.
    assert_eq!(place.end("revert", "t1", 1).0, 200);
    let (_, report) = ask(&place.socket(), "GET state", &Value::Null);
    assert_eq!(report["recent_errors"][0]["error_code"], "SDK_APPLY_LATE");
}

#[test]
fn a_trial_that_cannot_be_taken_back_is_tried_again_until_it_is() {
    let place = Place::new();
    let failures = Arc::new(AtomicU32::new(0));
    let (starts, failed) = (AtomicU32::new(0), failures.clone());
    let config = new_config().apply(move |values| {
        let is_return = values["risk"] == 0.02 && starts.fetch_add(1, Ordering::SeqCst) > 0;
        if is_return && failed.fetch_add(1, Ordering::SeqCst) < 2 {
            Err("not now".to_owned())
        } else {
            Ok(())
        }
    });
    let (_served, values) = place.serve(config);
    assert_eq!(place.activate("t1", &json!({"risk": 0.01}), 50).0, 200);
    until("it cannot be taken back", || failures.load(Ordering::SeqCst) > 0);
    refused(&place.end("commit", "t1", 1), 409, "not_in_trial");
    until("it is taken back", || place.config()["trial"].is_null());
    assert_eq!(place.config()["last_outcome"], json!(["t1", "trial_expired"]));
    runs(&values, 0.02);
    let (_, report) = ask(&place.socket(), "GET state", &Value::Null);
    let told = report["recent_errors"].as_array().unwrap();
    let told: Vec<&Value> = told.iter().filter(|error| error["error_code"] == "SDK_NOT_REVERTED").collect();
    assert!(told.len() <= 1, "it is told once: {told:?}");
}

#[test]
fn a_field_of_the_start_waits_for_one() {
    let place = Place::new();
    let (_served, values) = place.serve(new_config());
    assert_eq!(place.activate("t1", &json!({"interval": 9}), 60_000).0, 200);
    assert_eq!(values.load()["interval"], 5);
    assert_eq!(place.config()["pending_restart"], json!(["/interval"]));
    let (_, report) = ask(&place.socket(), "GET state", &Value::Null);
    assert_eq!(report["config"]["pending_restart"], json!(["/interval"]));
}

#[test]
fn a_candidate_is_booted_once() {
    let place = Place::new();
    let (served, values) = place.serve(new_config());
    let (status, ack) = place.keep_for_next_start("t1", &json!({"interval": 9}));
    assert_eq!((status, &ack["running"]["version"], &values.load()["interval"]), (200, &json!(0), &json!(5)));
    drop(served);
    let (served, values) = place.serve(new_config());
    assert_eq!((&values.load()["interval"], &place.config()["trial"]["txn"]), (&json!(9), &json!("t1")));
    drop(served);
    let (served, values) = place.serve(new_config());
    assert_eq!((&values.load()["interval"], &place.config()["trial"]), (&json!(5), &Value::Null), "once");
    refused(&place.keep_for_next_start("t1", &json!({"interval": 9})), 409, "txn_over");
    assert_eq!(place.keep_for_next_start("t2", &json!({"interval": 9})).0, 200);
    drop(served);
    let (served, _) = place.serve(new_config());
    assert_eq!(place.end("commit", "t2", 1).0, 200);
    drop(served);
    let (_served, values) = place.serve(new_config());
    assert_eq!(values.load()["interval"], 9, "it was committed");
}

fn write_head(folder: &Path, version: u64, document: &str) {
    std::fs::create_dir_all(folder.join("versions")).unwrap();
    std::fs::write(folder.join(format!("versions/{version}.json")), document).unwrap();
    let head = json!({"version": version, "sha256": sha256_hex(document), "file": format!("versions/{version}.json")});
    std::fs::write(folder.join("HEAD"), head.to_string()).unwrap();
}

#[test]
fn where_botops_is_on_the_same_disk_head_decides() {
    let place = Place::new();
    let folder = place.folder.path().join("config");
    let (served, _) = place.serve(new_config().config_dir(&folder));
    assert_eq!(place.activate("t1", &json!({"risk": 0.01}), 60_000).0, 200);
    refused(&place.end("commit", "t1", 1), 409, "head_mismatch");
    write_head(&folder, 2, &values_with(&json!({"risk": 0.01})).to_string());
    assert_eq!(place.end("commit", "t1", 1).0, 200);
    write_head(&folder, 3, &values_with(&json!({"risk": 0.03})).to_string());
    assert_eq!(place.config()["committed"]["version"], 3, "what a start would load is seen");
    drop(served);
    let (served, values) = place.serve(new_config().config_dir(&folder));
    runs(&values, 0.03);
    drop(served);
    std::fs::write(folder.join("versions/3.json"), "{}").unwrap();
    let problem = place.try_to_serve(new_config().config_dir(&folder)).unwrap_err();
    assert!(problem.contains("does not have the hash that HEAD says"), "{problem}");
    assert!(!place.socket().exists(), "a bot that does not know its limits is not served");
}

#[test]
fn what_does_not_hold_is_told_when_the_bot_is_served() {
    let place = Place::new();
    for (schema, values, said) in [
        (json!({}), json!({}), "JSON Schema with `properties`"),
        (json!({"properties": {"a": {"type": "float"}}}), json!({}), "write \"number\""),
        (json!({"properties": {"a": {"$ref": "#/$defs/none"}}}), json!({}), "leads nowhere"),
        (schema(), values_with(&json!({"risk": 7})), "the config that the program gives does not fit"),
        (json!({"properties": {}}), json!([]), "expected object"),
    ] {
        let problem = place.try_to_serve(ManagedConfig::new(schema, values)).unwrap_err();
        assert!(problem.contains(said), "{problem}");
    }
    std::fs::write(place.folder.path().join("data/config-outcomes.json"), "{").unwrap();
    let problem = place.try_to_serve(new_config()).unwrap_err();
    assert!(problem.contains("config-outcomes.json cannot be understood"), "{problem}");
}

#[test]
fn without_a_folder_it_is_kept_in_memory_and_that_is_said() {
    let place = Place::new();
    let served = new_bot().config(new_config()).serve(&place.socket()).unwrap();
    assert_eq!(capabilities(&place.socket()), ["config", "config-schema", "events"]);
    refused(&place.keep_for_next_start("t1", &json!({"risk": 0.01})), 409, "not_recorded");
    assert_eq!(place.activate("t2", &json!({"risk": 0.01}), 60_000).0, 200);
    assert_eq!(place.end("commit", "t2", 1).0, 200);
    assert_eq!(place.config()["last_outcome"], json!(["t2", "committed"]));
    let (_, report) = ask(&place.socket(), "GET state", &Value::Null);
    let told = report["recent_errors"].as_array().unwrap();
    assert!(told.iter().any(|error| error["error_code"] == "SDK_CONFIG_NOT_KEPT"), "{told:?}");
    drop(served);
}
