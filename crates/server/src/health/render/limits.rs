//! All limits that decide something in health, for `GET monitoring/status`; `docs/health.md` has the same tables.

use std::sync::LazyLock;

use crate::health::alerts::{alert_rules, delivery_rules, push_rules, receiver_rules, silence_rules};
use crate::health::checks::{
    MetricLimitView, bot_rules, check_thread_rules, metric_limit_views, soundness_rules,
};
use crate::health::limit_rules::LimitRuleView;
use crate::health::model::metric_rules;
use crate::health::progress::progress_rules;
use crate::health::recovery::{attempt_rules, handler_rules};
use crate::health::status::{component_rules, flapping_rules, wait_rules};

/// The limits of metrics.
pub(crate) static METRIC_LIMITS: LazyLock<Vec<MetricLimitView>> = LazyLock::new(metric_limit_views);

/// All other limits that cannot be set.
pub(crate) static LIMIT_RULES: LazyLock<Vec<LimitRuleView>> = LazyLock::new(|| {
    [
        metric_rules(),
        bot_rules(),
        soundness_rules(),
        check_thread_rules(),
        progress_rules(),
        flapping_rules(),
        component_rules(),
        wait_rules(),
        alert_rules(),
        silence_rules(),
        delivery_rules(),
        receiver_rules(),
        push_rules(),
        attempt_rules(),
        handler_rules(),
    ]
    .concat()
});

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use regex::Regex;

    /// Files whose limits are shown.
    const FILES: &[&str] = &[
        "alerts/alertmanager.rs",
        "alerts/machine/mod.rs",
        "alerts/outbox.rs",
        "alerts/receiver_log.rs",
        "alerts/receivers.rs",
        "alerts/rules.rs",
        "alerts/silence.rs",
        "checks/bot.rs",
        "checks/check_threads.rs",
        "checks/soundness.rs",
        "progress.rs",
        "model.rs",
        "recovery/machine/mod.rs",
        "recovery/rules.rs",
        "status/component.rs",
        "status/config.rs",
        "status/engine.rs",
        "status/target_wait.rs",
        "status/tracker.rs",
    ];

    /// Constants of these files that decide no status, alert or recovery.
    const DECIDE_NOTHING: &[&str] = &[
        // What is kept and shown.
        "MEMORY",
        "RESOLVED",
        "NAMED",
        "BODY_SHOWN",
        "FILE_LIMIT",
        // Units, the start of a clock, an event of the journal, the bound of a setting.
        "HOUR",
        "TEN_MINUTES",
        "BEGINNING",
        "JUMP",
        "MOST",
    ];

    #[test]
    fn no_limit_is_known_to_the_code_alone() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/health");
        let declared = Regex::new(r"const ([A-Z_]+): (?:[iu]\d+|usize|f64|(?:chrono::)?Duration)\b").unwrap();
        let shown = Regex::new(r#"LimitRuleView::fixed(?:_ms)?\(\s*"[a-z_]+",\s*([A-Z_]+)\b"#).unwrap();
        let (mut found, mut missing) = (0, BTreeSet::new());
        for file in FILES {
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            let names = |pattern: &Regex| -> BTreeSet<String> {
                pattern.captures_iter(text).map(|captures| captures[1].to_owned()).collect()
            };
            let constants = names(&declared);
            found += constants.len();
            let shown = names(&shown);
            let is_missing =
                |name: &&String| !shown.contains(*name) && !DECIDE_NOTHING.contains(&name.as_str());
            missing.extend(constants.iter().filter(is_missing).map(|name| format!("{file}: {name}")));
        }
        assert!(found > 40, "the constants are found: {found}");
        assert_eq!(missing, BTreeSet::new(), "add a rule, or say in the list above why it decides nothing");
    }

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names =
            super::LIMIT_RULES.iter().map(|rule| serde_json::to_value(rule).unwrap()["name"].to_string());
        let mut seen = BTreeSet::new();
        for name in names {
            assert!(seen.insert(name.clone()), "{name} stands twice");
        }
    }
}
