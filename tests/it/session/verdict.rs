//! What the session and its breaker say of their end, in the real programs: one instant or one person, and the code that
//! a person enters.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::bot::bot_with;
use crate::kit::app::{KEY, Running};
use crate::kit::paperbot::Paperbot;
use crate::kit::until;
use crate::mcp::call;

/// botops beside this bot, in a data folder of its own.
async fn operate(bot: &Paperbot) -> Running {
    let socket = bot.socket().display().to_string();
    let data = format!("{socket}.ops");
    Running::start(bot.folder.path(), &[("BOT_IPC_SOCKET", &socket), ("BOT_DATA_DIR", &data)]).await
}

/// Waits until the bot's own state, as JSON, fulfils the condition; returns it.
async fn state_where(bot: &Paperbot, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
    let last = std::sync::Mutex::new(Value::Null);
    let seen = || async {
        let state: Value = bot.get("state").await.unwrap_or_default();
        let fits = condition(&state);
        *last.lock().unwrap() = state;
        fits
    };
    if tokio::time::timeout(Duration::from_secs(40), until(what, Duration::MAX, seen)).await.is_err() {
        panic!("{what}: last {:#}", last.lock().unwrap());
    }
    last.into_inner().unwrap()
}

/// The answer to a control verb.
async fn control(botops: &Running, path: &str, args: Option<&str>) -> (u16, Value) {
    let mut body = json!({"reason": "a person is at the desk"});
    if let Some(code) = args {
        body["args"] = json!({"code": code});
    }
    botops.send(Method::POST, &format!("/api/v1/control/{path}"), &body).await
}

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no instant"))
}

/// Every file under a folder that contains one of the texts.
fn files_with(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let Ok(bytes) = std::fs::read(&path) else { continue };
            let has = |text: &&&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
            found.extend(texts.iter().filter(has).map(|text| format!("{text} in {}", path.display())));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_reaches_the_broker_over_every_way_and_is_written_nowhere() {
    let script = "[{do: expire_token}, {do: code}, {on: reauth, do: ok}, {do: code}, {on: reauth, do: ok}, {do: code}]";
    let bot = bot_with(script).await;
    let botops = operate(&bot).await;
    let codes = ["48151-6234-21", "23429-9792-45", "33445-5667-78", "99887-7665-54"];
    let [by_rest, by_mcp, by_ask, misplaced] = codes;
    let asked = |state: &Value| state["session"]["needs_human"] == "enter_code";
    let healthy = |state: &Value| state["session"]["state"] == "healthy";

    // Nobody is there in time: it is still a code that is wanted, and no approval.
    state_where(&bot, "the code is asked for", asked).await;
    let over = |state: &Value| state["session"]["state"] == "halted_credential";
    let state = state_where(&bot, "the time is over", over).await;
    assert_eq!(state["session"]["needs_human"], "enter_code", "{state:#}");
    let (_, summary) = botops.get("/api/v1/summary").await;
    let remedy = &summary["session"]["remediation"];
    assert!(remedy.as_str().is_some_and(|remedy| remedy.contains("args.code")), "{summary:#}");

    // What is no code is refused, and what was sent is not repeated.
    let wrong =
        [json!({"code": 99_887_766_554_u64}), json!(misplaced), json!({"code": ""}), json!([misplaced])];
    let wrong = wrong.map(|args| json!({"reason": "a person is at the desk", "args": args}));
    for body in &wrong {
        let (status, problem) = botops.send(Method::POST, "/api/v1/control/reauth", body).await;
        assert_eq!(status, 400, "{problem}");
        let text = problem.to_string();
        assert!(!text.contains(misplaced) && !text.contains("99887766554"), "{text}");
    }
    let (status, problem) = control(&botops, "pause", Some(misplaced)).await;
    assert_eq!((status, problem["errors"][0]["pointer"].as_str()), (400, Some("/args")), "{problem}");

    let (status, signed_in) = control(&botops, "reauth", Some(by_rest)).await;
    assert_eq!((status, signed_in["outcome"].as_str()), (200, Some("done")), "{signed_in}");
    state_where(&bot, "a session", healthy).await;

    let (status, refused) = control(&botops, "reauth", None).await;
    assert_eq!((status, &refused["context"]["reason_code"]), (409, &json!("awaiting_human")), "{refused}");
    state_where(&bot, "the second code is asked for", asked).await;
    let arguments = json!({"verb": "reauth", "args": {"code": by_mcp}, "dry_run": true,
        "reason": format!("the code is {by_mcp}")});
    let predicted = call(&botops, KEY, "control_bot", arguments.clone()).await;
    assert_eq!(predicted["structuredContent"]["outcome"], "predicted", "{predicted}");
    let mut arguments = arguments;
    arguments["dry_run"] = json!(false);
    let done = call(&botops, KEY, "control_bot", arguments).await;
    assert_eq!(done["structuredContent"]["outcome"], "done", "{done}");
    state_where(&bot, "a session by MCP", healthy).await;

    let (_, refused) = control(&botops, "reauth", None).await;
    assert_eq!(refused["context"]["reason_code"], "awaiting_human", "{refused}");
    let text = format!("sign in with the code {by_ask}");
    let (status, asked_for) = botops.send(Method::POST, "/api/v1/ask", &json!({"text": text})).await;
    assert_eq!((status, &asked_for["intent"]), (200, &json!("reauth")), "{asked_for}");
    let option = &asked_for["options"][0]["call"];
    let path = option["path"].as_str().unwrap_or_else(|| panic!("{asked_for}"));
    assert_eq!(option["body"]["args"]["code"], by_ask, "{asked_for}");
    let (status, done) = botops.send(Method::POST, path, &option["body"]).await;
    assert_eq!((status, &done["outcome"]), (200, &json!("done")), "{done}");
    state_where(&bot, "a session by a sentence", healthy).await;

    let (_, events) = botops.get("/api/v1/events?limit=500").await;
    let (_, errors) = botops.get("/api/v1/errors?limit=500").await;
    botops.stop().await;
    let told = format!("{events}{errors}");
    assert!(codes.iter().all(|code| !told.contains(code)), "{told}");
    let files = files_with(bot.folder.path(), &codes);
    assert!(files.is_empty(), "{files:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_of_the_broker_ends_at_the_same_instant_wherever_it_is_told() {
    let mut bot = bot_with("[{do: ok}, {do: 429, retry_after_s: 5400}]").await;
    let botops = operate(&bot).await;
    control(&botops, "probe-session", None).await;
    let waits = |state: &Value| state["session"]["gate"] == "rate_limited";
    let state = state_where(&bot, "the wait", waits).await;
    let until_then = instant(&state["session"]["resumes_at"]);
    let ahead = until_then - Utc::now();
    assert!(ahead > TimeDelta::seconds(5_300) && ahead <= TimeDelta::seconds(5_400), "{ahead}");
    let counts_down = |state: &Value| {
        let left = state["session"]["retry_after_s"].as_f64().unwrap();
        let expected = (until_then - instant(&state["as_of"])).as_seconds_f64();
        assert!((left - expected).abs() < 1.0, "{left} s, and {expected} s until {until_then}");
        left
    };
    let first = counts_down(&state);
    let later = state_where(&bot, "time passes", |state| {
        state["session"]["retry_after_s"].as_f64().is_some_and(|left| left < first - 0.5)
    });
    let later = later.await;
    counts_down(&later);
    for state in [&state, &later] {
        assert_eq!(instant(&state["session"]["next_check_at"]), until_then, "{state:#}");
        assert_eq!(instant(&state["session"]["resumes_at"]), until_then, "it does not move");
        assert_eq!(state["session"]["needs_human"], Value::Null);
    }
    let in_words = until_then.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    assert!(state["session"]["reason"].as_str().unwrap().ends_with(&in_words), "{state:#}");
    let said = until_then.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let told = || async {
        let (_, summary) = botops.get("/api/v1/summary").await;
        summary["session"]["remediation"].as_str().is_some_and(|remedy| remedy.contains(&said))
    };
    until("the remedy says the instant", Duration::from_secs(20), told).await;
    for path in ["probe-session?dry_run=true", "probe-session", "reauth?dry_run=true", "reauth"] {
        let (status, refused) = control(&botops, path, None).await;
        assert_eq!(
            (status, &refused["context"]["reason_code"]),
            (409, &json!("rate_limited")),
            "{path}: {refused}"
        );
        assert!(refused.to_string().contains(&in_words), "{path}: {refused}");
    }
    // Calls before the end would make it longer, so a restart does not forget it.
    bot.kill();
    bot.launch().await;
    let state = state_where(&bot, "the wait after the restart", waits).await;
    assert!(
        (instant(&state["session"]["resumes_at"]) - until_then).abs() < TimeDelta::seconds(2),
        "{state:#}"
    );
    assert_eq!(state["session"]["health_check_count"], 0, "the broker is left alone");
    botops.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_need_a_person_by_every_verdict_and_forecast() {
    let bot = bot_with("[{after_s: 1, do: expire_token}, {do: credentials_rejected, times: 99}]").await;
    let botops = operate(&bot).await;
    let earlier = state_where(&bot, "a session", |state| !state["session"]["last_ok"].is_null()).await;
    let halted = |state: &Value| state["session"]["state"] == "halted_credential";
    let probing = async {
        // Orders cause checks as well; this makes sure of one.
        until("the halt", Duration::from_secs(40), || async {
            control(&botops, "probe-session", None).await;
            halted(&bot.get("state").await.unwrap_or_default())
        })
        .await;
    };
    probing.await;
    let state = state_where(&bot, "the halt", halted).await;
    let (session, breaker) = (&state["session"], &state["circuit_breaker"]);
    assert_eq!(breaker["state"], "open");
    for verdict in [session, breaker] {
        assert_eq!(verdict["needs_human"], "renew_credentials", "{verdict:#}");
        assert_eq!(verdict["resumes_at"], Value::Null, "{verdict:#}");
    }
    assert_eq!((&breaker["retry_at"], &session["retry_after_s"]), (&Value::Null, &Value::Null));
    assert_eq!(session["next_check_at"], Value::Null);
    assert!(instant(&session["last_ok"]) >= instant(&earlier["session"]["last_ok"]), "{session:#}");
    let reasons = state["no_entry_reasons"].as_array().unwrap();
    for reason in ["breaker_open", "session_credentials_rejected"] {
        assert!(reasons.contains(&json!(reason)), "{reasons:?}");
    }
    for (verb, reason_code) in
        [("reauth", "reauth_failed"), ("reset-breaker", "check_failed"), ("probe-session", "check_failed")]
    {
        let (status, forecast) = control(&botops, &format!("{verb}?dry_run=true"), None).await;
        assert_eq!(
            (status, &forecast["context"]["reason_code"]),
            (409, &json!(reason_code)),
            "{verb}: {forecast}"
        );
        let (status, real) = control(&botops, verb, None).await;
        assert_eq!((status, &real["context"]["reason_code"]), (409, &json!(reason_code)), "{verb}: {real}");
        if verb == "reauth" {
            assert!(forecast["cause"].as_str().unwrap().contains("rejected the credentials"), "{forecast}");
        }
    }
    // The commands went through phases of their own; the summary follows.
    let needs_renewal = || async {
        let (_, summary) = botops.get("/api/v1/summary").await;
        ["circuit_breaker", "session"].iter().all(|part| {
            let remedy = summary[part]["remediation"].as_str().unwrap_or_default();
            remedy.starts_with("A person must renew")
        })
    };
    until("both remedies say the same", Duration::from_secs(20), needs_renewal).await;
    botops.stop().await;
}
