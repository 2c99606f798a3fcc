//! Commands to the bot, as several actions send them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bot_status::{BotStatusOutput, wire_name};
use super::context::{ActionCall, ActionServices};
use super::failure::ActionFailure;
use crate::bots::CommandAsker;
use botops_contract::{CommandRequest, CommandResult, Verb};
use botops_core::error::Error;

/// The input of commands without arguments: a reason for the bot's log; the run's own when absent.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TradingSwitchInput {
    #[serde(default)]
    pub(super) reason: Option<String>,
}

/// The output of pausing and resuming trading.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TradingSwitchOutput {
    /// `null` when the bot does not say; the same below.
    pub(super) trading_enabled: Option<bool>,
    pub(super) phase: Option<String>,
    pub(super) open_positions: Option<u32>,
    pub(super) resting_orders: Option<u32>,
}

impl TradingSwitchOutput {
    pub(super) fn of(result: &CommandResult) -> Self {
        Self {
            trading_enabled: result.trading_enabled,
            phase: result.phase.map(|phase| wire_name(&phase)),
            open_positions: result.exposure.as_ref().and_then(|exposure| exposure.positions_left),
            resting_orders: result.exposure.as_ref().and_then(|exposure| exposure.orders_left),
        }
    }

    /// Reads the values from the bot's next report.
    pub(super) async fn read_now(world: &ActionServices, call: &ActionCall) -> Result<Self, ActionFailure> {
        let status = BotStatusOutput::read_fresh(world, call).await?;
        let BotStatusOutput { trading_enabled, phase, open_positions, resting_orders, .. } = status;
        Ok(Self { trading_enabled, phase: Some(phase), open_positions, resting_orders })
    }
}

/// A command to the bot, without its key.
pub(super) struct BotCommand {
    verb: Verb,
    reason: Option<String>,
    args: Value,
}

impl BotCommand {
    pub(super) fn new(verb: Verb, reason: Option<String>) -> Self {
        Self { verb, reason, args: Value::Null }
    }

    /// Cancels resting orders, those of all instruments when none are named.
    pub(super) fn cancel_orders(symbols: Option<Vec<String>>, reason: Option<String>) -> Self {
        let args = symbols.map_or(Value::Null, |symbols| json!({"symbols": symbols}));
        Self { verb: Verb::CancelOrders, reason, args }
    }

    /// Sends the command under the attempt's key, so that a repetition has no second effect.
    pub(super) async fn give_command(
        self,
        world: &ActionServices,
        call: &ActionCall,
    ) -> Result<CommandResult, Error> {
        self.send_command(world, call, call.key.clone(), false).await
    }

    /// Asks the bot for its own prediction.
    ///
    /// Under a new key: the bot would otherwise answer the real command with the stored prediction.
    pub(super) async fn predict_command(
        self,
        world: &ActionServices,
        call: &ActionCall,
    ) -> Result<CommandResult, Error> {
        let key = format!("{}/dry", uuid::Uuid::now_v7());
        self.send_command(world, call, key, true).await
    }

    async fn send_command(
        self,
        world: &ActionServices,
        call: &ActionCall,
        key: String,
        dry_run: bool,
    ) -> Result<CommandResult, Error> {
        let reason = self.reason.unwrap_or_else(|| call.reason.clone());
        let (valid_for_ms, expires_at) = (None, None);
        let asker = CommandAsker {
            actor: call.actor.key_id.clone(),
            command_id: key.clone(),
            run_id: Some(call.run.clone()),
            step: Some(call.step.clone()),
        };
        let request =
            CommandRequest { command_id: key, reason, args: self.args, dry_run, valid_for_ms, expires_at };
        world.bots.command_for(self.verb, request, asker).await
    }
}
