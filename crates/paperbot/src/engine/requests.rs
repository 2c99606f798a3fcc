//! Requests from the socket, carried out between ticks.
//!
//! A command and its answer go into the ledger together, so that the same command id acts once, whether the answer was
//! lost or the bot was killed in between. While the ledger cannot be written, only what takes risk out is carried out. A request acts, then its effect is published, then it is answered: a client
//! that has the answer and reads the state sees the effect.

use std::time::Instant;

use chrono::Utc;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::command_plan::{CommandPlan, clean_reason, exposure_of, phase_after};
use super::trading_loop::TradingEngine;
use crate::account::ledger::LedgerEntry;
use crate::account::recorded_account::LedgerUnwritable;
use crate::config::slot::ConfigVerbResult;
use crate::ipc::inbox::{IpcRequest, RequestDelivery, withdrawn_refusal};
use crate::session::SessionCommandOutcome;
use botops_contract::{
    CommandOutcome, CommandRequest, CommandResult, ConfigAck, ContractRefusal, EXPIRED, EventKind, Exposure,
    Severity, Verb,
};
use botops_core::failpoints;

/// End of the answer to a command that was carried out while the ledger cannot be written.
const KEPT_IN_MEMORY: &str = "; the ledger cannot be written, so this is in memory alone until it can, and lost if the bot ends before";

impl TradingEngine {
    /// Carries out a request, unless it was withdrawn or has expired.
    pub(super) fn handle_request(&mut self, delivery: RequestDelivery) {
        if !delivery.take() {
            return self.refuse_withdrawn(delivery);
        }
        failpoints::stall("paperbot.request");
        // Dropped at the end of this function: until then the command counts as pending.
        let RequestDelivery { request, ticket: _ticket } = delivery;
        match request {
            IpcRequest::Command(verb, request, reply) => {
                let answer = self.run_command(verb, &request);
                self.send_answer(reply, answer);
            }
            IpcRequest::Session(verb, request, outcome, reply) => {
                let answer = self.record_session_command(verb, &request, outcome);
                self.send_answer(reply, answer);
            }
            IpcRequest::Activate(message, reply) => {
                let facts = self.check_facts();
                let answer = self.config.activate_trial(&message, &facts, Instant::now());
                self.send_config_answer(reply, answer);
            }
            IpcRequest::Commit(message, reply) => {
                let answer = self.config.commit_trial(&message);
                self.send_config_answer(reply, answer);
            }
            IpcRequest::Revert(message, reply) => {
                let answer = self.config.revert_trial(&message);
                self.send_config_answer(reply, answer);
            }
        }
    }

    /// Refuses a withdrawn request. For a command the refusal is recorded, so that the same id does not act later.
    fn refuse_withdrawn(&mut self, delivery: RequestDelivery) {
        let RequestDelivery { request, ticket: _ticket } = delivery;
        match request {
            IpcRequest::Command(verb, request, reply) => {
                let answer = self.expire_command(verb, &request);
                self.send_answer(reply, answer);
            }
            IpcRequest::Session(verb, request, _, reply) => {
                let answer = self.expire_command(verb, &request).map(Some);
                self.send_answer(reply, answer);
            }
            IpcRequest::Activate(_, reply) | IpcRequest::Commit(_, reply) | IpcRequest::Revert(_, reply) => {
                // Usually fails, since the sender has gone.
                let _ = reply.send(Err(withdrawn_refusal()));
            }
        }
    }

    fn send_answer<T>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        self.publish_snapshot();
        // Fails when the sender has gone; the effect stays.
        let _ = reply.send(answer);
    }

    fn send_config_answer(
        &mut self,
        reply: oneshot::Sender<Result<ConfigAck, ContractRefusal>>,
        answer: ConfigVerbResult,
    ) {
        let answer = answer.map(|(ack, event)| {
            if let Some(event) = event {
                self.publish_trial_event(&event);
            }
            ack
        });
        self.send_answer(reply, answer);
    }

    fn expire_command(
        &mut self,
        verb: Verb,
        request: &CommandRequest,
    ) -> Result<CommandResult, ContractRefusal> {
        if let Some(answer) = self.earlier_answer(verb, request)? {
            return Ok(answer);
        }
        let message = "it was not taken while it was wanted, so it is not carried out";
        self.execute_plan(verb, request, CommandPlan::refused(EXPIRED, message))
    }

    fn run_command(
        &mut self,
        verb: Verb,
        request: &CommandRequest,
    ) -> Result<CommandResult, ContractRefusal> {
        if let Some(answer) = self.earlier_answer(verb, request)? {
            return Ok(answer);
        }
        let plan = CommandPlan::new(verb, request, self.order_planner(), &self.session);
        self.execute_plan(verb, request, plan)
    }

    /// The first answer to this command id, or the refusal of an id that another verb has used; `None` for a new one.
    fn earlier_answer(
        &self,
        verb: Verb,
        request: &CommandRequest,
    ) -> Result<Option<CommandResult>, ContractRefusal> {
        let Some((of, answer)) = self.account.book().answers.get(&request.command_id) else {
            return Ok(None);
        };
        if *of != verb {
            let message = format!("this command id was used for `{of}` before");
            let context = json!({"verb": of});
            return Err(ContractRefusal { code: "command_id_reused".to_owned(), message, context });
        }
        Ok(Some(CommandResult { replayed: true, ..answer.clone() }))
    }

    /// Carries out a plan and records it with the answer under the command's id.
    fn execute_plan(
        &mut self,
        verb: Verb,
        request: &CommandRequest,
        plan: CommandPlan,
    ) -> Result<CommandResult, ContractRefusal> {
        let CommandPlan { lines, message, refused, stops } = plan;
        let at = self.market.market_at().unwrap_or_else(Utc::now);
        let mut entries = self.issue_lines(lines, at);
        let exposure = exposure_of(self.account.book(), &entries);
        let mut result = self.command_result(request, CommandOutcome::Done, message, exposure);
        result.reason_code = refused.map(str::to_owned);
        if request.dry_run {
            result.outcome =
                if refused.is_some() { CommandOutcome::Refused } else { CommandOutcome::Predicted };
            return Ok(result);
        }
        if refused.is_some() {
            result.outcome = CommandOutcome::Refused;
        } else {
            let (phase, trading_enabled) =
                phase_after(self.account.book(), verb, stops, self.session.expected_reason());
            (result.phase, result.trading_enabled) = (Some(phase), Some(trading_enabled));
        }
        entries.push(LedgerEntry::Command { verb, result: Box::new(result.clone()) });
        let takes_risk_out =
            result.outcome == CommandOutcome::Done && matches!(verb, Verb::Pause | Verb::Flatten);
        if takes_risk_out {
            if !self.commit_exits(entries) {
                result.message.push_str(KEPT_IN_MEMORY);
            }
        } else {
            self.commit_entries(entries).map_err(|LedgerUnwritable { .. }| ContractRefusal {
                code: "ledger_unwritable".to_owned(),
                message: "the bot cannot record the command, so it was not carried out".to_owned(),
                context: Value::Null,
            })?;
        }
        if result.outcome == CommandOutcome::Refused {
            return Ok(result);
        }
        self.effects.record("command", json!({"command_id": request.command_id, "verb": verb}));
        let reason = clean_reason(request);
        let kind = if verb == Verb::ResetBreaker { EventKind::Breaker } else { EventKind::Lifecycle };
        let data = json!({"verb": verb, "command_id": request.command_id, "reason": reason});
        let message = format!("{} ({reason})", result.message);
        self.outbox.publish_event(kind, Severity::Medium, message, data);
        self.stopping = stops;
        Ok(result)
    }

    fn command_result(
        &self,
        request: &CommandRequest,
        outcome: CommandOutcome,
        message: String,
        exposure: Exposure,
    ) -> CommandResult {
        let status = self.trading_status();
        CommandResult {
            command_id: request.command_id.clone(),
            outcome,
            reason_code: None,
            message,
            phase: Some(status.phase),
            phase_raw: None,
            trading_enabled: Some(status.trading_enabled),
            exposure: Some(exposure),
            at: Some(Utc::now()),
            replayed: false,
        }
    }

    /// A command of the session: without an outcome, looks its answer up; with one, records it.
    fn record_session_command(
        &mut self,
        verb: Verb,
        request: &CommandRequest,
        outcome: Option<SessionCommandOutcome>,
    ) -> Result<Option<CommandResult>, ContractRefusal> {
        if let Some(answer) = self.earlier_answer(verb, request)? {
            return Ok(Some(answer));
        }
        let Some(outcome) = outcome else { return Ok(None) };
        let (book, prices) = (self.account.book(), self.market.last());
        let reason = clean_reason(request);
        let mut entries = Vec::new();
        let lets_entries_pass = verb == Verb::ResetBreaker && outcome.done && book.breaker.open.is_some();
        if lets_entries_pass {
            let (daily_pl, equity) = (book.daily_pl(prices), book.equity(prices));
            entries.push(LedgerEntry::Reset { reason: reason.clone(), daily_pl, equity });
        }
        let done = if outcome.done { CommandOutcome::Done } else { CommandOutcome::Refused };
        let mut result = self.command_result(request, done, outcome.message, exposure_of(book, &[]));
        result.reason_code = outcome.reason_code.map(str::to_owned);
        entries.push(LedgerEntry::Command { verb, result: Box::new(result.clone()) });
        if lets_entries_pass {
            self.commit_entries(entries).map_err(|LedgerUnwritable { .. }| ContractRefusal {
                code: "acted_unrecorded".to_owned(),
                message: "the session acted, and the bot cannot record it".to_owned(),
                context: Value::Null,
            })?;
        } else if !self.commit_exits(entries) {
            // The session has acted, or refused, whatever the disk says.
            result.message.push_str(KEPT_IN_MEMORY);
        }
        self.effects.record("command", json!({"command_id": request.command_id, "verb": verb}));
        let opens_or_closes = matches!(verb, Verb::ResetBreaker | Verb::Halt);
        let kind = if opens_or_closes { EventKind::Breaker } else { EventKind::Session };
        let data =
            json!({"verb": verb, "command_id": request.command_id, "reason": reason, "done": outcome.done});
        let message = format!("{verb}: {} ({reason})", result.message);
        self.outbox.publish_event(kind, Severity::Medium, message, data);
        Ok(Some(result))
    }
}
