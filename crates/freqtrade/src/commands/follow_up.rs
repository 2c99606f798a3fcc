//! Goes on looking after a command whose effect did not show in its time. It sends nothing: it takes what the readers see,
//! who are silent towards a freqtrade that is silent.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::Instant;

use super::awaited::{AwaitedEffect, LateEnd};
use super::carry_out::{CarriedOut, LONGEST_MESSAGE, PASS_LIMIT, PASS_NOT_SEEN};
use super::facts::{CommandFacts, FactsReader};
use botops_contract::{CommandOutcome, Verb};
use botops_core::text::clean;

/// Time between two looks at what the readers saw.
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// Looks until the effect shows, or is seen to come no more. Only what was read after `since` counts.
pub(super) async fn watch_effect(
    reader: &FactsReader,
    verb: Verb,
    awaited: &AwaitedEffect,
    since: DateTime<Utc>,
) -> CarriedOut {
    let (mut passes, mut last_pass) = (0, None);
    let mut shown: Option<(Instant, u32)> = None;
    loop {
        if let Some(seen) = reader.read_picture(since) {
            if last_pass.is_some() && seen.last_pass != last_pass {
                passes += 1;
            }
            last_pass = seen.last_pass;
            match awaited.assess(verb, &seen.facts, passes) {
                None => shown = None,
                Some(end) => {
                    let (at, passes_then) = *shown.get_or_insert((Instant::now(), passes));
                    let is_pass_over = passes > passes_then;
                    // A pass that was under way may still enter a trade after a pause shows.
                    let pauses = matches!(verb, Verb::Pause | Verb::Flatten);
                    let awaits_pass = pauses && end.outcome == CommandOutcome::Done && !is_pass_over;
                    if !awaits_pass || at.elapsed() >= PASS_LIMIT {
                        let note = if awaits_pass { PASS_NOT_SEEN } else { "" };
                        return late_answer(&end, note, seen.facts);
                    }
                }
            }
        }
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

fn late_answer(end: &LateEnd, note: &str, facts: CommandFacts) -> CarriedOut {
    let now = Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true);
    let message = format!("{}{note}; seen at {now}, later than it should have shown", end.message);
    CarriedOut {
        outcome: end.outcome,
        reason_code: end.reason_code,
        message: clean(&message, LONGEST_MESSAGE),
        exposure: end.exposure.clone(),
        facts: Some(facts),
        awaited: None,
    }
}
