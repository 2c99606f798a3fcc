//! From a part that cannot be read to a sentence that its author can act on.

use chrono::{NaiveDate, NaiveDateTime};

use super::findings::ConformanceFinding;
use crate::bots::reading::{UnreadableAnswer, UnreadablePart};

/// Members without which an answer is not what was asked for; the others may be `null`.
const CORE: [&str; 8] = ["contract", "bot_id", "version", "mode", "seq", "as_of", "phase", "closed_at"];

/// The fault behind a part that botops cannot read.
pub(super) fn fault_of(part: &UnreadablePart) -> ConformanceFinding {
    let field = part.pointer.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or("the answer");
    let (rule, remedy) = remedy_of(field, part);
    ConformanceFinding::fault(rule, &part.call, &remedy)
        .at(&part.pointer)
        .got(&part.got)
        .expected(&part.expected)
}

/// The faults of an answer of which nothing can be read.
pub(super) fn faults_of_answer(call: &str, why: &UnreadableAnswer) -> Vec<ConformanceFinding> {
    if !why.parts.is_empty() {
        return why.parts.iter().map(fault_of).collect();
    }
    let remedy = "Answer with one JSON object, as the manual shows it, with Content-Type application/json.";
    vec![ConformanceFinding::fault("not_readable", call, remedy).got(&why.sentence)]
}

fn remedy_of(field: &str, part: &UnreadablePart) -> (&'static str, String) {
    let UnreadablePart { got, expected, .. } = part;
    let is_time = expected.contains("RFC 3339");
    let unquoted = got.trim_matches('"');
    if got == "nothing" || got.starts_with("nothing for") {
        let name = expected.strip_prefix("a member ").map_or_else(|| format!("`{field}`"), str::to_owned);
        return ("missing_member", format!("Add {name} to the answer: it is part of the required core."));
    }
    if got.starts_with("two members") || expected == "one member of this name" {
        return ("repeated_member", format!("`{field}` stands twice in one object: leave one of them out."));
    }
    if ["NaN", "Infinity", "-Infinity"].contains(&unquoted) {
        let remedy = format!(
            "`{field}` is no number: write null where there is none (in Python, json.dumps(…, allow_nan=False) finds it)."
        );
        return ("not_a_number", remedy);
    }
    if is_time {
        return remedy_of_time(field, unquoted, got.starts_with('"'));
    }
    if expected.contains("decimal number") {
        let remedy = format!(
            "Write `{field}` as a text of digits such as \"12.50\", without currency sign and thousands separator; null where it is not known."
        );
        return ("amount_form", remedy);
    }
    if expected.contains("whole number") {
        return ("number_form", format!("Write `{field}` as a whole number, without a fraction and a sign."));
    }
    if expected == "a boolean" {
        return ("boolean_form", format!("Write `{field}` as true or false, without quotes."));
    }
    if expected.contains("boot epoch that") {
        let remedy =
            "Make one boot epoch at the start of the process, and name it in `hello` and in `state` alike.";
        return ("boot_epoch_differs", remedy.to_owned());
    }
    if expected.contains("a bot id is") || field == "bot_id" {
        let remedy = "Name the bot with 1 to 64 letters, digits, `-` or `_`: the same text as in BOT_ID.";
        return ("bot_id_form", remedy.to_owned());
    }
    let otherwise = if CORE.contains(&field) { "" } else { "; leave it out where the bot has none" };
    ("wrong_form", format!("Write `{field}` as {expected}{otherwise}."))
}

fn remedy_of_time(field: &str, unquoted: &str, is_text: bool) -> (&'static str, String) {
    if !is_text {
        let remedy = format!(
            "Write `{field}` as a text with its zone, not as a count of seconds: in Python datetime.fromtimestamp(t, timezone.utc).isoformat()."
        );
        return ("time_as_number", remedy);
    }
    if unquoted.starts_with("0000-") || unquoted.starts_with("0001-01-01") {
        return (
            "zero_time",
            format!("`{field}` is the zero of a language, not a time: write null where there is none."),
        );
    }
    let is_naive = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .any(|form| NaiveDateTime::parse_from_str(unquoted, form).is_ok())
        || NaiveDate::parse_from_str(unquoted, "%Y-%m-%d").is_ok();
    if is_naive {
        let remedy = format!(
            "`{field}` has no zone, so nobody knows which moment it is: in Python datetime.now(timezone.utc).isoformat()."
        );
        return ("naive_time", remedy);
    }
    let remedy = format!("Write `{field}` as RFC 3339 with its zone, such as 2026-03-02T15:00:00Z.");
    ("time_form", remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bots::reading;
    use botops_contract::{BotReport, Hello};

    #[track_caller]
    fn rules_of_state(json: &str) -> Vec<(&'static str, String)> {
        let read =
            reading::read_parts::<BotReport>("GET state", json.as_bytes(), &BotReport::REQUIRED).unwrap();
        read.unreadable.iter().map(fault_of).map(|fault| (fault.rule, fault.pointer)).collect()
    }

    #[test]
    fn each_mistake_of_a_newcomer_has_a_rule_of_its_own() {
        for (member, rule, pointer) in [
            (r#""as_of": "2026-03-02T15:00:00""#, "naive_time", "/as_of"),
            (r#""as_of": "2026-03-02 15:00:00.5""#, "naive_time", "/as_of"),
            (r#""as_of": 1764400000"#, "time_as_number", "/as_of"),
            (r#""as_of": 1764400000.25"#, "time_as_number", "/as_of"),
            (r#""last_trade_at": "0001-01-01T00:00:00Z""#, "zero_time", "/last_trade_at"),
            (r#""as_of": "yesterday""#, "time_form", "/as_of"),
            (r#""account": {"account_balance": "$1,000"}"#, "amount_form", "/account/account_balance"),
            (r#""account": {"account_balance": NaN}"#, "not_a_number", "/account/account_balance"),
            (r#""trading_enabled": "yes""#, "boolean_form", "/trading_enabled"),
            (r#""seq": 1.5"#, "number_form", "/seq"),
            (r#""positions": {"SPY": 1}"#, "wrong_form", "/positions"),
            (r#""no_entry_reasons": [7]"#, "wrong_form", "/no_entry_reasons/0"),
        ] {
            let name = member.split('"').nth(1).unwrap();
            let rest = [
                ("seq", "1"),
                ("as_of", "\"2026-03-02T15:00:00Z\""),
                ("mode", "\"paper\""),
                ("phase", "\"running\""),
            ];
            let rest = rest
                .iter()
                .filter(|(core, _)| *core != name)
                .map(|(core, value)| format!("\"{core}\": {value}"));
            let state = format!("{{{}, {member}}}", rest.collect::<Vec<_>>().join(", "));
            assert_eq!(rules_of_state(&state), [(rule, pointer.to_owned())], "{member}");
        }
    }

    #[test]
    fn what_is_missing_is_named_by_its_member() {
        let named = rules_of_state(r#"{"seq": 1, "mode": "paper"}"#);
        assert_eq!(named, [("missing_member", "/as_of".to_owned()), ("missing_member", "/phase".to_owned())]);
        let refused =
            reading::read_whole::<Hello>("GET hello", b"{\"contract\": 2}", &Hello::REQUIRED).unwrap_err();
        let faults = faults_of_answer("GET hello", &refused);
        assert!(faults.iter().any(|fault| fault.remedy.contains("`bot_id`")), "{faults:#?}");
    }
}
