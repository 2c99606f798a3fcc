//! The house itself: which way imports point, and who may spawn or read the environment.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Every module by floor. A module uses floors below its own, never its own floor's neighbours.
const FLOORS: &[&[&str]] = &[
    &["text", "redact", "env_file", "kill"],
    &["contract"],
    &["error"],
    &["tasks", "telemetry", "signals"],
    &["web"],
    &["store"],
    &["events"],
    &["operations_log"],
    &["bots"],
    &["health", "configs", "performance", "errors"],
    &["workflows"],
    &["overview"],
    &["whoami", "healthz"],
    &["settings"],
    &["ops"],
    &["manual"],
    &["mcp", "ask"],
    &["routes"],
    &["app"],
    &["process"],
    &["demo"],
    &["cli"],
];

/// What the lowest crate holds, and the one above it; the third has the rest.
const GROUND: &[&str] =
    &["text", "redact", "env_file", "kill", "contract", "error", "tasks", "telemetry", "signals", "web"];
const FEATURES: &[&str] = &[
    "store",
    "events",
    "operations_log",
    "bots",
    "health",
    "configs",
    "performance",
    "workflows",
    "overview",
];

/// The trading process stands beside the house: of the house it shares the vocabulary and nothing that serves.
const PAPERBOT_USES: &[&str] =
    &["contract", "error", "tasks", "telemetry", "signals", "text", "redact", "env_file", "kill"];

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// Where the sources of the crates are.
const PARTS: &[&str] = &["src", "features/src", "ground/src", "paperbot/src"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    for part in PARTS {
        walk(&root().join(part), &mut found);
    }
    found
}

/// The module a file belongs to: its folder or its own name below `src`; `paperbot` is a crate and one module here.
fn module_of(path: &Path) -> String {
    let inside = path.strip_prefix(root()).unwrap();
    if inside.starts_with("paperbot") {
        return "paperbot".to_owned();
    }
    let below = PARTS.iter().find_map(|part| inside.strip_prefix(part).ok()).unwrap();
    let first = below.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.strip_suffix(".rs").unwrap_or(&first).to_owned()
}

/// Every name used of a crate in a file (`crate::name`), the ones inside `use crate::{a, b::c}` included. Comments do
/// not count.
fn uses(text: &str, of: &str) -> Vec<String> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices(of) {
        let rest = &code[at + of.len()..];
        let word =
            |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        let Some(group) = rest.strip_prefix('{') else {
            found.push(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut start = true;
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && depth == 0 && !c.is_whitespace() => {
                    found.push(word(&group[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        if matches!(module.as_str(), "lib" | "main" | "bin" | "paperbot") {
            continue;
        }
        for used in uses(&text, "crate::").into_iter().filter(|used| *used != module) {
            let allowed = match (floor(&module), floor(&used)) {
                (_, None) if used == "paperbot" => module == "cli",
                (Some(own), Some(other)) => other < own,
                (None, _) => panic!("{module} stands on no floor: give it one"),
                // Not a module: a macro or a test helper of the crate.
                (_, None) => true,
            };
            if !allowed {
                wrong.push(format!("{} uses crate::{used}", path.display()));
            }
        }
        for other in ["botops_ground::", "botops_features::", "botops_paperbot::"] {
            if !uses(&text, other).is_empty() {
                wrong.push(format!("{} passes by the names of lib.rs: {other}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn paperbot_shares_nothing_that_serves() {
    let files = sources().into_iter().filter(|(path, _)| module_of(path) == "paperbot");
    let used: BTreeSet<String> = files.flat_map(|(_, text)| uses(&text, "botops_ground::")).collect();
    let foreign: Vec<_> = used.iter().filter(|used| !PAPERBOT_USES.contains(&used.as_str())).collect();
    assert!(used.contains("contract") && foreign.is_empty(), "{foreign:?}");
}

#[test]
fn only_tasks_spawns_and_only_settings_reads_the_environment() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let spawns = line.contains("tokio::spawn(") || line.contains("tokio::task::spawn(");
            let reads =
                line.contains("env::var(") || line.contains("env::vars") || line.contains("env::var_os(");
            let own_environment = matches!(module.as_str(), "settings" | "paperbot" | "kill");
            if (spawns && module != "tasks") || (reads && !own_environment) {
                wrong.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The map readers start from shows the floors as they are tested here.
#[test]
fn the_map_shows_every_floor_in_order() {
    let source = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(1);
    let shown: Vec<&str> = rows
        .filter_map(|row| row.split(" | ").next())
        .flat_map(|names| names.split(", "))
        .map(|name| name.trim_matches(['[', ']', '`']))
        .collect();
    assert_eq!(shown, FLOORS.concat());
    let (ground, above) = shown.split_at(GROUND.len());
    assert_eq!((ground, &above[..FEATURES.len()]), (GROUND, FEATURES));
}
