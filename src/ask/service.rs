//! The handle to plain language: reads the names a text can use, understands the text, performs the read it asks for.

use axum::http::Method;
use chrono::Utc;
use chrono_tz::America::New_York;
use chrono_tz::Tz;
use serde_json::Value;

use botops_core::text::is_symbol;
use botops_http::{Actor, InternalCall, InternalCaller};

use super::bot_standing::AskedBotView;
use super::context::AskContext;
use super::refusals::find_refusal;
use super::slots::WOULD_BE_REFUSED;
use super::understanding::{refused_view, understand};
use super::views::AskView;

/// Handle to plain language; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct AskService {
    inside: InternalCaller,
}

impl AskService {
    /// `inside` performs the calls.
    pub(crate) fn new(inside: InternalCaller) -> Self {
        Self { inside }
    }

    /// Understands a text and performs the read or the dry run it asks for. `host` is where the caller reached botops.
    pub(super) async fn ask(&self, actor: &Actor, text: &str, host: &str) -> AskView {
        // Refused before any call is made, so a refused text learns nothing of the system.
        if let Some(refusal) = find_refusal(text) {
            return refused_view(refusal.reason());
        }
        let mut context = self.read_context(actor).await;
        let lower = text.to_lowercase();
        if lower.contains("alert") || lower.contains("ack") {
            let alerts = self.read(actor, "/api/v1/health/alerts?state=firing").await;
            context.alerts = named_alerts(&alerts);
        }
        let today = Utc::now().with_timezone(&context.zone).date_naive();
        let mut view = understand(text, &context, today, host);
        let Some(call) = view.call.clone() else { return view };
        let is_read = view.effect.as_deref() == Some("read");
        let method = Method::from_bytes(call.method.as_bytes()).unwrap_or(Method::GET);
        let if_match = (method == Method::PUT).then(|| context.etag.clone()).flatten();
        let path = call.path.clone();
        let made = InternalCall::with_body(method, call.path, call.body).header("if-match", if_match);
        match self.inside.call(actor, made).await {
            Ok(answer) => {
                let mut answer = answer.body;
                let mut further = None;
                for selection in &view.selection {
                    let is_page = answer["older"].is_u64();
                    if selection.apply(&mut answer) == Some(0) && is_page {
                        further = Some(NOTHING_ON_THIS_PAGE.to_owned());
                    }
                }
                let intent = view.intent.clone().unwrap_or_default();
                view.bot = context.bot.clone().filter(|bot| is_read && bot.belongs_to(&intent, &path));
                let refusal = refusal_of(&answer).map(|why| format!("It would be refused: {why}"));
                // What the dry run says of it is told in its stead.
                if let (Some(note), true) = (view.note.as_mut(), refusal.is_some())
                    && let Some((told, _)) = note.split_once(&format!(", which {WOULD_BE_REFUSED}"))
                {
                    *note = format!("{told}.");
                }
                let notes = [view.note.take(), further, refusal, note_on_profit(&view, &answer, &context)];
                let notes: Vec<String> = notes.into_iter().flatten().collect();
                view.note = (!notes.is_empty()).then(|| notes.join(" "));
                view.answer = Some(answer);
            }
            // A dry run that this key may not make is not reported as a problem: the command is still shown.
            Err(problem) if !is_read && problem.status == 403 => {}
            Err(problem) => view.problem = Some(*problem),
        }
        view
    }

    async fn read(&self, actor: &Actor, path: &str) -> Value {
        self.inside.call(actor, InternalCall::get(path)).await.map(|answer| answer.body).unwrap_or_default()
    }

    /// Reads the names that a text can use. A part that cannot be read stays empty.
    async fn read_context(&self, actor: &Actor) -> AskContext {
        let config = self.read(actor, "/api/v1/config").await;
        let schema = self.read(actor, "/api/v1/config/schema").await;
        let workflows = self.read(actor, "/api/v1/workflows").await;
        let health = self.read(actor, "/api/v1/health/status").await;
        let state = self.read(actor, "/api/v1/state?fields=positions,orders,bot,health,day").await;
        let summary = self.read(actor, "/api/v1/summary").await;
        let mut context = AskContext {
            workflows: names_of(&workflows["items"], &["id", "workflow_id"]),
            components: names_of(&health["components"], &["component_id"]),
            schema,
            etag: config["etag"].as_str().map(str::to_owned),
            now: Utc::now(),
            bot: AskedBotView::of(&state, &health),
            trial: config["trial"]["txn"].as_str().map(str::to_owned),
            zone: day_zone(&state),
            equity_change: summary["daily_pnl"].as_str().map(str::to_owned),
            past_day: past_day(&summary).map(str::to_owned),
            running: summary["workflow"]["run_id"].as_str().map(str::to_owned),
            ..AskContext::default()
        };
        for item in workflows["items"].as_array().into_iter().flatten() {
            let names = item["params"]["properties"].as_object().into_iter().flatten();
            let names = names.map(|(name, _)| name.clone()).collect();
            context.parameters.push((item["workflow_id"].as_str().unwrap_or_default().to_owned(), names));
        }
        if context.workflows.is_empty() {
            context.workflows = SHIPPED_WORKFLOWS.map(str::to_owned).into();
        }
        collect_leaves(&config["config"], String::new(), &mut context.config);
        for part in ["positions", "orders"] {
            context.symbols.extend(names_of(&state[part], &["symbol"]));
        }
        collect_symbols(&config["config"], &mut context.symbols);
        context.symbols.sort();
        context.symbols.dedup();
        context
    }
}

/// The note beside a list of which the page that was read has nothing.
const NOTHING_ON_THIS_PAGE: &str = "The page that was read has nothing of what was selected; there are older ones: go on with `older` as `before`.";

/// Workflows that are recognised even when the list of workflows cannot be read.
pub(super) const SHIPPED_WORKFLOWS: [&str; 4] =
    ["check-health", "export-logs", "restart-bot", "update-targets"];

/// The ids of alerts with what people call them by: the summary, the labels, the component.
fn named_alerts(alerts: &Value) -> Vec<(String, String)> {
    let named = |alert: &Value| {
        let id = alert["alert_id"].as_str().map_or_else(|| alert["alert_id"].to_string(), str::to_owned);
        (id, format!("{} {} {}", alert["summary"], alert["labels"], alert["component_id"]))
    };
    alerts["items"].as_array().into_iter().flatten().map(named).collect()
}

fn names_of(items: &Value, members: &[&str]) -> Vec<String> {
    let name = |item: &Value| members.iter().find_map(|member| item[*member].as_str().map(str::to_owned));
    items.as_array().into_iter().flatten().filter_map(name).collect()
}

/// Collects every leaf of a document with its dotted path. A list counts as a leaf, since it is changed as a whole.
pub(super) fn collect_leaves(value: &Value, path: String, found: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                collect_leaves(member, path, found);
            }
        }
        Value::Null if path.is_empty() => {}
        leaf => found.push((path, leaf.clone())),
    }
}

/// Symbols that the lists of the config name: members called `symbol`, and texts in lists of symbols.
pub(super) fn collect_symbols(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member.as_str().filter(|text| name == "symbol" && is_symbol(text)) {
                    Some(symbol) => found.push(symbol.to_owned()),
                    None if matches!(name.as_str(), "symbols" | "pairs" | "pair_whitelist" | "tickers") => {
                        let names = member.as_array().into_iter().flatten().filter_map(Value::as_str);
                        found.extend(names.filter(|text| is_symbol(text)).map(str::to_owned));
                    }
                    None => collect_symbols(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_symbols(item, found)),
        _ => {}
    }
}

/// The time zone of the bot's trading day, by the rules of `GET performance`: the one that the bot names; else New York
/// for a bot of contract 1, which says so, and UTC.
fn day_zone(state: &Value) -> Tz {
    let named = state.pointer("/day/zone").and_then(Value::as_str).and_then(|zone| zone.parse().ok());
    named.unwrap_or(if state["bot"]["contract"] == 1 { New_York } else { Tz::UTC })
}

/// The date of the day that the summary's numbers of a day are of, when that day is over.
pub(super) fn past_day(summary: &Value) -> Option<&str> {
    let day = &summary["reported_day"];
    day["date"].as_str().filter(|_| day["is_over"] == true)
}

/// Findings of a refused change that are told in a sentence.
const FINDINGS_TOLD: usize = 3;

/// Why a change would be refused, from its dry run; `None` where it would not.
pub(super) fn refusal_of(dry_run: &Value) -> Option<String> {
    if dry_run["would_apply"] != false {
        return None;
    }
    let findings = dry_run.pointer("/verdict/errors").and_then(Value::as_array);
    let told: Vec<String> = findings
        .into_iter()
        .flatten()
        .take(FINDINGS_TOLD)
        .map(|finding| {
            let part = |name: &str| finding[name].as_str().unwrap_or_default();
            let path = part("pointer").trim_start_matches('/').replace('/', ".");
            let reason = if part("reason").is_empty() { part("fix") } else { part("reason") };
            if part("reason") == part("expected") {
                return format!("{path} is {}, refused: {reason}", finding["got"]);
            }
            let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
            format!("{path} is {}, expected {}{reason}", finding["got"], part("expected"))
        })
        .collect();
    if told.is_empty() {
        return dry_run["blocked_by"].as_str().map(|why| format!("{}.", why.trim_end_matches('.')));
    }
    Some(format!("{}.", told.join("; ").trim_end_matches('.')))
}

/// What the profit in an answer about performance is, with the other number that people mean by it beside it.
fn note_on_profit(view: &AskView, answer: &Value, context: &AskContext) -> Option<String> {
    if view.intent.as_deref() != Some("performance") {
        return None;
    }
    let change = context.equity_change.as_deref().unwrap_or("not known");
    let realized = answer["realized_pnl"].as_str().unwrap_or("not known");
    let what = format!("realized_pnl ({realized}) is the net profit of trades that closed in this range.");
    if let Some(date) = &context.past_day {
        return Some(format!(
            "{what} The change of the equity, open positions included, is another number: daily_pnl of GET summary, \
             {change}, is of {date}, a day that is over."
        ));
    }
    Some(if answer["window"] == "day" {
        format!(
            "{what} The change of the equity since the day began, open positions included, is another number: daily_pnl \
             of GET summary, {change}."
        )
    } else {
        format!("{what} The change of the equity is another number: GET summary has today's, {change}.")
    })
}
