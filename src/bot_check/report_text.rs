//! A report of a conformance run, for people.

use botops_server::bots::conformance::{
    CallStanding, CheckedBot, ConformanceFinding, ConformanceReport, FindingWeight,
};

/// Gains that are shown; `--json` has all of them.
const MOST_GAINS: usize = 6;

/// The whole report.
pub(super) fn report_text(report: &ConformanceReport) -> String {
    let mut lines = vec![headline(report), String::new()];
    for call in &report.calls {
        let standing = match call.standing {
            CallStanding::Served => "served",
            CallStanding::Faulty => "faulty",
            CallStanding::NotOffered => "not offered",
            CallStanding::NotTried => "not tried",
        };
        lines.push(format!("  {standing:<11}  {:<26}  {}", call.call, call.note).trim_end().to_owned());
    }
    for finding in &report.findings {
        lines.push(String::new());
        lines.push(finding_text(finding));
    }
    if !report.gains.is_empty() {
        lines.push(String::new());
        lines.push("It could offer next:".to_owned());
        for gain in report.gains.iter().take(MOST_GAINS) {
            lines.push(format!("  {:<26}  {}", gain.add, gain.gives));
        }
        let rest = report.gains.len().saturating_sub(MOST_GAINS);
        if rest > 0 {
            lines.push(format!("  and {rest} more: --json"));
        }
    }
    lines.push(String::new());
    lines.push(verdict(report));
    lines.join("\n")
}

/// One finding, with what to do about it.
pub(super) fn finding_text(finding: &ConformanceFinding) -> String {
    let weight = finding.weight.as_str().to_uppercase();
    let more = if finding.more > 0 { format!(", and {} more", finding.more) } else { String::new() };
    let place = format!("{} {}", finding.call, finding.pointer);
    let mut lines = vec![format!("{weight:<7}  {}{more}  [{}]", place.trim_end(), finding.rule)];
    match (finding.got.as_str(), finding.expected.as_str()) {
        ("", "") => {}
        (got, "") => lines.push(format!("got {got}")),
        ("", expected) => lines.push(format!("expected {expected}")),
        (got, expected) => lines.push(format!("got {got}, expected {expected}")),
    }
    lines.push(finding.remedy.clone());
    if !finding.command.is_empty() {
        lines.push(finding.command.clone());
    }
    lines.push(finding.manual.to_owned());
    lines.join("\n         ")
}

/// One line that says how it is.
pub(super) fn verdict(report: &ConformanceReport) -> String {
    let counted = |weight: FindingWeight| {
        let count = report.count(weight);
        let plural = if count == 1 { "" } else { "s" };
        format!("{count} {}{plural}", weight.as_str())
    };
    let counts = [FindingWeight::Fault, FindingWeight::Warning, FindingWeight::Hint].map(counted).join(", ");
    if report.passed {
        format!("{counts}. botops can stand beside this bot.")
    } else {
        format!("{counts}. What is a fault is missing or wrong in botops until it is mended.")
    }
}

fn headline(report: &ConformanceReport) -> String {
    let Some(bot) = &report.bot else {
        return format!("The bot on {} does not say who it is", report.address);
    };
    let CheckedBot { bot_id, version, mode, contract, adapter, process } = bot;
    let version = version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    let contract =
        contract.map_or_else(|| "no contract named".to_owned(), |version| format!("contract {version}"));
    let adapter = adapter.as_ref().map_or_else(String::new, |name| format!(", answered for by {name}"));
    let process = process.map_or_else(String::new, |pid| format!(", process {pid}"));
    format!("{bot_id}{version} ({mode}, {contract}{adapter}{process}) on {}", report.address)
}
