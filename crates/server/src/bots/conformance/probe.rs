//! One question of a conformance run: sent as botops sends it, its time taken, its failure named.

use std::time::{Duration, Instant};

use reqwest::{RequestBuilder, StatusCode};

use super::findings::ConformanceFinding;
use crate::bots::exchange::{self, HttpAnswer, TransportFailure, UpstreamFault};
use crate::bots::presence::{ON_TIME, SILENCE};
use crate::bots::sanitise;
use botops_contract::ContractRefusal;

/// A state is asked for once a second: from this size on, that is felt.
const LARGE: usize = 1024 * 1024;

/// The rule of a bot that was there at the beginning of the run, and takes no connection any more.
pub(super) const GONE: &str = "refuses_connections";

/// An answer, and how long it took.
#[derive(Debug)]
pub(super) struct ProbeAnswer {
    pub answer: HttpAnswer,
    pub took: Duration,
}

/// Asks, and waits as long as botops would before it calls the bot hung.
///
/// # Errors
/// A finding that says why there is no answer.
pub(super) async fn ask(
    call: &str,
    request: RequestBuilder,
    limit: Duration,
) -> Result<ProbeAnswer, ConformanceFinding> {
    let started = Instant::now();
    let answer =
        exchange::exchange(request, limit).await.map_err(|failure| failure_finding(call, failure, limit))?;
    Ok(ProbeAnswer { answer, took: started.elapsed() })
}

/// The finding behind a question without an answer.
pub(super) fn failure_finding(call: &str, failure: TransportFailure, limit: Duration) -> ConformanceFinding {
    match failure {
        TransportFailure::Away(why) => {
            let remedy = "It answered before: look whether its process still runs, and whether it serves each connection.";
            ConformanceFinding::fault(GONE, call, remedy).got(&why)
        }
        TransportFailure::Late => {
            let got = format!("no answer within {} s", limit.as_secs());
            let remedy = "Answer from memory, beside the trading loop and never waiting for it, each connection on a thread of its own.";
            let rule = if call.starts_with("POST") { "verb_hangs" } else { "hung" };
            ConformanceFinding::fault(rule, call, remedy).got(&got)
        }
        TransportFailure::Cut => {
            let remedy = "Usually an exception in the handler: look at the output of the bot.";
            ConformanceFinding::fault("cut", call, remedy).got("the connection ends without an answer")
        }
        TransportFailure::Nonsense(why) if why.contains("MiB") => {
            let remedy = "botops reads at most 8 MiB and takes nothing of a larger answer: leave old orders and errors out.";
            ConformanceFinding::fault("too_large", call, remedy).got(&why)
        }
        TransportFailure::Nonsense(why) | TransportFailure::AnotherBot(why) => {
            let remedy = "Serve HTTP/1.1: a status line, headers, and a body of JSON.";
            ConformanceFinding::fault("not_http", call, remedy).got(&why)
        }
        TransportFailure::Upstream(_, why) => upstream_finding(call, &why),
    }
}

fn upstream_finding(call: &str, why: &str) -> ConformanceFinding {
    let remedy =
        "The adapter answers, and its bot does not: start the bot, or look at the adapter's settings.";
    ConformanceFinding::fault("upstream", call, remedy).got(why)
}

/// What is wrong with the status, where only 200 is an answer.
pub(super) fn status_finding(call: &str, answer: &HttpAnswer) -> Option<ConformanceFinding> {
    if answer.status == StatusCode::OK {
        return None;
    }
    let status = answer.status.as_u16();
    let refusal = read_refusal(answer);
    let said = refusal.as_ref().map_or_else(String::new, |refusal| {
        let (code, message) = (&refusal.code, &refusal.message);
        format!(", {code}: {message}")
    });
    let got = format!("status {status}{said}");
    if refusal.is_some_and(|refusal| UpstreamFault::of_code(&refusal.code).is_some()) {
        return Some(upstream_finding(call, &got));
    }
    let (rule, remedy) = match status {
        404 | 405 => {
            ("not_served", "Serve this path under /ipc/v1, or take its capability off the list in `hello`.")
        }
        500.. => ("raises", "An exception in the handler: look at the output of the bot."),
        _ => ("wrong_status", "Answer with status 200."),
    };
    Some(ConformanceFinding::fault(rule, call, remedy).got(&got))
}

/// The refusal in an answer, if it has the contract's form.
pub(super) fn read_refusal(answer: &HttpAnswer) -> Option<ContractRefusal> {
    let mut refusal = serde_json::from_slice::<ContractRefusal>(&answer.body).ok()?;
    sanitise::refusal(&mut refusal);
    Some(refusal)
}

/// What is wrong with the time and the size of an answer. `polled`: it is asked for once an interval, so that a late
/// one makes the bot `slow`.
pub(super) fn check_pace(call: &str, answer: &ProbeAnswer, polled: bool) -> Vec<ConformanceFinding> {
    let mut found = Vec::new();
    if answer.took > ON_TIME {
        let got = format!("{:.1} s", answer.took.as_secs_f64());
        let remedy = "Answer within 2 s, from memory and beside the trading loop: botops calls a bot slow after 2 s and hung after 5 s.";
        let finding = if polled {
            ConformanceFinding::fault("slow", call, remedy)
        } else {
            ConformanceFinding::warning("slow", call, remedy)
        };
        found.push(finding.got(&got));
    }
    let bytes = answer.answer.body.len();
    if bytes > LARGE {
        let got = format!("{} KiB", bytes / 1024);
        let remedy = "It is asked for once a second: keep it below 1 MiB, with an ETag, without old orders and errors.";
        found.push(ConformanceFinding::warning("large", call, remedy).got(&got));
    }
    found
}

/// How long a question of the poll may take before the bot is called hung.
pub(super) const POLL_LIMIT: Duration = SILENCE;
