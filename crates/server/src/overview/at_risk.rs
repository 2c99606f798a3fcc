//! Positions past their stop that may stay open, because something keeps exits back, and what all positions are worth
//! beside the account. Pure.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Serialize;
use utoipa::ToSchema;

use super::moment::StateMoment;
use super::position_value::market_value;
use super::warning::Warning;
use super::wording::without_full_stop;
use botops_contract::{Amount, BotPhase, BotReport, BreakerState, MarketStatus, Position, amount_value};

/// Positions that are named.
const NAMED: usize = 3;

/// A position that is past its stop and still open.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PositionAtRisk {
    /// The symbol of the instrument, whole.
    pub symbol: String,
    /// Units; negative means short.
    pub quantity: Option<Amount>,
    /// The price at which it was to be closed.
    pub stop_price: Amount,
    /// The last price that the bot gave.
    pub current_price: Amount,
}

/// What the account may lose while nobody can act.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct AtRiskView {
    /// What all positions are worth, regardless of sign, in percent of the account's equity; `null` when either is not
    /// known.
    pub exposure_of_account_pct: Option<f64>,
    /// How many positions are past their stop while exits may be kept back; left out when none is.
    #[serde(skip_serializing_if = "is_zero")]
    pub position_count: usize,
    /// Those that are worth most, at most three; left out when there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub positions: Vec<PositionAtRisk>,
    /// Why exits may be kept back now, stops included; left out when nothing keeps them back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exits_kept_back_by: Vec<&'static str>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl AtRiskView {
    /// The same with fewer positions.
    pub(super) fn shorten(mut self, most: usize) -> Self {
        self.positions.truncate(most);
        self
    }
}

/// What is at risk; `None` without a report that has positions.
pub(super) fn assess(moment: &StateMoment<'_>) -> Option<AtRiskView> {
    let report = moment.snapshot.report.as_deref()?;
    let positions = report.positions.as_deref().filter(|positions| !positions.is_empty())?;
    let is_whole = moment.snapshot.dropped.positions + moment.snapshot.dropped.unread_positions == 0;
    let exposure = exposure(positions).filter(|_| is_whole);
    let exposure_of_account_pct = exposure.and_then(|value| share_of_account_pct(report, value));
    let mut view = AtRiskView {
        exposure_of_account_pct,
        position_count: 0,
        positions: Vec::new(),
        exits_kept_back_by: kept_back_by(moment, report),
    };
    if view.exits_kept_back_by.is_empty() {
        return Some(view);
    }
    let mut past: Vec<(Decimal, &Position)> = positions
        .iter()
        .filter(|position| is_past_stop(position))
        .map(|position| (market_value(position).map_or(Decimal::MAX, |value| value.abs()), position))
        .collect();
    past.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.symbol.cmp(&b.1.symbol)));
    view.position_count = past.len();
    view.positions = past.into_iter().filter_map(|(_, position)| named(position)).take(NAMED).collect();
    Some(view)
}

/// One warning with the positions by name, the largest first, and how many more there are.
pub(super) fn warning_of_risk(moment: &StateMoment<'_>) -> Option<Warning> {
    let view = assess(moment).filter(|view| view.position_count > 0)?;
    let named: Vec<String> = view
        .positions
        .iter()
        .map(|position| {
            let PositionAtRisk { symbol, stop_price, current_price, .. } = position;
            format!("{} (last {current_price}, stop {stop_price})", without_full_stop(symbol))
        })
        .collect();
    let more = view.position_count - view.positions.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let why = view.exits_kept_back_by.join("; ");
    let told =
        format!("Past their stop and still open: {}{more}. Exits may be kept back: {why}.", named.join(", "));
    // Nothing else is as urgent: it is never cut.
    Some(Warning::remedy(&told))
}

/// A value in percent of the account's equity, to one place; `None` when that is not known or not above zero.
pub(super) fn share_of_account_pct(report: &BotReport, value: Decimal) -> Option<f64> {
    let equity =
        amount_value(report.account.account_balance.as_ref()).filter(|equity| *equity > Decimal::ZERO)?;
    let share = value.abs().checked_div(equity)?.checked_mul(Decimal::ONE_HUNDRED)?;
    share.round_dp(1).to_f64()
}

/// Why no position has a share of the account; `None` when equity is known.
pub(super) fn why_no_account_share(report: Option<&BotReport>) -> Option<&'static str> {
    let equity = report?.account.account_balance.as_ref();
    match equity.map(Amount::value) {
        None => Some("the bot does not report the equity of the account (`account_balance`)"),
        Some(Some(equity)) if equity > Decimal::ZERO => None,
        Some(_) => Some("the equity that the bot reports is not above zero, or has too many digits"),
    }
}

/// What all positions are worth, regardless of sign; `None` when the value of any is not known.
fn exposure(positions: &[Position]) -> Option<Decimal> {
    positions.iter().try_fold(Decimal::ZERO, |sum, position| sum.checked_add(market_value(position)?.abs()))
}

/// What may keep an order from closing a position now.
fn kept_back_by(moment: &StateMoment<'_>, report: &BotReport) -> Vec<&'static str> {
    let mut why = Vec::new();
    if moment.present_report().is_none() {
        // What it said of its breaker and its session is of the past.
        why.push("the bot does not answer");
        return why;
    }
    let breaker = report.circuit_breaker.as_ref().map(|breaker| breaker.state);
    if matches!(breaker, Some(BreakerState::Open | BreakerState::HalfOpen)) {
        why.push("the circuit breaker is open");
    }
    if report.session.as_ref().is_some_and(|session| session.is_healthy == Some(false)) {
        why.push("the broker session is not usable");
    }
    match report.phase {
        BotPhase::Paused => why.push("the bot is paused"),
        BotPhase::Stopping | BotPhase::Stopped => why.push("the bot is stopped"),
        BotPhase::Starting | BotPhase::Running | BotPhase::Degraded | BotPhase::Other => {}
    }
    if report.market.status == Some(MarketStatus::Closed) {
        why.push("the market is closed");
    }
    why
}

/// Whether the last price is at the stop or beyond, on the side of the loss.
fn is_past_stop(position: &Position) -> bool {
    let value = |amount: &Option<Amount>| amount_value(amount.as_ref());
    let known =
        value(&position.stop_price).zip(value(&position.current_price)).zip(value(&position.quantity));
    known.is_some_and(|((stop, last), quantity)| match quantity.cmp(&Decimal::ZERO) {
        std::cmp::Ordering::Greater => last <= stop,
        std::cmp::Ordering::Less => last >= stop,
        std::cmp::Ordering::Equal => false,
    })
}

fn named(position: &Position) -> Option<PositionAtRisk> {
    Some(PositionAtRisk {
        symbol: position.symbol.clone(),
        quantity: position.quantity.clone(),
        stop_price: position.stop_price.clone()?,
        current_price: position.current_price.clone()?,
    })
}
