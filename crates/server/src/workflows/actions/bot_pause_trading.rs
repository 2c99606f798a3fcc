//! `bot.pause_trading`: forbids new positions.

use super::action::WorkflowAction;
use super::bot_command::{BotCommand, TradingSwitchInput, TradingSwitchOutput};
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::needs::ActionNeed;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use botops_contract::Verb;

pub(crate) struct PauseTrading;

impl WorkflowAction for PauseTrading {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 10,
        needs: &[ActionNeed::Verb(Verb::Pause)],
        observable: true,
        summary: "no new positions",
        ..ActionSpec::new("bot.pause_trading", ActionClass::Mutate, ActionRepeat::Keyed)
    };
    type Input = TradingSwitchInput;
    type Output = TradingSwitchOutput;

    async fn perform(
        world: &ActionServices,
        input: TradingSwitchInput,
        call: &ActionCall,
    ) -> Result<TradingSwitchOutput, ActionFailure> {
        let result = BotCommand::new(Verb::Pause, input.reason).give_command(world, call).await?;
        Ok(TradingSwitchOutput::of(&result))
    }

    async fn predict(
        world: &ActionServices,
        input: TradingSwitchInput,
        call: &ActionCall,
        assumed: &mut AssumedChanges,
    ) -> Result<TradingSwitchOutput, ActionFailure> {
        let result = BotCommand::new(Verb::Pause, input.reason).predict_command(world, call).await?;
        assumed.assume_trading(false);
        let predicted = TradingSwitchOutput::of(&result);
        assumed.resting_orders = predicted.resting_orders;
        let phase = Some("paused".to_owned());
        Ok(TradingSwitchOutput { trading_enabled: Some(false), phase, ..predicted })
    }

    async fn observe(
        world: &ActionServices,
        _input: TradingSwitchInput,
        _first: TradingSwitchOutput,
        call: &ActionCall,
    ) -> Result<TradingSwitchOutput, ActionFailure> {
        TradingSwitchOutput::read_now(world, call).await
    }
}
