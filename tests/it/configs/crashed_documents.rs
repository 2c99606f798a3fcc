//! Changes that are refused although they are right by themselves: after a bot died over the document, and after the
//! schema became narrower.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::world::{SOON, World, auto, careful, manual};
use crate::kit::app::answer;
use crate::kit::until;
use crate::refusals::assert_problem;

/// Lets the bot die during a trial and applies the same document again: returns the refusal.
pub(crate) async fn raise_bot_died_over_it(world: &mut World) -> Value {
    let id = world.try_out(careful(4_000), 60.0).await;
    world.bot.restart();
    let ended = world.ended(&id).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("bot_crash")), "{ended:#}");
    world.until_in_sync().await;
    let (status, problem) = world.apply_now(&manual(careful(4_000), 60.0)).await;
    assert_eq!((status, &problem["context"]["txn"]), (409, &json!(id)), "{problem:#}");
    problem
}

#[tokio::test]
async fn a_document_that_the_bot_died_over_is_tried_again_only_on_purpose() {
    let mut world = World::start().await;
    let problem = raise_bot_died_over_it(&mut world).await;
    assert_problem(&problem, 409, "CFG_019");
    let id = problem["context"]["txn"].as_str().unwrap().to_owned();
    let mut again = manual(careful(4_000), 60.0);
    let path = problem["next_actions"][0]["path"].as_str().unwrap();
    assert_eq!(world.botops.get(path).await.1["txn"], id);
    // A dry run predicts it, also after a restart of botops.
    let world = world.restart().await;
    let etag = world.etag().await;
    let dry = world.botops.request(reqwest::Method::PUT, "/api/v1/config/apply?dry_run=true");
    let (_, plan) = answer(dry.header("if-match", &etag).json(&again)).await;
    assert_eq!(plan["would_apply"], false, "{plan:#}");
    assert!(plan["blocked_by"].as_str().unwrap().contains(&id), "{plan:#}");
    // Another document is accepted; the same one needs the acknowledgement.
    let other = world.try_out(careful(4_100), 60.0).await;
    assert_eq!(world.end_trial(&other, "cancel").await.0, 200);
    again["acknowledge"] = problem["context"]["acknowledge"].clone();
    let (status, txn) = world.apply_now(&again).await;
    assert_eq!(status, 202, "{txn:#}");
    assert_eq!(world.end_trial(txn["txn"].as_str().unwrap(), "confirm").await.0, 200);
}

#[tokio::test]
async fn a_bot_that_was_missed_before_its_next_life_died_over_the_document_all_the_same() {
    let mut world = World::start().await;
    let id = world.try_out(careful(4_000), 60.0).await;
    world.bot.die();
    // The bot does not answer, so the trial is to be undone, which the bot cannot learn yet.
    let undone = || async { world.txn(&id).await["state"] == "reverting" };
    until("the bot is missed", SOON, undone).await;
    world.bot.restart();
    let ended = world.ended(&id).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("bot_crash")), "{ended:#}");
    world.until_in_sync().await;
    let (status, problem) = world.apply_now(&manual(careful(4_000), 60.0)).await;
    assert_problem(&problem, status, "CFG_019");
}

#[tokio::test]
async fn a_bot_that_was_missed_and_answers_again_in_the_same_process_did_not_die() {
    let mut world = World::start().await;
    let before = world.running();
    let id = world.try_out(careful(4_000), 60.0).await;
    world.bot.die();
    let undone = || async { world.txn(&id).await["state"] == "reverting" };
    until("the bot is missed", SOON, undone).await;
    world.bot.revive();
    let ended = world.ended(&id).await;
    assert_eq!((&ended["state"], &ended["by"]), (&json!("rolled_back"), &json!("criteria")), "{ended:#}");
    assert_eq!(world.running(), before);
}

#[tokio::test]
async fn a_committed_config_that_a_newer_schema_refuses_runs_on_until_it_is_put_right() {
    let world = World::start().await;
    // As an older botops with a wider schema would have left it.
    let mut world = world
        .restart_after(|folder| {
            let head: Value = serde_json::from_slice(&std::fs::read(folder.join("HEAD")).unwrap()).unwrap();
            let text = std::fs::read_to_string(folder.join(head["file"].as_str().unwrap())).unwrap();
            let text = text.replace("\"max_position_size\": 5000", "\"max_position_size\": 20000");
            let sha256 = data_encoding::HEXLOWER.encode(&Sha256::digest(text.as_bytes()));
            let file = format!("versions/000002-{}.json", &sha256[..8]);
            std::fs::write(folder.join(&file), text).unwrap();
            let head =
                json!({"version": 2, "sha256": sha256, "file": file, "txn": "older", "at": head["at"]});
            std::fs::write(folder.join("HEAD"), head.to_string()).unwrap();
        })
        .await;
    world.bot.restart();
    world.until_in_sync().await;
    let config = world.config().await;
    assert_eq!(config["committed"]["fits_schema"], false, "{:#}", config["committed"]);
    assert_eq!((&config["version"], &config["writable"]), (&json!(2), &json!(true)));
    // Another field is changed, but the whole document must fit the schema.
    let (status, problem) = world.apply_now(&auto(json!({"trading": {"max_trades_per_day": 9}}), 60.0)).await;
    assert_problem(&problem, status, "CFG_001");
    assert_eq!(problem["errors"][0]["pointer"], "/risk_management/max_position_size");
    // The fix is accepted, and going back to the old document is refused.
    let id = world.try_out(careful(4_000), 60.0).await;
    assert_eq!(world.end_trial(&id, "confirm").await.0, 200);
    assert_eq!(world.config().await["committed"]["fits_schema"], true);
    let (_, old) = world.botops.get("/api/v1/config/versions/v2").await;
    assert_eq!(old["rollbackable"], false, "{old:#}");
    assert!(old["not_rollbackable_because"].is_string());
    let etag = world.etag().await;
    let back = world.botops.request(reqwest::Method::PUT, "/api/v1/config/rollback").header("if-match", etag);
    let (status, problem) = answer(back.json(&json!({"to": "v2", "reason": "a test"}))).await;
    assert_problem(&problem, status, "CFG_001");
}
