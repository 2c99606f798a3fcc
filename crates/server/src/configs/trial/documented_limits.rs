//! Every number that decides something in a trial stands in `docs/config.md`, with its value.

use std::collections::BTreeMap;
use std::path::Path;

/// Files with constants that decide, below the folder of the config.
const FILES: [&str; 11] = [
    "admission.rs",
    "api.rs",
    "bot_schema/known_schema.rs",
    "handle.rs",
    "current/current_config.rs",
    "transaction/criteria.rs",
    "transaction/rows.rs",
    "trial/live.rs",
    "trial/restart.rs",
    "versions/config_versions.rs",
    "versions/version_rows.rs",
];

/// Constants with the row of the page that has their value; `None` for what decides nothing in a trial.
const ROWS: [(&str, Option<&str>); 35] = [
    ("LONGEST_TRIAL", Some("Longest trial")),
    ("USUAL_TRIAL_S", Some("Length of a trial that names none")),
    // Sizes of pages.
    ("MOST_VERSIONS", None),
    ("RECORDS", None),
    // How far back the last refused change is looked for at the start.
    ("RECENT", None),
    ("QUEUE", Some("Changes that wait for their turn")),
    ("SCHEMA_RETRY", Some("What the bot brings is asked for again after")),
    ("FIRST_VERSION_RETRY", Some("A first version that could not be made is tried again after")),
    ("SILENT_SCHEMA_RETRY", Some("A bot that did not answer is asked for its schema again after")),
    ("FAULTY_SCHEMA_RETRY", Some("A bot whose schema cannot be used is asked for it again after")),
    ("REPORT_IN_FLIGHT", Some("A report counts from this long after the start on")),
    ("EXTRA_ERRORS", Some("Errors beyond twice the rate of the hour before")),
    ("EXTRA_REJECTS", Some("Refused orders beyond twice the rate of the hour before")),
    ("MISSED_POLLS", Some("Heartbeat: the last answer at most this old")),
    ("OLDEST", Some("Heartbeat: silence shorter than this never counts")),
    ("SAMPLES_NEEDED", Some("Good reports in a row for it")),
    ("STRIKES", Some("Session: degraded reports in a row that end it")),
    ("TOO_LATE", Some("A confirmation needs at least this much time")),
    ("BOT_GRACE", Some("The bot's own timer runs longer by")),
    ("RETRY", Some("A bot that does not answer, or refuses, is asked again first after")),
    ("SILENCE_WAIT", Some("The longest wait for one that does not answer")),
    ("REFUSAL_WAIT", Some("The longest wait for one that refuses")),
    ("RECORD_WAIT", Some("An undo waits for its record at most")),
    ("RECORD_AGAIN", Some("What could not be recorded is recorded again after")),
    ("TICK", Some("A trial is looked at at least every")),
    ("NEEDS_PERSON_AFTER", Some("Silence after the bot's own timer until a person is needed")),
    ("REFUSALS_END", Some("Refusals after the bot's own timer until a person is needed")),
    ("BOOT_LIMIT", Some("With `boot_once`: time to end, start and answer")),
    ("START_PAUSE", Some("With `boot_once`: pause before it is started once more")),
    ("DRAIN", Some("With `boot_once`: time to end when asked to")),
    ("GRACE", Some("With `boot_once`: time to end when told to")),
    ("SIGN_IN", Some("With `boot_once`: time for its session to be as before")),
    ("KEEP", Some("Versions kept whatever their age")),
    ("KEEP_MS", Some("Versions kept beyond that")),
    ("CRASH_MS", Some("A document that the bot died over is refused for")),
];

/// The numeric constants of a file, as the page writes their values.
fn constants(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in text.lines().map(str::trim_start) {
        let line = line
            .split_once(')')
            .filter(|_| line.starts_with("pub("))
            .map_or(line, |(_, rest)| rest.trim_start());
        let Some((name, rest)) = line.strip_prefix("const ").and_then(|rest| rest.split_once(": ")) else {
            continue;
        };
        let Some((kind, value)) = rest.split_once(" = ") else { continue };
        let value = value.trim_end_matches(';');
        let seconds =
            |of: &str| value.strip_prefix(of).and_then(|rest| rest.strip_suffix(')')).map(str::to_owned);
        let shown = match kind {
            "Duration" => {
                let whole = seconds("Duration::from_secs(").map(|number| format!("{number} s"));
                let part = seconds("Duration::from_millis(")
                    .map(|number| format!("{} s", number.parse::<f64>().unwrap() / 1_000.0));
                whole.or(part).unwrap_or_else(|| panic!("{name} is written in another way"))
            }
            "f64" => format!("{} s", value.parse::<f64>().unwrap()),
            "i64" => {
                let hours = value.strip_suffix(" * 3_600 * 1_000").unwrap_or_else(|| panic!("{name}"));
                hours.strip_suffix(" * 24").map_or_else(|| format!("{hours} h"), |days| format!("{days} d"))
            }
            "u32" | "u64" | "usize" => value.replace('_', ""),
            _ => continue,
        };
        found.insert(name.to_owned(), shown);
    }
    found
}

#[test]
fn the_page_has_every_limit_of_a_trial_with_its_value() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(here.join("../../docs/config.md")).unwrap();
    let mut rows = 0;
    for file in FILES {
        let text = std::fs::read_to_string(here.join("src/configs").join(file)).unwrap();
        for (name, value) in constants(&text) {
            let row = ROWS.iter().find(|(known, _)| *known == name);
            let (_, row) =
                row.unwrap_or_else(|| panic!("{name} in {file} stands on no row of docs/config.md"));
            let Some(row) = row else { continue };
            let unit = if name == "MISSED_POLLS" { " polls" } else { "" };
            let wanted = format!("| {row} | {value}{unit} | ");
            assert!(page.contains(&wanted), "docs/config.md lacks `{wanted}` for {name} in {file}");
            rows += 1;
        }
    }
    let expected = ROWS.iter().filter(|(_, row)| row.is_some()).count();
    assert_eq!(rows, expected, "every row stands for a constant that is there");
}
