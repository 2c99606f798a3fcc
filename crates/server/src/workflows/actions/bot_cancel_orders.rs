//! `bot.cancel_orders`: cancels resting orders.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::action::WorkflowAction;
use super::bot_command::BotCommand;
use super::bot_status::BotStatusOutput;
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::needs::ActionNeed;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use botops_contract::{CommandResult, Verb};

pub(super) struct CancelOrders;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelOrdersInput {
    /// Which orders to cancel; only `resting` exists.
    #[serde(default, rename = "scope")]
    #[expect(dead_code, reason = "there is one scope; it is written so that a reader of the file sees it")]
    order_scope: OrderScope,
    /// Cancel only orders of these instruments; all when absent.
    #[serde(default)]
    symbols: Option<Vec<String>>,
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Debug, Default, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum OrderScope {
    /// All orders that rest in the market.
    #[default]
    Resting,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct CancelOrdersOutput {
    /// `null` when the bot does not say; the same below.
    cancelled: Option<u32>,
    resting_orders: Option<u32>,
}

impl CancelOrdersOutput {
    fn of(result: &CommandResult) -> Self {
        let exposure = result.exposure.as_ref();
        Self {
            cancelled: exposure.and_then(|exposure| exposure.orders_cancelled),
            resting_orders: exposure.and_then(|exposure| exposure.orders_left),
        }
    }
}

impl WorkflowAction for CancelOrders {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 15,
        needs: &[ActionNeed::Verb(Verb::CancelOrders)],
        observable: true,
        summary: "cancel resting orders",
        ..ActionSpec::new("bot.cancel_orders", ActionClass::Mutate, ActionRepeat::Keyed)
    };
    type Input = CancelOrdersInput;
    type Output = CancelOrdersOutput;

    async fn perform(
        world: &ActionServices,
        input: CancelOrdersInput,
        call: &ActionCall,
    ) -> Result<CancelOrdersOutput, ActionFailure> {
        let command = BotCommand::cancel_orders(input.symbols, input.reason);
        let result = command.give_command(world, call).await?;
        Ok(CancelOrdersOutput::of(&result))
    }

    async fn predict(
        world: &ActionServices,
        input: CancelOrdersInput,
        call: &ActionCall,
        assumed: &mut AssumedChanges,
    ) -> Result<CancelOrdersOutput, ActionFailure> {
        let command = BotCommand::cancel_orders(input.symbols, input.reason);
        let predicted = CancelOrdersOutput::of(&command.predict_command(world, call).await?);
        assumed.resting_orders = predicted.resting_orders;
        Ok(predicted)
    }

    /// Cancelled orders stay as first reported; how many orders rest now is read from the bot's next report.
    async fn observe(
        world: &ActionServices,
        _input: CancelOrdersInput,
        first: CancelOrdersOutput,
        call: &ActionCall,
    ) -> Result<CancelOrdersOutput, ActionFailure> {
        let status = BotStatusOutput::read_fresh(world, call).await?;
        Ok(CancelOrdersOutput { resting_orders: status.resting_orders, ..first })
    }
}
