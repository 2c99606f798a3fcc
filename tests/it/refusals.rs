//! Every refusal has the same form, whether the guard, a handler, axum or hyper makes it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_core::tasks::Tasks;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::kit;
use crate::kit::app::{KEY, Running, answer};

/// Asserts all members that a problem must have, and that none of its texts is empty.
#[track_caller]
pub(crate) fn assert_problem(body: &Value, status: u16, code: &str) {
    assert_eq!(body["error_code"], code, "{body:#}");
    assert_eq!(body["status"], status, "{body:#}");
    for member in ["type", "title", "cause", "impact", "remediation", "request_id", "timestamp"] {
        assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} in {body:#}");
    }
    for member in ["error_type", "severity", "effect"] {
        assert!(body[member].is_string(), "{member} in {body:#}");
    }
    assert!(body["retry"]["class"].is_string(), "{body:#}");
    let first = &body["next_actions"][0];
    assert!(first["operation"].is_string() && first["path"].is_string(), "{body:#}");
    assert!(body["errors"].is_array() && body["context"].is_object(), "{body:#}");
}

#[tokio::test]
async fn the_guard_refuses_in_the_one_form() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let url = |path: &str| format!("{}{path}", botops.base);
    let plain = |method: Method, path: &str| botops.client.request(method, url(path));
    let state = "/api/v1/state";
    let table = [
        (plain(Method::GET, state), 401, "AUTH_001"),
        (plain(Method::GET, state).header("x-api-key", "wrong"), 401, "AUTH_001"),
        (plain(Method::GET, state).header("authorization", "Basic abc"), 401, "AUTH_001"),
        (plain(Method::GET, "/nowhere"), 401, "AUTH_001"),
        (botops.request(Method::GET, "/nowhere"), 404, "API_001"),
        (botops.request(Method::GET, "/api/v1/state//"), 404, "API_001"),
        (botops.request(Method::DELETE, state), 405, "API_002"),
        (plain(Method::POST, "/livez"), 405, "API_002"),
        (botops.request(Method::GET, state).header("accept", "image/png"), 406, "API_003"),
        (botops.request(Method::POST, "/api/v1/ask").body(vec![b' '; 300_000]), 413, "API_004"),
        (plain(Method::GET, "/api/v1/errors/catalogue/NOPE_999"), 404, "API_016"),
    ];
    for (request, status, code) in table {
        let (got, body) = answer(request).await;
        assert_eq!(got, status, "{body:#}");
        assert_problem(&body, status, code);
    }
    botops.stop().await;
}

#[tokio::test]
async fn a_right_key_works_in_both_headers() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let url = format!("{}/api/v1/whoami", botops.base);
    for (name, value) in [("X-API-Key", KEY.to_owned()), ("Authorization", format!("Bearer {KEY}"))] {
        let (status, body) = answer(botops.client.get(&url).header(name, value)).await;
        assert_eq!(status, 200, "{body:#}");
    }
    botops.stop().await;
}

/// Sends requests until `BOT_API_RATE_LIMIT` is used up, which must be neither too early nor too late: the refusal.
pub(crate) async fn raise_rate_limited(botops: &Running, limit: u64) -> reqwest::Response {
    let began = Instant::now();
    let mut passed = 0;
    loop {
        let answer = botops.request(Method::GET, "/api/v1/whoami").send().await.unwrap();
        if answer.status() != 200 {
            assert!(passed >= limit, "{passed} passed");
            return answer;
        }
        passed += 1;
        // `limit` requests at once, and as many more each minute, evenly spread.
        assert!(passed <= limit + began.elapsed().as_secs() * limit / 60, "{passed} passed");
    }
}

#[tokio::test]
async fn the_rate_is_told_and_kept() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[("BOT_API_RATE_LIMIT", "3")]).await;
    let refused = raise_rate_limited(&botops, 3).await;
    assert_eq!(refused.status(), 429);
    let header = |name: &str| refused.headers().get(name).unwrap().to_str().unwrap().to_owned();
    let wait: u64 = header("retry-after").parse().unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    assert_eq!(header("ratelimit"), format!("\"key\";r=0;t={wait}"));
    assert_eq!(header("ratelimit-policy"), "\"key\";q=3;w=60");
    assert_problem(&refused.json().await.unwrap(), 429, "API_009");
    // Paths without a key do not count.
    assert_eq!(botops.get("/livez").await.0, 200);
    botops.stop().await;
}

/// Sends wrong keys until they are no longer looked up, which is after ten of them at the earliest: the last refusal.
pub(crate) async fn raise_throttled(botops: &Running) -> Value {
    let url = format!("{}/api/v1/whoami", botops.base);
    // More than ten, since the quota refills while the machine pauses.
    for n in 0..40 {
        let (_, body) = answer(botops.client.get(&url).header("x-api-key", format!("wrong-{n}"))).await;
        if body["error_code"] != "AUTH_001" {
            assert!(n >= 10, "{n} wrong keys were looked up");
            return body;
        }
    }
    panic!("40 wrong keys were looked up");
}

#[tokio::test]
async fn wrong_keys_are_throttled_and_the_right_one_still_passes() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    assert_problem(&raise_throttled(&botops).await, 429, "AUTH_004");
    assert_eq!(botops.get("/api/v1/whoami").await.0, 200);
    botops.stop().await;
}

/// A browser that opens the address requests a page, an icon and more without a key, which is no guessing of keys.
#[tokio::test]
async fn a_request_without_a_key_is_no_wrong_key_however_often_it_comes() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    let get = |path: &str| botops.client.get(format!("{}{path}", botops.base));
    let keyless = || {
        ["/favicon.ico", "/docs", "/api/v1/state", "/api/v1/summary"]
            .iter()
            .map(|path| get(path))
            .chain([
                get("/api/v1/state").header("x-api-key", ""),
                get("/api/v1/state").header("x-api-key", "  "),
                get("/api/v1/state").header("authorization", "Bearer "),
                get("/api/v1/state").header("authorization", "Bearer"),
                get("/api/v1/state").header("authorization", "Basic abc"),
                get("/api/v1/state").header("authorization", ""),
                botops.client.post(format!("{}/mcp", botops.base)).json(&json!({})),
            ])
            .collect::<Vec<_>>()
    };
    for _ in 0..4 {
        for request in keyless() {
            let response = request.send().await.unwrap();
            assert_eq!(response.status(), 401, "{}", response.url());
            assert!(response.headers().contains_key("www-authenticate"));
            let body: Value = response.json().await.unwrap();
            let body = if body["error"].is_object() { body["error"]["data"].clone() } else { body };
            assert_problem(&body, 401, "AUTH_001");
            assert!(body["cause"].as_str().unwrap().contains("no API key"), "{body:#}");
        }
    }
    // An empty header is ignored in favour of the other one.
    let both = get("/api/v1/whoami").header("x-api-key", "").header("authorization", format!("Bearer {KEY}"));
    assert_eq!(answer(both).await.0, 200);
    // None of them was counted; wrong keys are still throttled, and requests without a key are not affected by that.
    let wrong = |n: i32| answer(get("/api/v1/whoami").header("x-api-key", format!("wrong-{n}")));
    assert_eq!(wrong(0).await.1["error_code"], "AUTH_001");
    let mut throttled = false;
    for n in 1..60 {
        throttled |= wrong(n).await.1["error_code"] == "AUTH_004";
    }
    assert!(throttled);
    for request in keyless() {
        assert_eq!(request.send().await.unwrap().status(), 401);
    }
    botops.stop().await;
}

/// botops knows an expired key: its holder gets that answer however often it is sent, and is not throttled.
#[tokio::test]
async fn an_expired_key_is_no_wrong_key() {
    use sha2::Digest;
    let folder = kit::folder();
    let file = folder.path().join("keys.json");
    let sha256 = data_encoding::HEXLOWER.encode(&sha2::Sha256::digest("past-key"));
    let past =
        json!({"id": "past", "sha256": sha256, "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"});
    std::fs::write(&file, json!({"keys": [past]}).to_string()).unwrap();
    let botops = Running::start(folder.path(), &[("BOT_API_KEYS_FILE", file.to_str().unwrap())]).await;
    for _ in 0..30 {
        let request = botops.client.get(format!("{}/api/v1/whoami", botops.base));
        let (status, body) = answer(request.header("x-api-key", "past-key")).await;
        assert_eq!((status, &body["error_code"]), (401, &json!("AUTH_002")));
    }
    botops.stop().await;
}

#[tokio::test]
async fn named_keys_are_held_to_their_scopes_and_their_end() {
    let folder = kit::folder();
    let file = folder.path().join("keys.json");
    let digest = |key: &str| {
        use sha2::Digest;
        data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(key.as_bytes()))
    };
    let keys = json!({"keys": [
        {"id": "viewer", "sha256": digest("viewer-key"), "scopes": ["read"]},
        {"id": "configurer", "sha256": digest("configurer-key"), "scopes": ["config"]},
        {"id": "past", "sha256": digest("past-key"), "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z"},
    ]});
    std::fs::write(&file, keys.to_string()).unwrap();
    let botops = Running::start(folder.path(), &[("BOT_API_KEYS_FILE", file.to_str().unwrap())]).await;
    let ask = |key: &'static str, method: Method, path: &str| {
        botops.client.request(method, format!("{}{path}", botops.base)).header("x-api-key", key)
    };
    let (status, who) = answer(ask("viewer-key", Method::GET, "/api/v1/whoami")).await;
    assert_eq!(status, 200, "{who:#}");
    let (status, body) = answer(ask("past-key", Method::GET, "/api/v1/whoami")).await;
    assert_eq!(status, 401);
    assert_problem(&body, 401, "AUTH_002");
    let (status, body) = answer(ask("configurer-key", Method::GET, "/api/v1/state")).await;
    assert_eq!(status, 403);
    assert_problem(&body, 403, "AUTH_003");
    assert_eq!(body["context"]["scope"], "read");
    botops.stop().await;
}

/// Sends bytes on a raw connection and returns everything that comes back.
pub(crate) fn raw(address: std::net::SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut text = Vec::new();
    // A reset after the answer is accepted: only what was read before matters.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// A header without a colon.
pub(crate) const MALFORMED_HEAD: &[u8] = b"GET / HTTP/1.1\r\nno colon here\r\n\r\n";

/// A head without its end.
pub(crate) const UNFINISHED_HEAD: &[u8] = b"GET /livez HTTP/1.1\r\nhost: x\r\n";

/// A head that is longer than botops accepts.
pub(crate) fn long_head() -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(80_000)).into_bytes()
}

/// Sends bytes that are no request and returns the problem; the status line must have the same status.
pub(crate) async fn raise_by_bytes(botops: &Running, bytes: Vec<u8>) -> Value {
    let address = botops.app.address();
    let text = tokio::task::spawn_blocking(move || raw(address, &bytes)).await.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a body follows the head");
    let problem: Value = serde_json::from_str(body).unwrap();
    assert!(head.starts_with(&format!("HTTP/1.1 {} ", problem["status"])), "{text}");
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_in_the_one_form_too() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[]).await;
    assert_problem(&raise_by_bytes(&botops, MALFORMED_HEAD.to_vec()).await, 400, "API_019");
    assert_problem(&raise_by_bytes(&botops, long_head()).await, 431, "API_018");
    assert_problem(&raise_by_bytes(&botops, UNFINISHED_HEAD.to_vec()).await, 408, "API_008");
    botops.stop().await;
}

#[tokio::test]
async fn a_browser_of_a_listed_origin_may_read_and_no_other() {
    let folder = kit::folder();
    let origin = "https://ops.example.com";
    let botops = Running::start(folder.path(), &[("BOT_API_CORS_ORIGINS", origin)]).await;
    let allowed = |response: &reqwest::Response| {
        response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
    };
    let ask = |origin: &str| botops.request(Method::GET, "/api/v1/whoami").header("origin", origin).send();
    assert_eq!(allowed(&ask(origin).await.unwrap()).as_deref(), Some(origin));
    assert_eq!(allowed(&ask("https://evil.example").await.unwrap()), None);
    let preflight = botops
        .client
        .request(Method::OPTIONS, format!("{}/api/v1/whoami", botops.base))
        .header("origin", origin)
        .header("access-control-request-method", "GET");
    let preflight = preflight.send().await.unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(allowed(&preflight).as_deref(), Some(origin));
    botops.stop().await;
}

/// The guard around a handler at `/bad`, on a socket of its own until this is dropped.
pub(crate) struct Guarded {
    base: String,
    client: reqwest::Client,
    server: tokio::task::JoinHandle<()>,
}

impl Guarded {
    pub(crate) fn serve(guard: botops_http::RequestGuard) -> Self {
        kit::install_tls();
        let listening = botops_http::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let base = format!("http://{}", listening.address());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let server = tokio::spawn(botops_http::serve(listening, Arc::new(guard), Tasks::new(), 8));
        Self { base, client, server }
    }

    /// A request to the handler, with the operator's key.
    pub(crate) fn request(&self) -> RequestBuilder {
        self.client.get(format!("{}/bad", self.base))
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The guard around handlers that misbehave.
pub(crate) fn guard_around(router: axum::Router) -> botops_http::RequestGuard {
    use botops_core::telemetry::{HttpMetrics, Metrics};
    use botops_http::{ApiKeys, CorsPolicy, GuardOptions, KeyFile, OperationIndex, OperationTable};
    let document = json!({"paths": {"/bad": {"get": {"operationId": "bad", "security": [{}],
        "x-error-codes": ["SRV_001", "SRV_004", "API_005"]}}}});
    let options = GuardOptions {
        keys: ApiKeys::new(KEY.to_owned().into(), &KeyFile::default(), 100),
        operations: OperationIndex::new(&OperationTable::of(&document), &HttpMetrics::new(&Metrics::new())),
        cors: CorsPolicy::default(),
        keyed: botops_http::KeyedChanges::new(
            Box::new(|_| {
                Box::pin(async { Err(botops_core::error::Error::new(botops_core::error::Code::Stopping)) })
            }),
            Box::new(|_, _, _| Box::pin(async {})),
            Box::new(|_, _| {}),
        ),
    };
    botops_http::RequestGuard::new(router, options)
}

#[tokio::test]
async fn a_handler_that_panics_or_answers_bare_ends_in_the_one_form() {
    use axum::http::StatusCode;
    async fn panics() -> StatusCode {
        panic!("the canary {KEY} must not leave the log")
    }
    let table: [(axum::Router, u16, &str); 3] = [
        (axum::Router::new().route("/bad", axum::routing::get(panics)), 500, "SRV_001"),
        (
            axum::Router::new()
                .route("/bad", axum::routing::get(|| async { StatusCode::UNSUPPORTED_MEDIA_TYPE })),
            415,
            "API_005",
        ),
        (
            axum::Router::new().route("/bad", axum::routing::get(|| async { StatusCode::BAD_GATEWAY })),
            502,
            "SRV_001",
        ),
    ];
    for (router, status, code) in table {
        let guarded = Guarded::serve(guard_around(router));
        let (status_line, body) = answer(guarded.request()).await;
        assert_eq!(body["error_code"], code, "{body:#}");
        assert_eq!(status_line, if code == "SRV_001" { 500.max(status_line) } else { status });
        assert!(!body.to_string().contains(KEY));
    }
}

/// A code that the route does not list is a defect, which a debug build, as in tests, refuses.
#[tokio::test]
async fn a_code_that_a_route_does_not_list_is_refused_by_a_debug_build() {
    use axum::http::Request;
    async fn refuses() -> botops_core::error::Error {
        botops_core::error::Error::new(botops_core::error::Code::ConfigStale)
    }
    let router = axum::Router::new().route("/bad", axum::routing::get(refuses));
    let request = Request::get("/bad").body(axum::body::Body::empty()).unwrap();
    let response = guard_around(router).handle(request, std::net::Ipv4Addr::LOCALHOST.into()).await;
    let bytes = axum::body::to_bytes(response.into_body(), 100_000).await.unwrap();
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(body["error_code"], "SRV_001", "{body:#}");
    assert!(body["cause"].as_str().unwrap().contains("CFG_005"), "{body:#}");
}

/// Every operation with a key refuses an unknown query parameter, naming it and those that exist.
#[tokio::test]
async fn an_unknown_query_parameter_is_refused_by_name_at_every_operation() {
    let folder = kit::folder();
    let botops = Running::start(folder.path(), &[("BOT_API_RATE_LIMIT", "10000")]).await;
    let document = botops::routes::document();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let keyed = operation["security"][0].get("api_key").is_some();
            let address = path.replace(['{', '}'], "");
            let url = format!("{address}?surely_unknown=1&limit=3");
            let request = botops.request(method.to_uppercase().parse().unwrap(), &url);
            let request = request.header("accept", "*/*").timeout(Duration::from_secs(20));
            let response = request.send().await.unwrap();
            if !keyed {
                // Probes take any. The parts of the API document are chosen by parameters: one that is misspelt must
                // not give the whole.
                let takes_arguments = operation["x-error-codes"].to_string().contains("API_007");
                assert_eq!(response.status() == 400, takes_arguments, "{method} {path} is open");
                continue;
            }
            let status = response.status().as_u16();
            let body: Value = response.json().await.unwrap();
            let problem = if body["jsonrpc"] == "2.0" { &body["error"]["data"] } else { &body };
            assert_problem(problem, 400, "API_007");
            assert_eq!(status, 400, "{method} {path}");
            assert_eq!(problem["errors"][0]["pointer"], "?surely_unknown", "{method} {path}: {problem:#}");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            for known in parameters.iter().filter(|parameter| parameter["in"] == "query") {
                let expected = problem["errors"][0]["expected"].as_str().unwrap();
                assert!(expected.contains(known["name"].as_str().unwrap()), "{method} {path}: {expected}");
            }
            asked += 1;
        }
    }
    assert!(asked > 90, "{asked}");
    botops.stop().await;
}

/// Every file below a folder, as bytes.
fn bytes_below(folder: &std::path::Path, found: &mut Vec<(std::path::PathBuf, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            bytes_below(&path, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            found.push((path, bytes));
        }
    }
}

#[test]
fn no_key_reaches_a_log_an_answer_or_the_store() {
    use std::fmt::Write as _;
    let folder = kit::folder();
    let mut botops = kit::app::command(&["serve", "--port", "0"]);
    botops.current_dir(folder.path()).env("BOT_API_AUTH_TOKEN", KEY).env("RUST_LOG", "trace");
    let mut botops = kit::Process::spawn(&mut botops);
    let log = folder.path().join("botops-data/logs/botops.log");
    let served = || {
        std::fs::read_to_string(&log)
            .ok()?
            .split("botops serves on ")
            .nth(1)?
            .split(['"', ' '])
            .next()
            .map(str::to_owned)
    };
    kit::wait_until("it serves", Duration::from_secs(20), || served().is_some());
    let address: std::net::SocketAddr = served().unwrap().parse().unwrap();
    let mut answers = String::new();
    for request in [
        format!("GET /api/v1/state?fields={KEY} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: close\r\n\r\n"),
        format!("GET /api/v1/events?after={KEY} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n"),
        format!("GET /{KEY} HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}x\r\nconnection: close\r\n\r\n"),
        "GET /api/v1/whoami HTTP/1.1\r\nhost: x\r\nx-api-key: second-canary-9876543210\r\nconnection: close\r\n\r\n".to_owned(),
    ] {
        let answer = raw(address, request.as_bytes());
        // A text that the client sent in a path or query may be quoted in the answer, one from a header may not.
        writeln!(answers, "{}", if request.contains(&format!("={KEY}")) { String::new() } else { answer }).unwrap();
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(botops.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    botops.child().wait().unwrap();
    let mut sinks = vec![("answers".into(), answers.into_bytes())];
    bytes_below(folder.path(), &mut sinks);
    for (path, bytes) in sinks {
        for canary in [KEY, "second-canary-9876543210"] {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{canary} in {}", std::path::PathBuf::from(&path).display());
        }
    }
}
