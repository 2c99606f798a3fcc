//! What a text says and the call does not take: each with the reason, so that nothing is dropped without a word.

use super::answer_selection::told;
use super::concept::WordConcept;
use super::intents::IntentRule;
use super::parsed_text::ParsedText;
use super::plan::PlannedCall;
use super::scoring::explains;
use super::views::AskUnusedView;
use super::vocabulary::is_common_word;
use super::word::{AskWord, SlotKind};
use botops_core::text::percent_encode;

/// Words that are named at most.
const NAMED: usize = 5;

/// What of the text this call does not take.
pub(super) fn not_used(asked: &ParsedText, rule: &IntentRule, call: &PlannedCall) -> Vec<AskUnusedView> {
    let mut body = call.body.clone().unwrap_or_default();
    // The text itself stands in these, which uses nothing of it.
    if let Some(members) = body.as_object_mut() {
        members.retain(|name, _| !matches!(name.as_str(), "reason" | "comment" | "note"));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let chosen = told(&call.select).join("; ");
    let carried = format!("{}\n{body}\n{chosen}", call.path);
    let mut unused: Vec<AskUnusedView> = Vec::new();
    let mut last = None;
    for (at, word) in asked.words.iter().enumerate() {
        let why = reason(asked, word, rule, &carried).or_else(|| no_part_of(rule, word));
        let Some(why) = why else { continue };
        let goes_on = last == at.checked_sub(1).map(|before| (before, why.clone()));
        last = Some((at, why.clone()));
        // "last 2 hours" is one thing.
        if let Some(known) = unused.last_mut().filter(|_| goes_on) {
            known.word = format!("{} {}", known.word, word.raw);
        } else if unused.len() < NAMED {
            unused.push(AskUnusedView { word: word.raw.clone(), why });
        }
    }
    unused
}

/// Meanings that narrow or order a list.
const NARROWING: &[WordConcept] =
    &[WordConcept::Age, WordConcept::Best, WordConcept::Worst, WordConcept::PerSymbol];

/// "Stale orders", "the worst fills": a word that narrows or orders, where what was understood does neither by it.
fn no_part_of(rule: &IntentRule, word: &AskWord) -> Option<String> {
    // "Which pairs" asks, and narrows nothing.
    let asks = word.lower.starts_with("which") || word.lower.starts_with("what");
    let narrows = word.slot.is_none() && word.is_wished && NARROWING.iter().any(|concept| word.is(*concept));
    (narrows && !asks && !rule.acts() && !explains(rule, word))
        .then(|| format!("{} is not narrowed or ordered by it", rule.intent.replace('_', " ")))
}

/// Why a word is not used; `None` when it is, or says nothing.
fn reason(asked: &ParsedText, word: &AskWord, rule: &IntentRule, carried: &str) -> Option<String> {
    let (intent, call_acts) = (rule.intent, rule.acts());
    let slots = &asked.slots;
    let has = |wanted: &str| !wanted.is_empty() && carried.contains(wanted);
    let has_any = |wanted: &[&str]| wanted.iter().any(|wanted| has(wanted));
    let what = intent.replace('_', " ");
    let Some(slot) = word.slot else {
        let is_unknown = word.concepts.is_empty() && word.weight > 0.3 && !is_common_word(&word.lower);
        return is_unknown.then(|| "the word is not known here".to_owned());
    };
    match slot {
        SlotKind::Symbol => {
            let is_used = slots.symbols.iter().any(|symbol| has(symbol) || has(&percent_encode(symbol)));
            (!is_used).then(|| format!("{what} is not told by symbol"))
        }
        SlotKind::Period if slots.is_to_come => Some("that time is still to come".to_owned()),
        SlotKind::Zone if slots.zone.is_none() => {
            Some("which zone that is is not known here; times are those of the bot's zone".to_owned())
        }
        SlotKind::Period | SlotKind::Zone if slots.period.is_some() => {
            let is_today = slots.period.is_some_and(|period| period.is_day(asked.today));
            let is_used = is_today && is_about_now(carried)
                || has_any(&["from=", "since=", "since ", "window=", "hours=", "\"from\"", "to=", "before "]);
            (!is_used).then(|| format!("{what} is not told by time"))
        }
        SlotKind::Count => (!has_any(&["limit=", "the first "])).then(|| format!("{what} takes no count")),
        // One question waits no longer than its handler may take.
        SlotKind::Duration
            if intent == "health_wait" && slots.seconds.is_some_and(|seconds| seconds > 25) =>
        {
            Some("one question waits 25 s at most; it can be repeated".to_owned())
        }
        SlotKind::Period | SlotKind::Zone | SlotKind::Duration => {
            (!has_any(&["ends_at", "wait=", "since=", "from="])).then(|| match call_acts {
                true => format!("{what} takes no duration; it holds until it is ended"),
                false => format!("{what} is not told by time"),
            })
        }
        SlotKind::Component => {
            let is_used = slots.component.as_deref().is_some_and(|id| has(id) || is_its_own(intent))
                || has("mentions ");
            (!is_used).then(|| format!("{what} is not told by component"))
        }
        SlotKind::Id => (!slots.id.as_deref().is_some_and(has)).then(|| format!("{what} takes no id")),
        SlotKind::Version => {
            (!slots.versions.iter().any(|version| has(version))).then(|| format!("{what} takes no version"))
        }
        // A value is read only beside its key, and a workflow by its name: what takes neither was chosen by other words.
        SlotKind::Key if intent.starts_with("config_") && carried.contains("/config/") => {
            let leaf = |key: &String| key.rsplit('.').next().is_some_and(&has);
            (!slots.keys.iter().any(leaf) && !matches!(intent, "config_schema" | "config_rollback"))
                .then(|| format!("{what} is not told by field"))
        }
        SlotKind::Key | SlotKind::Value | SlotKind::Workflow | SlotKind::Code | SlotKind::SignInCode => None,
    }
}

/// Whether a call tells how things are at the moment, which is what "today" means to most.
fn is_about_now(carried: &str) -> bool {
    ["/state", "/summary", "/health", "/control", "/metrics"].iter().any(|part| carried.contains(part))
}

/// Intents that are about one component, so that its name says nothing more.
fn is_its_own(intent: &str) -> bool {
    matches!(intent, "session" | "probe_session" | "reauth" | "breaker" | "config_audit_verify" | "readiness")
}
