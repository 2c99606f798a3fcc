//! Runs the check once, or again and again.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use botops_contract::TradingMode;
use botops_core::signals::Signals;
use botops_server::bots::conformance::{
    ConformanceCheck, ConformanceOptions, ConformanceReport, ConformanceUnreachable, ExerciseOptions,
};
use botops_server::configs::read_bot_schema;
use serde_json::json;

use super::options::BotCheckOptions;
use super::report_text::{finding_text, report_text, verdict};
use crate::terminal::{print_line, report_failure, report_refusal};

/// The wait between two runs of `--watch`.
const WATCH_EVERY: Duration = Duration::from_secs(2);

/// The longest config document that is read for a trial.
const LARGEST_CONFIG: u64 = 1024 * 1024;

/// Runs `botops bot check`.
pub(crate) fn run(options: &BotCheckOptions) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return report_failure("the runtime could not be started");
    };
    let conformance = match conformance_options(options) {
        Ok(conformance) => conformance,
        Err(problem) => return report_refusal(&[problem]),
    };
    if options.watch {
        runtime.block_on(watch_bot(&conformance))
    } else {
        runtime.block_on(check_once(options, conformance))
    }
}

async fn check_once(options: &BotCheckOptions, conformance: ConformanceOptions) -> ExitCode {
    let exercise = match exercise_options(options) {
        Ok(exercise) => exercise,
        Err(problem) => return report_refusal(&[problem]),
    };
    let mut check = match ConformanceCheck::connect(conformance).await {
        Ok(check) => check,
        Err(unreachable) => return report_unreachable(options, &unreachable),
    };
    check.read_bot().await;
    if let Some(exercise) = exercise
        && let Some(mode) = check.mode()
    {
        match may_exercise(options, &check.report(), mode) {
            Ok(true) => match Signals::catch() {
                Ok(mut signals) => check.exercise(&exercise, &mut signals, tell_interruption).await,
                Err(error) => return report_failure(&format!("signals cannot be caught: {error}")),
            },
            Ok(false) => {}
            Err(problem) => return report_refusal(&[problem]),
        }
    }
    let report = check.report();
    if options.json {
        print_line(&serde_json::to_string_pretty(&report).unwrap_or_default());
    } else {
        print_line(&report_text(&report));
    }
    if report.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn conformance_options(options: &BotCheckOptions) -> Result<ConformanceOptions, String> {
    Ok(ConformanceOptions {
        address: options.bot_address()?,
        bot_id: options.bot_id.clone(),
        live: options.live,
        read_schema: read_bot_schema,
    })
}

fn exercise_options(options: &BotCheckOptions) -> Result<Option<ExerciseOptions>, String> {
    if !options.exercise {
        return Ok(None);
    }
    if !options.yes && !std::io::stdin().is_terminal() {
        return Err("--exercise asks before it acts, and nobody can be asked here: add --yes".to_owned());
    }
    let exercise = ExerciseOptions {
        config_document: None,
        wait: Duration::from_secs(options.wait),
        token_file: options.token_file.clone(),
    };
    let Some(path) = &options.config else { return Ok(Some(exercise)) };
    let size =
        std::fs::metadata(path).map_err(|error| format!("--config: {} ({error})", path.display()))?.len();
    if size > LARGEST_CONFIG {
        return Err(format!("--config: {} has more than 1 MiB", path.display()));
    }
    let document =
        std::fs::read_to_string(path).map_err(|error| format!("--config: {} ({error})", path.display()))?;
    Ok(Some(ExerciseOptions { config_document: Some(document), ..exercise }))
}

/// What is said when a signal ends an exercise.
fn tell_interruption() {
    let mut terminal = std::io::stderr();
    let _ = writeln!(terminal, "It takes back what it began at the bot; once more ends that as well.");
}

/// Whether the bot is exercised: by its mode, and by whoever sits at the terminal.
fn may_exercise(
    options: &BotCheckOptions,
    report: &ConformanceReport,
    mode: TradingMode,
) -> Result<bool, String> {
    if options
        .bot_id
        .as_ref()
        .is_some_and(|wanted| report.bot.as_ref().is_none_or(|bot| bot.bot_id != wanted.as_str()))
    {
        // Another bot than the one that is meant: it is not for this run to pause it.
        return Ok(false);
    }
    let is_real = !matches!(mode, TradingMode::Paper | TradingMode::Backtest);
    if is_real && !options.live {
        return Err(format!(
            "--exercise: the bot's mode is {mode}, so real money may be at risk: it was not exercised. Add --live if that is meant"
        ));
    }
    if options.yes {
        return Ok(true);
    }
    let name = report.bot.as_ref().map(|bot| bot.bot_id.as_str()).unwrap_or_default();
    let config = if options.config.is_some() { ", and tries a config that is reverted" } else { "" };
    let mut terminal = std::io::stderr();
    let _ = write!(terminal, "This pauses bot {name} ({mode}) and resumes it{config}. Go on? [y/N] ");
    let _ = terminal.flush();
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

fn report_unreachable(options: &BotCheckOptions, unreachable: &ConformanceUnreachable) -> ExitCode {
    let ConformanceUnreachable { reason, remedy } = unreachable;
    if options.json {
        let address = options.address.clone();
        let report = json!({"address": address, "bot": null, "passed": false, "unreachable": reason, "remedy": remedy});
        print_line(&serde_json::to_string_pretty(&report).unwrap_or_default());
    }
    report_refusal(&[format!("{reason}. {remedy}")])
}

/// Follows a bot under development: the whole report first, then what changes, until a signal ends it.
async fn watch_bot(conformance: &ConformanceOptions) -> ExitCode {
    let mut known: Option<BTreeMap<String, String>> = None;
    let mut away: Option<String> = None;
    loop {
        match read_report(conformance).await {
            Ok(report) => {
                if away.take().is_some() {
                    print_line("The bot answers again.");
                }
                print_changes(&report, known.as_ref());
                known = Some(findings_by_identity(&report));
            }
            Err(reason) => {
                if away.as_ref() != Some(&reason) {
                    print_line(&format!("The bot is away: {reason}"));
                }
                away = Some(reason);
            }
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// One run that changes nothing; the error says why there is nobody to be asked.
async fn read_report(conformance: &ConformanceOptions) -> Result<ConformanceReport, String> {
    let connected = ConformanceCheck::connect(conformance.clone()).await;
    let mut check =
        connected.map_err(|ConformanceUnreachable { reason, remedy }| format!("{reason}. {remedy}"))?;
    check.read_bot().await;
    let report = check.report();
    match report.departure() {
        Some(finding) => Err(format!("{}.", finding.got)),
        None => Ok(report),
    }
}

fn findings_by_identity(report: &ConformanceReport) -> BTreeMap<String, String> {
    report.findings.iter().map(|finding| (finding.identity(), finding_text(finding))).collect()
}

fn print_changes(report: &ConformanceReport, known: Option<&BTreeMap<String, String>>) {
    let Some(known) = known else {
        print_line(&report_text(report));
        return;
    };
    let now = findings_by_identity(report);
    let come =
        now.iter().filter(|(identity, _)| !known.contains_key(*identity)).map(|(_, text)| text.clone());
    let gone = known.iter().filter(|(identity, _)| !now.contains_key(*identity));
    let gone = gone.map(|(_, text)| format!("MENDED   {}", text.lines().next().unwrap_or_default()));
    let changes: Vec<String> = come.chain(gone).collect();
    if changes.is_empty() {
        return;
    }
    print_line("");
    changes.iter().for_each(|change| print_line(change));
    print_line(&verdict(report));
}
