//! The answers of a broker to a probe and what each means: good ones, refusals, malformed ones, broken connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use botops_contract::GateReason;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

async fn probe_robinhood(act: Act) -> (String, BrokerStub) {
    probe_within(PATIENT, act).await
}

async fn probe_within(limit: Duration, act: Act) -> (String, BrokerStub) {
    let folder = folder();
    store_pair(folder.path(), 1);
    let stub = BrokerStub::start().await;
    stub.always(ACCOUNTS, act);
    let broker = RobinhoodBroker::new(&robinhood_settings(folder.path(), &stub.url())).unwrap();
    (outcome_within(limit, &broker).await, stub)
}

async fn probe_alpaca(act: Act) -> String {
    let stub = BrokerStub::start().await;
    stub.always(ALPACA, act);
    let broker = AlpacaBroker::new(&alpaca_settings(&stub.url(), TradingMode::Paper)).unwrap();
    outcome(&broker).await
}

/// Probes the broker: `ok`, `ok (restriction)` or the kind of error.
async fn outcome(broker: &dyn BrokerAdapter) -> String {
    outcome_within(PATIENT, broker).await
}

async fn outcome_within(limit: Duration, broker: &dyn BrokerAdapter) -> String {
    let outcome = match broker.probe(limit).await {
        Ok(reply) => {
            assert!(reply.account.starts_with("***"), "{reply:?}");
            reply.restricted.map_or("ok".to_owned(), |text| format!("ok ({text})"))
        }
        Err(error) => {
            let shown = format!("{error} {error:?}");
            assert!(!CANARIES.iter().any(|canary| shown.contains(canary)), "{shown}");
            error.kind().to_owned()
        }
    };
    assert!(!CANARIES.iter().any(|canary| format!("{broker:?}").contains(canary)), "{broker:?}");
    outcome
}

#[tokio::test]
async fn a_valid_profile_is_healthy_after_one_call() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.always(ACCOUNTS, profile());
    })
    .await;
    rig.healthy().await;
    until("the record", || !rig.events("health_check.passed").is_empty(), || rig.log()).await;
    let sent = rig.stub.sent(ACCOUNTS);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].query, "default_to_all_accounts=true");
    assert_eq!(sent[0].header("authorization"), "Bearer canary-access-1");
    let executed = &rig.events("health_check.executed")[0];
    assert_eq!((&executed["success"], &executed["context"]), (&true.into(), &"startup".into()));
    assert!(executed["latency_ms"].is_u64());
    assert!(rig.buy().await.allowed);
    rig.finish().await;
}

#[tokio::test]
async fn an_answer_without_an_account_is_not_healthy() {
    for body in [
        r#"{"results":[]}"#,
        r#"{"next":null}"#,
        r#"[{"account_number":"canary-account"}]"#,
        r#"{"results":[{"account_number":null}]}"#,
        r#"{"results":[{"account_number":""}]}"#,
        r#"{"results":{}}"#,
        "null",
        "",
    ] {
        assert_eq!(probe_robinhood(Act::ok(body)).await.0, "protocol", "{body}");
    }
    for body in [r"{}", r#"{"id":null,"status":"ACTIVE"}"#, r#"{"id":"x"}"#, "[]"] {
        assert_eq!(probe_alpaca(Act::ok(body)).await, "protocol", "{body}");
    }
}

#[tokio::test]
async fn unknown_fields_numbers_and_nulls_are_accepted() {
    let body = r#"{"results":[{"account_number":"canary-account-1","cash":12.5,"buying_power":null,"new":{"a":[1]}}]}"#;
    assert_eq!(probe_robinhood(Act::ok(body)).await.0, "ok");
    let body =
        r#"{"id":"abcdef","status":"SOMETHING_NEW","cash":1,"equity":2.25,"buying_power":null,"x":[]}"#;
    assert_eq!(probe_alpaca(Act::ok(body)).await, "ok");
}

#[tokio::test]
async fn a_locked_account_is_a_valid_session_that_may_not_trade() {
    let locked = r#"{"results":[{"account_number":"canary-account-5678","locked":true}]}"#;
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.always(ACCOUNTS, Act::ok(locked));
    })
    .await;
    rig.healthy().await;
    let decision = rig.buy().await;
    assert_eq!((decision.allowed, decision.reason), (false, GateReason::AccountRestricted));
    assert_eq!(rig.sell().await.reason, GateReason::ReducingAllowed);
    let facts = rig.monitor.facts();
    assert_eq!(facts.is_healthy, Some(false));
    assert_eq!(facts.reason.as_deref(), Some("the account is locked; no new positions"));
    assert_eq!(facts.error_code.as_deref(), Some("BRK_009"));
    rig.finish().await;
    let blocked = r#"{"id":"abcdef","status":"ACTIVE","trading_blocked":true}"#;
    assert_eq!(probe_alpaca(Act::ok(blocked)).await, "ok (trading is blocked)");
    let closing = r#"{"results":[{"account_number":"abcdef","only_position_closing_trades":true}]}"#;
    assert_eq!(probe_robinhood(Act::ok(closing)).await.0, "ok (the account may only close positions)");
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let permission = r#"{"error_code":"INSUFFICIENT_PERMISSIONS","detail":"You do not have permission"}"#;
    assert_eq!(probe_robinhood(refused(403, permission)).await.0, "forbidden");
    let token = r#"{"detail":"Invalid Token canary-server-text"}"#;
    assert_eq!(probe_robinhood(refused(403, token)).await.0, "session_invalid");
    assert_eq!(probe_robinhood(refused(403, "")).await.0, "rate_limited", "a soft block");
    assert_eq!(probe_robinhood(unauthorized()).await.0, "session_invalid");
    assert_eq!(probe_robinhood(refused(404, "<html>")).await.0, "protocol");
    assert_eq!(probe_alpaca(refused(403, "<html>nginx</html>")).await, "session_invalid");
    assert_eq!(probe_alpaca(refused(403, r#"{"message":"forbidden."}"#)).await, "session_invalid");
}

#[tokio::test]
async fn a_missing_permission_restricts_and_starts_no_sign_in() {
    let body = r#"{"error_code":"INSUFFICIENT_PERMISSIONS","detail":"You do not have permission"}"#;
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.always(ACCOUNTS, refused(403, body));
    })
    .await;
    rig.healthy().await;
    rig.gate_is(GateReason::AccountRestricted);
    assert!(rig.stub.sent(TOKEN).is_empty());
    rig.finish().await;
}

#[tokio::test]
async fn server_errors_are_alike_whatever_their_body() {
    for status in [500, 502, 503, 504] {
        let act = refused(status, "<html>canary-server-text</html>").header("content-type", "text/html");
        assert_eq!(probe_robinhood(act).await.0, "server_error");
    }
}

#[tokio::test]
async fn a_hang_and_a_drip_are_cut_by_the_deadline() {
    for act in [Act::Hang, Act::DripHead, Act::DripBody] {
        let started = Instant::now();
        let limit = Duration::from_millis(700);
        assert_eq!(probe_within(limit, act.clone()).await.0, "timeout", "{act:?}");
        // Without its own deadline it would have taken that of the whole request, which is far longer.
        assert!(started.elapsed() < PATIENT / 2, "{act:?} took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_broken_answer_is_told_from_a_wrong_one() {
    assert_eq!(probe_robinhood(Act::Truncated).await.0, "truncated");
    assert_eq!(probe_robinhood(Act::ResetInBody).await.0, "truncated");
    assert_eq!(probe_robinhood(Act::Reset).await.0, "reset");
}

#[tokio::test]
async fn a_closed_port_is_no_connection() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let broker = AlpacaBroker::new(&alpaca_settings(&format!("http://{port}"), TradingMode::Paper)).unwrap();
    assert_eq!(outcome(&broker).await, "connect");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_no_connection_and_retried() {
    let folder = folder();
    let (stub, mut limits) = (BrokerStub::start().await, short_limits());
    limits.attempt_timeout = Duration::from_secs(30);
    limits.check_timeout = Duration::from_secs(60);
    limits.confirm_interval = Duration::from_secs(60);
    let broker = AlpacaBroker::new(&alpaca_settings("https://nosuch.invalid", TradingMode::Paper)).unwrap();
    let rig = Rig::run(folder, stub, Box::new(broker), limits, Clock::system());
    let checked = || !rig.events("health_check.failed").is_empty();
    // A machine without a name server may need long to report that.
    crate::kit::until("the check", Duration::from_secs(60), || async { checked() }).await;
    rig.phase(SessionPhase::Degraded).await;
    let failed = &rig.events("health_check.failed")[0];
    let kind = failed["error_type"].as_str().unwrap();
    assert!(["dns", "connect"].contains(&kind), "{kind}");
    assert_eq!(failed["error_code"], "BRK_005");
    assert_eq!(rig.events("health_check.executed")[0]["attempts"], 4);
    assert_eq!(rig.events("retry.attempt").len(), 3);
    assert_eq!(rig.monitor.breaker().failure_count, Some(1), "one failed check");
    assert!(rig.stub.journal().is_empty());
    rig.finish().await;
}

/// A listener whose queue of unaccepted connections is full: the system drops every further one.
async fn full_listener() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    loop {
        assert!(queued.len() < 100, "the queue never fills");
        match timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            Ok(stream) => queued.push(stream.unwrap()),
            Err(_) => return (listener, queued),
        }
    }
}

#[tokio::test]
async fn a_full_accept_queue_is_no_connection_and_retried_until_there_is_room() {
    let folder = folder();
    let (listener, queued) = full_listener().await;
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut settings = alpaca_settings(&url, TradingMode::Paper);
    settings.http.connect = Duration::from_millis(150);
    let mut limits = short_limits();
    limits.attempt_timeout = Duration::from_secs(5);
    limits.check_timeout = Duration::from_secs(20);
    limits.breaker.failure_threshold = 1_000;
    let broker = Box::new(AlpacaBroker::new(&settings).unwrap());
    let stub = BrokerStub::start().await;
    let mut rig = Rig::run(folder, stub, broker, limits, Clock::system());
    rig.phase(SessionPhase::Degraded).await;
    until("the record", || !rig.events("health_check.failed").is_empty(), || rig.log()).await;
    let failed = &rig.events("health_check.failed")[0];
    assert_eq!((&failed["error_type"], &failed["error_code"]), (&"connect".into(), &"BRK_005".into()));
    assert_eq!(rig.events("health_check.executed")[0]["attempts"], 4);
    assert_eq!(rig.events("retry.attempt").len(), 3);
    rig.gate_is(GateReason::SessionDegraded);
    // The queue has room again.
    drop(queued);
    rig.stub = BrokerStub::serve_on(listener, None);
    rig.stub.always(ALPACA, alpaca_account());
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn a_connection_that_the_peer_closed_between_calls_is_no_failure() {
    let stub = BrokerStub::start().await;
    stub.always(ALPACA, Act::CloseAfter(Box::new(alpaca_account())));
    let broker = AlpacaBroker::new(&alpaca_settings(&stub.url(), TradingMode::Paper)).unwrap();
    for wait in [0, 5, 18, 20, 22, 40] {
        assert_eq!(outcome(&broker).await, "ok");
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

#[tokio::test]
async fn nonsense_is_refused_with_bounded_effort() {
    let deep = "[".repeat(100_000);
    let huge = format!(r#"{{"results":[{{"account_number":"{}"}}]}}"#, "x".repeat(2 * 1024 * 1024));
    let twice = r#"{"results":[{"account_number":"a","account_number":"b"}]}"#;
    for body in
        ["<html>canary-server-text</html>", "{\"results\":", "{\"results\":[NaN]}", twice, &deep, &huge]
    {
        let started = Instant::now();
        let head: String = body.chars().take(40).collect();
        assert_eq!(probe_robinhood(Act::ok(body)).await.0, "protocol", "{head}");
        assert!(started.elapsed() < PATIENT / 2, "{head} took {:?}", started.elapsed());
    }
    let broken =
        Act::Reply { status: 200, headers: Vec::new(), body: b"{\"results\":[\"\xff\xfe\"]}".to_vec() };
    assert_eq!(probe_robinhood(broken).await.0, "protocol");
    let endless = Act::ok(&huge).header("content-length", "999999999");
    assert_eq!(probe_robinhood(endless).await.0, "protocol");
}

#[tokio::test]
async fn redirects_and_part_answers_are_refused_and_nobody_else_is_called() {
    let other = BrokerStub::start().await;
    for status in [301, 302, 307, 308] {
        let act = refused(status, "").header("location", format!("{}/v2/account", other.url()));
        assert_eq!(probe_alpaca(act).await, "protocol");
    }
    assert!(other.journal().is_empty());
    assert_eq!(probe_alpaca(refused(204, "")).await, "protocol");
    assert_eq!(probe_alpaca(refused(206, r#"{"id":"x","status":"ACTIVE"}"#)).await, "protocol");
}

#[tokio::test]
async fn an_encoding_nobody_asked_for_is_refused() {
    assert_eq!(probe_alpaca(alpaca_account().header("content-encoding", "gzip")).await, "protocol");
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = params.self_signed(&key).unwrap().pem();
    Authority { pem, issuer: Issuer::new(params, key) }
}

fn certificate(authority: &Authority, name: &str, expired: bool) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if expired {
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let leaf = params.signed_by(&key, &authority.issuer).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn tls_broker(folder: &Path, stub: &BrokerStub, trusted: Option<&Authority>) -> Box<dyn BrokerAdapter> {
    let mut settings =
        alpaca_settings(&format!("https://127.0.0.1:{}", stub.addr.port()), TradingMode::Paper);
    if let Some(authority) = trusted {
        let path = folder.join("ca.pem");
        std::fs::write(&path, &authority.pem).unwrap();
        settings.http.ca_file = Some(path);
    }
    Box::new(AlpacaBroker::new(&settings).unwrap())
}

#[tokio::test]
async fn a_certificate_that_cannot_be_trusted_is_told_and_never_worked_around() {
    let folder = folder();
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    for (acceptor, why) in [
        (certificate(&theirs, "127.0.0.1", false), "unknown issuer"),
        (certificate(&ours, "127.0.0.1", true), "expired"),
        (certificate(&ours, "example.net", false), "issued for another name"),
    ] {
        let stub = BrokerStub::start_with(Some(acceptor)).await;
        let error = tls_broker(folder.path(), &stub, Some(&ours)).probe(PATIENT).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the broker's certificate cannot be trusted: {why}"));
        assert_eq!(error.code().row().code, "BRK_007");
        assert!(stub.journal().is_empty(), "nothing was sent");
    }
    let plain = BrokerStub::start().await;
    let error = tls_broker(folder.path(), &plain, Some(&ours)).probe(PATIENT).await.unwrap_err();
    assert_eq!(error.kind(), "tls", "plain HTTP on the TLS port: {error}");
}

#[tokio::test]
async fn a_tls_failure_is_not_retried_inside_a_check() {
    let folder = folder();
    let (ours, theirs) = (authority("ours"), authority("theirs"));
    let stub = BrokerStub::start_with(Some(certificate(&theirs, "127.0.0.1", false))).await;
    let broker = tls_broker(folder.path(), &stub, Some(&ours));
    let mut limits = short_limits();
    limits.confirm_interval = Duration::from_secs(60);
    let rig = Rig::run(folder, stub, broker, limits, Clock::system());
    rig.phase(SessionPhase::Degraded).await;
    assert_eq!(rig.code(), "BRK_007");
    assert_eq!(rig.events("health_check.executed")[0]["attempts"], 1);
    let notes = rig.notes.lock().unwrap().clone();
    assert!(notes.iter().any(|note| note.severity == botops_contract::Severity::Critical));
    rig.finish().await;
}

#[tokio::test]
async fn a_certificate_replaced_by_a_valid_one_goes_on() {
    let folder = folder();
    let ours = authority("ours");
    let stub = BrokerStub::start_with(Some(certificate(&ours, "127.0.0.1", false))).await;
    stub.always(ALPACA, Act::CloseAfter(Box::new(alpaca_account())));
    let broker = tls_broker(folder.path(), &stub, Some(&ours));
    assert_eq!(outcome(broker.as_ref()).await, "ok");
    stub.use_tls(certificate(&ours, "127.0.0.1", false));
    tokio::time::sleep(Duration::from_millis(40)).await;
    assert_eq!(outcome(broker.as_ref()).await, "ok");
}
