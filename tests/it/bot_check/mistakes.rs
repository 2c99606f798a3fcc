//! Bots that are wrong on purpose: every mistake is named, with its field and what to do about it.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::stub_bot::{self, StubBot, StubReply, StubRequest, hello, json_reply, state, with};
use super::{check, run};

/// A mistake: its name, what the bot answers, the rules that name it.
struct Mistake {
    name: &'static str,
    wrong: fn(&StubRequest) -> Option<StubReply>,
    faults: &'static [&'static str],
    warnings: &'static [&'static str],
}

fn state_with(request: &StubRequest, changes: Value) -> Option<StubReply> {
    (request.call == "GET state").then(|| json_reply(&with(state(), changes)))
}

fn hello_with(request: &StubRequest, changes: Value) -> Option<StubReply> {
    (request.call == "GET hello").then(|| json_reply(&with(hello(), changes)))
}

/// A hello that offers this, or what the call is answered with.
fn offers(request: &StubRequest, capability: &str, reply: impl FnOnce() -> StubReply) -> Option<StubReply> {
    let family = if capability == "pause" { "commands" } else { capability };
    let is_it = request.call.split_ascii_whitespace().nth(1).is_some_and(|path| path.starts_with(family));
    if is_it { Some(reply()) } else { hello_with(request, json!({"capabilities": [capability]})) }
}

fn event(seq: u64) -> String {
    format!(
        "id: e/{seq}\ndata: {{\"seq\": {seq}, \"boot_epoch\": \"e\", \"kind\": \"fill\", \"message\": \"m\"}}\n\n"
    )
}

fn trade(seq: u64) -> Value {
    json!({"seq": seq, "symbol": "SPY", "closed_at": "2026-03-02T15:00:00Z"})
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "a time without a zone",
        wrong: |request| {
            state_with(
                request,
                json!({"as_of": "2026-03-02T15:00:00", "last_trade_at": "2026-03-02 15:00:00"}),
            )
        },
        faults: &["naive_time", "naive_time"],
        warnings: &[],
    },
    Mistake {
        name: "members of the core that are missing",
        wrong: |request| match request.call.as_str() {
            "GET hello" => Some(json_reply(&json!({"bot_id": "stub"}))),
            "GET state" => {
                Some(json_reply(&json!({"seq": chrono::Utc::now().timestamp_millis(), "mode": "paper"})))
            }
            _ => None,
        },
        // What is not said in `hello` cannot agree with the state.
        faults: &["missing_member"; 5],
        warnings: &[],
    },
    Mistake {
        name: "amounts with a currency sign, and a symbol that is none",
        wrong: |request| {
            let position = json!({"symbol": {"name": "SPY"}, "quantity": "1,000"});
            state_with(request, json!({"account": {"account_balance": "$5"}, "positions": [position]}))
        },
        faults: &["amount_form", "amount_form", "wrong_form"],
        warnings: &[],
    },
    Mistake {
        name: "NaN in the answer",
        wrong: |request| {
            let text = with(state(), json!({"account": {"account_balance": "none at all"}}))
                .to_string()
                .replace("\"none at all\"", "NaN");
            (request.call == "GET state").then_some(StubReply::Answer(200, "", text))
        },
        faults: &["not_a_number"],
        warnings: &[],
    },
    Mistake {
        name: "words of its own, misspelt members and capabilities",
        wrong: |request| {
            let changes = json!({"phase": "warming-up", "no_entry_reason": ["paused"]});
            state_with(request, changes)
                .or_else(|| hello_with(request, json!({"capabilities": ["cancel_orders"]})))
        },
        faults: &[],
        warnings: &["word_in_no_list", "member_misspelt", "capability_misspelt"],
    },
    Mistake {
        name: "a mode that says nothing of money",
        wrong: |request| hello_with(request, json!({"mode": "demo"})),
        faults: &["mode_unknown"],
        warnings: &[],
    },
    Mistake {
        name: "a mode that differs",
        wrong: |request| hello_with(request, json!({"mode": "live"})),
        faults: &["mode_differs"],
        warnings: &[],
    },
    Mistake {
        name: "a boot epoch for each answer",
        wrong: |request| {
            static STARTS: AtomicU64 = AtomicU64::new(0);
            let epoch = STARTS.fetch_add(1, Ordering::Relaxed).to_string();
            hello_with(request, json!({"boot_epoch": epoch}))
        },
        faults: &["boot_epoch_differs", "boot_epoch_moves"],
        warnings: &[],
    },
    Mistake {
        name: "times that cannot be",
        wrong: |request| state_with(request, json!({"as_of": "2199-01-01T00:00:00Z"})),
        faults: &["as_of_in_future"],
        warnings: &["as_of_stands_still"],
    },
    Mistake {
        name: "data of long ago, of a loop that stands still",
        wrong: |request| {
            let (then, tick) = ("2020-01-01T00:00:00Z", json!({"last_tick_at": "2020-01-01T00:00:00Z"}));
            state_with(request, json!({"as_of": then, "loop": tick}))
        },
        faults: &["as_of_stale"],
        warnings: &["as_of_stands_still", "loop_stands_still"],
    },
    Mistake {
        name: "a number of changes that goes back",
        wrong: |request| {
            static LEFT: AtomicU64 = AtomicU64::new(1_000);
            state_with(request, json!({"seq": LEFT.fetch_sub(1, Ordering::Relaxed)}))
        },
        faults: &["seq_goes_back"],
        warnings: &[],
    },
    Mistake {
        name: "changes without a number",
        wrong: |request| {
            static TURN: AtomicU64 = AtomicU64::new(0);
            let is_odd = TURN.fetch_add(1, Ordering::Relaxed) % 2 == 1;
            state_with(request, json!({"seq": 7, "trading_enabled": is_odd}))
        },
        faults: &["seq_stands_still"],
        warnings: &[],
    },
    Mistake {
        name: "304 to everything that has an ETag",
        wrong: |request| {
            let has_tag = request.headers.contains_key("if-none-match");
            let body = if has_tag { String::new() } else { state().to_string() };
            let status = if has_tag { 304 } else { 200 };
            (request.call == "GET state").then_some(StubReply::Answer(status, "ETag: \"always\"\r\n", body))
        },
        faults: &["always_304", "etag_stands_still"],
        warnings: &[],
    },
    Mistake {
        name: "an exception in the state",
        wrong: |request| {
            (request.call == "GET state").then(|| StubReply::Answer(500, "", "Traceback …".to_owned()))
        },
        faults: &["raises"],
        warnings: &[],
    },
    Mistake {
        name: "a connection that closes in the state",
        wrong: |request| (request.call == "GET state").then_some(StubReply::HangUp),
        faults: &["cut"],
        warnings: &[],
    },
    Mistake {
        name: "a state of 20 MB",
        wrong: |request| {
            let text = format!("{{\"seq\": 1, \"x\": \"{}\"}}", "x".repeat(20_000_000));
            (request.call == "GET state").then_some(StubReply::Answer(200, "", text))
        },
        faults: &["too_large"],
        warnings: &[],
    },
    Mistake {
        name: "events that are a list",
        wrong: |request| {
            offers(request, "events", || {
                StubReply::Answer(200, "Content-Type: application/json\r\n", "[]".to_owned())
            })
        },
        faults: &["not_sse"],
        warnings: &[],
    },
    Mistake {
        name: "a stream that ends, with an event that cannot be read",
        wrong: |request| {
            let stream = || "data: {\"kind\": \"fill\"}\n\ndata: nothing\n\n".to_owned();
            offers(request, "events", || {
                StubReply::Answer(200, "Content-Type: text/event-stream\r\n", stream())
            })
        },
        faults: &["missing_member", "not_readable", "stream_ends"],
        warnings: &[],
    },
    Mistake {
        name: "a stream that begins anew at each connection",
        wrong: |request| offers(request, "events", || StubReply::Stream([event(1), event(2)].concat())),
        faults: &["resume_ignored"],
        warnings: &[],
    },
    Mistake {
        name: "trades without a cursor, newest first",
        wrong: |request| {
            offers(request, "trades", || {
                json_reply(&json!({"items": [trade(3), trade(2), trade(1)], "next": null}))
            })
        },
        faults: &["after_ignored", "trade_order"],
        warnings: &[],
    },
    Mistake {
        name: "trades without a number, or without a list",
        wrong: |request| {
            offers(request, "trades", || {
                if request.query.contains("after=0") {
                    json_reply(&json!({"items": [trade(1), {"symbol": "SPY"}]}))
                } else {
                    json_reply(&json!([]))
                }
            })
        },
        faults: &["missing_member", "not_readable"],
        warnings: &[],
    },
    Mistake {
        name: "a capability that is not served",
        wrong: |request| hello_with(request, json!({"capabilities": ["trades", "config"]})),
        faults: &["not_served", "not_served"],
        warnings: &[],
    },
    Mistake {
        name: "a config without its hash",
        wrong: |request| {
            let version = json!({"version": 1, "sha256": "abc"});
            let config = json!({"boot_epoch": "e", "running": version, "committed": version});
            offers(request, "config", || json_reply(&config))
        },
        faults: &["sha256_form", "sha256_form"],
        warnings: &[],
    },
    Mistake {
        name: "verbs that nobody has",
        wrong: |request| {
            let done = json!({"command_id": request.body["command_id"], "outcome": "done"});
            offers(request, "pause", || json_reply(&done))
        },
        faults: &["takes_any_verb"],
        warnings: &[],
    },
    Mistake {
        name: "an exception at a verb that nobody has",
        wrong: |request| offers(request, "pause", || StubReply::Answer(500, "", "KeyError".to_owned())),
        faults: &["raises"],
        warnings: &[],
    },
    Mistake {
        name: "a refusal in no form",
        wrong: |request| offers(request, "pause", || StubReply::Answer(404, "", "<html>".to_owned())),
        faults: &["refusal_form"],
        warnings: &[],
    },
    Mistake {
        name: "what an SDK was given and could not tell as it was",
        wrong: |request| {
            let problem = |code: &str, place: &str| {
                json!({"error_code": code, "severity": "medium", "message": format!("{place}: it cannot be told"),
                    "impact": "this part of the state is null", "remediation": "Correct the call in the bot.",
                    "context": {"where": place}})
            };
            let told = [
                problem("SDK_BAD_VALUE", "account.account_balance"),
                problem("SDK_BAD_VALUE", "orders.limit_price"),
                problem("SDK_NAIVE_TIME", "orders.created_at"),
                problem("SDK_SOMETHING_NEW", "events"),
                problem("EXC_001", "an error of the bot itself is no finding"),
            ];
            state_with(request, json!({"recent_errors": told}))
        },
        faults: &[],
        warnings: &["sdk_bad_value", "sdk_bad_value", "sdk_naive_time", "sdk_problem"],
    },
    Mistake {
        name: "a percentage for a ratio",
        wrong: |request| state_with(request, json!({"performance": {"win_rate": 55}})),
        faults: &["ratio_range"],
        warnings: &[],
    },
];

#[test]
fn every_mistake_is_named() {
    let run_one = |mistake: &'static Mistake| {
        let bot = StubBot::start(mistake.wrong);
        let checked = check(&bot.socket(), &[]);
        let sorted = |weight: &str| {
            let mut rules: Vec<String> = checked.rules(weight).into_iter().map(str::to_owned).collect();
            rules.sort_unstable();
            rules
        };
        let expected = |rules: &[&str]| {
            let mut rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
            rules.sort_unstable();
            rules
        };
        let is_named = sorted("fault") == expected(mistake.faults)
            && sorted("warning") == expected(mistake.warnings)
            && checked.code == i32::from(!mistake.faults.is_empty());
        let findings = checked.report["findings"].as_array().cloned().unwrap_or_default();
        let is_told = findings.iter().all(|finding| {
            let says = |member: &str| finding[member].as_str().is_some_and(|text| !text.is_empty());
            says("call") && says("remedy") && says("manual")
        });
        (!is_named || !is_told).then(|| format!("{}: exit {}, {findings:#?}", mistake.name, checked.code))
    };
    let threads: Vec<_> =
        MISTAKES.iter().map(|mistake| std::thread::spawn(move || run_one(mistake))).collect();
    let wrong: Vec<String> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_finding_names_the_field_what_came_and_what_to_do() {
    let bot = StubBot::start(|request| state_with(request, json!({"as_of": "2026-03-02T15:00:00"})));
    let output = run(&bot.socket(), &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    for said in [
        "FAULT    GET state /as_of  [naive_time]",
        "got \"2026-03-02T15:00:00\", expected",
        "datetime.now(timezone.utc).isoformat()",
        "docs/your-own-bot.md#state",
        "1 fault, 0 warnings, 0 hints",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn a_server_of_one_thread_is_told_that_its_stream_blocks_the_state() {
    let streams = AtomicU64::new(0);
    let bot = StubBot::start(move |request| match request.call.as_str() {
        "GET events" => {
            streams.fetch_add(1, Ordering::Relaxed);
            Some(StubReply::Stream(event(1)))
        }
        "GET hello" => hello_with(request, json!({"capabilities": ["events"]})),
        // While the stream is open, nobody else is served.
        "GET state" if streams.load(Ordering::Relaxed) > 0 => Some(StubReply::Hang),
        _ => None,
    });
    let checked = check(&bot.socket(), &[]);
    assert_eq!(checked.code, 1);
    assert!(checked.finding("blocked_by_stream")["remedy"].as_str().unwrap().contains("thread"));
}

#[test]
fn a_bot_that_ends_meanwhile_is_asked_no_more() {
    let answers = AtomicU64::new(0);
    let socket = std::sync::Arc::new(std::sync::OnceLock::<std::path::PathBuf>::new());
    let known = socket.clone();
    let bot = StubBot::start(move |request| match request.call.as_str() {
        "GET hello" => hello_with(request, json!({"capabilities": ["trades", "config", "pause"]})),
        "GET state" if answers.fetch_add(1, Ordering::Relaxed) > 0 => {
            let _ = std::fs::remove_file(known.get()?);
            Some(StubReply::HangUp)
        }
        _ => None,
    });
    socket.set(bot.socket()).unwrap();
    let checked = check(&bot.socket(), &[]);
    assert_eq!(
        (checked.code, checked.rules("fault")),
        (1, vec!["cut", "refuses_connections"]),
        "{:#}",
        checked.report
    );
    let asked = bot.asked();
    assert!(asked.iter().all(|call| matches!(call.as_str(), "GET hello" | "GET state")), "{asked:?}");
}

#[test]
fn who_else_could_give_commands_is_told() {
    let bot = StubBot::start(|_| None);
    let chmod = |mode: u32, socket: u32| {
        std::fs::set_permissions(bot.folder(), std::fs::Permissions::from_mode(mode)).unwrap();
        std::fs::set_permissions(bot.socket(), std::fs::Permissions::from_mode(socket)).unwrap();
    };
    for (folder, socket, weight, rule) in [
        (0o755, 0o777, "fault", "open_to_others"),
        (0o750, 0o770, "warning", "open_to_group"),
        (0o755, 0o755, "hint", "folder_open"),
    ] {
        chmod(folder, socket);
        let checked = check(&bot.socket(), &[]);
        assert_eq!(checked.rules(weight), [rule], "{:#}", checked.report);
        assert_eq!(checked.finding(rule)["call"], "socket");
    }
    chmod(0o700, 0o755);
    let checked = check(&bot.socket(), &[]);
    assert_eq!(
        (checked.code, checked.report["findings"].as_array().unwrap().len()),
        (0, 0),
        "{:#}",
        checked.report
    );
    assert!(stub_bot::hello()["bot_id"] == checked.report["bot"]["bot_id"]);
}
