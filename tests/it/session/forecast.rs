//! A dry run says what the command itself would answer now: every verb, in every state that a script leads to.

use botops_contract::{CommandOutcome, CommandRequest, SessionPhase, Verb};
use botops_paperbot::session::SessionCommandOutcome;
use serde_json::{Value, json};

use super::bot::bot_with;
use super::{Rig, short_limits, until};
use crate::kit::paperbot::Paperbot;

#[derive(Debug, Clone, Copy)]
enum Asked {
    Probe,
    Reauth,
    ReauthWithCode,
    Reset,
}

impl Asked {
    fn forecast(self, rig: &Rig) -> SessionCommandOutcome {
        match self {
            Self::Probe => rig.monitor.forecast_probe(),
            Self::Reauth => rig.monitor.forecast_reauth(None),
            Self::ReauthWithCode => rig.monitor.forecast_reauth(Some("123456".to_owned())),
            Self::Reset => rig.monitor.forecast_reset(),
        }
    }

    async fn real(self, rig: &Rig) -> SessionCommandOutcome {
        match self {
            Self::Probe => rig.monitor.probe().await,
            Self::Reauth => rig.monitor.reauth(None).await,
            Self::ReauthWithCode => rig.monitor.reauth(Some("123456".to_owned())).await,
            Self::Reset => rig.monitor.reset_breaker().await,
        }
    }
}

/// Scripts, and the state that they lead to by themselves: phase, and whether a person is waited for.
const STATES: &[(&str, SessionPhase)] = &[
    ("[]", SessionPhase::Healthy),
    ("[{do: lock}]", SessionPhase::Healthy),
    ("[{do: 503, times: 999}]", SessionPhase::HaltedTransient),
    ("[{do: 429, retry_after_s: 600}]", SessionPhase::Degraded),
    ("[{do: expire_token}, {on: reauth, do: 429, retry_after_s: 600}]", SessionPhase::Reauthenticating),
    ("[{do: expire_token}, {do: challenge}]", SessionPhase::Reauthenticating),
    ("[{do: expire_token}, {do: code}]", SessionPhase::Reauthenticating),
    ("[{do: expire_token}, {do: credentials_rejected, times: 999}]", SessionPhase::HaltedCredential),
    ("[{do: expire_token}, {do: login_locked, times: 999}]", SessionPhase::HaltedCredential),
    ("[{do: expire_token}, {do: refresh_spent, times: 999}]", SessionPhase::HaltedCredential),
    ("[{do: expire_token}, {on: reauth, do: 503, times: 999}]", SessionPhase::HaltedCredential),
    ("[{do: expire_token}, {do: token_store, times: 999}]", SessionPhase::HaltedCredential),
];

/// What only the broker can say; a forecast that does not refuse leaves these open.
const UP_TO_THE_BROKER: &[&str] = &["check_failed", "reauth_failed", "awaiting_human"];

async fn compare(script: &str, phase: SessionPhase, halts: bool, asked: Asked) {
    let rig = Rig::paper(short_limits(), script).await;
    rig.phase(phase).await;
    if script.contains("429") {
        until("the wait", || rig.code() == "BRK_004", || rig.log()).await;
    }
    if script.contains("challenge") || script.contains("code}") {
        until("the question", || rig.monitor.facts().needs_human.is_some(), || rig.log()).await;
    }
    if halts {
        rig.monitor.halt("a halt in this state");
    }
    let forecast = asked.forecast(&rig);
    let before = rig.monitor.facts();
    let real = asked.real(&rig).await;
    let told = format!("{asked:?} in {script} halted {halts}: {forecast:?}, then {real:?}; {before:?}");
    if !forecast.done {
        assert_eq!((real.done, real.reason_code), (false, forecast.reason_code), "{told}");
    } else if !real.done {
        assert!(UP_TO_THE_BROKER.contains(&real.reason_code.unwrap()), "{told}");
    }
    rig.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_of_the_session_refuses_exactly_what_the_session_would() {
    for (script, phase) in STATES {
        for halts in [false, true] {
            for asked in [Asked::Probe, Asked::Reauth, Asked::ReauthWithCode, Asked::Reset] {
                compare(script, *phase, halts, asked).await;
            }
        }
    }
}

/// Scripts of the real program, with a command that is known to be refused there, and the reason.
const REFUSALS: &[(&str, &str, Verb, &str)] = &[
    ("[]", "healthy", Verb::ResetBreaker, "breaker_closed"),
    ("[{do: ok}, {do: 429, retry_after_s: 600}]", "degraded", Verb::ProbeSession, "rate_limited"),
    (
        "[{do: expire_token}, {do: credentials_rejected, times: 99}]",
        "halted_credential",
        Verb::Reauth,
        "reauth_failed",
    ),
    (
        "[{do: expire_token}, {do: credentials_rejected, times: 99}]",
        "halted_credential",
        Verb::ResetBreaker,
        "check_failed",
    ),
    ("[{do: expire_token}, {do: challenge}]", "reauthenticating", Verb::Reauth, "awaiting_human"),
];

async fn send(bot: &Paperbot, verb: Verb, command_id: &str, dry_run: bool) -> Value {
    let request = CommandRequest {
        command_id: command_id.to_owned(),
        reason: "a test".to_owned(),
        args: Value::Null,
        dry_run,
        valid_for_ms: None,
        expires_at: None,
    };
    json!(bot.command_with(verb, &request).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_is_forecast_as_it_is_answered() {
    for (at, (script, state, refused, reason)) in REFUSALS.iter().enumerate() {
        let bot = bot_with(script).await;
        if *state == "degraded" {
            send(&bot, Verb::ProbeSession, "first", false).await;
        }
        let waits_for = |report: &botops_contract::BotReport| {
            let session = report.session.as_ref();
            let asks =
                *reason != "awaiting_human" || session.is_some_and(|session| session.needs_human.is_some());
            asks && session.is_some_and(|session| json!(session.state) == *state)
        };
        bot.until("the state", waits_for).await;
        let forecast = send(&bot, *refused, &format!("dry-{at}"), true).await;
        assert_eq!(forecast["reason_code"], *reason, "{script}: {forecast}");
        // One after the other; each of them may change the state, and the next pair is compared in the new one.
        let verbs = [
            *refused,
            Verb::Pause,
            Verb::ProbeSession,
            Verb::Flatten,
            Verb::CancelOrders,
            Verb::Reauth,
            Verb::Halt,
            Verb::Flatten,
            Verb::Reauth,
            Verb::ProbeSession,
            Verb::ResetBreaker,
            Verb::ResetBreaker,
            Verb::Resume,
            Verb::Shutdown,
        ];
        for (n, verb) in verbs.into_iter().enumerate() {
            let forecast = send(&bot, verb, &format!("dry-{at}-{n}"), true).await;
            let real = send(&bot, verb, &format!("real-{at}-{n}"), false).await;
            let told = format!("{verb} ({n}) after {script}: {forecast}, then {real}");
            if forecast["outcome"] == json!(CommandOutcome::Refused) {
                assert_eq!(
                    (&real["outcome"], &real["reason_code"]),
                    (&json!("refused"), &forecast["reason_code"]),
                    "{told}"
                );
            } else if real["outcome"] == "refused" {
                assert!(UP_TO_THE_BROKER.contains(&real["reason_code"].as_str().unwrap()), "{told}");
            }
        }
    }
}
