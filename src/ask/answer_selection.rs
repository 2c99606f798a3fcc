//! What of the list in an answer was asked for, where the call itself cannot say it: states, a symbol, a time, a count.
//!
//! Nothing is changed in an item; those that were not asked for are left out, and the answer says by what.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

/// The members that may hold an item's time.
const TIMES: [&str; 6] = ["at", "timestamp", "starts_at", "updated_at", "created_at", "started_at"];

/// What of the list in an answer was asked for; each part that is absent or empty leaves out nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct AnswerSelection {
    /// The member of the answer that holds the list.
    pub(super) list: &'static str,
    /// Values of one member.
    pub(super) states: Vec<(&'static str, Vec<String>)>,
    /// A member that must be there, or must be `null`.
    pub(super) present: Option<(&'static str, bool)>,
    /// An amount that must be above zero, or below.
    pub(super) sign: Vec<(&'static str, bool)>,
    /// Words of which each item must contain one, wherever it stands.
    pub(super) mentions: Vec<String>,
    pub(super) symbols: Vec<String>,
    pub(super) since: Option<DateTime<Utc>>,
    /// Not included.
    pub(super) until: Option<DateTime<Utc>>,
    pub(super) limit: Option<usize>,
}

/// Each part of several in words, once.
pub(super) fn told(selections: &[AnswerSelection]) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    for part in selections.iter().flat_map(AnswerSelection::told) {
        if !told.contains(&part) {
            told.push(part);
        }
    }
    told
}

impl AnswerSelection {
    pub(super) fn of(list: &'static str) -> Self {
        Self { list, ..Self::default() }
    }

    /// Each part in words: `status is PENDING or PARTIALLY_FILLED`.
    pub(super) fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = self
            .states
            .iter()
            .map(|(member, values)| format!("{member} is {}", values.join(" or ")))
            .collect();
        if let Some((member, is_there)) = self.present {
            told.push(format!("{member} is {}", if is_there { "known" } else { "null" }));
        }
        for (member, is_gain) in &self.sign {
            told.push(format!("{member} is {} zero", if *is_gain { "above" } else { "below" }));
        }
        if !self.mentions.is_empty() {
            told.push(format!("mentions {}", self.mentions.join(" or ")));
        }
        if !self.symbols.is_empty() {
            told.push(format!("symbol is {}", self.symbols.join(" or ")));
        }
        let shown = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        told.extend(self.since.map(|at| format!("since {}", shown(at))));
        told.extend(self.until.map(|at| format!("before {}", shown(at))));
        told.extend(self.limit.map(|count| format!("the first {count}")));
        told
    }

    /// Leaves out of the answer's list what was not asked for; how many are left, `None` without a list.
    pub(super) fn apply(&self, answer: &mut Value) -> Option<usize> {
        let items = answer.get_mut(self.list).and_then(Value::as_array_mut)?;
        items.retain(|item| self.takes(item));
        if let Some(limit) = self.limit {
            items.truncate(limit);
        }
        Some(items.len())
    }

    fn takes(&self, item: &Value) -> bool {
        let text = |member: &str| item[member].as_str().unwrap_or_default();
        let has_state = self
            .states
            .iter()
            .all(|(member, values)| values.iter().any(|value| value.eq_ignore_ascii_case(text(member))));
        let is_present = self.present.is_none_or(|(member, is_there)| item[member].is_null() != is_there);
        let whole = if self.mentions.is_empty() { String::new() } else { item.to_string().to_lowercase() };
        let is_mentioned =
            self.mentions.is_empty() || self.mentions.iter().any(|word| whole.contains(&word.to_lowercase()));
        let has_sign = self.sign.iter().all(|(member, is_gain)| {
            let amount = item[member].as_f64().or_else(|| text(member).parse::<f64>().ok());
            amount.is_some_and(|amount| if *is_gain { amount > 0.0 } else { amount < 0.0 })
        });
        let has_symbol = self.symbols.is_empty()
            || self.symbols.iter().any(|symbol| symbol.eq_ignore_ascii_case(text("symbol")));
        let at = TIMES.iter().find_map(|member| text(member).parse::<DateTime<Utc>>().ok());
        // An item without a time may be of any.
        let in_time = at.is_none_or(|at| {
            self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
        });
        has_state && is_present && is_mentioned && has_sign && has_symbol && in_time
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_was_asked_for_stays() {
        let mut answer = json!({"orders": [
            {"symbol": "SPY", "status": "FILLED", "updated_at": "2026-03-02T10:00:00Z"},
            {"symbol": "SPY", "status": "PENDING", "updated_at": "2026-03-02T10:00:00Z"},
            {"symbol": "TSLA", "status": "PENDING", "updated_at": "2026-03-02T10:00:00Z"},
            {"symbol": "SPY", "status": "PENDING", "updated_at": "2026-03-01T10:00:00Z"}]});
        let selection = AnswerSelection {
            states: vec![("status", vec!["PENDING".to_owned(), "PARTIALLY_FILLED".to_owned()])],
            symbols: vec!["spy".to_owned()],
            since: "2026-03-02T00:00:00Z".parse().ok(),
            limit: Some(5),
            ..AnswerSelection::of("orders")
        };
        selection.apply(&mut answer);
        assert_eq!(answer["orders"].as_array().map(Vec::len), Some(1), "{answer}");
        assert_eq!(
            selection.told(),
            [
                "status is PENDING or PARTIALLY_FILLED",
                "symbol is spy",
                "since 2026-03-02T00:00:00Z",
                "the first 5"
            ]
        );
        let mut losing = json!({"positions": [{"unrealized_pl": "-1.5"}, {"unrealized_pl": "2"}, {}]});
        AnswerSelection { sign: vec![("unrealized_pl", false)], ..AnswerSelection::of("positions") }
            .apply(&mut losing);
        assert_eq!(losing, json!({"positions": [{"unrealized_pl": "-1.5"}]}));
    }
}
