//! Bounds: what a client, a checked target or a full folder can take from botops, each gone beyond on a running botops.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::kit;
use crate::kit::app::{KEY, Running};
use crate::kit::botops_process::BotopsProcess;
use crate::kit::scripted_bot::ScriptedBot;
use crate::refusals::{assert_problem, raw};

const LIMIT: Duration = Duration::from_secs(90);

/// The shortest intervals, so that a test waits for conditions and hardly for time.
fn hasty() -> Value {
    json!({"check_interval": 0.3, "timeout": 0.25, "confirm_interval": 0.1, "startup_grace": 0})
}

async fn watch_database(botops: &BotopsProcess, id: &str, path: &Path) {
    let (status, body) = botops.send(Method::PUT, "/api/v1/health/monitoring/config", &hasty()).await;
    assert_eq!(status, 200, "{body}");
    let checker = json!({"checker_type": "database", "component_id": id, "config": {"db_path": path},
        "interval": 1.0, "timeout": 0.5});
    let (status, body) = botops.send(Method::POST, "/api/v1/health/checkers", &checker).await;
    assert_eq!(status, 201, "{body}");
}

/// Waits until a component has this status and its reason contains the words; returns its view.
async fn component_says(botops: &BotopsProcess, id: &str, status: &str, words: &str) -> Value {
    let seen = std::sync::Mutex::new(Value::Null);
    let path = format!("/api/v1/health/components/{id}");
    kit::until(&format!("{id} is {status}: {words}"), LIMIT, || async {
        let view = botops.get(&path).await.1;
        let fits = view["status"] == status && view.to_string().contains(words);
        *seen.lock().unwrap() = view;
        fits
    })
    .await;
    seen.into_inner().unwrap()
}

fn database_with_tables(path: &Path) {
    let database = rusqlite::Connection::open(path).unwrap();
    database
        .execute_batch("CREATE TABLE trades(id INTEGER PRIMARY KEY); CREATE TABLE fills(id INTEGER)")
        .unwrap();
}

fn make_pipe(path: &Path) {
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
}

/// A pipe where SQLite expects its journal: opening it waits for the pipe's other end, as a mount that is gone would.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_hangs_in_the_system_takes_one_thread_and_is_told_since_when() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    let (path, journal) = (folder.path().join("trades.db"), folder.path().join("trades.db-journal"));
    database_with_tables(&path);
    watch_database(&botops, "trades", &path).await;
    component_says(&botops, "trades", "HEALTHY", "").await;
    make_pipe(&journal);
    let view = component_says(&botops, "trades", "DOWN", "still hangs in the system").await;
    let runs = |view: &Value| view["checks"]["total"].as_u64().or(view["total_checks"].as_u64()).unwrap_or(0);
    let before = runs(&view);
    kit::until("it is checked on and on", LIMIT, || async {
        let view = botops.get("/api/v1/health/components/trades").await.1;
        runs(&view) >= before + 4 || before == 0
    })
    .await;
    // One hangs; the other may be the check of the machine, which ends.
    assert!(botops.threads_named("check") <= 2, "{} threads", botops.threads_named("check"));
    assert_eq!(botops.get("/api/v1/events?limit=5").await.0, 200, "the store answers");
    let aside = folder.path().join("aside");
    std::fs::rename(&journal, &aside).unwrap();
    drop(std::fs::OpenOptions::new().write(true).open(&aside).unwrap());
    component_says(&botops, "trades", "HEALTHY", "").await;
    std::fs::remove_file(&path).unwrap();
    make_pipe(&path);
    component_says(&botops, "trades", "DOWN", "no file").await;
    botops.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lost_its_tables_is_critical_also_after_a_restart() {
    let folder = kit::folder();
    let path = folder.path().join("trades.db");
    database_with_tables(&path);
    let botops = BotopsProcess::start(folder.path(), &[]);
    watch_database(&botops, "trades", &path).await;
    component_says(&botops, "trades", "HEALTHY", "").await;
    std::fs::File::create(&path).unwrap();
    component_says(&botops, "trades", "CRITICAL", "it had 2 tables").await;
    botops.stop();
    let botops = BotopsProcess::start(folder.path(), &[]);
    // A measure is there after the first check of this run.
    let view = component_says(&botops, "trades", "CRITICAL", "table_count").await;
    assert!(view.to_string().contains("it had 2 tables"), "{view}");
    std::fs::remove_file(&path).unwrap();
    database_with_tables(&path);
    component_says(&botops, "trades", "HEALTHY", "").await;
    botops.stop();
}

/// The status and the problem of a raw answer.
#[track_caller]
fn problem_of(text: &str) -> (u16, Value) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn a_request_names_one_host() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    let ask = |head: &str| problem_of(&raw(botops.address, head.as_bytes()));
    for (head, hosts) in [
        ("GET /livez HTTP/1.1\r\nconnection: close\r\n\r\n", 0),
        ("GET /livez HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n", 2),
        ("GET /livez HTTP/1.1\r\nhost: a\r\nHost: a\r\nconnection: close\r\n\r\n", 2),
        ("GET /livez HTTP/1.0\r\nhost: a\r\nhost: b\r\n\r\n", 2),
        ("POST /mcp HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", 0),
        ("GET /livez HTTP/1.1\r\nhost: a b\r\nconnection: close\r\n\r\n", 1),
        ("GET /livez HTTP/1.1\r\nhost: a@b/c\r\nconnection: close\r\n\r\n", 1),
    ] {
        let (status, body) = ask(head);
        assert_eq!(status, 400, "{head}: {body:#}");
        assert_problem(&body, 400, "API_019");
        assert_eq!(
            (&body["errors"][0]["pointer"], &body["errors"][0]["got"]),
            (&json!("Host"), &json!(hosts))
        );
    }
    for head in [
        "GET /livez HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        "GET /livez HTTP/1.0\r\n\r\n",
        "GET /livez HTTP/1.0\r\nhost: a\r\n\r\n",
        "GET /livez HTTP/1.1\r\nhost: [::1]:8787\r\nconnection: close\r\n\r\n",
    ] {
        assert_eq!(ask(head).0, 200, "{head}");
    }
    botops.stop();
}

#[tokio::test]
async fn a_compressed_body_is_refused_for_what_it_is() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    let gzip = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0];
    for (path, coding) in
        [("/api/v1/ask", "gzip"), ("/api/v1/ask", "br"), ("/api/v1/ask", "identity, GZIP"), ("/mcp", "gzip")]
    {
        let request = botops.request(Method::POST, path).header("content-type", "application/json");
        let request = request.header("accept", "application/json, text/event-stream");
        let response = request.header("content-encoding", coding).body(gzip.to_vec()).send().await.unwrap();
        let status = response.status().as_u16();
        let body: Value = response.json().await.unwrap();
        let problem = if body["error"].is_object() { &body["error"]["data"] } else { &body };
        assert_eq!(status, 415, "{path} {coding}: {body:#}");
        assert_problem(problem, 415, "API_005");
        assert_eq!(problem["errors"][0]["pointer"], "Content-Encoding");
        assert!(problem["remediation"].as_str().unwrap().contains("compressed"), "{problem:#}");
    }
    let request = botops.request(Method::POST, "/api/v1/ask").header("content-encoding", "identity");
    let response = request.json(&json!({"text": "how is the bot"})).send().await.unwrap();
    assert_eq!(response.status(), 200);
    botops.stop();
}

#[tokio::test]
async fn of_too_many_workflow_files_the_answer_says_how_many_are_left_out() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    let files = folder.path().join("botops-data/workflows");
    std::fs::create_dir_all(&files).unwrap();
    for number in 0..300 {
        let text = format!(
            "workflow: v1\nid: look-{number:03}\ntitle: Look\nrisk: read\nparams: {{type: object, additionalProperties: false}}\n\
             policy: {{locks: [], on_conflict: join, timeout_s: 60, on_crash: resume}}\nsteps:\n  - {{id: bot, uses: bot.status}}\n"
        );
        std::fs::write(files.join(format!("look-{number:03}.yaml")), text).unwrap();
    }
    for _ in 0..3 {
        let (status, list) = botops.get("/api/v1/workflows").await;
        assert_eq!((status, &list["omitted"]), (200, &json!(100)), "{}", list["omitted"]);
        let ids: Vec<&str> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|item| item["workflow_id"].as_str())
            .collect();
        assert!(
            ids.contains(&"look-000") && ids.contains(&"look-199") && !ids.contains(&"look-200"),
            "{ids:?}"
        );
    }
    let (status, unknown) = botops.get("/api/v1/workflows/look-299").await;
    assert_eq!(status, 404);
    assert!(unknown["cause"].as_str().unwrap().contains("100 files"), "{}", unknown["cause"]);
    let log = botops.stop_and_read_log();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("workflow files are not read")).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert!(told[0].contains("look-200.yaml") && told[0].contains("and 80 more"), "{}", told[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_wrong_keys_is_summed_up_and_what_operators_did_has_a_file_of_its_own() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    let (status, body) = botops.send(Method::PUT, "/api/v1/health/monitoring/config", &hasty()).await;
    assert_eq!(status, 200, "{body}");
    let address = botops.address;
    let flood = move |path: &'static str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let mut answers = BufReader::new(stream.try_clone().unwrap());
        let (mut refused, mut throttled) = (0, 0);
        for number in 0..2_000 {
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: guess-{number}\r\n\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            if line.contains(" 401 ") {
                refused += 1;
            } else if line.contains(" 429 ") {
                throttled += 1;
            }
            let mut length = 0;
            loop {
                line.clear();
                answers.read_line(&mut line).unwrap();
                if let Some(text) = line.to_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
            }
            answers.read_exact(&mut vec![0; length]).unwrap();
        }
        (refused, throttled)
    };
    let (refused, throttled) = tokio::task::spawn_blocking(move || flood("/api/v1/state")).await.unwrap();
    assert!(throttled > 1_000, "the throttle holds: {refused} were looked up, {throttled} were not");
    assert_eq!(botops.get("/api/v1/whoami").await.0, 200, "a right key passes");
    let log = botops.stop_and_read_log();
    let own =
        log.lines().filter(|line| line.contains("AUTH_00") && !line.contains("line of their own")).count();
    assert!(own <= 30, "{own} of 2,000 have a line");
    let summed: u64 = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["message"].as_str().is_some_and(|text| text.contains("127.0.0.1")))
        .filter_map(|line| line["http.refused"].as_u64())
        .sum();
    assert!(summed >= 1_970, "{summed} are told in sums");
    let operators = std::fs::read_to_string(folder.path().join("botops-data/logs/operators.log")).unwrap();
    let lines: Vec<Value> = operators.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{operators}");
    assert_eq!((&lines[0]["key.id"], &lines[0]["http.status"]), (&json!("operator"), &json!(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_operators_changed_is_in_a_file_of_its_own_and_what_was_only_tried_is_not() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    const SILENCES: &str = "/api/v1/health/silences";
    let silence = json!({"matchers": [{"name": "component", "op": "=", "value": "bot"}], "minutes": 5, "reason": "a test"});
    let tool = |name: &str, arguments: Value| json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}});
    for (method, path, body) in [
        (Method::POST, "/api/v1/health/silences?dry_run=true", silence.clone()),
        (Method::POST, "/mcp", tool("get_summary", json!({}))),
        (Method::POST, SILENCES, silence),
        (
            Method::POST,
            "/mcp",
            tool(
                "control_bot",
                json!({"verb": "silence", "component": "bot", "minutes": 5, "reason": "another"}),
            ),
        ),
    ] {
        let (status, body) = botops.send(method, path, &body).await;
        assert!(status < 500 && body["error"].is_null(), "{path}: {body:#}");
    }
    let _ = botops.stop_and_read_log();
    let operators = std::fs::read_to_string(folder.path().join("botops-data/logs/operators.log")).unwrap();
    let changed: Vec<String> = operators
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["operation"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(changed, ["add_health_silence"; 2], "{operators}");
}

/// One address of this machine.
fn local(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, number).into()
}

/// Opens a connection from an address of this machine and sends bytes, as far as they are taken.
async fn send_from(from: IpAddr, to: SocketAddr, bytes: &[u8]) -> Option<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((from, 0).into()).ok()?;
    let mut stream = socket.connect(to).await.ok()?;
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.write_all(bytes)).await;
    Some(stream)
}

/// What comes back on a connection until it ends.
async fn answer_of(stream: &mut tokio::net::TcpStream) -> String {
    let mut text = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(40), stream.read_to_end(&mut text)).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// The resident memory of a server that has started and rests: when it does not grow any more.
async fn idle_kb(botops: &BotopsProcess) -> u64 {
    let (mut kb, mut looks_alike) = (botops.resident_kb(), 0);
    while looks_alike < 4 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = botops.resident_kb();
        looks_alike = if now.abs_diff(kb) < 512 { looks_alike + 1 } else { 0 };
        kb = now;
    }
    kb
}

/// A head of this size without its end.
fn half_head(bytes: usize) -> Vec<u8> {
    let mut head = b"GET /livez HTTP/1.1\r\nhost: x\r\nx: ".to_vec();
    head.resize(bytes, b'y');
    head
}

/// Raises the limit of open files of this process; returns how many connections a test may open.
fn room_for_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(20_000);
    usize::try_from(files.saturating_sub(600)).unwrap().min(6_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_heads_have_a_budget_and_complete_requests_of_their_address_pass() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    let address = botops.address;
    assert_eq!(botops.get("/livez").await.0, 200);
    let before = idle_kb(&botops).await;
    let connections = room_for_connections();
    let mut held = Vec::new();
    for number in 0..connections {
        let from = local(2 + u8::try_from(number * 4 / connections).unwrap());
        let size = if number % 2 == 0 { 60_000 } else { 15_000 };
        held.extend(send_from(from, address, &half_head(size)).await);
        if number == connections / 2 {
            // In the middle of it, a request that comes whole from an address of the flood is answered.
            let whole = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
            let mut stream = send_from(local(2), address, whole).await.unwrap();
            assert!(answer_of(&mut stream).await.starts_with("HTTP/1.1 200 "));
        }
    }
    assert!(held.len() > connections * 9 / 10, "{} connections", held.len());
    let grown = botops.peak_kb().saturating_sub(before) / 1024;
    assert!(grown < 110, "{connections} half heads took {grown} MB");
    drop(held);
    kit::until("the memory comes back", LIMIT, || async {
        botops.resident_kb().saturating_sub(before) / 1024 < 20
    })
    .await;
    let log = botops.stop_and_read_log();
    assert!(log.contains("requests that came in pieces were refused"), "it is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_its_share_of_unfinished_heads_and_the_rest_is_refused_at_once() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    let address = botops.address;
    let (mut refused, mut rounds) = (None, 0);
    // Heads that stay unfinished end by themselves, so on a busy machine it may take more than one round.
    while refused.is_none() && rounds < 6 {
        rounds += 1;
        let mut first = send_from(local(2), address, &half_head(200)).await.unwrap();
        let mut flood = tokio::task::JoinSet::new();
        for _ in 0..400 {
            flood.spawn(async move {
                let mut stream = send_from(local(2), address, &half_head(200)).await?;
                Some(answer_of(&mut stream).await)
            });
        }
        while let Some(text) = flood.join_next().await {
            let text = text.unwrap().unwrap_or_default();
            if text.contains("too many requests are unfinished") {
                refused = Some(problem_of(&text).1);
                break;
            }
        }
        if refused.is_some() {
            let mut other =
                send_from(local(3), address, b"GET /livez HTTP/1.1\r\nhost: x\r\n").await.unwrap();
            other.write_all(b"connection: close\r\n\r\n").await.unwrap();
            assert!(
                answer_of(&mut other).await.starts_with("HTTP/1.1 200 "),
                "another address is not affected"
            );
            first.write_all(b"\r\nconnection: close\r\n\r\n").await.unwrap();
            assert!(
                answer_of(&mut first).await.starts_with("HTTP/1.1 200 "),
                "what began before may be ended"
            );
        }
    }
    assert_problem(&refused.expect("the address has a share"), 408, "API_008");
    botops.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn half_sent_bodies_share_a_budget_and_end_by_their_deadline() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    let address = botops.address;
    assert_eq!(botops.get("/livez").await.0, 200);
    let before = idle_kb(&botops).await;
    let connections = room_for_connections().min(1_000);
    let mut request = format!(
        "POST /api/v1/ask HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\ncontent-type: application/json\r\n\
         content-length: 250000\r\nconnection: close\r\n\r\n"
    )
    .into_bytes();
    request.resize(request.len() + 240_000, b' ');
    let request = std::sync::Arc::new(request);
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let request = request.clone();
        waiting.spawn(async move {
            let mut stream = send_from(local(2), address, &request).await?;
            Some(answer_of(&mut stream).await)
        });
    }
    let (mut no_room, mut too_late) = (0, 0);
    while let Some(text) = waiting.join_next().await {
        let text = text.unwrap().unwrap_or_default();
        no_room += usize::from(text.contains("too much unfinished input"));
        too_late += usize::from(text.contains("did not arrive within 10 s"));
    }
    assert!(no_room > 0 && too_late > 0, "{no_room} had no room, {too_late} were too late");
    let grown = botops.peak_kb().saturating_sub(before) / 1024;
    assert!(grown < 150, "{connections} half bodies took {grown} MB");
    kit::until("the memory comes back", LIMIT, || async {
        botops.resident_kb().saturating_sub(before) / 1024 < 20
    })
    .await;
    let whole = json!({"text": "how is the bot", "ignored": " ".repeat(100)});
    let (status, _) = botops.send(Method::POST, "/api/v1/ask", &json!({"text": whole["text"]})).await;
    assert_eq!(status, 200, "there is room again");
    botops.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_of_the_stream_took_comes_back_when_they_have_left() {
    let folder = kit::folder();
    let botops = BotopsProcess::start(folder.path(), &[]);
    assert_eq!(botops.get("/livez").await.0, 200);
    let before = idle_kb(&botops).await;
    let handshake = format!(
        "GET /api/v1/stream HTTP/1.1\r\nhost: x\r\nx-api-key: {KEY}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let clients = room_for_connections();
    let mut held = Vec::new();
    for _ in 0..clients {
        let mut stream = send_from(local(2), botops.address, handshake.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
        held.push(stream);
    }
    let grown = botops.peak_kb().saturating_sub(before) / 1024;
    assert!(grown > 30, "{clients} clients took {grown} MB: too few to show anything");
    drop(held);
    kit::until("the memory comes back", LIMIT, || async {
        botops.resident_kb().saturating_sub(before) / 1024 < 20
    })
    .await;
    botops.stop();
}

/// A bot that sends large events without end: that is told, once when it begins and once when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_events_is_an_event_itself() {
    use botops_contract::{EventKind, Severity};
    let (bot, folder) = (ScriptedBot::start(), kit::folder());
    let socket = bot.socket().display().to_string();
    let id = bot.id();
    let botops = Running::start(folder.path(), &[("BOT_IPC_SOCKET", &socket), ("BOT_ID", id.as_str())]).await;
    bot.emit(EventKind::Other, Severity::Low, "the first");
    let told = async |kind: &str| {
        let page = botops.get("/api/v1/events?kind=lifecycle&limit=500").await.1;
        let events = page["items"].as_array().cloned().unwrap_or_default();
        events.iter().filter(|event| event["data"]["event_type"] == kind).cloned().collect::<Vec<_>>()
    };
    kit::until("the events are followed", LIMIT, || async {
        botops.get("/api/v1/events?limit=500").await.1.to_string().contains("the first")
    })
    .await;
    let large = json!({"text": "x".repeat(6_000)});
    for number in 0..1_500 {
        bot.emit_with(EventKind::Other, Severity::Low, &format!("large {number}"), large.clone());
    }
    kit::until("the flood is told", LIMIT, || async { !told("flood.begins").await.is_empty() }).await;
    kit::until("all of it was taken", LIMIT, || async {
        botops.get("/api/v1/events?limit=5").await.1.to_string().contains("large 1499")
    })
    .await;
    let number = std::sync::atomic::AtomicU64::new(0);
    kit::until("its end is told", LIMIT, || async {
        // An end is seen when something comes after it.
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if number.is_multiple_of(100) {
            bot.emit(EventKind::Other, Severity::Low, "small");
        }
        !told("flood.ends").await.is_empty()
    })
    .await;
    assert_eq!(told("flood.begins").await.len(), 1);
    let end = &told("flood.ends").await[0];
    assert!(end["data"]["events"].as_u64().unwrap() >= 1_500, "{end:#}");
    assert!(end["data"]["bytes"].as_u64().unwrap() >= 9_000_000, "{end:#}");
    botops.stop().await;
}

/// The number that stands for a constant in the sources: `16 * 1024`, `Duration::from_secs(10)`.
fn number_of(value: &str) -> Option<u64> {
    let plain = value.replace('_', "");
    let numbers: Vec<u64> =
        plain.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect();
    match plain.contains('*') {
        true => Some(numbers.iter().product()),
        // `NonZeroU32::new(10)` and `Duration::from_secs(10)` end with theirs.
        false => numbers.last().copied(),
    }
}

/// How a page may write a number.
fn written(number: u64) -> Vec<String> {
    let plain = number.to_string();
    let grouped = plain.as_bytes().rchunks(3).rev().map(|part| String::from_utf8_lossy(part).into_owned());
    let grouped = grouped.collect::<Vec<_>>().join(",");
    vec![
        number.to_string(),
        grouped,
        format!("{} KiB", number / 1024),
        format!("{} MiB", number / 1024 / 1024),
    ]
}

#[test]
fn the_page_of_limits_has_the_values_of_the_code_and_tests_that_exist() {
    fn sources(folder: &Path, found: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                found.push_str(&std::fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut code = String::new();
    ["crates", "src", "tests"].iter().for_each(|folder| sources(Path::new(folder), &mut code));
    let page = std::fs::read_to_string("docs/limits.md").unwrap();
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| limit "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 20, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in rows {
        let [limit, value, beyond, tests] = row[..] else { panic!("four cells: {row:?}") };
        let quoted =
            |cell: &'_ str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let named = quoted(tests);
        if named.is_empty() || beyond.is_empty() {
            wrong.push(format!("{limit}: no test, or not said what happens"));
        }
        let is_there = |test: &String| {
            code.contains(&format!("fn {test}(")) || code.contains(&format!("    {test} by "))
        };
        wrong.extend(
            named.iter().filter(|test| !is_there(test)).map(|test| format!("{limit}: no test {test}")),
        );
        let constants = quoted(limit);
        for constant in
            constants.iter().filter(|name| !name.starts_with("BOT_") && name.to_uppercase() == **name)
        {
            let values: Vec<u64> = code
                .split(&format!("const {constant}: "))
                .skip(1)
                .filter_map(|rest| number_of(rest.split(';').next()?.split_once('=')?.1))
                .collect();
            let is_told = |number: &u64| written(*number).iter().any(|text| value.contains(text.as_str()));
            if !values.iter().any(is_told) {
                wrong.push(format!("{limit}: {constant} is {values:?}, the page says {value}"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/limits.md:\n{}", wrong.join("\n"));
}
