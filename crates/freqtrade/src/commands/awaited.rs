//! An effect that did not show in its time: what is said when it comes after all, and when it comes no more.

use serde::{Deserialize, Serialize};

use super::expected::{ExpectedEffect, OrderMark, TradeMark, was_filled};
use super::facts::{CommandFacts, TraderState};
use super::plan::{FreqtradePlan, count, orders_that_are_gone, untouched};
use botops_contract::{CommandOutcome, Exposure, Verb};

/// Passes of freqtrade's loop after which a state that was asked for, and answered, comes no more. The first may have
/// been under way.
const PASSES: u32 = 2;

/// What a command was to bring about, kept over a restart of the adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct AwaitedEffect {
    expected: ExpectedEffect,
    /// What is said once it shows; what was cancelled or exited is put before it.
    done: String,
    /// freqtrade answered every request that was sent, so none of them is under way.
    is_answered: bool,
}

/// How a command ended after all.
#[derive(Debug, Clone)]
pub(super) struct LateEnd {
    pub outcome: CommandOutcome,
    pub reason_code: Option<&'static str>,
    pub message: String,
    pub exposure: Option<Exposure>,
}

impl AwaitedEffect {
    /// The effect of a whole plan, of which nobody knows yet how much was sent.
    pub(super) fn of_plan(plan: &FreqtradePlan) -> Self {
        let parts = plan.stages.iter().map(|stage| stage.expected.clone());
        let expected = parts.fold(ExpectedEffect::default(), ExpectedEffect::and);
        Self { expected, done: plan.done.clone(), is_answered: false }
    }

    /// freqtrade answered all that was sent.
    pub(super) fn answered(self, is_answered: bool) -> Self {
        Self { is_answered, ..self }
    }

    /// Without what was left as it is.
    pub(super) fn without(mut self, left: &[TradeMark]) -> Self {
        self.expected = left.iter().fold(self.expected, ExpectedEffect::without);
        self
    }

    /// These trades are to be closed as well.
    pub(super) fn with_trades(mut self, trades: Vec<TradeMark>) -> Self {
        self.expected = self.expected.and_trades_gone(trades);
        self
    }

    /// How it ended; `None` while that is not known. `passes` of freqtrade's loop were seen to end since it was sent.
    pub(super) fn assess(&self, verb: Verb, facts: &CommandFacts, passes: u32) -> Option<LateEnd> {
        if self.expected.missing(facts).is_empty() {
            return Some(self.shown(verb, facts));
        }
        let is_clear = !matches!(facts.state, TraderState::Reloading | TraderState::Other(_));
        let comes_no_more = self.is_answered && passes >= PASSES && is_clear;
        // An order may be filled or cancelled at any time; a state is set when freqtrade answers, or never.
        (comes_no_more && self.expected.is_state_of_which_nothing_shows(facts)).then(|| LateEnd {
            outcome: CommandOutcome::Refused,
            reason_code: Some("no_effect"),
            message: format!(
                "freqtrade answered and did not do it: it is {}, and its loop went round since; repeat it if it is still \
                 wanted",
                facts.state
            ),
            exposure: None,
        })
    }

    fn shown(&self, verb: Verb, facts: &CommandFacts) -> LateEnd {
        let left = untouched(facts);
        let (said, exposure) = match verb {
            Verb::CancelOrders => {
                let orders: Vec<&OrderMark> = self.expected.orders().iter().collect();
                let filled = orders.iter().filter(|mark| was_filled(mark, facts)).count();
                let mut said = orders_that_are_gone(&orders);
                if filled > 0 {
                    said.push_str(&format!("; {filled} of them were filled before they could be cancelled"));
                }
                let cancelled = self.is_answered.then(|| count(orders.len() - filled));
                (said, Exposure { orders_cancelled: cancelled, ..left })
            }
            Verb::Flatten => {
                let Exposure { positions_left, orders_left, .. } = left;
                let said = "the trades that it was to close are open no more".to_owned();
                // Which of them its own exits closed was not seen.
                (said, Exposure { positions_left, orders_left, ..Exposure::default() })
            }
            _ => (String::new(), left),
        };
        let doubt =
            if self.is_answered { "" } else { "; whether this command did it or somebody else is not known" };
        LateEnd {
            outcome: CommandOutcome::Done,
            reason_code: None,
            message: format!("{said}{}{doubt}", self.done),
            exposure: Some(exposure),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::Utc;
    use serde_json::{Value, json};

    use super::*;
    use crate::commands::arguments::CommandArguments;
    use crate::upstream::{ConfigEcho, LocksAnswer};

    fn facts(state: &str, trades: &Value) -> CommandFacts {
        let echo: ConfigEcho = serde_json::from_value(json!({"state": state})).unwrap();
        let trades = serde_json::from_str(&trades.to_string()).unwrap();
        CommandFacts::of(&echo, trades, LocksAnswer::default(), Utc::now(), "botops durable pause 0123abcd")
    }

    fn awaited(verb: Verb, facts: &CommandFacts) -> AwaitedEffect {
        let request = serde_json::from_value(json!({"command_id": "a", "reason": "a test"})).unwrap();
        let arguments = CommandArguments { exits: true, ..CommandArguments::default() };
        let plan = FreqtradePlan::new(verb, &request, &arguments, facts);
        let written = serde_json::to_string(&AwaitedEffect::of_plan(&plan)).unwrap();
        serde_json::from_str(&written).unwrap()
    }

    #[track_caller]
    fn check(
        awaited: &AwaitedEffect,
        verb: Verb,
        seen: &CommandFacts,
        passes: u32,
        end: Option<CommandOutcome>,
    ) {
        let ended = awaited.assess(verb, seen, passes);
        assert_eq!(ended.as_ref().map(|ended| ended.outcome), end, "{ended:?}");
    }

    #[test]
    fn a_state_comes_later_or_after_an_answer_and_two_passes_no_more() {
        use CommandOutcome::{Done, Refused};
        let (running, paused) = (facts("running", &json!([])), facts("paused", &json!([])));
        let unanswered = awaited(Verb::Pause, &running);
        check(&unanswered, Verb::Pause, &paused, 0, Some(Done));
        check(&unanswered, Verb::Pause, &running, 9, None);
        let answered = unanswered.answered(true);
        check(&answered, Verb::Pause, &running, 1, None);
        check(&answered, Verb::Pause, &running, 2, Some(Refused));
        check(&answered, Verb::Pause, &facts("reload_config", &json!([])), 2, None);
    }

    #[test]
    fn orders_and_trades_are_awaited_however_often_the_loop_went_round() {
        let order = json!({"order_id": "x", "status": "open", "is_open": true, "amount": 1, "filled": 0,
            "ft_order_side": "buy"});
        let resting = json!([{"trade_id": 1, "pair": "BTC/USDT", "amount": 0, "orders": [order]}]);
        let before = facts("paused", &resting);
        for verb in [Verb::CancelOrders, Verb::Flatten] {
            let awaited = awaited(verb, &before).answered(true);
            check(&awaited, verb, &before, 9, None);
            check(&awaited, verb, &facts("paused", &json!([])), 0, Some(CommandOutcome::Done));
        }
        let end = awaited(Verb::Flatten, &before).assess(Verb::Flatten, &facts("paused", &json!([])), 0);
        let exposure = end.unwrap().exposure.unwrap();
        assert_eq!((exposure.positions_left, exposure.positions_closing), (Some(0), None));
    }
}
