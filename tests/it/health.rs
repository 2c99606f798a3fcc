//! Health over the API: checks of real peers, alerts at a real receiver, recovery, restarts, faults.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use botops_server::health::{Criticality, HandlerEnd, HealthLevel, SourceFact, WorkflowFact, WorkflowRunner};
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::kit;
use crate::kit::app::{Running, answer};
use crate::kit::scripted_bot::{Behaviour, ScriptedBot};
use crate::refusals::assert_problem;

pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A health config with the shortest intervals, so that tests wait for conditions and hardly for time.
pub(crate) fn hasty() -> Value {
    json!({
        "check_interval": 0.3, "timeout": 0.25, "confirm_interval": 0.1, "startup_grace": 0,
        "alerting": {"for_warning_ms": 0, "group_wait_ms": 0, "keep_firing_for_ms": 300, "change_gap_ms": 0},
    })
}

/// Starts botops beside a scripted bot, with the [`hasty`] config.
/// Leaves out of everything that the machine under the tests is busy, which is no fault of theirs.
pub(crate) async fn leave_out_machine(botops: &Running) {
    let window = json!({"components": ["system_resources"], "zone": "UTC", "start": "00:00", "duration_minutes": 1_440,
        "reason": "the tests keep it busy"});
    let (status, body) = botops.send(Method::POST, "/api/v1/health/maintenance", &window).await;
    assert_eq!(status, 201, "{body}");
}

pub(crate) async fn beside(bot: &ScriptedBot, folder: &TempDir, more: &[(&str, &str)]) -> Running {
    let socket = bot.socket().display().to_string();
    let id = bot.id();
    let mut settings = vec![("BOT_IPC_SOCKET", socket.as_str()), ("BOT_ID", id.as_str())];
    settings.extend(more);
    let botops = Running::start(folder.path(), &settings).await;
    leave_out_machine(&botops).await;
    let (status, body) = botops.send(Method::PUT, "/api/v1/health/monitoring/config", &hasty()).await;
    assert_eq!(status, 200, "{body}");
    component_is(&botops, "bot", "HEALTHY").await;
    botops
}

pub(crate) async fn get(botops: &Running, path: &str) -> Value {
    let (status, body) = botops.get(path).await;
    assert_eq!(status, 200, "{path}: {body}");
    body
}

pub(crate) async fn component_is(botops: &Running, id: &str, status: &str) -> Value {
    component_until(botops, id, status, |view| view["status"] == status).await
}

/// Waits until a component's view fulfils the condition; returns that view.
async fn component_until(
    botops: &Running,
    id: &str,
    what: &str,
    condition: impl Fn(&Value) -> bool,
) -> Value {
    let path = format!("/api/v1/health/components/{id}");
    let seen = Mutex::new(Value::Null);
    kit::until(&format!("{id}: {what}"), LIMIT, || async {
        let view = botops.get(&path).await.1;
        let fits = condition(&view);
        *seen.lock().unwrap() = view;
        fits
    })
    .await;
    seen.into_inner().unwrap()
}

/// How the stub answers.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Peer {
    Fine,
    Slow(u64),
    Hangs,
    Endless,
    Status(u16),
    Redirects,
    Limited,
}

/// An HTTP server that answers as set, with a journal of the bodies that it got.
#[derive(Clone)]
pub(crate) struct Stub {
    pub base: String,
    peer: Arc<Mutex<Peer>>,
    journal: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    asked: Arc<AtomicUsize>,
}

impl Stub {
    pub(crate) async fn start(peer: Peer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stub =
            Self { base, peer: Arc::new(Mutex::new(peer)), journal: Arc::default(), asked: Arc::default() };
        let this = stub.clone();
        let router = axum::Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let this = this.clone();
            async move { this.answer(headers, body).await }
        });
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        stub
    }

    pub(crate) fn set(&self, peer: Peer) {
        *self.peer.lock().unwrap() = peer;
    }

    async fn answer(&self, headers: HeaderMap, body: Bytes) -> Response {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let peer = *self.peer.lock().unwrap();
        match peer {
            Peer::Fine => {
                if let Ok(message) = serde_json::from_slice(&body) {
                    self.journal.lock().unwrap().push((headers, message));
                }
                "fine".into_response()
            }
            Peer::Slow(milliseconds) => {
                tokio::time::sleep(Duration::from_millis(milliseconds)).await;
                "late".into_response()
            }
            Peer::Hangs => std::future::pending().await,
            Peer::Endless => {
                let chunk = Bytes::from(vec![b'x'; 64 * 1024]);
                let endless = stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
                Body::from_stream(endless).into_response()
            }
            Peer::Status(code) => StatusCode::from_u16(code).unwrap().into_response(),
            Peer::Redirects => {
                (StatusCode::FOUND, [("location", "http://169.254.169.254/latest/")]).into_response()
            }
            Peer::Limited => (
                StatusCode::TOO_MANY_REQUESTS,
                [("retry-after", "1"), ("x-ratelimit-limit", "100"), ("x-ratelimit-remaining", "15")],
            )
                .into_response(),
        }
    }

    /// First and last notices about a component, in the order in which they came: key and status.
    fn notices(&self, component: &str) -> Vec<(String, String)> {
        let journal = self.journal.lock().unwrap();
        let alerts =
            journal.iter().flat_map(|(_, message)| message["alerts"].as_array().cloned().unwrap_or_default());
        alerts
            .filter(|alert| {
                alert["component_id"] == component && alert["labels"]["alertname"] == "ComponentUnhealthy"
            })
            .filter(|alert| {
                ["firing", "resolved"].iter().any(|first_or_last| alert["notice"] == *first_or_last)
            })
            .map(|alert| {
                (alert["key"].as_str().unwrap().to_owned(), alert["status"].as_str().unwrap().to_owned())
            })
            .collect()
    }

    pub(crate) fn statuses(&self, component: &str) -> Vec<String> {
        self.notices(component).into_iter().map(|(_, status)| status).collect()
    }
}

pub(crate) fn external(id: &str, base: &str) -> Value {
    json!({"checker_type": "external_api", "component_id": id, "config": {"api_url": format!("{base}/health")},
        "interval": 1.0, "timeout": 0.4, "criticality": "important"})
}

pub(crate) async fn add(botops: &Running, checker: &Value) {
    let (status, body) = botops.send(Method::POST, "/api/v1/health/checkers", checker).await;
    assert_eq!(status, 201, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_read_answers_at_both_addresses() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    for route in [
        "status",
        "current",
        "statistics",
        "dashboard",
        "components",
        "components/bot",
        "components/bot/metrics",
        "history",
        "events",
        "alerts",
        "metrics/summary",
        "monitoring/status",
        "silences",
        "maintenance",
        "recovery",
        "recovery/bot",
        "availability",
        "slo",
        "dashboard?window=1h&points=10",
        "components/bot/metrics?window=30m&points=5",
        "history?hours=1&component_id=bot&limit=1",
    ] {
        get(&botops, &format!("/api/v1/health/{route}")).await;
        get(&botops, &format!("/api/trading-engine/health/{route}")).await;
    }
    let (status, body) = botops.send(Method::POST, "/api/trading-engine/health/check", &json!({})).await;
    assert_eq!(status, 200);
    assert_eq!(body["success"], true);
    let (_, body) = botops.send(Method::POST, "/api/v1/health/test", &json!({"notify": true})).await;
    assert_eq!(body["success"], true, "{body:#}");
    for act in ["stop", "start"] {
        let path = format!("/api/v1/health/monitoring/{act}");
        assert_eq!(botops.send(Method::POST, &path, &json!({})).await.0, 200);
        let active = get(&botops, "/api/v1/health/monitoring/status").await["monitoring_active"].clone();
        assert_eq!(active, act == "start");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_on_the_wire_do_not_drift() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    let status = get(&botops, "/api/v1/health/status").await;
    for member in ["overall_status", "caused_by", "components", "counts"] {
        assert!(status.get(member).is_some(), "{member} in {status:#}");
    }
    let component = &status["components"][0];
    for member in ["component_id", "component_type", "status", "criticality", "metrics"] {
        assert!(component.get(member).is_some(), "{member} in {component:#}");
    }
    let dashboard = get(&botops, "/api/v1/health/dashboard").await;
    for pointer in [
        "/overall_status",
        "/statistics/total_components",
        "/statistics/healthy_components",
        "/statistics/warning_components",
        "/statistics/uptime_percentage_24h",
        "/components/0/component_id",
        "/components/0/key_metrics",
        "/recent_events",
        "/monitoring_active",
    ] {
        assert!(dashboard.pointer(pointer).is_some(), "{pointer} in {dashboard:#}");
    }
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_that_stops_answering_is_one_alert_and_one_end_at_the_webhook() {
    let (bot, folder, receiver) = (ScriptedBot::start(), kit::folder(), Stub::start(Peer::Fine).await);
    let hook = format!("{}/hook", receiver.base);
    let settings =
        [("BOT_ALERT_WEBHOOK_URL", hook.as_str()), ("BOT_ALERT_WEBHOOK_SECRET", "a-secret-of-the-hook")];
    let botops = beside(&bot, &folder, &settings).await;
    bot.behave(Behaviour::Stall);
    component_is(&botops, "bot", "DOWN").await;
    kit::until("the whole is down, for the bot alone", LIMIT, || async {
        let status = get(&botops, "/api/v1/health/current").await;
        status["overall_status"] == "DOWN" && status["caused_by"] == json!(["bot"])
    })
    .await;
    kit::until("the webhook is told", LIMIT, || async { receiver.statuses("bot") == ["firing"] }).await;
    bot.behave(Behaviour::Normal);
    component_is(&botops, "bot", "HEALTHY").await;
    kit::until("the webhook is told of the end", LIMIT, || async {
        receiver.statuses("bot") == ["firing", "resolved"]
    })
    .await;
    let (headers, message) = receiver.journal.lock().unwrap()[0].clone();
    assert!(headers["x-botops-signature"].to_str().unwrap().starts_with("t="));
    assert_eq!(headers["idempotency-key"], message["key"].as_str().unwrap());
    // The file receiver has its own queue.
    let log = folder.path().join("data/alerts.jsonl");
    let told = || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("\"resolved\""));
    kit::until("the file tells of the end too", LIMIT, || async { told() }).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_api_shows_in_its_component_only_and_each_failure_has_its_name() {
    let (bot, folder, peer) = (ScriptedBot::start(), kit::folder(), Stub::start(Peer::Slow(120)).await);
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let mut checker = external("feed", &peer.base);
    checker["thresholds"] = json!({"response_time": {"warning": 100.0, "critical": 5000.0}});
    add(&botops, &checker).await;
    let feed = component_is(&botops, "feed", "WARNING").await;
    assert!(feed["reason"].as_str().unwrap().starts_with("response_time is"), "{feed:#}");
    kit::until("the bot's component is as it was", LIMIT, || async {
        let status = get(&botops, "/api/v1/health/status").await;
        let of = |id: &str| {
            let components = status["components"].as_array().unwrap();
            components.iter().find(|c| c["component_id"] == id).unwrap()["status"].clone()
        };
        of("feed") == "WARNING" && of("bot") == "HEALTHY"
    })
    .await;
    let mut feed = Value::Null;
    for (behaviour, outcome, wanted) in [
        (Peer::Status(500), "http_status", "CRITICAL"),
        (Peer::Status(401), "auth", "CRITICAL"),
        (Peer::Redirects, "http_status", "CRITICAL"),
        (Peer::Hangs, "timeout", "DOWN"),
        (Peer::Limited, "rate_limited", "WARNING"),
    ] {
        peer.set(behaviour);
        let condition = |feed: &Value| feed["outcome"] == outcome && feed["raw_status"] == wanted;
        feed = component_until(&botops, "feed", outcome, condition).await;
    }
    // The rate limit appears as used quota; the requested wait is kept.
    let used = feed["metrics"].as_array().unwrap().iter().find(|metric| metric["name"] == "rate_limit_usage");
    assert_eq!(used.unwrap()["value"], 85.0);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hanging_panicking_and_endless_checks_move_nobody_elses_clock() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let (hanging, endless) = (Stub::start(Peer::Hangs).await, Stub::start(Peer::Endless).await);
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    for index in 0..20 {
        add(&botops, &external(&format!("hangs-{index}"), &hanging.base)).await;
    }
    add(&botops, &external("endless", &endless.base)).await;
    let health = &botops.app.handles().health;
    health.add_source("panics", Criticality::Optional, &[], Arc::new(|| panic!("a defect in a check")));
    let runs: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let noted = runs.clone();
    health.add_source(
        "steady",
        Criticality::Optional,
        &[],
        Arc::new(move || {
            noted.lock().unwrap().push(Instant::now());
            SourceFact { level: Some(HealthLevel::Healthy), reason: String::new(), numbers: Vec::new() }
        }),
    );
    component_is(&botops, "hangs-19", "DOWN").await;
    component_is(&botops, "endless", "HEALTHY").await;
    kit::until("the panicking check was run", LIMIT, || async {
        botops.get("/api/v1/health/components/panics").await.1["outcome"] == "internal"
    })
    .await;
    let from = runs.lock().unwrap().len();
    kit::until("thirty runs more", LIMIT * 2, || async { runs.lock().unwrap().len() > from + 30 }).await;
    // A check that delayed the others would do so every time; a pause of the machine is one long time among many.
    let runs = runs.lock().unwrap().split_off(from);
    let mut apart: Vec<Duration> = runs.windows(2).map(|two| two[1] - two[0]).collect();
    apart.sort();
    let usual = apart[apart.len() / 2];
    assert!(
        usual < Duration::from_millis(450),
        "a run each {usual:?} although the interval is 0.3 s: {apart:?}"
    );
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_checkers_are_refused_with_pointers() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[("BOT_CHECK_SECRET_FEED", "the-key-of-the-feed")]).await;
    let good = || {
        json!({"checker_type": "external_api", "component_id": "feed",
            "config": {"api_url": "https://93.184.216.34/health"}})
    };
    let cases: Vec<(&str, Value, &str, &str)> = vec![
        ("/component_id", json!("No Spaces"), "/component_id", "HLT_002"),
        ("/interval", json!(-1), "/interval", "HLT_002"),
        ("/timeout", json!(99), "/timeout", "HLT_002"),
        ("/depends_on", json!(["nobody"]), "/depends_on/0", "HLT_002"),
        ("/quorum", json!(2), "/quorum", "HLT_002"),
        (
            "/thresholds",
            json!({"response_time": {"warning": 9.0, "critical": 1.0}}),
            "/thresholds/response_time/critical",
            "HLT_002",
        ),
        (
            "/thresholds",
            json!({"response_time": {"warning": -1.0}}),
            "/thresholds/response_time/warning",
            "HLT_002",
        ),
        ("/config", json!({"api_url": "nonsense"}), "/config/api_url", "HLT_002"),
        (
            "/config",
            json!({"api_url": "https://93.184.216.34/", "api_key": "secret"}),
            "/config/api_key",
            "HLT_002",
        ),
        (
            "/config",
            json!({"api_url": "https://93.184.216.34/", "api_key_env": "BOT_API_AUTH_TOKEN"}),
            "/config/api_key_env",
            "HLT_002",
        ),
        (
            "/config",
            json!({"api_url": "https://93.184.216.34/", "api_key_env": "BOT_CHECK_SECRET_NOBODY"}),
            "/config/api_key_env",
            "HLT_002",
        ),
        (
            "/config",
            json!({"api_url": "http://93.184.216.34/", "api_key_env": "BOT_CHECK_SECRET_FEED"}),
            "/config/api_url",
            "HLT_002",
        ),
        ("/config", json!({"api_url": "http://127.0.0.1:8000/"}), "/config/api_url", "HLT_003"),
        ("/config", json!({"api_url": "http://169.254.169.254/latest"}), "/config/api_url", "HLT_003"),
        ("/config", json!({"api_url": "http://[::ffff:10.0.0.1]/"}), "/config/api_url", "HLT_003"),
        ("/config", json!({"api_url": "https://user:secret@93.184.216.34/"}), "/config/api_url", "HLT_002"),
    ];
    for (member, value, pointer, code) in cases {
        let mut checker = good();
        *checker.pointer_mut(member).unwrap_or(&mut Value::Null) = value.clone();
        checker[member.trim_start_matches('/')] = value.clone();
        let (status, body) = botops.send(Method::POST, "/api/v1/health/checkers", &checker).await;
        assert_problem(&body, 422, code);
        assert_eq!(status, 422);
        let pointers: Vec<&str> =
            body["errors"].as_array().unwrap().iter().filter_map(|error| error["pointer"].as_str()).collect();
        assert!(pointers.contains(&pointer), "{value}: {pointers:?}");
        assert!(!body.to_string().contains("secret@"), "{body}");
    }
    let (_, body) = botops
        .send(
            Method::POST,
            "/api/v1/health/checkers",
            &json!({"checker_type": "oracle", "component_id": "x", "config": {}}),
        )
        .await;
    assert_problem(&body, 400, "API_006");
    let text = "{\"checker_type\":\"external_api\",\"component_id\":\"x\",\"config\":{},\"interval\":NaN}";
    let request =
        botops.request(Method::POST, "/api/v1/health/checkers").header("content-type", "application/json");
    assert_problem(&answer(request.body(text)).await.1, 400, "API_006");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_health_names_a_call_that_works() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[("BOT_CHECK_ALLOW", "127.0.0.1")]).await;
    let peer = Stub::start(Peer::Fine).await;
    add(&botops, &external("feed", &peer.base)).await;
    let mut child = external("child", &peer.base);
    child["depends_on"] = json!(["feed"]);
    add(&botops, &child).await;
    let silence = json!({"matchers": [], "comment": "", "ends_at": "2020-01-01T00:00:00Z"});
    let h = |path: &str| format!("/api/v1/health/{path}");
    let cases = [
        (Method::GET, h("components/nobody"), json!(null), 404, "HLT_001"),
        (
            Method::POST,
            h("checkers"),
            json!({"checker_type": "database", "component_id": "d", "config": {}}),
            422,
            "HLT_002",
        ),
        (Method::POST, h("checkers"), external("x", "http://10.0.0.1"), 422, "HLT_003"),
        (Method::POST, h("checkers"), external("feed", &peer.base), 409, "HLT_004"),
        (Method::DELETE, h("checkers/bot"), json!(null), 409, "HLT_005"),
        (Method::DELETE, h("checkers/feed"), json!(null), 409, "HLT_006"),
        (Method::POST, h("alerts/nobody/ack"), json!({}), 404, "HLT_007"),
        (Method::POST, h("silences"), silence, 422, "HLT_008"),
        (Method::DELETE, h("silences/nobody"), json!(null), 404, "HLT_009"),
        (Method::PUT, h("monitoring/config"), json!({"check_interval": 5, "timeout": 5}), 422, "HLT_010"),
        (Method::POST, h("recovery/outbox"), json!({"action": "run"}), 409, "HLT_012"),
    ];
    let follow = |body: Value| {
        let next = body["next_actions"][0].clone();
        let method: Method = next["method"].as_str().unwrap().parse().unwrap();
        botops.request(method, next["path"].as_str().unwrap())
    };
    for (method, path, body, status, code) in cases {
        let (_, problem) = botops.send(method, &path, &body).await;
        assert_problem(&problem, status, code);
        let (status, answered) = answer(follow(problem)).await;
        assert!(status < 300, "{code}: {answered}");
    }
    botops.send(Method::POST, &h("monitoring/stop"), &json!({})).await;
    let (_, problem) = botops.send(Method::POST, &h("check"), &json!({})).await;
    assert_problem(&problem, 409, "HLT_011");
    assert_eq!(answer(follow(problem)).await.0, 200);
    let current = get(&botops, &h("current")).await;
    assert_eq!(
        (&current["overall_status"], &current["reason"]),
        (&json!("UNKNOWN"), &json!("monitoring_stopped"))
    );
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_before_a_restart_the_end_is_told_after_it_and_through_a_silence() {
    let (bot, folder, receiver) = (ScriptedBot::start(), kit::folder(), Stub::start(Peer::Fine).await);
    let peer = Stub::start(Peer::Status(500)).await;
    let hook = format!("{}/hook", receiver.base);
    let settings = [("BOT_ALERT_WEBHOOK_URL", hook.as_str()), ("BOT_CHECK_ALLOW", "127.0.0.1")];
    let botops = beside(&bot, &folder, &settings).await;
    add(&botops, &external("feed", &peer.base)).await;
    kit::until("the firing is told", LIMIT, || async { receiver.statuses("feed") == ["firing"] }).await;
    botops.stop().await;

    // On the same folder, the checker, the config and the open alert are restored.
    let botops = beside(&bot, &folder, &settings).await;
    component_is(&botops, "feed", "CRITICAL").await;
    let ends_at = chrono::Utc::now() + chrono::Duration::hours(1);
    let silence = json!({"matchers": [{"name": "component", "op": "=~", "value": "fe.*"}],
        "comment": "known", "ends_at": ends_at});
    let (status, body) = botops.send(Method::POST, "/api/v1/health/silences", &silence).await;
    assert_eq!(status, 201, "{body}");
    kit::until("the alert is silenced", LIMIT, || async {
        let alerts = get(&botops, "/api/v1/health/alerts?state=firing&component_id=feed").await;
        alerts["items"][0]["overlays"] == json!(["silenced"])
    })
    .await;
    peer.set(Peer::Fine);
    kit::until("the end is told", LIMIT, || async { receiver.statuses("feed") == ["firing", "resolved"] })
        .await;

    // A failure during the silence is not sent.
    peer.set(Peer::Status(500));
    component_is(&botops, "feed", "CRITICAL").await;
    peer.set(Peer::Fine);
    component_is(&botops, "feed", "HEALTHY").await;
    kit::until("it is resolved", LIMIT, || async {
        get(&botops, "/api/v1/health/alerts?state=firing&component_id=feed").await["items"] == json!([])
    })
    .await;
    assert_eq!(receiver.statuses("feed"), ["firing", "resolved"]);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_too_short_to_be_told_leaves_nothing_that_outlives_it() {
    let (bot, folder, receiver) = (ScriptedBot::start(), kit::folder(), Stub::start(Peer::Fine).await);
    let peer = Stub::start(Peer::Limited).await;
    let hook = format!("{}/hook", receiver.base);
    let settings = [("BOT_ALERT_WEBHOOK_URL", hook.as_str()), ("BOT_CHECK_ALLOW", "127.0.0.1")];
    let botops = beside(&bot, &folder, &settings).await;
    let mut patient = hasty();
    patient["alerting"]["for_warning_ms"] = json!(600_000);
    let (status, body) = botops.send(Method::PUT, "/api/v1/health/monitoring/config", &patient).await;
    assert_eq!(status, 200, "{body}");
    add(&botops, &external("feed", &peer.base)).await;
    component_is(&botops, "feed", "WARNING").await;
    let pending = || get(&botops, "/api/v1/health/alerts?state=pending&component_id=feed");
    kit::until("it waits to fire", LIMIT, || async { pending().await["items"] != json!([]) }).await;
    peer.set(Peer::Fine);
    kit::until("it is forgotten", LIMIT, || async { pending().await["items"] == json!([]) }).await;

    // The next alert of this component is stored, so its resolution is sent even after a restart.
    peer.set(Peer::Status(500));
    kit::until("the firing is told", LIMIT, || async { receiver.statuses("feed") == ["firing"] }).await;
    botops.stop().await;
    let botops = beside(&bot, &folder, &settings).await;
    let alerts = get(&botops, "/api/v1/health/alerts?component_id=feed").await;
    assert_eq!(alerts["items"].as_array().unwrap().len(), 1, "{alerts:#}");
    assert_eq!(alerts["items"][0]["state"], "firing", "{alerts:#}");
    peer.set(Peer::Fine);
    kit::until("the end is told", LIMIT, || async { receiver.statuses("feed") == ["firing", "resolved"] })
        .await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_was_away_is_told_in_order_and_once() {
    let (bot, folder, receiver) = (ScriptedBot::start(), kit::folder(), Stub::start(Peer::Status(500)).await);
    let peer = Stub::start(Peer::Status(500)).await;
    let hook = format!("{}/hook", receiver.base);
    let settings = [("BOT_ALERT_WEBHOOK_URL", hook.as_str()), ("BOT_CHECK_ALLOW", "127.0.0.1")];
    let botops = beside(&bot, &folder, &settings).await;
    add(&botops, &external("feed", &peer.base)).await;
    component_is(&botops, "feed", "CRITICAL").await;
    kit::until("the receiver was tried", LIMIT, || async { receiver.asked.load(Ordering::Relaxed) > 0 })
        .await;
    peer.set(Peer::Fine);
    kit::until("it is resolved", LIMIT, || async {
        let alerts = get(&botops, "/api/v1/health/alerts?state=resolved&component_id=feed").await;
        !alerts["items"].as_array().unwrap().is_empty()
    })
    .await;
    receiver.set(Peer::Fine);
    kit::until("both are told", LIMIT, || async { receiver.notices("feed").len() >= 2 }).await;
    assert_eq!(receiver.statuses("feed"), ["firing", "resolved"]);
    let keys: std::collections::BTreeSet<String> =
        receiver.notices("feed").into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 2);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_reads_the_short_form() {
    let (mut bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    let short = || {
        answer(
            botops.request(Method::GET, "/api/v1/health/status").header("accept", "application/health+json"),
        )
    };
    kit::until("it passes", LIMIT, || async { short().await.0 == 200 }).await;
    bot.die();
    // The scripted bot runs no committed config, which is a failure too; the loss of the bot is worse and is named.
    let names_the_bot = || async {
        let (status, body) = short().await;
        status == 503 && body["status"] == "fail" && body["output"] == "bot"
    };
    kit::until("it fails for the bot", LIMIT, names_the_bot).await;
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_runs_the_workflow_and_the_check_has_the_last_word() {
    let (mut bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    let ran: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = ran.clone();
    botops.app.handles().health.set_runner(WorkflowRunner {
        describe: Arc::new(|_| {
            let longest = Duration::from_secs(60);
            Box::pin(async move {
                WorkflowFact { restarts_bot: true, longest, hindrance: None, missing_code: None }
            })
        }),
        list_candidates: Arc::new(|| Box::pin(async { Vec::new() })),
        run: Arc::new(move |run| {
            log.lock().unwrap().push(run.workflow);
            Box::pin(async { HandlerEnd::Done("run-1".to_owned()) })
        }),
    });
    bot.die();
    component_is(&botops, "bot", "DOWN").await;
    let path = "/api/v1/health/recovery/bot";
    let (status, body) = botops.send(Method::POST, path, &json!({"action": "run"})).await;
    assert_eq!(status, 200, "{body}");
    kit::until("the check is waited for", LIMIT, || async {
        get(&botops, path).await["state"] == "verifying"
    })
    .await;
    assert_eq!(*ran.lock().unwrap(), ["restart-bot"]);
    bot.revive();
    kit::until("the check confirms it", LIMIT, || async {
        get(&botops, path).await["last_outcome"] == "recovered"
    })
    .await;
    for (action, state) in [("hold", "held"), ("release", "idle"), ("reset", "idle")] {
        let (_, body) = botops.send(Method::POST, path, &json!({"action": action})).await;
        assert_eq!(body["state"], state, "{body}");
    }
    assert_eq!(get(&botops, path).await["attempts"], 0);
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_looked_at_without_a_scan_and_its_loss_is_seen() {
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let botops = beside(&bot, &folder, &[]).await;
    let path = folder.path().join("trades.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute_batch("CREATE TABLE trades(id INTEGER PRIMARY KEY); INSERT INTO trades VALUES(41), (42)")
        .unwrap();
    drop(database);
    let checker = json!({"checker_type": "database", "component_id": "trades", "config": {"db_path": path},
        "interval": 1.0, "timeout": 0.5});
    add(&botops, &checker).await;
    let view = component_is(&botops, "trades", "HEALTHY").await;
    let metrics: BTreeMap<String, f64> = view["metrics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|metric| (metric["name"].as_str().unwrap().to_owned(), metric["value"].as_f64().unwrap()))
        .collect();
    assert!((metrics["total_rows"] - 42.0).abs() < 0.5);
    assert!((metrics["table_count"] - 1.0).abs() < 0.5);
    std::fs::remove_file(&path).unwrap();
    component_is(&botops, "trades", "DOWN").await;
    let (status, _) =
        botops.send(Method::DELETE, "/api/trading-engine/health/checkers/trades", &json!(null)).await;
    assert_eq!(status, 200);
    assert_eq!(botops.get("/api/v1/health/components/trades").await.0, 404);
    botops.stop().await;
}
