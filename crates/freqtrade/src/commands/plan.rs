//! What a command would do to freqtrade. Nothing is carried out here, so a dry run and the command itself agree.
//!
//! No command opens a position, deletes a trade or removes a lock that is not botops' own.

use chrono::{DateTime, SecondsFormat, Utc};
use rust_decimal::Decimal;

use super::arguments::CommandArguments;
use super::expected::{ExpectedEffect, OrderMark, TradeMark};
use super::facts::{CommandFacts, TraderState, cancellable_orders, is_held, named, worth};
use super::steps::{CommandStep, PlannedStage};
use crate::trades::is_entry_order;
use crate::upstream::{FreqtradeTrade, endless_lock};
use botops_contract::{CommandRequest, Exposure, Verb};

/// Trades that a sentence names; all of them are in `exposure`.
const NAMED_TRADES: usize = 8;

/// What a command would do.
#[derive(Debug, Clone, Default)]
pub(super) struct FreqtradePlan {
    /// Why it is not carried out: a stable reason.
    pub refused: Option<&'static str>,
    /// Empty when what it asks for holds already.
    pub stages: Vec<PlannedStage>,
    /// What would happen, after "it would"; for a refusal and for an empty plan, the whole sentence.
    pub sentence: String,
    /// What happened, once it was seen; what was cancelled or exited is put before it then.
    pub done: String,
    /// What would happen to orders and positions.
    pub exposure: Exposure,
}

impl FreqtradePlan {
    /// Plans a command for freqtrade as it is.
    pub(super) fn new(
        verb: Verb,
        request: &CommandRequest,
        arguments: &CommandArguments,
        facts: &CommandFacts,
    ) -> Self {
        match (&facts.state, verb) {
            (TraderState::Reloading, _) => Self::refused(
                "bot_reloading",
                "freqtrade reads its config anew and would pass over a command; repeat it in a few seconds",
            ),
            (TraderState::Other(word), _) => Self::refused(
                "bot_state",
                &format!("freqtrade is in a state that is not known here (`{word}`)"),
            ),
            (_, Verb::Pause) => plan_pause(request, arguments, facts),
            (_, Verb::Resume) => plan_resume(arguments, facts),
            (_, Verb::CancelOrders) => plan_cancel(arguments, facts),
            (_, Verb::Flatten) => plan_flatten(facts),
            _ => Self::refused("not_capable", "freqtrade has no such command"),
        }
    }

    fn refused(code: &'static str, sentence: &str) -> Self {
        Self { refused: Some(code), sentence: sentence.to_owned(), ..Self::default() }
    }

    /// Whether nothing has to be done.
    pub(super) fn is_done_already(&self) -> bool {
        self.refused.is_none() && self.stages.is_empty()
    }

    fn stage(&mut self, steps: Vec<CommandStep>, expected: ExpectedEffect) {
        if !steps.is_empty() {
            self.stages.push(PlannedStage { steps, expected });
        }
    }
}

fn plan_pause(request: &CommandRequest, arguments: &CommandArguments, facts: &CommandFacts) -> FreqtradePlan {
    let is_stopped = facts.state == TraderState::Stopped;
    if is_stopped && !arguments.start {
        return FreqtradePlan::refused(
            "bot_stopped",
            &format!(
                "freqtrade is stopped: it enters nothing already, and pausing would start it. {} `pause` with \
                 `args.start: true` starts it paused: it manages its trades and enters nothing",
                left_alone(facts)
            ),
        );
    }
    let mut plan = FreqtradePlan { exposure: untouched(facts), ..FreqtradePlan::default() };
    let mut will = Vec::new();
    if facts.state != TraderState::Paused {
        plan.stage(vec![CommandStep::Pause], ExpectedEffect::state(TraderState::Paused));
        will.push(if is_stopped {
            format!(
                "START freqtrade, which is stopped, as paused: it manages {} open trades again",
                facts.trades.len()
            )
        } else {
            "pause freqtrade: no new entries, exits go on".to_owned()
        });
    }
    let asked = arguments.until.unwrap_or_else(endless_lock);
    // A lock that holds longer already is as good, and is not shortened.
    let held = own_lock_end(facts).filter(|held| *held >= asked);
    if arguments.durable && held.is_none() {
        let reason = format!("{}: {}", facts.own_lock, botops_core::text::clean(&request.reason, 150));
        plan.stage(vec![CommandStep::AddLock { until: asked, reason }], ExpectedEffect::lock(asked));
        will.push("lock every pair".to_owned());
    }
    let lock_end = if arguments.durable { held.or(Some(asked)) } else { own_lock_end(facts) };
    let mut tail = pause_tail(lock_end, facts);
    if arguments.durable && arguments.until.is_some() && held.is_some_and(|held| held > asked) {
        tail.push_str("; the earlier end that was asked for is not taken: `resume` first, then pause again");
    }
    if plan.stages.is_empty() {
        plan.sentence = format!("freqtrade is paused already{tail}");
    } else {
        plan.sentence = format!("{}{tail}", will.join(", and "));
        plan.done = format!("freqtrade is paused: no new entries, exits go on{tail}");
    }
    plan
}

/// When the longest of this adapter's own locks ends.
fn own_lock_end(facts: &CommandFacts) -> Option<DateTime<Utc>> {
    facts.own_locks().map(|lock| lock.until.unwrap_or_else(endless_lock)).max()
}

/// What a pause leaves open, which nobody should have to find out later. `locked_until` is the end of a lock.
fn pause_tail(locked_until: Option<DateTime<Utc>>, facts: &CommandFacts) -> String {
    let resting = facts.resting_orders().filter(|(trade, order)| is_entry_order(trade, order)).count();
    let mut tail = match resting {
        0 => String::new(),
        count => format!(
            "; {} and may still fill (`cancel-orders` ends that)",
            many(count, "resting entry stays", "resting entries stay")
        ),
    };
    tail.push_str(&reload_tail(locked_until));
    tail
}

/// What a reload and a restart of freqtrade do to a pause.
fn reload_tail(locked_until: Option<DateTime<Utc>>) -> String {
    match locked_until {
        Some(until) => {
            let end = lock_end(until);
            format!("; every pair is locked {end}, over a reload and a restart; `resume` ends that")
        }
        None => "; a reload or a restart of freqtrade lifts the pause, `pause` with `args.durable: true` holds over both"
            .to_owned(),
    }
}

fn plan_resume(arguments: &CommandArguments, facts: &CommandFacts) -> FreqtradePlan {
    if facts.state == TraderState::Stopped && !arguments.start {
        return FreqtradePlan::refused(
            "bot_stopped",
            &format!(
                "freqtrade is stopped, not paused: this would start it, to manage its {} and to enter new ones. \
                 `args.start: true` says that this is meant",
                many(facts.trades.len(), "open trade", "open trades")
            ),
        );
    }
    let mut plan = FreqtradePlan { exposure: untouched(facts), ..FreqtradePlan::default() };
    let mut will = Vec::new();
    match facts.state {
        TraderState::Running => {}
        TraderState::Stopped => {
            let managed = list_trades(&facts.trades.iter().collect::<Vec<_>>());
            will.push(format!(
                "START freqtrade, which is stopped: it manages its open trades again ({managed})"
            ));
        }
        _ => will.push("let freqtrade enter new trades again".to_owned()),
    }
    if facts.state != TraderState::Running {
        plan.stage(vec![CommandStep::Start], ExpectedEffect::state(TraderState::Running));
    }
    let own: Vec<String> = facts.own_locks().filter_map(|lock| lock.id.clone()).collect();
    if !own.is_empty() {
        will.push(format!("remove botops' own lock of every pair ({})", own.join(", ")));
        let steps = own.into_iter().map(|lock_id| CommandStep::RemoveLock { lock_id }).collect();
        plan.stage(steps, ExpectedEffect::no_own_lock());
    }
    let foreign = foreign_lock(facts);
    if plan.stages.is_empty() {
        plan.sentence = format!("freqtrade was not paused{foreign}");
    } else {
        plan.sentence = format!("{}{foreign}", will.join(", and "));
        plan.done = format!("freqtrade may enter new trades again{foreign}");
    }
    plan
}

/// A lock of somebody else that still keeps entries closed; it is named and never removed.
fn foreign_lock(facts: &CommandFacts) -> String {
    let foreign = facts.closing_lock(|lock| !facts.is_own(lock));
    foreign.map_or_else(String::new, |lock| {
        let reason = lock.reason.as_deref().unwrap_or("no reason given");
        let until = lock.until.map(lock_end).unwrap_or_default();
        format!("; a lock of every pair that is not botops' keeps entries closed {until} ({reason})")
    })
}

fn plan_cancel(arguments: &CommandArguments, facts: &CommandFacts) -> FreqtradePlan {
    if facts.state == TraderState::Stopped {
        return FreqtradePlan::refused(
            "bot_stopped",
            "freqtrade is stopped and cancels nothing: start it (`pause` with `args.start: true` starts it paused), or \
             cancel at the exchange",
        );
    }
    if facts.trades.is_empty() && facts.unreadable_trades > 0 {
        return unreadable(facts);
    }
    let mut plan = FreqtradePlan { exposure: untouched(facts), ..FreqtradePlan::default() };
    let (mut steps, mut orders, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    for trade in facts.trades.iter().filter(|trade| arguments.means(&trade.pair)) {
        let resting: Vec<_> = cancellable_orders(trade).collect();
        if resting.is_empty() {
            continue;
        }
        // freqtrade cancels all that rests of a trade, so one with an exit among it is left as it is.
        if !arguments.exits && resting.iter().any(|order| !is_entry_order(trade, order)) {
            kept.push(trade);
            continue;
        }
        let marks: Vec<_> = resting.into_iter().map(|order| OrderMark::of(trade, order)).collect();
        orders.extend(marks.iter().cloned());
        let (trade, exits) = (TradeMark::of(trade), arguments.exits);
        steps.push(CommandStep::CancelOrders { trade, orders: marks, exits });
    }
    let kept = if kept.is_empty() {
        String::new()
    } else {
        format!("; exit orders stay ({}), `args.exits: true` cancels them too", list_trades(&kept))
    };
    let names: Vec<String> = orders.iter().map(|order| order.name.clone()).collect();
    let count = count(orders.len());
    plan.exposure.orders_cancelled = Some(count);
    plan.exposure.orders_left = plan.exposure.orders_left.map(|left| left.saturating_sub(count));
    if steps.is_empty() {
        plan.sentence = format!("no entry order{} rests{kept}", of_pairs(arguments));
    } else {
        let these = many(orders.len(), "resting order", "resting orders");
        plan.sentence = format!("cancel {these}: {}{kept}", list_names(&names));
        plan.done = kept;
    }
    plan.stage(steps, ExpectedEffect::orders_gone(orders));
    plan
}

/// The pairs that were asked for, so that nobody takes what is said of them for a word about all.
fn of_pairs(arguments: &CommandArguments) -> String {
    arguments.pairs.as_ref().map_or_else(String::new, |pairs| format!(" of {}", list_names(pairs)))
}

fn plan_flatten(facts: &CommandFacts) -> FreqtradePlan {
    if facts.state == TraderState::Stopped {
        return FreqtradePlan::refused(
            "bot_stopped",
            &format!(
                "freqtrade is stopped and takes no exit. {} Start it paused (`pause` with `args.start: true`) and \
                 flatten then, or close them at the exchange",
                left_alone(facts)
            ),
        );
    }
    if facts.trades.is_empty() && facts.unreadable_trades > 0 {
        return unreadable(facts);
    }
    let mut plan = FreqtradePlan { exposure: untouched(facts), ..FreqtradePlan::default() };
    let mut will = Vec::new();
    if facts.state != TraderState::Paused {
        plan.stage(vec![CommandStep::Pause], ExpectedEffect::state(TraderState::Paused));
        will.push("pause freqtrade".to_owned());
    }
    let marks: Vec<_> = facts.trades.iter().map(TradeMark::of).collect();
    let steps = marks.iter().cloned().map(|trade| CommandStep::ForceExit { trade }).collect();
    plan.stage(steps, ExpectedEffect::trades_gone(marks));
    let held: Vec<&FreqtradeTrade> = facts.held_trades().collect();
    let resting = facts.trades.len() - held.len();
    if !held.is_empty() {
        let trades = many(held.len(), "trade", "trades");
        will.push(format!("exit {trades} at the market: {}", list_trades(&held)));
    }
    if resting > 0 {
        let unfilled: Vec<_> = facts.trades.iter().filter(|trade| !is_held(trade)).collect();
        let entries = many(resting, "entry that is not filled", "entries that are not filled");
        will.push(format!("cancel {entries}: {}", list_trades(&unfilled)));
    }
    plan.exposure = exposure_of_exits(&facts.trades);
    if facts.unreadable_trades > 0 {
        let unreadable = facts.unreadable_trades;
        plan.exposure.positions_left = None;
        will.push(format!(
            "leave {}",
            many(unreadable, "trade that cannot be read", "trades that cannot be read")
        ));
    }
    if plan.stages.is_empty() {
        plan.sentence = "no trade is open, and freqtrade is paused already".to_owned();
    } else {
        plan.sentence = will.join(", then ");
        let tail = reload_tail(own_lock_end(facts));
        plan.done = format!("; freqtrade is paused{tail}");
        plan.sentence.push_str(&tail);
    }
    plan
}

/// What exits of these trades, and nothing else, do to orders and positions.
pub(super) fn exposure_of_exits(trades: &[FreqtradeTrade]) -> Exposure {
    let held: Vec<&FreqtradeTrade> = trades.iter().filter(|trade| is_held(trade)).collect();
    let resting =
        trades.iter().flat_map(FreqtradeTrade::order_list).filter(|order| order.is_open == Some(true));
    Exposure {
        orders_cancelled: Some(count(resting.count())),
        orders_submitted: Some(count(held.len())),
        positions_closing: Some(held.iter().map(|trade| trade.pair.clone()).collect()),
        notional: total_worth(&held).map(|worth| worth.normalize().into()),
        positions_left: Some(0),
        orders_left: Some(0),
    }
}

/// The beginning of what is said once no trade is open.
pub(super) fn closed_trades(exited: &[FreqtradeTrade]) -> String {
    match exited.iter().filter(|trade| is_held(trade)).count() {
        0 => "no position is open".to_owned(),
        count => many(count, "trade is closed", "trades are closed"),
    }
}

/// The beginning of what is said once these orders rest no more.
pub(super) fn orders_that_are_gone(orders: &[&OrderMark]) -> String {
    if orders.is_empty() {
        return "no order was cancelled".to_owned();
    }
    let names: Vec<String> = orders.iter().map(|order| order.name.clone()).collect();
    format!("gone: {}, {}", many(orders.len(), "resting order", "resting orders"), list_names(&names))
}

/// Open trades are there, and none of them can be named to freqtrade: done would be a lie.
fn unreadable(facts: &CommandFacts) -> FreqtradePlan {
    let trades = many(facts.unreadable_trades, "open trade", "open trades");
    FreqtradePlan::refused(
        "trades_unreadable",
        &format!(
            "what freqtrade says of its {trades} cannot be read; close them in freqtrade or at the exchange"
        ),
    )
}

/// Orders and positions as they are: what a command that touches none of them leaves.
pub(super) fn untouched(facts: &CommandFacts) -> Exposure {
    let is_counted = facts.unreadable_trades == 0;
    Exposure {
        orders_cancelled: Some(0),
        orders_submitted: Some(0),
        positions_closing: Some(Vec::new()),
        notional: Some(Decimal::ZERO.into()),
        positions_left: is_counted.then(|| count(facts.held_trades().count())),
        orders_left: is_counted.then(|| count(facts.resting_orders().count())),
    }
}

fn left_alone(facts: &CommandFacts) -> String {
    match facts.trades.len() {
        0 => "No trade is open.".to_owned(),
        count => {
            format!("Nobody manages its {}, stop losses included.", many(count, "open trade", "open trades"))
        }
    }
}

fn total_worth(trades: &[&FreqtradeTrade]) -> Option<Decimal> {
    trades.iter().try_fold(Decimal::ZERO, |sum, trade| sum.checked_add(worth(trade)?))
}

fn list_trades(trades: &[&FreqtradeTrade]) -> String {
    list_names(&trades.iter().map(|trade| named(trade)).collect::<Vec<_>>())
}

fn list_names(names: &[String]) -> String {
    let mut list = names.iter().take(NAMED_TRADES).cloned().collect::<Vec<_>>().join(", ");
    if names.is_empty() {
        list.push_str("none");
    }
    if names.len() > NAMED_TRADES {
        list.push_str(&format!(" and {} more", names.len() - NAMED_TRADES));
    }
    list
}

fn lock_end(until: DateTime<Utc>) -> String {
    if until >= endless_lock() {
        return "until somebody resumes".to_owned();
    }
    format!("until {} (freqtrade rounds up to its candle)", until.to_rfc3339_opts(SecondsFormat::Secs, true))
}

pub(super) fn many(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::upstream::{ConfigEcho, LocksAnswer, ReadList};

    fn facts(state: &str, trades: &Value) -> CommandFacts {
        let echo: ConfigEcho = serde_json::from_value(json!({"state": state})).unwrap();
        let trades: ReadList<FreqtradeTrade> = serde_json::from_str(&trades.to_string()).unwrap();
        CommandFacts::of(&echo, trades, LocksAnswer::default(), Utc::now(), "botops durable pause 0123abcd")
    }

    fn plan(verb: Verb, facts: &CommandFacts) -> FreqtradePlan {
        let request: CommandRequest =
            serde_json::from_value(json!({"command_id": "a", "reason": "a test"})).unwrap();
        FreqtradePlan::new(verb, &request, &CommandArguments::default(), facts)
    }

    #[test]
    fn trades_that_cannot_be_read_are_never_called_none() {
        let unreadable = facts("paused", &json!([{"pair": "BTC/USDT"}]));
        for verb in [Verb::Flatten, Verb::CancelOrders] {
            assert_eq!(plan(verb, &unreadable).refused, Some("trades_unreadable"));
        }
        let some =
            facts("paused", &json!([{"pair": "BTC/USDT"}, {"trade_id": 2, "pair": "ETH/USDT", "amount": 1}]));
        let plan = plan(Verb::Flatten, &some);
        assert_eq!(plan.exposure.positions_left, None);
        let gone = facts("paused", &json!([{"pair": "BTC/USDT"}]));
        assert_eq!(plan.stages[0].expected.missing(&gone), ["1 open trades cannot be read"]);
    }

    #[test]
    fn a_number_that_is_used_again_is_another_trade() {
        let trade = |at: i64| json!([{"trade_id": 1, "pair": "BTC/USDT", "amount": 1, "open_timestamp": at}]);
        let stage = plan(Verb::Flatten, &facts("paused", &trade(1_000))).stages.remove(0);
        assert_eq!(stage.expected.missing(&facts("paused", &trade(1_000))).len(), 1);
        assert!(stage.expected.missing(&facts("paused", &trade(2_000))).is_empty());
    }

    #[test]
    fn a_lock_that_holds_over_a_reload_is_said_also_where_it_has_no_end() {
        let mut stopped = facts("stopped", &json!([]));
        let lock = json!({"pair": "*", "side": "*", "reason": "botops durable pause 0123abcd: holidays"});
        stopped.locks.push(serde_json::from_str(&lock.to_string()).unwrap());
        let request = serde_json::from_value(json!({"command_id": "a", "reason": "a test"})).unwrap();
        let arguments = CommandArguments { start: true, ..CommandArguments::default() };
        let plan = FreqtradePlan::new(Verb::Pause, &request, &arguments, &stopped);
        for said in [&plan.sentence, &plan.done] {
            assert!(said.contains("every pair is locked until somebody resumes"), "{said}");
            assert!(!said.contains("lifts the pause"), "{said}");
        }
    }

    #[test]
    fn nothing_is_planned_for_a_freqtrade_that_reloads_or_is_in_no_known_state() {
        for (state, code) in [("reload_config", "bot_reloading"), ("dreaming", "bot_state")] {
            for verb in [Verb::Pause, Verb::Resume, Verb::CancelOrders, Verb::Flatten] {
                assert_eq!(plan(verb, &facts(state, &json!([]))).refused, Some(code));
            }
        }
    }
}
