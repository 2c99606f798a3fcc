//! Every limit of the link to a bot stands in `docs/health.md` with its value, and nothing stands there that is none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const BOTS: &str = "crates/server/src/bots";

/// The files of the link, tests left out.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        // A check of a bot is one run for a person; what it allows belongs to no link.
        if path.ends_with("conformance") {
            continue;
        }
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The code of a file up to its tests.
fn code_of(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

/// A count as it is written in code: `512 * 1024`, `4_000`.
fn count(text: &str) -> Option<u64> {
    text.split('*').map(|factor| factor.trim().replace('_', "").parse::<u64>().ok()).product()
}

/// Value and unit of a constant that limits something; `None` for a constant of another kind.
fn limit(kind: &str, value: &str) -> Option<(String, &'static str)> {
    let inside = |call: &str| value.strip_prefix(call)?.strip_prefix('(')?.strip_suffix(')').and_then(count);
    match kind {
        "Duration" => {
            let seconds = inside("Duration::from_secs").map(|seconds| (seconds, "s"));
            let (number, unit) = seconds.or(inside("Duration::from_millis").map(|number| (number, "ms")))?;
            Some((number.to_string(), unit))
        }
        "TimeDelta" => {
            let hours = inside("TimeDelta::hours").map(|hours| hours * 3600);
            Some((inside("TimeDelta::seconds").or(hours)?.to_string(), "s"))
        }
        "usize" => Some((count(value)?.to_string(), "")),
        "std::ops::RangeInclusive<usize>" => Some((value.replace("..=", " to "), "")),
        _ => None,
    }
}

/// The limits in the code: `presence.SILENCE`, with value and unit.
fn in_code() -> BTreeMap<String, (String, &'static str)> {
    let (mut files, mut limits) = (Vec::new(), BTreeMap::new());
    sources(Path::new(BOTS), &mut files);
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        for line in code_of(&file).lines() {
            let Some((_, rest)) =
                line.split_once("const ").filter(|(before, _)| !before.starts_with([' ', '/']))
            else {
                continue;
            };
            let Some((name, rest)) = rest.split_once(": ") else { continue };
            let Some((kind, value)) = rest.trim_end_matches(';').split_once(" = ") else { continue };
            let is_number =
                matches!(kind, "Duration" | "TimeDelta" | "usize") || kind.contains("RangeInclusive");
            let found = limit(kind, value);
            assert!(found.is_some() || !is_number, "{stem}.{name}: this test does not read `{value}`");
            limits.extend(found.map(|found| (format!("{stem}.{name}"), found)));
        }
    }
    limits
}

/// The rows of the table: name, then value, unit and what it decides.
fn in_document() -> BTreeMap<String, Vec<String>> {
    let page = std::fs::read_to_string("docs/health.md").unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Limits of the link to a bot\n"));
    let rows = section.expect("the section is there").lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<String> =
            row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        (cells[0].clone(), cells[1..].to_vec())
    })
    .collect()
}

#[test]
fn the_limits_of_the_link_are_those_that_are_documented() {
    let (code, document) = (in_code(), in_document());
    assert!(code.len() > 40, "{} limits are found", code.len());
    let mut wrong = Vec::new();
    for (name, (value, unit)) in &code {
        let Some(row) = document.get(name) else {
            wrong.push(format!("missing: | `{name}` | {value} | {unit} | … |"));
            continue;
        };
        // A count says in words what it counts.
        let is_same = row[0] == *value && (unit.is_empty() || row[1] == *unit) && !row[1].is_empty();
        if !is_same || row[2].is_empty() {
            wrong.push(format!("{name} is {value} {unit}, and the table says {row:?}"));
        }
    }
    wrong.extend(
        document.keys().filter(|name| !code.contains_key(*name)).map(|name| format!("{name} is no limit")),
    );
    assert!(wrong.is_empty(), "docs/health.md, Limits of the link to a bot:\n{}", wrong.join("\n"));
}

#[test]
fn no_limit_of_the_link_stands_without_a_name() {
    let mut files = Vec::new();
    sources(Path::new(BOTS), &mut files);
    for file in files {
        for line in code_of(&file)
            .lines()
            .filter(|line| !line.contains("const ") && !line.trim_start().starts_with("//"))
        {
            for nameless in
                ["Duration::from_secs(", "Duration::from_millis(", "TimeDelta::seconds(", "TimeDelta::hours("]
            {
                let argument = line.split_once(nameless).and_then(|(_, rest)| rest.chars().next());
                assert!(!argument.is_some_and(|first| first.is_ascii_digit()), "{}: {line}", file.display());
            }
        }
    }
}
