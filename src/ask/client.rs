//! `botops ask`: an HTTP client of the running server.
//!
//! Exit codes: 0 answered (a change is shown, never made), 1 failed, 3 ambiguous, 4 refused.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::spoken;
use super::views::{AskCallView, AskView};

/// Longer than the server's own deadline, so that the server's answer arrives first.
const DEADLINE: Duration = Duration::from_secs(40);

/// Lines of one screen: an answer takes no more of them, whatever it holds.
const SCREEN_LINES: usize = 20;

/// What `botops ask` can be told.
#[derive(Debug, Clone, Args)]
pub(crate) struct AskOptions {
    /// The question or request, in plain words
    #[arg(required = true, num_args = 1..)]
    text: Vec<String>,
    /// Show which call was understood, and how certainly
    #[arg(long)]
    explain: bool,
    /// Print the server's answer as JSON, as it came
    #[arg(long)]
    json: bool,
    /// Where botops serves [default: the address in `BOT_API_HOST` and `BOT_API_PORT`]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The key [default: `BOT_API_AUTH_TOKEN`]
    #[arg(long, value_name = "KEY")]
    key: Option<SecretString>,
}

/// Asks the server and prints its answer with `say`; failures go to `complain`.
pub(crate) fn run_client(
    flags: &AskOptions,
    default_url: String,
    default_key: Option<SecretString>,
    say: impl Fn(&str),
    complain: impl Fn(&str),
) -> ExitCode {
    let url = flags.url.clone().unwrap_or(default_url);
    let Some(key) = flags.key.clone().or(default_key) else {
        complain("No key: set BOT_API_AUTH_TOKEN or give --key.");
        return ExitCode::FAILURE;
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        complain("The runtime could not be started.");
        return ExitCode::FAILURE;
    };
    let body = match runtime.block_on(post_question(&url, &key, &flags.text.join(" "))) {
        Ok(body) => body,
        Err(problem) => {
            complain(&problem);
            return ExitCode::FAILURE;
        }
    };
    if flags.json {
        say(&serde_json::to_string_pretty(&body).unwrap_or_default());
    }
    let Ok(view) = serde_json::from_value::<AskView>(body) else {
        complain(&format!("{} did not answer as botops does; check --url.", shown_server(&url)));
        return ExitCode::FAILURE;
    };
    if !flags.json {
        say(&rendered_answer(&view, flags.explain));
    }
    if view.refused.is_some() {
        ExitCode::from(4)
    } else if view.call.is_none() {
        ExitCode::from(3)
    } else if view.problem.is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

async fn post_question(url: &str, key: &SecretString, text: &str) -> Result<Value, String> {
    botops_server::bots::install_tls_provider();
    let client = reqwest::Client::builder()
        .timeout(DEADLINE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| format!("The HTTP client cannot be built: {error}"))?;
    let address = format!("{}/api/v1/ask", url.trim_end_matches('/'));
    let sent = client
        .post(&address)
        .header("X-API-Key", key.expose_secret())
        .json(&json!({"text": text}))
        .send()
        .await;
    let shown = shown_server(url);
    let response = sent.map_err(|error| {
        let what = if error.is_connect() { "nothing listens there" } else { "no answer came" };
        format!("{shown}: {what}. Start botops (`botops demo` or `botops serve`), or give --url.")
    })?;
    let status = response.status();
    let body: Value =
        response.json().await.map_err(|_| format!("{shown} answered {status} without JSON; check --url."))?;
    if status.is_success() {
        return Ok(body);
    }
    let member = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    Err(format!("{} {}\n{}", member("error_code"), member("cause"), member("remediation")))
}

/// The server's host and port, to be shown: other parts of the address may contain a password.
fn shown_server(url: &str) -> String {
    let host = url.parse::<reqwest::Url>().ok().and_then(|url| {
        let port = url.port_or_known_default()?;
        Some(format!("{}:{port}", url.host_str()?))
    });
    host.unwrap_or_else(|| "The server".to_owned())
}

fn rendered_answer(view: &AskView, explain: bool) -> String {
    let mut text = String::new();
    let mut line = |part: &str| {
        text.push_str(part);
        text.push('\n');
    };
    if let Some(reason) = &view.refused {
        line(reason);
        return text.trim_end().to_owned();
    }
    let Some(call) = &view.call else {
        line("This can mean several things:");
        for (number, option) in view.options.iter().enumerate() {
            line(&format!("\n{}. {}: {}", number + 1, option.intent, option.why));
            line(&format!("   {}", option.command));
        }
        return text.trim_end().to_owned();
    };
    if explain {
        line(&format!(
            "intent: {} ({:.0} %)",
            view.intent.as_deref().unwrap_or_default(),
            view.confidence * 100.0
        ));
        line(&format!("call: {} {}", call.method, call.path));
        if let Some(body) = &call.body {
            line(&format!("body: {body}"));
        }
        line("");
    }
    if let Some(problem) = &view.problem {
        line(&format!("{} {}", problem.error_code, problem.cause));
        line(&problem.remediation);
    }
    if let Some(said) = spoken::first_line(view) {
        line(&said);
        line("");
    }
    if let Some(note) = &view.note {
        line(note);
        line("");
    }
    let closing = closing_lines(view, explain);
    if let Some(answer) = &view.answer {
        let whole = match answer {
            Value::String(answer) => answer.clone(),
            answer => answer_as_yaml(answer),
        };
        let left = SCREEN_LINES.saturating_sub(text.lines().count() + closing.len());
        text.push_str(&first_lines(&whole, left, call));
    }
    for part in closing {
        text.push_str(&part);
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// What follows the answer: for a change, that nothing was changed, and the command.
fn closing_lines(view: &AskView, explain: bool) -> Vec<String> {
    let mut lines = Vec::new();
    let is_change = view.effect.as_deref() == Some("change");
    if is_change {
        let would_not = view.answer.as_ref().is_some_and(|answer| answer["would_apply"] == false);
        let said = if view.problem.is_some() || would_not {
            "Nothing was changed. As things stand it would be refused; the command is:"
        } else {
            "Nothing was changed. This would do it:"
        };
        lines.push(said.to_owned());
    }
    lines.extend(view.command.clone().filter(|_| explain || is_change));
    lines
}

/// The answer as YAML: what is said in a word first, then lists and objects, then what is not known.
fn answer_as_yaml(answer: &Value) -> String {
    let Value::Object(members) = answer else {
        return serde_yaml::to_string(answer).unwrap_or_else(|_| answer.to_string());
    };
    let mut sorted: Vec<(&String, &Value)> = members.iter().collect();
    sorted.sort_by_key(|(_, member)| match member {
        Value::Object(_) | Value::Array(_) => 1,
        Value::Null => 2,
        _ => 0,
    });
    let sorted: serde_yaml::Mapping = sorted
        .into_iter()
        .filter_map(|(name, member)| Some((name.as_str().into(), serde_yaml::to_value(member).ok()?)))
        .collect();
    serde_yaml::to_string(&sorted).unwrap_or_else(|_| answer.to_string())
}

/// As many lines as there is room for. What is left out is counted, with the call that gives it.
fn first_lines(whole: &str, room: usize, call: &AskCallView) -> String {
    let count = whole.trim_end().lines().count();
    let shown = if count <= room { count } else { room.saturating_sub(1) };
    let mut text: String = whole.lines().take(shown).flat_map(|line| [line, "\n"]).collect();
    if count > shown {
        let (method, path) = (&call.method, &call.path);
        text.push_str(&format!("… {} more lines: {method} {path}, or `--json` here\n", count - shown));
    }
    text
}
