//! One sentence for the answers of reads about the system itself, the config and workflows, and for dry runs.
//!
//! A sentence contains nothing that the answer does not contain; an answer of another form has none.

use serde_json::Value;

/// Items that one sentence names.
const NAMED: usize = 4;

/// The sentence for an answer; `None` for one that speaks for itself.
pub(super) fn system_sentence(intent: &str, answer: &Value) -> Option<String> {
    match intent {
        "freshness" => freshness(answer),
        "market" => market(answer),
        "mode" | "version" => bot(answer),
        "session" => session(answer),
        "health" | "health_wait" => health(answer),
        "health_history" => newest(answer, "change of health", "changes of health", |item| {
            let why = text(item, "reason").map(|why| format!(" ({why})")).unwrap_or_default();
            Some(format!("{} became {}{why}", text(item, "component_id")?, text(item, "status")?))
        }),
        "metrics" => metrics(answer),
        "whoami" => whoami(answer),
        "readiness" => readiness(answer),
        "recovery" => recovery(answer),
        "explain_code" => explain_code(answer),
        "error_catalogue" => listed(answer, "error code", "error codes"),
        "workflows_list" => workflows(answer),
        "workflow_describe" => Some(format!("{}: {}.", text(answer, "workflow_id")?, text(answer, "title")?)),
        "workflow_status" => run(answer),
        "workflow_runs" => listed(answer, "run", "runs"),
        "config_read" => config(answer),
        "config_schema" => schema(answer),
        "config_diff" => diff(answer),
        "config_history" => newest(answer, "config version", "config versions", |item| {
            let why = text(item, "reason").map(|why| format!(": {why}")).unwrap_or_default();
            Some(format!("version {} by {}{why}", item["version"].as_u64()?, text(item, "actor")?))
        }),
        "config_version" => Some(format!("This is version {} of the config.", answer["version"].as_u64()?)),
        "config_audit" => listed(answer, "record of the audit", "records of the audit"),
        "config_audit_verify" => audit(answer),
        "config_validate" => validation(answer),
        "config_trial" => {
            Some(format!("The config change {} is {}.", text(answer, "txn")?, text(answer, "state")?))
        }
        "incidents" => incidents(answer),
        _ => dry_run(answer),
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str().filter(|text| !text.is_empty())
}

fn items(answer: &Value) -> Option<&Vec<Value>> {
    answer["items"].as_array()
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn whole(text: &str) -> &str {
    text.trim_end_matches('.')
}

/// A decimal fraction without the digits that nobody reads.
fn seconds(age: f64) -> String {
    if age < 10.0 { format!("{age:.1} s") } else { format!("{age:.0} s") }
}

fn freshness(answer: &Value) -> Option<String> {
    let Some(age) = answer["data_age_seconds"].as_f64() else {
        return Some("How old the data is, is not known: the bot was never seen.".to_owned());
    };
    let stale = if answer["is_data_stale"] == true { "stale" } else { "fresh" };
    let of = text(answer, "as_of").map(|at| format!(", of {at}")).unwrap_or_default();
    Some(format!("The data is {} old and {stale}{of}.", seconds(age)))
}

fn market(answer: &Value) -> Option<String> {
    let Some(status) = text(answer, "market_status") else {
        return Some("Whether the market is open is not known.".to_owned());
    };
    let market = &answer["market"];
    let phase = text(market, "phase").map(|phase| format!(" ({phase})")).unwrap_or_default();
    let next = match (text(market, "next_close"), text(market, "next_open")) {
        (Some(at), _) if status == "OPEN" => format!("; it closes at {at}"),
        (_, Some(at)) if status != "OPEN" => format!("; it opens at {at}"),
        _ => String::new(),
    };
    Some(format!("The market is {}{phase}{next}.", status.to_lowercase().replace('_', " ")))
}

fn bot(answer: &Value) -> Option<String> {
    let bot = &answer["bot"];
    let money = match text(answer, "mode")? {
        "live" => "with real money",
        "paper" => "without real money",
        "backtest" => "on past prices",
        _ => "in a mode that is not known",
    };
    let name = text(bot, "name").or_else(|| text(bot, "id")).unwrap_or("The bot");
    let version = text(bot, "version").map(|version| format!(" {version}")).unwrap_or_default();
    let since = text(bot, "started_at").map(|at| format!("; it was started at {at}")).unwrap_or_default();
    let mode = text(answer, "mode")?;
    Some(format!("{name}{version} trades {money} ({mode}){since}."))
}

fn session(answer: &Value) -> Option<String> {
    let session = &answer["session"];
    if session.is_null() {
        return Some("The state of the broker session is not known.".to_owned());
    }
    let broker = text(session, "broker").unwrap_or("the broker");
    let healthy = match session["is_healthy"].as_bool() {
        Some(true) => "is healthy",
        Some(false) => "is not healthy",
        None => "is in a state that is not known",
    };
    let why = text(session, "reason").map(|why| format!(": {}", whole(why))).unwrap_or_default();
    let last = text(session, "last_ok").map(|at| format!("; it was last good at {at}")).unwrap_or_default();
    let person = text(session, "needs_human").map(|need| format!("; a person must act ({need})"));
    Some(format!("The session with {broker} {healthy}{why}{last}{}.", person.unwrap_or_default()))
}

fn health(answer: &Value) -> Option<String> {
    if let Some(id) = text(answer, "component_id") {
        let why = text(answer, "reason").map(|why| format!(": {}", whole(why))).unwrap_or_default();
        let since = text(answer, "since").map(|at| format!(" since {at}")).unwrap_or_default();
        return Some(format!("{id} is {}{since}{why}.", text(answer, "status")?));
    }
    let components = answer["components"].as_array().or_else(|| items(answer))?;
    let bad: Vec<&Value> = components
        .iter()
        .filter(|component| !matches!(text(component, "status"), Some("HEALTHY" | "SUSPENDED") | None))
        .collect();
    let whole_status = text(answer, "overall_status").map(|status| format!("The system is {status}. "));
    let said = match bad.as_slice() {
        [] => format!("All {} are healthy.", counted(components.len(), "component", "components")),
        bad => {
            let named = bad.iter().take(NAMED).map(|component| {
                let why = text(component, "reason").map(|why| format!(" ({})", whole(why)));
                format!(
                    "{} is {}{}",
                    text(component, "component_id").unwrap_or("unnamed"),
                    text(component, "status").unwrap_or("UNKNOWN"),
                    why.unwrap_or_default()
                )
            });
            let more = if bad.len() > NAMED { ", …" } else { "" };
            format!("{}{more}.", named.collect::<Vec<_>>().join(", "))
        }
    };
    Some(format!("{}{said}", whole_status.unwrap_or_default()))
}

fn newest(answer: &Value, one: &str, many: &str, said: impl Fn(&Value) -> Option<String>) -> Option<String> {
    let list = items(answer)?;
    let Some(first) = list.first() else { return Some(format!("No {one} is recorded for this.")) };
    let at = ["timestamp", "committed_at", "created_at"].iter().find_map(|name| text(first, name));
    let at = at.map(|at| format!(", of {at},")).unwrap_or_default();
    let said = said(first)?;
    let shown = counted(list.len(), &format!("{one} is"), &format!("{many} are"));
    Some(format!("{shown} listed. The newest{at}: {}.", whole(&said)))
}

fn listed(answer: &Value, one: &str, many: &str) -> Option<String> {
    let count = items(answer)?.len();
    if count == 0 {
        return Some(format!("There is no {one}."));
    }
    Some(format!("{} listed.", counted(count, &format!("{one} is"), &format!("{many} are"))))
}

fn metrics(answer: &Value) -> Option<String> {
    let trades = answer["trades_today"].as_u64();
    let parts = [
        text(&answer["health"], "status").map(|status| format!("the bot is {status}")),
        answer["error_count_last_hour"].as_u64().map(|count| format!("{count} errors in the last hour")),
        answer["tick_delay_p99_ms"].as_f64().map(|delay| format!("99 of 100 ticks within {delay} ms")),
        trades.map(|count| format!("{count} trades today")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let mut letters = parts.join(", ");
    let first = letters.get(..1)?.to_uppercase();
    letters.replace_range(..1, &first);
    Some(format!("{letters}."))
}

fn whoami(answer: &Value) -> Option<String> {
    let scopes: Vec<&str> = answer["scopes"].as_array()?.iter().filter_map(Value::as_str).collect();
    let until = text(answer, "expires_at").map(|at| format!(", until {at}")).unwrap_or_default();
    Some(format!("You are {} and may {}{until}.", text(answer, "key")?, scopes.join(", ")))
}

fn readiness(answer: &Value) -> Option<String> {
    let status = text(answer, "status")?;
    let why = text(answer, "reason").map(|why| format!(": {}", whole(why))).unwrap_or_default();
    Some(if status == "ready" { "botops is ready.".to_owned() } else { format!("botops is {status}{why}.") })
}

fn recovery(answer: &Value) -> Option<String> {
    let one = [answer.clone()];
    let list = match answer["items"].as_array() {
        Some(list) => list.as_slice(),
        None if answer["component_id"].is_string() => one.as_slice(),
        None => return None,
    };
    let tried: Vec<String> = list
        .iter()
        .filter(|item| {
            item["attempts"].as_u64().unwrap_or_default() > 0 || text(item, "state") != Some("idle")
        })
        .filter_map(|item| {
            let outcome = text(item, "last_outcome").map(|outcome| format!(", last {outcome}"));
            let id = text(item, "component_id")?;
            let attempts = item["attempts"].as_u64().unwrap_or_default();
            let state = text(item, "state")?.replace('_', " ");
            Some(format!("{id} is {state} ({attempts} tries{})", outcome.unwrap_or_default()))
        })
        .take(NAMED)
        .collect();
    if tried.is_empty() {
        return Some("Nothing is being recovered, and nothing was tried.".to_owned());
    }
    Some(format!("{}.", tried.join("; ")))
}

fn explain_code(answer: &Value) -> Option<String> {
    let (code, title) = (text(answer, "error_code")?, text(answer, "title")?);
    let remedy = text(answer, "remediation").map(|remedy| format!(" {remedy}")).unwrap_or_default();
    Some(format!("{code}: {}.{remedy}", whole(title)))
}

fn workflows(answer: &Value) -> Option<String> {
    let names: Vec<&str> = items(answer)?.iter().filter_map(|item| text(item, "workflow_id")).collect();
    if names.is_empty() {
        return Some("There is no workflow.".to_owned());
    }
    Some(format!("{}: {}.", counted(names.len(), "workflow", "workflows"), names.join(", ")))
}

fn run(answer: &Value) -> Option<String> {
    let run = if answer["run"].is_object() { &answer["run"] } else { answer };
    let name = text(run, "workflow_id")?;
    let state = text(run, "state").or_else(|| text(run, "status"))?.replace('_', " ");
    let step = text(run, "current_step").map(|step| format!(", at step {step}")).unwrap_or_default();
    Some(format!("The run of {name} is {state}{step}."))
}

/// Every leaf of a part of the config, with its dotted path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                leaves(member, &path, found);
            }
        }
        Value::String(leaf) => found.push(format!("{path} is {leaf}")),
        leaf => found.push(format!("{path} is {leaf}")),
    }
}

fn config(answer: &Value) -> Option<String> {
    let mut found = Vec::new();
    leaves(answer.get("config")?, "", &mut found);
    match answer["version"].as_u64() {
        Some(version) => {
            Some(format!("Version {version} of the config is committed: {} fields.", found.len()))
        }
        None if (1..=NAMED).contains(&found.len()) => Some(format!("{}.", found.join("; "))),
        None => None,
    }
}

fn schema(answer: &Value) -> Option<String> {
    let groups = answer["properties"].as_object()?;
    let names: Vec<&str> = groups.keys().map(String::as_str).collect();
    Some(format!("The config has {}: {}.", counted(names.len(), "part", "parts"), names.join(", ")))
}

fn diff(answer: &Value) -> Option<String> {
    let lines = answer["diff"].as_array()?;
    if lines.is_empty() {
        return Some("Nothing differs.".to_owned());
    }
    let more = if lines.len() > NAMED { "; …" } else { "" };
    let shown: Vec<String> = lines.iter().take(NAMED).filter_map(diff_line).collect();
    Some(format!("{}: {}{more}.", counted(lines.len(), "field differs", "fields differ"), shown.join("; ")))
}

fn diff_line(line: &Value) -> Option<String> {
    let path = text(line, "path")?.trim_start_matches('/').replace('/', ".");
    let shown = |name: &str| line[name].as_str().map_or_else(|| line[name].to_string(), str::to_owned);
    Some(format!("{path} from {} to {}", shown("old"), shown("new")))
}

fn audit(answer: &Value) -> Option<String> {
    let records = answer["records"].as_u64()?;
    if answer["valid"] == true {
        return Some(format!("The audit is whole: {records} records, each fits the one before."));
    }
    let why = text(answer, "reason").unwrap_or("no reason is given");
    let at = answer["first_bad_seq"].as_u64().map(|seq| format!(" from record {seq} on"));
    Some(format!("The audit does not hold{}: {}.", at.unwrap_or_default(), whole(why)))
}

fn validation(answer: &Value) -> Option<String> {
    let errors = answer["errors"].as_array()?;
    if answer["valid"] == true {
        return Some("It would be accepted.".to_owned());
    }
    let told = errors.iter().take(NAMED).filter_map(|finding| {
        let path = text(finding, "pointer")?.trim_start_matches('/').replace('/', ".");
        Some(format!("{path} is {}, expected {}", finding["got"], text(finding, "expected")?))
    });
    Some(format!("It would be refused: {}.", whole(&told.collect::<Vec<_>>().join("; "))))
}

fn incidents(answer: &Value) -> Option<String> {
    if let Some(title) = text(answer, "title").or_else(|| text(answer, "summary")) {
        return Some(format!("{}.", whole(title)));
    }
    let list = items(answer)?;
    if list.is_empty() {
        return Some("No incident is recorded for this.".to_owned());
    }
    let open = list.iter().filter(|item| text(item, "state") == Some("open")).count();
    let newest = list.first().and_then(|item| text(item, "title").or_else(|| text(item, "summary")));
    let newest = newest.map(|said| format!(" The newest: {}.", whole(said))).unwrap_or_default();
    Some(format!(
        "{} listed, {open} of them open.{newest}",
        counted(list.len(), "incident is", "incidents are")
    ))
}

/// What a dry run says: that of a config change by its differences, that of a command by its message.
fn dry_run(answer: &Value) -> Option<String> {
    if answer["dry_run"] != true {
        return None;
    }
    if answer["would_apply"] == true {
        return diff(answer);
    }
    if let Some(message) = text(answer, "message") {
        return Some(format!("It would do this: {}.", whole(message)));
    }
    let steps = answer["steps"].as_array()?.len();
    Some(format!("It would run {}.", counted(steps, "step", "steps")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(intent: &str, answer: &Value, expected: &str) {
        assert_eq!(system_sentence(intent, answer).as_deref(), Some(expected));
    }

    #[test]
    fn an_answer_is_told_in_one_sentence() {
        let aged = json!({"as_of": "T", "data_age_seconds": 0.25, "is_data_stale": false});
        check("freshness", &aged, "The data is 0.2 s old and fresh, of T.");
        let open = json!({"market_status": "OPEN", "market": {"next_close": "T", "phase": "regular"}});
        check("market", &open, "The market is open (regular); it closes at T.");
        let bot = json!({"mode": "paper", "bot": {"name": "p", "version": "1", "started_at": "T"}});
        check("mode", &bot, "p 1 trades without real money (paper); it was started at T.");
        let bad = json!({"overall_status": "WARNING", "components": [{"component_id": "a", "status": "HEALTHY"},
            {"component_id": "b", "status": "CRITICAL", "reason": "full."}]});
        check("health", &bad, "The system is WARNING. b is CRITICAL (full).");
        check("whoami", &json!({"key": "k", "scopes": ["read"]}), "You are k and may read.");
        let one = json!({"config": {"a": {"b": 2.5}}});
        check("config_read", &one, "a.b is 2.5.");
        check(
            "config_audit_verify",
            &json!({"valid": true, "records": 2}),
            "The audit is whole: 2 records, each fits the one before.",
        );
        let change =
            json!({"dry_run": true, "would_apply": true, "diff": [{"path": "/a/b", "old": 1, "new": 2}]});
        check("config_rollback", &change, "1 field differs: a.b from 1 to 2.");
        check(
            "pause",
            &json!({"dry_run": true, "message": "exits go on."}),
            "It would do this: exits go on.",
        );
        check("incidents", &json!({"items": []}), "No incident is recorded for this.");
        assert_eq!(system_sentence("whoami", &json!({"name": "x"})), None);
    }
}
