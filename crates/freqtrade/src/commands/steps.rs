//! The requests of a plan, and whether each is still right at the moment when it is sent.

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Method;
use serde_json::{Value, json};

use super::expected::{ExpectedEffect, OrderMark, TradeMark};
use super::facts::{CommandFacts, TraderState, cancellable_orders};
use crate::trades::is_entry_order;

/// One request to freqtrade.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CommandStep {
    Pause,
    Start,
    AddLock {
        until: DateTime<Utc>,
        reason: String,
    },
    RemoveLock {
        lock_id: String,
    },
    /// Cancels whatever rests of one trade, as long as it is these orders and no others.
    CancelOrders {
        trade: TradeMark,
        orders: Vec<OrderMark>,
        /// Exits are meant too.
        exits: bool,
    },
    ForceExit {
        trade: TradeMark,
    },
}

/// What freqtrade's state, read just before a request, says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StepCheck {
    Send,
    /// What it was about has changed: it is left out, the others go on.
    Leave,
    /// freqtrade is not in the state that the plan was made for: nothing more is sent.
    Stop,
}

impl CommandStep {
    /// Method, path and body.
    pub(super) fn request(&self) -> (Method, String, Option<Value>) {
        match self {
            Self::Pause => (Method::POST, "pause".to_owned(), None),
            Self::Start => (Method::POST, "start".to_owned(), None),
            Self::AddLock { until, reason } => {
                let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
                let lock = json!([{"pair": "*", "side": "*", "until": until, "reason": reason}]);
                (Method::POST, "locks".to_owned(), Some(lock))
            }
            Self::RemoveLock { lock_id } => (Method::DELETE, format!("locks/{lock_id}"), None),
            Self::CancelOrders { trade, .. } => {
                (Method::DELETE, format!("trades/{}/open-order", trade.trade_id), None)
            }
            Self::ForceExit { trade } => {
                // Never `all`: freqtrade drops what became of each trade then, and answers success whatever happened.
                let exit = json!({"tradeid": trade.trade_id.to_string(), "ordertype": "market"});
                (Method::POST, "forceexit".to_owned(), Some(exit))
            }
        }
    }

    /// The trade that it is about.
    pub(super) fn trade(&self) -> Option<&TradeMark> {
        match self {
            Self::CancelOrders { trade, .. } | Self::ForceExit { trade } => Some(trade),
            _ => None,
        }
    }

    /// Whether it is still right for freqtrade as it is now; `planned` is the state that it was planned for.
    pub(super) fn check(&self, planned: &TraderState, facts: &CommandFacts) -> StepCheck {
        let is_state_right = match self {
            // Right whether entries are open or not.
            Self::CancelOrders { .. } => {
                matches!(facts.state, TraderState::Running | TraderState::Paused)
            }
            _ => facts.state == *planned,
        };
        if !is_state_right {
            return StepCheck::Stop;
        }
        let is_as_planned = match self {
            Self::Pause | Self::Start | Self::AddLock { .. } => true,
            Self::RemoveLock { lock_id } => facts.own_locks().any(|lock| lock.id.as_ref() == Some(lock_id)),
            Self::ForceExit { trade } => facts.trades.iter().any(|open| trade.is(open)),
            Self::CancelOrders { trade, orders, exits } => {
                facts.trades.iter().filter(|open| trade.is(open)).any(|open| {
                    let resting: Vec<_> = cancellable_orders(open).collect();
                    resting.len() == orders.len()
                        && resting.iter().all(|order| {
                            (*exits || is_entry_order(open, order))
                                && orders.iter().any(|mark| mark.order_id == order.order_id)
                        })
                })
            }
        };
        if is_as_planned { StepCheck::Send } else { StepCheck::Leave }
    }
}

/// Steps that are sent one after the other, and what has to be seen before the next stage begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlannedStage {
    pub steps: Vec<CommandStep>,
    pub expected: ExpectedEffect,
}
