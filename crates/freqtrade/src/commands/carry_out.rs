//! Carries a plan out, stage by stage, and says what was seen of it.
//!
//! Each request is sent once. What freqtrade answers is kept for people; whether the effect is there is read back from
//! its state. After a request of which nobody knows whether it arrived, no further one is sent: freqtrade would carry it
//! out at a time that nobody chose.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::expected::ExpectedEffect;
use super::facts::CommandFacts;
use super::plan::{CommandStep, FreqtradePlan, PlannedStage, count, untouched};
use crate::upstream::{FreqtradeClient, UpstreamFailure};
use botops_contract::{CommandOutcome, Exposure, Verb};
use botops_core::text::clean;

/// An exit or a cancellation waits for the exchange, at times more than once.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// A change of freqtrade's state shows at once, or the request did not work.
const STATE_LIMIT: Duration = Duration::from_secs(5);

/// How long orders may take to be gone: an order at the market is filled within seconds, or something is wrong.
const ORDERS_LIMIT: Duration = Duration::from_secs(60);

/// Time between the first two looks at freqtrade; it grows up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Time between two looks at a freqtrade that needs long.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// A freqtrade that counts requests lets some through in a minute: the rest of them wait.
const TOO_OFTEN_PAUSE: Duration = Duration::from_secs(5);

/// The longest message that is passed on whole.
pub(super) const LONGEST_MESSAGE: usize = 480;

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
}

/// Sends the steps of a plan and looks for their effect.
pub(super) async fn carry_out(
    client: &FreqtradeClient,
    own_lock: &str,
    verb: Verb,
    plan: &FreqtradePlan,
    stopping: &CancellationToken,
) -> CarriedOut {
    let mut run = PlanRun { client, own_lock, stopping, said: Vec::new(), delivered: 0, facts: None };
    for stage in &plan.stages {
        if let Some(ended) = run.carry_out_stage(stage).await {
            return ended;
        }
    }
    let facts = run.facts;
    let filled: usize = plan
        .stages
        .iter()
        .zip(std::iter::repeat(facts.as_ref()))
        .filter_map(|(stage, facts)| Some(stage.expected.filled_meanwhile(facts?)))
        .sum();
    let mut message = plan.done.clone();
    if filled > 0 {
        message.push_str(&format!("; {filled} of them were filled before they could be cancelled"));
    }
    let exposure = exposure_after(verb, plan, facts.as_ref(), filled);
    CarriedOut {
        outcome: CommandOutcome::Done,
        reason_code: None,
        message: clean(&message, LONGEST_MESSAGE),
        exposure: Some(exposure),
        facts,
    }
}

/// One plan on its way.
struct PlanRun<'c> {
    client: &'c FreqtradeClient,
    own_lock: &'c str,
    /// The adapter is told to end: what was not seen by then is written down as not seen.
    stopping: &'c CancellationToken,
    /// What freqtrade answered to steps that it did not take, for people.
    said: Vec<String>,
    /// Requests that freqtrade got, or may have got.
    delivered: usize,
    facts: Option<CommandFacts>,
}

impl PlanRun<'_> {
    /// Sends the steps of one stage; `None` once its effect shows, else how the command ended.
    async fn carry_out_stage(&mut self, stage: &PlannedStage) -> Option<CarriedOut> {
        let mut unsent = 0;
        for (index, step) in stage.steps.iter().enumerate() {
            match self.send(step).await {
                Ok(_) => self.delivered += 1,
                Err(failure) => {
                    let is_undelivered = never_arrived(&failure);
                    if is_undelivered && self.delivered == 0 {
                        return Some(nothing_done(&failure));
                    }
                    self.delivered += usize::from(!is_undelivered);
                    self.said.push(said_of(step, &failure));
                    if !failure.was_answered() {
                        unsent = stage.steps.len() - index - 1;
                        break;
                    }
                }
            }
        }
        if unsent > 0 {
            self.said.push(format!("{unsent} further requests were not sent"));
        }
        let missing = self.wait_for_effect(stage, unsent > 0).await;
        (!missing.is_empty()).then(|| self.unconfirmed(stage, &missing))
    }

    /// Sends one step. Only a request that freqtrade turned away unseen, since there were too many, is sent again.
    async fn send(&self, step: &CommandStep) -> Result<(), UpstreamFailure> {
        let until = Instant::now() + ORDERS_LIMIT;
        loop {
            let (method, path, body) = step.request();
            match self.client.send(method, &path, body.as_ref(), STEP_LIMIT).await {
                Err(UpstreamFailure::TooOften) if Instant::now() < until => {
                    tokio::time::sleep(TOO_OFTEN_PAUSE).await;
                }
                answered => return answered.map(|_| ()),
            }
        }
    }

    /// Looks at freqtrade until the effect shows or its time is over; what is missing then.
    async fn wait_for_effect(&mut self, stage: &PlannedStage, is_cut_short: bool) -> Vec<String> {
        let touches_orders = stage.steps.iter().any(|step| step.trade_id().is_some());
        // What was not sent does not happen: then it is enough to see what did.
        let limit = if touches_orders && !is_cut_short { ORDERS_LIMIT } else { STATE_LIMIT };
        let until = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let missing = match CommandFacts::read(self.client, self.own_lock).await {
                Ok(facts) => {
                    let missing = stage.expected.missing(&facts);
                    self.facts = Some(facts);
                    missing
                }
                Err(failure) => {
                    self.facts = None;
                    vec![format!("freqtrade cannot be read: {failure}")]
                }
            };
            if missing.is_empty() || Instant::now() >= until || self.stopping.is_cancelled() {
                return missing;
            }
            tokio::select! {
                () = self.stopping.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    fn unconfirmed(&mut self, stage: &PlannedStage, missing: &[String]) -> CarriedOut {
        let mut message = format!("sent, and its effect is not there: {}", list(missing));
        if !self.said.is_empty() {
            message.push_str(&format!(". freqtrade: {}", list(&self.said)));
        }
        message.push_str(remedy(&stage.expected));
        CarriedOut {
            outcome: CommandOutcome::Unconfirmed,
            reason_code: None,
            message: clean(&message, LONGEST_MESSAGE),
            exposure: None,
            facts: self.facts.take(),
        }
    }
}

fn remedy(expected: &ExpectedEffect) -> &'static str {
    if expected.concerns_trades() {
        ". Look at these trades in freqtrade and at the exchange"
    } else {
        ". Look at freqtrade's state before you repeat it"
    }
}

/// Whether the request certainly never reached freqtrade, or was turned away before it was looked at.
fn never_arrived(failure: &UpstreamFailure) -> bool {
    use UpstreamFailure::{Status, Unauthorized, Unavailable, Unreachable};
    matches!(failure, Unreachable(_) | Unauthorized | Unavailable(_) | Status(404 | 405, _))
}

/// The answer when freqtrade could not be told anything.
pub(super) fn nothing_done(failure: &UpstreamFailure) -> CarriedOut {
    let (reason_code, remedy) = match failure {
        UpstreamFailure::Unauthorized => {
            ("bot_unauthorized", "put username and password of its `api_server` into the credentials file")
        }
        UpstreamFailure::Status(404 | 405, _) => {
            ("not_capable", "this version of it has no such call; `pause` came with 2025.3")
        }
        UpstreamFailure::Late | UpstreamFailure::Cut => ("bot_hung", "look at its process and its log"),
        _ => ("bot_unreachable", "look whether it runs"),
    };
    CarriedOut {
        outcome: CommandOutcome::Refused,
        reason_code: Some(reason_code),
        message: clean(&format!("nothing was done by freqtrade: {failure}; {remedy}"), LONGEST_MESSAGE),
        exposure: None,
        facts: None,
    }
}

fn said_of(step: &CommandStep, failure: &UpstreamFailure) -> String {
    match step.trade_id() {
        Some(trade_id) => format!("#{trade_id}: {failure}"),
        None => failure.to_string(),
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

/// What was done to orders and positions: as planned, with what is left as it was seen afterwards.
fn exposure_after(verb: Verb, plan: &FreqtradePlan, facts: Option<&CommandFacts>, filled: usize) -> Exposure {
    let mut exposure = plan.exposure.clone();
    let left = facts.map(untouched).unwrap_or_default();
    (exposure.positions_left, exposure.orders_left) = (left.positions_left, left.orders_left);
    if verb == Verb::CancelOrders {
        exposure.orders_cancelled =
            exposure.orders_cancelled.map(|cancelled| cancelled.saturating_sub(count(filled)));
    }
    exposure
}
