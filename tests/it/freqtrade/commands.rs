//! The verbs, through the adapter's own process and socket, on a freqtrade with the faults of a real one.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::health::{component_is, hasty};
use crate::kit::app::Running;
use crate::kit::scripted_freqtrade::{
    FreqtradeFault, ScriptedFreqtrade, open_trade, resting_trade, with_resting,
};
use crate::kit::{socket_client, until};

use super::world::{Adapter, SOON};

/// The adapter beside this freqtrade, once it answers for it.
pub(super) async fn adapter_beside(freqtrade: &ScriptedFreqtrade) -> Adapter {
    let adapter = Adapter::start_at(freqtrade.url.clone());
    adapter.answers().await;
    adapter
}

impl Adapter {
    async fn answers(&self) {
        let state = || async { self.try_get("state").await.is_some_and(|(status, _)| status == 200) };
        until("the adapter answers for freqtrade", SOON, state).await;
    }

    pub(super) async fn command(&self, verb: &str, body: Value) -> (u16, Value) {
        self.post(&format!("commands/{verb}"), &body).await
    }

    pub(super) async fn run(&self, verb: &str, id: &str, args: Value) -> Value {
        let body = json!({"command_id": id, "reason": "a test of the verbs", "args": args});
        let (status, answer) = self.command(verb, body).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    async fn predict(&self, verb: &str, args: Value) -> Value {
        let body =
            json!({"command_id": "dry", "reason": "a test of the verbs", "args": args, "dry_run": true});
        self.command(verb, body).await.1
    }

    /// How a command ended, whose sender may have had to go before.
    pub(super) async fn end_of(&self, id: &str) -> Value {
        let path = format!("commands/{id}");
        let ended = || async { self.get(&path).await["standing"] == "answered" };
        until("the command ends", Duration::from_secs(60), ended).await;
        self.get(&path).await["result"].clone()
    }

    async fn phase(&self) -> Value {
        self.get("state").await["phase"].clone()
    }
}

pub(super) fn three_trades() -> Vec<Value> {
    vec![open_trade(1, "BTC/USDT", 0.5), open_trade(2, "ETH/USDT", 2.0), open_trade(3, "SOL/USDT", 7.25)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_read_back_and_the_same_id_acts_once() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let predicted = adapter.predict("pause", Value::Null).await;
    assert_eq!(predicted["outcome"], "predicted", "{predicted}");
    assert!(freqtrade.acted().is_empty(), "a dry run acts on nothing");
    let done = adapter.run("pause", "a", Value::Null).await;
    assert_eq!(
        (&done["outcome"], &done["phase"], &done["trading_enabled"]),
        (&json!("done"), &json!("paused"), &json!(false))
    );
    assert!(done["message"].as_str().unwrap().contains("durable"), "it says how far a pause holds: {done}");
    assert_eq!(adapter.phase().await, "paused", "what was acknowledged shows in the next read");
    let again = adapter.run("pause", "a", Value::Null).await;
    assert_eq!((&again["replayed"], &again["at"]), (&json!(true), &done["at"]));
    assert_eq!(freqtrade.acted(), ["POST pause"]);
    assert_eq!(adapter.run("pause", "b", Value::Null).await["outcome"], "done");
    assert_eq!(freqtrade.acted(), ["POST pause"], "it was paused already");
    let (status, refused) =
        adapter.command("resume", json!({"command_id": "a", "reason": "another verb"})).await;
    assert_eq!((status, &refused["code"]), (409, &json!("command_id_used")));
    let known = adapter.get("commands/a").await;
    assert_eq!((&known["standing"], &known["result"]["outcome"]), (&json!("answered"), &json!("done")));
    assert_eq!(adapter.get("commands/z").await["standing"], "unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_freqtrade_passes_over_is_not_done() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::IsPassedOver);
    let adapter = adapter_beside(&freqtrade).await;
    let answer = adapter.run("pause", "a", Value::Null).await;
    assert_eq!(answer["outcome"], "unconfirmed", "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("running"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_freqtrade_is_started_by_nobody_who_did_not_say_so() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.world().state = "stopped".to_owned();
    let adapter = adapter_beside(&freqtrade).await;
    for verb in ["pause", "resume", "flatten", "cancel-orders"] {
        for dry_run in [true, false] {
            let id = format!("{verb}-{dry_run}");
            let body = json!({"command_id": id, "reason": "a test", "dry_run": dry_run});
            let refused = adapter.command(verb, body).await.1;
            assert_eq!(
                (&refused["outcome"], &refused["reason_code"]),
                (&json!("refused"), &json!("bot_stopped")),
                "{refused}"
            );
            assert!(refused["message"].as_str().unwrap().contains("start"), "it says what to do: {refused}");
        }
    }
    assert!(freqtrade.acted().is_empty());
    let predicted = adapter.predict("resume", json!({"start": true})).await;
    let said = predicted["message"].as_str().unwrap();
    assert!(said.contains("START") && said.contains("#2 ETH/USDT 2"), "{said}");
    let done = adapter.run("pause", "a", json!({"start": true})).await;
    assert_eq!((&done["outcome"], &done["phase"]), (&json!("done"), &json!("paused")), "{done}");
    freqtrade.world().state = "stopped".to_owned();
    let done = adapter.run("resume", "b", json!({"start": true})).await;
    assert_eq!((&done["outcome"], &done["phase"]), (&json!("done"), &json!("running")), "{done}");
    assert_eq!(freqtrade.acted(), ["POST pause", "POST start"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_durable_pause_locks_every_pair_and_resume_removes_that_lock_alone() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    let foreign = json!({"id": 77, "active": true, "pair": "*", "side": "*", "reason": "of somebody else",
        "lock_end_timestamp": 4_102_444_800_000_i64});
    freqtrade.world().locks.push(foreign.clone());
    let adapter = adapter_beside(&freqtrade).await;
    let done = adapter.run("pause", "a", json!({"durable": true, "until": "2098-01-01T00:00:00Z"})).await;
    assert_eq!(done["outcome"], "done", "{done}");
    let own = freqtrade.world().locks[1].clone();
    assert_eq!((&own["pair"], &own["side"]), (&json!("*"), &json!("*")));
    assert!(own["reason"].as_str().unwrap().starts_with("botops durable pause"), "{own}");
    // A reload lifts the pause, the lock stays: a resume has something to do.
    freqtrade.world().state = "running".to_owned();
    let again = adapter.run("pause", "b", json!({"durable": true})).await;
    assert_eq!(again["outcome"], "done", "{again}");
    let done = adapter.run("resume", "c", Value::Null).await;
    assert_eq!((&done["outcome"], &done["trading_enabled"]), (&json!("done"), &json!(false)), "{done}");
    assert_eq!(done["reason_code"], "global_lock");
    assert!(done["message"].as_str().unwrap().contains("of somebody else"), "{done}");
    assert_eq!(freqtrade.world().locks, [foreign]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_is_what_rests_no_more_whatever_was_answered() {
    let trades = vec![
        resting_trade(1, "BTC/USDT", 0.5),
        with_resting(open_trade(2, "ETH/USDT", 2.0), "buy"),
        with_resting(open_trade(3, "SOL/USDT", 7.25), "sell"),
        resting_trade(4, "XRP/USDT", 10.0),
    ];
    let freqtrade = ScriptedFreqtrade::start(trades).await;
    let adapter = adapter_beside(&freqtrade).await;
    let predicted =
        adapter.predict("cancel-orders", json!({"symbols": ["BTC/USDT", "ETH/USDT", "SOL/USDT"]})).await;
    let said = predicted["message"].as_str().unwrap();
    assert!(said.contains("BTC/USDT") && said.contains("ETH/USDT") && !said.contains("XRP"), "{said}");
    assert!(said.contains("exit orders stay (#3 SOL/USDT"), "{said}");
    let done =
        adapter.run("cancel-orders", "a", json!({"symbols": ["BTC/USDT", "ETH/USDT", "SOL/USDT"]})).await;
    assert_eq!(
        (&done["outcome"], &done["exposure"]["orders_cancelled"]),
        (&json!("done"), &json!(2)),
        "{done}"
    );
    assert_eq!(done["exposure"]["orders_left"], 2, "{done}");
    assert_eq!(freqtrade.acted(), ["DELETE trades/1/open-order", "DELETE trades/2/open-order"]);
    let done = adapter.run("cancel-orders", "b", json!({"exits": true, "symbols": ["SOL/USDT"]})).await;
    assert_eq!(
        (&done["outcome"], &done["exposure"]["orders_cancelled"]),
        (&json!("done"), &json!(1)),
        "{done}"
    );
    // An answer of 502 that is true: the order rests on, and nobody is told that it does not.
    freqtrade.fault("DELETE trades/*", FreqtradeFault::FailsWith502);
    let open = adapter.run("cancel-orders", "c", Value::Null).await;
    assert_eq!(open["outcome"], "unconfirmed", "{open}");
    assert_eq!(adapter.get("commands/c").await["standing"], "pending");
    freqtrade.world().trades.retain(|trade| trade["trade_id"] != 4);
    let ended = || async { adapter.get("commands/c").await["result"]["outcome"] == "done" };
    until("it is seen as gone", Duration::from_secs(10), ended).await;
    assert_eq!(
        freqtrade.acted().iter().filter(|act| act.as_str() == "DELETE trades/4/open-order").count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flatten_pauses_first_and_is_done_when_no_trade_is_left() {
    let mut trades = three_trades();
    trades.push(resting_trade(4, "XRP/USDT", 10.0));
    let freqtrade = ScriptedFreqtrade::start(trades).await;
    // freqtrade answers so when what it cancelled was all that there was of the trade.
    freqtrade.fault("POST forceexit", FreqtradeFault::WorksWith502);
    let adapter = adapter_beside(&freqtrade).await;
    let predicted = adapter.predict("flatten", Value::Null).await;
    let said = predicted["message"].as_str().unwrap();
    for part in ["pause", "#1 BTC/USDT 0.5", "#2 ETH/USDT 2", "#3 SOL/USDT 7.25", "#4 XRP/USDT"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(predicted["exposure"]["notional"], "1072.5", "{predicted}");
    assert_eq!(freqtrade.world().trades.len(), 4);
    let done = adapter.run("flatten", "a", Value::Null).await;
    assert_eq!((&done["outcome"], &done["phase"]), (&json!("done"), &json!("paused")), "{done}");
    assert_eq!(done["exposure"]["positions_left"], 0);
    assert_eq!(done["exposure"]["positions_closing"], json!(["BTC/USDT", "ETH/USDT", "SOL/USDT"]));
    assert_eq!(
        freqtrade.acted(),
        ["POST pause", "POST forceexit", "POST forceexit", "POST forceexit", "POST forceexit"]
    );
    let state = adapter.get("state").await;
    assert_eq!((&state["positions"], &state["phase"]), (&json!([]), &json!("paused")), "it shows at once");
    let nothing = adapter.run("flatten", "b", Value::Null).await;
    assert_eq!((&nothing["outcome"], freqtrade.acted().len()), (&json!("done"), 5), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exit_that_fills_in_part_is_not_done_until_it_is_filled() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST forceexit", FreqtradeFault::FillsInPart);
    let adapter = adapter_beside(&freqtrade).await;
    let open = adapter.run("flatten", "a", Value::Null).await;
    assert_eq!(open["outcome"], "unconfirmed", "{open}");
    assert_eq!(adapter.get("commands/a").await["standing"], "pending");
    freqtrade.world().trades.clear();
    let ended = || async { adapter.get("commands/a").await["result"]["outcome"] == "done" };
    until("it is seen as done", Duration::from_secs(10), ended).await;
    let again = adapter.run("flatten", "a", Value::Null).await;
    assert_eq!((&again["outcome"], &again["replayed"]), (&json!("done"), &json!(true)));
    assert_eq!(freqtrade.acted().len(), 4, "no exit was sent a second time");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_exit_is_sent_while_the_pause_is_not_seen() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::IsPassedOver);
    let adapter = adapter_beside(&freqtrade).await;
    let answer = adapter.run("flatten", "a", Value::Null).await;
    assert_eq!(answer["outcome"], "unconfirmed", "{answer}");
    assert_eq!(
        freqtrade.acted(),
        ["POST pause"],
        "a freqtrade that still enters would buy again what was sold"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_request_without_an_answer_no_further_one_is_sent() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.world().state = "paused".to_owned();
    freqtrade.fault("POST forceexit", FreqtradeFault::HangsAfterwards);
    let adapter = adapter_beside(&freqtrade).await;
    let open = adapter.run("flatten", "a", Value::Null).await;
    assert_eq!(open["outcome"], "unconfirmed", "{open}");
    let ended = || async { adapter.get("commands/a").await["standing"] == "answered" };
    until("the command ends", Duration::from_secs(60), ended).await;
    let result = adapter.get("commands/a").await["result"].clone();
    assert_eq!(result["outcome"], "unconfirmed", "{result}");
    let said = result["message"].as_str().unwrap();
    assert!(!said.contains("#1 ") || said.contains("#1: "), "the first is gone: {said}");
    assert!(
        said.contains("#2 ETH/USDT") && said.contains("#3 SOL/USDT") && said.contains("not sent"),
        "{said}"
    );
    assert_eq!(freqtrade.acted(), ["POST forceexit"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_leaves_a_command_that_is_known_and_never_sent_again() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::HangsAfterwards);
    let mut adapter = adapter_beside(&freqtrade).await;
    let body = json!({"command_id": "a", "reason": "a test of the verbs"});
    let client = socket_client(&adapter.socket());
    let sent = client.post("http://bot/ipc/v1/commands/pause").json(&body).send();
    let reached =
        until("freqtrade has it", Duration::from_secs(10), || async { !freqtrade.acted().is_empty() });
    tokio::select! {
        _ = reached => {}
        answer = sent => panic!("answered before: {answer:?}"),
    }
    adapter.kill();
    adapter.launch();
    adapter.answers().await;
    let again = adapter.run("pause", "a", Value::Null).await;
    assert_eq!(again["replayed"], true, "{again}");
    // It is looked for on the other side of the restart, too; who did it is not known.
    let ended = || async { adapter.get("commands/a").await["result"]["outcome"] == "done" };
    until("the pause is seen", SOON, ended).await;
    let result = adapter.get("commands/a").await["result"].clone();
    assert!(result["message"].as_str().unwrap().contains("somebody else is not known"), "{result}");
    assert_eq!(freqtrade.acted(), ["POST pause"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_reach_freqtrade_did_nothing_and_says_so() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    freqtrade.world().password = "changed".to_owned();
    let refused = adapter.run("flatten", "a", Value::Null).await;
    assert_eq!(
        (&refused["outcome"], &refused["reason_code"]),
        (&json!("refused"), &json!("bot_unauthorized")),
        "{refused}"
    );
    assert!(refused["message"].as_str().unwrap().contains("credentials file"), "{refused}");
    freqtrade.world().is_frozen = true;
    adapter.run("pause", "b", Value::Null).await;
    let refused = adapter.end_of("b").await;
    assert_eq!(
        (&refused["outcome"], &refused["reason_code"]),
        (&json!("refused"), &json!("bot_hung")),
        "{refused}"
    );
    assert!(freqtrade.acted().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_was_one_too_many_is_sent_again_since_it_was_not_looked_at() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST forceexit", FreqtradeFault::IsOneTooMany);
    let adapter = adapter_beside(&freqtrade).await;
    adapter.run("flatten", "a", Value::Null).await;
    let ended = || async { adapter.get("commands/a").await["result"]["outcome"] == "done" };
    until("all trades are closed", Duration::from_secs(30), ended).await;
    let exits = freqtrade.acted().iter().filter(|act| act.as_str() == "POST forceexit").count();
    assert_eq!((exits, freqtrade.world().trades.len()), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_an_older_freqtrade_does_not_have_did_nothing_and_is_named() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    freqtrade.fault("POST pause", FreqtradeFault::IsMissing);
    let adapter = adapter_beside(&freqtrade).await;
    for (verb, id) in [("pause", "a"), ("flatten", "b")] {
        let refused = adapter.run(verb, id, Value::Null).await;
        assert_eq!(
            (&refused["outcome"], &refused["reason_code"]),
            (&json!("refused"), &json!("not_capable")),
            "{refused}"
        );
        assert!(refused["message"].as_str().unwrap().contains("2025.3"), "{refused}");
    }
    assert_eq!(freqtrade.world().trades.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_wanted_any_more_or_not_understood_is_not_begun() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let late = json!({"command_id": "a", "reason": "a test", "valid_for_ms": 0});
    assert_eq!(adapter.command("pause", late).await.1["reason_code"], "expired");
    let late = json!({"command_id": "b", "reason": "a test", "expires_at": "2026-01-01T00:00:00Z"});
    assert_eq!(adapter.command("flatten", late).await.1["reason_code"], "expired");
    let narrowed = json!({"command_id": "c", "reason": "a test", "args": {"symbols": ["BTC/USDT"]}});
    let (status, refused) = adapter.command("flatten", narrowed).await;
    assert_eq!((status, &refused["code"]), (409, &json!("invalid_arguments")), "{refused}");
    for verb in ["halt", "shutdown", "reset-breaker", "reauth", "probe-session"] {
        let (status, refused) = adapter.command(verb, json!({"command_id": verb, "reason": "a test"})).await;
        assert_eq!((status, &refused["code"]), (409, &json!("not_capable")));
    }
    assert!(freqtrade.acted().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn botops_passes_the_arguments_on_to_a_bot_that_knows_them() {
    let freqtrade = ScriptedFreqtrade::start(Vec::new()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let socket = adapter.socket().display().to_string();
    let app = Running::start(adapter.folder.path(), &[("BOT_IPC_SOCKET", &socket), ("BOT_ID", "fq")]).await;
    let connected = || async { app.get("/api/v1/state").await.1["bot"]["presence"] == "connected" };
    until("botops is connected", Duration::from_secs(20), connected).await;
    let body =
        json!({"reason": "until the new year", "args": {"durable": true, "until": "2099-01-01T00:00:00Z"}});
    let (status, done) = app.send(Method::POST, "/api/v1/control/pause", &body).await;
    assert_eq!((status, &done["outcome"]), (200, &json!("done")), "{done}");
    assert_eq!(freqtrade.acted(), ["POST pause", "POST locks"]);
    freqtrade.world().state = "stopped".to_owned();
    let (status, refused) =
        app.send(Method::POST, "/api/v1/control/resume", &json!({"reason": "it is over now"})).await;
    assert_eq!((status, &refused["error_code"]), (409, &json!("BOT_003")), "{refused}");
    let body = json!({"reason": "it is over now", "args": {"start": true}});
    let (status, done) = app.send(Method::POST, "/api/v1/control/resume", &body).await;
    assert_eq!((status, &done["phase"]), (200, &json!("running")), "{done}");
    assert!(freqtrade.world().locks.is_empty());
    for (verb, args) in [
        ("flatten", json!({"durable": true})),
        ("pause", json!({"code": "123"})),
        ("pause", json!({"exits": true})),
        ("resume", json!({})),
    ] {
        let body = json!({"reason": "not of this verb", "args": args});
        let (status, refused) = app.send(Method::POST, &format!("/api/v1/control/{verb}"), &body).await;
        assert_eq!(status, 400, "{verb} {refused}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_freqtrade_with_open_trades_is_critical_and_one_without_is_not() {
    let freqtrade = ScriptedFreqtrade::start(three_trades()).await;
    let adapter = adapter_beside(&freqtrade).await;
    let socket = adapter.socket().display().to_string();
    let app = Running::start(adapter.folder.path(), &[("BOT_IPC_SOCKET", &socket), ("BOT_ID", "fq")]).await;
    let (status, answer) = app.send(Method::PUT, "/api/v1/health/monitoring/config", &hasty()).await;
    assert_eq!(status, 200, "{answer}");
    component_is(&app, "bot", "HEALTHY").await;
    freqtrade.world().state = "stopped".to_owned();
    let trading = component_is(&app, "trading", "CRITICAL").await;
    let reason = trading["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("3 open positions") && reason.contains("start it"), "{reason}");
    freqtrade.world().trades.clear();
    component_is(&app, "trading", "WARNING").await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_rests_the_symbols_that_were_asked_for_are_named() {
    let freqtrade = ScriptedFreqtrade::start(vec![resting_trade(1, "BTC/USDT", 0.5)]).await;
    let adapter = adapter_beside(&freqtrade).await;
    for symbols in [json!(["ETH/USDT"]), json!(["ETH/USDT", "SOL/USDT"])] {
        let named: Vec<&str> = symbols.as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let said = format!("no entry order of {} rests", named.join(", "));
        let predicted = adapter.predict("cancel-orders", json!({"symbols": symbols})).await;
        assert!(predicted["message"].as_str().unwrap().contains(&said), "{predicted}");
    }
    let done = adapter.run("cancel-orders", "a", json!({"symbols": ["ETH/USDT"]})).await;
    assert!(done["message"].as_str().unwrap().contains("no entry order of ETH/USDT rests"), "{done}");
    assert!(freqtrade.acted().is_empty());
}
