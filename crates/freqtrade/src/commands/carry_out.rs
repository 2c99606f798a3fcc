//! Carries a plan out, stage by stage, and says what was seen of it.
//!
//! What freqtrade answers is kept for people; whether the effect is there is read back from its state.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::accepted::AcceptedCommand;
use super::awaited::AwaitedEffect;
use super::expected::{ExpectedEffect, OrderMark, TradeMark, was_filled};
use super::facts::{CommandFacts, FactsReader, TraderState, named};
use super::plan::{
    FreqtradePlan, closed_trades, count, exposure_of_exits, many, orders_that_are_gone, untouched,
};
use super::sending::{SendingEnd, StepSender, unread_reason};
use super::steps::{CommandStep, PlannedStage};
use crate::upstream::{FreqtradeClient, FreqtradeTrade, UpstreamFailure};
use botops_contract::{CommandOutcome, Exposure, Verb};
use botops_core::text::clean;

/// A change of freqtrade's state shows at once, or the request did not work.
const STATE_LIMIT: Duration = Duration::from_secs(5);

/// How long orders may take to be gone: an order at the market is filled within seconds, or something is wrong.
const ORDERS_LIMIT: Duration = Duration::from_secs(60);

/// How long a pass of freqtrade's loop is waited for, where its throttle asks for no more.
pub(super) const PASS_LIMIT: Duration = Duration::from_secs(15);

/// The longest wait for a pass, whatever the throttle is.
const LONGEST_PASS_LIMIT: Duration = Duration::from_secs(60);

/// Time between the first two looks at freqtrade; it grows up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Time between two looks at a freqtrade that needs long.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// The longest message that is passed on whole.
pub(super) const LONGEST_MESSAGE: usize = 480;

/// What is said when freqtrade's loop did not go round after a pause.
pub(super) const PASS_NOT_SEEN: &str =
    "; its loop did not go round since, so a pass that was under way may still enter a trade: look again";

/// What became of a plan.
#[derive(Debug, Clone)]
pub(super) struct CarriedOut {
    pub outcome: CommandOutcome,
    /// Given where nothing was done.
    pub reason_code: Option<&'static str>,
    pub message: String,
    pub exposure: Option<Exposure>,
    /// freqtrade as it was seen last; `None` when it could not be read any more.
    pub facts: Option<CommandFacts>,
    /// What did not show in its time and may still come.
    pub awaited: Option<AwaitedEffect>,
}

/// Sends the steps of a plan, which was made for freqtrade as `seen`, and looks for their effect.
pub(super) async fn carry_out(
    client: &FreqtradeClient,
    reader: &FactsReader,
    command: &AcceptedCommand,
    plan: &FreqtradePlan,
    seen: &CommandFacts,
    stopping: &CancellationToken,
) -> CarriedOut {
    let sender = StepSender::new(client, reader, command, stopping, seen.state.clone());
    let pass_limit = seen.throttle.map_or(PASS_LIMIT, |throttle| PASS_LIMIT.max(throttle * 2));
    let pass_limit = pass_limit.min(LONGEST_PASS_LIMIT);
    let mut run = PlanRun { reader, plan, sender, pass_limit, facts: None };
    let is_pause = |stage: &PlannedStage| stage.steps == [CommandStep::Pause];
    for stage in &plan.stages {
        // What a flatten exits is decided after its pause, from what is open then.
        if command.verb == Verb::Flatten && !is_pause(stage) {
            break;
        }
        if let Some(ended) = run.carry_out_stage(stage).await {
            return ended;
        }
    }
    // Whoever starts a stopped freqtrade as paused interrupts no pass.
    let has_paused = plan.stages.iter().any(is_pause) && seen.state == TraderState::Running;
    match command.verb {
        Verb::Flatten => run.close_every_trade(plan, has_paused).await,
        Verb::Pause if has_paused => {
            let is_over = run.wait_for_pass().await;
            let note = if is_over { "" } else { PASS_NOT_SEEN };
            run.done(&format!("{}{note}", plan.done), plan.exposure.clone())
        }
        Verb::CancelOrders => run.cancelled(plan),
        _ => run.done(&plan.done, plan.exposure.clone()),
    }
}

/// One plan on its way.
struct PlanRun<'c> {
    reader: &'c FactsReader,
    plan: &'c FreqtradePlan,
    sender: StepSender<'c>,
    pass_limit: Duration,
    facts: Option<CommandFacts>,
}

impl PlanRun<'_> {
    /// Sends the steps of one stage; `None` once its effect shows, else how the command ended.
    async fn carry_out_stage(&mut self, stage: &PlannedStage) -> Option<CarriedOut> {
        let unsent = match self.sender.send_all(&stage.steps).await {
            Ok(unsent) => unsent,
            Err(end) => return Some(nothing_sent(end)),
        };
        let left = self.sender.left.iter();
        let expected = left.fold(stage.expected.clone(), ExpectedEffect::without);
        let touches_orders = stage.steps.iter().any(|step| step.trade().is_some());
        // What was not sent does not happen: then it is enough to see what did.
        let limit = if touches_orders && unsent == 0 { ORDERS_LIMIT } else { STATE_LIMIT };
        let missing = self.wait_for_effect(&expected, limit).await;
        if !missing.is_empty() {
            return Some(self.unconfirmed(expected.concerns_trades(), &missing, Vec::new()));
        }
        if let Some(facts) = &self.facts {
            self.sender.planned_state = facts.state.clone();
        }
        // What shows has arrived, whatever was answered; what was not sent does not show.
        self.sender.is_cut = false;
        None
    }

    /// Looks at freqtrade until the effect shows or its time is over; what is missing then.
    async fn wait_for_effect(&mut self, expected: &ExpectedEffect, limit: Duration) -> Vec<String> {
        let mut clock = EffectClock::new(limit);
        loop {
            let missing = match self.look(&mut clock).await {
                Ok(facts) => expected.missing(&facts),
                Err(unread) => vec![unread],
            };
            if missing.is_empty() || clock.is_over() || self.sender.is_stopping() {
                return missing;
            }
            self.sender.pause(clock.next_pause()).await;
        }
    }

    /// freqtrade as it is now, which is kept as seen last. The clock stands still while it asks for fewer questions.
    async fn look(&mut self, clock: &mut EffectClock) -> Result<CommandFacts, String> {
        let (read, waited) = self.sender.read_facts().await;
        clock.until += waited;
        self.facts = read.as_ref().ok().cloned();
        read.map_err(|failure| format!("freqtrade cannot be read: {failure}"))
    }

    /// Waits until the pass of freqtrade's loop that is under way is over, which may still enter a trade after a pause
    /// shows; whether that was seen. Two of freqtrade's own times are compared: its clock may differ.
    async fn wait_for_pass(&mut self) -> bool {
        let mut clock = EffectClock::new(self.pass_limit);
        let mut first = None;
        loop {
            match self.reader.read_last_pass().await {
                Ok(last) if *first.get_or_insert(last) != last => return true,
                _ => {}
            }
            if clock.is_over() || self.sender.is_stopping() {
                return false;
            }
            self.sender.pause(clock.next_pause()).await;
        }
    }

    /// Exits what is open, and what appears meanwhile, until nothing is.
    async fn close_every_trade(&mut self, plan: &FreqtradePlan, has_paused: bool) -> CarriedOut {
        self.sender.planned_state = TraderState::Paused;
        let mut is_pass_over = None;
        if has_paused {
            is_pass_over = Some(self.wait_for_pass().await);
        }
        let (mut asked, mut exited) = (Vec::new(), Vec::new());
        let mut clock = EffectClock::new(ORDERS_LIMIT);
        loop {
            let missing = match self.look(&mut clock).await {
                Err(unread) => vec![unread],
                Ok(facts) => {
                    if facts.state != TraderState::Paused && !self.sender.is_cut {
                        self.sender.is_cut = true;
                        clock.end_within(STATE_LIMIT);
                    }
                    match self.exit_new_trades(&facts, &mut asked, &mut exited, &mut clock).await {
                        Err(end) => return nothing_sent(end),
                        Ok(true) => continue,
                        Ok(false) => {}
                    }
                    let missing = still_open(&facts);
                    if missing.is_empty() && is_pass_over.is_none() {
                        // It was paused by somebody else, perhaps just now.
                        is_pass_over = Some(self.wait_for_pass().await);
                        continue;
                    }
                    missing
                }
            };
            if missing.is_empty() {
                let note = if is_pass_over == Some(true) { "" } else { PASS_NOT_SEEN };
                let message = format!("{}{}{note}", closed_trades(&exited), plan.done);
                return self.done(&message, exposure_of_exits(&exited));
            }
            if clock.is_over() || self.sender.is_stopping() {
                // Also what appeared and was not sent an exit any more.
                asked.extend(self.facts.iter().flat_map(|facts| &facts.trades).map(TradeMark::of));
                return self.unconfirmed(true, &missing, asked);
            }
            self.sender.pause(clock.next_pause()).await;
        }
    }

    /// Sends an exit for each open trade that none was sent for; whether there was one.
    async fn exit_new_trades(
        &mut self,
        facts: &CommandFacts,
        asked: &mut Vec<TradeMark>,
        exited: &mut Vec<FreqtradeTrade>,
        clock: &mut EffectClock,
    ) -> Result<bool, SendingEnd> {
        let new: Vec<&FreqtradeTrade> =
            facts.trades.iter().filter(|trade| !asked.iter().any(|mark| mark.is(trade))).collect();
        if new.is_empty() || self.sender.is_cut {
            return Ok(false);
        }
        let marks: Vec<TradeMark> = new.iter().map(|trade| TradeMark::of(trade)).collect();
        let steps: Vec<_> = marks.iter().cloned().map(|trade| CommandStep::ForceExit { trade }).collect();
        let before = self.sender.sent.len();
        let unsent = self.sender.send_all(&steps).await?;
        let sent = self.sender.sent.iter().skip(before).filter_map(CommandStep::trade);
        let is_sent: Vec<&TradeMark> = sent.collect();
        exited.extend(new.into_iter().filter(|trade| is_sent.iter().any(|mark| mark.is(trade))).cloned());
        asked.extend(marks);
        // Orders get their time from the last exit on; what was not sent does not happen.
        *clock = EffectClock::new(if unsent == 0 { ORDERS_LIMIT } else { STATE_LIMIT });
        Ok(true)
    }

    /// The end of a cancellation whose orders rest no more.
    fn cancelled(&mut self, plan: &FreqtradePlan) -> CarriedOut {
        let meant = self.sender.sent.iter().filter_map(|step| match step {
            CommandStep::CancelOrders { orders, .. } => Some(orders),
            _ => None,
        });
        let meant: Vec<&OrderMark> = meant.flatten().collect();
        let is_filled = |mark: &&&OrderMark| self.facts.as_ref().is_some_and(|facts| was_filled(mark, facts));
        let filled = meant.iter().filter(is_filled).count();
        let mut message = orders_that_are_gone(&meant);
        if filled > 0 {
            message.push_str(&format!("; {filled} of them were filled before they could be cancelled"));
        }
        if !self.sender.left.is_empty() {
            let left: Vec<String> = self.sender.left.iter().map(|trade| trade.name.clone()).collect();
            message.push_str(&format!(
                "; left as they are, since their orders changed meanwhile: {}",
                list(&left)
            ));
        }
        message.push_str(&plan.done);
        let cancelled = Some(count(meant.len() - filled));
        self.done(&message, Exposure { orders_cancelled: cancelled, ..plan.exposure.clone() })
    }

    /// Done, with what is left as it was seen last.
    fn done(&mut self, message: &str, exposure: Exposure) -> CarriedOut {
        let facts = self.facts.take();
        let Exposure { positions_left, orders_left, .. } = facts.as_ref().map(untouched).unwrap_or_default();
        CarriedOut {
            outcome: CommandOutcome::Done,
            reason_code: None,
            message: clean(message, LONGEST_MESSAGE),
            exposure: Some(Exposure { positions_left, orders_left, ..exposure }),
            facts,
            awaited: None,
        }
    }

    /// Not seen in its time. `asked` are trades that it was to close beyond those of its plan.
    fn unconfirmed(
        &mut self,
        concerns_trades: bool,
        missing: &[String],
        asked: Vec<TradeMark>,
    ) -> CarriedOut {
        let mut message = format!("sent, and its effect is not there: {}", list(missing));
        if !self.sender.said.is_empty() {
            message.push_str(&format!(". freqtrade: {}", list(&self.sender.said)));
        }
        message.push_str(if concerns_trades {
            ". Look at these trades in freqtrade and at the exchange"
        } else {
            ". Look at freqtrade's state before you repeat it"
        });
        CarriedOut {
            outcome: CommandOutcome::Unconfirmed,
            reason_code: None,
            message: clean(&message, LONGEST_MESSAGE),
            exposure: None,
            facts: self.facts.take(),
            awaited: Some(
                AwaitedEffect::of_plan(self.plan)
                    .answered(!self.sender.is_fate_unknown)
                    .without(&self.sender.left)
                    .with_trades(asked),
            ),
        }
    }
}

/// The time in which an effect has to show.
struct EffectClock {
    until: Instant,
    pause: Duration,
}

impl EffectClock {
    fn new(limit: Duration) -> Self {
        Self { until: Instant::now() + limit, pause: FIRST_PAUSE }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    fn end_within(&mut self, limit: Duration) {
        self.until = self.until.min(Instant::now() + limit);
    }

    fn next_pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        pause
    }
}

/// What keeps a flatten from being done, for people.
fn still_open(facts: &CommandFacts) -> Vec<String> {
    let mut missing = Vec::new();
    if facts.state != TraderState::Paused {
        missing.push(format!("freqtrade says that it is {}", facts.state));
    }
    missing.extend(facts.trades.iter().map(|trade| format!("{} is open", named(trade))));
    if facts.unreadable_trades > 0 {
        let trades = many(facts.unreadable_trades, "open trade", "open trades");
        missing.push(format!("{trades} cannot be read"));
    }
    missing
}

/// The answer when nothing was sent, or when what was sent was turned away unseen.
fn nothing_sent(end: SendingEnd) -> CarriedOut {
    let (code, why) = match end {
        SendingEnd::Undelivered(failure) => return nothing_done(&failure),
        SendingEnd::NotAsPlanned(code, why) => (code, why),
    };
    CarriedOut {
        outcome: CommandOutcome::Refused,
        reason_code: Some(code),
        message: clean(&format!("nothing was done by freqtrade: {why}"), LONGEST_MESSAGE),
        exposure: None,
        facts: None,
        awaited: None,
    }
}

/// The answer when freqtrade could not be told anything.
pub(super) fn nothing_done(failure: &UpstreamFailure) -> CarriedOut {
    let reason_code = unread_reason(failure);
    let remedy = match reason_code {
        "bot_unauthorized" => "put username and password of its `api_server` into the credentials file",
        "not_capable" => "this version of it has no such call; `pause` came with 2025.3",
        "bot_hung" => "look at its process and its log",
        "bot_asked_too_often" => "repeat it in a minute; something else may be asking it too",
        _ => "look whether it runs",
    };
    CarriedOut {
        outcome: CommandOutcome::Refused,
        reason_code: Some(reason_code),
        message: clean(&format!("nothing was done by freqtrade: {failure}; {remedy}"), LONGEST_MESSAGE),
        exposure: None,
        facts: None,
        awaited: None,
    }
}

fn list(parts: &[String]) -> String {
    const SHOWN: usize = 6;
    let mut list = parts.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if parts.len() > SHOWN {
        list.push_str(&format!(" and {} more", parts.len() - SHOWN));
    }
    list
}
