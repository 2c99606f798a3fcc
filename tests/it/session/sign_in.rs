//! Signing in again: once for all callers, never with refused credentials, with a human where the broker asks for one.

use botops_contract::{BreakerState, GateReason};
use data_encoding::BASE64URL_NOPAD;

use super::*;

const WORKFLOW: &str =
    r#"{"verification_workflow":{"id":"wf-1","workflow_status":"workflow_status_internal_pending"}}"#;
const MACHINE: &str = "POST /pathfinder/user_machine/";
const VIEW: &str = "/pathfinder/inquiries/inq-1/user_view/";
const PROMPT: &str = "GET /push/ch-1/get_prompts_status/";

fn spent() -> Act {
    refused(400, r#"{"error":"invalid_grant","detail":"canary-server-text"}"#)
}

fn wrong_password() -> Act {
    refused(400, r#"{"detail":"Unable to log in with provided credentials."}"#)
}

#[tokio::test]
async fn a_refused_token_is_refreshed_once_and_trading_goes_on() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, unauthorized()).always(ACCOUNTS, profile()).next(TOKEN, token(2));
    })
    .await;
    rig.healthy().await;
    assert!(rig.buy().await.allowed);
    let grants = rig.stub.sent(TOKEN);
    assert_eq!(grants.len(), 1);
    assert_eq!(grants[0].field("grant_type"), Some("refresh_token"));
    assert_eq!(grants[0].field("refresh_token"), Some("canary-refresh-1"));
    assert_eq!(grants[0].field("device_token"), Some("canary-device"));
    assert_eq!(rig.stub.sent(ACCOUNTS)[1].header("authorization"), "Bearer canary-access-2");
    assert_eq!(rig.monitor.facts().reauth_count, Some(1));
    rig.breaker_is(BreakerState::Closed);
    until("the record", || !rig.events("health_check.reauth_success").is_empty(), || rig.log()).await;
    assert_eq!(rig.events("health_check.reauth_triggered")[0]["method"], "refresh");
    let stored = std::fs::read_to_string(rig.folder.path().join("tokens.json")).unwrap();
    assert!(stored.contains("canary-refresh-2"));
    rig.finish().await;
}

#[tokio::test]
async fn a_hundred_operators_who_ask_for_a_check_cause_one_refresh() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        let refused = Act::ByToken("canary-access-1", Box::new(unauthorized()), Box::new(profile()));
        stub.next(ACCOUNTS, profile()).always(ACCOUNTS, refused).next(TOKEN, token(2));
    })
    .await;
    rig.healthy().await;
    let probes = (0..100).map(|_| {
        let monitor = rig.monitor.clone();
        tokio::spawn(async move { monitor.probe().await })
    });
    for probe in probes.collect::<Vec<_>>() {
        probe.await.unwrap();
    }
    rig.healthy().await;
    assert_eq!(rig.stub.sent(TOKEN).len(), 1);
    assert_eq!(rig.monitor.facts().reauth_count, Some(1));
    rig.finish().await;
}

#[tokio::test]
async fn a_new_token_that_is_refused_ends_in_a_halt_and_no_loop() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.always(ACCOUNTS, unauthorized()).always(TOKEN, token(2));
    })
    .await;
    rig.phase(SessionPhase::HaltedCredential).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!((rig.stub.sent(TOKEN).len(), rig.stub.sent(ACCOUNTS).len()), (1, 2));
    rig.breaker_is(BreakerState::Open);
    rig.gate_is(GateReason::CredentialsRejected);
    rig.finish().await;
}

#[tokio::test]
async fn a_pair_that_another_process_stored_is_adopted() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, profile()).next(ACCOUNTS, unauthorized()).always(ACCOUNTS, profile());
        stub.next(TOKEN, Act::Slow(Duration::from_millis(100), Box::new(spent())));
    })
    .await;
    rig.healthy().await;
    store_pair(rig.folder.path(), 7);
    rig.monitor.probe().await;
    rig.healthy().await;
    assert_eq!(rig.stub.sent(TOKEN).len(), 1);
    assert_eq!(rig.stub.sent(ACCOUNTS)[2].header("authorization"), "Bearer canary-access-7");
    rig.finish().await;
}

#[tokio::test]
async fn a_spent_refresh_without_a_password_calls_a_human() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.always(ACCOUNTS, unauthorized()).always(TOKEN, spent());
    })
    .await;
    rig.phase(SessionPhase::HaltedCredential).await;
    assert_eq!(rig.stub.sent(TOKEN).len(), 1);
    assert_eq!(rig.code(), "BRK_002");
    assert_eq!(rig.monitor.facts().needs_human.as_deref(), Some("renew_credentials"));
    let notes = rig.notes.lock().unwrap().clone();
    let error = notes.iter().rev().find_map(|note| note.error.clone()).unwrap();
    assert!(error.remediation.contains("A human must act"), "{}", error.remediation);
    rig.finish().await;
}

#[tokio::test]
async fn an_answer_without_a_refresh_token_keeps_the_old_one() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, unauthorized()).always(ACCOUNTS, profile());
        stub.next(TOKEN, Act::ok(r#"{"access_token":"canary-access-2","expires_in":1000}"#));
    })
    .await;
    rig.healthy().await;
    let stored = std::fs::read_to_string(rig.folder.path().join("tokens.json")).unwrap();
    assert!(stored.contains("canary-access-2") && stored.contains("canary-refresh-1"));
    rig.finish().await;
}

#[tokio::test]
async fn a_pair_that_cannot_be_stored_halts_and_is_stored_when_that_works_again() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, profile()).next(ACCOUNTS, unauthorized()).always(ACCOUNTS, profile());
        stub.next(TOKEN, token(2));
    })
    .await;
    rig.healthy().await;
    let path = rig.folder.path().join("tokens.json");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir_all(path.join("in-the-way")).unwrap();
    rig.monitor.probe().await;
    rig.phase(SessionPhase::HaltedCredential).await;
    assert_eq!(rig.code(), "BRK_012");
    assert_eq!(rig.monitor.facts().needs_human.as_deref(), Some("repair_token_store"));
    rig.breaker_is(BreakerState::Open);
    std::fs::remove_dir_all(&path).unwrap();
    let outcome = rig.monitor.reauth(None).await;
    assert!(outcome.done, "{outcome:?}");
    assert!(std::fs::read_to_string(&path).unwrap().contains("canary-refresh-2"));
    assert_eq!(rig.stub.sent(TOKEN).len(), 1, "the pair in memory was good");
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn after_a_crash_between_rotation_and_first_use_the_new_pair_works() {
    // The check with the new pair hangs, and the process is ended during it.
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, unauthorized()).next(ACCOUNTS, Act::Hang).always(ACCOUNTS, profile());
        stub.next(TOKEN, token(2));
    })
    .await;
    until("the first use", || rig.stub.sent(ACCOUNTS).len() == 2, || rig.log()).await;
    let folder = folder();
    std::fs::copy(rig.folder.path().join("tokens.json"), folder.path().join("tokens.json")).unwrap();
    std::fs::copy(rig.folder.path().join("session.json"), folder.path().join("session.json")).unwrap();
    rig.finish().await;
    let again = Rig::with(
        folder,
        short_limits(),
        |stub| {
            stub.always(ACCOUNTS, profile());
        },
        |folder, url| Box::new(RobinhoodBroker::new(&robinhood_settings(folder, url)).unwrap()),
    )
    .await;
    again.healthy().await;
    assert_eq!(again.stub.sent(ACCOUNTS)[0].header("authorization"), "Bearer canary-access-2");
    assert!(again.stub.sent(TOKEN).is_empty());
    assert_eq!(again.monitor.facts().reauth_budget_left, Some(5), "the attempt before the crash counts");
    again.finish().await;
}

fn key_file(rig: &Path, n: u32) -> std::path::PathBuf {
    let path = rig.join("keys.env");
    std::fs::write(&path, format!("APCA_API_KEY_ID=canary-key-{n}\nAPCA_API_SECRET_KEY=canary-secret-{n}\n"))
        .unwrap();
    path
}

async fn with_key_file(prepare: impl FnOnce(&BrokerStub)) -> Rig {
    let folder = folder();
    Rig::with(folder, short_limits(), prepare, |folder, url| {
        let mut settings = alpaca_settings(url, TradingMode::Paper);
        settings.keys = AlpacaKeySource::File(key_file(folder, 1));
        Box::new(AlpacaBroker::new(&settings).unwrap())
    })
    .await
}

#[tokio::test]
async fn a_refusal_page_of_alpaca_is_about_the_keys() {
    let page =
        refused(403, "<html>403 Forbidden canary-server-text</html>").header("content-type", "text/html");
    let rig = Rig::alpaca(short_limits(), |stub| {
        stub.always(ALPACA, page);
    })
    .await;
    rig.phase(SessionPhase::HaltedCredential).await;
    assert_eq!(rig.code(), "BRK_002");
    assert_eq!(rig.stub.sent(ALPACA).len(), 1, "the same keys are not sent again");
    rig.finish().await;
}

#[tokio::test]
async fn changed_credentials_are_tried_once() {
    let rig = Rig::with_password(short_limits(), |stub| {
        stub.always(TOKEN, wrong_password());
    })
    .await;
    rig.phase(SessionPhase::HaltedCredential).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.stub.sent(TOKEN).len(), 1);
    let facts = rig.monitor.facts();
    assert_eq!(facts.error_code.as_deref(), Some("BRK_002"));
    assert_eq!(facts.gate, Some(GateReason::CredentialsRejected));
    assert_eq!(rig.sell().await.reason, GateReason::CredentialsRejected);
    assert_eq!(rig.events("health_check.reauth_failed")[0]["circuit_breaker_tripped"], true);
    let rig = rig
        .restart(|folder, url| {
            let mut settings = robinhood_settings(folder, url);
            settings.password = Some(password_grant());
            Box::new(RobinhoodBroker::new(&settings).unwrap())
        })
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.stub.sent(TOKEN).len(), 1, "a restart is no reason to try again");
    rig.phase(SessionPhase::HaltedCredential).await;
    rig.finish().await;
}

#[tokio::test]
async fn a_paper_key_on_the_live_host_is_named() {
    let folder = folder();
    let rig = Rig::with(
        folder,
        short_limits(),
        |stub| {
            stub.always(ALPACA, unauthorized());
        },
        |_, url| Box::new(AlpacaBroker::new(&alpaca_settings(url, TradingMode::Live)).unwrap()),
    )
    .await;
    rig.phase(SessionPhase::HaltedCredential).await;
    let reason = rig.monitor.facts().reason.unwrap();
    assert!(reason.contains("paper key on the live host"), "{reason}");
    rig.finish().await;
}

#[tokio::test]
async fn a_replaced_key_file_is_used_after_the_operators_word() {
    let rig = with_key_file(|stub| {
        stub.next(ALPACA, unauthorized()).always(ALPACA, alpaca_account());
    })
    .await;
    rig.phase(SessionPhase::HaltedCredential).await;
    key_file(rig.folder.path(), 2);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.stub.sent(ALPACA).len(), 1, "nothing happens by itself");
    let outcome = rig.monitor.reauth(None).await;
    assert!(outcome.done, "{outcome:?}");
    rig.healthy().await;
    rig.breaker_is(BreakerState::Closed);
    let sent = rig.stub.sent(ALPACA);
    assert_eq!(sent[1].header("apca-api-secret-key"), "canary-secret-2");
    assert_eq!(sent.iter().filter(|seen| seen.header("apca-api-key-id") == "canary-key-1").count(), 1);
    rig.finish().await;
}

/// Sets up a sign-in that needs the app; the prompt is approved when the test queues that.
fn device_workflow(stub: &BrokerStub) {
    stub.next(TOKEN, refused(403, WORKFLOW))
        .always(MACHINE, Act::ok(r#"{"id":"inq-1"}"#))
        .always(
            &format!("GET {VIEW}"),
            Act::ok(r#"{"context":{"sheriff_challenge":{"id":"ch-1","type":"prompt","status":"issued"}}}"#),
        )
        .always(&format!("POST {VIEW}"), Act::ok(r#"{"type_context":{"result":"workflow_status_approved"}}"#))
        .always(PROMPT, Act::ok(r#"{"challenge_status":"issued"}"#))
        .always(ACCOUNTS, profile());
}

#[tokio::test]
async fn an_approved_prompt_gives_a_session_with_the_same_device() {
    let rig = Rig::with_password(short_limits(), |stub| {
        device_workflow(stub);
        stub.next(PROMPT, Act::ok(r#"{"challenge_status":"issued"}"#))
            .next(PROMPT, Act::ok(r#"{"challenge_status":"issued"}"#))
            .always(PROMPT, Act::ok(r#"{"challenge_status":"validated"}"#))
            .next(TOKEN, token(1));
    })
    .await;
    until("the wait for a human", || !rig.events("health_check.challenge_required").is_empty(), || rig.log())
        .await;
    rig.healthy().await;
    let grants = rig.stub.sent(TOKEN);
    assert_eq!(grants.len(), 2);
    assert_eq!(rig.stub.sent(PROMPT).len(), 3);
    for grant in &grants {
        assert_eq!(grant.field("device_token"), Some("canary-device"));
        assert_eq!(grant.field("grant_type"), Some("password"));
        assert_eq!(grant.field("mfa_code"), None, "a code would suppress the prompt");
    }
    assert!(rig.stub.sent(MACHINE)[0].body.contains("\"device_id\":\"canary-device\""));
    assert_eq!(rig.events("health_check.challenge_resolved").len(), 1);
    rig.finish().await;
}

#[tokio::test]
async fn a_prompt_that_nobody_approves_ends_in_a_halt_after_one_request() {
    let mut limits = short_limits();
    limits.challenge_deadline = Duration::from_millis(1_500);
    let rig = Rig::with_password(limits, device_workflow).await;
    until("the wait", || rig.monitor.facts().needs_human.is_some(), || rig.log()).await;
    assert_eq!(rig.monitor.facts().needs_human.as_deref(), Some("approve_device"));
    rig.gate_is(GateReason::AwaitingHuman);
    assert_eq!(rig.sell().await.reason, GateReason::AwaitingHuman);
    rig.phase(SessionPhase::HaltedCredential).await;
    assert_eq!(rig.stub.sent(TOKEN).len(), 1);
    assert_eq!(rig.code(), "BRK_003");
    rig.breaker_is(BreakerState::Open);
    rig.finish().await;
}

#[tokio::test]
async fn an_authenticator_code_is_sent_once_and_not_twice_the_same() {
    let folder = folder();
    let mfa = r#"{"mfa_required":true,"mfa_type":"app"}"#;
    let rig = Rig::with(
        folder,
        short_limits(),
        |stub| {
            stub.next(TOKEN, Act::ok(mfa))
                .next(TOKEN, token(1))
                .next(TOKEN, token(2))
                .always(ACCOUNTS, profile());
        },
        |folder, url| {
            let mut settings = robinhood_settings(folder, url);
            let mut grant = password_grant();
            grant.mfa_secret = Some("JBSWY3DPEHPK3PXP".to_owned().into());
            settings.password = Some(grant);
            Box::new(RobinhoodBroker::new(&settings).unwrap())
        },
    )
    .await;
    rig.healthy().await;
    let grants = rig.stub.sent(TOKEN);
    assert_eq!(grants.len(), 2);
    assert_eq!(grants[0].field("mfa_code"), None);
    let code = grants[1].field("mfa_code").unwrap();
    assert!(code.len() == 6 && code.chars().all(|c| c.is_ascii_digit()));
    rig.finish().await;
}

#[tokio::test]
async fn a_code_by_message_comes_through_the_operator() {
    let rig = Rig::with_password(short_limits(), |stub| {
        stub.next(TOKEN, Act::ok(r#"{"mfa_required":true,"mfa_type":"sms"}"#))
            .next(TOKEN, token(1))
            .always(ACCOUNTS, profile());
    })
    .await;
    until("the wait", || rig.monitor.facts().needs_human.is_some(), || rig.log()).await;
    assert_eq!(rig.monitor.facts().needs_human.as_deref(), Some("enter_code"));
    let outcome = rig.monitor.reauth(Some("canary-code".to_owned())).await;
    assert!(outcome.done, "{outcome:?}");
    assert_eq!(rig.stub.sent(TOKEN)[1].field("mfa_code"), Some("canary-code"));
    rig.healthy().await;
    rig.finish().await;
}

#[tokio::test]
async fn a_workflow_that_stumbles_goes_on() {
    let rig = Rig::with_password(short_limits(), |stub| {
        device_workflow(stub);
        stub.next(MACHINE, unavailable())
            .next(&format!("GET {VIEW}"), unavailable())
            .always(PROMPT, Act::ok(r#"{"challenge_status":"validated"}"#))
            .next(TOKEN, token(1));
    })
    .await;
    rig.healthy().await;
    assert_eq!(rig.stub.sent(TOKEN).len(), 2);
    rig.finish().await;
}

#[tokio::test]
async fn a_wait_on_the_sign_in_delays_it_and_polling_widens() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, unauthorized()).always(ACCOUNTS, profile());
        stub.next(TOKEN, refused(429, "{}").header("retry-after", "1")).next(TOKEN, token(2));
    })
    .await;
    rig.healthy().await;
    let grants = rig.stub.sent(TOKEN);
    assert_eq!(grants.len(), 2);
    assert!(grants[1].at - grants[0].at >= Duration::from_secs(1));
    rig.finish().await;

    let rig = Rig::with_password(short_limits(), |stub| {
        device_workflow(stub);
        stub.always(PROMPT, refused(429, "{}"));
    })
    .await;
    until("four polls", || rig.stub.sent(PROMPT).len() >= 4, || rig.log()).await;
    let polls = rig.stub.sent(PROMPT);
    for (n, pair) in polls.windows(2).enumerate() {
        // Each answer doubles the wait, which begins when the answer is received, later than the stub got the request.
        let (gap, wait) = (pair[1].at - pair[0].at, Duration::from_millis(80 << n));
        assert!(gap >= wait, "{gap:?} instead of {wait:?}");
    }
    assert_eq!(rig.monitor.facts().needs_human.as_deref(), Some("approve_device"));
    assert_eq!(rig.stub.sent(TOKEN).len(), 1);
    rig.finish().await;
}

fn web_token(end: chrono::DateTime<Utc>) -> String {
    let payload = format!(r#"{{"exp":{}}}"#, end.timestamp());
    format!("eyJcanary.{}.canary-access-sig", BASE64URL_NOPAD.encode(payload.as_bytes()))
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_and_allowed_for() {
    let ahead = || Utc::now() + TimeDelta::minutes(5);
    let date = || ahead().format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let rig = Rig::robinhood(short_limits(), |stub| {
        let dated = |act: Act| act.header("date", date());
        stub.next(ACCOUNTS, dated(profile())).next(ACCOUNTS, dated(unauthorized()));
        stub.always(ACCOUNTS, dated(profile()));
        let end = ahead() + TimeDelta::hours(1);
        let body = format!(r#"{{"access_token":"{}","refresh_token":"canary-refresh-2"}}"#, web_token(end));
        stub.next(TOKEN, Act::ok(body));
    })
    .await;
    rig.healthy().await;
    let skew = rig.monitor.facts().clock_skew_seconds.unwrap();
    // The date was taken before the session began: every pause since then makes the skew smaller.
    assert!((240.0..=302.0).contains(&skew), "{skew}");
    let warned = |note: &SessionNote| note.error.as_ref().is_some_and(|error| error.error_code == "BRK_013");
    until("the warning", || rig.notes.lock().unwrap().iter().any(warned), String::new).await;
    rig.monitor.probe().await;
    rig.healthy().await;
    let left = rig.monitor.facts().token_expires_at.unwrap() - Utc::now();
    assert!((3_300..=3_610).contains(&left.num_seconds()), "an hour by the broker's clock: {left}");
    rig.finish().await;
}

#[tokio::test]
async fn a_token_near_its_end_is_renewed_and_trading_goes_on() {
    let folder = folder();
    store_pair_near_its_end(folder.path());
    let rig = Rig::with(
        folder,
        short_limits(),
        |stub| {
            let body = format!(r#"{{"access_token":"{}"}}"#, web_token(Utc::now() + TimeDelta::hours(24)));
            stub.always(ACCOUNTS, profile());
            stub.next(TOKEN, Act::Slow(Duration::from_millis(200), Box::new(Act::ok(body))));
        },
        |folder, url| Box::new(RobinhoodBroker::new(&robinhood_settings(folder, url)).unwrap()),
    )
    .await;
    rig.healthy().await;
    until("the renewal", || rig.stub.sent(TOKEN).len() == 1, || rig.log()).await;
    assert!(rig.buy().await.allowed, "the old token still holds");
    until("the new token", || rig.monitor.facts().reauth_count == Some(1), || rig.log()).await;
    assert_eq!(rig.monitor.facts().state, SessionPhase::Healthy);
    assert_eq!(rig.monitor.facts().reauth_budget_left, Some(6), "a renewal costs no attempt");
    rig.finish().await;
}

#[tokio::test]
async fn an_opaque_token_lives_as_long_as_it_was_said() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, unauthorized()).always(ACCOUNTS, profile()).next(TOKEN, token(2));
    })
    .await;
    rig.healthy().await;
    let left = rig.monitor.facts().token_expires_at.unwrap() - Utc::now();
    assert!((86_000..=86_401).contains(&left.num_seconds()), "{left}");
    rig.finish().await;
}

#[tokio::test]
async fn a_stop_in_the_middle_of_a_rotation_keeps_the_new_pair() {
    let rig = Rig::robinhood(short_limits(), |stub| {
        stub.next(ACCOUNTS, unauthorized()).always(ACCOUNTS, profile());
        stub.next(TOKEN, Act::Slow(Duration::from_millis(300), Box::new(token(2))));
    })
    .await;
    until("the rotation", || rig.stub.sent(TOKEN).len() == 1, || rig.log()).await;
    let path = rig.folder.path().join("tokens.json");
    assert!(rig.tasks.finish(PATIENT).await);
    assert!(std::fs::read_to_string(path).unwrap().contains("canary-refresh-2"));
    rig.finish().await;
}
