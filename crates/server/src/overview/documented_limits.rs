//! Every number that decides a status or a warning of the state stands in `docs/your-own-bot.md`, with its value.

use std::path::Path;

use regex::Regex;
use rust_decimal::Decimal;

/// Files with constants that decide, below the sources of this crate.
const FILES: [&str; 9] = [
    "overview/bot_health.rs",
    "overview/moment.rs",
    "overview/plausibility.rs",
    "overview/warnings.rs",
    "overview/summary.rs",
    "overview/summary_limits.rs",
    "errors/undated.rs",
    "bots/presence.rs",
    "bots/snapshot.rs",
];

/// Constants with the row of the page that has their value.
const ROWS: [(&str, &str); 22] = [
    (
        "ROOM_FOR_IDS",
        "Tokens of a text of `not_green` from which on the id of the alert stands there at once",
    ),
    ("ROOM_FOR_ATTEMPTS", "Tokens of a text of an incident from which on what was tried stands there"),
    ("ROOMY_TEXT", "Tokens of a text of the summary from which on a reason stands in each place that has it"),
    ("NEXT_CALLS", "Calls in `next_actions` of the summary"),
    ("NEXT_CALLS_IN_SHORT", "Calls in `next_actions` of a summary that has little room"),
    ("ROOM_FOR_CALLS", "Tokens of a text of the summary from which on there is room for more calls"),
    ("MANY_ERRORS", "Failures within that time that make it degraded"),
    ("RECENT", "How long a failure is one of the present"),
    ("VERY_OLD", "Data is very old"),
    ("TOLERANCE", "Sums of a report may differ by this part of the larger one"),
    ("MOST_EXPOSURE", "Positions, leverage taken off, are worth at most this many times the account"),
    ("MOST_LEVERAGES", "Different leverages of positions with which that is calculated"),
    ("ABOVE_LIMIT", "A position is above `max_position_size_pct` from this many times the limit on"),
    ("FAILED_COMMAND", "How long a command that failed is told"),
    ("WHOLE_CODE", "A code of a failure is whole in the summary up to"),
    ("SUMMARY_MAX_BYTES", "The summary has fewer bytes than"),
    ("SUMMARY_MAX_TOKENS", "The summary has fewer o200k tokens than"),
    ("ON_TIME", "An answer is `slow`"),
    ("SILENCE", "A bot that accepts and does not answer is `hung`"),
    ("LOOP_LIMIT", "A loop without `expected_interval_s` stands still"),
    ("LOOP_SLACK", "A loop with it stands still this long after the interval"),
    ("CLOCKS_AGREE", "The bot's clock may be ahead by"),
];

/// The value as the page writes it.
fn shown(kind: &str, value: &str) -> Option<String> {
    let number = |of: &str| value.strip_prefix(of).and_then(|rest| rest.strip_suffix(')'));
    match kind {
        "Duration" => number("Duration::from_secs(").map(|seconds| format!("{seconds} s")),
        "TimeDelta" => number("TimeDelta::minutes(").map(|minutes| format!("{minutes} min")),
        "Decimal" => {
            let mut parts = number("Decimal::from_parts(")?.split(", ");
            let (digits, scale) = (parts.next()?.parse().ok()?, parts.last()?.parse().ok()?);
            Some(Decimal::new(digits, scale).to_string())
        }
        "usize" | "u32" => Some(value.replace('_', "")),
        _ => None,
    }
}

#[test]
fn the_page_has_every_limit_of_the_state_with_its_value() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("../../docs/your-own-bot.md")).unwrap();
    let declared = Regex::new(
        r"(?m)^(?:pub(?:\(super\))? )?const ([A-Z_]+): (Duration|TimeDelta|Decimal|usize|u32) = ([^;]+);",
    )
    .unwrap();
    let mut found = 0;
    for file in FILES {
        let text = std::fs::read_to_string(here.join("src").join(file)).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        for constant in declared.captures_iter(text) {
            let (name, value) = (&constant[1], shown(&constant[2], &constant[3]));
            let row = ROWS.iter().find(|(known, _)| *known == name);
            let (_, row) = row.unwrap_or_else(|| panic!("{name} in {file} stands on no row of the page"));
            let value = value.unwrap_or_else(|| panic!("{name} in {file} is written in another way"));
            let wanted = format!("| {row} | {value} | ");
            assert!(page.contains(&wanted), "docs/your-own-bot.md lacks `{wanted}` for {name} in {file}");
            found += 1;
        }
    }
    assert_eq!(found, ROWS.len(), "every row stands for a constant that is there");
}
