//! Symbols of every market are whole, and can be used, wherever one is named.

use reqwest::Method;
use serde_json::{Value, json};

use crate::configs::world::{World, manual};
use crate::kit;
use crate::kit::scripted_bot::position;

const SYMBOLS: [&str; 6] =
    ["BTC/USDT:USDT-261225", "ES=F", "^GSPC", "AAPL  251219C00150000", "7203.T", "貴州茅台 ЛУКОЙЛ"];

async fn world_with_positions() -> World {
    let world = World::start().await;
    world.bot.change(|report| {
        report.positions = Some(SYMBOLS.map(|symbol| position(symbol, "1", "10", "11")).to_vec());
    });
    let seen = || async { world.botops.get("/api/v1/summary").await.1["position_count"] == SYMBOLS.len() };
    kit::until("the positions are seen", std::time::Duration::from_secs(20), seen).await;
    world
}

fn targets(symbols: &[&str]) -> Value {
    symbols.iter().map(|symbol| json!({"symbol": symbol, "weight": 0.01})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbol_of_any_market_may_be_a_target() {
    let world = world_with_positions().await;
    let patch = json!({"targets": targets(&SYMBOLS)});
    let (_, verdict) =
        world.botops.send(Method::POST, "/api/v1/config/validate", &json!({"merge_patch": &patch})).await;
    assert_eq!(verdict["valid"], true, "{verdict:#}");
    let path = "/api/v1/workflows/update-targets/execute?dry_run=true";
    let params = json!({"params": {"reason": "other markets", "targets": targets(&SYMBOLS)}});
    let (status, plan) = world.botops.send(Method::POST, path, &params).await;
    assert_eq!((status, plan["forecast"].as_str()), (200, Some("pass")), "{plan:#}");
    let (status, txn) = world.apply_now(&manual(patch, 30.0)).await;
    assert_eq!(status, 202, "{txn:#}");
    let id = txn["txn"].as_str().unwrap();
    world.end_trial(id, "confirm").await;
    let committed = world.config().await["config"]["targets"].clone();
    let named: Vec<&str> =
        committed.as_array().unwrap().iter().map(|target| target["symbol"].as_str().unwrap()).collect();
    assert_eq!(named, SYMBOLS);
    let long = "é".repeat(65);
    for wrong in ["", " SPY", "SPY ", "S\nPY", "S\u{2028}PY", "S\u{202e}PY", "S\tPY", &long] {
        let body = json!({"merge_patch": {"targets": targets(&[wrong])}});
        let (_, verdict) = world.botops.send(Method::POST, "/api/v1/config/validate", &body).await;
        assert_eq!(verdict["valid"], false, "{wrong:?}: {verdict:#}");
        let params = json!({"params": {"reason": "other markets", "targets": targets(&[wrong])}});
        let (status, problem) = world.botops.send(Method::POST, path, &params).await;
        assert_eq!(
            (status, problem["error_code"].as_str()),
            (422, Some("WFL_003")),
            "{wrong:?}: {problem:#}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbol_of_any_market_can_be_asked_for_and_acted_on() {
    let world = world_with_positions().await;
    let botops = &world.botops;
    for symbol in SYMBOLS {
        let body = json!({"reason": "only these, if you please", "symbols": [symbol]});
        let (status, view) = botops.send(Method::POST, "/api/v1/control/cancel-orders", &body).await;
        assert_eq!(status, 200, "{symbol}: {view:#}");
        let asked = world.bot.journal().into_iter().rev().find(|asked| asked.path.ends_with("cancel-orders"));
        assert_eq!(asked.unwrap().body["args"]["symbols"], json!([symbol]));
        let ask = |text: String| async move {
            botops.send(Method::POST, "/api/v1/ask", &json!({ "text": text })).await.1
        };
        let view = ask(format!("how did {symbol} perform this week?")).await;
        assert_eq!(view["answer"]["symbol"], symbol, "{view:#}");
        let view = ask(format!("cancel the {} orders", symbol.to_lowercase())).await;
        assert_eq!(view["options"][0]["call"]["body"]["symbols"], json!([symbol]), "{view:#}");
        let tool =
            crate::mcp::call(botops, kit::app::KEY, "get_performance", json!({ "symbol": symbol })).await;
        assert_eq!(tool["structuredContent"]["symbol"], symbol, "{tool:#}");
    }
    let shown: Vec<Value> =
        botops.get("/api/v1/summary").await.1["top_positions"].as_array().unwrap().clone();
    assert!(
        shown.iter().all(|position| SYMBOLS.contains(&position["symbol"].as_str().unwrap())),
        "{shown:?}"
    );
}
