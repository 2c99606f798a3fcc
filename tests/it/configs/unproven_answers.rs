//! A bot whose answers leave its state unknown, or that refuses what it must not refuse: nothing is reported as undone
//! that is not, and no change holds the lock for ever.

use std::time::Duration;

use axum::http::StatusCode;
use botops_contract::SessionPhase;
use serde_json::{Value, json};

use super::world::{SOON, World, careful, manual};
use crate::kit;
use crate::kit::scripted_bot::refusal;
use crate::refusals::assert_problem;

/// From now on the bot refuses these calls like this; with `anyway` it carries them out although it refuses.
fn refuse(world: &World, calls: &'static str, status: StatusCode, code: &str, anyway: bool) {
    let mut script = world.bot.script();
    script.refuse = Some(refusal(code, "not now"));
    (script.refuse_only, script.refuse_status, script.act_anyway) = (calls, status, anyway);
}

async fn audit(world: &World, txn: &str) -> Vec<Value> {
    let (_, page) = world.botops.get("/api/v1/config/audit?limit=200").await;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    items.into_iter().filter(|record| record["txn"] == txn).collect()
}

#[tokio::test]
async fn an_activation_without_a_proof_is_looked_into_and_the_audit_says_unknown_first() {
    let world = World::start().await;
    let before = world.running();
    for (status, code) in [(504, "no_answer"), (500, "internal"), (409, "upstream_timeout"), (503, "busy")] {
        let status = StatusCode::from_u16(status).unwrap();
        refuse(&world, "config/activate", status, code, true);
        let (_, problem) = world.apply_now(&manual(careful(4_000), 3.0)).await;
        assert_problem(&problem, 504, "CFG_017");
        assert_eq!(problem["effect"], "unknown", "{code}: {problem:#}");
        let id = problem["context"]["txn"].as_str().unwrap().to_owned();
        let watched = || async { world.txn(&id).await["state"] != "activating" };
        kit::until("it is known what the bot runs", SOON, watched).await;
        assert_eq!(world.txn(&id).await["state"], "trial", "{code}: it runs, so it is watched");
        let ended = world.ended(&id).await;
        assert_eq!(ended["state"], "rolled_back", "{ended:#}");
        assert_eq!(world.running(), before);
        let records = audit(&world, &id).await;
        let unknown = records.iter().position(|record| {
            record["event"] == "activating"
                && record["outcome"].as_str().is_some_and(|text| text.contains("unknown"))
        });
        let end = records.iter().position(|record| record["event"] == "rolled_back");
        assert!(unknown.is_some() && end.is_some(), "{records:#?}");
        assert!(records.iter().all(|record| record["event"] != "rejected"), "{records:#?}");
    }
    // A refusal with a reason of the contract proves that nothing happened.
    refuse(&world, "config/activate", StatusCode::CONFLICT, "trial_live", false);
    let (_, problem) = world.apply_now(&manual(careful(4_000), 3.0)).await;
    assert_problem(&problem, 422, "CFG_003");
    assert_eq!(problem["effect"], "none");
    // A check without a usable answer changes nothing.
    refuse(&world, "config/check", StatusCode::GATEWAY_TIMEOUT, "no_answer", false);
    let (_, problem) = world.apply_now(&manual(careful(4_000), 3.0)).await;
    assert_problem(&problem, 504, "BOT_002");
    assert_eq!(problem["effect"], "none", "{problem:#}");
}

#[tokio::test]
async fn of_an_activation_without_a_proof_that_does_not_run_it_is_not_said_that_it_never_arrived() {
    let world = World::start().await;
    refuse(&world, "config/activate", StatusCode::GATEWAY_TIMEOUT, "no_answer", false);
    let (_, problem) = world.apply_now(&manual(careful(4_000), 3.0)).await;
    assert_problem(&problem, 504, "CFG_017");
    let id = problem["context"]["txn"].as_str().unwrap().to_owned();
    let ended = world.ended(&id).await;
    assert_eq!(ended["state"], "rolled_back", "{ended:#}");
    let outcome = ended["outcome"].as_str().unwrap();
    assert_eq!(outcome, "what the bot did with it is not known; it runs the committed config");
}

/// The events of a transaction that ask for a person.
async fn calls_for_a_person(world: &World, txn: &str) -> Vec<Value> {
    let (_, page) = world.botops.get("/api/v1/events?kind=config&after=0&limit=200").await;
    let items = page["items"].as_array().cloned().unwrap_or_default();
    items
        .into_iter()
        .filter(|event| event["data"]["txn"] == txn && event["data"]["state"] == "failed_attention")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_refuses_to_commit_for_ever_is_handed_to_a_person() {
    let world = World::start().await;
    let id = world.try_out(careful(4_000), 5.0).await;
    // The bot's own timer does not end the trial either.
    world.bot.script().config.patient = true;
    refuse(&world, "config/commit", StatusCode::CONFLICT, "not_recorded", false);
    let (_, view) = world.end_trial(&id, "confirm").await;
    assert_eq!(view["state"], "confirming", "{view:#}");
    // Said again it is the same, and it cannot be taken back any more.
    let (status, again) = world.end_trial(&id, "confirm").await;
    assert_eq!((status, &again["state"]), (200, &json!("confirming")), "{again:#}");
    let (status, late) = world.end_trial(&id, "cancel").await;
    assert_eq!((status, &late["effect"]), (409, &json!("none")), "{late:#}");
    let (_, summary) = world.botops.get("/api/v1/summary").await;
    assert!(!summary.to_string().contains("undone unless"), "it is confirmed: {summary:#}");
    let ended = world.ended(&id).await;
    assert_eq!(ended["state"], "failed_attention", "{ended:#}");
    let tries = world.bot.count("POST", "config/commit");
    assert!((2..=15).contains(&tries), "tries are bounded, with growing waits: {tries}");
    let calls = calls_for_a_person(&world, &id).await;
    assert_eq!(calls.len(), 1, "{calls:#?}");
    let text = calls[0]["message"].as_str().unwrap();
    assert!(text.contains("person") && text.contains("not_recorded"), "{text}");
    assert_eq!(calls[0]["severity"], "critical");
    // The lock is released: a refusal of the next change comes from the bot, not from the finished change.
    world.bot.script().refuse = None;
    let (status, problem) = world.apply_now(&manual(careful(4_500), 3.0)).await;
    assert_ne!(problem["error_code"], "CFG_006", "{status} {problem:#}");
    let (_, summary) = world.botops.get("/api/v1/summary").await;
    assert!(!summary.to_string().contains("undone unless"), "{summary:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_without_a_proof_is_looked_into_and_head_decides() {
    for is_done in [true, false] {
        let world = World::start().await;
        let before = world.running();
        let id = world.try_out(careful(4_000), 4.0).await;
        refuse(&world, "config/commit", StatusCode::GATEWAY_TIMEOUT, "no_answer", is_done);
        world.end_trial(&id, "confirm").await;
        let ended = world.ended(&id).await;
        assert_eq!(ended["state"], "committed", "the bot keeps it, or boots it: {ended:#}");
        // Whatever the bot did with it, it runs the committed config in the end.
        world.bot.script().refuse = None;
        world.until_in_sync().await;
        assert_ne!(world.running(), before, "{ended:#}");
        world.botops.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_degrades_in_a_trial_ends_it() {
    let world = World::start().await;
    world.bot.change(|report| {
        let session = report.session.as_mut().unwrap();
        (session.state, session.is_healthy) = (SessionPhase::Healthy, Some(true));
    });
    let before = world.running();
    let id = world.try_out(careful(4_000), 30.0).await;
    world.bot.change(|report| {
        let session = report.session.as_mut().unwrap();
        (session.state, session.is_healthy) = (SessionPhase::Degraded, Some(false));
    });
    let ended = world.ended(&id).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("criteria")), "{ended:#}");
    assert!(ended["outcome"].as_str().unwrap().contains("session degraded"), "{ended:#}");
    assert_eq!(world.running(), before);
}

/// A bot that does not end a cancelled trial: the change ends in the hands of a person, and the bot runs on with it.
pub(crate) async fn raise_refusal_to_go_back() -> (World, String) {
    let world = World::start().await;
    let id = world.try_out(careful(4_000), 3.0).await;
    world.bot.script().config.patient = true;
    refuse(&world, "config/revert", StatusCode::CONFLICT, "not_recorded", false);
    world.end_trial(&id, "cancel").await;
    let ended = world.ended(&id).await;
    assert_eq!(ended["state"], "failed_attention", "{ended:#}");
    (world, id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_refuses_to_go_back_for_ever_is_handed_to_a_person() {
    let (world, id) = raise_refusal_to_go_back().await;
    let tries = world.bot.count("POST", "config/revert");
    assert!((2..=15).contains(&tries), "tries are bounded, with growing waits: {tries}");
    let calls = calls_for_a_person(&world, &id).await;
    assert_eq!(calls.len(), 1, "{calls:#?}");
    assert!(calls[0]["message"].as_str().unwrap().contains("person"), "{calls:#?}");
    let config = world.config().await;
    assert_eq!((config["trial"].is_null(), &config["sync"]), (true, &json!("drifted")), "{config:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_that_ends_soon_leaves_the_change_committed() {
    let world = World::start().await;
    let id = world.try_out(careful(4_000), 30.0).await;
    refuse(&world, "config/commit", StatusCode::CONFLICT, "not_recorded", false);
    world.end_trial(&id, "confirm").await;
    let tried = || async { world.bot.count("POST", "config/commit") >= 3 };
    kit::until("it is tried again", Duration::from_secs(10), tried).await;
    world.bot.script().refuse = None;
    assert_eq!(world.ended(&id).await["state"], "committed");
}
