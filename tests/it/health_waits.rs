//! A target that asks to wait is asked again only then, and a status is shown with the reason that made it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{HeaderMap, HeaderValue, StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::health::{LIMIT, add, beside, component_is, external, get};
use crate::kit;
use crate::kit::app::Running;
use crate::kit::scripted_bot::ScriptedBot;

/// An HTTP server that limits its clients as set, and remembers when it was asked.
#[derive(Clone)]
struct LimitingPeer {
    base: String,
    answer: Arc<Mutex<(u16, Option<String>)>>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl LimitingPeer {
    async fn start(status: u16, retry_after: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let peer = Self { base, answer: Arc::new(Mutex::new((status, retry_after))), asked: Arc::default() };
        let this = peer.clone();
        let router = axum::Router::new().fallback(move || {
            let this = this.clone();
            async move {
                this.asked.lock().unwrap().push(Instant::now());
                let (status, retry_after) = this.answer.lock().unwrap().clone();
                let mut headers = HeaderMap::new();
                if let Some(value) = retry_after {
                    headers.insert("retry-after", HeaderValue::from_str(&value).unwrap());
                }
                (StatusCode::from_u16(status).unwrap(), headers)
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        peer
    }

    fn set(&self, status: u16, retry_after: Option<&str>) {
        *self.answer.lock().unwrap() = (status, retry_after.map(str::to_owned));
    }

    /// Waits until it was asked this often; returns the times between.
    async fn asked(&self, times: usize) -> Vec<Duration> {
        let asked = || self.asked.lock().unwrap().clone();
        kit::until(&format!("it is asked {times} times"), LIMIT, || async { asked().len() >= times }).await;
        asked().windows(2).map(|two| two[1] - two[0]).collect()
    }
}

/// A date as HTTP writes it, this many seconds from now.
fn date_in(seconds: i64) -> String {
    let at = chrono::Utc::now() + chrono::Duration::seconds(seconds);
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// A checker with so much time that a pause of the machine is no timeout, which would be asked again soon.
fn patient(id: &str, base: &str) -> Value {
    let mut checker = external(id, base);
    checker["interval"] = json!(2.0);
    checker["timeout"] = json!(1.8);
    checker
}

fn own_api(id: &str, base: &str) -> Value {
    json!({"checker_type": "api_server", "component_id": id, "interval": 2.0, "timeout": 1.8,
        "config": {"base_url": base, "endpoints": ["/health"]}})
}

async fn view(botops: &Running, id: &str) -> Value {
    get(botops, &format!("/api/v1/health/components/{id}")).await
}

/// Waits until the last sample of `feed` alone has this status; returns the view of that moment.
async fn seen_raw(botops: &Running, raw_status: &str) -> Value {
    let seen = Mutex::new(Value::Null);
    kit::until(&format!("a sample at {raw_status}"), LIMIT, || async {
        let view = view(botops, "feed").await;
        let fits = view["raw_status"] == raw_status;
        *seen.lock().unwrap() = view;
        fits
    })
    .await;
    seen.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_names_a_time_is_asked_again_only_then() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    // A date has no fractions, so a wait of six seconds may begin as one of a little more than five.
    let cases = [
        ("limited-date", 429, date_in(6), "external"),
        ("away-date", 503, date_in(6), "external"),
        ("away-seconds", 503, "5".to_owned(), "external"),
        ("own-date", 503, date_in(6), "own"),
    ];
    let mut peers = Vec::new();
    for (id, status, retry_after, kind) in cases {
        let peer = LimitingPeer::start(status, Some(retry_after)).await;
        let checker = if kind == "own" { own_api(id, &peer.base) } else { patient(id, &peer.base) };
        add(&botops, &checker).await;
        peers.push((id, peer));
    }
    for (id, peer) in &peers {
        peer.asked(1).await;
        kit::until(&format!("{id} shows its wait"), LIMIT, || async {
            view(&botops, id).await["waits_until"].is_string()
        })
        .await;
        let shown = view(&botops, id).await;
        assert_eq!(shown["waits_because"], "retry_after", "{shown:#}");
        // Not sooner, even when somebody asks for a check.
        let body = json!({"component_id": id});
        assert_eq!(botops.send(Method::POST, "/api/v1/health/check", &body).await.0, 200);
        // A sample that cannot be confirmed before the wait is over counts at once.
        let wanted = if *id == "limited-date" { "WARNING" } else { "CRITICAL" };
        assert_eq!(component_is(&botops, id, wanted).await["status"], wanted);
    }
    for (id, peer) in &peers {
        let apart = peer.asked(2).await[0];
        assert!(apart > Duration::from_millis(4_000), "{id} was asked again after {apart:?}");
        assert!(apart < Duration::from_secs(30), "{id}: {apart:?}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_limits_without_a_time_is_asked_less_and_less_often() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let peers = [
        ("no-header", LimitingPeer::start(429, None).await),
        ("unreadable", LimitingPeer::start(503, Some("soon".to_owned())).await),
        ("past", LimitingPeer::start(503, Some(date_in(-60))).await),
    ];
    for (id, peer) in &peers {
        add(&botops, &patient(id, &peer.base)).await;
    }
    for (id, peer) in &peers {
        let apart = peer.asked(3).await;
        // The interval is two seconds.
        assert!(apart[0] > Duration::from_millis(3_600), "{id}: {apart:?}");
        assert!(apart[1] > Duration::from_millis(7_200), "{id}: {apart:?}");
        // Between two waits there is none.
        kit::until(&format!("{id} says why"), LIMIT, || async {
            view(&botops, id).await["waits_because"] == "back_off"
        })
        .await;
        peer.set(200, None);
    }
    for (id, _) in &peers {
        let shown = component_is(&botops, id, "HEALTHY").await;
        assert!(shown["waits_until"].is_null(), "{shown:#}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_is_kept_over_a_restart() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let settings = [("BOT_CHECK_ALLOW", "127.0.0.1")];
    let botops = beside(&bot, &folder, &settings).await;
    let peer = LimitingPeer::start(429, Some("3600".to_owned())).await;
    add(&botops, &patient("feed", &peer.base)).await;
    let before = component_is(&botops, "feed", "WARNING").await;
    botops.stop().await;
    let botops = beside(&bot, &folder, &settings).await;
    let after = component_is(&botops, "feed", "WARNING").await;
    let until = |view: &Value| view["waits_until"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>();
    let apart = until(&after).unwrap() - until(&before).unwrap();
    assert!(apart.abs() < chrono::Duration::seconds(5), "{before:#} {after:#}");
    // Another component was checked meanwhile, and this one was not.
    component_is(&botops, "store", "HEALTHY").await;
    assert_eq!(peer.asked(1).await.len(), 0, "it was asked once");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_shown_with_the_reason_of_what_decided_it() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let peer = LimitingPeer::start(401, None).await;
    add(&botops, &patient("feed", &peer.base)).await;
    let shown = component_is(&botops, "feed", "CRITICAL").await;
    assert_eq!(shown["reason"], "it refuses the credentials (401)");
    // A wait of one interval is not longer than usual, so the next samples confirm it.
    peer.set(429, Some("2"));
    let between = seen_raw(&botops, "WARNING").await;
    assert_eq!(between["status"], "CRITICAL", "one sample changes nothing: {between:#}");
    assert_eq!(between["reason"], "it refuses the credentials (401)", "{between:#}");
    assert_eq!(between["raw_reason"], "it asks to wait (429)", "{between:#}");
    let current = get(&botops, "/api/v1/health/alerts?state=firing&component_id=feed").await;
    assert_eq!(current["items"][0]["summary"], "feed is CRITICAL: it refuses the credentials (401)");
    let shown = component_is(&botops, "feed", "WARNING").await;
    assert_eq!(shown["reason"], "it asks to wait (429)");
    // The other way round: what is not confirmed yet is not the reason.
    peer.set(500, None);
    let between = seen_raw(&botops, "CRITICAL").await;
    if between["status"] == "WARNING" {
        assert_eq!(between["reason"], "it asks to wait (429)", "{between:#}");
    }
    let shown = component_is(&botops, "feed", "CRITICAL").await;
    assert_eq!(shown["reason"], "it answers 500");
    botops.stop().await;
}
