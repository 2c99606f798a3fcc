//! `botops ask`: an HTTP client of the running server.
//!
//! Exit codes: 0 answered (a change is shown, never made), 1 failed, 3 ambiguous, 4 refused.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::screen::{SCREEN_LINES, answer_lines, command_lines, first_lines, lines_of, wrapped};
use super::shell_command::quoted;
use super::spoken;
use super::views::AskView;

/// Longer than the server's own deadline, so that the server's answer arrives first.
const DEADLINE: Duration = Duration::from_secs(40);

/// What `botops ask` can be told.
#[derive(Debug, Clone, Args)]
pub(crate) struct AskOptions {
    /// The question or request, in plain words
    #[arg(required = true, num_args = 1..)]
    text: Vec<String>,
    /// Show which call was understood, and how certainly
    #[arg(long)]
    explain: bool,
    /// Print all of the answer instead of one screen of it
    #[arg(long)]
    all: bool,
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
    let text = flags.text.join(" ");
    let body = match runtime.block_on(post_question(&url, &key, &text)) {
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
        say(&rendered_answer(&view, &text, flags));
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

/// What is printed: a sentence first, then the answer in short lines or whole, then what would make a change.
fn rendered_answer(view: &AskView, text: &str, flags: &AskOptions) -> String {
    if let Some(reason) = &view.refused {
        return wrapped(reason).join("\n");
    }
    let Some(call) = &view.call else { return rendered_options(view) };
    let mut lines = Vec::new();
    if flags.explain {
        let intent = view.intent.as_deref().unwrap_or_default();
        lines.push(format!("intent: {intent} ({:.0} %)", view.confidence * 100.0));
        lines.push(format!("call: {} {}", call.method, call.path));
        lines.extend(call.body.as_ref().map(|body| format!("body: {body}")));
        lines.push(String::new());
    }
    if let Some(problem) = &view.problem {
        lines.extend(wrapped(&format!("{} {}", problem.error_code, problem.cause)));
        lines.extend(wrapped(&problem.remediation));
    }
    let selected =
        Some(format!("Of the list: {}.", view.selected.join("; "))).filter(|_| !view.selected.is_empty());
    let unused = view.not_used.iter().map(|unused| format!("{} ({})", unused.word, unused.why));
    let unused = Some(format!("Not used: {}.", unused.collect::<Vec<_>>().join("; ")));
    let unused = unused.filter(|_| !view.not_used.is_empty());
    // Of a config change, `note` says what would become of the field, so it needs no second sentence.
    let sentence = if view.intent.as_deref() == Some("config_set") { None } else { spoken::first_line(view) };
    // The sentence stays one line, so that a script can take it; a terminal breaks it.
    lines.extend(sentence.or_else(|| view.note.clone()));
    let note = view.note.clone().filter(|note| !lines.contains(note));
    for said in [note, selected, unused].into_iter().flatten() {
        lines.extend(wrapped(&said));
    }
    let taken = lines.iter().map(|line| lines_of(line)).sum::<usize>();
    let closing = closing_lines(view, flags.explain);
    if flags.all {
        lines.push(String::new());
        lines.extend(view.answer.as_ref().map(whole_answer));
    } else if let Some(answer) = view.answer.as_ref().filter(|answer| !answer.is_null()) {
        lines.push(String::new());
        let room = SCREEN_LINES.saturating_sub(taken + 1 + closing.len());
        let rest = format!("botops ask --all {}", quoted(text));
        lines.extend(first_lines(answer_lines(answer), room, &rest));
    }
    lines.extend(closing);
    lines.join("\n").trim_end().to_owned()
}

fn rendered_options(view: &AskView) -> String {
    let mut lines = vec!["This can mean several things:".to_owned()];
    for (number, option) in view.options.iter().enumerate() {
        lines.push(String::new());
        lines.extend(wrapped(&format!("{}. {}: {}", number + 1, option.intent, option.why)));
        lines.extend(command_lines(&option.command));
    }
    lines.join("\n")
}

/// What follows the answer: for a change, that nothing was changed, and the command.
fn closing_lines(view: &AskView, explain: bool) -> Vec<String> {
    let is_change = view.effect.as_deref() == Some("change");
    if !is_change && !explain {
        return Vec::new();
    }
    let mut lines = vec![String::new()];
    if is_change {
        let would_not = view.answer.as_ref().is_some_and(|answer| answer["would_apply"] == false);
        let said = if view.problem.is_some() || would_not {
            "Nothing was changed. As things stand it would be refused; the command is:"
        } else {
            "Nothing was changed. This would do it:"
        };
        lines.push(said.to_owned());
    }
    lines.extend(view.command.as_deref().map(command_lines).unwrap_or_default());
    lines
}

/// All of the answer as YAML: what is said in a word first, then lists and objects, then what is not known.
fn whole_answer(answer: &Value) -> String {
    let members = match answer {
        Value::String(text) => return text.clone(),
        Value::Object(members) => members,
        other => return serde_yaml::to_string(other).unwrap_or_else(|_| other.to_string()),
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
