//! Which calls texts become, tested without a server.

use chrono::NaiveDate;
use serde_json::Value;

use super::context::AskContext;
use super::parsed_text::ParsedText;
use super::service::{SHIPPED_WORKFLOWS, collect_leaves};
use super::shell_command::quoted;
use super::understanding::understand;
use super::views::AskView;

const CONFIG: &str = include_str!("../../crates/paperbot/schemas/default-bot-config.json");
const SCHEMA: &str = include_str!("../../crates/paperbot/schemas/bot-config.schema.json");

/// A bot with the config of paperbot, on a Wednesday in the afternoon.
pub(super) fn context() -> AskContext {
    let config: Value = serde_json::from_str(CONFIG).expect("it is JSON");
    let mut context = AskContext {
        workflows: SHIPPED_WORKFLOWS.map(str::to_owned).into(),
        components: [
            "bot",
            "broker_session",
            "trading",
            "store",
            "api_server",
            "system_resources",
            "outbox",
            "config_sync",
            "audit_chain",
        ]
        .map(str::to_owned)
        .into(),
        schema: serde_json::from_str(SCHEMA).expect("it is JSON"),
        etag: Some("\"v17-3fa9c1d2\"".to_owned()),
        symbols: ["SPY", "TSLA", "NVDA", "AAPL"].map(str::to_owned).into(),
        now: "2025-11-19T15:00:00Z".parse().expect("it is a time"),
        ..AskContext::default()
    };
    collect_leaves(&config, String::new(), &mut context.config);
    context
}

fn reading(text: &str) -> AskView {
    let wednesday = NaiveDate::from_ymd_opt(2025, 11, 19).expect("it is a date");
    understand(text, &context(), wednesday, "127.0.0.1:8000")
}

/// The intent's name, `?` for an ambiguous text, `!` for a refused one.
fn verdict(view: &AskView) -> String {
    match (&view.intent, &view.refused) {
        (Some(intent), None) => intent.clone(),
        (None, Some(_)) => "!".to_owned(),
        (None, None) => "?".to_owned(),
        (Some(_), Some(_)) => "both".to_owned(),
    }
}

/// Lines of `expected<TAB>text<TAB>parameters`; expected is an intent, `?` or `!`, parameters may be absent.
const CORPUS: &str = include_str!("../../tests/it/ask_corpus.tsv");

#[test]
fn the_corpus_is_understood() {
    let mut wrong = Vec::new();
    let (mut count, mut asked, mut doubtful, mut with_slots) = (0, 0, 0, 0);
    for line in CORPUS.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (expected, rest) = line.split_once('\t').expect("a tab stands between");
        let (text, wanted) = rest.split_once('\t').unwrap_or((rest, ""));
        let view = reading(text);
        let verdict = verdict(&view);
        let given = parameters(&view);
        let missing: Vec<&str> = wanted
            .split("; ")
            .filter(|wanted| !wanted.is_empty() && !given.iter().any(|given| given == wanted))
            .collect();
        count += 1;
        with_slots += usize::from(!wanted.is_empty());
        asked += usize::from(!matches!(expected, "?" | "!"));
        doubtful += usize::from(!matches!(expected, "?" | "!") && verdict == "?");
        if verdict != expected || !missing.is_empty() {
            let offered: Vec<_> = view.options.iter().map(|option| option.intent.as_str()).collect();
            let lack =
                if missing.is_empty() { String::new() } else { format!(" lacks {missing:?} of {given:?}") };
            wrong.push(format!(
                "{text:60} wanted {expected}, got {verdict} {:.2} {offered:?}{lack}",
                view.confidence
            ));
        }
    }
    let right = count - wrong.len();
    println!(
        "ask corpus: {right} of {count} right, {with_slots} with parameters; {doubtful} of {asked} clear questions left open\n{}",
        wrong.join("\n")
    );
    assert!(
        count >= 1_450 && with_slots >= 600,
        "the corpus has {count} phrases, {with_slots} with parameters"
    );
    assert!(right * 100 >= count * 97, "{right} of {count}:\n{}", wrong.join("\n"));
    assert!(doubtful * 100 <= asked * 3, "{doubtful} of {asked} left open:\n{}", wrong.join("\n"));
}

/// What reached the calls of a view: `name=value` of each query, of each leaf of a body, of what is chosen from the answer
/// (`selected=…`), and of what is not used (`not_used=…`). Of options, what each has.
fn parameters(view: &AskView) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let calls = view.call.iter().chain(view.options.iter().map(|option| &option.call));
    for call in calls {
        found.push(format!("path={}", call.path.split('?').next().unwrap_or_default()));
        let query = call.path.split_once('?').map_or("", |(_, query)| query);
        found.extend(query.split('&').map(|pair| pair.replace("%2F", "/").replace("%3A", ":")));
        let mut leaves = Vec::new();
        collect_leaves(call.body.as_ref().unwrap_or(&Value::Null), String::new(), &mut leaves);
        for (path, value) in leaves {
            let name = path.rsplit('.').next().unwrap_or_default();
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            found.push(format!("{name}={value}"));
        }
    }
    found.extend(view.options.iter().map(|option| format!("option={}", option.intent)));
    found.extend(view.selected.iter().map(|selected| format!("selected={selected}")));
    found.extend(view.not_used.iter().map(|unused| format!("not_used={}", unused.word)));
    found
}

#[test]
fn a_pair_and_locks_are_asked_about_as_people_do() {
    for (text, intent, path) in [
        ("how did BTC/USDT do?", "performance", "/api/v1/performance?symbol=BTC%2FUSDT"),
        ("how did TSLA do", "performance", "/api/v1/performance?symbol=TSLA"),
        ("how did we do", "performance", "/api/v1/performance"),
        ("show locks", "breaker", "/api/v1/state?fields=circuit_breaker,no_entry_reasons,session,locks"),
        (
            "which pairs are locked",
            "breaker",
            "/api/v1/state?fields=circuit_breaker,no_entry_reasons,session,locks",
        ),
        ("what went wrong?", "errors", "/api/v1/errors"),
        ("what is wrong?", "errors", "/api/v1/errors"),
        ("how much money do I have?", "account", "/api/v1/state?fields=account,mode"),
    ] {
        let view = reading(text);
        assert_eq!(verdict(&view), intent, "{text}");
        assert_eq!(view.call.unwrap().path, path, "{text}");
    }
}

/// Combines parts of sentences into paraphrases that are not in the corpus.
#[test]
fn paraphrases_of_a_grammar_are_understood() {
    const GRAMMAR: &[(&str, &[&[&str]])] = &[
        (
            "summary",
            &[
                &["", "hey, ", "so "],
                &[
                    "how are things going",
                    "what is the status",
                    "give me a quick overview",
                    "how is the bot doing",
                ],
                &["", " right now", " please", "?"],
            ],
        ),
        (
            "positions",
            &[
                &["", "please ", "can you "],
                &["show", "list", "tell me", "display"],
                &[" our", " the", " all"],
                &[" open", " current", ""],
                &[" positions", " holdings"],
                &["", " now", " please"],
            ],
        ),
        (
            "orders",
            &[
                &["", "could you "],
                &["show", "list", "get"],
                &[" the", " all"],
                &[" pending", " open", " latest"],
                &[" orders"],
                &["", " for TSLA", " please"],
            ],
        ),
        (
            "performance",
            &[
                &["how much ", "what "],
                &["profit", "return", "loss"],
                &[" did we make", " did the bot make", " was there"],
                &[" last week", " yesterday", " this month", " in the last 3 days", " on monday"],
            ],
        ),
        (
            "errors",
            &[
                &["", "please ", "can you "],
                &["show", "list", "give me"],
                &[" the", " all", " any"],
                &[" recent", " latest", ""],
                &[" errors", " failures", " problems"],
                &["", " today", " of the last hour"],
            ],
        ),
        (
            "config_read",
            &[
                &["", "please "],
                &["show", "print", "what is"],
                &[" the", " our"],
                &[" current", ""],
                &[" config", " configuration", " settings"],
            ],
        ),
        (
            "config_rollback",
            &[
                &["", "please ", "can you "],
                &["undo", "revert", "roll back"],
                &[" the", " that"],
                &[" last", " latest"],
                &[" config change", " configuration change", " change of the settings"],
            ],
        ),
        (
            "config_set",
            &[
                &["", "please ", "can you "],
                &["set", "change", "raise", "lower"],
                &[" the", ""],
                &[" max position pct", " max_daily_loss_pct", " stop loss"],
                &[" to "],
                &["2", "4%", "1.5"],
            ],
        ),
        (
            "pause",
            &[
                &["", "please ", "can you ", "i want you to "],
                &["pause", "suspend"],
                &[" the bot", " trading", " it"],
                &["", " for now", " now"],
            ],
        ),
        (
            "resume",
            &[
                &["", "please ", "could you "],
                &["resume", "unpause", "continue"],
                &[" the bot", " trading"],
                &["", " now"],
            ],
        ),
        (
            "workflow_run",
            &[
                &["", "please ", "can you "],
                &[
                    "restart the bot",
                    "run the restart-bot workflow",
                    "execute export-logs",
                    "export the logs",
                    "bounce the bot",
                ],
                &["", " now", " please"],
            ],
        ),
        (
            "silence",
            &[
                &["", "please "],
                &["silence", "mute", "snooze"],
                &[" the", " all"],
                &[" alerts", " alarms"],
                &[" for 2 hours", " for 30 minutes", " for an hour"],
            ],
        ),
        (
            "why_no_trade",
            &[
                &["why is", "why was"],
                &[" the bot", " it"],
                &[" not trading", " not buying anything", " not opening positions"],
                &["", " today", " right now"],
            ],
        ),
        (
            "!",
            &[
                &["", "please ", "can you "],
                &["buy", "sell", "short"],
                &[" 10", " 100"],
                &[" AAPL", " shares of TSLA", " SPY"],
            ],
        ),
        (
            "!",
            &[
                &["show me ", "print ", "what is "],
                &["the api key", "our password", "the broker credentials", "the secret"],
            ],
        ),
    ];
    let (mut count, mut wrong) = (0, Vec::new());
    for (expected, slots) in GRAMMAR {
        let mut texts = vec![String::new()];
        for words in *slots {
            texts =
                texts.iter().flat_map(|head| words.iter().map(move |word| format!("{head}{word}"))).collect();
        }
        for text in texts {
            count += 1;
            let verdict = verdict(&reading(&text));
            if verdict != *expected {
                wrong.push(format!("{text:60} wanted {expected}, got {verdict}"));
            }
        }
    }
    let right = count - wrong.len();
    println!("ask paraphrases: {right} of {count} right");
    let shown: Vec<_> = wrong.iter().take(40).cloned().collect();
    assert!(right * 100 >= count * 97, "{right} of {count}:\n{}", shown.join("\n"));
}

/// One typing error in one long word.
#[test]
fn typing_slips_are_forgiven() {
    let mut wrong = Vec::new();
    for (expected, text) in [
        ("summary", "sumary please"),
        ("summary", "how are we dooing"),
        ("positions", "show postions"),
        ("positions", "lits our holdigns"),
        ("performance", "perfromance last week"),
        ("errors", "shwo recent erors"),
        ("workflows_list", "list wokflows"),
        ("config_read", "show the confguration"),
        ("pause", "puase the bot"),
        ("resume", "resmue trading"),
        ("workflow_run", "retsart the bot"),
        ("health", "is everything helthy"),
        ("account", "what is our buyng power"),
        ("breaker", "is the circiut breaker open"),
        ("metrics", "show metrcis"),
        ("alerts", "any alrets firing"),
        ("events", "recent evetns"),
        ("flatten", "flaten everything"),
        ("whoami", "what are my permisions"),
        ("config_rollback", "rolback the config"),
    ] {
        let verdict = verdict(&reading(text));
        if verdict != expected {
            wrong.push(format!("{text}: wanted {expected}, got {verdict}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// For every text of the corpus, `call` is a read, a dry run or a validation.
#[test]
fn no_text_comes_to_a_call_that_changes_something() {
    for line in CORPUS.lines().filter_map(|line| line.split_once('\t')) {
        let view = reading(line.1);
        let Some(call) = view.call else { continue };
        let is_harmless = call.method == "GET"
            || call.path.contains("dry_run=true")
            || call.path.ends_with("/config/validate");
        assert!(is_harmless, "{} comes to {} {}", line.1, call.method, call.path);
    }
}

#[test]
fn a_quote_in_the_text_cannot_leave_its_word_in_the_command() {
    let view = reading("pause the bot because it's o'clock");
    let command = view
        .command
        .or_else(|| view.options.first().map(|option| option.command.clone()))
        .unwrap_or_default();
    assert!(!command.contains("it's o'clock"), "{command}");
    assert_eq!(quoted("a'b"), r"'a'\''b'");
}

#[test]
fn symbols_are_read_whole_or_not_at_all() {
    let known =
        ["BTC/USDT", "BTC/USDT:USDT-261225", "ETH/USDT", "AAPL  251219C00150000", "kPEPE", "7203.T", "株式"];
    let context = AskContext { symbols: known.map(str::to_owned).into(), ..context() };
    let wednesday = NaiveDate::from_ymd_opt(2025, 11, 19).expect("it is a date");
    let symbols = |text: &str| ParsedText::parse(text, &context, wednesday).slots.symbols;
    for (text, expected) in [
        ("cancel the BTC/USDT:USDT-261225 orders", "BTC/USDT:USDT-261225"),
        ("how did btc/usdt perform?", "BTC/USDT"),
        // The one pair of a coin is meant by its name, of two neither.
        ("how did ETH do?", "ETH/USDT"),
        ("how did BTC do?", "BTC"),
        ("orders for aapl 251219c00150000, please", "AAPL  251219C00150000"),
        ("cancel the kpepe orders", "kPEPE"),
        ("how is 7203.T's profit", "7203.T"),
        ("profit of 株式 this week", "株式"),
        // Not held by the bot, so known by their form alone.
        ("profit of BTC/USDT:USDT-270326 this week", "BTC/USDT:USDT-270326"),
        ("orders for ^GSPC", "^GSPC"),
        ("performance of ES=F last week", "ES=F"),
        ("orders for \"MSFT  260116P00400000\"", "MSFT  260116P00400000"),
        ("how did TSLA perform", "TSLA"),
    ] {
        assert_eq!(symbols(text), [expected], "{text}");
    }
    for text in ["how did P&L do", "set max_position_pct to 4", "look at http://EXAMPLE.COM", "open 24/7?"] {
        assert!(symbols(text).is_empty(), "{text}: {:?}", symbols(text));
    }
    let view = understand("profit of btc/usdt this week", &context, wednesday, "127.0.0.1:8000");
    let path = view.call.expect("it is clear").path;
    assert!(path.ends_with("&symbol=BTC%2FUSDT"), "{path}");
}

#[test]
fn the_three_questions_of_every_day() {
    let view = reading("how are we doing");
    assert_eq!(view.call.map(|call| call.path).as_deref(), Some("/api/v1/summary"));
    let view = reading("why did it stop trading");
    assert!(view.call.is_some_and(|call| call.path.starts_with("/api/v1/state?fields=no_entry_reasons")));
    let view = reading("undo the last config change");
    let call = view.call.expect("it is clear");
    assert_eq!((call.method.as_str(), call.path.as_str()), ("PUT", "/api/v1/config/rollback?dry_run=true"));
    assert_eq!(call.body.expect("it has one")["to"], "previous");
    assert!(view.command.is_some_and(|command| command.contains("If-Match: \"v17-3fa9c1d2\"")));
}

/// What a change comes to is told in words: against its own verb, or outside of what the field takes.
#[test]
fn a_change_that_is_refused_or_goes_against_its_verb_says_so() {
    for (text, wanted) in [
        ("set stop loss to 50", "would be refused: it takes 0.1 to 20"),
        ("triple the max position size", "would be refused: it takes 100 to 10000"),
        ("set the daily loss limit to 200000 usd", "would be refused: it takes -100000 to -1"),
        ("set max positions to 3", "would be 3, which would be refused: it takes 100 to 10000"),
        ("set max_daily_loss_pct to 1000 dollars", "would be refused: it takes 0.1 to 10"),
        ("tighten the stop to 5", "which is more, and not less, than now"),
        ("raise the stop loss to 1", "which is less, and not more, than now"),
    ] {
        let view = reading(text);
        let told = view.note.iter().chain(view.options.iter().map(|option| &option.why));
        let told: Vec<&String> = told.collect();
        assert!(told.iter().any(|told| told.contains(wanted)), "{text}: {told:?}");
    }
}

/// A change that says not what of is asked back, and no change is offered that nobody spoke of.
#[test]
fn a_bare_pronoun_offers_no_change() {
    for text in ["reset it", "reset that please", "cancel it", "close it", "loosen it by half", "double that"]
    {
        let view = reading(text);
        assert!(view.intent.is_none() && !view.options.is_empty(), "{text}: {view:?}");
        assert!(view.options.iter().all(|option| option.call.method == "GET"), "{text}: {:?}", view.options);
    }
}

/// Each word of a few letters that is near one that can do harm, and is none.
#[test]
fn no_text_that_is_not_understood_offers_what_can_do_harm() {
    const HARMFUL: &[&str] =
        &["pause", "resume", "flatten", "shutdown", "cancel_orders", "workflow_cancel", "config_cancel"];
    for text in [
        "healt",
        "halth",
        "haelth",
        "heal",
        "the healt of it",
        "tighten",
        "tighten to 3",
        "tighten it by 2",
        "stoop",
        "hart",
        "hal",
        "stip",
        "cloze",
        "ext",
        "kiln",
        "shot",
        "pose",
        "paws",
        "turn it down",
        "turn the risk down to 1%",
        "what about 5",
        "42",
        "to 3",
    ] {
        let view = reading(text);
        let offered: Vec<&str> = view.options.iter().map(|option| option.intent.as_str()).collect();
        assert!(!offered.iter().any(|intent| HARMFUL.contains(intent)), "{text}: {offered:?}");
        assert!(!view.intent.as_deref().is_some_and(|intent| HARMFUL.contains(&intent)), "{text}: {view:?}");
    }
}

/// Phrases from outside, named by a variable of the environment: nothing that is built into the program.
#[cfg(test)]
mod trial {
    use super::*;

    /// Reads the phrases of the file that `BOTOPS_ASK_TRIAL` names (`phrase<TAB>meaning<TAB>slots`) and prints what each
    /// becomes, for a person to judge; CONTRIBUTING says how. Only the meaning is counted.
    #[test]
    #[ignore = "needs BOTOPS_ASK_TRIAL"]
    fn trial_of_phrases() {
        let path = std::env::var("BOTOPS_ASK_TRIAL").expect("BOTOPS_ASK_TRIAL names a file");
        let phrases = std::fs::read_to_string(&path).expect("the file can be read");
        let (mut count, mut right) = (0, 0);
        for line in phrases.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut parts = line.split('\t');
            let (text, expected) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let view = reading(text);
            let verdict = verdict(&view);
            let is_right = verdict == expected;
            count += 1;
            right += usize::from(is_right);
            println!("{} [{expected}] {text}", if is_right { "right" } else { "WRONG" });
            if !is_right {
                let offered: Vec<_> = view.options.iter().map(|option| option.intent.as_str()).collect();
                println!("      got {verdict} {:.2} {offered:?}", view.confidence);
                println!(
                    "      {} {}",
                    how_it_was_read(text),
                    view.refused.as_deref().map_or("", |why| why.get(..30).unwrap_or(why))
                );
            }
            println!("      wanted {}", parts.next().unwrap_or("-"));
            for call in view.call.iter().take(1) {
                let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
                println!("      {} {} {body}", call.method, call.path);
            }
            if !view.selected.is_empty() {
                println!("      selected {}", view.selected.join("; "));
            }
            for unused in &view.not_used {
                println!("      not used: {} ({})", unused.word, unused.why);
            }
            println!("      note: {}", view.note.as_deref().unwrap_or("-"));
            for option in &view.options {
                let body = option.call.body.as_ref().map(Value::to_string).unwrap_or_default();
                println!("      option: {} {} {body}: {}", option.intent, option.call.path, option.why);
            }
        }
        println!("trial: {right} of {count} right by meaning");
    }

    /// The words of a text with what each means and weighs, and the rules that fit best.
    fn how_it_was_read(text: &str) -> String {
        let wednesday = NaiveDate::from_ymd_opt(2025, 11, 19).expect("it is a date");
        let asked = ParsedText::parse(text, &context(), wednesday);
        let word = |word: &super::super::word::AskWord| {
            let what = word.slot.map_or_else(|| format!("{:?}", word.concepts), |slot| format!("<{slot:?}>"));
            format!("{}{what}{:.1}", word.raw, word.weight)
        };
        let words: Vec<String> = asked.words.iter().map(word).collect();
        let matches = super::super::scoring::match_intents(&asked).into_iter().take(4);
        let matches: Vec<String> =
            matches.map(|found| format!("{} {:.2}", found.rule.intent, found.score)).collect();
        let form = if asked.is_question { "question" } else { "order" };
        format!("{form}: {} => {}", words.join(" "), matches.join(", "))
    }
}
