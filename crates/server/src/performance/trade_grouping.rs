//! What groups of trades share: a span of time, a symbol, a config version, a reason, an hour of the day. Pure.

use std::str::FromStr;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::config_names::ConfigNames;
use super::exit_kind::{NONE_TOLD, shown_kind};
use botops_contract::Trade;

/// What a group of trades shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TradeGrouping {
    Day,
    Week,
    Month,
    Symbol,
    Version,
    Reason,
    Hour,
}

/// What is needed to name the group of a trade.
#[derive(Debug)]
pub(super) struct GroupNames {
    pub zone: Tz,
    pub configs: ConfigNames,
}

impl TradeGrouping {
    pub(super) const NAMES: &'static str =
        "day, week, month, symbol, version, reason or hour, or several of them separated by commas";

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Symbol => "symbol",
            Self::Version => "version",
            Self::Reason => "reason",
            Self::Hour => "hour",
        }
    }

    /// Whether its groups follow each other in time.
    pub(super) fn is_of_time(self) -> bool {
        matches!(self, Self::Day | Self::Week | Self::Month)
    }

    /// The group's name: `2026-03-02`, `2026-W10`, `2026-03`, the symbol, `v15`, the reason without its numbers, `14:00`.
    pub(super) fn key(self, trade: &Trade, names: &GroupNames) -> String {
        let local = local_time(trade.closed_at, names.zone);
        match self {
            Self::Day => local.date().to_string(),
            Self::Week => format!("{}-W{:02}", local.iso_week().year(), local.iso_week().week()),
            Self::Month => local.format("%Y-%m").to_string(),
            Self::Symbol => trade.symbol.clone(),
            Self::Version => match names.configs.version_of(&trade.config_sha256) {
                Some(version) => format!("v{version}"),
                None if trade.config_sha256.is_empty() => NONE_TOLD.to_owned(),
                None => format!("not kept ({})", trade.config_sha256.chars().take(12).collect::<String>()),
            },
            Self::Reason if trade.exit_reason.trim().is_empty() => NONE_TOLD.to_owned(),
            Self::Reason => shown_kind(&trade.exit_reason),
            Self::Hour => format!("{:02}:00", local.hour()),
        }
    }
}

/// The time on the clocks of a zone; at the ends of what a date can hold, where a zone has none, that of UTC.
fn local_time(at: DateTime<Utc>, zone: Tz) -> NaiveDateTime {
    let utc = at.naive_utc();
    let offset: FixedOffset = zone.offset_from_utc_datetime(&utc).fix();
    utc.checked_add_offset(offset).unwrap_or(utc)
}

impl FromStr for TradeGrouping {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        const ALL: [TradeGrouping; 7] = [
            TradeGrouping::Day,
            TradeGrouping::Week,
            TradeGrouping::Month,
            TradeGrouping::Symbol,
            TradeGrouping::Version,
            TradeGrouping::Reason,
            TradeGrouping::Hour,
        ];
        ALL.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(text.trim())).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use chrono_tz::America::{New_York, Santiago};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_group_has_a_name_whatever_the_trade_says() {
        let bare = json!({"seq": 1, "symbol": "SPY", "closed_at": "2026-03-10T03:00:00Z", "exit_reason": "stop at 95.3"});
        let trade: Trade = serde_json::from_value(bare).unwrap();
        let names = GroupNames { zone: New_York, configs: ConfigNames::default() };
        let key = |text: &str| text.parse::<TradeGrouping>().unwrap().key(&trade, &names);
        let keys: Vec<String> =
            ["day", "week", "month", "symbol", "version", "reason", "hour"].map(key).into();
        let shown = ["2026-03-09", "2026-W11", "2026-03", "SPY", "none told", "stop at …", "23:00"];
        assert_eq!(keys, shown);
        for zone in [New_York, Santiago, Tz::UTC, chrono_tz::Pacific::Kiritimati] {
            for closed_at in [DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC] {
                let far = Trade { closed_at, ..trade.clone() };
                let names = GroupNames { zone, configs: ConfigNames::default() };
                assert!(!TradeGrouping::Week.key(&far, &names).is_empty());
            }
        }
    }
}
