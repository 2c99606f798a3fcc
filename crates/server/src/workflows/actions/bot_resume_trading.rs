//! `bot.resume_trading`: allows new positions again.

use super::action::WorkflowAction;
use super::bot_command::{BotCommand, TradingSwitchInput, TradingSwitchOutput};
use super::context::{ActionCall, ActionServices, AssumedChanges};
use super::failure::ActionFailure;
use super::needs::ActionNeed;
use super::spec::{ActionClass, ActionRepeat, ActionSpec};
use botops_contract::Verb;

pub(super) struct ResumeTrading;

impl WorkflowAction for ResumeTrading {
    const SPEC: ActionSpec = ActionSpec {
        timeout_s: 10,
        needs: &[ActionNeed::Verb(Verb::Resume)],
        observable: true,
        summary: "new positions again",
        ..ActionSpec::new("bot.resume_trading", ActionClass::Mutate, ActionRepeat::Keyed)
    };
    type Input = TradingSwitchInput;
    type Output = TradingSwitchOutput;

    async fn perform(
        world: &ActionServices,
        input: TradingSwitchInput,
        call: &ActionCall,
    ) -> Result<TradingSwitchOutput, ActionFailure> {
        let result = BotCommand::new(Verb::Resume, input.reason).give_command(world, call).await?;
        Ok(TradingSwitchOutput::of(&result))
    }

    async fn predict(
        world: &ActionServices,
        input: TradingSwitchInput,
        call: &ActionCall,
        assumed: &mut AssumedChanges,
    ) -> Result<TradingSwitchOutput, ActionFailure> {
        let result = BotCommand::new(Verb::Resume, input.reason).predict_command(world, call).await?;
        assumed.assume_trading(true);
        let phase = Some("running".to_owned());
        Ok(TradingSwitchOutput { trading_enabled: Some(true), phase, ..TradingSwitchOutput::of(&result) })
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
