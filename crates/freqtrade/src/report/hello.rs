//! Who answers: freqtrade, and the adapter in its place.

use botops_contract::{AdapterIdentity, BotId, Capability, Hello, TradingMode, VERSION};
use chrono::{DateTime, Utc};

use crate::polling::UpstreamPicture;
use crate::upstream::ConfigEcho;

/// What is known without asking freqtrade.
#[derive(Debug, Clone)]
pub(crate) struct HelloInputs {
    pub bot_id: BotId,
    /// When the adapter was started.
    pub started_at: DateTime<Utc>,
    /// What the adapter can do for freqtrade beside reading.
    pub verbs: Vec<Capability>,
}

/// Whether freqtrade's orders move real money, as it says itself; `None` when it does not.
pub(crate) fn trading_mode(config: &ConfigEcho) -> Option<TradingMode> {
    match (config.dry_run?, config.demo_trading) {
        (true, _) | (false, Some(true)) => Some(TradingMode::Paper),
        (false, _) => Some(TradingMode::Live),
    }
}

/// The hello. Process, epoch and start are freqtrade's, never the adapter's.
pub(crate) fn build_hello(inputs: &HelloInputs, picture: &UpstreamPicture) -> Hello {
    let config = picture.config.value();
    let life = picture.life.as_deref();
    let mode = config.and_then(trading_mode);
    let mut capabilities = inputs.verbs.clone();
    capabilities.extend(["events", "trades"].map(Capability::by_adapter));
    Hello {
        contract: Some(VERSION),
        bot_id: inputs.bot_id.clone(),
        name: config.and_then(name_of),
        version: config.map(version_of),
        pid: life.and_then(|life| life.pid),
        boot_epoch: life.and_then(|life| life.boot_epoch.clone()),
        started_at: life.and_then(|life| life.started_at),
        mode: mode.unwrap_or_default(),
        mode_raw: mode.is_none().then(|| "freqtrade does not say".to_owned()),
        capabilities,
        log_dir: None,
        adapter: Some(AdapterIdentity {
            name: "botops freqtrade".to_owned(),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            pid: Some(std::process::id()),
            started_at: Some(inputs.started_at),
        }),
    }
}

/// Name and strategy. The name is a free text that two freqtrades may share, so it is never an id.
fn name_of(config: &ConfigEcho) -> Option<String> {
    match (config.bot_name.clone(), config.strategy.clone()) {
        (Some(name), Some(strategy)) => Some(format!("{name} ({strategy})")),
        (name, strategy) => name.or(strategy),
    }
}

fn version_of(config: &ConfigEcho) -> String {
    let version = config.version.as_deref().unwrap_or("unknown");
    let strategy = config.strategy_version.as_deref().filter(|version| !version.is_empty());
    strategy.map_or_else(|| version.to_owned(), |strategy| format!("{version}, strategy {strategy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: &str, expected: Option<TradingMode>) {
        assert_eq!(trading_mode(&serde_json::from_str(config).unwrap()), expected, "{config}");
    }

    #[test]
    fn real_money_is_told_only_on_freqtrades_word() {
        check(r#"{"dry_run": true}"#, Some(TradingMode::Paper));
        check(r#"{"dry_run": false}"#, Some(TradingMode::Live));
        check(r#"{"dry_run": false, "demo_trading": true}"#, Some(TradingMode::Paper));
        check(r#"{"dry_run": "no"}"#, None);
        check("{}", None);
    }
}
