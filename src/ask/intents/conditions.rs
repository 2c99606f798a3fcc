//! Conditions on a text that concepts alone cannot express, used as `when` in rules.

use crate::ask::concept::WordConcept as C;
use crate::ask::parsed_text::ParsedText;
use crate::ask::word::SlotKind;
use crate::ask::word_lists::WordList;

/// Whether the text is about today and not about a period that is over.
pub(super) fn is_about_now(asked: &ParsedText) -> bool {
    let today =
        asked.slots.period.is_none_or(|period| period.from == asked.today && period.to == asked.today);
    today && !asked.words.iter().any(|word| word.lower == "did" || word.lower.contains("did "))
}

pub(super) fn is_about_past(asked: &ParsedText) -> bool {
    asked.slots.period.is_some() && !is_about_now(asked)
}

pub(super) fn is_question(asked: &ParsedText) -> bool {
    asked.is_question
}

pub(super) fn is_order(asked: &ParsedText) -> bool {
    !asked.is_question
}

/// "Why was TSLA sold": whether the text asks about a trade that was made, not about missing trades.
pub(super) fn asks_about_a_deal(asked: &ParsedText) -> bool {
    !asked.slots.symbols.is_empty()
        && !asked.has(C::Not)
        && asked.words.iter().any(|word| matches!(word.lower.as_str(), "sold" | "bought" | "buy" | "sell"))
        && asked.has(C::Past)
        && asked.is_question
}

/// "How is trading today": whether the text asks for results.
pub(super) fn asks_how(asked: &ParsedText) -> bool {
    asked.is_question
        && asked
            .words
            .first()
            .is_some_and(|word| matches!(word.lower.as_str(), "how" | "how is" | "how many"))
}

/// "How did we do": whether the text asks for results without naming them.
pub(super) fn asks_how_it_went(asked: &ParsedText) -> bool {
    asked.is_question && asked.words.first().is_some_and(|word| word.lower.starts_with("how did"))
}

pub(super) fn asks_since_when(asked: &ParsedText) -> bool {
    asked.words.iter().any(|word| word.lower == "uptime")
}

/// Whether the text is about the bot as a whole and its present state.
pub(super) fn asks_about_it_all(asked: &ParsedText) -> bool {
    let why_no_trade = asked.has(C::Trade) && asked.has(C::Why);
    is_about_now(asked) && !why_no_trade && !asks_since_when(asked) && !is_about_a_part(asked)
}

/// Whether the text names a component other than the bot itself.
pub(super) fn is_about_a_part(asked: &ParsedText) -> bool {
    asked.slots.component.as_deref().is_some_and(|id| !matches!(id, "bot" | "api_server"))
}

/// Whether a word says that something is blocked, and not just "why".
pub(super) fn names_a_hindrance(asked: &ParsedText) -> bool {
    const PLAIN: &[&str] = &[
        "why",
        "whys",
        "y",
        "how come",
        "reason",
        "reasons",
        "cause",
        "because",
        "what for",
        "on what grounds",
        "rationale",
        "justification",
        "explanation",
        "any reason",
        "good reason",
        "explain why",
    ];
    asked.words.iter().any(|word| word.is(C::Why) && !PLAIN.contains(&word.lower.as_str()))
}

/// Whether what is asked or ordered names a setting.
pub(super) fn wishes_a_key(asked: &ParsedText) -> bool {
    asked.words.iter().any(|word| word.is_wished && word.slot == Some(SlotKind::Key))
}

pub(super) fn has_key(asked: &ParsedText) -> bool {
    !asked.slots.keys.is_empty()
}

pub(super) fn has_workflow(asked: &ParsedText) -> bool {
    asked.slots.workflow.is_some()
}

/// Whether a workflow is meant. "export the logs" is one; "check health" is a read unless it is written as the id.
pub(super) fn names_workflow(asked: &ParsedText) -> bool {
    let is_check = asked.slots.workflow.as_deref() == Some("check-health");
    asked.slots.workflow.is_some() && (!is_check || asked.slots.workflow_is_exact) && !asked.is_question
}

/// "Am I up or down today": whether the text asks for a result, and not whether something runs.
pub(super) fn asks_up_or_down(asked: &ParsedText) -> bool {
    let lower: Vec<&str> = asked.words.iter().flat_map(|word| word.lower.split(' ')).collect();
    let is_ours = lower.iter().take(4).any(|word| matches!(*word, "i" | "we"));
    let has = |wanted: &[&str]| lower.iter().any(|word| wanted.contains(word));
    let both = has(&["up"]) && has(&["down"])
        || has(&["ahead"]) && has(&["behind"])
        || has(&["green"]) && has(&["red"]);
    let one = has(&["up", "down", "ahead", "behind", "green"]);
    let at_start = matches!(lower.first(), Some(&("am" | "are" | "was" | "were" | "how")));
    is_ours && at_start && (both || one && asked.slots.period.is_some())
}

/// "Does the new config make more than the old one", "profit by version": whether the text compares results.
pub(super) fn compares_or_groups(asked: &ParsedText) -> bool {
    let has = |wanted: &[&str]| {
        asked.words.iter().flat_map(|word| word.lower.split(' ')).any(|word| wanted.contains(&word))
    };
    has(&["than", "versus", "vs", "better", "worse", "by", "per"])
}

/// The words of a text, those of phrases one by one.
fn single_words(asked: &ParsedText) -> impl Iterator<Item = &str> {
    asked.words.iter().flat_map(|word| word.lower.split(' '))
}

/// "Why did we get out of NVDA": whether the text asks about how a trade ended.
pub(super) fn asks_about_an_exit(asked: &ParsedText) -> bool {
    const EXITS: &[&str] = &[
        "got out of",
        "get out of",
        "gets out of",
        "getting out of",
        "got us out of",
        "stopped on",
        "stopped us out",
        "stopped out",
        "got stopped out",
        "closed out",
        "exited",
        "wicked out",
        "stopped me out",
    ];
    let closes = asked.words.iter().any(|word| EXITS.contains(&word.lower.as_str()))
        || single_words(asked).any(|word| matches!(word, "exited" | "closed" | "exit" | "stopped"))
            && !asked.slots.symbols.is_empty();
    closes
        && asked.is_question
        && !asked.has(C::Not)
        && (!asked.slots.symbols.is_empty() || asked.has(C::Trade))
}

/// Whether the text asks for closed trades or for positions with how they ended.
pub(super) fn asks_for_closed_trades(asked: &ParsedText) -> bool {
    let has = |wanted: &[&str]| single_words(asked).any(|word| wanted.contains(&word));
    has(&["exit", "exited", "closed", "losing", "winning", "losers", "winners"])
        && !asked.has(C::Not)
        && asked.has(C::Trade)
}

/// Whether past runs are asked for, and not how one goes.
pub(super) fn asks_for_runs(asked: &ParsedText) -> bool {
    let has = |wanted: &[&str]| single_words(asked).any(|word| wanted.contains(&word));
    let is_of_workflows = has_workflow(asked)
        || asked.has(C::Workflow)
        || asked.has(C::Restart) && (asked.has(C::Past) || asked.has(C::History))
        || asked.has(C::Export);
    let is_listed =
        asked.slots.count.is_some() || has(&["runs", "often", "times", "history", "each", "every", "past"]);
    let when = asked.slots.period.is_some()
        && (has(&["when", "often", "whom", "failed", "executed", "runs"]) || asked.has(C::Execution));
    asked.is_question
        && is_of_workflows
        && (is_listed
            && (asked.has(C::Execution) || asked.has(C::History) || has(&["often", "times", "runs"]) || when)
            || when)
        && asked.slots.id.is_none()
}

/// "How much CPU", "CPU load": whether a part is asked for by a number, and not whether it is well.
pub(super) fn asks_how_much(asked: &ParsedText) -> bool {
    asked.words.iter().any(|word| {
        ["how much", "usage", "load", "consumption", "utilization", "utilisation", "percent"]
            .iter()
            .any(|part| word.lower.contains(part))
    })
}

/// "Would 2 % be ok", "is 0.03 allowed": whether a question asks what would be, and orders nothing.
pub(super) fn asks_whether(asked: &ParsedText) -> bool {
    let first = asked.words.first().map(|word| word.lower.as_str()).unwrap_or_default();
    let second = asked.words.get(1).map(|word| word.lower.as_str()).unwrap_or_default();
    let first = first.split(' ').next().unwrap_or_default();
    let asks = match first {
        "would" | "is" | "are" | "does" | "may" | "might" | "will" => true,
        "can" | "could" | "should" => !matches!(second, "you" | "u"),
        "what" => asked.has(C::Validate),
        _ => false,
    };
    // "Can I even set it to 5 %".
    let tries = matches!(first, "can" | "could" | "may") && (second == "i" || asked.text.contains(" even "));
    asks && (asked.is_question || tries) || asked.has(C::Validate) && !asked.has(C::Change)
}

/// Whether an order begins with the word that cancels: "pull all resting orders".
pub(super) fn cancels(asked: &ParsedText) -> bool {
    asked.words.first().is_some_and(|word| word.is(C::Cancel)) && !asked.text.trim_end().ends_with('?')
}

/// Whether the text has nothing but its verb: "close it".
pub(super) fn names_nothing(asked: &ParsedText) -> bool {
    asked.words.iter().filter(|word| word.weight > 0.3).count() <= 1
}

/// Whether the text names two or more of what a summary has.
pub(super) fn names_several_subjects(asked: &ParsedText) -> bool {
    let subjects = [
        C::Position,
        C::Order,
        C::Error,
        C::Health,
        C::Alert,
        C::Performance,
        C::Account,
        C::Trade,
        C::Incident,
    ];
    subjects.into_iter().filter(|subject| asked.has(*subject)).count() >= 2
}

/// "I want version 14 again": whether an earlier version is to be the present one.
pub(super) fn wants_a_version_again(asked: &ParsedText) -> bool {
    let has = |wanted: &[&str]| single_words(asked).any(|word| wanted.contains(&word));
    asked.slots.versions.len() == 1
        && has(&["again", "back", "activate", "reactivate", "use", "load", "deploy"])
        && (has(&[
            "want",
            "need",
            "put",
            "give",
            "bring",
            "use",
            "load",
            "deploy",
            "activate",
            "reactivate",
            "like",
        ]) || is_order(asked))
        && !asked.asks_openly()
}

/// "The p99 latency": whether a number is named, and not "the numbers".
pub(super) fn names_a_metric(asked: &ParsedText) -> bool {
    const ANY: &[&str] =
        &["numbers", "figures", "metrics", "metric", "kpi", "kpis", "measurements", "counters", "gauges"];
    asked.words.iter().any(|word| word.is(C::Metric) && !ANY.contains(&word.lower.as_str()))
}

/// "The bad trades of last week": whether the text says which trades.
pub(super) fn names_which_trades(asked: &ParsedText) -> bool {
    let of_each = single_words(asked).any(|word| matches!(word, "every" | "each"));
    let names = single_words(asked).any(|word| {
        matches!(word, "trades" | "losers" | "winners" | "trips" | "exits") || of_each && word == "trade"
    });
    let which = of_each
        || asked.slots.period.is_some()
        || asked.slots.count.is_some()
        || single_words(asked).any(|word| matches!(word, "bad" | "worst" | "losing" | "winning" | "good"));
    names
        && which
        && !asked.has(C::Not)
        && !asked.has(C::Pause)
        && !asked.has(C::Alive)
        && !asked.has(C::Idle)
}

/// Whether the past of the health is asked for; "has it degraded" asks for the present.
pub(super) fn asks_how_health_was(asked: &ParsedText) -> bool {
    let is_past = single_words(asked).any(|word| {
        matches!(
            word,
            "was"
                | "were"
                | "when"
                | "often"
                | "times"
                | "did"
                | "been"
                | "flapping"
                | "flapped"
                | "flap"
                | "flaps"
                | "went"
        )
    });
    asked.is_question
        && (asked.has(C::History) || asked.has(C::Event) || asked.slots.period.is_some() || is_past)
}

/// "The bot is not taking any trade, what is the issue": whether what is missing is trades.
pub(super) fn misses_trades(asked: &ParsedText) -> bool {
    asked.has(C::Not)
        && (asked.has(C::Entry) || asked.has(C::Trade) || asked.has(C::Idle))
        && !asked.has(C::Order)
        && !asked.has(C::Session)
}

/// "Is everything healthy this morning": whether a text with a time of today asks for the present.
pub(super) fn asks_for_health_now(asked: &ParsedText) -> bool {
    let first = asked.words.first().map(|word| word.lower.as_str()).unwrap_or_default();
    asked.slots.period.is_none_or(|period| period.from == asked.today)
        && matches!(first, "is" | "are" | "how is" | "how are" | "how" | "everything" | "all")
        && !single_words(asked).any(|word| {
            matches!(word, "was" | "were" | "did" | "been" | "over" | "history" | "since" | "last")
        })
}

/// "Why did it let NVDA go": whether a reason and a symbol are all that the text names.
pub(super) fn asks_why_of_a_symbol(asked: &ParsedText) -> bool {
    let others = [
        C::Order,
        C::Error,
        C::Performance,
        C::Trade,
        C::Fill,
        C::Config,
        C::Alert,
        C::Incident,
        C::Health,
        C::Session,
    ];
    asked.is_question
        && !asked.slots.symbols.is_empty()
        && !others.into_iter().any(|other| asked.has(other))
        && !asks_about_an_exit(asked)
}

/// "When was it last unhealthy": whether the health of the past is asked for, whatever time is named.
pub(super) fn asks_when_it_was(asked: &ParsedText) -> bool {
    let first = asked.words.first().map(|word| word.lower.as_str()).unwrap_or_default();
    matches!(first, "when" | "was" | "were" | "did") || single_words(asked).any(|word| word == "often")
}

/// "Does it still open positions": whether opening is asked about, and not what is open.
pub(super) fn asks_whether_it_opens(asked: &ParsedText) -> bool {
    let first = asked.words.first().map(|word| word.lower.as_str()).unwrap_or_default();
    matches!(first, "does" | "can" | "could" | "will" | "may" | "would") && asked.has(C::Entry)
}

/// "Who paused it", "when was it resumed": whether the text asks about a command that was given.
pub(super) fn asks_who_did_it(asked: &ParsedText) -> bool {
    let is_past =
        asked.has(C::Past) || single_words(asked).any(|word| word.len() > 4 && word.ends_with("ed"));
    asked.is_question && is_past && !asked.has(C::Not) && !asked.has(C::Trade)
}

/// "Set it to 5", "make it less": whether a change says neither what nor of what.
pub(super) fn changes_something(asked: &ParsedText) -> bool {
    const VERBS: &[&str] = &["set", "change", "make", "double", "halve", "triple", "adjust", "move", "tune"];
    let mut words = single_words(asked).skip_while(|word| WordList::PoliteWords.contains(word));
    let is_verb = |first: &str| {
        VERBS.contains(&first)
            || WordList::RaiseVerbs.contains(first)
            || WordList::LowerVerbs.contains(first)
            || WordList::DistanceVerbs.contains(first)
    };
    let verb = words.next().is_some_and(is_verb);
    let pronoun =
        words.next().is_some_and(|second| matches!(second, "it" | "that" | "this" | "them" | "those"));
    let others = [
        C::Trade,
        C::Order,
        C::Position,
        C::Breaker,
        C::Alert,
        C::Session,
        C::Undo,
        C::Pause,
        C::Resume,
        C::Account,
        C::Run,
        C::Workflow,
    ];
    is_order(asked)
        && verb
        && pronoun
        && asked.slots.keys.is_empty()
        && !others.into_iter().any(|other| asked.has(other))
}

/// Whether the text is about the machine that the bot runs on.
pub(super) fn is_about_the_machine(asked: &ParsedText) -> bool {
    asked.slots.component.as_deref() == Some("system_resources")
}

/// "Not taking entries", "it never buys": whether one phrase says that nothing is entered.
pub(super) fn enters_nothing(asked: &ParsedText) -> bool {
    const DENIALS: &[&str] =
        &["not", "never", "ignoring", "ignored", "skipped", "skipping", "missed", "refuses"];
    let denies = |word: &crate::ask::word::AskWord| {
        word.is(C::Entry) && word.lower.split(' ').any(|part| DENIALS.contains(&part))
    };
    asked.words.iter().any(denies)
}

/// Whether the text asks whether somebody changed the audit itself.
pub(super) fn asks_about_tampering(asked: &ParsedText) -> bool {
    let lower = asked.text.to_lowercase();
    ["tamper", "doctored", "falsif", "forged", "manipulat"].iter().any(|word| lower.contains(word))
}

/// "Get the old parameters back": whether earlier settings are wanted, without a version.
pub(super) fn wants_old_settings(asked: &ParsedText) -> bool {
    let has = |wanted: &[&str]| single_words(asked).any(|word| wanted.contains(&word));
    has(&["old", "previous", "former", "prior", "earlier"])
        && has(&["back", "again"])
        && asked.slots.keys.is_empty()
        && !asked.asks_openly()
}

/// "Do the checks afresh": whether health checks are to be made again.
pub(super) fn wants_checks_again(asked: &ParsedText) -> bool {
    let has = |wanted: &[&str]| single_words(asked).any(|word| wanted.contains(&word));
    let first = asked.words.first().map(|word| word.lower.as_str()).unwrap_or_default();
    let does = matches!(first, "do" | "make" | "perform" | "redo" | "repeat" | "run");
    does && has(&["afresh", "again", "anew", "fresh", "new", "now"])
        && has(&["check", "checks", "diagnostics"])
}

/// Whether the text asks for what is held, and not for what came of it or whether more is opened.
pub(super) fn asks_for_positions(asked: &ParsedText) -> bool {
    let asks_result = asked.has(C::Performance) && asked.slots.period.is_some();
    !(asks_result || asks_whether_it_opens(asked))
}
