//! Lines of the daily trade log, for people.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::{Value, json};

use crate::account::book::BookChange;
use crate::account::ledger::{OrderPurpose, PlacedOrder};
use crate::identity::BotIdentity;
use botops_contract::{Amount, Order, OrderType, Side, TradingMode, amount_value};

#[derive(Debug, Clone, Serialize)]
pub(crate) struct TradeLogLine {
    pub timestamp: DateTime<Utc>,
    pub symbol: String,
    pub action: Side,
    pub quantity: Decimal,
    pub price: Decimal,
    pub total_value: Decimal,
    pub order_id: String,
    pub execution_mode: &'static str,
    pub account_id: String,
    pub strategy_name: &'static str,
    pub entry_type: &'static str,
    pub stop_loss: Option<Decimal>,
    pub target: Option<Decimal>,
    pub decision_reasoning: String,
    pub indicators_used: Vec<&'static str>,
    pub risk_reward_ratio: Option<Decimal>,
    /// `win`, `loss`, `breakeven`, or `open` for a fill that does not close a position.
    pub outcome: Value,
    pub profit_loss: Option<Decimal>,
    pub hold_duration_seconds: Option<i64>,
    pub exit_timestamp: Option<DateTime<Utc>>,
    pub exit_reasoning: Option<String>,
    pub slippage: Decimal,
    pub commission: Decimal,
    pub net_profit_loss: Option<Decimal>,
    pub session_id: String,
    pub bot_version: &'static str,
    pub config_hash: String,
}

impl TradeLogLine {
    /// Makes the line of a filled order, with the trade's result when the fill closed one.
    pub(crate) fn new(
        order: &Order,
        placed: &PlacedOrder,
        change: &BookChange,
        identity: &BotIdentity,
        market_at: DateTime<Utc>,
    ) -> Self {
        let amount = |amount: &Option<Amount>| amount_value(amount.as_ref());
        let price = amount(&order.average_fill_price).unwrap_or_default();
        let filled = amount(&order.filled_quantity).unwrap_or_default();
        let trade = change.closed.as_deref();
        let (commission, slippage) = change.costs;
        let entry = placed.purpose == OrderPurpose::Entry;
        let ratio = placed.stop_price.zip(placed.target_price).and_then(|(stop, target)| {
            let risk = price - stop;
            (!risk.is_zero()).then(|| ((target - price) / risk).round_dp(2))
        });
        Self {
            timestamp: market_at,
            symbol: placed.symbol.clone(),
            action: placed.side,
            quantity: filled,
            price,
            total_value: (price * filled).round_dp(2),
            order_id: order.id.clone(),
            execution_mode: if identity.mode == TradingMode::Live { "LIVE" } else { "PAPER" },
            account_id: identity.id.clone(),
            strategy_name: "momentum",
            entry_type: if placed.order_type == OrderType::Limit { "limit" } else { "market" },
            stop_loss: trade.map_or(placed.stop_price, |trade| amount(&trade.stop_price)),
            target: trade.map_or(placed.target_price, |trade| amount(&trade.target_price)),
            decision_reasoning: trade.map_or(&placed.reason, |trade| &trade.entry_reason).clone(),
            indicators_used: if entry {
                vec!["moving_average_fast", "moving_average_slow"]
            } else {
                Vec::new()
            },
            risk_reward_ratio: ratio,
            outcome: trade.map_or(Value::from("open"), |trade| json!(trade.outcome)),
            profit_loss: trade.and_then(|trade| amount(&trade.gross_pl)),
            hold_duration_seconds: trade
                .and_then(|trade| Some((trade.closed_at - trade.opened_at?).num_seconds())),
            exit_timestamp: trade.map(|trade| trade.closed_at),
            exit_reasoning: (placed.side == Side::Sell).then(|| placed.reason.clone()),
            slippage,
            commission,
            net_profit_loss: trade.and_then(|trade| amount(&trade.net_pl)),
            session_id: identity.boot_epoch.clone(),
            bot_version: env!("CARGO_PKG_VERSION"),
            config_hash: placed.config_sha256.clone(),
        }
    }
}
