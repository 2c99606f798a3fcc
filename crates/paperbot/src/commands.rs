//! Commands of an operator, carried out between ticks.
//!
//! A command and its answer go into the ledger together, so that the same command id acts once, whether the answer
//! was lost or the bot was killed in between. There is no command that opens a position.

use chrono::Utc;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::engine::{Engine, LedgerDown};
use super::ledger::{Entry, Purpose};
use super::mailbox::{Delivery, Letter, withdrawn};
use super::trading::cancel;
use botops_contract::{
    BreakerState, CommandRequest, CommandResult, ConfigAck, EXPIRED, EventKind, Exposure, Outcome, Phase,
    Refusal, Severity, Verb,
};
use botops_core::failpoints;

/// What a command would do.
#[derive(Debug, Default)]
struct Plan {
    entries: Vec<Entry>,
    message: String,
    /// Why it is not done.
    refused: Option<&'static str>,
    stops: bool,
}

impl Plan {
    fn done(message: &str, entries: Vec<Entry>) -> Self {
        Self { entries, message: message.to_owned(), ..Self::default() }
    }

    fn refused(code: &'static str, message: &str) -> Self {
        Self { message: message.to_owned(), refused: Some(code), ..Self::default() }
    }
}

impl Engine {
    /// Reads a letter, acts, shows what came of it, answers: whoever has the answer and reads on sees its effect.
    pub fn open(&mut self, delivery: Delivery) {
        if !delivery.take() {
            return self.pass_over(delivery);
        }
        failpoints::stall("paperbot.letter");
        // Kept until the answer is out: the command is pending as long.
        let Delivery { letter, ticket: _ticket } = delivery;
        match letter {
            Letter::Command(verb, request, reply) => {
                let answer = self.command(verb, &request);
                self.answer(reply, answer);
            }
            Letter::Session(verb, request, outcome, reply) => {
                let answer = self.session_command(verb, &request, outcome);
                self.answer(reply, answer);
            }
            Letter::Activate(message, reply) => {
                let facts = self.facts();
                let answer = self.desk.activate(&message, &facts, std::time::Instant::now());
                let answer = self.settled(answer);
                self.answer(reply, answer);
            }
            Letter::Commit(message, reply) => {
                let answer = self.desk.commit(&message);
                let answer = self.settled(answer);
                self.answer(reply, answer);
            }
            Letter::Revert(message, reply) => {
                let answer = self.desk.revert(&message);
                let answer = self.settled(answer);
                self.answer(reply, answer);
            }
        }
    }

    /// A letter that is not carried out any more. A command keeps that as its answer: the same id does not act later.
    fn pass_over(&mut self, delivery: Delivery) {
        let Delivery { letter, ticket: _ticket } = delivery;
        match letter {
            Letter::Command(verb, request, reply) => {
                let answer = self.expired(verb, &request);
                self.answer(reply, answer);
            }
            Letter::Session(verb, request, _, reply) => {
                let answer = self.expired(verb, &request).map(Some);
                self.answer(reply, answer);
            }
            Letter::Activate(_, reply) | Letter::Commit(_, reply) | Letter::Revert(_, reply) => {
                // Nobody listens any more.
                let _ = reply.send(Err(withdrawn()));
            }
        }
    }

    fn expired(&mut self, verb: Verb, request: &CommandRequest) -> Result<CommandResult, Refusal> {
        if let Some(answer) = self.answered(verb, request)? {
            return Ok(answer);
        }
        let message = "it was not taken while it was wanted, so it is not carried out";
        self.record(verb, request, Plan::refused(EXPIRED, message))
    }

    fn answer<T>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        self.show();
        // Whoever asked may have gone; what was done stays done.
        let _ = reply.send(answer);
    }

    fn settled(&mut self, answer: super::desk::Answer) -> Result<ConfigAck, Refusal> {
        let (ack, turn) = answer?;
        if let Some(turn) = turn {
            self.turned(&turn);
        }
        Ok(ack)
    }

    fn command(&mut self, verb: Verb, request: &CommandRequest) -> Result<CommandResult, Refusal> {
        if let Some(answer) = self.answered(verb, request)? {
            return Ok(answer);
        }
        let plan = self.plan(verb, request);
        self.record(verb, request, plan)
    }

    /// Carries out a plan, or its refusal, and keeps the answer under the command's id.
    fn record(&mut self, verb: Verb, request: &CommandRequest, plan: Plan) -> Result<CommandResult, Refusal> {
        let exposure = self.exposure(&plan.entries);
        let mut result = CommandResult {
            command_id: request.command_id.clone(),
            outcome: Outcome::Done,
            reason_code: plan.refused.map(str::to_owned),
            message: plan.message.clone(),
            phase: self.phase(),
            trading_enabled: self.trading_enabled(),
            exposure,
            at: Utc::now(),
            replayed: false,
        };
        if request.dry_run {
            let refused = plan.refused.is_some();
            result.outcome = if refused { Outcome::Refused } else { Outcome::Predicted };
            return Ok(result);
        }
        let mut entries = plan.entries;
        if plan.refused.is_some() {
            result.outcome = Outcome::Refused;
        } else {
            (result.phase, result.trading_enabled) = self.aftermath(verb, plan.stops);
        }
        entries.push(Entry::Command { verb, result: Box::new(result.clone()) });
        self.commit(entries).map_err(|LedgerDown| Refusal {
            code: "ledger_unwritable".to_owned(),
            message: "the bot cannot record the command, so it was not carried out".to_owned(),
            context: Value::Null,
        })?;
        if result.outcome == Outcome::Refused {
            return Ok(result);
        }
        self.note_effect("command", json!({"command_id": request.command_id, "verb": verb}));
        let reason = botops_core::text::clean(&request.reason, 200);
        let kind = if verb == Verb::ResetBreaker { EventKind::Breaker } else { EventKind::Lifecycle };
        let data = json!({"verb": verb, "command_id": request.command_id, "reason": reason});
        self.tell(kind, Severity::Medium, format!("{} ({reason})", result.message), data);
        self.stopping = plan.stops;
        Ok(result)
    }

    /// The first answer to this command id, if it came before.
    pub fn answered(&self, verb: Verb, request: &CommandRequest) -> Result<Option<CommandResult>, Refusal> {
        let Some((of, answer)) = self.book.answer(&request.command_id) else { return Ok(None) };
        if *of != verb {
            let message = format!("this command id was used for `{of}` before");
            let context = json!({"verb": of});
            return Err(Refusal { code: "command_id_reused".to_owned(), message, context });
        }
        Ok(Some(CommandResult { replayed: true, ..answer.clone() }))
    }

    fn plan(&mut self, verb: Verb, request: &CommandRequest) -> Plan {
        let reason = botops_core::text::clean(&request.reason, 200);
        match verb {
            Verb::Pause if self.book.paused.is_some() => Plan::done("it was paused already", Vec::new()),
            Verb::Pause => {
                let mut entries = vec![Entry::Paused { reason }];
                entries.extend(self.cancel_entries("paused by an operator"));
                Plan::done("no new positions are opened; exits go on", entries)
            }
            Verb::Resume if self.book.paused.is_none() => Plan::done("it was not paused", Vec::new()),
            Verb::Resume => Plan::done("new positions may be opened again", vec![Entry::Resumed { reason }]),
            Verb::CancelOrders => {
                let symbols = symbols(&request.args);
                let meant = |symbol: &String| symbols.as_ref().is_none_or(|these| these.contains(symbol));
                let orders = self.book.working.values().filter(|order| meant(&order.placed.symbol));
                let entries: Vec<Entry> =
                    orders.map(|order| cancel(order, "cancelled by an operator")).collect();
                Plan::done(&format!("{} resting orders cancelled", entries.len()), entries)
            }
            Verb::Flatten if !self.book.positions.is_empty() && !self.may_send(true) => Plan::refused(
                "session_halted",
                "the broker session lets no order pass, exits included; see `session.gate`",
            ),
            Verb::Flatten => {
                let mut entries = Vec::new();
                if self.book.paused.is_none() {
                    entries.push(Entry::Paused { reason: format!("flatten: {reason}") });
                }
                entries.extend(self.cancel_entries("flattened by an operator"));
                let at = self.market_at.unwrap_or_else(Utc::now);
                let held: Vec<String> = self.book.positions.keys().cloned().collect();
                for symbol in &held {
                    let leaving = self.leaving(symbol, "flattened by an operator", Purpose::Flatten, at);
                    let cancelled = cancelled_ids(&entries);
                    entries.extend(leaving.into_iter().filter(|entry| !is_cancel_of(entry, &cancelled)));
                }
                Plan::done(
                    &format!("{} positions are being closed; none is opened until resumed", held.len()),
                    entries,
                )
            }
            Verb::ResetBreaker if self.circuit_breaker().state == BreakerState::Closed => {
                Plan::refused("breaker_closed", "the circuit breaker is closed; there is nothing to reset")
            }
            Verb::ResetBreaker if self.book.breaker.open.is_none() => Plan::done(
                "one check of the session would decide whether the circuit breaker closes",
                Vec::new(),
            ),
            Verb::ResetBreaker => {
                let entry = Entry::Reset { reason, daily_pl: self.daily_pl(), equity: self.equity() };
                Plan::done("the circuit breaker is closed; losses count from here", vec![entry])
            }
            Verb::Shutdown => Plan {
                stops: true,
                ..Plan::done("the bot stops; positions and orders stay as they are", Vec::new())
            },
            Verb::ProbeSession | Verb::Reauth | Verb::Halt if self.session.is_none() => {
                Plan::refused("not_capable", "this bot replays the past and has no broker session")
            }
            // Only a dry run comes here; what acts goes to the session itself.
            Verb::ProbeSession => Plan::done("the broker session would be checked now", Vec::new()),
            Verb::Reauth => Plan::done("the bot would sign in to the broker again", Vec::new()),
            Verb::Halt => Plan::done(
                "no order would pass, exits included, until the circuit breaker is reset",
                Vec::new(),
            ),
        }
    }

    fn aftermath(&self, verb: Verb, stops: bool) -> (Phase, bool) {
        let pauses = matches!(verb, Verb::Pause | Verb::Flatten);
        let paused = pauses || (self.book.paused.is_some() && verb != Verb::Resume);
        let open = self.book.breaker.open.is_some() && verb != Verb::ResetBreaker;
        let phase = match (stops, paused, open) {
            (true, _, _) => Phase::Stopping,
            (_, true, _) => Phase::Paused,
            (_, _, true) => Phase::Degraded,
            _ => Phase::Running,
        };
        (phase, phase == Phase::Running)
    }

    fn exposure(&self, entries: &[Entry]) -> Exposure {
        let mut exposure = Exposure::default();
        for entry in entries {
            match entry {
                Entry::Cancelled { .. } => exposure.orders_cancelled += 1,
                Entry::Placed(placed) => {
                    exposure.orders_submitted += 1;
                    exposure.positions_closing.push(placed.symbol.clone());
                    exposure.notional += placed.decided_price * placed.quantity;
                }
                _ => {}
            }
        }
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let closing = count(exposure.positions_closing.len());
        exposure.notional = exposure.notional.max(Decimal::ZERO).round_dp(2);
        exposure.positions_left = count(self.book.positions.len()).saturating_sub(closing);
        exposure.orders_left = count(self.book.working.len()).saturating_sub(exposure.orders_cancelled);
        exposure
    }
}

fn cancelled_ids(entries: &[Entry]) -> Vec<String> {
    let cancelled = entries.iter().filter_map(|entry| match entry {
        Entry::Cancelled { order_id, .. } => Some(order_id.clone()),
        _ => None,
    });
    cancelled.collect()
}

fn is_cancel_of(entry: &Entry, ids: &[String]) -> bool {
    matches!(entry, Entry::Cancelled { order_id, .. } if ids.contains(order_id))
}

/// The symbols a command is narrowed to.
fn symbols(args: &Value) -> Option<Vec<String>> {
    let symbols = args.get("symbols")?.as_array()?;
    Some(symbols.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
