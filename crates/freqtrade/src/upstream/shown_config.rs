//! The echo of freqtrade's config as others may see it: without what may be a secret, and with every digit of its numbers.

use std::collections::BTreeMap;

use botops_contract::VerbatimJson;
use botops_core::redact;
use serde_json::Value;
use serde_json::value::RawValue;

use super::secret_words::SecretWords;

/// Lists and objects within each other; what lies deeper is left out.
const DEEPEST: usize = 32;

/// What `show_config` may show to others: every value that it gave when this was written. What is not in this list may be
/// a secret.
const SHOWN: [&str; 38] = [
    "version",
    "strategy_version",
    "api_version",
    "dry_run",
    "trading_mode",
    "margin_mode",
    "short_allowed",
    "stake_currency",
    "stake_amount",
    "available_capital",
    "stake_currency_decimals",
    "max_open_trades",
    "minimal_roi",
    "stoploss",
    "stoploss_on_exchange",
    "trailing_stop",
    "trailing_stop_positive",
    "trailing_stop_positive_offset",
    "trailing_only_offset_is_reached",
    "unfilledtimeout",
    "order_types",
    "use_custom_stoploss",
    "timeframe",
    "timeframe_ms",
    "timeframe_min",
    "exchange",
    "demo_trading",
    "strategy",
    "force_entry_enable",
    "exit_pricing",
    "entry_pricing",
    "bot_name",
    "state",
    "runmode",
    "position_adjustment_enable",
    "max_entry_position_adjustment",
    "process_throttle_secs",
    "tradable_balance_ratio",
];

/// The text of an answer of `show_config` without what may be a secret: members of other names, and texts that look like
/// one. `None` when it is no object.
pub(super) fn shown_config(text: &str, secrets: &SecretWords) -> Option<VerbatimJson> {
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    members.retain(|name, _| SHOWN.contains(&name.as_str()));
    VerbatimJson::parse(shown_object(members, DEEPEST, secrets))
}

fn shown_object(members: BTreeMap<String, &RawValue>, depth: usize, secrets: &SecretWords) -> String {
    let shown = members.into_iter().map(|(name, value)| {
        let has_value = !matches!(value.get().bytes().next(), Some(b'n' | b't' | b'f'));
        let value = if redact::is_secret_key(&name) && has_value {
            quoted(redact::MASK)
        } else {
            shown_value(value.get(), depth, secrets)
        };
        format!("{}:{value}", quoted(&name))
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}

fn shown_value(text: &str, depth: usize, secrets: &SecretWords) -> String {
    match text.bytes().next() {
        Some(b'{' | b'[') if depth == 0 => "null".to_owned(),
        Some(b'{') => shown_object(serde_json::from_str(text).unwrap_or_default(), depth - 1, secrets),
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            let items = items.into_iter().map(|item| shown_value(item.get(), depth - 1, secrets));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        Some(b'"') => {
            let read: String = serde_json::from_str(text).unwrap_or_default();
            quoted(&redact::line(&secrets.hide(&read)))
        }
        // A number stays as it is written: read as a float, it would lose digits.
        _ => text.to_owned(),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::{UpstreamCredentials, UpstreamProof};

    fn shown(text: &str) -> Option<String> {
        let proof =
            UpstreamProof::Password { username: "a".to_owned(), password: "canary-word".to_owned().into() };
        let credentials = UpstreamCredentials { proof, websocket_token: None, is_shared: false };
        shown_config(text, &SecretWords::of(&credentials)).map(|shown| shown.as_str().to_owned())
    }

    #[test]
    fn digits_stay_and_secrets_do_not() {
        let told = r#" {"stoploss": -0.10, "state": "is canary-word", "password": 1.5,
            "minimal_roi": {"30" : [1e-2, 0.9900000000000000000001], "token": 17}} "#;
        let expected = r#"{"minimal_roi":{"30":[1e-2,0.9900000000000000000001],"token":"*****"},"state":"is *****","stoploss":-0.10}"#;
        assert_eq!(shown(told).as_deref(), Some(expected));
        assert_eq!(shown("[]"), None);
        let deep = format!("{{\"minimal_roi\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(shown(&deep).is_none_or(|shown| shown.len() < 200));
    }
}
