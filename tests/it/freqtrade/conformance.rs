//! The adapter keeps the contract that it serves: by `botops bot check`, and by the contract's own document.

use serde_json::json;

use super::world::{Adapter, FreqtradeStub, closed_trade, open_trade};
use crate::bot_check::check;
use crate::contract_document::{faults, validator_of};

#[tokio::test(flavor = "multi_thread")]
async fn the_adapter_passes_the_check_and_its_answers_are_valid() {
    let freqtrade = FreqtradeStub::start().await;
    freqtrade.answer("status", &json!([open_trade(7, &json!({}))]));
    freqtrade.closed(&json!([closed_trade(5, &json!({})), closed_trade(6, &json!({}))]));
    let adapter = Adapter::start(&freqtrade);
    adapter.until_state("its position is there", |state| state["positions"][0].is_object()).await;
    let checked = check(&adapter.socket(), &["--bot-id", "fq"]);
    checked.assert_passed();
    assert_eq!(checked.report["bot"]["adapter"], "botops freqtrade");
    for (path, schema) in
        [("hello", "Hello"), ("state", "BotReport"), ("trades?after=0&limit=5", "TradePage")]
    {
        let answer = adapter.get(path).await;
        assert_eq!(faults(&validator_of(schema), &answer), [""; 0], "{path}: {answer:#}");
    }
}
