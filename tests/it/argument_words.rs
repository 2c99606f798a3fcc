//! The words with which a wrong argument over REST is refused: what was sent, exactly where, and what is expected.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::Running;

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_parameter_is_shown_as_sent_with_the_words_of_the_schema() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for (path, pointer, got, expected) in [
        ("events?limit=-3", "?limit", "-3", "a whole number from 1 to 500"),
        ("events?limit=1e%2B30", "?limit", "1e+30", "a whole number from 1 to 500"),
        ("trades?limit=0", "?limit", "0", "a whole number from 1 to 500"),
        ("errors?limit=501", "?limit", "501", "a whole number from 1 to 500"),
        ("incidents?limit=many", "?limit", "many", "a whole number from 1 to 500"),
        ("workflows/runs?limit=201", "?limit", "201", "a whole number from 1 to 200"),
        ("config/versions?limit=51", "?limit", "51", "a whole number from 1 to 50"),
        ("health/history?limit=1001", "?limit", "1001", "a whole number from 1 to 1000"),
        ("events?after=many", "?after", "many", "a whole number, 0 or more"),
        ("events?after=0&wait=5%20minutes", "?wait", "5 minutes", "30s, 500ms, 5m or bare seconds"),
        ("whoami?budget_tokens=a%20b", "?budget_tokens", "a b", "a whole number, 50 or more"),
        ("events?since=1764480000", "?since", "1764480000", "no seconds since 1970"),
        ("incidents?since=1764480000000ms", "?since", "1764480000000ms", "how long ago, such as 2h"),
        ("trades?since=1764480000", "?since", "1764480000", "no seconds since 1970"),
    ] {
        let (status, problem) = running.get(&format!("/api/v1/{path}")).await;
        let wrong = &problem["errors"][0];
        assert_eq!(
            (status, &wrong["pointer"], &wrong["got"]),
            (400, &json!(pointer), &json!(got)),
            "{path}: {problem:#}"
        );
        let words = wrong["expected"].as_str().unwrap();
        assert!(words.contains(expected), "{path}: {problem:#}");
    }
    let (status, page) = running.get("/api/v1/events?since=999999999").await;
    assert_eq!(status, 200, "{page:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_member_of_a_body_is_named_exactly_with_what_is_expected() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    let until = json!({"reason": "a test of it", "args": {"durable": true, "until": "2026-11-23T15:30:00"}});
    let flag = json!({"reason": "a test of it", "args": {"durable": "yes"}});
    let range = json!({"params": {"from": "2026-01-01T00:00:00", "to": "2026-01-01T01:00:00Z"}});
    let export = "/api/v1/workflows/export-logs/execute?dry_run=true";
    let pause = "/api/v1/control/pause";
    let silences = "/api/v1/health/silences";
    for (path, body, pointer, got, expected) in [
        (
            pause,
            until,
            "/args/until",
            json!("2026-11-23T15:30:00"),
            "the time has no zone: `2026-11-23T15:30:00Z`",
        ),
        (pause, flag, "/args/durable", json!("yes"), "true or false"),
        (pause, json!({}), "/reason", Value::Null, "3 to 500 characters"),
        (
            export,
            range,
            "/params/from",
            json!("2026-01-01T00:00:00"),
            "the time has no zone: `2026-01-01T00:00:00Z`",
        ),
        (silences, json!({"minutes": 5, "reason": "a test"}), "/matchers", Value::Null, "it must be there"),
        (silences, json!({"minuts": 5}), "", Value::Null, "one of matchers"),
    ] {
        let (status, problem) = running.send(Method::POST, path, &body).await;
        let wrong = &problem["errors"][0];
        assert!(matches!(status, 400 | 422), "{body}: {problem:#}");
        if !pointer.is_empty() {
            assert_eq!((&wrong["pointer"], &wrong["got"]), (&json!(pointer), &got), "{body}: {problem:#}");
        }
        let words = wrong["expected"].as_str().unwrap();
        assert!(words.contains(expected), "{body}: {problem:#}");
    }
    let twice = running.request(Method::POST, pause).header("content-type", "application/json");
    let (_, problem) = kit::app::answer(twice.body("{\"reason\": \"a test\"} {}")).await;
    assert_eq!(problem["errors"][0]["expected"], "one JSON value and nothing after it", "{problem:#}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_why_it_is_empty_where_no_event_has_the_run_or_the_symbol() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    for (query, said) in [("run=no-such-run", "a run `no-such-run`"), ("symbol=NOSUCH", "a symbol `NOSUCH`")]
    {
        let (_, page) = running.get(&format!("/api/v1/events?{query}")).await;
        assert!(page["empty_reason"].as_str().is_some_and(|why| why.contains(said)), "{query}: {page:#}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_cut_to_a_budget_counts_what_it_does_not_show_and_its_cursor_loses_nothing() {
    let folder = kit::folder();
    let running = Running::start(folder.path(), &[]).await;
    kit::until("there are events", Duration::from_secs(30), || async {
        running.get("/api/v1/events").await.1["items"].as_array().is_some_and(|items| items.len() > 2)
    })
    .await;
    for budget in [50, 60, 100, 200, 400] {
        let mut path = format!("/api/v1/events?limit=3&budget_tokens={budget}");
        let (_, cut) = running.get(&path).await;
        let shown = cut["items"].as_array().map_or(0, Vec::len);
        if shown == 0 {
            assert!(cut.get("older").is_none() && cut.get("next").is_none(), "{budget}: {cut:#}");
            path = "/api/v1/events?limit=3".to_owned();
            assert_eq!(cut["continue"]["path"], path, "{budget}: {cut:#}");
        }
        if let Some(omitted) = cut["omitted"].as_u64() {
            let (_, whole) = running.get("/api/v1/events?limit=3").await;
            let beyond = whole["omitted"].as_u64().unwrap();
            assert!(omitted >= beyond.min(3 - u64::try_from(shown).unwrap()), "{budget}: {cut:#}");
            assert!(shown > 0 || omitted >= 3, "{budget}: {cut:#}");
        }
    }
    running.stop().await;
}
