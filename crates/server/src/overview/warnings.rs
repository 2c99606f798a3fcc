//! The warnings of the state: what deserves attention.

use super::at_risk::warning_of_risk;
use super::bot_health::{
    BotHealthStatus, breaker_fault, decide_health, error_fault, loop_fault, lost_pause_fault, session_fault,
};
use super::moment::StateMoment;
use super::pause_view::PauseView;
use super::plausibility::find_contradictions;
use super::warning::Warning;
use super::wording::without_full_stop;
use std::collections::HashSet;

use crate::bots::{AbsenceAdvice, BotSnapshot, LoopRemedy, Presence, ReportedDay};
use crate::configs::SyncState;
use botops_contract::{BotPhase, BotReport, MarketStatus, Order, OrderStatus};
use chrono::TimeDelta;

/// A command that failed longer ago than this is told no more: by then somebody has looked, or given another.
const FAILED_COMMAND: TimeDelta = TimeDelta::minutes(60);

/// What deserves attention, worst first. Whole sentences; a text of the bot follows a colon.
pub(super) fn collect_warnings(moment: &StateMoment<'_>) -> Vec<Warning> {
    let mut warnings = warnings_of(moment);
    // Two features may find the same.
    let mut told = HashSet::new();
    warnings.retain(|warning| told.insert(warning.to_string()));
    warnings
}

fn warnings_of(moment: &StateMoment<'_>) -> Vec<Warning> {
    let snapshot = moment.snapshot;
    let mut warnings: Vec<Warning> = Vec::new();
    if decide_health(moment).0 == BotHealthStatus::Offline {
        warnings.push(format!("Bot offline: {}.", without_full_stop(&snapshot.presence_reason)).into());
        let absence = snapshot.absence.as_deref();
        warnings.extend(absence.and_then(|absence| absence.unmanaged.clone()).map(Warning::from));
        // Behind an adapter, what does not answer may be the adapter alone: only the advice knows of both.
        let is_adapted = snapshot.hello.as_ref().is_some_and(|hello| hello.adapter.is_some());
        let dies_at_start = absence.is_some_and(|absence| absence.dies_at_start.is_some());
        if snapshot.unasked_restart.needs_person() && !is_adapted && !dies_at_start {
            warnings.push(Warning::remedy(&snapshot.unasked_restart.sentence));
        } else {
            let remedy = |absence: &AbsenceAdvice| {
                Warning::with_remedy(absence.dies_at_start.as_deref().unwrap_or_default(), &absence.remedy)
            };
            warnings.extend(absence.map(remedy));
        }
        warnings.extend(snapshot.pause_in_doubt_while_away().map(|doubt| Warning::remedy(&doubt)));
    }
    if snapshot.presence == Presence::Incompatible {
        warnings.push(
            format!(
                "The bot is there, but not understood: {}. What is shown is the last that was.",
                without_full_stop(&snapshot.presence_reason)
            )
            .into(),
        );
    }
    let Some(report) = snapshot.report.as_deref() else {
        warnings.extend(failed_commands(moment));
        warnings.extend(moment.extras.warnings.iter().cloned());
        return warnings;
    };
    let age = moment.age.map_or(0, |age| age.as_secs());
    if report.as_of.is_none() {
        warnings.push("The bot does not say when it knew this: how old its data is is not known.".into());
    } else if moment.is_very_old() {
        warnings.push(Warning::with_remedy(
            &format!("DATA IS VERY OLD: everything below is {age} s old."),
            "Do not act on it; positions and orders may have changed.",
        ));
    } else if moment.is_stale() {
        warnings.push(format!("Data is stale: {age} s old, {} s is the limit.", moment.ttl.as_secs()).into());
    }
    warnings.extend(warning_of_risk(moment));
    warnings.extend(past_day_warning(moment, report));
    if moment.present_report().is_none() {
        warnings.extend(failed_commands(moment));
        // What it said of its own doing is of the past, and stands in `last_known`.
        warnings.extend(moment.extras.warnings.iter().cloned());
        return warnings;
    }
    if let Some(others) = snapshot.other_processes.as_deref() {
        warnings.push(others.sentence().into());
        warnings.push(Warning::remedy(&others.remedy()));
    }
    if let (Some(fault), Some(pause)) = (lost_pause_fault(snapshot, report), &snapshot.operator.lost_pause) {
        let next = format!("Next: POST /api/v1/control/{}, or resume.", pause.verb_to_repeat());
        warnings.push(Warning::with_remedy(&fault, &next));
    }
    let contradictions = snapshot.contradictions.iter();
    warnings.extend(contradictions.map(|one| match one.remedy.as_str() {
        "" => Warning::from(one.sentence.as_str()),
        remedy => Warning::with_remedy(&one.sentence, remedy),
    }));
    warnings.extend(failed_commands(moment));
    warnings.extend(loop_fault(snapshot).map(|fault| {
        let remedy = snapshot.unasked_restart.loop_remedy.map(LoopRemedy::sentence);
        Warning::with_remedy(&fault, remedy.unwrap_or_default())
    }));
    if let Some(ahead) = snapshot.clock_ahead() {
        warnings.push(
            format!(
                "The bot's clock is {} s ahead of this machine's: how old its data is cannot be told.",
                ahead.as_secs()
            )
            .into(),
        );
    }
    warnings.extend(report.circuit_breaker.as_ref().and_then(breaker_fault).map(Warning::from));
    warnings.extend(report.session.as_ref().and_then(session_fault).map(Warning::from));
    let needs = report.session.as_ref().and_then(|session| session.needs_human.as_deref());
    // A reset is no matter of the broker; the breaker's own warning says that it is open.
    if let Some(needs) = needs.filter(|needs| *needs != "reset_breaker") {
        warnings.push(format!("The broker waits for a person: {}.", without_full_stop(needs)).into());
    }
    match report.phase {
        BotPhase::Paused => {
            // Of one that is in order, the reason of its health says the rest.
            let is_healthy = decide_health(moment).0 == BotHealthStatus::Healthy;
            let given =
                PauseView::of(moment).filter(|_| !is_healthy).map(|pause| format!(" {}", pause.sentence()));
            warnings.push(
                format!("The bot is paused: it opens no positions.{}", given.unwrap_or_default()).into(),
            );
        }
        BotPhase::Degraded => warnings.push("The bot runs degraded: it opens no positions.".into()),
        BotPhase::Stopping => warnings.push("The bot is stopping.".into()),
        BotPhase::Stopped => warnings
            .push("The bot is stopped: it manages nothing, open positions are left to themselves.".into()),
        BotPhase::Other if report.phase_raw.is_some() => {
            let word = report.phase_raw.as_deref().unwrap_or_default();
            warnings.push(format!("The bot is in a phase that botops does not know: {word}.").into());
        }
        BotPhase::Starting | BotPhase::Running | BotPhase::Other => {}
    }
    warnings.extend(unreadable_warning(snapshot));
    warnings.extend(error_fault(moment).map(Warning::from));
    if report.market.status == Some(MarketStatus::Open) && report.market.last_price_at.is_none() {
        warnings.push("The market is open, but the bot has no price yet.".into());
    }
    let config = report.config.as_ref();
    if config.is_some_and(|config| config.trial.is_some()) {
        // What becomes of the trial is known to botops, if it leads it; the bot itself only knows that one runs.
        let led = moment.extras.config_sync.as_ref().map(|sync| sync.reason.as_str());
        warnings.push(
            match led {
                Some(reason) => format!("A config change runs as a trial: {}.", without_full_stop(reason)),
                None => "A config change runs as a trial.".to_owned(),
            }
            .into(),
        );
    }
    warnings.extend(drift_warning(moment));
    let count = config.map_or(0, |config| config.pending_restart.len());
    if count > 0 {
        warnings.push(format!("{count} config values wait for a restart of the bot.").into());
    }
    let dropped = snapshot.dropped;
    if dropped.positions + dropped.orders > 0 {
        warnings.push(Warning::with_remedy(
                &format!(
                    "The bot reported more than botops keeps (20,000 positions, 2,000 orders): {} positions and {} orders are \
                     not shown.",
                    dropped.positions, dropped.orders
                ),
                "Have it report what is open alone, and forget orders that are over.",
            ));
    }
    if dropped.locks > 0 {
        warnings.push(
            format!("{} locks of the bot are not shown: it has more than botops keeps.", dropped.locks)
                .into(),
        );
    }
    warnings.extend(unknown_orders(report).map(Warning::from));
    warnings.extend(find_contradictions(report).into_iter().map(Warning::from));
    warnings.extend(moment.extras.warnings.iter().cloned());
    warnings
}

/// That the bot trades by another config than the committed one, such as the one built into it.
fn drift_warning(moment: &StateMoment<'_>) -> Option<Warning> {
    let sync =
        moment.extras.config_sync.as_ref().filter(|sync| sync.status == SyncState::Drifted.as_str())?;
    Some(Warning::with_remedy(
        &format!(
            "The bot trades by another config than the committed one: {}.",
            without_full_stop(&sync.reason)
        ),
        "Next: GET /api/v1/config/diff?from=committed&to=running, then PUT /api/v1/config/rollback with `to: committed`.",
    ))
}

/// Commands of operators that failed a short time ago, and were not given again with success.
fn failed_commands(moment: &StateMoment<'_>) -> impl Iterator<Item = Warning> {
    let failed = moment.snapshot.operator.failed.iter();
    failed.filter(|failed| moment.now - failed.failed_at <= FAILED_COMMAND).map(|failed| {
        let effect = if failed.is_in_doubt { "whether it acted is not known" } else { "nothing was done" };
        format!(
            "{} of {} failed at {} ({}, {effect}): {}.",
            failed.verb,
            failed.actor,
            failed.failed_at.format("%H:%M:%S UTC"),
            failed.error_code,
            without_full_stop(&failed.cause)
        )
        .into()
    })
}

/// That the numbers of the day are not today's.
fn past_day_warning(moment: &StateMoment<'_>, report: &BotReport) -> Option<Warning> {
    let results = &report.performance;
    let is_given = results.daily_pl.is_some() || results.trades_today.is_some();
    let day = ReportedDay::of(moment.snapshot, moment.now).filter(|day| day.is_over && is_given)?;
    Some(
        format!("The numbers of the day (daily_pnl, trades_today) are of {}, a day that is over.", day.date)
            .into(),
    )
}

/// What of the bot's answers could not be read.
fn unreadable_warning(snapshot: &BotSnapshot) -> Option<Warning> {
    let first = snapshot.unreadable.first()?;
    let count = snapshot.unreadable.len() + snapshot.unreadable_more;
    let parts = if count == 1 {
        "A part of what the bot says cannot be read and counts as not given,".to_owned()
    } else {
        format!("{count} parts of what the bot says cannot be read and count as not given, the first")
    };
    Some(Warning::with_remedy(
        &format!("{parts} at {} of {}: got {},", first.pointer, first.call, first.got),
        &format!("expected {}.", without_full_stop(&first.expected)),
    ))
}

/// Orders of which nobody can say whether they rest.
fn unknown_orders(report: &BotReport) -> Option<String> {
    let is_unknown =
        |order: &&Order| matches!(order.status, None | Some(OrderStatus::Unknown | OrderStatus::Other));
    let unknown = report.order_list().iter().filter(is_unknown);
    let count = unknown.clone().count();
    let word = unknown.filter_map(|order| order.status_raw.as_deref()).next();
    let named = word.map(|word| format!(", such as `{word}`")).unwrap_or_default();
    let orders = if count == 1 { "1 order has".to_owned() } else { format!("{count} orders have") };
    (count > 0)
        .then(|| format!("{orders} a status that botops does not know{named}: in no count of open orders."))
}
