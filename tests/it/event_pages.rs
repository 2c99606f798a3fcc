//! The journal as a person or an agent reads it: newest first, filtered, waited for, as a log in Markdown, over MCP.

use std::time::Duration;

use botops_contract::{EventKind, Severity};
use botops_server::events::NewEvent;
use chrono::{TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::refusals::assert_problem;

const RUN: &str = "0198f0a2-7c3e-7d1a-9b6e-2f1c5a7d9e10";

/// Publishes an event of this kind so many minutes ago; returns its number.
fn publish(running: &Running, kind: EventKind, message: &str, minutes: i64, data: Value) -> u64 {
    let event = NewEvent::own(kind, Severity::Low, message, data);
    let at = Utc::now() - TimeDelta::minutes(minutes);
    running.app.handles().events.publish(NewEvent { at, ..event })
}

/// Some events of all kinds, oldest first.
fn a_day(running: &Running) -> Vec<u64> {
    vec![
        publish(running, EventKind::Fill, "bought 3 SPY", 300, json!({"symbol": "SPY"})),
        publish(running, EventKind::Health, "bot is degraded", 200, json!({"component_id": "bot"})),
        publish(
            running,
            EventKind::Workflow,
            "restart-bot begins",
            100,
            json!({"run_id": RUN, "component_id": "bot"}),
        ),
        publish(running, EventKind::Order, "order for NVDA", 50, json!({"symbol": "NVDA"})),
        publish(running, EventKind::Fill, "sold 3 SPY", 5, json!({"symbol": "SPY"})),
    ]
}

fn numbers(page: &Value) -> Vec<u64> {
    page["items"].as_array().unwrap_or(&Vec::new()).iter().filter_map(|event| event["seq"].as_u64()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_newest_first_and_go_on_with_older_ones() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let told = a_day(&running);
    running.app.handles().store.flush().await;
    let (_, page) = running.get("/api/v1/events?limit=3").await;
    assert_eq!(numbers(&page), [told[4], told[3], told[2]], "{page:#}");
    assert_eq!((&page["older"], &page["next"]), (&json!(told[2]), &json!(told[4])), "{page:#}");
    assert!(page["omitted"].as_u64().unwrap() >= 2, "{page:#}");
    let (_, older) = running.get(&format!("/api/v1/events?limit=2&before={}", page["older"])).await;
    assert_eq!(numbers(&older), [told[1], told[0]], "{older:#}");
    // To the end, where nothing older is left.
    let (mut before, mut pages) = (older["older"].clone(), 0);
    while !before.is_null() && pages < 50 {
        let (_, page) = running.get(&format!("/api/v1/events?limit=5&before={before}")).await;
        (before, pages) = (page["older"].clone(), pages + 1);
    }
    assert!(before.is_null(), "the end is told");
    // What comes after the first page is read on from its `next`, oldest first.
    let new = publish(&running, EventKind::Fill, "bought 1 SPY", 0, json!({"symbol": "SPY"}));
    let (_, page) = running.get(&format!("/api/v1/events?after={}", page["next"])).await;
    assert_eq!((numbers(&page), page.get("older")), (vec![new], None), "{page:#}");
    // A budget cuts the oldest, and says how to go on.
    let (_, cut) = running.get("/api/v1/events?limit=50&budget_tokens=250").await;
    let last = *numbers(&cut).last().unwrap();
    assert_eq!(cut["continue"]["path"], format!("/api/v1/events?before={last}&limit=50"), "{cut:#}");
    assert_eq!(cut["older"], json!(last), "{cut:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_what_they_are_about_and_when_they_happened() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let told = a_day(&running);
    let since = (Utc::now() - TimeDelta::minutes(60)).format("%Y-%m-%dT%H:%M:%SZ");
    for (query, wanted) in [
        ("kind=fill".to_owned(), vec![4, 0]),
        ("kind=fill,order".to_owned(), vec![4, 3, 0]),
        ("symbol=SPY".to_owned(), vec![4, 0]),
        ("component=bot&kind=health,workflow".to_owned(), vec![2, 1]),
        (format!("run={RUN}"), vec![2]),
        ("kind=fill,order&since=60m".to_owned(), vec![4, 3]),
        (format!("kind=fill,order&since={since}"), vec![4, 3]),
        ("symbol=SPY&since=1h".to_owned(), vec![4]),
        ("symbol=spy".to_owned(), vec![]),
    ] {
        let wanted: Vec<u64> = wanted.into_iter().map(|index: usize| told[index]).collect();
        let (status, page) = running.get(&format!("/api/v1/events?{query}")).await;
        assert_eq!((status, numbers(&page)), (200, wanted.clone()), "{query}: {page:#}");
        let (_, forward) = running.get(&format!("/api/v1/events?after=0&{query}")).await;
        let reversed: Vec<u64> = wanted.into_iter().rev().collect();
        assert_eq!(numbers(&forward), reversed, "{query}: {forward:#}");
    }
    let arguments = json!({"symbol": "SPY", "since": "1h", "kind": "fill,order"});
    let over_mcp = crate::mcp::call(&running, KEY, "list_events", arguments).await;
    assert_eq!(numbers(&over_mcp["structuredContent"]), [told[4]], "{over_mcp:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_nobody_knows_is_told_and_one_that_is_quiet_is_not() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    publish(
        &running,
        EventKind::Health,
        "gone-since is degraded",
        200,
        json!({"component_id": "gone-since"}),
    );
    for query in
        ["component=workflows", "component=workflows&after=0", "component=workflows&kind=fill&since=1h"]
    {
        let (status, page) = running.get(&format!("/api/v1/events?{query}")).await;
        assert_eq!((status, &page["items"]), (200, &json!([])), "{query}: {page:#}");
        let why = page["empty_reason"].as_str().unwrap_or_else(|| panic!("{query}: {page:#}"));
        for known in ["`workflows`", "bot", "store", "kind=workflow"] {
            assert!(why.contains(known), "{known}: {why}");
        }
    }
    // A component without such an event, one of before, and no component at all.
    for query in
        ["component=store&kind=fill", "component=gone-since&kind=fill", "component=gone-since", "kind=fill"]
    {
        let (_, page) = running.get(&format!("/api/v1/events?{query}")).await;
        assert_eq!(page.get("empty_reason"), None, "{query}: {page:#}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_passes_over_what_was_not_asked_for() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let path = "/api/v1/events?wait=60s&symbol=NVDA&kind=fill,order";
    let (waited, seq) = tokio::join!(running.get(path), async {
        // It waits for what comes from now on: so it has to be there first.
        tokio::time::sleep(Duration::from_millis(300)).await;
        publish(&running, EventKind::Fill, "bought 3 SPY", 0, json!({"symbol": "SPY"}));
        publish(&running, EventKind::Health, "NVDA is odd", 0, json!({"symbol": "NVDA"}));
        publish(&running, EventKind::Order, "order for NVDA", 0, json!({"symbol": "NVDA"}))
    });
    assert_eq!(numbers(&waited.1), [seq], "{}", waited.1);
    let long = crate::mcp::call(&running, KEY, "list_events", json!({"wait": "51s"})).await;
    assert_eq!(long["structuredContent"]["error_code"], "API_007", "{long:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_that_wait_the_last_is_refused_and_others_are_answered() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let latest = running.get("/api/v1/events?limit=1").await.1["latest"].clone();
    let path = format!("/api/v1/events?after={latest}&wait=120s&kind=breaker");
    let mut answers: FuturesUnordered<_> = (0..66).map(|_| running.get(&path)).collect();
    // Nothing happens that they wait for: whoever is answered was refused.
    for _ in 0..2 {
        let (status, problem) = answers.next().await.unwrap();
        assert_eq!(status, 429, "{problem:#}");
        assert_problem(&problem, 429, "API_009");
    }
    assert_eq!(running.get("/api/v1/events?limit=1").await.0, 200, "who does not wait is answered");
    publish(&running, EventKind::Breaker, "the breaker opened", 0, json!({}));
    while let Some((status, page)) = answers.next().await {
        assert_eq!((status, numbers(&page).len()), (200, 1), "{page:#}");
    }
    drop(answers);
    assert_eq!(running.get("/api/v1/events?wait=1ms").await.0, 200, "their places are free again");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_markdown_they_read_like_a_log() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let told = a_day(&running);
    let request =
        running.request(reqwest::Method::GET, "/api/v1/events?kind=fill").header("accept", "text/markdown");
    let text = request.send().await.unwrap().text().await.unwrap();
    let line = format!(" low fill: sold 3 SPY (botops, #{})\n", told[4]);
    assert!(text.contains(&line) && !text.contains('{') && !text.contains(" | "), "{text}");
    running.stop().await;
}
