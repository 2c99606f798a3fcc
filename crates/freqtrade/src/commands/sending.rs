//! Sends the steps of a plan, each once, and each after a look whether it is still right.
//!
//! After a request of which nobody knows whether it arrived, no further one is sent: freqtrade would carry it out at a
//! time that nobody chose. A request that was one too many was not looked at; it is sent again, and the time that passed
//! meanwhile makes another look necessary: somebody may have stopped freqtrade, and a late request would start it.

use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::accepted::AcceptedCommand;
use super::expected::TradeMark;
use super::facts::{CommandFacts, FactsReader, TraderState};
use super::steps::{CommandStep, StepCheck};
use crate::upstream::{FreqtradeClient, UpstreamFailure};
use botops_contract::EXPIRED;

/// An exit or a cancellation waits for the exchange, at times more than once.
const STEP_LIMIT: Duration = Duration::from_secs(20);

/// How long a step is sent again that was one too many.
const REPEAT_LIMIT: Duration = Duration::from_secs(60);

/// A freqtrade that counts requests lets some through in a minute: the rest of them wait.
const TOO_OFTEN_PAUSE: Duration = Duration::from_secs(5);

/// How long a look is repeated that was one too many.
const LOOK_LIMIT: Duration = Duration::from_secs(120);

/// Why nothing more is sent.
#[derive(Debug, Clone)]
pub(super) enum SendingEnd {
    /// The first request never reached freqtrade, so nothing was done.
    Undelivered(UpstreamFailure),
    /// Before the first request: a reason code, and a sentence.
    NotAsPlanned(&'static str, String),
}

/// What became of one step.
enum StepOutcome {
    Answered(Result<(), UpstreamFailure>),
    Left,
    Stopped(&'static str, String),
}

/// The requests of one command on their way.
pub(super) struct StepSender<'c> {
    client: &'c FreqtradeClient,
    reader: &'c FactsReader,
    command: &'c AcceptedCommand,
    /// The adapter is told to end: what was not seen by then is written down as not seen.
    stopping: &'c CancellationToken,
    /// The state that the next steps were planned for.
    pub planned_state: TraderState,
    /// Requests that freqtrade got, or may have got.
    pub sent: Vec<CommandStep>,
    /// Trades that were left as they are, since they had changed.
    pub left: Vec<TradeMark>,
    /// What freqtrade answered to steps that it did not take, and what was not sent, for people.
    pub said: Vec<String>,
    /// Nothing more may be sent.
    pub is_cut: bool,
    /// Of a request that was sent, nobody knows whether it is still under way.
    pub is_fate_unknown: bool,
}

impl<'c> StepSender<'c> {
    pub(super) fn new(
        client: &'c FreqtradeClient,
        reader: &'c FactsReader,
        command: &'c AcceptedCommand,
        stopping: &'c CancellationToken,
        planned_state: TraderState,
    ) -> Self {
        let (sent, left, said) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            client,
            reader,
            command,
            stopping,
            planned_state,
            sent,
            left,
            said,
            is_cut: false,
            is_fate_unknown: false,
        }
    }

    /// Whether the adapter is told to end.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Waits, and no longer than until the adapter is told to end.
    pub(super) async fn pause(&self, time: Duration) {
        tokio::select! {
            () = self.stopping.cancelled() => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    /// Sends these steps; how many of them were not sent any more.
    pub(super) async fn send_all(&mut self, steps: &[CommandStep]) -> Result<usize, SendingEnd> {
        for (index, step) in steps.iter().enumerate() {
            let unsent = match self.send(step).await {
                StepOutcome::Answered(Ok(())) => {
                    self.sent.push(step.clone());
                    continue;
                }
                StepOutcome::Left => {
                    self.left.extend(step.trade().cloned());
                    continue;
                }
                StepOutcome::Answered(Err(failure)) => {
                    let is_undelivered = never_arrived(&failure);
                    if is_undelivered && self.sent.is_empty() {
                        return Err(SendingEnd::Undelivered(failure));
                    }
                    if !is_undelivered {
                        self.sent.push(step.clone());
                        self.is_fate_unknown |= !failure.tells_fate();
                    }
                    self.said.push(said_of(step, &failure));
                    if failure.tells_fate() && failure != UpstreamFailure::TooOften {
                        continue;
                    }
                    steps.len() - index - 1
                }
                StepOutcome::Stopped(code, why) => {
                    if self.sent.is_empty() {
                        return Err(SendingEnd::NotAsPlanned(code, why));
                    }
                    self.said.push(why);
                    steps.len() - index
                }
            };
            self.is_cut = true;
            if unsent > 0 {
                self.said.push(format!("{unsent} further requests were not sent"));
            }
            return Ok(unsent);
        }
        Ok(0)
    }

    /// Sends one step. Only a request that freqtrade turned away unseen, since there were too many, is sent again.
    async fn send(&self, step: &CommandStep) -> StepOutcome {
        let until = Instant::now() + REPEAT_LIMIT;
        let mut is_repeated = false;
        loop {
            if is_repeated && self.command.is_expired() {
                return StepOutcome::Stopped(EXPIRED, "it is not wanted any more".to_owned());
            }
            // The plan is as new as its first request; a step about a trade may come long after it.
            if is_repeated || step.trade().is_some() {
                match self.look(step).await {
                    StepOutcome::Answered(Ok(())) => {}
                    other => return other,
                }
            }
            if is_repeated && self.command.is_expired() {
                return StepOutcome::Stopped(EXPIRED, "it is not wanted any more".to_owned());
            }
            if self.is_stopping() {
                return StepOutcome::Stopped("adapter_ending", "the adapter was told to end".to_owned());
            }
            let (method, path, body) = step.request();
            let sent = Utc::now();
            let answered = self.client.act(method, &path, body.as_ref(), STEP_LIMIT).await;
            if let Err(UpstreamFailure::Domain(reason)) = &answered {
                let (id, verb) = (&self.command.request.command_id, self.command.verb);
                self.reader.note_refused_request(id, verb, reason, sent);
            }
            match answered {
                Err(UpstreamFailure::TooOften) if Instant::now() < until => {
                    self.pause(TOO_OFTEN_PAUSE).await;
                    is_repeated = true;
                }
                answered => return StepOutcome::Answered(answered),
            }
        }
    }

    /// Whether a step is still right for freqtrade as it is now.
    async fn look(&self, step: &CommandStep) -> StepOutcome {
        let facts = match self.read_facts().await.0 {
            Ok(facts) => facts,
            Err(failure) => {
                let why = format!("freqtrade cannot be read: {failure}");
                return StepOutcome::Stopped(unread_reason(&failure), why);
            }
        };
        match step.check(&self.planned_state, &facts) {
            StepCheck::Send => StepOutcome::Answered(Ok(())),
            StepCheck::Leave => StepOutcome::Left,
            StepCheck::Stop => {
                let why = format!("freqtrade is {} now, which this was not meant for", facts.state);
                StepOutcome::Stopped("bot_state", why)
            }
        }
    }

    /// Looks at freqtrade, patiently while it asks for fewer questions; with the time that this patience took.
    pub(super) async fn read_facts(&self) -> (Result<CommandFacts, UpstreamFailure>, Duration) {
        let began = Instant::now();
        loop {
            let waited = began.elapsed();
            let read = tokio::select! {
                () = self.stopping.cancelled() => Err(UpstreamFailure::Late),
                read = self.reader.read() => read,
            };
            match read {
                Err(UpstreamFailure::TooOften) if waited < LOOK_LIMIT && !self.is_stopping() => {
                    self.pause(TOO_OFTEN_PAUSE).await;
                }
                read => return (read, waited),
            }
        }
    }
}

/// Whether the request certainly never reached freqtrade, or was turned away before it was looked at.
fn never_arrived(failure: &UpstreamFailure) -> bool {
    use UpstreamFailure::{Status, TooOften, Unauthorized, Unavailable, Unreachable};
    matches!(failure, Unreachable(_) | Unauthorized | Unavailable(_) | TooOften | Status(404 | 405, _))
}

/// The reason code of a freqtrade that could not be read.
pub(super) fn unread_reason(failure: &UpstreamFailure) -> &'static str {
    match failure {
        UpstreamFailure::Unauthorized => "bot_unauthorized",
        UpstreamFailure::Status(404 | 405, _) => "not_capable",
        UpstreamFailure::Late | UpstreamFailure::Cut => "bot_hung",
        UpstreamFailure::TooOften => "bot_asked_too_often",
        _ => "bot_unreachable",
    }
}

fn said_of(step: &CommandStep, failure: &UpstreamFailure) -> String {
    match step.trade() {
        Some(trade) => format!("#{}: {failure}", trade.trade_id),
        None => failure.to_string(),
    }
}
