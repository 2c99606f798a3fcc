//! The bot's config document, read into types once, and the bot's own rules about it.
//!
//! The schema is checked by whoever sends the document; here stands what only the bot knows: which symbols it has
//! prices for, how large its positions are, what it has lost today. Deliberately absent: defaults for missing
//! fields. A field that is not written is not known, and the document is refused.

use std::str::FromStr;

use chrono::{DateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use botops_contract::Violation;

/// The document that runs when there is no `HEAD`: version 0.
pub(super) const BUILT_IN: &str = include_str!("../../../schemas/default-bot-config.json");

/// Fields that are read once at the start.
pub(super) const RESTART_ONLY: [&str; 1] = ["/order_management/poll_interval_seconds"];

/// The whole document.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Document {
    pub mode: String,
    pub trading: Trading,
    pub risk_management: Risk,
    pub order_management: Orders,
    pub circuit_breaker_thresholds: Thresholds,
    #[serde(default)]
    pub targets: Vec<Target>,
    /// What the operator hopes for. The bot reports against it and never trades by it.
    #[serde(default, rename = "performance_targets")]
    _performance_targets: Value,
}

/// When and how often positions are opened.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trading {
    pub hours: Hours,
    pub max_trades_per_day: u32,
}

/// The part of the day in which positions are opened, in market time; the last minute is inside.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hours {
    #[serde(deserialize_with = "time")]
    pub start_time: NaiveTime,
    #[serde(deserialize_with = "time")]
    pub end_time: NaiveTime,
    #[serde(deserialize_with = "zone")]
    pub timezone: Tz,
}

impl Hours {
    /// Whether positions may be opened at this moment.
    pub fn contain(&self, at: DateTime<Utc>) -> bool {
        let local = at.with_timezone(&self.timezone).time();
        let after_end = local >= self.end_time + chrono::TimeDelta::minutes(1) && !self.ends_at_midnight();
        local >= self.start_time && !after_end
    }

    fn ends_at_midnight(&self) -> bool {
        self.end_time + chrono::TimeDelta::minutes(1) < self.end_time
    }
}

/// Limits that bind orders.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Risk {
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
    pub max_consecutive_losses: u32,
    #[serde(deserialize_with = "decimal")]
    pub stop_loss_pct: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub risk_reward_ratio: Decimal,
}

/// How orders are priced.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Orders {
    pub offset_mode: OffsetMode,
    #[serde(deserialize_with = "decimal")]
    pub buy_offset: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub sell_offset: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub max_slippage_pct: Decimal,
    /// An entry that is not filled is looked at this often, and cancelled when it still is not.
    pub poll_interval_seconds: u32,
}

/// What an offset means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OffsetMode {
    /// Hundredths of a percent of the price.
    Bps,
    /// Account currency.
    Absolute,
}

impl Orders {
    /// An offset as money at this price.
    pub fn offset(&self, offset: Decimal, price: Decimal) -> Decimal {
        match self.offset_mode {
            OffsetMode::Bps => price * offset / Decimal::from(10_000),
            OffsetMode::Absolute => offset,
        }
    }
}

/// Where the breaker opens, as parts of equity; below zero.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Thresholds {
    #[serde(deserialize_with = "decimal")]
    pub daily_loss: Decimal,
    #[serde(deserialize_with = "decimal")]
    pub max_drawdown: Decimal,
}

/// How much of the equity a symbol may have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Target {
    pub symbol: String,
    #[serde(deserialize_with = "decimal")]
    pub weight: Decimal,
}

/// What the bot knows and a document must fit.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Symbols with prices, and those that are targets already.
    pub symbols: Vec<String>,
    /// Open positions: symbol and what it cost.
    pub positions: Vec<(String, Decimal)>,
    pub equity: Decimal,
    pub daily_pl: Decimal,
}

impl Document {
    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, Violation> {
        serde_json::from_str(text).map_err(|error| Violation {
            path: String::new(),
            code: "unreadable".to_owned(),
            message: botops_core::text::clean(&format!("the bot cannot read the document: {error}"), 300),
            fix: Some("send a whole document that follows the schema".to_owned()),
        })
    }

    /// The weight of a symbol; zero when it is no target.
    pub fn weight(&self, symbol: &str) -> Decimal {
        let target = self.targets.iter().find(|target| target.symbol == symbol);
        target.map_or(Decimal::ZERO, |target| target.weight)
    }

    /// A document whose targets name no symbol of the feed (a replay of other symbols) gives each of the feed's
    /// the same small weight, so that the bot has something to trade. No targets at all mean no trades.
    pub fn fit(&mut self, symbols: &[String]) {
        let meets_feed = self.targets.iter().any(|target| symbols.contains(&target.symbol));
        if meets_feed || self.targets.is_empty() || symbols.is_empty() {
            return;
        }
        let weight = Decimal::new(5, 2).min(Decimal::ONE / Decimal::from(symbols.len()));
        let target = |symbol: &String| Target { symbol: symbol.clone(), weight };
        self.targets.extend(symbols.iter().map(target));
    }

    /// Everything that is wrong with the document at this moment.
    pub fn violations(&self, facts: &Facts) -> Vec<Violation> {
        let mut wrong = Vec::new();
        let mut rule = |holds: bool, path: &str, code: &str, message: String, fix: &str| {
            if !holds {
                let (path, code, fix) = (path.to_owned(), code.to_owned(), Some(fix.to_owned()));
                wrong.push(Violation { path, code, message, fix });
            }
        };
        let zero = Decimal::ZERO;
        let hundred = Decimal::ONE_HUNDRED;
        let risk = &self.risk_management;
        let orders = &self.order_management;
        let between = |value: Decimal, low: Decimal, high: Decimal| value > low && value <= high;

        rule(
            self.mode == "paper",
            "/mode",
            "mode_fixed",
            "this bot trades on paper only".to_owned(),
            "use \"paper\"",
        );
        let hours = &self.trading.hours;
        rule(
            hours.start_time < hours.end_time,
            "/trading/hours",
            "hours_reversed",
            format!("trading would start at {} and end at {}", hours.start_time, hours.end_time),
            "let start_time be before end_time",
        );
        rule(
            self.trading.max_trades_per_day > 0,
            "/trading/max_trades_per_day",
            "out_of_range",
            "no trade a day would be allowed".to_owned(),
            "use 1 or more; to stop trading, pause the bot",
        );
        let ranges = [
            ("risk_per_trade", risk.risk_per_trade, Decimal::ONE),
            ("max_position_pct", risk.max_position_pct, hundred),
            ("max_position_size", risk.max_position_size, Decimal::from(10_000_000)),
            ("max_daily_loss_pct", risk.max_daily_loss_pct, hundred),
            ("stop_loss_pct", risk.stop_loss_pct, Decimal::from(50)),
            ("risk_reward_ratio", risk.risk_reward_ratio, hundred),
            ("max_consecutive_losses", Decimal::from(risk.max_consecutive_losses), Decimal::from(10_000)),
        ];
        for (name, value, high) in ranges {
            rule(
                between(value, zero, high),
                &format!("/risk_management/{name}"),
                "out_of_range",
                format!("{value} is outside what the bot can use"),
                &format!("use more than 0 and at most {high}"),
            );
        }
        rule(
            between(orders.max_slippage_pct, zero, hundred),
            "/order_management/max_slippage_pct",
            "out_of_range",
            format!("{} is outside what the bot can use", orders.max_slippage_pct),
            "use more than 0 and at most 100",
        );
        rule(
            orders.poll_interval_seconds > 0,
            "/order_management/poll_interval_seconds",
            "out_of_range",
            "orders would be looked at every 0 seconds".to_owned(),
            "use 1 or more",
        );
        let thresholds = &self.circuit_breaker_thresholds;
        for (name, value) in
            [("daily_loss", thresholds.daily_loss), ("max_drawdown", thresholds.max_drawdown)]
        {
            rule(
                value < zero && value > -Decimal::ONE,
                &format!("/circuit_breaker_thresholds/{name}"),
                "out_of_range",
                format!("{value} is no loss as a part of equity"),
                "use a number between -1 and 0, such as -0.05",
            );
        }
        rule(
            risk.daily_loss_limit < zero,
            "/risk_management/daily_loss_limit",
            "out_of_range",
            format!("{} is no loss", risk.daily_loss_limit),
            "use an amount below zero, such as \"-500.00\"",
        );
        rule(
            risk.daily_loss_limit >= zero || facts.daily_pl > risk.daily_loss_limit,
            "/risk_management/daily_loss_limit",
            "would_trip_breaker",
            format!("today's profit and loss is {} already: the breaker would open at once", facts.daily_pl),
            "use a lower limit, or wait for the next trading day",
        );
        for (symbol, cost) in &facts.positions {
            rule(
                *cost <= risk.max_position_size,
                "/risk_management/max_position_size",
                "below_open_position",
                format!("the open position in {symbol} cost {}", cost.round_dp(2)),
                "use a larger limit, or close the position first",
            );
            let share = if facts.equity > zero { cost * hundred / facts.equity } else { zero };
            rule(
                share <= risk.max_position_pct * Decimal::new(11, 1),
                "/risk_management/max_position_pct",
                "below_open_position",
                format!("the open position in {symbol} is {} % of the equity", share.round_dp(2)),
                "use a larger limit, or close the position first",
            );
        }
        for (index, target) in self.targets.iter().enumerate() {
            rule(
                facts.symbols.contains(&target.symbol),
                &format!("/targets/{index}/symbol"),
                "unknown_symbol",
                format!("there are no prices for `{}`", botops_core::text::clean(&target.symbol, 20)),
                &format!("use one of {}", facts.symbols.join(", ")),
            );
            rule(
                target.weight >= zero && target.weight <= Decimal::ONE,
                &format!("/targets/{index}/weight"),
                "out_of_range",
                format!("{} is no part of the equity", target.weight),
                "use a number from 0 to 1",
            );
            rule(
                !self.targets.iter().take(index).any(|earlier| earlier.symbol == target.symbol),
                &format!("/targets/{index}/symbol"),
                "duplicate_symbol",
                "the symbol stands twice".to_owned(),
                "keep one of them",
            );
        }
        let sum: Decimal = self.targets.iter().map(|target| target.weight).sum();
        rule(
            sum <= Decimal::ONE,
            "/targets",
            "weights_above_one",
            format!("the weights add up to {sum}"),
            "let the weights add up to at most 1",
        );
        wrong
    }
}

/// The pointers at which two documents differ.
pub(super) fn changed(old: &Value, new: &Value) -> Vec<String> {
    let mut pointers = Vec::new();
    walk(old, new, &mut String::new(), &mut pointers);
    pointers
}

fn walk(old: &Value, new: &Value, at: &mut String, pointers: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
                let length = at.len();
                at.push('/');
                at.push_str(&key.replace('~', "~0").replace('/', "~1"));
                let absent = Value::Null;
                walk(old.get(key).unwrap_or(&absent), new.get(key).unwrap_or(&absent), at, pointers);
                at.truncate(length);
            }
        }
        (old, new) if old == new => {}
        _ => pointers.push(at.clone()),
    }
}

/// Numbers and strings are both taken for a decimal.
fn decimal<'de, D: Deserializer<'de>>(from: D) -> Result<Decimal, D::Error> {
    let text = match Value::deserialize(from)? {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => return Err(de::Error::custom("a number was expected")),
    };
    Decimal::from_str(&text)
        .or_else(|_| Decimal::from_scientific(&text))
        .map_err(|_| de::Error::custom("a number was expected"))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<NaiveTime, D::Error> {
    let text = String::deserialize(from)?;
    NaiveTime::parse_from_str(&text, "%H:%M")
        .map_err(|_| de::Error::custom("a time such as 09:30 was expected"))
}

fn zone<'de, D: Deserializer<'de>>(from: D) -> Result<Tz, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| de::Error::custom("a time zone such as America/New_York was expected"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn facts() -> Facts {
        let symbols = ["SPY", "QQQ", "AAPL", "MSFT", "NVDA", "AMZN", "GOOGL", "META"];
        Facts {
            symbols: symbols.map(str::to_owned).to_vec(),
            equity: Decimal::from(100_000),
            ..Facts::default()
        }
    }

    #[track_caller]
    fn check(pointer: &str, value: Value, expected: &[(&str, &str)]) {
        let mut document: Value = serde_json::from_str(BUILT_IN).unwrap();
        *document.pointer_mut(pointer).unwrap() = value;
        let settings = Document::parse(&document.to_string()).unwrap();
        let found = settings.violations(&facts());
        let found: Vec<_> = found.iter().map(|v| (v.path.as_str(), v.code.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_built_in_document_is_good() {
        check("/mode", json!("paper"), &[]);
    }

    #[test]
    fn a_feed_of_other_symbols_is_traded_with_small_weights() {
        let mut settings = Document::parse(BUILT_IN).unwrap();
        settings.fit(&["COKE".to_owned()]);
        assert_eq!(settings.weight("COKE"), Decimal::new(5, 2));
        let mut settings = Document::parse(BUILT_IN).unwrap();
        settings.fit(&["COKE".to_owned(), "SPY".to_owned()]);
        assert_eq!(settings.weight("COKE"), Decimal::ZERO);
    }

    #[test]
    fn each_rule_names_its_place() {
        check("/mode", json!("live"), &[("/mode", "mode_fixed")]);
        check("/trading/hours/end_time", json!("00:00"), &[("/trading/hours", "hours_reversed")]);
        check("/targets/1/symbol", json!("SPY"), &[("/targets/1/symbol", "duplicate_symbol")]);
        check("/targets/0/symbol", json!("ZZZ"), &[("/targets/0/symbol", "unknown_symbol")]);
        check("/targets/0/weight", json!(0.9), &[("/targets", "weights_above_one")]);
        let limit = "/risk_management/daily_loss_limit";
        check(limit, json!("5"), &[(limit, "out_of_range")]);
    }

    #[test]
    fn a_document_must_fit_what_is_open_now() {
        let settings = Document::parse(BUILT_IN).unwrap();
        let mut facts = facts();
        facts.positions.push(("SPY".to_owned(), Decimal::from(6_000)));
        facts.daily_pl = Decimal::from(-600);
        let codes: Vec<String> = settings.violations(&facts).into_iter().map(|v| v.code).collect();
        assert_eq!(codes, ["would_trip_breaker", "below_open_position", "below_open_position"]);
    }

    #[test]
    fn hours_hold_in_their_own_zone_with_the_last_minute_inside() {
        let mut hours = Document::parse(BUILT_IN).unwrap().trading.hours;
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        assert!(hours.contain(at("2026-01-05T04:59:59Z")));
        hours.start_time = NaiveTime::from_hms_opt(9, 30, 0).unwrap();
        hours.end_time = NaiveTime::from_hms_opt(16, 0, 0).unwrap();
        assert!(!hours.contain(at("2026-01-05T14:29:59Z")));
        assert!(hours.contain(at("2026-01-05T14:30:00Z")));
        assert!(hours.contain(at("2026-01-05T21:00:30Z")));
        assert!(!hours.contain(at("2026-01-05T21:01:00Z")));
    }

    #[test]
    fn changes_are_named_by_pointer() {
        let old = json!({"a": {"b": 1, "c": [1]}, "d": 2});
        let new = json!({"a": {"b": 1, "c": [2]}, "e/f": 2});
        assert_eq!(changed(&old, &new), ["/a/c", "/d", "/e~1f"]);
    }
}
