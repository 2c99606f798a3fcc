//! The first line of `botops ask`, made from an answer: how the bot is doing, why it does not trade, or the sentence of
//! another read.
//!
//! It contains nothing that the server's answer does not contain.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::answer_sentences::sentence;
use super::bot_standing::AskedBotView;
use super::views::AskView;

/// Longest line in characters; reasons come from the bot and may be of any length.
const LINE_MAX: usize = 900;

/// Longest reason that stands before what was asked for.
const REASON_MAX: usize = 200;

/// The first line; `None` for intents that have none.
pub(super) fn first_line(view: &AskView) -> Option<String> {
    let answer = view.answer.as_ref()?;
    let standing = view.bot.as_ref();
    let said = match view.intent.as_deref()? {
        "summary" => summary(answer)?,
        "why_no_trade" => why_no_trade(answer)?,
        intent => {
            let last_seen = standing.and_then(|bot| bot.last_seen.as_deref()).map(moment);
            let parts = [standing.map(stand_of), sentence(intent, answer, last_seen.as_deref())];
            let parts: Vec<String> = parts.into_iter().flatten().collect();
            (!parts.is_empty()).then(|| parts.join(" "))?
        }
    };
    Some(botops_core::text::clean(&said, LINE_MAX))
}

/// How the bot stands, in a sentence or two.
fn stand_of(bot: &AskedBotView) -> String {
    let clipped = |text: &str| botops_core::text::clean(text.trim_end_matches('.'), REASON_MAX);
    let mut said = match bot.status.as_str() {
        "offline" => {
            let since =
                bot.since.as_deref().map(|since| format!(" since {}", moment(since))).unwrap_or_default();
            format!("The bot is offline{since} ({}): {}.", bot.presence, clipped(&bot.presence_reason))
        }
        "healthy" => format!("{}.", clipped(&bot.reason)),
        status => format!("The bot is {status}: {}.", clipped(&bot.reason)),
    };
    let named = bot.unhealthy.iter().map(|component| {
        let since = component.since.as_deref().map(|since| format!(" since {}", moment(since)));
        format!("{} is {}{}", component.component_id, component.status, since.unwrap_or_default())
    });
    let named = named.collect::<Vec<_>>().join(", ");
    if !named.is_empty() {
        let more = match bot.unhealthy_more {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        said.push_str(&format!(" Not healthy: {named}{more}."));
    }
    said
}

/// A moment for people: its time, and its date where that is not today's; as it came where it is none.
fn moment(at: &str) -> String {
    let Ok(moment) = at.parse::<DateTime<Utc>>() else { return at.to_owned() };
    let is_today = moment.date_naive() == Utc::now().date_naive();
    moment.format(if is_today { "%H:%M:%S UTC" } else { "%F %H:%M:%S UTC" }).to_string()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str()
}

fn summary(answer: &Value) -> Option<String> {
    let (status, mode) = (text(answer, "/health_status")?, text(answer, "/mode").unwrap_or("mode unknown"));
    let mut said =
        format!("The bot is {status} ({mode}). {}", text(answer, "/health_reason").unwrap_or_default());
    let mut facts = Vec::new();
    if let Some(pnl) = text(answer, "/daily_pnl") {
        let day = match answer.pointer("/reported_day/is_over").and_then(Value::as_bool) {
            Some(true) => {
                format!(" on {}, a day that is over", text(answer, "/reported_day/date").unwrap_or("?"))
            }
            Some(false) => " today".to_owned(),
            None => String::new(),
        };
        facts.push(format!("the equity changed by {pnl}{day}"));
    }
    let counts =
        [("position_count", "position", "positions"), ("open_order_count", "open order", "open orders")];
    for (name, one, many) in counts {
        if let Some(count) = answer[name].as_u64() {
            facts.push(format!("{count} {}", if count == 1 { one } else { many }));
        }
    }
    if let Some(balance) = text(answer, "/account/account_balance") {
        facts.push(format!("account {balance}"));
    }
    if let Some(age) = answer["data_age_seconds"].as_f64() {
        facts.push(format!("data {age:.0} s old"));
    }
    if !facts.is_empty() {
        said = format!("{} {}.", said.trim_end(), facts.join(", "));
    }
    for warning in answer["warnings"].as_array().into_iter().flatten().take(3) {
        let warning = warning.as_str().or_else(|| text(warning, "/message"));
        said.push_str(&warning.map(|warning| format!(" Warning: {warning}.")).unwrap_or_default());
    }
    Some(said.replace("..", "."))
}

fn why_no_trade(answer: &Value) -> Option<String> {
    if text(answer, "/health/status") == Some("offline") {
        let why = text(answer, "/health/reason").unwrap_or("the reason is not known");
        return Some(format!("The bot is offline: {why}"));
    }
    let Some(phase) = text(answer, "/phase") else {
        let why = text(answer, "/health/reason").unwrap_or("the bot does not say");
        return Some(format!("What it does now is not known: {why}"));
    };
    let mut reasons: Vec<String> = text(answer, "/phase_reason").map(str::to_owned).into_iter().collect();
    let listed = answer["no_entry_reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    for reason in listed.map(|reason| reason.replace('_', " ")) {
        // The line names the phase already.
        if !reasons.contains(&reason) && reason != phase {
            reasons.push(reason);
        }
    }
    let pause = pause_of(&answer["pause"]).unwrap_or_default();
    Some(match (reasons.is_empty(), answer["trading_enabled"].as_bool()) {
        (false, _) => format!("It opens no new positions ({phase}): {}.{pause}", reasons.join("; ")),
        (true, Some(true)) if answer["no_entry_reasons"].is_null() => {
            format!(
                "It is {phase} and new positions are allowed; whether anything else keeps it back is not known."
            )
        }
        (true, Some(true)) => {
            format!("Nothing keeps it from trading: it is {phase}, and new positions are allowed.")
        }
        (true, Some(false)) => format!("It is {phase} and opens no new positions; it gives no reason."),
        (true, None) => format!("It is {phase}; whether it opens new positions is not known."),
    })
}

/// Who paused it, when, and what ends that, after a blank; `None` while it is not paused.
fn pause_of(pause: &Value) -> Option<String> {
    let pause = pause.as_object()?;
    let part = |name: &str| pause.get(name).and_then(Value::as_str);
    let given = match (part("by"), part("at")) {
        (Some(by), Some(at)) => {
            let why = part("reason").map(|why| format!(" ({why})")).unwrap_or_default();
            format!(" {by} paused it at {}{why}", moment(at))
        }
        _ => " Who paused it, and when, is not known here".to_owned(),
    };
    let ended = part("ended_by").map(|call| format!("; {call} ends that")).unwrap_or_default();
    Some(format!("{given}{ended}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ask::bot_standing::AskedComponentView;

    fn said(intent: &str, answer: Value) -> Option<String> {
        first_line(&AskView { intent: Some(intent.to_owned()), answer: Some(answer), ..AskView::default() })
    }

    #[test]
    fn the_reasons_come_first_and_once() {
        let stopped = json!({"phase": "paused", "phase_reason": "paused: a test", "trading_enabled": false,
            "no_entry_reasons": ["paused: a test", "the market is closed"]});
        assert_eq!(
            said("why_no_trade", stopped).unwrap(),
            "It opens no new positions (paused): paused: a test; the market is closed."
        );
        let given = json!({"phase": "paused", "trading_enabled": false, "no_entry_reasons": ["drained"], "pause": {
            "by": "night", "at": "2026-03-02T10:00:00Z", "reason": "news", "ended_by": "POST /api/v1/control/resume"}});
        assert_eq!(
            said("why_no_trade", given).unwrap(),
            "It opens no new positions (paused): drained. night paused it at 2026-03-02 10:00:00 UTC (news); POST \
             /api/v1/control/resume ends that."
        );
        let runs = json!({"phase": "running", "phase_reason": null, "trading_enabled": true, "no_entry_reasons": []});
        assert!(said("why_no_trade", runs).unwrap().starts_with("Nothing keeps it"));
        let silent = json!({"phase": "running", "trading_enabled": true, "no_entry_reasons": null});
        assert!(said("why_no_trade", silent).unwrap().ends_with("keeps it back is not known."));
        let unclear = json!({"health": {"status": "degraded", "reason": "The bot is there, but not understood."},
            "phase": null});
        assert_eq!(
            said("why_no_trade", unclear).unwrap(),
            "What it does now is not known: The bot is there, but not understood."
        );
        let gone =
            json!({"health": {"status": "offline", "reason": "its process has ended"}, "phase": "running"});
        assert_eq!(said("why_no_trade", gone).unwrap(), "The bot is offline: its process has ended");
    }

    #[test]
    fn a_day_that_is_over_is_not_today() {
        let of = |is_over: bool| {
            json!({"health_status": "offline", "daily_pnl": "1.50",
            "reported_day": {"date": "2026-03-02", "is_over": is_over}})
        };
        assert!(said("summary", of(false)).unwrap().ends_with("the equity changed by 1.50 today."));
        let past = said("summary", of(true)).unwrap();
        assert!(past.ends_with("the equity changed by 1.50 on 2026-03-02, a day that is over."), "{past}");
    }

    #[test]
    fn a_bot_that_does_not_answer_comes_before_what_was_asked_for() {
        let part = |id: &str, status: &str| AskedComponentView {
            component_id: id.to_owned(),
            status: status.to_owned(),
            since: Some("2026-03-02T10:00:08Z".to_owned()),
        };
        let mut bot = AskedBotView {
            status: "offline".to_owned(),
            presence: "exited".to_owned(),
            presence_reason: "its process is gone.".to_owned(),
            since: Some("2026-03-02T10:00:05Z".to_owned()),
            last_seen: Some("2026-03-02T10:00:04Z".to_owned()),
            unhealthy: vec![part("bot", "DOWN"), part("trading", "CRITICAL")],
            unhealthy_more: 1,
            ..AskedBotView::default()
        };
        let view = |intent: &str, bot: &AskedBotView, answer: Value| AskView {
            intent: Some(intent.to_owned()),
            bot: Some(bot.clone()),
            answer: Some(answer),
            ..AskView::default()
        };
        let none = json!({"items": [], "omitted": 0});
        assert_eq!(
            first_line(&view("errors", &bot, none.clone())).unwrap(),
            "The bot is offline since 2026-03-02 10:00:05 UTC (exited): its process is gone. Not healthy: bot is DOWN since \
             2026-03-02 10:00:08 UTC, trading is CRITICAL since 2026-03-02 10:00:08 UTC and 1 more. No failure is recorded."
        );
        let said = first_line(&view("positions", &bot, json!({"positions": []}))).unwrap();
        assert!(said.ends_with("When last seen, 2026-03-02 10:00:04 UTC, no position was open."), "{said}");
        bot.status = "healthy".to_owned();
        bot.reason = "The bot answers.".to_owned();
        (bot.unhealthy, bot.last_seen) = (Vec::new(), None);
        assert_eq!(
            first_line(&view("errors", &bot, none)).unwrap(),
            "The bot answers. No failure is recorded."
        );
    }

    #[test]
    fn what_is_unknown_is_left_out() {
        let bare = json!({"health_status": "offline", "mode": "paper", "health_reason": "Bot offline.", "daily_pnl": null});
        assert_eq!(said("summary", bare).unwrap(), "The bot is offline (paper). Bot offline.");
        assert_eq!(said("summary", json!({})), None);
        assert_eq!(said("whoami", json!({"name": "x"})), None);
    }
}
