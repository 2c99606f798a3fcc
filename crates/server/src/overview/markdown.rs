//! The summary as Markdown, for readers and agents that prefer it.
//!
//! Made from the same [`SummaryView`] as the JSON, so both say the same. Texts of the bot cannot break out of their
//! cell or line: signs that mean something in Markdown are escaped.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

use super::model::{IncidentBrief, NotGreen};
use super::remedies::session_state;
use super::state_view::LastKnownView;
use super::summary_view::{RecentError, SummaryView, TroubleBrief};
use super::wording::without_full_stop;
use botops_core::error::NextAction;

/// The whole summary as Markdown.
pub(super) fn render_markdown(view: &SummaryView) -> String {
    let mut page = String::with_capacity(4096);
    let mode = view.mode.map_or("mode unknown".to_owned(), |mode| mode.to_string());
    let _ = writeln!(page, "# Bot {} ({mode})\n", view.health_status.as_str());
    let _ = writeln!(page, "{}\n", safe(&view.health_reason));
    facts(&mut page, view);
    list(&mut page, "Warnings", view.warnings.iter().map(|warning| safe(warning)));
    list(&mut page, "Not green", view.not_green.iter().map(not_green));
    list(&mut page, "Incidents", view.incidents.iter().map(incident));
    list(&mut page, "Next calls", view.next_actions.iter().map(next_call));
    positions(&mut page, view);
    errors(&mut page, view);
    list(&mut page, "No entry because", view.no_entry_reasons.iter().flatten().map(|reason| safe(reason)));
    let omitted = view.omitted.iter();
    let omitted = omitted
        .map(|left| format!("{}: {}, `{} {}`", left.what, left.count, left.call.method, left.call.path));
    list(&mut page, "Omitted", omitted);
    page
}

/// A component that is not HEALTHY, in one line.
fn not_green(one: &NotGreen) -> String {
    let mut line = format!("{} {} since {}", safe(&one.component_id), one.status, time(one.since));
    if let Some(beyond) = &one.beyond_limit {
        let _ = write!(line, ", {} {} {} (limit {})", beyond.metric, beyond.value, beyond.unit, beyond.limit);
    }
    if let Some(reason) = &one.reason {
        let _ = write!(line, ": {}", safe(reason));
    }
    if let Some(recovery) = &one.recovery {
        let _ = write!(line, "; recovery {recovery}");
    }
    if let Some(alert) = &one.alert_id {
        let _ = write!(line, "; alert {alert}");
    }
    line
}

/// An incident, in one line.
fn incident(one: &IncidentBrief) -> String {
    let until = one.ended_at.map(|at| format!(" to {}", time(at))).unwrap_or_default();
    let mut line =
        format!("{} {}, {}{until}: {}", one.incident_id, one.state, time(one.began_at), safe(&one.cause));
    if let Some(tried) = &one.tried {
        let _ = write!(line, "; tried {}", safe(tried));
    }
    match &one.person_must {
        Some(must) => {
            let _ = write!(line, "; a person must act: {}", safe(must));
        }
        None if one.state == "open" => {
            let _ = write!(line, "; {} must act", one.who_must_act);
        }
        None => {}
    }
    line
}

/// The state of breaker or session; when it is not normal, also why, the code of the catalogue, and the remedy.
fn trouble(trouble: &TroubleBrief) -> String {
    let mut text = trouble.state.clone();
    let Some(reason) = &trouble.reason else { return text };
    let code = trouble.error_code.as_deref().map(|code| format!(" ({})", safe(code)));
    let _ = write!(text, ": {}{}.", without_full_stop(&safe(reason)), code.unwrap_or_default());
    if let Some(remedy) = &trouble.remediation {
        let _ = write!(text, " {}", safe(remedy));
    }
    text
}

fn facts(page: &mut String, view: &SummaryView) {
    page.push_str("| | |\n|---|---|\n");
    let mut row = |name: &str, value: String| {
        let _ = writeln!(page, "| {name} | {value} |");
    };
    row("presence", format!("{}: {}", view.presence, safe(&view.presence_reason)));
    row("circuit breaker", view.circuit_breaker.as_ref().map_or_else(unknown, trouble));
    row("broker session", view.session.as_ref().map_or_else(unknown, trouble));
    let unknown_change = || {
        let why = view.daily_pnl_unknown.as_deref();
        why.map_or_else(unknown, |why| format!("unknown: {}", safe(why)))
    };
    row(&equity_change(view), view.daily_pnl.as_ref().map_or_else(unknown_change, ToString::to_string));
    if let Some(open) = &view.unrealized_pl {
        row("profit of open positions", open.to_string());
    }
    row("positions", count(view.position_count));
    row("open orders", count(view.open_order_count));
    if let Some(exposure) = view.at_risk.as_ref().and_then(|risk| risk.exposure_of_account_pct) {
        row("exposure of the account", format!("{exposure} %"));
    }
    if let Some(account) = &view.account {
        let currency = account.currency.as_deref().map(|currency| format!(" {}", safe(currency)));
        let currency = currency.unwrap_or_default();
        row("account balance", format!("{}{currency}", amount(account.account_balance.as_ref())));
        row("buying power", format!("{}{currency}", amount(account.buying_power.as_ref())));
        row("cash", format!("{}{currency}", amount(account.cash_balance.as_ref())));
    }
    if let Some(known) = &view.last_known {
        row("last known", last_known(known));
    }
    row("new positions", view.trading_enabled.map_or_else(unknown, allowed));
    if let Some(version) = view.config_version {
        let sync = view.config_sync.as_deref().map(|sync| format!(", {}", safe(sync)));
        row("config", format!("v{version}{}", sync.unwrap_or_default()));
    }
    if let Some(status) = &view.system_health {
        let reason = view.system_health_reason.as_deref().map(|reason| format!(": {}", safe(reason)));
        row("system health", format!("{}{}", safe(status), reason.unwrap_or_default()));
    }
    if let Some(run) = &view.workflow {
        row(
            "workflow",
            format!("{} {}, run {}", safe(&run.workflow_id), safe(&run.state), safe(&run.run_id)),
        );
    }
    row("last trade", view.last_trade_time.map_or_else(unknown, time));
    let stale = if view.is_data_stale { ", STALE" } else { "" };
    let age = view.data_age_seconds.map_or_else(unknown, |age| format!("{age} s"));
    row("data age", format!("{age}{stale}"));
    row("generated", time(view.generated_at));
}

/// Of which day the change of equity is: today, unless that day is over.
fn equity_change(view: &SummaryView) -> String {
    match view.reported_day {
        Some(day) if day.is_over => format!("change of equity on {} (over)", day.date),
        Some(_) => "change of equity today".to_owned(),
        None => "change of equity".to_owned(),
    }
}

/// What an offline bot said of its own doing, as something of the past.
fn last_known(known: &LastKnownView) -> String {
    let mut said = Vec::new();
    said.extend(known.phase.map(|phase| format!("phase {phase}")));
    said.extend(known.trading_enabled.map(|enabled| format!("new positions {}", allowed(enabled))));
    said.extend(known.session_state.map(|state| format!("broker session {}", session_state(state))));
    let age = known.age_seconds.map_or("at an unknown time".to_owned(), |age| format!("{age} s ago"));
    format!("{age}: {}", if said.is_empty() { unknown() } else { said.join(", ") })
}

fn positions(page: &mut String, view: &SummaryView) {
    if view.top_positions.is_empty() {
        return;
    }
    page.push_str(
        "\n## Largest positions\n\n| symbol | quantity | value | share % | of account % | stop | P&L |\n|---|---|---|---|---|---|---|\n",
    );
    for position in &view.top_positions {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} |",
            safe(&position.symbol),
            amount(position.quantity.as_ref()),
            amount(position.market_value.as_ref()),
            position.share_pct.map_or_else(unknown, |share| share.to_string()),
            position.share_of_account_pct.map_or_else(unknown, |share| share.to_string()),
            position.stop_price.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string),
            amount(position.unrealized_pl.as_ref())
        );
    }
    if let Some(why) = &view.share_pct_unknown {
        let _ = writeln!(page, "\nNo shares: {why}.");
    }
}

fn errors(page: &mut String, view: &SummaryView) {
    let (own, of_bot): (Vec<&RecentError>, Vec<&RecentError>) =
        view.recent_errors.iter().partition(|error| error.source.is_some());
    list(page, "Recent errors (found by botops)", own.into_iter().map(error_entry));
    list(page, "Recent errors (the bot's words)", of_bot.into_iter().map(error_entry));
}

/// A failure on one line.
fn error_entry(error: &RecentError) -> String {
    let severity = error.severity;
    let (code, message) = (safe(&error.error_code), safe(&error.message));
    let times = error.times.map(|times| format!("{times} times, last ")).unwrap_or_default();
    let mut entry = format!("{code} ({severity}, {times}{}): {message}", happened_at(error));
    for (label, text) in [("Cause", &error.cause), ("Impact", &error.impact), ("Do", &error.remediation)] {
        if !text.is_empty() {
            let _ = write!(entry, " {label}: {}", safe(text));
        }
    }
    entry
}

/// A call as one line that can be sent.
fn next_call(action: &NextAction) -> String {
    let body = action.body.as_ref().map(|body| format!(" {body}"));
    format!("`{} {}{}`", action.method, action.path, body.unwrap_or_default())
}

/// When a failure happened, or that its time is not known.
fn happened_at(error: &RecentError) -> String {
    match (error.timestamp, error.first_seen_at) {
        (Some(at), _) => time(at),
        (None, Some(seen)) => format!("time unknown, first seen {}", time(seen)),
        (None, None) => "time unknown".to_owned(),
    }
}

fn list(page: &mut String, title: &str, entries: impl Iterator<Item = String>) {
    for (number, entry) in entries.enumerate() {
        if number == 0 {
            let _ = writeln!(page, "\n## {title}\n");
        }
        let _ = writeln!(page, "- {entry}");
    }
}

/// What stands where a value is `null`.
fn unknown() -> String {
    "unknown".to_owned()
}

fn allowed(is_allowed: bool) -> String {
    if is_allowed { "allowed" } else { "not allowed" }.to_owned()
}

fn amount<T: ToString>(amount: Option<&T>) -> String {
    amount.map_or_else(unknown, ToString::to_string)
}

fn count(count: Option<usize>) -> String {
    count.map_or_else(unknown, |count| count.to_string())
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The text with every sign escaped that could open a table cell, a link, code, or HTML.
fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '`' | '<' | '[' | ']' | '\\' | '!' | '*' => {
                safe.push('\\');
                safe.push(c);
            }
            '\n' | '\r' => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}
