//! A bot that answers one call and not another, or answers what is not the contract, is there: presence says so, and it
//! is never taken for one that is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use botops_core::tasks::Tasks;
use botops_server::bots::{
    BotAddress, BotSnapshot, Bots, BotsOptions, HoldReason, Presence, Supervisor, SupervisorDriver,
};
use botops_server::change_keys::ChangeKeys;
use botops_server::events::Events;
use botops_server::store::Store;

use crate::kit;
use crate::kit::scripted_bot::{Behaviour, ScriptedBot};

const SOON: Duration = Duration::from_secs(20);

/// A link that asks the bot ten times in a second.
async fn link_to(bot: &ScriptedBot, data: &tempfile::TempDir) -> (Bots, Tasks) {
    let store = Store::open(&data.path().join("ops.db")).unwrap();
    let events = Events::open(store.clone()).await.unwrap();
    let keys = ChangeKeys::open(store.clone()).await.unwrap();
    let tasks = Tasks::new();
    let options = BotsOptions {
        id: bot.id(),
        address: BotAddress::unix_socket(bot.socket()),
        poll_interval: Duration::from_millis(100),
        supervisor: Supervisor::new(SupervisorDriver::None, data.path(), BTreeMap::new()),
    };
    let bots = Bots::open(options, store, events, keys, &tasks).await.unwrap();
    (bots, tasks)
}

async fn becomes(bots: &Bots, what: &str, condition: impl Fn(&BotSnapshot) -> bool) -> Arc<BotSnapshot> {
    let mut watch = bots.watch();
    let seen = tokio::time::timeout(SOON, watch.wait_for(|seen| condition(seen))).await;
    match seen {
        Ok(seen) => seen.unwrap().clone(),
        Err(_) => {
            let last = bots.snapshot();
            panic!("{what}: {} because {}; {:?}", last.presence, last.presence_reason, last.unasked_restart)
        }
    }
}

fn is_left_alone(seen: &BotSnapshot) -> bool {
    seen.unasked_restart.verdict == Err(HoldReason::Answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_answers_hello_and_never_its_state_is_hung_and_answers() {
    for was_seen in [true, false] {
        let (bot, data) = (ScriptedBot::start(), kit::folder());
        bot.script().only = "state";
        if !was_seen {
            bot.behave(Behaviour::Stall);
        }
        let (bots, tasks) = link_to(&bot, &data).await;
        if was_seen {
            becomes(&bots, "it is seen", |seen| seen.presence == Presence::Connected).await;
            bot.behave(Behaviour::Stall);
        }
        let seen = becomes(&bots, "hung, and it answers hello", |seen| {
            seen.presence == Presence::Hung && is_left_alone(seen) && seen.presence_reason.contains("hello")
        })
        .await;
        assert!(seen.presence_reason.contains("`state`"), "{}", seen.presence_reason);
        // However long it goes on.
        let polls = seen.polls;
        let later = becomes(&bots, "it is asked on", |seen| seen.polls > polls + 5).await;
        assert!(later.presence == Presence::Hung && is_left_alone(&later), "{:?}", later.unasked_restart);
        bot.behave(Behaviour::Normal);
        becomes(&bots, "it is back", |seen| seen.presence == Presence::Connected).await;
        assert!(tasks.finish(SOON).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_bot_answers_to_state_it_is_there_and_not_understood() {
    let cases: [(&str, Option<StatusCode>, Behaviour); 8] = [
        ("302", Some(StatusCode::FOUND), Behaviour::Normal),
        ("404", Some(StatusCode::NOT_FOUND), Behaviour::Normal),
        ("500", Some(StatusCode::INTERNAL_SERVER_ERROR), Behaviour::Normal),
        ("a large answer", None, Behaviour::Huge),
        ("a large answer in chunks", None, Behaviour::HugeChunked),
        ("no JSON", None, Behaviour::Garbage),
        ("no HTTP", None, Behaviour::NotHttp),
        ("no answer", None, Behaviour::HangUp),
    ];
    for (what, status, behaviour) in cases {
        for was_seen in [true, false] {
            let (bot, data) = (ScriptedBot::start(), kit::folder());
            let misbehave = || {
                let mut script = bot.script();
                script.only = "state";
                if let Some(status) = status {
                    script
                        .raw
                        .insert("state", Arc::new(|| "{\"code\": \"x\", \"message\": \"y\"}".to_owned()));
                    script.raw_status.insert("state", status);
                }
                drop(script);
                bot.behave(behaviour);
            };
            if !was_seen {
                misbehave();
            }
            let (bots, tasks) = link_to(&bot, &data).await;
            if was_seen {
                becomes(&bots, "it is seen", |seen| seen.presence == Presence::Connected).await;
                misbehave();
            }
            let seen = becomes(&bots, &format!("{what}, seen before: {was_seen}"), |seen| {
                seen.presence == Presence::Incompatible && is_left_alone(seen)
            })
            .await;
            // Nothing else is told while it goes on.
            let polls = seen.polls;
            let mut watch = bots.watch();
            let other =
                watch.wait_for(|seen| seen.polls > polls + 5 || seen.presence != Presence::Incompatible);
            let later = tokio::time::timeout(SOON, other).await.unwrap().unwrap().clone();
            assert!(is_left_alone(&later), "{what}: {:?}", later.unasked_restart);
            assert_eq!(later.presence, Presence::Incompatible, "{what}: {}", later.presence_reason);
            assert!(tasks.finish(SOON).await);
        }
    }
}
