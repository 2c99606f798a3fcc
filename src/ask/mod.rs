//! Plain language to exactly one operation, offline and always the same way.
//!
//! A text is taken apart (`vocabulary`), its values are read (`slots`), every rule is scored (`grammar`, `intents`),
//! and what must never be done is refused first (`refusals`). A read is performed at once, through the same router
//! and with the asker's own scopes. A change is never made: its dry run is performed where the key allows it, and
//! the command that would make it is shown. Deliberately absent: a model, learning, and any state between questions.

mod api;
mod calendar;
mod client;
mod grammar;
mod intents;
mod refusals;
mod slots;
mod spoken;
#[cfg(test)]
mod tests;
mod vocabulary;

use axum::http::Method;
use chrono::{NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use botops_core::error::Problem;
use botops_http::{Actor, Call, Inside};
use grammar::{Heard, MARGIN, POSSIBLE, Reading, SURE};
use intents::{Plan, Request};
use slots::World;

pub use api::routes;
pub(crate) use client::{AskOptions, run as run_client};

/// Longest text that is read: a question, not a document.
pub const TEXT_MAX: usize = 500;

/// Most options that are offered.
const OPTIONS_MAX: usize = 5;

/// A call of the API that the text comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CallView {
    /// The HTTP method.
    #[schema(example = "GET")]
    pub method: String,
    /// The path with its query.
    #[schema(example = "/api/v1/summary")]
    pub path: String,
    /// The body, when one is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
}

/// One thing the text may mean, or the change that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OptionView {
    /// What it would be.
    pub intent: String,
    /// Why it is offered, or what it does.
    pub why: String,
    /// The call that does it.
    pub call: CallView,
    /// The same as a command for a terminal.
    pub command: String,
}

/// What a text came to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AskView {
    /// What was understood; absent when refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// How certain that is, 0 to 1.
    pub confidence: f64,
    /// `read`, or `change`: then `call` is a dry run or a look, and `options[0]` is the change itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    /// The one call; absent when refused or ambiguous. Making it changes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call: Option<CallView>,
    /// The answer of `call`, exactly as REST gives it; absent when it was not made or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// Why `call` failed, when it was made and failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
    /// The command that makes the call, or the change that was asked for. Never run by botops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// What the text may mean, best first; for a change, the call that would make it.
    pub options: Vec<OptionView>,
    /// Why nothing is done, and what is possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

/// Handle to plain language; cloning is cheap.
#[derive(Debug, Clone)]
pub struct Ask {
    inside: Inside,
}

impl Ask {
    /// Answers through this router.
    pub fn new(inside: Inside) -> Self {
        Self { inside }
    }

    /// Understands a text and performs the read it asks for. `host` is where the asker reached botops.
    pub async fn ask(&self, actor: &Actor, text: &str, host: &str) -> AskView {
        // Refused texts cost nothing and learn nothing.
        if let Some(refusal) = refusals::judge(text) {
            return refuse(refusal.reason());
        }
        let world = self.world(actor).await;
        let mut view = understand(text, &world, today(), host);
        let Some(call) = view.call.clone() else { return view };
        let is_read = view.effect.as_deref() == Some("read");
        let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
        let if_match = (method == Method::PUT).then(|| world.etag.clone()).flatten();
        let made = Call::with_body(method, call.path, call.body).header("if-match", if_match);
        match self.inside.call(actor, made).await {
            Ok(answer) => view.answer = Some(answer.body),
            // A dry run that this key may not make is no failure: the command still says what to do.
            Err(problem) if !is_read && problem.status == 403 => {}
            Err(problem) => view.problem = Some(*problem),
        }
        view
    }

    async fn read(&self, actor: &Actor, path: &str) -> Value {
        self.inside.call(actor, Call::get(path)).await.map(|answer| answer.body).unwrap_or_default()
    }

    /// What can be named right now. A part that cannot be read is empty.
    async fn world(&self, actor: &Actor) -> World {
        let config = self.read(actor, "/api/v1/config").await;
        let workflows = self.read(actor, "/api/v1/workflows").await;
        let health = self.read(actor, "/api/v1/health/status").await;
        let state = self.read(actor, "/api/v1/state?fields=positions,orders").await;
        let summary = self.read(actor, "/api/v1/summary").await;
        let mut world = World {
            workflows: names(&workflows["items"], &["id", "workflow_id"]),
            components: names(&health["components"], &["component_id"]),
            etag: config["etag"].as_str().map(str::to_owned),
            now: Utc::now(),
            trial: config["trial"]["txn"].as_str().map(str::to_owned),
            running: summary["workflow"]["run_id"].as_str().map(str::to_owned),
            ..World::default()
        };
        for item in workflows["items"].as_array().into_iter().flatten() {
            let names = item["params"]["properties"].as_object().into_iter().flatten();
            let names = names.map(|(name, _)| name.clone()).collect();
            world.parameters.push((item["workflow_id"].as_str().unwrap_or_default().to_owned(), names));
        }
        if world.workflows.is_empty() {
            world.workflows = SHIPPED_WORKFLOWS.map(str::to_owned).into();
        }
        leaves(&config["config"], String::new(), &mut world.config);
        for part in ["positions", "orders"] {
            world.symbols.extend(names(&state[part], &["symbol"]));
        }
        world.symbols.sort();
        world.symbols.dedup();
        world
    }
}

/// Known even when the list cannot be read.
const SHIPPED_WORKFLOWS: [&str; 4] = ["check-health", "export-logs", "restart-bot", "update-targets"];

fn names(items: &Value, members: &[&str]) -> Vec<String> {
    let name = |item: &Value| members.iter().find_map(|member| item[*member].as_str().map(str::to_owned));
    items.as_array().into_iter().flatten().filter_map(name).collect()
}

/// Every leaf of a document with its dotted path. A list is a leaf: it is changed as a whole.
fn leaves(value: &Value, path: String, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(member, path, found);
            }
        }
        Value::Null if path.is_empty() => {}
        leaf => found.push((path, leaf.clone())),
    }
}

/// The trading day: New York's.
fn today() -> NaiveDate {
    Utc::now().with_timezone(&chrono_tz::America::New_York).date_naive()
}

/// What a text means, without performing anything.
fn understand(text: &str, world: &World, today: NaiveDate, host: &str) -> AskView {
    if let Some(refusal) = refusals::judge(text) {
        return refuse(refusal.reason());
    }
    let heard = Heard::of(text, world, today);
    let readings = grammar::readings(&heard);
    let shell = Shell { host, etag: world.etag.as_deref() };
    if let Some(view) = two_requests(text, world, today, &shell) {
        return view;
    }
    let Some(best) = readings.first().copied().filter(|best| best.score >= POSSIBLE) else {
        return unknown(&readings);
    };
    let rivals: Vec<&Reading> =
        readings.iter().take_while(|reading| reading.score > best.score - MARGIN).collect();
    if best.score >= SURE && rivals.len() == 1 {
        return decided(&best, (best.rule.build)(&heard, world), &shell);
    }
    let mut options = Vec::new();
    let near = if best.score >= SURE { best.score - MARGIN } else { POSSIBLE };
    for reading in readings.iter().filter(|reading| reading.score >= near) {
        offer(
            reading.rule.intent,
            reading.rule.title,
            &(reading.rule.build)(&heard, world),
            &shell,
            &mut options,
        );
    }
    ambiguous(best.score, options, &readings)
}

/// "Pause the bot and export the logs": two requests. One call is made per question, so both are offered.
fn two_requests(text: &str, world: &World, today: NaiveDate, shell: &Shell<'_>) -> Option<AskView> {
    let lower = text.to_lowercase();
    let (first, second) =
        [" and then ", "; ", ", then ", " then ", " and also ", " and ", ". "].iter().find_map(|joint| {
            let at = lower.find(joint)?;
            Some((text.get(..at)?, text.get(at + joint.len()..)?))
        })?;
    let mut options = Vec::new();
    let mut scores = Vec::new();
    for part in [first, second] {
        let heard = Heard::of(part, world, today);
        let readings = grammar::readings(&heard);
        let best = readings.first().filter(|best| best.score >= SURE)?;
        let is_vague = heard.words.iter().filter(|word| word.weight > 0.3).count() == 0;
        if is_vague || options.iter().any(|known: &OptionView| known.intent == best.rule.intent) {
            return None;
        }
        offer(best.rule.intent, best.rule.title, &(best.rule.build)(&heard, world), shell, &mut options);
        scores.push((best.score, is_change(&(best.rule.build)(&heard, world))));
    }
    // Two looks joined by "and" are usually one question; two acts never are.
    let acts = scores.iter().filter(|(_, is_change)| *is_change).count();
    (acts > 0 && options.len() >= 2).then(|| AskView { confidence: 0.5, options, ..AskView::default() })
}

fn is_change(plan: &Plan) -> bool {
    matches!(plan, Plan::Change { .. })
}

fn decided(best: &Reading, plan: Plan, shell: &Shell<'_>) -> AskView {
    let confidence = round(best.score);
    let intent = Some(best.rule.intent.to_owned());
    match plan {
        Plan::Read(call) => AskView {
            intent,
            confidence,
            effect: Some("read".to_owned()),
            command: Some(shell.command(&call)),
            call: Some(view(&call)),
            ..AskView::default()
        },
        Plan::Change { preview, real } => {
            let command = shell.command(&real);
            let option = OptionView {
                intent: best.rule.intent.to_owned(),
                why: "makes the change; look at the dry run first".to_owned(),
                call: view(&real),
                command: command.clone(),
            };
            AskView {
                intent,
                confidence,
                effect: Some("change".to_owned()),
                call: Some(view(&preview)),
                command: Some(command),
                options: vec![option],
                ..AskView::default()
            }
        }
        Plan::Choose(choices) => {
            let mut options = Vec::new();
            for (intent, why, plan) in &choices {
                offer(intent, why, plan, shell, &mut options);
            }
            AskView { confidence: round(confidence.min(0.5)), options, ..AskView::default() }
        }
        Plan::Impossible(why) => refuse(why),
    }
}

/// Adds what a plan comes to, once.
fn offer(intent: &str, why: &str, plan: &Plan, shell: &Shell<'_>, options: &mut Vec<OptionView>) {
    let real = match plan {
        Plan::Read(call) => call,
        Plan::Change { real, .. } => real,
        Plan::Choose(choices) => {
            choices.iter().for_each(|(intent, why, plan)| offer(intent, why, plan, shell, options));
            return;
        }
        Plan::Impossible(_) => return,
    };
    let call = view(real);
    if options.len() < OPTIONS_MAX && !options.iter().any(|known| known.call == call) {
        let command = shell.command(real);
        options.push(OptionView { intent: intent.to_owned(), why: why.to_owned(), call, command });
    }
}

/// Several readings; with fewer than two options it is no choice but a guess, and guesses are not made.
fn ambiguous(score: f64, options: Vec<OptionView>, readings: &[Reading]) -> AskView {
    if options.len() < 2 {
        return unknown(readings);
    }
    AskView { confidence: round(score.min(0.6)), options, ..AskView::default() }
}

fn refuse(reason: &str) -> AskView {
    AskView { refused: Some(reason.to_owned()), ..AskView::default() }
}

/// Not understood: says so, and what is possible.
fn unknown(readings: &[Reading]) -> AskView {
    let near: Vec<_> = readings.iter().take(2).map(|reading| reading.rule.title).collect();
    let near = if near.is_empty() { String::new() } else { format!(" Perhaps: {}.", near.join("; ")) };
    refuse(&format!(
        "This is not understood.{near} Possible are questions about the summary, health, positions, orders, account, \
         performance, errors and their codes, events, metrics, alerts, the market, the broker session, config (read, \
         compare, history, validate), workflows and what your key may do; and, as a dry run, changing or rolling back \
         the config, running a workflow, pausing, resuming, cancelling orders, closing positions, silencing alerts. \
         For instance: `how are we doing`, `why did it stop trading`, `undo the last config change`."
    ))
}

fn round(score: f64) -> f64 {
    (score.min(1.0) * 100.0).round() / 100.0
}

fn view(request: &Request) -> CallView {
    CallView { method: request.method.to_owned(), path: request.path.clone(), body: request.body.clone() }
}

/// Writes calls as commands for a terminal.
struct Shell<'a> {
    host: &'a str,
    etag: Option<&'a str>,
}

impl Shell<'_> {
    fn command(&self, request: &Request) -> String {
        let mut command = String::from("curl -sS -H \"X-API-Key: $BOT_API_AUTH_TOKEN\"");
        if request.method != "GET" {
            command.push_str(&format!(" -X {}", request.method));
        }
        let is_dry = request.path.contains("dry_run=true") || request.path.ends_with("/validate");
        if request.method != "GET" && !is_dry {
            command.push_str(" -H \"Idempotency-Key: $(uuidgen)\"");
        }
        if request.if_match {
            let etag = self.etag.unwrap_or("\"<etag of GET /api/v1/config>\"");
            command.push_str(&format!(" -H {}", quoted(&format!("If-Match: {etag}"))));
        }
        if let Some(body) = &request.body {
            command
                .push_str(&format!(" -H 'Content-Type: application/json' -d {}", quoted(&body.to_string())));
        }
        command.push_str(&format!(" {}", quoted(&format!("http://{}{}", self.host, request.path))));
        command
    }
}

/// One word for a POSIX shell, whatever stands in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
