//! The short form of the state: what an agent reads first.
//!
//! Whatever the state holds, the summary stays below [`SUMMARY_MAX_BYTES`] and [`SUMMARY_MAX_TOKENS`], as JSON and as
//! Markdown. What matters most comes first and is dropped last; what was left out is named in `omitted` with the call
//! that returns it. Texts of the bot are clipped by what they cost, so a hostile text shrinks and plain prose stays.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::SubsecRound;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::at_risk::{AtRiskView, assess, share_of_account_pct, why_no_account_share};
use super::model::{ConfigSync, NotGreen, RunningWorkflow};
use super::moment::StateMoment;
use super::pause_view::PauseView;
use super::position_value::{exact_market_value, market_value};
use super::remedies::{
    breaker_code, breaker_remediation, breaker_state, remedy_calls, session_remediation, session_state,
};
use super::state_view::{StateView, total_open_profit};
use super::summary_limits::{LIMITS, SummaryLimits, TextClipper};
use super::summary_view::{
    AccountBrief, OmittedCall, OmittedItem, PositionBrief, RecentError, SummaryView, TroubleBrief,
};
use super::{markdown, tokens};
use crate::bots::{DroppedItems, LoopRemedy, immediate_restart, open_profit};
use crate::errors::{ReportedError, reported_only};
use crate::events::{Event, OWN_SOURCE};
use botops_contract::{BotReport, BotTradingDay, Position, SemanticError};
use botops_core::error::{Code, NextAction};

/// The summary is smaller than this, whatever the state holds.
pub const SUMMARY_MAX_BYTES: usize = 10_240;

/// The summary has fewer o200k tokens than this, whatever the state holds.
pub const SUMMARY_MAX_TOKENS: usize = 1_200;

/// Instead of a reason that stands in `circuit_breaker_reason`.
const SAID_ABOVE: &str = "as circuit_breaker_reason";

/// A summary with both of its forms.
#[derive(Debug, Clone)]
pub(super) struct RenderedSummary {
    pub json: String,
    pub markdown: String,
}

/// The largest summary that keeps to the bounds.
pub(super) fn render_summary(
    moment: &StateMoment<'_>,
    state: &StateView,
    errors: &[Arc<Event>],
) -> RenderedSummary {
    let source = SummarySource::of(moment, state, errors);
    let mut smallest = None;
    for limits in LIMITS {
        let rendered = source.render(limits);
        if rendered.fits() {
            // Ids cost more than what they stand beside, so they take what room is left over.
            let with_ids = limits.with_ids().map(|limits| source.render(limits));
            return with_ids.filter(RenderedSummary::fits).unwrap_or(rendered);
        }
        smallest = Some(rendered);
    }
    smallest.expect("there is at least one row of limits")
}

impl RenderedSummary {
    fn fits(&self) -> bool {
        let fits =
            |text: &str| text.len() < SUMMARY_MAX_BYTES && tokens::max_tokens(text) < SUMMARY_MAX_TOKENS;
        fits(&self.json) && fits(&self.markdown)
    }
}

/// What the summary is cut from: computed once, whatever the number of tries.
struct SummarySource<'a> {
    state: &'a StateView,
    moment: &'a StateMoment<'a>,
    largest: Vec<PositionBrief>,
    share_unknown: Option<String>,
    at_risk: Option<AtRiskView>,
    errors: Vec<RepeatedError<'a>>,
    error_count: usize,
}

impl<'a> SummarySource<'a> {
    fn of(moment: &'a StateMoment<'a>, state: &'a StateView, events: &'a [Arc<Event>]) -> Self {
        let report = moment.snapshot.report.as_deref();
        let mut errors = newest_errors(moment, events);
        let count = errors.len();
        // One failure that two events carry, as session and breaker do, takes up one of the few places.
        errors.dedup_by_key(|one| (one.at(), &one.error.error_code, &one.error.message));
        let last_hour = report.and_then(|report| report.error_count_last_hour).unwrap_or(0) as usize;
        let positions = state.positions.as_deref().unwrap_or_default();
        let share_unknown = why_no_shares(positions, moment.snapshot.dropped);
        Self {
            state,
            moment,
            largest: largest_positions(positions, share_unknown.is_none(), report),
            share_unknown,
            at_risk: assess(moment),
            error_count: last_hour.max(count),
            errors: gather_repetitions(errors),
        }
    }

    fn render(&self, limits: SummaryLimits) -> RenderedSummary {
        let view = self.shorten(limits);
        let json = serde_json::to_string(&view).expect("a summary has string keys only");
        RenderedSummary { markdown: markdown::render_markdown(&view), json }
    }

    fn shorten(&self, limits: SummaryLimits) -> SummaryView {
        let state = self.state;
        let mut clipper = TextClipper { tokens: limits.text, cut: 0 };
        let warnings: Vec<String> = state
            .warnings
            .iter()
            .take(limits.warnings)
            .map(|warning| clipper.clip_warning(warning))
            .collect();
        let top_positions: Vec<PositionBrief> = self.largest.iter().take(limits.positions).cloned().collect();
        let breaker = state.circuit_breaker.as_ref().map(|part| &part.part);
        let session = state.session.as_ref().map(|part| &part.part);
        let hello = self.moment.snapshot.hello.as_deref();
        // An open breaker has the code of its failure and its remedy: where room is short, that is enough.
        let told = breaker
            .filter(|_| limits.says_once() && state.health.circuit_breaker_active == Some(true))
            .and_then(|breaker| Some((breaker_code(breaker, hello)?, breaker.since?.trunc_subsecs(0))));
        let is_told = |one: &&RepeatedError<'_>| {
            let at = one.newest.at().map(|at| at.trunc_subsecs(0));
            told.is_some_and(|(code, since)| code == one.newest.error.error_code && at == Some(since))
        };
        let errors = self.errors.iter().filter(|one| !is_told(one)).take(limits.errors);
        let recent_errors: Vec<RecentError> = errors.map(|one| error_brief(one, limits)).collect();
        let no_entry_reasons = state.no_entry_reasons.as_ref().map(|reasons| {
            reasons.iter().take(limits.warnings.min(4)).map(|reason| clipper.clip(reason)).collect()
        });
        let mut brief = TextClipper { tokens: limits.brief, cut: 0 };
        let not_green = &self.moment.extras.not_green;
        let not_green = not_green.iter().take(limits.health).map(|one| brief.clip_component(one, limits.ids));
        let not_green: Vec<NotGreen> = not_green.collect();
        let incidents = &self.moment.extras.incidents;
        let incidents = incidents.iter().take(limits.incidents).map(|one| brief.clip_incident(one)).collect();
        let breaker_active = state.health.circuit_breaker_active;
        let mut view = SummaryView {
            mode: state.mode,
            health_status: state.health.status,
            health_reason: clipper.clip(&state.health.reason),
            presence: state.bot.presence,
            presence_reason: clipper.clip(&state.bot.presence_reason),
            circuit_breaker_active: breaker_active,
            circuit_breaker_reason: breaker
                .filter(|_| breaker_active == Some(true))
                .and_then(|breaker| breaker.reason.as_deref())
                .map(|reason| clipper.clip(reason)),
            daily_pnl: state.performance.as_ref().and_then(|performance| performance.daily_pl.clone()),
            daily_pnl_basis: "equity",
            daily_pnl_unknown: why_no_daily_profit(state).map(|why| clipper.clip(why)),
            unrealized_pl: total_open_profit(self.moment.snapshot),
            day: state.day.as_ref().map(|day| brief_day(day, &mut clipper)),
            reported_day: state.reported_day,
            position_count: self.moment.snapshot.position_count(),
            open_order_count: self.moment.snapshot.open_order_count(),
            phase: state.phase,
            phase_raw: state.phase_raw.as_deref().map(|word| clipper.clip(word)),
            trading_enabled: state.trading_enabled,
            pause: state.pause.as_ref().map(|pause| PauseView {
                by: pause.by.as_deref().map(|by| clipper.clip(by)),
                reason: pause.reason.as_deref().map(|reason| clipper.clip(reason)),
                ..pause.clone()
            }),
            last_known: state.last_known.clone(),
            account: state.account.as_ref().map(|account| AccountBrief {
                currency: account.part.currency.as_deref().map(|currency| clipper.clip(currency)),
                account_balance: account.part.account_balance.clone(),
                buying_power: account.part.buying_power.clone(),
                cash_balance: account.part.cash_balance.clone(),
            }),
            circuit_breaker: breaker.map(|breaker| TroubleBrief {
                state: breaker_state(breaker.state).to_owned(),
                reason: breaker.reason.as_deref().map(|reason| clipper.clip(reason)),
                error_code: breaker_code(breaker, hello).map(str::to_owned),
                since: breaker.since.map(|at| at.trunc_subsecs(0)),
                remediation: breaker_remediation(breaker, session, hello),
            }),
            session: session.map(|session| TroubleBrief {
                state: session_state(session.state).to_owned(),
                reason: session.reason.as_deref().map(|reason| clipper.clip(reason)),
                error_code: session.error_code.as_deref().map(|code| tokens::clip(code, limits.code)),
                since: session.since.map(|at| at.trunc_subsecs(0)),
                remediation: session_remediation(session, breaker),
            }),
            config_version: state.config.as_ref().map(|config| config.part.running.version),
            config_sync: self.moment.extras.config_sync.as_ref().map(|sync| clipper.clip(&sync.status)),
            system_health: self.moment.extras.system_health.as_deref().map(|status| clipper.clip(status)),
            system_health_reason: self
                .moment
                .extras
                .system_health_reason
                .as_deref()
                .filter(|_| not_green.is_empty())
                .map(|reason| clipper.clip(reason)),
            workflow: self.moment.extras.workflow.as_ref().map(|run| RunningWorkflow {
                workflow_id: clipper.clip(&run.workflow_id),
                run_id: clipper.clip(&run.run_id),
                state: clipper.clip(&run.state),
                step: run.step.as_deref().map(|step| clipper.clip(step)),
            }),
            last_trade_time: state.health.last_trade_timestamp.map(|at| at.trunc_subsecs(0)),
            generated_at: state.timestamp.trunc_subsecs(3),
            as_of: state.as_of.map(|at| at.trunc_subsecs(3)),
            data_age_seconds: state.data_age_seconds,
            is_data_stale: state.is_data_stale,
            untrusted: Vec::new(),
            omitted: Vec::new(),
            warnings,
            share_pct_unknown: self.share_unknown.clone().filter(|_| !top_positions.is_empty()),
            share_of_account_unknown: why_no_account_share(self.moment.snapshot.report.as_deref())
                .filter(|_| !top_positions.is_empty()),
            at_risk: self.at_risk.clone().map(|view| view.shorten(limits.positions)),
            top_positions,
            recent_errors,
            no_entry_reasons,
            not_green,
            incidents,
            next_actions: next_actions(self.moment, limits.calls()),
        };
        let said_before = if limits.says_once() { say_once(&mut view) } else { 0 };
        view.untrusted = list_untrusted(&view);
        view.omitted = self.list_omitted(&view, said_before, clipper.cut, brief.cut);
        view
    }

    fn list_omitted(
        &self,
        view: &SummaryView,
        warnings_said: usize,
        cut: usize,
        cut_briefs: usize,
    ) -> Vec<OmittedItem> {
        let positions = view.position_count.unwrap_or(0);
        let reasons = self.state.no_entry_reasons.as_ref().map_or(0, Vec::len);
        let shown_errors = view.recent_errors.iter().map(|error| error.times.unwrap_or(1)).sum();
        let counts = [
            (
                "positions",
                positions.saturating_sub(view.top_positions.len()),
                "/api/v1/state?fields=positions",
            ),
            ("errors", self.error_count.saturating_sub(shown_errors), "/api/v1/errors"),
            (
                "not_green",
                self.moment.extras.not_green.len().saturating_sub(view.not_green.len()),
                "/api/v1/health/current",
            ),
            ("alert_ids", self.cut_alerts(view), "/api/v1/health/alerts"),
            (
                "incidents",
                self.moment.extras.incidents.len().saturating_sub(view.incidents.len()),
                "/api/v1/incidents",
            ),
            (
                "warnings",
                self.state.warnings.len().saturating_sub(view.warnings.len() + warnings_said),
                "/api/v1/state?fields=warnings",
            ),
            (
                "no_entry_reasons",
                reasons.saturating_sub(view.no_entry_reasons.as_ref().map_or(0, Vec::len)),
                "/api/v1/state?fields=no_entry_reasons",
            ),
            ("the rest of shortened texts", cut + cut_briefs, where_texts_are_whole(cut)),
        ];
        let left_out = counts.into_iter().filter(|(_, count, _)| *count > 0);
        left_out
            .map(|(what, count, path)| OmittedItem { what, count, call: OmittedCall { method: "GET", path } })
            .collect()
    }

    /// How many of the components that are shown have an alert whose id is not.
    fn cut_alerts(&self, view: &SummaryView) -> usize {
        let known = self.moment.extras.not_green.iter().zip(&view.not_green);
        known.filter(|(whole, shown)| whole.alert_id.is_some() && shown.alert_id.is_none()).count()
    }
}

/// Where the texts that were cut stand whole: those of the health and of incidents are no part of the state.
fn where_texts_are_whole(cut_of_state: usize) -> &'static str {
    if cut_of_state > 0 { "/api/v1/state" } else { "/api/v1/incidents" }
}

/// Leaves what is wrong where it is said first, and names that place in the others. Returns how many warnings are left out
/// because the reason of the health says the same.
fn say_once(view: &mut SummaryView) -> usize {
    let count = view.warnings.len();
    view.warnings.retain(|warning| *warning != view.health_reason);
    let said = count - view.warnings.len();
    let Some(breaker) = &mut view.circuit_breaker else { return said };
    if view.circuit_breaker_reason.is_none() || breaker.reason != view.circuit_breaker_reason {
        return said;
    }
    if let Some(session) = view.session.as_mut().filter(|session| session.reason == breaker.reason) {
        session.reason = Some(SAID_ABOVE.to_owned());
    }
    breaker.reason = Some(SAID_ABOVE.to_owned());
    said
}

/// The members that hold words of others.
fn list_untrusted(view: &SummaryView) -> Vec<&'static str> {
    let reason = |part: &Option<TroubleBrief>| {
        let reason = part.as_ref().and_then(|part| part.reason.as_deref());
        reason.is_some_and(|reason| reason != SAID_ABOVE)
    };
    let all = [
        ("health_reason", true),
        ("presence_reason", true),
        ("circuit_breaker_reason", view.circuit_breaker_reason.is_some()),
        ("circuit_breaker.reason", reason(&view.circuit_breaker)),
        ("session.reason", reason(&view.session)),
        ("warnings", !view.warnings.is_empty()),
        ("recent_errors", !view.recent_errors.is_empty()),
        ("not_green.reason", !view.not_green.is_empty()),
        ("incidents.cause", !view.incidents.is_empty()),
    ];
    all.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name).collect()
}

/// A failure, the newest of those that say the same, and how many they are.
struct RepeatedError<'a> {
    newest: ReportedError<'a>,
    times: usize,
}

/// Failures that say the same as one, in the order of the newest of each.
fn gather_repetitions(errors: Vec<ReportedError<'_>>) -> Vec<RepeatedError<'_>> {
    let mut gathered: Vec<RepeatedError<'_>> = Vec::new();
    let mut places = HashMap::new();
    for one in errors {
        let says = (one.is_own, &one.error.error_code, &one.error.message, &one.error.cause);
        let place = *places.entry(says).or_insert(gathered.len());
        match gathered.get_mut(place) {
            Some(known) => known.times += 1,
            None => gathered.push(RepeatedError { newest: one, times: 1 }),
        }
    }
    gathered
}

fn error_brief(repeated: &RepeatedError<'_>, limits: SummaryLimits) -> RecentError {
    let one = &repeated.newest;
    let (error, tokens) = (one.error, limits.error_text);
    RecentError {
        source: one.is_own.then_some(OWN_SOURCE),
        error_code: tokens::clip(&error.error_code, limits.code),
        severity: error.severity,
        message: tokens::clip(&error.message, tokens),
        cause: tokens::clip(&error.cause, tokens),
        impact: tokens::clip(&error.impact, tokens),
        remediation: tokens::clip(&error.remediation, tokens),
        timestamp: error.timestamp.map(|at| at.trunc_subsecs(0)),
        first_seen_at: one.first_seen_at.map(|at| at.trunc_subsecs(0)),
        times: Some(repeated.times).filter(|times| *times > 1),
    }
}

/// The calls that end what is wrong with the bot, and no change while a run is under way that may do the same. A call of a
/// person who ends what holds the bot back comes before one that is about anything else.
fn next_actions(moment: &StateMoment<'_>, most: usize) -> Vec<NextAction> {
    let remedy = moment.snapshot.unasked_restart.loop_remedy;
    let report = moment.present_report();
    let can_restart = remedy == Some(LoopRemedy::ImmediateRestart) && report.is_some();
    let hello = moment.snapshot.hello.as_deref();
    let of_bot = report.map(|report| remedy_calls(report, hello)).unwrap_or_default();
    let all = can_restart.then(immediate_restart).into_iter().chain(of_bot);
    let is_free = moment.extras.workflow.is_none();
    let mut actions: Vec<NextAction> = Vec::new();
    for action in all.chain(moment.extras.incident_actions.iter().cloned()) {
        if (is_free || action.method == "GET") && !actions.contains(&action) {
            actions.push(action);
        }
    }
    actions.truncate(most);
    actions
}

/// The bot's own list and the journal together, newest first, each failure once: as `GET errors` has them.
///
/// What botops found and knows to be over is left out: `GET errors` keeps it.
fn newest_errors<'a>(moment: &StateMoment<'a>, events: &'a [Arc<Event>]) -> Vec<ReportedError<'a>> {
    let of_journal = events.iter().filter_map(|event| Some((event, event.error.as_ref()?)));
    let mut errors = reported_only(moment.reported, events);
    for (event, error) in of_journal {
        let is_own = event.source == OWN_SOURCE;
        if is_own && is_mended(event, error, moment) {
            continue;
        }
        // Without a time of its own, it counts from the event that carried it.
        errors.push(ReportedError { is_own, ..ReportedError::told_at(error, event.at) });
    }
    errors.sort_by_key(|one| (Reverse(one.at()), &one.error.error_code, &one.error.message));
    errors
}

/// Whether a failure that botops found is known to be over.
fn is_mended(event: &Event, error: &SemanticError, moment: &StateMoment<'_>) -> bool {
    let is = |code: Code| error.error_code == code.row().code;
    if is(Code::BotPauseLost) {
        let lost_at = moment.snapshot.operator.lost_pause.as_ref().and_then(|pause| pause.lost_at);
        // An earlier one was answered when the bot was paused or resumed since. A stored time has fewer digits.
        return lost_at.is_none_or(|lost_at| event.at.trunc_subsecs(3) < lost_at.trunc_subsecs(3));
    }
    let is_running_committed =
        |sync: &ConfigSync| matches!(sync.status.as_str(), "in_sync" | "trial" | "pending_restart");
    (is(Code::ConfigDrifted) && moment.extras.config_sync.as_ref().is_some_and(is_running_committed))
        || (is(Code::StoreUnavailable) && !moment.extras.is_not_recording)
        || (is(Code::BotPartUnreadable) && moment.snapshot.unreadable.is_empty())
}

/// Why the change of equity today is not known, and what is known instead; `None` when it is, and when nothing is known of
/// the bot.
fn why_no_daily_profit(state: &StateView) -> Option<&'static str> {
    let is_known = state.performance.as_ref().is_some_and(|performance| performance.daily_pl.is_some());
    (state.as_of.is_some() && !is_known).then_some(
        "the bot does not report `daily_pl`; what closed today brought is at GET /api/v1/performance?window=day",
    )
}

/// Why no position has a share of the whole; `None` when what all of them are worth is known.
fn why_no_shares(positions: &[Position], dropped: DroppedItems) -> Option<String> {
    let unread = dropped.positions + dropped.unread_positions;
    let count = positions.len() + unread;
    let worthless = positions.iter().filter(|position| market_value(position).is_none()).count() + unread;
    (worthless > 0).then(|| {
        format!("what {worthless} of {count} positions are worth is not known: a share needs the whole")
    })
}

/// The five largest positions by market value, regardless of sign. Those whose value is not known come first: they may
/// be larger than any other.
fn largest_positions(
    positions: &[Position],
    whole_is_known: bool,
    report: Option<&BotReport>,
) -> Vec<PositionBrief> {
    let size = |position: &Position| market_value(position).map_or(Decimal::MAX, |value| value.abs());
    let as_number = |size: Decimal| size.to_f64().unwrap_or(0.0);
    let known = positions.iter().filter_map(market_value);
    let total: f64 = known.map(|value| as_number(value.abs())).sum();
    let mut sorted: Vec<(Decimal, &Position)> =
        positions.iter().map(|position| (size(position), position)).collect();
    let by_size = |a: &(Decimal, &Position), b: &(Decimal, &Position)| {
        b.0.cmp(&a.0).then_with(|| a.1.symbol.cmp(&b.1.symbol))
    };
    let keep = LIMITS[0].positions;
    if sorted.len() > keep {
        sorted.select_nth_unstable_by(keep, by_size);
        sorted.truncate(keep);
    }
    sorted.sort_by(by_size);
    let brief = |(_, position): (Decimal, &Position)| {
        let value = market_value(position);
        let share = |value: Decimal| (as_number(value.abs()) / total * 1000.0).round() / 10.0;
        PositionBrief {
            symbol: position.symbol.clone(),
            quantity: position.quantity.clone(),
            market_value: exact_market_value(position).and_then(|value| value.to_string().parse().ok()),
            share_pct: value.filter(|_| whole_is_known && total > 0.0).map(share),
            share_of_account_pct: value
                .zip(report)
                .and_then(|(value, report)| share_of_account_pct(report, value)),
            stop_price: position.stop_price.clone(),
            unrealized_pl: open_profit(position),
        }
    };
    sorted.into_iter().map(brief).collect()
}

/// The day with texts that fit.
fn brief_day(day: &BotTradingDay, clipper: &mut TextClipper) -> BotTradingDay {
    BotTradingDay { zone: day.zone.as_deref().map(|zone| clipper.clip(zone)), began_at: day.began_at }
}
