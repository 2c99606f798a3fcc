//! Decides what a text means; performs nothing.

use chrono::NaiveDate;

use super::answer_selection::told;
use super::clauses::{clauses, without_side_clauses};
use super::context::AskContext;
use super::intents::IntentRule;
use super::moods::{ClauseMood, clauses_by_mood};
use super::not_used::not_used;
use super::parsed_text::ParsedText;
use super::plan::{AskPlan, PlannedCall, planned_call};
use super::refusals::find_refusal;
use super::scoring::{
    IntentMatch, LONE, MARGIN, POSSIBLE, SURE, SURE_OF_DANGER, SURE_OF_LONE_READ, match_intents,
};
use super::shell_command::CommandWriter;
use super::views::{AskCallView, AskOptionView, AskView};
use super::vocabulary::OFF_AND_ON;

/// Largest number of options that are offered.
const OPTIONS_MAX: usize = 5;

/// Decides what a text means; performs nothing. `host` is where the caller reached botops, for the commands.
pub(super) fn understand(text: &str, context: &AskContext, today: NaiveDate, host: &str) -> AskView {
    if let Some(refusal) = find_refusal(text) {
        return refused_view(refusal.reason());
    }
    let said = text;
    let cleared = without_side_clauses(text);
    let text = if cleared.is_empty() { text } else { cleared.as_str() };
    let asked = ParsedText { said: said.to_owned(), ..ParsedText::parse(text, context, today) };
    let commands = CommandWriter { host, etag: context.etag.as_deref() };
    // An end and a beginning may be one restart.
    let is_one = asked.words.iter().any(|word| word.lower == OFF_AND_ON);
    let two = (!is_one).then(|| understand_two_requests(text, context, today, &commands)).flatten();
    if let Some(view) = two {
        return view;
    }
    let candidates = safe_matches(&asked);
    if let Some(best) = candidates.first()
        && best.score >= SURE_OF_LONE_READ
        && best.score < SURE
        && candidates.get(1).is_none_or(|second| second.score < best.score - LONE)
        && !best.rule.is_dangerous()
        && matches!((best.rule.build)(&asked, context), AskPlan::Read(_) | AskPlan::Change { .. })
    {
        return decide_with(best, &asked, context, &commands);
    }
    if candidates.first().is_none_or(|best| best.score < SURE)
        && let Some(rule) = rule_of_a_clause(text, context, today)
    {
        return decide_with(&IntentMatch { rule, score: SURE }, &asked, context, &commands);
    }
    let Some(best) = candidates.first().copied().filter(|best| best.score >= POSSIBLE) else {
        return unknown_view(&candidates);
    };
    let rivals: Vec<IntentMatch> =
        candidates.iter().take_while(|candidate| candidate.score > best.score - MARGIN).copied().collect();
    if best.score >= SURE && rivals.len() == 1 {
        return decide_with(&best, &asked, context, &commands);
    }
    // Beside reads, an order is the change that it names.
    let changes: Vec<&IntentMatch> = rivals.iter().filter(|rival| rival.rule.acts()).collect();
    if best.score >= SURE
        && !asked.is_question
        && let [change] = changes.as_slice()
        && !change.rule.is_dangerous()
    {
        return decide_with(change, &asked, context, &commands);
    }
    if best.score >= SURE
        && let Some(first) = named_first(&candidates, &asked, context)
    {
        return decide_with(&first, &asked, context, &commands);
    }
    if best.score >= SURE
        && let Some(call) = one_read_of_state(&rivals, &asked, context)
    {
        return decide(&best, AskPlan::Read(call), &commands);
    }
    let mut options = Vec::new();
    let near = if best.score >= SURE { best.score - MARGIN } else { POSSIBLE };
    for candidate in candidates.iter().filter(|candidate| candidate.score >= near) {
        add_option(
            candidate.rule.intent,
            candidate.rule.title,
            &(candidate.rule.build)(&asked, context),
            &commands,
            &mut options,
        );
    }
    // Several meanings that come to one call are no question to ask back.
    if options.len() == 1 && best.score >= SURE {
        return decide_with(&best, &asked, context, &commands);
    }
    ambiguous_view(best.score, options, &candidates)
}

/// Every match, best first. What stops or starts something takes more certainty, and is never offered for what was not
/// understood.
fn safe_matches(asked: &ParsedText) -> Vec<IntentMatch> {
    let is_safe =
        |candidate: &IntentMatch| !candidate.rule.is_dangerous() || candidate.score >= SURE_OF_DANGER;
    match_intents(asked).into_iter().filter(is_safe).collect()
}

/// The rule of the one clause that is understood, where the others are not: what surrounds it is why somebody asks.
fn rule_of_a_clause(text: &str, context: &AskContext, today: NaiveDate) -> Option<&'static IntentRule> {
    let clauses = clauses(text);
    if clauses.len() < 2 {
        return None;
    }
    let understood = clauses.into_iter().filter_map(|clause| {
        let asked = ParsedText::parse(clause, context, today);
        let matches = safe_matches(&asked);
        let best = matches.first().copied().filter(|best| best.score >= SURE)?;
        // What only says how things are orders nothing.
        let is_wish = clauses_by_mood(clause).first().is_some_and(|clause| clause.mood == ClauseMood::Wishes);
        if best.rule.acts() && !is_wish {
            return None;
        }
        let is_alone = matches.get(1).is_none_or(|second| second.score <= best.score - MARGIN);
        is_alone.then_some(best.rule)
    });
    let rules: Vec<&IntentRule> = understood.collect();
    let (first, others) = rules.split_first()?;
    // What answers a part in general gives way to what is asked for by its name.
    let is_general = |rule: &&IntentRule| matches!(rule.intent, "summary" | "errors" | "why_no_trade");
    if others.iter().all(|rule| rule.intent == first.intent) {
        return Some(first);
    }
    let special: Vec<&&IntentRule> = rules.iter().filter(|rule| !is_general(rule)).collect();
    match special.as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// Of several reads that fit alike, the one whose subject comes first: "errors of the order router". None where the text
/// joins them by "and", or where one is no read.
fn named_first(candidates: &[IntentMatch], asked: &ParsedText, context: &AskContext) -> Option<IntentMatch> {
    let best = candidates.first()?.score;
    let rivals: Vec<&IntentMatch> =
        candidates.iter().take_while(|candidate| candidate.score > best - MARGIN).collect();
    let joins =
        asked.words.iter().any(|word| matches!(word.lower.as_str(), "and" | "or" | "vs" | "versus" | "&"));
    let are_reads = rivals.iter().all(|rival| matches!((rival.rule.build)(asked, context), AskPlan::Read(_)));
    if joins || !are_reads {
        return None;
    }
    let place = |rival: &IntentMatch| {
        asked.words.iter().position(|word| {
            word.weight > 0.6
                && rival.rule.needs.iter().flat_map(|group| group.iter()).any(|need| word.is(*need))
        })
    };
    let mut placed: Vec<(usize, IntentMatch)> =
        rivals.iter().filter_map(|rival| place(rival).map(|at| (at, **rival))).collect();
    placed.sort_by_key(|(at, _)| *at);
    match placed.as_slice() {
        [(_, only)] => Some(*only),
        [(first, rival), (second, _), ..] if first < second => Some(*rival),
        _ => None,
    }
}

/// Several parts of the state that a text joins by "and", in one read.
fn one_read_of_state(
    rivals: &[IntentMatch],
    asked: &ParsedText,
    context: &AskContext,
) -> Option<PlannedCall> {
    const STATE: &str = "/api/v1/state?fields=";
    let mut fields: Vec<String> = Vec::new();
    let mut select = Vec::new();
    for rival in rivals {
        let AskPlan::Read(call) = (rival.rule.build)(asked, context) else { return None };
        for field in call.path.strip_prefix(STATE)?.split(',') {
            if !fields.iter().any(|known| known == field) {
                fields.push(field.to_owned());
            }
        }
        select.extend(call.select);
    }
    let joins = asked.words.iter().any(|word| matches!(word.lower.as_str(), "and" | "&" | "plus"));
    let path = format!("{STATE}{}", fields.join(","));
    joins.then(|| PlannedCall { select, ..planned_call("GET", path, None) })
}

/// The view of one intent, with what of the text its call does not take.
fn decide_with(
    best: &IntentMatch,
    asked: &ParsedText,
    context: &AskContext,
    commands: &CommandWriter<'_>,
) -> AskView {
    let plan = (best.rule.build)(asked, context);
    let unused = match &plan {
        AskPlan::Read(call) | AskPlan::Change { real: call, .. } => not_used(asked, best.rule, call),
        AskPlan::Choose(_) | AskPlan::Impossible(_) => Vec::new(),
    };
    let mut view = AskView { not_used: unused, ..decide(best, plan, commands) };
    if best.rule.intent == "workflow_cancel" && view.effect.as_deref() == Some("read") {
        view.note = Some(
            "No workflow runs right now, so there is nothing to cancel; this shows the last runs.".to_owned(),
        );
    }
    if let ("config_set", [wanted]) = (best.rule.intent, asked.slots.wanted.as_slice()) {
        view.note = view.call.as_ref().map(|_| format!("{}.", wanted.why));
    }
    view
}

/// Two requests in one text, such as "Pause the bot and export the logs": offers both, since one text makes one call.
fn understand_two_requests(
    text: &str,
    context: &AskContext,
    today: NaiveDate,
    commands: &CommandWriter<'_>,
) -> Option<AskView> {
    let lower = text.to_lowercase();
    let (first, second) =
        [" and then ", "; ", ", then ", " then ", " and also ", " and ", ". "].iter().find_map(|joint| {
            let at = lower.find(joint)?;
            Some((text.get(..at)?, text.get(at + joint.len()..)?))
        })?;
    let mut options = Vec::new();
    let mut scores = Vec::new();
    for part in [first, second] {
        let is_wish = clauses_by_mood(part).first().is_some_and(|clause| clause.mood == ClauseMood::Wishes);
        if !is_wish {
            return None;
        }
        let asked = ParsedText::parse(part, context, today);
        let candidates = match_intents(&asked);
        let best = candidates.first().filter(|best| best.score >= SURE)?;
        let is_vague = asked.words.iter().filter(|word| word.weight > 0.3).count() == 0;
        if is_vague || options.iter().any(|known: &AskOptionView| known.intent == best.rule.intent) {
            return None;
        }
        add_option(
            best.rule.intent,
            best.rule.title,
            &(best.rule.build)(&asked, context),
            commands,
            &mut options,
        );
        scores.push((best.score, is_change(&(best.rule.build)(&asked, context))));
    }
    // A read beside a change asks what the change does, or how things are before it.
    let acts = scores.iter().filter(|(_, is_change)| *is_change).count();
    (acts > 1 && options.len() >= 2).then(|| AskView { confidence: 0.5, options, ..AskView::default() })
}

fn is_change(plan: &AskPlan) -> bool {
    matches!(plan, AskPlan::Change { .. })
}

fn decide(best: &IntentMatch, plan: AskPlan, commands: &CommandWriter<'_>) -> AskView {
    let confidence = rounded(best.score);
    let intent = Some(best.rule.intent.to_owned());
    match plan {
        AskPlan::Read(call) => AskView {
            intent,
            confidence,
            effect: Some("read".to_owned()),
            command: Some(commands.command(&call)),
            call: Some(AskCallView::of(&call)),
            selected: told(&call.select),
            selection: call.select,
            ..AskView::default()
        },
        AskPlan::Change { preview, real } => {
            let command = commands.command(&real);
            let option = AskOptionView {
                intent: best.rule.intent.to_owned(),
                why: "makes the change; look at the dry run first".to_owned(),
                call: AskCallView::of(&real),
                command: command.clone(),
            };
            AskView {
                intent,
                confidence,
                effect: Some("change".to_owned()),
                call: Some(AskCallView::of(&preview)),
                command: Some(command),
                selected: told(&preview.select),
                selection: preview.select,
                options: vec![option],
                ..AskView::default()
            }
        }
        AskPlan::Choose(choices) => {
            let mut options = Vec::new();
            for (intent, why, plan) in &choices {
                add_option(intent, why, plan, commands, &mut options);
            }
            AskView { confidence: rounded(confidence.min(0.5)), options, ..AskView::default() }
        }
        AskPlan::Impossible(why) => refused_view(why),
    }
}

/// Adds the calls of a plan to the options, without duplicates.
fn add_option(
    intent: &str,
    why: &str,
    plan: &AskPlan,
    commands: &CommandWriter<'_>,
    options: &mut Vec<AskOptionView>,
) {
    let real = match plan {
        AskPlan::Read(call) => call,
        AskPlan::Change { real, .. } => real,
        AskPlan::Choose(choices) => {
            choices.iter().for_each(|(intent, why, plan)| add_option(intent, why, plan, commands, options));
            return;
        }
        AskPlan::Impossible(_) => return,
    };
    let call = AskCallView::of(real);
    if options.len() < OPTIONS_MAX && !options.iter().any(|known| known.call == call) {
        let command = commands.command(real);
        options.push(AskOptionView { intent: intent.to_owned(), why: why.to_owned(), call, command });
    }
}

/// The view for several candidates. With fewer than two options the text counts as not understood: nothing is guessed.
fn ambiguous_view(score: f64, options: Vec<AskOptionView>, candidates: &[IntentMatch]) -> AskView {
    if options.len() < 2 {
        return unknown_view(candidates);
    }
    AskView { confidence: rounded(score.min(0.6)), options, ..AskView::default() }
}

pub(super) fn refused_view(reason: &str) -> AskView {
    AskView { refused: Some(reason.to_owned()), ..AskView::default() }
}

/// The view for a text that was not understood, with hints on what is possible.
fn unknown_view(candidates: &[IntentMatch]) -> AskView {
    let near = candidates.iter().filter(|candidate| !candidate.rule.is_dangerous());
    let near: Vec<_> = near.take(2).map(|candidate| candidate.rule.title).collect();
    let near = if near.is_empty() { String::new() } else { format!(" Perhaps: {}.", near.join("; ")) };
    refused_view(&format!(
        "This is not understood.{near} Possible are questions about the summary, health, positions, orders, account, \
         performance, errors and their codes, events, metrics, alerts, the market, the broker session, config (read, \
         compare, history, validate), workflows and what your key may do; and, as a dry run, changing or rolling back \
         the config, running a workflow, pausing, resuming, cancelling orders, closing positions, silencing alerts. \
         For instance: `how are we doing`, `why did it stop trading`, `undo the last config change`."
    ))
}

fn rounded(score: f64) -> f64 {
    (score.min(1.0) * 100.0).round() / 100.0
}
