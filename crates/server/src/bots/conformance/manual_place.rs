//! Where the manual says more about a finding.

/// Every place that a finding names; a test holds that each is a heading of that page.
pub const MANUAL_PLACES: [&str; 9] =
    [HELLO, STATE, COMMANDS, EVENTS, TRADES, CONFIG, SOCKETS, DEADLINES, "docs/your-own-bot.md#the-calls"];

const HELLO: &str = "docs/your-own-bot.md#hello";
const STATE: &str = "docs/your-own-bot.md#state";
const COMMANDS: &str = "docs/your-own-bot.md#commands";
const EVENTS: &str = "docs/your-own-bot.md#events";
const TRADES: &str = "docs/your-own-bot.md#trades";
const CONFIG: &str = "docs/your-own-bot.md#config";
const SOCKETS: &str = "docs/your-own-bot.md#sockets-and-rights";
const DEADLINES: &str = "docs/your-own-bot.md#how-often-it-is-asked-and-how-fast-it-must-answer";

/// Rules about the time and the size of an answer, whatever the call is.
const ABOUT_DEADLINES: [&str; 8] =
    ["slow", "hung", "cut", "too_large", "large", "blocked_by_stream", "verb_hangs", "refuses_connections"];

/// The place for a finding about this call.
pub(super) fn manual_place(call: &str, rule: &str) -> &'static str {
    if ABOUT_DEADLINES.contains(&rule) {
        return DEADLINES;
    }
    let path = call.split_ascii_whitespace().next_back().unwrap_or_default();
    let first = path.split(['/', '?']).next().unwrap_or_default();
    match first {
        "hello" => HELLO,
        "state" => STATE,
        "commands" => COMMANDS,
        "events" => EVENTS,
        "trades" => TRADES,
        "config" => CONFIG,
        "socket" => SOCKETS,
        _ => MANUAL_PLACES[8],
    }
}
