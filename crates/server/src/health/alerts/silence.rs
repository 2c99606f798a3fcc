//! Silences: matchers on labels that hold notices back for a while.
//!
//! A silence stops no check, and always ends.

use chrono::{DateTime, Duration, Utc};
use regex::Regex;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use botops_core::error::FieldError;

use super::machine::{AlertKind, AlertLabels};
use crate::health::limit_rules::LimitRuleView;

/// The labels that every alert has; `severity` changes with the alert's level.
const LABELS: [&str; 4] = ["alertname", "component", "component_type", "severity"];

/// The severities that an alert can have.
const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];

/// How many alerts that match are named.
const NAMED: usize = 20;

/// How long a silence may last.
const LONGEST: Duration = Duration::days(30);

/// How many matchers one silence may have.
const MATCHERS: usize = 20;

/// The limits of this file.
pub(crate) fn silence_rules() -> Vec<LimitRuleView> {
    vec![
        LimitRuleView::fixed("longest_silence", LONGEST.num_days(), "days", "a longer silence is refused"),
        LimitRuleView::fixed("silence_matchers", MATCHERS, "matchers", "a silence with more is refused"),
    ]
}

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) enum MatcherOperator {
    /// The value equals the matcher's.
    #[serde(rename = "=")]
    Equal,
    /// The value differs from the matcher's.
    #[serde(rename = "!=")]
    NotEqual,
    /// The whole value matches the regular expression.
    #[serde(rename = "=~")]
    Like,
    /// The whole value does not match the regular expression.
    #[serde(rename = "!~")]
    NotLike,
}

/// One condition on a label. A missing label counts as empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SilenceMatcher {
    /// The label it compares: `alertname`, `component`, `component_type` or `severity`.
    pub(crate) name: String,
    /// How the label's value is compared; `=` when absent.
    #[serde(default = "equal")]
    pub(crate) op: MatcherOperator,
    /// The value or regular expression to compare with.
    pub(crate) value: String,
}

fn equal() -> MatcherOperator {
    MatcherOperator::Equal
}

impl SilenceMatcher {
    /// A label that alerts do not have matches nothing, by whatever operator: a silence that an older version took
    /// would otherwise hold back every alert.
    fn matches(&self, labels: &AlertLabels, severity: &str) -> bool {
        let value =
            if self.name == "severity" { Some(severity) } else { labels.get(&self.name).map(String::as_str) };
        let Some(value) = value else { return false };
        self.compares(value)
    }

    fn compares(&self, value: &str) -> bool {
        let like = || whole(&self.value).is_ok_and(|expression| expression.is_match(value));
        match self.op {
            MatcherOperator::Equal => value == self.value,
            MatcherOperator::NotEqual => value != self.value,
            MatcherOperator::Like => like(),
            MatcherOperator::NotLike => !like(),
        }
    }

    /// Whether its value can occur; a label with few known values is named with them when it cannot.
    fn check_value(&self, known: &[&str]) -> Result<(), String> {
        let occurs = match self.op {
            MatcherOperator::Equal | MatcherOperator::NotEqual => known.contains(&self.value.as_str()),
            MatcherOperator::Like | MatcherOperator::NotLike => whole(&self.value)
                .is_ok_and(|expression| known.iter().any(|value| expression.is_match(value))),
        };
        if occurs {
            Ok(())
        } else {
            Err(format!("one of {}, or a pattern of some of them", known.join(", ")))
        }
    }
}

/// What a silence holds back now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct SilenceReach {
    /// How many open alerts its matchers match now, whether it has begun or not.
    pub(crate) alerts: usize,
    /// How many of them fire.
    pub(crate) firing: usize,
    /// Their ids; at most 20.
    pub(crate) alert_ids: Vec<String>,
}

impl SilenceReach {
    /// Counts alerts, each with its id and whether it fires.
    pub(super) fn of(matching: impl Iterator<Item = (String, bool)>) -> Self {
        let mut reach = Self { alerts: 0, firing: 0, alert_ids: Vec::new() };
        for (id, is_firing) in matching {
            reach.alerts += 1;
            reach.firing += usize::from(is_firing);
            if reach.alert_ids.len() < NAMED {
                reach.alert_ids.push(id);
            }
        }
        reach
    }
}

/// Compiles an expression that must match the whole value, as in Alertmanager; limited in size, which bounds its
/// cost.
fn whole(expression: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{expression})$")).size_limit(100_000).build()
}

/// A silence: who, why, until when, for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Silence {
    /// The id to end it by.
    pub(crate) id: String,
    /// Matchers on labels; an alert is silenced when all of them match.
    pub(crate) matchers: Vec<SilenceMatcher>,
    /// The name of the API key that created it.
    pub(crate) created_by: String,
    /// The creator's reason.
    pub(crate) comment: String,
    /// When it begins.
    pub(crate) starts_at: DateTime<Utc>,
    /// When it ends.
    pub(crate) ends_at: DateTime<Utc>,
}

impl Silence {
    /// `pending`, `active` or `expired`.
    pub(crate) fn state(&self, now: DateTime<Utc>) -> &'static str {
        if now < self.starts_at {
            "pending"
        } else if now < self.ends_at {
            "active"
        } else {
            "expired"
        }
    }

    /// Whether it holds back notices about an alert with these labels now.
    pub(crate) fn matches(&self, labels: &AlertLabels, severity: &str, now: DateTime<Utc>) -> bool {
        self.state(now) == "active" && self.matches_labels(labels, severity)
    }

    /// Whether its matchers match these labels, whether it has begun or not.
    pub(crate) fn matches_labels(&self, labels: &AlertLabels, severity: &str) -> bool {
        self.matchers.iter().all(|matcher| matcher.matches(labels, severity))
    }

    /// Ids of components that it names with `=` or `!=`.
    pub(crate) fn named_components(&self) -> impl Iterator<Item = &str> {
        let named = self.matchers.iter().filter(|matcher| {
            let is_plain = matches!(matcher.op, MatcherOperator::Equal | MatcherOperator::NotEqual);
            matcher.name == "component" && is_plain
        });
        named.map(|matcher| matcher.value.as_str())
    }

    /// Everything that is wrong with it, field by field; `types` are the component types that alerts can have.
    pub(crate) fn defects(&self, types: &[&str], now: DateTime<Utc>) -> Vec<FieldError> {
        let kinds = AlertKind::ALL.map(AlertKind::name);
        let mut defects = Vec::new();
        let mut wrong = |pointer: String, got: serde_json::Value, expected: &str| {
            let expected = expected.to_owned();
            defects.push(FieldError { pointer, got, expected, ..FieldError::default() });
        };
        if self.matchers.is_empty() || self.matchers.len() > MATCHERS {
            wrong("/matchers".to_owned(), self.matchers.len().into(), "1 to 20 matchers");
        }
        for (index, matcher) in self.matchers.iter().enumerate() {
            let known_values: &[&str] = match matcher.name.as_str() {
                "alertname" => &kinds,
                "component_type" => types,
                "severity" => &SEVERITIES,
                "component" => &[],
                unknown => {
                    let got = botops_core::text::clean(unknown, 80);
                    let expected = format!("one of the labels {}", LABELS.join(", "));
                    wrong(format!("/matchers/{index}/name"), got.into(), &expected);
                    &[]
                }
            };
            let is_pattern = matches!(matcher.op, MatcherOperator::Like | MatcherOperator::NotLike);
            if matcher.value.len() > 256 || (is_pattern && whole(&matcher.value).is_err()) {
                let got = botops_core::text::clean(&matcher.value, 80);
                wrong(
                    format!("/matchers/{index}/value"),
                    got.into(),
                    "at most 256 characters, a valid pattern for =~",
                );
            } else if !known_values.is_empty()
                && let Err(expected) = matcher.check_value(known_values)
            {
                let got = botops_core::text::clean(&matcher.value, 80);
                wrong(format!("/matchers/{index}/value"), got.into(), &expected);
            }
        }
        if self.comment.trim().is_empty() || self.comment.len() > 500 {
            wrong(
                "/reason".to_owned(),
                botops_core::text::clean(&self.comment, 80).into(),
                "why, 1 to 500 characters",
            );
        }
        if self.ends_at <= self.starts_at || self.ends_at <= now {
            wrong(
                "/ends_at".to_owned(),
                self.ends_at.to_rfc3339().into(),
                "a time after `starts_at` and after now",
            );
        } else if self.ends_at - self.starts_at > LONGEST {
            wrong(
                "/ends_at".to_owned(),
                self.ends_at.to_rfc3339().into(),
                "at most 30 days after `starts_at`",
            );
        }
        defects
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(matchers: Vec<SilenceMatcher>) -> Silence {
        Silence {
            id: "s1".to_owned(),
            matchers,
            created_by: "operator".to_owned(),
            comment: "known".to_owned(),
            starts_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            ends_at: "2026-01-02T00:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_silence_matches_whole_values_while_it_is_active() {
        let labels: AlertLabels = [("component".to_owned(), "feed-2".to_owned())].into();
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let matches = |op, value: &str| {
            let matcher = SilenceMatcher { name: "component".to_owned(), op, value: value.to_owned() };
            silence(vec![matcher]).matches(&labels, "high", now)
        };
        assert!(matches(MatcherOperator::Equal, "feed-2"));
        assert!(matches(MatcherOperator::Like, "feed-.*"));
        assert!(!matches(MatcherOperator::Like, "feed"));
        assert!(matches(MatcherOperator::NotLike, "feed"));
        assert!(!matches(MatcherOperator::NotEqual, "feed-2"));
        let severity = SilenceMatcher {
            name: "severity".to_owned(),
            op: MatcherOperator::Equal,
            value: "high".to_owned(),
        };
        assert!(silence(vec![severity.clone()]).matches(&labels, "high", now));
        assert!(!silence(vec![severity.clone()]).matches(&labels, "critical", now));
        assert!(!silence(vec![severity]).matches(&labels, "high", "2026-01-02T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn a_label_that_no_alert_has_matches_nothing() {
        let labels: AlertLabels = [("component".to_owned(), "feed".to_owned())].into();
        for op in [MatcherOperator::Equal, MatcherOperator::NotEqual, MatcherOperator::NotLike] {
            let name = "component_id".to_owned();
            let silence = silence(vec![SilenceMatcher { name, op, value: "p_404".to_owned() }]);
            assert!(!silence.matches_labels(&labels, "high"), "{op:?}");
        }
    }

    #[test]
    fn a_silence_without_end_comment_or_valid_pattern_is_refused() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let good = SilenceMatcher {
            name: "component".to_owned(),
            op: MatcherOperator::Like,
            value: "a.*".to_owned(),
        };
        assert!(silence(vec![good.clone()]).defects(&["EXTERNAL_API"], now).is_empty());
        let bad = SilenceMatcher { value: "(".to_owned(), ..good.clone() };
        assert_eq!(silence(vec![bad]).defects(&["EXTERNAL_API"], now)[0].pointer, "/matchers/0/value");
        assert_eq!(silence(vec![]).defects(&["EXTERNAL_API"], now)[0].pointer, "/matchers");
        let long = Silence { ends_at: "2026-03-01T00:00:00Z".parse().unwrap(), ..silence(vec![good]) };
        assert_eq!(long.defects(&["EXTERNAL_API"], now)[0].pointer, "/ends_at");
    }
}
