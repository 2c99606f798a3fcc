//! The bot's config document: its fields, how each is parsed, its allowed values, and when a change takes effect.
//!
//! A field is one line in its section's struct and one line in [`FIELDS`]. Its first value is in
//! `schemas/default-bot-config.json`, its description in `schemas/bot-config.schema.json`, which the bot serves; a test
//! compares the three. The sender of a document checks the schema; what the bot cannot work with, the rules between fields
//! and what only the bot knows are in [`super::rules`]. Apart from `targets` and `performance_targets`, a field of the first version has no default: a document without
//! it is refused. One that is added later has the default that changes nothing, so that stored documents stay valid.

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use super::read_values::{decimal, time_of_day, time_zone, whole};
use super::violations::{NumberRange, ViolationList};
use botops_contract::ConfigViolation;

/// The document that runs when there is no `HEAD`: version 0.
pub(crate) const BUILT_IN: &str = include_str!("../../schemas/default-bot-config.json");

/// The JSON Schema of the document, as the bot serves it.
pub(crate) const SCHEMA: &str = include_str!("../../schemas/bot-config.schema.json");

/// When a changed field takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FieldApply {
    /// At once.
    Hot,
    /// When the bot starts again.
    Restart,
    /// It cannot be changed.
    Never,
}

/// One field, without its type.
#[derive(Debug)]
struct ConfigField {
    /// JSON pointer of the field; `*` stands for any entry of a list.
    pointer: &'static str,
    apply: FieldApply,
    /// How to read the number and its range; `None` for a field that is no number or is checked together with others.
    number: Option<(NumberOf, NumberRange)>,
}

type NumberOf = fn(&BotConfig) -> Decimal;

/// Declares a number with the range that the bot itself requires.
const fn number(
    pointer: &'static str,
    apply: FieldApply,
    value: NumberOf,
    range: NumberRange,
) -> ConfigField {
    ConfigField { pointer, apply, number: Some((value, range)) }
}

/// Declares a field that is checked by its type or by a rule over several fields.
const fn field(pointer: &'static str, apply: FieldApply) -> ConfigField {
    ConfigField { pointer, apply, number: None }
}

/// Every field of the document except `performance_targets`, which the bot does not trade by.
const FIELDS: &[ConfigField] = {
    use FieldApply::{Hot, Never, Restart};
    use NumberRange::{AboveZeroTo, Any, Loss, LossPart, OneOrMore};
    &[
        field("/mode", Never),
        field("/trading/hours/start_time", Hot),
        field("/trading/hours/end_time", Hot),
        field("/trading/hours/timezone", Hot),
        number(
            "/trading/max_trades_per_day",
            Hot,
            |c| c.trading.max_trades_per_day.into(),
            OneOrMore {
                zero_means: "no trade a day would be allowed",
                fix: "use 1 or more; to stop trading, pause the bot",
            },
        ),
        number("/risk_management/risk_per_trade", Hot, |c| c.risk_management.risk_per_trade, AboveZeroTo(1)),
        number(
            "/risk_management/max_position_pct",
            Hot,
            |c| c.risk_management.max_position_pct,
            AboveZeroTo(100),
        ),
        number(
            "/risk_management/max_position_size",
            Hot,
            |c| c.risk_management.max_position_size,
            AboveZeroTo(10_000_000),
        ),
        number(
            "/risk_management/max_daily_loss_pct",
            Hot,
            |c| c.risk_management.max_daily_loss_pct,
            AboveZeroTo(100),
        ),
        number("/risk_management/stop_loss_pct", Hot, |c| c.risk_management.stop_loss_pct, AboveZeroTo(50)),
        number(
            "/risk_management/risk_reward_ratio",
            Hot,
            |c| c.risk_management.risk_reward_ratio,
            AboveZeroTo(100),
        ),
        number(
            "/risk_management/max_consecutive_losses",
            Hot,
            |c| c.risk_management.max_consecutive_losses.into(),
            AboveZeroTo(10_000),
        ),
        field("/order_management/offset_mode", Hot),
        number("/order_management/buy_offset", Hot, |c| c.order_management.buy_offset, Any),
        number("/order_management/sell_offset", Hot, |c| c.order_management.sell_offset, Any),
        number(
            "/order_management/max_slippage_pct",
            Hot,
            |c| c.order_management.max_slippage_pct,
            AboveZeroTo(100),
        ),
        number(
            "/order_management/poll_interval_seconds",
            Restart,
            |c| c.order_management.poll_interval_seconds.into(),
            OneOrMore { zero_means: "orders would be looked at every 0 seconds", fix: "use 1 or more" },
        ),
        number(
            "/circuit_breaker_thresholds/daily_loss",
            Hot,
            |c| c.circuit_breaker_thresholds.daily_loss,
            LossPart,
        ),
        number(
            "/circuit_breaker_thresholds/max_drawdown",
            Hot,
            |c| c.circuit_breaker_thresholds.max_drawdown,
            LossPart,
        ),
        number("/risk_management/daily_loss_limit", Hot, |c| c.risk_management.daily_loss_limit, Loss),
        field("/targets/*/symbol", Hot),
        field("/targets/*/weight", Hot),
    ]
};

/// JSON pointers of the fields that are read once, at the start.
pub(super) fn restart_only() -> impl Iterator<Item = &'static str> {
    let fields = FIELDS.iter().filter(|field| field.apply == FieldApply::Restart);
    fields.map(|field| field.pointer)
}

/// The whole document; an unknown field is an error.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BotConfig {
    pub mode: String,
    pub trading: TradingConfig,
    pub risk_management: RiskConfig,
    pub order_management: OrderConfig,
    pub circuit_breaker_thresholds: BreakerThresholds,
    #[serde(default)]
    pub targets: Vec<TargetWeight>,
    /// The operator's targets for reports, of any form. The bot never trades by them.
    #[serde(default, rename = "performance_targets")]
    _performance_targets: Value,
}

/// When and how often positions are opened.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TradingConfig {
    pub hours: TradingHours,
    #[serde(deserialize_with = "whole")]
    pub max_trades_per_day: u32,
}

/// The part of the day in which positions are opened, in `timezone`; the minute of `end_time` is included.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TradingHours {
    #[serde(deserialize_with = "time_of_day")]
    pub start_time: NaiveTime,
    #[serde(deserialize_with = "time_of_day")]
    pub end_time: NaiveTime,
    #[serde(deserialize_with = "time_zone")]
    pub timezone: Tz,
}

impl TradingHours {
    /// Whether positions may be opened at this moment.
    pub(crate) fn contain(&self, at: DateTime<Utc>) -> bool {
        let local = at.with_timezone(&self.timezone).time();
        let after_end = local >= self.end_time + chrono::TimeDelta::minutes(1) && !self.ends_at_midnight();
        local >= self.start_time && !after_end
    }

    fn ends_at_midnight(&self) -> bool {
        self.end_time + chrono::TimeDelta::minutes(1) < self.end_time
    }
}

/// Limits on the size of orders and on losses. Amounts are in account currency.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RiskConfig {
    #[serde(deserialize_with = "decimal")]
    pub risk_per_trade: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub max_position_pct: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub max_position_size: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub max_daily_loss_pct: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub daily_loss_limit: Decimal,
    #[serde(deserialize_with = "whole")]
    pub max_consecutive_losses: u32,
    #[serde(deserialize_with = "decimal")]
    pub stop_loss_pct: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub risk_reward_ratio: Decimal,
}

/// How orders are priced.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderConfig {
    pub offset_mode: OffsetMode,
    #[serde(deserialize_with = "decimal")]
    pub buy_offset: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub sell_offset: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub max_slippage_pct: Decimal,
    /// Seconds after which an entry that is not filled is cancelled.
    #[serde(deserialize_with = "whole")]
    pub poll_interval_seconds: u32,
}

/// The unit of `buy_offset` and `sell_offset`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OffsetMode {
    /// Basis points (hundredths of a percent) of the price.
    Bps,
    /// Account currency per share.
    Absolute,
}

impl OrderConfig {
    /// An offset in account currency per share, at this price.
    pub(crate) fn offset(&self, offset: Decimal, price: Decimal) -> Decimal {
        match self.offset_mode {
            OffsetMode::Bps => price * offset / Decimal::from(10_000),
            OffsetMode::Absolute => offset,
        }
    }
}

/// Losses at which the risk breaker opens, as parts of the equity: -0.05 is a loss of 5 %.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BreakerThresholds {
    #[serde(deserialize_with = "decimal")]
    pub daily_loss: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub max_drawdown: Decimal,
}

/// The part of the equity that a symbol may have, from 0 to 1.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetWeight {
    pub symbol: String,
    #[serde(deserialize_with = "decimal")]
    pub weight: Decimal,
}

impl BotConfig {
    /// Parses a document; an unknown or missing field is a violation.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigViolation> {
        serde_json::from_str(text).map_err(|error| ConfigViolation {
            path: String::new(),
            code: "unreadable".to_owned(),
            message: botops_core::text::clean(&format!("the bot cannot read the document: {error}"), 300),
            fix: Some("send a whole document that follows the schema".to_owned()),
        })
    }

    /// Adds a violation for each number outside the range that the bot itself requires.
    pub(super) fn check_ranges(&self, found: &mut ViolationList) {
        for field in FIELDS {
            if let Some((value, range)) = field.number {
                range.check(field.pointer, value(self), found);
            }
        }
    }

    /// A document with the restart-only fields of an earlier one; `None` when the result is no config.
    pub(crate) fn with_restart_only_fields_of(document: &Value, earlier: &Value) -> Option<Self> {
        let mut merged = document.clone();
        for pointer in restart_only() {
            if let (Some(field), Some(value)) = (merged.pointer_mut(pointer), earlier.pointer(pointer)) {
                field.clone_from(value);
            }
        }
        serde_json::from_value(merged).ok()
    }

    /// The weight of a symbol; zero when it is no target.
    pub(crate) fn weight(&self, symbol: &str) -> Decimal {
        let target = self.targets.iter().find(|target| target.symbol == symbol);
        target.map_or(Decimal::ZERO, |target| target.weight)
    }

    /// Adds the feed's symbols, with the same small weight each, when no target is one of them.
    ///
    /// So a replay of other symbols has something to trade. A document without any targets stays without.
    pub(crate) fn fit_to_feed(&mut self, symbols: &[String]) {
        let meets_feed = self.targets.iter().any(|target| symbols.contains(&target.symbol));
        if meets_feed || self.targets.is_empty() || symbols.is_empty() {
            return;
        }
        let weight = Decimal::new(5, 2).min(Decimal::ONE / Decimal::from(symbols.len()));
        let target = |symbol: &String| TargetWeight { symbol: symbol.clone(), weight };
        self.targets.extend(symbols.iter().map(target));
    }
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use super::*;

    #[test]
    fn a_feed_of_other_symbols_is_traded_with_small_weights() {
        let mut settings = BotConfig::parse(BUILT_IN).unwrap();
        settings.fit_to_feed(&["COKE".to_owned()]);
        assert_eq!(settings.weight("COKE"), Decimal::new(5, 2));
        let mut settings = BotConfig::parse(BUILT_IN).unwrap();
        settings.fit_to_feed(&["COKE".to_owned(), "SPY".to_owned()]);
        assert_eq!(settings.weight("COKE"), Decimal::ZERO);
    }

    #[test]
    fn hours_hold_in_their_own_zone_with_the_last_minute_inside() {
        let mut hours = BotConfig::parse(BUILT_IN).unwrap().trading.hours;
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        assert!(hours.contain(at("2026-01-05T04:59:59Z")));
        hours.start_time = NaiveTime::from_hms_opt(9, 30, 0).unwrap();
        hours.end_time = NaiveTime::from_hms_opt(16, 0, 0).unwrap();
        assert!(!hours.contain(at("2026-01-05T14:29:59Z")));
        assert!(hours.contain(at("2026-01-05T14:30:00Z")));
        assert!(hours.contain(at("2026-01-05T21:00:30Z")));
        assert!(!hours.contain(at("2026-01-05T21:01:00Z")));
    }

    /// Collects the schema's leaves: pointer and node, with `*` for the entries of a list.
    fn leaves(node: &Value, at: &str, found: &mut Vec<(String, Value)>) {
        if let Some(properties) = node["properties"].as_object() {
            for (name, child) in properties {
                leaves(child, &format!("{at}/{name}"), found);
            }
        } else if node["items"].is_object() {
            leaves(&node["items"], &format!("{at}/*"), found);
        } else {
            found.push((at.to_owned(), node.clone()));
        }
    }

    #[test]
    fn fields_schema_and_built_in_document_agree() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let built_in: Value = serde_json::from_str(BUILT_IN).unwrap();
        let mut described = Vec::new();
        leaves(&schema, "", &mut described);
        // The bot has no fields for the operator's targets, since it never trades by them.
        described.retain(|(pointer, _)| !pointer.starts_with("/performance_targets/"));
        let mut known: Vec<&str> = FIELDS.iter().map(|field| field.pointer).collect();
        let mut in_schema: Vec<&str> = described.iter().map(|(pointer, _)| pointer.as_str()).collect();
        known.sort_unstable();
        in_schema.sort_unstable();
        assert_eq!(known, in_schema);
        for field in FIELDS {
            let pointer = field.pointer;
            assert!(built_in.pointer(&pointer.replace('*', "0")).is_some(), "{pointer} has no default");
            let (_, node) = described.iter().find(|(of, _)| of == pointer).unwrap();
            let apply = match field.apply {
                FieldApply::Hot => "hot",
                FieldApply::Restart => "restart",
                FieldApply::Never => "never",
            };
            assert_eq!(node["x-apply"], apply, "{pointer}");
            for word in ["x-risk", "x-help"] {
                assert!(!node[word].is_null(), "{pointer} lacks {word}");
            }
            // Every number that the schema allows must lie in the bot's own range.
            let Some((_, range)) = field.number else { continue };
            for bound in ["minimum", "maximum"] {
                let value = Decimal::from_str(&node[bound].to_string()).unwrap();
                let mut found = ViolationList::default();
                range.check(pointer, value, &mut found);
                assert_eq!(found.into_violations(), [], "{pointer} at its {bound}");
            }
        }
    }
}
