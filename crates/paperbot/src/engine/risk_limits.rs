//! The limits on losses at which the risk breaker opens.

use rust_decimal::Decimal;

use crate::account::book::{AccountBook, SymbolPrices};
use crate::config::document::BotConfig;

#[derive(Debug)]
pub(super) struct CrossedLimit {
    /// `daily_loss`, `max_drawdown` or `consecutive_losses`.
    pub source: &'static str,
    /// One sentence for people.
    pub reason: String,
}

/// The first limit that losses have reached; `None` while there is none, and before the first trading day.
pub(super) fn crossed_limit(
    book: &AccountBook,
    prices: &SymbolPrices,
    config: &BotConfig,
) -> Option<CrossedLimit> {
    // Losses are measured from the equity at a day's first price.
    book.day?;
    let losses = counted_losses(book, prices);
    crossed_daily_loss(book, prices, losses.day, config)
        .or_else(|| crossed_drawdown(losses.drawdown, config))
        .or_else(|| crossed_consecutive_losses(losses.in_a_row, config))
}

fn percent(part: Decimal) -> Decimal {
    (part * Decimal::ONE_HUNDRED).round_dp(2)
}

/// How near the account is to the limits on losses. All zero before the first trading day.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct CountedLosses {
    /// Profit and loss of the day without what was lost before the last reset, as a part of the equity it began with.
    pub day: Decimal,
    /// Fall from the highest equity, as a part of it; never above zero while that is known.
    pub drawdown: Decimal,
    /// Trades in a row that lost money.
    pub in_a_row: u32,
}

/// What counts against the limits now.
pub(super) fn counted_losses(book: &AccountBook, prices: &SymbolPrices) -> CountedLosses {
    let Some((_, began_with)) = book.day else { return CountedLosses::default() };
    let part = |amount: Decimal, of: Decimal| if of.is_zero() { Decimal::ZERO } else { amount / of };
    CountedLosses {
        day: part(book.daily_pl_since_reset(prices), began_with),
        drawdown: part(book.equity(prices) - book.peak, book.peak),
        in_a_row: book.track.losses_in_a_row(),
    }
}

/// `share` is the loss as a part of the equity with which the day began.
fn crossed_daily_loss(
    book: &AccountBook,
    prices: &SymbolPrices,
    share: Decimal,
    config: &BotConfig,
) -> Option<CrossedLimit> {
    let risk = &config.risk_management;
    let (day, _) = book.day?;
    let loss = book.daily_pl_since_reset(prices);
    let source = "daily_loss";
    if loss <= risk.daily_loss_limit {
        let (loss, limit) = (loss.round_dp(2), risk.daily_loss_limit);
        return Some(CrossedLimit {
            source,
            reason: format!("the loss of {loss} on {day} reached the limit of {limit}"),
        });
    }
    let most =
        (-risk.max_daily_loss_pct / Decimal::ONE_HUNDRED).max(config.circuit_breaker_thresholds.daily_loss);
    (share <= most).then(|| CrossedLimit {
        source,
        reason: format!("the loss of {} % on {day} reached {} %", percent(share), percent(most)),
    })
}

fn crossed_drawdown(drawdown: Decimal, config: &BotConfig) -> Option<CrossedLimit> {
    let most = config.circuit_breaker_thresholds.max_drawdown;
    (drawdown <= most).then(|| CrossedLimit {
        source: "max_drawdown",
        reason: format!("the drawdown of {} % reached {} %", percent(drawdown), percent(most)),
    })
}

fn crossed_consecutive_losses(losses: u32, config: &BotConfig) -> Option<CrossedLimit> {
    (losses >= config.risk_management.max_consecutive_losses).then(|| CrossedLimit {
        source: "consecutive_losses",
        reason: format!("{losses} trades in a row lost money"),
    })
}
