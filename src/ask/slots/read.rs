//! Reads every value of a text, in the order in which the readers must run.

use chrono::NaiveDate;

use super::config_keys::read_key;
use super::config_values::read_value;
use super::counts::{read_count, read_single};
use super::identifiers::{read_codes, read_ids, read_sign_in_code, read_versions};
use super::names::{read_component, read_workflow};
use super::period_reader::read_period;
use super::periods::read_duration;
use super::symbols::{NamedSymbol, read_named_symbols, read_symbols};
use super::values::SlotValues;
use crate::ask::context::AskContext;
use crate::ask::word::AskWord;

/// Reads every value and marks its words.
pub(crate) fn read_slots(
    words: &mut [AskWord],
    named: &[NamedSymbol],
    context: &AskContext,
    today: NaiveDate,
) -> SlotValues {
    let mut slots = SlotValues::default();
    read_named_symbols(words, named, &mut slots);
    read_ids(words, &mut slots);
    read_versions(words, &mut slots);
    read_codes(words, &mut slots);
    read_sign_in_code(words, &mut slots);
    read_workflow(words, context, &mut slots);
    read_key(words, context, &mut slots);
    read_count(words, &mut slots);
    read_single(words, &mut slots);
    read_period(words, context, today, &mut slots);
    read_duration(words, context, &mut slots);
    read_value(words, context, &mut slots);
    read_component(words, context, &mut slots);
    read_symbols(words, context, &mut slots);
    slots
}

#[cfg(test)]
mod tests {
    use crate::ask::spelling::split_pieces;
    use crate::ask::vocabulary::read_words;
    use serde_json::json;

    use super::*;

    fn context() -> AskContext {
        AskContext {
            workflows: ["check-health", "export-logs", "restart-bot", "update-targets"]
                .map(str::to_owned)
                .into(),
            components: vec!["broker_session".to_owned()],
            config: vec![
                ("risk_management.max_position_pct".to_owned(), json!(5.0)),
                ("risk_management.max_daily_loss_pct".to_owned(), json!(3.0)),
                ("trading.hours.start_time".to_owned(), json!("09:30")),
            ],
            symbols: vec!["TSLA".to_owned()],
            ..AskContext::default()
        }
    }

    fn slots(text: &str) -> SlotValues {
        let mut words = read_words(&split_pieces(text));
        let wednesday = NaiveDate::from_ymd_opt(2025, 11, 19).unwrap();
        read_slots(&mut words, &[], &context(), wednesday)
    }

    fn days(text: &str) -> (String, String) {
        let period = slots(text).period.unwrap_or_else(|| panic!("no period in {text}"));
        (period.from.to_string(), period.to.to_string())
    }

    #[test]
    fn periods_are_days_of_the_calendar() {
        let check = |text: &str, from: &str, to: &str| {
            assert_eq!(days(text), (from.to_owned(), to.to_owned()), "{text}");
        };
        check("profit today", "2025-11-19", "2025-11-19");
        check("profit yesterday", "2025-11-18", "2025-11-18");
        check("profit this week", "2025-11-17", "2025-11-19");
        check("profit last week", "2025-11-10", "2025-11-16");
        check("profit last month", "2025-10-01", "2025-10-31");
        check("profit over the last 7 days", "2025-11-13", "2025-11-19");
        check("profit on november 3", "2025-11-03", "2025-11-03");
        check("profit since 2025-11-01", "2025-11-01", "2025-11-19");
        check("profit from 2025-11-01 to 2025-11-05", "2025-11-01", "2025-11-05");
        check("profit on monday", "2025-11-17", "2025-11-17");
    }

    #[test]
    fn durations_to_come_are_not_periods() {
        assert_eq!(slots("silence alerts for 2 hours").seconds, Some(7_200));
        assert_eq!(slots("silence alerts for 90min").seconds, Some(5_400));
        assert_eq!(slots("silence alerts for half an hour").seconds, Some(1_800));
        assert!(slots("silence alerts for 2 hours").period.is_none());
    }

    #[test]
    fn keys_and_values_are_found_by_path_and_by_words() {
        for text in [
            "set risk_management.max_position_pct to 4",
            "set max_position_pct to 4",
            "set the maximum position percentage to 4%",
            "lower max position to 4",
        ] {
            let slots = slots(text);
            assert_eq!(slots.keys, ["risk_management.max_position_pct"], "{text}");
            assert_eq!(slots.value, Some(json!(4)), "{text}");
        }
        assert_eq!(slots("change start time to 10:00").value, Some(json!("10:00")));
    }

    #[test]
    fn codes_versions_ids_and_symbols() {
        assert_eq!(slots("what is cfg_12").code.as_deref(), Some("CFG_012"));
        assert_eq!(slots("explain BRK 002").code.as_deref(), Some("BRK_002"));
        let sign_in_code = |text| slots(text).sign_in_code;
        assert_eq!(sign_in_code("sign in with code 012345").as_deref(), Some("012345"));
        assert_eq!(sign_in_code("log in again, the code is 8842-17").as_deref(), Some("8842-17"));
        assert_eq!(sign_in_code("sign in to the broker"), None);
        assert_eq!(sign_in_code("what is code 123456"), None);
        assert_eq!(slots("diff v3 and v5").versions, ["v3", "v5"]);
        assert_eq!(slots("roll back to version 17").versions, ["v17"]);
        assert_eq!(slots("positions in tsla").symbols, ["TSLA"]);
        assert_eq!(slots("show the AAPL position").symbols, ["AAPL"]);
        assert_eq!(slots("restart the bot").workflow.as_deref(), Some("restart-bot"));
    }
}
